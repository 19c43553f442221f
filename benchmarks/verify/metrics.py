"""Kind `metrics`: the metrics, compared with scikit-image, torchmetrics, torch-fidelity, clean-fid and lpips."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.verify.checks import Checks
from lactok import images, outside_text, weights
from lactok.metrics.frechet import frechet
from lactok.metrics.inception_features import clean_resize, tf1_resize
from lactok.metrics.kid import kid
from lactok.metrics.psnr import psnr
from lactok.metrics.ssim import ssim_range2, ssim_uniform7, structural_similarity
from lactok.nn.lpips import LPIPS
from lactok.nn.lpips_checkpoint import LPIPS_HEADS

PSNR_ATOL = 1e-5  # dB
SKIMAGE_SSIM_ATOL = 5e-6
TORCHMETRICS_SSIM_ATOL = 5e-5  # torchmetrics computes in float32, as this project does
DISTANCE_RTOL = 1e-7  # the formulas of five libraries agree to about 2e-8, even for singular covariances
FLOAT32_DISTANCE_RTOL = 1e-6  # where the set's distance comes from float32 features
LPIPS_ATOL = 1e-6
RESIZED_ATOL = 255e-4  # of pixels in [0, 255]


def _batch(array: np.ndarray) -> Tensor:
    """Return an image (H, W, 3) as a batch (1, 3, H, W)."""
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None]


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare metrics of image pairs, distances of features, LPIPS with a random backbone, and the resizers of FID."""
    values = outside_text.json_file(folder / "metrics.json")
    _check_pairs(np.load(folder / "pairs.npz"), values["pairs"], checks)
    _check_distances(np.load(folder / "features.npz"), values["frechet"], checks)
    _check_lpips(np.load(folder / "lpips_inputs.npz"), outside_text.json_file(folder / "lpips.json"), checks)
    recipe = outside_text.json_file(folder / "fid_resize.json")
    _check_resizers(np.load(folder / "fid_resize.npz"), recipe["seed"], checks)


def _check_pairs(arrays: Any, pairs: list[dict[str, Any]], checks: Checks) -> None:
    """Compare the roundings of reconstructions to uint8, and the metrics of each rounded image and its reference."""
    for pair in pairs:
        i = pair["id"]
        reference = _batch(arrays[f"{i}_gt"])
        checks.skip(f"{i}_gt", "an input")
        checks.skip(f"{i}_rec_pm1", "an input")
        output = (_batch(arrays[f"{i}_rec_pm1"]).clamp(-1, 1) + 1) / 2
        for stored, rounding in (("round", "nearest"), ("llamagen", "llamagen"), ("trunc", "truncate")):
            quantised = images.to_uint8(output, rounding)  # type: ignore[arg-type]
            checks.close(f"{i}_q_{stored}", quantised[0].permute(1, 2, 0), arrays[f"{i}_q_{stored}"], 0)
            _check_pair(
                f"pair {i} {stored}", reference, _batch(arrays[f"{i}_q_{stored}"]), pair["vals"][stored], checks
            )
    checks.finish(arrays.files)


def _check_pair(name: str, reference: Tensor, image: Tensor, expected: dict[str, float], checks: Checks) -> None:
    """Compare PSNR and all kinds of SSIM of an image and its reference, both (1, 3, H, W) uint8."""
    x, y = reference.float() / 255, image.float() / 255
    psnr_atol = checks.atol(PSNR_ATOL, "psnr")
    skimage_atol = checks.atol(SKIMAGE_SSIM_ATOL, "ssim_skimage")
    torchmetrics_atol = checks.atol(TORCHMETRICS_SSIM_ATOL, "ssim_torchmetrics")
    # the set's name of a metric -> (its value, tolerance)
    actual = {
        "psnr_dr1": (psnr(reference, image), psnr_atol),  # the set computes it from float32 images
        "psnr_tm_img": (psnr(reference, image), psnr_atol),
        "ssim_sk_gauss_dr1": (structural_similarity(x, y), skimage_atol),
        "ssim_tm": (structural_similarity(x, y, reflect=True), torchmetrics_atol),
        "ssim_tm_minus1_1_dr2": (structural_similarity(2 * x - 1, 2 * y - 1, 2.0, reflect=True), torchmetrics_atol),
        "ssim_sk_dr1": (ssim_uniform7(reference, image), skimage_atol),
        "ssim_llamagen_dr2": (ssim_range2(reference, image), skimage_atol),
    }
    for key, expected_value in expected.items():
        values, atol = actual[key]
        checks.close(f"{name} {key}", values[0], expected_value, atol)


