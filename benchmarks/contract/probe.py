"""One adapter on three photographs, once: what the rules of `benchmarks.contract` look at."""

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
from lactok import images, registry
from lactok.images import Prepare
from lactok.nn.quantize import count_near_ties
from lactok.randomness import seed_of
from lactok.tokenizer import Reconstructor

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea")  # scikit-image carries these
FREE_SIZE = 128  # pixels given to rows that work at any size
PIXEL_TOLERANCE = 1e-4  # of [0, 1]: what another batch size may change by rounding

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """What one rule found: it holds ("ok"), is broken ("FAIL") or could not be tried ("-"), and why."""

    rule: str
    state: Literal["ok", "FAIL", "-"]
    text: str


class Broken(Exception):
    """A rule does not hold; the message says what is wrong and how to mend it."""


class Inapplicable(Exception):
    """A rule that does not apply to this tokenizer."""


class NotTried(Exception):
    """A rule that cannot be tried, because of what failed before it; the message names that."""


class once(Generic[T]):
    """A property computed once. If that fails, the first rule that asks meets the error and the others are told so."""

    def __init__(self, make: Callable[[Any], T]):
        self.make, self.name = make, make.__name__

    @overload
    def __get__(self, trial: None, owner: type) -> once[T]: ...
    @overload
    def __get__(self, trial: Trial, owner: type) -> T: ...
    def __get__(self, trial: Trial | None, owner: type) -> once[T] | T:
        if trial is None:
            return self
        if self.name in trial.failed:
            raise NotTried(trial.failed[self.name])
        if self.name not in trial.kept:
            try:
                trial.kept[self.name] = self.make(trial)
            except Inapplicable:
                raise
            except NotTried as reason:
                trial.failed[self.name] = str(reason)
                raise
            except BaseException:
                trial.failed[self.name] = f"{self.make.__doc__} failed, see above"
                raise
        return trial.kept[self.name]


