"""Measure time, memory and size of tokenizers, each in its own process, so that the peak memory is that of one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.timing import median_seconds, peak_memory_bytes
from lactok.errors import UserError, WeightsNotFound, disk_errors, whole
from lactok.files import write_atomically


@dataclass(frozen=True)
class Conditions:
    """The conditions under which all tokenizers are measured.

    Attributes:
        batch_size: images in a call.
        repeats: number of timed calls after one to warm up; 0 times that first call.
        sizes: if True, run nothing and give parameters, FLOPs and the bytes of float32 weights.
        resolution: side in pixels of the images for tokenizers that take any size.
        device: where the tokenizers compute.
        dtype: the compute dtype, "float32" or "bfloat16".
        random: whether random weights take the place of missing ones.
        weights: a folder with weights, searched before every other source, or None.
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
        """Raise WrongValue for a number that is out of its range."""
        for argument, least, most in (("batch_size", 1, 65536), ("repeats", 0, 10**6), ("resolution", 1, 8192)):
            whole(argument, getattr(self, argument), least, most)


def measure(name: str, how: Conditions) -> dict[str, Any]:
    """Measure one tokenizer in this process.

    Returns:
        As JSON holds it: `tokenizer`, `parameters`, `weights` (whose they are), FLOPs an image (`encode_flops`,
        `decode_flops`), seconds a batch (`encode_seconds`, `decode_seconds`; `reconstruct_seconds` without ids) and
        `peak_memory_bytes`; `weights_bytes` instead of times and memory where only sizes are asked for.

    Raises:
        UserError: an unknown name; WeightsNotFound where the weights are missing and may not be random.
    """
    import torch

    import lactok
    from benchmarks.speed.cost import cost
    from lactok import weights

    counted = cost(name)
    row: dict[str, Any] = {"tokenizer": lactok.spec(name).name, "parameters": counted.parameters}
    flops = {"encode_flops": counted.encode_flops, "decode_flops": counted.decode_flops}
    if how.sizes:
        return row | flops | {"weights": "none", "weights_bytes": 4 * counted.parameters}
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
    on_gpu = how.device.startswith("cuda")
    return row | {"peak_memory_bytes": torch.cuda.max_memory_allocated(how.device) if on_gpu else peak_memory_bytes()}


def measure_all(names: Sequence[str], how: Conditions) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Measure each tokenizer in its own process.

    Returns:
        What `measure` returned for each, and the reason for each that could not be measured, by name.
    """
    from concurrent.futures.process import BrokenProcessPool

    from lactok.evaluation.executors import worker_processes

    rows, missing = [], {}
    for name in names:
        with worker_processes(1) as submit:
            try:
                found = submit(_measured, name, how).result()
            except BrokenProcessPool:
                found = "its process died, perhaps for want of memory; use a smaller `batch_size`"
        if isinstance(found, str):
            missing[name] = found
        else:
            rows.append(found)
    return rows, missing


def _measured(name: str, how: Conditions) -> dict[str, Any] | str:
    """Return what `measure` returns, or in one line why it failed."""
    try:
        return measure(name, how)
    except UserError as error:
        return str(error)
    except Exception as error:  # one adapter's bug, or a full device, must not lose the others
        return f"{type(error).__name__}: {error}".splitlines()[0]


def write_numbers(numbers: object, path: Path | None) -> None:
    """Write what was measured as JSON where a path is given; raise UserError where that is not possible."""
    if path is not None:
        with disk_errors(path, "choose another `json`"):
            write_atomically(path, (json.dumps(numbers, indent=1) + "\n").encode())


def table(rows: Sequence[dict[str, Any]], how: Conditions) -> str:
    """Return a Markdown table with a line for each tokenizer, below a line with the machine and the conditions."""
    import torch
    from tabulate import tabulate

    from lactok.evaluation.writing import processor

    head = ["tokenizer", "parameters", "encode", "decode", "images/s", "encode FLOPs", "decode FLOPs"]
    head.append("float32 weights" if how.sizes else "peak memory")
    body = []
    for row in rows:
        seconds = row.get("reconstruct_seconds") or row.get("encode_seconds", 0.0) + row.get("decode_seconds", 0.0)
        times, flops = [], []
        for step in ("encode", "decode"):
            step_seconds, step_flops = row.get(f"{step}_seconds"), row.get(f"{step}_flops")
            times.append("-" if step_seconds is None else f"{step_seconds / how.batch_size * 1e3:.1f} ms")
            flops.append("-" if step_flops is None else f"{step_flops / 1e9:.1f} G")
        name = row["tokenizer"] + (" (random weights)" if row["weights"] == "random" else "")
        rate = f"{how.batch_size / seconds:.3g}" if seconds else "-"
        memory = row.get("peak_memory_bytes") or row["weights_bytes"]
        body.append([name, f"{row['parameters'] / 1e6:.2f} M", *times, rate, *flops, f"{memory / 1e9:.2f} GB"])
    if how.sizes:
        title = "sizes only; FLOPs are an image's"
    else:
        device = torch.cuda.get_device_name(how.device) if how.device.startswith("cuda") else processor()
        threads = torch.get_num_threads()
        title = f"{device}, {threads} threads, {how.dtype}, batch {how.batch_size}; times are an image's"
    return f"{title}\n\n{tabulate(body, head, tablefmt='pipe', disable_numparse=True)}"
