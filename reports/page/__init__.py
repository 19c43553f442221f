"""The page of the reports: a static site made of stored results, which can be opened from a file, without a server."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from lactok.errors import UserError, disk_errors
from lactok.evaluation.results import Results, load_results
from reports.page import geneval, rows
from reports.page.pictures import Pictures
from reports.page.scripts import Scripts
from reports.tables import page

TITLE = "<title>lactok reports</title>"


def build(runs: Path | Results, out: Path, all_papers: bool = False) -> None:
    """Write `out/index.html` and the files that it needs.

    The same results give the same bytes. An earlier page in `out` is replaced; pictures that both need are not written
    again, so that a second build is quick. Results that cannot be read are named in the page.

    Args:
        runs: the folder of results, or the results if they are loaded.
        out: the folder of the page.
        all_papers: whether it shows the papers' tables in which nothing is measured too.

    Raises:
        UserError: `runs` holds no results, `out` holds another page, or the disk is full.
    """
    results = load_results(runs) if isinstance(runs, Path) else runs
    _check_ours(out)
    with disk_errors(out):
        _copy_static(out)
        pictures, scripts = Pictures(out), Scripts(out)
        problems = list(results.left_out)
        summary = {
            **rows.summary(results.recon, pictures, scripts, problems),
            "geneval": geneval.summary(results.geneval, pictures, scripts, problems),
            "tables": page.tables(results, all_papers),
            "problems": [*problems, *pictures.problems],
        }
        scripts.write("summary", summary)
        pictures.remove_others()
        scripts.remove_others()


def _check_ours(out: Path) -> None:
    """Raise UserError if the folder holds a page that is none of ours; other files may lie in it."""
    index = out / "index.html"
    if index.is_file() and TITLE not in index.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"{index} is another page; name another folder for this one")


def _copy_static(out: Path) -> None:
    """Copy the page's HTML, style and scripts into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with as_file(files("reports.page") / "static") as static:
        shutil.copytree(static, out, dirs_exist_ok=True)


__all__ = ["build"]
