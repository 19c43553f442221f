"""Tables of what ids and errors say of tokenizers: coded bits, use of positions, shared ids; and the error profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lactok.errors import first_few
from lactok.evaluation.error_profile import WORST, stored_profile
from lactok.evaluation.id_statistics import MOST_IDS
from lactok.evaluation.names import is_control
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import ReconResult, Results
from lactok.evaluation.table import decimals, printable
from lactok.metrics.registry import Metric
from reports.tables.cells import Cell, Measured, Row, Table, column
from reports.tables.choice import describe
from reports.tables.groups import group_of, same_images, title_of

NAMED = 3  # worst samples of each kind that a note names
ID_COLUMNS = (
    column(Metric("order0_bits", "bits by frequency", False, 0, own=False)),
    column(Metric("adaptive_bits", "bits by adaptive model", False, 0, own=False)),
    column(Metric("distinct_by_position", "codes at a position", True, 1, own=False)),
    column(Metric("entropy_by_position", "entropy at a position", True, 2, own=False)),
    column(Metric("shared", "images that share all ids", False, 0, own=False)),
)
PROFILE_COLUMNS = (
    column(Metric("brightness", "brightness error", False, 2, own=False)),
    column(Metric("colour", "colour error", False, 2, own=False)),
    column(Metric("chroma_ratio", "chroma kept", True, 1, 100, own=False)),
    *(column(Metric(f"octave_{k}", f"kept above 1/{2 ** (k + 2)}", True, 1, 100, own=False)) for k in range(5)),
)


def build(results: Results) -> list[Table]:
    """Return for each data set and protocol the table of ids, and of error profiles, where any run has them."""
    tables = []
    for group in same_images(results.recon):
        runs = sorted((r for r in group if not is_control(r.label)), key=lambda r: r.name)
        with_ids = [r for r in runs if r.data.ids is not None]
        if with_ids:
            tables.append(_ids(with_ids))
        profiles = {r.name: found for r in runs if (found := stored_profile(r.folder)) is not None}
        if profiles:
            tables.append(_profiles([r for r in runs if r.name in profiles], profiles))
    return tables


def _ids(runs: Sequence[ReconResult]) -> Table:
    """Return the table of ids."""
    rows, notes = [], []
    for run in runs:
        ids, tokenizer = run.data.ids, run.data.tokenizer
        values = [ids.order0_bits, ids.adaptive_bits, ids.distinct_by_position.mean, ids.entropy_by_position.mean]
        cells = tuple(Cell(measured=Measured(float(v), None, run.n)) for v in (*values, ids.shared))
        spread = f"{decimals(ids.distinct_by_position.least, 0)} to {decimals(ids.distinct_by_position.most, 0)}"
        nominal = "-" if tokenizer.bits is None else decimals(tokenizer.bits, 0)
        facts = (str(tokenizer.tokens or "-"), str(tokenizer.codebook_size or "-"), nominal, spread)
        rows.append(Row(run.label, run.label, cells, run.name, describe(run), facts, marked=False))
        if ids.shared:
            groups = "; ".join(" = ".join(printable(name) for name in group) for group in ids.shared_examples)
            notes.append(f"{run.label}: {ids.shared} images share all their ids with others, such as {groups}.")
        if ids.adaptive_images < run.n:
            notes.append(
                f"{run.label}: the adaptive model coded {ids.adaptive_images} images, evenly spaced ({MOST_IDS} ids at "
                "most)."
            )
    explained = (
        "Bits are an image's: nominal is tokens x log2(codes); by frequency is an adaptive code of order 0, by "
        "adaptive model one that also knows the position, the ids before and above and those of the image so far. Both "
        "are lengths of codes that can be decoded; with few images there is little to learn from, so they stay near "
        "the nominal bits.",
        "Codes at a position is the mean over positions of how many different codes occur there, its range beside it; "
        "n images can show n codes and log2(n) bits of entropy at most.",
    )
    return Table(
        f"ids-{digest([*group_of(runs[0])])[:8]}",
        f"Ids: {title_of(runs[0])}",
        ID_COLUMNS,
        tuple(rows),
        dataset=runs[0].dataset,
        facts=("tokens", "codes", "nominal bits", "codes by position"),
        notes=(*explained, *notes),
    )


def _profiles(runs: Sequence[ReconResult], profiles: dict[str, dict[str, Any]]) -> Table:
    """Return the table of error profiles, from the content of the runs' `profile.json`."""
    rows, notes = [], []
    for run in runs:
        found = profiles[run.name]
        entries = [found["brightness"], found["colour"], found["chroma_ratio"], *(o["kept"] for o in found["octaves"])]
        cells = tuple(_cell(entry, run.n) for entry in entries)
        shifts = tuple(_signed(found[name], 2) for name in ("lightness_shift", "a_shift", "b_shift"))
        rows.append(Row(run.label, run.label, cells, run.name, describe(run), shifts, marked=False))
        for reason in WORST:
            names = [printable(entry["sample"]) for entry in found["worst"][reason]]
            notes.append(f"{run.label}, {reason}: {first_few(names, NAMED, 'named in its profile.json')}.")
    explained = (
        "Differences of an image's means in CIELAB, reconstruction minus reference: of L* (positive is brighter), of "
        "a* (positive is redder) and of b* (positive is yellower). Brightness error is the mean of L*'s absolute "
        "difference, colour error that of the distance in the plane of a* and b*. Chroma kept is the ratio of the mean "
        "chroma, in percent.",
        "Kept above 1/4 is the share, in percent, of the reference's power at more than 1/4 cycle a pixel that the "
        "reconstruction has; above 1/8 is of the octave from 1/8 to 1/4, and so on.",
    )
    return Table(
        f"profile-{digest([*group_of(runs[0])])[:8]}",
        f"Error profiles: {title_of(runs[0])}",
        PROFILE_COLUMNS,
        tuple(rows),
        dataset=runs[0].dataset,
        facts=("L* shift", "a* shift", "b* shift"),
        notes=(*explained, *notes),
    )


def _cell(entry: dict[str, Any], n: int) -> Cell:
    """Return the cell of a mean with its interval, or of the reason why there is none."""
    if entry.get("value") is None:
        return Cell(reason=str(entry.get("reason") or "no value"))
    ci95 = entry.get("ci95")
    return Cell(measured=Measured(float(entry["value"]), (ci95[0], ci95[1]) if ci95 else None, entry.get("n", n)))


def _signed(entry: dict[str, Any], digits: int) -> str:
    """Return a mean with its sign, "-" where there is none."""
    return "-" if entry.get("value") is None else decimals(float(entry["value"]), digits, "+")
