"""Replay of the reference sets; a wrong value must be seen, and nothing of a particular set stands in the code."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import shared
from safetensors.torch import load_file, save_file
from taming import CONFIG, write_set

from benchmarks.verify import manifest, metrics, sets
from benchmarks.verify.__main__ import main
from benchmarks.verify.checks import Checks
from benchmarks.verify.manifest import MODELS
from benchmarks.verify.recipe import tensors_of
from lactok.errors import UserError
from lactok.nn.lactok import resize
from lactok.nn.vqgan import VQConfig, VQModel, from_taming


def verify(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0)


def change_file(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a JSON or safetensors file holds."""
    if path.suffix == ".json":
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))
    else:
        tensors = {k: v.clone() for k, v in load_file(path).items()}
        change(tensors)
        path.unlink()
        save_file(tensors, path)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A small reference set of kind vqgan."""
    return write_set(tmp_path / "made")


SETS = [
    "llamagen_vq16",
    "metrics",
    "vqgan_f16",
    "titok_s128",
    "titok_b64",
    "titok_rgb_nonlegacy",
    "flextok",
    "flextok_maxt1",
    "seed2",
    "seed2_unclip",
    "geneval",
    "rewards",
    "lactok",
    "lactok_enc",
    "lactokgen",
    "llamagen_gpt",
    "titok_gen",
    "var_vqvae",
    "ibq",
    "ibq_ema",
    "open_magvit2",
    "open_magvit2_ema",
    "seed_voken_eval",
    "magvitv2",
    "showo_t2i",
    "hart_tokenizer",
    "hart_t2i",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_reference_sets_hold(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(shared("golden", name)) == 0
    assert re.fullmatch(r"[1-9]\d* checked, 0 failed, 0 sets not replayed", capsys.readouterr().out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_manifests_hold(name: str) -> None:
    assert verify("--manifest", shared("manifests", f"{name}.json")) == 0


def test_the_table_says_how_near_a_set_came_to_its_tolerances(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify("--table", made) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if line.startswith("| made"))
    cells = [cell.strip() for cell in row.split("|")]
    assert int(cells[2]) == int(lines[-1].split()[0])
    assert cells[-2].endswith("%")
    assert 0 <= float(cells[-2].removesuffix("%")) <= 100


def test_a_wrong_value_and_an_unchecked_tensor_fail(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(io: dict[str, torch.Tensor]) -> None:
        io["pre_quant"][0, 0, 0, 0] += 0.01
        io["another"] = io["image"].clone()

    change_file(made / "io.safetensors", change)
    assert verify(made) == 1
    out = capsys.readouterr().out
    assert "pre_quant  max abs diff 0.01" in out
    assert "another  stored but never checked  FAIL" in out
    assert out.splitlines()[-1] == "9 checked, 2 failed, 0 sets not replayed"


@pytest.mark.parametrize(("tolerances", "code"), [({"atol": 0.1}, 0), ({"rtol": 1e-4}, 1), ({"atol": 1e-9}, 1)])
def test_a_set_may_bring_its_own_tolerances(tmp_path: Path, tolerances: dict[str, float], code: int) -> None:
    folder = write_set(tmp_path / "made", tolerances=tolerances)
    change_file(folder / "io.safetensors", lambda io: io["pre_quant"].add_(0.01))
    assert verify(folder) == code


class TestVQGAN:
    """Attention where taming-transformers has it, against that network written plainly."""

    @pytest.mark.parametrize("resolutions", [[64, 16], [32], [], [64, 32, 16, 8]])
    def test_attention_at_any_resolutions(
        self, tmp_path: Path, resolutions: list[int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = CONFIG | {"ddconfig": CONFIG["ddconfig"] | {"attn_resolutions": resolutions}}
        assert verify(write_set(tmp_path / "made", config)) == 0
        assert capsys.readouterr().out.endswith("8 checked, 0 failed, 0 sets not replayed\n")

    def test_attention_that_the_config_does_not_name_is_not_ignored(
        self, made: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        change_file(made / "config.json", lambda c: c["ddconfig"].update(attn_resolutions=[16]))
        assert verify(made) == 2
        assert "unexpected (decoder.conv_blocks.2.attn.0.k.bias" in capsys.readouterr().err

    def test_the_published_names_stay(self) -> None:
        taming = [
            f"{p}.{part}.{i}.attn.{j}.q.bias"
            for p, part, n in (("encoder", "down", 1), ("decoder", "up", 2))
            for i in (0, 2)
            for j in range(n)
        ]
        names = from_taming({name: torch.zeros(1) for name in taming})
        model = VQModel(VQConfig(32, (1, 1, 2), 1, attention=(0, 2), usage_buffer=False))
        assert set(names) == {k for k in model.state_dict() if k.endswith("q.bias") and ".attn." in k}
        plain, lowest = (
            VQModel(VQConfig(32, (1, 1, 2), 1, attention=a)).state_dict() for a in ((-1,), VQConfig().attention)
        )
        assert list(plain) == list(lowest)

    @pytest.mark.parametrize(("key", "value"), [("double_z", True), ("resolution", 50)])
    def test_what_is_not_built_is_named(
        self, made: Path, key: str, value: object, capsys: pytest.CaptureFixture[str]
    ) -> None:
        change_file(made / "config.json", lambda c: c["ddconfig"].update({key: value}))
        assert verify(made) == 3
        out = capsys.readouterr().out
        assert f"made  not replayed: {key}" in out
        assert out.endswith("0 checked, 0 failed, 1 sets not replayed\n")


def test_the_encoders_sizes_are_the_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    model = VQModel(VQConfig(64, (1, 2), 1, 48, 100, 4, usage_buffer=False)).half().float().eval()
    image = torch.rand(1, 3, 40, 40) * 2 - 1
    io = {"image": image}
    with torch.inference_mode():
        for size in (24, 36):
            resized = resize(image, size)
            features = model.encode_features(resized)
            ids = model.quantize.encode(features)
            made = {
                "resized": resized,
                "pre_quant": features,
                "indices": ids.int(),
                "margin": features[:, 0],
                "quant": model.quantize.straight_through(features, ids),
                "get_quant": model.quantize.lookup(ids),
            }
            io |= {f"{size}/{key}": value.clone(memory_format=torch.contiguous_format) for key, value in made.items()}
    kept = {k: v.half() for k, v in model.state_dict().items() if not k.startswith("decoder.")}
    save_file(io, tmp_path / "tensors.safetensors")
    save_file(kept, tmp_path / "weights_fp16.safetensors")
    sizes = {"ch": 64, "z": 48, "ch_mult": [1, 2], "num_res_blocks": 1, "codebook": [100, 4]}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    (tmp_path / "set.json").write_text('{"kind": "lactok_encoder", "name": "narrow"}')
    assert verify(tmp_path) == 0
    change_file(tmp_path / "config.json", lambda c: c.update(ch=32))
    assert verify(tmp_path) == 2
    assert "is incomplete or damaged: the weights do not fit narrow" in capsys.readouterr().err


@pytest.mark.parametrize(("seed", "fell"), [(21, False), (22, True)])
def test_the_seed_of_the_lpips_backbones_is_the_sets(seed: int, fell: bool) -> None:
    folder = shared("golden", "metrics")
    expected = json.loads((folder / "lpips.json").read_text()) | {"seed": seed}
    checks = Checks("metrics")
    with torch.inference_mode():
        metrics._check_lpips(np.load(folder / "lpips_inputs.npz"), expected, checks)
    assert bool(checks.failed) == fell


# the same numbers written otherwise: what is read from the names is read, not known
RENAMED = {
    "flextok_maxt1": ("io", {"_t0.6_": "_t0.60_", "cfg3_": "cfg3.0_", "apg7.5_": "apg7.50_"}),
    "seed2_unclip": ("io", {"_g10_": "_g10.0_", "_g1_": "_g1.0_"}),
    "rewards": ("mps_tiny_io", {"thr0.3": "thr0.30", "thr_hi": "thr_high", "cross_cls_hi": "cross_cls_high"}),
}


@pytest.mark.parametrize("name", RENAMED)
def test_scales_times_and_thresholds_are_those_of_the_names(name: str, tmp_path: Path) -> None:
    file, words = RENAMED[name]
    folder = Path(shutil.copytree(shared("golden", name), tmp_path / name, copy_function=shutil.copyfile))

    def rename(io: dict[str, torch.Tensor]) -> None:
        for key in list(io):
            changed = key
            for old, new in words.items():
                changed = changed.replace(old, new)
            io[changed] = io.pop(key)

    change_file(folder / f"{file}.safetensors", rename)
    assert verify(folder) == 0


def test_the_decoders_sizes_are_the_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(shared("golden", "lactok"), tmp_path / "lactok", copy_function=shutil.copyfile))
    for key, value in (("codebook", [16384, 4]), ("conditioning_embedding_out_channels", [8, 16])):
        shutil.copyfile(shared("golden", "lactok", "config.json"), folder / "config.json")
        change_file(folder / "config.json", lambda c, key=key, value=value: c.update({key: value}))
        assert verify(folder) == 2
        assert "is incomplete or damaged: the weights do not fit" in capsys.readouterr().err


def test_sets_that_are_not_built_are_counted(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "set.json").write_text('{"kind": "vqgann", "name": "x"}')
    assert verify(other) == 3
    out = capsys.readouterr().out
    assert "x  not replayed: no model of kind 'vqgann' is built here, did you mean 'vqgan'?" in out
    assert out.endswith("\n0 checked, 0 failed, 1 sets not replayed\n")
    assert verify(made, other, other) == 3
    assert capsys.readouterr().out.endswith("\n8 checked, 0 failed, 2 sets not replayed\n")
    change_file(made / "io.safetensors", lambda io: io["pre_quant"].add_(1))
    assert verify(made, other) == 1
    assert capsys.readouterr().out.endswith("\n8 checked, 1 failed, 1 sets not replayed\n")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no weights": lambda f: (f / "weights.safetensors").unlink(),
    "half a file": lambda f: (f / "io.safetensors").write_bytes((f / "io.safetensors").read_bytes()[:1000]),
    "a weight too few": lambda f: change_file(f / "weights.safetensors", lambda w: w.pop("encoder.conv_in.bias")),
    "no size": lambda f: change_file(f / "config.json", lambda c: c["ddconfig"].pop("ch")),
    "a text for a size": lambda f: change_file(f / "config.json", lambda c: c.update(n_embed="many")),
    "a list for a config": lambda f: (f / "config.json").write_text("[]"),
    "no JSON": lambda f: (f / "config.json").write_text("{"),
    "a tensor too few": lambda f: change_file(f / "io.safetensors", lambda io: io.pop("quantized")),
    "another shape": lambda f: change_file(f / "io.safetensors", lambda io: io.update(image=torch.zeros(2, 1, 8))),
    "float ids": lambda f: change_file(f / "io.safetensors", lambda io: io.update(indices=io["indices"].float())),
    "no kind": lambda f: (f / "set.json").write_text("{}"),
    "a tolerance in words": lambda f: change_file(f / "set.json", lambda s: s.update(tolerances={"atol": "small"})),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_set_is_one_line(made: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    DAMAGE[damage](made)
    assert verify(made) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {made} is incomplete or damaged: ")
    assert len(line) < 500
    if damage in ("a list for a config", "no JSON"):
        assert "damaged: config.json" in line


def test_a_wrong_manifest_fails(tmp_path: Path) -> None:
    manifest = json.loads(shared("manifests", "llamagen_vq16.json").read_text())
    manifest["tensors"][0]["shape"][0] += 1
    (tmp_path / "llamagen_vq16.json").write_text(json.dumps(manifest))
    assert verify("--manifest", tmp_path / "llamagen_vq16.json") == 1


def test_manifests_of_models_that_are_not_built(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new, config = tmp_path / "titok_s1288.json", tmp_path / "config.json"
    new.write_text('{"keys_list": [{"key": "a", "shape": [2], "dtype": "float32"}]}')
    config.write_text('{"width": 3}')
    assert verify("--manifest", new) == 2
    assert "did you mean 'titok_s128'" in capsys.readouterr().err
    assert verify(made, "--manifest", new, config) == 3
    out = capsys.readouterr().out
    assert "titok_s1288  not replayed: no model of this manifest is built here" in out
    assert "config  skipped: lists no tensors" in out
    assert out.endswith("8 checked, 0 failed, 1 sets not replayed\n")
    assert verify("--manifest", config) == 2


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify() == 2
    assert verify(tmp_path) == 2
    assert "is not a reference set: it has no set.json" in capsys.readouterr().err
    assert verify(tmp_path / "none") == 2
    assert f"no such folder {tmp_path / 'none'}" in capsys.readouterr().err
    (tmp_path / "other.json").write_text("[]")
    assert verify("--manifest", tmp_path / "other.json") == 2


def test_a_set_is_held_to_the_tolerances_of_its_readme(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text('{"kind": "titok", "name": "x"}')
    text = "Worst difference: 7.7e-05; suggested tolerance atol=8e-04 on floats of O(1..10), rtol 1e-4."
    (tmp_path / "README.md").write_text(text)
    assert sets.read(tmp_path).tolerances == {"atol": 8e-4, "rtol": 1e-4}
    (tmp_path / "set.json").write_text('{"kind": "titok", "name": "x", "tolerances": {"atol": 0.5}}')
    assert sets.read(tmp_path).tolerances == {"atol": 0.5, "rtol": 1e-4}
    (tmp_path / "README.md").write_text("nothing of the kind")
    assert sets.read(tmp_path).tolerances == {"atol": 0.5}


def test_sets_are_read_as_all_texts_of_others_are(made: Path) -> None:
    (made / "set.json").write_bytes(b"\xef\xbb\xbf" + (made / "set.json").read_bytes())
    assert sets.read(made).kind == "vqgan"  # a byte order mark is left out
    (made / "README.md").write_bytes("caf\u00e9".encode("latin-1"))
    with pytest.raises(UserError, match=r"README\.md is not UTF-8 text .*; save it as UTF-8"):
        sets.read(made)
    (made / "README.md").unlink()
    (made / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"config\.json: nested more than 64 deep"):
        sets.read(made)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'\xef\xbb\xbf{"tensors": []}', None),
        (b"[" * 100_000, "nested more than 64 deep"),
        (b'{"tensors": [{"name": "a", "shape": [1000000000, 1000000000], "dtype": "float32"}]}', "numbers at most"),
        (b'{"tensors": [{"name": "a", "shape": [-1], "dtype": "float32"}]}', "whole numbers from 0"),
        (b'{"tensors": [{"name": "a", "dtype": "float32"}]}', "'shape' is missing"),
    ],
)
def test_a_manifest_is_read_or_what_is_wrong_is_said(tmp_path: Path, content: bytes, said: str | None) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    if said is None:
        assert not manifest.replay(path, alone=False).replayed
        return
    with pytest.raises(UserError, match=said) as raised:
        manifest.replay(path, alone=False)
    assert "\n" not in str(raised.value)


def test_a_recipe_of_more_numbers_than_memory_holds_is_refused() -> None:
    with pytest.raises(UserError, match="numbers in all"):
        tensors_of({"seed": 0, "tensors": {"a": [10**6, 10**6]}})
