"""The sources of prompts and pictures that lactok itself has: a file of prompts, and every generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lactok.data.registry import STAGES, find, is_stage_name
from lactok.data.stages import Made, PictureSource, PromptSource, StageSpec
from lactok.errors import UserError, WrongValue, unknown
from lactok.evaluation.prompts import fault, of_file
from lactok.evaluation.tar_index import is_pattern, matching
from lactok.files import is_file
from lactok.outside_text import shown


def prompt_source(name: str) -> PromptSource:
    """Return the source of prompts that a user names: a stage, or else a file of prompts.

    Raises:
        UserError: there is neither such a stage nor such a file, or the file holds a prompt that no generator takes.
    """
    if is_stage_name(name):
        return find(PromptSource, name)  # type: ignore[type-abstract]
    if not is_file(Path(name)) and "/" not in name and not Path(name).suffix and not is_pattern(name):
        raise unknown("source of prompts", shown(name), [*STAGES.of_kind(PromptSource), "a file of prompts"])
    return FilePrompts(name)


class FilePrompts(PromptSource):
    """The prompts of a file, a prompt per line, or of a .jsonl file with objects of "prompt" (or "caption").

    Args:
        path: the file, or a glob or brace pattern of several, whose prompts follow each other.

    Raises:
        UserError: it is not there, or holds something that is no prompt.
    """

    def __init__(self, path: str):
        super().__init__(StageSpec("file"))
        self.files = matching(path, "`prompts`") if is_pattern(path) else [Path(path)]
        self.texts = [text for file in self.files for text in self._read(str(file))]

    def _read(self, file: str) -> Iterator[str]:
        """Yield the prompts of a file."""
        for number, entry in enumerate(of_file(file, "a source of prompts or "), 1):
            text = entry.get("prompt", entry.get("caption"))
            if not isinstance(text, str):
                raise WrongValue(f'{shown(file, 200)}: prompt {number} has no "prompt" that is a text')
            if wrong := fault(text):
                raise WrongValue(f"{shown(file, 200)}: prompt {number} {wrong}")
            yield " ".join(text.split())

    def count(self) -> int:
        return len(self.texts)

    def prompts(self, numbers: Sequence[int], seed: int) -> list[str]:
        return [self.texts[number] for number in numbers]

    def settings(self) -> dict[str, Any]:
        from lactok.weights import sha256

        return {"name": "file", "sha256": [sha256(file) for file in self.files]}


def picture_source(name: str) -> PictureSource:
    """Return the source of pictures that a user names: a stage, or else a generator of lactok.

    Raises:
        UserError: there is none of that name, an option is wrong, or the generator does not take texts.
    """
    from lactok import registry

    base = name.partition("@")[0]
    if base in STAGES.names():
        return find(PictureSource, name)  # type: ignore[type-abstract]
    if is_stage_name(name):  # a class in a file, which may be of either kind
        try:
            return GeneratorPictures(name)
        except UserError:
            return find(PictureSource, name)  # type: ignore[type-abstract]
    if base not in registry.GENERATORS.names() and base not in registry.GENERATORS.own():
        raise unknown("generator", base, [*registry.list_generators(), *STAGES.of_kind(PictureSource)])
    return GeneratorPictures(name)


class GeneratorPictures(PictureSource):
    """Pictures of one of lactok's generators, see `lactok.load_generator`.

    Args:
        name: its name, which may carry options after `@`, or FILE.py:CLASS.
    """

    def __init__(self, name: str):
        from lactok import registry

        spec = registry.generator_spec(name)
        if spec.condition != "text":
            raise WrongValue(f"`generator` {spec.name} is conditioned on {spec.condition}, not on texts; name another")
        self.name = name
        super().__init__(StageSpec(spec.name, spec.license, assets=spec.assets, side=spec.output_size, note=spec.note))

    def state(self) -> str:
        from lactok import registry, weights

        spec = registry.generator_spec(self.name)
        others = registry.tokenizer_spec(spec.tokenizer).assets if spec.tokenizer is not None else ()
        if not spec.assets and not others and spec.family == "diffusion":
            return "of the hub"  # diffusers finds them by itself
        return weights.state([*spec.assets, *others])

    def settings(self) -> dict[str, Any]:
        from lactok import registry

        return registry.generator_settings(self.name)

    def load(self, device: str, dtype: str) -> None:
        import torch

        from lactok import registry

        self.generator = registry.load_generator(self.name, device, getattr(torch, dtype))

    def make(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Made]:
        from lactok import images

        made = self.generator.generate(list(prompts), list(seeds))
        return [Made(images.to_pil(picture)) for picture in images.to_uint8(made, "nearest").cpu()]
