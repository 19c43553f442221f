"""The runs found here, whatever they are of: reconstructions by data set and protocol, GenEval, preference scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lactok.evaluation.protocol import METRICS, digest
from lactok.evaluation.table import DIGITS, TITLES
from reports.stored import GenEvalResult, PreferenceResult, ReconResult, Results, Stored
from reports.tables.cells import Cell, Column, Row, Table
from reports.tables.choice import describe
from reports.tables.measured import measure, with_marks

RECON_FACTS = ("tokens", "codes", "bits", "usage")
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")


def build(results: Results) -> list[Table]:
    """A table for each data set and protocol of reconstructions, for each judge of GenEval, for each set of captions.

    Only runs of the same images under the same definitions share a table, so that its rows can be compared.
    """
    recon: dict[tuple[str, ...], list[ReconResult]] = {}
    for r in results.recon:
        key = (r.dataset, r.result["dataset"]["sha256"], r.protocol["prepare"], r.protocol["score"])
        recon.setdefault(key, []).append(r)
    geneval: dict[str, list[GenEvalResult]] = {}
    for g in results.geneval:
        geneval.setdefault(digest([g.result[k] for k in ("detector", "colours", "scorer")]), []).append(g)
    preference: dict[str, list[PreferenceResult]] = {}
    for p in results.preference:
        rewards = [[r["name"], r["version"], [a["sha256"] for a in r["assets"]]] for r in p.result["rewards"]]
        preference.setdefault(digest([p.result["dataset"]["name"], rewards]), []).append(p)
    tables = [_recon(runs) for _, runs in sorted(recon.items())]
    tables += [_geneval(runs) for runs in geneval.values()]
    return tables + [_preference(runs) for runs in preference.values()]


def columns_of(runs: Sequence[ReconResult]) -> tuple[Column, ...]:
    """The metrics of reconstructions that any of the runs has, in the order of the suite."""
    return tuple(
        Column(m, TITLES[m], METRICS[m], DIGITS.get(m, 3), factor=1000 if m == "kid" else 1)
        for m in METRICS
        if any(m in r.metrics for r in runs)
    )


def _rows(
    runs: Sequence[Stored], columns: Sequence[Column], facts: Sequence[Sequence[str]], marked: Sequence[bool]
) -> Iterator[Row]:
    for run, own, takes_part in zip(runs, facts, marked, strict=True):
        cells = [Cell(None, *measure(run, column)) for column in columns]
        yield Row(run.label, run.label, tuple(cells), run.name, describe(run), tuple(own), takes_part)


def _recon(runs: Sequence[ReconResult]) -> Table:
    """References without ids take no part in the marks."""
    from lactok import registry

    order = {name: i for i, name in enumerate(registry.list_tokenizers())}
    runs = sorted(runs, key=lambda r: (order.get(r.label.partition("@")[0], len(order)), r.name))
    first, columns = runs[0], columns_of(runs)
    size = f"{first.n} images" + (f", limit {first.limit}" if first.limit else "")
    title = f"Runs found here: reconstruction, {first.dataset} ({size}), {first.protocol['name']} at "
    title += f"{first.protocol['resolution']} px"
    rows = _rows(runs, columns, [_facts(r) for r in runs], [r.tokenizer["tokens"] is not None for r in runs])
    notes = ["Rows without ids (codecs, thumbnails, files) are references and take no part in the marks."]
    if any(r.tokenizer.get("over_budget") for r in runs):
        notes.append("Bits with * are above the budget: for some images no file is that small.")
    for r in runs:
        if skipped := len(r.result["dataset"]["skipped"]):
            notes.append(f"{r.name}: {skipped} images are left out, named in its result.json.")
    key = [first.dataset, first.result["dataset"]["sha256"], first.protocol["prepare"], first.protocol["score"]]
    table = Table(
        f"runs-recon-{digest(key)[:8]}", title, columns, tuple(rows), "", first.dataset, RECON_FACTS, tuple(notes)
    )
    return with_marks(table, runs)


def _facts(run: ReconResult) -> tuple[str, ...]:
    info, codebook = run.tokenizer, run.result["codebook"]
    bits = "-" if info["bits"] is None else f"{info['bits']:.0f}" + ("*" if info.get("over_budget") else "")
    usage = f"{codebook['usage']:.0%}" if codebook else "-"
    return str(info["tokens"] or "-"), str(info["codebook_size"] or "-"), bits, usage


def _geneval(runs: Sequence[GenEvalResult]) -> Table:
    tags = [t for t in TASKS if any(t in r.metrics for r in runs)]
    tags += sorted({t for r in runs for t in r.result["tasks"]} - set(TASKS))
    columns = tuple(Column(t, t, True) for t in (*tags, "overall", "prompts"))
    notes = ["Prompts are resampled for the intervals; overall is the mean of the tasks; prompts is the share with a "
             "correct image."]  # fmt: skip
    notes += [f"{r.label}: {r.result['comparable_note']}." for r in runs]
    judge = f"{runs[0].result['detector']['name']} and {runs[0].result['colours']['name']}"
    table = Table(
        f"runs-geneval-{digest(runs[0].name)[:8]}", f"Runs found here: GenEval, judged by {judge}", columns,
        tuple(_rows(runs, columns, [()] * len(runs), [True] * len(runs))), dataset="geneval", notes=tuple(notes),
    )  # fmt: skip
    return with_marks(table, runs)


def _preference(runs: Sequence[PreferenceResult]) -> Table:
    higher = {r["name"]: bool(r.get("higher_is_better", True)) for run in runs for r in run.result["rewards"]}
    metrics = dict.fromkeys(m for run in runs for m in run.metrics)
    columns = tuple(
        Column(m, TITLES.get(m, m), higher.get(m, False), DIGITS.get(m, 4), factor=1000 if m == "kid" else 1)
        for m in metrics
    )
    source = runs[0].result["dataset"]["name"]
    table = Table(
        f"runs-preference-{digest(runs[0].name)[:8]}", f"Runs found here: preference scores, captions {source}",
        columns,
        tuple(_rows(runs, columns, [()] * len(runs), [True] * len(runs))), dataset=source,
        notes=("Captions are resampled for the intervals.",),
    )  # fmt: skip
    return with_marks(table, runs)
