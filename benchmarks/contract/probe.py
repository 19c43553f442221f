"""The results of one adapter on three photographs, computed once, which the rules of `benchmarks.contract` examine."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import lactok
from benchmarks.contract.random_weights import load_random
from lactok import images, registry
from lactok.images import Prepare
from lactok.nn.quantize import count_near_ties
from lactok.randomness import seed_of
from lactok.tokenizer import Reconstructor

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea")  # names in skimage.data
FREE_SIZE = 128  # side in pixels of the images given to a tokenizer that takes any size
PIXEL_TOLERANCE = 1e-4  # how much rounding may change pixels in [0, 1] at another batch size

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """What one rule found.

    Attributes:
        rule: the title of the rule.
        state: "ok" where it holds, "FAIL" where it is broken, "-" where it could not be tried.
        text: why, in one line.
    """

    rule: str
    state: Literal["ok", "FAIL", "-"]
    text: str


class Broken(Exception):
    """Raised where a rule does not hold; the message says what is wrong and how to mend it."""


class Inapplicable(Exception):
    """Raised where a rule does not apply to this tokenizer."""


class NotTried(Exception):
    """Raised where a rule cannot be tried because an earlier one failed; the message names what failed."""


class ComputedOnce(Generic[T]):
    """A property of a `Trial` that is computed at its first use.

    Where computing it fails, the rule that asked first gets the exception, and every later one gets `NotTried`.
    """

    def __init__(self, step: str, compute: Callable[[Any], T]):
        self.step, self.compute, self.name = step, compute, compute.__name__

    @overload
    def __get__(self, trial: None, owner: type) -> ComputedOnce[T]: ...
    @overload
    def __get__(self, trial: Trial, owner: type) -> T: ...
    def __get__(self, trial: Trial | None, owner: type) -> ComputedOnce[T] | T:
        if trial is None:
            return self
        if self.name in trial.failures:
            raise NotTried(trial.failures[self.name])
        if self.name not in trial.computed:
            try:
                trial.computed[self.name] = self.compute(trial)
            except Inapplicable:
                raise
            except NotTried as reason:
                trial.failures[self.name] = str(reason)
                raise
            except BaseException:
                trial.failures[self.name] = f"{self.step} failed, see above"
                raise
        return trial.computed[self.name]


def computed_once(step: str) -> Callable[[Callable[[Any], T]], ComputedOnce[T]]:
    """Make a method of `Trial` a property that is computed once; `step` is what later rules are told has failed."""

    def decorate(compute: Callable[[Any], T]) -> ComputedOnce[T]:
        return ComputedOnce(step, compute)

    return decorate


class Trial:
    """An adapter and what it computes from the three photographs.

    Attributes:
        entry: the registered entry, with every option at its default.
        spec: the tokenizer's spec with the options of the name.
        has_ids: False for a reference row, which reconstructs images without giving ids.
        seeds: (3,) int64, a seed for each photograph.
        source_file: the path of the adapter's source file, or None where it cannot be found.
        near_ties: how many ids of each photograph are near ties, in which rounding alone decides between two codes.
        images_unchanged: False if `encode` changed the images that it was given.
        random: whether the network has random weights, which need no file.
        computed: results of `ComputedOnce` properties by name.
        failures: why a `ComputedOnce` property could not be computed, by name.
    """

    def __init__(self, name: str, entry: registry.Entry, device: str, random: bool = False):
        self.name, self.entry, self.device, self.random = name, entry, device, random
        self.spec = registry.tokenizer_spec(name)
        self.has_ids = self.spec.tokens is not None
        self.source_file = find_source_file(entry.factory)
        self.computed: dict[str, Any] = {}
        self.failures: dict[str, str] = {}
        self.near_ties = [0] * len(PHOTOGRAPHS)
        self.images_unchanged = True
        self.seeds = torch.tensor([seed_of(0, p) for p in PHOTOGRAPHS])

    @property
    def method(self) -> str:
        """The name of the adapter's method that makes the output, as messages write it."""
        return "`_decode`" if self.has_ids else "reconstruct"

    def needs_ids(self) -> None:
        """Raise Inapplicable for a tokenizer without ids."""
        if not self.has_ids:
            raise Inapplicable

    @computed_once("preparing the photographs")
    def images(self) -> Tensor:
        """The photographs, (3, 3, S, S) float32 in [0, 1], at the tokenizer's input size S."""
        import skimage.data

        size = self.spec.input_size or FREE_SIZE
        squares = [images.prepare(Image.fromarray(getattr(skimage.data, p)()), Prepare(size)) for p in PHOTOGRAPHS]
        return torch.stack([torch.from_numpy(s.copy()).permute(2, 0, 1) for s in squares]).float() / 255

    @computed_once("loading")
    def tokenizer(self) -> lactok.Tokenizer:
        """The tokenizer with its weights, on the trial's device."""
        return self.load(self.name)

    def load(self, name: str) -> lactok.Tokenizer:
        """Return a tokenizer with its weights, or random ones, on the trial's device."""
        return load_random(name, self.device) if self.random else lactok.load(name, self.device)

    @computed_once("encode")
    def ids(self) -> Tensor:
        """What `_encode` returned for the photographs, on the CPU and otherwise unchecked."""
        self.needs_ids()
        given = self.images.clone()
        with count_near_ties() as counts:
            ids = self.tokenizer.encode_unchecked(given, self.seeds)
        if not isinstance(ids, Tensor):
            raise Broken(f"encode gives a {type(ids).__name__} instead of a tensor of ids; return the ids alone")
        self.images_unchanged = torch.equal(given, self.images)
        if counts:
            self.near_ties = torch.stack([c.cpu() for c in counts]).sum(0).tolist()
        return ids.cpu()

    @computed_once("ids that can be decoded")
    def valid_ids(self) -> Tensor:
        """The ids, (3, L) int64, all within the codebook; NotTried where they are not."""
        ids = self.ids.long()
        size = self.spec.codebook_size or 0
        if ids.ndim != 2 or ids.numel() == 0 or int(ids.min()) < 0 or int(ids.max()) >= size:
            raise NotTried("the ids are wrong, see above")
        return ids

    @computed_once("decode")
    def _decoded(self) -> tuple[Tensor, Tensor, Tensor]:
        """The output, the output before it is clamped, and the decoder's input as it is after the call."""
        given = self.output_source.clone()
        if not self.has_ids:
            out = self.reconstruct(given, self.seeds)[0]
            return out, out, given
        raw = self.tokenizer.decode_unclamped(given, self.seeds).cpu()  # the clamp would hide a wrong scale
        return raw.float().clamp(0, 1), raw, given

    @property
    def output_source(self) -> Tensor:
        """What the output is made from: the ids, or the images where the tokenizer has no ids."""
        return self.valid_ids if self.has_ids else self.images

    @property
    def output(self) -> Tensor:
        """The reconstructions, (3, 3, S, S) in [0, 1]."""
        return self._decoded[0]

    @property
    def unclamped_output(self) -> Tensor:
        """What `_decode` returned, before it is clamped to [0, 1]."""
        return self._decoded[1]

    @property
    def decoder_input(self) -> Tensor:
        """The tensor that the decoder was given, as it is after the call."""
        return self._decoded[2]

    def complete_output(self) -> Tensor:
        """Return the reconstructions; raise NotTried where there is not one for each photograph."""
        if len(self.output) != len(self.images):
            raise NotTried("the shape of the output is wrong, see above")
        return self.output

    def output_again(self, part: slice, seeded: bool = True) -> Tensor:
        """Compute the output of some of the photographs anew, from the ids; without seeds where `seeded` is False."""
        given = self.output_source[part].clone()
        seeds = self.seeds[part] if seeded else None
        if self.has_ids:
            return self.tokenizer.decode(given, seeds).cpu()
        return self.reconstruct(given, seeds)[0].cpu()

    def reconstruct(self, images: Tensor, seeds: Tensor | None) -> tuple[Tensor, Tensor]:
        """Call the adapter's `reconstruct`; raise NotTried where a tokenizer without ids has none of its own."""
        if not self.has_ids and not implements_reconstruct(type(self.tokenizer)):
            raise NotTried("there is no `reconstruct`, see above")
        return self.tokenizer.reconstruct(images, seeds)

    def count_differing(self, ids: Tensor, expected: Tensor, image: int, advice: str) -> int:
        """Count the ids of photograph number `image` that differ from the expected ones.

        Raises:
            Broken: more ids differ than are near ties; `advice` ends the message.
        """
        count = int((ids.cpu() != expected).sum())
        if count > self.near_ties[image]:
            ties = f", only {self.near_ties[image]} near ties" if self.near_ties[image] else ""
            raise Broken(f"{count} of {expected.numel()} ids of {PHOTOGRAPHS[image]} differ{ties}; {advice}")
        return count

    def psnr(self) -> str:
        """Return the PSNR of the output in words, or "" where its shape is wrong.

        It is reported and is no rule, since some tokenizers keep an image's meaning instead of its pixels.
        """
        shape = self.output.shape
        if len(shape) != 4 or shape[:2] != self.images.shape[:2] or shape[2] != shape[3]:
            return ""
        out = images.to_resolution(self.output, self.images.shape[-1])
        error = float((out - self.images).square().mean())
        return f"; PSNR {10 * np.log10(1 / error):.1f} dB" if error > 0 else "; nothing lost"

    def release(self) -> None:
        """Drop the network, so that the next one can have its memory."""
        self.computed.pop("tokenizer", None)


def implements_reconstruct(kind: type) -> bool:
    """Return whether a class implements `reconstruct` itself."""
    return getattr(kind, "reconstruct", None) not in (Reconstructor.reconstruct, lactok.Tokenizer.reconstruct)


def find_source_file(factory: Any) -> str | None:
    """Return the path of the file that defines a class or function, or None where there is none."""
    try:
        return inspect.getsourcefile(factory)
    except (TypeError, OSError):
        return None


def one_line(error: BaseException) -> str:
    """Return an exception's message on one line of at most 300 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def location(error: BaseException, source_file: str | None = None) -> str:
    """Return where in the adapter's code an exception arose, as " (FILE, line N)", or "" where that is unknown.

    Args:
        error: the exception with its traceback.
        source_file: the adapter's file; None for an error while importing, where the imported file is named.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if source_file:
        own = [f for f in frames if f.filename == source_file]
    else:
        machinery = ("<frozen", str(Path(registry.__file__).parent), str(Path(__file__).parent), importlib.__path__[0])
        own = [f for f in frames if not f.filename.startswith(machinery)]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
