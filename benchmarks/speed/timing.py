"""Seconds of a call, and of decoding one picture."""

from __future__ import annotations

from collections.abc import Callable


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


def decode_seconds(name: str, device: str, dtype: str) -> float:
    """Median seconds to decode one picture by a tokenizer."""
    import torch

    import lactok

    tokenizer = lactok.load(name, device, getattr(torch, dtype))
    ids = torch.zeros(1, tokenizer.spec.tokens or 0, dtype=torch.int64)
    return median_seconds(lambda: tokenizer.decode(ids), 5, device)
