"""Lets small generators pass through GenEval, the rewards and Table 3: whole, and killed in the middle and resumed.

`python generator_runs.py FOLDER` prints as JSON, by the name of each work, what was wrong with it. As in
`crash_points.py` every run is a forked process, so that libraries are imported once.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import small_generators
import torch
from crash_points import content, ended_well, in_child, register_toys

from benchmarks.ablation import __main__ as ablation
from benchmarks.geneval import __main__ as geneval
from benchmarks.geneval import prompts, suite
from benchmarks.preference import __main__ as preference
from benchmarks.scenes.objects import VOCABULARY
from benchmarks.table3 import __main__ as table3
from lactok import registry
from lactok.evaluation.results import load_results
from lactok.nn import t5

LOCAL = ("--detector", "scenes-tiny", "--colours", "scenes-tiny")
CAPTIONS = {"1.jpg": "a red bus", "2.jpg": "two cat", "3.jpg": "a photo of the green bus"}


def through_geneval(name: str, inputs: Path, out: Path) -> None:
    words = ("--generators", name, *LOCAL, "--samples", "1", "--annotate", "none", "--threads", "1", "--out", out)
    ended_well(geneval.main, *words)


def through_preference(name: str, inputs: Path, out: Path) -> None:
    captions = ("--captions", inputs / "captions.json", "--metrics", "bright")
    ended_well(preference.main, "--generators", name, *captions, "--threads", "1", "--out", out)


def through_table3(inputs: Path, out: Path) -> None:
    captions = ("--captions", inputs / "captions.json", "--metrics", "bright", "--samples", "1", *LOCAL)
    names = " ".join(small_generators.NAMES)
    ended_well(table3.main, "--generators", names, *captions, "--threads", "1", "--out", out)


def through_guidance(inputs: Path, out: Path) -> None:
    captions = ("--captions", inputs / "captions.json", "--metrics", "bright", "--limit", "2")
    how = ("--generator", "small-show-o", "--guidance", "1.5,2,3")
    ended_well(ablation.main, "cfg", *how, *captions, "--threads", "1", "--out", out)


# by name: what is done, and before which of its files it is killed: while it makes pictures, and while it scores them
WORKS: dict[str, tuple[Callable[[Path, Path], None], tuple[int, ...]]] = {
    "table3": (through_table3, (40,)),
    "guidance": (through_guidance, (5, 20)),
}
for system in small_generators.NAMES:
    slow = system in small_generators.NAMES[:2]
    WORKS[f"geneval {system}"] = (partial(through_geneval, system), (6,) if slow else (6, 13))
    WORKS[f"preference {system}"] = (partial(through_preference, system), (13,) if slow else (6, 13))


def known_prompts() -> dict[int, prompts.Prompt]:
    """Three of GenEval's prompts that ask for nothing but what scenes-tiny knows, by their numbers."""
    found = {}
    for number, prompt in enumerate(prompts.official()):
        if all(clause["class"] in VOCABULARY for clause in (*prompt["include"], *prompt.get("exclude", ()))):
            found[number] = prompt
    return {number: found[number] for number in list(found)[::40][:3]}


def faults_of(work: Callable[[Path, Path], None], kills: tuple[int, ...], inputs: Path, folder: Path) -> list[str]:
    """Do a work whole, and killed at each of its points and resumed; return what was wrong."""
    if in_child(work, inputs, folder / "whole") != 0:
        return [(folder / "said.txt").read_text()[-2000:]]
    whole, faults = content(folder / "whole"), []
    for result in load_results(folder / "whole"):
        if not result.seconds_per_image or result.timed_images != 3 - 1 * (result.limit == 2):
            faults.append(f"{result.name}: {result.timed_images} pictures were timed")
    for kill in kills:
        out = folder / str(kill)
        if in_child(work, inputs, out, kill) != -signal.SIGKILL:
            faults.append(f"it has no file {kill}")
        made = {path: path.stat().st_mtime_ns for path in out.rglob("samples/*.png")}
        if in_child(work, inputs, out) != 0:
            faults.append(f"killed before file {kill}: the second run failed")
            continue
        found = content(out)
        faults += [f"killed before file {kill}: {p}" for p in sorted(whole | found) if whole.get(p) != found.get(p)]
        faults += [f"made again: {path}" for path, time in made.items() if path.stat().st_mtime_ns != time]
        faults += [f"killed before file {kill}: left {p.name}" for p in out.rglob(".*")]
    return faults


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = Path(sys.argv[1])
    os.environ |= {"LACTOK_WEIGHTS": str(root / "weights"), "LACTOK_CACHE": str(root / "cache")}
    register_toys()
    small_generators.register()
    small_generators.write(root / "weights")
    for module in (
        "pandas",
        "pyarrow.parquet",
        "scipy.stats",
        "benchmarks.scenes.detector",
        "benchmarks.scenes.colours",
    ):
        importlib.import_module(module)
    registry.load("lactok-h-tiny")
    t5.clean("a red bus")
    chosen = known_prompts()
    suite.asked_of_geneval = lambda limit: suite.Asked(chosen)  # type: ignore[assignment]
    (root / "inputs").mkdir()
    (root / "inputs" / "captions.json").write_text(json.dumps(CAPTIONS))
    results = {}
    for name, (work, kills) in WORKS.items():
        folder = root / name.replace(" ", "-")
        folder.mkdir()
        results[name] = faults_of(work, kills, root / "inputs", folder)
    print(json.dumps(results))
