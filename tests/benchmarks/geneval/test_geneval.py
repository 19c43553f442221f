"""The command end to end with made-up judges: the same bytes however it is run, nothing lost, everything named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from judges import DrawnColours, DrawnDetector, Homeless, picture, write
from PIL import Image
from reference import ROOT
from safetensors.torch import save_file

from benchmarks.generation.work import planned
from benchmarks.geneval import annotate, detectors, prompts
from benchmarks.geneval.__main__ import main
from benchmarks.geneval.detectors import Detection
from lactok.evaluation import datasets
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.timing import Timer
from lactok.specs import Asset

RED_CAT, BLUE_CAT = ("cat", "red", (5, 5, 25, 25)), ("cat", "blue", (5, 5, 25, 25))
DOG = ("dog", "black", (60, 10, 90, 30))
OWN = [
    {"tag": "one", "prompt": "a cat", "include": [{"class": "cat", "count": 1}]},
    {"tag": "colour", "prompt": "a red cat", "include": [{"class": "cat", "count": 1, "color": "red"}]},
    {
        "tag": "place",
        "prompt": "a dog right of a cat",
        "include": [{"class": "cat", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}],
    },
]
TRUTH = {"one": 0.75, "colour": 0.5, "place": 0.25}  # of the pictures below


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (DrawnDetector, Homeless):
        monkeypatch.setitem(detectors.DETECTORS.registered, cls.spec.name, cls)
    monkeypatch.setitem(detectors.COLOUR_CLASSIFIERS.registered, "drawn", DrawnColours)
    monkeypatch.setattr(DrawnDetector, "calls", 0)
    monkeypatch.setattr(Homeless, "calls", 0)
    monkeypatch.setattr(DrawnColours, "calls", 0)
    monkeypatch.setattr(datasets, "SHARD", 4)  # a prompt's samples


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three prompts with four samples each."""
    root = tmp_path / "images"
    write(root, 0, OWN[0], [picture(RED_CAT), picture(BLUE_CAT), picture(RED_CAT, DOG), picture(DOG)])
    write(root, 1, OWN[1], [picture(RED_CAT), picture(RED_CAT, DOG), picture(BLUE_CAT), picture()])
    right, left = picture(RED_CAT, DOG), picture(("cat", "red", (70, 5, 90, 25)), ("dog", "black", (5, 5, 25, 25)))
    write(root, 2, OWN[2], [right, left, picture(RED_CAT), picture(DOG)])
    return root


def run(out: Path, *arguments: object, code: int = 0, judge: str = "drawn") -> list[dict[str, Any]]:
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments), "--out", str(out), "--detector", judge, "--colours", "drawn"])
    assert stop.value.code == code
    return [json.loads(p.read_text()) for p in sorted(out.glob("*/result.json"))]


def stable_bytes(out: Path) -> dict[str, bytes]:
    names = ("result.json", "records.parquet")
    files = [p for p in sorted(out.glob("*/*")) if p.name in names] + sorted(out.glob("*/annotated/*"))
    return {str(p.relative_to(out)): p.read_bytes() for p in files}


