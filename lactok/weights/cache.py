"""Files of tensors: their digests, their conversion to safetensors, and conversions that are kept with a note."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lactok.errors import UserError
from lactok.specs import Asset

if TYPE_CHECKING:
    from torch import Tensor


@lru_cache(maxsize=256)
def _hash(path: Path, _size: int, _mtime: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256(path: Path) -> str:
    """Digest of a file, computed once for an unchanged one."""
    stat = path.stat()
    return _hash(path, stat.st_size, stat.st_mtime_ns)


def read(asset: Asset, path: Path, name: str) -> dict[str, Tensor]:
    """A published file's tensors as the network loads them.

    Args:
        name: the file's own name, whose suffix says what it holds: safetensors, JSON (as one uint8 tensor "json" of
            its bytes) or else a checkpoint of torch or numpy. `path` may be that of a nameless download.

    Raises:
        UserError: damaged, refused or empty; the message names `path`.
    """
    from lactok.weights import unpickle

    suffix = PurePosixPath(name).suffix
    if suffix == ".safetensors":
        tensors = load_safetensors(path)
    elif suffix == ".json":
        tensors = _json(path)
    else:
        tensors = unpickle.read(path)
    try:
        tensors = asset.converted(tensors)
    except UserError:
        raise
    except Exception as error:  # names or shapes that its converter does not know
        raise UserError(f"{path} is not what {asset.name} is made of ({error!r}); is it the right file?") from error
    if not tensors:
        raise UserError(f"{path} holds no weights")
    return tensors


def load_safetensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Raises UserError where the file is damaged."""
    from safetensors.torch import load_file

    try:
        return load_file(path, device=device)
    except Exception as error:  # its errors have no common class
        raise UserError(f"{path} is damaged ({error}); delete it and run again") from error


def _json(path: Path) -> dict[str, Tensor]:
    import torch

    content = path.read_bytes()
    try:
        json.loads(content)
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error})") from error
    return {"json": torch.frombuffer(bytearray(content), dtype=torch.uint8)}


def keep(path: Path, tensors: Mapping[str, Tensor], source: str, source_sha256: str, version: int) -> str:
    """Write tensors to `path`, and beside it a note of what they were made of; returns the new file's sha256.

    Both appear whole or, with an OSError, not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="new-") as folder:
        new, note = Path(folder) / "tensors", Path(folder) / "note"
        _save(new, tensors)
        digest = sha256(new)
        record = {"source": source, "source_sha256": source_sha256, "sha256": digest, "version": version}
        note.write_text(json.dumps(record, indent=1))
        os.chmod(new, 0o644)  # safetensors writes for the owner alone; a cache may be shared
        os.replace(note, path.with_suffix(".json"))
        os.replace(new, path)
    return digest


def kept(path: Path, version: int) -> dict[str, str] | None:
    """The note of a conversion that is still what was written: its "source", "source_sha256" and own "sha256".

    None also for one that another version of the converter made.
    """
    try:
        note = json.loads(path.with_suffix(".json").read_text())
        record = {k: str(note[k]) for k in ("source", "source_sha256", "sha256")}
        return record if sha256(path) == record["sha256"] and note.get("version", 1) == version else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, path)
    except SafetensorError as error:  # it hides a full disk
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
