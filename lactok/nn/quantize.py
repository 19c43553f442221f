"""Quantizers: the nearest code of a learned codebook, by unit vectors (LlamaGen) or as they are (VQGAN), the code of
the largest dot product (IBQ), FSQ, and the signs of channels (lookup-free).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.device import instead_of
from lactok.errors import UserError

# A feature z is a near tie if the squared distances to its two nearest codes e differ by less than this share of
# |z|^2 + |e|^2, whose rounding then decides. The rounding depends on the batch size, and so may the id.
NEAR_TIE = 1e-5
EQUAL_LOGITS = 2**-23  # logits that differ by less have the same float32 probability
PRODUCTS = 2**24  # dot products in memory at a time; 256 ids have four times as many with 2^18 codes
LONGEST = 63  # bits of an id

_collector: ContextVar[list[Tensor] | None] = ContextVar("near_ties", default=None)


@contextmanager
def count_near_ties() -> Iterator[list[Tensor]]:
    """Count the near ties of every quantizer that encodes inside this context.

    A near tie is a position whose id may change with the batch size, because its two best codes are equally near but
    for rounding; see `NEAR_TIE`.

    Yields:
        A list to which each call of `encode` appends the numbers of near ties of its images, (B,) int64.
    """
    counts: list[Tensor] = []
    token = _collector.set(counts)
    try:
        yield counts
    finally:
        _collector.reset(token)


def check_finite(z: Tensor) -> None:
    """Raise a UserError if features (of any shape) are not finite; otherwise they would become valid ids unnoticed."""
    if not z.is_meta and not bool(z.isfinite().all()):
        kind = z.device.type
        computed = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else z.dtype
        raise UserError(f"the encoder's features are not finite{instead_of(computed)}")


class VectorQuantizer(nn.Module):
    """Replaces each feature by the nearest code of a learned codebook, always in float32.

    Args:
        codebook_size: number of codes.
        dim: width C of a code.
        l2_norm: divide features and codes by their length, both when they are compared and in what is returned. The
            stored codebook is not normalised: as in LlamaGen, that happens at every call.
        beta: weight of the commitment loss.
        usage_buffer: have the buffer `codebook_used`, 65536 floats in LlamaGen's files that inference never reads.
    """

    codebook_used: Tensor

    def __init__(
        self, codebook_size: int, dim: int, l2_norm: bool = True, beta: float = 0.25, usage_buffer: bool = False
    ):
        super().__init__()
        self.l2_norm = l2_norm
        self.beta = beta
        self.embedding = nn.Embedding(codebook_size, dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / codebook_size, 1.0 / codebook_size)
        if usage_buffer:
            self.register_buffer("codebook_used", torch.zeros(65536))

    def _normalised(self, x: Tensor) -> Tensor:
        """Vectors (..., C) -> the same, divided by their length where `l2_norm`."""
        return F.normalize(x, dim=-1) if self.l2_norm else x

    def codes(self) -> Tensor:
        """Return the codebook as it is compared with features, (codebook_size, C) float32."""
        return self._normalised(self.embedding.weight.float())

    def encode(self, z: Tensor) -> Tensor:
        """Features (B, C, h, w) -> ids of the nearest codes (B, h, w) int64.

        Raises:
            UserError: the features are not finite.
        """
        check_finite(z)
        b, _, h, w = z.shape
        # networks without weights lie on the meta device, which has no autocast
        with nullcontext() if z.is_meta else torch.autocast(z.device.type, enabled=False):
            flat = self._normalised(z.float().permute(0, 2, 3, 1)).flatten(0, 2)  # (B*h*w, C)
            codes = self.codes()
            # |z|^2 + |e|^2 - 2ze is added in the order of the official code, because rounding decides between codes
            # that are equally near
            distance = (flat**2).sum(1, keepdim=True) + (codes**2).sum(1) - 2 * flat @ codes.t()
            ids = distance.argmin(1)
        counts = _collector.get()
        if counts is not None:
            nearest, second = distance.topk(2, dim=1, largest=False).values.unbind(1)
            ties = (second - nearest) < NEAR_TIE * ((flat**2).sum(1) + (codes[ids] ** 2).sum(1))
            counts.append(ties.view(b, -1).sum(1))
        return ids.view(b, h, w)

    def lookup(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> codes (B, C, h, w) float32."""
        return self._normalised(self.embedding(ids).float()).permute(0, 3, 1, 2)

    def normalised_features(self, z: Tensor) -> Tensor:
        """Features (B, C, h, w) -> the same in float32, divided by their length at each position where `l2_norm`."""
        return self._normalised(z.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def straight_through(self, z: Tensor, ids: Tensor) -> Tensor:
        """Features (B, C, h, w) and their ids (B, h, w) -> codes (B, C, h, w), whose gradient goes to the features.

        This is the straight-through estimator: the gradient passes as if the features had not been quantized.
        """
        features = self.normalised_features(z)
        return features + (self.lookup(ids) - features).detach()

    def loss(self, z: Tensor, ids: Tensor) -> Tensor:
        """Return the codebook loss plus `beta` times the commitment loss, a scalar.

        Source: van den Oord et al. 2017, equation 3.

        Args:
            z: features (B, C, h, w).
            ids: their ids (B, h, w).
        """
        features = self.normalised_features(z)
        codes = self.lookup(ids)
        return F.mse_loss(codes, features.detach()) + self.beta * F.mse_loss(features, codes.detach())


class DotProductQuantizer(VectorQuantizer):
    """Replaces each feature by the code of the largest dot product with it, always in float32.

    Neither features nor codes are normalised, so that long codes are chosen more often; the nearest code is mostly
    another one. Source: TencentARC/SEED-Voken `src/IBQ/modules/vqvae/quantize.py`.

    Args:
        codebook_size: number of codes.
        dim: width C of a code.
    """

    def __init__(self, codebook_size: int, dim: int):
        super().__init__(codebook_size, dim, l2_norm=False)

    def encode(self, z: Tensor) -> Tensor:
        """Features (B, C, h, w) -> ids (B, h, w) int64.

        Raises:
            UserError: the features are not finite.
        """
        check_finite(z)
        b, _, h, w = z.shape
        counts = _collector.get()
        ids, ties = [], []
        with nullcontext() if z.is_meta else torch.autocast(z.device.type, enabled=False):
            codes = self.codes()
            rows = max(1, PRODUCTS // len(codes))
            for flat in z.float().permute(0, 2, 3, 1).flatten(0, 2).split(rows):  # (rows, C)
                logits = flat @ codes.t()
                # quirk: the largest probability is looked for, the first of those that float32 rounds to the same
                ids.append(logits.softmax(1).argmax(1))
                if counts is not None:
                    best, second = logits.topk(2, dim=1).values.unbind(1)
                    lengths = flat.norm(dim=1) * codes[ids[-1]].norm(dim=1)
                    ties.append(best - second < (NEAR_TIE * lengths).clamp(min=EQUAL_LOGITS))
        if counts is not None:
            counts.append(torch.cat(ties).view(b, -1).sum(1))
        return torch.cat(ids).view(b, h, w)


class SignQuantizer(nn.Module):
    """Lookup-free quantization: the sign of each channel is a bit of the id, the first channel the least significant.

    There is no codebook and no parameter; a code has -1 and 1. Source: Yu et al. 2023, arXiv 2310.05737, and
    TencentARC/SEED-Voken `src/Open_MAGVIT2/modules/vqvae/lookup_free_quantize.py`, whose comments say "big endian".

    Args:
        bits: of an id, which are the channels of the features.

    Raises:
        UserError: an id of so many bits is no int64.
    """

    def __init__(self, bits: int):
        super().__init__()
        if not 1 <= bits <= LONGEST:
            raise UserError(f"an id of {bits} bits: from 1 to {LONGEST} fit into an int64; make several ids of them")
        self.bits = bits

    def _places(self, device: torch.device) -> Tensor:
        """Return the place of each channel's bit in the id, (bits,) int64."""
        return torch.arange(self.bits, device=device)

    def encode(self, z: Tensor) -> Tensor:
        """Features (B, bits, h, w) -> ids (B, h, w) int64; a feature of 0 is the bit 0.

        Raises:
            UserError: the features are not finite.
        """
        check_finite(z)
        counts = _collector.get()
        if counts is not None:
            near = (z.abs() < NEAR_TIE * z.norm(dim=1, keepdim=True)).any(1)
            counts.append(near.flatten(1).sum(1))
        return ((z > 0).long() << self._places(z.device)[:, None, None]).sum(1)

    def lookup(self, ids: Tensor) -> Tensor:
        """Ids (B, h, w) -> codes (B, bits, h, w) float32, -1 and 1."""
        return ((ids[:, None] >> self._places(ids.device)[:, None, None]) & 1).float() * 2 - 1


class FSQ(nn.Module):
    """Finite scalar quantization: each channel is rounded to one of a few levels; there is no codebook to learn.

    Source: Mentzer et al. 2023, arXiv 2309.15505, and apple/ml-flextok `regularizers/quantize_fsq.py`.

    Args:
        levels: number of levels of each of the C channels. The levels of all channels are the digits of an id, the
            first channel being the lowest digit.
    """

    levels: Tensor
    basis: Tensor

    def __init__(self, levels: Sequence[int]):
        super().__init__()
        radix = torch.tensor(levels, device="cpu")
        self.codebook_size = math.prod(levels)
        self.counts = tuple(levels)
        self.register_buffer("levels", radix, persistent=False)
        self.register_buffer("basis", torch.cumprod(torch.tensor([1, *levels[:-1]], device="cpu"), 0), persistent=False)

    def bound(self, z: Tensor) -> Tensor:
        """Features (..., C) -> the same float32, squeezed into the range of the levels but not yet rounded."""
        levels = self.levels.to(z.device)
        half = (levels - 1) * 1.001 / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        return (z.float() + (offset / half).atanh()).tanh() * half - offset

    def encode(self, z: Tensor) -> Tensor:
        """Features (B, L, C) -> ids (B, L) int64.

        Raises:
            UserError: the features are not finite.
        """
        check_finite(z)
        bounded = self.bound(z)
        rounded = bounded.round()
        counts = _collector.get()
        if counts is not None:
            margin = 0.5 - (bounded - rounded).abs()  # distance to the point where rounding would go the other way
            counts.append((margin < NEAR_TIE * self.levels.to(z.device)).any(-1).sum(1))
        return ((rounded + self.levels.to(z.device) // 2) * self.basis.to(z.device)).sum(-1).long()

    def straight_through(self, z: Tensor) -> Tensor:
        """Features (B, L, C) -> their codes (B, L, C), about [-1, 1]; the gradient passes as if nothing was rounded."""
        bounded = self.bound(z)
        return (bounded + (bounded.round() - bounded).detach()) / (self.levels.to(z.device) // 2)

    def codes(self) -> Tensor:
        """Return all codes, (codebook_size, C) float32."""
        return self.lookup(torch.arange(self.codebook_size, device=self.levels.device))

    def lookup(self, ids: Tensor) -> Tensor:
        """Ids (B, L) -> codes (B, L, C) float32, about [-1, 1]."""
        half = self.levels.to(ids.device) // 2
        digits = ids[..., None] // self.basis.to(ids.device) % self.levels.to(ids.device)
        return (digits - half) / half
