"""Kills a command before or after each of its files gets its name, and looks whether a second run makes all of it good.

`python crash_points.py FOLDER WORK...` prints as JSON what was found: for each work the number of points at which it
was killed, and a line for each after which the second run was not like an unbroken one. Every run is a forked process,
so that libraries are imported once; the parent computes nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from conftest import photograph
from judges import DrawnColours, DrawnDetector, picture, write
from test_generators import Clouds  # noqa: F401 (registers the generator)
from test_preference import Bright

from benchmarks.generation import __main__ as generation
from benchmarks.geneval import __main__ as geneval
from benchmarks.geneval import detectors
from benchmarks.gfid import __main__ as gfid
from benchmarks.gfid import suite
from benchmarks.preference import __main__ as preference
from benchmarks.recon import __main__ as recon
from lactok import weights
from lactok.data import __main__ as data
from lactok.evaluation import datasets, reconstruction
from lactok.metrics import rewards
from lactok.specs import Asset
from lactok.training import checkpoint
from lactok.training.record import Curve

STABLE = ("result.json", "records.parquet", "tokens.npz", "curve.jsonl", "counts.json", "data.json")


def ended_well(main: Callable[[list[str]], object], *words: object) -> None:
    """Run a command; raise AssertionError unless its exit code is 0."""
    code: object = None
    try:
        main([str(word) for word in words])
    except SystemExit as ended:
        code = ended.code
    assert code == 0, code


def reconstruct(inputs: Path, out: Path) -> None:
    words = ("--tokenizers", "toy", "--dataset", inputs / "photographs", "--pictures", "1", "--threads", "1")
    ended_well(recon.main, *words, "--resolution", "64", "--metrics", "psnr", "--out", out)


def judge(inputs: Path, out: Path) -> None:
    words = ("--images", inputs / "prompts", "--detector", "drawn", "--colours", "drawn", "--out", out)
    ended_well(geneval.main, *words)


def score(inputs: Path, out: Path) -> None:
    words = ("--images", inputs / "captioned", "--captions", inputs / "captions.json", "--metrics", "bright")
    ended_well(preference.main, *words, "--threads", "1", "--out", out)


def generate(inputs: Path, out: Path) -> None:
    words = ("--generators", "toy-clouds", "--prompts", inputs / "prompts.txt", "--samples", "2", "--out", out)
    ended_well(generation.main, *words)


class Colours:
    """Stands for Inception: the first pixels of an image."""

    features: ClassVar[dict[str, object]] = {"inception_tf1": None}

    def describe(self, pictures: torch.Tensor) -> dict[str, np.ndarray]:
        return {"inception_tf1": pictures[:, :, :8, :8].flatten(1).float().numpy()}


def compare_classes(inputs: Path, out: Path) -> None:
    reconstruction.scorer_of = lambda run: Colours()  # type: ignore[assignment,return-value]
    suite.with_networks = lambda asked, named: asked  # type: ignore[assignment]
    words = ("--generators", "toy-classes", "--reference", inputs / "photographs", "--samples", "1", "--limit", "6")
    more = ("--metrics", "fid,recall", "--npz", "--pictures", "2", "--save-statistics", out / "theirs.npz")
    ended_well(gfid.main, *words, *more, "--threads", "1", "--out", out)


def construct(inputs: Path, out: Path) -> None:
    words = ("--prompts", inputs / "prompts.txt", "--generator", "toy-clouds", "--real", inputs / "captioned")
    more = ("--captioner", "raw", "--filters", "bright>0.3", "--shard", "2", "--threads", "1", "--out", out)
    ended_well(data.main, *words, *more)


def convert(inputs: Path, out: Path) -> None:
    os.environ |= {"LACTOK_CACHE": str(out / "cache"), "LACTOK_WEIGHTS": str(inputs / "weights")}
    found = weights.resolve(Asset("toy-net", "MIT", convert="crash_points:doubled"))
    assert weights.cache.load_safetensors(found.path)["w"].tolist() == [2.0, 4.0]


def doubled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: 2 * tensor for name, tensor in tensors.items()}


def train(inputs: Path, out: Path) -> None:
    """Four steps of a training that saves after each and goes on from what it saved."""
    path, step, weight = out / "checkpoint.safetensors", 0, torch.zeros(2)
    if path.exists():
        tensors, meta = checkpoint.load_state(path)
        step, weight = meta["step"], tensors["weight"]
    out.mkdir(parents=True, exist_ok=True)
    curve = Curve(out / "curve.jsonl", step)
    while step < 4:
        weight = weight * 0.5 + step
        curve.log(step, loss=float(weight.sum()))
        step += 1
        checkpoint.save_state(path, {"weight": weight}, {"step": step})
    checkpoint.save_state(out / "toy.safetensors", {"weight": weight}, {})


WORKS: dict[str, Callable[[Path, Path], None]] = {
    "reconstruction": reconstruct,
    "geneval": judge,
    "preference": score,
    "generation": generate,
    "gfid": compare_classes,
    "data": construct,
    "weights": convert,
    "training": train,
}


def make_inputs(folder: Path) -> None:
    """Make the small inputs of all works."""
    for name, count in (("photographs", 5), ("captioned", 3)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            photograph(i).save(folder / name / f"{i}.png")
    (folder / "captions.json").write_text(json.dumps({f"{i}.png": f"picture {i}" for i in range(3)}))
    cat = {"tag": "one", "prompt": "a cat", "include": [{"class": "cat", "count": 1}]}
    shown = picture(("cat", "red", (5, 5, 25, 25)))
    for number in range(2):
        write(folder / "prompts", number, cat, [shown, picture(("dog", "black", (60, 10, 90, 30)))])
    (folder / "prompts.txt").write_text("a cat\na dog\n")
    (folder / "weights").mkdir()
    torch.save({"w": torch.tensor([1.0, 2.0])}, folder / "weights" / "toy-net.pt")


def register_toys() -> None:
    """Make toy judges and rewards known, and shards small."""
    datasets.SHARD = 2
    detectors.DETECTORS.registered["drawn"] = DrawnDetector
    detectors.COLOUR_CLASSIFIERS.registered["drawn"] = DrawnColours
    rewards.REWARDS.own = dict  # type: ignore[method-assign,assignment]
    rewards.REWARDS.registered.clear()
    rewards.REWARDS.registered["bright"] = Bright
    rewards.VARIANTS = ()
    rewards.DEFAULT = ("bright",)


def in_child(work: Callable[[Path, Path], None], inputs: Path, out: Path, kill_at: int = 0, after: bool = False) -> int:
    """Do a work in a forked process and return its exit code, -9 where it was killed at the n-th `os.replace`.

    Args:
        kill_at: n, counted from 1; 0 to let it live.
        after: kill it when the file has its name, instead of before.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        sys.stdout = sys.stderr = (out.parent / "said.txt").open("a")
        replace, calls = os.replace, 0

        def counted(source: Path, target: Path) -> None:
            nonlocal calls
            calls += 1
            if calls == kill_at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = counted  # type: ignore[assignment]
        work(inputs, out)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def content(out: Path) -> dict[str, bytes]:
    """All files that must have the same bytes however often a run was killed: results, pictures, weights, tables."""
    files = [p for p in sorted(out.rglob("*")) if p.is_file()]
    wanted = [p for p in files if p.name in STABLE or p.suffix in (".png", ".md", ".jsonl", ".safetensors", ".tar")]
    wanted += [p for p in files if p.name in ("samples.npz", "theirs.npz")]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in wanted}


