"""Captions, lists of images and folders that nobody meant: a right answer, or one short line."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import photograph
from fuzzing import right_or_one_line, tries
from hypothesis import example, given
from hypothesis import strategies as st

from lactok.evaluation import captions, datasets
from lactok.evaluation.names import normalised

pytestmark = pytest.mark.fuzz

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1")
# characters that matter: line ends of all kinds, marks, joined forms, zero, what JSON and TSV are made of
LINES = ["\n", "\r\n", "\r", "\t", "\0", "\ufeff", "\u2028", "\x85", "\x0c", " ", "\ud83d"]
NAMED = ["e\u0301", "é", "#", "..", "/", "./", "a.png", "annotations", "images"]
FORMS = ['"', "{", "}", "[", "]", ":", ",", "\\ud83d", "\\u0000", "1e999", "NaN", "null"]
PIECES = st.sampled_from([*LINES, *NAMED, *FORMS])
TEXT = st.lists(PIECES | st.text(max_size=8), max_size=20).map("".join)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.text(max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
COCO = st.fixed_dictionaries(
    {},
    optional={
        "images": VALUES | st.lists(st.fixed_dictionaries({}, optional={"id": SCALARS, "file_name": SCALARS})),
        "annotations": VALUES
        | st.lists(
            st.fixed_dictionaries({}, optional={"id": SCALARS, "image_id": st.integers(0, 2), "caption": SCALARS})
        ),
    },
)


def encoded(text: str, encoding: str) -> bytes:
    return text.encode(encoding, "ignore" if encoding == "latin-1" else "surrogatepass")


FILES = st.binary(max_size=60) | st.builds(encoded, TEXT, st.sampled_from(ENCODINGS))
JSON = st.builds(
    lambda value, plain, encoding: encoded(json.dumps(value, ensure_ascii=plain), encoding),
    VALUES | COCO | st.dictionaries(TEXT, TEXT, max_size=4),
    st.booleans(),
    st.sampled_from(ENCODINGS),
)
JSONL = st.builds(
    lambda values, end, encoding: encoded(end.join(map(json.dumps, values)), encoding),
    st.lists(VALUES | st.fixed_dictionaries({"file_name": VALUES, "caption": VALUES}), max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(ENCODINGS),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fuzz")
    for i, name in enumerate(("a.png", "n01/a.png", "é.png")):
        (root / name).parent.mkdir(exist_ok=True)
        photograph(i, 8, 8).save(root / name)
    return root


def check_captions(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    found = right_or_one_line(lambda: captions.read(folder / name))
    if found is not None:
        assert found
        assert len({normalised(key) for key in found}) == len(found)
        for key, text in found.items():
            assert key.encode()
            assert text.encode() == " ".join(text.split()).encode() != b""


@tries(100, 15_000)
@given(st.one_of(JSON, FILES))
@example(b"[1, 2]")
@example(b"null")
@example(b'[{"a": 1, "b": 2}]')
@example(codecs.BOM_UTF8 + b'{"a.png": "a red bus"}')
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b'{"a.png": 1e999}')
@example(b'{"annotations": [], "images": [{"id": NaN}]}')
@example(b'{"annotations": [{"id": 1, "image_id": true, "caption": "a"}], "images": [{"id": 1, "file_name": [{}]}]}')
@example(b'{"a.png": "\\ud800"}')
@example(b'{"a.png": "b", "a.png": "c"}')
@example(b"9" * 5000)
def test_captions_json(folder: Path, data: bytes) -> None:
    check_captions(folder, "captions.json", data)
    found = right_or_one_line(lambda: datasets.folder(folder))
    if found is not None:
        assert [sample.id for sample in found.samples] == ["a.png", "n01/a.png", "é.png"]
    (folder / "captions.json").unlink()


@tries(60, 5_000)
@given(st.one_of(JSONL, FILES))
@example(b'{"file_name": ".", "caption": "a"}')
@example(b'{"file_name": "a", "caption": "a"}\r{"file_name": "b", "caption": "b"}')
def test_captions_jsonl(folder: Path, data: bytes) -> None:
    check_captions(folder, "x.jsonl", data)


@tries(60, 10_000)
@given(FILES)
@example(codecs.BOM_UTF16_LE + b"a")
@example("a.png\tcaf\u2028é\n".encode("utf-16"))
def test_captions_tsv(folder: Path, data: bytes) -> None:
    check_captions(folder, "x.tsv", data)


ENTRIES = st.sampled_from(["a.png", "./a.png", "n01/a.png", "n01//a.png", "e\u0301.png", "é.png", "n01/../a.png"])
LISTS = st.tuples(  # the text, in which ROOT is the folder, and its encoding
    st.builds(
        lambda entries, end: end.join(entries),
        st.lists(ENTRIES | ENTRIES.map(lambda entry: f"ROOT/{entry}") | TEXT, max_size=6),
        st.sampled_from(["\n", "\r\n", "\r", "\u2028"]),
    ),
    st.sampled_from(ENCODINGS),
)


@tries(80, 10_000)
@given(LISTS | FILES)
@example(codecs.BOM_UTF8 + b"a.png\r\nn01/a.png\r\n")
@example(b"a.png\n./a.png")
@example(("ROOT/a.png\nROOT/n01/a.png\na.png", "utf-8"))
@example(("ROOT/n01/a.png\na.png", "utf-16"))
@example("é.png".encode("latin-1"))
@example(b"x" * 5000)
@example(b"a\0.png")
def test_lists(folder: Path, data: bytes | tuple[str, str]) -> None:
    if isinstance(data, tuple):
        data = encoded(data[0].replace("ROOT", str(folder)), data[1])
    (folder / "list.txt").write_bytes(data)
    found = right_or_one_line(lambda: datasets.from_list(folder / "list.txt"))
    if found is not None:
        ids = [sample.id for sample in found.samples]
        assert len({normalised(identifier) for identifier in ids}) == len(ids) >= 1
        assert ids == sorted(ids)
        files = {sample.path.resolve() for sample in found.samples}
        assert len(files) == len(ids)
        assert all(path.is_file() for path in files)


NAMES = st.binary(min_size=1, max_size=30) | st.sampled_from(
    [b"store", b"references", b".hidden", b"__MACOSX", b"x__0123abcd", b"x__0123abcd-0123abcd", b"a.png", b"x" * 250]
)


@tries(60, 5_000)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=4), TEXT)
@example([[b"a.png", b"b.png"]], "a\0b")
@example([[b"\xff", b"\xff"], [b"\\xff", b"\xff"]], "x" * 5000)
@example([[b"x" * 255]], "/" * 5000)
def test_names_of_folders(tmp_path_factory: pytest.TempPathFactory, paths: list[list[bytes]], asked: str) -> None:
    root = tmp_path_factory.mktemp("names")
    there = set()
    for number, parts in enumerate(paths):
        path = Path(os.fsdecode(os.path.join(os.fsencode(root), *(p.replace(b"/", b"").strip(b".\0") for p in parts))))
        file = path / f"{number}.png"
        try:
            path.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
        except (OSError, ValueError):  # no such name here, or there already as a file
            continue
        there.add(file)
    found = right_or_one_line(lambda: datasets.folder(root))
    if found is not None:
        assert {sample.path for sample in found.samples} <= there
        assert [sample.path for sample in found.samples] == sorted(sample.path for sample in found.samples)
        assert json.dumps([s.id for s in found.samples], ensure_ascii=False).encode()
    asked = asked.replace("..", ".")  # nothing above the folder
    for name in (f"none-{asked}", f"{root}/{asked}", f"{root}/none-{asked}.txt"):
        right_or_one_line(lambda name=name: datasets.get(name, root))
