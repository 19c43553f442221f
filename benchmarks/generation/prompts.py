"""Read the prompts that pictures are made of: GenEval's, or those in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lactok import registry
from lactok.errors import MissingFile, WrongValue

# {"prompt": text}, or {"class": number of an ImageNet class}; other keys are kept with the pictures
Prompt = Mapping[str, Any]


def read_prompts(source: str) -> list[dict[str, Any]]:
    """Read prompts, in their order.

    Args:
        source: "geneval" for GenEval's 553, or a file: .jsonl with a JSON object per line, or any other text with a
            prompt per line. Empty lines are skipped.

    Raises:
        MissingFile: the file is not there or cannot be opened.
        WrongValue: the file is not UTF-8, holds no prompt, or has a line that is not a JSON object.
    """
    if source == "geneval":
        from benchmarks.geneval import prompts

        return [dict(prompt) for prompt in prompts.official()]
    path = Path(source)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise MissingFile(f"`prompts` {source}: {error.strerror}; give geneval or a file of prompts") from error
    except UnicodeDecodeError as error:
        raise WrongValue(f"`prompts` {source}: not UTF-8; give geneval or a file of prompts") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        if path.suffix == ".jsonl":
            found.append(_json_object(f"{source}, line {number}", line))
        else:
            found.append({"prompt": line})
    if not found:
        raise WrongValue(f"`prompts` {source}: no prompt in it")
    return found


def _json_object(where: str, line: str) -> dict[str, Any]:
    """Parse a line as a JSON object; raise WrongValue, which names `where` it stands, if it is none."""
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise WrongValue(f'{where}: not a JSON object, as in {{"prompt": "a photo of a bench"}}')
    return value


def conditions(name: str, prompts: Sequence[Prompt]) -> list[Any]:
    """Return what a generator is conditioned on, per prompt: its text, or the number of its ImageNet class.

    Args:
        name: the generator, with options after `@`.

    Raises:
        WrongValue: a prompt lacks what this generator needs.
    """
    spec = registry.generator_spec(name)
    key: str
    kind: type
    if spec.condition == "text":
        key, kind, what = "prompt", str, "a text"
    else:
        key, kind, what = "class", int, "a number"
    for number, prompt in enumerate(prompts, 1):
        if not isinstance(prompt.get(key), kind):
            raise WrongValue(f'prompt {number} has no "{key}" that is {what}, which {spec.name} needs')
    return [prompt[key] for prompt in prompts]
