"""The columns that hold a data set: the same order, split and digest as a list of objects gives."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lactok.training.columns import Texts, path_order
from lactok.training.data import Photo, Photos
from lactok.training.photos import PhotoList

NAMES = [
    "b.png",
    "a/b.png",
    "a b/c.png",
    "a.d/e.png",
    "./a.png",
    "a//z.png",
    "/abs.png",
    "A.png",
    "é.png",
    "ee.png",
    "a",
    "a/",
    "long/" * 9 + "1.png",
    "long/" * 9 + "10.png",
    "\udcff.png",
    "\U0001f600.png",
    "\ue000.png",
    "a/b.png",
    "..png",
]


def expected_order(paths: Sequence[str], ranks: Sequence[int]) -> list[int]:
    return sorted(range(len(paths)), key=lambda i: (PurePosixPath(paths[i]).parts, ranks[i]))


@pytest.mark.parametrize("names", [NAMES, [n for n in NAMES if n[0] not in "./" and "//" not in n], [], ["x.png"]])
def test_paths_are_sorted_by_their_parts(names: list[str]) -> None:
    texts, ranks = Texts.of(names), list(range(len(names)))[::-1]
    assert list(texts) == names
    order = path_order(texts, np.array(ranks, np.int64))
    assert order.tolist() == expected_order(names, ranks)
    assert list(texts.take(order)) == [names[i] for i in order]


@given(st.lists(st.text("ab/.-0é\U0001f600", min_size=1, max_size=20)))
def test_any_paths_are_sorted_by_their_parts(names: list[str]) -> None:
    ranks = [0] * len(names)
    assert path_order(Texts.of(names), np.zeros(len(names))).tolist() == expected_order(names, ranks)


def test_texts_are_joined_and_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lactok.training.columns._AT_ONCE", 3)
    texts = Texts.joined([Texts.of(["a", ""]), Texts.of([]), Texts.of(["bcd", "é", "f"])])
    assert list(texts) == ["a", "", "bcd", "é", "f"]
    order = np.array([4, 3, 2, 1, 0, 2, 1])
    assert list(texts.take(order)) == ["f", "é", "bcd", "", "a", "bcd", ""]
    assert texts == Texts.of(list(texts))
    assert texts != Texts.of(["a"])


@pytest.fixture
def mixed(photographs: Path, tmp_path: Path) -> Path:
    """Image files and shards of which some have equal names."""
    root = tmp_path / "mixed"
    (root / "sub").mkdir(parents=True)
    for number in (3, 1, 2):
        with tarfile.open(root / f"part-{number}.tar", "w") as tar:
            for name in ("x/1.png", f"x/{number}0.png", "b.png", f"./y{number}.png"):
                tar.add(photographs / f"{number:03}.png", name)
    for name in ("b.png", "sub/a.png", "z.jpg"):
        (root / name).write_bytes((photographs / "010.png").read_bytes() + name.encode())
    return root


def objects_of(root: Path) -> list[Photo]:
    """The photographs of the folder as a plain sorted list."""
    found = [(p.relative_to(root).parts, Photo(p)) for p in root.rglob("*") if p.suffix in (".png", ".jpg")]
    for shard in root.glob("*.tar"):
        with tarfile.open(shard) as tar:
            members = [Photo(shard, m.name, m.offset_data, m.size) for m in tar]
        found += [(PurePosixPath(m.member).parts, m) for m in members]
    return [photo for _, photo in sorted(found, key=lambda item: (item[0], str(item[1].file)))]


def test_split_and_digest_are_those_of_a_list_of_objects(mixed: Path, tmp_path: Path) -> None:
    plain = objects_of(mixed)
    assert len(plain) == 15
    for held_out in (0, 1, 4, 14):
        photos = Photos.of(mixed, held_out, tmp_path)
        by_hash = sorted(range(len(plain)), key=lambda i: hashlib.sha256(plain[i].name.encode()).digest())
        chosen = sorted(by_hash[:held_out])
        assert list(photos.held_out) == [plain[i] for i in chosen]
        assert list(photos.train) == [p for i, p in enumerate(plain) if i not in chosen]
        both = [*photos.train, *photos.held_out]
        sizes = [[p.name, p.size if p.member else p.file.stat().st_size] for p in both]
        expected = hashlib.sha256(json.dumps([len(photos.train), sizes]).encode())
        for photo in both:
            expected.update(hashlib.sha256(photo.read()).digest())
        assert photos.digest() == expected.hexdigest()
        assert Photos(tuple(photos.train), photos.held_out).digest() == photos.digest()


def test_a_digest_is_written_in_parts(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = Photos.of(mixed, 4)
    whole = photos.digest()
    for rows in (1, 4, 5):
        monkeypatch.setattr("lactok.training.photos._ROWS", rows)
        assert photos.digest() == whole


def test_a_list_is_a_sequence_without_objects(mixed: Path) -> None:
    train = Photos.of(mixed, 3).train
    assert isinstance(train, PhotoList)
    plain = list(train)
    assert (train[-1], train[2], len(train[::5])) == (plain[-1], plain[2], 3)
    assert list(train[3:9:2]) == plain[3:9:2]
    assert train[:0] == train[5:5]
    assert [train.name(i) for i in range(len(train))] == [p.name for p in plain]
    assert plain[0] in train
    with pytest.raises(IndexError):
        train[len(train)]
    kept = sum(column.nbytes for column in (train.shard, train.offset, train.size, train.rows, train.names.ends))
    assert kept / 15 < 40
