"""`python -m benchmarks.speed.suite`: CPU seconds of the suite's metrics against a script of one library a metric.

Stored reconstructions are replayed on both sides, so that no network takes time. Three things are timed in turn, each
in a process of its own, and the median of several rounds counts:

- `suite`: one command over all tokenizers, from the photographs' files to `result.json`;
- `plain script`: `reference_script`, once for each tokenizer. It shares nothing between them, so one is timed;
- `kernels`: the functions that compute the metrics, called in a loop, with nothing around them.

With `--fast` there is a fourth, `suite --fast`: the suite with the networks of its metrics in bfloat16.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lactok.command import Parser, command
from lactok.errors import UserError, check_output_file, disk_errors, integer, whole

# relative difference of the suite's numbers and the script's that is allowed; absolute for KID, which is near 0
TOLERANCES = {"psnr": 1e-5, "ssim": 1e-5, "lpips_alex": 1e-5, "rfid": 1e-3, "kid": 1e-5}
ABSOLUTE = ("kid",)
KINDS = ("suite", "plain script", "kernels")
FAST = "suite --fast"
Measured = dict[str, Any]


def parser() -> Parser:
    """Return the parser of the command's arguments."""
    p = Parser(
        prog="python -m benchmarks.speed.suite",
        description="CPU seconds of the suite's default metrics against a plain script, on stored reconstructions.",
    )
    p.add_argument("--images", type=integer, default=64, help="number of photographs (default: %(default)s)")
    p.add_argument("--resolution", type=integer, default=1024, help="pixels of their side (default: %(default)s)")
    p.add_argument("--tokenizers", type=integer, default=1, help="in one command, 1 to 5 (default: %(default)s)")
    p.add_argument("--photographs", type=Path, metavar="DIR", help="your own instead of scikit-image's, enlarged")
    p.add_argument("--rounds", type=integer, default=3, help="the median of so many counts (default: %(default)s)")
    p.add_argument("--threads", type=integer, default=0, help="of each process (default: as torch chooses)")
    p.add_argument("--fast", action="store_true", help="time the suite in bfloat16 too")
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    p.add_argument("--time", nargs=2, metavar=("KIND", "DIR"), help="only time one of them on a folder made before")
    return p


def time_suite(folder: Path, tokenizers: int, resolution: int, threads: int, fast: bool) -> Measured:
    """Time the suite on all tokenizers; return seconds of CPU and wall time, stages, values and deviations."""
    from benchmarks.speed.replay import ReplaySource
    from lactok.evaluation.config import Execution, Settings
    from lactok.evaluation.datasets import named_by_content, samples_under
    from lactok.evaluation.measuring import evaluate_sources

    settings = Settings(resolution=resolution, threads=threads, fast=fast)
    data = named_by_content("speed", samples_under(folder / "photographs"))
    run = settings.run()
    with tempfile.TemporaryDirectory() as out:
        sources = [ReplaySource(folder / str(k), f"replay-{k}") for k in range(tokenizers)]
        cpu, wall = time.process_time(), time.perf_counter()
        outcome = evaluate_sources(sources, data, run, Execution(Path(out), pictures=0))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if outcome.failed:
            raise RuntimeError(str(outcome.failed))
        stages: dict[str, float] = {}
        for result in outcome.results:
            about = json.loads((result.folder / "run.json").read_text())
            for stage, seconds in about["seconds"]["cpu"].items():
                stages[stage] = stages.get(stage, 0.0) + seconds
        first = outcome.results[0]
        values = {key: first[key].value for key in TOLERANCES}
        deviation = None if first.data.fast is None else first.data.fast.model_dump()
    return {"cpu": cpu, "wall": wall, "stages": stages, "values": values, "fast": deviation}


def time_script(folder: Path, tokenizers: int) -> Measured:
    """Time the plain script on the first tokenizer; it does the same for each, so its seconds are multiplied."""
    from benchmarks.speed import reference_script

    photographs = sorted((folder / "photographs").iterdir())
    stages, values, wall = reference_script.run(photographs, sorted((folder / "0").iterdir()))
    stages = {stage: seconds * tokenizers for stage, seconds in stages.items()}
    return {"cpu": sum(stages.values()), "wall": wall * tokenizers, "stages": stages, "values": values}


