"""Trains VQ tokenizers: reconstruction, LPIPS and codebook losses, an optional adversary, revival of dead codes.

After LlamaGen's recipe (`tokenizer/tokenizer_image/vq_train.py`): AdamW with betas (0.9, 0.95), L2 reconstruction,
commitment 0.25, gradients rather than averages for the codebook. Ours: the revival of codes that fall out of use.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lactok.errors import UserError, unknown
from lactok.nn.lpips import LPIPS, load_lpips
from lactok.nn.vqgan import VQConfig, VQModel
from lactok.training import common
from lactok.training.adversarial import PatchDiscriminator, adaptive_weight, discriminator_loss
from lactok.training.data import Photo, Photos, random_crops
from lactok.training.dead_codes import Revival, forget
from lactok.training.held_out import compare


@dataclass(frozen=True)
class Stage:
    """Steps at one crop size."""

    crop: int
    batch: int
    steps: int
    scale: tuple[int, ...]  # range of the shorter side from which the crop is taken


@dataclass(frozen=True)
class VQTraining:
    """A recipe; the TOML files in `configs/` have these keys."""

    name: str
    data: str
    held_out: int
    model: VQConfig
    stages: tuple[Stage, ...]
    seed: int = 0
    peak_lr: float = 6e-4
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.999
    l2: float = 1.0
    lpips: float = 0.1
    lpips_net: str = "alex"
    codebook: float = 1.0
    adversarial: float = 0.0
    adversarial_start: int = 0
    revive_every: int = 50  # steps between revivals
    revive_after: int = 200  # steps without use after which a code is dead
    revive_until: float = 0.8  # part of the steps after which codes are left alone
    bf16: bool = True
    log_every: int = 20
    eval_every: int = 250
    eval_size: int = 256
    save_every: int = 100

    def __post_init__(self) -> None:
        if self.lpips_net not in ("alex", "vgg"):
            raise unknown("lpips_net", self.lpips_net, ("alex", "vgg"))
        for stage in self.stages:
            if stage.crop % self.model.downsampling or min(stage.batch, stage.steps) < 1 or len(stage.scale) != 2:
                raise UserError(
                    f"{stage}: crop must be a multiple of {self.model.downsampling}, batch and steps at least 1, "
                    "scale two numbers"
                )

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]

    @property
    def digest(self) -> str:
        """Of everything that determines the result; a checkpoint of another recipe is refused."""
        values = dataclasses.asdict(self)
        for key in ("data", "log_every", "eval_every", "save_every"):
            values.pop(key)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class VQTrainer:
    """One training run in a folder: `state.safetensors`, `curve.jsonl` and the exported weights."""

    def __init__(self, config: VQTraining, out: Path, device: str = "cpu"):
        self.config, self.out, self.device = config, out, device
        out.mkdir(parents=True, exist_ok=True)
        self.photos = Photos.of(config.data, config.held_out, out)
        (out / "held-out.txt").write_text("".join(f"{p.resolve()}\n" for p in self.photos.held_out))
        torch.manual_seed(config.seed)
        self.model = VQModel(config.model).to(device)
        self.lpips: LPIPS = load_lpips(config.lpips_net, device)
        self.average = common.Average(self.model, config.average)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=config.peak_lr, betas=(0.9, 0.95))
        until = config.revive_until * config.steps
        self.revival = Revival(self.model.quantize, config.revive_every, config.revive_after, until, config.seed)
        self.discriminator: PatchDiscriminator | None = None
        if config.adversarial > 0:
            self.discriminator = PatchDiscriminator().to(device)
            self.d_optimizer = torch.optim.AdamW(self.discriminator.parameters(), lr=config.peak_lr, betas=(0.5, 0.95))
        self.step = 0
        self.resume()
        self.curve = common.Curve(out / "curve.jsonl", self.step)

    def _groups(self) -> list[dict[str, Any]]:
        """Weight decay on convolutions only: neither norms, biases nor the codebook."""
        codebook = self.model.quantize.embedding.weight
        decayed = [p for p in self.model.parameters() if p.ndim == 4]
        rest = [p for p in self.model.parameters() if p.ndim != 4 and p is not codebook]
        return [
            {"params": decayed, "weight_decay": self.config.weight_decay},
            {"params": [*rest, codebook], "weight_decay": 0.0},
        ]

    def resume(self) -> None:
        path = self.out / "state.safetensors"
        if not path.exists():
            return
        tensors, meta = common.load_state(path)
        if meta["digest"] != self.config.digest:
            raise UserError(f"{path} belongs to another recipe; choose another `out` or delete it")
        self.model.load_state_dict(common.part("model", tensors))
        self.average.state = common.part("average", tensors)
        common.load_optimizer(self.optimizer, common.part("optimizer", tensors))
        self.revival.last_used = tensors["last_used"]
        if self.discriminator is not None:
            self.discriminator.load_state_dict(common.part("discriminator", tensors))
            common.load_optimizer(self.d_optimizer, common.part("d_optimizer", tensors))
        self.step = meta["step"]
        print(f"resumed at step {self.step}", flush=True)

    def save(self) -> None:
        tensors = {"last_used": self.revival.last_used}
        tensors |= common.prefixed("model", self.model.state_dict())
        tensors |= common.prefixed("average", self.average.state)
        tensors |= common.prefixed("optimizer", common.optimizer_tensors(self.optimizer))
        if self.discriminator is not None:
            tensors |= common.prefixed("discriminator", self.discriminator.state_dict())
            tensors |= common.prefixed("d_optimizer", common.optimizer_tensors(self.d_optimizer))
        meta = {"step": self.step, "digest": self.config.digest, "name": self.config.name}
        common.save_state(self.out / "state.safetensors", tensors, meta)

    def losses(self, images: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor, Tensor]:
        """Total loss, its parts, the output, the features before quantization and the ids."""
        config = self.config
        with torch.autocast(images.device.type, torch.bfloat16, enabled=config.bf16):
            output, z, ids = self.model(images)
            output = output.float()
            perceptual = self.lpips(output, images).float().mean()
        parts = {"l2": F.mse_loss(output, images), "lpips": perceptual, "codebook": self.model.quantize.loss(z, ids)}
        reconstruction = config.l2 * parts["l2"] + config.lpips * parts["lpips"]
        total = reconstruction + config.codebook * parts["codebook"]
        if self.discriminator is not None and step >= config.adversarial_start:
            generator = -self.discriminator(output).mean()
            weight = adaptive_weight(reconstruction, generator, self.model.decoder.last_layer)
            total = total + config.adversarial * weight * generator
            parts["generator"] = generator
        return total, parts, output.detach(), z, ids

    def discriminator_step(self, images: Tensor, output: Tensor) -> Tensor:
        """One step of the adversary, after the tokenizer's own; returns its loss."""
        assert self.discriminator is not None
        loss = discriminator_loss(self.discriminator(images), self.discriminator(output))
        self.d_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.d_optimizer.step()
        return loss

    def train_step(self) -> dict[str, float]:
        config, step = self.config, self.step
        stage = config.stage_at(step)
        lr = common.learning_rate(step, config.steps, config.warmup, config.peak_lr)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        low, high = stage.scale
        images = random_crops(self.photos.train, stage.batch, stage.crop, (low, high), config.seed, step)
        images = images.to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        with common.repeatable(self.device):
            total, parts, output, z, ids = self.losses(images, step)
            total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.optimizer.step()
        if self.discriminator is not None and step >= config.adversarial_start:
            parts["discriminator"] = self.discriminator_step(images, output)
        self.revival.note(ids, step)
        if self.revival.due(step):
            self.revive(z, step)
        self.average.update(self.model, step)
        self.step += 1
        found = {k: float(v.detach()) for k, v in parts.items()}
        return found | {"norm": float(norm), "lr": lr, "alive": self.revival.alive(step)}

    @torch.no_grad()
    def revive(self, z: Tensor, step: int) -> None:
        """Dead codes onto features of the current batch, in the averaged weights too."""
        moved = self.revival.revive(z.permute(0, 2, 3, 1).flatten(0, 2), step)
        embedding = self.model.quantize.embedding.weight
        self.average.state["quantize.embedding.weight"][moved] = embedding[moved]
        forget(self.optimizer, embedding, moved)

    @torch.no_grad()
    def evaluate(self, photos: tuple[Photo, ...]) -> dict[str, float]:
        """PSNR, LPIPS and codes used of the averaged weights on centre squares, in float32."""
        model = VQModel(self.config.model).to(self.device).eval()
        model.load_state_dict(self.average.state)

        def reconstruct(image: Tensor) -> tuple[Tensor, Tensor]:
            ids = model.encode(image)
            return model.decode(ids), ids

        return compare(photos, self.config.eval_size, reconstruct, self.lpips)[0]

    def export(self) -> Path:
        """The averaged weights in fp16, as the package ships them."""
        path = self.out / f"{self.config.name}.safetensors"
        common.save_state(path, {k: v.half() for k, v in self.average.state.items()}, {"step": self.step})
        return path

    def run(self) -> None:
        config = self.config
        started, at = time.monotonic(), self.step
        while self.step < config.steps:
            values = self.train_step()
            done = self.step
            if done % config.log_every == 0:
                seconds = (time.monotonic() - started) / (done - at)
                self.curve.log(done - 1, **values, seconds_a_step=seconds)
            if done % config.save_every == 0 or done == config.steps:
                self.save()
            if done % config.eval_every == 0 or done == config.steps:
                held = self.evaluate(self.photos.held_out)
                self.curve.log(done - 1, **{f"held_out_{k}": v for k, v in held.items()})
                self.export()
        everything = self.evaluate((*self.photos.train, *self.photos.held_out))
        self.curve.log(config.steps - 1, **{f"all_{k}": v for k, v in everything.items()})
        print(f"wrote {self.export()}", flush=True)
