"""Measuring one size for `benchmarks.speed.scale`: made-up photographs, and time and memory of every stage."""

from __future__ import annotations

import io
import math
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.speed.timing import peak_memory_bytes
from lactok.errors import UserError
from lactok.files import write_atomically

SIDE = 256  # pixels of a made-up photograph
IN_A_FOLDER = 1000  # photographs
SHOWN = 0.005  # seconds of CPU time, from which on a stage stands in the table


@dataclass(frozen=True)
class Series:
    """What is measured at each size.

    Attributes:
        tokenizer, metrics, resolution, workers, threads: the settings of `lactok.evaluate` by the same names.
    """

    tokenizer: str
    metrics: str
    resolution: int
    workers: int = 1
    threads: int = 1

    def settings(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)


def photograph(number: int) -> bytes:
    """Return a made-up photograph as a JPEG file: soft colours, a few shapes with edges, and a little grain.

    The same number gives the same pixels every time; the file's bytes also depend on the JPEG library.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    rng = np.random.default_rng([2026, number])
    soft = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    image = soft.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 6))):
        x, y, width, height = (int(v) for v in rng.integers(8, SIDE // 2, 4))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + width, y + height), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    grain = rng.integers(-6, 7, (SIDE, SIDE, 1), dtype=np.int16)
    pixels = (np.asarray(image).astype(np.int16) + grain).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def place(folder: Path, number: int) -> Path:
    """Return where a made-up photograph lies in a folder."""
    return folder / f"{number // IN_A_FOLDER:03}" / f"{number:06}.jpg"


def make_photographs(folder: Path, count: int) -> None:
    """Make the photographs 0 ... count - 1 in a folder; those that are there stay as they are."""
    for number in range(count):
        path = place(folder, number)
        if not path.exists():
            write_atomically(path, photograph(number))


def link_photographs(source: Path, target: Path, count: int) -> None:
    """Give the first `count` photographs a second name in another folder, or copies where the file system has none."""
    for number in range(count):
        path = place(target, number)
        if number % IN_A_FOLDER == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(place(source, number), path)
        except OSError:
            shutil.copyfile(place(source, number), path)


@contextmanager
def scratch_folder(photographs: Path) -> Iterator[Path]:
    """Yield an empty folder beside the photographs, which is removed afterwards, as are those of killed processes."""
    for folder in photographs.glob(".scale-*-*"):
        try:
            os.kill(int(folder.name.split("-")[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, OSError):
            continue  # somebody else's
    with tempfile.TemporaryDirectory(prefix=f".scale-{os.getpid()}-", dir=photographs) as own:
        yield Path(own)


class Stages:
    """Seconds by stage, and the largest memory until the end of each.

    What a stage inside another one takes counts for the inner one alone.

    Attributes:
        wall, cpu: seconds of wall-clock time, and of CPU time of this process, by stage.
        peak: the largest memory in bytes that this process had used when the stage ended.
    """

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self.peak: dict[str, int] = {}
        self._inside: list[list[float]] = []  # for each stage that runs, the wall and CPU seconds of those inside

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done in the `with` block."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._inside.append([0.0, 0.0])
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            inner_wall, inner_cpu = self._inside.pop()
            self.wall[name] += wall - inner_wall
            self.cpu[name] += cpu - inner_cpu
            self.peak[name] = peak_memory_bytes()
            if self._inside:
                self._inside[-1][0] += wall
                self._inside[-1][1] += cpu

    def of(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and whose time is that of a stage."""

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.stage(name):
                return function(*arguments, **named)

        return timed

    def divide(self, name: str, wall: dict[str, float], cpu: dict[str, float]) -> None:
        """Take the seconds that a stage's own timer knows out of it; what is left stays under the stage's name."""
        for inner in wall:
            self.wall[f"{name}: {inner}"] += wall[inner]
            self.cpu[f"{name}: {inner}"] += cpu[inner]
        self.wall[name] -= sum(wall.values())
        self.cpu[name] -= sum(cpu.values())


@contextmanager
def stages_of_the_suite(stages: Stages) -> Iterator[None]:
    """Time the suite's own functions by stage within the `with` block."""
    from lactok.evaluation import datasets, kept_images, measuring, reconstruction_result, shards
    from lactok.evaluation.reconstruction import ReconstructionWork

    points: list[tuple[Any, str, str]] = [
        (datasets, "samples_under", "listing"),
        (datasets, "named_by_content", "hashing"),
        (shards, "run_shards", "shards"),
        (measuring, "complete", "looking what is finished"),
        (ReconstructionWork, "all_keys", "keys"),
        (kept_images, "publish", "pictures"),
        (reconstruction_result, "merge", "merging"),
        (reconstruction_result, "mean_entry", "intervals"),
        (reconstruction_result, "_write_tokens", "tokens.npz"),
        (reconstruction_result, "write_result", "writing"),
    ]
    with ExitStack() as stack:
        for owner, name, stage in points:
            stack.enter_context(mock.patch.object(owner, name, stages.of(stage, getattr(owner, name))))
        distance = reconstruction_result.stored_distance

        def timed_distance(store: Any, key: Any, metric: Any, *arguments: Any, **named: Any) -> Any:
            with stages.stage(f"distances: {metric.key}"):
                return distance(store, key, metric, *arguments, **named)

        stack.enter_context(mock.patch.object(reconstruction_result, "stored_distance", timed_distance))
        yield


