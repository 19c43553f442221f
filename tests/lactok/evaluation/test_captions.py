"""Files of captions, and the captions of a data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import photograph

from lactok.errors import UserError, WrongValue
from lactok.evaluation import captions, datasets


def read(folder: Path, name: str, text: str | bytes) -> dict[str, str]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return captions.read(path)


def test_caption_files(tmp_path: Path) -> None:
    expected = {"a b.png": "one two", "c.png": 'a "quoted" é'}
    tsv = 'a b.png\tone  two \r\n\nc.png\ta "quoted" é\n'
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert read(tmp_path, "x.tsv", tsv.encode(encoding)) == expected
    lines = [{"file_name": "a b.png", "caption": "one\ntwo"}, {"file_name": "c.png", "prompt": 'a "quoted" é'}]
    assert read(tmp_path, "x.jsonl", "\n".join(map(json.dumps, lines))) == expected
    assert read(tmp_path, "x.json", json.dumps(expected)) == expected
    assert read(tmp_path, "x.JSON", json.dumps(expected).encode("utf-8-sig")) == expected
    assert read(tmp_path, "x.tsv", "a.png\tone\u2028two\x0cthree") == {"a.png": "one two three"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("x.csv", "a,b", "a file that ends in .tsv, .jsonl, .json, or coco"),
        ("x.tsv", "a.png a caption", "line 1: no tab"),
        ("x.tsv", "a.png\tb\na.png\tc", "line 2: a.png has a caption already"),
        ("x.tsv", "\u00e9.png\tb\ne\u0301.png\tc", "has a caption already"),
        ("x.tsv", "a.png\t \n", "line 1: its caption is not a text"),
        ("x.tsv", "", "holds no captions"),
        ("x.tsv", b"\xff\t\xfe", "not UTF-8"),
        ("x.jsonl", "[1]", "line 1: not a JSON object"),
        ("x.jsonl", '{"caption": "b"}', "line 1: no file name"),
        ("x.jsonl", '{"file_name": "."}', "line 1: no file name"),
        ("x.jsonl", "{", "line 1 is not JSON"),
        ("x.json", '{"a.png": 3}', "a.png: its caption is not a text: 3"),
        ("x.json", '{"a.png": "b", "a.png": "c"}', "the key 'a.png' stands twice"),
        ("x.json", '{"a.png": "half \\ud83d"}', "half of a surrogate pair in 'half \\\\ud83d'"),
        ("x.json", '{"annotations": [{"id": 1}], "images": []}', "not a file of COCO captions"),
        (
            "x.json",
            '{"annotations": [], "images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}',
            "two images have the id 1",
        ),
        (
            "x.json",
            '{"images": [{"id": 1, "file_name": ["a"]}], "annotations": [{"id": 1, "image_id": 1, "caption": "b"}]}',
            "no file name",
        ),
    ],
)
def test_a_wrong_file_of_captions_is_named(name: str, text: str | bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as stop:
        read(tmp_path, name, text)
    assert reason in str(stop.value)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        captions.read(tmp_path / "none.json")


def with_captions(folder: Path, text: bytes) -> list[str | None]:
    photograph(0).save(folder / "a.png")
    photograph(1).save(folder / "e\u0301.png")
    (folder / "captions.json").write_bytes(text)
    return [sample.caption for sample in datasets.folder(folder).samples]


def test_captions_of_a_data_set_are_read_as_any_other(tmp_path: Path) -> None:
    assert with_captions(tmp_path, '{"a.png": "a red bus"}'.encode("utf-8-sig")) == ["a red bus", None]
    assert with_captions(tmp_path, '{"\u00e9.png": "two  cats"}'.encode("utf-16")) == [None, "two cats"]


@pytest.mark.parametrize(
    "text", ["[1, 2]", "null", '[{"a": 1, "b": 2}]', "[" * 100_000, '{"a.png": 1e999}', '{"a.png": "\\ud800"}', "{}"]
)
def test_damaged_captions_of_a_data_set_are_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(WrongValue, match=r"captions\.json") as stop:
        with_captions(tmp_path, text.encode())
    assert str(stop.value).isprintable()
