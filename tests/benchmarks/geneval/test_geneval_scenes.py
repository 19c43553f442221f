"""Generators that draw the captions of composed scenes, which nobody needs to download, and their control."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.geneval.__main__ import main
from benchmarks.geneval.suite import asked_of_scenes
from benchmarks.scenes import EVALUATED, reading
from lactok.evaluation.results import GenEvalResult, load_results

COMPOSER = '''
import torch
from benchmarks.scenes import reading
from benchmarks.scenes.compose import compose
from benchmarks.scenes.tasks import plan_scene
from lactok.specs import GeneratorSpec
from lactok.tokenizer import Generator
import numpy as np


class Composer(Generator):
    """Draws what a caption says, as a scene of it."""

    spec = GeneratorSpec("composer", "toy", "text", 256, "MIT")

    def _generate(self, conditions, seeds):
        pictures = []
        for caption, seed in zip(conditions, seeds.tolist()):
            plan, _ = plan_scene(reading.read(caption), False, np.random.default_rng(0), alone=True)
            pictures.append(torch.from_numpy(compose(plan, seed % 1000, plain=True).image).permute(2, 0, 1) / 255)
        return torch.stack(pictures)
'''


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    return int(str(stop.value.code or 0))


@pytest.fixture
def composer(tmp_path: Path) -> str:
    (tmp_path / "composer.py").write_text(COMPOSER)
    return f"{tmp_path / 'composer.py'}:Composer"


def result_in(out: Path) -> GenEvalResult:
    (result,) = load_results(out)
    assert isinstance(result, GenEvalResult)
    return result


def test_a_generator_draws_captions_of_scenes(
    composer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ("--scenes", 12, "--generators", composer, "--samples", 1, "--out", out, "--annotate", "none")
    assert run(*command) == 0
    result = result_in(out)
    assert (result.n, result.data.detector.name) == (12, "scenes-tiny")
    overall = result.metrics["overall"].value
    assert overall is not None
    assert overall >= 0.9
    # the control: pictures of other captions of the same task
    printed = capsys.readouterr().out
    table = printed[printed.index("| captions of other scenes") :].splitlines()
    head, line = table[0], table[2]
    shares = dict(zip(*(map(str.strip, row.strip("|").split("|")) for row in (head, line)), strict=True))
    assert float(shares["overall"].removesuffix(" %")) <= 50
    # the pictures are apart from those of GenEval's prompts, and their prompts are those of the scenes
    assert result.generated == next((out / "generated").iterdir())
    assert result.generated.name.endswith("scenes12")
    stored = json.loads((result.generated / "00003" / "metadata.jsonl").read_text())
    assert stored == asked_of_scenes(12, None).prompts[3]
    # a second call makes and judges nothing
    before = {path: os.stat(path).st_mtime_ns for path in result.generated.rglob("*.png")}
    assert len(before) == 12
    assert run(*command) == 0
    assert {path: os.stat(path).st_mtime_ns for path in result.generated.rglob("*.png")} == before


def test_captions_that_may_have_been_trained_on_are_said_to_be(
    composer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--scenes", EVALUATED + 1, "--generators", composer, "--dry-run")
    assert "may have seen some" in capsys.readouterr().err
    run("--scenes", EVALUATED, "--generators", composer, "--dry-run")
    assert "may have seen some" not in capsys.readouterr().err
    assert all(reading.is_evaluated(p["prompt"]) for p in asked_of_scenes(EVALUATED, None).prompts.values())


def test_the_dry_run_says_what_is_drawn(composer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--scenes", 8, "--generators", composer, "--samples", 2, "--limit", 3, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "3 captions of scenes, 6 pictures to make and to judge" in printed
    assert "to compose" not in printed


def test_something_has_to_be_judged(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--samples", 1) == 2
    assert "say what is to be judged" in capsys.readouterr().err
    assert run("--scenes", 3, "--images", ".") == 2
    assert "--scenes does not go with --images" in capsys.readouterr().err


def test_a_limit_holds_for_the_agreement_too(tmp_path: Path) -> None:
    assert run("--scenes", 6, "--samples", 1, "--limit", 2, "--out", tmp_path, "--annotate", "none") == 0
    assert result_in(tmp_path).n == 2
    (agreement,) = tmp_path.glob("*/agreement.json")
    assert json.loads(agreement.read_text())["pictures"] == 2
