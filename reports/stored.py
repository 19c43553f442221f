"""Stored results as the suites wrote them: read, checked, typed. Nothing here computes a score.

`read(runs)` takes every folder under `runs` that holds a `result.json`. What is damaged or of another program is left
out, with one line that says which and why.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lactok.errors import UserError

if TYPE_CHECKING:
    import pandas

SCHEMA = 1
FIRST = "python -m benchmarks.recon --tokenizers local"

# {"value": number or None, "ci95": [low, high] or None, "n": images, ...}
Entry = Mapping[str, Any]


class Damaged(Exception):
    """A `result.json` that is not what this project writes; the message says what is wrong."""


@dataclass(frozen=True, eq=False)
class Stored:
    """A result folder.

    Attributes:
        folder: where it lies; only its name belongs into anything written.
        result: `result.json` as it is.
    """

    required: ClassVar[Mapping[str, type | tuple[type, ...]]] = {}

    folder: Path
    result: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The folder's name: unique among the results of one `--runs`."""
        return self.folder.name

    @property
    def label(self) -> str:
        """What was measured: a tokenizer, a generator or a folder of pictures."""
        raise NotImplementedError

    @property
    def metrics(self) -> dict[str, Entry]:
        """Every measured number by its key."""
        return self.result["metrics"]

    @property
    def dtype(self) -> str:
        return str(self.result.get("run", {}).get("dtype", "float32"))

    @property
    def seed(self) -> int:
        return int(self.result.get("run", {}).get("seed", 0))

    @cached_property
    def records(self) -> pandas.DataFrame:
        """A row an image, in the order of `id`.

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

    def check(self) -> None:
        """Raise `Damaged` where a key is missing or of another kind."""
        for path, kinds in self.required.items():
            _need(self.result, path, kinds)
        for key, entry in self.metrics.items():
            _check_entry(key, entry)


@dataclass(frozen=True, eq=False)
class ReconResult(Stored):
    """A tokenizer's reconstructions of one data set under one protocol."""

    required: ClassVar[Mapping[str, type | tuple[type, ...]]] = {
        "tokenizer.name": str, "tokenizer.family": str, "tokenizer.tokens": (int, type(None)),
        "tokenizer.codebook_size": (int, type(None)), "tokenizer.bits": (int, float, type(None)),
        "tokenizer.options": dict, "tokenizer.assets": list,
        "dataset.name": str, "dataset.n": int, "dataset.sha256": str, "dataset.skipped": list,
        "protocol.name": str, "protocol.prepare": str, "protocol.score": str, "protocol.resolution": int,
        "protocol.definition.prepare": dict, "protocol.definition.score": dict,
        "run.dtype": str, "run.seed": int, "metrics": dict, "codebook": (dict, type(None)),
    }  # fmt: skip

    @property
    def label(self) -> str:
        """The tokenizer's canonical name, options after `@`."""
        return self.result["tokenizer"]["name"]

    @property
    def tokenizer(self) -> dict[str, Any]:
        return self.result["tokenizer"]

    @property
    def dataset(self) -> str:
        return self.result["dataset"]["name"]

    @property
    def n(self) -> int:
        """Images that were scored."""
        return self.result["dataset"]["n"]

    @property
    def protocol(self) -> dict[str, Any]:
        return self.result["protocol"]

    @cached_property
    def about(self) -> dict[str, Any]:
        """`run.json`: what may differ between two runs of the same bytes; empty where it cannot be read."""
        try:
            return dict(json.loads((self.folder / "run.json").read_bytes()))
        except (OSError, ValueError, TypeError):
            return {}

    def seconds(self, stage: str) -> float | None:
        """Wall time of a stage, an image; None where none was timed.

        A resumed run timed only the images that it counts; runs of before they were counted timed all `n`.
        """
        try:
            count = self.about.get("images", {stage: self.n}).get(stage, 0)
            return float(self.about["seconds"]["wall"][stage]) / count or None
        except (KeyError, ValueError, TypeError, AttributeError, ZeroDivisionError):
            return None

    @property
    def limit(self) -> int | None:
        """`--limit`, which only the folder's name tells."""
        found = re.search(r"__limit(\d+)(__|$)", self.name)
        return int(found[1]) if found else None


