"""Kind `metrics`: every metric against scikit-image, torchmetrics, torch-fidelity, clean-fid and lpips.

PSNR is compared at 1e-5 dB, SSIM at 5e-6 against scikit-image and at 5e-5 against torchmetrics (both sides compute in
float32), distances at 1e-7 relative (the formulas of five libraries agree to about 2e-8 on singular covariances; 1e-6
where features were float32), LPIPS at 1e-6, resizers at 1e-4 of 255 levels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.verify.checks import Checks
from lactok import images, weights
from lactok.metrics.frechet import frechet
from lactok.metrics.inception_features import clean_resize, tf1_resize
from lactok.metrics.kid import kid
from lactok.metrics.psnr import psnr
from lactok.metrics.ssim import ssim_range2, ssim_uniform7, structural_similarity
from lactok.nn.lpips import LPIPS
from lactok.nn.lpips_checkpoint import LPIPS_HEADS

PSNR, SKIMAGE, TORCHMETRICS, DISTANCE, FLOAT32_DISTANCE, LPIPS_WITHIN = 1e-5, 5e-6, 5e-5, 1e-7, 1e-6, 1e-6


def _batch(array: np.ndarray) -> Tensor:
    """(H, W, 3) -> (1, 3, H, W)."""
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None]


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    values = json.loads((folder / "metrics.json").read_text())
    _pairs(np.load(folder / "pairs.npz"), values["pairs"], checks)
    _distances(np.load(folder / "features.npz"), values["frechet"], checks)
    _lpips(np.load(folder / "lpips_inputs.npz"), json.loads((folder / "lpips.json").read_text()), checks)
    recipe = json.loads((folder / "fid_resize.json").read_text())
    _resizers(np.load(folder / "fid_resize.npz"), recipe["seed"], checks)


def _pairs(arrays: Any, pairs: list[dict[str, Any]], checks: Checks) -> None:
    for pair in pairs:
        i = pair["id"]
        reference = _batch(arrays[f"{i}_gt"])
        checks.skip(f"{i}_gt", "an input")
        checks.skip(f"{i}_rec_pm1", "an input")
        output = (_batch(arrays[f"{i}_rec_pm1"]).clamp(-1, 1) + 1) / 2
        for stored, rounding in (("round", "nearest"), ("llamagen", "llamagen"), ("trunc", "truncate")):
            quantised = images.to_uint8(output, rounding)  # type: ignore[arg-type]
            checks.close(f"{i}_q_{stored}", quantised[0].permute(1, 2, 0), arrays[f"{i}_q_{stored}"], 0)
            _pair(f"pair {i} {stored}", reference, _batch(arrays[f"{i}_q_{stored}"]), pair["vals"][stored], checks)
    checks.finish(arrays.files)


def _pair(name: str, a: Tensor, b: Tensor, expected: dict[str, float], checks: Checks) -> None:
    x, y = a.float() / 255, b.float() / 255
    decibels = checks.atol(PSNR, "psnr")
    skimage, torchmetrics = checks.atol(SKIMAGE, "ssim_skimage"), checks.atol(TORCHMETRICS, "ssim_torchmetrics")
    actual = {
        "psnr_dr1": (psnr(a, b), decibels),  # the set's comes from float32 images
        "psnr_tm_img": (psnr(a, b), decibels),
        "ssim_sk_gauss_dr1": (structural_similarity(x, y), skimage),
        "ssim_tm": (structural_similarity(x, y, reflect=True), torchmetrics),
        "ssim_tm_minus1_1_dr2": (structural_similarity(2 * x - 1, 2 * y - 1, 2.0, reflect=True), torchmetrics),
        "ssim_sk_dr1": (ssim_uniform7(a, b), skimage),
        "ssim_llamagen_dr2": (ssim_range2(a, b), skimage),
    }
    for key, value in expected.items():
        checks.close(f"{name} {key}", actual[key][0][0], value, actual[key][1])


def _distances(arrays: Any, cases: list[dict[str, Any]], checks: Checks) -> None:
    for i, case in enumerate(cases):
        x, y = arrays[f"{i}_x"], arrays[f"{i}_y"]
        for name in (f"{i}_x", f"{i}_y"):
            checks.skip(name, "an input")
        blocks = np.array_split(x, 3), np.array_split(y, 4)
        distance, kernel = frechet(*blocks), kid(*blocks)
        for key, expected in case.items():
            if key in ("n", "m", "d"):
                continue
            value = kernel if key == "kid_full_unbiased" else distance
            float32 = key.startswith("tf_float32")
            within = checks.rtol(
                FLOAT32_DISTANCE if float32 else DISTANCE, "distance_float32" if float32 else "distance"
            )
            checks.close(f"set {i} {key}", value, expected, 0, within)


def _lpips(arrays: Any, expected: dict[str, Any], checks: Checks) -> None:
    x, y = (torch.from_numpy(arrays[name]) for name in ("x", "y"))
    for name in arrays.files:
        checks.skip(f"lpips {name}", "an input")
    within = checks.atol(LPIPS_WITHIN, "lpips")
    for net in ("alex", "vgg"):
        heads = weights.load(LPIPS_HEADS[net])
        module = LPIPS(net)
        module.load_tensors(_seeded_backbone(module, expected[net]["param_order"], expected["seed"]), heads)
        a, b = module.features(x), module.features(y)
        checks.close(f"lpips {net}", module.distance(a, b), expected[net]["lpips"], within)
        checks.close(f"lpips {net} torchmetrics", module.distance(a, b), expected[net]["torchmetrics"], within)
        for k, layer in enumerate(expected[net]["per_layer"]):
            value = module.model.lins[k]((a[k] - b[k]) ** 2).mean((1, 2, 3))
            checks.close(f"lpips {net} layer {k}", value, layer, within)
            total = heads[f"lin{k}.model.1.weight"].double().sum()
            checks.close(f"lpips {net} head {k} sum", total, expected[net]["lin_sums"][k], 1e-4)
    checks.skip("lpips squeeze", "SqueezeNet is not among this project's metrics")


def _seeded_backbone(module: LPIPS, order: list[str], seed: int) -> dict[str, Tensor]:
    """The set's random backbone: He-scaled draws in the order of the parameters, one generator."""
    generator = torch.Generator().manual_seed(seed + 1)
    shapes = dict(module.model.net.named_parameters())
    out = {}
    for name in order:
        shape = shapes[name].shape
        draw = torch.randn(shape, generator=generator)
        scale = (2 / shapes[name][0].numel()) ** 0.5 if len(shape) > 1 else 2**0.5 * 0.01
        out[".".join(name.split(".")[-2:])] = draw * scale
    return out


