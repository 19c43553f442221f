"""Ids as symbols of one small alphabet, so that the same model, with as many parameters, learns any codebook's ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_DIGITS = 8  # of an id: 256^8 codes are more than an id of 64 bits can name


@dataclass(frozen=True)
class Alphabet:
    """How the ids of a codebook are written: as digits to a base, the most significant one first.

    A codebook of no more codes than there are symbols has one digit, its ids as they are; a larger one as few digits as
    it takes, to the smallest base for which so many are enough.

    Attributes:
        codes: the number of codes.
        base: the number of values of a digit.
        digits: the number of digits of an id.
    """

    codes: int
    base: int
    digits: int

    @classmethod
    def of(cls, codes: int, symbols: int) -> Alphabet:
        """Return the alphabet of a codebook.

        Args:
            codes: the number of codes, 1 or more.
            symbols: the largest base.

        >>> Alphabet.of(200, 256), Alphabet.of(4096, 256), Alphabet.of(2**18, 256)
        (Alphabet(codes=200, base=200, digits=1), Alphabet(codes=4096, base=64, digits=2), \
Alphabet(codes=262144, base=64, digits=3))
        """
        digits = 1
        while symbols**digits < codes:
            digits += 1
        base = int(codes ** (1 / digits))  # about: the root is rounded
        while base**digits < codes:
            base += 1
        while base > 1 and (base - 1) ** digits >= codes:
            base -= 1
        return cls(codes, base, digits)

    @property
    def choices(self) -> tuple[int, ...]:
        """The number of values that each digit can have: of the first one only those with which a code begins."""
        return ((self.codes - 1) // self.base ** (self.digits - 1) + 1, *[self.base] * (self.digits - 1))

    def written(self, ids: np.ndarray) -> np.ndarray:
        """Return the ids (n, L) of n images as digits, (n, L * digits) int64.

        >>> Alphabet.of(4096, 256).written(np.array([[0, 65, 4095]])).tolist()
        [[0, 0, 1, 1, 63, 63]]
        """
        powers = [self.base**place for place in reversed(range(self.digits))]
        found = [ids // power % self.base for power in powers]
        return np.stack(found, -1).reshape(len(ids), -1).astype(np.int64)


@dataclass(frozen=True)
class Layout:
    """What stands at each symbol of an image: which id, which of its digits, which level.

    Attributes:
        alphabet: how ids are written.
        levels: the number of ids of each level or group; one number where they are of one kind.
    """

    alphabet: Alphabet
    levels: tuple[int, ...]

    @property
    def length(self) -> int:
        """The number of symbols of an image."""
        return sum(self.levels) * self.alphabet.digits

    @property
    def positions(self) -> np.ndarray:
        """Which id a symbol belongs to, (length,), counted from 0."""
        return np.arange(sum(self.levels)).repeat(self.alphabet.digits)

    @property
    def digits(self) -> np.ndarray:
        """Which digit of the id a symbol is, (length,)."""
        return np.tile(np.arange(self.alphabet.digits), sum(self.levels))

    @property
    def level_numbers(self) -> np.ndarray:
        """Which level a symbol's id is of, (length,), counted from 0."""
        return np.arange(len(self.levels)).repeat(np.array(self.levels) * self.alphabet.digits)

    def windows(self, context: int) -> list[tuple[int, int]]:
        """Return windows of symbols that the model can see at once, all of one length, which begin with an id.

        An image that is short enough is one window. Else each window begins half a window after the one before, so that
        a symbol that is counted has half a window before it, unless it is among the image's first.

        Args:
            context: the number of symbols that the model sees at most.

        Returns:
            Of each window where it begins, and the first of its symbols that no window before it has.

        >>> Layout(Alphabet.of(256, 256), (10,)).windows(4)
        [(0, 0), (2, 4), (4, 6), (6, 8)]
        """
        length = self.window(context)
        half = max(length // 2 // self.alphabet.digits, 1) * self.alphabet.digits
        found: list[tuple[int, int]] = []
        end = 0
        while end < self.length:
            start = min(len(found) * half, self.length - length)
            found.append((start, end))
            end = start + length
        return found

    def window(self, context: int) -> int:
        """Return the length of the windows: whole ids, no more symbols than the model sees or an image has."""
        return min(self.length, context // self.alphabet.digits * self.alphabet.digits)


def split_levels(levels: Sequence[int] | None, tokens: int) -> tuple[int, ...]:
    """Return the number of ids of each level, or of all where they are of one kind.

    >>> split_levels([1, 4], 5), split_levels(None, 5), split_levels([1, 4], 6)
    ((1, 4), (5,), (6,))
    """
    return tuple(levels) if levels and sum(levels) == tokens else (tokens,)
