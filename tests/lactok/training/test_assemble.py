"""LaCTok's weights put together: every row of Table 4, in small with numbers and at full size by names and shapes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import shared
from safetensors.torch import load_file, save_file

from lactok import config, registry, weights
from lactok.errors import UserError, WrongValue
from lactok.nn.lactok import LaCTok
from lactok.nn.lactok_checkpoint import UNET, convert
from lactok.training import checkpoint
from lactok.training.__main__ import main
from lactok.training.assemble import NAMES, assemble
from lactok.training.lactok import LaCTokRecipe, build_model, shape
from lactok.training.lora import load_lora
from lactok.training.recipe import Recipe
from lactok.training.tiny import CONFIGS


def recipe_of(recipes: dict[str, Recipe], name: str, **changes: Any) -> LaCTokRecipe:
    recipe = recipes[name]
    assert isinstance(recipe, LaCTokRecipe)
    return replace(recipe, **changes)


@pytest.fixture
def copy(recipes: dict[str, Recipe], tmp_path: Path) -> str:
    """A copy of stage 1 that says its stage, as the trainer writes it."""
    path = tmp_path / "stage-1.safetensors"
    checkpoint.save_state(path, load_file(recipe_of(recipes, "stage 2").copy), {"stage": 1})
    return str(path)


def parts(whole: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in whole.items() if k.startswith(prefix)}


def test_a_copy_of_stage_1_with_and_without_the_accelerator(
    recipes: dict[str, Recipe], copy: str, tmp_path: Path
) -> None:
    found = {}
    for name, made in (("vq-ladd", "stage 1"), ("vq-ladd-h", "stage 2")):
        out = tmp_path / "w" / f"{name}.safetensors"
        recipe = recipe_of(recipes, made)
        assemble(recipe, copy, out, 1)
        found[name] = load_file(out)
        network = LaCTok(shape(recipe, copy))
        weights.load_strict(network, found[name], name)  # every name and shape, and no other
    plain, accelerated = found["vq-ladd"], found["vq-ladd-h"]
    second = recipe_of(recipes, "stage 2")
    lora = load_file(second.lora)
    layers = {k.partition(".lora_")[0] for k in lora}
    assert layers
    unet = "decoder.unet."
    for key, value in plain.items():
        layer = key.removeprefix(unet).removesuffix(".weight")
        if key.startswith(unet) and layer in layers and key.endswith(".weight"):
            a, b = (lora[f"{layer}.lora_{x}.default.weight"].flatten(1) for x in "AB")
            torch.testing.assert_close(accelerated[key], value + (b @ a).view(value.shape), msg=key)
        else:
            assert torch.equal(accelerated[key], value), key
    for name, tensor in load_file(copy).items():
        assert torch.equal(plain[f"decoder.controlnet.{name}"], tensor)
    for name, tensor in parts(plain, unet).items():
        assert torch.equal(tensor, load_file(second.unet_weights)[name])


def test_the_command_takes_the_stage(
    recipes: dict[str, Recipe], copy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    asked = []
    monkeypatch.setattr("lactok.training.assemble.assemble", lambda *args: asked.append(args))
    out = tmp_path / "vq-ladd-t.safetensors"
    for given in (["--config", "lactok-t-2", "--stage", "1"], ["--config", str(CONFIGS / "lactok-t-2.toml")]):
        with pytest.raises(SystemExit) as stop:
            main(["assemble", *given, "--copy", copy, "--out", str(out)])
        assert stop.value.code == 0, capsys.readouterr().err
    assert [(recipe.name, stage) for recipe, _, _, stage in asked] == [("lactok-t-copy", 1), ("lactok-t-copy", None)]
    with pytest.raises(SystemExit) as stop:
        main(["assemble", "--config", "lactok-q-2", "--copy", copy, "--out", str(out)])
    assert stop.value.code == 2
    assert "config lactok-q-2 does not exist; the recipes are in" in capsys.readouterr().err


def test_a_file_is_not_named_for_another_row(recipes: dict[str, Recipe], copy: str, tmp_path: Path) -> None:
    first, second = recipe_of(recipes, "stage 1"), recipe_of(recipes, "stage 2")
    with pytest.raises(WrongValue, match=r"a copy of stage 1 and hyper-sd makes vq-ladd-h; name it vq-ladd-h.safeten"):
        assemble(second, copy, tmp_path / "lactok-h.safetensors", 1)
    with pytest.raises(WrongValue, match="a copy of stage 1 makes vq-ladd;"):
        assemble(first, copy, tmp_path / "vq-ladd-t.safetensors")
    with pytest.raises(WrongValue, match="`stage` 2: the recipe is of stage 1"):
        assemble(first, copy, tmp_path / "vq-ladd.safetensors", 2)
    with pytest.raises(UserError, match="is of stage 1; name the weights of stage 2"):
        assemble(second, copy, tmp_path / "lactok-h.safetensors")
    checkpoint.save_state(Path(copy), load_file(copy), {"stage": 2})
    with pytest.raises(UserError, match="is of stage 2; name the weights of stage 1"):
        assemble(second, copy, tmp_path / "vq-ladd-h.safetensors", 1)
    assert not list(tmp_path.glob("*-h.safetensors"))


def test_every_row_of_the_ablation_says_what_makes_its_file() -> None:
    for (stage, sampler), names in NAMES.items():
        for name in names:
            if name == "lactok-t-star":  # published
                continue
            (asset,) = registry.tokenizer_spec(name).assets
            assert f"--out weights/{name}.safetensors`" in asset.note
            made = asset.note.rpartition("python -m lactok.train assemble")[2].split()
            recipe = config.read(CONFIGS / f"{made[1]}.toml", LaCTokRecipe)
            assert (int(made[3]) if made[2] == "--stage" else recipe.stage) == stage
            if sampler:
                assert recipe.sampler == sampler


class TestPeft:
    """TLCM's LoRA as PEFT saves it: a folder with the weights and `adapter_config.json`."""

    @pytest.fixture
    def folder(self, recipes: dict[str, Recipe], tmp_path: Path) -> Path:
        """The small LoRA of rank 2 under PEFT's names, with alpha 3."""
        folder = tmp_path / "TLCM"
        folder.mkdir()
        lora = load_file(recipe_of(recipes, "stage 2").lora)
        saved = {f"base_model.model.{k.replace('.default.', '.')}": v for k, v in lora.items()}
        save_file(saved, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps({"lora_alpha": 3, "r": 2, "rank_pattern": {}}))
        return folder

    def test_alpha_and_rank_of_its_config_are_merged(
        self, recipes: dict[str, Recipe], copy: str, folder: Path, tmp_path: Path
    ) -> None:
        scaled = recipe_of(recipes, "stage 2", lora_scale=1.5)
        expected = build_model(scaled, copy, 1).state_dict()
        for text in (str(folder), str(folder / "adapter_model.safetensors")):
            found = build_model(recipe_of(recipes, "stage 2", lora=text), copy, 1).state_dict()
            assert all(torch.equal(found[k], expected[k]) for k in expected)
        tensors = load_file(folder / "adapter_model.safetensors")
        torch.save(tensors, folder / "adapter_model.bin")
        (folder / "adapter_model.safetensors").unlink()
        read = load_lora(str(folder), 1.0)
        assert read.scale == 1.5
        assert read.tensors.keys() == tensors.keys()
        assert load_lora(str(folder), 1.0, "meta").tensors.keys() == tensors.keys()

    def test_the_published_one_is_an_asset(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LACTOK_WEIGHTS", str(folder.parent))
        found = load_lora("tlcm-sdxl-lora", 1.0)
        assert found.scale == 1.5
        assert found.tensors.keys() == load_file(folder / "adapter_model.safetensors").keys()

    @pytest.mark.parametrize(
        ("text", "scale", "said"),
        [
            (None, 0.125, r"lora_scale = 0.125, but .*adapter_config.json says alpha / r = 1.5: leave lora_scale out"),
            ("{}", 1.0, "adapter_config.json does not state lora_alpha and r"),
            ("[", 1.0, "adapter_config.json does not state lora_alpha and r"),
            ('{"lora_alpha": 8, "r": 0}', 1.0, "does not state lora_alpha and r"),
            ('{"lora_alpha": 0, "r": 4}', 1.0, "both must be above 0"),
            ('{"lora_alpha": 8, "r": 4, "rank_pattern": {"conv": 2}}', 1.0, "a rank or alpha of their own"),
        ],
    )
    def test_mistakes(self, folder: Path, text: str | None, scale: float, said: str) -> None:
        if text is not None:
            (folder / "adapter_config.json").write_text(text)
        with pytest.raises(UserError, match=said):
            load_lora(str(folder), scale)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"holds neither adapter_model.safetensors nor adapter_model.bin"):
            load_lora(str(tmp_path), 1.0)

    def test_rank_stabilised(self, folder: Path) -> None:
        (folder / "adapter_config.json").write_text('{"lora_alpha": 8, "r": 4, "use_rslora": true}')
        assert load_lora(str(folder), 1.0).scale == 4


