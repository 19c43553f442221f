"""Making FLUX-5K: the pictures by the engine of generation, then the manifest that lists and fixes them."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.generation.work import LIBRARIES, generate, picture_seed
from lactok import registry
from lactok.errors import MissingFile, UserError, WrongValue
from lactok.evaluation import captions, flux5k
from lactok.evaluation.config import Settings
from lactok.evaluation.datasets import limited_numbers
from lactok.evaluation.protocol import digest
from lactok.evaluation.published_sets import coco_captions
from lactok.files import write_atomically


def make(root: Path, coco: Path, settings: Settings, generator: str | None = None) -> str:
    """Make the pictures that are not there yet, write the manifest, and return a line that says what is there now.

    The pictures lie in the layout of GenEval's scripts, `00000/samples/0000.png` for the first prompt. What a killed
    run has made is kept, and the bytes are the same as without a break.

    Args:
        root: the folder of FLUX-5K.
        coco: the folder of COCO, whose captions are the prompts.
        settings: device, dtype, batch size, workers, part and limit.
        generator: another generator than FLUX.1-dev.

    Raises:
        MissingFile: COCO's captions are not there.
        WeightsNotFound: the generator's weights cannot be had.
        UserError: other parts still have pictures to make.
    """
    name = generator or flux5k.GENERATOR
    prompts = prompts_of(coco)
    numbers = limited_numbers(len(prompts), settings.limit)
    chosen = [prompts[number] for number in numbers]
    run = settings.run()
    spec = registry.generator_spec(name)
    dataset, timer = generate(name, chosen, root, run, settings.execution(), samples=1, source="coco", numbers=numbers)
    if timer is None:
        raise UserError("other parts still have pictures to make; the last one to end writes the manifest")
    images = [
        {
            "file": sample.path.relative_to(root).as_posix(),
            "sha256": sample.content_sha256,
            "prompt": prompt["prompt"],
            "coco": prompt["coco"],
            "seed": picture_seed(run, sample),
        }
        for sample, prompt in zip(dataset.samples, chosen, strict=True)
    ]
    manifest: dict[str, Any] = {
        "schema": 1,
        "generator": spec.name,
        "options": dict(spec.values),
        "settings": registry.generator_settings(name),
        "dtype": run.dtype,
        "seed": run.seed,
        "device": run.device_kind,
        "prompts": flux5k.PROMPTS,
        "prompts_sha256": digest([prompt["prompt"] for prompt in prompts]),
        "libraries": {library: version(library) for library in LIBRARIES},
        "note": "made anew; the FLUX-5K of the paper is not public, so this is another sample",
        "images": images,
    }
    write_atomically(root / flux5k.MANIFEST, json.dumps(manifest, indent=1).encode())
    return f"{len(images)} of {len(prompts)} pictures are in {root}, listed in {flux5k.MANIFEST}"


def prompts_of(coco: Path) -> list[dict[str, str]]:
    """Return the prompts in the order of COCO's file names, each with its image's name.

    Raises:
        MissingFile: the annotations are not in the folder.
        WrongValue: they are not of 5,000 images.
    """
    path = coco_captions(coco)
    if path is None:
        raise MissingFile(
            f"the prompts are COCO's captions, and captions_val2017.json is not in {coco}: "
            "`python -m benchmarks.datasets fetch coco` gets it"
        )
    texts = captions.read(path)
    if len(texts) != flux5k.SIZE:
        raise WrongValue(f"{path} has captions of {len(texts)} images, COCO's val2017 of {flux5k.SIZE}")
    return [{"prompt": texts[name], "coco": name} for name in sorted(texts)]
