"""Trains LaCTok: stage 1 by the diffusion loss, stage 2 by LPIPS on pixels decoded after one or two steps.

Source: arXiv 2503.08377, sections 4.1, 4.2 and appendix A. Only the copy of the UNet learns: its trunk, the condition
embedding and the zero convolutions. Encoder, codebook, UNet (with the accelerator's LoRA merged in stage 2) and VAE are
frozen; the VAE's decoder passes gradients on.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.errors import UserError, unknown
from lactok.nn import samplers
from lactok.nn.lactok import LaCTok, LaCTokConfig, drawn_latents, moments, resize
from lactok.nn.lactok_checkpoint import add_lora
from lactok.nn.latent_decoder import SDXL_UNET_SHAPE, DecoderConfig, UNetShape, fold_upsampling
from lactok.nn.lpips import load_lpips
from lactok.nn.vqgan import VQConfig
from lactok.randomness import noise, seed_of
from lactok.training.data import Photo, centre_square, to_tensor
from lactok.training.feature_cache import Frozen
from lactok.training.ldm import VAEPart, noise_loss, timesteps
from lactok.training.learner import Learner
from lactok.training.pretrained import find, load_parts, load_weights, shape_of
from lactok.training.recipe import Recipe
from lactok.weights import load_strict
from lactok.weights.cache import load_safetensors

STEPS = {"ddim": 25, "hyper-sd": 1, "tlcm": 2}  # of each sampler in training, of DDIM in evaluation


@dataclass(frozen=True, kw_only=True)
class LaCTokRecipe(Recipe):
    """Either stage.

    Attributes:
        stage: 1 or 2.
        sampler: stage 2's: hyper-sd (one step) or tlcm (two, the first without gradient). Stage 1 is evaluated with it.
        encoder_weights: of the VQ tokenizer whose encoder and codebook are used.
        unet_weights, vae: the latent diffusion model.
        encoder, unet: their shapes, only for weights that neither say them nor are the published ones.
        lora, lora_scale: the accelerator, and 1 for those trained here (the published one has 8 / 64); stage 1 must
            not have it.
        accelerated: `unet_weights` are of an accelerated model already, as Hyper-SD's published UNet; stage 2 needs
            this or `lora`.
        embedding: widths of the condition embedding; stage 2 takes them from `copy`.
        copy: the copy's weights from stage 1; stage 2 needs them.
        encoder_sizes: sides in pixels that the encoder may see; one is drawn a step, the same on all processes.
        lpips_net: alex or vgg.
        eval_steps: of the sampler on held-out photographs; 0: as in training, 25 of DDIM.
        first_share: share of stage 2's iterations that stop at the sampler's first step, which has no gradient in the
            others: small models at high learning rates otherwise lose it. The paper has none.
        l1: weight of absolute error beside LPIPS in stage 2; the paper has none.
        weight_cap: of stage 1, see `noise_loss`; the paper has none.
    """

    stage: int
    encoder_weights: str
    unet_weights: str
    vae: VAEPart
    encoder: VQConfig | None = None
    unet: UNetShape | None = None
    sampler: str = "ddim"
    lora: str = ""
    lora_scale: float = 1.0
    accelerated: bool = False
    copy: str = ""
    embedding: tuple[int, ...] | None = None
    encoder_sizes: tuple[int, ...] = (224, 256, 288)
    lpips_net: str = "vgg"
    l1: float = 0.0
    weight_cap: float = 0.0
    first_share: float = 0.0
    eval_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage not in (1, 2):
            raise UserError(f"stage = {self.stage}: 1 or 2")
        if self.sampler not in STEPS:
            raise unknown("sampler", self.sampler, STEPS)
        if self.stage == 2 and (self.sampler == "ddim" or not self.copy or self.accelerated == bool(self.lora)):
            raise UserError(
                "stage 2 needs sampler = hyper-sd or tlcm, `copy` (of stage 1), and `lora` (the accelerator) or "
                "accelerated = true where unet_weights have it already"
            )
        if self.stage == 1 and (self.lora or self.accelerated):
            raise UserError("stage 1 trains beside the plain diffusion model; leave `lora` and `accelerated` out")
        if self.crop % 8 or any(s % 16 for s in self.encoder_sizes):
            raise UserError("crop must be a multiple of 8, encoder_sizes of 16")


def shape(recipe: LaCTokRecipe, copy: str) -> LaCTokConfig:
    """The shape of the recipe's network: what the recipe states, else what the weights say, else the published one."""
    encoder = recipe.encoder or shape_of(recipe.encoder_weights, "model", VQConfig, "encoder_weights", VQConfig())
    unet = recipe.unet or shape_of(
        recipe.unet_weights, "unet", UNetShape, "the latent diffusion model", SDXL_UNET_SHAPE
    )
    embedding = recipe.embedding or DecoderConfig().embedding
    if copy and not recipe.embedding:
        embedding = shape_of(copy, "embedding", tuple[int, ...], "copy", embedding)
    decoder = DecoderConfig(unet.arguments(), encoder.codebook_dim, embedding)
    return LaCTokConfig(encoder, decoder, recipe.vae.arguments())