def time_kernels(folder: Path, tokenizers: int, resolution: int) -> Measured:
    """Time the bare functions on the same files: what is of the photographs once, the rest for each tokenizer."""
    import numpy as np
    import torch

    from lactok.images import Prepare, open_photograph, prepare
    from lactok.metrics.frechet import frechet
    from lactok.metrics.inception_features import INCEPTION_TF1
    from lactok.metrics.kid import kid
    from lactok.metrics.lpips import alex_maps, lpips_alex
    from lactok.metrics.psnr import psnr
    from lactok.metrics.ssim import filtered_means, ssim

    stages: dict[str, float] = {}

    def timed(label: str, do: Callable[..., Any], *given: Any, **more: Any) -> Any:
        started = time.process_time()
        found = do(*given, **more)
        stages[label] = stages.get(label, 0.0) + time.process_time() - started
        return found

    features: list[list[np.ndarray]] = [[] for _ in range(tokenizers + 1)]
    waiting: list[list[torch.Tensor]] = [[] for _ in range(tokenizers + 1)]

    def describe(k: int, image: torch.Tensor | None) -> None:
        waiting[k] += [] if image is None else [image]
        if waiting[k] and (len(waiting[k]) == 8 or image is None):
            batch = torch.cat(waiting[k])
            features[k].append(timed("Inception", INCEPTION_TF1.compute, batch, "cpu"))
            waiting[k] = []

    def photograph(path: Path) -> torch.Tensor:
        array = prepare(open_photograph(path), Prepare(resolution))
        return torch.from_numpy(array.copy()).permute(2, 0, 1)[None].contiguous()

    def reconstruction(path: Path) -> torch.Tensor:
        return torch.from_numpy(np.load(path)).permute(2, 0, 1)[None].contiguous()

    wall = time.perf_counter()
    with torch.inference_mode():
        for path in sorted((folder / "photographs").iterdir()):
            reference = timed("read and prepare", photograph, path)
            describe(0, reference)
            means = timed("SSIM", filtered_means, reference)
            maps = timed("LPIPS", alex_maps, reference) if tokenizers > 1 else None
            for k in range(tokenizers):
                made = timed("read and prepare", reconstruction, folder / str(k) / f"{path.stem}.npy")
                timed("PSNR", psnr, reference, made)
                timed("SSIM", ssim, reference, made, known=means)
                timed("LPIPS", lpips_alex, reference, made, known=maps)
                describe(k + 1, made)
        for k in range(tokenizers + 1):
            describe(k, None)
    for k in range(tokenizers):
        timed("rFID", frechet, features[0], features[k + 1])
        timed("KID", kid, features[0], features[k + 1])
    return {"cpu": sum(stages.values()), "wall": time.perf_counter() - wall, "stages": stages, "values": {}}


def time_one(kind: str, folder: Path, args: Any) -> Measured:
    """Load the networks, compute one small image to warm up, and time one of `KINDS` or `FAST`."""
    import torch

    from lactok.metrics.inception_features import INCEPTION_TF1
    from lactok.metrics.lpips import lpips_alex

    if args.threads:
        torch.set_num_threads(args.threads)
    fast = kind == FAST
    small = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with torch.inference_mode():
        lpips_alex(small, small, fast=fast)
        INCEPTION_TF1.compute(small, "cpu", fast=fast)
    if kind == "plain script":
        return time_script(folder, args.tokenizers)
    if kind == "kernels":
        return time_kernels(folder, args.tokenizers, args.resolution)
    return time_suite(folder, args.tokenizers, args.resolution, args.threads, fast)


def time_apart(kind: str, folder: Path, argv: Sequence[str]) -> Measured:
    """Do the work of `time_one` in a process of its own; raise UserError for what it says, RuntimeError for a bug."""
    call = [sys.executable, "-m", "benchmarks.speed.suite", *argv, "--time", kind, str(folder)]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode == 2:
        raise UserError(done.stderr.strip().rpartition("\n")[2].removeprefix("error: "))
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def differences(suite: Measured, script: Measured) -> dict[str, float]:
    """Return by metric how far the suite's value is from the script's, relative to it, or absolute for `ABSOLUTE`."""
    found = {}
    for key in TOLERANCES:
        own, other = suite["values"][key], script["values"][key]
        found[key] = abs(own - other) / (1 if key in ABSOLUTE else abs(other))
    return found


