"""Result folders for the tests of the page: small, of several families, with pictures; names can be hostile."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lactok.evaluation import protocol
from lactok.evaluation.older_results import VERSION
from lactok.evaluation.protocol import digest
from lactok.evaluation.store import folder_safe
from lactok.evaluation.writing import to_json, write_records
from lactok.files import write_atomically

PREPARE, SCORE = "ca775230", "916f5fde"
SIZE = 64
COCO_SIZE = 5000  # images


@dataclass(frozen=True)
class Kind:
    """A tokenizer of a page: `cells` a side is how well it reconstructs."""

    name: str
    family: str
    tokens: int | None
    codebook: int | None
    bits: float
    cells: int


KINDS = (
    Kind("identity", "reference", None, None, 98304.0, SIZE),
    Kind("jpeg@bits=3584", "reference", None, None, 3520.0, 16),
    Kind("titok-s128", "titok", 128, 4096, 1536.0, 12),
    Kind("titok-b64", "titok", 64, 4096, 768.0, 8),
    Kind("llamagen-vq16", "llamagen", 256, 16384, 3584.0, 24),
    Kind("flextok-d18-d28@tokens=32", "flextok", 32, 64000, 511.0, 6),
    Kind("flextok-d18-d28@tokens=256", "flextok", 256, 64000, 4088.0, 20),
    Kind("lactok-h", "lactok", 1024, 8192, 13312.0, 32),
)


def picture(seed: int) -> Image.Image:
    """A smooth random picture with a sharp disc, so that a reconstruction has something to lose."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels = np.array(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:SIZE, :SIZE]
    centre = rng.integers(16, 48, 2)
    pixels[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 100] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


def reconstruction(image: Image.Image, cells: int) -> Image.Image:
    return image.resize((cells, cells), Image.Resampling.BOX).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def psnr(a: Image.Image, b: Image.Image) -> float:
    error = np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2) / 255**2
    return float(min(100.0, -10 * np.log10(error))) if error else 100.0


def write_row(
    runs: Path,
    kind: Kind,
    dataset: str,
    samples: Sequence[str],
    captions: Sequence[str | None],
    pictured: dict[str, str],
    why: Sequence[str] = ("chosen", "best", "worst"),
    without: Sequence[str] = (),
    note: str | None = None,
    scores: dict[str, list[float]] | None = None,
    name: str | None = None,
) -> Path:
    """A reconstruction's result folder, its references beside it.

    Args:
        samples: ids; picture `i` of a data set is the same for every tokenizer.
        pictured: of the samples with a picture, the file's name.
        without: metrics that this row has not.
        scores: a column a metric, instead of those of the pictures.
        name: the folder's, where the tokenizer's makes none.
    """
    folder = runs / (name or "__".join([folder_safe(kind.name), folder_safe(dataset), f"{PREPARE}-{SCORE}"]))
    references = f"{folder_safe(dataset)[:40]}__{PREPARE}"
    (folder / "images").mkdir(parents=True)
    (runs / "references" / references).mkdir(parents=True, exist_ok=True)
    scores = scores or score(kind, len(samples))
    columns: dict[str, list[Any]] = {
        "id": list(samples),
        "caption": list(captions),
        "sha256": [digest(s) for s in samples],
        "bits": [kind.bits] * len(samples),
        **{k: v for k, v in scores.items() if k not in without},
    }
    write_records(folder / "records.parquet", columns)
    for i, sample in enumerate(samples):
        if sample in pictured:
            reconstruction(picture(i), kind.cells).save(folder / "images" / pictured[sample])
            if not (original := runs / "references" / references / pictured[sample]).exists():
                picture(i).save(original)
    index = [{"sample": s, "file": f, "why": [why[i % len(why)]]} for i, (s, f) in enumerate(pictured.items())]
    write_atomically(folder / "images" / "index.json", to_json({"pictures": index, "references": references}))
    metrics: dict[str, Any] = {m: mean(columns[m]) for m in scores if m in columns}
    if "psnr" in metrics:
        metrics["psnr"]["capped"] = sum(v >= 100 for v in columns["psnr"])
    distances = {"rfid": 400.0 / kind.cells, "kid": 0.4 / kind.cells}
    metrics |= {m: {"value": v, "ci95": None, "n": len(samples)} for m, v in distances.items() if m not in without}
    metrics["rfid"]["reliable"] = len(samples) > 2048
    result = {
        "schema": VERSION,
        "suite": "recon",
        "limit": None,
        "tokenizer": {
            "name": kind.name,
            "family": kind.family,
            "tokens": kind.tokens,
            "codebook_size": kind.codebook,
            "bits": kind.bits,
            "bpp": kind.bits / SIZE**2,
            "decode_steps": 1,
            "options": {},
            "license": "MIT",
            "assets": [],
            "note": note or "",
        },
        "dataset": {"name": dataset, "n": len(samples), "sha256": digest([*samples]), "skipped": []},
        "protocol": {
            "name": "square-256",
            "prepare": PREPARE,
            "score": SCORE,
            "resolution": SIZE,
            "networks": [],
            "definition": {"prepare": {"resolution": SIZE}, "score": {"metrics": list(metrics)}},
        },
        "run": {"dtype": "float32", "seed": 0, "device": "cpu"},
        "metrics": metrics,
        "codebook": None
        if kind.tokens is None or kind.codebook is None
        else {
            "seen": kind.tokens * len(samples),
            "used": kind.codebook // 2,
            "usage": 0.5,
            "perplexity": 300.0,
            "entropy_bits": 8.2,
            "near_ties": 0,
        },
    }
    write_atomically(folder / "result.json", to_json(result))
    about = {"device": "cpu", "seconds": {"wall": {"decode": 1.5}, "cpu": {"decode": 1.5}}, "batch_size": 8}
    write_atomically(folder / "run.json", to_json(about))
    return folder


