"""The log of a training run: `curve.jsonl`, and TensorBoard where it is installed; only the main process writes it."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lactok.files import write_atomically


class Curve:
    """The file `curve.jsonl`, one JSON object per line, each with its step.

    Args:
        path: the file.
        step: the step at which the run starts or resumes; lines from this step on are removed, since the run will write
            them again.
    """

    def __init__(self, path: Path, step: int):
        self.path = path
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if self._step(line) < step]
            write_atomically(path, "".join(f"{line}\n" for line in kept).encode())
            path.with_suffix(".part").unlink(missing_ok=True)  # left by an earlier version that was killed

    @staticmethod
    def _step(line: str) -> float:
        """Return the step of a line; infinity for a line that was cut short by a kill, so that it is removed."""
        try:
            return float(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            return math.inf

    def has(self, step: int, prefix: str) -> bool:
        """Return whether a line of a step has values whose names begin with a prefix."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return any(self._step(line) == step and f'"{prefix}' in line for line in lines)

    def log(self, step: int, **values: float) -> None:
        """Append and print the values of a step, rounded to six decimal places."""
        row = {"step": step} | {k: round(float(v), 6) for k, v in values.items()}
        with self.path.open("a") as handle:
            handle.write(json.dumps(row) + "\n")
        print(" ".join(f"{k} {v:g}" for k, v in row.items()), flush=True)


class Record:
    """Writes the values and images of a run to its curve and to TensorBoard.

    Args:
        out: the run's folder.
        step: the step at which the run starts or resumes; what was written after it is removed.
        active: False for a process that writes nothing.
    """

    def __init__(self, out: Path, step: int, active: bool = True):
        self.curve = Curve(out / "curve.jsonl", step) if active else None
        self.board: Any = None
        if active and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(out / "tensorboard", purge_step=step)

    def log(self, group: str, step: int, values: Mapping[str, float], prefix: str = "", **more: float) -> None:
        """Log values after `step` steps.

        Args:
            group: name of the group of values in TensorBoard.
            step: number of finished steps.
            values: the values by name.
            prefix: prefix of the names in the curve.
            more: further values for the curve only.
        """
        if self.curve is None:
            return
        self.curve.log(step - 1, **{f"{prefix}{k}": v for k, v in values.items()}, **more)
        if self.board is not None:
            for key, value in values.items():
                self.board.add_scalar(f"{group}/{key}", value, step)

    def has(self, prefix: str, step: int) -> bool:
        """Return whether the curve has values with a prefix, as `log` writes them, after `step` steps."""
        return self.curve is not None and self.curve.has(step - 1, prefix)

    def picture(self, name: str, step: int, image: Tensor) -> None:
        """Log an image (3, H, W) in [0, 1] to TensorBoard."""
        if self.board is not None:
            self.board.add_image(name, image, step)

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.board is not None:
            self.board.close()
