"""Kind `rewards`: ImageReward and MPS at the set's sizes, and what the published scorers do to an image.

The set names no tolerances but says that transformers' BLIP reproduces the official one to the last bit; 1e-5 leaves
room for another version of torch. Masks are exact. Preprocessing is compared at 1e-5 of a normalised unit, its sums at
1e-6 of the sum of magnitudes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.verify.checks import Checks
from benchmarks.verify.metrics import thinned
from benchmarks.verify.recipe import weights_of
from lactok.metrics.rewards import preprocess
from lactok.metrics.rewards.image_reward import ImageRewardConfig, ImageRewardNetwork
from lactok.metrics.rewards.image_reward import convert as convert_image_reward
from lactok.metrics.rewards.mps import CrossModel, MPSForward, MPSNetwork
from lactok.metrics.rewards.mps import convert as convert_mps
from lactok.nn import clip
from lactok.nn.loading import filled

ATOL = 1e-5


@torch.inference_mode()
def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    _image_reward(folder, meta["imagereward"], checks)
    _mps(folder, meta["mps"], checks)
    if (folder / "preprocess.json").is_file():
        images = json.loads((folder / "preprocess.json").read_text())["meta"]
        _preprocess(np.load(folder / "preprocess.npz"), images, checks)


def image_reward_config(values: dict[str, Any]) -> ImageRewardConfig:
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
    text, vision, cross = (values["config"][part] for part in ("text", "vision", "cross"))
    first, second = (clip.Tower(t["hidden"], t["inter"], t["layers"], t["heads"]) for t in (text, vision))
    shape = clip.Shape(
        first,
        second,
        projection=values["config"]["proj"],
        patch=vision["patch"],
        act=values["config"]["act"],
        image=vision["image"],
        vocabulary=text["vocab"],
        positions=text["pos"],
    )
    return MPSNetwork(
        shape, CrossModel(cross["dim"], cross["layers"], cross["dim_head"], cross["heads"], cross["ff_mult"])
    )


def _image_reward(folder: Path, values: dict[str, Any], checks: Checks) -> None:
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


def _mps(folder: Path, values: dict[str, Any], checks: Checks) -> None:
    stored = weights_of(folder / "mps_tiny_weights.safetensors")
    checks.equal("mps keys", sorted(stored), sorted(values["keys"]), f"{len(stored)} keys")
    network = filled(lambda: mps_network(values), convert_mps(stored), "set")
    io = {f"mps {k}": v for k, v in checks.tensors(folder / "mps_tiny_io.safetensors").items()}
    for name in ("q", "ctx", "keep"):
        checks.skip(f"mps cross.{name}", "an input")
    out = network.cross_model(io["mps cross.q"], io["mps cross.ctx"], io["mps cross.keep"])
    checks.close("mps cross.out", out, io["mps cross.out"], checks.atol(ATOL))
    for case in sorted({k.split()[1].split(".")[0] for k in io} - {"cross"}):
        _mps_case(f"mps {case}.", network, io, checks)
    checks.finish(io)


def _mps_case(prefix: str, network: MPSNetwork, io: dict[str, Tensor], checks: Checks) -> None:
    def close(name: str, actual: Tensor) -> None:
        checks.close(f"{prefix}{name}", actual, io[f"{prefix}{name}"], checks.atol(ATOL))

    for name in ("text_ids", "cond_ids", "px", "px2"):
        checks.skip(f"{prefix}{name}", "an input")
    ids = io[f"{prefix}text_ids"]
    text = clip.text_tokens(network.model, ids)
    condition = clip.text_tokens(network.model, io[f"{prefix}cond_ids"])
    image, other = (clip.image_tokens(network.model, io[f"{prefix}{px}"]) for px in ("px", "px2"))
    end, similarity = clip.at_end(text, ids), network.similarity(text, condition)
    close("text_tokens", text)
    close("text_eos", end)
    close("img_tokens", image)
    close("sim", similarity)
    for suffix in [k.removeprefix(f"{prefix}mask_thr") for k in io if k.startswith(f"{prefix}mask_thr")]:
        # "0.3": the threshold itself; "_hi": stored beside, and what goes with it is named so too
        named = suffix.startswith("_")
        threshold = float(io[f"{prefix}thr{suffix}"]) if named else float(suffix)
        if named:
            checks.skip(f"{prefix}thr{suffix}", "an input")
        keep = similarity > threshold
        checks.close(f"{prefix}mask_thr{suffix}", keep[:, 0], io[f"{prefix}mask_thr{suffix}"], 0)
        close(f"cross_cls{suffix if named else ''}", network.cross_model(image, text, keep)[:, 0])
        close(f"score_thr{suffix}", network.score(text, end, image, similarity, threshold))
    for i, picture in enumerate((image, other)):
        close(f"fwd_score{i}", network.score(text, end, picture, similarity, MPSForward.threshold))


def _preprocess(arrays: Any, images: list[dict[str, Any]], checks: Checks) -> None:
    for described in images:
        i, (width, height) = described["id"], described["size"]
        if f"{i}.image" in arrays.files:
            checks.skip(f"{i}.image", "an input")
            pixels = arrays[f"{i}.image"]
        else:
            seed = int(described["image"].split("default_rng(")[1].split(")")[0])
            pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        made = {
            "hps_antialias": preprocess.hps(image, antialias=True),
            "hps_noantialias": preprocess.hps(image, antialias=False),
            "imagereward": preprocess.openai(image),
            "clip_pil": preprocess.transformers_clip(image),
        }
        for name, tensor in made.items():
            key = f"{i}.{name}"
            stored = arrays[f"{key}.sub"]
            checks.close(f"{key}.sub", thinned(tensor, stored), stored, checks.atol(1e-5, "preprocessed"))
            magnitude = tensor.double().abs().sum((1, 2))
            checks.close(f"{key}.sum", tensor.double().sum((1, 2)), arrays[f"{key}.sum"], 1e-6 * float(magnitude.max()))
            checks.close(f"{key}.asum", magnitude, arrays[f"{key}.asum"], 0, 1e-6)
        for part in ("sub", "sum", "asum"):
            checks.skip(f"{i}.clip_fast.{part}", "transformers' torchvision resize, which no score here uses")
    checks.finish(arrays.files)
