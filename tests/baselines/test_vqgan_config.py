"""`vqgan@config=FILE,ckpt=FILE` beside a plain reading of the official classes, its names, and what it refuses."""

from __future__ import annotations

import pickle
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from documents import code_of
from fuzzing import right_or_one_line, tries
from hypothesis import given
from hypothesis import strategies as st
from reference import ROOT
from taming import CONFIG, Taming

import lactok
from baselines.vqgan import VQGAN
from benchmarks.recon import __main__ as recon
from lactok import registry
from lactok.errors import MissingFile, UserError, WeightsNotFound
from lactok.evaluation import protocol
from lactok.evaluation.config import Run
from lactok.evaluation.sources import TokenizerSource
from lactok.nn import taming_config
from lactok.nn.vqgan import VQConfig, from_taming

pytestmark = pytest.mark.usefixtures("own_cache")

VQMODEL = "taming.models.vqgan.VQModel"
LOSS = {"target": "taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator", "params": {"disc_start": 250001}}


def config_of(arguments: Mapping[str, Any], target: str = VQMODEL, **further: Any) -> dict[str, Any]:
    """A config as the authors' training writes it."""
    params = {**arguments, "lossconfig": LOSS, "monitor": "val/rec_loss", **further}
    return {"model": {"base_learning_rate": 4.5e-06, "target": target, "params": params}}


def network(**changes: Any) -> dict[str, Any]:
    """The arguments of a small network with some of its ddconfig changed."""
    return {**CONFIG, "ddconfig": CONFIG["ddconfig"] | changes}


