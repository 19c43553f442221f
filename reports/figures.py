"""Figures for a paper from stored results: quality against rate and against decoding time, each as SVG and PDF.

A figure shows results that are comparable: the same photographs under the same protocol and, where time is shown, on
the same machine. Lossless rows (the identity) are left out, because their values would squash the others. Continuous
rows are no points but dashed lines, ceilings, since they have no ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lactok.evaluation.results import ReconResult, Results
from lactok.metrics.registry import find
from reports import id_figures
from reports.conditions import is_lossless, unusual_conditions
from reports.drawing import printable, save, style
from reports.families import COLOURS, FAMILIES, MARKER_POINTS, MARKERS, USUAL_POINTS, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (3.4, 2.7)  # inches: a column of a two-column page
QUALITY = ("psnr", "lpips_alex", "lpips_vgg", "rfid", "text_cer")
AGAINST_TIME = ("psnr", "lpips_alex", "lpips_vgg")
RATES = {"bits": "Bits per image", "tokens": "Tokens per image"}
FORMATS = ("svg", "pdf")
# directions from a point in which its name may stand, the best first
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


# the names of the figures that `figures` draws
_OURS = re.compile(r"((rate-distortion|quality-speed)-.+|ids-by-position|detail-kept)__.+")


@dataclass(frozen=True)
class Point:
    """A result in a figure.

    Attributes:
        name: the tokenizer's, with unusual conditions.
        family: of the tokenizer; it determines colour and marker.
        x: bits, tokens or seconds.
        y: the value of the metric.
        low: the lower end of the 95 % interval, None where there is none.
        high: its upper end.
        curve: points of one curve, which differ in the tokenizer's options alone, are joined by a line.
        prefix: stands before the name: "~" for a distance of too few images.
    """

    name: str
    family: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    curve: str = ""
    prefix: str = ""


def build(results: Results, out: Path) -> list[Path]:
    """Draw all figures into the folder `figures` of a report, remove those of an earlier build and return the files."""
    written = figures(results, out / "figures")
    for path in (out / "figures").glob("*"):
        if path not in written and _OURS.fullmatch(path.name):
            path.unlink(missing_ok=True)
    return written


def figures(results: Results, out: Path) -> list[Path]:
    """Draw all figures that the results allow and return the files; their bytes are the same every time.

    The files are named `rate-distortion-<metric>-<bits|tokens>__<group>`, `ids-by-position__<group>`,
    `detail-kept__<group>` and `quality-speed-<metric>__<group>[__machine2]`, where the group is
    `<dataset>__<prepare>-<score>__n<images>`.
    """
    written: list[Path] = []
    for group, members in _groups(results.recon).items():
        rows = [row for row in members if row.data.tokenizer.kind != "continuous"]
        continuous = [row for row in members if row.data.tokenizer.kind == "continuous"]
        for metric in QUALITY:
            ceilings = _points([(row, row.tokenizer["bits"]) for row in continuous], metric)
            for rate, label in RATES.items():
                points = _points([(row, row.tokenizer[rate]) for row in rows], metric)
                name = f"rate-distortion-{metric}-{rate}__{group}"
                written += _draw(points, label, find(metric).axis, out / name, base=2, ceilings=ceilings)
        for i, (machine, timed) in enumerate(_machines(rows).items(), 1):
            for metric in AGAINST_TIME:
                label = f"Decoding, seconds per image ({machine})"
                name = f"quality-speed-{metric}__{group}"
                if i > 1:
                    name += f"__machine{i}"
                written += _draw(_points(timed, metric), label, find(metric).axis, out / name, base=10)
        written += id_figures.figures(rows, out, group)
    return written


def _groups(rows: Sequence[ReconResult]) -> dict[str, list[ReconResult]]:
    """Group rows with the same photographs, preparation and scoring, by a name that is safe in a path."""
    from lactok.evaluation.store import folder_safe

    found: dict[tuple[str, ...], list[ReconResult]] = {}
    for row in rows:
        key = (row.dataset, row.protocol["prepare"], row.protocol["score"], row.result["dataset"]["sha256"])
        found.setdefault(key, []).append(row)
    names: dict[str, list[ReconResult]] = {}
    for (dataset, prepare, score, content), members in sorted(found.items()):
        images = members[0].n + len(members[0].result["dataset"]["skipped"])
        name = "__".join([folder_safe(dataset)[:60], folder_safe(f"{prepare}-{score}"), f"n{images}"])
        if name in names:
            name += f"__{folder_safe(content[:6])}"
        names.setdefault(name, []).extend(members)
    return names


def _points(rows: Sequence[tuple[ReconResult, float | None]], metric: str) -> list[Point]:
    """Return the points of a metric from rows and their x; rows that cannot be drawn are left out."""
    from lactok.evaluation.names import is_control

    points = []
    for row, x in rows:
        entry = row.metrics.get(metric)
        if entry is None or entry.value is None or x is None or not 0 < x < inf or is_lossless(row):
            continue
        if is_control(row.label):  # its reconstructions were decoded from other ids than its photographs'
            continue
        low, high = entry.ci95 or (None, None)
        conditions = "".join(f" {condition}" for condition in unusual_conditions(row))
        points.append(
            Point(
                row.label + conditions,
                row.tokenizer["family"],
                float(x),
                float(entry.value),
                low,
                high,
                curve=row.label.partition("@")[0] + conditions,
                prefix="~" if entry.reliable is False else "",
            )
        )
    return sorted(points, key=lambda p: (p.name, p.x, p.y))


def _machines(rows: Sequence[ReconResult]) -> dict[str, list[tuple[ReconResult, float]]]:
    """Return rows with their seconds a decoded image, by the machine that `run.json` names.

    Rows without ids are left out, because they have no decoder to time.
    """
    found: dict[str, list[tuple[ReconResult, float]]] = {}
    for row in rows:
        seconds = row.seconds("decode")
        if seconds is None or row.tokenizer["tokens"] is None:
            continue
        with suppress(KeyError, TypeError):  # a run.json that does not name the machine
            found.setdefault(_machine(row.about), []).append((row, seconds))
    return dict(sorted(found.items()))


def _machine(about: Mapping[str, Any]) -> str:
    """Return the device of a run in words, from the content of its `run.json`."""
    machine = about["machine"]
    if about["device"] == "cpu":
        return printable(f"{machine['processor']}, {machine['threads']} threads", 60)
    return printable(about["device"], 60)


def _draw(
    points: Sequence[Point], x_label: str, y_label: str, path: Path, base: int, ceilings: Sequence[Point] = ()
) -> list[Path]:
    """Draw one figure in all formats and return the files; none where all points have the same place on the x axis.

    `ceilings` are continuous rows, whose bits are no rate of ids: each is a dashed line across the figure.
    """
    from matplotlib.figure import Figure

    if len({p.x for p in points}) < 2:
        return []
    files = [path.with_name(f"{path.name}.{kind}") for kind in FORMATS]
    with style():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        _plot(axes, points, base)
        _plot_ceilings(axes, ceilings)
        note = "~ too few images: biased upwards"
        axes.set_xlabel(f"{x_label}\n{note}" if any(p.prefix for p in points) else x_label)
        axes.set_ylabel(y_label)
        _thin_tick_labels(figure, axes)
        _label_points(figure, axes, points)
        for file in files:
            save(figure, file)
    return files


def _colours_and_markers(families: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the colour and the marker of each family, in the order of the legend."""
    order = [*(f for f in FAMILIES if f in families), *sorted(set(families) - set(FAMILIES))]
    return {f: (COLOURS[look(f).colour], MARKERS[look(f).mark]) for f in order}