def _check_distances(arrays: Any, cases: list[dict[str, Any]], checks: Checks) -> None:
    """Compare the Frechet distance and the kernel distance (KID) of two sets of features, given in several blocks."""
    for i, case in enumerate(cases):
        x, y = arrays[f"{i}_x"], arrays[f"{i}_y"]
        for name in (f"{i}_x", f"{i}_y"):
            checks.skip(name, "an input")
        x_blocks, y_blocks = np.array_split(x, 3), np.array_split(y, 4)
        frechet_distance, kernel_distance = frechet(x_blocks, y_blocks), kid(x_blocks, y_blocks)
        for key, expected in case.items():
            if key in ("n", "m", "d"):  # sizes of the case
                continue
            value = kernel_distance if key == "kid_full_unbiased" else frechet_distance
            if key.startswith("tf_float32"):
                rtol = checks.rtol(FLOAT32_DISTANCE_RTOL, "distance_float32")
            else:
                rtol = checks.rtol(DISTANCE_RTOL, "distance")
            checks.close(f"set {i} {key}", value, expected, 0, rtol)


def _check_lpips(arrays: Any, expected: dict[str, Any], checks: Checks) -> None:
    """Compare LPIPS with a random backbone under the published heads: the distance and the part of each layer."""
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    for name in arrays.files:
        checks.skip(f"lpips {name}", "an input")
    atol = checks.atol(LPIPS_ATOL, "lpips")
    for net in ("alex", "vgg"):
        heads = weights.load(LPIPS_HEADS[net])
        module = LPIPS(net)
        module.load_tensors(_seeded_backbone(module, expected[net]["param_order"], expected["seed"]), heads)
        x_features, y_features = module.features(x), module.features(y)
        distance = module.distance(x_features, y_features)
        checks.close(f"lpips {net}", distance, expected[net]["lpips"], atol)
        checks.close(f"lpips {net} torchmetrics", distance, expected[net]["torchmetrics"], atol)
        for k, layer in enumerate(expected[net]["per_layer"]):
            value = module.model.lins[k]((x_features[k] - y_features[k]) ** 2).mean((1, 2, 3))
            checks.close(f"lpips {net} layer {k}", value, layer, atol)
            total = heads[f"lin{k}.model.1.weight"].double().sum()
            checks.close(f"lpips {net} head {k} sum", total, expected[net]["lin_sums"][k], 1e-4)
    checks.skip("lpips squeeze", "SqueezeNet is not among this project's metrics")


def _seeded_backbone(module: LPIPS, order: list[str], seed: int) -> dict[str, Tensor]:
    """Return the set's random backbone: normal draws of one generator with He's scale, in the given order of names."""
    generator = torch.Generator().manual_seed(seed + 1)
    parameters = dict(module.model.net.named_parameters())
    tensors = {}
    for name in order:
        shape = parameters[name].shape
        draw = torch.randn(shape, generator=generator)
        scale = 2**0.5 * 0.01  # of biases
        if len(shape) > 1:
            scale = (2 / parameters[name][0].numel()) ** 0.5  # sqrt(2 / fan in)
        key = ".".join(name.split(".")[-2:])  # the layer's number and "weight" or "bias"
        tensors[key] = draw * scale
    return tensors


def thinned(image: Tensor, stored: np.ndarray) -> Tensor:
    """Return every k-th row and column of an image (3, H, W), as a set stores it; k follows from the stored width.

    >>> thinned(torch.zeros(3, 299, 299), np.zeros((3, 23, 23))).shape
    torch.Size([3, 23, 23])
    """
    step = math.ceil(image.shape[-1] / stored.shape[-1])
    return image[:, ::step, ::step]


def _check_resizers(arrays: Any, seed: int, checks: Checks) -> None:
    """Compare images that four FID implementations resize to 299 x 299: some pixels, and sums and deviations."""
    count = len({name.split(".")[0] for name in arrays.files})
    for i in range(count):
        height, width = arrays[f"{i}.hw"].tolist()
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
            checks.close(f"{i}.{name}.sub", thinned(value, stored), stored, checks.atol(RESIZED_ATOL, "resized"))
            checks.close(f"{i}.{name}.sum", exact.sum((1, 2)), arrays[f"{i}.{name}.sum"], 0, 1e-6)
            checks.close(f"{i}.{name}.std", exact.std((1, 2), correction=0), arrays[f"{i}.{name}.std"], 0, 1e-6)
    checks.finish(arrays.files)
