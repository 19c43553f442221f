"""Figures of a paper from stored results: rate-distortion and quality-speed, each as SVG and PDF.

Every figure is of results that may stand beside each other: the same photographs under the same protocol, and, where
time is shown, on the same machine. Rows that lose nothing (the identity) are left out: they would squash the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.evaluation.results import ReconResult, Results
from lactok.metrics.registry import find
from reports.drawing import plain, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (3.4, 2.7)  # inches: a column of a two-column page
# Okabe and Ito, Color Universal Design (2008), without yellow, which is lost on white paper; a shape each besides
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
FAMILIES = ("lactok", "llamagen", "titok", "flextok", "seedtok", "vqgan", "reference")  # the others follow by name
QUALITY = ("psnr", "lpips_alex", "lpips_vgg", "rfid")
AGAINST_TIME = ("psnr", "lpips_alex", "lpips_vgg")
RATES = {"bits": "Bits per image", "tokens": "Tokens per image"}
FORMATS = ("svg", "pdf")
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))  # of a point, where its name may stand


@dataclass(frozen=True)
class Point:
    """A row in a figure.

    Attributes:
        low, high: the 95 % interval.
        curve: the same for rows that differ in their options alone.
        marked: what stands before the name, ~ for a distance of too few images.
    """

    name: str
    family: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    curve: str = ""
    marked: str = ""


def build(results: Results, out: Path) -> list[Path]:
    """`figures` into the folder `figures` of a report, without those of an earlier build."""
    written = figures(results, out / "figures")
    for path in (out / "figures").glob("*"):
        if path not in written and path.name.startswith(("rate-distortion-", "quality-speed-")):
            path.unlink(missing_ok=True)
    return written


def figures(results: Results, out: Path) -> list[Path]:
    """Draw all figures that the results allow; returns the files, the same bytes every time.

    Names: `rate-distortion-<metric>-<bits|tokens>__<group>` and `quality-speed-<metric>__<group>[__machine2]`, where
    the group is `<dataset>__<prepare>-<score>__n<images>`.
    """
    written: list[Path] = []
    for group, rows in _groups(results.recon).items():
        for metric in QUALITY:
            for rate, label in RATES.items():
                points = _points([(row, row.tokenizer[rate]) for row in rows], metric)
                written += _draw(
                    points, label, find(metric).axis, out / f"rate-distortion-{metric}-{rate}__{group}", base=2
                )
        for i, (machine, timed) in enumerate(_machines(rows).items(), 1):
            for metric in AGAINST_TIME:
                label = f"Decoding, seconds per image ({machine})"
                name = f"quality-speed-{metric}__{group}" + f"__machine{i}" * (i > 1)
                written += _draw(_points(timed, metric), label, find(metric).axis, out / name, base=10)
    return written


def _groups(rows: Sequence[ReconResult]) -> dict[str, list[ReconResult]]:
    """Rows of the same photographs, preparation and score, by a name that is safe in a path."""
    from lactok.evaluation.store import folder_safe

    found: dict[tuple[str, ...], list[ReconResult]] = {}
    for row in rows:
        key = (row.dataset, row.protocol["prepare"], row.protocol["score"], row.result["dataset"]["sha256"])
        found.setdefault(key, []).append(row)
    names: dict[str, list[ReconResult]] = {}
    for (dataset, prepare, score, content), members in sorted(found.items()):
        asked = members[0].n + len(members[0].result["dataset"]["skipped"])
        name = "__".join([folder_safe(dataset)[:60], folder_safe(f"{prepare}-{score}"), f"n{asked}"])
        if name in names:
            name += f"__{folder_safe(content[:6])}"
        names.setdefault(name, []).extend(members)
    return names


def _points(rows: Sequence[tuple[ReconResult, float | None]], metric: str) -> list[Point]:
    """Rows with their place on the x axis -> what can be drawn of a metric."""
    from lactok.evaluation.sources import EXCHANGED

    points = []
    for row, x in rows:
        entry = row.metrics.get(metric)
        if entry is None or entry.value is None or x is None or not 0 < x < inf or _lossless(row):
            continue
        if row.label.endswith(EXCHANGED):  # a control, decoded from the ids of other photographs
            continue
        low, high = entry.ci95 or (None, None)
        conditions = f" {row.dtype}" * (row.dtype != "float32") + f" seed {row.seed}" * (row.seed != 0)
        points.append(
            Point(
                row.label + conditions,
                row.tokenizer["family"],
                float(x),
                float(entry.value),
                low,
                high,
                curve=row.label.partition("@")[0] + conditions,
                marked="~" if entry.reliable is False else "",
            )
        )
    return sorted(points, key=lambda p: (p.name, p.x, p.y))


def _lossless(row: ReconResult) -> bool:
    psnr = row.metrics.get("psnr")
    return psnr is not None and psnr.capped == psnr.n


def _machines(rows: Sequence[ReconResult]) -> dict[str, list[tuple[ReconResult, float]]]:
    """Rows with their seconds a decoded image, by the machine that they were taken on, as `run.json` says.

    Rows without ids have no decoder of their own to time.
    """
    found: dict[str, list[tuple[ReconResult, float]]] = {}
    for row in rows:
        seconds = row.seconds("decode")
        if seconds is None or row.tokenizer["tokens"] is None:
            continue
        with suppress(KeyError, TypeError):  # a run.json that does not say where
            found.setdefault(_machine(row.about), []).append((row, seconds))
    return dict(sorted(found.items()))


def _machine(about: Mapping[str, Any]) -> str:
    machine = about["machine"]
    where = machine["processor"] if about["device"] == "cpu" else about["device"]
    return plain(f"{where}, {machine['threads']} threads" if about["device"] == "cpu" else where, 60)


def _draw(points: Sequence[Point], x_label: str, y_label: str, path: Path, base: int) -> list[Path]:
    """One figure in all formats; none where all points have the same place on the x axis."""
    from matplotlib.figure import Figure

    if len({p.x for p in points}) < 2:
        return []
    files = [path.with_name(f"{path.name}.{kind}") for kind in FORMATS]
    with style():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        _plot(axes, points, base)
        note = "~ too few images: biased upwards"
        axes.set_xlabel(f"{x_label}\n{note}" if any(p.marked for p in points) else x_label)
        axes.set_ylabel(y_label)
        _name(figure, axes, points)
        for file in files:
            save(figure, file)
    return files


def _look(families: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and shape of each family: the known ones always have the same."""
    order = [*FAMILIES, *sorted(set(families) - set(FAMILIES))]
    return {f: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, f in enumerate(order)}


