"""The parts of a probe's `result.json`, and its figures; see `lactok.evaluation.schema` and `docs/probe.md`."""

from __future__ import annotations

from typing import Any

from pydantic import FiniteFloat

from lactok.evaluation.schema_parts import Part
from lactok.metrics.registry import Metric

FIGURES = {
    metric.key: metric
    for metric in (
        Metric("probe_accuracy", "probe accuracy", True, 1, 100, unit="%", own=False),
        Metric("vector_accuracy", "accuracy by code vectors", True, 1, 100, unit="%", own=False),
        Metric("bits_per_id", "bits per id", False, 2, own=False),
        Metric("bits_per_image", "bits per image", False, 0, own=False),
        Metric("share_of_raw_bits", "share of raw bits", False, 1, 100, unit="%", own=False),
    )
}


class ProbePart(Part):
    """What was done to the ids; results with the same `hash` were given the same budget.

    Attributes:
        hash: of all settings, and of whether there are labels and code vectors; eight digits.
        budget: the settings, see `benchmarks/probe/budget.py`.
        parameters: the number of parameters of the autoregressive model.
        ids_sha256: the digest of the ids.
    """

    hash: str
    budget: dict[str, Any]
    parameters: int
    ids_sha256: str


class SplitPart(Part):
    """The autoregressive model's photographs, and what it made of them.

    Attributes:
        training, validation, held_out: the number of photographs in each part.
        base, digits: how an id is written as symbols.
        symbols: the number of symbols of an image.
        passes: how many times the training photographs were seen.
        step: after how many steps the validation photographs were predicted best; that model counts.
        level_bits: the mean of the held-out photographs' bits per id, by level; one number where ids are of one kind.
    """

    training: int
    validation: int
    held_out: int
    base: int
    digits: int
    symbols: int
    passes: FiniteFloat
    step: int
    level_bits: list[FiniteFloat]


class LabelsPart(Part):
    """The classes of the linear probe.

    Attributes:
        source: "folders", or the name of a CSV file.
        sha256: the digest of the classes and of the photographs.
        classes: the number of classes.
        n: the number of photographs that have one.
        chance: the accuracy of always naming the most frequent class.
        left_out: the classes of too few photographs.
        without_label: the number of photographs without a label.
    """

    source: str
    sha256: str
    classes: int
    n: int
    chance: FiniteFloat
    left_out: list[str]
    without_label: int
