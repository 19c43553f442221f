"""Folders of somebody's reconstructions: paired without a guess; what is left out is said in a few lines."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import photograph
from PIL import Image
from recon_command import run

import lactok
from lactok.errors import WrongValue

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return two folders with three photographs and the same three as reconstructions."""
    for name in ("ref", "rec"):
        (tmp_path / name).mkdir()
        for i in range(3):
            photograph(i, 64, 64).save(tmp_path / name / f"{i}.png")
    return tmp_path / "ref", tmp_path / "rec"


def scored(folders: tuple[Path, Path], *arguments: str, code: int = 0) -> dict:
    """Return the last result of the command on both folders."""
    found = run(folders[0].parent / "out", "--images", *map(str, folders), *arguments, code=code)
    return {} if code else next(iter(found.values()))


def test_a_photograph_of_the_same_stem_has_no_claim(folders: tuple[Path, Path], capsys: Capture) -> None:
    photograph(9, 64, 64).save(folders[0] / "0.jpg")
    result = scored(folders)
    assert result["metrics"]["psnr"]["value"] == 100
    assert result["dataset"]["n"] == 3
    assert result["dataset"]["skipped"] == [{"id": "0.jpg", "reason": "no reconstruction of its own"}]
    out = capsys.readouterr().out
    assert "left out: 0.jpg: no reconstruction of its own" in out
    assert "the same name, or else the same name with another ending" in out


def test_nor_where_the_photograph_of_the_whole_name_is_not_measured(folders: tuple[Path, Path]) -> None:
    from lactok.evaluation import datasets
    from lactok.evaluation.config import Run
    from lactok.evaluation.folder_source import FolderSource
    from lactok.evaluation.protocol import get
    from lactok.images import UnreadableImage

    photograph(9, 64, 64).save(folders[0] / "0.jpg")
    photographs = datasets.folder(folders[0])
    only = next(s for s in photographs.samples if s.id == "0.jpg")  # as a limit of 1 may choose
    source = FolderSource(folders[1], [sample.id for sample in photographs.samples])
    with pytest.raises(UnreadableImage, match="of its own"):
        source.check(only, Run(get("square-256", 64, "psnr")))


def test_two_photographs_for_one_reconstruction(folders: tuple[Path, Path], capsys: Capture) -> None:
    (folders[1] / "0.png").unlink()
    photograph(9, 64, 64).save(folders[0] / "0.jpg")
    photograph(0, 64, 64).save(folders[1] / "0.webp")
    scored(folders, code=2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert "0.jpg, 0.png and the reconstructions 0.webp could belong together in more than one way" in error


def test_the_reason_is_that_of_the_folder_as_it_is(folders: tuple[Path, Path], capsys: Capture) -> None:
    """What was stored of a photograph without a reconstruction is not said of it later."""
    image = folders[1] / "0.png"
    shutil.move(image, folders[1] / "0.jpg")
    photograph(1).save(folders[1] / "0.webp")
    scored(folders, code=2)  # two reconstructions
    for name in ("0.jpg", "0.webp"):
        (folders[1] / name).unlink()
    assert scored(folders)["dataset"]["skipped"][0]["reason"] == "no reconstruction of its own"
    image.write_bytes(b"no picture")
    run(folders[0].parent / "out", "--images", *map(str, folders))
    assert "left out: 0.png: its reconstruction 0.png cannot be used: not an image" in capsys.readouterr().out
    photograph(0, 64, 64).save(image)
    capsys.readouterr()
    run(folders[0].parent / "out", "--images", *map(str, folders))
    assert "left out" not in capsys.readouterr().out


def test_names_that_differ_in_unicodes_forms_are_one(folders: tuple[Path, Path]) -> None:
    photograph(5, 64, 64).save(folders[0] / "caf\u00e9.png")
    photograph(5, 64, 64).save(folders[1] / "cafe\u0301.png")
    assert scored(folders)["dataset"]["n"] == 4


def test_many_left_out_are_a_few_lines(folders: tuple[Path, Path], capsys: Capture) -> None:
    for i in range(100, 140):
        photograph(i, 8, 8).save(folders[0] / f"{i}.png")
        photograph(i, 8, 8).save(folders[1] / f"extra-{i}.png")
    result = scored(folders)
    assert len(result["dataset"]["skipped"]) == 40
    lines = [line for line in capsys.readouterr().out.splitlines() if ".png" in line]
    assert len(lines) == 2
    assert lines[0].startswith("left out: 100.png, 101.png, ")
    assert lines[0].endswith(" and 30 more, named in result.json: no reconstruction of its own")
    assert "109.png" in lines[0]
    assert "110.png" not in lines[0]
    assert lines[1].startswith("not used, since they are of no photograph: extra-100.png, ")
    assert lines[1].endswith(" and 30 more")


def test_nothing_that_matches(folders: tuple[Path, Path], capsys: Capture) -> None:
    for i in range(3):
        (folders[1] / f"{i}.png").rename(folders[1] / f"made-{i}.png")
    scored(folders, code=2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert "a photograph is 0.png, an image in" in error
    assert error.endswith("is made-0.png")
    assert "the same name with another ending" in error


def test_another_aspect_is_said(folders: tuple[Path, Path], capsys: Capture) -> None:
    photograph(0, 64, 48).save(folders[1] / "0.png")
    photograph(1, 32, 32).save(folders[1] / "1.png")
    scored(folders)
    line = next(line for line in capsys.readouterr().err.splitlines() if "aspect" in line)
    assert "1 of 3 reconstructions have another aspect" in line
    assert "0.png (64x48, its photograph 64x64)" in line
    assert "1.png" not in line


@pytest.mark.parametrize("bits", ["-3", "0"])
def test_bits_are_above_0(folders: tuple[Path, Path], capsys: Capture, bits: str) -> None:
    scored(folders, f"--bits={bits}", code=2)
    assert "a number above 0, the bits that an image takes" in capsys.readouterr().err


@pytest.mark.parametrize("bits", ["nan", "inf", "1_000", "²"])
def test_bits_are_a_number(folders: tuple[Path, Path], capsys: Capture, bits: str) -> None:
    scored(folders, f"--bits={bits}", code=2)
    assert f"--bits: invalid decimal value: '{bits}'" in capsys.readouterr().err


def test_a_file_is_no_folder(folders: tuple[Path, Path], capsys: Capture) -> None:
    files = folders[0] / "0.png", folders[1] / "0.png"
    scored(files, code=2)
    assert f"error: {files[0]} is a file; --images takes two folders\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tokenizers", "identity"), "--tokenizers does not go with --images"),
        (("--dataset", "sample"), "--dataset does not go with --images"),
        (("--dtype", "float32"), "--dtype does not go with --images"),
        (("--seed", "0"), "--seed does not go with --images"),
        (("--strict",), "--strict does not go with --images"),
        (("--dry-run",), "--dry-run does not go with --images"),
        (("--check", "identity"), "--resolution does not go with --check"),
        (("--svg", "."), "--svg . is a folder; name a file"),
    ],
)
def test_arguments_without_effect_are_refused(
    folders: tuple[Path, Path], capsys: Capture, arguments: tuple[str, ...], message: str
) -> None:
    scored(folders, *arguments, code=2)
    assert message in capsys.readouterr().err
    assert not (folders[0].parent / "out").exists()  # before the work


