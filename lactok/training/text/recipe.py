"""The recipe of a text encoder's training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lactok.config import Config, Count, Share, Side, Weight
from lactok.errors import UserError
from lactok.nn.t5 import T5Config
from lactok.training.recipe import Recipe

LARGEST_VOCABULARY = 100_000  # rows of the embedding of words


@dataclass(frozen=True)
class TextShape(Config):
    """Shape of the encoder, see `lactok.nn.t5.T5Config`; the captions determine its vocabulary."""

    width: Count = 128
    layers: Count = 3
    heads: Count = 4
    head_width: Count = 32
    hidden: Count = 256

    def config(self, vocabulary: int) -> T5Config:
        """Return the shape of the network with a vocabulary of so many words."""
        return T5Config(self.width, self.layers, self.heads, self.head_width, self.hidden, vocabulary)


@dataclass(frozen=True, kw_only=True)
class TextRecipe(Recipe):
    """A recipe for a text encoder. The keys of pictures that every recipe has, `crop` and `scale`, are not used.

    Attributes:
        data: captions: a text file with one in each line; a .tsv, .jsonl or .json file of captions by the names of
            pictures; or pictures with captions, as a generator is trained on. Equal ones count once.
        model: shape of the encoder.
        text_tokens: number of words of a caption, the end included, at most; longer ones are cut.
        vocabulary: number of words that are told apart, at most; the rarest ones are one unknown word.
        word_dropout: share of the words that are taken for the unknown one in training.
        noise: standard deviation of the noise that is added to the mean features in training, so that captions lie
            apart.
    """

    model: TextShape
    text_tokens: Count = 32
    vocabulary: Count = 1000
    word_dropout: Share = 0.0
    noise: Weight = 0.0
    crop: Side = 1
    scale: tuple[Side, Side] = (1, 1)
    average: Share = 0.998

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 4 <= self.vocabulary <= LARGEST_VOCABULARY:
            raise UserError(f"vocabulary = {self.vocabulary}: from 4 to {LARGEST_VOCABULARY}")
        if self.text_tokens < 2:
            raise UserError("text_tokens = 1: a caption takes its words and the end, 2 or more")
        if self.word_dropout == 1:
            raise UserError("word_dropout = 1 leaves nothing to read; take less")

    def pictures(self, photos: Any, step: int, positions: range, out: Path) -> Tensor:
        """Return the words of the captions at some positions of the run, (len(positions), text_tokens) int64.

        Args:
            photos: the captions, `lactok.training.text.captions.Captions`.
            step, positions, out: as of every recipe.
        """
        return photos.batch(positions, self.seed)
