"""Work on a machine that does not see the folder of results, with a keeper that is asked in this process."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import Toy

from lactok.errors import DiskError, MissingFile
from lactok.evaluation import datasets, elsewhere, protocol
from lactok.evaluation.config import Run
from lactok.evaluation.datasets import Sample
from lactok.evaluation.elsewhere import FolderKeeper, Mirror, MirroredStore, packed, unpacked
from lactok.evaluation.reconstruction import ReconstructionWork
from lactok.evaluation.sources import TokenizerSource
from lactok.evaluation.store import LostShard, Store
from lactok.evaluation.timing import Timer


class Noting(FolderKeeper):
    """Notes what it is asked for."""

    def __init__(self, out: str):
        super().__init__(out)
        self.asked: list[str] = []

    def read(self, name: str) -> bytes | None:
        found = super().read(name)
        self.asked.append(f"{'read' if found is not None else 'no'} {name.split('/')[1]}")
        return found

    def write(self, name: str, data: bytes) -> None:
        self.asked.append(f"write {name.split('/')[1]}")
        super().write(name, data)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """The mirror of `tmp_path/out` in `tmp_path/far`, used by `unpacked`."""
    found = Mirror(tmp_path / "out", Noting(str(tmp_path / "out")), tmp_path / "far")
    monkeypatch.setattr(elsewhere, "_mirrors", [found])
    return found


def work_in(out: Path) -> ReconstructionWork:
    run = Run(protocol.get("square-256", 64, "psnr"), threads=1)
    return ReconstructionWork(TokenizerSource("toy"), run, Store(out), frozenset({"000.png"}))


def finish(work: ReconstructionWork, samples: list[Sample], mirror: Mirror) -> list[str]:
    """Let a far worker do a shard, and return what it asked the keeper for."""
    assert isinstance(mirror.keeper, Noting)
    mirror.keeper.asked.clear()
    far_work = unpacked(packed(work))
    assert isinstance(far_work.store, MirroredStore)
    far_work.finish(unpacked(packed(samples, looks=True)), Timer())
    mirror.send_pictures()
    mirror.clear()
    assert not mirror.folder.exists()
    return mirror.keeper.asked


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted((out / "store").rglob("*")) if p.is_file()}


def test_a_far_shard_is_the_same_files(photographs: Path, tmp_path: Path, mirror: Mirror) -> None:
    samples = list(datasets.get(str(photographs)).samples[:8])
    near = work_in(tmp_path / "near")
    near.finish(samples, Timer())
    work = work_in(tmp_path / "out")
    asked = finish(work, samples, mirror)
    assert "write ids" in asked
    assert asked[-1] == "write scores"  # the last, since it says that the shard is finished
    assert files(tmp_path / "out") == files(tmp_path / "near")
    assert work.is_finished(samples)


def test_what_is_finished_is_fetched_and_not_computed(
    photographs: Path, tmp_path: Path, mirror: Mirror, toy_calls: type[Toy]
) -> None:
    samples = list(datasets.get(str(photographs)).samples[:8])
    work = work_in(tmp_path / "out")
    finish(work, samples, mirror)
    assert toy_calls.calls == 8
    assert {word.split()[0] for word in finish(work, samples, mirror)} == {"read"}
    assert toy_calls.calls == 8
    (scores,) = (tmp_path / "out" / "store" / "scores").glob("*/*.npz")
    scores.unlink()
    asked = finish(work, samples, mirror)
    assert toy_calls.calls == 8  # the stored ids were fetched
    assert [word for word in asked if word.startswith("write")] == ["write scores"]


def test_a_damaged_file_is_made_again(
    photographs: Path, tmp_path: Path, mirror: Mirror, toy_calls: type[Toy], caplog: pytest.LogCaptureFixture
) -> None:
    samples = list(datasets.get(str(photographs)).samples[:8])
    work = work_in(tmp_path / "out")
    finish(work, samples, mirror)
    whole = files(tmp_path / "out")
    (ids,) = (tmp_path / "out" / "store" / "ids").glob("*/*.npz")
    ids.write_bytes(ids.read_bytes()[:100])
    finish(work, samples, mirror)
    assert toy_calls.calls == 16
    assert files(tmp_path / "out") == whole
    assert sum("is damaged" in message for message in caplog.messages) == 1


def test_a_lost_shard_is_removed_where_it_lies(tmp_path: Path, mirror: Mirror) -> None:
    Store(tmp_path / "out").put("scores", "ab", {"x": np.ones(2)})
    far_store = unpacked(packed(Store(tmp_path / "out")))
    error = pickle.loads(pickle.dumps(far_store.lost("scores", "ab")))
    assert isinstance(error, LostShard)
    assert Path(error.path) == tmp_path / "out" / "store" / "scores" / "ab" / "ab.npz"
    assert not Path(error.path).exists()


def test_pictures_in_the_folder_of_results_come_and_go(photographs: Path, tmp_path: Path, mirror: Mirror) -> None:
    """As of a generator: some are there, some are made, one is made anew; only what changed is sent."""
    made = tmp_path / "out" / "generator" / "00000" / "samples"
    made.mkdir(parents=True)
    for name in ("0000.png", "0001.png"):
        (made / name).write_bytes(name.encode())
    shard = [Sample(f"00000/{i:04}", made / f"{i:04}.png") for i in range(4)]
    far_shard = unpacked(packed(shard, looks=True))
    assert [sample.path.is_file() for sample in far_shard] == [True, True, False, False]
    assert all(sample.path.is_relative_to(mirror.folder) for sample in far_shard)
    far_shard[1].path.write_bytes(b"anew")
    far_shard[2].path.write_bytes(b"made")
    mirror.send_pictures()
    assert [(p.name, p.read_bytes()) for p in sorted(made.iterdir())] == [
        ("0000.png", b"0000.png"),
        ("0001.png", b"anew"),
        ("0002.png", b"made"),
    ]
    assert isinstance(mirror.keeper, Noting)
    assert sum(word.startswith("write") for word in mirror.keeper.asked) == 2


def test_paths_are_whole_and_what_is_not_seen_is_named(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    samples = [Sample("a", Path("photographs/000.png")), Sample("b", Path("made-by-a-generator"))]
    data = packed(samples, looks=True)
    monkeypatch.chdir("/")
    assert [sample.path for sample in unpacked(data)] == [photographs / "000.png", tmp_path / "made-by-a-generator"]
    (photographs / "000.png").unlink()
    with pytest.raises(MissingFile, match=r"cannot read .*photographs/000\.png: every machine must see the images"):
        unpacked(data)


def test_a_disk_that_takes_nothing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(DiskError, match="cannot write to") as error:
        FolderKeeper(str(tmp_path)).write("store/ids/ab/ab.npz", b"")
    assert "\n" not in str(error.value)
