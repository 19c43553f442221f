"""Measure the seconds of a call, those of decoding one image, and the peak memory of this process."""

from __future__ import annotations

from collections.abc import Callable


def median_seconds(call: Callable[[], object], repeats: int, device: str) -> float:
    """Time a call.

    Args:
        call: what is timed.
        repeats: number of timed calls after one to warm up; 0 times that first call.
        device: where it computes, so that its end can be waited for.

    Returns:
        The median of the seconds of wall-clock time.
    """
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
    """Return the median seconds that a tokenizer, by name, takes to decode one image, of five calls."""
    import torch

    import lactok

    tokenizer = lactok.load(name, device, getattr(torch, dtype))
    ids = torch.zeros(1, tokenizer.spec.tokens or 0, dtype=torch.int64)
    return median_seconds(lambda: tokenizer.decode(ids), 5, device)


def peak_memory_bytes() -> int:
    """Return the largest main memory that this process has used so far, in bytes."""
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
