"""Train a LoRA with which a latent diffusion model samples in one to a few steps, as TLCM and Hyper-SD do.

Both are consistency distillation over segments of the sampling trajectory. From a noised image, the teacher (the model
without LoRA) takes one DDIM step towards the clean image. The student (the model with LoRA) predicts the end of the
segment from both points, and the two predictions must agree. TLCM (Xie et al. 2024, arXiv 2406.05768) ends with one
segment and samples in two to eight steps. Hyper-SD (Ren et al. 2024, arXiv 2404.13686) halves the number of segments
stage by stage, 8, 4, 2, 1, and is then trained at time 800, where its single step starts. The models here have no text,
so there is no guidance to distil; the human-feedback and score-distillation parts of both papers are left out.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.config import Count, Counts, Positive, Share
from lactok.errors import UserError, unknown
from lactok.nn import samplers
from lactok.nn.lactok import decode_latents
from lactok.nn.latent_decoder import UNetShape
from lactok.randomness import noise, seed_of
from lactok.training.data import Photo
from lactok.training.distributed import each
from lactok.training.ldm import LDMLearner, LDMRecipe, VAEPart
from lactok.training.learner import Learner
from lactok.training.numerics import happens
from lactok.training.pretrained import load_weights, shape_of
from lactok.training.recipe import Recipe

# method -> the times at which the trained student samples
METHODS = {"tlcm": samplers.TLCM[2], "hyper-sd": samplers.HYPER_SD}
# the layers that the published LoRAs change, by the end of their names
TARGETS = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "conv_shortcut",
    "downsamplers.0.conv",
    "upsamplers.0.conv",
    "time_emb_proj",
)


@dataclass(frozen=True, kw_only=True)
class AccelerateRecipe(Recipe):
    """A recipe for a few-step LoRA.

    Attributes:
        method: "tlcm" or "hyper-sd".
        unet_weights: weights of the diffusion model's UNet.
        unet: shape of the UNet, only needed if the weights do not state it.
        vae: the VAE of the diffusion model.
        rank: rank of the LoRA.
        alpha: the LoRA is scaled by alpha / rank.
        grid: number of DDIM steps of the whole trajectory.
        segments: number of segments in each stage, the last one 1; all stages have the same number of steps.
        start_share: share of the last stage's images that start at the time where sampling starts.
        huber: the constant of the pseudo-Huber loss.
    """

    method: str
    unet_weights: str
    unet: UNetShape | None = None
    vae: VAEPart
    rank: Count = 8
    alpha: Positive = 8.0
    grid: Count = 40
    segments: Counts = (8, 4, 2, 1)
    start_share: Share = 0.5
    huber: Positive = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)
        if not self.segments or self.segments[-1] != 1 or any(self.grid % s for s in self.segments):
            raise UserError(f"segments = {list(self.segments)}: divisors of grid = {self.grid} that end with 1")

    def segments_at(self, step: int) -> int:
        """Return the number of segments at a step."""
        return self.segments[min(len(self.segments) - 1, step * len(self.segments) // self.steps)]


class AccelerateLearner(Learner):
    """The student is the UNet with its LoRA; the teacher is the same UNet with the LoRA switched off."""

    def __init__(self, recipe: AccelerateRecipe):
        from peft import LoraConfig

        super().__init__()
        self.recipe = recipe
        unet = recipe.unet or shape_of(recipe.unet_weights, "unet", UNetShape, "the latent diffusion model")
        common_keys = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(Recipe)}
        model = LDMLearner(LDMRecipe(**common_keys, unet=unet, vae=recipe.vae))
        load_weights(model.unet, recipe.unet_weights, "the latent diffusion model", scaling=recipe.vae.scaling)
        model.requires_grad_(False)
        torch.manual_seed(recipe.seed)
        # the cross-attentions, attn2, are folded into a constant, so that they have no layers that a LoRA could change
        layers = rf"^(?!.*attn2).*\.({'|'.join(map(re.escape, TARGETS))})$"
        model.unet.add_adapter(LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=layers))
        self.model = model
        self.times = torch.tensor(samplers.ddim_timesteps(recipe.grid))  # descending

    def train(self, mode: bool = True) -> AccelerateLearner:
        """Set the training mode; the VAE stays in eval mode."""
        super().train(mode)
        self.model.vae.eval()
        return self

    def predict_by_teacher(self, x: Tensor, t: Tensor, size: int) -> Tensor:
        """Return the noise that the teacher predicts, without gradient; arguments as of `LDMLearner.predict`."""
        self.model.unet.disable_adapters()
        try:
            with torch.no_grad():
                return self.model.predict(x, t, size).float()
        finally:
            self.model.unet.enable_adapters()

    def predict_by_student(self, x: Tensor, t: int | Tensor, size: int) -> Tensor:
        """Return the noise that the student predicts; arguments as of `LDMLearner.predict`."""
        return self.model.predict(x, t, size).float()

    def ddim_step(self, x: Tensor, epsilon: Tensor, t: Tensor, end: Tensor) -> Tensor:
        """Return latents after the DDIM step from one time to another.

        Args:
            x: noised latents (B, C, h, w).
            epsilon: the predicted noise.
            t, end: the times (B,); an `end` of -1 stands for clean latents.
        """
        clean = samplers.predicted_clean(x, epsilon, t)
        noised = samplers.add_noise(clean, epsilon, end.clamp(min=0))
        return torch.where((end < 0).view(-1, 1, 1, 1), clean, noised)

    def draw_times(self, seeds: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a time for each image.

        Returns:
            The time t, the next time of the DDIM grid, and the end of t's segment, (B,) each; -1 stands for clean
            latents.
        """
        recipe = self.recipe
        segments = recipe.segments_at(step)
        length = recipe.grid // segments
        index = torch.tensor([seed_of(seed, "place") % recipe.grid for seed in seeds.tolist()])
        if segments == 1:
            start = int((self.times - METHODS[recipe.method][0]).abs().argmin())
            at_start = torch.tensor([happens(recipe.start_share, seed, "start") for seed in seeds.tolist()])
            index = torch.where(at_start, torch.tensor(start), index)
        times = torch.cat([self.times, torch.tensor([-1])])
        return times[index], times[index + 1], times[(index // length + 1) * length]

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the pseudo-Huber loss between both predictions of the segment's end, and their squared difference."""
        size = images.shape[-1]
        latents = self.model.latents(images, seeds)
        t, next_t, end = (times.to(latents.device) for times in self.draw_times(seeds, step))
        x = samplers.add_noise(latents, noise(seeds, tuple(latents.shape[1:]), "noise").to(latents), t)
        predicted = self.ddim_step(x, self.predict_by_student(x, t, size), t, end)
        with torch.no_grad():
            next_x = self.ddim_step(x, self.predict_by_teacher(x, t, size), t, next_t)
            from_t = next_t.clamp(min=0)
            target = self.ddim_step(next_x, self.predict_by_student(next_x, from_t, size), from_t, end)
            # where the teacher's step ends at the segment's end already, there is nothing left to predict
            target = torch.where((next_t <= end).view(-1, 1, 1, 1), next_x, target)
        # an error of the noise is multiplied by 1 / sqrt(a_t) in the clean latents; scale both back to the noise
        scale = samplers.alphas_cumprod().to(latents)[t].sqrt().view(-1, 1, 1, 1)
        difference = (predicted - target) * scale
        loss = ((difference**2 + self.recipe.huber**2).sqrt() - self.recipe.huber).mean()
        return loss, {"squared": (difference**2).mean()}

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Compare the student's few-step samples with samples of the teacher's 25 DDIM steps from the same noise.

        Returns:
            The mean squared difference of the latents and the standard deviation of each kind, and four of the
            teacher's samples, followed by those of the student.
        """
        device = next(self.model.unet.parameters()).device
        size = self.recipe.crop
        shape = self.model.latent_shape(size)
        times = METHODS[self.recipe.method]

        def sample(seed: int) -> tuple[Tensor, Tensor, Tensor]:
            seeds = torch.tensor([seed])
            noises = [noise(seeds, shape, f"start {i}").to(device) for i in range(len(times))]
            few = samplers.consistency(lambda x, t: self.predict_by_student(x, t, size), noises, times)
            many = samplers.ddim(lambda x, t: self.predict_by_teacher(x, torch.full((1,), t), size), noises[0], 25)
            # all are decoded, so that all processes of a sharded network compute the same layers
            decoded = torch.stack([decode_latents(self.model.vae, x).float() for x in (many, few)])
            return few.cpu(), many.cpu(), decoded.cpu()

        found = list(each(range(8), sample))
        few, many = (torch.cat([item[i] for item in found]) for i in (0, 1))
        images = torch.cat([decoded for _, _, decoded in found[:4]], 1).flatten(0, 1)
        values = {
            "distance": float(F.mse_loss(few, many)),
            "deviation_few": float(few.std()),
            "deviation_many": float(many.std()),
        }
        return values, images

    def notes(self) -> dict[str, Any]:
        """Return the metadata of the diffusion model."""
        return self.model.notes()

    def exported(self) -> dict[str, Tensor]:
        """Return the LoRA's tensors, multiplied by its scale, under PEFT's names such as PATH.lora_A.default.weight."""
        scale = self.recipe.alpha / self.recipe.rank
        tensors = {}
        for name, tensor in self.model.unet.state_dict().items():
            if ".lora_B." in name:
                tensors[name] = tensor * scale
            elif ".lora_" in name:
                tensors[name] = tensor
        return tensors
