"""The colour and the mark of each family, the same in the page and in all figures, whatever else was run."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

# On white paper every colour has a contrast of 3 or more, and people with any colour vision tell them apart (after
# Okabe and Ito, Color Universal Design, 2008, whose lighter ones are darkened). style.css has the same ones for the
# page as .series-0 to .series-6, each with another for dark screens.
COLOURS = ("#0072B2", "#D55E00", "#008764", "#B0568B", "#8A6A00", "#6A3D9A", "#30363D")
# matplotlib's names of the marks; scripts/plot.js draws the same ones in the same order
MARKERS = ("o", "s", "^", "D", "*", "P", "v", "X", "<", ">")
MARKER_POINTS = {"*": 7.5, "^": 5.0, "v": 5.0, "<": 5.0, ">": 5.0}  # their sizes, so that all look alike
USUAL_POINTS = 4.5
# a family's place here is its number; a new one comes last, so that the others keep theirs
FAMILIES = (
    "lactok",
    "llamagen",
    "titok",
    "flextok",
    "seedtok",
    "vqgan",
    "reference",
    "magvit-v2",
    "ibq",
    "open-magvit2",
    "cosmos",
    "var",
    "hart",
    "show-o",
    "trained",
)


@dataclass(frozen=True)
class Look:
    """How a family's points look: the numbers of its colour in `COLOURS` and of its mark in `MARKERS`."""

    colour: int
    mark: int


def look(family: str) -> Look:
    """Return how a family's points look.

    Known families differ in colour or mark. A plug-in's family takes its look from its name; it may be that of another.

    >>> look("lactok"), look("llamagen")
    (Look(colour=0, mark=0), Look(colour=1, mark=1))
    """
    if family in FAMILIES:
        number = FAMILIES.index(family)
    else:
        number = int(sha256(family.encode("utf-8", "surrogateescape")).hexdigest(), 16)
    return Look(number % len(COLOURS), number % len(MARKERS))
