"""Figures of ids and errors: use of the codebook by position, and the share of each octave's power that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import UserError
from lactok.evaluation.error_profile import stored_profile
from lactok.evaluation.names import is_control
from lactok.evaluation.results import ReconResult
from reports.drawing import printable, save, style

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

SIZE = (3.4, 2.7)  # inches: a column of a two-column page
MOST_LINES = 10  # in a figure; matplotlib has so many different colours
FORMATS = ("svg", "pdf")
Line = tuple[str, "np.ndarray", "np.ndarray"]  # name, x, y


def figures(rows: Sequence[ReconResult], out: Path, group: str) -> list[Path]:
    """Draw the figures of runs of the same images and return the files; none for runs without ids and profiles.

    Args:
        rows: the runs.
        out: the folder.
        group: the end of the files' names, `ids-by-position__<group>` and `detail-kept__<group>`.
    """
    runs = sorted((r for r in rows if not is_control(r.label)), key=lambda r: r.name)
    written = _draw(
        _positions(runs),
        out / f"ids-by-position__{group}",
        "Position of the id (share of the sequence)",
        "Entropy of the codes at the position (bits)",
    )
    return written + _draw(
        _octaves(runs),
        out / f"detail-kept__{group}",
        "Spatial frequency (cycles a pixel)",
        "Power kept (%)",
        octaves=True,
    )


def _positions(runs: Sequence[ReconResult]) -> list[Line]:
    """Return the entropy of the codes at each position, of runs whose ids are stored."""
    import numpy as np

    from lactok.evaluation.id_statistics import by_position, stored_ids

    lines: list[Line] = []
    for run in runs:
        try:
            found = stored_ids(run.folder)
        except UserError:
            continue  # the table of ids has what result.json says
        if found is not None and found[0].shape[1] > 1:
            _, entropy = by_position(found[0])
            lines.append((run.label, (np.arange(len(entropy)) + 0.5) / len(entropy), entropy))
    return lines


def _octaves(runs: Sequence[ReconResult]) -> list[Line]:
    """Return the share of each octave's power that is kept, in percent, of runs with an error profile."""
    import numpy as np

    lines: list[Line] = []
    for run in runs:
        found = stored_profile(run.folder)
        if found is not None:
            octaves = [o for o in found["octaves"] if o["kept"]["value"] is not None]
            x = np.array([float(o["above"]) * 2**0.5 for o in octaves])
            lines.append((run.label, x, np.array([100 * float(o["kept"]["value"]) for o in octaves])))
    return lines


def _draw(lines: Sequence[Line], path: Path, x_label: str, y_label: str, octaves: bool = False) -> list[Path]:
    """Draw a figure in all formats and return the files; none without lines."""
    from matplotlib.figure import Figure

    if not lines:
        return []
    files = [path.with_name(f"{path.name}.{kind}") for kind in FORMATS]
    with style():
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        for name, x, y in lines[:MOST_LINES]:
            axes.plot(x, y, label=printable(name, 32), marker="o" if octaves else "", markersize=3)
        if octaves:
            _octave_axis(axes)
        axes.set_ylim(bottom=0)
        rest = len(lines) - MOST_LINES
        axes.set_xlabel(f"{x_label}\nand {rest} more in the table" if rest > 0 else x_label)
        axes.set_ylabel(y_label)
        axes.grid(linewidth=0.3, color="#DDDDDD", zorder=0)
        legend = axes.legend(["?"] * min(len(lines), MOST_LINES), fontsize=5.5, frameon=False, loc="best")
        for text, (name, _, _) in zip(legend.get_texts(), lines, strict=False):
            text.set_text(printable(name, 32))  # set here, since a legend leaves out labels that begin with _
        for file in files:
            save(figure, file)
    return files


def _octave_axis(axes: Axes) -> None:
    """Let the x axis be logarithmic, with ticks between octaves."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator([2.0**-k for k in range(2, 7)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"1/{round(1 / value)}"))
