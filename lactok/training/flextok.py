"""Trains FlexTok: a register encoder with nested dropout and a rectified-flow decoder, end to end.

Source: Bachmann et al. 2025, arXiv 2502.13967, sections 3.1 to 3.3: the registers of an image are quantized by FSQ, of
them a prefix of random length is kept, and a transformer learns the velocity from the VAE's latents to noise given that
prefix. Left out: the loss that draws the decoder's features to DINOv2's (REPA), whose weights this project has no need
of otherwise.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lactok.config import Config
from lactok.errors import UserError
from lactok.nn.flextok import Decoder, Encoder, FlexTok, FlexTokConfig, PlainGuidance
from lactok.nn.lactok import drawn_latents, moments
from lactok.nn.lpips import load_lpips
from lactok.randomness import noise, seed_of
from lactok.training.data import Photo, centre_square, to_tensor
from lactok.training.feature_cache import Frozen
from lactok.training.ldm import VAEPart
from lactok.training.learner import Learner
from lactok.training.positional import patch_places, sincos
from lactok.training.pretrained import load_weights
from lactok.training.recipe import Recipe


@dataclass(frozen=True)
class FlexTokShape(Config):
    """The networks' part of a recipe; `encoder` and `decoder` are (width, blocks)."""

    encoder: tuple[int, int]
    decoder: tuple[int, int]
    head_dim: int = 64
    registers: int = 256
    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)

    def config(self, vae: VAEPart, size: int) -> FlexTokConfig:
        """The shape of the whole tokenizer for pictures of side `size`.

        Raises:
            UserError: the latents of such a picture do not divide into patches.
        """
        shape = vae.known_shape()
        if size % 2 ** len(shape.channels):
            raise UserError(f"crop must be a multiple of {2 ** len(shape.channels)}")
        side = size // 2 ** (len(shape.channels) - 1)
        return FlexTokConfig(
            encoder=self.encoder,
            decoder=self.decoder,
            registers=self.registers,
            head_dim=self.head_dim,
            grid=side // 2,
            latent_channels=shape.latent_channels,
            levels=self.levels,
            scaling=vae.scaling,
            vae_channels=shape.channels,
            vae_layers=shape.layers,
            vae_groups=shape.groups,
        )


@dataclass(frozen=True, kw_only=True)
class FlexTokRecipe(Recipe):
    """A recipe for encoder and decoder; the VAE is given.

    Attributes:
        lengths: prefixes of registers that are kept, drawn uniformly; the paper's are the powers of two.
        groups: parts of a batch, each of which keeps one length: registers that are dropped need no computing then.
        unconditional: share of groups that keep no register at all, for guidance.
        time_power: times are u ** time_power of uniform u; below 1 there are more of them near the noise.
        eval_steps: Euler steps on held-out photographs, without guidance.
        eval_lengths: of which prefixes; LPIPS is taken of the longest.
    """

    model: FlexTokShape
    vae: VAEPart
    lengths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    groups: int = 1
    unconditional: float = 0.1
    time_power: float = 1.0
    eval_steps: int = 8
    eval_lengths: tuple[int, ...] = (1, 4, 16, 64, 256)

    def __post_init__(self) -> None:
        super().__post_init__()
        highest = self.model.registers
        if not self.lengths or any(not 1 <= k <= highest for k in (*self.lengths, *self.eval_lengths)):
            raise UserError(f"lengths and eval_lengths are numbers of registers, 1 to {highest}")
        if self.groups < 1 or self.batch % self.groups:
            raise UserError(f"batch = {self.batch} does not divide into groups = {self.groups}")


def register_places(registers: int, grid: int) -> Tensor:
    """Where registers start to look, (N, 2): centres of ever finer cells, the first of 1, 4, 16, ... for all of it.

    >>> register_places(5, 16).tolist()
    [[7.5, 7.5], [3.5, 11.5], [11.5, 3.5], [11.5, 11.5], [1.5, 5.5]]
    """
    places = []
    for i in range(registers):
        row = column = level = 0
        while i >= 4**level:
            digit = i >> 2 * level
            row, column, level = 2 * row + (digit >> 1 & 1), 2 * column + (digit & 1), level + 1
        side = grid / 2**level
        places.append([(row + 0.5) * side - 0.5, (column + 0.5) * side - 0.5])
    return torch.tensor(places)


def initialise(encoder: Encoder, decoder: Decoder) -> None:
    """A start from which small networks learn soon; what the authors start from is not published.

    Patches have fixed positions, registers begin with those of ever finer cells, and queries begin like keys: so
    attention starts between what is near. Modulations start as those of a plain pre-norm transformer.
    """
    grid = encoder.patches.position.shape[-1]
    patches = patch_places(grid)
    places = register_places(len(encoder.registers), grid)
    with torch.no_grad():
        for network in (encoder, decoder):
            position = network.patches.position
            position.copy_(sincos(position.shape[1], patches).t().view_as(position))
            position.requires_grad_(False)
            for block in network.blocks:
                query, key = (block.get_parameter(f"attn.{name}.weight") for name in ("wq", "wk"))
                key.copy_(query)
        encoder.registers.copy_(sincos(encoder.registers.shape[1], places))
        decoder.register_position.copy_(sincos(decoder.register_position.shape[2], places).t())
        for block in decoder.blocks:
            block.get_parameter("adaLN_modulation.1.weight").zero_()
            bias = block.get_parameter("adaLN_modulation.1.bias").view(2, 6, -1)
            bias[:, :2] = 1.0  # gates
            bias[:, 2:] = 0.0
        for parameter in decoder.head.adaLN_modulation.parameters():
            parameter.zero_()


