"""Webdataset shards: the same training as from a folder, at random access, also from damaged shards."""

from __future__ import annotations

import gzip
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import webdataset
from recipes import trainer

from lactok.errors import UserError
from lactok.training import shards
from lactok.training.data import Photos, crops
from lactok.training.trainer import Recipe


def pack(photographs: Path, folder: Path, size: int = 25) -> list[Path]:
    """The pictures as shards, `size` of them each, with a caption beside each picture."""
    folder.mkdir()
    files = sorted(photographs.glob("*.png"))
    for i in range(0, len(files), size):
        with webdataset.TarWriter(str(folder / f"part-{i // size:03}.tar")) as writer:
            for file in files[i : i + size]:
                writer.write({"__key__": file.stem, "png": file.read_bytes(), "txt": f"picture {file.stem}"})
    return sorted(folder.glob("*.tar"))


def content(photos: Photos) -> list[tuple[str, bytes]]:
    return [(p.name, p.read()) for p in (*photos.train, *photos.held_out)]


@pytest.mark.slow
def test_shards_train_as_the_folder_does_bit_for_bit(
    recipes: dict[str, Recipe], photographs: Path, tmp_path: Path
) -> None:
    pack(photographs, tmp_path / "shards")
    runs = []
    for data in (photographs, tmp_path / "shards"):
        run = trainer(replace(recipes["ldm"], data=str(data)), "ldm", tmp_path / f"from {data.name}")
        run.learner.train()
        runs.append((run, [run.train_step() for _ in range(2)]))
    assert runs[0][1] == runs[1][1]
    for name, parameter in runs[0][0].learned.items():
        assert torch.equal(parameter, runs[1][0].learned[name])
    held_out = [(tmp_path / f"from {d}" / "held-out.txt").read_text().split() for d in ("photographs", "shards")]
    assert [Path(p).name for p in held_out[0]] == [Path(p).name for p in held_out[1]]
    assert all("/part-00" in p for p in held_out[1])


def test_a_shard_by_name_pattern_or_folder_is_the_same(photographs: Path, tmp_path: Path) -> None:
    files = pack(photographs, tmp_path / "shards")
    assert len(files) == 3
    folder = content(Photos.of(photographs, 3))
    for data in ("", "*.tar", "part-{000..002}.tar", "part-00{0,1,2}.tar", "part-000.tar"):
        photos = Photos.of(f"{tmp_path}/shards/{data}", 3)
        assert all(p.member for p in photos.train)
        if data != "part-000.tar":
            assert content(photos) == folder
    assert len(photos.train) == 22


