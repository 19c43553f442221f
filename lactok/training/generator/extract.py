"""Compute the ids of all pictures and the features of all captions once, and store them in files of many pictures.

A file is written whole or not at all, and what it holds depends on its own pictures alone: an extraction that was
killed goes on with the files that are missing, and several processes share them, the k-th of n takes every n-th file.
Each is a safetensors file with `ids` (n, variants, tokens) int32, `features` (their sum, width) of all captions one
after the other and without padding, `ends` (n,) int64, where each caption's features end, `state` (n,) uint8 and `cut`
(n,) uint8, 1 where the end of a caption was not read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lactok import images, registry
from lactok.errors import UserError
from lactok.evaluation.progress import progress
from lactok.evaluation.protocol import digest
from lactok.files import write_atomically
from lactok.images import Prepare
from lactok.randomness import seed_of
from lactok.specs import TokenizerSpec
from lactok.tokenizer import Tokenizer
from lactok.training.checkpoint import save_state
from lactok.training.data import Photo, random_crop, report_broken
from lactok.training.generator.captions import Captions
from lactok.training.generator.recipe import GeneratorRecipe
from lactok.training.generator.text import Encode, TextEncoder

VERSION = 1  # raised when the same settings give other bytes
BATCH = 16  # squares or captions that a network gets at a time; the last bits may depend on it
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
USABLE, WITHOUT_CAPTION, UNREADABLE = 0, 1, 2  # states of a picture


@dataclass(frozen=True)
class Extraction:
    """What is to be extracted, and where.

    Attributes:
        recipe: the recipe.
        text: its text encoder.
        text_tokens: number of features of a caption, at most.
        photos: the photographs.
        captions: their captions.
        order: numbers of the photographs in the order in which they are stored: as they lie in folders and shards.
        settings: all that the stored bytes depend on, for JSON.
        folder: where the files are written.
        out: the run's folder, in which broken files are listed.
    """

    recipe: GeneratorRecipe
    text: TextEncoder
    text_tokens: int
    photos: Sequence[Photo]
    captions: Captions
    order: np.ndarray
    settings: dict[str, Any]
    folder: Path
    out: Path

    def files(self) -> list[Path]:
        """Return all files, written or not."""
        count = -(-len(self.order) // self.recipe.shard)
        return [self.folder / f"{number:06}.safetensors" for number in range(count)]

    def missing(self) -> list[int]:
        """Return the numbers of the files that are not written."""
        return [number for number, path in enumerate(self.files()) if not path.is_file()]

    def numbers(self, file: int) -> list[int]:
        """Return the numbers of the photographs in a file."""
        return [int(n) for n in self.order[file * self.recipe.shard : (file + 1) * self.recipe.shard]]

    def run(self, process: int, processes: int, device: torch.device) -> None:
        """Write the files that are missing; of several processes each takes its own.

        The networks are loaded for that and released at the end.

        Raises:
            UserError: the weights of the tokenizer or of the text encoder cannot be had, or a disk is full.
        """
        own = [file for file in self.missing() if file % processes == process]
        if not own:
            return
        tokenizer = registry.load(self.recipe.tokenizer, device)
        encode = self.text.load(self.text_tokens, device)
        write_atomically(self.folder / "settings.json", json.dumps(self.settings, indent=1).encode())
        paths = self.files()
        with progress("ids and text features", len(own), "files") as report:
            for done, file in enumerate(own, 1):
                tensors = self.computed(self.numbers(file), tokenizer, encode, device)
                save_state(paths[file], tensors, {"extraction": digest(self.settings)})
                report(done, len(own))
        del tokenizer, encode
        if device.type == "cuda":
            torch.cuda.empty_cache()

    def computed(
        self, numbers: Sequence[int], tokenizer: Tokenizer, encode: Encode, device: torch.device
    ) -> dict[str, Tensor]:
        """Return the tensors of the file that holds the photographs of these numbers."""
        spec, variants = tokenizer.spec, self.recipe.variants
        assert spec.tokens is not None
        state = np.full(len(numbers), USABLE, np.uint8)
        texts = [self._caption(number) for number in numbers]
        ids = torch.zeros(len(numbers), variants, spec.tokens, dtype=torch.int32)
        waiting: list[tuple[int, int, Tensor, int]] = []  # place in the file, variant, square, seed

        def flush() -> None:
            if waiting:
                stack = torch.stack([square for _, _, square, _ in waiting])
                seeds = torch.tensor([seed for *_, seed in waiting])
                found = tokenizer.encode(stack, seeds).to("cpu", torch.int32)
                for (place, variant, *_), row in zip(waiting, found, strict=True):
                    ids[place, variant] = row
                waiting.clear()

        for place, number in enumerate(numbers):
            if not texts[place]:
                state[place] = WITHOUT_CAPTION
                continue
            photo = self.photos[number]
            try:
                cut = squares(photo, spec, self.recipe)
            except UserError:
                report_broken(str(photo), "not a readable image", self.out)
                state[place] = UNREADABLE
                continue
            for variant, square in enumerate(cut):
                waiting.append((place, variant, square, seed_of("ids", variant, photo.name)))
                if len(waiting) == BATCH:
                    flush()
        flush()
        kept = [text if state[place] == USABLE else "" for place, text in enumerate(texts)]
        return {"ids": ids, "state": torch.from_numpy(state), **self._features(kept, encode, device)}

    def _features(self, texts: Sequence[str], encode: Encode, device: torch.device) -> dict[str, Tensor]:
        """Return the features of captions, where they end, and which captions were cut; "" is none."""
        known: dict[str, Tensor] = {}
        is_cut: dict[str, bool] = {}
        different = [*dict.fromkeys(text for text in texts if text)]
        for start in range(0, len(different), BATCH):
            some = different[start : start + BATCH]
            known |= dict(zip(some, encode(some, device), strict=True))
            is_cut |= dict(zip(some, encode.is_cut(some), strict=True))
        dtype = DTYPES[self.recipe.features]
        rows = [known[text].to(dtype) for text in texts if text]
        features = torch.cat(rows) if rows else torch.zeros(0, self.text.width, dtype=dtype)
        if not bool(features.isfinite().all()):
            raise UserError(f"features = {self.recipe.features}: the text's features are too large for it; take bf16")
        lengths = [len(known[text]) if text else 0 for text in texts]
        cut = torch.tensor([is_cut.get(text, False) for text in texts], dtype=torch.uint8)
        return {"features": features, "ends": torch.tensor(lengths).cumsum(0), "cut": cut}

    def _caption(self, number: int) -> str:
        """Return a photograph's caption; one that cannot be read is listed in `broken.txt` and counts as none."""
        try:
            return self.captions.text(number)
        except UserError as error:
            report_broken(f"{self.photos[number]}, its caption", str(error), self.out)
            return ""


