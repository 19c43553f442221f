"""`python -m reports try`: pictures of one's own through every tokenizer on this machine, without a download."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import photograph
from PIL import Image

from lactok.evaluation.results import load_results
from reports import own_pictures, sheet
from reports.__main__ import main

pytestmark = pytest.mark.slow  # networks and figures


def command(*words: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["try", *map(str, words)])
    assert ended.value.code == code


@pytest.fixture
def folder(tmp_path: Path, own_cache: Path) -> Path:
    """Photographs of which two have one name, beside an empty cache of weights."""
    for i, name in enumerate(("a.png", "holiday/b.jpg", "holiday/a.png")):
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(i, 300 + i, 280).save(path)
    return tmp_path / "own"


def cell(path: Path, column: int) -> np.ndarray:
    """A picture of the sheet's first row."""
    gap = round(sheet.GAP_INCHES * sheet.MIN_CELL_PIXELS / sheet.CELL_INCHES)
    left, size = gap + column * (sheet.MIN_CELL_PIXELS + gap), sheet.MIN_CELL_PIXELS
    return np.asarray(Image.open(path).convert("RGB"))[gap : gap + size, left : left + size]


def test_one_picture_gives_a_table_a_sheet_and_the_page(
    folder: Path, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command(folder / "a.png", "--tokenizers", "identity toy resize-8", "--out", out)
    said = capsys.readouterr()
    assert re.search(r"^\| toy +\| +16 \| +64 \|", said.out, re.M)
    assert "left out: rFID, KID x1000, which compare whole sets of photographs" in said.err
    assert (
        "left out: LPIPS alex, whose network is not on this machine; to have it: python -m lactok.weights" in said.err
    )
    results = load_results(out / "runs")
    assert {r.label for r in results} == {"identity", "resize-8", "toy"}
    assert {tuple(r.metrics) for r in results} == {("psnr", "ssim")}
    assert {r.n for r in results} == {1}
    # toy has fewer bits than resize-8; identity gives the photograph back and is not shown
    stored = [next(out.glob(f"runs/{name}")) for name in ("references/*/a-*.png", "toy__*/images/*.png")]
    for column, path in enumerate(stored):
        assert np.array_equal(cell(out / "grid.png", column), np.asarray(Image.open(path).convert("RGB")))
    summary = (out / "data" / "summary.js").read_text()
    page = json.loads(summary.removeprefix('lactok.receive("summary",').removesuffix(");\n"))
    assert [s["title"] for s in page["sets"]] == ["a, 1 image, square-256 at 256 px"]
    assert {row["name"] for row in page["rows"]} == {"identity", "resize-8", "toy"}
    assert not own_cache.exists()  # nothing was fetched


def test_files_and_folders_together_each_picture_once(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command(folder / "a.png", folder, folder / "holiday" / "b.jpg", "--tokenizers", "toy", "--out", out)
    (result,) = load_results(out / "runs")
    assert result.records["id"].tolist() == ["b.jpg", "holiday/a.png", "own/a.png"]
    assert own_pictures.figures(result, "b.jpg").splitlines()[:2] == [
        "96 bits",
        f"PSNR {result.records['psnr'][0]:.2f}",
    ]
    assert Image.open(out / "grid.png").height > 3 * sheet.MIN_CELL_PIXELS


def test_all_that_is_here_is_run_and_the_rest_is_named(own_cache: Path) -> None:
    here, elsewhere = own_pictures.tokenizers(None, None)
    assert {"jpeg", "llamagen-vq16-tiny", "toy"} <= set(here)
    assert {"titok-s128", "llamagen-vq16"} <= set(elsewhere)


def test_a_named_tokenizer_that_is_not_here_is_not_fetched(
    folder: Path, own_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(folder / "a.png", "--tokenizers", "toy,titok-s128", "--out", tmp_path / "out", code=3)
    said = capsys.readouterr()
    assert "not on this machine: titok-s128; `python -m lactok.weights fetch NAME`" in said.out
    assert len(load_results(tmp_path / "out" / "runs")) == 1
    assert not own_cache.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.jpg",), "PHOTO nowhere.jpg: no such file"),
        (("notes.txt",), "PHOTO notes.txt cannot be used: not an image; leave it out"),
        (("empty",), "PHOTO empty: a folder without images"),
        (("own/a.png", "--tokenizers", "toi"), "unknown tokenizer 'toi', did you mean 'toy'"),
        (("own/a.png", "--protocol", "square"), "unknown protocol 'square'"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "empty").mkdir()
    command(*words, code=2)
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1
    assert not (tmp_path / "try").exists()
