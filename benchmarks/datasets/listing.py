"""The table of the published data sets: what they are, and whether they are on this machine."""

from __future__ import annotations

from pathlib import Path

from tabulate import tabulate

from lactok.errors import UserError
from lactok.evaluation.candidates import NotPublished
from lactok.evaluation.datasets import data_folder
from lactok.evaluation.published_sets import PUBLISHED, samples_of
from lactok.files import is_folder


def listed(data: Path | None = None) -> str:
    """Return a table with a row for each published set; nothing but names is read.

    Args:
        data: the folder of the published sets, see `lactok.evaluation.datasets.data_folder`.
    """
    rows, remarks = [], []
    for name, one in PUBLISHED.items():
        root = data_folder(name, data)
        state = "not here"
        if is_folder(root):
            try:
                one.find(root)
                state = "here"
            except NotPublished as error:
                state = "another set"
                remarks.append(_reason(name, root, error))
            except UserError as error:
                state = "damaged"
                remarks.append(f"{name}: {error}")
        rows.append([name, f"{one.size:,}", f"{one.gigabytes:.1f} GB", state, str(root), one.licence])
    head = ["data set", "images", "to get", "state", "folder", "licence"]
    table = tabulate(rows, head, tablefmt="simple", disable_numparse=True)
    return "\n".join([table, *remarks, "`python -m benchmarks.datasets fetch NAME` gets one, or says how"])


def _reason(name: str, root: Path, error: NotPublished) -> str:
    """Return why a folder does not hold the set that it is named after, as `samples_of` says it."""
    try:
        samples_of(name, root)
    except NotPublished as said:
        return str(said)
    return str(error)
