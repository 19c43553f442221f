"""The common interfaces: an image into ids, ids into an image; a caption or a class into an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from lactok import weights
from lactok.device import exact_float32
from lactok.errors import UserError
from lactok.specs import GeneratorInfo, TokenizerInfo


class Adapter(nn.Module):
    """What tokenizers and generators share: weights, a device and a compute dtype."""

    info: TokenizerInfo | GeneratorInfo
    dtype: torch.dtype

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load tensors by asset name; the default suits an adapter with one asset and one network, `self.model`."""
        for tensors in assets.values():
            weights.load_strict(self.get_submodule("model"), tensors, self.info.name)

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _compute(self) -> AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return exact_float32()
        return torch.autocast(self.device.type, self.dtype)

    def _images(self, out: Tensor) -> Tensor:
        """What a network gave as float32 in [0, 1]; raises UserError where it overflowed."""
        if not bool(out.isfinite().all()):
            raise UserError(f"{self.info.name}: its output is not finite in {self.dtype}; use bfloat16 or float32")
        return out.float().clamp(0, 1)


class Tokenizer(Adapter):
    """A tokenizer; an adapter implements `_encode`, `_decode` and, for more than one file, `load_assets`.

    `encode` and `decode` check what goes in and comes out, switch gradients off and set the compute dtype, so that
    adapters contain nothing but the model's own arithmetic.
    """

    info: TokenizerInfo

    def __init__(self, info: TokenizerInfo):
        super().__init__()
        self.info = info
        self.dtype = torch.float32

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        """(B, 3, input_size, input_size) float32 in [0, 1] -> ids (B, L) int64."""
        raise NotImplementedError(f"{self.info.name} has no ids")

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        """ids (B, L) -> images (B, 3, output_size, output_size); values outside [0, 1] are clamped."""
        raise NotImplementedError(f"{self.info.name} has no ids")

    def place(self, device: str | torch.device, dtype: torch.dtype, offload: bool, compile: bool) -> None:
        """Move to where it computes; an adapter that can do with less memory or with compiled networks overrides this.

        Raises:
            UserError: this tokenizer has no `offload` or `compile`.
        """
        for given, what in ((offload, "offload"), (compile, "compile")):
            if given:
                raise UserError(f"{self.info.name} has no {what}; load it without")
        self.dtype = dtype
        self.to(device)

    def _check(self, images: Tensor) -> Tensor:
        size = self.info.input_size
        b_c_h_w = tuple(images.shape)
        if len(b_c_h_w) != 4 or b_c_h_w[1] != 3 or (size is not None and b_c_h_w[2:] != (size, size)):
            raise ValueError(f"{self.info.name} takes images (B, 3, {size or 'H'}, {size or 'W'}), not {b_c_h_w}")
        if images.dtype != torch.float32:
            raise ValueError(f"{self.info.name} takes float32 images in [0, 1], not {images.dtype}")
        return images.to(self.device)

    def _seeds(self, seeds: Tensor | None, batch: int) -> Tensor:
        if seeds is None:
            return torch.zeros(batch, dtype=torch.int64)
        if seeds.shape != (batch,) or seeds.dtype != torch.int64:
            raise ValueError(f"seeds are ({batch},) int64, one an image, not {tuple(seeds.shape)} {seeds.dtype}")
        return seeds.cpu()

    @torch.inference_mode()
    def encode(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Images to ids.

        Args:
            images: (B, 3, input_size, input_size) float32 in [0, 1].
            seeds: (B,) int64, for tokenizers that draw noise; zeros if not given.

        Returns:
            (B, L) int64 on the tokenizer's device.

        Raises:
            ValueError: another shape or dtype.
        """
        images = self._check(images)
        with self._compute():
            return self._encode(images, self._seeds(seeds, len(images)))

    @torch.inference_mode()
    def decode(self, ids: Tensor, seeds: Tensor | None = None) -> Tensor:
        """ids (B, L) int64 -> (B, 3, output_size, output_size) float32 in [0, 1]; seeds as in `encode`.

        Raises:
            ValueError: ids that are not (B, L) int64, of another length or not codes of this tokenizer.
            UserError: the decoder overflowed in its compute dtype.
        """
        if ids.ndim != 2 or ids.dtype != torch.int64:
            raise ValueError(f"ids are (B, L) int64, not {tuple(ids.shape)} {ids.dtype}")
        longest = self.info.tokens
        if (option := self.info.options.get("tokens")) is not None and option.high is not None:
            longest = int(option.high)
        shortest = 1 if option is not None else longest
        if longest is not None and shortest is not None and not shortest <= ids.shape[1] <= longest:
            allowed = longest if shortest == longest else f"{shortest} to {longest}"
            raise ValueError(f"{self.info.name} takes {allowed} ids an image, not {ids.shape[1]}")
        size = self.info.codebook_size
        if size is not None and ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < size):
            raise ValueError(f"{self.info.name} has ids 0 to {size - 1}, got {int(ids.min())} to {int(ids.max())}")
        with self._compute():
            out = self._decode(ids.to(self.device), self._seeds(seeds, len(ids)))
        return self._images(out)

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`decode(encode(images))` and the bits it took, (B,) float64; a reference row overrides this alone."""
        ids = self.encode(images, seeds)
        bits = self.info.bits or 0.0
        return self.decode(ids, seeds), torch.full((len(ids),), bits, dtype=torch.float64)


class Generator(Adapter):
    """A generator of images; an adapter implements `_generate` and, for more than one file, `load_assets`.

    `generate` checks what goes in and comes out, as `Tokenizer.encode` and `decode` do.
    """

    info: GeneratorInfo

    def __init__(self, info: GeneratorInfo):
        super().__init__()
        self.info = info
        self.dtype = torch.float32

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        """Conditions and seeds (B,) int64 on the CPU -> images (B, 3, output_size, output_size), clamped afterwards.

        All noise comes from `lactok.randomness.noise(seeds, ...)`: an image must not depend on its neighbours.
        """
        raise NotImplementedError(f"{self.info.name} generates nothing")

    def place(self, device: str | torch.device, dtype: torch.dtype) -> None:
        """Move to where it computes; an adapter whose library loads the weights itself does that here."""
        self.dtype = dtype
        self.to(device)

    def settings(self) -> dict[str, Any]:
        """All that its pictures depend on, as JSON: name, options, version, digests of the weights.

        Raises:
            WeightsNotFound: no source has them.
        """
        from lactok import registry

        info = self.info
        assets = {asset.name: weights.resolve(asset).sha256 for asset in info.assets}
        if info.tokenizer is not None:
            found = registry.resolve_assets(info.tokenizer)
            assets |= {name: resolved.sha256 for name, resolved in found.items()}
        return {"name": info.name, "options": dict(info.values), "version": info.version, "assets": assets}

    @torch.inference_mode()
    def generate(self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int]) -> Tensor:
        """Pictures of captions or classes.

        Args:
            conditions: B captions, or B ImageNet classes 0 to 999, as `info.condition` says.
            seeds: one for each, 0 to 2^63 - 1.

        Returns:
            (B, 3, output_size, output_size) float32 in [0, 1].

        Raises:
            ValueError: other conditions, or not as many seeds.
            UserError: the network overflowed in its compute dtype.
        """
        self._check(conditions, seeds)
        with self._compute():
            out = self._generate(list(conditions), torch.tensor(list(seeds), dtype=torch.int64))  # type: ignore[arg-type]
        size = self.info.output_size
        if tuple(out.shape) != (len(seeds), 3, size, size):
            raise ValueError(f"{self.info.name} made {tuple(out.shape)}, not ({len(seeds)}, 3, {size}, {size})")
        return self._images(out)

    def _check(self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int]) -> None:
        name = self.info.name
        if isinstance(conditions, str) or not conditions or len(conditions) != len(seeds):
            given = "a string" if isinstance(conditions, str) else f"{len(conditions)} and {len(seeds)}"
            raise ValueError(f"{name} takes a list of one condition or more and a seed for each, not {given}")
        text = self.info.condition == "text"
        for condition in conditions:
            if text != isinstance(condition, str) or not (text or _is_integer(condition, 1000)):
                raise ValueError(f"{name} takes {'captions' if text else 'classes 0 to 999'}, not {condition!r}")
        for seed in seeds:
            if not _is_integer(seed, 2**63):
                raise ValueError(f"seeds are integers from 0 to 2^63 - 1, not {seed!r}")


def _is_integer(value: object, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end