def measure(series: Series, photographs: Path, count: int) -> dict[str, Any]:
    """Evaluate the first `count` photographs from an empty store, in this process, and read the result.

    Returns:
        As JSON holds it: `photographs`, `start` (bytes of memory before the first photograph), `peak` (the most that
        this process used) and `children` (the most that one of its processes used), `disk` (bytes of the store), and
        by stage `wall`, `cpu` and `peaks`. With several workers, `shards` is the time that this process waited.
    """
    from lactok.evaluation import reconstruction, sources  # noqa: F401, loaded before the clock starts
    from lactok.evaluation.config import Settings
    from lactok.evaluation.measuring import evaluate_source
    from lactok.evaluation.metric_networks import with_networks
    from lactok.evaluation.results import load_results

    stages = Stages()
    start = peak_memory_bytes()
    with scratch_folder(photographs) as scratch:
        data, out = scratch / "photographs", scratch / "out"
        link_photographs(photographs, data, count)
        with stages_of_the_suite(stages):
            settings = Settings(
                dataset=str(data),
                metrics=series.metrics,
                resolution=series.resolution,
                out=out,
                workers=series.workers,
                threads=series.threads,
            )
            run = with_networks(settings.run(), settings.metrics)
            with stages.stage("settings"):
                dataset = settings.data()
            result = evaluate_source(sources.TokenizerSource(series.tokenizer), dataset, run, settings.execution())
        assert result is not None, "there is one part"
        seconds = result.about["seconds"]
        if series.workers == 1:
            stages.divide("shards", seconds["wall"], seconds["cpu"])
        with stages.stage("reading"):
            load_results(out)[0].records  # noqa: B018, read for its time
        disk = sum(path.stat().st_size for path in (out / "store").rglob("*") if path.is_file())
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "photographs": count,
        "start": start,
        "peak": peak_memory_bytes(),
        # what a system reports of a process that only started another one is the size of the process that started it
        "children": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit if series.workers > 1 else 0,
        "disk": disk,
        "wall": dict(stages.wall),
        "cpu": dict(stages.cpu),
        "peaks": stages.peak,
    }


def measure_in_process(series: Series, photographs: Path, count: int) -> dict[str, Any]:
    """Return what `measure` returns, from a process of its own, so that the peak of memory is that of one size."""
    from concurrent.futures.process import BrokenProcessPool

    from lactok.evaluation.executors import worker_processes

    with worker_processes(1) as submit:
        try:
            return submit(measure, series, photographs, count).result()
        except BrokenProcessPool:
            raise UserError(f"the process of {count} photographs died, perhaps for want of memory") from None


def growth(points: Sequence[tuple[int, float]]) -> float | None:
    """Return the power of the number of photographs with which a quantity grows: 1 for linear, 2 for quadratic.

    It is that of the last two points, None where there are fewer or one is not positive.

    >>> growth([(500, 1.0), (1000, 2.0), (2000, 8.0)])
    2.0
    """
    if len(points) < 2 or min(points[-1][1], points[-2][1]) <= 0:
        return None
    (fewer, before), (more, after) = points[-2:]
    return math.log(after / before) / math.log(more / fewer)


def table(series: Series, points: Sequence[dict[str, Any]]) -> str:
    """Return two Markdown tables: the totals of each size, and the seconds of CPU time of each stage."""
    from tabulate import tabulate

    from lactok.evaluation.writing import processor

    sizes = [point["photographs"] for point in points]
    totals = []
    for point in points:
        cpu = sum(point["cpu"].values())
        each = f"{1000 * cpu / point['photographs']:.2f}"
        memory = [f"{point[name] / 1e6:.0f}" for name in ("start", "peak", "children", "disk")]
        totals.append([point["photographs"], f"{sum(point['wall'].values()):.1f}", f"{cpu:.1f}", each, *memory])
    head = ["photographs", "wall s", "CPU s", "CPU ms each", "MB at the start", "peak MB", "children MB", "store MB"]
    text = f"{processor()}; {', '.join(f'{k} {v}' for k, v in series.settings().items())}\n\n"
    text += tabulate(totals, head, tablefmt="pipe", disable_numparse=True)
    names = dict.fromkeys(name for point in points for name in point["cpu"])
    rows = []
    for name in names:
        values = [(size, point["cpu"].get(name, 0.0)) for size, point in zip(sizes, points, strict=True)]
        if max(value for _, value in values) < SHOWN:
            continue
        power = growth(values)
        rows.append([name, *(f"{value:.2f}" for _, value in values), "" if power is None else f"{power:.2f}"])
    stages = tabulate(rows, ["CPU s", *map(str, sizes), "growth"], tablefmt="pipe", disable_numparse=True)
    return f"{text}\n\n{stages}\n"
