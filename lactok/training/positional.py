"""Sine-cosine positional embeddings, by which attention starts between nearby patches and small networks learn soon."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_embedding(width: int, positions: Tensor) -> Tensor:
    """Return the embeddings (N, width) of positions (N, 2), which are rows and columns in patches.

    One half of the sines and one half of the cosines are for the row, the others for the column.
    """
    rates = 100 ** (-torch.arange(width // 4, dtype=torch.float32) / (width // 4))
    angles = (positions[..., None] * rates).flatten(1)  # (N, width/2)
    return torch.cat([angles.sin(), angles.cos()], 1)


def patch_positions(grid: int) -> Tensor:
    """Return the row and column of every patch of a grid x grid image, row by row, (grid * grid, 2)."""
    return cell_positions(grid, grid, grid)


def cell_positions(grid: int, rows: int, columns: int) -> Tensor:
    """Return the centres of the cells into which rows and columns divide an image of grid x grid patches.

    The unit is a patch, and the centre of the first patch is (0, 0). The cells are in row-major order,
    (rows * columns, 2).

    >>> cell_positions(4, 2, 1).tolist()
    [[0.5, 1.5], [2.5, 1.5]]
    """
    centres = [(torch.arange(n, dtype=torch.float32) + 0.5) * grid / n - 0.5 for n in (rows, columns)]
    return torch.cartesian_prod(*centres)
