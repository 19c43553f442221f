"""What full-size trainings need: pictures loaded ahead, no needless average, evaluation in bf16, a word of warning."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recipes import assert_resumes, trainer
from safetensors.torch import load_file
from torch import Tensor

from lactok.errors import UserError
from lactok.training import checkpoint, unproven
from lactok.training.__main__ import parser
from lactok.training.distributed import accelerator_of
from lactok.training.lactok import LaCTokLearner, LaCTokRecipe
from lactok.training.loading import Ahead
from lactok.training.recipe import Recipe
from lactok.training.trainer import Trainer

pytestmark = pytest.mark.slow  # trainings


class TestPicturesAhead:
    @staticmethod
    def parts(first: int) -> Iterator[tuple[int, range]]:
        for step in range(first, 5):
            for start in (0, 2):
                yield step, range(4 * step + start, 4 * step + start + 2)

    @pytest.mark.parametrize("loaders", [0, 1, 3, 50])
    def test_every_part_comes_in_its_place(self, loaders: int) -> None:
        before = {*threading.enumerate()}
        asked: list[tuple[int, range]] = []

        def load(step: int, positions: range) -> Tensor:
            asked.append((step, positions))
            return torch.tensor([step, *positions])

        ahead = Ahead(load, self.parts, loaders)
        expected = list(self.parts(0))
        for step, positions in expected:
            assert ahead.get(step, positions).tolist() == [step, *positions]
        assert sorted(asked, key=lambda part: part[1].start) == expected  # each once, none after the last step
        again = list(self.parts(3))  # steps that were left out, and steps that come again
        for step, positions in again:
            assert ahead.get(step, positions).tolist() == [step, *positions]
        ahead.close()
        assert not [t for t in threading.enumerate() if t not in before]

    def test_an_error_comes_at_its_own_step(self) -> None:
        def load(step: int, positions: range) -> Tensor:
            if step == 1:
                raise UserError("broken")
            return torch.tensor(step)

        ahead = Ahead(load, self.parts, 4)
        for step, positions in list(self.parts(0))[:2]:
            assert int(ahead.get(step, positions)) == 0
        with pytest.raises(UserError, match="broken"):
            ahead.get(1, range(4, 6))
        ahead.close()

    def test_the_training_is_the_same_for_any_number(
        self, recipes: dict[str, Recipe], photographs: Path, tmp_path: Path
    ) -> None:
        for i in range(0, 70, 3):
            (photographs / f"{i:03}.png").write_bytes(b"not a picture")
        runs, before = [], {*threading.enumerate()}
        for loaders in (0, 1, 3):
            recipe = replace(recipes["ldm"], loaders=loaders, accumulate=2)
            run = trainer(recipe, "ldm", tmp_path / str(loaders))
            run.run()
            runs.append(run.state_path.read_bytes())
            named = (tmp_path / str(loaders) / "broken.txt").read_text().splitlines()
            assert len(named) == len(set(named))
        assert runs[0] == runs[1] == runs[2]
        assert not [t for t in threading.enumerate() if t.name.startswith("pictures") and t not in before]

    def test_resumed_with_another_number(self, recipes: dict[str, Recipe], tmp_path: Path) -> None:
        few, many = (replace(recipes["vae"], loaders=n) for n in (0, 3))
        assert_resumes(tmp_path, lambda out: trainer(many, "vae", out), killed=lambda out: trainer(few, "vae", out))


class TestWithoutAverage:
    def test_none_is_kept_and_the_weights_are_exported(self, recipes: dict[str, Recipe], tmp_path: Path) -> None:
        recipe = replace(recipes["stage 1"], average=0.0)
        run = trainer(recipe, "stage 1", tmp_path / "out")
        assert run.average == {}
        run.run()
        state = load_file(run.state_path)
        assert not [name for name in state if name.startswith("average.")]
        exported = load_file(run.export_path)
        for name, tensor in exported.items():
            assert torch.equal(tensor, state[f"learned.model.decoder.controlnet.{name}"].half())

    def test_it_resumes(self, recipes: dict[str, Recipe], tmp_path: Path) -> None:
        recipe = replace(recipes["vae"], average=0.0)
        assert_resumes(tmp_path, lambda out: trainer(recipe, "vae", out))

    def test_it_resumes_from_a_checkpoint_with_an_average(self, recipes: dict[str, Recipe], tmp_path: Path) -> None:
        """Earlier versions kept an average that was the weights themselves."""
        recipe = replace(recipes["vae"], average=0.0)

        def killed(out: Path) -> Any:
            run = trainer(recipe, "vae", out)
            save = run.save

            def save_with_average() -> None:
                save()
                tensors, meta = checkpoint.load_state(run.state_path)
                learned = checkpoint.under_prefix("learned", tensors)
                checkpoint.save_state(run.state_path, tensors | checkpoint.add_prefix("average", learned), meta)

            run.save = save_with_average  # type: ignore[method-assign]
            return run

        assert_resumes(tmp_path, lambda out: trainer(recipe, "vae", out), killed=killed)

    def test_dead_codes_are_revived_without_one(self, photographs: Path, tmp_path: Path) -> None:
        from recipes import VQ, small_keys

        from lactok.training.vq import VQLearner, VQRecipe

        recipe = VQRecipe(
            name="vq",
            model=VQ,
            eval_size=32,
            average=0.0,
            revive_every=1,
            revive_after=1,
            **small_keys(photographs, 32),
        )
        run = Trainer(recipe, VQLearner(recipe), tmp_path, accelerator_of("cpu"))
        before = run.learner.model.quantize.embedding.weight.detach().clone()  # type: ignore[union-attr, operator]
        run.run()
        assert not torch.equal(run.learner.model.quantize.embedding.weight, before)  # type: ignore[union-attr, operator]


def test_evaluation_computes_in_the_recipe_s_precision(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    seen: dict[str, set[torch.dtype]] = {"network": set(), "lpips": set()}
    for precision in ("no", "bf16"):
        for found in seen.values():
            found.clear()
        recipe = replace(recipes["stage 1"], precision=precision)
        assert isinstance(recipe, LaCTokRecipe)
        learner = LaCTokLearner(recipe)
        run = Trainer(recipe, learner, tmp_path / precision, accelerator_of("cpu", precision))
        unet = learner.model.decoder.unet
        unet.conv_out.register_forward_hook(lambda _, __, out: seen["network"].add(out.dtype))
        convolution = next(m for m in learner.lpips.modules() if isinstance(m, torch.nn.Conv2d))
        convolution.register_forward_hook(lambda _, __, out: seen["lpips"].add(out.dtype))
        run.evaluate()
        assert seen["network"] == {torch.bfloat16 if precision == "bf16" else torch.float32}
        assert seen["lpips"] == {torch.float32}


def test_what_was_never_run_is_said_once(
    recipes: dict[str, Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(recipes["ldm"], "ldm", tmp_path / "small")
    assert "never run" not in capsys.readouterr().out
    monkeypatch.setattr(unproven, "FULL_SIZE", 1000)
    run = trainer(recipes["ldm"], "ldm", tmp_path / "large")
    run.train_step()
    said = [line for line in capsys.readouterr().out.splitlines() if "never run by this project" in line]
    assert len(said) == 1
    assert "networks of 0.0 billion parameters" in said[0]
    line = unproven.never_run(4 * 10**9, "cuda", 8, True)
    for part in ("training on cuda", "NCCL between GPUs", "FSDP on GPUs", "networks of 4.0 billion parameters"):
        assert part in line
    assert "NCCL" not in unproven.never_run(1, "cuda", 1, False)
    text = " ".join(parser().format_help().split())
    assert "Never run by this project" in text


def test_a_wrong_number_of_loaders(photographs: Path) -> None:
    from lactok import config
    from lactok.training.tiny import CONFIGS

    for wrong in (-1, 257, 1.5):
        with pytest.raises(UserError, match="loaders"):
            config.read(CONFIGS / "lactok-1-512.toml", LaCTokRecipe, {"loaders": wrong})
    assert config.read(CONFIGS / "lactok-1-512.toml", LaCTokRecipe).loaders == 4
