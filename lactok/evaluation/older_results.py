"""Results of older versions of the schema, and what is said of one that cannot be read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lactok.evaluation.results import Result

VERSION = 2


class Damaged(Exception):
    """A `result.json` cannot be read, since it is damaged or of another program; the message says what is wrong."""


def short(value: object) -> str:
    """Return the beginning of a value as text on one line."""
    return ascii(str(value))[1:-1][:40]


def with_usage_of_all_codes(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a result whose `codebook.usage` is the share of all codes, see `Codebook`; the content is not changed."""
    tokenizer, codebook = content.get("tokenizer"), content.get("codebook")
    if not isinstance(tokenizer, dict) or not isinstance(codebook, dict) or "size" in codebook:
        return content
    size, used = tokenizer.get("codebook_size"), codebook.get("used")
    if type(size) is not int or type(used) is not int or not 0 <= used <= size != 0:
        return content
    return {**content, "codebook": {**codebook, "size": size, "usage": used / size}}


def upgraded(old: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Turn a result of version 1 into one of today.

    In version 1 the keys told which suite it was, and the name of the folder told the limit.

    Args:
        old: the content of `result.json`.
        name: the name of the result's folder.

    Raises:
        Damaged: a key is missing.
    """
    limit = re.search(r"__limit(\d+)(__|$)", name)
    new = dict(old) | {"schema": VERSION, "limit": int(limit[1]) if limit else None}
    try:
        if old.get("suite") == "geneval":
            return _upgraded_geneval(new)
        if "rewards" in old and "pictures" in old:
            return new | {"suite": "preference"}
        if "tokenizer" in old and "protocol" in old:
            prose = ("input", "transparency", "output", "rfid", "rfid_clean", "ssim", "lpips")
            protocol = dict(old["protocol"])
            protocol["definition"] = {
                part: {k: v for k, v in protocol["definition"][part].items() if k not in prose} | {"version": 1}
                for part in ("prepare", "score")
            }
            protocol.setdefault("networks", [])
            return new | {"suite": "recon", "protocol": protocol}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        missing = f"has no {short(error.args[0])}" if isinstance(error, KeyError) else "is damaged"
        raise Damaged(f"result.json {missing}") from error
    raise Damaged("result.json is not this project's")


def _upgraded_geneval(new: dict[str, Any]) -> dict[str, Any]:
    """Turn a result of GenEval of version 1 into one of today; `new` has today's version and limit already."""
    images, generator = new.pop("images"), new.pop("generator", None)
    tasks = new.pop("tasks")
    others = {key: new.pop(key) for key in ("overall", "per_image", "prompts") if key in new}
    left_out, remarks = new.pop("left_out", []), new.pop("remarks", [])
    own = generator or {}
    return new | {
        "pictures": {"name": own.get("name", images["name"]), "generator": generator},
        "dataset": {
            "name": images["name"],
            "n": images["n"],
            "sha256": images["sha256"],
            "prompts": images.get("prompts"),
            "skipped": [{"id": note["id"], "reason": note["text"]} for note in left_out],
        },
        "run": {"dtype": own.get("dtype", "float32"), "seed": own.get("seed", 0), "device": "cpu", **new["run"]},
        "metrics": {**tasks, **others},
        "tasks": list(tasks),
        "remarks": [{"id": note["id"], "reason": note["text"]} for note in remarks],
    }


def older_version_lines(results: Sequence[Result]) -> list[str]:
    """Return a line for the user if some of the results are of an older schema, else no line."""
    older = [result.name for result in results if result.older]
    if not older:
        return []
    more = f" and {len(older) - 1} more" if len(older) > 1 else ""
    return [
        f"read from version 1 of the schema: {older[0]!a}{more}; measure again to store them in the current version"
    ]
