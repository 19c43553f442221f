"""Two processes on the CPU compute what one does, with weights replicated on both or sharded over both (FSDP)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import LEARNERS, trainer
from reference import ROOT
from safetensors.torch import load_file
from torch import multiprocessing

from lactok.errors import UserError
from lactok.training import checkpoint, distributed
from lactok.training.data import Photos
from lactok.training.ldm import LDMRecipe
from lactok.training.trainer import Recipe, Trainer

pytestmark = pytest.mark.slow  # it starts other processes

Work = Callable[[int, dict[str, Recipe], Path], None]  # called with rank, recipes and a folder for what it writes
STEPS = 3
REPLICATED = ("vae", "ldm", "tlcm", "stage 1", "stage 2")
SHARDED = ("ldm", "tlcm", "stage 2")

# a run of two workers that kills itself as soon as both have started
KILLED = """
import os, signal, sys, threading, time
from lactok.evaluation.executors import LocalExecutor
from lactok.evaluation.timing import Timer

def work(job):
    open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
    time.sleep(60)
    return Timer("cpu")

def end():
    while len(os.listdir(sys.argv[1])) < 2:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    threading.Thread(target=end).start()
    LocalExecutor(2).run(work, [1, 2], print, (), "cpu")
"""


def test_workers_end_with_the_run_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    (tmp_path / "workers").mkdir()
    command = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path / "workers")]
    assert subprocess.run(command, timeout=300, check=False).returncode == -signal.SIGKILL
    workers = [int(path.name) for path in (tmp_path / "workers").iterdir()]
    assert len(workers) == 2
    for _ in range(100):
        if not any(_alive(worker) for worker in workers):
            return
        time.sleep(0.1)
    raise AssertionError(f"still there: {[w for w in workers if _alive(w)]}")


def _alive(process: int) -> bool:
    """Return whether a process runs; one that has ended, but has not been waited for (a zombie), does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def cpu_trainer(recipe: Recipe, kind: str, out: Path) -> Trainer:
    """Return a trainer of this process on the CPU, in training mode; `kind` is a key of LEARNERS."""
    run = Trainer(recipe, LEARNERS[kind](recipe), out, distributed.accelerator_of("cpu"))  # type: ignore[call-arg]
    run.learner.train()
    return run


