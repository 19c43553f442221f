"""What is said of pictures, captions and photographs that no score was computed from, in the result and the table."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import photograph
from test_preference import Bright, Mute, Scorer, run

from lactok.evaluation.results import load_results
from lactok.metrics import rewards
from lactok.metrics.rewards import RewardSpec
from reports.tables import found


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewards.REWARDS, "own", dict)
    monkeypatch.setattr(rewards.REWARDS, "registered", {"bright": Bright, "mute": Mute})
    monkeypatch.setattr(rewards, "VARIANTS", ())


@pytest.fixture
def captioned(photographs: Path) -> Path:
    """70 pictures and their captions beside them."""
    (photographs / "captions.json").write_text(json.dumps({f"{i:03}.png": "a picture" for i in range(70)}))
    return photographs


def test_a_flood_of_damaged_pictures_is_a_few_names_and_a_count(
    captioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(60):
        (captioned / f"{i:03}.png").write_bytes(b"not a picture")
    (result,) = run(tmp_path / "out", "--images", captioned, "--metrics", "bright").values()
    assert len(result["dataset"]["skipped"]) == 60
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out")]
    assert line.endswith("009.png and 50 more, named in result.json: not an image")


def test_a_folder_without_any_readable_picture_is_a_mistake(
    captioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in captioned.glob("*.png"):
        path.write_bytes(b"not a picture")
    for metrics in ("bright", "mute"):
        run(tmp_path / "out", "--images", captioned, "--metrics", metrics, code=2)
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "none of its 70 pictures can be read; the first, 000.png: not an image" in error
    assert not list((tmp_path / "out").glob("*/result.json"))


class Short(Bright):
    """Reads four letters of a caption, and has cut the others before it sees them."""

    spec = RewardSpec("short", "MIT")

    @classmethod
    def tokenizer(cls) -> Any:
        return SimpleNamespace(length=10, is_cut=lambda captions: [len(c) > 10 for c in captions])

    @classmethod
    def text_of(cls, caption: str) -> str:
        return caption.strip("!")


def test_captions_that_are_cut_are_counted_in_the_result_and_under_the_table(
    captioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rewards.REWARDS.registered, "short", Short)
    texts = dict.fromkeys((f"{i:03}.png" for i in range(70)), "0123456789!!")
    texts |= {"001.png": "0123456789a", "002.png": "0123456789b", "003.png": "0123456789b"}
    (captioned / "captions.json").write_text(json.dumps(texts))
    (result,) = run(tmp_path / "out", "--images", captioned, "--metrics", "bright,short").values()
    short, bright = result["metrics"]["short"], result["metrics"]["bright"]
    assert (short["tokens"], short["captions_cut"]) == (10, 2)
    assert {key: short[key] for key in bright} == bright  # the same numbers, and nothing of captions for the other
    line = "2 captions are longer than 10 tokens and cut there: short.\n"
    assert line in capsys.readouterr().out
    assert line in next((tmp_path / "out").glob("table__*.md")).read_text()
    (stored,) = load_results(tmp_path / "out").preference
    assert stored["short"].captions_cut == 2
    (table,) = found.build(load_results(tmp_path / "out"))
    assert line.strip() in table.notes


def test_the_reference_is_named_with_the_photographs_that_cannot_be_read(
    captioned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lactok.evaluation.reconstruction.scorer_of", lambda run: Scorer())
    monkeypatch.setattr("lactok.evaluation.metric_networks.metric_networks", lambda run: (("fid-inception", "0" * 64),))
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        photograph(100 + i).save(photos / f"{i}.png")
    (photos / "broken.png").write_bytes(b"\x89PNG")
    arguments = ("--images", captioned, "--metrics", "fid,kid", "--reference", photos)
    (result,) = run(tmp_path / "out", *arguments).values()
    name = result["reference"]["name"]
    assert (result["reference"]["n"], result["metrics"]["fid"]["references"]) == (4, 3)
    assert result["reference"]["skipped"] == [{"id": "broken.png", "reason": "not an image"}]
    out = capsys.readouterr().out
    note = f"FID and KID x1000: to the photographs {name}, of which 3 of 4 can be read; left out: broken.png."
    assert f"{note}\n" in out
    assert "left out of the reference: broken.png: not an image\n" in out
    (table,) = found.build(load_results(tmp_path / "out"))
    assert note in table.notes
    for i in (1, 2):
        (photos / f"{i}.png").unlink()
    run(tmp_path / "one", *arguments)
    assert "- under FID, KID x1000: a distance needs two images or more.\n" in capsys.readouterr().out
    (photos / "0.png").write_bytes(b"")
    run(tmp_path / "none", *arguments, code=2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: --reference photos-")
    assert error.endswith("none of its 2 photographs can be read; the first, 0.png: not an image")
