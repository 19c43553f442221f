"""Bundles: results in one file, to be sent to others: `result.json`, records, ids and times, no pictures.

A bundle is a zip file whose members are stored as they are, without compression, in the order of their names and with
one date, so that the same results give the same bytes. Its member `bundle.json` holds the digest of every other one:

    {"kind": "lactok bundle", "schema": 1, "files": {"<result>/result.json": "<sha256>", ...}}

A bundle may come from anywhere, so it is checked when it is opened, before anything of it is used: members have the
names that `write` gives, so that none can leave its folder; sizes and digests are right; arrays hold no Python objects.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lactok.errors import UserError, WrongValue, disk_errors
from lactok.evaluation import stored_files
from lactok.evaluation.older_results import Damaged
from lactok.evaluation.writing import to_json
from lactok.files import is_file, replacing
from lactok.outside_text import shown

ENDING = ".lactok.zip"
CONTENTS = "bundle.json"
KIND, SCHEMA = "lactok bundle", 1
FILES = ("profile.json", "records.parquet", "result.json", "run.json", "tokens.npz")  # of a result; no pictures
GENERATED = "generated"  # the folder whose folders hold a generator's pictures, of which only `run.json` is taken
MOST = 1 << 20  # members; a bundle of all results of a paper has some hundreds
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold

_opened: dict[str, tempfile.TemporaryDirectory[str]] = {}  # the digest of a bundle -> where this process unpacked it


def is_bundle(path: Path) -> bool:
    """Return whether a path names a bundle: a file that ends in `.lactok.zip`."""
    return path.name.endswith(ENDING) and is_file(path)


def write(path: Path, files: Mapping[str, Path]) -> str:
    """Write a bundle.

    Args:
        path: the file.
        files: the name of each member, `<result>/<file>`, and the file that it is a copy of.

    Returns:
        The bundle's sha256.

    Raises:
        WrongValue: a folder has a name that no member can have.
        DiskError: the file cannot be written.
    """
    for name in files:
        _check_name(name)
    digests = {name: _sha256(files[name]) for name in sorted(files)}
    contents = to_json({"kind": KIND, "schema": SCHEMA, "files": digests})
    with disk_errors(path.parent), replacing(path) as written:
        with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as bundle:
            bundle.writestr(_member(CONTENTS, len(contents)), contents)
            for name in digests:
                member = _member(name, files[name].stat().st_size)
                with files[name].open("rb") as source, bundle.open(member, "w") as target:
                    shutil.copyfileobj(source, target)
        return _sha256(written)


def _member(name: str, size: int) -> zipfile.ZipInfo:
    """Return how a member stands in the zip file, the same on every system."""
    member = zipfile.ZipInfo(name, _DATE)
    member.create_system, member.external_attr, member.file_size = 3, 0o644 << 16, size
    return member


def opened(path: Path) -> Path:
    """Check a bundle, and return a folder of results that holds what is in it, until this process ends.

    Raises:
        UserError: it is no bundle, is damaged, or holds what no bundle may hold.
    """
    try:
        digest = _sha256(path)
    except OSError as error:
        raise UserError(f"{shown(path, 200)} cannot be read ({error.strerror})") from error
    if digest not in _opened:
        folder = tempfile.TemporaryDirectory(prefix="lactok-bundle-")
        try:
            _unpack(path, Path(folder.name))
        except BaseException:
            folder.cleanup()
            raise
        _opened[digest] = folder
    return Path(_opened[digest].name)


def _unpack(path: Path, folder: Path) -> None:
    """Copy what a bundle holds into an empty folder, and check it; see `opened`."""
    name = shown(path.name, 200)
    try:
        with zipfile.ZipFile(path) as bundle, disk_errors(folder, "set TMPDIR to another folder"):
            members = bundle.infolist()
            digests = _contents(bundle, members, path.stat().st_size)
            for member in members:
                if member.filename != CONTENTS:
                    target = folder / member.filename
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with bundle.open(member) as source, target.open("wb") as written:
                        shutil.copyfileobj(source, written)
                    if _sha256(target) != digests[member.filename]:
                        raise Damaged(f"{shown(member.filename)} has another content than {CONTENTS} says")
                    if target.suffix == ".npz":
                        stored_files.check_arrays(target)
    except UserError:
        raise
    except Damaged as error:
        raise UserError(f"{name} is no bundle that can be opened: {error}; ask whoever made it for it again") from error
    except Exception as error:  # whatever zipfile meets in a file with any content
        why = shown(f"{type(error).__name__}: {error}", 120)
        raise UserError(f"{name} is damaged ({why}); copy it again, or ask whoever made it") from error


def _contents(bundle: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], size: int) -> dict[str, str]:
    """Return the digests of a bundle's members by name, as `bundle.json` has them.

    Args:
        bundle: the open zip file.
        members: its members.
        size: its number of bytes.

    Raises:
        Damaged: members are others than these, or packed otherwise than `write` does.
    """
    if len(members) > MOST or sum(member.file_size for member in members) > size:
        raise Damaged("it holds more than its size allows")
    names = [member.filename for member in members]
    for member in members:
        stored = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
        if not stored or member.flag_bits & 1:
            raise Damaged(f"{shown(member.filename)} is compressed or encrypted, and members of a bundle are not")
    if CONTENTS not in names:
        raise Damaged(f"it has no {CONTENTS}; `python -m reports bundle` makes bundles")
    try:
        about = json.loads(bundle.read(CONTENTS).decode("utf-8"))
        digests = {str(name): str(digest) for name, digest in about["files"].items()}
        kind, schema = about["kind"], about["schema"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{CONTENTS} is damaged") from error
    if kind != KIND or schema != SCHEMA:
        raise Damaged(f"{CONTENTS} is of another kind or version ({shown(kind)}, {shown(schema)}), known is {SCHEMA}")
    if sorted(names) != sorted([CONTENTS, *digests]):
        raise Damaged(f"its members are others than {CONTENTS} names")
    for name in digests:
        _check_name(name)
    return digests


def _check_name(name: str) -> None:
    """Raise WrongValue unless a member's name is `<result>/<file>` or `generated/<pictures>/run.json`."""
    *folders, file = name.split("/")
    known = len(folders) == 1 and file in FILES
    known = known or (len(folders) == 2 and folders[0] == GENERATED and file == "run.json")
    if not known or not all(stored_files.is_plain_name(folder) for folder in folders):
        raise WrongValue(f"{shown(name, 200)!a}: no name of a file of a bundle; rename the result's folder")


def _sha256(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