def crash_points(name: str, folder: Path) -> dict[str, object]:
    """Kill a work at each of its points, once before and once after, and let it go on.

    Returns:
        {"points": how many there are, "faults": what was wrong after which of them}.
    """
    work, inputs = WORKS[name], folder / "inputs"
    assert in_child(work, inputs, folder / "whole") == 0, (folder / "said.txt").read_text()[-2000:]
    whole, faults, points = content(folder / "whole"), [], 0
    for after in (False, True):
        for n in range(1, 1000):
            out = folder / f"{n}-{after}"
            code = in_child(work, inputs, out, n, after)
            if code == 0:
                points = n - 1
                break
            where = f"killed {'after' if after else 'before'} file {n}"
            if code != -signal.SIGKILL:
                faults.append(f"{where}: exit code {code}")
                continue
            if in_child(work, inputs, out) != 0:
                faults.append(f"{where}: the second run failed")
                continue
            found = content(out)
            faults += [
                f"{where}: {path}" for path in sorted(whole.keys() | found) if whole.get(path) != found.get(path)
            ]
            faults += [f"{where}: left {p.name}" for p in out.rglob("*") if p.name.startswith((".", "new-"))]
    return {"points": points, "files": len(whole), "faults": faults}


if __name__ == "__main__":
    torch.set_num_threads(1)
    register_toys()
    root = Path(sys.argv[1])
    make_inputs(root / "inputs")
    results = {}
    for name in sys.argv[2:] or WORKS:
        (root / name).mkdir()
        (root / name / "inputs").symlink_to(root / "inputs")
        results[name] = crash_points(name, root / name)
    print(json.dumps(results))