def median(rounds: Sequence[Measured]) -> Measured:
    """Return the round of the median CPU seconds."""
    middle = statistics.median_low([each["cpu"] for each in rounds])
    return next(each for each in rounds if each["cpu"] == middle)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, the ratios and the differences of the numbers; return 1 if numbers differ by too much."""
    args = parser().parse_args(argv)
    whole("images", args.images, 2, 100_000)
    whole("resolution", args.resolution, 64, 8192)
    whole("tokenizers", args.tokenizers, 1, 5)
    whole("rounds", args.rounds, 1, 99)
    whole("threads", args.threads, 0, 1024)
    check_output_file("json", args.json, ".json")
    if args.photographs is not None:
        from lactok.evaluation.evaluate import existing_folder

        existing_folder(args.photographs, "photographs")
    if args.time:
        print(json.dumps(time_one(args.time[0], Path(args.time[1]), args)))
        return 0
    from benchmarks.speed.replay import make

    given = ["--tokenizers", str(args.tokenizers), "--resolution", str(args.resolution), "--threads", str(args.threads)]
    kinds = (*KINDS, FAST) if args.fast else KINDS
    rounds: dict[str, list[Measured]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "made"
        make(folder, args.images, args.resolution, args.tokenizers, args.photographs)
        for i in range(args.rounds):
            for kind in kinds:
                rounds[kind].append(time_apart(kind, folder, given))
                print(f"round {i + 1}, {kind}: {rounds[kind][-1]['cpu']:.1f} CPU seconds", file=sys.stderr)
    return report(args, rounds)


def report(args: Any, rounds: dict[str, list[Measured]]) -> int:
    """Print what was measured and write it; return 1 if numbers that should be equal are not, else 0."""
    import torch
    from tabulate import tabulate

    from lactok.evaluation.writing import processor
    from lactok.files import write_atomically

    middle = {kind: median(each) for kind, each in rounds.items()}
    pairs = args.images * args.tokenizers
    threads = args.threads or torch.get_num_threads()
    print(f"{processor()}, {threads} threads, torch {torch.__version__}")
    print(f"{args.images} images at {args.resolution} px, {args.tokenizers} tokenizers, median of {args.rounds} rounds")
    print("CPU seconds for each reconstruction\n")
    for kind in rounds:
        rows = [[stage, f"{seconds / pairs:.3f}"] for stage, seconds in middle[kind]["stages"].items()]
        rows.append(["total", f"{middle[kind]['cpu'] / pairs:.3f}"])
        print(tabulate(rows, [kind, "s"], tablefmt="pipe", disable_numparse=True), end="\n\n")
    script, kernels = middle["plain script"], middle["kernels"]
    found: dict[str, Any] = {
        "images": args.images,
        "resolution": args.resolution,
        "tokenizers": args.tokenizers,
        "threads": threads,
        "processor": processor(),
        "ratio_kernels": script["cpu"] / kernels["cpu"],
        "overhead": middle["suite"]["cpu"] / kernels["cpu"] - 1,
        "rounds": rounds,
    }
    unequal = False
    for kind in (each for each in rounds if each.startswith("suite")):
        own = middle[kind]
        cpu, wall = (script[clock] / own[clock] for clock in ("cpu", "wall"))
        found[kind] = {"ratio_cpu": cpu, "ratio_wall": wall, "differences": differences(own, script)}
        print(f"plain script / {kind}: {cpu:.2f} in CPU seconds, {wall:.2f} in wall time")
        for key, difference in found[kind]["differences"].items():
            allowed = f"allowed {TOLERANCES[key]:.0e}" if kind == "suite" else "bfloat16"
            values = f"{kind} {own['values'][key]:.6f}, plain script {script['values'][key]:.6f}"
            print(f"- {key}: {values}, difference {difference:.1e} ({allowed})")
            unequal |= kind == "suite" and difference > TOLERANCES[key]
    print(
        f"plain script / kernels: {found['ratio_kernels']:.2f}; "
        f"the suite takes {100 * found['overhead']:.1f} % more than them"
    )
    if args.json:
        with disk_errors(args.json, "choose another `json`"):
            write_atomically(args.json, (json.dumps(found, indent=1) + "\n").encode())
    return int(unequal)


if __name__ == "__main__":
    main()
