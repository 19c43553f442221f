"""Codes of places, by which attention starts between what is near; small networks learn soon from such a start."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos(width: int, places: Tensor) -> Tensor:
    """Codes of places (N, 2), rows and columns in patches, (N, width): half the channels for each of the two."""
    rates = 100 ** (-torch.arange(width // 4, dtype=torch.float32) / (width // 4))
    angles = (places[..., None] * rates).flatten(1)  # (N, width/2)
    return torch.cat([angles.sin(), angles.cos()], 1)


def patch_places(grid: int) -> Tensor:
    """Row and column of every patch, row by row, (grid * grid, 2)."""
    return cell_places(grid, grid, grid)


def cell_places(grid: int, rows: int, columns: int) -> Tensor:
    """Centres, in patches, of a grid of patches cut into rows x columns equal cells, row by row, (rows * columns, 2).

    >>> cell_places(4, 2, 1).tolist()
    [[0.5, 1.5], [2.5, 1.5]]
    """
    lines = ((torch.arange(n, dtype=torch.float32) + 0.5) * grid / n - 0.5 for n in (rows, columns))
    return torch.cartesian_prod(*lines)
