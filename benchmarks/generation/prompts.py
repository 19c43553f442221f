"""Read the prompts that pictures are made of: GenEval's, or those in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lactok import registry
from lactok.errors import WrongValue
from lactok.evaluation.prompts import fault, of_file

if TYPE_CHECKING:
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


# what `GeneratorSpec.condition` may be -> what pictures are made of, and the suites that measure such generators
CONDITIONS = {
    "text": ("prompts", ("geneval", "preference")),
    "class": ("ImageNet classes", ("gfid",)),
}


def check_condition(spec: GeneratorSpec, wanted: str) -> None:
    """Raise WrongValue, which names the right suites, for a generator whose pictures are made of something else.

    Args:
        spec: the generator.
        wanted: what the suite that asks gives to generators, "text" or "class".
    """
    if spec.condition == wanted:
        return
    if spec.condition not in CONDITIONS:
        known = " or ".join(CONDITIONS)
        raise WrongValue(f"{spec.name} is conditioned on {spec.condition!r}; no suite measures that, only {known}")
    what, suites = CONDITIONS[spec.condition]
    commands = " or ".join(f"`python -m benchmarks.{suite} --generators {spec.name}`" for suite in suites)
    raise WrongValue(
        f"{spec.name} makes pictures of {what}, not of {CONDITIONS[wanted][0]}; it is measured by {commands}"
    )


def conditions(name: str, prompts: Sequence[Prompt]) -> list[Any]:
    """Return what a generator is conditioned on, per prompt: its text, or the number of its ImageNet class.

    Args:
        name: the generator, with options after `@`.

    Raises:
        WrongValue: a prompt lacks what this generator needs, or is empty or has a control character.
    """
    spec = registry.generator_spec(name)
    if spec.condition not in CONDITIONS:
        check_condition(spec, "text")
    key, what = ("prompt", "a text") if spec.condition == "text" else ("class", "a number from 0 to 999")
    for number, prompt in enumerate(prompts, 1):
        value = prompt.get(key)
        taken = isinstance(value, str) if key == "prompt" else type(value) is int and 0 <= value < 1000
        if not taken:
            raise WrongValue(f'prompt {number} has no "{key}" that is {what}, which {spec.name} needs')
        if isinstance(value, str) and (wrong := fault(value)):
            raise WrongValue(f"prompt {number} {wrong}")
    return [prompt[key] for prompt in prompts]
