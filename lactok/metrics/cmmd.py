"""CMMD (Jayasumana et al. 2024): the maximum mean discrepancy of CLIP's image embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lactok.metrics.grouped import Grouping, LeaveOut
from lactok.metrics.registry import metric
from lactok.metrics.vision_features import CLIP_336

Blocks = Sequence[np.ndarray]
SIGMA = 10.0  # bandwidth of the kernel
SCALE = 1000.0  # by which the authors' code multiplies the discrepancy
ROWS = 4096  # embeddings on each side of a block of the kernel
PAIRS = ((0, 0), (1, 1), (0, 1))  # of the references (0) and the outputs (1), between which the kernel is needed


def cmmd_leaving_out(references: Blocks, outputs: Blocks, grouping: Grouping) -> LeaveOut:
    """Compute CMMD of all images and without each group, from sums of the kernel over pairs of groups.

    Each value of the kernel is computed once.

    Args:
        references, outputs: embeddings of the two sets, as for `cmmd`.
        grouping: the groups of their rows.
    """
    count, of_outputs = grouping.count, grouping.outputs
    # references that stay are all of one more group, which is never left out
    of_references = grouping.references
    if of_references is None:
        of_references = np.full(sum(len(block) for block in references), count)
    sides = [(references, of_references), (outputs, of_outputs)]
    sizes = [np.bincount(of, minlength=count + 1) for _, of in sides]
    totals, of_pairs = {}, {}
    for i, j in PAIRS:
        (a, of), (b, other) = sides[i], sides[j]
        totals[i, j], of_pairs[i, j] = _kernel_sums(a, b, of, other, count + 1)
    without = np.zeros(count)
    for group in range(count):
        kept = np.arange(count + 1) != group
        left = [size[kept].sum() for size in sizes]
        means = [of_pairs[i, j][np.ix_(kept, kept)].sum() / (left[i] * left[j]) for i, j in PAIRS]
        without[group] = _discrepancy(*means)
    lengths = [len(of) for _, of in sides]
    return LeaveOut(_discrepancy(*(totals[i, j] / (lengths[i] * lengths[j]) for i, j in PAIRS)), without)


@metric("cmmd", title="CMMD", higher=False, digits=3, features=CLIP_336, leaving_out=cmmd_leaving_out)
def cmmd(references: Blocks, outputs: Blocks) -> float:
    """Return CMMD of CLIP ViT-L/14@336's embeddings (n, 768), of length 1, of references and reconstructions.

    As in the authors' code the estimate is the biased one: the mean of the Gaussian kernel over all pairs, those of an
    embedding with itself included, times 1000. It is 0 for equal sets; unlike FID it hardly depends on how many images
    there are. An image takes some 10 s on one core.
    """
    sides = references, outputs
    return _discrepancy(*(_mean_kernel(sides[i], sides[j]) for i, j in PAIRS))


def _discrepancy(of_references: float, of_outputs: float, between: float) -> float:
    """Return CMMD from the means of the kernel over the pairs within each set and between the sets."""
    return float(SCALE * (of_references + of_outputs - 2 * between))


def _mean_kernel(first: Blocks, second: Blocks) -> float:
    """Return the mean of the Gaussian kernel over all pairs of rows of two sets of blocks (n, d)."""
    m, n = (sum(len(block) for block in blocks) for blocks in (first, second))
    if not m or not n:
        return float("nan")
    total = 0.0
    for kernel, _, _ in _kernels(first, second):
        total += float(kernel.sum())
    return total / (m * n)


def _kernel_sums(
    first: Blocks, second: Blocks, first_groups: np.ndarray, second_groups: np.ndarray, count: int
) -> tuple[float, np.ndarray]:
    """Return the sum of the Gaussian kernel over all pairs, and those over the pairs of each two groups."""
    total, sums, groups = 0.0, np.zeros((count, count)), np.arange(count)
    for kernel, row, column in _kernels(first, second):
        total += float(kernel.sum())
        rows = (first_groups[row : row + len(kernel)] == groups[:, None]).astype(np.float64)
        columns = (second_groups[column : column + kernel.shape[1], None] == groups).astype(np.float64)
        sums += rows @ kernel @ columns
    return total, sums


def _kernels(first: Blocks, second: Blocks) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield the Gaussian kernel between pieces of two sets, and where their first rows stand in the sets."""
    row = 0
    for a in first:
        for start in range(0, len(a), ROWS):
            x = a[start : start + ROWS].astype(np.float64)
            column = 0
            for b in second:
                for other in range(0, len(b), ROWS):
                    y = b[other : other + ROWS].astype(np.float64)
                    squared = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
                    yield np.exp(-squared.clip(min=0) / (2 * SIGMA**2)), row, column
                    column += len(y)
            row += len(x)
