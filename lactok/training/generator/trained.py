"""Load a trained generator: its weight file says the shape, the tokenizer and the text encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lactok import registry, weights
from lactok.errors import WrongValue
from lactok.files import is_file
from lactok.nn.gpt import GPTConfig
from lactok.nn.t5 import T5Config
from lactok.outside_text import shown
from lactok.specs import Asset, GeneratorSpec
from lactok.training.generator.text import text_encoder
from lactok.weights.metadata import notes, shape

MODEL = "llamagen-t2i-256"  # the generator whose class is that of every trained one


def trained(path: str | Path, text: str = "") -> type[Any]:
    """Return the class of a generator that `python -m lactok.train generator` trained.

    A Python file that holds `Trained = trained("runs/mine/mine.safetensors")` is a generator for every command, as
    `--generator FILE.py:Trained`; the trainer writes such a file beside the weights.

    Args:
        path: the weight file.
        text: the folder of the text encoder, if it was trained with one of a folder that lies elsewhere now.

    Raises:
        UserError: there is no such file, it is no trained generator's, or its text encoder is not there.
    """
    file = Path(path).expanduser().resolve()
    if not is_file(file) or file.suffix != ".safetensors":
        raise WrongValue(f"{shown(path, 200)}: no such file of weights; name NAME.safetensors of a run's folder")
    said = notes(file)
    if not isinstance(said.get("tokenizer"), str) or not isinstance(said.get("text"), str):
        raise WrongValue(f"{file} is not what `lactok.train generator` writes: it names no tokenizer and text encoder")
    config = shape(file, "model", GPTConfig)
    text_shape = shape(file, "text", T5Config)
    encoder = text_encoder(text or said["text"])
    weights.use_folder(file.parent)
    own = Asset(file.stem, "the user's own")
    tokenizer = registry.tokenizer_spec(said["tokenizer"])
    entry = registry.GENERATORS.entry(MODEL)
    few = replace(entry.spec.options["top_k"], high=config.codebook_size)
    few = replace(few, default=min(int(few.default), config.codebook_size))
    made = replace(
        entry.spec,
        name=file.stem,
        family="trained",
        output_size=tokenizer.output_size or tokenizer.input_size or 256,
        license="the user's own",
        tokenizer=tokenizer.name,
        options={**entry.spec.options, "top_k": few},
        paper="",
        assets=(own, *encoder.assets),
        note="",
    )
    base: Any = entry.factory

    class Trained(base):
        """The generator that was trained."""

        spec = made

        def __init__(self, spec: GeneratorSpec | None = None):
            super().__init__(spec or made, config, text_shape)

    return Trained
