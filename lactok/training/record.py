"""What a training run tells: `curve.jsonl`, and TensorBoard where it is installed; the main process alone writes."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


class Curve:
    """`curve.jsonl`: one JSON object a logged step; on resuming, what lies after the checkpoint is dropped."""

    def __init__(self, path: Path, step: int):
        self.path = path
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if self._step(line) < step]
            temporary = path.with_suffix(".part")
            temporary.write_text("".join(f"{line}\n" for line in kept))
            os.replace(temporary, path)

    @staticmethod
    def _step(line: str) -> float:
        """The step of a line; a line cut short by a kill counts as after the end."""
        try:
            return float(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError):
            return math.inf

    def log(self, step: int, **values: float) -> None:
        row = {"step": step} | {k: round(float(v), 6) for k, v in values.items()}
        with self.path.open("a") as handle:
            handle.write(json.dumps(row) + "\n")
        print(" ".join(f"{k} {v:g}" for k, v in row.items()), flush=True)


class Record:
    """The curve of a run, and the same figures in TensorBoard.

    Args:
        out: the run's folder.
        step: what was written after it, by a run that was killed, is dropped.
        active: False on all processes but one.
    """

    def __init__(self, out: Path, step: int, active: bool = True):
        self.curve = Curve(out / "curve.jsonl", step) if active else None
        self.board: Any = None
        if active and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(out / "tensorboard", purge_step=step)

    def log(self, group: str, step: int, values: Mapping[str, float], prefix: str = "", **more: float) -> None:
        """Values after `step` steps, under prefix + name in the curve and group/name in TensorBoard.

        Args:
            more: for the curve alone.
        """
        if self.curve is None:
            return
        self.curve.log(step - 1, **{f"{prefix}{k}": v for k, v in values.items()}, **more)
        for key, value in values.items() if self.board is not None else ():
            self.board.add_scalar(f"{group}/{key}", value, step)

    def picture(self, name: str, step: int, image: Tensor) -> None:
        """Image (3, H, W) in [0, 1]."""
        if self.board is not None:
            self.board.add_image(name, image, step)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()
