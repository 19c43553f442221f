"""Prompts of a generation: GenEval's, or those of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lactok import registry
from lactok.errors import MissingFile, WrongValue

Prompt = Mapping[str, Any]


def read_prompts(source: str) -> list[dict[str, Any]]:
    """`geneval`, or a file: .jsonl with an object a line, anything else with a prompt a line (empty lines left out).

    Raises:
        MissingFile, WrongValue: no such file, not UTF-8, or a line that is no object.
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
    if path.suffix != ".jsonl":
        found = [{"prompt": line} for line in lines if line]
    else:
        found = [_object(f"{source}, line {number}", line) for number, line in enumerate(lines, 1) if line]
    if not found:
        raise WrongValue(f"`prompts` {source}: no prompt in it")
    return found


def _object(where: str, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise WrongValue(f'{where}: not a JSON object, as in {{"prompt": "a photo of a bench"}}')
    return value


def conditions(name: str, prompts: Sequence[Prompt]) -> list[Any]:
    """What a generator takes of each prompt: its text, or its class.

    Raises:
        WrongValue: a prompt without it.
    """
    spec = registry.generator_spec(name)
    key, kind = ("prompt", str) if spec.condition == "text" else ("class", int)
    for number, prompt in enumerate(prompts, 1):
        if not isinstance(prompt.get(key), kind):
            what = "a text" if kind is str else "a number"
            raise WrongValue(f'prompt {number} has no "{key}" that is {what}, which {spec.name} needs')
    return [prompt[key] for prompt in prompts]
