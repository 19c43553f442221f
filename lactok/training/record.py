"""What a training run tells: `curve.jsonl`, and TensorBoard where it is installed; the main process alone writes."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lactok.training.common import Curve


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
