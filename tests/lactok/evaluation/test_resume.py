"""Nothing is done twice and nothing is lost: second runs, parts, kills, damaged shards, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Toy, photograph
from recon_command import FAST, run, stable_bytes
from safetensors.torch import save_file

import lactok
from lactok.errors import UserError
from lactok.evaluation import datasets, protocol
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.folder_source import FolderSource
from lactok.evaluation.reconstruction import ReconstructionWork
from lactok.evaluation.shards import run_shards
from lactok.evaluation.sources import TokenizerSource
from lactok.evaluation.store import Store
from lactok.evaluation.timing import Timer


@pytest.mark.slow
def test_a_second_run_computes_nothing_and_gives_the_same_bytes(
    photographs: Path, tmp_path: Path, toy_calls: type[Toy]
) -> None:
    arguments = ("--tokenizers", "toy resize-8 jpeg", "--dataset", str(photographs))
    run(tmp_path / "out", *arguments)
    first, calls = stable_bytes(tmp_path / "out"), toy_calls.calls
    run(tmp_path / "out", *arguments)
    assert toy_calls.calls == calls == 70
    assert stable_bytes(tmp_path / "out") == first


@pytest.mark.slow
def test_another_score_on_the_same_ids_encodes_nothing(photographs: Path, tmp_path: Path, toy_calls: type[Toy]) -> None:
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs))
    run(tmp_path / "out", *arguments)
    found = run(tmp_path / "out", *arguments, "--metrics", "ssim_uniform7")
    assert toy_calls.calls == 70
    assert len(found) == 2
    run(tmp_path / "out", *arguments, "--resolution", "96")
    assert toy_calls.calls == 140


def test_one_changed_photograph_redoes_one_shard(photographs: Path, tmp_path: Path, toy_calls: type[Toy]) -> None:
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs))
    run(tmp_path / "out", *arguments)
    photograph(999).save(photographs / "069.png")
    run(tmp_path / "out", *arguments)
    assert toy_calls.calls == 70 + 6  # the second shard has six images


@pytest.mark.slow
def test_parts_and_workers_give_the_same_bytes(photographs: Path, tmp_path: Path) -> None:
    arguments = ("--tokenizers", "resize-8", "--dataset", str(photographs))
    run(tmp_path / "whole", *arguments)
    assert run(tmp_path / "parts", *arguments, "--part", "2/2") == {}
    run(tmp_path / "parts", *arguments, "--part", "1/2")
    run(tmp_path / "workers", *arguments, "--workers", "2")
    assert stable_bytes(tmp_path / "whole") == stable_bytes(tmp_path / "parts") == stable_bytes(tmp_path / "workers")


@pytest.mark.slow
def test_killed_and_started_again(photographs: Path, tmp_path: Path) -> None:
    """SIGKILL after the first shard: the finished one is not touched again, the result is that of an unbroken run."""
    arguments = [*FAST, "--tokenizers", "resize-8", "--dataset", str(photographs)]
    code = f"""
import os, signal
from benchmarks.recon import __main__ as recon
from lactok.evaluation.store import Store
put = Store.put
def put_and_die(self, kind, key, arrays):
    put(self, kind, key, arrays)
    if kind == "scores":
        os.kill(os.getpid(), signal.SIGKILL)
Store.put = put_and_die
recon.main({[*arguments, "--out", str(tmp_path / "out")]!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert killed.returncode == -9
    finished = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("store/scores/*/*.npz")}
    assert len(finished) == 1
    run(tmp_path / "out", *arguments[len(FAST) :])
    run(tmp_path / "whole", *arguments[len(FAST) :])
    assert stable_bytes(tmp_path / "out") == stable_bytes(tmp_path / "whole")
    assert {p: p.stat().st_mtime_ns for p in finished} == finished


@pytest.mark.slow
@pytest.mark.parametrize("where", ["cut", "in an array", "in a name of the contents"])
def test_a_damaged_shard_is_made_again(photographs: Path, tmp_path: Path, where: str) -> None:
    arguments = ("--tokenizers", "toy", "--dataset", str(photographs))
    run(tmp_path / "out", *arguments)
    first = stable_bytes(tmp_path / "out")
    for path in (tmp_path / "out").glob("store/*/*/*.npz"):
        data = bytearray(path.read_bytes())
        position = {"cut": 100, "in an array": data.index(b".npy") + 150}.get(where, data.rindex(b".npy"))
        data[position] ^= 255
        path.write_bytes(data[:100] if where == "cut" else data)
    run(tmp_path / "out", *arguments)
    assert stable_bytes(tmp_path / "out") == first


def test_unfinished_shards_are_not_finished(photographs: Path, tmp_path: Path) -> None:
    samples = datasets.get(str(photographs)).samples[:2]
    work = ReconstructionWork(TokenizerSource("toy"), Run(protocol.get("square-256", 64, "psnr")), Store(tmp_path))
    assert not work.is_finished(samples)
    work.finish(samples, Timer())
    assert work.is_finished(samples)


def test_a_full_disk_keeps_what_is_finished(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import errno

    original, count = np.savez, 0

    def full(*arguments: object, **keywords: object) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(*arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(np, "savez", full)
    arguments = ("--tokenizers", "resize-8", "--dataset", str(photographs))
    run(tmp_path / "out", *arguments, code=2)
    assert "no space left" in capsys.readouterr().err
    monkeypatch.setattr(np, "savez", original)
    assert len(list((tmp_path / "out").glob("store/scores/*/*.npz"))) == 1
    assert len(run(tmp_path / "out", *arguments)) == 1


@pytest.mark.slow
def test_worker_processes_find_the_users_weights(photographs: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LACTOK_WEIGHTS", "")
    (tmp_path / "weights").mkdir()
    state = lactok.load("llamagen-vq16-tiny").get_submodule("model").state_dict()
    save_file({k: v * 0.9 for k, v in state.items()}, tmp_path / "weights" / "llamagen-vq16-tiny.safetensors")
    for name in ("065", "066", "067", "068", "069"):
        (photographs / f"{name}.png").unlink()  # 65 images: a shard of 64 and one of 1
    arguments = (
        "--tokenizers",
        "llamagen-vq16-tiny",
        "--dataset",
        str(photographs),
        "--workers",
        "2",
        "--threads",
        "1",
    )
    (result,) = run(tmp_path / "out", *arguments, "--weights", str(tmp_path / "weights")).values()
    assert result["tokenizer"]["assets"][0]["source"].startswith("user:")


class Dying(FolderSource):
    def outputs(self, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.mark.slow
def test_a_dying_worker_is_named(photographs: Path, tmp_path: Path) -> None:
    dataset = datasets.get(str(photographs))
    shards = list(dataset.shards())
    run_of = Run(protocol.get("square-256", 64, "psnr"))
    dying = Dying(photographs, [sample.id for sample in dataset.samples])
    work = ReconstructionWork(dying, run_of, Store(tmp_path / "out"))
    with pytest.raises(UserError, match="a worker process died"):
        run_shards(work, shards, Execution(workers=2))


def test_a_passing_disk_error_does_not_delete_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.put("scores", "ab", {"x": np.ones(2)})

    def busy(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", busy)
        with pytest.raises(OSError, match="Too many"):
            store.get("scores", "ab")
    assert store.need("scores", "ab")["x"].tolist() == [1, 1]
