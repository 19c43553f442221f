"""Kind `rewards`: ImageReward and MPS with the sizes of the set, and the preprocessing of the published rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.verify.checks import Checks
from benchmarks.verify.metrics import thinned
from benchmarks.verify.recipe import weights_of
from lactok import outside_text
from lactok.metrics.rewards import preprocess
from lactok.metrics.rewards.image_reward import ImageRewardConfig, ImageRewardNetwork
from lactok.metrics.rewards.image_reward import convert as convert_image_reward
from lactok.metrics.rewards.mps import CrossModel, MPSForward, MPSNetwork
from lactok.metrics.rewards.mps import convert as convert_mps
from lactok.nn import clip
from lactok.nn.loading import filled

# The set's README suggests no tolerance, but says that transformers' BLIP reproduces the official one to the last bit.
# This leaves room for another version of torch.
ATOL = 1e-5
PREPROCESSED_ATOL = 1e-5  # of normalised pixels
SUM_RTOL = 1e-6  # of the sum of absolute pixels


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare ImageReward, MPS and, if the set has images for it, the preprocessing."""
    meta = outside_text.json_file(folder / "meta.json")
    _check_image_reward(folder, meta["imagereward"], checks)
    _check_mps(folder, meta["mps"], checks)
    if (folder / "preprocess.json").is_file():
        images = outside_text.json_file(folder / "preprocess.json")["meta"]
        _check_preprocessing(np.load(folder / "preprocess.npz"), images, checks)


def image_reward_config(values: dict[str, Any]) -> ImageRewardConfig:
    """Return ImageReward's configuration from a set's sizes."""
    vision, text = values["vision"], values["text"]
    return ImageRewardConfig(
        vision["image"],
        vision["patch"],
        (vision["width"], vision["depth"], vision["heads"]),
        (text["hidden"], text["inter"], text["layers"], text["heads"]),
        text["vocab"],
        text["max_pos"],
    )


def mps_network(values: dict[str, Any]) -> MPSNetwork:
    """Return an MPS network without weights from a set's sizes."""
    text, vision, cross = values["config"]["text"], values["config"]["vision"], values["config"]["cross"]
    shape = clip.Shape(
        clip.Tower(text["hidden"], text["inter"], text["layers"], text["heads"]),
        clip.Tower(vision["hidden"], vision["inter"], vision["layers"], vision["heads"]),
        projection=values["config"]["proj"],
        patch=vision["patch"],
        act=values["config"]["act"],
        image=vision["image"],
        vocabulary=text["vocab"],
        positions=text["pos"],
    )
    cross_model = CrossModel(cross["dim"], cross["layers"], cross["dim_head"], cross["heads"], cross["ff_mult"])
    return MPSNetwork(shape, cross_model)


def _check_image_reward(folder: Path, values: dict[str, Any], checks: Checks) -> None:
    """Compare ImageReward from pixels and the caption's ids to the score."""
    stored = weights_of(folder / "imagereward_tiny_weights.safetensors")
    checks.equal("imagereward keys", sorted(stored), sorted(values["keys"]), f"{len(stored)} keys")
    network = filled(lambda: ImageRewardNetwork(image_reward_config(values)), convert_image_reward(stored), "set")
    io = {f"imagereward {k}": v for k, v in checks.tensors(folder / "imagereward_tiny_io.safetensors").items()}
    for name in ("input_ids", "attention_mask", "pixel_values"):
        checks.skip(f"imagereward {name}", "an input")
    image = network.image_embeds(io["imagereward pixel_values"])
    checks.close("imagereward image_embeds", image, io["imagereward image_embeds"], checks.atol(ATOL))
    feature = network.caption_feature(io["imagereward input_ids"], io["imagereward attention_mask"], image)
    checks.close("imagereward cls_feature", feature, io["imagereward cls_feature"], checks.atol(ATOL))
    checks.close("imagereward reward", network.reward(feature)[:, None], io["imagereward reward"], checks.atol(ATOL))
    checks.finish(io)