def _plot(axes: Axes, points: Sequence[Point], base: int) -> None:
    """Plot the points with their intervals; those of one curve are joined by a line."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    looks = _colours_and_markers([p.family for p in points])
    curves: dict[tuple[str, str], list[Point]] = {}
    for p in points:
        curves.setdefault((p.family, p.curve), []).append(p)
    for (family, _), members in sorted(curves.items()):
        members = sorted(members, key=lambda p: (p.x, p.y))
        colour, marker = looks[family]
        for p in members:
            if p.low is not None and p.high is not None:
                axes.plot([p.x, p.x], [p.low, p.high], color=colour, linewidth=0.7, alpha=0.7, zorder=2)
        axes.plot(
            [p.x for p in members],
            [p.y for p in members],
            color=colour,
            marker=marker,
            markersize=MARKER_POINTS.get(marker, USUAL_POINTS),
            markeredgecolor="white",
            markeredgewidth=0.4,
            zorder=3,
        )
    axes.set_xscale("log", base=base)
    axes.margins(x=0.12, y=0.12)
    wide = max(p.x for p in points) > 16 * min(p.x for p in points)
    ticks: tuple[float, ...] = (1.0,) if wide else (1.0, 1.5)  # multiples of each power of the base
    if base == 10:
        ticks = (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(base=base, subs=ticks, numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(_tick_label))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(linewidth=0.3, color="#DDDDDD", zorder=0)
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=MARKER_POINTS.get(marker, USUAL_POINTS), linestyle="")
        for colour, marker in looks.values()
    ]
    legend = axes.legend(handles, ["?"] * len(looks), fontsize=6, frameon=False, loc="best")
    for text, family in zip(legend.get_texts(), looks, strict=True):
        text.set_text(printable(family, 24))  # set here, since a legend leaves out labels that begin with _


def _thin_tick_labels(figure: Figure, axes: Axes) -> None:
    """Leave the labels of the x axis to every second, third, ... tick, until none touches the next one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.ticker import FixedFormatter, FixedLocator

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    low, high = axes.get_xlim()
    shown = [t for t in axes.xaxis.get_major_ticks() if low <= t.get_loc() <= high]
    places, texts = [t.get_loc() for t in shown], [t.label1.get_text() for t in shown]
    boxes = [t.label1.get_window_extent(renderer) for t in shown]
    gap = boxes[0].height / 2 if boxes else 0.0
    for step in range(1, len(boxes) + 1):
        kept = boxes[::step]
        if all(one.x1 + gap <= following.x0 for one, following in pairwise(kept)):
            labels = [text if i % step == 0 else "" for i, text in enumerate(texts)]
            axes.xaxis.set_major_locator(FixedLocator(places))
            axes.xaxis.set_major_formatter(FixedFormatter(labels))
            return


