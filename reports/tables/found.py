"""Tables of all runs found here: reconstructions by data set and protocol, GenEval, preference, gFID, probes of ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.ablation.studies import COND_SCALE_NOTE
from benchmarks.geneval.prompts import TASKS
from benchmarks.preference.notes import reading_notes
from lactok.evaluation import probe_table
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import (
    GenEvalResult,
    GfidResult,
    PreferenceResult,
    ProbeResult,
    ReconResult,
    Result,
    Results,
)
from lactok.evaluation.table import (
    apart,
    codes_text,
    continuous_notes,
    decimals,
    metrics_of,
    share_of_codes,
    usage_notes,
)
from lactok.evaluation.taught import MARK, taught_notes
from reports.tables.cells import Cell, Column, Row, Table, column
from reports.tables.choice import describe
from reports.tables.groups import group_of, same_images, title_of
from reports.tables.measured import detectable_notes, measure, with_marks

RECON_FACTS = ("tokens", "codes", "bits", "usage")


def build(results: Results) -> list[Table]:
    """Return a table for each data set and protocol of reconstructions, each judge of GenEval, each set of captions.

    Pictures of classes that were compared with one reference share a table too.

    Distances to other photographs are other numbers, so that runs with another reference have another table.

    Only runs of the same images under the same definitions share a table, so that its rows are comparable.
    """
    geneval: dict[str, list[GenEvalResult]] = {}
    for g in results.geneval:
        geneval.setdefault(digest([g.result[k] for k in ("detector", "colours", "scorer")]), []).append(g)
    preference: dict[str, list[PreferenceResult]] = {}
    for p in results.preference:
        rewards = [[r.name, r.version, [a.sha256 for a in r.assets]] for r in p.data.rewards]
        reference = p.data.reference and [p.data.reference.name, p.data.reference.sha256, p.data.reference.prepare]
        preference.setdefault(digest([p.dataset, rewards, reference]), []).append(p)
    tables = [_recon(runs) for runs in same_images(results.recon)]
    tables += [_geneval(runs) for runs in geneval.values()]
    tables += [_preference(runs) for runs in preference.values()]
    gfid: dict[str, list[GfidResult]] = {}
    for made in results.gfid:
        compared = [made.data.reference.sha256, made.data.protocol.resolution, made.limit]
        gfid.setdefault(digest(compared), []).append(made)
    tables += [_gfid(runs) for runs in gfid.values()]
    return tables + [_probe(runs) for runs in probe_table.groups(results.probe)]


def _rows(
    runs: Sequence[Result], columns: Sequence[Column], facts: Sequence[Sequence[str]], marked: Sequence[bool]
) -> Iterator[Row]:
    """Yield a row for each run, with its facts and whether it takes part in the marks."""
    for run, own, takes_part in zip(runs, facts, marked, strict=True):
        cells = [Cell(None, *measure(run, c)) for c in columns]
        yield Row(run.label, run.label, tuple(cells), run.name, describe(run), tuple(own), takes_part)


def _recon(runs: Sequence[ReconResult]) -> Table:
    """Return the table of reconstruction runs of one group."""
    from lactok import registry

    order = {name: i for i, name in enumerate(registry.list_tokenizers())}
    runs = apart(sorted(runs, key=lambda r: (order.get(r.label.partition("@")[0], len(order)), r.name)))
    first = runs[0]
    columns = tuple(column(metric) for metric in metrics_of(runs))
    title = f"Runs found here: reconstruction, {title_of(first)}"
    rows = _rows(runs, columns, [_facts(r) for r in runs], [r.data.tokenizer.tokens is not None for r in runs])
    notes = ["Rows without ids (codecs, thumbnails, files) are references and take no part in the marks."]
    notes += usage_notes(runs)
    notes += continuous_notes(runs)
    if any(r.data.tokenizer.over_budget for r in runs):
        notes.append("Bits with * are above the budget: for some images no file is that small.")
    if any(r.data.tokenizer.family == "lactok" for r in runs):
        notes.append(COND_SCALE_NOTE)
    for r in runs:
        skipped = len(r.data.dataset.skipped)
        if skipped:
            notes.append(f"{r.name}: {skipped} images are left out, named in its result.json.")
    notes += detectable_notes(runs, [c.metric for c in columns])
    notes += [note.removeprefix(f"{MARK} ") for note in taught_notes(runs)]
    table = Table(
        f"runs-recon-{digest([*group_of(first)])[:8]}",
        title,
        columns,
        tuple(rows),
        dataset=first.dataset,
        facts=RECON_FACTS,
        notes=tuple(notes),
    )
    return with_marks(table, runs)


def _facts(run: ReconResult) -> tuple[str, ...]:
    """Return tokens, size of the codebook, bits and the share of codes in use, "-" where one is unknown."""
    tokenizer = run.data.tokenizer
    bits = "-" if tokenizer.bits is None else decimals(tokenizer.bits, 0)
    if tokenizer.bits is not None and tokenizer.over_budget:
        bits += "*"
    return str(tokenizer.tokens or "-"), codes_text(run), bits, share_of_codes(run)


def _geneval(runs: Sequence[GenEvalResult]) -> Table:
    """Return the table of GenEval runs by one judge."""
    tags = [t for t in TASKS if any(t in r.metrics for r in runs)]
    tags += sorted({t for r in runs for t in r.data.tasks} - set(TASKS))
    columns = tuple(column(runs[0].metric(t)) for t in (*tags, "overall", "prompts"))
    notes = [
        "Prompts are resampled for the intervals; overall is the mean of the tasks; prompts is the share with a "
        "correct image."
    ]
    notes += [f"{r.label}: {r.data.comparable_note}." for r in runs]
    judge = f"{runs[0].data.detector.name} and {runs[0].data.colours.name}"
    table = Table(
        f"runs-geneval-{digest(runs[0].name)[:8]}",
        f"Runs found here: GenEval, judged by {judge}",
        columns,
        tuple(_rows(runs, columns, [()] * len(runs), [True] * len(runs))),
        dataset="geneval",
        notes=tuple(notes),
    )
    return with_marks(table, runs)


def _preference(runs: Sequence[PreferenceResult]) -> Table:
    """Return the table of preference scores on one set of captions."""
    metrics = {key: run.metric(key) for run in runs for key in run.metrics}
    columns = tuple(column(metric) for metric in metrics.values())
    source = runs[0].dataset
    table = Table(
        f"runs-preference-{digest(runs[0].name)[:8]}",
        f"Runs found here: preference scores, captions {source}",
        columns,
        tuple(_rows(runs, columns, [()] * len(runs), [True] * len(runs))),
        dataset=source,
        notes=("For the intervals, pictures of one caption count as one sample.", *reading_notes(runs)),
    )
    return with_marks(table, runs)


def _gfid(runs: Sequence[GfidResult]) -> Table:
    """Return the table of pictures of classes, compared with one reference."""
    metrics = {key: run.metric(key) for run in runs for key in run.metrics}
    columns = tuple(column(metric) for metric in metrics.values())
    reference = runs[0].data.reference
    table = Table(
        f"runs-gfid-{digest(runs[0].name)[:8]}",
        f"Runs found here: pictures of ImageNet classes, compared with {reference.name} ({reference.kind})",
        columns,
        tuple(_rows(runs, columns, [()] * len(runs), [True] * len(runs))),
        dataset=runs[0].dataset,
        notes=tuple(f"{run.name}: {run.n} pictures." for run in runs),
    )
    return with_marks(table, runs)


def _probe(runs: Sequence[ProbeResult]) -> Table:
    """Return the table of probes of the same photographs at one budget."""
    runs = sorted(runs, key=lambda run: run.name)
    metrics = {key: run.metric(key) for run in runs for key in run.metrics}
    columns = tuple(column(metric) for metric in metrics.values())
    first, sizes = runs[0], [run.data.tokenizer for run in runs]
    facts = [
        (str(size.tokens or "-"), str(size.codebook_size or "-"), probe_table.chance_text(run))
        for size, run in zip(sizes, runs, strict=True)
    ]
    return Table(
        f"runs-probe-{digest([*probe_table.same_work(first)])[:8]}",
        f"Runs found here: probes of ids, {first.dataset} ({first.n} images, prepared by {first.data.prepare})",
        columns,
        tuple(_rows(runs, columns, facts, [False] * len(runs))),
        dataset=first.dataset,
        facts=("tokens", "codes", "chance"),
        notes=tuple(probe_table.notes(runs)),
    )
