"""The interfaces that all models have: `Tokenizer` (image to ids to image) and `Generator` (caption or class to image).

`Reconstructor` is what a tokenizer has in common with a row that has no ids, such as JPEG.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lactok import images as pixels
from lactok import weights
from lactok.device import exact_float32, instead_of
from lactok.errors import UserError, WrongValue
from lactok.randomness import seed_of
from lactok.specs import GeneratorSpec, TokenizerSpec

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SLACK = 1e-3  # by which values of images may lie outside [0, 1]: a quarter of one of 256 levels


class Adapter(nn.Module):
    """The base of tokenizers and generators: a network with weights, a device and a compute dtype.

    Args:
        spec: what it is; by default the class's own attribute `spec`.

    Raises:
        WrongValue: neither is given.
    """

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
        """Load the weights; this default suits an adapter with one asset and one network, `self.model`.

        Args:
            assets: asset name -> {name: tensor}, all assets of the spec.
        """
        for tensors in assets.values():
            weights.load_strict(self.get_submodule("model"), tensors, self.spec.name)

    @property
    def device(self) -> torch.device:
        """Where the weights are; the CPU for an adapter without any."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _compute(self) -> AbstractContextManager[object]:
        """Return the context in which the network computes: exact float32, or autocast to the compute dtype."""
        if self.dtype == torch.float32:
            return exact_float32()
        return torch.autocast(self.device.type, self.dtype)

    def _checked_images(self, out: object, batch: int) -> Tensor:
        """Return the images that the adapter made, as float32 in [0, 1].

        Raises:
            ValueError: they are not (`batch`, 3, output_size, output_size), as the spec promises.
            UserError: they are not finite, since the network overflowed in its compute dtype.
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
            raise UserError(f"{self.spec.name}: its output is not finite{instead_of(self.dtype)}")
        return out.float().clamp(0, 1)


class Reconstructor(Adapter):
    """Turns an image into a similar one at a cost in bits, as a codec does.

    An adapter of a reference row without ids (JPEG, a continuous VAE) derives from this class and implements
    `reconstruct` alone.

    Args:
        spec: what it is; by default the class's own attribute `spec`.
    """

    spec: TokenizerSpec

    def __init__(self, spec: TokenizerSpec | None = None):
        super().__init__(spec)

    def place(self, device: str | torch.device, dtype: torch.dtype, offload: bool, compile: bool) -> None:
        """Move the network to the device where it computes, and set its compute dtype.

        Adapters that support `offload` or `compile` (see `lactok.load`) override this method.

        Raises:
            WrongValue: `offload` or `compile` is asked for, which this tokenizer does not support.
        """
        for option, is_asked_for in (("offload", offload), ("compile", compile)):
            if is_asked_for:
                raise WrongValue(f"{self.spec.name} has no {option}; load it without")
        self.dtype = dtype
        self.to(device)

    def checked_inputs(self, images: Tensor) -> Tensor:
        """Return images that the caller gave, on the tokenizer's device; an adapter's `reconstruct` begins with it.

        Values may lie outside [0, 1] by `SLACK`, which is what resizing and low precision leave.

        Raises:
            ValueError: they are not (B, 3, input_size, input_size) float32 in [0, 1]; WrongValue for NaN and infinity.
        """
        _check_tensor("images", images)
        name, size = self.spec.name, self.spec.input_size
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[1] != 3 or (size is not None and shape[2:] != (size, size)):
            raise ValueError(f"{name} takes images (B, 3, {size or 'H'}, {size or 'W'}), not {shape}")
        if images.dtype != torch.float32:
            raise ValueError(f"{name} takes float32 images in [0, 1], not {images.dtype}")
        if images.numel() and not images.is_meta:
            low, high = torch.stack(images.aminmax()).tolist()  # the one value that is waited for on a GPU
            if not math.isfinite(low + high):
                raise WrongValue(f"{name} takes float32 images in [0, 1], these are not finite, from {low} to {high}")
            if low < -SLACK or high > 1 + SLACK:
                raise ValueError(f"{name} takes float32 images in [0, 1], these reach from {low:.4g} to {high:.4g}")
        return images.to(self.device)

    def _checked_seeds(self, seeds: Tensor | None, batch: int) -> Tensor:
        """Return the seeds that the caller gave, on the CPU, or zeros; raise ValueError if they are not (B,) int64."""
        if seeds is None:
            return torch.zeros(batch, dtype=torch.int64)
        _check_tensor("seeds", seeds)
        if seeds.shape != (batch,) or seeds.dtype != torch.int64:
            raise ValueError(f"seeds are ({batch},) int64, one an image, not {tuple(seeds.shape)} {seeds.dtype}")
        return seeds.cpu()

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode and decode images.

        Args:
            images: (B, 3, S, S) float32 in [0, 1], S the spec's `input_size`, or any side where that is None.
            seeds: (B,) int64, for models that draw noise; zeros if not given.

        Returns:
            The reconstructions (B, 3, S', S') float32 in [0, 1], S' the spec's `output_size`, and the bits that each
            image took, (B,) float64.
        """
        raise NotImplementedError(f"{type(self).__name__} implements no `reconstruct`")

    def __getattr__(self, name: str) -> Any:
        if name in ("encode", "decode"):
            raise AttributeError(
                f"{self.spec.name} has no ids, so that it has no {name}; reconstruct(images) returns reconstructions "
                "and their bits"
            )
        return super().__getattr__(name)

    def reconstruct_image(self, picture: str | PathLike[str] | Image.Image | np.ndarray, seed: int = 0) -> Image.Image:
        """Reconstruct one picture, prepared as the default protocol prepares a photograph.

        The picture is turned upright and laid over white where it is transparent. Its central square is resized to
        the side of the output, and from there to the network's own size by the network's own filter. The result is
        rounded to the nearest level.

        Args:
            picture: a file's path, a PIL image, or an array (H, W, 3) or (H, W) uint8.
            seed: the seed of the noise, for models that draw any.

        Returns:
            A square RGB image with the spec's `output_size` as its side; where that is None, the `input_size`, or
            else the shorter side of the picture.

        Raises:
            WrongValue: this is no picture.
            MissingFile: there is no such file.

        >>> from PIL import Image
        >>> import lactok
        >>> lactok.load("resize-8").reconstruct_image(Image.new("RGB", (64, 48), "red")).size
        (48, 48)
        """
        photograph = pixels.open_picture(picture)
        side = self.spec.output_size or self.spec.input_size or min(photograph.size)
        reference = pixels.prepare(photograph, pixels.Prepare(side))
        image = pixels.tokenizer_input(reference, self.spec.input_size, self.spec.resample)
        out, _ = self.reconstruct(image[None], torch.tensor([seed_of(seed, "picture")], dtype=torch.int64))
        return pixels.to_pil(pixels.to_uint8(out.cpu(), "nearest")[0])


