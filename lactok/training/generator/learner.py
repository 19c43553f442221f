"""The transformer and its loss: cross entropy of all ids, some images without their caption.

The facts that follow LlamaGen's trainer (`autoregressive/train/train_t2i.py`) and that the paper does not state: an
image without its caption keeps the mask of its caption's padding, as in sampling; weights start from a normal
distribution of deviation 0.02 and the output layer from zeros; dropout of inputs and branches.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lactok.errors import WrongValue
from lactok.nn.gpt import GPT, GPTConfig, visible
from lactok.randomness import seed_of
from lactok.training.data import Photo
from lactok.training.distributed import each
from lactok.training.generator.pairs import Pairs
from lactok.training.generator.recipe import GeneratorRecipe, GeneratorShape
from lactok.training.generator.text import text_encoder
from lactok.training.learner import Learner
from lactok.training.numerics import happens
from lactok.training.pretrained import find_weights
from lactok.weights import load_strict
from lactok.weights.cache import load_safetensors
from lactok.weights.metadata import shape
from lactok.weights.wrappers import peel

EVALUATED = 8  # held-out pairs that are evaluated at a time
DEVIATION = 0.02  # of the weights at the start


def initialise(model: GPT) -> None:
    """Draw the weights as LlamaGen does; torch's own state of random numbers decides them."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=DEVIATION)
    nn.init.zeros_(model.output.weight)


def start_shape(recipe: GeneratorRecipe) -> GeneratorShape:
    """Return the transformer's shape: the recipe's, that of the weights it starts from, or LlamaGen's GPT-XL."""
    if recipe.model:
        return recipe.model
    path = find_weights(recipe.start, "start")
    stated = shape(path, "model", GPTConfig, GPTConfig())
    return GeneratorShape(stated.width, stated.layers, stated.heads, stated.hidden, stated.text_tokens)


def load_start(model: GPT, recipe: GeneratorRecipe, device: str = "cpu") -> None:
    """Load the weights that a recipe starts from.

    Args:
        model: the transformer.
        recipe: the recipe.
        device: "meta" looks at names and shapes alone, for a model on that device.

    Raises:
        UserError: there are no such weights, or they are those of a tokenizer, or of a transformer of another shape,
            another codebook or other text features.
    """
    path = find_weights(recipe.start, "start")
    tensors = load_safetensors(path, device)
    needed = {"tok_embeddings.weight", "output.weight", "cls_embedding.cap_proj.fc1.weight"}
    found = peel(tensors, lambda taken: taken if needed <= taken.keys() else None, "start")
    if found is None:
        raise WrongValue(
            f"start: {path} holds no transformer from captions to ids (it has no tok_embeddings.weight, ...); is it a "
            "tokenizer's? Name the weights of a generator"
        )
    codes, width = len(found["output.weight"]), found["cls_embedding.cap_proj.fc1.weight"].shape[1]
    config = model.config
    if codes != config.codebook_size:
        raise WrongValue(
            f"start: {path} predicts {codes:,} codes, and tokenizer {recipe.tokenizer} has {config.codebook_size:,}; "
            "name weights for this tokenizer, or start from nothing"
        )
    if width != config.caption_width:
        raise WrongValue(
            f"start: {path} takes text features of width {width}, and those of {recipe.text} have "
            f"{config.caption_width}; name the text encoder that it was trained with"
        )
    load_strict(model, found, f"the transformer of {path}")


