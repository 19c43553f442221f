"""How many bits an entropy coder needs for ids: with the ids' frequencies alone, and with a small adaptive model.

Both are lengths of codes that a decoder can undo with nothing but the number of codes of the codebook: no table of
frequencies is sent, since every probability follows from the ids that were coded before.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

DISCOUNT = 0.5  # what a code that was seen gives away to those that were not seen in its context
BLOCK = 1 / 8  # of the images seen so far: after so many more, what was counted is used
LONGEST_BLOCK = 1024  # images
DECAY = 0.8  # of the experts' shares when a block is added
EXPERTS = 6  # uniform, order 0, position, previous id, id above, ids of the same image
PRIOR = 8  # ids: how much the shares of all levels count against those of one
LARGE = 2.0**32
LEVELS = 16  # of how often the previous id was seen, each with shares of its own
VERSION = 1  # raised by hand when the same ids get another length


def order0_bits(histogram: np.ndarray, size: int) -> float:
    """Return the length of an adaptive code of order 0, in bits, of all ids together.

    The code is the mixture, with equal weights, of Dirichlet estimators and the uniform code. An estimator gives a code
    that occurred m times among n ids the probability (m + a) / (n + a K); a = 1/2 is the one of Krichevsky and Trofimov
    (1981), smaller a suit codebooks of which few codes are used. Its length does not depend on the order of the ids, so
    that the histogram tells it. It exceeds log2(K) bits an id by a few bits in all at most.

    Args:
        histogram: how often each code that occurs does; zeros may be left out.
        size: K, the number of codes of the codebook.

    >>> order0_bits(np.array([0, 0]), 2), round(order0_bits(np.array([1]), 8), 9)
    (0.0, 3.0)
    """
    counts = np.asarray(histogram, np.float64)
    counts = counts[counts > 0]
    n = float(counts.sum())
    lengths = [n * np.log2(max(size, 1))]
    for a in _priors(size):
        gain = (gammaln(counts + a) - gammaln(a)).sum() - _log_rising(a * size, n)
        lengths.append(-gain / np.log(2))
    return _mixed(np.array(lengths))


def _priors(size: int) -> list[float]:
    """Return the parameters a of the estimators: 1/2, 1/8, 1/32, ..., the last one about 1 / size."""
    return [2.0**-k for k in range(1, max(2, int(np.log2(max(size, 1))) + 2), 2)]


def _log_rising(x: float, n: float) -> float:
    """Return log(x (x + 1) ... (x + n - 1)), the logarithm of the rising factorial.

    >>> round(_log_rising(2.0, 3.0), 6), round(_log_rising(2.0**62, 2.0), 6)
    (3.178054, 85.95025)
    """
    if x < LARGE:
        return float(gammaln(n + x) - gammaln(x))
    # the difference of two logarithms would be lost in their rounding: Stirling's series, whose next term is 1 / x^3
    return float((x - 0.5) * np.log1p(n / x) + n * (np.log(n + x) - 1) + (1 / (n + x) - 1 / x) / 12)


def _mixed(lengths: np.ndarray) -> float:
    """Return the length of the mixture of codes with equal weights, from theirs, in bits."""
    best = lengths.min()
    length = best - np.log2(np.exp2(best - lengths).mean())
    return max(float(length), 0.0) + 0.0  # which makes 0 of -0


def adaptive_bits(ids: np.ndarray, size: int) -> np.ndarray:
    """Return how many bits a small adaptive model needs for each id; see `docs/ids-and-errors.md` for the model.

    The model mixes six predictions of an id: all codes alike; the codes' frequencies; those at this position; those
    after the previous id; those below the id above, where the positions form a square; and those in this image so far.
    Frequencies of the images before are those up to the last finished block of images, and the shares of the
    predictions are learned from these blocks too. So the probability of an id depends on the ids before it alone.

    Args:
        ids: (n, L) whole numbers, the ids of n images in the order in which they are coded.
        size: the number of codes of the codebook.

    Returns:
        (n, L) float64; their sum is the length of the code.
    """
    n, length = ids.shape
    out = np.zeros((n, length))
    if not ids.size:
        return out
    used, symbols = np.unique(ids, return_inverse=True)  # the names of codes do not matter to the model
    symbols = symbols.reshape(ids.shape).astype(np.int64)
    model = _Model(len(used), size, length)
    start = 0
    while start < n:
        block = symbols[start : start + max(1, min(LONGEST_BLOCK, int(start * BLOCK)))]
        out[start : start + len(block)] = model.code(block)
        start += len(block)
    return out


class _Model:
    """The mixture and what it has counted.

    Args:
        used: how many different codes occur; they are numbered from 0.
        size: the number of codes of the codebook.
        length: the number of ids of an image.
    """

    def __init__(self, used: int, size: int, length: int):
        self.size, self.length = size, length
        self.side = int(np.sqrt(length)) if length > 3 and int(np.sqrt(length)) ** 2 == length else 0
        self.start = used  # stands for the id before the first one and above the first row
        self.order0 = _Counts(1, used)
        self.tables = [_Counts(length, used), _Counts(used + 1, used)]
        if self.side:
            self.tables.append(_Counts(used + 1, used))
        self.earned = np.zeros((LEVELS, EXPERTS))  # what each prediction explained of the ids of a level

    def code(self, block: np.ndarray) -> np.ndarray:
        """Return the bits (B, L) of the ids of some images, then count them."""
        contexts = self._contexts(block)
        lower = self.order0.probabilities(np.zeros_like(block), block, np.full(block.shape, 1 / self.size))
        experts = [np.full(block.shape, 1 / self.size), lower]
        experts += [
            table.probabilities(context, block, lower) for table, context in zip(self.tables, contexts, strict=True)
        ]
        if not self.side:
            experts.append(lower)
        experts.append(_in_image(block, lower))
        levels = np.minimum(np.log2(1 + self.tables[1].totals[contexts[1]]).astype(np.int64), LEVELS - 1)
        parts = np.stack(experts, -1) * self._shares()[levels]  # (B, L, experts)
        p = np.minimum(parts.sum(-1), 1)
        explained = (parts / p[..., None]).reshape(-1, EXPERTS)
        by_level = [np.bincount(levels.ravel(), weights=column, minlength=LEVELS) for column in explained.T]
        self.earned = DECAY * self.earned + np.stack(by_level, -1)
        self.order0.add(np.zeros_like(block), block)
        for table, context in zip(self.tables, contexts, strict=True):
            table.add(context, block)
        return -np.log2(p) + 0.0

    def _shares(self) -> np.ndarray:
        """Return the predictions' shares in the mixture at each level, (LEVELS, EXPERTS), each row with a sum of 1.

        They are what the predictions explained there; a level that was seldom met takes over those of all levels.
        """
        everywhere = self.earned.sum(0) + 1
        shares = self.earned + PRIOR * everywhere / everywhere.sum()
        return shares / shares.sum(1, keepdims=True)

    def _contexts(self, block: np.ndarray) -> list[np.ndarray]:
        """Return the contexts (B, L) of each table: the position, the id before and, in a square, the id above."""
        position = np.broadcast_to(np.arange(self.length), block.shape)
        before = np.full_like(block, self.start)
        before[:, 1:] = block[:, :-1]
        found = [position, before]
        if self.side:
            above = np.full_like(block, self.start)
            above[:, self.side :] = block[:, : -self.side]
            found.append(above)
        return found


class _Counts:
    """How often each code occurred in each context.

    Args:
        contexts: the number of contexts.
        used: the number of codes.
    """

    def __init__(self, contexts: int, used: int):
        self.used = used
        self.keys = np.zeros(0, np.int64)  # context * used + code, in order
        self.counts = np.zeros(0, np.int32)
        self.totals = np.zeros(contexts, np.int64)
        self.distinct = np.zeros(contexts, np.int64)

    def probabilities(self, contexts: np.ndarray, codes: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """Return the probabilities of codes in contexts, by absolute discounting (Ney, Essen and Kneser 1994).

        A code that occurred m times among n in a context has (m - d) / n, and of the mass d D / n that the D different
        ones gave away it has the share `lower`, its probability without the context.
        """
        totals = self.totals[contexts]
        seen = self._seen(contexts * self.used + codes)
        own = np.maximum(seen - DISCOUNT, 0) + DISCOUNT * self.distinct[contexts] * lower
        return np.where(totals > 0, own / np.maximum(totals, 1), lower)

    def _seen(self, keys: np.ndarray) -> np.ndarray:
        """Return how often each key was counted."""
        if not len(self.keys):
            return np.zeros(keys.shape, np.int32)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.counts[at], 0)

    def add(self, contexts: np.ndarray, codes: np.ndarray) -> None:
        """Count codes in their contexts."""
        keys, counts = np.unique(contexts * self.used + codes, return_counts=True)
        at = np.searchsorted(self.keys, keys)
        known = np.zeros(len(keys), bool)
        inside = at < len(self.keys)
        known[inside] = self.keys[at[inside]] == keys[inside]
        self.counts[at[known]] += counts[known].astype(np.int32)
        new = ~known
        self.keys = np.insert(self.keys, at[new], keys[new])
        self.counts = np.insert(self.counts, at[new], counts[new].astype(np.int32))
        self.totals += np.bincount(contexts.ravel(), minlength=len(self.totals))
        self.distinct += np.bincount(keys[new] // self.used, minlength=len(self.distinct))


def _in_image(block: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return the probabilities (B, L) of ids by those before them in the same image, by absolute discounting.

    Args:
        block: (B, L) ids.
        lower: (B, L) their probabilities without this context.
    """
    before = np.arange(block.shape[1])
    order = np.argsort(block, axis=1, kind="stable")  # equal ids stand together, in the order of their positions
    ordered = np.take_along_axis(block, order, 1)
    is_first = np.ones(block.shape, bool)
    is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    start = np.maximum.accumulate(np.where(is_first, before, 0), axis=1)
    seen, first = np.empty_like(block), np.empty(block.shape, bool)
    np.put_along_axis(seen, order, before - start, 1)
    np.put_along_axis(first, order, is_first, 1)
    distinct = np.cumsum(first, axis=1) - first  # different ids before each position
    own = np.maximum(seen - DISCOUNT, 0) + DISCOUNT * distinct * lower
    return np.where(before > 0, own / np.maximum(before, 1), lower)
