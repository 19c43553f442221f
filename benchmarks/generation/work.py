"""Make a generator's pictures of prompts, shard by shard, and write the result.

The layout is that of djghosh13/geneval's scripts, one folder per prompt: DIR/00000/metadata.jsonl holds the prompt,
DIR/00000/samples/0000.png its first picture.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from benchmarks.generation import times
from benchmarks.generation.prompts import Prompt, conditions
from lactok import images, registry
from lactok.errors import WrongValue, disk_errors
from lactok.evaluation import generated, stored_files
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.datasets import Dataset, Sample
from lactok.evaluation.protocol import digest
from lactok.evaluation.shards import ShardWork, complete
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import to_json, write_result
from lactok.files import write_atomically
from lactok.nn.loading import ReadsCaptions, tell_cut
from lactok.randomness import seed_of

if TYPE_CHECKING:
    from lactok.tokenizer import Generator

LIBRARIES = ("torch", "diffusers", "transformers", "numpy", "pillow")
WRITERS = 4  # threads that write pictures while the next ones are made
logger = logging.getLogger("lactok.generation")


def prompt_folder(folder: Path, number: int) -> Path:
    """Return the folder of the prompt with this number."""
    return folder / f"{number:05}"


def planned(folder: Path, prompts: Mapping[int, Prompt], samples: int) -> tuple[Sample, ...]:
    """Return the pictures that are to be made, prompt by prompt; they need not be there yet.

    The id of a picture is prompt/sample, such as "00012/0003"; its caption is the prompt's text or ImageNet class.

    Args:
        folder: where the folders of the prompts lie.
        prompts: the prompts by their numbers.
        samples: pictures per prompt.
    """
    pictures = []
    for number, prompt in prompts.items():
        caption = str(prompt.get("prompt", prompt.get("class", "")))
        metadata = json.dumps(dict(prompt))
        for sample in range(samples):
            path = prompt_folder(folder, number) / "samples" / f"{sample:04}.png"
            pictures.append(Sample(f"{number:05}/{sample:04}", path, caption, metadata=metadata))
    return tuple(pictures)


@dataclass(frozen=True, eq=False)
class GenerationWork(ShardWork):
    """Make the pictures of a shard that are not there yet or cannot be read.

    Attributes:
        name: the generator as it is asked for, with options after `@`.
        conditions: what the generator is conditioned on, by the number of the prompt.
        run: seed, device, dtype and batch size.
        _loaded: the generator once it is loaded, else empty.
    """

    name: str
    conditions: Mapping[int, Any]
    run: Run
    _loaded: list[Generator] = field(default_factory=list, repr=False)
    reads_all: ClassVar[bool] = False  # a damaged picture is found when it is opened

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": []}  # each worker process loads its own generator

    def generator(self) -> Generator:
        """Return the generator, loaded at the first call."""
        if not self._loaded:
            self._loaded.append(registry.load_generator(self.name, self.run.device, getattr(torch, self.run.dtype)))
        return self._loaded[0]

    def is_finished(self, samples: Sequence[Sample]) -> bool:
        return all(sample.path.is_file() for sample in samples)

    def finish(self, samples: Sequence[Sample], timer: Timer) -> None:
        missing = [sample for sample in samples if not _is_readable(sample.path)]
        if not missing:
            return
        conditions = [self.conditions[prompt_number(sample)] for sample in missing]
        seeds = [picture_seed(self.run, sample) for sample in missing]
        generator = self.generator()  # loaded before the clock starts
        with ThreadPoolExecutor(WRITERS) as writers:
            written: list[Future[None]] = []
            for place, found in generated.made(generator, conditions, seeds, self.run, timer):
                pixels = images.to_uint8(found, "nearest").cpu()
                for earlier in written:
                    earlier.result()
                written = [writers.submit(_write, s.path, p) for s, p in zip(missing[place], pixels, strict=True)]
            for earlier in written:
                earlier.result()


def _write(path: Path, image: Tensor) -> None:
    """Write a picture (3, H, W) uint8 as a PNG file."""
    with disk_errors(path.parents[2]):
        write_atomically(path, images.png(image))


def prompt_number(sample: Sample) -> int:
    """Return the number of a picture's prompt."""
    return int(sample.id.partition("/")[0])


def picture_seed(run: Run, sample: Sample) -> int:
    """Return a picture's seed: a hash of the run's seed, its prompt's number and its own number within the prompt."""
    number = int(sample.id.partition("/")[2])
    return seed_of(run.seed, prompt_number(sample), number)


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
    """Make a generator's pictures of prompts in `folder`; keep those that are there already and can be read.

    Args:
        name: the generator, with options after `@`, or FILE.py:CLASS.
        prompts: each with a "prompt", or with a "class" for generators of ImageNet classes; other keys are kept.
        folder: where the folders of the prompts are made.
        run: seed, device, dtype and batch size; a picture's seed is hash(seed, number of its prompt, its own number).
        execution: number of worker processes, and the part of the work that is done here.
        samples: pictures per prompt.
        source: name of the prompts, for the name of the data set.
        numbers: the prompts' numbers, where they are chosen from many; by default 0, 1, ...

    Returns:
        The data set of all pictures, and the time that the work took, None while other parts still have some to make.

    Raises:
        WrongValue: the generator cannot take a prompt, or the folder holds pictures of another run.
        WeightsNotFound: the generator's weights cannot be had.
        DiskError: the disk is full.
    """
    if numbers is None:
        numbers = range(len(prompts))
    numbered = dict(zip(numbers, prompts, strict=True))
    dataset = Dataset(f"{source}-{digest([dict(p) for p in prompts])[:6]}", planned(folder, numbered, samples))
    work = GenerationWork(name, dict(zip(numbered, conditions(name, prompts), strict=True)), run)
    with disk_errors(folder):
        _claim(folder, name, {"seed": run.seed, "samples": samples, "dtype": run.dtype})
        for number, prompt in numbered.items():
            _write_metadata(prompt_folder(folder, number), prompt)
    title = registry.generator_spec(name).name
    with torch.device("meta"):
        network = registry.GENERATORS.entry(name).create()
    cut = _tell_cut(network, title, prompts)
    timer = Timer(run.device)
    finished = complete(work, list(dataset.shards()), execution, f"{title}, pictures", timer)
    with disk_errors(folder):
        times.add(folder, run, execution.part, timer, generated.at_a_time(network, run))
    if finished is not None:
        _write_result(title, dataset, len(prompts), folder, run, execution, samples, cut)
    return dataset, finished


