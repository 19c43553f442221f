"""What the file of a finished shard has to hold; `Store` makes a shard again whose file holds something else."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from lactok.evaluation.store import Arrays


@dataclass(frozen=True)
class Layout:
    """The arrays of one kind of shard, as `Store.get` checks them.

    Every shard has the array `index`: the positions of its samples that could be read, in order. Other arrays have a
    row for each of these.

    Attributes:
        samples: the number of samples of the shard.
        columns: the arrays that every shard has: name -> number of dimensions.
        measured: those that a shard has only where a sample could be read.
        texts: the names of texts that hold a JSON object, whose values are texts.
        below: name -> the number that all values of an array of whole numbers are below, 0 for any.
        complete: whether each sample stands either in `index` or in the text `errors`.
    """

    samples: int
    columns: Mapping[str, int]
    measured: Mapping[str, int] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    below: Mapping[str, int] = field(default_factory=dict)
    complete: bool = False

    def __call__(self, arrays: Arrays, names: Collection[str]) -> None:
        """Raise ValueError or KeyError unless the arrays of a file that were read, `index` among them, are these.

        Args:
            arrays: the arrays that were read.
            names: the names of all arrays of the file.
        """
        index = arrays["index"]
        if index.ndim != 1 or index.dtype != np.int64:
            raise ValueError("index is no list of positions")
        if len(index) and (index[0] < 0 or index[-1] >= self.samples or (np.diff(index) <= 0).any()):
            raise ValueError("index names other samples")
        wanted = {**self.columns, **(self.measured if len(index) else {})}
        missing = (wanted.keys() | set(self.texts)) - set(names)
        if missing:
            raise KeyError(*missing)
        for name, dimensions in wanted.items():
            if name in arrays:
                self._check_column(name, arrays[name], len(index), dimensions)
        texts = {name: text_of(arrays[name]) for name in self.texts if name in arrays}
        if self.complete and "errors" in texts and len(index) + len(texts["errors"]) != self.samples:
            raise ValueError("samples are neither measured nor left out")

    def _check_column(self, name: str, column: np.ndarray, rows: int, dimensions: int) -> None:
        """Raise ValueError unless an array has so many rows and dimensions and holds numbers of the right kind."""
        if column.ndim != dimensions or len(column) != rows:
            raise ValueError(f"{name} has the shape {column.shape}")
        if column.dtype.kind not in ("iu" if name in self.below else "fiu"):
            raise ValueError(f"{name} holds {column.dtype}")
        bound = self.below.get(name, 0)
        if name in self.below and column.size and (column.min() < 0 or (bound and column.max() >= bound)):
            raise ValueError(f"{name} holds other numbers")


def text_of(array: np.ndarray) -> dict[str, str]:
    """Return the JSON object that an array of one text holds; raise ValueError if it holds anything else."""
    if array.ndim or array.dtype.kind != "U":
        raise ValueError("no text")
    found = json.loads(str(array))
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("no JSON object of texts")
    return found
