"""Train a VQ tokenizer: squared error, LPIPS and codebook losses, and optionally a discriminator.

The recipe follows LlamaGen (`tokenizer/tokenizer_image/vq_train.py`): AdamW with betas (0.9, 0.95), squared error,
commitment weight 0.25, and a codebook that learns by gradients, not by moving averages. Dead-code revival is an
addition of this project.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lactok.config import Batch, Beta, Config, Count, Rate, Side, Weight, Whole
from lactok.errors import UserError
from lactok.nn.lactok import resize
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.training.adversarial import PatchDiscriminator, adaptive_weight, discriminator_loss
from lactok.training.codebook import CodebookLearner, CodebookRecipe
from lactok.training.data import Photo, Photos, random_crops
from lactok.training.held_out import codes_used, compare
from lactok.training.pixel_loss import SquaredErrorRecipe
from lactok.training.pretrained import load_weights, lpips_network, shape_of
from lactok.training.recipe import check_begins, check_learns, check_scale


@dataclass(frozen=True)
class Sizes(Config):
    """The sizes of crops and batches from a step on.

    Attributes:
        start: the first step with these sizes.
        crop: side of the crops in pixels.
        batch: images per step.
        scale: range of the shorter side in pixels to which a photograph is resized before it is cropped.
    """

    start: Whole
    crop: Side
    batch: Batch
    scale: tuple[Side, Side]


@dataclass(frozen=True, kw_only=True)
class VQRecipe(CodebookRecipe, SquaredErrorRecipe):
    """A recipe for a VQ tokenizer.

    Attributes:
        model: the shape of the network; without it that of `start`.
        start: weights of a VQ tokenizer that the training goes on from; empty: random ones.
        later: other sizes of crops and batches for later steps; the first steps have `crop`, `batch` and `scale`.
        adversarial: weight of the generator's loss, by which its adaptive weight is multiplied; 0: no discriminator.
        adversarial_start: step from which on the discriminator is trained and used.
        bf16: whether to autocast the networks to bfloat16, norms included, which `precision` leaves in float32.
        reduced: by how much images are made smaller for the network, as LaCTok makes them for its encoder (bilinear,
            not antialiased); `crop`, `scale` and `eval_size` are those before. On held-out photographs reconstructions
            are enlarged again, by bicubic interpolation.
        eval_size: side in pixels of the held-out photographs.
    """

    model: VQConfig | None = None
    start: str = ""
    later: tuple[Sizes, ...] = ()
    peak_lr: Rate = 6e-4
    warmup: Whole = 200
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    weight_decay: Weight = 0.01
    adversarial: Weight = 0.0
    adversarial_start: Whole = 0
    bf16: bool = True
    eval_every: Count = 250
    reduced: Count = 1
    eval_size: Side = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adversarial and self.accumulate > 1:
            raise UserError(f"accumulate = {self.accumulate}: the adversary takes whole batches, leave it out")
        for sizes in self.sizes:
            if sizes.batch < 1:
                raise UserError(f"{sizes}: batch must be at least 1")
            check_scale(sizes.crop, sizes.scale)
        check_begins("model", self.model, self.start)
        if self.model is not None:
            self.check_pixels(self.model)
        check_learns(l2=self.l2, lpips=self.lpips)

    def check_pixels(self, model: VQConfig) -> None:
        """Raise a UserError where crops or held-out photographs are not whole numbers of a network's ids."""
        pixels = model.downsampling * self.reduced  # side of the square of a photograph that an id stands for
        for sizes in self.sizes:
            if sizes.crop % pixels:
                raise UserError(f"{sizes}: crop must be a multiple of {pixels}")
        if self.eval_size % pixels:
            raise UserError(f"eval_size = {self.eval_size}: a multiple of {pixels}")

    @property
    def sizes(self) -> tuple[Sizes, ...]:
        """All sizes of the training, in the order of their first steps."""
        return Sizes(0, self.crop, self.batch, self.scale), *self.later

    def sizes_at(self, step: int) -> Sizes:
        """Return the sizes at a step."""
        return [sizes for sizes in self.sizes if sizes.start <= step][-1]

    @property
    def batches(self) -> tuple[int, ...]:
        """All batch sizes that occur in the training."""
        return tuple(sizes.batch for sizes in self.sizes)

    def batch_at(self, step: int) -> int:
        """Return the batch size of a step."""
        return self.sizes_at(step).batch

    def pictures(self, photos: Photos, step: int, positions: range, out: Path) -> Tensor:
        """As `Recipe.pictures`, with crops by `random_crops`, whose random numbers belong to a whole batch."""
        sizes = self.sizes_at(step)
        batch = random_crops(photos, sizes.batch, sizes.crop, sizes.scale, self.seed, step, out)
        first = positions.start - step * sizes.batch
        return self.reduce(batch[first : first + len(positions)])

    def reduce(self, images: Tensor) -> Tensor:
        """Return images (B, 3, S, S) as the network sees them, (B, 3, S / reduced, S / reduced)."""
        return images if self.reduced == 1 else resize(images, images.shape[-1] // self.reduced)


class VQLearner(CodebookLearner):
    """A VQ model, LPIPS, and a discriminator if the recipe asks for one.

    The discriminator is not a submodule, since it has its own optimizer and is neither averaged nor exported.
    """

    channels_last = False

    def __init__(self, recipe: VQRecipe):
        super().__init__()
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        network = recipe.model or shape_of(recipe.start, "model", VQConfig, "start")
        recipe.check_pixels(network)
        self.model = VQModel(network)
        if recipe.start:
            load_weights(self.model, recipe.start, "start")
        self.track_codebook(recipe, self.model.quantize, "model.quantize.embedding.weight")
        assert self.revival is not None
        self.revival.last_used.zero_()  # the initial codes count as used at step 0, so that step 0 does not move them
        self.lpips = lpips_network(recipe.lpips_net)
        self.adversary = Adversary(recipe.peak_lr) if recipe.adversarial > 0 else None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> VQLearner:
        """Move or convert the learner, as `nn.Module.to` does through this method, together with the discriminator."""
        super()._apply(fn, recurse)
        if self.adversary is not None:
            self.adversary.move(fn)
        return self

    def forward(self, images: Tensor, seeds: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the squared error, LPIPS, codebook and generator losses, and these parts."""
        recipe = self.recipe
        with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.bf16):
            z = self.model.encode_features(images)
            codes, parts = self.quantize(z, step)
            output = self.model.decode_features(codes).float()
            reconstruction, of_pixels = recipe.pixel_loss(self.lpips, output, images)
        parts |= of_pixels
        total = reconstruction + recipe.codebook * parts["codebook"]
        if self.adversary is not None and self.training and step >= recipe.adversarial_start:
            parts["generator"] = -self.adversary.network(output).mean()
            weight = adaptive_weight(reconstruction, parts["generator"], self.model.decoder.last_layer)
            total = total + recipe.adversarial * weight * parts["generator"]
            parts["discriminator"] = self.adversary.compute_loss(images, output.detach())
        return total, parts

    def after_step(self, step: int) -> dict[str, Tensor]:
        """Do the discriminator's step, then revive dead codes."""
        if self.adversary is not None:
            self.adversary.step()
        return super().after_step(step)

    def decayed(self, name: str, parameter: nn.Parameter) -> bool:
        """Return whether a parameter has weight decay: only the kernels of convolutions have, not the codebook."""
        return parameter.ndim == 4

    def remembered(self) -> dict[str, Tensor]:
        """Return the step at which each code was last used, and the state of the discriminator."""
        tensors = super().remembered()
        if self.adversary is not None:
            tensors |= self.adversary.remembered()
        return tensors

    def evaluate(self, photos: tuple[Photo, ...]) -> tuple[dict[str, float], Tensor]:
        """Return PSNR, LPIPS and the number of codes in use, and reconstructions beside their photographs."""

        def reconstruct(image: Tensor, seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            ids = self.model.encode(self.recipe.reduce(image))
            output = self.model.decode(ids)
            if self.recipe.reduced > 1:
                output = F.interpolate(output.float().clamp(-1, 1), image.shape[2:], mode="bicubic")
            return output, {"ids": ids}

        values, shown, more = compare(photos, self.recipe.eval_size, reconstruct, self.lpips)
        return values | {"codes_used": codes_used(more["ids"])}, shown

    def exported(self) -> dict[str, Tensor]:
        """Return all tensors of the VQ model."""
        return self.model.state_dict()

    def notes(self) -> dict[str, Any]:
        """Return the shape of the network."""
        return {"config": {"model": asdict(self.model.config)}}


class Adversary:
    """The patch discriminator and its optimizer; it is trained after the tokenizer's step, on the same images.

    Args:
        peak_lr: the learning rate, which stays constant.
    """

    def __init__(self, peak_lr: float):
        self.network = PatchDiscriminator()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=peak_lr, betas=(0.5, 0.95))
        # AdamW would create its state in the first step; it is needed before, to copy that of a checkpoint into it
        for parameter in self.network.parameters():
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
        self.loss: Tensor | None = None

    def move(self, function: Callable[[Tensor], Tensor]) -> None:
        """Apply a function that moves or converts a tensor to the weights and to the optimizer's moments."""
        self.network._apply(function)
        for moments in self.optimizer.state.values():
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = function(moments[name])

    def compute_loss(self, images: Tensor, output: Tensor) -> Tensor:
        """Return the discriminator's loss for photographs and reconstructions, both (B, 3, S, S) in [-1, 1].

        The loss is kept with its gradient for `step` and returned without.
        """
        self.loss = discriminator_loss(self.network(images), self.network(output))
        return self.loss.detach()

    @torch.enable_grad()
    def step(self) -> None:
        """Do the optimizer's step for the last computed loss, if any, by the mean gradient of all processes."""
        from accelerate.utils import reduce

        if self.loss is not None:
            self.optimizer.zero_grad(set_to_none=True)
            self.loss.backward()
            for parameter in self.network.parameters():
                parameter.grad = reduce(parameter.grad, "mean")
            self.optimizer.step()
            self.loss = None

    def remembered(self) -> dict[str, Tensor]:
        """Return the weights and the optimizer's state."""
        tensors = {f"adversary.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for entry, value in self.optimizer.state[parameter].items():
                tensors[f"adversary.{name}.{entry}"] = value
        return tensors
