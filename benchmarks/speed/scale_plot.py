"""The plot of `benchmarks.speed.scale`: time and memory against the number of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from lactok.files import write_atomically

SIZE = (7.0, 2.9)  # inches
# the colours of Okabe and Ito, Color Universal Design (2008)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")


def draw(every: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw series of measurements as an SVG file, whose bytes are the same for the same numbers.

    Args:
        every: the series, each `settings` and `sizes`, as `benchmarks.speed.scaling.measure` gives them.
        path: the file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": "lactok", "svg.fonttype": "none", "font.size": 7})
        figure = Figure(SIZE, layout="constrained")
        time, memory = figure.subplots(1, 2)
        for i, series in enumerate(every):
            points = series["sizes"]
            counts = [point["photographs"] for point in points]
            how = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "markersize": 3}
            label = f"{series['settings']['tokenizer']}: {series['settings']['metrics'].replace(',', ', ')}"
            seconds = [sum(point["cpu"].values()) for point in points]
            time.plot(counts, seconds, label=label, linewidth=0.9, **how)
            memory.plot(counts, [point["peak"] / 1e9 for point in points], label=label, linewidth=0.9, **how)
        _proportional(time, every)
        time.set(xscale="log", yscale="log", xlabel="photographs", ylabel="CPU seconds")
        memory.set(xscale="log", xlabel="photographs", ylabel="peak memory, GB")
        memory.set_ylim(0, 1.15e-9 * max(point["peak"] for series in every for point in series["sizes"]))
        time.legend(frameon=False)
        out = BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    write_atomically(path, out.getvalue())


def _proportional(axes: Any, every: Sequence[dict[str, Any]]) -> None:
    """Draw for each series, dashed, the seconds in proportion to the photographs from its largest size down."""
    for series in every:
        last = series["sizes"][-1]
        first = series["sizes"][0]["photographs"] / last["photographs"]
        seconds = sum(last["cpu"].values())
        counts = [series["sizes"][0]["photographs"], last["photographs"]]
        axes.plot(counts, [seconds * first, seconds], linestyle=":", linewidth=0.7, color="#888888")