def squares(photo: Photo, spec: TokenizerSpec, recipe: GeneratorRecipe) -> list[Tensor]:
    """Return the squares of a photograph whose ids are stored, (3, S, S) float32 in [0, 1] at the tokenizer's size.

    Raises:
        UserError: the photograph is not readable.
    """
    image = photo.open_rgb()
    cut = [images.prepare(image, Prepare(recipe.crop))]
    for variant in range(1, recipe.variants):
        rng = np.random.default_rng(seed_of(recipe.seed, "square", variant, photo.name))
        cut.append(np.asarray(random_crop(image, recipe.crop, recipe.scale, rng)))
    return [images.tokenizer_input(square, spec.input_size, spec.resample) for square in cut]


def settings_of(
    recipe: GeneratorRecipe, text: TextEncoder, text_tokens: int, data: str, captions: str
) -> dict[str, Any]:
    """Return all that the stored bytes depend on, for JSON.

    Args:
        recipe, text, text_tokens: as of `Extraction`.
        data, captions: digests of the pictures and of their captions.

    Raises:
        WeightsNotFound: no source has the weights of the tokenizer or of the text encoder.
    """
    from lactok import weights

    entry = registry.TOKENIZERS.entry(recipe.tokenizer)
    settings: dict[str, Any] = {
        "version": VERSION,
        "pictures": data,
        "captions": captions,
        "tokenizer": {"name": entry.spec.name, "version": entry.spec.version, "code": entry.code},
        "text": {"name": Path(text.name).name, "tokens": text_tokens, "stored": recipe.features},
        "assets": {asset.name: weights.resolve(asset).sha256 for asset in (*entry.spec.assets, *text.assets)},
        "squares": {"crop": recipe.crop, "variants": recipe.variants},
        "shard": recipe.shard,
    }
    if recipe.variants > 1:
        settings["squares"] |= {"scale": list(recipe.scale), "seed": recipe.seed}
    return settings
