"""The captions that a text encoder is trained on, and their words."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lactok import outside_text
from lactok.errors import WrongValue
from lactok.evaluation import captions as caption_files
from lactok.files import is_file
from lactok.nn.t5 import clean
from lactok.outside_text import shown
from lactok.training.generator import captions as beside_pictures
from lactok.training.photos import Photos
from lactok.training.text.recipe import TextRecipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"  # their ids are 0, 1, 2, as T5 has them
SPECIAL = (PAD, END, UNKNOWN)
FILES = (".tsv", ".jsonl", ".json")


@dataclass(frozen=True)
class Captions(Photos):
    """Captions in the place of photographs, of which there are none.

    Attributes:
        lines: the captions to train on, cleaned.
        held_lines: those that are held out.
        words: their words, (N, T) int64, `PAD` behind the end.
        held_words: likewise.
    """

    lines: tuple[str, ...]
    held_lines: tuple[str, ...]
    words: Tensor
    held_words: Tensor

    def digest(self) -> str:
        return hashlib.sha256(json.dumps([self.lines, self.held_lines]).encode()).hexdigest()

    def batch(self, positions: range, seed: int) -> Tensor:
        """Return the words at some positions of a run with this seed: epochs are random orders of the captions."""
        return self.words[[_place(position, len(self.words), seed) for position in positions]]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the random order (count,) in which an epoch takes the captions."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def _place(position: int, count: int, seed: int) -> int:
    epoch, place = divmod(position, count)
    return int(_order(count, seed, epoch)[place])


def read(data: str) -> list[str]:
    """Return the captions of a recipe's `data`, as they stand there.

    Raises:
        UserError: there is no such file or folder, or it holds no captions.
    """
    path = Path(data).expanduser()
    if is_file(path) and path.suffix.lower() == ".txt":
        found = [line for _, line in outside_text.lines(outside_text.read(path, f"captions {path}"), str(path))]
    elif is_file(path) and path.suffix.lower() in FILES:
        found = [*caption_files.read(path).values()]
    else:
        photos = Photos.of(data, 0).train
        with tempfile.TemporaryDirectory() as cache:
            captions = beside_pictures.find(photos, data, "", Path(cache))
            found = [captions.text(number) for number in np.flatnonzero(captions.there()).tolist()]
    if not any(text.strip() for text in found):
        raise WrongValue(f"{shown(data, 200)} holds no captions")
    return found


def prepared(recipe: TextRecipe) -> tuple[Captions, Tokenizer]:
    """Return the captions of a recipe, split, and the text tokenizer of their words.

    Those with the lowest sha256 are held out; the words are of the others alone.

    Raises:
        UserError: as of `read`; or there are not more captions than are held out.
    """
    lines = sorted({cleaned for text in read(recipe.data) if (cleaned := clean(text))})
    if len(lines) <= recipe.held_out:
        raise WrongValue(
            f"{shown(recipe.data, 200)} has {len(lines)} different captions; more than the {recipe.held_out} held out "
            "are needed"
        )
    lines.sort(key=lambda line: hashlib.sha256(line.encode()).digest())
    held, learned = lines[: recipe.held_out], sorted(lines[recipe.held_out :])
    words = tokenizer_of(learned, recipe.vocabulary)
    parts = (encode(words, some, recipe.text_tokens) for some in (learned, held))
    return Captions((), (), tuple(learned), tuple(held), *parts), words


def tokenizer_of(lines: Sequence[str], size: int) -> Tokenizer:
    """Return a text tokenizer with the most frequent words of captions, `size` at most with the special ones."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=[*SPECIAL], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, SPECIAL.index(END))]
    )
    return tokenizer


def encode(tokenizer: Tokenizer, lines: Sequence[str], length: int) -> Tensor:
    """Return the words of captions (N, length) int64; the end stays where a caption is cut, `PAD` follows it."""
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=SPECIAL.index(PAD), pad_token=PAD)
    found = torch.tensor([each.ids for each in tokenizer.encode_batch([*lines])], dtype=torch.int64)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return found.reshape(len(lines), length)
