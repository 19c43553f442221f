"""The common interfaces: an image into ids, ids into an image; a caption or a class into an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lactok import images as pixels
from lactok import weights
from lactok.device import exact_float32
from lactok.errors import UserError, WrongValue
from lactok.randomness import seed_of
from lactok.specs import GeneratorSpec, TokenizerSpec

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


class Adapter(nn.Module):
    """What tokenizers and generators share: weights, a device and a compute dtype."""

    spec: TokenizerSpec | GeneratorSpec
    dtype: torch.dtype
    without_weights = False  # True of what `lactok.build` makes, until weights are loaded into it

    def __init__(self, spec: TokenizerSpec | GeneratorSpec | None = None):
        super().__init__()
        found = spec or getattr(type(self), "spec", None)
        if found is None:
            raise WrongValue(f"{type(self).__name__} needs a spec: give it to the constructor or to the class")
        self.spec = found
        self.dtype = torch.float32

    def load_assets(self, assets: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load tensors by asset name; the default suits an adapter with one asset and one network, `self.model`."""
        for tensors in assets.values():
            weights.load_strict(self.get_submodule("model"), tensors, self.spec.name)

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _compute(self) -> AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return exact_float32()
        return torch.autocast(self.device.type, self.dtype)

    def _images(self, out: object, batch: int) -> Tensor:
        """What the adapter returned as float32 in [0, 1], if it is what the spec promises.

        Raises:
            ValueError: it is not.
            UserError: the network overflowed.
        """
        name, side = self.spec.name, self.spec.output_size
        if not isinstance(out, Tensor):
            raise ValueError(f"the adapter of {name} returns {type(out).__name__} instead of a tensor of images")
        shape = tuple(out.shape)
        if len(shape) != 4 or shape[:2] != (batch, 3) or (side is not None and shape[2:] != (side, side)):
            promised = f"({batch}, 3, {side or 'H'}, {side or 'W'})"
            raise ValueError(f"the adapter of {name} returns images {shape}; its spec promises {promised}")
        if not out.is_floating_point():
            raise ValueError(f"the adapter of {name} returns {out.dtype} images; they are floating point, in [0, 1]")
        if not bool(out.isfinite().all()):
            instead = "" if self.dtype == torch.float32 else "; use bfloat16 or float32"
            raise UserError(f"{self.spec.name}: its output is not finite in {self.dtype}{instead}")
        return out.float().clamp(0, 1)


