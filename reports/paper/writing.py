"""Write the report: `index.md`, the claims with their verdicts, tables in four formats, and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks import published
from lactok.errors import disk_errors, one_line
from lactok.evaluation.results import ReconResult, Results
from lactok.evaluation.table import decimals
from lactok.evaluation.writing import to_json
from lactok.files import write_atomically
from reports.paper.systems import Found
from reports.paper.verdict import VERDICTS, Decision, Line, Printed
from reports.tables.cells import Table
from reports.tables.formats import escape_markdown

SCALES = {
    "tiny": (
        "Every measured number here is of small models that were trained with this project on some thousand pictures, "
        "on few pictures of 256 px. They reproduce no number of the paper, and a verdict here is on these models: that "
        "a claim holds in small does not say that it holds at the paper's size, nor the other way round."
    ),
    "full": (
        "The measured numbers are those of stored results that are comparable with the paper's: the same data set, "
        "whole, under the protocol that is closest to the paper's unpublished one."
    ),
}
PROTOCOL = {
    "tiny": (
        "The paper scores 1024 px, on ImageNet 50K, COCO 2017 val, MJHQ-5K and a FLUX-5K; here photographs stand for "
        "the first two, composed scenes for the others, at 256 px.",
        "L is LPIPS with VGG16, since AlexNet's was a loss of the small models' training. rFID of fewer than 2,049 "
        "pictures is biased upwards; the bias is the same for all rows of a table, and cancels in their differences.",
        "The sample photographs are windows of six photographs, six of each, some of which overlap; the intervals take "
        "them for independent.",
        "Generated pictures are of captions of composed scenes, not of GenEval's prompts, and judged by a small judge; "
        "rewards (ImageReward, MPS, HPSv2) are measured at full scale alone.",
    ),
    "full": ("docs/protocols.md says what is known of the paper's protocol and what is read into it.",),
}
HOW = (
    "A comparison agrees with a claim if the 95 % interval of the paired difference lies on the claim's side of zero "
    "(for claims of comparable values: within the margin), says the opposite if it lies on the other side, and else is "
    "inside the interval. A claim holds if all its comparisons agree, and does not hold if one says the opposite. It "
    "is not decided where a model was not run, or where a metric has no interval on any of the data. p is by flipping "
    "signs or the jackknife, corrected for all comparisons of this page together (Holm 1979)."
)


def write(decisions: Sequence[Decision], tables: Sequence[Table], found: Found, out: Path, more: str = "") -> None:
    """Write the report into a folder; the same results give the same bytes.

    Args:
        decisions: the claims with their verdicts.
        tables: the tables.
        found: the results.
        out: the folder.
        more: the plan of the cluster run, "" for none.

    Raises:
        DiskError: the folder cannot be written to.
    """
    from reports import figures
    from reports.tables import files

    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        introduction = f"# The paper's tables, {found.scale} scale\n\n{SCALES[found.scale]}\n"
        files.write(tables, out, introduction)
        recon = [r for r in found.results.values() if isinstance(r, ReconResult)]
        drawn = [path.relative_to(out).as_posix() for path in figures.build(Results(tuple(recon)), out)]
        drawn += draw_sheets(found, out)
        write_atomically(out / "claims.md", claims_page(decisions, found).encode())
        write_atomically(out / "claims.json", to_json(as_data(decisions, found)))
        if more:
            write_atomically(out / "cluster.md", more.encode())
        else:
            (out / "cluster.md").unlink(missing_ok=True)  # of an earlier report of the other scale
        write_atomically(out / "index.md", index(decisions, tables, found, drawn, bool(more)).encode())


def draw_sheets(found: Found, out: Path) -> list[str]:
    """Draw Figure 2, pictures beside their reconstructions, for each data set; return the files, relative to `out`."""
    from lactok.errors import UserError
    from reports.grids import choose_samples, draw
    from reports.pictures import stored_pictures

    keys = ("seedtok+", "titok-s128", "flextok", "llamagen", "lactok-h", "lactok-t*")
    drawn = []
    for place in found.places:
        rows = []
        for name in dict.fromkeys(filter(None, (found.name(place, key) for key in keys))):
            result, _ = found.at(place, name)
            if isinstance(result, ReconResult) and (stored := stored_pictures(result)) is not None:
                rows.append((result, stored))
        rows = [row for row in rows if row[1].references == rows[0][1].references]
        if not rows:
            continue
        path = out / "figures" / f"reconstructions-{place}.png"
        try:
            draw(rows, choose_samples(rows, None), None, path)
            drawn.append(path.relative_to(out).as_posix())
        except UserError:  # pictures were not kept, or not of the same images
            continue
    for path in (out / "figures").glob("reconstructions-*.png"):
        if path.relative_to(out).as_posix() not in drawn:
            path.unlink()
    return drawn


def index(
    decisions: Sequence[Decision], tables: Sequence[Table], found: Found, drawn: Sequence[str], plan: bool
) -> str:
    """Return the report's first page.

    Args:
        drawn: the files of the figures, relative to the report.
        plan: whether there is a plan of the cluster run.
    """
    counts = Counter(d.verdict for d in decisions)
    verdicts = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
    source = published.table("recon_imagenet").source.partition(",")[0]
    parts = [
        f"# The paper's tables, figures and claims, {found.scale} scale",
        f"The paper is {source}. {SCALES[found.scale]}",
        "## Claims",
        f"{len(decisions)} claims: {verdicts}. [claims.md](claims.md) has the numbers that decide each.",
        summary(decisions),
        "## Tables",
        "All in [tables.md](tables.md), tables.csv, tables.tex (LaTeX) and tables.json; one each:\n\n"
        + "".join(f"- [{escape_markdown(t.title)}](tables/{t.id}.md)\n" for t in tables).rstrip(),
        "## Figures",
        "".join(f"![{escape_markdown(f)}]({f})\n\n" for f in drawn if f.endswith((".svg", ".png"))).rstrip()
        or "None: no result that a figure could show.",
        "## Where this differs from the paper",
        "".join(f"- {line}\n" for line in PROTOCOL[found.scale]).rstrip(),
        "## Measured on",
        "".join(f"- {place}: {escape_markdown(words)}\n" for place, words in found.places.items()).rstrip(),
    ]
    if plan:
        parts += [
            "## The cluster run",
            "[cluster.md](cluster.md) has the commands, and what data and weights they need.",
        ]
    if reasons := not_run(found):
        parts += ["## Not run", reasons]
    return "\n\n".join(parts) + "\n"


def not_run(found: Found) -> str:
    """Return a list of the models that were not run, each with the reason; those of one reason in one line."""
    names: dict[str, list[str]] = {}
    for (_, name), why in found.reasons.items():
        known = names.setdefault(why, [])
        if name not in known:
            known.append(name)
    lines = [
        f"- {escape_markdown(', '.join(of))}: {escape_markdown(one_line(why, 400))}\n" for why, of in names.items()
    ]
    return "".join(lines).rstrip()


def summary(decisions: Sequence[Decision]) -> str:
    """Return a table of the claims with a line each."""
    from tabulate import tabulate

    rows = [
        [i, f"[{escape_markdown(d.claim.text)}](claims.md#{d.claim.id})", escape_markdown(d.claim.where), d.verdict]
        for i, d in enumerate(decisions, 1)
    ]
    return str(tabulate(rows, ["", "claim", "where", "verdict"], tablefmt="pipe", disable_numparse=True))


def claims_page(decisions: Sequence[Decision], found: Found) -> str:
    """Return the page of claims: of each the verdict, and the numbers that decide it."""
    parts = [f"# The paper's claims, {found.scale} scale", SCALES[found.scale], HOW]
    for number, decision in enumerate(decisions, 1):
        claim = decision.claim
        parts.append(f'<a id="{claim.id}"></a>\n\n## {number}. {escape_markdown(claim.text)}')
        said = f"{decision.reason}. {claim.where[0].upper()}{claim.where[1:]}. {claim.note}".rstrip()
        parts.append(f"**{decision.verdict}**: {escape_markdown(said)}")
        parts.append(_lines(decision.lines, found))
    return "\n\n".join(parts) + "\n"


def _lines(lines: Sequence[Line], found: Found) -> str:
    """Return the comparisons of a claim as a Markdown table."""
    from tabulate import tabulate

    heads = [
        "first",
        "second",
        "on",
        "metric",
        "first",
        "second",
        "second - first",
        "95 % interval",
        "p corrected",
        "n",
    ]
    rows = []
    for line in lines:
        row = [line.first, line.second, line.place, line.metric.head, *_numbers(line)]
        rows.append([escape_markdown(cell) for cell in row] + [_printed(line.printed), _said(line)])
    align = ["left"] * 4 + ["right"] * 6 + ["left", "left"]
    heads = [*(escape_markdown(head) for head in heads), "published: first, second", "says"]
    return str(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True, colalign=align))


def _numbers(line: Line) -> list[str]:
    """Return the measured values of a comparison as texts, "-" for what is missing."""
    if line.compared is None:
        return ["-"] * 6
    metric, difference = line.metric, line.compared.difference

    def number(value: float | None, sign: str = "") -> str:
        return "-" if value is None else decimals(value * metric.scale, metric.digits + 1, sign)

    interval = "-"
    if difference.ci95 is not None:
        interval = f"{number(difference.ci95[0], '+')} to {number(difference.ci95[1], '+')}"
    p = line.compared.p_corrected
    chance = "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
    values = [number(line.compared.first), number(line.compared.second), number(difference.value, "+")]
    return [*values, interval, chance, str(difference.n)]


def _printed(printed: Sequence[Printed]) -> str:
    """Return the published pairs of a comparison, each with what it is of."""
    said = []
    for pair in printed:
        of = published.table(pair.table).source.split(", ", 1)[-1]
        said.append(f"{pair.first:g}, {pair.second:g} ({pair.column}; {of})")
    return escape_markdown("; ".join(said)) or "-"


def _said(line: Line) -> str:
    """Return the verdict of a comparison, with its reason or margin."""
    margin = "" if line.margin is None else f" (margin {line.margin:g})"
    return escape_markdown(f"{line.verdict}{margin}" + (f": {one_line(line.reason, 300)}" if line.reason else ""))


def as_data(decisions: Sequence[Decision], found: Found) -> dict[str, object]:
    """Return the claims as JSON holds them, with all digits."""
    return {
        "schema": 1,
        "scale": found.scale,
        "claims": [
            {
                "id": d.claim.id,
                "claim": d.claim.text,
                "where": d.claim.where,
                "kind": d.claim.kind,
                "verdict": d.verdict,
                "reason": d.reason,
                "comparisons": [_line_data(line) for line in d.lines],
            }
            for d in decisions
        ],
    }


def _line_data(line: Line) -> dict[str, object]:
    """Return a comparison as JSON holds it."""
    compared = line.compared
    difference = compared.difference if compared else None
    return {
        "first": line.first,
        "second": line.second,
        "on": line.place,
        "metric": line.metric.key,
        "higher_is_better": line.metric.higher,
        "values": [compared.first, compared.second] if compared else None,
        "difference": difference.value if difference else None,
        "ci95": difference.ci95 if difference else None,
        "p": difference.p if difference else None,
        "p_corrected": compared.p_corrected if compared else None,
        "n": difference.n if difference else None,
        "margin": line.margin,
        "published": [
            {"table": p.table, "column": p.column, "first": p.first, "second": p.second} for p in line.printed
        ],
        "verdict": line.verdict,
        "reason": line.reason,
    }
