"""Every suite on drawn pictures and made-up judges: its metrics, records and printed tables as plain values.

What depends on the machine (keys, digests, versions, times) is left out.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import judges
import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from torch import Tensor

import lactok
from benchmarks.ablation import __main__ as ablation
from benchmarks.generation import __main__ as generation
from benchmarks.geneval import __main__ as geneval
from benchmarks.geneval import detectors, prompts, scorer, summary
from benchmarks.geneval.detectors import COLOURS, Detection
from benchmarks.preference import __main__ as preference
from benchmarks.probe import __main__ as probe
from benchmarks.recon import __main__ as recon
from benchmarks.scenes import folder as scene_folder
from benchmarks.verify.recipe import picture, uniform
from lactok import registry
from lactok.evaluation.results import load_results
from lactok.metrics import rewards
from lactok.metrics.rewards import Reward, RewardSpec
from lactok.randomness import noise
from lactok.specs import GeneratorSpec
from lactok.tokenizer import Generator

Values = dict[str, Any]
TOKENIZERS = "identity resize-8 jpeg@bits=3584 llamagen-vq16-tiny"
LEFT_OUT = ("reference", "image", "path", "sha256")  # columns of records that name files


def command(main: Callable[[list[str]], object], *words: object) -> str:
    """What a command prints, once it has ended well."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert not ended.value.code, said.getvalue()
    return said.getvalue()


