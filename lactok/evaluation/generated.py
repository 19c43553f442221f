"""Pictures that suites let generators make: how, and in which folders, `<out>/generated/<name>`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.evaluation.progress import worked
from lactok.evaluation.store import folder_safe
from lactok.evaluation.writing import folder_name

if TYPE_CHECKING:
    from torch import Tensor

    from lactok.evaluation.config import Run
    from lactok.evaluation.timing import Timer
    from lactok.tokenizer import Generator

SAMPLES = 4  # pictures of a prompt in GenEval's official protocol


def of_geneval(out: Path, generator: str, samples: int, dtype: str, seed: int, prompts: str | None = None) -> Path:
    """Return the folder of a generator's pictures of GenEval's prompts, or of others in GenEval's format.

    Args:
        out: the folder of results.
        generator: the generator's canonical name, with its options.
        samples: pictures of each prompt.
        dtype: the compute dtype.
        seed: the seed of the run.
        prompts: the name of other prompts than GenEval's; None for GenEval's.
    """
    return out / "generated" / folder_name(generator, dtype=dtype, seed=seed, more=told_apart(samples, prompts))


def told_apart(samples: int, prompts: str | None) -> str:
    """Return the end of a folder's name that tells runs with other samples or prompts from GenEval's official ones.

    >>> told_apart(SAMPLES, None), told_apart(1, "scenes36")
    ('', 'samples1__scenes36')
    """
    return "__".join([*([] if samples == SAMPLES else [f"samples{samples}"]), *([prompts] if prompts else [])])


def of_captions(out: Path, generator: str, captions: str, dtype: str, seed: int) -> Path:
    """Return the folder of a generator's pictures of captions, one of each.

    Args:
        out: the folder of results.
        generator: the generator's canonical name, with its options.
        captions: the name of the captions, which ends in a few digits of their hash.
        dtype: the compute dtype.
        seed: the seed of the run.
    """
    return out / "generated" / "__".join(folder_safe(part) for part in (generator, captions, dtype, f"seed{seed}"))


def at_a_time(generator: Generator, run: Run) -> int:
    """Return how many images a generator makes at a time in a run: one on a CPU, unless several are faster there."""
    return run.batch_size if generator.batches_on_cpu else run.micro_batch


def made(
    generator: Generator, conditions: Sequence[str] | Sequence[int], seeds: Sequence[int], run: Run, timer: Timer
) -> Iterator[tuple[slice, Tensor]]:
    """Let a generator make images in the batches that suit it and the device, and time it as the stage "generate".

    Args:
        generator: the generator, loaded.
        conditions, seeds: as of `Generator.stream`.
        run: device and batch size.
        timer: gets the times.

    Yields:
        The places of some images, and these, as `Generator.stream` does.
    """
    stream = generator.stream(conditions, seeds, at_a_time(generator, run))
    done = 0
    while done < len(seeds):
        with timer.stage("generate"):
            place, images = next(stream)
        timer.images["generate"] += len(images)
        worked(len(images))
        done = place.stop
        yield place, images
