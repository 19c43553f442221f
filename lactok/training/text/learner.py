"""The encoder, and the network that writes each caption again from the mean of its features."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.nn.t5 import T5Encoder
from lactok.randomness import seed_of
from lactok.training.data import Photo
from lactok.training.distributed import each
from lactok.training.learner import Learner
from lactok.training.text.captions import PAD, SPECIAL, UNKNOWN, prepared
from lactok.training.text.recipe import TextRecipe

EVALUATED = 64  # captions that are evaluated at a time
PADDING, UNKNOWN_ID = SPECIAL.index(PAD), SPECIAL.index(UNKNOWN)


class Writer(nn.Module):
    """Mean features (B, width) -> logits of the words at each place (B, T, vocabulary), linear in the mean.

    So each word at each place is a direction of the mean, whatever the other words are, and what reads the mean need
    not have seen all words together. What a word weighs at any place is learned for itself (`anywhere`).
    """

    def __init__(self, width: int, places: int, vocabulary: int):
        super().__init__()
        self.anywhere = nn.Linear(width, vocabulary)
        self.somewhere = nn.Linear(width, places * vocabulary)
        self.places = places

    def forward(self, mean: Tensor) -> Tensor:
        return self.anywhere(mean)[:, None] + self.somewhere(mean).unflatten(1, (self.places, -1))


class TextLearner(Learner):
    """Encoder and writer. The trainer gives it words in the place of images, (B, T) int64.

    Attributes:
        captions: what it is trained on.
        words: the text tokenizer.
        encoder: what is kept.
    """

    channels_last = False

    def __init__(self, recipe: TextRecipe):
        super().__init__()
        self.recipe = recipe
        self.captions, self.words = prepared(recipe)
        torch.manual_seed(recipe.seed)
        vocabulary = self.words.get_vocab_size()
        self.shape = recipe.model.config(vocabulary)
        self.encoder = T5Encoder(self.shape)
        self.encoder.encoder.shared = self.encoder.encoder.encoder.embed_tokens  # one embedding, as in T5's files
        self.writer = Writer(recipe.model.width, recipe.text_tokens, vocabulary)

    def train(self, mode: bool = True) -> TextLearner:
        """Set the training mode; T5's dropout stays off, since a run that goes on would draw it anew."""
        super().train(mode)
        self.encoder.eval()
        return self

    def mean(self, words: Tensor) -> Tensor:
        """Return the mean features (B, width) of captions (B, T)."""
        mask = (words != PADDING).long()
        return (self.encoder(words, mask) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def logits(self, words: Tensor) -> Tensor:
        """Return what the writer makes of captions (B, T): logits (B, T, vocabulary)."""
        return self.writer(self.mean(words))

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross entropy of the captions' words, the end included and the padding not."""
        words, given = images, images
        if self.recipe.word_dropout:
            dropped = torch.stack([self._dropped(seed, words.shape[1]) for seed in seeds.tolist()]).to(words.device)
            given = torch.where(dropped & (words >= len(SPECIAL)), UNKNOWN_ID, words)
        mean = self.mean(given)
        if self.recipe.noise:
            mean = mean + self.recipe.noise * torch.stack([self._noise(seed, mean) for seed in seeds.tolist()])
        logits = self.writer(mean).float()
        return F.cross_entropy(logits.flatten(0, 1), words.flatten(), ignore_index=PADDING), {}

    def _dropped(self, seed: int, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of(seed, "words"))
        return torch.rand(count, generator=generator) < self.recipe.word_dropout

    def _noise(self, seed: int, mean: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of(seed, "noise"))
        return torch.randn(mean.shape[1], generator=generator).to(mean)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Write the held-out captions again.

        Returns:
            The cross entropy `loss`, and `whole`, the share of captions of which every word is right; and no images.
        """
        held = self.captions.held_words.split(EVALUATED)
        device = self.writer.anywhere.weight.device
        sums = {"loss": 0.0, "whole": 0.0}
        for words, (loss, whole) in zip(held, each(held, lambda words: self._evaluated(words.to(device))), strict=True):
            sums["loss"] += loss * len(words) / len(self.captions.held_words)
            sums["whole"] += whole * len(words) / len(self.captions.held_words)
        return sums, torch.zeros(0, 3, 1, 1)

    def _evaluated(self, words: Tensor) -> tuple[float, float]:
        logits = self.logits(words).float()
        loss = F.cross_entropy(logits.flatten(0, 1), words.flatten(), ignore_index=PADDING)
        right = (logits.argmax(-1) == words) | (words == PADDING)
        return float(loss), float(right.all(1).float().mean())

    def exported(self) -> dict[str, Tensor]:
        """Return the encoder's tensors under the names that transformers' `T5EncoderModel` has; the embedding once."""
        tensors = self.encoder.encoder.state_dict()
        return {name: tensor for name, tensor in tensors.items() if name != "encoder.embed_tokens.weight"}

    def notes(self) -> dict[str, Any]:
        """Return the shape of the encoder."""
        return {"config": {"model": asdict(self.shape)}}
