"""`lactok.train tiny`: the small tokenizers' trainings as files, run one after the other."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from lactok import config
from lactok.errors import UserError
from lactok.training import tiny
from lactok.training.__main__ import main
from lactok.training.run import TRAINERS

pytestmark = pytest.mark.slow  # trainings


@pytest.mark.parametrize("name", tiny.names())
def test_every_stage_is_a_whole_recipe(name: str, tmp_path: Path) -> None:
    stages = tiny.stages(name, tmp_path)
    trained: set[str] = set()
    for stage in stages:
        entry = TRAINERS[stage.trainer]
        recipe = config.build(getattr(importlib.import_module(entry.module), entry.recipe), stage.values, stage.where)
        for text in _strings(stage.values):
            if text.startswith(str(tmp_path)):
                assert Path(text).parent.name in trained, f"{stage.where} needs {text} before it is trained"
        trained.add(recipe.name)
    assert stages[-1].values["name"] == name


def test_an_unknown_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["tiny", "flextok-tin"])
    assert "did you mean 'flextok-tiny'?" in capsys.readouterr().err


def test_stages_run_in_order_and_go_on(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = tmp_path / "configs"
    (configs / "tiny").mkdir(parents=True)
    small = 'data = "nowhere"\nsteps = 2\nbatch = 2\ncrop = 32\nscale = [32, 48]\nheld_out = 2\nwarmup = 1\n'
    shape = "channels = [8, 8, 8, 8]\n"
    (configs / "vae.toml").write_text(f'name = "v"\nprecision = "no"\n{small}eval_size = 32\n[model]\n{shape}')
    (configs / "tiny" / "both.toml").write_text(
        f'[[train]]\ntrainer = "vae"\nrecipe = "vae.toml"\n'
        f'[[train]]\ntrainer = "ldm"\nname = "both"\nprecision = "bf16"\n{small}'  # another than the first stage's
        f"[train.unet]\nchannels = [8, 16]\ntransformers = [0, 1]\n"
        f'head_channels = 8\n[train.vae]\nweights = "training-runs/v/v.safetensors"\n[train.vae.shape]\n{shape}'
    )
    monkeypatch.setattr(tiny, "CONFIGS", configs)
    argv = ["tiny", "both", "--data", str(photographs), "--runs", str(tmp_path / "runs")]
    # the VAE's own scaling is measured on photographs; this one says 1
    monkeypatch.setattr("lactok.training.pretrained.notes", lambda path: {})
    for _ in range(2):
        with pytest.raises(SystemExit, match="0"):
            main(argv)
    assert (tmp_path / "runs" / "both" / "both.safetensors").is_file()
    assert "resumed at step 2" in capsys.readouterr().out


def test_a_stage_with_a_strange_key_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "odd.toml").write_text('[[train]]\ntrainer = "vae"\nstep = 4\n')
    monkeypatch.setattr(tiny, "CONFIGS", tmp_path)
    (stage,) = tiny.stages("odd")
    with pytest.raises(UserError, match=r"odd.toml, stage 1 'step', did you mean 'steps'"):
        config.build(importlib.import_module("lactok.training.vae").VAERecipe, stage.values, stage.where)


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [t for v in value.values() for t in _strings(v)]
    if isinstance(value, list):
        return [t for v in value for t in _strings(v)]
    return [value] if isinstance(value, str) else []