def test_the_picture_of_the_table_overwrites_no_file_of_another_kind(
    folders: tuple[Path, Path], capsys: Capture
) -> None:
    before = (folders[0] / "1.png").read_bytes()
    scored(folders, "--svg", str(folders[0] / "1.png"), code=2)
    assert "name a file that ends in .svg" in capsys.readouterr().err
    assert (folders[0] / "1.png").read_bytes() == before


def test_the_picture_of_the_table_may_lie_in_a_new_folder(folders: tuple[Path, Path]) -> None:
    svg = folders[0].parent / "new" / "table.svg"
    scored(folders, "--svg", str(svg))
    assert svg.read_text().startswith("<svg")


def test_both_sides_are_read_as_the_protocol_says(folders: tuple[Path, Path]) -> None:
    """The evaluations of LlamaGen and TiTok take pixels as they lie in the file, whatever its orientation tag says."""
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for i in range(3):
        image = photograph(i, 64, 64)
        image.save(folders[0] / f"{i}.png", exif=exif)
        (folders[1] / f"{i}.png").unlink()
        image.save(folders[1] / f"{i}.png", exif=exif if i == 0 else None)
    found = {
        protocol: lactok.evaluate(
            folders[1],
            references=folders[0],
            protocol=protocol,
            resolution=64,
            metrics="psnr",
            out=folders[0].parent / "runs",
        ).records["psnr"]
        for protocol in ("square-256", "llamagen-256", "titok-256")
    }
    assert found["llamagen-256"].min() == found["titok-256"].min() == 100
    assert (found["square-256"] == 100).tolist() == [True, False, False]


def test_decimal_pixels_are_refused_by_name(folders: tuple[Path, Path], capsys: Capture) -> None:
    (folders[1] / "0.png").unlink()
    values = np.asarray(photograph(0, 64, 64).convert("L"), np.float32) / 255
    Image.fromarray(values).save(folders[1] / "0.tif")
    assert scored(folders)["dataset"]["n"] == 2
    why = "its reconstruction 0.tif cannot be used: holds decimal numbers; save it as 8 or 16 bits"
    assert f"left out: 0.png: {why}" in capsys.readouterr().out


def test_python_says_the_same(folders: tuple[Path, Path]) -> None:
    (folders[1] / "0.png").rename(folders[1] / "0.jpg")
    shutil.copy(folders[1] / "0.jpg", folders[1] / "0.webp")
    with pytest.raises(WrongValue, match="could belong together"):
        lactok.evaluate(folders[1], references=folders[0], out=folders[0].parent / "runs")


def test_the_row_may_have_a_name_of_its_own(folders: tuple[Path, Path], capsys: Capture) -> None:
    assert scored(folders, "--name", "mine")["tokenizer"]["name"] == "mine"
    assert "| mine " in capsys.readouterr().out
    out = folders[0].parent / "runs"
    result = lactok.evaluate(folders[1], references=folders[0], name="again", metrics="psnr", resolution=32, out=out)
    assert result.label == "again"
    with pytest.raises(ValueError, match="`name` is of a folder of reconstructions"):
        lactok.evaluate("identity", name="mine")


def test_nothing_is_left_where_nothing_was_measured(folders: tuple[Path, Path], capsys: Capture) -> None:
    for path in folders[1].iterdir():
        path.write_bytes(b"not an image")
    scored(folders, code=2)
    assert "nothing to measure in 3 images" in capsys.readouterr().err
    assert not (folders[0].parent / "out").exists()


def test_folders_are_looked_at_before_networks_are_fetched(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("lactok.weights.resolve", lambda asset: pytest.fail(f"{asset.name} is asked for"))
    for i, path in enumerate(sorted(folders[1].iterdir())):
        path.rename(path.with_name(f"other-{i}.png"))
    run(folders[0].parent / "out", "--images", *map(str, folders), "--metrics", "lpips_alex", code=2)
    assert "no image in it is the reconstruction of a photograph" in capsys.readouterr().err
