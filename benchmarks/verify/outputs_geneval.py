"""Parts of kind `outputs`: GenEval's detector with a small network by recipe, and the judge of composed scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.geneval import mask2former as detector
from benchmarks.geneval.detectors import COLOURS, Detection
from benchmarks.scenes.compose import Plan, Wanted, compose
from benchmarks.scenes.detector import SceneColours, SceneDetector
from benchmarks.scenes.finding import to_network_input
from benchmarks.scenes.objects import VOCABULARY
from benchmarks.verify.outputs import Config, Outputs, drawn, sampled
from benchmarks.verify.recipe import weights_of
from lactok.weights import load_strict

MOST = 5  # detections of a picture that a set holds


def mask2former(config: Config, folder: Path) -> Outputs:
    """What the network sees of a picture, what it says, and the instances that are made of it."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    shape = Mask2FormerConfig(backbone_config=SwinConfig(**config["swin"]), **config["mask2former"])
    model = Mask2FormerForUniversalSegmentation(shape).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), "mask2former")
    image = drawn(config)[0].permute(1, 2, 0).numpy()
    pixels, size = detector.preprocess(image)
    seen = torch.from_numpy(pixels)
    # a part of what it sees: the whole would take the network seconds
    window = seen[None, :, : config["window"], : config["window"]]
    said = model(pixel_values=window)
    classes, masks = said.class_queries_logits[0], said.masks_queries_logits[0]
    whole = (window.shape[2], window.shape[3])
    found = detector.instances(classes, masks, whole, whole, (96, 128), MOST)
    return {
        "size": torch.tensor([*seen.shape, *size]),
        "seen": sampled(seen, 32),
        "classes": classes[:, :8].contiguous(),
        "masks": sampled(masks, 8),
        "labels": found.labels,
        "scores": found.scores,
        "boxes": found.boxes,
        "mask shares": found.masks.flatten(1).float().mean(1),
    }


def scenes(config: Config, folder: Path) -> Outputs:
    """The shipped judge on composed scenes: the scenes' pixels, its raw output, its detections and their colours."""
    judge, colours = SceneDetector(), SceneColours()
    out: Outputs = {}
    for seed, things in enumerate(config["scenes"]):
        scene = compose(Plan(tuple(Wanted(*thing) for thing in things)), seed)
        image = Image.fromarray(scene.image)
        detections = judge.detect(image)[: len(things)]
        raw = judge.network(to_network_input(image, torch.device("cpu"))[0])
        out[f"{seed} pixels"] = sampled(torch.from_numpy(scene.image).permute(2, 0, 1), 16).float()
        out[f"{seed} heat"] = sampled(raw.heat[0], 16)
        out[f"{seed} prototypes"] = sampled(raw.prototypes[0], 16)
        out |= {f"{seed} {name}": value for name, value in said(detections).items()}
        names = colours.classify(image, detections)
        out[f"{seed} colours"] = torch.tensor([COLOURS.index(name) for name in names])
    return out


def said(detections: Sequence[Detection]) -> Outputs:
    """Detections as numbers: names by their place in the vocabulary, scores, boxes, masks as shares of the picture."""
    vocabulary = list(VOCABULARY)
    masks: list[np.ndarray] = [d.mask for d in detections if d.mask is not None]
    shares: list[Tensor] = [torch.tensor(float(mask.mean())) for mask in masks]
    return {
        "names": torch.tensor([vocabulary.index(d.name) for d in detections]),
        "scores": torch.tensor([d.score for d in detections]),
        "boxes": torch.tensor([d.box for d in detections]),
        "mask shares": torch.stack(shares),
    }