def _plot_ceilings(axes: Axes, ceilings: Sequence[Point]) -> None:
    """Draw a dashed line for each continuous row at the value that it reaches, with its name and bits."""
    for p in ceilings:
        axes.axhline(p.y, color="#777777", linewidth=0.7, linestyle="--", zorder=1)
        text = axes.annotate(
            printable(f"{p.prefix}{p.name}, continuous, {p.x:,.0f} bits", 60),
            (0.01, p.y),
            (0, 1),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=5,
            color="#555555",
        )
        text.set_in_layout(False)


def _tick_label(value: float, position: int | None = None) -> str:
    """Return a tick's text, in the signature that matplotlib asks for."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _label_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write each point's name beside it, where it covers the fewest points, names and other things."""
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
            printable(p.prefix + p.name, 32),
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
        text.set_horizontalalignment(_alignment(dx, "left", "right"))
        text.set_verticalalignment(_alignment(dy, "bottom", "top"))
        taken.append(box)


def _alignment(offset: float, positive: str, negative: str) -> Any:
    """Return how a name is aligned along one axis that is moved from its point by this offset."""
    if offset == 0:
        return "center"
    return positive if offset > 0 else negative


def _share(offset: float) -> float:
    """Return the share of a name, moved from its point by this offset, that lies before the place it is moved to."""
    if offset == 0:
        return 0.5
    return 1.0 if offset < 0 else 0.0
