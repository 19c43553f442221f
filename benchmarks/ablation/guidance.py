"""Table 6, `python -m benchmarks.ablation cfg`: rewards of one generator's pictures by its scale of guidance.

All scales have the same captions and the same seeds. The scale is an option of the generator, so that a picture of the
default scale is also the one of Table 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from benchmarks import published
from benchmarks.generation.estimate import table as plan_table
from benchmarks.generation.prompts import check_condition
from benchmarks.preference import planning, scoring, suite
from benchmarks.preference.notes import not_all_of_coco, reading_notes
from benchmarks.preference.result import columns_of_rewards
from lactok import registry
from lactok.command import as_flags
from lactok.errors import MissingFile, WeightsNotFound, WrongValue, decimal, disk_errors
from lactok.evaluation import protocol
from lactok.evaluation.config import Execution, Settings
from lactok.evaluation.measuring import report_unfinished
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import PreferenceResult
from lactok.evaluation.table import missing_notes, number, seconds_column
from lactok.evaluation.writing import folder_name
from lactok.files import write_atomically

OPTION = "guidance"
GENERATOR = "lactokgen-t-star"  # the paper's
SCALES = ("1.5", "2", "3", "7")  # the paper's
TITLE = "Table 6: scale of the classifier-free guidance"
SETTING = (
    f"The published numbers: Table 6 of arXiv 2503.08377, LaCTokGen-T* ({GENERATOR}) on 5,000 captions of COCO 2017 "
    "val. All scales have the same captions and seeds."
)


def scales_of(text: str) -> list[str]:
    """Return the scales that `--guidance` names, in their order, each number once.

    Raises:
        WrongValue: there is none, or one is no number.

    >>> scales_of("1.5, 2 3 2.0")
    ['1.5', '2', '3']
    """
    scales: dict[float, str] = {}
    for scale in text.replace(",", " ").split():
        try:
            scales.setdefault(decimal(scale), scale)
        except ValueError:
            raise WrongValue(f"`guidance` {scale[:40]}: numbers separated by commas, as 1.5,2,3,7") from None
    if not scales:
        raise WrongValue("`guidance` is empty; name scales, as 1.5,2,3,7")
    return list(scales.values())


def named(generator: str, scales: Sequence[str]) -> dict[str, str]:
    """Return the generator's canonical name with each scale, by scale.

    Raises:
        UnknownName: there is no such generator.
        WrongValue: it is no text-to-image generator, has no guidance, or does not take one of the scales.
    """
    spec = registry.generator_spec(generator)
    check_condition(spec, "text")
    if OPTION not in spec.options:
        has = ", ".join(spec.options) or "none"
        raise WrongValue(f"{spec.name} has no option {OPTION} that could be swept; its options: {has}")
    base, at, options = generator.partition("@")
    if any(option.startswith(f"{OPTION}=") for option in options.split(",")):
        raise WrongValue(f"`generator` {generator}: leave {OPTION} out, `{OPTION}` names the scales")
    names = {}
    for scale in scales:
        names[scale] = f"{base}@{options}{',' if at else ''}{OPTION}={scale}"
        registry.generator_spec(names[scale])  # for its errors
    return names


def run_study(
    settings: Settings,
    generator: str,
    scales: Sequence[str],
    captions: str,
    metrics: str,
    strict: bool,
    dry: Mapping[str, float] | None,
) -> int:
    """Measure the scales, print the table, write it, and return the exit code.

    Args:
        settings: the settings that suites share; its metrics are not used.
        generator: its name, with options after `@`.
        scales: of the guidance, as the user wrote them.
        captions: as of the preference suite.
        metrics: the rewards.
        strict: whether missing weights count as a failure.
        dry: only say what it would take; the seconds an image that the user named. None to do the work.
    """
    names = named(generator, scales)
    settings.use_machine()
    chosen = suite.choose(metrics, None)
    rows, remark = planning.rows_of_plan(list(names.values()), captions, settings.limit)
    run, execution = settings.run(protocol.get("square-256", None, ["fid"])), settings.execution()
    if dry is not None:
        print(plan_table([planning.of_captions(row, run, execution.out, dry) for row in rows], execution.part))
        print(planning.rewards_of(chosen))
        print(as_flags(remark), end="\n" if remark else "")
        return 0
    if remark:
        raise MissingFile(remark.partition(": ")[2])
    judges, missing, failed = scoring.available(chosen.rewards)
    results: dict[str, PreferenceResult] = {}
    if judges:
        try:
            registry.generator_settings(rows[0].generator)
        except WeightsNotFound as error:  # the same for all scales
            missing[generator] = str(error)
        else:
            results = dict(suite.measure(rows, judges, chosen, None, run, execution, failed, missing))
    found = {scale: results[row.name] for scale, row in zip(names, rows, strict=True) if row.name in results}
    if found:
        show(registry.generator_spec(generator).name, list(names), found, judges, execution, settings)
    return report_unfinished(missing, failed, strict=strict or not found)


def show(
    generator: str,
    scales: Sequence[str],
    found: Mapping[str, PreferenceResult],
    judges: Sequence[scoring.Judge],
    execution: Execution,
    settings: Settings,
) -> None:
    """Print the table and write it, without the times, to a file in the folder of results."""
    rows = digest(sorted(result.folder.name for result in found.values()))[:8]
    name = folder_name("table6", rows, limit=execution.limit, dtype=settings.dtype, seed=settings.seed)
    path = execution.out / f"{name}.md"
    with disk_errors(path):
        write_atomically(path, markdown(generator, scales, found, judges).encode("utf-8", "replace"))
    print(f"\n{TITLE}\n\n{markdown(generator, scales, found, judges, times=True)}")
    print(f"written: {path}")


def markdown(
    generator: str,
    scales: Sequence[str],
    found: Mapping[str, PreferenceResult],
    judges: Sequence[scoring.Judge],
    times: bool = False,
) -> str:
    """Return the table with a row for each scale, and above it the published row of the paper's generator.

    Args:
        generator: its canonical name.
        scales: all that were asked for; one without a result is shown as not run.
        found: the results by scale.
        judges: the rewards.
        times: whether the seconds an image stand in it too, which differ from run to run.
    """
    rewards = columns_of_rewards(judges)
    printed = published.table("ablation_cfg_coco5k").rows if generator == GENERATOR else {}
    cells, timed = seconds_column(list(found.values())) if times else ([], [])
    seconds = dict(zip(found, cells, strict=True)) if cells else {}
    head = ["scale", "numbers", *(metric.head for metric, _ in rewards), "n", *(["s/image ↓"] if seconds else [])]
    lines: list[list[str]] = []
    for scale in scales:
        theirs = printed.get(f"{float(scale):g}")
        end = ["-"] if seconds else []
        if theirs is not None:
            values = [theirs.get(key) if key else None for _, key in rewards]
            lines.append([scale, "published", *("-" if v is None else f"{v:g}" for v in values), "-", *end])
        result = found.get(scale)
        if result is None:
            lines.append([scale, "not run", *("-" for _ in rewards), "-", *end])
            continue
        mark = "*" if not_all_of_coco(result) else ""
        own = [number(metric, result.metrics.get(metric.key)) for metric, _ in rewards]
        lines.append([scale, f"measured{mark}", *own, str(result.n), *([seconds[scale]] if seconds else [])])
    notes = [f"{generator}: rewards by the scale of its guidance.", SETTING if printed else "", *timed]
    notes += ["± is half the 95 % interval; pictures of one caption count as one sample."]
    notes += [f"* {why}." for why in dict.fromkeys(map(not_all_of_coco, found.values())) if why]
    notes += missing_notes((r.metric(k).title, e) for r in found.values() for k, e in r.metrics.items())
    notes += reading_notes(list(found.values()))
    align = ["left", "left"] + ["right"] * (len(head) - 2)
    text = tabulate(lines, head, tablefmt="pipe", disable_numparse=True, colalign=align)
    return text + "\n\n" + "\n".join(filter(None, notes)) + "\n"
