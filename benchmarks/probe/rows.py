"""The rows of the probe suite: stored ids of tokenizers, with the photographs that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from benchmarks.probe.budget import Budget
from benchmarks.probe.symbols import Alphabet, Layout, split_levels
from lactok.errors import UserError
from lactok.evaluation.id_statistics import stored_ids
from lactok.evaluation.names import is_control
from lactok.evaluation.probe_table import made_of
from lactok.evaluation.protocol import digest
from lactok.evaluation.results import ReconResult


@dataclass(frozen=True)
class Row:
    """The stored ids of one tokenizer.

    Attributes:
        stored: the result of the reconstruction suite that they belong to.
        ids: (n, L) int64.
        samples: the names of the n photographs.
        contents: the digests of their files, or their names in results that do not hold these.
        layout: how the ids are written as symbols, and their levels.
    """

    stored: ReconResult
    ids: np.ndarray
    samples: tuple[str, ...]
    contents: tuple[str, ...]
    layout: Layout

    @property
    def raw_bits(self) -> float:
        """The bits of an image's ids where all codes are equally likely."""
        return self.ids.shape[1] * float(np.log2(float(self.layout.alphabet.codes)))

    @property
    def sha256(self) -> str:
        """The digest of the ids, their levels, and the photographs that they are of."""
        layout = [self.layout.alphabet.codes, list(self.layout.levels)]
        own = sha256(self.ids.astype("<i8").tobytes()).hexdigest()
        return digest([own, layout, list(self.samples), list(self.contents)])


def with_ids(results: Sequence[ReconResult]) -> list[ReconResult]:
    """Return the rows that have ids of their own photographs, each once, however many protocols scored the same ids."""
    found: dict[str, ReconResult] = {}
    for result in results:
        if result.data.tokenizer.codebook_size is not None and not is_control(result.label):
            found.setdefault(made_of(result), result)
    return list(found.values())


def read(result: ReconResult, budget: Budget) -> Row:
    """Return the ids of a stored result.

    Raises:
        UserError: there are none, they are damaged, or they are no codes of the tokenizer.
    """
    stored, size = stored_ids(result.folder), result.data.tokenizer.codebook_size
    if stored is None:
        raise UserError(f"{result.name} has no tokens.npz; run the command that made it again")
    ids, samples = stored
    if not ids.size or int(ids.min()) < 0 or int(ids.max()) >= size:
        raise UserError(f"{result.name}/tokens.npz holds no ids of {size} codes; run the command that made it again")
    records = result.records
    known = dict(zip(records["id"], records["sha256"], strict=True)) if "sha256" in records else {}
    contents = tuple(str(known.get(sample, sample)) for sample in samples)
    layout = Layout(Alphabet.of(size, budget.symbols), split_levels(result.data.tokenizer.levels, ids.shape[1]))
    return Row(result, ids.astype(np.int64), tuple(samples), contents, layout)