def score(kind: Kind, samples: int) -> dict[str, list[float]]:
    """PSNR of the pictures, and two columns that go with it."""
    values = [psnr(picture(i), reconstruction(picture(i), kind.cells)) for i in range(samples)]
    return {"psnr": values, "ssim": [v / 100 for v in values], "lpips_alex": [1 - v / 100 for v in values]}


def mean(values: Sequence[float]) -> dict[str, Any]:
    """As in a result, with an interval that is quick to have."""
    value, half = float(np.mean(values)), float(1.96 * np.std(values) / np.sqrt(len(values)))
    return {"value": value, "ci95": [value - half, value + half], "n": len(values)}


def write_geneval(
    runs: Path,
    name: str = "toy-pictures",
    text: Callable[[str], str] = lambda words: words,
    tasks: Sequence[str] = ("single_object", "counting", "colors"),
    prompts: int = 3,
    each: int = 2,
) -> Path:
    """A GenEval result folder: right and wrong pictures, every one annotated. `text` makes prompts and reasons."""
    folder = runs / "__".join(["geneval", folder_safe(name)[:40], "toy-toy"])
    (folder / "annotated").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for t, task in enumerate(tasks):
        for p in range(prompts):
            for k in range(each):
                number = t * prompts + p
                correct = (p + k) % 2 == 0
                identifier = f"{number:05}/{k:04}"
                image = picture(1000 + number * each + k)
                image.save(folder / "annotated" / f"{identifier.replace('/', '-')}.png")
                metadata = {"tag": task, "include": [{"class": "kite", "count": 1}], "prompt": f"a photo of {number}"}
                rows.append(
                    {
                        "id": identifier,
                        "tag": task,
                        "prompt": text(f"a photo of {number} kites"),
                        "correct": correct,
                        "reason": "" if correct else text("expected kite>=1, found 0"),
                        "error": None,
                        "boxes": json.dumps({"kite": [[4.0, 4.0, 30.0, 30.0, 0.9]]}),
                        "colours": "{}",
                        "metadata": json.dumps(metadata),
                        "sha256": "0" * 64,
                    }
                )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    write_records(folder / "records.parquet", columns, [name for name in columns if name != "correct"])

    judge = {"name": "toy", "version": 1, "license": "MIT", "assets": []}
    result = {
        "schema": VERSION,
        "suite": "geneval",
        "limit": None,
        "pictures": {"name": name, "generator": None},
        "dataset": {
            "name": name,
            "prompts": len(tasks) * prompts,
            "n": len(rows),
            "sha256": "0" * 64,
            "skipped": [],
        },
        "detector": judge | {"threshold": 0.3, "counting_threshold": 0.9},
        "colours": judge,
        "scorer": {"version": 1, "options": {}},
        "run": {"dtype": "float32", "seed": 0, "device": "cpu"},
        "comparable": False,
        "comparable_note": text("not comparable with published GenEval scores: toy is not the official detector"),
        "metrics": {
            **{t: mean([r["correct"] for r in rows if r["tag"] == t]) | {"prompts": prompts} for t in tasks},
            "overall": mean([r["correct"] for r in rows]),
            "per_image": mean([r["correct"] for r in rows]),
            "prompts": mean([True] * prompts),
        },
        "tasks": [*tasks],
        "remarks": [],
    }
    write_atomically(folder / "result.json", to_json(result))
    write_atomically(folder / "run.json", to_json({"device": "cpu", "seconds": {"wall": {}, "cpu": {}}}))
    return folder