def thinned(image: Tensor, stored: np.ndarray) -> Tensor:
    """Every k-th row and column of an image (3, H, W), as a set stores it; k follows from how many it has.

    >>> thinned(torch.zeros(3, 299, 299), np.zeros((3, 23, 23))).shape
    torch.Size([3, 23, 23])
    """
    step = -(-image.shape[-1] // stored.shape[-1])
    return image[:, ::step, ::step]


def _resizers(arrays: Any, seed: int, checks: Checks) -> None:
    count = len({name.split(".")[0] for name in arrays.files})
    for i in range(count):
        height, width = (int(v) for v in arrays[f"{i}.hw"])
        checks.skip(f"{i}.hw", "an input")
        image = _batch(np.random.default_rng(seed + i).integers(0, 256, (height, width, 3), dtype=np.uint8))
        size = (299, 299)
        resized = {
            "torch_fidelity_tf1": tf1_resize(image)[0],
            "cleanfid_clean": clean_resize(image)[0],
            "pytorch_fid": F.interpolate(image.float(), size, mode="bilinear", align_corners=False)[0],
            "aa_bilinear": F.interpolate(image.float(), size, mode="bilinear", align_corners=False, antialias=True)[0],
        }
        for name, value in resized.items():
            exact, stored = value.double(), arrays[f"{i}.{name}.sub"]
            checks.close(f"{i}.{name}.sub", thinned(value, stored), stored, checks.atol(255e-4, "resized"))
            checks.close(f"{i}.{name}.sum", exact.sum((1, 2)), arrays[f"{i}.{name}.sum"], 0, 1e-6)
            checks.close(f"{i}.{name}.std", exact.std((1, 2), correction=0), arrays[f"{i}.{name}.std"], 0, 1e-6)
    checks.finish(arrays.files)