def copies(tensors: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return copies of tensors as they are now, gathered from all processes if they are sharded."""
    return {k: v.clone() for k, v in distributed.gather_tensors(tensors, keep=True).items()}


def train_steps(run: Trainer) -> dict[str, Any]:
    """Train some steps; return the logged values and gradients of each, and the weights before and after."""
    values = []
    gradients = []
    start = copies(run.learned)
    for _ in range(STEPS):
        values.append(run.train_step())
        gradients.append(copies({k: p.grad for k, p in run.learned.items() if p.grad is not None}))
    return {
        "values": values,
        "gradients": gradients,
        "start": start,
        "learned": copies(run.learned),
        "average": copies(run.average),
    }


def train_every_kind(rank: int, recipes: dict[str, Recipe], folder: Path) -> None:
    """Store what `train_steps` returns for every kind of training, with replicated and with sharded weights.

    Trainings with sharded weights recompute activations too, and one kind accumulates gradients.
    """
    for name, fsdp in [(k, False) for k in REPLICATED] + [(k, True) for k in SHARDED]:
        recipe = replace(recipes[name], fsdp=fsdp, checkpointing=fsdp, accumulate=2 if name == "ldm" else 1)
        found = train_steps(cpu_trainer(recipe, name, folder / f"{name} {fsdp}"))
        torch.save(found, folder / f"{name} {fsdp} {rank}.pt")


def run_whole_and_resumed(rank: int, recipes: dict[str, Recipe], folder: Path) -> None:
    """Train with sharded weights to the end, once in one go and once resumed from the checkpoint of step 2."""
    if rank == 1:
        checkpoint.save_state = None  # type: ignore[assignment]  # fails if any process but the main one writes
    recipe = replace(recipes["stage 1"], fsdp=True)
    cpu_trainer(recipe, "stage 1", folder / "whole").run()
    broken = cpu_trainer(recipe, "stage 1", folder / "broken")
    for step in range(3):
        broken.train_step()
        if step == 1:
            broken.save()
    resumed = cpu_trainer(recipe, "stage 1", folder / "broken")
    assert resumed.step == 2
    resumed.run()


EVALUATED = ("vae", "ldm", "tlcm", "flextok", "stage 2")


def evaluate_every_kind(rank: int, recipes: dict[str, Recipe], folder: Path) -> None:
    """Evaluate every kind of training before its first step, with replicated and with sharded weights."""
    for name in EVALUATED:
        for fsdp in (False, True) if name in SHARDED else (False,):
            run = cpu_trainer(replace(recipes[name], fsdp=fsdp), name, folder / f"{name} {fsdp}")
            scored: list[object] = []
            run.learner.register_forward_pre_hook(lambda *_, s=scored: s.append(1))
            run.evaluate()
            if name == "ldm":  # three photographs: each process has two, of which one comes twice
                assert len(scored) == 2, scored
            if name == "stage 2":
                run.run_suite()


def meet_errors(rank: int, recipes: dict[str, Recipe], folder: Path) -> None:
    """Train a step with broken photographs among the data, then one whose loss is not finite on one process alone."""
    run = cpu_trainer(recipes["ldm"], "ldm", folder / "out")
    run.train_step()
    if rank == 1:
        with torch.no_grad():
            next(iter(run.learned.values())).fill_(torch.nan)
    with pytest.raises(UserError, match="the loss is nan at step 1; stopped"):
        run.train_step()
    (folder / f"stopped {rank}").touch()


def start_process(rank: int, port: int, work: Work, recipes: dict[str, Recipe], folder: Path) -> None:
    """Do the work as one of two processes, with the environment that a launcher would give it."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    torch.set_num_threads(1)
    work(rank, recipes, folder)
    torch.distributed.destroy_process_group()


def run_on_two_processes(work: Work, recipes: dict[str, Recipe], folder: Path) -> None:
    """Call a function of this module on two processes that belong to one training."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(start_process, (port, work, recipes, folder), nprocs=2)


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], what: str) -> None:
    assert found.keys() == expected.keys(), what
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=0, msg=lambda m, n=name: f"{what}, {n}: {m}")


def test_two_processes_do_what_one_does(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    # a slow start, because Adam's first steps have full size even for gradients that are rounding errors of zero
    slow = {k: replace(r, warmup=100, batch=4) for k, r in recipes.items()}
    run_on_two_processes(train_every_kind, slow, tmp_path)
    for name in REPLICATED:
        one = train_steps(cpu_trainer(slow[name], name, tmp_path / f"{name} one"))
        for fsdp in [False, True] if name in SHARDED else [False]:
            for rank in (0, 1):
                two = torch.load(tmp_path / f"{name} {fsdp} {rank}.pt", weights_only=True)
                what = f"{name}, fsdp {fsdp}, process {rank}"
                for mine, theirs in zip(two["values"], one["values"], strict=True):
                    assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-5), what
                for mine, theirs in zip(two["gradients"], one["gradients"], strict=True):
                    assert_close(mine, theirs, f"{what}, gradients")
                for key in ("learned", "average"):
                    assert_close(two[key], one[key], f"{what}, {key}")
                moved = sum((v - one["start"][k]).square().sum() for k, v in one["learned"].items())
                apart = sum((v - two["learned"][k]).square().sum() for k, v in one["learned"].items())
                assert apart < 1e-3 * moved, what  # the weights moved much further than the two differ


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as each of the processes has: sums of other parts are rounded differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_processes_share_the_evaluation_and_find_the_same(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    more = {"stage 2": {"suite_every": 1, "suite_metrics": "psnr"}, "ldm": {"precision": "bf16"}}
    odd = {k: replace(recipes[k], held_out=3, **more.get(k, {})) for k in EVALUATED}  # no multiple of the processes
    run_on_two_processes(evaluate_every_kind, odd, tmp_path)
    for name in EVALUATED:
        one = cpu_trainer(odd[name], name, tmp_path / f"{name} one")
        one.evaluate()
        if name == "stage 2":
            one.run_suite()
        for fsdp in (False, True) if name in SHARDED else (False,):
            two = tmp_path / f"{name} {fsdp}"
            assert (two / one.export_path.name).read_bytes() == one.export_path.read_bytes()
            if fsdp:  # sharded weights are not laid out with channels last, which rounds differently
                rows = zip(*(_rows(folder / "curve.jsonl") for folder in (two, one.out)), strict=True)
                assert all(mine == pytest.approx(theirs, rel=1e-4) for mine, theirs in rows), name
                continue
            files = ["curve.jsonl", "pictures.png"]
            files += [f"suite/step-0/{p.name}" for p in (one.out / "suite" / "step-0").glob("*.png")]
            for file in files:
                assert (two / file).read_bytes() == (one.out / file).read_bytes(), (name, file)


def _rows(curve: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in curve.read_text().splitlines()]


def test_sharded_weights_are_saved_and_exported_as_others(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    recipe = replace(recipes["stage 1"], warmup=100, batch=4)
    run_on_two_processes(run_whole_and_resumed, {"stage 1": recipe}, tmp_path)
    trainer(recipe, "stage 1", tmp_path / "one").run()
    state: dict[str, dict[str, torch.Tensor]] = {}
    for name in ("stage-1.safetensors", "state.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
        state = {run: load_file(tmp_path / run / name) for run in ("whole", "one")}
        shapes = [{k: (v.shape, v.dtype) for k, v in tensors.items()} for tensors in state.values()]
        assert shapes[0] == shapes[1]
    weights = {k: v for k, v in state["one"].items() if not k.startswith("optimizer.")}
    assert_close({k: state["whole"][k] for k in weights}, weights, "the checkpoint")
    for name, tensor in load_file(tmp_path / "whole" / "stage-1.safetensors").items():
        assert torch.equal(tensor, state["whole"][f"average.model.decoder.controlnet.{name}"].half())
    longer = replace(recipe, steps=4, fsdp=False)
    assert trainer(longer, "stage 1", tmp_path / "whole").step == 4  # one process resumes it
    mine, theirs = ((tmp_path / d / "curve.jsonl").read_text().splitlines()[-1] for d in ("whole", "one"))
    assert json.loads(mine)["held_out_psnr"] == pytest.approx(json.loads(theirs)["held_out_psnr"], rel=1e-4)


def test_an_error_of_one_process_is_known_to_all(recipes: dict[str, Recipe], photographs: Path, tmp_path: Path) -> None:
    for i in range(0, 70, 2):
        (photographs / f"{i:03}.png").write_bytes(b"not a picture")
    run_on_two_processes(meet_errors, {"ldm": replace(recipes["ldm"], batch=40)}, tmp_path)
    assert {p.name for p in tmp_path.glob("stopped *")} == {"stopped 0", "stopped 1"}
    broken = (tmp_path / "out" / "broken.txt").read_text().splitlines()
    assert broken
    assert len(broken) == len(set(broken))
    assert all(Path(p).read_bytes() == b"not a picture" for p in broken)


def test_weights_cannot_be_spread_over_one_process(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="start with `accelerate launch`"):
        trainer(replace(recipes["ldm"], fsdp=True), "ldm", tmp_path / "out")


def test_the_other_processes_do_not_wait_for_ever_when_the_main_one_fails(tmp_path: Path) -> None:
    order = []

    class Alone:
        is_main_process = True

        def wait_for_everyone(self) -> None:
            order.append("waited")

    with pytest.raises(UserError), distributed.main_first(Alone()):  # type: ignore[arg-type]
        Photos.of(tmp_path / "none", 2, tmp_path)
    assert order == ["waited"]


def test_launched_from_the_command_line(recipes: dict[str, Recipe], photographs: Path, tmp_path: Path) -> None:
    recipe = recipes["ldm"]
    assert isinstance(recipe, LDMRecipe)
    (tmp_path / "ldm.toml").write_text(
        f"name = 'ldm'\ndata = '{photographs}'\nsteps = 2\nbatch = 2\ncrop = 32\nscale = [32, 48]\nheld_out = 2\n"
        "log_every = 1\n[unet]\nchannels = [8, 16]\ntransformers = [0, 1]\nhead_channels = 8\n"
        f"[vae]\nweights = '{recipe.vae.weights}'\nscaling = 0.5\n[vae.shape]\nchannels = [8, 8, 8, 8]\n"
    )
    launch = [
        "accelerate.commands.launch",
        "--num_processes=2",
        "--num_machines=1",
        "--cpu",
        "--mixed_precision=no",
        "--dynamo_backend=no",
        "--main_process_port=0",
    ]
    train = ["lactok.train", "ldm", "--config", str(tmp_path / "ldm.toml"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", *launch, "-m", *train],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote ") == 1
    rows = [json.loads(line) for line in (tmp_path / "out" / "curve.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 1]
    assert (tmp_path / "out" / "ldm.safetensors").is_file()
