"""What every reward needs: a network filled from a file, and a tokenizer from its `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from lactok import weights
from lactok.errors import UserError
from lactok.specs import Asset

M = TypeVar("M", bound=nn.Module)


def filled(build: Callable[[], M], tensors: Mapping[str, Tensor], name: str) -> M:
    """`build()` with exactly these tensors, in float32, frozen and in eval mode; nothing is initialised for nothing.

    Raises:
        UserError: a missing, unexpected or misshapen tensor.
    """
    with torch.device("meta"):
        module = build()
    weights.load_strict(module, tensors, name)
    for path, buffer in module.named_buffers():
        if buffer.is_meta:  # positions 0, 1, 2, ..., which transformers does not store
            owner, _, attribute = path.rpartition(".")
            if attribute != "position_ids":
                raise UserError(f"{name}: its network left {path} without a value")
            module.get_submodule(owner).position_ids = torch.arange(buffer.shape[-1]).expand(buffer.shape)
    return module.eval().requires_grad_(False)


def without_positions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leaves out the counting buffers that older versions of transformers stored."""
    return {k: v for k, v in tensors.items() if not k.endswith("embeddings.position_ids")}


class Texts:
    """Captions to ids of one length, by the tokenizers library.

    Args:
        asset: a `tokenizer.json`.
        length: ids a caption, the special ones included; longer captions are cut before the last special one.
        pad: the token that fills shorter ones up.
    """

    def __init__(self, asset: Asset, length: int, pad: str):
        from tokenizers import Tokenizer

        content = weights.load(asset)["json"].numpy().tobytes().decode()
        try:
            self._tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # the library raises nothing more exact
            raise UserError(f"{asset.name} is not a tokenizer.json ({error}); is it the right file?") from error
        pad_id = self._tokenizer.token_to_id(pad)
        if pad_id is None:
            raise UserError(f"{asset.name} has no token {pad}; is it the right file?")
        self._tokenizer.enable_truncation(length)
        self._tokenizer.enable_padding(length=length, pad_id=pad_id, pad_token=pad)

    def __call__(self, captions: list[str], device: str = "cpu") -> tuple[Tensor, Tensor]:
        """Ids and attention mask, both (B, length) int64; the mask is 0 at padding."""
        encoded = self._tokenizer.encode_batch(captions)
        ids, mask = ([getattr(e, field) for e in encoded] for field in ("ids", "attention_mask"))
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)