def test_a_folder_may_hold_both(photographs: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    pack(photographs, both)
    (both / "zebra.jpg").write_bytes((photographs / "000.png").read_bytes())
    assert len(Photos.of(both, 3).train) == 68


def test_samples_give_one_picture_each(photographs: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("x/1.seg.png", "x/1.png", "x/1.txt", "x/2.JPG", "x/._3.png", "4.webp", "x/4.jpg", "5.json"):
            tar.add(photographs / "001.png", name)
    found = shards.index(tmp_path / "a.tar")
    assert [m.name for m in found.members] == ["x/1.png", "x/2.JPG", "4.webp", "x/4.jpg"]
    assert found.fault == ""


def test_the_index_is_kept_and_made_anew_for_a_changed_shard(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pack(photographs, tmp_path / "shards")
    read: list[str] = []
    index = shards.index
    monkeypatch.setattr(shards, "index", lambda path: read.append(path.name) or index(path))
    first = Photos.of(tmp_path / "shards", 3, tmp_path)
    assert read == [f.name for f in files]
    assert Photos.of(tmp_path / "shards", 3, tmp_path) == first
    assert len(read) == 3
    with tarfile.open(files[1], "a") as tar:
        tar.add(photographs / "001.png", "more.png")
    assert len(Photos.of(tmp_path / "shards", 3, tmp_path).train) == len(first.train) + 1
    assert read[3:] == [files[1].name]
    assert read[4:] == []
    kept = (tmp_path / "shards.npz").read_bytes()
    entry = kept.index(b"PK\x01\x02")  # where the archive's list of members begins
    other_method = kept[: entry + 10] + b"\x63" + kept[entry + 11 :]
    encrypted = kept[: entry + 8] + b"\x01" + kept[entry + 9 :]
    for damaged in (kept[: len(kept) // 2], b"", b"no archive", kept[:-30] + bytes(30), other_method, encrypted):
        (tmp_path / "shards.npz").write_bytes(damaged)
        (tmp_path / "shards.json").write_text("{}")  # of an earlier version
        assert len(Photos.of(tmp_path / "shards", 3, tmp_path).train) == len(first.train) + 1
        assert not (tmp_path / "shards.json").exists()
    assert len(read) == 4 + 6 * 3


@pytest.mark.parametrize("where", ["in a picture", "in a header", "between members", "garbage"])
def test_of_a_damaged_shard_what_is_whole_is_used(photographs: Path, tmp_path: Path, where: str) -> None:
    files = pack(photographs, tmp_path / "shards")
    members = shards.index(files[2]).members
    data = files[2].read_bytes()
    header = (members[9].offset + members[9].size + 511) // 512 * 512  # of the caption after the tenth picture
    cut = {"in a picture": members[10].offset + 7, "in a header": header + 100, "between members": header}
    whole = data[: cut.get(where, header)]
    files[2].write_bytes(whole + b"\x07" * 4096 if where == "garbage" else whole)
    photos = Photos.of(tmp_path / "shards", 0, tmp_path)
    names = {p.name for p in photos.train}
    assert names == {f"{i:03}.png" for i in range(60)}
    assert (tmp_path / "broken.txt").read_text().splitlines() == [str(files[2])]
    Photos.of(tmp_path / "shards", 0, tmp_path)  # from the kept index: named once
    assert (tmp_path / "broken.txt").read_text().splitlines() == [str(files[2])]
    assert all(p.open_rgb().size == (64, 48) for p in photos.train)


def test_a_broken_picture_in_a_shard_is_named_and_replaced(photographs: Path, tmp_path: Path) -> None:
    (photographs / "000.png").write_bytes(b"not a picture")
    (photographs / "001.png").write_bytes(b"")
    files = pack(photographs, tmp_path / "shards")
    photos = Photos.of(tmp_path / "shards", 0, tmp_path)
    assert crops(photos, range(70), 32, (32, 48), 0, tmp_path).shape == (70, 3, 32, 32)
    named = (tmp_path / "broken.txt").read_text().splitlines()
    assert sorted(named) == [f"{files[0]}/000.png", f"{files[0]}/001.png"]


def compressed(photographs: Path, folder: Path) -> str:
    for file in pack(photographs, folder):
        file.with_suffix(".tar.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    return str(folder)


def disguised(photographs: Path, folder: Path) -> str:
    file = pack(photographs, folder)[0]
    file.write_bytes(gzip.compress(file.read_bytes()))
    return str(file)


def no_tar(photographs: Path, folder: Path) -> str:
    folder.mkdir()
    (folder / "a.tar").write_bytes(b"no tar file at all" * 100)
    return str(folder / "a.tar")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (compressed, r"part-000.tar.gz is compressed, .*unpack it"),
        (lambda p, f: compressed(p, f) + "/*.tar.gz", "part-000.tar.gz is compressed"),
        (disguised, r"part-000.tar is compressed"),
        (no_tar, "a.tar has 0 images"),
        (lambda p, f: f"{f}/none.tar", "no shard .*none.tar"),
        (lambda p, f: f"{f}/{{00..03}}.tar", r"no shard .*00.tar, of .*\{00\.\.03\}.tar"),
        (lambda p, f: f"{f}/*.tar", "no shard"),
        (lambda p, f: f"{f}/{{0..99999999999}}.tar", "stands for more than 100000 shards"),
        (lambda p, f: f"{f}/{{0..999}}{{0..999}}.tar", "stands for more than 100000 shards"),
    ],
)
def test_mistakes(photographs: Path, tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as found:
        Photos.of(make(photographs, tmp_path / "shards"), 2, tmp_path)
    assert "\n" not in str(found.value)


def test_an_archive_beside_loose_pictures_is_passed_over(photographs: Path) -> None:
    (photographs / "source.tar.gz").write_bytes(gzip.compress(b"x"))
    assert len(Photos.of(photographs, 0).train) == 70
