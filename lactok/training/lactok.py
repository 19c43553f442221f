"""Train LaCTok: stage 1 by the diffusion loss, stage 2 by LPIPS of images that are decoded after one or two steps.

Source: arXiv 2503.08377, sections 4.1, 4.2 and appendix A. Only the copy of the UNet learns: its blocks, the condition
embedding and the zero convolutions. The encoder, the codebook, the UNet (in stage 2 with the accelerator's LoRA merged)
and the VAE are frozen; in stage 2 gradients flow through the VAE's decoder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.config import Count, Counts, Positive, Share, Side, Sides, Weight, Whole
from lactok.errors import UserError, unknown
from lactok.nn import samplers
from lactok.nn.lactok import LaCTok, LaCTokConfig, drawn_latents, moments, resize
from lactok.nn.lactok_checkpoint import add_lora
from lactok.nn.latent_decoder import SDXL_UNET_SHAPE, DecoderConfig, UNetShape, fold_upsampling
from lactok.nn.vqgan import VQConfig
from lactok.randomness import noise, seed_of
from lactok.training.data import Photo
from lactok.training.feature_cache import FeatureCache
from lactok.training.held_out import quality
from lactok.training.ldm import VAEPart, noise_loss, timesteps
from lactok.training.learner import Learner
from lactok.training.lora import load_lora
from lactok.training.numerics import happens
from lactok.training.pixel_loss import DecodedRecipe
from lactok.training.pretrained import load_parts, load_weights, lpips_network, shape_of
from lactok.training.windows import random_windows
from lactok.weights import load_strict

# number of steps of each sampler: of hyper-sd and tlcm in training and evaluation, of ddim in evaluation only
SAMPLER_STEPS = {"ddim": 25, "hyper-sd": 1, "tlcm": 2}


@dataclass(frozen=True, kw_only=True)
class LaCTokRecipe(DecodedRecipe):
    """A recipe for either stage of LaCTok; stage 1 does not use the keys of the loss of decoded images.

    Attributes:
        stage: 1 or 2.
        encoder_weights: weights of the VQ tokenizer whose encoder and codebook are used.
        unet_weights: weights of the latent diffusion model's UNet.
        vae: the VAE of the latent diffusion model.
        encoder: shape of the VQ tokenizer, only needed if its weights do not state it and are not the published ones.
        unet: shape of the UNet, only needed if its weights do not state it and are not the published ones.
        sampler: in stage 2, "hyper-sd" (one step) or "tlcm" (two steps, the first without gradient). Stage 1 is
            evaluated with it; "ddim" is for stage 1 alone.
        lora: the accelerator's LoRA, which is merged into the UNet; only for stage 2: a weight file, a folder that PEFT
            wrote, or an asset.
        lora_scale: factor of the LoRA, alpha / rank; 1 for those trained here, and left out where an
            `adapter_config.json` beside the LoRA states both, as beside TLCM's published one.
        accelerated: whether `unet_weights` are those of an accelerated model already, such as Hyper-SD's published
            UNet; stage 2 needs either this or `lora`.
        copy: weights of the copy after stage 1, from which stage 2 starts; stage 1 may start from such weights, too.
        start: weights of the copy after a stage 2, which another stage 2 goes on from, in the place of `copy`.
        embedding: widths of the condition embedding; if not given, those that `copy` states.
        encoder_sizes: sides in pixels at which the encoder sees an image; one is drawn for each step, the same on all
            processes.
        tokenizer_size: side in pixels at which the encoder of the finished tokenizer sees an image.
        weight_cap: the largest weight of a timestep in stage 1, see `noise_loss`; 0 in the paper.
        first_share: share of stage 2's steps in which the image is decoded after the sampler's first step. In the other
            steps the first step has no gradient, and small models with high learning rates forget it; 0 in the paper.
        window: side, in latents, of the random square of each image that stage 2 decodes and compares, which takes a
            part of the time and memory; 0: the whole image, as in the paper.
        undecoded: whether stage 2 decodes nothing and compares the latents with those of the VAE, by their absolute
            error. A step takes a fraction of the time, so that small models get many more of them before a stage 2
            that decodes, which goes on from the result (`start`). False in the paper.
        eval_steps: number of sampler steps on held-out photographs; 0: as in training, or 25 of DDIM.
    """

    stage: Count
    encoder_weights: str
    unet_weights: str
    vae: VAEPart
    encoder: VQConfig | None = None
    unet: UNetShape | None = None
    sampler: str = "ddim"
    lora: str = ""
    lora_scale: Positive = 1.0
    accelerated: bool = False
    copy: str = ""
    start: str = ""
    embedding: Counts | None = None
    encoder_sizes: Sides = (224, 256, 288)
    tokenizer_size: Side = 256
    weight_cap: Weight = 0.0
    first_share: Share = 0.0
    window: Whole = 0
    undecoded: bool = False
    eval_steps: Whole = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage not in (1, 2):
            raise UserError(f"stage = {self.stage}: 1 or 2")
        if self.sampler not in SAMPLER_STEPS:
            raise unknown("sampler", self.sampler, SAMPLER_STEPS)
        begun = bool(self.copy) != bool(self.start)
        if self.stage == 2 and (self.sampler == "ddim" or not begun or self.accelerated == bool(self.lora)):
            raise UserError(
                "stage 2 needs sampler = hyper-sd or tlcm, `copy` (of stage 1) or `start` (of a stage 2), and `lora` "
                "(the accelerator) or accelerated = true where unet_weights have it already"
            )
        if self.stage == 1 and self.start:
            raise UserError("`start` is for stage 2; stage 1 starts from `copy`, or from the UNet")
        if self.stage == 1 and (self.lora or self.accelerated):
            raise UserError("stage 1 trains beside the plain diffusion model; leave `lora` and `accelerated` out")
        if self.crop % 8:
            raise UserError(f"crop = {self.crop}: a multiple of 8")
        if self.window and (self.stage == 1 or self.undecoded):
            raise UserError(f"window = {self.window}: this training decodes no images; leave it out")
        if self.undecoded and self.stage == 1:
            raise UserError("undecoded is for stage 2; stage 1 never decodes, leave it out")


def shape(recipe: LaCTokRecipe, copy: str) -> LaCTokConfig:
    """Return the shape of the recipe's network: the recipe's, else the one that the weights state, else the published.

    Args:
        recipe: the recipe.
        copy: weights of the copy; empty if it starts from the UNet.

    Raises:
        UserError: weights that do not exist.
    """
    encoder = recipe.encoder or shape_of(recipe.encoder_weights, "model", VQConfig, "encoder_weights", VQConfig())
    for side in (recipe.tokenizer_size, *recipe.encoder_sizes):
        if side % encoder.downsampling:
            raise UserError(
                f"encoder_sizes = {list(recipe.encoder_sizes)}, tokenizer_size = {recipe.tokenizer_size}: multiples of "
                f"{encoder.downsampling}, the pixels of an id along a side"
            )
    unet = recipe.unet or shape_of(
        recipe.unet_weights, "unet", UNetShape, "the latent diffusion model", SDXL_UNET_SHAPE
    )
    embedding = recipe.embedding or DecoderConfig().embedding
    if copy and not recipe.embedding:
        embedding = shape_of(copy, "embedding", tuple[int, ...], "copy", embedding)
    decoder = DecoderConfig(unet.arguments(), encoder.codebook_dim, embedding)
    return LaCTokConfig(encoder, decoder, recipe.vae.arguments())


def build_model(recipe: LaCTokRecipe, copy: str, stage: int, device: str = "cpu") -> LaCTok:
    """Return the recipe's network with all its weights, the accelerator's LoRA merged into the UNet.

    Args:
        recipe: the recipe.
        copy: weights of the copy; empty to start it from the UNet.
        stage: the stage that these weights must be of; 1 with a recipe of stage 2 is VQ-LADD with the accelerator.
        device: "meta" takes no memory for the network and looks at the names and shapes in the files alone; that is
            also done first for any other device, so that a wrong file is found before SDXL's 11 GB are read.

    Raises:
        UserError: weights do not exist, or are those of another network, another stage or another VAE.
    """
    if device != "meta":
        build_model(recipe, copy, stage, "meta")
    scaling = recipe.vae.scaling
    config = shape(recipe, copy)
    torch.manual_seed(recipe.seed)
    with torch.device(device):
        model = LaCTok(config)
    parts = ("encoder", "quant_conv", "quantize")
    load_parts(model, parts, recipe.encoder_weights, "encoder_weights", device=device)
    load_weights(model.vae, recipe.vae.weights, "the VAE", within=0.1, scaling=scaling, device=device)
    unet = model.decoder.unet
    load_weights(unet, recipe.unet_weights, "the latent diffusion model", scaling=scaling, device=device)
    if recipe.lora:
        lora = load_lora(recipe.lora, recipe.lora_scale, device)
        merged = add_lora(unet.state_dict(), lora.tensors, lora.scale, lora.where)
        load_strict(unet, merged, f"the diffusion model with {lora.where}")
    if copy:
        load_weights(model.decoder.controlnet, copy, "copy", stage=stage, scaling=scaling, device=device)
    else:
        model.decoder.copy_unet()
    return model


class LaCTokLearner(Learner):
    """LaCTok, of which the copy learns, and LPIPS.

    Attributes:
        moments: the VAE's posterior of images.
        ids: the encoder's ids of images, for each side in pixels at which it sees them.
    """

    def __init__(self, recipe: LaCTokRecipe):
        super().__init__()
        self.recipe = recipe
        model = build_model(recipe, recipe.start or recipe.copy, 2 if recipe.start else 1)
        _, _, side = model.latent_shape(recipe.crop)
        if recipe.window > side:
            raise UserError(
                f"window = {recipe.window}: at most {side}, the latents along a side of crop = {recipe.crop}"
            )
        model.requires_grad_(False)
        fold_upsampling(model.vae.decoder)
        model.decoder.controlnet.requires_grad_(True)
        if recipe.checkpointing:
            model.decoder.unet.enable_gradient_checkpointing()
            model.decoder.controlnet.enable_gradient_checkpointing()
            model.vae.enable_gradient_checkpointing()
        self.model = model
        keep = recipe.variants > 0
        self.moments = FeatureCache(partial(moments, model.vae), keep)
        sizes = {*recipe.encoder_sizes, recipe.tokenizer_size}
        self.ids = {size: FeatureCache(partial(self._encode, size=size), keep) for size in sizes}
        self.lpips = lpips_network(recipe.lpips_net)

    def train(self, mode: bool = True) -> LaCTokLearner:
        """Set the training mode of the copy; all other networks stay in eval mode."""
        super().train(mode)
        self.model.eval()
        self.model.decoder.controlnet.train(mode)
        return self

    def code_map(self, images: Tensor, size: int) -> Tensor:
        """Return the codes (B, C, h, w) of images, at the resolution of the latents.

        Args:
            images: (B, 3, S, S) in [-1, 1].
            size: side in pixels to which the images are resized for the encoder.
        """
        return self.model.code_map(self.ids[size](images), images.shape[-1])

    def _encode(self, images: Tensor, size: int) -> Tensor:
        """Return the encoder's ids of images (B, 3, S, S) in [-1, 1], resized to `size`."""
        return self.model.encode(resize(images, size))

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the recipe's stage; in stage 2 also its parts."""
        sizes = self.recipe.encoder_sizes
        encoder_size = sizes[seed_of(self.recipe.seed, "encoder size", step) % len(sizes)]
        code_map = self.code_map(images, encoder_size)
        if self.recipe.stage == 1:
            return self.diffusion_loss(images, seeds, code_map), {}
        return self.few_step_loss(images, seeds, code_map, step)

    def few_step_loss(
        self, images: Tensor, seeds: Tensor, code_map: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of stage 2, LPIPS and weighted errors of the decoded images, and these parts.

        With `undecoded` it is the absolute error of the latents instead.
        """
        steps = SAMPLER_STEPS[self.recipe.sampler]
        if happens(self.recipe.first_share, self.recipe.seed, "first step", step):
            steps = 1
        latents = self.few_steps(seeds, code_map, images.shape[-1], steps)
        if self.recipe.undecoded:
            wanted = drawn_latents(self.model.vae, self.moments(images), torch.zeros_like(latents))
            return F.l1_loss(latents, wanted), {}
        if self.recipe.window:
            latents, images = random_windows(latents, images, seeds, self.recipe.window)
        return self.recipe.decoded_loss(self.lpips, self.model.decode_latents(latents), images)

    def diffusion_loss(self, images: Tensor, seeds: Tensor, code_map: Tensor) -> Tensor:
        """Return the loss of stage 1, the squared error of the predicted noise at a random timestep."""
        shape = self.model.latent_shape(images.shape[-1])
        posterior = noise(seeds, shape, "posterior").to(images)
        latents = drawn_latents(self.model.vae, self.moments(images), posterior)
        draw = noise(seeds, shape, "noise").to(latents)
        t = timesteps(seeds).to(latents.device)
        predicted = self.model.decoder(samplers.add_noise(latents, draw, t), t, code_map, images.shape[-1])
        return noise_loss(predicted, draw, t, self.recipe.weight_cap)

    def few_steps(self, seeds: Tensor, code_map: Tensor, size: int, steps: int) -> Tensor:
        """Return latents (B, C, h, w) after some steps of the sampler, of which only the last one has a gradient.

        Args:
            seeds: seeds of the noise (B,).
            code_map: codes at the resolution of the latents.
            size: side of the images in pixels.
            steps: number of steps.
        """
        sampler = self.recipe.sampler
        last = samplers.timesteps(sampler, steps)[-1]
        shape = self.model.latent_shape(size)

        def predict(x: Tensor, t: int) -> Tensor:
            with torch.set_grad_enabled(torch.is_grad_enabled() and t == last):
                return self.model.decoder(x, t, code_map, size).float()

        def draw(stream: str) -> Tensor:
            return noise(seeds, shape, stream).to(code_map)

        return samplers.sample(predict, draw, sampler, steps)

    @property
    def bits(self) -> float:
        """The number of bits of an image's tokens."""
        encoder = self.model.config.encoder
        return (self.recipe.tokenizer_size // encoder.downsampling) ** 2 * math.log2(encoder.codebook_size)

    def reconstruct(self, images: Tensor, seeds: Tensor) -> Tensor:
        """Return reconstructions of images (B, 3, S, S) in [-1, 1] by the recipe's sampler, with their seeds (B,)."""
        size = images.shape[-1]
        code_map = self.code_map(images, self.recipe.tokenizer_size)
        steps = self.recipe.eval_steps or SAMPLER_STEPS[self.recipe.sampler]
        latents = self.model.sample(code_map, seeds, size, self.recipe.sampler, steps)
        return self.model.decode_latents(latents).clamp(-1, 1)

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Return PSNR and LPIPS, and reconstructions beside their photographs."""
        return quality(photos, self.recipe.crop, self.reconstruct, self.lpips)

    def notes(self) -> dict[str, Any]:
        """Return the stage, the VAE's scaling and the widths of the condition embedding."""
        config = {"embedding": self.model.config.decoder.embedding}
        return {"stage": self.recipe.stage, "scaling": self.recipe.vae.scaling, "config": config}

    def exported(self) -> dict[str, Tensor]:
        """Return the tensors of the copy, since all other networks are frozen."""
        return self.model.decoder.controlnet.state_dict()