def results(out: Path) -> Values:
    """Metrics and records of every result under a folder, by the part of its folder's name before the data set."""
    found = {}
    for path in sorted(out.glob("*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        records = pandas.read_parquet(path.parent / "records.parquet")
        kept = {column: plain(records[column].tolist()) for column in records if column not in LEFT_OUT}
        name = path.parent.name.partition("__")[0]
        found[name] = {"metrics": result["metrics"], "records": kept, "schema": result["schema"]}
        if codebook := result.get("codebook"):
            found[name]["codebook"] = codebook
    return found


def plain(value: Any) -> Any:
    """Values that JSON knows; what is missing is None."""
    if value is pandas.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def write_pictures(folder: Path, count: int, seed: int, side: int = 72) -> Path:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(picture(seed + i, side, side + 8 * i)).save(folder / f"{i}.png")
    return folder


def reconstructions(runs: Path) -> Path:
    """Results of the reconstruction suite."""
    pictures = write_pictures(runs / "pictures", 4, 100)
    command(
        recon.main,
        *("--tokenizers", TOKENIZERS, "--dataset", pictures, "--resolution", "64", "--pictures", "0"),
        *("--metrics", "psnr,ssim,ssim_uniform7,ssim_range2", "--out", runs / "out"),
    )
    return runs / "out"


def of_recon(tmp: Path, runs: Path, patch: pytest.MonkeyPatch) -> Values:
    (table,) = runs.glob("*.md")
    return results(runs) | {"table": table.read_text(encoding="utf-8")}


class Clouds(Generator):
    """Noise about a level that the caption's length decides."""

    def _generate(self, conditions: list[str] | list[int], seeds: Tensor) -> Tensor:
        level = torch.tensor([len(str(c)) / 100 for c in conditions]).view(-1, 1, 1, 1)
        return level + 0.1 * torch.nn.functional.interpolate(noise(seeds, (3, 4, 4), "start"), 32)


def of_generation(tmp: Path, runs: Path, patch: pytest.MonkeyPatch) -> Values:
    """Pixels of the stored pictures, by file."""
    spec = GeneratorSpec("golden-clouds", "test", "text", 32, "MIT")
    patch.setattr(registry.GENERATORS, "registered", dict(registry.GENERATORS.registered))
    lactok.register_generator(spec)(type("GoldenClouds", (Clouds,), {}))
    asked = tmp / "prompts.txt"
    asked.write_text("a red bus\ntwo tables\n", encoding="utf-8")
    command(
        generation.main,
        *("--generators", "golden-clouds", "--prompts", asked, "--samples", "2", "--out", tmp / "out"),
    )
    found: Values = {}
    for path in sorted((tmp / "out").rglob("*.png")):
        name = "/".join(path.parts[-3:])
        found[name] = np.asarray(Image.open(path))[::8, ::8].reshape(-1).tolist()
    return found


def of_geneval(tmp: Path, runs: Path, patch: pytest.MonkeyPatch) -> Values:
    """The scorer on made-up detections for GenEval's own prompts, and the suite on drawn pictures."""
    found = {"scorer": scored()}
    patch.setitem(detectors.DETECTORS.registered, "drawn", judges.DrawnDetector)
    patch.setitem(detectors.COLOUR_CLASSIFIERS.registered, "drawn", judges.DrawnColours)
    cat, dog = ("cat", "red", (5, 5, 25, 25)), ("dog", "black", (60, 10, 90, 30))
    clauses = [
        {"tag": "one", "prompt": "a cat", "include": [{"class": "cat", "count": 1}]},
        {"tag": "colour", "prompt": "a red cat", "include": [{"class": "cat", "count": 1, "color": "red"}]},
        {
            "tag": "place",
            "prompt": "a dog right of a cat",
            "include": [{"class": "cat", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}],
        },
    ]
    shown = [[cat], [("cat", "blue", cat[2])], [cat, dog], [dog]]
    for number, clause in enumerate(clauses):
        judges.write(tmp / "images", number, clause, [judges.picture(*things) for things in shown])
    command(
        geneval.main,
        *("--images", tmp / "images", "--detector", "drawn", "--colours", "drawn", "--out", tmp / "out"),
    )
    return found | results(tmp / "out")


def scored() -> Values:
    """Verdicts on one set of detections for every tenth official prompt, with the official page of their summary."""
    verdicts, judged = [], []
    for number, prompt in enumerate(prompts.official()[::10]):
        draw = (uniform(number, "detections", (24, 5)) / 3**0.5 + 1) / 2
        names = sorted({clause["class"] for clause in prompt["include"]})
        found = []
        for i, (x, y, width, height, value) in enumerate(draw.tolist()):
            box = (x * 400, y * 400, x * 400 + 20 + width * 90, y * 400 + 20 + height * 90)
            found.append(Detection(names[i % len(names)], 0.2 + 0.8 * value, box))
        colour = COLOURS[number % len(COLOURS)]
        options = scorer.Options(max_overlap=0.3) if number % 2 else scorer.Options()
        verdict = scorer.score(prompt, found[: 1 + number % 24], lambda name, d, c=colour: [c] * len(d), options)
        verdicts.append([prompt["tag"], verdict.correct, verdict.reason, {k: len(v) for k, v in verdict.kept.items()}])
        judged.append(summary.Scored(prompt["tag"], json.dumps(prompt), verdict.correct))
    return {"verdicts": verdicts, "page": summary.official_page(judged)}


class Bright(Reward):
    """Mean grey level and the caption's length."""

    spec = RewardSpec("bright", "MIT", "mean level + a thousandth a letter", published="image_reward")

    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        levels = [np.asarray(i).mean() / 255 + len(c) / 1000 for i, c in zip(images, captions, strict=True)]
        return torch.tensor(levels)


def of_preference(tmp: Path, runs: Path, patch: pytest.MonkeyPatch) -> Values:
    patch.setattr(rewards.REWARDS, "registered", {"bright": Bright})
    patch.setattr(rewards.REWARDS, "own", dict)
    patch.setattr(rewards, "VARIANTS", ())
    patch.setattr(rewards, "DEFAULT", ("bright",))
    pictures = write_pictures(tmp / "pictures", 5, 200)
    captions = {f"{i}.png": f"picture {'x' * i}" for i in range(5)}
    (pictures / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
    command(preference.main, "--images", pictures, "--out", tmp / "out")
    return results(tmp / "out")


def of_ablation(tmp: Path, runs: Path, patch: pytest.MonkeyPatch) -> Values:
    """The study of tokens with the small models, on two pictures."""
    pictures = write_pictures(tmp / "pictures", 2, 300)
    command(
        ablation.main,
        *("tokens", "--dataset", pictures, "--resolution", "64", "--metrics", "psnr,ssim", "--out", tmp / "out"),
    )
    (table,) = (tmp / "out").glob("ablation-*.md")
    return {"table": table.read_text(encoding="utf-8")}


def of_probe(tmp: Path, runs: Path, patch: pytest.MonkeyPatch) -> Values:
    """The linear probe and the small transformer on the ids of pictures of two classes."""
    for number, kind in enumerate(("dark", "bright")):
        folder = write_pictures(tmp / "pictures" / kind, 8, 400 + 20 * number)
        for path in folder.iterdir():
            pixels = np.asarray(Image.open(path)) // 2 + 127 * number
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    command(
        probe.main,
        *("--tokenizers", "toy", "--dataset", tmp / "pictures", "--resolution", "32", "--metrics", "psnr"),
        *("--steps", "2", "--out", tmp / "out"),
    )
    return results(tmp / "out")


def of_scenes(tmp: Path, runs: Path, patch: pytest.MonkeyPatch) -> Values:
    """Captions and truth of composed scenes; of their pictures every 32nd pixel."""
    scene_folder.make(tmp / "scenes", 6, 1, seed=3, broken=0.5)
    found: Values = {}
    for path in sorted((tmp / "scenes").iterdir()):
        records = [json.loads(line) for line in (path / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
        for record in records:
            for thing in record["objects"]:
                thing.pop("mask", None)
        pixels = np.asarray(Image.open(next((path / "samples").iterdir())))[::32, ::32].reshape(-1).tolist()
        caption = json.loads((path / "metadata.jsonl").read_text(encoding="utf-8"))
        found[path.name] = {"caption": caption, "truth": records, "pixels": pixels}
    return found


def of_reports(tmp: Path, runs: Path, patch: pytest.MonkeyPatch) -> Values:
    """The text of the reports' tables, in each format."""
    from reports.tables.files import build

    build(load_results(runs), tmp)
    return {name: (tmp / name).read_text(encoding="utf-8") for name in ("tables.md", "tables.tex")}


# the probes train networks, and Adam's first steps are as long for gradients near zero, whose last bits may differ
RTOL = {"probe": 1e-3}
SUITES: dict[str, Callable[[Path, Path, pytest.MonkeyPatch], Values]] = {
    "recon": of_recon,
    "generation": of_generation,
    "geneval": of_geneval,
    "preference": of_preference,
    "ablation": of_ablation,
    "probe": of_probe,
    "scenes-made": of_scenes,
    "reports": of_reports,
}
