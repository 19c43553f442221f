"""Which files under a folder are data."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from conftest import photograph
from PIL import Image

import lactok
from lactok.errors import UserError, WrongValue
from lactok.evaluation import datasets, folders, samples
from lactok.training.data import Photos


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    photograph(seed).save(path)
    return path


def ids(root: Path) -> list[str]:
    return [sample.id for sample in datasets.folder(root).samples]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(2):
        save(tmp_path / "photos" / "n01" / f"{i}.png", i)
    return tmp_path / "photos"


def test_hidden_files_and_copies_are_no_data(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = datasets.folder(root).name
    for name in (".thumbs/1.png", "n01/._0.png", "__MACOSX/n01/._0.png", ".ipynb_checkpoints/0-checkpoint.png"):
        save(root / name)
    (root / ".DS_Store").write_text("")
    with caplog.at_level(logging.WARNING):
        assert ids(root) == ["n01/0.png", "n01/1.png"]
        assert ids(root) == ["n01/0.png", "n01/1.png"]
    (said,) = caplog.messages  # once
    assert "4 entries are no data" in said
    assert ".ipynb_checkpoints, .thumbs, __MACOSX and 1 more" in said
    assert datasets.folder(root).name == before
    assert [str(photo) for photo in Photos.of(root, 0).train] == [str(root / "n01" / f"{i}.png") for i in range(2)]


def test_a_hidden_folder_that_is_named_is_taken(root: Path) -> None:
    save(root / ".thumbs" / "1.png")
    assert ids(root / ".thumbs") == ["1.png"]


def written(root: Path) -> list[Path]:
    """Pictures as lactok writes them."""
    key = "ab" + "0" * 62
    for folder, file, text in (
        ("resize-8__x__limit3", "result.json", '{"schema": 2, "metrics": {}}'),
        ("pics/toy", "generation.json", '{"generator": "toy", "settings": "0"}'),
        ("training-runs/vq", "curve.jsonl", '{"step": 19, "loss": 0.5}\n{"st'),
        ("page", "index.html", "<!doctype html>\n<title>lactok reports</title>"),
    ):
        (root / folder).mkdir(parents=True)
        (root / folder / file).write_text(text)
    return [
        save(root / name)
        for name in (
            "resize-8__x__limit3/images/a-0123456789ab.png",
            "resize-12__x-abc123__0123abcd-4567cdef/images/a.png",  # a run that was killed before its result
            "pics/toy/00000/samples/0000.png",
            "training-runs/vq/pictures.png",
            "page/pictures/a.png",
            f"store/pictures/ab/{key}.png",
            "references/x-abc123__0123abcd/a-0123456789ab.png",
            "scenes-120x4-seed0/00000/samples/0000.png",
        )
    ]


def test_what_lactok_wrote_is_no_data(root: Path) -> None:
    before = datasets.folder(root).name
    written(root)
    written(root / "runs")
    assert ids(root) == ["n01/0.png", "n01/1.png"]
    assert datasets.folder(root).name == before


def test_what_lactok_wrote_is_taken_where_it_is_named(root: Path) -> None:
    for path in written(root):
        assert path.name in ids(path.parent)
    assert len(ids(root / "references" / "x-abc123__0123abcd")) == 1


def test_folders_that_only_look_like_ours_are_data(root: Path) -> None:
    expected = ["n01/0.png", "n01/1.png"]
    for name in ("store/a.png", "references/a.png", "a__b/a.png", "images/a.png", "generated/a.png", "result/a.png"):
        save(root / name)
        expected.append(name)
    (root / "result" / "result.json").write_text('{"accuracy": 0.5}')
    (root / "images" / "curve.jsonl").write_text("1\n")
    assert ids(root) == sorted(expected)


def test_linked_folders_are_followed_once(root: Path, tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "n02" / "0.png")
    (root / "n02").symlink_to(tmp_path / "elsewhere" / "n02")
    (root / "a-link-to-n01").symlink_to(root / "n01")
    (root / "n01" / "up").symlink_to(root)
    (root / "n01" / "far-up").symlink_to(tmp_path)
    (root / "self").symlink_to(root / "self")
    (root / "n01" / "2.png").symlink_to(tmp_path / "elsewhere" / "n02" / "0.png")
    (root / "n01" / "gone.png").symlink_to(tmp_path / "gone.png")
    assert ids(root) == ["n01/0.png", "n01/1.png", "n01/2.png", "n02/0.png"]


def test_the_order_is_that_of_the_parts_of_paths(tmp_path: Path) -> None:
    for name in ("a/b.png", "a-1.png", "B.png", "a/a.png", "a/b/c.PNG"):
        Image.new("RGB", (4, 4)).save(save(tmp_path / name))
    expected = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert folders.files_under(tmp_path, (".png",)) == expected


def test_only_what_is_chosen_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(20):
        save(root / "n02" / f"{i}.png", i)
    every = datasets.folder(root)
    hashed = []
    one = samples.file_sha256
    monkeypatch.setattr(samples, "file_sha256", lambda path, member: hashed.append(path) or one(path, member))
    chosen = datasets.get(str(root), limit=3)
    assert chosen.samples == every.limited(3).samples
    assert hashed == [sample.path for sample in chosen.samples]
    assert datasets.get(str(root), limit=22) == every


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "a/" * 3000, "x" * 5000 + ".txt", "a\n\u2028b", "~"])
def test_names_that_nothing_can_have_are_one_line(name: str) -> None:
    with pytest.raises(UserError) as stop:
        datasets.get(name)
    assert len(str(stop.value)) < 400
    assert str(stop.value).isprintable()


def test_a_long_name_leaves_room_for_the_names_of_results(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 250)
    save(long / "0.png")
    assert datasets.folder(long).name.startswith("x" * 128 + "-")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    save(odd / "0.png")
    assert datasets.folder(odd).name.startswith("\\xff-")


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "\\xff.png")
    save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")))
    with pytest.raises(UserError, match="another image has the id"):
        datasets.folder(tmp_path)


def test_two_unicode_forms_of_one_name_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "caf\u00e9.png")
    save(tmp_path / "cafe\u0301.png")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes both forms for one name")
    with pytest.raises(WrongValue, match="one name in two Unicode forms"):
        datasets.folder(tmp_path)


def test_bits_that_are_no_number_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a" / "x.png")
    with pytest.raises(WrongValue, match="`bits` True: a number above 0"):
        lactok.evaluate(tmp_path / "a", references=tmp_path / "a", bits=True, out=tmp_path / "out")
