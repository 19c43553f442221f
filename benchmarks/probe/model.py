"""The autoregressive model: a small GPT whose parameters are as many for every tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.probe.symbols import MOST_DIGITS, Layout

if TYPE_CHECKING:
    from benchmarks.probe.budget import Budget

MOST_LEVELS = 16  # with an embedding of their own; later ones share the last
LONGEST_WAVE = 10_000.0  # positions, of the slowest of the sines


class SmallGPT(nn.Module):
    """A causal transformer on the symbols of an image.

    It is told of the symbol that it predicts which id that belongs to, by sines (Vaswani et al. 2017, section 3.5), so
    that images of any length need no more parameters, and which digit and which level it is, by embeddings. Its output
    begins at 0: before the first step all symbols that can stand at a place are equally likely.

    Args:
        budget: its sizes.
    """

    def __init__(self, budget: Budget):
        super().__init__()
        self.start = budget.symbols  # the symbol before the first one of a window
        self.symbol = nn.Embedding(budget.symbols + 1, budget.width)
        self.digit = nn.Embedding(MOST_DIGITS, budget.width)
        self.level = nn.Embedding(MOST_LEVELS, budget.width)
        layer = nn.TransformerEncoderLayer(
            *(budget.width, budget.heads, 4 * budget.width),
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.body = nn.TransformerEncoder(
            layer, budget.depth, norm=nn.LayerNorm(budget.width), enable_nested_tensor=False
        )
        self.head = nn.Linear(budget.width, budget.symbols)
        for weight in self.body.parameters():  # torch makes the layers as copies of one
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)
        for embedding in (self.symbol, self.digit, self.level):
            nn.init.normal_(embedding.weight, std=0.02)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, symbols: Tensor, places: Places) -> Tensor:
        """Return the logits of each symbol by those before it, (B, T, budget.symbols); -inf where one cannot stand.

        Args:
            symbols: windows of symbols, (B, T) int64.
            places: what is known of these T places.
        """
        before = torch.cat([torch.full_like(symbols[:, :1], self.start), symbols[:, :-1]], 1)
        known = self.digit(places.digits) + self.level(places.levels) + places.waves
        causal = nn.Transformer.generate_square_subsequent_mask(symbols.shape[1], device=symbols.device)
        found = self.head(self.body(self.symbol(before) + known, mask=causal, is_causal=True))
        return found.masked_fill(~places.allowed, -torch.inf)


class Places:
    """What is known of the places of an image's symbols.

    Attributes:
        digits, levels: (T,) int64.
        waves: the sines of their positions, (T, width).
        allowed: which symbols can stand there, (T, symbols) bool.
    """

    def __init__(self, digits: Tensor, levels: Tensor, waves: Tensor, allowed: Tensor):
        self.digits, self.levels, self.waves, self.allowed = digits, levels, waves, allowed

    @classmethod
    def of(cls, layout: Layout, budget: Budget, device: str) -> Places:
        """Return those of a tokenizer's whole images."""
        digits = torch.from_numpy(layout.digits)
        levels = torch.from_numpy(layout.level_numbers).clamp(max=MOST_LEVELS - 1)
        count = torch.tensor(layout.alphabet.choices)[digits]
        allowed = torch.arange(budget.symbols) < count[:, None]
        found = digits, levels, waves(torch.from_numpy(layout.positions), budget.width), allowed
        return cls(*(each.to(device) for each in found))

    def window(self, start: int, length: int) -> Places:
        """Return those of a window."""
        part = slice(start, start + length)
        return Places(self.digits[part], self.levels[part], self.waves[part], self.allowed[part])


def waves(positions: Tensor, width: int) -> Tensor:
    """Return the sines and cosines of positions, (T, width) float32; their size is that of the embeddings.

    Args:
        positions: (T,) int64.
        width: an even number.
    """
    rates = LONGEST_WAVE ** (-torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = positions[:, None].double() * rates
    return (0.02 * torch.cat([angles.sin(), angles.cos()], 1)).float()


def parameters(budget: Budget) -> int:
    """Return the number of the model's parameters, which depends on the budget alone."""
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and nobody else's numbers change by that
        return sum(p.numel() for p in SmallGPT(budget).parameters())
