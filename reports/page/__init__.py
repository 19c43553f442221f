"""The page of the reports: one static site from stored results, which opens from a file and needs no server."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from lactok.errors import UserError, disk_errors
from reports.page import geneval, published, rows
from reports.page.found import find
from reports.page.pictures import Pictures
from reports.page.scripts import Scripts

TITLE = "<title>lactok reports</title>"


def build(runs: Path, out: Path) -> None:
    """Write `out/index.html` and what it needs beside it, from the result folders in `runs`.

    The same results give the same bytes. What an earlier build left in `out` is replaced; pictures that it has already
    are kept, so building again is quick. Results that cannot be read are named in the page.

    Raises:
        UserError: `runs` is no folder, or `out` holds something that is no such page; or the disk is full.
    """
    if not runs.is_dir():
        raise UserError(f"no such folder {runs}: name the --out of the benchmarks")
    _check_ours(out)
    with disk_errors(out):
        _copy_static(out)
        pictures, scripts = Pictures(out), Scripts(out)
        results = find(runs)
        summary = {
            **rows.summary(results, runs, pictures, scripts),
            "geneval": geneval.summary(results, pictures, scripts),
            "tables": published.tables(results),
            "problems": [*results.problems, *pictures.problems],
        }
        scripts.write("summary", summary)
        pictures.remove_others()
        scripts.remove_others()


def _check_ours(out: Path) -> None:
    """Nothing but an earlier page is replaced."""
    index = out / "index.html"
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not index.is_file():
        raise UserError(f"{out} holds other things; name an empty folder for the page")
    if index.is_file() and TITLE not in index.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"{index} is another page; name an empty folder for this one")


def _copy_static(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with as_file(files("reports.page") / "static") as static:
        shutil.copytree(static, out, dirs_exist_ok=True)


__all__ = ["build"]
