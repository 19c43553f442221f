"""Time, memory and size of tokenizers, each in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.timing import median_seconds
from lactok.errors import UserError, WeightsNotFound, at_least


@dataclass(frozen=True)
class Conditions:
    """Under which all tokenizers are measured.

    Attributes:
        repeats: timed calls after one to warm up; 0 times that one.
        sizes: run nothing: parameters, FLOPs and what the weights need.
        resolution: in pixels, for those without a size of their own.
        random: random weights where the real ones are missing.
        weights: folder with weights, looked into before every other source.
    """

    batch_size: int = 8
    repeats: int = 5
    sizes: bool = False
    resolution: int = 256
    device: str = "cpu"
    dtype: str = "float32"
    random: bool = False
    weights: Path | None = None

    def check(self) -> None:
        """Raise WrongValue for a number that is too small."""
        for argument, least in (("batch_size", 1), ("repeats", 0), ("resolution", 1)):
            at_least(argument, getattr(self, argument), least)


def measure(name: str, how: Conditions) -> dict[str, Any]:
    """Time, memory and size of one tokenizer, as JSON; in this process."""
    import resource
    import sys

    import torch

    import lactok
    from benchmarks.speed.cost import cost
    from lactok import weights

    price = cost(name)
    row: dict[str, Any] = {"tokenizer": lactok.spec(name).name, "parameters": price.parameters}
    flops = {"encode_flops": price.encode_flops, "decode_flops": price.decode_flops}
    if how.sizes:
        return row | flops | {"weights": "none", "weights_bytes": 4 * price.parameters}
    if how.weights:
        weights.use_folder(how.weights)
    dtype = getattr(torch, how.dtype)
    try:
        tokenizer = lactok.load(name, how.device, dtype)
        row["weights"] = "official or shipped"
    except WeightsNotFound:
        if not how.random:
            raise
        tokenizer = lactok.build(name, how.device)
        tokenizer.place(how.device, dtype, offload=False, compile=False)
        row["weights"] = "random"

    def timed(call: Callable[[], object]) -> float:
        return median_seconds(call, how.repeats, how.device)

    size = tokenizer.spec.input_size or how.resolution
    batch = torch.rand(how.batch_size, 3, size, size, generator=torch.Generator().manual_seed(0))
    if tokenizer.spec.tokens is None:
        row |= {"reconstruct_seconds": timed(lambda: tokenizer.reconstruct(batch))}
    else:
        ids = tokenizer.encode(batch)
        row |= flops | {
            "encode_seconds": timed(lambda: tokenizer.encode(batch)),
            "decode_seconds": timed(lambda: tokenizer.decode(ids)),
        }
    if how.device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated(how.device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return row | {"peak_memory_bytes": peak}


def measure_all(names: Sequence[str], how: Conditions) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """What `measure` finds of each, and why the others could not be measured, by name."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    rows, missing = [], {}
    for name in names:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                found = pool.submit(_measured, name, how).result()
            except BrokenProcessPool:
                found = "its process died, perhaps for want of memory; use a smaller `batch_size`"
        if isinstance(found, str):
            missing[name] = found
        else:
            rows.append(found)
    return rows, missing


def _measured(name: str, how: Conditions) -> dict[str, Any] | str:
    try:
        return measure(name, how)
    except UserError as error:
        return str(error)
    except Exception as error:  # one adapter's bug, or a full device, must not lose the others
        return f"{type(error).__name__}: {error}".splitlines()[0]


def table(rows: Sequence[dict[str, Any]], how: Conditions) -> str:
    """A line a tokenizer as Markdown, under the machine and the conditions."""
    import torch
    from tabulate import tabulate

    from lactok.evaluation.writing import processor

    head = ["tokenizer", "parameters", "encode", "decode", "images/s", "encode FLOPs", "decode FLOPs"]
    head.append("float32 weights" if how.sizes else "peak memory")
    body = []
    for row in rows:
        seconds = row.get("reconstruct_seconds") or row.get("encode_seconds", 0.0) + row.get("decode_seconds", 0.0)
        times = [
            f"{row[k] / how.batch_size * 1e3:.1f} ms" if k in row else "-" for k in ("encode_seconds", "decode_seconds")
        ]
        flops = [f"{row[k] / 1e9:.1f} G" if k in row else "-" for k in ("encode_flops", "decode_flops")]
        name = row["tokenizer"] + (" (random weights)" if row["weights"] == "random" else "")
        rate = f"{how.batch_size / seconds:.3g}" if seconds else "-"
        memory = row.get("peak_memory_bytes") or row["weights_bytes"]
        body.append([name, f"{row['parameters'] / 1e6:.2f} M", *times, rate, *flops, f"{memory / 1e9:.2f} GB"])
    device = torch.cuda.get_device_name(how.device) if how.device.startswith("cuda") else processor()
    title = f"{device}, {torch.get_num_threads()} threads, {how.dtype}, batch {how.batch_size}; times are an image's"
    title = "sizes only; FLOPs are an image's" if how.sizes else title
    return f"{title}\n\n{tabulate(body, head, tablefmt='pipe', disable_numparse=True)}"