@dataclass(frozen=True, eq=False)
class GenEvalResult(Stored):
    """GenEval of a generator, or of a folder of somebody's pictures."""

    required: ClassVar[Mapping[str, type | tuple[type, ...]]] = {
        "images.name": str, "images.n": int, "images.sha256": str, "detector.name": str, "colours.name": str,
        "comparable": bool, "comparable_note": str, "tasks": dict, "overall": dict,
    }  # fmt: skip

    @property
    def label(self) -> str:
        return str(self.result.get("generator", {}).get("name") or self.result["images"]["name"])

    @property
    def metrics(self) -> dict[str, Entry]:
        """`overall`, `per_image`, `prompts` and a task's share of correct images under the task's name."""
        others = {k: self.result[k] for k in ("overall", "per_image", "prompts") if k in self.result}
        return {**self.result["tasks"], **others}

    @property
    def seed(self) -> int:
        return int(self.result.get("generator", {}).get("seed", 0))

    @property
    def dtype(self) -> str:
        return str(self.result.get("generator", {}).get("dtype", "float32"))


@dataclass(frozen=True, eq=False)
class PreferenceResult(Stored):
    """Rewards of pictures and, with references, their distance to photographs."""

    required: ClassVar[Mapping[str, type | tuple[type, ...]]] = {
        "pictures.name": str, "dataset.name": str, "dataset.n": int, "dataset.captions": int, "dataset.sha256": str,
        "rewards": list, "metrics": dict, "run.dtype": str, "run.seed": int,
    }  # fmt: skip

    @property
    def label(self) -> str:
        """The generator, or the folder's own name without what tells two folders of one name apart."""
        name = self.result["pictures"]["name"]
        found = re.fullmatch(r"images-(.+)-[0-9a-f]{6}", name)
        return found[1] if found else name


@dataclass(frozen=True, eq=False)
class Results:
    """All that `read` found, each kind in the order of the folders' names.

    Attributes:
        left_out: a line each for folders that are damaged or of another program.
    """

    recon: tuple[ReconResult, ...] = ()
    geneval: tuple[GenEvalResult, ...] = ()
    preference: tuple[PreferenceResult, ...] = ()
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.recon) + len(self.geneval) + len(self.preference)


def load(folder: Path) -> Stored:
    """One result folder; raises `Damaged`."""
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Damaged("there is no result.json") from None
    except OSError as error:
        raise Damaged(f"result.json cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"result.json is damaged ({error})") from error
    if not isinstance(result, dict):
        raise Damaged("result.json is not this project's")
    found: Stored
    if result.get("suite") == "geneval":
        found = GenEvalResult(folder, result)
    elif "rewards" in result and "pictures" in result:
        found = PreferenceResult(folder, result)
    elif "tokenizer" in result and "protocol" in result:
        found = ReconResult(folder, result)
    else:
        raise Damaged("result.json is not this project's")
    if result.get("schema") != SCHEMA:
        raise Damaged(f"result.json has schema {result.get('schema')!r}, this version reads {SCHEMA}")
    found.check()
    return found


def read(runs: str | Path) -> Results:
    """Every result under `runs`.

    Raises:
        UserError: no such folder, or nothing in it that can be read; names the command to run first.
    """
    root = Path(runs)
    if not root.is_dir():
        raise UserError(f"--runs {runs}: no such folder; measure something first: {FIRST}")
    found: list[Stored] = []
    left_out = []
    for folder in sorted(p for p in root.iterdir() if (p / "result.json").exists()):
        try:
            found.append(load(folder))
        except Damaged as error:
            left_out.append(f"left out: {folder.name!a}: {error}")
    if not found:
        what = f"; {left_out[0]}" if left_out else ""
        raise UserError(f"--runs {runs} holds no results{what}; measure something first: {FIRST} --out {runs}")
    return Results(
        tuple(f for f in found if isinstance(f, ReconResult)),
        tuple(f for f in found if isinstance(f, GenEvalResult)),
        tuple(f for f in found if isinstance(f, PreferenceResult)),
        tuple(left_out),
    )


def _need(result: Mapping[str, Any], path: str, kinds: type | tuple[type, ...]) -> None:
    value: Any = result
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            raise Damaged(f"result.json has no {path}")
        value = value[part]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise Damaged(f"result.json: {path} is {json.dumps(value)[:40]}")


def _check_entry(key: str, entry: Any) -> None:
    """A metric's value is a number or null, its interval two numbers or null."""
    if not isinstance(entry, dict) or "value" not in entry or not isinstance(entry.get("n"), int):
        raise Damaged(f"result.json: {key} is not a value with its n")
    interval: Sequence[Any] = entry.get("ci95") or ()
    numbers = [entry["value"], *interval] if isinstance(interval, list | tuple) else ["?"]
    if len(interval) not in (0, 2) or not all(v is None or _is_number(v) for v in numbers):
        raise Damaged(f"result.json: {key} is not a number with its interval")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