class FlexTokLearner(Learner):
    def __init__(self, recipe: FlexTokRecipe):
        super().__init__()
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.model = FlexTok(recipe.model.config(recipe.vae, recipe.crop))
        initialise(self.model.encoder, self.model.decoder)
        load_weights(self.model.vae, recipe.vae.weights, "the VAE", within=0.1, scaling=recipe.vae.scaling)
        self.model.vae.register_to_config(scaling_factor=recipe.vae.scaling)
        self.model.vae.requires_grad_(False)
        self.moments = Frozen(partial(moments, self.model.vae), recipe.variants > 0)
        self.lpips = copy.deepcopy(load_lpips("alex", "cpu"))  # moved with the rest; for evaluation alone

    def train(self, mode: bool = True) -> FlexTokLearner:
        super().train(mode)
        self.model.vae.eval()
        return self

    @torch.no_grad()
    def latents(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Images in [-1, 1] -> scaled draws from the VAE's posterior, each from its own seed."""
        draw = noise(seeds, self.model.latent_shape, "posterior").to(images)
        return drawn_latents(self.model.vae, self.moments(images), draw)

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        latents = self.latents(images, seeds)
        draw = noise(seeds, self.model.latent_shape, "noise").to(latents)
        uniform = torch.tensor([(seed_of(s, "time") % 2**20 + 0.5) / 2**20 for s in seeds.tolist()])
        times = (uniform**self.recipe.time_power).to(latents)
        errors = []
        for group in self.groups(len(images)):
            length = self.length(int(seeds[group.start]))
            t = times[group, None, None, None]
            noised = (1 - t) * latents[group] + t * draw[group]
            predicted = self.velocity(latents[group], noised, times[group], length)
            errors.append((predicted.float() - (draw[group] - latents[group])).square().mean((1, 2, 3)))
        return torch.cat(errors).mean(), {}

    def groups(self, batch: int) -> Iterator[slice]:
        size = self.recipe.batch // self.recipe.groups  # a process with a part of the batch has fewer groups
        for start in range(0, batch, size):
            yield slice(start, min(start + size, batch))

    def length(self, seed: int) -> int:
        """Registers that a group keeps, by the seed of its first image; 0: none, and no image either."""
        if seed_of(seed, "unconditional") % 1000 < 1000 * self.recipe.unconditional:
            return 0
        return self.recipe.lengths[seed_of(seed, "length") % len(self.recipe.lengths)]

    def velocity(self, latents: Tensor, noised: Tensor, times: Tensor, length: int) -> Tensor:
        """Predicted at noised latents from the first `length` registers of the clean ones."""
        model = self.model
        if length:
            codes = model.fsq.straight_through(model.encoder(latents, length))
            condition = model.decoder.condition(codes)
        else:
            condition = model.decoder.unconditional(len(latents))
        return model.decoder(noised, model.decoder.modulation(times), condition)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        recipe, model = self.recipe, self.model
        device = next(model.parameters()).device
        images = to_tensor([centre_square(p.open_rgb(), recipe.crop) for p in photos]).to(device)
        clean = self.moments(images).chunk(2, 1)[0] * recipe.vae.scaling
        start = noise(torch.tensor([seed_of("held out", p.name) for p in photos]), model.latent_shape, "start")
        ids = model.fsq.encode(model.encoder(clean))
        values: dict[str, float] = {"codes_used": float(len(ids.unique()))}
        for length in recipe.eval_lengths:
            sampled = model.sample(ids[:, :length], start.to(device), recipe.eval_steps, PlainGuidance(1.0))
            output = torch.cat([model.decode_latents(x).clamp(-1, 1) for x in sampled.split(1)])
            errors = (output - images).square().mean((1, 2, 3)) / 4
            values[f"psnr_{length}"] = float((-10 * torch.log10(errors)).mean())
        values["lpips"] = math.fsum(
            float(self.lpips(o, i)) for o, i in zip(output.split(1), images.split(1), strict=True)
        )
        values["lpips"] /= len(photos)
        return values, torch.stack([images[:4], output[:4]], 1).flatten(0, 1)

    def exported(self) -> dict[str, Tensor]:
        """Encoder and decoder; the VAE is as it was."""
        return {k: v for k, v in self.model.state_dict().items() if not k.startswith("vae.")}

    def notes(self) -> dict[str, Any]:
        return {"scaling": self.recipe.vae.scaling, "config": {"model": asdict(self.model.config)}}