def write(folder: Path, arguments: Mapping[str, Any] = CONFIG, stem: str = "f4", seed: int = 0) -> Taming:
    """Write NAME.yaml and NAME.ckpt, random weights as Lightning stores them; return the network that has them."""
    made = Taming(dict(arguments), seed)
    made.outputs(torch.rand(1, 3, 32, 32, generator=made.generator))  # draws them
    averages = {f"model_ema.{name.replace('.', '')}": torch.zeros_like(t) for name, t in made.state.items()}
    beside = {"loss.discriminator.main.0.weight": torch.ones(3), "colorize": torch.ones(3, 7, 1, 1)}
    content = {
        "epoch": 11,
        "state_dict": made.state | averages | beside,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        "callbacks": {Namespace: {"best_model_score": torch.tensor(0.5)}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / f"{stem}.ckpt")
    (folder / f"{stem}.yaml").write_text(yaml.safe_dump(config_of(arguments)))
    return made


def test_ids_and_pictures_are_the_official_ones(tmp_path: Path) -> None:
    """An f4 with attention at the finest and the coarsest of its three resolutions."""
    made = write(tmp_path)
    tok = lactok.load("vqgan", config=tmp_path / "f4.yaml", ckpt=tmp_path / "f4.ckpt")
    assert (tok.spec.input_size, tok.spec.tokens, tok.spec.codebook_size, tok.spec.bits) == (64, 256, 64, 256 * 6)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = made.outputs(2 * images - 1)
    ids = tok.encode(images)
    assert torch.equal(ids, expected["indices"].flatten(1))
    assert ids.unique().numel() > 10
    pictures = ((expected["decoded_from_code"] + 1) / 2).clamp(0, 1)
    torch.testing.assert_close(tok.decode(ids), pictures, atol=1e-4, rtol=0)


def test_an_f16_is_what_the_adapter_of_the_published_ones_computes(tmp_path: Path) -> None:
    made = write(tmp_path, network(ch_mult=[1, 1, 1, 1, 2], attn_resolutions=[4]), "f16")
    tok = lactok.load(f"vqgan@config={tmp_path / 'f16.yaml'},ckpt={tmp_path / 'f16.ckpt'}")
    spec = replace(
        registry.tokenizer_spec("vqgan-f16-1024"), tokens=16, codebook_size=64, input_size=64, output_size=64
    )
    other = VQGAN(spec, VQConfig(32, (1, 1, 1, 1, 2), 1, 16, 64, 8, l2_norm=False, usage_buffer=False)).eval()
    other.model.load_state_dict(from_taming({f"state_dict.{k}": v for k, v in made.state.items()}))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    ids = tok.encode(images)
    assert torch.equal(ids, other.encode(images))
    assert torch.equal(tok.decode(ids), other.decode(ids))


@pytest.mark.parametrize("codes", [1024, 16384])
def test_the_published_configs_are_of_the_published_networks(tmp_path: Path, codes: int) -> None:
    published = network(z_channels=256, resolution=256, ch=128, ch_mult=[1, 1, 2, 2, 4], num_res_blocks=2)
    published["ddconfig"]["attn_resolutions"] = [16]
    file = tmp_path / "model.yaml"
    file.write_text(yaml.safe_dump(config_of({**published, "n_embed": codes, "embed_dim": 256})))
    made, known = lactok.build("vqgan", config=file), lactok.build(f"vqgan-f16-{codes}")
    assert {k: v.shape for k, v in made.state_dict().items()} == {k: v.shape for k, v in known.state_dict().items()}
    assert (made.spec.tokens, made.spec.bits) == (known.spec.tokens, known.spec.bits)
    assert made.spec.resample == known.spec.resample


def key_of(folder: Path) -> str:
    source = TokenizerSource(f"vqgan@config={folder / 'f4.yaml'},ckpt={folder / 'f4.ckpt'}")
    return source.key([], Run(protocol.get("square-256"), threads=1))


def test_name_key_and_provenance_tell_the_files_contents_and_no_folder(tmp_path: Path) -> None:
    write(tmp_path / "here")
    write(tmp_path / "there")
    for folder in ("here", "there"):
        source = TokenizerSource(f"vqgan@config={tmp_path / folder / 'f4.yaml'},ckpt={tmp_path / folder / 'f4.ckpt'}")
        described = source.describe()
        config = lactok.spec("vqgan", config=tmp_path / folder / "f4.yaml").values["config"]
        assert str(config).startswith("f4-")
        assert described["name"] == f"vqgan@config={config},ckpt={described['options']['ckpt']}"
        assert described["options"]["config"] == config
        assert [(a["name"], a["source"]) for a in described["assets"]] == [("taming-f4", "user:f4.ckpt")]
        assert str(tmp_path) not in str(described)
        pickled = pickle.loads(pickle.dumps(source.spec))
        assert pickled == source.spec
        assert pickled.values["config"].path == tmp_path / folder / "f4.yaml"
    assert key_of(tmp_path / "here") == key_of(tmp_path / "there")
    before = key_of(tmp_path / "here")
    (tmp_path / "there" / "f4.yaml").write_text(yaml.safe_dump(config_of(CONFIG, sane_index_shape=True)))
    assert key_of(tmp_path / "there") != before
    write(tmp_path / "here", seed=1)
    assert key_of(tmp_path / "here") != before


def test_a_checkpoint_in_the_usual_place_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write(tmp_path)
    told = r"weights not found: taming-f4; .*taming-f4\.safetensors.*vqgan@config=FILE\.yaml,ckpt=FILE\.ckpt"
    with pytest.raises(WeightsNotFound, match=told):
        lactok.load("vqgan", config=tmp_path / "f4.yaml")
    (tmp_path / "f4.ckpt").rename(tmp_path / "taming-f4.ckpt")
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
    tok = lactok.load("vqgan", config=tmp_path / "f4.yaml")
    assert torch.equal(tok.get_submodule("model.quantize.embedding").weight, made.state["quantize.embedding.weight"])


def test_files_that_are_missing_changed_or_anothers(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(MissingFile, match=r"^option config=.*nothing\.yaml: no such file$"):
        lactok.spec("vqgan", config=tmp_path / "nothing.yaml")
    named = registry.TOKENIZERS.entry(f"vqgan@config={tmp_path / 'f4.yaml'}")
    (tmp_path / "f4.yaml").write_text(yaml.safe_dump(config_of(network(num_res_blocks=2))))
    with pytest.raises(UserError, match=r"f4\.yaml has changed since it was named; run again"):
        named.create()
    with pytest.raises(UserError, match="the weights do not fit"):
        lactok.load("vqgan", config=tmp_path / "f4.yaml", ckpt=tmp_path / "f4.ckpt")
    (tmp_path / "f4.ckpt").write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match=r"f4\.ckpt"):
        lactok.load("vqgan", ckpt=tmp_path / "f4.ckpt")


GUMBEL = {"kl_weight": 5.0e-4, "temperature_scheduler_config": {"target": "taming.lr_scheduler.LambdaWarmUp"}}
REFUSED = {
    "no YAML": ("model: [", r"is not YAML"),
    "a number that YAML cannot read": ("model: !!int x", r"is not YAML"),
    "a text": ("just words", r"no model\.target"),
    "no target": ({"model": {"params": CONFIG}}, r"no model\.target"),
    "Gumbel": (
        config_of(CONFIG, "taming.models.vqgan.GumbelVQ", **GUMBEL),
        r"taming\.models\.vqgan\.GumbelVQ is not read, since it draws ids at random",
    ),
    "a transformer": (
        config_of(CONFIG, "taming.models.cond_transformer.Net2NetTransformer"),
        r"Net2NetTransformer is not read, only taming\.models\.vqgan\.VQModel",
    ),
    "no ddconfig": (config_of({"n_embed": 64, "embed_dim": 8}), r"no model\.params\.ddconfig"),
    "a fork's argument": (config_of(CONFIG, use_ema=True), r"unknown key in config f4\.yaml model\.params 'use_ema'"),
    "remap": (config_of(CONFIG, remap="used.npy"), r"remap is not read"),
    "no n_embed": (config_of({"embed_dim": 8, "ddconfig": CONFIG["ddconfig"]}), r"missing n_embed"),
    "double_z": (config_of(network(double_z=True)), r"double_z true \(its default\).*write double_z: False"),
    "in_channels": (config_of(network(in_channels=1)), r"in_channels 1 and out_ch 3: images have 3"),
    "pooling": (config_of(network(resamp_with_conv=False)), r"resamp_with_conv false is not read"),
    "features": (config_of(network(give_pre_end=True)), r"give_pre_end true is not read"),
    "an odd side": (config_of(network(resolution=90)), r"resolution 90 cannot be halved 2 times"),
    "a width": (config_of(network(ch=40)), r"must be multiples of 32"),
    "a huge width": (config_of(network(ch=10**9)), r"ch = 1000000000: should be less than"),
    "a word": (config_of(network(ch_mult="1,2")), r"ch_mult = '1,2': should be"),
    "lists in lists": (config_of(network(ch_mult=[[1], [2]])), r"ch_mult\.0 = 'list'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_config_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    content, told = REFUSED[case]
    file = tmp_path / "f4.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(UserError, match=told) as raised:
        lactok.spec("vqgan", config=file)
    assert "\n" not in str(raised.value)
    with pytest.raises(SystemExit) as stop:
        recon.main(["--tokenizers", f"vqgan@config={file}", "--dry-run", "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_defaults_and_what_is_ignored_are_the_official_ones() -> None:
    plain = {k: v for k, v in network(resolution=64, attn_resolutions=[]).items() if k != "ddconfig"}
    ddconfig = {k: v for k, v in CONFIG["ddconfig"].items() if k not in ("ch_mult", "dropout")}
    text = yaml.safe_dump(config_of({**plain, "ddconfig": ddconfig | {"attn_type": "none", "tanh_out": {1: [2]}}}))
    config, side = taming_config.parse(text, "x")
    assert (config.channel_mult, side) == ((1, 2, 4, 8), 64)
    assert [config.attends(i) for i in range(4)] == [True, False, True, False]


def test_a_few_letters_that_stand_for_gigabytes_take_no_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    text = yaml.safe_dump(config_of(CONFIG)).replace("    ddconfig:\n", "    ddconfig:\n      ch_mult: *a11\n", 1)
    text = text.replace("      ch_mult:\n      - 1\n      - 1\n      - 2\n", "")
    assert right_or_one_line(lambda: taming_config.parse("\n".join(lines) + "\n" + text, "x")) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.fuzz
@tries(60, 20000)
@given(st.sampled_from(sorted(CONFIG["ddconfig"])), st.sampled_from(["n_embed", "embed_dim", "remap", "x"]), values)
def test_any_values_are_read_or_refused_in_a_line(inner: str, outer: str, value: Any) -> None:
    for config in (config_of(network(**{inner: value})), config_of(CONFIG, **{outer: value}), value):
        found = right_or_one_line(partial(taming_config.parse, yaml.safe_dump(config), "config x.yaml"))
        assert found is None or found[0].downsampling <= found[1]


@pytest.mark.fuzz
@tries(60, 20000)
@given(st.text(max_size=60))
def test_any_text_is_refused_in_a_line(text: str) -> None:
    assert right_or_one_line(lambda: taming_config.parse(f"model: {text}", "config x.yaml")) is None


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "tokenizers.md"
    (text,) = code_of(page, "yaml")
    (code,) = [block for block in code_of(page, "python") if "config=" in block]
    (command,) = [block for block in code_of(page, "sh") if "vqgan@config=" in block]
    monkeypatch.chdir(tmp_path)
    write(tmp_path, yaml.safe_load(text)["model"]["params"], "f8")
    Path("f8.yaml").write_text(text)
    known: dict[str, Any] = {}
    exec(compile(code, str(page), "exec"), known)
    assert (known["tok"].spec.tokens, known["tok"].spec.bits) == (64, 64 * 10)
    assert 'python -m benchmarks.recon --tokenizers "vqgan@config=f8.yaml,ckpt=f8.ckpt"' in command
    small = ["--resolution", "64", "--metrics", "psnr", "--limit", "2", "--out", "out"]
    with pytest.raises(SystemExit) as stop:
        recon.main(["--tokenizers", "vqgan@config=f8.yaml,ckpt=f8.ckpt", *small])
    assert stop.value.code == 0
    (result,) = lactok.load_results("out")
    assert result.label == known["tok"].spec.name
