"""Which files under a folder are data: not hidden ones, not copies that systems make, not what lactok itself wrote."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lactok import outside_text
from lactok.errors import MissingFile, UserError, first_few
from lactok.outside_text import shown

# folders of a system's copies whose names do not begin with a dot: macOS in zip files, Synology's thumbnails
_COPIES = ("__MACOSX", "@eaDir")
# names that lactok gives: a result by its hashes, prepared references, composed scenes
_OURS = re.compile(r".+__[0-9a-f]{8}-[0-9a-f]{8}(__.*)?|references/[^/]*__[0-9a-f]{8}|scenes-\d+x\d+-seed\d+")
_PAGE = "<title>lactok reports</title>"
logger = logging.getLogger(__name__)
_said: set[str] = set()


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is no data.

    >>> [is_hidden(name) for name in (".ipynb_checkpoints", "._a.jpg", "__MACOSX", "n01440764")]
    [True, True, True, False]
    """
    return name.startswith(".") or name in _COPIES


def files_under(root: Path, endings: Sequence[str], skip: Callable[[str], bool] | None = None) -> list[Path]:
    """Return the data files under a folder, see `names_under`."""
    return [root / name for name in names_under(root, endings, skip)]


def names_under(root: Path, endings: Sequence[str], skip: Callable[[str], bool] | None = None) -> list[str]:
    """Return the data files under a folder by their paths in it, with "/" between the parts, by which they are sorted.

    Hidden files and folders, folders in which systems keep copies, and what lactok wrote (results, the store, training
    runs, the reports' page) are passed over; how many that were is logged, once for a folder. The folder itself is
    taken whatever it is. Linked folders are followed, each real folder once, so that links in a circle end. No file is
    opened, and names are all that is kept of millions of files.

    Args:
        root: the folder.
        endings: what names end in, in small letters; capitals count as well.
        skip: returns whether a folder of this name is not looked into, such as that of another part of the data set.

    Raises:
        MissingFile: the folder cannot be read.
    """
    walk = _Walk(root, tuple(endings), skip)
    walk.run()
    if walk.passed and str(root) not in _said:
        _said.add(str(root))
        logger.warning("%s: %s", shown(root, 200), walk.said())
    return sorted(walk.found, key=lambda name: name.split("/"))


class _Walk:
    """One walk through a folder.

    Args:
        root: the folder.
        endings: what names of data files end in.
        skip: see `names_under`.

    Attributes:
        found: the data files, by their paths in the folder.
        passed: what was passed over, as paths for a message.
    """

    def __init__(self, root: Path, endings: tuple[str, ...], skip: Callable[[str], bool] | None = None):
        self.root, self.endings, self.skip = root, endings, skip
        self.found: list[str] = []
        self.passed: list[str] = []
        self._waiting: list[str] = [""]  # the folders that are still to be entered; "" is the root
        self._links: list[str] = []
        self._seen: set[tuple[int, int]] = set()  # device and number of the folders that were entered

    def run(self) -> None:
        """Walk; real folders come before links, so that a link to one of them adds nothing."""
        above = self.root.resolve().parents
        while self._waiting or self._links:
            if self._waiting:
                self._enter(self._waiting.pop())
                continue
            self._links.sort(key=lambda name: name.split("/"), reverse=True)
            link = self._links.pop()
            if (self.root / link).resolve() in above:
                self._pass_over(link)
            else:
                self._enter(link)

    def _enter(self, name: str) -> None:
        """Sort what lies in a folder, unless it was entered before, cannot be read or was written by lactok."""
        folder = self.root / name
        try:
            stat = folder.stat()
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            if not name:
                raise MissingFile(f"cannot read the folder {shown(folder, 200)}: {error.strerror}") from error
            self._pass_over(name)
            return
        place = (stat.st_dev, stat.st_ino)
        ours = name != "" and written_by_lactok(folder, {entry.name for entry in entries})
        if ours or place in self._seen:
            self._pass_over(name)
            return
        self._seen.add(place)
        before = f"{name}/" if name else ""
        for entry in entries:
            self._sort(before + entry.name, entry)

    def _sort(self, name: str, entry: os.DirEntry[str]) -> None:
        """Keep a file that is data, and a folder to be entered later."""
        if _is(entry, "is_dir"):
            if is_hidden(entry.name):
                self._pass_over(name)
            elif self.skip is None or not self.skip(entry.name):
                (self._links if entry.is_symlink() else self._waiting).append(name)
        elif entry.name.lower().endswith(self.endings):
            if is_hidden(entry.name):
                self._pass_over(name)
            elif _is(entry, "is_file"):
                self.found.append(name)

    def _pass_over(self, name: str) -> None:
        self.passed.append(shown(name))

    def said(self) -> str:
        """Return the text that says what was passed over."""
        entries = "1 entry is" if len(self.passed) == 1 else f"{len(self.passed)} entries are"
        why = "hidden, linked twice, unreadable or written by lactok"
        return f"{entries} no data ({why}): {first_few(sorted(self.passed), 3)}"


def written_by_lactok(folder: Path, names: set[str]) -> bool:
    """Return whether lactok wrote a folder: a result, the store, pictures, rejected pairs, a training run or a page.

    Args:
        folder: the folder.
        names: the names of what lies in it.
    """
    if _OURS.fullmatch(folder.name) or _OURS.fullmatch("/".join(folder.parts[-2:])):
        return True
    if folder.name == "store":
        return any(_shards(folder))
    if "result.json" in names and {"schema", "metrics"} <= _keys(folder / "result.json"):
        return True
    if "generation.json" in names and {"generator", "settings"} <= _keys(folder / "generation.json"):
        return True
    if "rejected.json" in names and "rejected_by" in _keys(folder / "rejected.json"):
        return True
    if "curve.jsonl" in names and "step" in _keys(folder / "curve.jsonl"):
        return True
    return "index.html" in names and _PAGE in _start(folder / "index.html")


def _shards(store: Path) -> Iterator[Path]:
    """Yield the files of a store: `<kind>/<first two digits of the key>/<key, 64 hexadecimal digits>.<ending>`."""
    with contextlib.suppress(OSError):
        for path in store.glob("*/[0-9a-f][0-9a-f]/*"):
            if re.fullmatch(r"[0-9a-f]{64}", path.stem) and path.stem.startswith(path.parent.name):
                yield path


def _keys(path: Path) -> set[str]:
    """Return the keys of the JSON object that a file, or its first line, holds; none if it cannot be read."""
    with contextlib.suppress(UserError, OSError):
        text = outside_text.read(path)
        if path.suffix == ".jsonl":
            text = text.partition("\n")[0]
        return set(outside_text.json_object(text, path.name))
    return set()


def _start(path: Path) -> str:
    """Return the first characters of a file; none if it cannot be read."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(2000).decode("utf-8", "replace")
    return ""


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    """Return `entry.is_dir()` or `entry.is_file()`; False where a link leads nowhere or in a circle."""
    try:
        return bool(getattr(entry, kind)())
    except OSError:
        return False
