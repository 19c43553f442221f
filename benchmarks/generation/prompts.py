"""Read the prompts that pictures are made of: GenEval's, or those in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lactok import registry
from lactok.errors import WrongValue
from lactok.evaluation.prompts import of_file
from lactok.specs import GeneratorSpec

# {"prompt": text}, or {"class": number of an ImageNet class}; other keys are kept with the pictures
Prompt = Mapping[str, Any]


def read_prompts(source: str) -> list[dict[str, Any]]:
    """Read prompts, in their order.

    Args:
        source: "geneval" for GenEval's 553, or a file, see `lactok.evaluation.prompts.of_file`.

    Raises:
        MissingFile: the file is not there or cannot be opened.
        WrongValue: the file is no text, holds no prompt, or has a line that is not a JSON object.
    """
    if source == "geneval":
        from benchmarks.geneval import prompts

        return [dict(prompt) for prompt in prompts.official()]
    return of_file(source, "geneval or ")


def conditions(name: str, prompts: Sequence[Prompt]) -> list[Any]:
    """Return what a generator is conditioned on, per prompt: its text, or the number of its ImageNet class.

    Args:
        name: the generator, with options after `@`.

    Raises:
        WrongValue: a prompt lacks what this generator needs.
    """
    spec = registry.generator_spec(name)
    key, what = ("prompt", "a text") if spec.condition == "text" else ("class", "a number from 0 to 999")
    for number, prompt in enumerate(prompts, 1):
        value = prompt.get(key)
        taken = isinstance(value, str) if key == "prompt" else type(value) is int and 0 <= value < 1000
        if not taken:
            raise WrongValue(f'prompt {number} has no "{key}" that is {what}, which {spec.name} needs')
    return [prompt[key] for prompt in prompts]


def check_condition(spec: GeneratorSpec, wanted: Literal["text", "class"]) -> None:
    """Raise WrongValue, which names the suites that do measure it, for a generator that takes the other condition."""
    if spec.condition == wanted:
        return
    if spec.condition == "class":
        raise WrongValue(
            f"{spec.name} makes pictures of ImageNet classes, not of texts; measure it by python -m benchmarks.gfid"
        )
    raise WrongValue(
        f"{spec.name} makes pictures of texts, not of ImageNet classes; measure it by python -m benchmarks.geneval or "
        "python -m benchmarks.preference"
    )
