"""Kind `geneval`: GenEval's prompts, scorer, colour crops, summary and the postprocessing of Mask2Former's output."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.geneval import prompts, scorer, summary
from benchmarks.geneval.colours import GREY, crops
from benchmarks.geneval.detectors import Detection
from benchmarks.geneval.mask2former import instances
from benchmarks.verify.checks import Checks
from lactok import outside_text

# the files and folders that `replay` reads or that describe the set
FILES = {
    "cases.jsonl",
    "crops",
    "crops.json",
    "evaluation_metadata.jsonl",
    "generation_prompts.txt",
    "mask2former_postprocess.npz",
    "object_names.txt",
    "primitives.json",
    "results.jsonl",
    "set.json",
    "summary.txt",
}


def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    """Compare what each part of GenEval makes of the set's inputs; a file that is not read counts as a failure."""
    _check_prompts(folder, checks)
    for case in outside_text.json_lines(folder / "cases.jsonl"):
        _check_case(case, checks)
    for i, pair in enumerate(outside_text.json_file(folder / "primitives.json")):
        checks.close(f"primitives {i} iou", scorer.iou(pair["a"][:4], pair["b"][:4]), pair["iou"], 0, 1e-6)
        checks.equal(f"primitives {i} rel", sorted(scorer.relations(pair["a"][:4], pair["b"][:4])), pair["rel"])
    for described in outside_text.json_file(folder / "crops.json"):
        _check_crop(folder, described, checks)
    _check_summary(folder, checks)
    _check_instances(np.load(folder / "mask2former_postprocess.npz"), checks)
    checks.finish(path.name for path in folder.iterdir() if path.name not in FILES and path.suffix != ".md")


def _check_prompts(folder: Path, checks: Checks) -> None:
    """Check that the files of prompts and object names have the official bytes."""
    files = {
        "evaluation_metadata.jsonl": prompts.metadata_file(),
        "generation_prompts.txt": prompts.prompt_list(),
        "object_names.txt": "".join(f"{name}\n" for name in prompts.OBJECTS).encode(),
    }
    for name, content in files.items():
        stored = (folder / name).read_bytes()
        checks.equal(name, hashlib.sha256(content).hexdigest(), hashlib.sha256(stored).hexdigest(), "the same bytes")


def _check_case(case: dict[str, Any], checks: Checks) -> None:
    """Compare the verdict on made-up detections of one image; the case names the colour of each detection."""
    detections = []
    colours = {}  # by the detection's identity, since detections may be equal
    for name, boxes in case["detections"].items():
        for (*box, score), colour in zip(boxes, case["colors"][name], strict=True):
            detection = Detection(name, score, tuple(box))
            detections.append(detection)
            colours[id(detection)] = colour

    def classify(name: str, found: Sequence[Detection]) -> list[str]:
        return [colours[id(detection)] for detection in found]

    verdict = scorer.score(case["metadata"], detections, classify, scorer.Options(**case["options"]))
    kept = {name: [[*d.box, d.score] for d in found] for name, found in verdict.kept.items()}
    expected = case["expected"]
    title = f"case {case['id']} ({case['kind']})"
    checks.equal(f"{title} correct", verdict.correct, expected["correct"])
    checks.equal(f"{title} reason", verdict.reason, expected["reason"])
    checks.equal(f"{title} kept", kept, expected["kept"])


def _check_crop(folder: Path, described: dict[str, Any], checks: Checks) -> None:
    """Compare the crop of a detection that the colour classifier gets to see."""
    i, options = described["id"], described["options"]
    stored = np.load(folder / "crops" / f"{i:02}.npz")
    name = f"crop {i}"
    for key in ("image", "mask", "box"):
        checks.skip(f"{name} {key}", "an input")
    box = tuple(stored["box"][:4])
    mask = stored["mask"] if described["has_mask"] else None
    colour = options.get("bgcolor", GREY)
    background = None if colour == "original" else colour
    detection = Detection("any", 0.9, box, mask)
    (crop,) = crops(Image.fromarray(stored["image"]), [detection], background, options.get("crop") != "0")
    pixels = np.asarray(crop)
    checks.close(f"{name} crop", pixels, stored["crop"], 0)
    checks.equal(f"{name} size", list(crop.size), described["size"])
    checks.equal(f"{name} sha256", hashlib.sha256(pixels.tobytes()).hexdigest(), described["sha256"])


def _check_summary(folder: Path, checks: Checks) -> None:
    """Compare the page that the official program prints for the stored verdicts, line by line."""
    records = outside_text.json_lines(folder / "results.jsonl")
    scored = [summary.Scored(r["tag"], r["metadata"], r["correct"]) for r in records]
    lines = summary.official_page(scored).splitlines()
    stored = outside_text.read(folder / "summary.txt", "summary.txt").splitlines()
    checks.equal("summary.txt lines", len(lines), len(stored))
    for i, (line, expected) in enumerate(zip(lines, stored, strict=False)):
        if expected:
            checks.equal(f"summary.txt {i}", line, expected)


def _check_instances(arrays: Any, checks: Checks) -> None:
    """Compare the labels, boxes and masks that are made of Mask2Former's raw output."""
    for i in sorted({int(name.split(".")[0]) for name in arrays.files}):
        inputs = {key: arrays[f"{i}.{key}"] for key in ("cls", "mask_low", "batch", "img", "ori", "max_per_image")}
        for key in inputs:
            checks.skip(f"{i}.{key}", "an input")
        found = instances(
            torch.from_numpy(inputs["cls"]),
            torch.from_numpy(inputs["mask_low"]),
            tuple(inputs["batch"].tolist()),
            tuple(inputs["img"].tolist()),
            tuple(inputs["ori"].tolist()),
            int(inputs["max_per_image"]),
        )
        checks.close(f"{i}.labels", found.labels, arrays[f"{i}.labels"], 0)
        checks.close(f"{i}.boxes", torch.cat([found.boxes, found.scores[:, None]], 1), arrays[f"{i}.boxes"], 1e-6)
        packed = np.packbits(found.masks.numpy())
        checks.close(f"{i}.masks_packed", packed, arrays[f"{i}.masks_packed"], 0)
    checks.finish(arrays.files)
