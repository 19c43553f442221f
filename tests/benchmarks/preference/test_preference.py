"""The preference suite end to end on rewards that need no weights: the same bytes however run, mistakes in a line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas
import pytest
import torch
from conftest import photograph
from PIL import Image
from reference import ROOT
from safetensors.torch import save_file
from torch import Tensor

from benchmarks import published
from benchmarks.generation.work import planned
from benchmarks.preference import __main__ as preference
from benchmarks.preference import captions
from lactok.errors import UserError
from lactok.evaluation import datasets
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.statistics import mean_with_interval
from lactok.evaluation.timing import Timer
from lactok.metrics import rewards
from lactok.metrics.rewards import Reward, RewardSpec
from lactok.specs import Asset


class Bright(Reward):
    """Mean grey level and the caption's length: all that a score may depend on."""

    spec = RewardSpec("bright", "MIT", "mean level + a thousandth a letter", published="image_reward")
    calls = 0

    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        type(self).calls += len(images)
        levels = [np.asarray(i).mean() / 255 + len(c) / 1000 for i, c in zip(images, captions, strict=True)]
        return torch.tensor(levels)


class Mute(Bright):
    spec = RewardSpec("mute", "MIT", needs_caption=False)


class Unhad(Bright):
    spec = RewardSpec("unhad", "MIT", assets=(Asset("unhad", "MIT", note="ask its authors"),))


class Broken(Bright):
    spec = RewardSpec("broken", "MIT")

    def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
        raise ZeroDivisionError("a bug")


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewards.REWARDS, "own", dict)
    monkeypatch.setattr(rewards.REWARDS, "registered", {c.spec.name: c for c in (Bright, Mute, Unhad, Broken)})
    monkeypatch.setattr(rewards, "VARIANTS", ())
    monkeypatch.setattr(rewards, "DEFAULT", ("bright", "unhad"))
    Bright.calls = 0


@pytest.fixture
def captioned(photographs: Path) -> Path:
    """70 pictures in two shards, and their captions beside them."""
    found = {f"{i:03}.png": f"picture {'x' * (i + 1)}" for i in range(70)}
    (photographs / "captions.json").write_text(json.dumps(found))
    return photographs


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """GenEval's layout: three prompts with four, four and no pictures."""
    root = tmp_path / "SDXL"
    for i, prompt in enumerate(["a bench", "two buses", "a cat"]):
        (root / f"{i:05}" / "samples").mkdir(parents=True)
        line = json.dumps({"tag": "single_object", "prompt": prompt})
        (root / f"{i:05}" / "metadata.jsonl").write_text(f"{line}\n")
        photograph(i).save(root / f"{i:05}" / "grid.png")
        for k in range(4 if i < 2 else 0):
            photograph(10 * i + k).save(root / f"{i:05}" / "samples" / f"{k:04}.png")
    return root


def run(out: Path, *arguments: object, code: int = 0) -> dict[str, dict]:
    """Run the command; results by folder name."""
    with pytest.raises(SystemExit) as stop:
        preference.main(["--out", str(out), *map(str, arguments)])
    assert stop.value.code == code
    return {p.parent.name: json.loads(p.read_text()) for p in sorted(out.glob("*/result.json"))}


def stable_bytes(out: Path) -> dict[str, bytes]:
    names = ("result.json", "records.parquet")
    return {f"{p.parent.name}/{p.name}": p.read_bytes() for p in sorted(out.glob("*/*")) if p.name in names}


