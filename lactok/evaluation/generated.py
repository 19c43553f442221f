"""The folders of pictures that suites let generators make, `<out>/generated/<name>`, for writers and readers."""

from __future__ import annotations

from pathlib import Path

from lactok.evaluation.store import folder_safe
from lactok.evaluation.writing import folder_name

SAMPLES = 4  # pictures of a prompt in GenEval's official protocol


def of_geneval(out: Path, generator: str, samples: int, dtype: str, seed: int) -> Path:
    """Return the folder of a generator's pictures of GenEval's prompts.

    Args:
        out: the folder of results.
        generator: the generator's canonical name, with its options.
        samples: pictures of each prompt.
        dtype: the compute dtype.
        seed: the seed of the run.
    """
    more = f"samples{samples}" if samples != SAMPLES else ""
    return out / "generated" / folder_name(generator, dtype=dtype, seed=seed, more=more)


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
