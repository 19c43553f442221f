"""Columns of many texts: one blob of bytes instead of a Python object each, and their order by the parts of a path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

_SLASH, _DOT = ord("/"), ord(".")
_AT_ONCE = 1 << 17  # texts that are copied at once, so that the copy needs little memory


def encoded(text: str) -> bytes:
    """Return a text as UTF-8, so that bytes sort as the text's characters do; also names that are no proper text."""
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, eq=False)
class Texts:
    """Many texts.

    Attributes:
        blob: their bytes, one after the other (uint8).
        ends: where each ends in the blob (N,) int64.

    >>> texts = Texts.of(["a", "", "bc"])
    >>> len(texts), texts[2], list(texts.take(np.array([2, 0])))
    (3, 'bc', ['bc', 'a'])
    """

    blob: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Return the texts as columns."""
        blob, lengths = bytearray(), []
        for text in texts:
            data = encoded(text)
            blob += data
            lengths.append(len(data))
        return cls(np.frombuffer(bytes(blob), np.uint8), np.cumsum(np.array(lengths, np.int64)))

    @classmethod
    def joined(cls, parts: list[Texts]) -> Texts:
        """Return the texts of all parts, one part after the other."""
        if not parts:
            return cls.of([])
        starts = np.cumsum([0, *(len(p.blob) for p in parts[:-1])])
        ends = [p.ends + start for p, start in zip(parts, starts, strict=True)]
        return cls(np.concatenate([p.blob for p in parts]), np.concatenate(ends))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> str:
        return self.raw(i).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Texts):
            return NotImplemented
        return np.array_equal(self.ends, other.ends) and np.array_equal(self.blob, other.blob)

    __hash__ = None  # type: ignore[assignment]

    def raw(self, i: int) -> bytes:
        """Return the bytes of a text; `i` is not negative."""
        return self.blob[self.ends[i - 1] if i else 0 : self.ends[i]].tobytes()

    @property
    def starts(self) -> np.ndarray:
        """Where each text begins in the blob (N,) int64."""
        return np.concatenate([np.zeros(1, np.int64), self.ends[:-1]]) if len(self) else self.ends

    def take(self, order: np.ndarray) -> Texts:
        """Return the texts at some places, in that order."""
        starts = self.starts
        lengths = (self.ends - starts)[order]
        ends = np.cumsum(lengths)
        blob = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
        for first in range(0, len(order), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            begin = int(ends[first] - lengths[first])
            # the place in the old blob of each byte: that of its text's start, and on from there
            shift = starts[order[some]] - (ends[some] - lengths[some])
            places = np.arange(begin, int(ends[some][-1]))
            blob[places] = self.blob[places + np.repeat(shift, lengths[some])]
        return Texts(blob, ends)


def path_order(paths: Texts, ranks: np.ndarray) -> np.ndarray:
    """Return the order (N,) in which paths are sorted by their parts, as `PurePosixPath(path).parts` compare.

    Args:
        paths: the paths.
        ranks: decide between equal paths, (N,).
    """
    keys = _keys(paths)
    starts, order = keys.starts, np.argsort(ranks, kind="stable")
    lengths = keys.ends - starts
    # a stable sort by eight bytes at a time, the last ones first; shorter keys count as if zeros followed
    for column in reversed(range(0, int(lengths.max(initial=0)), 8)):
        values = np.zeros(len(keys), np.uint64)
        for byte in range(8):
            reaching = np.flatnonzero(lengths > column + byte)
            found = keys.blob[starts[reaching] + column + byte].astype(np.uint64)
            values[reaching] |= found << np.uint64(56 - 8 * byte)
        order = order[np.argsort(values[order], kind="stable")]
    return order


def _keys(paths: Texts) -> Texts:
    """Return texts whose bytes sort as the parts of the paths do: a zero byte, the smallest, stands between parts."""
    blob = paths.blob
    after_slash = blob[1:][blob[:-1] == _SLASH]
    begins = blob[paths.starts[paths.ends > paths.starts]] if len(paths) else blob
    if bool(np.isin(after_slash, (_SLASH, _DOT)).any() or np.isin(begins, (_SLASH, _DOT)).any()):
        # "a//b" and "./a" may be among them, which are the parts ("a", "b") and ("a",)
        return Texts.of("\0".join(PurePosixPath(path).parts) for path in paths)
    return Texts(np.where(blob == _SLASH, 0, blob).astype(np.uint8), paths.ends)
