"""Count the memory of tensors while they live, also of tensors on the meta device, which have none."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def nbytes(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of all tensors; those that share their memory count once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


class Allocated(TorchDispatchMode):
    """Follows the tensors that operations return inside the `with` block.

    Memory that an operation takes and gives back before it returns is not seen.

    Attributes:
        live: bytes of the tensors that live now.
        peak: the most that lived at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: dict[int, int] = {}
        self._fused = _FusedAttention()

    def __enter__(self) -> Allocated:
        self._fused.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._fused.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return torch.zeros((), dtype=args[0].dtype).item()  # no value is known; a mask may have padding
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in given and storage._cdata not in self._known:
                    self._add(storage)
        return out

    def _add(self, storage: Any) -> None:
        """Count a new storage until it is freed."""
        key, size = storage._cdata, storage.nbytes()
        self._known[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.live -= self._known.pop(key, 0)


class _FusedAttention(TorchFunctionMode):
    """On the meta device attention returns its result alone, as the fused kernels of CPUs and GPUs do.

    What stands in for them there computes the whole matrix of all pairs of positions.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention and args and args[0].is_meta:
            query, value = args[0], args[2]
            return query.new_empty((*query.shape[:-1], value.shape[-1]))
        return func(*args, **(kwargs or {}))


def peak_of(call: Any) -> int:
    """Return the most bytes that the tensors of a call take at once, without what was there before."""
    with torch.no_grad(), Allocated() as allocated:
        result = call()
    del result
    return allocated.peak
