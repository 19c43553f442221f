"""Tables of quality against bits: tokenizers beside the codecs of the same images under the same protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from lactok.errors import WrongValue
from lactok.evaluation.names import is_control
from lactok.evaluation.protocol import digest
from lactok.evaluation.rate import (
    FEWEST,
    FEWEST_FOR_BD,
    bd_rate,
    curve,
    curve_name,
    equal_quality_bits,
    is_codec,
    overlap,
    points,
)
from lactok.evaluation.results import ReconResult, Results
from lactok.evaluation.table import decimals, metrics_of
from lactok.metrics.registry import ImageMetric, Metric
from reports.tables.cells import Cell, Column, Measured, Row, Table, column
from reports.tables.choice import describe
from reports.tables.groups import group_of, same_images, title_of

LITTLE = 0.25  # an overlap of curves that is worth a word
Runs = Sequence[ReconResult]


def build(results: Results) -> list[Table]:
    """Return for each data set and protocol with a codec at two rates or more the tables of bits and of BD-rates."""
    tables = []
    for runs in same_images(results.recon):
        codecs = _curves([r for r in runs if is_codec(r)], FEWEST)
        tokenizers = [r for r in runs if r.data.tokenizer.tokens is not None and not is_control(r.label)]
        metrics = [m for m in metrics_of(runs) if isinstance(m, ImageMetric)]
        if codecs and tokenizers and metrics:
            tables.append(_equal_quality(tokenizers, codecs, metrics))
            if any(len(members) >= FEWEST for members in _curves(tokenizers, 1).values()):
                tables.append(_bd_rates(_curves(tokenizers, FEWEST), codecs, metrics))
    return tables


def _curves(runs: Runs, fewest: int) -> dict[str, list[ReconResult]]:
    """Return runs by their curve's name, of curves with so many runs."""
    found: dict[str, list[ReconResult]] = {}
    for run in sorted(runs, key=lambda r: (r.data.tokenizer.bits or 0, r.name)):
        found.setdefault(curve_name(run), []).append(run)
    return {name: members for name, members in sorted(found.items()) if len(members) >= fewest}


def _cell(compute: Callable[[], float], n: int) -> Cell:
    """Return the cell of a number, or of the reason why there is none."""
    try:
        return Cell(measured=Measured(compute(), None, n))
    except WrongValue as error:
        return Cell(reason=str(error))


def _equal_quality(tokenizers: Runs, codecs: dict[str, list[ReconResult]], metrics: Sequence[Metric]) -> Table:
    """Return the table of the bits that codecs need for the quality that tokenizers reach."""
    columns = tuple(_column(m, "bits_at_equal_", f"codec's bits at equal {m.title}", True, 0) for m in metrics)

    def bits_of(codec: str, run: ReconResult, metric: Metric) -> float:
        entry = run.metrics.get(metric.key)
        if entry is None or entry.value is None:
            raise WrongValue(f"not measured: {run.name} has no {metric.title}")
        of_codec = curve(codec, points(codecs[codec], metric.key), metric.higher, metric.title)
        return equal_quality_bits(of_codec, entry.value, metric.higher, metric.title)

    rows = []
    for run in sorted(tokenizers, key=lambda r: r.name):
        for codec in codecs:
            cells = [_cell(partial(bits_of, codec, run, metric), run.n) for metric in metrics]
            ids = run.data.ids
            bits = run.data.tokenizer.bits
            facts = (
                codec,
                "-" if bits is None else decimals(bits, 0),
                "-" if ids is None else decimals(ids.adaptive_bits, 0),
            )
            rows.append(Row(run.label, run.label, tuple(cells), run.name, describe(run), facts, marked=False))
    return Table(
        f"rate-equal-{digest([*group_of(tokenizers[0])])[:8]}",
        f"Bits that a codec needs for a tokenizer's quality: {title_of(tokenizers[0])}",
        columns,
        tuple(rows),
        dataset=tokenizers[0].dataset,
        facts=("codec", "tokenizer's bits", "coded"),
        notes=(
            "A codec that needs more bits than the tokenizer is worse at that rate. Its bits are interpolated between "
            "the rates that were measured; coded is what an entropy coder with a small adaptive model leaves of the "
            "tokenizer's bits.",
        ),
    )


def _bd_rates(
    tokenizers: dict[str, list[ReconResult]], codecs: dict[str, list[ReconResult]], metrics: Sequence[Metric]
) -> Table:
    """Return the table of BD-rates of tokenizers that were measured at several rates, against each codec."""
    columns = tuple(_column(m, "bd_rate_", f"BD-rate by {m.title} (%)", False, 1) for m in metrics)
    notes = [
        "BD-rate: how many more bits than the codec for the same quality, on average over what both reach, in "
        f"percent; negative is fewer. It needs {FEWEST_FOR_BD} rates of each."
    ]
    rows = []

    def rate_of(name: str, codec: str, metric: Metric) -> float:
        mine, theirs = (
            curve(n, points(runs, metric.key), metric.higher, metric.title)
            for n, runs in ((name, tokenizers[name]), (codec, codecs[codec]))
        )
        rate = bd_rate(mine, theirs, metric.title)
        shared = overlap(mine, theirs)
        if shared < LITTLE:
            notes.append(f"{name} and {codec} share only {100 * shared:.0f} % of their {metric.title}.")
        return rate

    for name, runs in tokenizers.items():
        for codec in codecs:
            cells = [_cell(partial(rate_of, name, codec, metric), runs[0].n) for metric in metrics]
            facts = (codec, str(len(runs)), str(len(codecs[codec])))
            rows.append(Row(name, name, tuple(cells), "", describe(runs[0]), facts, marked=False))
    first = next(iter(tokenizers.values()))[0]
    return Table(
        f"rate-bd-{digest([*group_of(first)])[:8]}",
        f"BD-rates against codecs: {title_of(first)}",
        columns,
        tuple(rows),
        dataset=first.dataset,
        facts=("codec", "rates", "codec's rates"),
        notes=tuple(notes),
    )


def _column(metric: Metric, prefix: str, title: str, higher: bool, digits: int) -> Column:
    """Return the column of a number that is derived from a metric."""
    return column(Metric(prefix + metric.key, title, higher, digits, own=False))
