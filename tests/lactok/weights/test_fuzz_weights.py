"""Files of weights that somebody changed: tensors of bounded size or one line, whatever the change."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors
from test_unpickle import checkpoint

from lactok.errors import UserError
from lactok.nn.flextok import FlexTokConfig
from lactok.nn.flextok_checkpoint import config_of
from lactok.weights import cache, load_strict, unpickle
from lactok.weights.metadata import notes, shape

pytestmark = pytest.mark.fuzz
torch.manual_seed(0)


def saved(old: bool) -> bytes:
    whole = io.BytesIO()
    torch.save(checkpoint(), whole, _use_new_zipfile_serialization=not old)
    return whole.getvalue()


ARCHIVE, OLD = saved(False), saved(True)
with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as _archive:
    MEMBERS = {name: _archive.read(name) for name in _archive.namelist()}
PROGRAM = next(content for name, content in MEMBERS.items() if name.endswith("data.pkl"))
PLAIN = pickle.dumps({"model": {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(1)}, "lr": 1e-4}, 2)
SAFETENSORS = to_safetensors({"a.b": torch.ones(2, 3), "c": torch.arange(4)}, {"meta": '{"step": 3, "config": {}}'})

# instructions of pickles that do the most harm, with and without their arguments
PIECES = [
    b"(",
    b")",
    b"}",
    b"]",
    b"0",
    b"1",
    b"2",
    b".",
    b"R",
    b"b",
    b"u",
    b"s",
    b"t",
    b"\x81",
    b"\x85",
    b"\x86",
    b"\x87",
]
PIECES += [b"Q", b"N", b"\x88", b"K\x00", b"K\xff", b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"h\x00", b"q\x00"]
PIECES += [b"r\xff\xff\x00\x00", b"X\x01\x00\x00\x00a", b"X\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 8, b"I-1\n"]
PIECES += [b"cos\nsystem\n", b"cbuiltins\neval\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"]
PIECES += [b"L9999999999999999999L\n"]
EDIT = st.tuples(st.floats(0, 1), st.integers(0, 4), st.sampled_from(PIECES) | st.binary(max_size=3))
EDITS = st.lists(EDIT, min_size=1, max_size=6)
Edits = list[tuple[float, int, bytes]]


def edited(content: bytes, edits: Edits) -> bytes:
    """Bytes with a few at some places, as shares of the length, replaced by others."""
    for place, dropped, put in edits:
        start = int(place * len(content))
        content = content[:start] + put + content[start + dropped :]
    return content


def check(read: Callable[[Path], Any], path: Path) -> Any:
    """What is read, or None after one short line."""
    try:
        return read(path)
    except UserError as error:
        said = str(error).replace(str(path), "FILE")
        assert "\n" not in said, said
        assert len(said) < 450, said
        return None


def check_tensors(path: Path) -> None:
    """Read a checkpoint; its tensors, if it has any, are plain and of bounded size."""
    found = check(unpickle.read, path)
    for name, tensor in (found or {}).items():
        assert type(tensor) is torch.Tensor
        assert len(name) <= unpickle.NAME
        tensor.sum()  # all its numbers are there
    used = sum(tensor.numel() * tensor.element_size() for tensor in (found or {}).values())
    assert used <= unpickle.memory_limit(path.stat().st_size)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed") / "file"


@tries(120, 6000)
@given(EDITS, st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
@example([(0.0, 0, b"\x80\x02c__builtin__\nbytearray\n\x8a\x08" + struct.pack("<q", 2**40) + b"\x85R.")], 0)
@example([(0.0, 0, b"Nr\xff\xff\xff\x1f0N.")], 0)
def test_pickles_in_archives(file: Path, edits: Edits, how: int) -> None:
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, edited(content, edits) if content is PROGRAM else content)
    check_tensors(file)


@tries(80, 4000)
@given(EDITS, st.sampled_from([ARCHIVE, OLD, PLAIN]))
@example([(0.0, 8, struct.pack("<q", 2**62))], OLD)
@example([(1.0, 0, b"junk")], ARCHIVE)
@example([(0.0, 0, b"junk")], ARCHIVE)
def test_whole_files(file: Path, edits: Edits, content: bytes) -> None:
    file.write_bytes(edited(content, edits))
    check_tensors(file)


ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "I64", "BF16", "F8_E4M3", "U8", "F99", ""]) | st.none(),
        "shape": st.lists(st.integers(-2, 5) | st.sampled_from([2**31, 2**62, 2**64, 1.5]), max_size=4),
        "data_offsets": st.lists(st.integers(-1, 60) | st.sampled_from([2**40, 2**63, 2**64]), max_size=3),
    }
)
NOTES = st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda t: st.lists(t, max_size=3), max_leaves=4)


def laid_out(header: bytes, data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


@tries(120, 6000)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "a.b", "x" * 3000]) | st.text(max_size=3), ENTRIES, max_size=3),
    st.dictionaries(st.sampled_from(["config", "step", "scaling", "name"]), NOTES, max_size=2) | NOTES,
    st.binary(max_size=64),
    st.none() | st.sampled_from([0, 1, 2**32, 2**63, 2**64 - 1]),
)
@example({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, [1], bytes(16), None)
@example({"a": {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}}, None, b"", None)
@example({}, {"config": 1}, b"", None)
def test_headers_of_safetensors(
    file: Path, entries: dict[str, Any], meta: Any, data: bytes, length: int | None
) -> None:
    header = json.dumps({"__metadata__": {"meta": json.dumps(meta)}, **entries})
    file.write_bytes(laid_out(header.encode(), data, length))
    check_safetensors(file)


@tries(80, 4000)
@given(EDITS)
def test_bytes_of_safetensors(file: Path, edits: Edits) -> None:
    file.write_bytes(edited(SAFETENSORS, edits))
    check_safetensors(file)


def check_safetensors(file: Path) -> None:
    found = check(cache.load_safetensors, file)
    if found is not None:
        assert sum(tensor.numel() * tensor.element_size() for tensor in found.values()) <= file.stat().st_size
    looked = check(lambda path: cache.load_safetensors(path, "meta"), file)
    if found is not None and looked is not None:
        assert {k: v.shape for k, v in looked.items()} == {k: v.shape for k, v in found.items()}
    found = check(notes, file)
    assert found is None or isinstance(found, dict)
    check(lambda path: shape(path, "model", FlexTokConfig, FlexTokConfig()), file)


TREES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4) | st.booleans() | st.floats(),
    lambda t: st.lists(t, max_size=3) | st.dictionaries(st.text(max_size=3), t, max_size=3),
    max_leaves=6,
)


@tries(100, 4000)
@given(
    st.lists(st.sampled_from(["encoder", "decoder", "vae", "regularizer", "module_dict", "dim", "levels"]), max_size=4),
    TREES,
)
@example([], None)
def test_a_configuration_beside_weights(file: Path, place: list[str], value: Any) -> None:
    """Whatever stands in a FlexTok's config.json, in one place of it or as the whole."""
    tree: Any = value
    for key in reversed(place):
        tree = {key: tree}
    content = json.dumps(tree).encode()
    tensors = {"json": torch.frombuffer(bytearray(content), dtype=torch.uint8)}
    assert check(lambda _: config_of(tensors), file) is None  # so little is never a whole configuration


@pytest.mark.parametrize("meta", ["[1]", "null", '"x"', '{"config": 1}', '{"step": "x"}', "[" * 100_000, "9" * 5000])
def test_notes_of_another_kind(file: Path, meta: str) -> None:
    """What stands in a weight file's metadata is a training's notes or one line."""
    file.write_bytes(to_safetensors({"a": torch.ones(1)}, {"meta": meta}))
    for read in (notes, lambda path: shape(path, "model", FlexTokConfig, FlexTokConfig())):
        with pytest.raises(UserError, match="is damaged"):
            read(file)


def test_names_in_messages_are_short(file: Path) -> None:
    file.write_bytes(to_safetensors({"x" * 100_000: torch.ones(1), "y\ny": torch.ones(1)}))
    with pytest.raises(UserError) as caught:
        load_strict(torch.nn.Linear(1, 1), cache.load_safetensors(file), "toy")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