def _tell_cut(generator: Generator, title: str, prompts: Sequence[Prompt]) -> dict[str, int]:
    """Say once how many prompts are longer than a generator reads, and return that for the result.

    Args:
        generator: the generator, without weights.
        title: its canonical name.

    Returns:
        `tokens`, how many tokens of a prompt are read, and `captions_cut`, how many different prompts have more;
        nothing where none has, or where the generator does not tell.
    """
    if not isinstance(generator, ReadsCaptions):
        return {}
    texts = list(dict.fromkeys(str(prompt.get("prompt", "")) for prompt in prompts))
    tokens, cut = generator.cut_captions(texts)
    tell_cut(title, tokens, cut, len(texts))
    return {"tokens": tokens, "captions_cut": len(cut)} if cut else {}


def _write_result(
    name: str,
    dataset: Dataset,
    prompts: int,
    folder: Path,
    run: Run,
    execution: Execution,
    samples: int,
    cut: Mapping[str, int],
) -> None:
    """Write which pictures there are to `result.json` and how long they took to `run.json`.

    The times are those of all parts and earlier runs on the device that made most of the pictures.

    Args:
        name: the generator's canonical name.
        prompts: number of prompts.
        samples: pictures per prompt.
        cut: what `_tell_cut` returns.
    """
    pictures = dataset.samples
    content = {
        "suite": "generation",
        "limit": execution.limit,
        "pictures": {
            "name": name,
            "generator": {"name": name, "samples": samples, "seed": run.seed, "dtype": run.dtype, **cut},
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
        "seed": [picture_seed(run, s) for s in pictures],
        "sha256": [s.sha256 for s in pictures],
    }
    timer, more = Timer(), {}
    known = times.total(folder)
    if known:
        place, timer = known[0]
        run = replace(run, device=place.device, threads=place.threads, batch_size=place.batch_size)
        more = {"images_at_a_time": place.batch_size}
        if stored_files.read_run(folder / "run.json").get("images") == dict(timer.images):
            timer = Timer()  # nothing new: the earlier `run.json` stays
        if known[1:]:
            others = sum(sum(elsewhere.images.values()) for _, elsewhere in known[1:])
            where = f"{place.device}, {place.threads} threads, {place.batch_size} at a time"
            logger.info("%s: run.json has the times of %s; %d more were made otherwise", name, where, others)
    write_result(folder, content, columns, run, timer, LIBRARIES, more=more)


def _claim(folder: Path, name: str, options: Mapping[str, object]) -> None:
    """Write to `folder/generation.json` what makes the pictures in it, unless it stands there already.

    Args:
        name: the generator as it is asked for.
        options: what else determines the pictures: seed, samples and dtype.

    Raises:
        WrongValue: something else made the pictures in the folder, or its note is damaged or missing.
    """
    settings = registry.generator_settings(name)
    note = {"generator": settings["name"], "settings": digest(settings)[:16], **options}
    path = folder / "generation.json"
    if path.exists():
        try:
            known = json.loads(path.read_text())
            differences = [
                f"{key} {known.get(key)} instead of {value}" for key, value in note.items() if known.get(key) != value
            ]
        except (ValueError, AttributeError, RecursionError):  # no JSON, or JSON that is no object
            raise WrongValue(f"{path} is damaged; delete it if its folder is to be filled by {name}") from None
        if differences:
            listed = ", ".join(differences)
            raise WrongValue(f"{folder} holds pictures of another run ({listed}); choose another folder")
    elif folder.exists() and next(folder.glob("[0-9]*/samples/*"), None) is not None:
        raise WrongValue(f"{folder} holds pictures without a generation.json; choose another folder")
    else:
        write_atomically(path, to_json(note))


def _write_metadata(folder: Path, prompt: Prompt) -> None:
    """Write a prompt to metadata.jsonl in its folder; raise WrongValue if the folder belongs to another prompt."""
    path = folder / "metadata.jsonl"
    line = json.dumps(dict(prompt)).encode()
    if not path.exists():
        write_atomically(path, line)
    elif path.read_bytes() != line:
        raise WrongValue(f"{folder} holds pictures of another prompt; choose another folder")


def _is_readable(path: Path) -> bool:
    """Return whether a picture is there and can be read; log a warning if it is there but damaged."""
    if not path.exists():
        return False
    try:
        images.open_photograph(path)
    except images.UnreadableImage as error:
        logger.warning("%s is damaged (%s): it is made again", path, error)
        return False
    return True
