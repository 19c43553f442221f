"""A generator's pictures of prompts: the generation suite's work on a shard, and its result.

The layout is that of djghosh13/geneval's scripts: DIR/00000/{metadata.jsonl,samples/0000.png}, a folder a prompt.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.generation.prompts import Prompt, conditions
from lactok import images, registry
from lactok.errors import WrongValue, disk_errors
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.shards import ShardWork, complete
from lactok.evaluation.store import write_atomically
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import to_json, write_result
from lactok.metrics.scorer import batches
from lactok.randomness import seed_of

if TYPE_CHECKING:
    from lactok.tokenizer import Generator

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")
logger = logging.getLogger("lactok.generation")


def prompt_folder(folder: Path, index: int) -> Path:
    return folder / f"{index:05}"


def planned(folder: Path, prompts: Mapping[int, Prompt], samples: int) -> tuple[Sample, ...]:
    """The pictures to be made, prompt by prompt; their ids are prompt/sample ("00012/0003").

    Args:
        prompts: by their numbers.
    """
    return tuple(
        Sample(
            f"{index:05}/{sample:04}",
            prompt_folder(folder, index) / "samples" / f"{sample:04}.png",
            str(prompt.get("prompt", prompt.get("class", ""))),
            metadata=json.dumps(dict(prompt)),
        )
        for index, prompt in prompts.items()
        for sample in range(samples)
    )


@dataclass(frozen=True, eq=False)
class GenerationWork(ShardWork):
    """Make the pictures of a shard that are not there yet, or cannot be read.

    Attributes:
        name: of the generator as it is asked for.
        conditions: number of a prompt -> what the generator takes of it.
    """

    name: str
    conditions: Mapping[int, Any]
    run: Run
    _loaded: list[Generator] = field(default_factory=list, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": []}  # each process loads its own

    def generator(self) -> Generator:
        if not self._loaded:
            self._loaded.append(registry.load_generator(self.name, self.run.device, getattr(torch, self.run.dtype)))
        return self._loaded[0]

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        return all(sample.path.is_file() for sample in samples)

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        missing = [sample for sample in samples if not _is_readable(sample.path)]
        for batch in batches(len(missing), self.run.micro_batch):
            wanted = missing[batch]
            places = [place(sample) for sample in wanted]
            seeds = [seed_of(self.run.seed, *p) for p in places]
            generator = self.generator()
            with timer.stage("generate", len(wanted)):
                made = generator.generate([self.conditions[index] for index, _ in places], seeds)
            pixels = images.to_uint8(made, "nearest").cpu()
            for sample, image in zip(wanted, pixels, strict=True):
                with disk_errors(sample.path.parents[2]):
                    write_atomically(sample.path, images.png(image))


def place(sample: Sample) -> tuple[int, int]:
    """Numbers of a picture's prompt and of the picture among those of its prompt; its seed is made of both."""
    index, _, number = sample.id.partition("/")
    return int(index), int(number)


def generate(
    name: str,
    prompts: Sequence[Prompt],
    folder: Path,
    run: Run,
    execution: Execution,
    *,
    samples: int,
    source: str = "prompts",
    numbers: Sequence[int] | None = None,
) -> tuple[Dataset, Timer | None]:
    """A generator's pictures of prompts in `folder`; pictures that are there and can be read are kept.

    Args:
        name: of a generator, with options after `@`, or FILE.py:CLASS.
        prompts: each with a "prompt", or with a "class" for generators of ImageNet classes; other keys are kept.
        run: its seed is the run's; a picture's is hash(seed, number of its prompt, number of its sample).
        samples: pictures a prompt.
        source: what the prompts are called.
        numbers: of the prompts, where they are some of many; by default 0, 1, ...

    Returns:
        All pictures, and what the work took; None while other parts still have some to make.

    Raises:
        WrongValue: prompts that the generator cannot take, a folder of other pictures.
        WeightsNotFound: the generator's weights cannot be had.
        DiskError: a full disk.
    """
    numbered = dict(zip(range(len(prompts)) if numbers is None else numbers, prompts, strict=True))
    dataset = Dataset(f"{source}-{digest([dict(p) for p in prompts])[:6]}", planned(folder, numbered, samples))
    work = GenerationWork(name, dict(zip(numbered, conditions(name, prompts), strict=True)), run)
    with disk_errors(folder):
        _claim(folder, name, {"seed": run.seed, "samples": samples, "dtype": run.dtype})
        for index, prompt in numbered.items():
            _describe(prompt_folder(folder, index), prompt)
    title = registry.generator_spec(name).name
    timer = complete(work, list(dataset.shards()), execution, f"{title}, pictures")
    if timer is not None:
        _write(title, dataset, len(prompts), folder, run, execution, samples, timer)
    return dataset, timer


def _write(
    name: str, dataset: Dataset, prompts: int, folder: Path, run: Run, execution: Execution, samples: int, timer: Timer
) -> None:
    """The result of a generation: which pictures there are; `run.json` says how long they took."""
    pictures = dataset.samples
    content = {
        "suite": "generation",
        "limit": execution.limit,
        "pictures": {
            "name": name,
            "generator": {"name": name, "samples": samples, "seed": run.seed, "dtype": run.dtype},
        },
        "dataset": {
            "name": dataset.name,
            "n": len(pictures),
            "skipped": [],
            "prompts": prompts,
            "sha256": digest([[s.id, s.sha256, s.metadata] for s in pictures]),
        },
        "run": {"dtype": run.dtype, "seed": run.seed, "device": run.device_kind},
        "metrics": {},
    }
    columns: dict[str, list[Any]] = {
        "id": [s.id for s in pictures],
        "caption": [s.caption for s in pictures],
        "seed": [seed_of(run.seed, *place(s)) for s in pictures],
        "sha256": [s.sha256 for s in pictures],
    }
    write_result(folder, content, columns, run, timer, LIBRARIES)


def _claim(folder: Path, name: str, run: Mapping[str, object]) -> None:
    """Note in `folder/generation.json` what makes its pictures; raise WrongValue where others made them."""
    settings = registry.generator_settings(name)
    note = {"generator": settings["name"], "settings": digest(settings)[:16], **run}
    path = folder / "generation.json"
    if path.exists():
        try:
            known = json.loads(path.read_text())
            other = {key: (known.get(key), value) for key, value in note.items() if known.get(key) != value}
        except (ValueError, AttributeError):
            raise WrongValue(f"{path} is damaged; delete it if its folder is to be filled by {name}") from None
        if other:
            differences = ", ".join(f"{key} {old} instead of {new}" for key, (old, new) in other.items())
            raise WrongValue(f"{folder} holds pictures of another run ({differences}); choose another folder")
    elif folder.exists() and next(folder.glob("[0-9]*/samples/*"), None) is not None:
        raise WrongValue(f"{folder} holds pictures without a generation.json; choose another folder")
    else:
        write_atomically(path, to_json(note))


def _describe(folder: Path, prompt: Prompt) -> None:
    """The prompt's metadata.jsonl; raises WrongValue where its folder belongs to another prompt."""
    path, line = folder / "metadata.jsonl", json.dumps(dict(prompt)).encode()
    if not path.exists():
        write_atomically(path, line)
    elif path.read_bytes() != line:
        raise WrongValue(f"{folder} holds pictures of another prompt; choose another folder")


def _is_readable(path: Path) -> bool:
    """Whether a picture is there and whole; a damaged one is said and made anew."""
    if not path.exists():
        return False
    try:
        images.open_photograph(path)
    except images.UnreadableImage as error:
        logger.warning("%s is damaged (%s): it is made again", path, error)
        return False
    return True
