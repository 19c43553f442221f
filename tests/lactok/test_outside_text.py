"""Text and JSON that others wrote."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest

from lactok import config, outside_text
from lactok.errors import MissingFile, WrongValue

TEXT = "été\nœuf\U0001f600"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
    ],
)
def test_encodings_with_and_without_a_mark(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(data)
    assert outside_text.read(tmp_path / "x.txt") == TEXT


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a\né".encode("latin-1"), "not UTF-8 text (byte 0xe9 in line 2; Latin-1 looks so); save it as UTF-8"),
        ("a\nb".encode("utf-16-le"), "a zero byte in line 1: no text, or UTF-16 without its mark"),
        (b"a\n\0", "a zero byte in line 2"),
        (codecs.BOM_UTF16_LE + b"a", "begins as UTF-16-LE text and is none"),
        (codecs.BOM_UTF16_LE + b"\x3d\xd8a\0", "begins as UTF-16-LE text and is none"),  # half of a surrogate pair
    ],
)
def test_what_is_no_text_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(data)
    with pytest.raises(WrongValue) as stop:
        outside_text.read(tmp_path / "x.txt")
    assert message in str(stop.value)
    assert str(stop.value).startswith(str(tmp_path / "x.txt"))


@pytest.mark.parametrize("name", ["none.txt", "x" * 5000, "a\0b", "."])
def test_a_file_that_cannot_be_opened_is_one_short_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFile) as stop:
        outside_text.read(tmp_path / name)
    assert len(str(stop.value)) < 300
    assert str(stop.value).isprintable()


def test_a_file_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside_text, "LARGEST", 1 << 10)
    with pytest.raises(WrongValue, match="/dev/zero is larger than"):
        outside_text.read("/dev/zero")


def test_lines_end_at_line_feeds_alone() -> None:
    text = "a\u2028b\r\n\nc\x0cd\x85e\x0bf\n \ufeff\ufeffg\rh\n \ufeff \n"
    assert [line for _, line in outside_text.lines(text, "x")] == ["a\u2028b", "c\x0cd\x85e\x0bf", "g\rh"]
    assert [where for where, _ in outside_text.lines(text, "x")] == ["x line 1", "x line 3", "x line 4"]


def test_a_line_that_is_too_long_is_named() -> None:
    with pytest.raises(WrongValue, match="x line 2 has 1,000,001 characters, 1,000,000 at most"):
        list(outside_text.lines("a\n" + "b" * 1_000_001, "x"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "x: nested more than 64 deep"),
        ("[" * 65 + "]" * 65, "x: nested more than 64 deep"),
        ("{", "x is not JSON: Expecting"),
        ("", "x is not JSON: Expecting"),
        ("9" * 5000, "x: the number 9999999999...9999999999 has 5,000 digits, 4,300 at most"),
        ('{"a": NaN}', "x: NaN is no number in JSON"),
        ('{"a": -Infinity}', "x: -Infinity is no number"),
        ('{"a": [1e999]}', "x: the number 1e999 is too large"),
        ('{"a": 1, "b": 2, "a": 1}', "x: the key 'a' stands twice; leave one of them out"),
        ('{"a": ["\\ud83d"]}', "x: half of a surrogate pair in '\\\\ud83d'"),
        ('{"\\uDC00": 1}', "x: half of a surrogate pair"),
    ],
)
def test_json_has_limits(text: str, message: str) -> None:
    with pytest.raises(WrongValue) as stop:
        outside_text.from_json(text, "x")
    assert message in str(stop.value)
    assert str(stop.value).isprintable()


def test_json_as_usual() -> None:
    deep: object = 1
    for _ in range(64):
        deep = [deep]
    for value in (deep, {"a": [1.5, None, True, "\U0001f600", "\\ud83d"]}, "text", []):
        assert outside_text.from_json(json.dumps(value), "x") == value
    with pytest.raises(WrongValue, match="x: not a JSON object"):
        outside_text.json_object("[]", "x")


def test_recipes_are_read_as_any_text(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(codecs.BOM_UTF8 + b"steps = 3\r\n")
    assert config.read(path, dict) == {"steps": 3}
    for data, message in (
        ("name = 'é'".encode("latin-1"), "a.toml is not UTF-8 text"),
        (b"a = " + b"[" * 100_000, "nested too deep"),
        (b"a = " + b"9" * 5000, "Exceeds the limit"),
    ):
        path.write_bytes(data)
        with pytest.raises(WrongValue, match=message):
            config.read(path, dict)
    assert config.changes([f"a={'[' * 100_000}"]) == {"a": "[" * 100_000}