class Trial:
    """An adapter by name, its results on the photographs, and where its code lies.

    Attributes:
        entry: as registered, options at their defaults; `spec`: with the options of the name.
        images: (3, 3, S, S) float32 in [0, 1], brought to S by the adapter's own filter; `seeds`: (3,) int64.
        home: the adapter's source file, or None.
        ties: near ties of each image in the batch, (3,).
    """

    def __init__(self, name: str, entry: registry.Entry, device: str):
        self.name, self.entry, self.device = name, entry, device
        self.spec = registry.tokenizer_spec(name)
        self.has_ids = self.spec.tokens is not None
        self.home = source_file(entry.factory)
        self.kept: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        self.ties = [0] * len(PHOTOGRAPHS)
        self.ids_kept_images = True
        self.seeds = torch.tensor([seed_of(0, p) for p in PHOTOGRAPHS])

    @property
    def way(self) -> str:
        return "`_decode`" if self.has_ids else "reconstruct"

    def needs_ids(self) -> None:
        """Raise Inapplicable for a row without ids."""
        if not self.has_ids:
            raise Inapplicable

    @once
    def images(self) -> Tensor:
        """preparing the photographs"""
        import skimage.data

        size = self.spec.input_size or FREE_SIZE
        squares = [images.prepare(Image.fromarray(getattr(skimage.data, p)()), Prepare(size)) for p in PHOTOGRAPHS]
        return torch.stack([torch.from_numpy(s.copy()).permute(2, 0, 1) for s in squares]).float() / 255

    @once
    def tokenizer(self) -> lactok.Tokenizer:
        """loading"""
        return lactok.load(self.name, self.device)

    @once
    def ids(self) -> Tensor:
        """encode"""
        self.needs_ids()
        given = self.images.clone()
        with count_near_ties() as counts:
            ids = self.tokenizer.encode_unchecked(given, self.seeds)
        if not isinstance(ids, Tensor):
            raise Broken(f"encode gives a {type(ids).__name__} instead of a tensor of ids; return the ids alone")
        self.ids_kept_images = torch.equal(given, self.images)
        if counts:
            self.ties = torch.stack([c.cpu() for c in counts]).sum(0).tolist()
        return ids.cpu()

    @once
    def codes(self) -> Tensor:
        """ids that can be decoded"""
        ids = self.ids.long()
        size = self.spec.codebook_size or 0
        if ids.ndim != 2 or ids.numel() == 0 or int(ids.min()) < 0 or int(ids.max()) >= size:
            raise NotTried("the ids are wrong, see above")
        return ids

    @once
    def _decoded(self) -> tuple[Tensor, Tensor, Tensor]:
        """decode"""
        given = (self.codes if self.has_ids else self.images).clone()
        if not self.has_ids:
            out = self.reconstruct(given, self.seeds)[0]
            return out, out, given
        raw = self.tokenizer.decode_unclamped(given, self.seeds).cpu()  # the clamp would hide a wrong scale
        return raw.float().clamp(0, 1), raw, given

    @property
    def output(self) -> Tensor:
        """The reconstructions (3, 3, S, S)."""
        return self._decoded[0]

    @property
    def raw(self) -> Tensor:
        """What `_decode` returned, before the clamp."""
        return self._decoded[1]

    @property
    def output_input(self) -> Tensor:
        """What the decoder was given, after it ran."""
        return self._decoded[2]

    @property
    def comparable(self) -> Tensor:
        """The reconstructions, to compare others with; NotTried where there is not one for each photograph."""
        if len(self.output) != len(self.images):
            raise NotTried("the shape of the output is wrong, see above")
        return self.output

    def pixels(self, part: slice, seeded: bool = True) -> Tensor:
        """A new run of some of the photographs from the stored ids."""
        given = (self.codes if self.has_ids else self.images)[part].clone()
        seeds = self.seeds[part] if seeded else None
        if self.has_ids:
            return self.tokenizer.decode(given, seeds).cpu()
        return self.reconstruct(given, seeds)[0].cpu()

    def reconstruct(self, images: Tensor, seeds: Tensor | None) -> tuple[Tensor, Tensor]:
        """The adapter's own `reconstruct`; NotTried where a row without ids has none."""
        if not self.has_ids and not implements_reconstruct(type(self.tokenizer)):
            raise NotTried("there is no `reconstruct`, see above")
        return self.tokenizer.reconstruct(images, seeds)

    def differing(self, ids: Tensor, expected: Tensor, image: int, advice: str) -> int:
        """How many ids of a photograph differ; Broken, with the advice, where that is more than its near ties."""
        count = int((ids.cpu() != expected).sum())
        if count > self.ties[image]:
            ties = f", only {self.ties[image]} near ties" if self.ties[image] else ""
            raise Broken(f"{count} of {expected.numel()} ids of {PHOTOGRAPHS[image]} differ{ties}; {advice}")
        return count

    def psnr(self) -> str:
        """A word on how much the output looks like the input, in dB; no rule, since some tokenizers keep only sense."""
        shape = self.output.shape
        if len(shape) != 4 or shape[:2] != self.images.shape[:2] or shape[2] != shape[3]:
            return ""
        out = images.to_resolution(self.output, self.images.shape[-1])
        error = float((out - self.images).square().mean())
        return f"; PSNR {10 * np.log10(1 / error):.1f} dB" if error > 0 else "; nothing lost"

    def release(self) -> None:
        """Let the network go: the next one may need its memory."""
        self.kept.pop("tokenizer", None)


def implements_reconstruct(kind: type) -> bool:
    """Whether a class has a `reconstruct` of its own."""
    return getattr(kind, "reconstruct", None) not in (Reconstructor.reconstruct, lactok.Tokenizer.reconstruct)


def source_file(factory: Any) -> str | None:
    try:
        return inspect.getsourcefile(factory)
    except (TypeError, OSError):
        return None


def one_line(error: BaseException) -> str:
    """An exception's text on one line, not too long."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:297]}..."


def place(error: BaseException, home: str | None = None) -> str:
    """ " (FILE, line N)": the innermost line of the adapter's file, or, of an import, of the file that was imported."""
    frames = traceback.extract_tb(error.__traceback__)
    if home:
        own = [f for f in frames if f.filename == home]
    else:
        machinery = ("<frozen", str(Path(registry.__file__).parent), str(Path(__file__).parent), importlib.__path__[0])
        own = [f for f in frames if not f.filename.startswith(machinery)]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
