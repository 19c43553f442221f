"""The common interface: an image into ids, ids into an image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from lactok import weights
from lactok.device import exact_float32
from lactok.errors import UserError
from lactok.info import GeneratorInfo, TokenizerInfo


class Tokenizer(nn.Module):
    """A tokenizer; an adapter implements `_encode`, `_decode` and, for more than one file, `load_assets`.

    `encode` and `decode` check what goes in and comes out, switch gradients off and set the compute dtype, so that
    adapters contain nothing but the model's own arithmetic.
    """

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

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load tensors by asset name; the default suits an adapter with one asset and one network, `self.model`."""
        for tensors in assets.values():
            weights.load_strict(self.get_submodule("model"), tensors, self.info.name)

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

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _compute(self) -> AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return exact_float32()
        return torch.autocast(self.device.type, self.dtype)

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
        if not bool(out.isfinite().all()):
            raise UserError(f"{self.info.name}: its output is not finite in {self.dtype}; use bfloat16 or float32")
        return out.float().clamp(0, 1)

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`decode(encode(images))` and the bits it took, (B,) float64; a reference row overrides this alone."""
        ids = self.encode(images, seeds)
        bits = self.info.bits or 0.0
        return self.decode(ids, seeds), torch.full((len(ids),), bits, dtype=torch.float64)


class Generator(nn.Module):
    """A generator of images; `info` says what conditions it."""

    def __init__(self, info: GeneratorInfo):
        super().__init__()
        self.info = info

    @abstractmethod
    def generate(self, conditions: list[str] | list[int], seeds: list[int]) -> Tensor:
        """Captions or classes, one seed each -> (B, 3, S, S) float32 in [0, 1]."""
