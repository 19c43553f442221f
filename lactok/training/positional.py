"""Sine-cosine positional embeddings of patches.

Embeddings of nearby patches are similar, so that a new network attends to nearby patches from the start, and a small
one learns sooner.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_embedding(width: int, positions: Tensor) -> Tensor:
    """Return the embeddings of positions.

    Args:
        width: number of channels of an embedding, a multiple of 4: a quarter each for the sines of the row, the sines
            of the column, the cosines of the row and the cosines of the column.
        positions: (N, 2), row and column of each, in patches.

    Returns:
        The embeddings, (N, width).
    """
    frequencies = 100 ** (-torch.arange(width // 4, dtype=torch.float32) / (width // 4))
    angles = (positions[..., None] * frequencies).flatten(1)  # (N, width/2)
    return torch.cat([angles.sin(), angles.cos()], 1)


def patch_positions(grid: int) -> Tensor:
    """Return the row and column of every patch of an image of grid x grid patches: (grid * grid, 2), row-major."""
    return cell_positions(grid, grid, grid)


def cell_positions(grid: int, rows: int, columns: int) -> Tensor:
    """Return the centres of the cells of a grid of rows x columns laid over an image of grid x grid patches.

    Returns:
        Row and column of each centre, (rows * columns, 2), row-major. The unit is a patch, and the centre of the first
        patch is (0, 0).

    >>> cell_positions(4, 2, 1).tolist()
    [[0.5, 1.5], [2.5, 1.5]]
    """
    row_centres = (torch.arange(rows, dtype=torch.float32) + 0.5) * grid / rows - 0.5
    column_centres = (torch.arange(columns, dtype=torch.float32) + 0.5) * grid / columns - 0.5
    return torch.cartesian_prod(row_centres, column_centres)
