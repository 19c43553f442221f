"""Write all tables of stored results as Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lactok.evaluation.older_results import Damaged
from lactok.evaluation.results import Results
from lactok.evaluation.stored_files import read_json
from lactok.files import write_atomically
from reports.tables import formats, found, ids, paper, rate
from reports.tables.cells import Table

FOLDER = "tables"
SUFFIXES = (".md", ".csv", ".tex", ".json")
INTRODUCTION = """# Tables

Published numbers and what was measured here under the same protocol, then all runs found here. A measured number
stands beside a published one only if it is of the same data set, whole, under the same protocol; an empty cell says
why it is empty. The difference is measured minus published, with the interval of the measured number.
"""


def tables(results: Results, all_papers: bool = False) -> list[Table]:
    """Return the papers' tables in their order, then those of the runs found here, of their ids and of their rates.

    Args:
        results: the results.
        all_papers: whether the papers' tables in which nothing is measured are among them.
    """
    papers = paper.build(results) if all_papers else paper.build_measured(results)
    return [*papers, *found.build(results), *ids.build(results), *rate.build(results)]


def build(results: Results, out: Path, more: Sequence[Table] = (), all_papers: bool = False) -> list[Table]:
    """Write `out/tables.{md,csv,tex,json}` with all tables and `out/tables/<id>.*` with one each, and return them.

    The same results give the same bytes. Files of an earlier build that are not written again are removed.

    Args:
        results: the results.
        out: the folder of the report.
        more: tables that are added at the end.
        all_papers: see `tables`.
    """
    every = [*tables(results, all_papers), *more]
    write(every, out, INTRODUCTION)
    return every


def write(every: Sequence[Table], out: Path, introduction: str) -> None:
    """Write tables into the folder of a report, see `build`; the introduction stands above those of `tables.md`."""
    earlier = _earlier(out)
    files = {f"tables{suffix}": text for suffix, text in _files(every, introduction).items()}
    for table in every:
        files |= {f"{FOLDER}/{table.id}{suffix}": text for suffix, text in _files([table]).items()}
    for name, text in files.items():
        write_atomically(out / name, text.encode())
    for name in sorted(earlier - files.keys()):
        (out / name).unlink(missing_ok=True)


def _earlier(out: Path) -> set[str]:
    """Return the files of single tables that an earlier build wrote, as its `tables.json` names them; others stay."""
    try:
        ids = [table["id"] for table in read_json(out / "tables.json")["tables"]]
    except (Damaged, LookupError, TypeError):
        return set()  # there is none, or it is not ours
    return {f"{FOLDER}/{i}{suffix}" for i in ids for suffix in SUFFIXES if re.fullmatch(r"[\w.-]+", str(i))}


def _files(some: Sequence[Table], introduction: str = "") -> dict[str, str]:
    """Return the text of a file with these tables in every format, by suffix."""
    sections = [formats.markdown(table) for table in some]
    if introduction:
        sections.insert(0, introduction)
    return {
        ".md": "\n".join(sections),
        ".csv": formats.csv_text(some),
        ".tex": formats.LATEX_HEAD + "\n".join(formats.latex(t) for t in some),
        ".json": formats.json_text(some),
    }
