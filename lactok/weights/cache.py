"""Files of tensors: their digests, reading published ones, and keeping them converted to safetensors.

Beside each converted file lies a note, a JSON file, of what it was made from.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lactok.errors import UserError, one_line
from lactok.files import replacing, sha256, write_atomically
from lactok.specs import Asset
from lactok.weights import wrappers
from lactok.weights.packing import unpacked

if TYPE_CHECKING:
    from torch import Tensor


def read(asset: Asset, path: Path, name: str) -> dict[str, Tensor]:
    """Read a published file and return its tensors, by name, as the network loads them.

    Args:
        asset: the asset that the file belongs to; its `convert` is applied.
        path: where the file lies; a download has no ending.
        name: the published name, whose ending says what the file holds: safetensors, JSON (returned as one uint8
            tensor "json" of its bytes), text or code (likewise "text"; nothing is run), or else a checkpoint of torch
            or numpy.

    Raises:
        UserError: the file is damaged, refused or empty; the message names `path`.
    """
    import torch

    from lactok.weights import unpickle

    suffix = PurePosixPath(name).suffix
    if suffix == ".safetensors":
        tensors = load_safetensors(path)
    elif suffix == ".json":
        tensors = _read_json(path)
    elif suffix in (".py", ".txt"):
        tensors = {"text": torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)}
    else:
        tensors = unpickle.read(path)
    try:
        if asset.convert is not None:
            tensors = wrappers.converted(tensors, asset.converted, asset.name)
    except UserError:
        raise
    except Exception as error:  # the converter met names or shapes that it does not know
        reason = one_line(repr(error))
        raise UserError(f"{path} is not what {asset.name} is made of ({reason}); is it the right file?") from error
    if not tensors:
        raise UserError(f"{path} holds no weights")
    return tensors


def load_safetensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Read the tensors of a safetensors file by name; those that are packed (`lactok.weights.packing`) as float32.

    Args:
        path: the file.
        device: where the tensors are; "meta" reads their names and shapes alone, as float32 or, if they hold whole
            numbers, int64.

    Raises:
        UserError: the file is damaged.
    """
    from safetensors.torch import load_file

    try:
        return unpacked(_names_and_shapes(path) if device == "meta" else load_file(path, device=device))
    except Exception as error:  # errors of safetensors have no common class
        raise UserError(f"{path} is damaged ({one_line(error)}); delete it and run again") from error


def _names_and_shapes(path: Path) -> dict[str, Tensor]:
    """Return tensors without memory for those of a safetensors file."""
    import torch
    from safetensors import safe_open

    found = {}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (it is no dictionary)
            stored = file.get_slice(name)
            dtype = torch.float32 if stored.get_dtype().startswith(("F", "BF")) else torch.int64
            found[name] = torch.empty(stored.get_shape(), dtype=dtype, device="meta")
    return found


def cast(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], buffers: Collection[str], name: str
) -> dict[str, Tensor]:
    """Return tensors in the dtypes of a network, if their values can be those of a network.

    Args:
        tensors: what is loaded, by name.
        own: the network's own tensors of these names.
        buffers: the names of those that are buffers: a mask among them may hold -inf, as attention masks do.
        name: what messages call the network.

    Raises:
        UserError: values are not finite, or whole numbers stand where the network computes with others.
    """
    import torch

    out = {}
    for key, tensor in tensors.items():
        shown = one_line(key)
        if own[key].is_floating_point() and not tensor.is_floating_point():
            raise UserError(
                f"the weights of {name} are of another kind: its tensor {shown} holds {tensor.dtype}, where the "
                f"network computes with {own[key].dtype}; quantised files are not read"
            )
        out[key] = value = tensor.to(own[key].dtype)
        if not value.is_floating_point():
            continue
        # the sum is not finite if a value is not; it may also overflow, and so all values are looked at then
        if value.is_meta or bool(value.sum(dtype=torch.float32).isfinite()):
            continue
        is_mask = key in buffers and "mask" in key
        is_right = ~value.isnan() & (value != torch.inf) if is_mask else value.isfinite()
        if not bool(is_right.all()):
            raise UserError(
                f"the weights of {name}: its tensor {shown} holds values that are not finite; damaged file, get it "
                "again"
            )
    return out


def _read_json(path: Path) -> dict[str, Tensor]:
    """Return the bytes of a JSON file as a uint8 tensor "json", so that they can be kept as safetensors."""
    import torch

    content = path.read_bytes()
    try:
        json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({one_line(error)})") from error
    return {"json": torch.frombuffer(bytearray(content), dtype=torch.uint8)}


def keep(path: Path, tensors: Mapping[str, Tensor], source: str, source_sha256: str, version: int) -> str:
    """Write tensors to a safetensors file, and beside it a note of what they were made from.

    Each of the two files appears whole or, with an OSError, not at all.

    Args:
        path: the new file, which ends in ".safetensors"; the note ends in ".json".
        tensors: what to write, by name.
        source: where the published file came from, as text.
        source_sha256: the digest of the published file.
        version: the version of the asset's conversion.

    Returns:
        The sha256 of the new file.
    """
    with replacing(path) as new:
        save_safetensors(new, tensors)
        digest = sha256(new)
        record = {"source": source, "source_sha256": source_sha256, "sha256": digest, "version": version}
        os.chmod(new, 0o644)  # safetensors writes for the owner alone; a cache may be shared
        write_atomically(path.with_suffix(".json"), json.dumps(record, indent=1).encode())
    return digest


def noted(path: Path, version: int) -> dict[str, str] | None:
    """Return the note of a file that `keep` wrote: its "source", "source_sha256" and own "sha256".

    None where there is no such file, and where `version`, the asset's, is another now. Only the note is read.
    """
    try:
        note = json.loads(path.with_suffix(".json").read_text())
        record = {k: str(note[k]) for k in ("source", "source_sha256", "sha256")}
        made_by = note.get("version", 1)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if path.is_file() and made_by == version else None


def kept(path: Path, version: int) -> dict[str, str] | None:
    """Return what `noted` does, but None where the file was changed since; for that the whole file is read."""
    record = noted(path, version)
    try:
        return record if record is not None and sha256(path) == record["sha256"] else None
    except OSError:
        return None


def save_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors; a full disk is an OSError, as from other functions that write.

    Nothing is left of a file that could not be written whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        plain = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
        save_file(plain, path, metadata=dict(metadata) if metadata is not None else None)
    except BaseException as error:
        path.unlink(missing_ok=True)
        # where the disk is full, only the text of the message tells
        number = re.search(r"os error (\d+)", str(error)) if isinstance(error, SafetensorError) else None
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