def write_usual(runs: Path, samples: int = 12, pictures: int = 5) -> None:
    """Two data sets, five families, one row without two of the metrics, a GenEval run."""
    for dataset, kinds in (("coco", KINDS), ("flowers", KINDS[2:5])):
        ids = [f"{dataset}/{i:04}.jpg" for i in range(samples)]
        captions = [f"photograph {i} of {dataset}" if i % 3 else None for i in range(samples)]
        pictured = {s: f"{i:04}.png" for i, s in enumerate(ids[:pictures])}
        for kind in kinds:
            without = ("lpips_alex", "kid") if kind.name == "titok-b64" else ()
            write_row(runs, kind, dataset, ids, captions, pictured, without=without)
    write_geneval(runs)


def write_hostile(runs: Path, text: Callable[[str], str], file: Callable[[str], str]) -> None:
    """Two tokenizers and a GenEval run whose every text from outside is `text` of it; `file`: of files' names."""
    ids = [text(f"sample {i}") for i in range(4)]
    pictured = {s: file(f"{i}.png") for i, s in enumerate(ids)}
    for number, kind in enumerate(KINDS[2:4]):
        named = Kind(text(kind.name), text(kind.family), kind.tokens, kind.codebook, kind.bits, kind.cells)
        captions = [text(f"caption {i}") for i in range(4)]
        write_row(
            runs,
            named,
            text("photos"),
            ids,
            captions,
            pictured,
            ["chosen", text("worst")],
            note=text("a note"),
            name=f"row-{number}",
        )
    write_geneval(runs, text("pictures"), text, tasks=("counting", text("colors")), prompts=2, each=1)


def write_large(runs: Path, records: int, tokenizers: int, pictures: int = 48) -> None:
    """One data set of that many photographs, scored at random, with a few pictures of each."""
    ids = [f"val/{i:08}.jpg" for i in range(records)]
    captions = [f"a photograph of the {i}th of many things that stand beside another" for i in range(records)]
    pictured = {s: f"{i:08}.png" for i, s in enumerate(ids[:pictures])}
    for number in range(tokenizers):
        rng = np.random.default_rng(number)
        kind = Kind(
            f"family{number // 3}-{number}", f"family{number // 3}", 64 << number % 3, 4096, 768.0, 8 + 4 * number
        )
        columns = {"psnr": rng.normal(20, 3, records), "ssim": rng.random(records), "lpips_alex": rng.random(records)}
        scores = {k: v.tolist() for k, v in columns.items()}
        write_row(runs, kind, "many", ids, captions, pictured, scores=scores)


@pytest.fixture(scope="session")
def usual_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a page of `write_usual`."""
    return built(tmp_path_factory.mktemp("usual"), write_usual)


def built(root: Path, write: Callable[[Path], None]) -> Path:
    from reports.page import build

    write(root / "runs")
    build(root / "runs", root / "page")
    return root / "page"


def full_coco(runs: Path, kind: Any, shift: float, **changes: Any) -> Path:
    """A whole COCO run under the paper's protocol, its PSNR about 17 + `shift`, images paired between runs."""
    shared_part = np.random.default_rng(0).normal(17, 3, COCO_SIZE)
    own = np.random.default_rng(len(kind.name)).normal(0, 0.5, COCO_SIZE)
    own -= own.mean()
    scores = {"psnr": shared_part + shift + own, "lpips_vgg": np.full(COCO_SIZE, 0.5)}
    folder = write_row(
        runs,
        kind,
        "coco",
        [f"{i}.jpg" for i in range(COCO_SIZE)],
        [None] * COCO_SIZE,
        {},
        name=changes.pop("name", kind.name),
        scores={k: v.tolist() for k, v in scores.items()},
    )
    paper = protocol.get("paper-1024")
    result = json.loads((folder / "result.json").read_text())
    result["protocol"] |= {
        "name": "paper-1024",
        "resolution": 1024,
        "prepare": paper.prepare_hash,
        "score": paper.score_hash,
        "definition": {"prepare": paper.prepare.settings(), "score": paper.score.settings()},
    }
    result["run"] |= changes
    (folder / "result.json").write_bytes(to_json(result))
    return folder
