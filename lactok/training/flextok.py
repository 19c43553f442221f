"""Train FlexTok: a register encoder with nested dropout and a rectified-flow decoder, end to end.

Source: Bachmann et al. 2025, arXiv 2502.13967, sections 3.1 to 3.3. The register tokens of an image are quantized by
FSQ, a prefix of random length is kept, and a transformer learns the velocity from the VAE's latents to noise given this
prefix. Left out is REPA, the loss that aligns the decoder's features with DINOv2's, since this project does not use
DINOv2 otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lactok.config import Config, Count, Counts, Positive, Share
from lactok.errors import UserError
from lactok.nn.flextok import Decoder, Encoder, FlexTok, FlexTokConfig, PlainGuidance
from lactok.nn.lactok import drawn_latents, moments
from lactok.randomness import noise, seed_of
from lactok.training.data import Photo, load_squares
from lactok.training.distributed import each
from lactok.training.feature_cache import FeatureCache
from lactok.training.held_out import codes_used, seeds_of
from lactok.training.ldm import VAEPart
from lactok.training.learner import Learner
from lactok.training.numerics import happens
from lactok.training.positional import patch_positions, sincos_embedding
from lactok.training.pretrained import load_weights, lpips_network
from lactok.training.recipe import Recipe


@dataclass(frozen=True)
class FlexTokShape(Config):
    """The shape of the networks, the table [model] of a recipe.

    Attributes:
        encoder: width and number of blocks.
        decoder: width and number of blocks.
        head_dim: width of an attention head.
        registers: number of register tokens.
        levels: levels of FSQ in each dimension of a code.
    """

    encoder: tuple[Count, Count]
    decoder: tuple[Count, Count]
    head_dim: Count = 64
    registers: Count = 256
    levels: Counts = (8, 8, 8, 5, 5, 5)

    def config(self, vae: VAEPart, size: int) -> FlexTokConfig:
        """Return the shape of the whole tokenizer.

        Args:
            vae: the VAE of the latents.
            size: side of the images in pixels.

        Raises:
            UserError: the latents of such an image do not divide into patches.
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
    """A recipe for FlexTok's encoder and decoder.

    Attributes:
        model: the shape of the networks.
        vae: the VAE of the latents, which is frozen.
        lengths: numbers of registers to keep, one of which is drawn uniformly; in the paper the powers of two.
        groups: number of groups of a batch; the images of a group keep the same number of registers, so that dropped
            registers need not be computed.
        unconditional: share of groups that keep no register, for classifier-free guidance.
        time_power: times are u ** time_power for uniform u; below 1 they are more often near the noise.
        eval_steps: number of Euler steps on held-out photographs, without guidance.
        eval_lengths: numbers of registers that are evaluated; LPIPS is that of the last one.
    """

    model: FlexTokShape
    vae: VAEPart
    lengths: Counts = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    groups: Count = 1
    unconditional: Share = 0.1
    time_power: Positive = 1.0
    eval_steps: Count = 8
    eval_lengths: Counts = (1, 4, 16, 64, 256)

    def __post_init__(self) -> None:
        super().__post_init__()
        highest = self.model.registers
        if not self.lengths or any(not 1 <= k <= highest for k in (*self.lengths, *self.eval_lengths)):
            raise UserError(f"lengths and eval_lengths are numbers of registers, 1 to {highest}")
        if self.groups < 1 or self.batch % self.groups:
            raise UserError(f"batch = {self.batch} does not divide into groups = {self.groups}")


def register_positions(registers: int, grid: int) -> Tensor:
    """Return the initial positions of registers in a grid of patches, (N, 2): rows and columns in patches.

    They are the centres of smaller and smaller cells: register 0 has the whole image, registers 1 to 3 have quarters of
    it, registers 4 to 15 sixteenths, and so on.

    >>> register_positions(5, 16).tolist()
    [[7.5, 7.5], [3.5, 11.5], [11.5, 3.5], [11.5, 11.5], [1.5, 5.5]]
    """
    positions = []
    for i in range(registers):
        row = column = level = 0
        while i >= 4**level:
            quadrant = (i >> 2 * level) % 4  # the level-th digit of i to base 4 chooses one of four smaller cells
            row = 2 * row + quadrant // 2
            column = 2 * column + quadrant % 2
            level += 1
        side = grid / 2**level
        positions.append([(row + 0.5) * side - 0.5, (column + 0.5) * side - 0.5])
    return torch.tensor(positions)


def initialise(encoder: Encoder, decoder: Decoder) -> None:
    """Initialise the networks so that small ones learn soon; the authors' initialisation is not published.

    Patches have fixed positional embeddings, registers start with those of smaller and smaller cells, and keys start
    equal to queries, so that attention starts between nearby tokens. The modulations start like a plain pre-norm
    transformer's: gates are 1, shifts and scales are 0.
    """
    grid = encoder.patches.position.shape[-1]
    patches = patch_positions(grid)
    registers = register_positions(len(encoder.registers), grid)
    with torch.no_grad():
        for network in (encoder, decoder):
            position = network.patches.position
            position.copy_(sincos_embedding(position.shape[1], patches).t().view_as(position))
            position.requires_grad_(False)
            for block in network.blocks:
                block.get_parameter("attn.wk.weight").copy_(block.get_parameter("attn.wq.weight"))
        encoder.registers.copy_(sincos_embedding(encoder.registers.shape[1], registers))
        decoder.register_position.copy_(sincos_embedding(decoder.register_position.shape[2], registers).t())
        for block in decoder.blocks:
            block.get_parameter("adaLN_modulation.1.weight").zero_()
            bias = block.get_parameter("adaLN_modulation.1.bias").view(2, 6, -1)
            bias[:, :2] = 1.0  # the gates
            bias[:, 2:] = 0.0  # the shifts and scales
        for parameter in decoder.head.adaLN_modulation.parameters():
            parameter.zero_()


