"""Trains VQ tokenizers: reconstruction, LPIPS and codebook losses, an optional adversary, revival of dead codes.

After LlamaGen's recipe (`tokenizer/tokenizer_image/vq_train.py`): AdamW with betas (0.9, 0.95), L2 reconstruction,
commitment 0.25, gradients rather than averages for the codebook. Ours: the revival of codes that fall out of use.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Config
from lactok.errors import UserError, unknown
from lactok.nn.lpips import load_lpips
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.training.adversarial import PatchDiscriminator, adaptive_weight, discriminator_loss
from lactok.training.codebook import CodebookLearner, CodebookRecipe
from lactok.training.data import Photo, Photos, random_crops
from lactok.training.held_out import compare


@dataclass(frozen=True)
class Sizes(Config):
    """Crops and batches from a step on."""

    start: int
    crop: int
    batch: int
    scale: tuple[int, int]  # range of the shorter side from which the crop is taken


@dataclass(frozen=True, kw_only=True)
class VQRecipe(CodebookRecipe):
    """A recipe; the TOML files in `configs/` have these keys.

    Attributes:
        later: other sizes for the steps after the first ones.
        l2, lpips, adversarial: weights of the losses, the last one beside its adaptive weight.
        lpips_net: alex or vgg.
        adversarial_start: step from which on the adversary is asked.
        bf16: autocast of the networks to bfloat16; norms too, unlike `precision`.
    """

    model: VQConfig
    later: tuple[Sizes, ...] = ()
    peak_lr: float = 6e-4
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    l2: float = 1.0
    lpips: float = 0.1
    lpips_net: str = "alex"
    adversarial: float = 0.0
    adversarial_start: int = 0
    bf16: bool = True
    eval_every: int = 250
    eval_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lpips_net not in ("alex", "vgg"):
            raise unknown("lpips_net", self.lpips_net, ("alex", "vgg"))
        if self.adversarial and self.accumulate > 1:
            raise UserError(f"accumulate = {self.accumulate}: the adversary takes whole batches, leave it out")
        for sizes in self.sizes:
            if sizes.crop % self.model.downsampling or sizes.batch < 1 or len(sizes.scale) != 2:
                raise UserError(
                    f"{sizes}: crop must be a multiple of {self.model.downsampling}, batch at least 1, scale two "
                    "numbers"
                )

    @property
    def sizes(self) -> tuple[Sizes, ...]:
        """All that come, the first ones in front."""
        return Sizes(0, self.crop, self.batch, self.scale), *self.later

    def sizes_at(self, step: int) -> Sizes:
        """What holds at a step."""
        return [sizes for sizes in self.sizes if sizes.start <= step][-1]

    @property
    def batches(self) -> tuple[int, ...]:
        return tuple(sizes.batch for sizes in self.sizes)

    def batch_at(self, step: int) -> int:
        return self.sizes_at(step).batch

    def pictures(self, photos: Photos, step: int, positions: range, out: Path) -> Tensor:
        sizes = self.sizes_at(step)
        whole = random_crops(photos.train, sizes.batch, sizes.crop, sizes.scale, self.seed, step)
        first = positions.start - step * sizes.batch
        return whole[first : first + len(positions)]


class VQLearner(CodebookLearner):
    """A VQ model, LPIPS, and an adversary with an optimizer of its own where the recipe asks for one."""

    channels_last = False

    def __init__(self, recipe: VQRecipe):
        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.model = VQModel(recipe.model)
        self.watch(recipe, self.model.quantize, "model.quantize.embedding.weight")
        assert self.revival is not None
        self.revival.last_used.zero_()  # codes begin where they are
        self.lpips = copy.deepcopy(load_lpips(recipe.lpips_net, "cpu"))
        self.adversary = Adversary(recipe.peak_lr) if recipe.adversarial > 0 else None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> VQLearner:
        """The adversary, which is none of the learned parts, goes where they go."""
        super()._apply(fn, recurse)
        if self.adversary is not None:
            self.adversary.move(fn)
        return self

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.bf16):
            z = self.model.encode_features(images)
            codes, parts = self.quantized(z, step)
            output = self.model.decode_features(codes).float()
            parts["lpips"] = self.lpips(output, images).float().mean()
        parts["l2"] = F.mse_loss(output, images)
        reconstruction = recipe.l2 * parts["l2"] + recipe.lpips * parts["lpips"]
        total = reconstruction + recipe.codebook * parts["codebook"]
        if self.adversary is not None and self.training and step >= recipe.adversarial_start:
            parts["generator"] = -self.adversary.network(output).mean()
            weight = adaptive_weight(reconstruction, parts["generator"], self.model.decoder.last_layer)
            total = total + recipe.adversarial * weight * parts["generator"]
            parts["discriminator"] = self.adversary.meets(images, output.detach())
        return total, parts

    def after_step(self, step: int) -> dict[str, Tensor]:
        """The adversary's own step, then revival."""
        if self.adversary is not None:
            self.adversary.step()
        return super().after_step(step)

    def decayed(self, name: str, parameter: nn.Parameter) -> bool:
        """Weight decay goes to convolutions: neither to norms and biases nor to the codebook."""
        return parameter.ndim == 4

    def remembered(self) -> dict[str, Tensor]:
        return super().remembered() | (self.adversary.remembered() if self.adversary is not None else {})

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """PSNR, LPIPS and codes used on centre squares, in float32."""

        def reconstruct(image: Tensor) -> tuple[Tensor, Tensor]:
            ids = self.model.encode(image)
            return self.model.decode(ids), ids

        return compare(photos, self.recipe.eval_size, reconstruct, self.lpips)

    def exported(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    def notes(self) -> dict[str, Any]:
        return {"config": {"model": asdict(self.recipe.model)}}


class Adversary:
    """The patch discriminator with its optimizer; it learns after the tokenizer's own step, on the same pictures."""

    def __init__(self, peak_lr: float):
        self.network = PatchDiscriminator()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=peak_lr, betas=(0.5, 0.95))
        for parameter in self.network.parameters():  # there from the start, so that a checkpoint can be read into it
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
        self.loss: Tensor | None = None

    def move(self, function: Callable[[Tensor], Tensor]) -> None:
        """Its weights and moments to another device, by the function that moves a tensor there."""
        self.network._apply(function)
        for moments in self.optimizer.state.values():
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = function(moments[name])

    def meets(self, images: Tensor, output: Tensor) -> Tensor:
        """Its loss on photographs and reconstructions, (B, 3, S, S) in [-1, 1]; `step` learns from it."""
        self.loss = discriminator_loss(self.network(images), self.network(output))
        return self.loss.detach()

    @torch.enable_grad()
    def step(self) -> None:
        """Learn from the last pictures, by the mean gradient of all processes."""
        from accelerate.utils import reduce

        if self.loss is not None:
            self.optimizer.zero_grad(set_to_none=True)
            self.loss.backward()
            for parameter in self.network.parameters():
                parameter.grad = reduce(parameter.grad, "mean")
            self.optimizer.step()
            self.loss = None

    def remembered(self) -> dict[str, Tensor]:
        """Its weights and moments."""
        found = {f"adversary.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            found |= {f"adversary.{name}.{k}": v for k, v in self.optimizer.state[parameter].items()}
        return found