def test_result_holds_what_the_format_promises(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (result,) = run(tmp_path / "out", "--images", images, "--annotate", "all")
    metrics = result["metrics"]
    assert (result["schema"], result["suite"], result["limit"]) == (2, "geneval", None)
    assert {tag: metrics[tag]["value"] for tag in result["tasks"]} == TRUTH
    assert metrics["overall"]["value"] == pytest.approx(0.5)
    assert result["dataset"]["n"] == metrics["overall"]["n"] == 12
    assert metrics["prompts"] == {"value": 1.0, "ci95": [1.0, 1.0], "n": 3}
    assert result["detector"]["name"] == result["colours"]["name"] == "drawn"
    assert result["comparable"] is False
    assert "3 of 3 prompts are not GenEval's" in result["comparable_note"]
    (folder,) = (tmp_path / "out").glob("geneval__images-*__drawn-drawn")
    records = pandas.read_parquet(folder / "records.parquet")
    assert records["id"].tolist()[:2] == ["00000/0000", "00000/0001"]
    assert records["correct"].mean() == 0.5
    assert records["reason"][3] == "expected cat>=1, found 0"
    assert json.loads(records["boxes"][0]) == {"cat": [[5.0, 5.0, 25.0, 25.0, float(np.float32(0.95))]]}
    assert records["reason"][6] == "expected red cat>=1, found 0 red; and 1 blue"
    assert json.loads(records["colours"][6]) == {"cat": ["blue"]}
    assert records["reason"][9] == "expected dog right of target, found left of target"
    assert len(list((folder / "annotated").iterdir())) == 12
    assert (folder / "run.json").is_file()
    out = capsys.readouterr().out
    assert "overall" in out
    assert "not comparable" in out


def test_colours_are_asked_for_only_where_a_clause_needs_them(images: Path, tmp_path: Path) -> None:
    run(tmp_path / "out", "--images", images, "--annotate", "none")
    assert DrawnDetector.calls == 12
    assert DrawnColours.calls == 3  # of the prompt with a colour the three pictures that show a cat


def test_a_second_run_judges_nothing_and_gives_the_same_bytes(images: Path, tmp_path: Path) -> None:
    run(tmp_path / "out", "--images", images)
    first = stable_bytes(tmp_path / "out")
    run(tmp_path / "out", "--images", images)
    assert DrawnDetector.calls == 12
    assert stable_bytes(tmp_path / "out") == first
    assert len([name for name in first if "annotated" in name]) == 6


@pytest.mark.slow
def test_parts_and_workers_give_the_same_bytes(images: Path, tmp_path: Path) -> None:
    run(tmp_path / "whole", "--images", images)
    assert run(tmp_path / "parts", "--images", images, "--part", "2/2") == []
    run(tmp_path / "parts", "--images", images, "--part", "1/2")
    run(tmp_path / "workers", "--images", images, "--workers", "2")
    assert stable_bytes(tmp_path / "whole") == stable_bytes(tmp_path / "parts") == stable_bytes(tmp_path / "workers")


@pytest.mark.slow
def test_killed_and_started_again(images: Path, tmp_path: Path) -> None:
    """SIGKILL after the first prompt's verdicts: they are not touched again, the result is that of an unbroken run."""
    arguments = ["--images", str(images), "--out", str(tmp_path / "out"), "--detector", "drawn", "--colours", "drawn"]
    code = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(__file__).parent), str(ROOT / "tests")]!r}
from benchmarks.geneval import detectors
from benchmarks.geneval.__main__ import main
from lactok.evaluation import datasets
from lactok.evaluation.store import Store
datasets.SHARD = 4
from judges import DrawnColours, DrawnDetector
detectors.DETECTORS.add("drawn", DrawnDetector)
detectors.COLOUR_CLASSIFIERS.add("drawn", DrawnColours)
put = Store.put
def put_and_die(self, kind, key, arrays):
    put(self, kind, key, arrays)
    if kind == "geneval-verdicts":
        os.kill(os.getpid(), signal.SIGKILL)
Store.put = put_and_die
main({arguments!r})
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
    assert killed.returncode == -9, killed.stderr
    finished = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("store/geneval-*/*/*.npz")}
    assert len(finished) == 2
    run(tmp_path / "out", "--images", images)
    assert DrawnDetector.calls == 8
    run(tmp_path / "whole", "--images", images)
    assert stable_bytes(tmp_path / "out") == stable_bytes(tmp_path / "whole")
    assert {p: p.stat().st_mtime_ns for p in finished} == finished


