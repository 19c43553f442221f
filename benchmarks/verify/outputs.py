"""Kind `outputs`: the outputs of one part of this project, which config.json names, for drawn pictures.

The kind is for parts that the other kinds do not cover, and for the small models that are shipped. The function of a
part takes the set's config.json and folder and returns the part's outputs by name. Input pictures are drawn by
`recipe.pictures`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.verify.checks import Checks, NotBuilt
from benchmarks.verify.recipe import pictures, weights_of
from lactok.weights import load_strict

ATOL, RTOL = 1e-4, 1e-4  # ten times what another number of threads or another convolution kernel changes
Config = Mapping[str, Any]
Outputs = dict[str, Tensor]

# name of a part -> "module:function"; a module is imported when a set needs it
PARTS = {
    "maskgit_vqgan": "benchmarks.verify.outputs:maskgit_vqgan",
    "tokenizer": "benchmarks.verify.outputs:tokenizer",
    "lpips": "benchmarks.verify.outputs:lpips",
    "inception": "benchmarks.verify.outputs:inception",
    "metrics": "benchmarks.verify.outputs:metrics",
    "clip": "benchmarks.verify.outputs_rewards:clip_rewards",
    "rewards": "benchmarks.verify.outputs_rewards:whole_rewards",
    "preprocess": "benchmarks.verify.outputs_rewards:preprocessed",
    "mask2former": "benchmarks.verify.outputs_geneval:mask2former",
    "scenes": "benchmarks.verify.outputs_geneval:scenes",
}


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare every output of the part that config.json names; whole numbers must be equal.

    Raises:
        NotBuilt: there is no such part.
    """
    if config["part"] not in PARTS:
        raise NotBuilt(f"part {config['part']!r}")
    module, _, function = PARTS[config["part"]].partition(":")
    outputs: Outputs = getattr(importlib.import_module(module), function)(config, folder)
    io = checks.tensors(folder / "io.safetensors")
    for name, value in outputs.items():
        if value.is_floating_point():
            checks.close(name, value, io[name], checks.atol(ATOL), checks.rtol(RTOL))
        else:
            checks.close(name, value, io[name], 0)
    checks.finish(io)


def drawn(config: Config) -> Tensor:
    """Return the set's pictures (B, 3, H, W) uint8, drawn from the `seeds`, `height` and `width` in `pictures`."""
    return pictures(**config["pictures"])


def unit_range(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]."""
    return images.float() / 255


def subsampled(images: Tensor, step: int = 8) -> Tensor:
    """Return every `step`-th row and column of images (..., H, W), so that a set stays small."""
    return images[..., ::step, ::step].contiguous()


def mean_colours(images: Tensor) -> Tensor:
    """Return the means (B, 3) over all pixels of images (B, 3, H, W); `subsampled` leaves most pixels out."""
    return images.double().mean((2, 3)).float()


def maskgit_vqgan(config: Config, folder: Path) -> Outputs:
    """Return features, ids and decoded pictures of a narrow MaskGIT-VQGAN."""
    from lactok.nn.maskgit_vqgan import MaskGITConfig, MaskGITVQGAN

    model = MaskGITVQGAN(MaskGITConfig(**config["shape"])).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), "maskgit")
    images = unit_range(drawn(config))
    ids = model.encode(images)
    return {"features": model.encoder(images), "ids": ids, "decoded": subsampled(model.decode(ids), 2)}


def tokenizer(config: Config, folder: Path) -> Outputs:
    """Return ids and decoded pictures of the tokenizer that config.json names, with its own weights."""
    import lactok

    model = lactok.load(config["tokenizer"])
    images, seeds = unit_range(drawn(config)), torch.tensor(config["pictures"]["seeds"])
    ids = model.encode(images, seeds)
    decoded = model.decode(ids, seeds)
    return {"ids": ids, "decoded": subsampled(decoded), "decoded mean": mean_colours(decoded)}


def lpips(config: Config, folder: Path) -> Outputs:
    """Return LPIPS distances, and means of each layer's features, of recipes' backbones under the published heads."""
    from lactok import weights
    from lactok.nn.lpips import LPIPS
    from lactok.nn.lpips_checkpoint import LPIPS_HEADS

    images = unit_range(drawn(config)) * 2 - 1
    first, second = images.chunk(2)
    out = {}
    for net in ("alex", "vgg"):
        module = LPIPS(net)
        module.load_tensors(weights_of(folder / f"{net}.safetensors"), weights.load(LPIPS_HEADS[net]))
        features = module.features(first)
        out[f"{net} distance"] = module.distance(features, module.features(second))
        for k, layer in enumerate(features):
            out[f"{net} layer {k}"] = layer.mean((2, 3))
    return out


def inception(config: Config, folder: Path) -> Outputs:
    """Return pictures resized as TensorFlow 1 and as clean-fid do, and FID's 2048 features of both."""
    from lactok.metrics.inception_features import clean_resize, tf1_resize
    from lactok.nn.inception import Inception

    network = Inception()
    network.load_state_dict(weights_of(folder / "weights.safetensors"))
    network.eval()
    images = drawn(config)
    tf1, clean = tf1_resize(images), clean_resize(images)
    return {
        "tf1 resized": subsampled(tf1, 13),
        "clean resized": subsampled(clean, 13),
        "tf1 features": network(tf1),
        "clean features": network(clean),
    }


def metrics(config: Config, folder: Path) -> Outputs:
    """Return every metric that needs no network, and the Frechet and kernel distances with pixels as features."""
    from lactok.metrics.frechet import frechet
    from lactok.metrics.kid import kid
    from lactok.metrics.psnr import psnr
    from lactok.metrics.ssim import ssim, ssim_range2, ssim_uniform7

    images = drawn(config)
    first, second = images.chunk(2)
    first_features = unit_range(subsampled(first, 16)).flatten(1).numpy()
    second_features = unit_range(subsampled(second, 16)).flatten(1).numpy()
    return {
        "psnr": psnr(first, second),
        "ssim": ssim(first, second),
        "ssim_uniform7": ssim_uniform7(first, second),
        "ssim_range2": ssim_range2(first, second),
        "frechet": torch.tensor([frechet([first_features], [second_features])]),
        "kid": torch.tensor([kid([first_features], [second_features])]),
    }