class GeneratorLearner(Learner):
    """The transformer. The trainer gives it the stored pairs; its "images" are their rows and variants, (B, 2) int64.

    Attributes:
        text: the text encoder whose features it is conditioned on.
        pairs: the stored ids and features.
    """

    channels_last = False
    pairs: Pairs

    def __init__(self, recipe: GeneratorRecipe):
        super().__init__()
        self.recipe = recipe
        self.text = text_encoder(recipe.text)
        config = recipe.gpt_config(start_shape(recipe), self.text.width)
        if recipe.start:
            with torch.device("meta"):
                load_start(GPT(config), recipe, "meta")  # a wrong file is found before it is read
        torch.manual_seed(recipe.seed)
        self.model = GPT(config)
        if recipe.start:
            load_start(self.model, recipe)
        else:
            initialise(self.model)
        self._seeds: list[int] = []
        if recipe.dropout:
            self._add_dropout()
        if recipe.checkpointing:
            for layer in self.model.layers:
                recomputed = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
                layer.forward = recomputed

    def _add_dropout(self) -> None:
        """Let dropout follow the inputs of the transformer, and each attention and feed-forward in it."""
        parts: list[nn.Module] = [self.model.cls_embedding.cap_proj, self.model.tok_embeddings]
        for layer in self.model.layers:
            parts += [layer.get_submodule("attention"), layer.get_submodule("feed_forward")]
        for number, part in enumerate(parts):
            part.register_forward_hook(partial(self._dropped, number))

    def _dropped(self, number: int, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        """Set a share of an output (B, ...) to zero, by the images' seeds, and scale the rest; a hook."""
        if not self.training:
            return None
        share = self.recipe.dropout
        kept = torch.stack([self._kept(seed, number, output[0]) for seed in self._seeds])
        return output * kept / (1 - share)

    def _kept(self, seed: int, number: int, like: Tensor) -> Tensor:
        """Return 1 where an image's output stays and 0 elsewhere, of the shape of `like`; the same when recomputed."""
        generator = torch.Generator(like.device).manual_seed(seed_of(seed, "dropout", number))
        return (torch.rand(like.shape, generator=generator, device=like.device) >= self.recipe.dropout).to(like.dtype)

    def without_caption(self, features: Tensor, seeds: list[int]) -> Tensor:
        """Replace the features (B, T, width) of some images, by their seeds, by those that stand for no caption."""
        share = self.recipe.caption_dropout
        dropped = torch.tensor([happens(share, seed, "no caption") for seed in seeds], device=features.device)
        return torch.where(dropped[:, None, None], self.model.cls_embedding.uncond_embedding.to(features), features)

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross entropy of the ids at these rows and variants (B, 2)."""
        ids, features, mask = self._batch(images)
        self._seeds = seeds.tolist()
        features = self.without_caption(features, self._seeds)
        allowed = visible(mask, self.model.config, len(ids), ids.device)
        return self.model.loss(features, ids, allowed), {}

    def _batch(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, features and mask of some pairs on the transformer's device."""
        device = self.model.table.device
        ids, features, mask = self.pairs.batch(places, self.model.config.text_tokens)
        return ids.to(device), features.to(device), mask.to(device)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Evaluate on the held-out pairs, each with its central square.

        Returns:
            The mean cross entropy `loss` and the share `accuracy` of ids that are the likeliest ones, both with the
            captions; the cross entropy without, `loss_without_caption`; and no images, (0, 3, 1, 1).
        """
        places = torch.from_numpy(self.pairs.held_rows)
        places = torch.stack([places, torch.zeros_like(places)], 1)
        sums: dict[str, float] = {}
        parts = places.split(EVALUATED)
        for some, found in zip(parts, each(parts, self._evaluated), strict=True):
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value * len(some) / len(places)
        return sums, torch.zeros(0, 3, 1, 1)

    def _evaluated(self, places: Tensor) -> dict[str, float]:
        """Return the values of `evaluate` for some pairs, each a mean over them."""
        ids, features, mask = self._batch(places)
        config = self.model.config
        allowed = visible(mask, config, len(ids), ids.device)
        empty = self.model.cls_embedding.uncond_embedding.to(features).expand_as(features)
        found = []
        for given in (features, empty):
            logits = self.model(given, ids[:, :-1], allowed)[:, config.text_tokens - 1 :].float()
            found.append((F.cross_entropy(logits.flatten(0, 1), ids.flatten()), logits.argmax(-1) == ids))
        (loss, right), (without, _) = found
        return {
            "loss": float(loss),
            "accuracy": float(right.float().mean()),
            "loss_without_caption": float(without),
        }

    def remembered(self) -> dict[str, Tensor]:
        """Return the features that stand for no caption, which are drawn once and not learned."""
        return {"uncond_embedding": self.model.cls_embedding.uncond_embedding}

    def exported(self) -> dict[str, Tensor]:
        """Return the transformer's tensors."""
        return self.model.state_dict()

    def notes(self) -> dict[str, Any]:
        """Return the shapes of transformer and text encoder, and the names of tokenizer and text encoder."""
        config = {"model": asdict(self.model.config), "text": self.text.notes()}
        return {"config": config, "tokenizer": self.recipe.tokenizer_spec().name, "text": self.text.name}