class FlexTokLearner(Learner):
    """FlexTok with its frozen VAE, and LPIPS for the evaluation."""

    def __init__(self, recipe: FlexTokRecipe):
        super().__init__()
        self.recipe = recipe
        torch.manual_seed(recipe.seed)
        self.model = FlexTok(recipe.model.config(recipe.vae, recipe.crop))
        initialise(self.model.encoder, self.model.decoder)
        load_weights(self.model.vae, recipe.vae.weights, "the VAE", within=0.1, scaling=recipe.vae.scaling)
        self.model.vae.register_to_config(scaling_factor=recipe.vae.scaling)
        self.model.vae.requires_grad_(False)
        self.moments = FeatureCache(partial(moments, self.model.vae), recipe.variants > 0)
        self.lpips = lpips_network("alex")

    def train(self, mode: bool = True) -> FlexTokLearner:
        """Set the training mode; the VAE stays in eval mode."""
        super().train(mode)
        self.model.vae.eval()
        return self

    @torch.no_grad()
    def latents(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return scaled posterior samples (B, C, h, w) of images (B, 3, S, S) in [-1, 1] with their seeds (B,)."""
        draw = noise(seeds, self.model.latent_shape, "posterior").to(images)
        return drawn_latents(self.model.vae, self.moments(images), draw)

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the squared error of the velocity from latents to noise at a random time."""
        latents = self.latents(images, seeds)
        draw = noise(seeds, self.model.latent_shape, "noise").to(latents)
        uniform = torch.tensor([(seed_of(seed, "time") % 2**20 + 0.5) / 2**20 for seed in seeds.tolist()])
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
        """Divide the images of a process into groups; if it has a part of the batch, it has fewer of them."""
        size = self.recipe.batch // self.recipe.groups
        for start in range(0, batch, size):
            yield slice(start, min(start + size, batch))

    def length(self, seed: int) -> int:
        """Return the number of registers that a group keeps, by the seed of its first image; 0: without condition."""
        if happens(self.recipe.unconditional, seed, "unconditional"):
            return 0
        return self.recipe.lengths[seed_of(seed, "length") % len(self.recipe.lengths)]

    def velocity(self, latents: Tensor, noised: Tensor, times: Tensor, length: int) -> Tensor:
        """Return the velocity that the decoder predicts.

        Args:
            latents: the clean latents (B, C, h, w), which are encoded.
            noised: the noised latents, whose velocity is predicted.
            times: times (B,) from 0, clean, to 1, noise.
            length: number of registers that the decoder gets; 0: none, the unconditional prediction.
        """
        model = self.model
        if length:
            codes = model.fsq.straight_through(model.encoder(latents, length))
            condition = model.decoder.condition(codes)
        else:
            condition = model.decoder.unconditional(len(latents))
        return model.decoder(noised, model.decoder.modulation(times), condition)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Return the number of codes in use, PSNR for each number of registers, and LPIPS for the last one.

        The images are four photographs, each followed by its reconstruction from the last number of registers.
        """
        recipe, model = self.recipe, self.model
        device = next(model.parameters()).device

        def score(photo: Photo) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            image = load_squares([photo], recipe.crop).to(device)
            clean = self.moments(image).float().chunk(2, 1)[0] * recipe.vae.scaling
            start = noise(seeds_of([photo]), model.latent_shape, "start").to(device)
            ids = model.fsq.encode(model.encoder(clean))
            psnr = []
            for length in recipe.eval_lengths:
                latents = model.sample(ids[:, :length], start, recipe.eval_steps, PlainGuidance(1.0))
                output = model.decode_latents(latents).float().clamp(-1, 1)
                psnr.append(-10 * torch.log10((output - image).square().mean((1, 2, 3)) / 4))
            with torch.autocast(device.type, enabled=False):
                distance = self.lpips(output, image)
            return ids.cpu(), torch.cat(psnr).cpu(), distance.cpu(), torch.cat([image, output]).cpu()

        ids, psnr, distances = [], [], []
        shown: list[Tensor] = []
        for found in each(photos, score):
            ids.append(found[0])
            psnr.append(found[1])
            distances.append(float(found[2]))
            if len(shown) < 4:
                shown.append(found[3])
        values: dict[str, float] = {"codes_used": codes_used(ids)}
        for length, column in zip(recipe.eval_lengths, torch.stack(psnr, 1), strict=True):
            values[f"psnr_{length}"] = float(column.mean())
        values["lpips"] = math.fsum(distances) / len(photos)
        return values, torch.cat(shown)

    def exported(self) -> dict[str, Tensor]:
        """Return the tensors of the encoder and the decoder, since the VAE is frozen."""
        return {k: v for k, v in self.model.state_dict().items() if not k.startswith("vae.")}

    def notes(self) -> dict[str, Any]:
        """Return the VAE's scaling and the shape of the tokenizer."""
        return {"scaling": self.recipe.vae.scaling, "config": {"model": asdict(self.model.config)}}