def test_what_changed_is_judged_again_and_nothing_else(images: Path, tmp_path: Path) -> None:
    (before,) = run(tmp_path / "out", "--images", images)
    picture(BLUE_CAT).save(images / "00001" / "samples" / "0000.png")
    after = run(tmp_path / "out", "--images", images)
    assert DrawnDetector.calls == 12 + 4
    assert {r["metrics"]["colour"]["value"] for r in after} == {0.5, 0.25}
    (images / "00000" / "metadata.jsonl").write_text(json.dumps(OWN[0] | {"include": [{"class": "dog", "count": 1}]}))
    changed = run(tmp_path / "out", "--images", images)
    assert DrawnDetector.calls == 12 + 4  # detections do not depend on the prompt
    assert {r["metrics"]["one"]["value"] for r in changed} == {0.75, 0.5}
    assert before in changed


def test_a_new_scorer_keeps_detections(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "out", "--images", images)
    monkeypatch.setattr("benchmarks.geneval.scorer.VERSION", 2)
    run(tmp_path / "out", "--images", images)
    assert DrawnDetector.calls == 12
    assert DrawnColours.calls == 6
    monkeypatch.setattr(DrawnDetector, "spec", detectors.JudgeSpec("drawn", prompts.OBJECTS, "MIT", False, version=2))
    run(tmp_path / "out", "--images", images)
    assert DrawnDetector.calls == 24


def test_one_byte_of_a_judges_weights(
    images: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the detector's: everything; of the colour classifier's: the verdicts, from the same detections."""
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in ("homeless", "hues"):
        save_file({"weight": torch.zeros(4)}, weights / f"{name}.safetensors")
    monkeypatch.setenv("LACTOK_WEIGHTS", str(weights))
    spec = detectors.JudgeSpec("drawn", detectors.COLOURS, "MIT", comparable=False, assets=(Asset("hues", "MIT"),))
    monkeypatch.setattr(DrawnColours, "spec", spec)

    def change(name: str) -> None:
        data = bytearray((weights / f"{name}.safetensors").read_bytes())
        data[-2] ^= 1
        (weights / f"{name}.safetensors").write_bytes(data)

    run(tmp_path / "out", "--images", images, judge="homeless")
    assert (Homeless.calls, DrawnColours.calls) == (12, 3)
    change("hues")
    run(tmp_path / "out", "--images", images, judge="homeless")
    assert (Homeless.calls, DrawnColours.calls) == (12, 6)
    change("homeless")
    run(tmp_path / "out", "--images", images, judge="homeless")
    assert (Homeless.calls, DrawnColours.calls) == (24, 9)
    images.rename(tmp_path / "moved")
    run(tmp_path / "out", "--images", tmp_path / "moved", judge="homeless")
    assert (Homeless.calls, DrawnColours.calls) == (24, 9)


def test_damaged_store_is_made_again(images: Path, tmp_path: Path) -> None:
    run(tmp_path / "out", "--images", images)
    first = stable_bytes(tmp_path / "out")
    for path in (tmp_path / "out").glob("store/*/*/*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    run(tmp_path / "out", "--images", images)
    assert stable_bytes(tmp_path / "out") == first


def test_missing_and_corrupt_pictures_are_left_out_and_named(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three of four samples: their mean. Nothing counts as wrong because it is missing."""
    (images / "00000" / "samples" / "0003.png").unlink()  # the wrong one
    (images / "00001" / "samples" / "0002.png").write_bytes(b"no picture")
    path = images / "00001" / "samples" / "0003.png"
    path.write_bytes(path.read_bytes()[:60])
    write(images, 4, OWN[0], [])
    write(images, 5, OWN[0], [picture(RED_CAT)] * 4)
    (images / "00005" / "metadata.jsonl").unlink()
    write(images, 6, OWN[0], [picture(RED_CAT)] * 4)
    (images / "00006" / "metadata.jsonl").write_text("{")
    write(images, 7, {"tag": "own", "prompt": "x", "include": [{"class": "cat"}]}, [])
    (result,) = run(tmp_path / "out", "--images", images)
    assert {tag: (t["value"], t["n"], t["prompts"]) for tag in result["tasks"] for t in [result["metrics"][tag]]} == {
        "one": (1.0, 3, 1),
        "colour": (1.0, 2, 1),
        "place": (0.25, 4, 1),
    }
    named = {note["id"]: note["reason"] for note in result["dataset"]["skipped"]}
    assert list(named) == sorted(named)
    assert named["00000"] == "3 of 4 samples"
    assert named["00001/0002"] == "not an image"
    assert "00001/0003" in named
    assert named["00003"] == "no such folder"
    assert named["00004"] == "0 of 4 samples"
    assert named["00005"] == "no metadata.jsonl"
    assert named["00006"].startswith("metadata.jsonl is not JSON")
    assert named["00007"] == "metadata.jsonl: include clause 1: 'count' is not a whole number of at least 1"
    assert "left out: 00003: no such folder\n" in capsys.readouterr().out
    records = pandas.read_parquet(next((tmp_path / "out").glob("*/records.parquet")))
    assert records["correct"].isna().sum() == records["error"].notna().sum() == 2
    run(tmp_path / "out", "--images", images, "--strict", code=3)


def test_odd_modes_and_further_files_are_judged_and_named(images: Path, tmp_path: Path) -> None:
    grey = Image.new("L", (96, 64), 90)
    write(images, 3, OWN[0], [grey, picture(RED_CAT).convert("RGBA"), *[picture(RED_CAT)] * 3])
    (images / "00003" / "samples" / "grid.jpg").write_bytes(b"")
    (images / "readme.txt").write_text("")
    (result,) = run(tmp_path / "out", "--images", images, "--strict")
    assert result["metrics"]["one"]["value"] == 7 / 9
    assert {(n["id"], n["reason"]) for n in result["remarks"]} == {
        ("00003", "5 samples instead of 4; all are judged"),
        ("00003", "not read: samples/grid.jpg; the layout has numbered pictures"),
        ("00003/0000", "a picture of mode L, judged as RGB (transparency over white)"),
        ("00003/0001", "a picture of mode RGBA, judged as RGB (transparency over white)"),
    }


def test_the_official_set_alone_is_comparable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "official", lambda: OWN[:2])
    for cls in (DrawnDetector, DrawnColours):
        spec = detectors.JudgeSpec("drawn", cls.spec.vocabulary, "MIT", comparable=True)
        monkeypatch.setattr(cls, "spec", spec)
    for i in range(2):
        write(tmp_path / "images", i, OWN[i], [picture(RED_CAT)] * 4)
    (result,) = run(tmp_path / "out", "--images", tmp_path / "images")
    assert result["comparable"] is True
    assert result["comparable_note"] == "may stand beside published GenEval scores"
    (tmp_path / "images" / "00001" / "samples" / "0003.png").unlink()
    (less,) = run(tmp_path / "less", "--images", tmp_path / "images")
    assert less["comparable"] is False
    assert "1 prompt has more or fewer than 4 samples" in less["comparable_note"]