def _plot(axes: Axes, points: Sequence[Point], base: int) -> None:
    """Points with intervals; rows that differ in their options alone are joined by a line."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    look = _look([p.family for p in points])
    curves: dict[tuple[str, str], list[Point]] = {}
    for p in points:
        curves.setdefault((p.family, p.curve), []).append(p)
    for (family, _), members in sorted(curves.items()):
        members = sorted(members, key=lambda p: (p.x, p.y))
        colour, marker = look[family]
        for p in members:
            if p.low is not None and p.high is not None:
                axes.plot([p.x, p.x], [p.low, p.high], color=colour, linewidth=0.7, alpha=0.7, zorder=2)
        axes.plot(
            [p.x for p in members],
            [p.y for p in members],
            color=colour,
            marker=marker,
            markersize=4.5,
            markeredgecolor="white",
            markeredgewidth=0.4,
            zorder=3,
        )
    axes.set_xscale("log", base=base)
    axes.margins(x=0.12, y=0.12)
    wide = max(p.x for p in points) > 16 * min(p.x for p in points)
    subs = (1.0, 2.0, 5.0) if base == 10 else (1.0,) if wide else (1.0, 1.5)
    axes.xaxis.set_major_locator(LogLocator(base=base, subs=subs, numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 10 else f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(linewidth=0.3, color="#DDDDDD", zorder=0)
    families = [f for f in look if any(p.family == f for p in points)]
    handles = [Line2D([], [], color=look[f][0], marker=look[f][1], markersize=4.5, linestyle="") for f in families]
    legend = axes.legend(handles, ["?"] * len(families), fontsize=6, frameon=False, loc="best")
    for text, family in zip(legend.get_texts(), families, strict=True):
        text.set_text(plain(family, 24))  # afterwards: a legend leaves out labels that begin with _


def _name(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write each point's name beside it, where it covers the fewest points and names that are there already."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, frame = canvas.get_renderer(), axes.get_window_extent()
    scale = figure.dpi / 72
    at = [axes.transData.transform((p.x, p.y)) for p in points]
    taken = [Bbox.from_bounds(x - 3 * scale, y - 3 * scale, 6 * scale, 6 * scale) for x, y in at]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent(renderer))
    places = [(x * d, y * d) for d in (5, 10, 16, 24) for x, y in SIDES]
    for p, (x, y) in zip(points, at, strict=True):
        text = axes.annotate(
            plain(p.marked + p.name, 32),
            (p.x, p.y),
            (0, 0),
            textcoords="offset points",
            fontsize=5.5,
            color="#333333",
            zorder=4,
            annotation_clip=False,
        )
        text.set_in_layout(False)
        size = text.get_window_extent(renderer).size
        costs = []
        for dx, dy in places:
            left, bottom = x + dx * scale - _share(dx) * size[0], y + dy * scale - _share(dy) * size[1]
            box = Bbox.from_bounds(left, bottom, *size)
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
            costs.append((box.count_overlaps(taken) + 2 * outside, box))
            if costs[-1][0] == 0:
                break
        best = min(range(len(costs)), key=lambda i: costs[i][0])
        (dx, dy), box = places[best], costs[best][1]
        text.set_position((dx, dy))
        text.set_horizontalalignment("center" if dx == 0 else "left" if dx > 0 else "right")
        text.set_verticalalignment("center" if dy == 0 else "bottom" if dy > 0 else "top")
        taken.append(box)


def _share(offset: float) -> float:
    """How much of a name lies before its anchor when it is moved this way."""
    return 0.5 if offset == 0 else float(offset < 0)
