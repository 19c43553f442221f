"""Metrics of text: what an OCR reads, against what is there, and the rendered data set."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

import lactok
from lactok.errors import UserError
from lactok.evaluation import datasets, text_set
from lactok.metrics import text
from lactok.metrics.registry import find

OCR = all(importlib.util.find_spec(name) for name in text.LIBRARIES)
FONTS = all(importlib.util.find_spec(name) for name in ("matplotlib", "noto_cjk_sans_jp_regular"))
needs_ocr = pytest.mark.skipif(not OCR, reason="the OCR is not installed: pip install 'lactok[ocr]'")
needs_fonts = pytest.mark.skipif(not FONTS, reason="the fonts are not installed: pip install 'lactok[ocr]'")


def distance(first: str, second: str) -> int:
    """The edit distance, letter by letter."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


@given(st.text("ab ü", max_size=12), st.text("ab ü", max_size=12))
def test_the_edit_distance_is_that_of_the_definition(first: str, second: str) -> None:
    assert text.edit_distance(first, second) == distance(first, second)


def test_the_error_rate_counts_letters_and_no_spaces() -> None:
    assert text.character_error_rate("one two", "onetwo") == 0
    assert text.character_error_rate("abcd", "") == 1
    assert text.character_error_rate("abcd", "abcx") == 0.25
    assert text.character_error_rate("ab", "x" * 40) == 1
    assert text.character_error_rate("cafe\u0301", "caf\u00e9") == 0
    assert math.isnan(text.character_error_rate(" ", "a"))


def test_words_count_as_often_as_they_are_there() -> None:
    assert text.share_of_words("a b b c", "c b a") == 0.75
    assert text.share_of_words("a", "A") == 0
    assert math.isnan(text.share_of_words("", "a"))


def test_it_is_measured_only_when_it_is_named() -> None:
    from lactok.metrics.choice import chosen

    assert not {"text_cer", "text_accuracy"} & set(chosen("all", ()))
    assert find("text_cer").higher is False


@pytest.mark.skipif(OCR, reason="the OCR is installed")
def test_without_the_ocr_a_line_names_the_extra() -> None:
    with pytest.raises(UserError, match=r"rapidocr|lactok\[ocr\]"):
        lactok.evaluate("identity", metrics="text_cer", limit=1)


def said(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Let the OCR read the number of an image's darkest level; returns the images that it was given."""
    seen: list[torch.Tensor] = []

    def reading(image: torch.Tensor) -> str:
        seen.append(image)
        return str(int(image.min()))

    monkeypatch.setattr(text, "reading", reading)
    return seen


def test_known_texts_are_compared_with_and_unknown_ones_read_in_the_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = said(monkeypatch)
    references = torch.full((3, 3, 4, 4), 17, dtype=torch.uint8)
    outputs = torch.stack([torch.full((3, 4, 4), level, dtype=torch.uint8) for level in (17, 18, 17)])
    found = text.text_cer(references, outputs, texts=[None, None, "27"])
    assert found.tolist() == [0, 0.5, 0.5]
    assert len(seen) == 5  # the photograph whose text is known is not read


def test_a_folders_texts_reach_the_metric_and_a_changed_text_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(monkeypatch)
    monkeypatch.setattr(text, "check", lambda: None)
    declared = find("text_cer")
    object.__setattr__(declared, "libraries", ())
    object.__setattr__(declared, "check", None)
    folder = tmp_path / "photographs"
    folder.mkdir()
    for level in (11, 22):
        Image.new("RGB", (32, 32), (level,) * 3).save(folder / f"{level}.png")

    def values() -> list[float]:
        result = lactok.evaluate("identity", dataset=folder, metrics="text_cer", resolution=32, out=tmp_path / "out")
        return list(result.records["text_cer"])

    try:
        assert values() == [0, 0]
        (folder / "texts.json").write_text(json.dumps({"22.png": "23"}))
        assert values() == [0, 0.5]
    finally:
        object.__setattr__(declared, "libraries", text.LIBRARIES)
        object.__setattr__(declared, "check", text.check)


@needs_fonts
def test_the_rendered_set_is_the_same_every_time(own_cache: Path) -> None:
    samples = text_set.samples()
    assert len(samples) == len(text_set.WORDS) * len(text_set.SIZES)
    first = {sample.id: sample.path.read_bytes() for sample in samples}
    samples[0].path.write_bytes(b"spoilt")
    again = datasets.get("text")
    assert {sample.id: sample.path.read_bytes() for sample in again.samples} == first
    assert [s.text for s in again.samples] == [s.text for s in samples]
    for sample in samples:
        pixels = np.asarray(sample.open())
        assert pixels.shape == (text_set.SIDE, text_set.SIDE, 3)
        border = np.concatenate([pixels[:, :40].reshape(-1, 3), pixels[:, -40:].reshape(-1, 3)])
        assert len(np.unique(border, axis=0)) == 1  # no letter leaves the picture
        assert sample.text


@needs_ocr
@pytest.mark.slow
def test_the_ocr_reads_what_is_written_and_less_of_a_small_copy() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'lactok[ocr]'")
    import matplotlib

    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), 40)
    picture = Image.new("RGB", (512, 256), "white")
    draw = ImageDraw.Draw(picture)
    lines = ("seven old bridges", "market at 9 or 17")
    for number, line in enumerate(lines):
        draw.text((30, 60 + 80 * number), line, font=font, fill="black")
    small = picture.resize((32, 16)).resize((512, 256))
    images = [torch.from_numpy(np.array(each)).permute(2, 0, 1) for each in (picture, small)]
    references, outputs = torch.stack([images[0]] * 2), torch.stack(images)
    known: list[str | None] = [" ".join(lines)] * 2
    assert text.text_cer(references, outputs, texts=known)[0] == 0
    assert text.text_cer(references, outputs, texts=known)[1] > 0.5
    assert text.text_cer(references, outputs)[0] == 0
    assert text.text_accuracy(references, outputs, texts=known)[0] == 1
