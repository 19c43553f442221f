"""Write Table 3: for each generator the published numbers, where there are any, and the measured ones below."""

from __future__ import annotations

from tabulate import tabulate

from benchmarks import published
from benchmarks.preference.notes import not_all_of_coco, reading_notes
from benchmarks.preference.result import columns_of_rewards
from benchmarks.table3.systems import GENERATORS
from benchmarks.table3.work import Found
from lactok.evaluation.table import missing_notes, number, seconds_column
from lactok.metrics.registry import Metric

# GenEval's tasks that Table 3 prints: key of the metric, title, column of the published table
TASKS = (
    ("two_object", "Two Obj", "geneval_two_obj"),
    ("position", "Position", "geneval_position"),
    ("color_attr", "Color Attri", "geneval_color_attr"),
    ("overall", "Overall", "geneval_overall"),
)
SETTING = (
    "The published numbers: Table 3 of arXiv 2503.08377; the seconds are its later version's, on the authors' machine. "
    "The paper names no guidance scale for it; here each generator has its own defaults (LaCTokGen: guidance 2 and "
    "temperature 0.1, as the authors' demo). Nor does it say which HPSv2 it used, nor which of COCO's five captions."
)


def markdown(found: Found, times: bool = False) -> str:
    """Return Table 3 as Markdown with its notes.

    Args:
        found: the measured results.
        times: whether the seconds an image stand in it too; measured ones differ from run to run.
    """
    printed = published.table("generation").rows
    seconds = published.table("generation_seconds").rows
    rewards = columns_of_rewards(found.rewards)
    known = {system.name: system for system in GENERATORS}
    timed = {}
    notes = [SETTING, "± is half the 95 % interval; pictures of one prompt or caption count as one sample."]
    results = [found.geneval.get(name) or found.preference[name] for name in found.rows]
    if times:
        cells, said = seconds_column(results)
        timed = dict(zip(found.rows, cells, strict=True)) if cells else {}
        notes += said
    head = ["method", "numbers", *(f"{title} ↑" for _, title, _ in TASKS), *(m.head for m, _ in rewards), "n"]
    head += ["s/image ↓"] if times else []
    lines: list[list[str]] = []
    for name in found.rows:
        system = known.get(name.partition("@")[0])
        if system is not None:
            theirs = printed[system.key]
            keys = [*(key for _, _, key in TASKS), *(key for _, key in rewards)]
            values = [theirs.get(key) if key else None for key in keys]
            values += [None, seconds.get(system.key, {}).get("seconds")] if times else [None]
            lines.append([system.label, "published", *("-" if v is None else f"{v:g}" for v in values)])
        judged, scored = found.geneval.get(name), found.preference.get(name)
        own = [number(Metric(k, k, True), judged.metrics.get(k) if judged else None) for k, _, _ in TASKS]
        own += [number(m, scored.metrics.get(m.key) if scored else None) for m, _ in rewards]
        mark = "*" if (judged and not judged.data.comparable) or (scored and not_all_of_coco(scored)) else ""
        n = f"{judged.n if judged else 0}, {scored.n if scored else 0}"
        lines.append([name, f"measured{mark}", *own, n, *([timed.get(name, "-")] if times else [])])
    notes.append("n: pictures of GenEval's prompts, and of captions.")
    for name in found.rows:
        judged, scored = found.geneval.get(name), found.preference.get(name)
        reasons = [judged.data.comparable_note] if judged and not judged.data.comparable else []
        reasons += [not_all_of_coco(scored)] if scored and not_all_of_coco(scored) else []
        if reasons:
            notes.append(f"* {name}: {'; '.join(reasons)}.")
    entries = [(r.metric(k).title, e) for r in found.preference.values() for k, e in r.metrics.items()]
    entries += [(k, r.metrics[k]) for r in found.geneval.values() for k, _, _ in TASKS if k in r.metrics]
    notes += [*missing_notes(entries), *reading_notes(list(found.preference.values()))]
    align = ["left", "left"] + ["right"] * (len(head) - 2)
    text = tabulate(lines, head, tablefmt="pipe", disable_numparse=True, colalign=align)
    return text + "\n\n" + "\n".join(dict.fromkeys(notes)) + "\n"
