"""Progress of long work: a bar on a terminal, log lines elsewhere, in the same stream as the log.

Work that takes long for a single unit, such as a shard of 64 images, calls `worked` as it goes on, whatever it knows of
who shows it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lactok.command import messages

Report = Callable[[int, int], None]  # report(done, total)
logger = logging.getLogger(__name__)

EVERY = 10  # seconds between two lines where there is no terminal
BRIEF = 0.5  # seconds; work that took less is not worth a line of its own at the end


class Progress:
    """How much of some work is done.

    Args:
        total: the number of units.
        show: called with the number of units that are done whenever that has changed; it may lie between two whole
            numbers.
    """

    def __init__(self, total: int, show: Callable[[float], None]):
        self.total, self.show = total, show
        self._settled = 0
        self._since = 0.0  # what was worked since `settle` was last called

    def settle(self, done: int) -> None:
        """Say how many units are done for certain, whatever was worked."""
        self._settled, self._since = done, 0.0
        self.show(done)

    def add(self, units: float) -> None:
        """Say that so many units more, or parts of them, were worked since `settle` was last called."""
        self._since += units
        self.show(min(self._settled + self._since, self.total))


_current: list[Progress] = []  # of the work of this process


def worked(units: float) -> None:
    """Say that so many units of the work of this process, or parts of them, are done; nothing where nobody shows it."""
    if _current:
        _current[-1].add(units)


@contextmanager
def progress(label: str, total: int, unit: str = "images") -> Iterator[Report]:
    """Show progress inside the `with` block.

    Args:
        label: what is worked on.
        total: how many units there are.
        unit: what is counted, in the plural.

    Yields:
        `report(done, total)`, to be called after each unit, or after several.
    """
    started = time.monotonic()
    with _bar(label, unit, total) if messages().isatty() else _lines(label, unit, total) as show:
        own = Progress(total, show)
        _current.append(own)
        try:
            yield lambda done, _total: own.settle(done)
        finally:
            _current.remove(own)
    took = time.monotonic() - started
    if took >= BRIEF:
        logger.info("%s: %d %s in %s", label, total, unit, duration(took))


@contextmanager
def _bar(label: str, unit: str, total: int) -> Iterator[Callable[[float], None]]:
    """Show a bar, which goes away at the end; what is logged meanwhile stands above it."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn(f"{{task.fields[done]}}/{total} {unit}", markup=False),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Bar(
        *columns, console=Console(file=messages()), transient=True, redirect_stdout=messages() is sys.stdout
    ) as bar:
        task = bar.add_task(label, total=total, done=0)
        yield lambda done: bar.update(task, completed=done, done=int(done))


@contextmanager
def _lines(label: str, unit: str, total: int) -> Iterator[Callable[[float], None]]:
    """Log a line every few seconds."""
    started = shown = time.monotonic()

    def show(done: float) -> None:
        nonlocal shown
        now = time.monotonic()
        if 0 < done < total and now - shown >= EVERY:
            shown = now
            left = duration((now - started) / done * (total - done))
            logger.info("%s: %d/%d %s, about %s left", label, int(done), total, unit, left)

    yield show


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> duration(12), duration(400), duration(12600)
    ('12 s', '7 min', '3.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
