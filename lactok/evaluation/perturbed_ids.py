"""Ids of which some are replaced by near codes, as a generator that is a little off would choose them.

Source: Qiu et al. 2025, arXiv 2503.08354 and 2509.12474, whose pFID is the FID of such reconstructions and is to tell
how well a generator on the ids will do; lxa9867/ImageFolder `tokenizer/tokenizer_image/latent_perturbation.py`. There
the nearest codes are those of the encoder's feature, before it is quantized; of stored ids the feature is not known, so
here they are those of the id's own code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lactok.errors import WrongValue
from lactok.randomness import uniform

VERSION = 1  # raise it when the same arguments give other ids
ROWS = 64  # codes whose distances to all others are in memory together


def perturbed(ids: Tensor, codes: Tensor, share: float, nearest: int, seeds: Tensor) -> Tensor:
    """Replace ids by near codes.

    Each id is chosen with the probability `share`, and then drawn evenly from the `nearest` codes that are nearest to
    its own, itself among them.

    Args:
        ids: (B, L) int64.
        codes: (codebook_size, C) float32, see `lactok.Tokenizer.code_vectors`.
        share: from 0 to 1.
        nearest: 2 or more, and no more than there are codes.
        seeds: (B,) int64, one an image.

    Returns:
        (B, L) int64.

    Raises:
        WrongValue: there are not so many codes.
    """
    if nearest > len(codes):
        raise WrongValue(f"`nearest` {nearest}: the codebook has {len(codes)} codes")
    shape = tuple(ids.shape[1:])
    chosen = uniform(seeds, shape, "perturb whether") < share
    drawn = (uniform(seeds, shape, "perturb which") * nearest).long().clamp(max=nearest - 1)
    used, place = ids.unique(return_inverse=True)
    near = torch.cat([nearest_codes(part, codes, nearest) for part in used.split(ROWS)])  # (codes in use, nearest)
    return torch.where(chosen, near[place].gather(-1, drawn[..., None])[..., 0], ids)


def nearest_codes(ids: Tensor, codes: Tensor, nearest: int) -> Tensor:
    """Return the codes that are nearest to some codes, (N, nearest) int64, themselves first; of equally near ones the
    lower ids.

    Args:
        ids: (N,) int64.
        codes: all codes, (codebook_size, C).
        nearest: how many.

    >>> nearest_codes(torch.tensor([2]), torch.tensor([[0.0], [5.0], [1.0], [2.0]]), 3)
    tensor([[2, 0, 3]])
    """
    own, every = codes[ids].double(), codes.double()
    squared = (own**2).sum(1, keepdim=True) + (every**2).sum(1) - 2 * own @ every.T
    squared = squared.clamp(min=0)
    later = torch.arange(len(codes)) * (1e-12 * (1 + squared.max()) / len(codes))  # no two are equally near
    squared = squared + later
    squared[torch.arange(len(ids)), ids] = -1
    return squared.topk(nearest, dim=1, largest=False).indices
