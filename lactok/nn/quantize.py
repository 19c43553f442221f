"""Quantizers: nearest code of a learned table, on the sphere (LlamaGen) or in the plain space (VQGAN); FSQ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.errors import UserError

# Difference of the two smallest squared distances, relative to |z|^2 + |e|^2 (the terms whose rounding decides), below
# which an id may change with the batch size.
NEAR_TIE = 1e-5

_collector: ContextVar[list[Tensor] | None] = ContextVar("near_ties", default=None)


@contextmanager
def count_near_ties() -> Iterator[list[Tensor]]:
    """Collect, for each `VectorQuantizer.encode` inside, how many positions of each image were near ties.

    Yields a list that grows by one (B,) int64 tensor a call. A near tie is a position whose two nearest codes
    differ by less than `NEAR_TIE`: there rounding, which depends on the batch size, may decide.
    """
    counts: list[Tensor] = []
    token = _collector.set(counts)
    try:
        yield counts
    finally:
        _collector.reset(token)


def check_finite(z: Tensor) -> None:
    """Raise UserError for features that overflowed, which would otherwise become valid ids."""
    if not z.is_meta and not bool(z.isfinite().all()):
        raise UserError("the encoder's features are not finite; did they overflow in float16? use bfloat16 or float32")


class VectorQuantizer(nn.Module):
    """Nearest-neighbour quantization against a table of codes, always in float32.

    Args:
        codebook_size: number of codes N.
        dim: width of a code C.
        l2_norm: compare and return unit vectors; the stored table need not be normalised (LlamaGen normalises it
            at every call).
        beta: weight of the commitment loss.
        usage_buffer: keep LlamaGen's `codebook_used` buffer, 65536 floats that inference never reads.
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

    def _unit(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) if self.l2_norm else x

    def codes(self) -> Tensor:
        """The table as it is compared, (N, C) float32."""
        return self._unit(self.embedding.weight.float())

    def encode(self, z: Tensor) -> Tensor:
        """Features (B, C, h, w) -> ids of the nearest codes (B, h, w) int64."""
        check_finite(z)
        b, _, h, w = z.shape
        # the meta device, on which structures are counted, knows no autocast
        with nullcontext() if z.is_meta else torch.autocast(z.device.type, enabled=False):
            flat = self._unit(z.float().permute(0, 2, 3, 1)).flatten(0, 2)  # (B*h*w, C)
            codes = self.codes()
            # |z|^2 + |e|^2 - 2ze in this order, as the official code adds it: the order decides ties
            distance = (flat**2).sum(1, keepdim=True) + (codes**2).sum(1) - 2 * flat @ codes.t()
            ids = distance.argmin(1)
        counts = _collector.get()
        if counts is not None:
            near, second = distance.topk(2, dim=1, largest=False).values.unbind(1)
            ties = (second - near) < NEAR_TIE * ((flat**2).sum(1) + (codes[ids] ** 2).sum(1))
            counts.append(ties.view(b, -1).sum(1))
        return ids.view(b, h, w)

    def lookup(self, ids: Tensor) -> Tensor:
        """ids (B, h, w) -> codes (B, C, h, w) float32."""
        return self._unit(self.embedding(ids).float()).permute(0, 3, 1, 2)

    def straight_through(self, z: Tensor, ids: Tensor) -> Tensor:
        """Codes in the forward pass, the identity for the gradient; (B, C, h, w)."""
        unit = self._unit(z.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return unit + (self.lookup(ids) - unit).detach()

    def loss(self, z: Tensor, ids: Tensor) -> Tensor:
        """Codebook plus `beta` times commitment loss (van den Oord et al. 2017, equation 3), a scalar."""
        unit = self._unit(z.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        code = self.lookup(ids)
        return F.mse_loss(code, unit.detach()) + self.beta * F.mse_loss(unit, code.detach())


class FSQ(nn.Module):
    """Finite scalar quantization: each channel is rounded to one of a few levels; there is no table to learn.

    Source: Mentzer et al. 2023, arXiv 2309.15505, and apple/ml-flextok `regularizers/quantize_fsq.py`.

    Args:
        levels: number of values of each channel; an id counts in this mixed radix, the first channel fastest.
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
        """(..., C) -> (..., C) float32 within the levels, before rounding."""
        levels = self.levels.to(z.device)
        half = (levels - 1) * 1.001 / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        return (z.float() + (offset / half).atanh()).tanh() * half - offset

    def encode(self, z: Tensor) -> Tensor:
        """Features (B, L, C) -> ids (B, L) int64."""
        check_finite(z)
        bounded = self.bound(z)
        rounded = bounded.round()
        counts = _collector.get()
        if counts is not None:
            margin = 0.5 - (bounded - rounded).abs()  # to the next rounding boundary
            counts.append((margin < NEAR_TIE * self.levels.to(z.device)).any(-1).sum(1))
        return ((rounded + self.levels.to(z.device) // 2) * self.basis.to(z.device)).sum(-1).long()

    def straight_through(self, z: Tensor) -> Tensor:
        """Features (B, L, C) -> their codes in the forward pass; for the gradient only the bound."""
        bounded = self.bound(z)
        return (bounded + (bounded.round() - bounded).detach()) / (self.levels.to(z.device) // 2)

    def lookup(self, ids: Tensor) -> Tensor:
        """ids (B, L) -> codes (B, L, C) float32, about [-1, 1]."""
        half = self.levels.to(ids.device) // 2
        digits = ids[..., None] // self.basis.to(ids.device) % self.levels.to(ids.device)
        return (digits - half) / half
