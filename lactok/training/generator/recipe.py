"""The recipe of a generator's training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from lactok import registry
from lactok.config import Config, Count, Share, Whole
from lactok.errors import UserError, WrongValue, unknown
from lactok.nn.gpt import GPTConfig
from lactok.specs import TokenizerSpec
from lactok.training.recipe import Recipe

FEATURES = ("fp32", "fp16", "bf16")
LARGEST_CODEBOOK = 2**20  # rows of the transformer's two tables of codes


@dataclass(frozen=True)
class GeneratorShape(Config):
    """Shape of the transformer; the defaults are LlamaGen's GPT-XL. Tokenizer and text encoder determine the rest.

    Attributes:
        width: of the transformer; each of the `heads` has width / heads channels, a multiple of four.
        layers, heads: number of blocks, and of heads in each.
        hidden: width inside a block's SwiGLU.
        text_tokens: number of features of a caption; longer captions are cut.
    """

    width: Count = 1280
    layers: Count = 36
    heads: Count = 20
    hidden: Count = 3584
    text_tokens: Count = 120

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width // self.heads % 4:
            raise UserError(f"[model] width = {self.width}: heads = {self.heads} times a multiple of 4")


@dataclass(frozen=True, kw_only=True)
class GeneratorRecipe(Recipe):
    """A recipe for a transformer from captions to ids.

    A photograph is brought to a square of side `crop` as evaluation does it, and from there to the tokenizer's own size
    by the tokenizer's own filter.

    Attributes:
        tokenizer: name of the tokenizer whose ids are predicted, any of `lactok.list_tokenizers()`.
        text: the text encoder: a name, or a folder with config.json, *.safetensors and tokenizer.json of a T5.
        model: shape of the transformer; only needed if it starts from nothing.
        start: weights that the transformer starts from: a file that this trainer wrote, or a published one by its name,
            such as llamagen-t2i-256; empty to start from nothing.
        captions: a file of captions by the pictures' names, .json, .jsonl or .tsv; empty for captions beside the
            pictures, or such a file named `captions` in the folder `data`.
        variants: number of squares of each picture whose ids are stored: the central one, and for more than 1 random
            ones, mirrored half the time; epochs take them in turn.
        caption_dropout: share of the images that are trained without their caption, for classifier-free guidance.
        dropout: share of the channels that are set to zero in training: of the inputs, and of what each attention and
            each feed-forward adds. LlamaGen's trainer has 0.1, the paper does not say.
        features: how the text's features are stored: "fp32", "fp16" or "bf16"; they are computed in float32.
        extracted: the folder of ids and features, which several runs may share; empty for `extracted` in the run's.
        shard: number of pictures in a file there.
    """

    tokenizer: str = "llamagen-vq16-tiny"
    text: str = "flan-t5-xl"
    model: GeneratorShape | None = None
    start: str = ""
    captions: str = ""
    variants: Whole = 1
    caption_dropout: Share = 0.1
    dropout: Share = 0.0
    features: str = "fp16"
    extracted: str = ""
    shard: Count = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features not in FEATURES:
            raise unknown("kind of `features`", self.features, FEATURES)
        if self.variants < 1:
            raise UserError("variants = 0: ids are stored once, so a picture has 1 square or more")
        if self.dropout == 1:
            raise UserError("dropout = 1 leaves nothing to learn from; take less")
        if not self.model and not self.start:
            raise UserError("give [model], the transformer's shape, or `start`, the weights that it starts from")

    @property
    def digest(self) -> str:
        """As of every recipe; where ids and features lie, and in how many files, changes nothing that is learned."""
        return str(Recipe.digest.fget(replace(self, extracted="", shard=1024)))  # type: ignore[attr-defined]

    def tokenizer_spec(self) -> TokenizerSpec:
        """Return the tokenizer's spec.

        Raises:
            UserError: there is no such tokenizer, or it has no ids or too many codes.
        """
        spec = registry.tokenizer_spec(self.tokenizer)
        if spec.tokens is None or spec.codebook_size is None:
            raise WrongValue(f"tokenizer = {self.tokenizer!r} has no ids to predict; name another")
        if spec.codebook_size > LARGEST_CODEBOOK:
            raise WrongValue(
                f"tokenizer = {self.tokenizer!r} has {spec.codebook_size:,} codes; a transformer with a row for each "
                f"takes {LARGEST_CODEBOOK:,} at most"
            )
        return spec

    def gpt_config(self, shape: GeneratorShape, caption_width: int) -> GPTConfig:
        """Return the shape of the transformer for the recipe's tokenizer and features of this width."""
        spec = self.tokenizer_spec()
        assert spec.tokens is not None
        assert spec.codebook_size is not None
        values: dict[str, Any] = asdict(shape)
        return GPTConfig(
            **values, codebook_size=spec.codebook_size, caption_width=caption_width, image_tokens=spec.tokens
        )

    def pictures(self, photos: Any, step: int, positions: range, out: Any) -> Tensor:
        """Return which stored pairs stand at some positions of the run, (len(positions), 2) int64: row and variant.

        Args:
            photos: the pairs, a `lactok.training.generator.pairs.Pairs`.
            step, positions, out: as of every recipe.
        """
        import torch

        return torch.from_numpy(np.stack([photos.at(position, self.seed) for position in positions]))
