"""Files of prompts."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from pathlib import Path

import pytest
from fuzzing import right_or_one_line, tries
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.generation import read_prompts
from benchmarks.generation.work import planned
from lactok.errors import UserError
from lactok.evaluation.datasets import limited_numbers


def read(folder: Path, name: str, data: bytes) -> list[str]:
    (folder / name).write_bytes(data)
    return [prompt["prompt"] for prompt in read_prompts(str(folder / name))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_mark_is_no_part_of_a_prompt(encoding: str, tmp_path: Path) -> None:
    assert read(tmp_path, "p.txt", "a red bus\r\n\n \n two cats \n".encode(encoding)) == ["a red bus", "two cats"]
    lines = '{"prompt": "a red bus"}\n\n{"prompt": "two cats", "tag": "x"}\n'
    assert read(tmp_path, "p.JSONL", lines.encode(encoding)) == ["a red bus", "two cats"]


def test_a_prompt_ends_with_its_line(tmp_path: Path) -> None:
    text = "a red\u2028bus\none\x85two\x0cthree"
    assert read(tmp_path, "p.txt", text.encode()) == ["a red\u2028bus", "one\x85two\x0cthree"]
    line = json.dumps({"prompt": "a red\u2028bus"}, ensure_ascii=False)
    assert read(tmp_path, "p.jsonl", line.encode()) == ["a red\u2028bus"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("p.txt", "caf\u00e9".encode("latin-1"), "p.txt is not UTF-8 text (byte 0xe9 in line 1; Latin-1"),
        ("p.txt", b"a\n" + b"b" * 1_000_001, "p.txt line 2 has 1,000,001 characters"),
        ("p.txt", b"a\0b", "a zero byte in line 1"),
        ("p.txt", codecs.BOM_UTF8, "no prompt in it"),
        ("p.jsonl", b'{"prompt": "a"}\nnull', "p.jsonl line 2: not a JSON object"),
        ("p.jsonl", b'{"prompt": "\\ud83d"}', "p.jsonl line 1: half of a surrogate pair"),
        ("p.jsonl", b'{"prompt": "a", "x": 1e999}', "p.jsonl line 1: the number 1e999 is too large"),
        ("p.jsonl", b'{"prompt": ' + b"[" * 100_000, "p.jsonl line 1: nested more than 64 deep"),
    ],
)
def test_a_wrong_file_of_prompts_is_one_line(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as stop:
        read(tmp_path, name, data)
    assert message in str(stop.value)


def test_a_limit_draws_from_all_tasks_and_keeps_the_numbers() -> None:
    official = read_prompts("geneval")
    numbers = limited_numbers(len(official), 80)
    assert len(numbers) == 80
    assert set(Counter(official[n]["tag"] for n in numbers)) == {prompt["tag"] for prompt in official}
    # what a smaller limit draws, a larger one draws too, so that pictures are made once
    assert set(limited_numbers(len(official), 8)) < set(numbers)
    pictures = planned(Path("out"), {n: official[n] for n in numbers}, 1)
    assert [p.path for p in pictures] == [Path(f"out/{n:05}/samples/0000.png") for n in numbers]


LINES = ["\n", "\r\n", "\r", "\ufeff", "\u2028", "\x85", "\x0c", "\0", " "]
FORMS = ['{"prompt": "a"}', '{"prompt": "\\ud83d"}', "{", "}", "[", '"', "1e999", "NaN"]
TEXT = st.lists(st.sampled_from([*LINES, *FORMS]) | st.text(max_size=8), max_size=12).map("".join)


@pytest.mark.fuzz
@tries(100, 20_000)
@given(st.binary(max_size=40) | st.builds(str.encode, TEXT, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
@example(codecs.BOM_UTF8 + b'{"prompt": "a"}')
@example("a red\u2028bus".encode())
@example("\t\ufeff".encode())
@example(b'{"a": ' * 10_000)
def test_fuzz_prompts(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("p.txt", "p.jsonl"):
        (folder / name).write_bytes(data)
        found = right_or_one_line(lambda name=name: read_prompts(str(folder / name)))
        if found is None:
            continue
        assert found
        if name == "p.txt":
            texts = [prompt["prompt"] for prompt in found]
            assert all(text == text.strip() != "" and "\n" not in text and text[0] != "\ufeff" for text in texts)
        assert json.dumps(found, ensure_ascii=False).encode()