class Reconstructor(Adapter):
    """What turns an image into another one at a cost in bits; a reference row implements `reconstruct` alone.

    Args:
        spec: what it is; by default the class's own `spec`.
    """

    spec: TokenizerSpec

    def __init__(self, spec: TokenizerSpec | None = None):
        super().__init__(spec)

    def place(self, device: str | torch.device, dtype: torch.dtype, offload: bool, compile: bool) -> None:
        """Move to where it computes; an adapter that can do with less memory or with compiled networks overrides this.

        Raises:
            WrongValue: this tokenizer has no `offload` or `compile`.
        """
        for given, what in ((offload, "offload"), (compile, "compile")):
            if given:
                raise WrongValue(f"{self.spec.name} has no {what}; load it without")
        self.dtype = dtype
        self.to(device)

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images to what becomes of them.

        Args:
            images: (B, 3, S, S) float32 in [0, 1], S the spec's `input_size`, or any side where that is None.
            seeds: (B,) int64, for those that draw noise; zeros if not given.

        Returns:
            (B, 3, S', S') float32 in [0, 1], and the bits that each image took, (B,) float64.
        """
        raise NotImplementedError(f"{type(self).__name__} implements no `reconstruct`")

    def reconstruct_image(self, picture: str | PathLike[str] | Image.Image | np.ndarray, seed: int = 0) -> Image.Image:
        """One picture to its reconstruction, prepared as the default protocol prepares a photograph.

        The picture is turned upright, transparency laid over white; its central square is brought to the side of the
        output, and from there to the network's own size by the network's own filter. The result is rounded to nearest.

        Args:
            picture: a file's path, a PIL image, or an array (H, W, 3) or (H, W) uint8.
            seed: of the run, for those that draw noise.

        Returns:
            A square RGB image of side `output_size`, or of the picture's shorter side where that is None.

        Raises:
            WrongValue: not a picture.

        >>> from PIL import Image
        >>> import lactok
        >>> lactok.load("resize-8").reconstruct_image(Image.new("RGB", (64, 48), "red")).size
        (48, 48)
        """
        photograph = pixels.opened(picture)
        side = self.spec.output_size or self.spec.input_size or min(photograph.size)
        reference = pixels.prepare(photograph, pixels.Prepare(side))
        image = pixels.tokenizer_input(reference, self.spec.input_size, self.spec.resample)
        out, _ = self.reconstruct(image[None], torch.tensor([seed_of(seed, "picture")], dtype=torch.int64))
        return pixels.to_pil(pixels.to_uint8(out.cpu(), "nearest")[0])


class Tokenizer(Reconstructor):
    """A tokenizer; an adapter implements `_encode`, `_decode` and, for more than one file, `load_assets`.

    `encode` and `decode` check what goes in and comes out, switch gradients off and set the compute dtype, so that
    adapters contain nothing but the model's own arithmetic.
    """

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        """(B, 3, input_size, input_size) float32 in [0, 1] -> ids (B, L) int64."""
        raise NotImplementedError(f"{self.spec.name} has no ids")

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        """ids (B, L) -> images (B, 3, output_size, output_size); values outside [0, 1] are clamped."""
        raise NotImplementedError(f"{self.spec.name} has no ids")

    def _check_images(self, images: Tensor) -> Tensor:
        _check_tensor("images", images)
        size = self.spec.input_size
        b_c_h_w = tuple(images.shape)
        if len(b_c_h_w) != 4 or b_c_h_w[1] != 3 or (size is not None and b_c_h_w[2:] != (size, size)):
            raise ValueError(f"{self.spec.name} takes images (B, 3, {size or 'H'}, {size or 'W'}), not {b_c_h_w}")
        if images.dtype != torch.float32:
            raise ValueError(f"{self.spec.name} takes float32 images in [0, 1], not {images.dtype}")
        return images.to(self.device)

    def _check_ids(self, ids: object, batch: int) -> Tensor:
        """What the adapter's `_encode` returned, if it is what the spec promises."""
        if not isinstance(ids, Tensor):
            raise ValueError(f"the adapter of {self.spec.name} returns {type(ids).__name__} instead of a tensor of ids")
        expected = (batch, self.spec.tokens)
        if tuple(ids.shape) != expected or ids.dtype != torch.int64:
            raise ValueError(
                f"the adapter of {self.spec.name} returns ids {tuple(ids.shape)} {ids.dtype}; its spec promises "
                f"{expected} torch.int64"
            )
        self._check_codes(ids, f"its spec promises ids 0 to {(self.spec.codebook_size or 0) - 1}, its adapter returns")
        return ids

    def _check_codes(self, ids: Tensor, what: str) -> None:
        size = self.spec.codebook_size
        if size is not None and ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < size):
            raise ValueError(f"{self.spec.name}: {what} {int(ids.min())} to {int(ids.max())}")

    def _seeds(self, seeds: Tensor | None, batch: int) -> Tensor:
        if seeds is None:
            return torch.zeros(batch, dtype=torch.int64)
        _check_tensor("seeds", seeds)
        if seeds.shape != (batch,) or seeds.dtype != torch.int64:
            raise ValueError(f"seeds are ({batch},) int64, one an image, not {tuple(seeds.shape)} {seeds.dtype}")
        return seeds.cpu()

    @torch.inference_mode()
    def encode_unchecked(self, images: Tensor, seeds: Tensor | None = None) -> Any:
        """As `encode`, but what the adapter returns is passed on as it is: for those who examine adapters."""
        images = self._check_images(images)
        with self._compute():
            return self._encode(images, self._seeds(seeds, len(images)))

    def encode(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Images to ids.

        Args:
            images: (B, 3, input_size, input_size) float32 in [0, 1].
            seeds: (B,) int64, for tokenizers that draw noise; zeros if not given.

        Returns:
            (B, L) int64 on the tokenizer's device, L the spec's `tokens`, each from 0 to `codebook_size` - 1.

        Raises:
            ValueError: another shape or dtype; or the adapter returns other ids than its spec promises.

        >>> import lactok, torch
        >>> lactok.load("llamagen-vq16-tiny").encode(torch.zeros(1, 3, 256, 256)).shape
        torch.Size([1, 256])
        """
        return self._check_ids(self.encode_unchecked(images, seeds), len(images))

    @torch.inference_mode()
    def decode_unclamped(self, ids: Tensor, seeds: Tensor | None = None) -> Tensor:
        """As `decode`, but what the adapter returns is passed on as it is: for those who examine adapters."""
        _check_tensor("ids", ids)
        if ids.ndim != 2 or ids.dtype != torch.int64:
            raise ValueError(f"ids are (B, L) int64, not {tuple(ids.shape)} {ids.dtype}")
        longest = self.spec.tokens
        if (option := self.spec.options.get("tokens")) is not None and option.high is not None:
            longest = int(option.high)
        shortest = 1 if option is not None else longest
        if longest is not None and shortest is not None and not shortest <= ids.shape[1] <= longest:
            allowed = longest if shortest == longest else f"{shortest} to {longest}"
            raise ValueError(f"{self.spec.name} takes {allowed} ids an image, not {ids.shape[1]}")
        self._check_codes(ids, f"its ids are 0 to {(self.spec.codebook_size or 0) - 1}, not")
        with self._compute():
            return self._decode(ids.to(self.device), self._seeds(seeds, len(ids)))

    def decode(self, ids: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Ids to images.

        Args:
            ids: (B, L) int64; a tokenizer with the option `tokens` takes any shorter L too.
            seeds: as in `encode`.

        Returns:
            (B, 3, output_size, output_size) float32 in [0, 1] on the tokenizer's device.

        Raises:
            ValueError: ids that are not (B, L) int64, of another length or not codes of this tokenizer.
            UserError: the decoder overflowed in its compute dtype.
        """
        return self._images(self.decode_unclamped(ids, seeds), len(ids))

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`decode(encode(images))` and the bits it took, (B,) float64."""
        ids = self.encode(images, seeds)
        bits = self.spec.bits or 0.0
        return self.decode(ids, seeds), torch.full((len(ids),), bits, dtype=torch.float64)


class Generator(Adapter):
    """A generator of images; an adapter implements `_generate` and, for more than one file, `load_assets`.

    `generate` checks what goes in and comes out, as `Tokenizer.encode` and `decode` do.
    """

    spec: GeneratorSpec

    def __init__(self, spec: GeneratorSpec | None = None):
        super().__init__(spec)

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        """Conditions and seeds (B,) int64 on the CPU -> images (B, 3, output_size, output_size), clamped afterwards.

        All noise comes from `lactok.randomness.noise(seeds, ...)`: an image must not depend on its neighbours.
        """
        raise NotImplementedError(f"{self.spec.name} generates nothing")

    def place(self, device: str | torch.device, dtype: torch.dtype) -> None:
        """Move to where it computes; an adapter whose library loads the weights itself does that here."""
        self.dtype = dtype
        self.to(device)

    def settings(self) -> dict[str, Any]:
        """What its pictures depend on besides the spec and its assets, as JSON; nothing for most adapters."""
        return {}

    @torch.inference_mode()
    def generate(self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int]) -> Tensor:
        """Pictures of captions or classes.

        Args:
            conditions: B captions, or B ImageNet classes 0 to 999, as `spec.condition` says.
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
        return self._images(out, len(seeds))

    def _check(self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int]) -> None:
        name = self.spec.name
        if isinstance(conditions, str) or not conditions or len(conditions) != len(seeds):
            given = "a string" if isinstance(conditions, str) else f"{len(conditions)} and {len(seeds)}"
            raise ValueError(f"{name} takes a list of one condition or more and a seed for each, not {given}")
        text = self.spec.condition == "text"
        for condition in conditions:
            if text != isinstance(condition, str) or not (text or _is_integer(condition, 1000)):
                raise ValueError(f"{name} takes {'captions' if text else 'classes 0 to 999'}, not {condition!r}")
        for seed in seeds:
            if not _is_integer(seed, 2**63):
                raise ValueError(f"seeds are integers from 0 to 2^63 - 1, not {seed!r}")


def _check_tensor(argument: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"`{argument}` {type(value).__name__}: a torch tensor")


def _is_integer(value: object, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end
