"""Reference sets: the kinds that are built here, the description of a set, and its replay."""

from __future__ import annotations

import difflib
import importlib
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from benchmarks.verify.checks import Checks, NotBuilt
from lactok import outside_text
from lactok.errors import MissingFile, UserError, WeightsNotFound
from lactok.files import is_file, is_folder
from lactok.outside_text import shown

# kind -> MODULE or MODULE:FUNCTION; the function, `replay` if none is named, takes folder, config and checks, and
# compares every output of a set with the model's
KINDS = {
    "llamagen_vq": "benchmarks.verify.llamagen_vq",
    "vqgan": "benchmarks.verify.vqgan",
    "ibq": "benchmarks.verify.ibq",
    "open_magvit2": "benchmarks.verify.open_magvit2",
    "seed_voken_eval": "benchmarks.verify.seed_voken",
    "titok": "benchmarks.verify.titok",
    "flextok": "benchmarks.verify.flextok",
    "seed": "benchmarks.verify.seed",
    "seed_unclip": "benchmarks.verify.seed_unclip",
    "lactok_decoder": "benchmarks.verify.lactok_decoder",
    "lactok_encoder": "benchmarks.verify.lactok_encoder",
    "llamagen_gpt": "benchmarks.verify.llamagen_gpt",
    "lactokgen": "benchmarks.verify.lactokgen",
    "titok_generator": "benchmarks.verify.titok_generator",
    "magvitv2": "benchmarks.verify.magvit_v2",
    "cosmos_di": "benchmarks.verify.cosmos",
    "showo_t2i": "benchmarks.verify.show_o",
    "hart_t2i": "benchmarks.verify.hart",
    "hart_tokenizer": "benchmarks.verify.multiscale_vq:replay_hart",
    "var_vqvae": "benchmarks.verify.multiscale_vq:replay_var",
    "geneval": "benchmarks.verify.geneval",
    "metrics": "benchmarks.verify.metrics",
    "rewards": "benchmarks.verify.rewards",
    "outputs": "benchmarks.verify.outputs",
}
# the errors that a damaged file, a missing entry or a tensor of a wrong shape can cause somewhere inside a replay
DAMAGE = (
    UserError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    StopIteration,
    EOFError,
    SafetensorError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class ReferenceSet:
    """The description of a set, read from its files.

    Attributes:
        folder: the set's folder.
        kind: its kind, a key of `KINDS` if that is built here.
        name: its name, with which the lines of its replay begin.
        config: the content of config.json, {} where there is none.
        tolerances: the set's own tolerances by name, such as "atol" and "rtol": `tolerances` of set.json, else what its
            README suggests, else none.
    """

    folder: Path
    kind: str
    name: str
    config: dict[str, Any]
    tolerances: Mapping[str, float]


def read(folder: Path) -> ReferenceSet:
    """Return the description of the set in a folder.

    Raises:
        MissingFile: there is no such folder.
        UserError: there is no set.json in it, or a file is damaged.
    """
    if not is_folder(folder):
        raise MissingFile(f"no such folder {shown(folder, 200)}; name reference sets (folders with a set.json)")
    if not is_file(folder / "set.json"):
        raise UserError(f"{folder} is not a reference set: it has no set.json")
    try:
        described = _json_object(folder / "set.json")
        config = _json_object(folder / "config.json") if is_file(folder / "config.json") else {}
        tolerances = suggested_tolerances(folder)
        for name, value in described.get("tolerances", {}).items():
            tolerances[str(name)] = float(value)
        return ReferenceSet(folder, str(described["kind"]), str(described["name"]), config, tolerances)
    except DAMAGE as error:
        raise _damaged(folder, error) from error


def _json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raise UserError if it is damaged or holds something else."""
    return outside_text.json_object(outside_text.read(path, path.name), path.name)


_NUMBER = r"[0-9.]+(?:e-?[0-9]+)?"
_SUGGESTED = re.compile(rf"suggested tolerance atol=(?P<atol>{_NUMBER}).*?rtol (?P<rtol>{_NUMBER})")


def suggested_tolerances(folder: Path) -> dict[str, float]:
    """Return `atol` and `rtol` that a set's README suggests, {} if it does not have the sentence that states them.

    That sentence reads "suggested tolerance atol=1e-04 on floats of O(1..10), rtol 1e-4".
    """
    readme = folder / "README.md"
    if not readme.is_file():
        return {}
    found = _SUGGESTED.search(outside_text.read(readme, readme.name))
    if found is None:
        return {}
    return {"atol": float(found["atol"]), "rtol": float(found["rtol"])}


def replay_of(kind: str) -> Callable[[Path, dict[str, Any], Checks], None]:
    """Return the function that replays a set of a kind of `KINDS` from its folder and configuration."""
    module, _, function = KINDS[kind].partition(":")
    return getattr(importlib.import_module(module), function or "replay")


def replay(reference: ReferenceSet) -> Checks:
    """Compare every stored output of a set with what this project's model makes of the stored inputs.

    Raises:
        UserError: the set is incomplete or damaged.
        WeightsNotFound: the set needs published weights, such as those of LPIPS, that are not installed.
    """
    checks = Checks(reference.name, reference.tolerances)
    if reference.kind not in KINDS:
        near = difflib.get_close_matches(reference.kind, KINDS, n=1, cutoff=0.8)
        hint = f", did you mean {near[0]!r}?" if near else ""
        checks.not_replayed(f"no model of kind {reference.kind!r} is built here{hint}")
        return checks
    try:
        replay_of(reference.kind)(reference.folder, reference.config, checks)
    except NotBuilt as reason:
        checks.not_replayed(str(reason))
    except (WeightsNotFound, BrokenPipeError):  # neither means that the set is damaged
        raise
    except DAMAGE as error:
        raise _damaged(reference.folder, error) from error
    return checks


def _damaged(folder: Path, error: BaseException) -> UserError:
    """Return an error of one line for any error that a damaged set caused."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError) and not isinstance(error, UserError):
        text = f"{text} is missing"
    elif not isinstance(error, UserError):
        text = f"{type(error).__name__}: {text}"
    if len(text) > 300:
        text = text[:297] + "..."
    return UserError(f"{folder} is incomplete or damaged: {text}")