class Tokenizer(Reconstructor):
    """Turns images into ids and ids into images.

    An adapter implements `_encode`, `_decode` and, if it has more than one file of weights, `load_assets`. `encode`
    and `decode` check what goes in and comes out, switch gradients off and set the compute dtype, so that an adapter
    contains nothing but the model's own arithmetic.
    """

    def _encode(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return the ids (B, L) int64 of images (B, 3, input_size, input_size) float32 in [0, 1].

        `seeds` are (B,) int64 on the CPU, for `lactok.randomness.noise`.
        """
        raise NotImplementedError(f"{self.spec.name} has no ids")

    def _decode(self, ids: Tensor, seeds: Tensor) -> Tensor:
        """Return the images (B, 3, output_size, output_size) of ids (B, L) int64; they are clamped to [0, 1] later."""
        raise NotImplementedError(f"{self.spec.name} has no ids")

    @torch.inference_mode()
    def code_vectors(self) -> Tensor:
        """Return the vectors between which the quantizer chooses, (codebook_size, C) float32, in the order of the ids.

        They are those of the only module that has a method `codes`, as `lactok.nn.quantize.VectorQuantizer` and `FSQ`
        have; a tokenizer with another kind of quantizer overrides this.

        Raises:
            WrongValue: there is no such module, or several, or it has another number of codes.
        """
        methods: list[Any] = [getattr(module, "codes", None) for module in self.modules()]
        found = [method() for method in methods if callable(method)]
        if len(found) != 1 or len(found[0]) != self.spec.codebook_size:
            raise WrongValue(f"{self.spec.name} has no single codebook of vectors, so that no code is near another")
        return found[0].float()

    def _checked_ids(self, ids: object, batch: int) -> Tensor:
        """Return the ids that the adapter made; raise ValueError if the spec promises others."""
        if not isinstance(ids, Tensor):
            raise ValueError(f"the adapter of {self.spec.name} returns {type(ids).__name__} instead of a tensor of ids")
        expected = (batch, self.spec.tokens)
        if tuple(ids.shape) != expected or ids.dtype != torch.int64:
            raise ValueError(
                f"the adapter of {self.spec.name} returns ids {tuple(ids.shape)} {ids.dtype}; its spec promises "
                f"{expected} torch.int64"
            )
        self._check_range(ids, f"its spec promises ids 0 to {(self.spec.codebook_size or 0) - 1}, its adapter returns")
        return ids

    def _check_range(self, ids: Tensor, expectation: str) -> None:
        """Raise ValueError, with a message that begins with `expectation`, for ids that are no codes."""
        size = self.spec.codebook_size
        if size is not None and ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < size):
            raise ValueError(f"{self.spec.name}: {expectation} {int(ids.min())} to {int(ids.max())}")

    @torch.inference_mode()
    def encode_unchecked(self, images: Tensor, seeds: Tensor | None = None) -> Any:
        """Encode as `encode` does, but return what the adapter returned, unchecked; for tests of adapters."""
        images = self.checked_inputs(images)
        with self._compute():
            return self._encode(images, self._checked_seeds(seeds, len(images)))

    def encode(self, images: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Turn images into ids.

        Args:
            images: (B, 3, input_size, input_size) float32 in [0, 1].
            seeds: (B,) int64, for tokenizers that draw noise; zeros if not given.

        Returns:
            (B, L) int64 on the tokenizer's device, L the spec's `tokens`, each from 0 to `codebook_size` - 1.

        Raises:
            ValueError: the images or seeds have another shape or dtype, or the images other values; or the adapter
                returns other ids than its spec promises.

        >>> import lactok, torch
        >>> lactok.load("llamagen-vq16-tiny").encode(torch.zeros(1, 3, 256, 256)).shape
        torch.Size([1, 256])
        """
        return self._checked_ids(self.encode_unchecked(images, seeds), len(images))

    @torch.inference_mode()
    def decode_unclamped(self, ids: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Decode as `decode` does, but return what the adapter returned, neither checked nor clamped; for tests."""
        self._check_given_ids(ids)
        with self._compute():
            return self._decode(ids.to(self.device), self._checked_seeds(seeds, len(ids)))

    def _check_given_ids(self, ids: Tensor) -> None:
        """Raise ValueError for ids that the caller gave and this tokenizer cannot decode."""
        _check_tensor("ids", ids)
        if ids.ndim != 2 or ids.dtype != torch.int64:
            raise ValueError(f"ids are (B, L) int64, not {tuple(ids.shape)} {ids.dtype}")
        shortest = longest = self.spec.tokens
        option = self.spec.options.get("tokens")
        if option is not None:  # any prefix of the ids can be decoded
            shortest = 1
            if option.high is not None:
                longest = int(option.high)
        if longest is not None and shortest is not None and not shortest <= ids.shape[1] <= longest:
            allowed = longest if shortest == longest else f"{shortest} to {longest}"
            raise ValueError(f"{self.spec.name} takes {allowed} ids an image, not {ids.shape[1]}")
        self._check_range(ids, f"its ids are 0 to {(self.spec.codebook_size or 0) - 1}, not")

    def decode(self, ids: Tensor, seeds: Tensor | None = None) -> Tensor:
        """Turn ids into images.

        Args:
            ids: (B, L) int64; a tokenizer with the option `tokens` takes any shorter L too.
            seeds: (B,) int64, for tokenizers that draw noise; zeros if not given.

        Returns:
            (B, 3, output_size, output_size) float32 in [0, 1] on the tokenizer's device.

        Raises:
            ValueError: the ids are not (B, L) int64, have another length or are no codes of this tokenizer; or the
                adapter returns other images than its spec promises.
            UserError: the decoder overflowed in its compute dtype.
        """
        return self._checked_images(self.decode_unclamped(ids, seeds), len(ids))

    def reconstruct(self, images: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return `decode(encode(images))` and the bits that each image took, (B,) float64; see `Reconstructor`."""
        ids = self.encode(images, seeds)
        bits = self.spec.bits or 0.0
        return self.decode(ids, seeds), torch.full((len(ids),), bits, dtype=torch.float64)


class Generator(Adapter):
    """Turns captions or classes into images.

    An adapter implements `_generate` and, if it has more than one file of weights, `load_assets`. `generate` checks
    what goes in and comes out, as `Tokenizer.encode` and `decode` do.
    """

    spec: GeneratorSpec
    batches_on_cpu = False  # whether `stream` is faster with several images at a time on a CPU too

    def __init__(self, spec: GeneratorSpec | None = None):
        super().__init__(spec)

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        """Return the images (B, 3, output_size, output_size) of B conditions; they are clamped to [0, 1] later.

        `seeds` are (B,) int64 on the CPU. All noise must come from `lactok.randomness.noise(seeds, ...)`, so that no
        image depends on the others of its batch.
        """
        raise NotImplementedError(f"{self.spec.name} generates nothing")

    def place(self, device: str | torch.device, dtype: torch.dtype) -> None:
        """Move the network to the device where it computes, and set its compute dtype.

        An adapter whose library loads the weights by itself does that here.
        """
        self.dtype = dtype
        self.to(device)

    def settings(self) -> dict[str, Any]:
        """Return what the pictures depend on besides the spec and its assets, for JSON; nothing for most adapters."""
        return {}

    @torch.inference_mode()
    def generate(self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int]) -> Tensor:
        """Generate an image for each caption or class.

        Args:
            conditions: B captions, or B ImageNet classes 0 to 999, as `spec.condition` says.
            seeds: B seeds of the noise, each from 0 to 2^63 - 1.

        Returns:
            (B, 3, output_size, output_size) float32 in [0, 1], on the generator's device.

        Raises:
            ValueError: the conditions are of the other kind, there are not as many seeds, or a seed is out of range;
                or the adapter returns other images than its spec promises.
            UserError: the network overflowed in its compute dtype.
        """
        self._check_arguments(conditions, seeds)
        with self._compute():
            out = self._generate(list(conditions), torch.tensor(list(seeds), dtype=torch.int64))  # type: ignore[arg-type]
        return self._checked_images(out, len(seeds))

    def stream(
        self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int], batch: int
    ) -> Iterator[tuple[slice, Tensor]]:
        """Generate many images, some at a time, in their order; an adapter may work ahead while the caller uses them.

        Args:
            conditions, seeds: as of `generate`, one of each for every image.
            batch: number of images that the network makes at a time.

        Yields:
            The places of a batch, and its images as `generate` returns them.
        """
        for start in range(0, len(seeds), batch):
            place = slice(start, min(start + batch, len(seeds)))
            yield place, self.generate(conditions[place], seeds[place])

    def compile_steps(self) -> None:
        """Compile the network with `torch.compile`; `lactok.load_generator` calls this where it is asked for.

        Raises:
            WrongValue: this generator has no compiled form.
        """
        raise WrongValue(f"{self.spec.name} has no compile; load it without")

    def _check_arguments(self, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int]) -> None:
        """Raise ValueError for conditions or seeds that this generator does not take."""
        name = self.spec.name
        if not hasattr(seeds, "__len__"):
            raise ValueError(f"{name} takes a list of seeds, one for each condition, not {seeds!r}")
        if isinstance(conditions, str) or not conditions or len(conditions) != len(seeds):
            given = "a string" if isinstance(conditions, str) else f"{len(conditions)} and {len(seeds)}"
            raise ValueError(f"{name} takes a list of one condition or more and a seed for each, not {given}")
        for condition in conditions:
            if self.spec.condition == "text":
                is_taken, taken = isinstance(condition, str), "captions"
            else:
                is_taken, taken = _is_integer(condition, 1000), "classes 0 to 999"
            if not is_taken:
                raise ValueError(f"{name} takes {taken}, not {condition!r}")
        for seed in seeds:
            if not _is_integer(seed, 2**63):
                raise ValueError(f"seeds are integers from 0 to 2^63 - 1, not {seed!r}")


def _check_tensor(argument: str, value: object) -> None:
    """Raise ValueError, which names the argument, if a value is no tensor."""
    if not isinstance(value, Tensor):
        raise ValueError(f"`{argument}` {type(value).__name__}: a torch tensor")


def _is_integer(value: object, end: int) -> bool:
    """Return whether a value is an integer from 0 to `end` - 1, also numpy's or torch's; a truth value is none."""
    try:
        return not isinstance(value, bool) and 0 <= operator.index(value) < end  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