def sparse(path: Path, shapes: dict[str, list[int]]) -> str:
    """A safetensors file with these names and shapes whose values take no room on the disk."""
    header, end = {}, 0
    for name, sides in shapes.items():
        start, end = end, end + 4 * math.prod(sides)
        header[name] = {"dtype": "F32", "shape": sides, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return str(path)


@pytest.mark.slow
def test_at_full_size_every_row_has_the_tensors_of_the_official_network(tmp_path: Path) -> None:
    """The published parts by name and shape alone: what `assemble` would write is what the official file becomes."""
    manifest = json.loads(shared("manifests", "lactok_t.json").read_text())
    shapes = {row["key"]: row["shape"] for row in manifest["keys"]}
    plain = {k.replace(".base_layer.", "."): v for k, v in shapes.items() if ".lora_" not in k}
    lora = {k.removeprefix("decoder.unet."): v for k, v in shapes.items() if ".lora_" in k}
    folder = tmp_path / "TLCM"
    folder.mkdir()
    sparse(folder / "adapter_model.safetensors", {k.replace(".default.", "."): v for k, v in lora.items()})
    (folder / "adapter_config.json").write_text('{"lora_alpha": 8, "r": 64}')
    files = {
        "encoder_weights": sparse(tmp_path / "vq.safetensors", {k: v for k, v in plain.items() if "decoder" not in k}),
        "unet_weights": sparse(tmp_path / "unet.safetensors", parts(plain, UNET)),
        "vae": {"weights": sparse(tmp_path / "vae.safetensors", parts(plain, "vae."))},
    }
    copy = sparse(tmp_path / "copy.safetensors", parts(plain, "decoder.controlnet."))
    official = convert({k: torch.empty(v, device="meta") for k, v in shapes.items()})
    expected = {k: tuple(v.shape) for k, v in official.items()}
    for name, stage, more in (
        ("lactok-1-1024", 1, {}),
        ("lactok-t-2", 1, {"lora": str(folder)}),
        ("lactok-h-2", 1, {}),
        ("lactok-t-2", 2, {"lora": str(folder)}),
    ):
        recipe = config.read(CONFIGS / f"{name}.toml", LaCTokRecipe, files | more)
        made = build_model(recipe, copy, stage, "meta").state_dict()
        assert {k: tuple(v.shape) for k, v in made.items()} == expected
