"""Kind `geneval`: the scorer's verdicts and boxes, its parts, colour crops, Mask2Former's boxes, the prompts."""

from __future__ import annotations

import hashlib
import json
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


def replay(folder: Path, config: dict[str, Any], checks: Checks) -> None:
    _prompts(folder, checks)
    for line in (folder / "cases.jsonl").read_text().splitlines():
        _case(json.loads(line), checks)
    for i, pair in enumerate(json.loads((folder / "primitives.json").read_text())):
        checks.close(f"primitives {i} iou", scorer.iou(pair["a"][:4], pair["b"][:4]), pair["iou"], 0, 1e-6)
        checks.equal(f"primitives {i} rel", sorted(scorer.relations(pair["a"][:4], pair["b"][:4])), pair["rel"])
    for described in json.loads((folder / "crops.json").read_text()):
        _crop(folder, described, checks)
    _summary(folder, checks)
    _instances(np.load(folder / "mask2former_postprocess.npz"), checks)
    seen = {
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
    checks.finish(path.name for path in folder.iterdir() if path.name not in seen and path.suffix != ".md")


def _prompts(folder: Path, checks: Checks) -> None:
    for name, made in (
        ("evaluation_metadata.jsonl", prompts.metadata_file()),
        ("generation_prompts.txt", prompts.prompt_list()),
        ("object_names.txt", "".join(f"{name}\n" for name in prompts.OBJECTS).encode()),
    ):
        stored = (folder / name).read_bytes()
        checks.equal(name, hashlib.sha256(made).hexdigest(), hashlib.sha256(stored).hexdigest(), "the same bytes")


def _case(case: dict[str, Any], checks: Checks) -> None:
    """One image of made-up detections; the classifier knows each detection's colour."""
    detections, colours = [], {}
    for name, boxes in case["detections"].items():
        for (*box, value), colour in zip(boxes, case["colors"][name], strict=True):
            detections.append(Detection(name, value, tuple(box)))
            colours[id(detections[-1])] = colour

    def classify(name: str, found: Sequence[Detection]) -> list[str]:
        return [colours[id(detection)] for detection in found]

    verdict = scorer.score(case["metadata"], detections, classify, scorer.Options(**case["options"]))
    expected, name = case["expected"], f"case {case['id']} ({case['kind']})"
    kept = {name: [[*d.box, d.score] for d in found] for name, found in verdict.kept.items()}
    checks.equal(f"{name} correct", verdict.correct, expected["correct"])
    checks.equal(f"{name} reason", verdict.reason, expected["reason"])
    checks.equal(f"{name} kept", kept, expected["kept"])


def _crop(folder: Path, described: dict[str, Any], checks: Checks) -> None:
    i, options = described["id"], described["options"]
    stored = np.load(folder / "crops" / f"{i:02}.npz")
    name = f"crop {i}"
    for key in ("image", "mask", "box"):
        checks.skip(f"{name} {key}", "an input")
    box, mask = tuple(stored["box"][:4]), stored["mask"] if described["has_mask"] else None
    colour = options.get("bgcolor", GREY)
    background = None if colour == "original" else colour
    detection = Detection("any", 0.9, box, mask)
    (crop,) = crops(Image.fromarray(stored["image"]), [detection], background, options.get("crop") != "0")
    made = np.asarray(crop)
    checks.close(f"{name} crop", made, stored["crop"], 0)
    checks.equal(f"{name} size", list(crop.size), described["size"])
    checks.equal(f"{name} sha256", hashlib.sha256(made.tobytes()).hexdigest(), described["sha256"])


def _summary(folder: Path, checks: Checks) -> None:
    """The official program's printed page, line by line."""
    records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    scored = [summary.Scored(r["tag"], r["metadata"], r["correct"]) for r in records]
    made = summary.official_page(scored).splitlines()
    stored = (folder / "summary.txt").read_text().splitlines()
    checks.equal("summary.txt lines", len(made), len(stored))
    for i, (a, b) in enumerate(zip(made, stored, strict=False)):
        if b:
            checks.equal(f"summary.txt {i}", a, b)


def _instances(arrays: Any, checks: Checks) -> None:
    for i in sorted({int(name.split(".")[0]) for name in arrays.files}):
        given = {key: arrays[f"{i}.{key}"] for key in ("cls", "mask_low", "batch", "img", "ori", "max_per_image")}
        for key in given:
            checks.skip(f"{i}.{key}", "an input")
        found = instances(
            torch.from_numpy(given["cls"]),
            torch.from_numpy(given["mask_low"]),
            tuple(given["batch"].tolist()),
            tuple(given["img"].tolist()),
            tuple(given["ori"].tolist()),
            int(given["max_per_image"]),
        )
        checks.close(f"{i}.labels", found.labels, arrays[f"{i}.labels"], 0)
        checks.close(f"{i}.boxes", torch.cat([found.boxes, found.scores[:, None]], 1), arrays[f"{i}.boxes"], 1e-6)
        packed = np.packbits(found.masks.numpy())
        checks.close(f"{i}.masks_packed", packed, arrays[f"{i}.masks_packed"], 0)
    checks.finish(arrays.files)