def error_of(capsys: pytest.CaptureFixture[str], out: Path, *arguments: object) -> str:
    """The one line that a mistake gives."""
    run(out, *arguments, code=2)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_scores_of_a_folder(captioned: Path, tmp_path: Path) -> None:
    (result,) = run(tmp_path / "out", "--images", captioned, "--metrics", "bright").values()
    assert (result["schema"], result["suite"], result["limit"]) == (2, "preference", None)
    assert result["dataset"]["n"] == 70
    assert result["rewards"][0]["variant"] == Bright.spec.variant
    expected = [np.asarray(photograph(i)).mean() / 255 + (9 + i) / 1000 for i in range(70)]
    bright = result["metrics"]["bright"]
    assert bright["value"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert bright["ci95"][0] < bright["value"] < bright["ci95"][1]
    (folder,) = (p.parent for p in (tmp_path / "out").glob("*/result.json"))
    records = pandas.read_parquet(folder / "records.parquet")
    assert records["bright"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert records["caption"][1] == "picture xx"
    assert json.loads((folder / "run.json").read_text())["versions"]["transformers"]


def test_genevals_layout_with_the_papers_row(prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (result,) = run(tmp_path / "out", "--images", prompts, "--metrics", "bright").values()
    assert result["dataset"]["n"] == 8
    assert result["dataset"]["captions"] == 2
    assert result["dataset"]["without_picture"] == 1
    out = capsys.readouterr().out
    assert "1 captions have no picture" in out
    (paper,) = (line for line in out.splitlines() if "sdxl (paper)" in line)
    assert published.table("generation").rows["sdxl"]["image_reward"] == float(paper.split("|")[2])


def test_intervals_resample_captions() -> None:
    rng = np.random.default_rng(0)
    level = np.repeat(rng.normal(size=30), 4)
    groups = [str(i) for i in range(30) for _ in range(4)]
    mean, (low, high) = mean_with_interval(level, groups)  # type: ignore[misc]
    alone, (first, last) = mean_with_interval(level)  # type: ignore[misc]
    once = mean_with_interval(level[::4])
    assert mean == alone == pytest.approx(once[0])
    assert (high - low) / (last - first) == pytest.approx(2, rel=0.15)  # four copies are no four pictures
    assert [low, high] == pytest.approx(once[1], abs=0.1)
    assert mean_with_interval(level, [str(i) for i in range(120)]) == (alone, [first, last])
    uneven = mean_with_interval(np.array([0.0, 0.0, 0.0, 4.0]), ["a", "a", "a", "b"])
    assert uneven[0] == 1.0


def test_a_second_run_computes_nothing_and_gives_the_same_bytes(captioned: Path, tmp_path: Path) -> None:
    run(tmp_path / "out", "--images", captioned, "--metrics", "bright")
    first = stable_bytes(tmp_path / "out")
    run(tmp_path / "out", "--images", captioned, "--metrics", "bright", "--batch-size", "3")
    assert Bright.calls == 70
    assert stable_bytes(tmp_path / "out") == first
    shutil.copytree(captioned, tmp_path / "moved" / captioned.name)
    run(tmp_path / "out", "--images", tmp_path / "moved" / captioned.name, "--metrics", "bright")
    assert Bright.calls == 70  # the same bytes and captions elsewhere
    assert stable_bytes(tmp_path / "out") == first


def test_what_changed_is_scored_again(captioned: Path, tmp_path: Path) -> None:
    run(tmp_path / "out", "--images", captioned, "--metrics", "bright")
    photograph(999).save(captioned / "069.png")
    run(tmp_path / "out", "--images", captioned, "--metrics", "bright")
    assert Bright.calls == 70 + 6  # the second shard has six pictures
    texts = json.loads((captioned / "captions.json").read_text()) | {"068.png": "another"}
    (captioned / "captions.json").write_text(json.dumps(texts))
    run(tmp_path / "out", "--images", captioned, "--metrics", "bright")
    assert Bright.calls == 70 + 6 + 6


def test_a_reward_that_changed_is_computed_again_and_no_other(
    captioned: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its version or one byte of its weights; a caption counts only for rewards that read it."""
    scored: dict[str, int] = {"bright": 0, "weighty": 0}

    def counting(name: str, **declared: object) -> type[Reward]:
        class Counting(Bright):
            spec = RewardSpec(name, "MIT", **declared)  # type: ignore[arg-type]

            def _score(self, images: list[Image.Image], captions: list[str]) -> Tensor:
                scored[name] += len(images)
                return super()._score(images, ["" for _ in captions])

        return Counting

    weights = tmp_path / "weights"
    weights.mkdir()
    save_file({"weight": torch.zeros(4)}, weights / "weighty.safetensors")
    monkeypatch.setenv("LACTOK_WEIGHTS", str(weights))
    asset = Asset("weighty", "MIT")
    classes = {"bright": counting("bright"), "weighty": counting("weighty", assets=(asset,), needs_caption=False)}
    monkeypatch.setattr(rewards.REWARDS, "registered", classes)
    words = ("--images", captioned, "--metrics", "bright,weighty", "--threads", "1")
    run(tmp_path / "out", *words)
    assert scored == {"bright": 70, "weighty": 70}
    classes["bright"] = counting("bright", version=2)
    run(tmp_path / "out", *words)
    assert scored == {"bright": 140, "weighty": 70}
    data = bytearray((weights / "weighty.safetensors").read_bytes())
    data[-2] ^= 1
    (weights / "weighty.safetensors").write_bytes(data)
    run(tmp_path / "out", *words)
    assert scored == {"bright": 140, "weighty": 140}
    texts = json.loads((captioned / "captions.json").read_text()) | {"069.png": "another"}
    (captioned / "captions.json").write_text(json.dumps(texts))
    run(tmp_path / "out", *words)
    assert scored == {"bright": 146, "weighty": 140}


@pytest.mark.slow
def test_parts_and_workers_give_the_same_bytes(
    captioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--images", captioned, "--metrics", "bright,mute")
    run(tmp_path / "whole", *arguments)
    assert run(tmp_path / "parts", *arguments, "--part", "2/2") == {}
    assert "1 of 2 shards are left to the other parts" in capsys.readouterr().err
    run(tmp_path / "parts", *arguments, "--part", "1/2")
    run(tmp_path / "workers", *arguments, "--workers", "2")
    assert stable_bytes(tmp_path / "whole") == stable_bytes(tmp_path / "parts") == stable_bytes(tmp_path / "workers")


@pytest.mark.slow
def test_killed_and_started_again(captioned: Path, tmp_path: Path) -> None:
    """SIGKILL after the first shard: it is not scored again, the result is that of an unbroken run."""
    arguments = ["--images", str(captioned), "--metrics", "bright"]
    code = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(__file__).parent), str(ROOT / "tests")]!r}
from benchmarks.preference import __main__ as preference
from lactok.metrics import rewards
from test_preference import Bright
from lactok.evaluation.store import Store
rewards.REWARDS.add("bright", Bright)
put = Store.put
def put_and_die(self, kind, key, arrays):
    put(self, kind, key, arrays)
    os.kill(os.getpid(), signal.SIGKILL)
Store.put = put_and_die
preference.main({[*arguments, "--out", str(tmp_path / "broken")]!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert not list((tmp_path / "broken").glob("*/result.json"))
    run(tmp_path / "broken", *arguments)
    assert Bright.calls == 6
    run(tmp_path / "whole", *arguments)
    assert stable_bytes(tmp_path / "broken") == stable_bytes(tmp_path / "whole")


def test_damaged_pictures_are_named_and_left_out(
    captioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (captioned / "003.png").write_bytes(b"not a picture")
    (captioned / "004.png").write_bytes((captioned / "005.png").read_bytes()[:200])
    (captioned / "006.png").unlink()
    photograph(7).save(captioned / "without.png")
    (result,) = run(tmp_path / "out", "--images", captioned, "--metrics", "bright,mute").values()
    assert result["dataset"]["n"] == 67
    assert [s["id"] for s in result["dataset"]["skipped"]] == ["003.png", "004.png", "without.png"]
    out = capsys.readouterr().out
    assert "left out: 003.png: not an image\n" in out
    assert "left out: without.png: no caption\n" in out
    assert "1 captions have no picture" in out


def test_pictures_alone_need_no_captions(photographs: Path, tmp_path: Path) -> None:
    (result,) = run(tmp_path / "out", "--images", photographs, "--metrics", "mute").values()
    assert result["metrics"]["mute"]["n"] == 70


def test_hostile_file_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "odd\nfolder"
    root.mkdir()
    names = ["a\nb.png", "-rf.png", "tab\there.png", "$(x) `y`.png", "‮gnp.png", os.fsdecode(b"\xff\xfe.png"), "é.png"]
    for i, name in enumerate(names):
        photograph(i).save(root / name)
    (root / "directory.png").mkdir()
    file = tmp_path / "c.json"
    file.write_text(json.dumps(dict.fromkeys(names, "a caption")))
    run(tmp_path / "out", "--images", root, "--captions", file, "--metrics", "bright", code=2)
    assert "half of a surrogate pair in '\\\\udcff\\\\udcfe.png'" in capsys.readouterr().err
    file.write_text(json.dumps(dict.fromkeys((n for n in names if "\udcff" not in n), "a caption")))
    (result,) = run(tmp_path / "out", "--images", root, "--captions", file, "--metrics", "bright").values()
    assert result["dataset"]["n"] == 6
    assert result["dataset"]["skipped"] == [{"id": "\\xff\\xfe.png", "reason": "no caption"}]  # JSON cannot name it
    assert "\n" not in result["pictures"]["name"]
    (folder,) = (p.parent for p in (tmp_path / "out").glob("*/result.json"))
    assert "a\nb.png" in pandas.read_parquet(folder / "records.parquet")["id"].tolist()
    assert folder.name.isascii()


def test_missing_weights_and_bugs_lose_no_other_reward(
    captioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], own_cache: Path
) -> None:
    (result,) = run(tmp_path / "a", "--images", captioned).values()
    assert list(result["metrics"]) == ["bright"]
    assert "not run: unhad: weights not found: unhad" in capsys.readouterr().out
    run(tmp_path / "a", "--images", captioned, "--strict", code=3)
    run(tmp_path / "a", "--images", captioned, "--metrics", "bright,unhad", code=3)
    assert run(tmp_path / "b", "--images", captioned, "--metrics", "unhad", code=3) == {}
    (result,) = run(tmp_path / "c", "--images", captioned, "--metrics", "broken,bright", code=3).values()
    assert list(result["metrics"]) == ["bright"]
    assert "failed: broken: ZeroDivisionError: a bug" in capsys.readouterr().err


def test_mistakes_in_one_line(
    captioned: Path, prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, here = tmp_path / "out", ("--images", captioned)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("LACTOK_DATA", str(tmp_path / "data"))
    assert "either --images DIR or --generators" in error_of(capsys, out)
    assert "no such folder" in error_of(capsys, out, "--images", tmp_path / "none")
    assert "has no captions: put captions.json" in error_of(capsys, out, "--images", tmp_path / "empty")
    assert "holds no images" in error_of(capsys, out, "--images", tmp_path / "empty", "--metrics", "mute")
    assert "unknown metric 'brigth', did you mean 'bright'?" in error_of(capsys, out, *here, "--metrics", "brigth")
    assert "--metrics is empty" in error_of(capsys, out, *here, "--metrics", ",")
    assert "name them with --reference" in error_of(capsys, out, *here, "--metrics", "fid")
    assert "is for fid and kid" in error_of(capsys, out, *here, "--metrics", "bright", "--reference", captioned)
    assert "--batch-size 0: 1 or more" in error_of(capsys, out, *here, "--batch-size", "0")
    assert "--limit 0: 1 or more" in error_of(capsys, out, *here, "--limit", "0")
    assert "--part 3/2" in error_of(capsys, out, *here, "--part", "3/2")
    assert "not a device" in error_of(capsys, out, *here, "--device", "tpu")
    assert "leave --captions out" in error_of(capsys, out, "--images", prompts, "--captions", "coco")
    assert "data/coco/annotations/captions_val2017.json: put captions_val2017.json" in error_of(
        capsys, out, *here, "--captions", "coco"
    )
    assert "COCO's captions are not in" in error_of(capsys, out, "--generators", "sdxl")
    other = tmp_path / "other.tsv"
    other.write_text("someone.png\ta caption\n")
    assert "none of the 70 pictures has a caption: 000.png" in error_of(capsys, out, *here, "--captions", other)
    assert "unknown generator 'sdxxl', did you mean 'sdxl'" in error_of(
        capsys, out, "--generators", "sd1.5,sdxxl", "--captions", other
    )
    assert not (out / "store").exists() or not list((out / "store").rglob("*.npz"))


def test_cocos_captions_are_those_of_the_lowest_annotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "coco" / captions.COCO_FILE
    path.parent.mkdir(parents=True)
    annotations = [(5, 2, "late"), (3, 2, " first \n"), (9, 1, "only"), (4, 2, "second")]
    content = {
        "images": [{"id": i, "file_name": f"{i:012}.jpg"} for i in (2, 1, 7)],
        "annotations": [{"id": i, "image_id": image, "caption": c} for i, image, c in annotations],
    }
    path.write_text(json.dumps(content))
    monkeypatch.setenv("LACTOK_DATA", str(tmp_path))
    assert captions.coco() == {"000000000001.jpg": "only", "000000000002.jpg": "first"}
    (tmp_path / "made").mkdir()
    for i in (1, 2):
        photograph(i).save(tmp_path / "made" / f"{i:012}.png")  # another ending than the photograph's
    found = captions.pictures(tmp_path / "made", "coco")
    assert [s.caption for s in found.dataset.samples] == ["only", "first"]
    assert found.source.startswith("captions_val2017-") or found.source.startswith("coco-")
    photograph(3).save(tmp_path / "made" / "000000000002.webp")  # which of the two is meant?
    with pytest.raises(UserError, match=r"2\.png, 000000000002\.webp and the captions of 000000000002\.jpg"):
        captions.pictures(tmp_path / "made", "coco")


class Scorer:
    """Stands for Inception: 2048 numbers of an image that are cheap to compute."""

    features: ClassVar[dict[str, object]] = {"inception_tf1": None}
    dimensions: ClassVar[dict[str, int]] = {"inception_tf1": 2}

    def describe(self, images: Tensor) -> dict[str, np.ndarray]:
        return {"inception_tf1": images.flatten(1)[:, :2048].float().numpy()}


def test_distances_to_photographs(
    captioned: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lactok.evaluation.reconstruction.scorer_of", lambda run: Scorer())
    monkeypatch.setattr("lactok.evaluation.metric_networks.metric_networks", lambda run: (("fid-inception", "0" * 64),))
    (captioned / "001.png").write_bytes(b"not a picture")
    arguments = ("--images", captioned, "--reference")
    (result,) = run(tmp_path / "same", *arguments, captioned, "--metrics", "mute,fid,kid").values()
    entry = result["metrics"]["fid"]
    assert entry["value"] == pytest.approx(0, abs=1e-3)
    assert (entry["n"], entry["references"], entry["reliable"]) == (69, 69, False)
    assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]
    assert sum(entry["groups"]["sizes"]) == 69
    assert result["reference"]["prepare"]["resolution"] == 256
    assert "~" in capsys.readouterr().out
    other = tmp_path / "other"
    other.mkdir()
    for i in range(5):
        photograph(100 + i).save(other / f"{i}.png")
    (result,) = run(tmp_path / "far", *arguments, other, "--metrics", "fid").values()
    assert result["metrics"]["fid"]["value"] > 1
    assert result["dataset"]["skipped"] == [{"id": "001.png", "reason": "not an image"}]
    capsys.readouterr()
    (result,) = run(tmp_path / "far", *arguments, other, "--metrics", "fid").values()
    assert f"FID: to the photographs {result['reference']['name']}, of which 5 of 5 can be read.\n" in (
        capsys.readouterr().out
    )
    assert run(tmp_path / "parts", *arguments, other, "--metrics", "fid", "--part", "2/2") == {}
    run(tmp_path / "parts", *arguments, other, "--metrics", "fid", "--part", "1/2")
    assert stable_bytes(tmp_path / "parts") == stable_bytes(tmp_path / "far")


def test_generators_make_their_pictures_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    calls = []

    def generate(
        name: str,
        prompts: Sequence[dict],
        folder: Path,
        run: Run,
        execution: Execution,
        *,
        samples: int,
        source: str,
        numbers: Sequence[int],
    ) -> tuple[datasets.Dataset, Timer | None]:
        calls.append((name, [p["prompt"] for p in prompts], samples, run.seed, run.device, run.dtype, execution.part))
        if name == "bad":
            raise UserError("no such generator")
        if name == "bug":
            raise ZeroDivisionError("a bug")
        every = datasets.Dataset(source, planned(folder, dict(zip(numbers, prompts, strict=True)), samples))
        part, parts = execution.part
        for sample in [s for shard in list(every.shards())[part::parts] for s in shard]:
            sample.path.parent.mkdir(parents=True, exist_ok=True)
            (sample.path.parents[1] / "metadata.jsonl").write_text(sample.metadata)
            photograph(int(sample.id.partition("/")[0]) + run.seed).save(sample.path)
        return every, Timer() if all(s.path.is_file() for s in every.samples) else None

    monkeypatch.setattr("benchmarks.generation.work.generate", generate)
    monkeypatch.setattr("lactok.registry.generator_spec", lambda name: SimpleNamespace(name=name, condition="text"))
    monkeypatch.setattr(datasets, "SHARD", 2)
    file = tmp_path / "c.tsv"
    file.write_text("".join(f"{i}.png\tcaption {i}\n" for i in range(5)))
    arguments = ("--generators", "toy", "--captions", file, "--metrics", "bright", "--seed", "3")
    (whole,) = run(tmp_path / "whole", *arguments).values()
    assert calls == [("toy", [f"caption {i}" for i in range(5)], 1, 3, "cpu", "float32", (0, 1))]
    assert whole["pictures"]["name"] == "toy"
    assert whole["dataset"]["n"] == 5
    assert run(tmp_path / "parts", *arguments, "--part", "2/2") == {}
    assert not list((tmp_path / "parts").glob("*/result.json"))
    run(tmp_path / "parts", *arguments, "--part", "1/2")
    assert stable_bytes(tmp_path / "parts") == stable_bytes(tmp_path / "whole")
    drawn = {p: p.stat().st_mtime_ns for p in (tmp_path / "whole" / "generated").rglob("*.png")}
    two = run(tmp_path / "whole", *arguments, "--limit", "2", "--generators", "bad,bug,toy", code=3)
    # a caption keeps its number, so the pictures of the whole run are two of those that were made
    every = tuple(datasets.Sample(f"{i}.png", Path(f"{i}.png")) for i in range(5))
    chosen = [f"caption {sample.id[0]}" for sample in datasets.limited(every, 2)]
    assert calls[-1][1] == chosen
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "whole" / "generated").rglob("*.png")}.keys() == drawn.keys()
    assert sorted(r["dataset"]["n"] for r in two.values()) == [2, 5]
    said = capsys.readouterr().err
    assert "failed: bad: no such generator" in said
    assert "failed: bug: ZeroDivisionError: a bug" in said


def test_dry_run_computes_nothing(captioned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out", "--images", captioned, "--metrics", "all", "--dry-run") == {}
    out = capsys.readouterr().out
    assert "would score 70 pictures of photographs" in out
    assert "cannot be fetched" in out
    assert not (tmp_path / "out").exists()
    assert Bright.calls == 0


def test_limit_is_a_fixed_choice(captioned: Path, tmp_path: Path) -> None:
    (result,) = run(tmp_path / "out", "--images", captioned, "--metrics", "bright", "--limit", "7").values()
    assert result["dataset"]["n"] == 7
    assert next((tmp_path / "out").glob("*/result.json")).parent.name.endswith("__limit7")
