"""Where results lie: in folders and bundles, one or several; the same result twice is one, and a copy can be made."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import MissingFile, UserError, WrongValue, first_few
from lactok.evaluation import bundles, stored_files
from lactok.evaluation.older_results import Damaged
from lactok.files import is_folder
from lactok.outside_text import shown

if TYPE_CHECKING:
    from lactok.evaluation.results import Result

FIRST = "python -m benchmarks.recon --tokenizers local"  # the command that messages name where there are no results
MERGE = "python -m reports merge A B --keep-both --out BOTH"


@dataclass(frozen=True)
class Place:
    """Where a result lies.

    Attributes:
        name: what it is called among all; the folder's name, but for a result that had to be told apart.
        folder: its folder, of a bundle where that was unpacked.
        source: the folder of results or the bundle that it is of, as the user named it.
    """

    name: str
    folder: Path
    source: str


def places(sources: Sequence[str | os.PathLike[str]], keep_both: bool = False) -> list[Place]:
    """Return where the results of several sources lie, in the order of their names, the same result once.

    Args:
        sources: folders of results, folders of single results, and bundles.
        keep_both: whether different results of one name are all returned, the later ones with digits of their
            content at the end of their names.

    Raises:
        MissingFile: a source is not there.
        UserError: a source cannot be read, or there are different results of one name.
    """
    found: dict[str, Place] = {}
    different: list[tuple[Place, Place]] = []
    for source in sources:
        for folder in _folders(source):
            place = Place(folder.name, folder, os.fspath(source))
            first = found.setdefault(place.name, place)
            if first is place or same(first.folder, folder):
                continue
            if keep_both:
                name = f"{place.name}__{_digits(folder)}"
                found.setdefault(name, Place(name, folder, place.source))
            else:
                different.append((first, place))
    if different:
        first, second = different[0]
        more = f", and so are {len(different) - 1} more" if len(different) > 1 else ""
        raise UserError(
            f"{first.name} of {shown(first.source, 200)} and of {shown(second.source, 200)} are different "
            f"results{more}; keep one of them, or merge the folders with both: {MERGE}"
        )
    return [found[name] for name in sorted(found)]


def _folders(source: str | os.PathLike[str]) -> list[Path]:
    """Return the results' folders of a source, in order; see `places`."""
    if not os.fspath(source):
        raise WrongValue("`runs` is empty; name a folder of results")
    root = Path(source)
    if bundles.is_bundle(root):
        root = bundles.opened(root)
    if not is_folder(root):
        bundle = f", and no bundle, whose name ends in {bundles.ENDING}" if root.suffix == ".zip" else ""
        raise MissingFile(f"`runs` {shown(source, 200)}: no such folder{bundle}; measure something first: {FIRST}")
    try:
        folders = sorted(path for path in root.iterdir() if is_result(path))
    except OSError as error:
        raise UserError(f"`runs` {source} cannot be read ({error.strerror})") from error
    return folders or ([root] if is_result(root) else [])


def is_result(folder: Path) -> bool:
    """Return whether a folder holds a `result.json`; what may not be looked into does not."""
    try:
        return (folder / "result.json").exists()
    except OSError:
        return False


def same(first: Path, second: Path) -> bool:
    """Return whether two folders hold the same result: the same `result.json` byte for byte, and the same records."""
    if first == second or first.resolve() == second.resolve():
        return True
    if _bytes(first / "result.json") != _bytes(second / "result.json"):
        return False
    records = [_bytes(folder / "records.parquet") for folder in (first, second)]
    return records[0] == records[1] or _same_records(first, second)


def _same_records(first: Path, second: Path) -> bool:
    """Return whether the records are the same where their bytes are not: another pyarrow writes other bytes."""
    import pandas

    try:
        tables = [pandas.read_parquet(folder / "records.parquet", engine="pyarrow") for folder in (first, second)]
    except Exception:  # pyarrow's errors have no common class; what cannot be read is not the same
        return False
    return bool(tables[0].equals(tables[1]))


def _bytes(path: Path) -> bytes | None:
    """Return a file's content; None where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _digits(folder: Path) -> str:
    """Return digits that tell a result from others of its name."""
    both = [_bytes(folder / name) or b"" for name in ("result.json", "records.parquet")]
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in both)).hexdigest()[:8]


def files_of(result: Result, name: str, pictures: bool) -> Iterator[tuple[str, Path]]:
    """Yield the files that a copy of a result takes: their names in the folder of results, and where they lie.

    The times of a generator's pictures, which lie apart from the result, are among them; those pictures are not.

    Args:
        result: the result.
        name: the name of the copy's folder.
        pictures: whether its pictures and everything else in its folder are copied too; else only the files that a
            bundle holds.
    """
    from lactok.evaluation.results import PicturesResult

    folder = result.folder
    if pictures:
        for root, folders, names in os.walk(folder):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            for each in sorted(each for each in names if not each.startswith(".")):
                path = Path(root) / each
                yield f"{name}/{path.relative_to(folder).as_posix()}", path
        yield from _photographs(folder)
    else:
        for each in bundles.FILES:
            if (folder / each).is_file():
                yield f"{name}/{each}", folder / each
    made = result.generated if isinstance(result, PicturesResult) else None
    if made is not None and made != folder and (made / "run.json").is_file():
        yield f"{bundles.GENERATED}/{made.name}/run.json", made / "run.json"


def _photographs(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the prepared photographs beside a result's pictures, as its `images/index.json` names them."""
    try:
        index = stored_files.read_json(folder / "images" / "index.json")
        references = index["references"]
        names = [references, *(entry["file"] for entry in index["pictures"])]
    except (Damaged, LookupError, TypeError):
        return  # there are none
    strange = [each for each in names if not stored_files.is_plain_name(each)]
    if strange:
        told = first_few([ascii(each)[:60] for each in strange], 3)
        raise UserError(f"{folder.name}/images/index.json is damaged: it names {told}, which is no file's name")
    for each in names[1:]:
        path = folder.parent / "references" / references / each
        if path.is_file():
            yield f"references/{references}/{each}", path
