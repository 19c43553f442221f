"""Parts of kind `outputs`: GenEval's detector with a small random network, and the shipped judge of composed scenes."""

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
from benchmarks.verify.outputs import Config, Outputs, drawn, subsampled
from benchmarks.verify.recipe import weights_of
from lactok.weights import load_strict

MAX_DETECTIONS = 5  # of a picture, so that a set stays small


def mask2former(config: Config, folder: Path) -> Outputs:
    """Return the detector's preprocessed picture, its network's raw output, and the instances that are made of it."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    shape = Mask2FormerConfig(backbone_config=SwinConfig(**config["swin"]), **config["mask2former"])
    model = Mask2FormerForUniversalSegmentation(shape).eval()
    load_strict(model, weights_of(folder / "weights.safetensors"), "mask2former")
    image = drawn(config)[0].permute(1, 2, 0).numpy()
    preprocessed, size = detector.preprocess(image)
    pixels = torch.from_numpy(preprocessed)
    # the network gets only a corner of the picture, because the whole would take seconds
    window = pixels[None, :, : config["window"], : config["window"]]
    output = model(pixel_values=window)
    classes, masks = output.class_queries_logits[0], output.masks_queries_logits[0]
    window_size = (window.shape[2], window.shape[3])
    found = detector.instances(classes, masks, window_size, window_size, (96, 128), MAX_DETECTIONS)
    return {
        "size": torch.tensor([*pixels.shape, *size]),
        "seen": subsampled(pixels, 32),
        "classes": classes[:, :8].contiguous(),
        "masks": subsampled(masks, 8),
        "labels": found.labels,
        "scores": found.scores,
        "boxes": found.boxes,
        "mask shares": found.masks.flatten(1).float().mean(1),
    }


def scenes(config: Config, folder: Path) -> Outputs:
    """Return pixels of composed scenes, and the shipped judge's raw output, detections and colours for them."""
    judge, colours = SceneDetector(), SceneColours()
    out: Outputs = {}
    for seed, wanted in enumerate(config["scenes"]):
        scene = compose(Plan(tuple(Wanted(*thing) for thing in wanted)), seed)
        image = Image.fromarray(scene.image)
        detections = judge.detect(image)[: len(wanted)]
        raw = judge.network(to_network_input(image, torch.device("cpu"))[0])
        out[f"{seed} pixels"] = subsampled(torch.from_numpy(scene.image).permute(2, 0, 1), 16).float()
        out[f"{seed} heat"] = subsampled(raw.heat[0], 16)
        out[f"{seed} prototypes"] = subsampled(raw.prototypes[0], 16)
        for name, value in detections_as_tensors(detections).items():
            out[f"{seed} {name}"] = value
        found = colours.classify(image, detections)
        out[f"{seed} colours"] = torch.tensor([COLOURS.index(colour) for colour in found])
    return out


def detections_as_tensors(detections: Sequence[Detection]) -> Outputs:
    """Return names (by their place in the vocabulary), scores, boxes, and masks as fractions of the picture."""
    vocabulary = list(VOCABULARY)
    masks: list[np.ndarray] = [d.mask for d in detections if d.mask is not None]
    shares: list[Tensor] = [torch.tensor(float(mask.mean())) for mask in masks]
    return {
        "names": torch.tensor([vocabulary.index(d.name) for d in detections]),
        "scores": torch.tensor([d.score for d in detections]),
        "boxes": torch.tensor([d.box for d in detections]),
        "mask shares": torch.stack(shares),
    }