def build_model(recipe: LaCTokRecipe, copy: str, stage: int) -> LaCTok:
    """The recipe's network with all its weights, the accelerator merged.

    Args:
        copy: the copy's weights, "" to start it from the diffusion model.
        stage: the stage that they must be of.

    Raises:
        UserError: weights that are missing, of another network, stage or VAE scaling.
    """
    scaling = recipe.vae.scaling
    config = shape(recipe, copy)
    torch.manual_seed(recipe.seed)
    model = LaCTok(config)
    load_parts(model, ("encoder", "quant_conv", "quantize"), recipe.encoder_weights, "encoder_weights")
    load_weights(model.vae, recipe.vae.weights, "the VAE", within=0.1, scaling=scaling)
    unet = model.decoder.unet
    load_weights(unet, recipe.unet_weights, "the latent diffusion model", scaling=scaling)
    if recipe.lora:
        file = find(recipe.lora, "lora")
        merged = add_lora(unet.state_dict(), load_safetensors(file), recipe.lora_scale, str(file))
        load_strict(unet, merged, f"the diffusion model with {file}")
    if copy:
        load_weights(model.decoder.controlnet, copy, "copy", stage=stage, scaling=scaling)
    else:
        model.decoder.copy_unet()
    return model


class LaCTokLearner(Learner):
    def __init__(self, recipe: LaCTokRecipe):
        super().__init__()
        self.recipe = recipe
        model = build_model(recipe, recipe.copy, 1)
        model.requires_grad_(False)
        fold_upsampling(model.vae.decoder)
        model.decoder.controlnet.requires_grad_(True)
        if recipe.checkpointing:
            model.decoder.unet.enable_gradient_checkpointing()
            model.decoder.controlnet.enable_gradient_checkpointing()
            model.vae.enable_gradient_checkpointing()
        self.model = model
        keep = recipe.variants > 0
        self.moments = Frozen(partial(moments, model.vae), keep)
        self.ids = {s: Frozen(partial(self._ids, size=s), keep) for s in {*recipe.encoder_sizes, 256}}
        self.lpips = copy.deepcopy(load_lpips(recipe.lpips_net, "cpu"))  # moved and sharded with the rest

    def train(self, mode: bool = True) -> LaCTokLearner:
        super().train(mode)
        self.model.eval()
        self.model.decoder.controlnet.train(mode)
        return self

    def code_map(self, images: Tensor, size: int) -> Tensor:
        """Pictures of side S in [-1, 1], seen by the encoder at `size` -> codes at the latents' resolution."""
        return self.model.code_map(self.ids[size](images), images.shape[-1])

    def _ids(self, images: Tensor, size: int) -> Tensor:
        return self.model.encode(resize(images, size))

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        sizes = self.recipe.encoder_sizes
        code_map = self.code_map(images, sizes[seed_of(self.recipe.seed, "encoder size", step) % len(sizes)])
        if self.recipe.stage == 1:
            return self.diffusion_loss(images, seeds, code_map), {}
        first = seed_of(self.recipe.seed, "first step", step) % 1000 < 1000 * self.recipe.first_share
        clean = self.few_steps(seeds, code_map, images.shape[-1], 1 if first else STEPS[self.recipe.sampler])
        output = self.model.decode_latents(clean)  # not clamped: the gradient must pass
        lpips, l1 = self.lpips(output.float(), images).float().mean(), F.l1_loss(output.float(), images)
        return lpips + self.recipe.l1 * l1, {"lpips": lpips, "l1": l1}

    def diffusion_loss(self, images: Tensor, seeds: Tensor, code_map: Tensor) -> Tensor:
        """Stage 1: squared error of the predicted noise at a uniform time."""
        shape = self.model.latent_shape(images.shape[-1])
        posterior = noise(seeds, shape, "posterior").to(images)
        latents = drawn_latents(self.model.vae, self.moments(images), posterior)
        draw = noise(seeds, shape, "noise").to(latents)
        t = timesteps(seeds).to(latents.device)
        predicted = self.model.decoder(samplers.add_noise(latents, draw, t), t, code_map, images.shape[-1])
        return noise_loss(predicted, draw, t, self.recipe.weight_cap)

    def few_steps(self, seeds: Tensor, code_map: Tensor, size: int, steps: int) -> Tensor:
        """Stage 2: clean latents after some steps of the sampler; only the last one has a gradient."""
        sampler = self.recipe.sampler
        last = samplers.timesteps(sampler, steps)[-1]
        shape = self.model.latent_shape(size)

        def predict(x: Tensor, t: int) -> Tensor:
            with torch.set_grad_enabled(torch.is_grad_enabled() and t == last):
                return self.model.decoder(x, t, code_map, size).float()

        return samplers.sample(predict, lambda s: noise(seeds, shape, s).to(code_map), sampler, steps)

    @property
    def bits(self) -> float:
        """Of an image: tokens of the encoder's own 256 pixels times bits of a code."""
        encoder = self.model.config.encoder
        return (256 // encoder.downsampling) ** 2 * math.log2(encoder.codebook_size)

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """As the finished tokenizer would: DDIM for a stage-1 model without accelerator, else its few steps."""
        size = images.shape[-1]
        code_map = self.code_map(images, 256)
        steps = self.recipe.eval_steps or STEPS[self.recipe.sampler]
        clean = self.model.sample(code_map, seeds, size, self.recipe.sampler, steps)
        return self.model.decode_latents(clean).clamp(-1, 1)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        psnr, lpips = [], []
        pictures: list[Tensor] = []
        device = next(self.model.parameters()).device
        for photo in photos:
            image = to_tensor([centre_square(photo.open_rgb(), self.recipe.crop)]).to(device)
            output = self.reconstruct(image, torch.tensor([seed_of("held out", photo.name)]))
            psnr.append(-10 * torch.log10(F.mse_loss(output, image) / 4))
            lpips.append(self.lpips(output, image)[0])
            if len(pictures) < 8:
                pictures += [image, output]
        return {"psnr": float(torch.stack(psnr).mean()), "lpips": float(torch.stack(lpips).mean())}, torch.cat(pictures)

    def notes(self) -> dict[str, Any]:
        config = {"embedding": self.model.config.decoder.embedding}
        return {"stage": self.recipe.stage, "scaling": self.recipe.vae.scaling, "config": config}

    def exported(self) -> dict[str, Tensor]:
        """The copy alone; everything else is as it was."""
        return self.model.decoder.controlnet.state_dict()
