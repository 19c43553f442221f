"""What lies in the store is checked when it is used: damaged or foreign content is made again, and nobody edits it."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import photograph
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.geneval import stored
from lactok.evaluation import datasets, protocol
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.layout import Layout
from lactok.evaluation.measuring import evaluate_source
from lactok.evaluation.sources import TokenizerSource
from lactok.evaluation.store import LostShard, Store, is_whole_png
from lactok.images import png

PICTURE = png(torch.arange(3 * 8 * 8, dtype=torch.uint8).view(3, 8, 8))
LAYOUT = Layout(3, {"bits": 1}, {"psnr": 1}, ("errors",), {"near_ties": 0}, complete=True)


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    return out.getvalue()


GOOD = {
    "index": np.array([0, 2]),
    "bits": np.ones(2),
    "psnr": np.ones(2),
    "errors": np.array('{"b": "cannot be read"}'),
}


def at(store: Store, data: bytes) -> Path:
    """Write a shard with the key "ab", whatever its content."""
    path = store.root / "scores" / "ab" / "ab.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


class TestPictures:
    def test_one_that_is_whole_stays(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        assert not store.has_picture("ab")
        store.put_picture("ab", PICTURE)
        assert store.has_picture("ab")
        assert store.picture("ab").read_bytes() == PICTURE

    @pytest.mark.parametrize(
        "data", [b"", PICTURE[:-1], PICTURE[:40], PICTURE + b"x", b"no picture", PICTURE[:20] + b"?" + PICTURE[21:]]
    )
    def test_one_that_is_damaged_is_removed(
        self, tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = Store(tmp_path)
        store.put_picture("ab", PICTURE)
        assert store.has_picture("ab")
        store.picture("ab").write_bytes(data)
        assert not store.has_picture("ab")
        assert not store.picture("ab").exists()
        assert "is made again" in caplog.text
        with pytest.raises(LostShard):
            store.publish("ab", tmp_path / "x.png")

    def test_one_that_has_another_name_may_have_been_edited_there(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        store.put_picture("ab", PICTURE)
        os.link(store.picture("ab"), tmp_path / "x.png")
        assert not store.has_picture("ab")
        assert (tmp_path / "x.png").read_bytes() == PICTURE

    def test_editing_a_published_one_changes_nothing_in_the_store(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        store.put_picture("ab", PICTURE)
        store.publish("ab", tmp_path / "x.png")
        with (tmp_path / "x.png").open("r+b") as handle:
            handle.write(b"edited")
        assert store.picture("ab").read_bytes() == PICTURE
        store.publish("ab", tmp_path / "x.png")
        assert (tmp_path / "x.png").read_bytes() == PICTURE
        before = (tmp_path / "x.png").stat().st_mtime_ns
        store.publish("ab", tmp_path / "x.png")
        assert (tmp_path / "x.png").stat().st_mtime_ns == before

    @pytest.mark.fuzz
    @tries(300, 20000)
    @given(st.integers(0, len(PICTURE) - 1), st.integers(1, 255), st.integers(0, len(PICTURE)))
    @example(0, 1, 0)
    def test_fuzz_every_changed_byte_and_every_cut_is_seen(self, position: int, change: int, length: int) -> None:
        data = bytearray(PICTURE)
        data[position] ^= change
        assert not is_whole_png(bytes(data))
        assert is_whole_png(PICTURE[:length]) == (length == len(PICTURE))


class TestShards:
    def test_one_that_fits_is_read(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        store.put("scores", "ab", GOOD)
        assert set(store.need("scores", "ab", None, LAYOUT)) == set(GOOD)
        assert set(store.need("scores", "ab", ["index", "bits"], LAYOUT)) == {"index", "bits"}

    @pytest.mark.parametrize(
        "changed",
        [
            {"index": np.array([2, 0])},
            {"index": np.array([0, 3])},
            {"index": np.array([0.0, 2.0])},
            {"index": np.array([[0, 2]])},
            {"bits": np.ones(3)},
            {"bits": np.array(["a", "b"])},
            {"psnr": np.ones((2, 2))},
            {"psnr": None},
            {"errors": None},
            {"errors": np.array("[]")},
            {"errors": np.array('{"b": 1}')},
            {"errors": np.array("{}")},
            {"errors": np.array("[" * 100000)},
            {"near_ties": np.array([-1, 0])},
            {"near_ties": np.array([0.5, 0])},
        ],
    )
    def test_one_that_does_not_is_made_again(
        self, tmp_path: Path, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        layout = Layout(
            3,
            {"bits": 1, **({"near_ties": 1} if "near_ties" in changed else {})},
            {"psnr": 1},
            ("errors",),
            {"near_ties": 0},
            True,
        )
        store = Store(tmp_path)
        path = at(store, npz(**{k: v for k, v in (GOOD | changed).items() if v is not None}))
        assert store.get("scores", "ab", None, layout) is None
        assert not path.exists()
        assert caplog.messages == [f"{path} is damaged or of another version: it is made again"]

    @pytest.mark.fuzz
    @tries(150, 8000)
    @given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=6), st.integers(0, 1 << 20))
    def test_fuzz_changed_bytes(
        self, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
    ) -> None:
        """A file with any bytes changed is read as it was, or counts as missing; nothing is raised."""
        store = Store(tmp_path_factory.getbasetemp() / "fuzz")
        data = bytearray(npz(**GOOD))
        for position, value in changes:
            data[position % len(data)] = value
        at(store, bytes(data[: cut % (2 * len(data))]))
        found = store.get("scores", "ab", None, LAYOUT)
        assert found is None or all(np.array_equal(found[name], array) for name, array in GOOD.items())

    @pytest.mark.fuzz
    @tries(150, 8000)
    @given(st.data())
    def test_fuzz_other_arrays(self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        """A whole file with other arrays counts as missing, or has what its readers take for granted."""
        values = st.sampled_from(
            [
                np.array([0, 2]),
                np.array([0, 1, 2]),
                np.zeros(0),
                np.zeros(0, np.int64),
                np.array(["a", "b"]),
                np.array(1.5),
                np.ones((2, 2)),
                np.array([np.nan, 1]),
                np.array('{"b": "x"}'),
                np.array("null"),
                np.array([1 + 1j, 2]),
                np.array([True, False]),
                np.array(["2020", "2021"], "datetime64[Y]"),
            ]
        )
        names = st.sampled_from(["index", "bits", "psnr", "errors", "other", "near_ties"])
        arrays = GOOD | data.draw(st.dictionaries(names, values))
        for name in data.draw(st.sets(names)):
            arrays.pop(name, None)
        store = Store(tmp_path_factory.getbasetemp() / "fuzz")
        at(store, npz(**arrays))
        found = store.get("scores", "ab", None, LAYOUT)
        if found is not None:
            assert len(found["index"]) + len(json.loads(str(found["errors"]))) == 3
            for name in ("bits", "psnr") if len(found["index"]) else ():
                assert found[name].dtype.kind in "fiu"
                assert len(found[name]) == len(found["index"])

    @pytest.mark.fuzz
    @tries(100, 5000)
    @given(st.data())
    def test_fuzz_detections(self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
        """Detections that are read can be unpacked; all others count as missing."""
        from benchmarks.geneval.detectors import Detection

        mask = np.eye(4, dtype=bool)
        notes = {"errors": {}, "remarks": {"1": "odd"}}
        packed = stored.pack([[Detection("cat", 0.5, (0, 0, 2, 2), mask)], []])
        arrays: dict[str, Any] = packed | {"notes": np.array(json.dumps(notes))}
        name = data.draw(st.sampled_from(sorted(arrays)))
        others = [
            None,
            np.array("[]"),
            np.array([5]),
            np.array([-1]),
            np.zeros((1, 4)),
            np.array(["x"]),
            arrays[name][:0] if arrays[name].ndim else None,
            np.array(json.dumps({"errors": {"7": "x"}, "remarks": {}})),
        ]
        arrays[name] = data.draw(st.sampled_from(others))
        store = Store(tmp_path_factory.getbasetemp() / "fuzz")
        at(store, npz(**{k: v for k, v in arrays.items() if v is not None}))
        found = store.get("scores", "ab", None, stored.check_detections(2))
        if found is not None:
            assert [len(pictures) for pictures in stored.unpack(found, 2)] in ([1, 0], [0, 1], [0, 0])


@pytest.mark.parametrize(
    "records",
    [
        [{"error": "cannot be read"}],
        [{"error": 5}, {"error": "cannot be read"}],
        [{"correct": "yes", "reason": "", "boxes": {}, "colours": {}, "remark": ""}] * 2,
        [{"correct": True}] * 2,
        {"a": 1, "b": 2},
        None,
    ],
    ids=range(6),
)
def test_verdicts_of_another_kind_are_made_again(tmp_path: Path, records: Any) -> None:
    store = Store(tmp_path)
    at(store, npz(records=np.array(json.dumps(records))))
    assert store.get("scores", "ab", check=stored.check_verdicts(2)) is None


def changed_arrays(path: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    with np.load(path) as stored_arrays:
        arrays = {name: stored_arrays[name] for name in stored_arrays.files}
    path.write_bytes(npz(**change(arrays)))


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: {f"old_{name}": array for name, array in arrays.items()},
        lambda arrays: {name: array[:-1] if array.ndim else array for name, array in arrays.items()},
        lambda arrays: {name: array.astype(str) for name, array in arrays.items()},
        lambda arrays: arrays | {"ids": arrays["ids"] + 64} if "ids" in arrays else arrays,
    ],
    ids=["names", "rows", "dtypes", "codes"],
)
def test_shards_of_another_kind_are_made_again_at_once(
    tmp_path: Path, change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for i in range(3):
        photograph(i).save(photographs / f"{i}.png")
    data, run = datasets.folder(photographs), Run(protocol.get("square-256", 64, "psnr"))
    out = Execution(tmp_path / "out")
    first = evaluate_source(TokenizerSource("toy"), data, run, out)
    assert first is not None
    stable = {p.name: p.read_bytes() for p in first.folder.iterdir() if p.is_file() and p.name != "run.json"}
    for path in (tmp_path / "out" / "store").glob("*/*/*.npz"):
        changed_arrays(path, change)
    caplog.set_level(logging.WARNING)
    second = evaluate_source(TokenizerSource("toy"), data, run, out)
    assert second is not None
    assert {p.name: p.read_bytes() for p in second.folder.iterdir() if p.is_file() and p.name != "run.json"} == stable
    assert "is made again" in caplog.text


def test_features_of_another_width_are_made_again(tmp_path: Path) -> None:
    from lactok.evaluation.store import FeatureBlocks

    store = Store(tmp_path)
    for key, width in (("aa", 4), ("bb", 3)):
        store.put("scores", key, {"features": np.ones((2, width), np.float32)})
    with pytest.raises(LostShard):
        FeatureBlocks(store, "scores", ["aa", "bb"], "features", [None, None])[0]
    assert store.get("scores", "aa") is store.get("scores", "bb") is None


def test_what_killed_writers_left_in_the_store_is_removed(tmp_path: Path) -> None:
    Store(tmp_path).put("ids", "ab", {"x": np.ones(1)})
    (left,) = [(tmp_path / "store" / "ids" / "ab" / ".cd.npz.99.part")]
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    other = tmp_path.rename(tmp_path.with_name("moved"))  # this process has looked through the store's old place
    Store(other)
    assert [p.name for p in (other / "store" / "ids" / "ab").iterdir()] == ["ab.npz"]
