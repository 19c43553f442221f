"""The rows of the table of `python -m benchmarks.coverage`: which there are, their values, kept in a file, as text."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.coverage import simulate
from lactok.errors import UserError, disk_errors
from lactok.evaluation.writing import to_json
from lactok.files import write_atomically

VERSION = 1  # raised by hand whenever the simulations change
Cell = dict[str, Any]  # what decides a row; a row has its measured values beside it
HEADS = {
    "means": {
        "distribution": "values",
        "images": "images",
        "coverage": "coverage %",
        "below": "truth below %",
        "above": "truth above %",
        "groups": "coverage, 3 images a caption %",
        "false_alarms": "p < 0.05 without a difference %",
        "power": "found at the smallest detectable difference %",
    },
    "distances": {
        "metric": "metric",
        "distribution": "features",
        "features": "d",
        "images": "images",
        "population": "true distance",
        "mean": "mean",
        "infinity": "mean extrapolated",
        "coverage": "coverage of the mean %",
        "covers_population": "coverage of the true distance %",
        "difference": "coverage of a difference %",
        "false_alarms": "p < 0.05 without a difference %",
    },
}


def cells(what: str, images: Sequence[int], simulations: int, features: int, kid_up_to: int, seed: int) -> list[Cell]:
    """Return what decides each row, in the order of the table.

    Args:
        what: "means" or "distances".
        images: sizes of the sets.
        simulations: the number of data sets of each size.
        features: the number of features of an image, for distances.
        kid_up_to: the size up to which KID is simulated, whose cost grows with its square.
        seed: the seed.
    """
    common = {"what": what, "simulations": simulations, "seed": seed, "version": VERSION}
    if what == "means":
        return [common | {"distribution": kind, "images": n} for kind in simulate.VALUES for n in images]
    return [
        common | {"metric": metric, "distribution": kind, "features": features, "images": n}
        for metric in simulate.DISTANCES
        for kind in simulate.FEATURES
        for n in images
        if metric != "kid" or n <= kid_up_to
    ]


def simulated(wanted: Sequence[Cell], out: Path | None) -> list[Cell]:
    """Return the rows, those that the file does not hold simulated now; each is written when it is finished.

    Args:
        wanted: what decides each row.
        out: the file, None to keep nothing.

    Raises:
        UserError: there is such a file, and it is no file of such rows.
    """
    rows = _stored(out) if out is not None else []
    found = []
    for place, cell in enumerate(wanted):
        row = next((row for row in rows if cell.items() <= row.items()), None)
        if row is None:
            said = ", ".join(str(value) for key, value in cell.items() if key not in ("what", "seed", "version"))
            print(f"{place + 1}/{len(wanted)}: {said}", file=sys.stderr, flush=True)
            row = cell | (simulate.means(cell) if cell["what"] == "means" else simulate.distances(cell))
            rows.append(row)
            if out is not None:
                with disk_errors(out, "choose another `out`"):
                    write_atomically(out, to_json({"schema": 1, "rows": rows}))
        found.append(row)
    return found


def _stored(path: Path) -> list[Cell]:
    """Return the rows of a file, none if there is no such file."""
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text())["rows"]
        if all(isinstance(row, dict) for row in rows):
            return list(rows)
    except (OSError, ValueError, LookupError, TypeError):
        pass
    raise UserError(f"`out` {path} exists and holds no simulations; name another file")


def table(what: str, rows: Sequence[Cell]) -> str:
    """Return the rows as a Markdown table."""
    from tabulate import tabulate

    heads = HEADS[what]

    def text(key: str, value: object) -> str:
        if value is None:
            return "-"
        if not isinstance(value, float):
            return str(value)
        return f"{value:.4g}" if key in ("population", "mean", "infinity") else f"{100 * value:.1f}"

    lines = [[text(key, row[key]) for key in heads] for row in rows]
    return str(tabulate(lines, list(heads.values()), tablefmt="pipe", disable_numparse=True))
