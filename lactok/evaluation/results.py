"""Stored results: read, checked, typed. Nothing here computes a score.

`load_results` takes every folder that holds a `result.json`. What is damaged or of another program is left out, with
one line that says which and why; results of an older version are read, and that is said too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lactok.errors import MissingFile, UnknownName, UserError
from lactok.evaluation import schema
from lactok.evaluation.schema import Damaged, Entry
from lactok.metrics.registry import Metric, described
from lactok.metrics.rewards import titles

if TYPE_CHECKING:
    import pandas

R = TypeVar("R", bound="Result")

FIRST = "python -m benchmarks.recon --tokenizers local"


@dataclass(frozen=True, eq=False)
class Result:
    """A result folder: `result["psnr"]` is a measured number with `value`, `ci95` and `n`.

    Attributes:
        folder: where it lies.
        data: `result.json`, typed; see `lactok.evaluation.schema`.
        older: whether it was written by an older version.
    """

    folder: Path
    data: Any
    older: bool = False

    def __getitem__(self, metric: str) -> Entry:
        """A measured number by its key; raises UnknownName."""
        if metric not in self.metrics:
            raise UnknownName(f"{self.name} has no {metric}; it has {', '.join(self.metrics) or 'no metric'}")
        return self.metrics[metric]

    def __repr__(self) -> str:
        numbers = ", ".join(f"{k}={e.value:.4g}" for k, e in self.metrics.items() if e.value is not None)
        return f"<{self.suite} of {self.label}, {self.n} samples of {self.dataset}: {numbers}>"

    @property
    def suite(self) -> str:
        return str(self.data.suite)

    @property
    def name(self) -> str:
        """The folder's name: unique among the results of one folder."""
        return self.folder.name

    @property
    def label(self) -> str:
        """What was measured: a tokenizer, a generator or a folder of pictures."""
        raise NotImplementedError

    @property
    def metrics(self) -> Mapping[str, Entry]:
        """Every measured number by its key."""
        return self.data.metrics

    def metric(self, key: str) -> Metric:
        """What is fixed about a measured number: title, direction, digits, scale."""
        return described(key, self[key].model_dump())

    @property
    def result(self) -> dict[str, Any]:
        """`result.json` as plain data, brought to today's version."""
        return self._plain

    @cached_property
    def _plain(self) -> dict[str, Any]:
        return schema.as_data(self.data)

    @property
    def dataset(self) -> str:
        return self.data.dataset.name

    @property
    def n(self) -> int:
        """Samples that were measured."""
        return self.data.dataset.n

    @property
    def limit(self) -> int | None:
        return self.data.limit

    @property
    def dtype(self) -> str:
        return self.data.run.dtype

    @property
    def seed(self) -> int:
        return self.data.run.seed

    @cached_property
    def records(self) -> pandas.DataFrame:
        """A row a sample, in the order of the data set.

        Raises:
            UserError: `records.parquet` is missing or damaged.
        """
        import pandas

        path = self.folder / "records.parquet"
        try:
            return pandas.read_parquet(path, engine="pyarrow")
        except Exception as error:  # pyarrow's errors have no common class
            what = "missing" if not path.is_file() else f"damaged ({' '.join(str(error).split())})"
            raise UserError(f"{self.name}/records.parquet is {what}; run the command that made it again") from error

    @cached_property
    def about(self) -> dict[str, Any]:
        """`run.json`: what may differ between two runs of the same bytes; empty where it cannot be read."""
        try:
            found = dict(json.loads((self.folder / "run.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return {}
        tables = [found.get(name, {}) for name in ("machine", "versions", "seconds", "images")]
        return found if all(isinstance(table, dict) for table in tables) else {}

    def seconds(self, stage: str) -> float | None:
        """Wall time of a stage, a sample; None where none was timed.

        A resumed run timed only the samples that it counts; runs of before they were counted timed all `n`.
        """
        try:
            count = self.about.get("images", {stage: self.n}).get(stage, 0)
            return float(self.about["seconds"]["wall"][stage]) / count or None
        except (KeyError, ValueError, TypeError, AttributeError, ZeroDivisionError):
            return None


@dataclass(frozen=True, eq=False, repr=False)
class ReconResult(Result):
    """A tokenizer's reconstructions of one data set under one protocol."""

    @property
    def label(self) -> str:
        """The tokenizer's canonical name, options after `@`."""
        return self.data.tokenizer.name

    @property
    def tokenizer(self) -> dict[str, Any]:
        return self.result["tokenizer"]

    @property
    def protocol(self) -> dict[str, Any]:
        return self.result["protocol"]

    def table(self) -> str:
        """This result as a table of one row, as the command prints it."""
        from lactok.evaluation.table import markdown

        return markdown([self])


@dataclass(frozen=True, eq=False, repr=False)
class PicturesResult(Result):
    """A result about pictures: a generator's, or somebody's folder."""

    @property
    def label(self) -> str:
        """The generator, or the folder's own name without what tells two folders of one name apart."""
        pictures = self.data.pictures
        if pictures.generator is not None:
            return pictures.generator.name
        found = re.fullmatch(r"images-(.+)-[0-9a-f]{6}", pictures.name)
        return found[1] if found else pictures.name


class GenEvalResult(PicturesResult):
    """GenEval of a generator, or of a folder of somebody's pictures."""

    def metric(self, key: str) -> Metric:
        """A share of correct pictures or prompts: all are told by their key."""
        return Metric(key, key, True, own=False)


class PreferenceResult(PicturesResult):
    """Rewards of pictures and, with references, their distance to photographs."""

    def metric(self, key: str) -> Metric:
        """A reward, or a distance."""
        for reward in self.data.rewards:
            if reward.name == key:
                return titles.described(key, reward.higher_is_better)
        return super().metric(key)


class GenerationResult(PicturesResult):
    """Pictures that a generator made."""


KINDS: dict[str, type[Result]] = {
    "recon": ReconResult,
    "geneval": GenEvalResult,
    "preference": PreferenceResult,
    "generation": GenerationResult,
}


@dataclass(frozen=True, eq=False)
class Results(Sequence[Result]):
    """Several results, in the order of their folders' names.

    Attributes:
        left_out: a line each for folders that are damaged or of another program, and for those of an older version.
    """

    every: tuple[Result, ...] = ()
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.every)

    def __getitem__(self, index: Any) -> Any:
        return self.every[index]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.every)

    def of(self, kind: type[R]) -> tuple[R, ...]:
        """Those of one suite."""
        return tuple(r for r in self.every if isinstance(r, kind))

    @property
    def recon(self) -> tuple[ReconResult, ...]:
        return self.of(ReconResult)

    @property
    def geneval(self) -> tuple[GenEvalResult, ...]:
        return self.of(GenEvalResult)

    @property
    def preference(self) -> tuple[PreferenceResult, ...]:
        return self.of(PreferenceResult)

    def without(self, *kinds: type[Result]) -> Results:
        """The same without some suites."""
        return Results(tuple(r for r in self.every if not isinstance(r, kinds)), self.left_out)

    def table(self) -> str:
        """The reconstructions as Markdown, a table for each data set and protocol, as the command prints them."""
        from lactok.evaluation.table import markdown

        groups: dict[tuple[str, ...], list[ReconResult]] = {}
        for result in self.recon:
            p = result.data.protocol
            groups.setdefault((result.dataset, p.name, p.prepare, p.score), []).append(result)
        titled = len(groups) > 1
        tables = []
        for (dataset, protocol, prepare, score), results in groups.items():
            head = f"{dataset}, protocol {protocol} ({prepare}-{score})\n\n" if titled else ""
            tables.append(head + markdown(results))
        return "\n".join(tables)


def load(folder: Path) -> Result:
    """One result folder; raises `Damaged`."""
    try:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Damaged("there is no result.json") from None
    except OSError as error:
        raise Damaged(f"result.json cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"result.json is damaged ({error})") from error
    data, older = schema.parsed(content, folder.name)
    return KINDS[data.suite](folder, data, older)


def load_results(folder: str | os.PathLike[str] = "runs") -> Results:
    """Every stored result of a folder.

    Args:
        folder: as the suites' `out`, or a result's own folder.

    Raises:
        MissingFile: no such folder.
        UserError: nothing in it that can be read; names the command to run first.

    >>> import tempfile, lactok
    >>> out = tempfile.mkdtemp()
    >>> _ = lactok.evaluate("resize-8", metrics="psnr", limit=2, out=out)
    >>> [result.label for result in lactok.load_results(out)]
    ['resize-8']
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingFile(f"`runs` {folder}: no such folder; measure something first: {FIRST}")
    inside = [p for p in root.iterdir() if (p / "result.json").exists()]
    found: list[Result] = []
    left_out = []
    for path in sorted(inside) or ([root] if (root / "result.json").exists() else []):
        try:
            found.append(load(path))
        except Damaged as error:
            left_out.append(f"left out: {path.name!a}: {error}")
    if not found:
        what = f"; {left_out[0]}" if left_out else ""
        raise UserError(f"`runs` {folder} holds no results{what}; measure something first: {FIRST} --out {folder}")
    return Results(tuple(found), (*left_out, *told_older(found)))


def told_older(results: Sequence[Result]) -> list[str]:
    """A line where some of the results are of an older version, none otherwise."""
    older = [r.name for r in results if r.older]
    more = f" and {len(older) - 1} more" if len(older) > 1 else ""
    return [f"read as of today: {older[0]!a}{more}: of version 1 of the schema; run again to renew"] if older else []
