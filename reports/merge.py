"""`python -m reports merge A B` brings the results of several folders and bundles into one folder."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lactok.errors import WrongValue, check_output_folder, disk_errors
from lactok.files import copy_atomically, is_folder, temporary
from lactok.outside_text import shown


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Add the arguments of `merge` to a parser."""
    p.add_argument("sources", metavar="DIR", nargs="+", help="folders of results, or bundles; they stay as they are")
    p.add_argument(
        "--out", required=True, metavar="DIR", help="the folder that they go to; results that it holds already stay"
    )
    p.add_argument(
        "--keep-both",
        action="store_true",
        help="different results of one name are both kept, the later one with digits of its content at the end of its "
        "name; otherwise they are refused",
    )


def run(args: argparse.Namespace) -> int:
    """Merge and return 0, or 3 if a result could not be read and is not merged."""
    check_output_folder("out", args.out)
    done = merge(args.sources, Path(args.out), args.keep_both)
    if not (done.copied or done.present or done.left_out):
        named = " ".join(shown(source, 200) for source in args.sources)
        raise WrongValue(f"no results in {named}; name the folders that a suite's --out named, or bundles")
    for line in done.left_out:
        print(line, file=sys.stderr)
    for name in done.renamed:
        print(f"told apart: {name}")
    print(f"written: {done.copied} results in {args.out}, {done.present} were there already")
    return 3 if done.left_out else 0


@dataclass(frozen=True)
class Merged:
    """What `merge` did.

    Attributes:
        copied: the number of results that were copied.
        present: the number of those that the folder held already.
        renamed: the new names of results that were told apart.
        left_out: a line for each result that cannot be read.
    """

    copied: int
    present: int
    renamed: tuple[str, ...]
    left_out: tuple[str, ...]


def merge(sources: Sequence[str], out: Path, keep_both: bool = False) -> Merged:
    """Copy the results of several folders and bundles, with their pictures, into one folder; the same result once.

    Nothing is copied unless all can be. The store, from which a suite goes on where it was, is not copied: the suites
    take every source as it is.

    Args:
        sources: the folders and bundles.
        out: the folder; what it holds already comes first.
        keep_both: whether different results of one name are told apart, see `lactok.evaluation.result_folders.places`.

    Raises:
        UserError: a source cannot be read, there are different results of one name, or the disk is full.
    """
    from lactok.evaluation.older_results import Damaged
    from lactok.evaluation.result_folders import files_of, places
    from lactok.evaluation.results import load

    every = [str(out), *sources] if is_folder(out) else list(sources)
    copied, present, renamed, left_out = 0, 0, [], []
    copies = []
    for place in places(every, keep_both):
        if is_folder(out) and place.folder.parent.resolve() == out.resolve():
            present += 1
            continue
        try:
            result = load(place.folder)
        except Damaged as error:
            left_out.append(f"left out: {place.name!a} of {place.source}: {error}")
            continue
        copies.append((place.name, list(files_of(result, place.name, pictures=True))))
        if place.name != place.folder.name:
            renamed.append(place.name)
    with disk_errors(out):
        for name, files in copies:
            _copy(name, files, out)
            copied += 1
    return Merged(copied, present, tuple(renamed), tuple(left_out))


def _copy(name: str, files: Sequence[tuple[str, Path]], out: Path) -> None:
    """Copy a result's files into `out`; its folder appears at the end, whole."""
    out.mkdir(parents=True, exist_ok=True)
    whole = temporary(out / name)
    try:
        for file, path in files:
            if file.startswith(f"{name}/"):
                copy_atomically(path, whole / file.removeprefix(f"{name}/"))
            elif not (out / file).exists():  # photographs, of which all results have the same
                copy_atomically(path, out / file)
        whole.rename(out / name)
    finally:
        shutil.rmtree(whole, ignore_errors=True)
