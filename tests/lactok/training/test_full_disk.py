"""A full disk while training: one line, and the last good checkpoint stays, from which the run goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision.utils
from recipes import trainer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lactok.errors import DiskError, UserError
from lactok.files import write_atomically
from lactok.training import checkpoint, run
from lactok.training.__main__ import main
from lactok.training.recipe import Recipe
from lactok.training.record import Curve
from lactok.training.trainer import Trainer
from lactok.weights import cache

pytestmark = pytest.mark.slow  # trainings


def full(after: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that finds the disk full after so many calls."""
    calls = 0

    def write(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*args, **kwargs)

    return write


def rust_full(after: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """As `full`, told as safetensors tells it."""
    write = full(after, function)

    def told(tensors: Any, path: Path, **kwargs: Any) -> Any:
        try:
            return write(tensors, path, **kwargs)
        except OSError:
            Path(path).write_bytes(b"half of a file")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)") from None

    return told


@pytest.mark.parametrize("what", ["checkpoint", "export", "curve", "pictures", "held-out.txt"])
def test_a_full_disk(recipes: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    recipe, out = replace(recipes["vae"], save_every=1, eval_every=2, steps=3), tmp_path / "out"
    with monkeypatch.context() as patch:
        if what == "checkpoint":
            patch.setattr(safetensors.torch, "save_file", rust_full(1, save_file))
        elif what == "export":
            patch.setattr(safetensors.torch, "save_file", rust_full(2, save_file))
        elif what == "curve":
            patch.setattr(Curve, "log", full(1, Curve.log))
        elif what == "pictures":
            patch.setattr(torchvision.utils, "save_image", full(0, torchvision.utils.save_image))
        else:
            patch.setattr(Path, "write_bytes", full(0, Path.write_bytes))
        with pytest.raises(DiskError) as caught:
            run.train("vae", recipe, out, "cpu")
    assert str(caught.value) == (
        f"no space left in {out}: free some and run again, or choose another `out`; its last checkpoint stays, and the "
        "run goes on from there"
    )
    assert not list(out.rglob("*.part"))
    if what != "held-out.txt":
        _, meta = checkpoint.load_state(out / "state.safetensors")
        assert meta["step"] == (1 if what in ("checkpoint", "curve") else 2)
    run.train("vae", recipe, out, "cpu")
    run.train("vae", recipe, tmp_path / "whole", "cpu")
    ours, whole = (load_file(folder / "vae.safetensors") for folder in (out, tmp_path / "whole"))
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are set on Unix")
def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    import resource

    tensors = {"a": torch.zeros(100_000)}
    checkpoint.save_state(tmp_path / "a.safetensors", {"a": torch.ones(1)}, {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(OSError, match="File too large"):
            checkpoint.save_state(tmp_path / "a.safetensors", tensors, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
    assert load_file(tmp_path / "a.safetensors")["a"].tolist() == [1]


def test_the_old_text_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full(0, Path.write_bytes))
        with pytest.raises(OSError, match="No space left"):
            write_atomically(tmp_path / "a.json", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_killed_before_the_last_evaluation(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    """The last checkpoint is written, the weights are not: a second start writes them."""
    recipe, out = replace(recipes["vae"], steps=2), tmp_path / "out"
    first = trainer(recipe, "vae", out)
    first.learner.train()
    for _ in range(2):
        first.train_step()
    first.save()
    first.record.close()
    assert not first.export_path.exists()
    run.train("vae", recipe, out, "cpu")
    run.train("vae", recipe, tmp_path / "whole", "cpu")
    assert first.export_path.read_bytes() == (tmp_path / "whole" / "vae.safetensors").read_bytes()


def test_killed_in_an_evaluation_midway(
    recipes: dict[str, Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation that followed the last checkpoint is done by the next start, and only once."""
    recipe = replace(recipes["vae"], steps=4, save_every=2, eval_every=2, log_every=10)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run.train("vae", recipe, tmp_path / "out", "cpu")
    for _ in range(2):
        run.train("vae", recipe, tmp_path / "out", "cpu")
    run.train("vae", recipe, tmp_path / "whole", "cpu")
    curves = [(tmp_path / name / "curve.jsonl").read_text() for name in ("out", "whole")]
    assert curves[0] == curves[1]
    assert curves[0].count("held_out_psnr") == 2


def test_broken_held_out_photographs_are_passed_over(
    recipes: dict[str, Recipe], photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = replace(recipes["vae"], held_out=3, steps=2, eval_every=1)
    broken = trainer(recipe, "vae", tmp_path / "look").photos.held_out[1].file
    broken.write_bytes(b"not a picture")
    capsys.readouterr()
    run.train("vae", recipe, tmp_path / "out", "cpu")
    assert (tmp_path / "out" / "broken.txt").read_text() == f"{broken}\n"
    assert capsys.readouterr().out.count(f"left out: {broken}: not a readable image") == 1
    assert (tmp_path / "out" / "vae.safetensors").is_file()


def test_a_crop_that_is_larger_than_every_photograph(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    said = r"crop = 4096 is more than twice as large as every photograph \(the largest has \d+ pixels"
    with pytest.raises(UserError, match=said):
        trainer(replace(recipes["vae"], crop=4096, scale=(4096, 4200)), "vae", tmp_path / "out")


class TestAssemble:
    @pytest.fixture
    def recipe(self, recipes: dict[str, Recipe], tmp_path: Path) -> Path:
        """A recipe's file whose copy is trained."""
        import dataclasses

        recipe = recipes["stage 1"]
        run.train("lactok", replace(recipe, steps=1), tmp_path / "copy", "cpu")
        values = {k: v for k, v in dataclasses.asdict(recipe).items() if v is not None}
        lines = [f"{k} = {_toml(v)}" for k, v in values.items() if not isinstance(v, dict)]
        for key, table in values.items():
            if isinstance(table, dict):
                lines += [f"[{key}]", *(f"{k} = {_toml(v)}" for k, v in table.items() if not isinstance(v, dict))]
                for inner, more in table.items():
                    if isinstance(more, dict):
                        lines += [f"[{key}.{inner}]", *(f"{k} = {_toml(v)}" for k, v in more.items())]
        path = tmp_path / "recipe.toml"
        path.write_text("\n".join(lines))
        return path

    def test_it_looks_before_it_reads(
        self, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        copy, out = tmp_path / "copy" / "stage-1.safetensors", tmp_path / "w" / "vq-ladd.safetensors"
        tensors = load_file(copy)
        name = next(iter(tensors))
        save_file(tensors | {name: torch.zeros(1)}, tmp_path / "other.safetensors")
        (tmp_path / "cut.safetensors").write_bytes(copy.read_bytes()[:-1])

        def refused(*_: Any, **__: Any) -> Any:
            raise AssertionError("weights are read")

        with monkeypatch.context() as patch:
            patch.setattr(safetensors.torch, "load_file", refused)
            for file, target, said in (
                ("missing.safetensors", out, "missing.safetensors does not exist"),
                ("other.safetensors", out, "1 wrong shape"),
                ("cut.safetensors", out, "cut.safetensors is damaged"),
                ("copy/stage-1.safetensors", tmp_path / "w", "name a file"),
                ("copy/stage-1.safetensors", recipe / "x.safetensors", "cannot write to"),
            ):
                with pytest.raises(SystemExit) as stop:
                    main(["assemble", "--config", str(recipe), "--copy", str(tmp_path / file), "--out", str(target)])
                assert stop.value.code == 2
                assert said in capsys.readouterr().err
        with pytest.raises(SystemExit) as stop:
            main(["assemble", "--config", str(recipe), "--copy", str(copy), "--out", str(out)])
        assert stop.value.code == 0
        assert any(key.startswith("decoder.controlnet.") for key in cache.load_safetensors(out))


def _toml(value: Any) -> str:
    """A value of a recipe as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return repr(value)
