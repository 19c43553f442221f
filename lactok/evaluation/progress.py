"""Progress of long work: a bar on a terminal, log lines elsewhere (commands print these on standard error)."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int], None]  # report(done, total)
logger = logging.getLogger(__name__)


@contextmanager
def progress(label: str, total: int, unit: str = "shards") -> Iterator[Report]:
    """Show progress inside the `with` block.

    Args:
        label: what is worked on.
        total: how many units there are.
        unit: what is counted, in the plural.

    Yields:
        `report(done, total)`, to be called after each unit.
    """
    started = time.monotonic()
    if sys.stderr.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(f"{label:<24}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda done, _total: bar.update(task, completed=done)
    else:
        shown = 0.0

        def report(done: int, total: int) -> None:
            nonlocal shown
            if done == total or time.monotonic() - shown > 10:
                shown = time.monotonic()
                logger.info("%s: %d/%d %s", label, done, total, unit)

        yield report
    logger.info("%s: done in %.1f s", label, time.monotonic() - started)