def test_limit_is_a_fixed_choice(images: Path, tmp_path: Path) -> None:
    (one,) = run(tmp_path / "a", "--images", images, "--limit", "1")
    (again,) = run(tmp_path / "b", "--images", images, "--limit", "1")
    assert one == again
    assert one["dataset"]["prompts"] == one["limit"] == 1
    assert one["metrics"]["overall"]["ci95"] is None
    assert len(list((tmp_path / "a").glob("*__limit1"))) == 1


def test_generators_make_pictures_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts generate and judge their own prompts; the last merges; a generator without weights leaves the others."""
    from lactok.errors import WeightsNotFound

    asked: list[tuple[Any, ...]] = []

    def generate(
        name: str,
        wanted: Sequence[dict[str, Any]],
        folder: Path,
        run: Run,
        execution: Execution,
        *,
        samples: int,
        source: str,
        numbers: Sequence[int],
    ) -> tuple[datasets.Dataset, Timer]:
        asked.append((name, len(wanted), samples, run.seed, run.device, run.dtype, execution.part))
        assert list(wanted) == [prompts.official()[number] for number in numbers]  # a prompt keeps its number
        if name == "sd3":
            raise WeightsNotFound("weights not found: sd3")
        every = datasets.Dataset(source, planned(folder, dict(zip(numbers, wanted, strict=True)), samples))
        for shard in list(every.shards())[execution.part[0] :: execution.part[1]]:
            for sample in shard:
                thing = json.loads(sample.metadata)["include"][0]
                right = (thing["class"], thing.get("color", "red"), (5, 5, 25, 25))
                sample.path.parent.mkdir(parents=True, exist_ok=True)
                (sample.path.parents[1] / "metadata.jsonl").write_text(sample.metadata)
                (picture(right) if sample.id.endswith("0000") else picture()).save(sample.path)
        return every, Timer()

    monkeypatch.setattr("benchmarks.geneval.suite.generate", generate)
    common = ("--samples", "2", "--limit", "7", "--annotate", "none")
    results = run(tmp_path / "out", "--generators", "sd3,sdxl", *common, "--seed", "3", code=3)
    assert asked[0] == ("sd3", 7, 2, 3, "cpu", "float32", (0, 1))
    (result,) = results
    assert result["pictures"]["generator"] == {"name": "sdxl", "samples": 2, "seed": 3, "dtype": "float32"}
    assert result["dataset"]["n"] == 14
    assert [p.name for p in (tmp_path / "out" / "generated").iterdir()] == ["sdxl__seed3__samples2"]
    made = sorted(p.name for p in (tmp_path / "out" / "generated").glob("*/*") if p.is_dir())
    assert made == [f"{number:05}" for number in datasets.limited_numbers(553, 7)]
    assert [p.parent.name for p in (tmp_path / "out").glob("*/result.json")] == [
        "geneval__sdxl__drawn-drawn__limit7__seed3__samples2"
    ]
    assert run(tmp_path / "parts", "--generators", "sdxl", *common, "--seed", "3", "--part", "2/2") == []
    assert run(tmp_path / "parts", "--generators", "sdxl", *common, "--seed", "3", "--part", "1/2") == [result]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images", "no/such"), "no such folder no/such"),
        (("--generators", " "), "--generators is empty"),
        (("--generators", "sdxxl"), "unknown generator 'sdxxl', did you mean 'sdxl'"),
        (("--images", ".", "--samples", "0"), "--samples 0: 1 or more"),
        (("--images", ".", "--limit", "0"), "--limit 0: 1 or more"),
        (("--images", ".", "--part", "3/2"), "write I/N"),
        (("--images", ".", "--detector", "drown"), "unknown detector 'drown', did you mean 'drawn'?"),
        (("--images", ".", "--colours", "drown"), "unknown colour classifier 'drown', did you mean 'drawn'?"),
        (("--images", ".", "--device", "toaster"), "not a device"),
        (("--images", ".", "--weights", "no/such"), "no such folder"),
        (("--images", "."), "holds no folders 00000, 00001"),
        (("--generators", "sd3", "--detector", "homeless"), "weights not found: homeless"),
        (("--generators", "sd3", "--detector", "homeless"), "--detector scenes-tiny --colours scenes-tiny needs no"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["--detector", "drawn", "--colours", "drawn", "--out", str(tmp_path / "out"), *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 0


def test_an_object_that_nobody_knows_is_named(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write(images, 3, {"tag": "own", "prompt": "x", "include": [{"class": "unicorn", "count": 1}]}, [picture()] * 4)
    run(tmp_path / "out", "--images", images, code=2)
    assert "00003 asks for 'unicorn', which drawn does not know" in capsys.readouterr().err


def test_words_are_looked_at_before_anything_is_fetched_or_made(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(images, 3, {"tag": "own", "prompt": "x", "include": [{"class": "unicorn", "count": 1}]}, [picture()] * 4)
    run(tmp_path / "out", "--images", images, code=2, judge="homeless")
    assert "00003 asks for 'unicorn', which homeless does not know" in capsys.readouterr().err
    run(tmp_path / "out", "--generators", "sd1.5", "--limit", 40, code=2, judge="scenes-tiny")
    assert "which scenes-tiny does not know" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_anything_to_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "images", 0, OWN[0], [])
    run(tmp_path / "out", "--images", tmp_path / "images", code=2)
    assert "holds nothing to judge, for one 00000: 0 of 4 samples" in capsys.readouterr().err


def test_dry_run_writes_nothing(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (images / "00000" / "samples" / "0003.png").unlink()
    assert run(tmp_path / "out", "--images", images, "--dry-run") == []
    assert not (tmp_path / "out").exists()
    out = capsys.readouterr().out
    assert "images: 3 prompts, 11 pictures to judge" in out
    assert "left out: 00000: 3 of 4 samples" in out
    run(tmp_path / "out", "--generators", "sdxl", "--limit", "5", "--dry-run", judge="homeless")
    assert "sdxl: 5 prompts, 20 pictures to make and to judge" in capsys.readouterr().out


def test_dry_run_of_scenes_composes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out", "--scenes", "8", "--samples", "2", "--limit", "3", "--dry-run") == []
    assert "scenes: 8 captions, 16 pictures to compose, 6 to judge" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_task_may_not_have_the_name_of_a_score_of_all_tasks(images: Path, tmp_path: Path) -> None:
    write(images, 3, OWN[0] | {"tag": "overall"}, [picture(RED_CAT)] * 4)
    (result,) = run(tmp_path / "out", "--images", images)
    assert {
        "id": "00003",
        "reason": "metadata.jsonl: 'tag' is 'overall', which is the name of a score over all tasks; use another",
    } in result["dataset"]["skipped"]


HOSTILE = [
    "x" * 100_000,
    "\x00\x1b[31m\u202e" * 50,
    "\ud800 half a pair",
    "多" * 500,
    "🦄" * 300,
    "a\nb\n" * 400,
    "",
    "  \t ",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("size", [(1, 1), (3, 700), (96, 64), (2500, 90)])
def test_hostile_text_does_not_break_an_annotated_picture(text: str, size: tuple[int, int]) -> None:
    mask = np.ones((size[1], size[0]), bool)
    kept = {
        text: [Detection(text, 0.5, (-1e9, -5.0, 1e9, 1e9), mask), Detection(text, 1.0, (0, 0, 1, 1))],
        "cat": [Detection("cat", float("nan"), (float("nan"), 0.0, 5.0, 2.0))],
    }
    drawn = annotate.draw(Image.new("RGB", size), kept, {text: [text], "cat": [text]}, text, False, text)
    assert drawn.mode == "RGB"
    assert drawn.width <= max(annotate.SIDE)
    assert drawn.height <= 2 * max(annotate.SIDE)


def test_an_annotated_picture_shows_boxes_masks_and_words() -> None:
    mask = np.zeros((300, 400), bool)
    mask[100:200, 100:200] = True
    kept = {"cat": [Detection("cat", 0.9, (100.0, 100.0, 200.0, 200.0), mask)]}
    plain = Image.new("RGB", (400, 300), "white")
    drawn = np.asarray(annotate.draw(plain, kept, {"cat": ["red"]}, "a cat", True, ""))
    assert (drawn[100, 120] == annotate.PALETTE[0]).all()  # the box
    inside = drawn[150, 150].tolist()
    assert inside != [255, 255, 255]
    assert inside != list(annotate.PALETTE[0])  # translucent
    assert (drawn[250, 300] == 255).all()
    assert (drawn[300:] == np.array(annotate.RIGHT)).all(-1).any()
    wrong = np.asarray(annotate.draw(plain, {}, {}, "a cat", False, "expected cat>=1, found 0"))
    assert (wrong[300:] == np.array(annotate.WRONG)).all(-1).any()
    assert (wrong[:300] == 255).all()


def test_an_output_that_cannot_be_written(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    run(tmp_path / "file", "--images", images, code=2)
    assert "choose another --out" in capsys.readouterr().err
