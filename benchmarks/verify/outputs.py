"""Kind `outputs`: what one part of this project makes of a set's inputs, by the part's name in config.json.

For parts that the other kinds do not reach, and for the small models that are shipped. Inputs that are pictures are
drawn by `recipe.pictures`. Every output is compared with the stored one at `atol` + `rtol` * |x|, whole numbers
exactly.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import pictures, weights_of
from lactok.weights import load_strict

ATOL, RTOL = 1e-4, 1e-4  # ten times what another number of threads or another convolution changes
Config = Mapping[str, Any]
Outputs = dict[str, Tensor]


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """One check an output.

    Raises:
        NotBuilt: a part that is not here.
    """
    if config["part"] not in PARTS:
        raise NotBuilt(f"part {config['part']!r}")
    io = checks.tensors(folder / "io.safetensors")
    for name, value in PARTS[config["part"]](config, folder).items():
        exact = not value.is_floating_point()
        checks.close(name, value, io[name], 0 if exact else checks.atol(ATOL), 0 if exact else checks.rtol(RTOL))
    checks.finish(io)


def drawn(config: Config) -> Tensor:
    """The set's pictures (B, 3, H, W) uint8, from the `seeds`, `height` and `width` of its `pictures`."""
    return pictures(**config["pictures"])


def unit(images: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1]."""
    return images.float() / 255


def sampled(images: Tensor, step: int = 8) -> Tensor:
    """Every `step`-th pixel of (..., H, W) along both sides, so that a set stays small."""
    return images[..., ::step, ::step].contiguous()


def summed(images: Tensor) -> Tensor:
    """Means over the pixels of (B, 3, H, W), which the sampled pixels alone would not hold: (B, 3)."""
    return images.double().mean((2, 3)).float()


def maskgit_vqgan(config: Config, folder: Path) -> Outputs:
    """Features, ids and decoded picture of a narrow MaskGIT-VQGAN."""
    from lactok.nn.maskgit_vqgan import MaskGITConfig, MaskGITVQGAN

    model = MaskGITVQGAN(MaskGITConfig(**config["shape"])).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), "maskgit")
    images = unit(drawn(config))
    ids = model.encode(images)
    return {"features": model.encoder(images), "ids": ids, "decoded": sampled(model.decode(ids), 2)}


def tokenizer(config: Config, folder: Path) -> Outputs:
    """Ids and decoded pictures of a tokenizer by name, with its own weights."""
    import lactok

    found = lactok.load(config["tokenizer"])
    images, seeds = unit(drawn(config)), torch.tensor(config["pictures"]["seeds"])
    ids = found.encode(images, seeds)
    decoded = found.decode(ids, seeds)
    return {"ids": ids, "decoded": sampled(decoded), "decoded mean": summed(decoded)}


def lpips(config: Config, folder: Path) -> Outputs:
    """LPIPS with backbones by recipe under the published heads: distances, and each layer's mean of the features."""
    from lactok import weights
    from lactok.nn.lpips import LPIPS
    from lactok.nn.lpips_checkpoint import LPIPS_HEADS

    images = unit(drawn(config)) * 2 - 1
    first, second = images.chunk(2)
    out = {}
    for net in ("alex", "vgg"):
        module = LPIPS(net)
        module.load_tensors(weights_of(folder / f"{net}.safetensors"), weights.load(LPIPS_HEADS[net]))
        features = module.features(first)
        out[f"{net} distance"] = module.distance(features, module.features(second))
        out |= {f"{net} layer {k}": layer.mean((2, 3)) for k, layer in enumerate(features)}
    return out


def inception(config: Config, folder: Path) -> Outputs:
    """FID's 2048 features of pictures resized in both ways."""
    from lactok.metrics.inception_features import clean_resize, tf1_resize
    from lactok.nn.inception import Inception

    net = Inception()
    net.load_state_dict(weights_of(folder / "weights.safetensors"))
    net.eval()
    images = drawn(config)
    resized = {"tf1": tf1_resize(images), "clean": clean_resize(images)}
    out = {f"{name} resized": sampled(value, 13) for name, value in resized.items()}
    return out | {f"{name} features": net(value) for name, value in resized.items()}


def metrics(config: Config, folder: Path) -> Outputs:
    """Every metric of pictures that needs no network, and both distances, of the pictures' own pixels as features."""
    from lactok.metrics.frechet import frechet
    from lactok.metrics.kid import kid
    from lactok.metrics.psnr import psnr
    from lactok.metrics.ssim import ssim, ssim_range2, ssim_uniform7

    images = drawn(config)
    first, second = images.chunk(2)
    out = {m.__name__: m(first, second) for m in (psnr, ssim, ssim_uniform7, ssim_range2)}
    blocks = [[unit(sampled(half, 16)).flatten(1).numpy()] for half in (first, second)]
    return out | {name: torch.tensor([f(*blocks)]) for name, f in (("frechet", frechet), ("kid", kid))}


# parts whose networks or judges stand in modules of their own
_ELSEWHERE = {
    "clip": "benchmarks.verify.outputs_rewards:clip_rewards",
    "rewards": "benchmarks.verify.outputs_rewards:whole_rewards",
    "preprocess": "benchmarks.verify.outputs_rewards:preprocessed",
    "mask2former": "benchmarks.verify.outputs_geneval:mask2former",
    "scenes": "benchmarks.verify.outputs_geneval:scenes",
}


def _elsewhere(address: str) -> Callable[[Config, Path], Outputs]:
    def run(config: Config, folder: Path) -> Outputs:
        module, _, name = address.partition(":")
        return getattr(importlib.import_module(module), name)(config, folder)

    return run


PARTS: dict[str, Callable[[Config, Path], Outputs]] = {
    "maskgit_vqgan": maskgit_vqgan,
    "tokenizer": tokenizer,
    "lpips": lpips,
    "inception": inception,
    "metrics": metrics,
} | {name: _elsewhere(address) for name, address in _ELSEWHERE.items()}
