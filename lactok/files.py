"""Writing files so that readers see either the old content or the whole new one, also after a process was killed.

New content goes into a hidden file beside the old one, `.<name>.<machine>-<pid>-<count>.part`, and takes its place at
the end. A writer that is killed leaves that file behind; the next process that writes into the folder removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

ABANDONED = 3600.0  # seconds after the last change, after which nobody writes to a file of an unknown machine

# of today; of earlier versions: `.<name>.<pid>.part`, and the folders `new-<random>` of converted weights
_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-\d+\.part", re.DOTALL)
_EARLIER = re.compile(r"\..+\.\d+\.part", re.DOTALL)
_EARLIER_FOLDER = re.compile(r"new-[a-z0-9_]{8}")

_count = itertools.count()
_tidied: set[tuple[int, str]] = set()  # (process, folder) where left-over files were looked for


def is_file(path: Path) -> bool:
    """Return whether a file is there; False also for names that no file can have and where nothing may be looked at."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_file()
    return False


def is_folder(path: Path) -> bool:
    """Return whether a folder is there; False also for names that no folder can have."""
    with contextlib.suppress(OSError, ValueError):
        return path.is_dir()
    return False


def sha256(path: Path) -> str:
    """Return the digest of a file; it is computed once as long as the file does not change."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash(path: Path, _size: int, _mtime: int) -> str:
    """Hash a file; size and time of change are arguments so that a changed file is not taken from the cache."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what is written there becomes the file `path` at the end of the `with` block.

    The folder is made if need be. After an exception the old file stays as it was and nothing else is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy_once(path.parent, earlier=False)
    written = temporary(path)
    try:
        yield written
        os.replace(written, path)
    finally:
        written.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """Return a hidden path beside `path` that nothing has; what lies there and is left is removed by `tidy`."""
    # names of files may have 255 bytes, and `path` may have as many of its own
    name = path.name if len(os.fsencode(path.name)) < 200 else hashlib.sha256(os.fsencode(path.name)).hexdigest()
    return path.with_name(f".{name}.{_machine()}-{os.getpid()}-{next(_count)}.part")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that readers see either the old content or the whole new one; its folder is made if need be."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def copy_atomically(source: Path, path: Path) -> None:
    """Copy a file's content, as `write_atomically` writes it; where the file system can, both share their blocks."""
    with replacing(path) as temporary:
        try:
            _copy_in_kernel(source, temporary)
        except (AttributeError, OSError):  # another system, or file systems that cannot
            shutil.copyfile(source, temporary)


def _copy_in_kernel(source: Path, target: Path) -> None:
    """Copy a file without reading it into this process; btrfs and XFS copy no bytes until one of both is changed."""
    with source.open("rb") as inside, target.open("wb") as out:
        left = os.fstat(inside.fileno()).st_size
        while left:
            copied = os.copy_file_range(inside.fileno(), out.fileno(), left)
            if copied == 0:
                raise OSError(f"{source} became shorter")
            left -= copied


def tidy(folder: Path, earlier: bool = True) -> None:
    """Remove the temporary files in a folder, not in those inside it, whose writers are gone.

    A writer on this machine is gone when there is no such process any more; of another machine's writer nothing is
    known, so its files are removed when they have not changed for an hour. Nothing else is touched.

    Args:
        folder: the folder.
        earlier: whether names that earlier versions of lactok gave count too. Others may give such names as well, so
            this is for folders that belong to lactok alone: stores and caches.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _is_left_over(entry, earlier):
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)


def _tidy_once(folder: Path, earlier: bool) -> None:
    """Call `tidy`, unless this process has done so for this folder before."""
    known = (os.getpid(), os.fspath(folder))
    if known not in _tidied:
        _tidied.add(known)
        tidy(folder, earlier)


def _is_left_over(entry: os.DirEntry[str], earlier: bool) -> bool:
    """Return whether a file or folder is temporary and nobody writes to it any more."""
    found = _TEMPORARY.fullmatch(entry.name)
    if found is not None and found[1] == _machine():
        return not _is_running(int(found[2]))
    if found is None and not earlier:
        return False
    is_folder = _EARLIER_FOLDER.fullmatch(entry.name) is not None and entry.is_dir(follow_symlinks=False)
    if found is None and not is_folder and not _EARLIER.fullmatch(entry.name):
        return False
    if is_folder and not set(os.listdir(entry.path)) <= {"tensors", "note"}:
        return False  # somebody else's
    with contextlib.suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > ABANDONED
    return False


def _is_running(pid: int) -> bool:
    """Return whether there is a process of this number, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to somebody else
        return True
    return True


@cache
def _machine() -> str:
    """Return eight digits that stand for the processes that this one can see: of its machine and its container."""
    known = [platform.node()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            known.append(os.readlink(source) if source.endswith("pid") else Path(source).read_text().strip())
    return hashlib.sha256("\n".join(known).encode("utf-8", "surrogateescape")).hexdigest()[:8]
