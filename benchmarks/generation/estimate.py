"""What generators' pictures would take before they are made: how many, how long, and how much disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import WrongValue, decimal

if TYPE_CHECKING:
    from lactok.evaluation.datasets import Sample
    from lactok.specs import GeneratorSpec

BYTES_A_PIXEL = 1.6  # of photographs as PNG files, roughly; used until there are pictures to measure
GIVEN, UNKNOWN = "given", "unknown"  # where seconds come from
MEASURED = 32  # pictures whose files are measured at most


@dataclass(frozen=True)
class Estimate:
    """What a generator's pictures of one set of prompts would take.

    Attributes:
        generator: its canonical name.
        what: the prompts, such as "GenEval".
        prompts: how many there are.
        images: how many pictures there will be in the end.
        left: how many of them are still to be made.
        seconds: an image; None where nobody measured or named them.
        source: where the seconds come from, in words.
        disk: bytes of the pictures that are to be made.
        weights: whether the weights are on this machine, in words.
    """

    generator: str
    what: str
    prompts: int
    images: int
    left: int
    seconds: float | None
    source: str
    disk: float
    weights: str

    @property
    def hours(self) -> float | None:
        """Hours of one process; None where the seconds of an image are unknown."""
        return None if self.seconds is None else self.left * self.seconds / 3600


def seconds_of(given: Sequence[str]) -> dict[str, float]:
    """Return the seconds an image that a user names, by generator; those of "" are of all others.

    Args:
        given: "2.4" for all generators, or "NAME=2.4" for one.

    Raises:
        WrongValue: one is not written so, or not above 0.

    >>> seconds_of(["2.4", "sdxl@steps=30=4"])
    {'': 2.4, 'sdxl@steps=30': 4.0}
    """
    found: dict[str, float] = {}
    for text in given:
        name, _, number = text.rpartition("=")
        try:
            found[name] = decimal(number)
        except ValueError:
            found[name] = 0.0
        if not 0 < found[name] <= 1e6:
            raise WrongValue(f"`seconds_per_image` {text[:60]}: write seconds above 0, as 2.4 or NAME=2.4")
    return found


def estimate(
    spec: GeneratorSpec, what: str, prompts: int, pictures: Sequence[Sample], out: Path, given: Mapping[str, float]
) -> Estimate:
    """Return what a generator's pictures of some prompts would take; nothing is fetched, made or written.

    Args:
        spec: the generator.
        what: what the prompts are called.
        prompts: how many there are.
        pictures: all pictures that there will be in the end.
        out: the folder of results, in which earlier runs may have left times and pictures.
        given: the seconds an image that the user named, see `seconds_of`; those of a name without options are of
            all its options.
    """
    left = [picture for picture in pictures if not picture.path.is_file()]
    base = spec.name.partition("@")[0]
    seconds, source = given.get(spec.name, given.get(base, given.get(""))), GIVEN
    if seconds is None:
        seconds, source = stored_seconds(spec.name, out)
    sizes = [p.path.stat().st_size for p in pictures if p.path.is_file()][:MEASURED]
    each = sum(sizes) / len(sizes) if sizes else BYTES_A_PIXEL * spec.output_size**2
    return Estimate(spec.name, what, prompts, len(pictures), len(left), seconds, source, each * len(left), _state(spec))


def stored_seconds(name: str, out: Path) -> tuple[float | None, str]:
    """Return the seconds an image that earlier runs in `out` took a generator and where, (None, "unknown") without."""
    from lactok.evaluation.older_results import Damaged
    from lactok.evaluation.results import PicturesResult, load

    best: PicturesResult | None = None
    for note in sorted(out.glob("generated/*/generation.json")):
        try:
            if json.loads(note.read_text()).get("generator") != name:
                continue
            found = load(note.parent)
        except (Damaged, OSError, ValueError, AttributeError):
            continue
        if not isinstance(found, PicturesResult) or found.seconds_per_image is None:
            continue
        if best is None or found.timed_images > best.timed_images:
            best = found
    if best is None:
        return None, UNKNOWN
    return best.seconds_per_image, f"measured on {best.timed_images} images, {best.timed_on}"


def _state(spec: GeneratorSpec) -> str:
    """Say in a few words whether a generator's weights and its tokenizer's are on this machine."""
    from lactok import registry, weights
    from lactok.errors import UserError

    try:
        assets = list(spec.assets)
        if spec.tokenizer is not None:
            assets += registry.tokenizer_spec(spec.tokenizer).assets
        if not assets and spec.family == "diffusion":
            return "of the hub"  # diffusers finds them by itself
        return weights.state(assets)
    except UserError as error:  # a user's file is damaged
        return f"cannot be read: {error}"


def table(estimates: Sequence[Estimate], part: tuple[int, int] = (0, 1)) -> str:
    """Return estimates as a table with the sums below.

    Args:
        estimates: a row for each.
        part: (I, N), the part that would be done here; the sums are of one part where there are several.
    """
    from tabulate import tabulate

    from lactok.weights import size_text

    rows = []
    for e in estimates:
        seconds = "unknown" if e.seconds is None else f"{e.seconds:.3g}"
        hours = "unknown" if e.hours is None else _hours(e.hours)
        rows.append([e.generator, e.what, e.prompts, f"{e.left} of {e.images}", seconds, hours, size_text(e.disk)])
        rows[-1].append(e.weights)
    head = ["generator", "prompts of", "prompts", "images to make", "s/image", "hours", "disk", "weights"]
    known = [e.hours for e in estimates if e.hours is not None]
    unknown = list(dict.fromkeys(e.generator for e in estimates if e.hours is None and e.left))
    hours = ("at least " if unknown else "") + _hours(sum(known)) if known else "unknown"
    lines = [
        tabulate(rows, head, tablefmt="simple", disable_numparse=True),
        f"in all: {sum(e.prompts for e in estimates)} prompts, {sum(e.left for e in estimates)} images to make, "
        f"{hours} hours of one process, {size_text(sum(e.disk for e in estimates))} of disk",
    ]
    if part[1] > 1 and known:
        lines.append(f"part {part[0] + 1} of {part[1]}: about {_hours(sum(known) / part[1])} hours")
    if unknown:
        lines.append(
            f"hours are unknown of {', '.join(unknown)}: run once with --limit 2, or give --seconds-per-image NAME=S"
        )
    sources = dict.fromkeys(f"{e.generator}: {e.source}" for e in estimates if e.source not in (GIVEN, UNKNOWN))
    return "\n".join([*lines, *(f"s/image of {source}" for source in sources)])


def _hours(hours: float) -> str:
    """Return hours as a short number; 0 only where it is nothing.

    >>> _hours(0), _hours(0.004), _hours(12.34)
    ('0', '<0.1', '12.3')
    """
    return f"{hours:.1f}" if hours >= 0.1 else "<0.1" if hours else "0"