def _check_mps(folder: Path, values: dict[str, Any], checks: Checks) -> None:
    """Compare MPS: its cross-attention model alone, and every case of image, caption and condition."""
    stored = weights_of(folder / "mps_tiny_weights.safetensors")
    checks.equal("mps keys", sorted(stored), sorted(values["keys"]), f"{len(stored)} keys")
    network = filled(lambda: mps_network(values), convert_mps(stored), "set")
    io = {f"mps {k}": v for k, v in checks.tensors(folder / "mps_tiny_io.safetensors").items()}
    for name in ("q", "ctx", "keep"):
        checks.skip(f"mps cross.{name}", "an input")
    out = network.cross_model(io["mps cross.q"], io["mps cross.ctx"], io["mps cross.keep"])
    checks.close("mps cross.out", out, io["mps cross.out"], checks.atol(ATOL))
    cases = {name.removeprefix("mps ").split(".")[0] for name in io} - {"cross"}
    for case in sorted(cases):
        _check_mps_case(f"mps {case}.", network, io, checks)
    checks.finish(io)


def _check_mps_case(prefix: str, network: MPSNetwork, io: dict[str, Tensor], checks: Checks) -> None:
    """Compare the features, masks and scores of one case, whose tensors' names begin with `prefix`."""

    def close(name: str, actual: Tensor) -> None:
        checks.close(f"{prefix}{name}", actual, io[f"{prefix}{name}"], checks.atol(ATOL))

    for name in ("text_ids", "cond_ids", "px", "px2"):
        checks.skip(f"{prefix}{name}", "an input")
    ids = io[f"{prefix}text_ids"]
    text = clip.text_tokens(network.model, ids)
    condition = clip.text_tokens(network.model, io[f"{prefix}cond_ids"])
    image = clip.image_tokens(network.model, io[f"{prefix}px"])
    other_image = clip.image_tokens(network.model, io[f"{prefix}px2"])
    end = clip.at_end(text, ids)
    similarity = network.similarity(text, condition)
    close("text_tokens", text)
    close("text_eos", end)
    close("img_tokens", image)
    close("sim", similarity)
    for name in [key for key in io if key.startswith(f"{prefix}mask_thr")]:
        # The name ends in the threshold, such as "0.3", or in a name of it, such as "_hi". A named threshold is stored
        # as a tensor, and the output of the cross-attention model that belongs to it has the same suffix.
        suffix = name.removeprefix(f"{prefix}mask_thr")
        if suffix.startswith("_"):
            threshold = float(io[f"{prefix}thr{suffix}"])
            checks.skip(f"{prefix}thr{suffix}", "an input")
            cross_name = f"cross_cls{suffix}"
        else:
            threshold = float(suffix)
            cross_name = "cross_cls"
        keep = similarity > threshold
        checks.close(name, keep[:, 0], io[name], 0)
        close(cross_name, network.cross_model(image, text, keep)[:, 0])
        close(f"score_thr{suffix}", network.score(text, end, image, similarity, threshold))
    close("fwd_score0", network.score(text, end, image, similarity, MPSForward.threshold))
    close("fwd_score1", network.score(text, end, other_image, similarity, MPSForward.threshold))


def _check_preprocessing(arrays: Any, images: list[dict[str, Any]], checks: Checks) -> None:
    """Compare the normalised pixels that each reward makes of an image: some of them, and sums over all."""
    for described in images:
        i, (width, height) = described["id"], described["size"]
        if f"{i}.image" in arrays.files:
            checks.skip(f"{i}.image", "an input")
            pixels = arrays[f"{i}.image"]
        else:
            # the set describes random images by their code, "default_rng(SEED)..."
            seed = int(described["image"].split("default_rng(")[1].split(")")[0])
            pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        preprocessed = {
            "hps_antialias": preprocess.hps(image, antialias=True),
            "hps_noantialias": preprocess.hps(image, antialias=False),
            "imagereward": preprocess.openai(image),
            "clip_pil": preprocess.transformers_clip(image),
        }
        for name, tensor in preprocessed.items():
            key = f"{i}.{name}"
            stored = arrays[f"{key}.sub"]
            checks.close(f"{key}.sub", thinned(tensor, stored), stored, checks.atol(PREPROCESSED_ATOL, "preprocessed"))
            magnitude = tensor.double().abs().sum((1, 2))
            sum_atol = SUM_RTOL * float(magnitude.max())
            checks.close(f"{key}.sum", tensor.double().sum((1, 2)), arrays[f"{key}.sum"], sum_atol)
            checks.close(f"{key}.asum", magnitude, arrays[f"{key}.asum"], 0, SUM_RTOL)
        for part in ("sub", "sum", "asum"):
            checks.skip(f"{i}.clip_fast.{part}", "transformers' torchvision resize, which no score here uses")
    checks.finish(arrays.files)
