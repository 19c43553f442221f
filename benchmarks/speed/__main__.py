"""`python -m benchmarks.speed`: time, throughput, parameters, FLOPs and peak memory of tokenizers.

Each is measured in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lactok.command import Parser, command
from lactok.errors import UserError


def parser() -> Parser:
    p = Parser(prog="python -m benchmarks.speed", description="Speed and size of tokenizers.")
    p.add_argument("--tokenizers", required=True, help="names separated by spaces or commas, options after @, or all")
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument(
        "--repeats",
        type=int,
        default=5,
        help="timed calls after one to warm up; the median counts; 0 times the first call itself",
    )
    p.add_argument("--sizes", action="store_true", help="run nothing: parameters, FLOPs and what the weights need")
    p.add_argument("--resolution", type=int, default=256, help="for rows without a size of their own")
    p.add_argument("--device", default="cpu")
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    p.add_argument("--random", action="store_true", help="random weights where the real ones are missing")
    p.add_argument("--weights", help="folder with weights")
    p.add_argument("--json", type=Path, help="also write the numbers here")
    return p


def median_seconds(call: Callable[[], object], repeats: int, device: str) -> float:
    """Of `repeats` calls after one to warm up; of that one where `repeats` is 0."""
    import statistics
    import time

    from lactok.device import synchronize

    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        call()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:] or times)


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Time and memory of one tokenizer; runs in a process of its own."""
    import platform
    import resource

    import torch

    import lactok
    from benchmarks.speed.cost import cost
    from lactok import weights
    from lactok.errors import WeightsNotFound

    price = cost(name)
    row: dict[str, Any] = {"tokenizer": lactok.spec(name).name, "parameters": price.parameters}
    flops = {"encode_flops": price.encode_flops, "decode_flops": price.decode_flops}
    if args.sizes:
        return row | flops | {"weights": "none", "weights_bytes": 4 * price.parameters}
    if args.weights:
        weights.use_folder(args.weights)
    try:
        tokenizer = lactok.load(name, args.device, getattr(torch, args.dtype))
        kind = "official or shipped"
    except WeightsNotFound:
        if not args.random:
            raise
        tokenizer = lactok.build(name, args.device)
        tokenizer.place(args.device, getattr(torch, args.dtype), offload=False, compile=False)
        kind = "random"
    cuda = args.device.startswith("cuda")

    def timed(call: Callable[[], object]) -> float:
        return median_seconds(call, args.repeats, args.device)

    def peak() -> int:
        if cuda:
            return torch.cuda.max_memory_allocated(args.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)

    size = tokenizer.spec.input_size or args.resolution
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(args.batch_size, 3, size, size, generator=generator)
    row["weights"] = kind
    if tokenizer.spec.tokens is None:
        row |= {"reconstruct_seconds": timed(lambda: tokenizer.reconstruct(batch))}
    else:
        ids = tokenizer.encode(batch)
        row |= flops | {
            "encode_seconds": timed(lambda: tokenizer.encode(batch)),
            "decode_seconds": timed(lambda: tokenizer.decode(ids)),
        }
    return row | {"peak_memory_bytes": peak()}


def _child(name: str, args: argparse.Namespace) -> dict[str, Any] | str:
    try:
        return measure(name, args)
    except UserError as error:
        return str(error)
    except Exception as error:  # one adapter's bug, or a full device, must not lose the others
        return f"{type(error).__name__}: {error}".splitlines()[0]


@command
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from lactok import registry

    if args.batch_size < 1 or args.repeats < 0:
        raise UserError("--batch-size is 1 or more, --repeats 0 or more")
    from benchmarks.recon.__main__ import split_names
    from lactok.device import check_device

    check_device(args.device)

    names = registry.list_tokenizers() if args.tokenizers == "all" else split_names(args.tokenizers)
    for name in names:
        registry.TOKENIZERS.check_name(name)
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    rows, missing = [], {}
    for name in names:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                found = pool.submit(_child, name, args).result()
            except BrokenProcessPool:
                found = "its process died, perhaps for want of memory; use a smaller --batch-size"
        if isinstance(found, str):
            missing[name] = found
        else:
            rows.append(found)
    print(table(rows, args))
    for name, reason in missing.items():
        print(f"not measured: {name}: {reason}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 3 if missing and args.tokenizers != "all" else 0


def table(rows: list[dict[str, Any]], args: argparse.Namespace) -> str:
    import torch
    from tabulate import tabulate

    from lactok.evaluation.results import processor

    head = ["tokenizer", "parameters", "encode", "decode", "images/s", "encode FLOPs", "decode FLOPs"]
    head.append("float32 weights" if args.sizes else "peak memory")
    body = []
    for row in rows:
        seconds = row.get("reconstruct_seconds") or row.get("encode_seconds", 0.0) + row.get("decode_seconds", 0.0)
        times = [
            f"{row[k] / args.batch_size * 1e3:.1f} ms" if k in row else "-"
            for k in ("encode_seconds", "decode_seconds")
        ]
        flops = [f"{row[k] / 1e9:.1f} G" if k in row else "-" for k in ("encode_flops", "decode_flops")]
        name = row["tokenizer"] + (" (random weights)" if row["weights"] == "random" else "")
        rate = f"{args.batch_size / seconds:.3g}" if seconds else "-"
        memory = row.get("peak_memory_bytes") or row["weights_bytes"]
        body.append([name, f"{row['parameters'] / 1e6:.2f} M", *times, rate, *flops, f"{memory / 1e9:.2f} GB"])
    device = torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else processor()
    title = f"{device}, {torch.get_num_threads()} threads, {args.dtype}, batch {args.batch_size}; times are an image's"
    title = "sizes only; FLOPs are an image's" if args.sizes else title
    return f"{title}\n\n{tabulate(body, head, tablefmt='pipe', disable_numparse=True)}"


if __name__ == "__main__":
    main()
