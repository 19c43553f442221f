"""Makes a latent diffusion model sample in one to a few steps, by a LoRA: what TLCM and Hyper-SD distil.

Both are consistency distillation over segments of the trajectory. The teacher (the model without LoRA) takes one DDIM
step back; the student must jump to the segment's end from both places alike. TLCM (Xie et al. 2024, arXiv 2406.05768)
ends with one segment and samples in two to eight steps; Hyper-SD (Ren et al. 2024, arXiv 2404.13686) halves the number
of segments stage by stage, 8, 4, 2, 1, and is then fitted where its single step starts, at time 800. Without text there
is no guidance to distil; the human-feedback and score-distillation parts of both papers are not here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.errors import UserError, unknown
from lactok.nn import samplers
from lactok.nn.lactok import decode_latents
from lactok.nn.latent_decoder import UNetShape
from lactok.randomness import noise, seed_of
from lactok.training.data import Photo
from lactok.training.ldm import LDMLearner, LDMRecipe, VAEPart
from lactok.training.learner import Learner
from lactok.training.pretrained import load_weights, shape_of
from lactok.training.recipe import Recipe

# how the student samples when it is done
METHODS = {"tlcm": samplers.TLCM[2], "hyper-sd": samplers.HYPER_SD}
# the layers that the published LoRAs change; matched by the end of a layer's name
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
    """A distillation.

    Attributes:
        method: tlcm or hyper-sd.
        unet_weights, vae: the trained model.
        unet: its shape, only for weights that do not say it themselves.
        rank, alpha: of the LoRA; its scale is alpha / rank.
        grid: DDIM steps that the trajectory is cut into.
        segments: numbers of segments, one stage each, of equal length; the last is 1.
        start_share: part of the last stage's images that start where sampling starts.
        huber: of the pseudo-Huber loss.
    """

    method: str
    unet_weights: str
    unet: UNetShape | None = None
    vae: VAEPart
    rank: int = 8
    alpha: float = 8.0
    grid: int = 40
    segments: tuple[int, ...] = (8, 4, 2, 1)
    start_share: float = 0.5
    huber: float = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)
        if not self.segments or self.segments[-1] != 1 or any(self.grid % s for s in self.segments):
            raise UserError(f"segments = {list(self.segments)}: divisors of grid = {self.grid} that end with 1")

    def segments_at(self, step: int) -> int:
        return self.segments[min(len(self.segments) - 1, step * len(self.segments) // self.steps)]


class AccelerateLearner(Learner):
    """The student is the UNet with its LoRA, the teacher the same UNet with the LoRA switched off."""

    def __init__(self, recipe: AccelerateRecipe):
        from peft import LoraConfig

        super().__init__()
        self.recipe = recipe
        unet = recipe.unet or shape_of(recipe.unet_weights, "unet", UNetShape, "the latent diffusion model")
        model = LDMLearner(LDMRecipe(**_shared(recipe), unet=unet, vae=recipe.vae))
        load_weights(model.unet, recipe.unet_weights, "the latent diffusion model", scaling=recipe.vae.scaling)
        model.requires_grad_(False)
        torch.manual_seed(recipe.seed)
        # the folded cross-attentions have no layers left that could change
        layers = rf"^(?!.*attn2).*\.({'|'.join(map(re.escape, TARGETS))})$"
        model.unet.add_adapter(LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=layers))
        self.model = model
        self.times = torch.tensor(samplers.ddim_timesteps(recipe.grid))  # descending

    def train(self, mode: bool = True) -> AccelerateLearner:
        super().train(mode)
        self.model.vae.eval()
        return self

    def teacher(self, x: Tensor, t: Tensor, size: int) -> Tensor:
        self.model.unet.disable_adapters()
        try:
            with torch.no_grad():
                return self.model.predict(x, t, size).float()
        finally:
            self.model.unet.enable_adapters()

    def jump(self, x: Tensor, epsilon: Tensor, t: Tensor, end: Tensor) -> Tensor:
        """The DDIM step from t to `end`, (B,) timesteps each; -1 is the clean image."""
        clean = samplers.predicted_clean(x, epsilon, t)
        noised = samplers.add_noise(clean, epsilon, end.clamp(min=0))
        return torch.where((end < 0).view(-1, 1, 1, 1), clean, noised)

    def places(self, seeds: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """For each image the student's time, the teacher's next one and the end of its segment; -1 is clean."""
        recipe = self.recipe
        parts = recipe.segments_at(step)
        length = recipe.grid // parts
        index = torch.tensor([seed_of(s, "place") % recipe.grid for s in seeds.tolist()])
        if parts == 1:
            first = int((self.times - METHODS[recipe.method][0]).abs().argmin())
            chosen = torch.tensor([seed_of(s, "start") % 1000 < 1000 * recipe.start_share for s in seeds.tolist()])
            index = torch.where(chosen, torch.tensor(first), index)
        times = torch.cat([self.times, torch.tensor([-1])])
        return times[index], times[index + 1], times[(index // length + 1) * length]

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        size = images.shape[-1]
        latents = self.model.latents(images, seeds)
        t, following, end = (v.to(latents.device) for v in self.places(seeds, step))
        x = samplers.add_noise(latents, noise(seeds, tuple(latents.shape[1:]), "noise").to(latents), t)
        here = self.jump(x, self.model.predict(x, t, size).float(), t, end)
        with torch.no_grad():
            back = self.jump(x, self.teacher(x, t, size), t, following)
            there = self.jump(
                back, self.model.predict(back, following.clamp(min=0), size).float(), following.clamp(min=0), end
            )
            there = torch.where((following <= end).view(-1, 1, 1, 1), back, there)  # the teacher has arrived
        # an error of the noise weighs 1 / sqrt(a_t) in the clean image: bring both to the scale of the noise
        scale = samplers.alphas_cumprod().to(latents)[t].sqrt().view(-1, 1, 1, 1)
        difference = (here - there) * scale
        loss = ((difference**2 + self.recipe.huber**2).sqrt() - self.recipe.huber).mean()
        return loss, {"squared": (difference**2).mean()}

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """How far few-step samples are from the teacher's 25 DDIM steps from the same start, and four pairs of them."""
        device = next(self.model.unet.parameters()).device
        size, seeds = self.recipe.crop, torch.arange(8)
        shape = self.model.latent_shape(size)
        times = METHODS[self.recipe.method]
        noises = [noise(seeds, shape, f"start {i}").to(device) for i in range(len(times))]
        few = samplers.consistency(lambda x, t: self.model.predict(x, t, size).float(), noises, times)
        many = samplers.ddim(lambda x, t: self.teacher(x, torch.full((len(x),), t), size), noises[0], 25)
        pictures = torch.cat([decode_latents(self.model.vae, z[:4]) for z in (many, few)])
        spread = {"deviation_few": float(few.std()), "deviation_many": float(many.std())}
        return {"distance": float(F.mse_loss(few, many)), **spread}, pictures

    def notes(self) -> dict[str, Any]:
        return self.model.notes()

    def exported(self) -> dict[str, Tensor]:
        """The LoRA under PEFT's names in a file, path.lora_A.default.weight and lora_B, its scale multiplied in."""
        scale = self.recipe.alpha / self.recipe.rank
        lora = {k: v for k, v in self.model.unet.state_dict().items() if ".lora_" in k}
        return {k: v * scale if ".lora_B." in k else v for k, v in lora.items()}


def _shared(recipe: Recipe) -> dict[str, Any]:
    """The values of the keys that every recipe has."""
    import dataclasses

    return {f.name: getattr(recipe, f.name) for f in dataclasses.fields(Recipe)}
