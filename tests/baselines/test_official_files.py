"""Every family from its published files: seeded checkpoints in the official layout, under the official addresses."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hub import LocalHub
from safetensors.torch import save
from shrunk import TINY_UNCLIP, flextok, ibq, maskgit, open_magvit2, reference, seedtok, titok, var, vqgan

import lactok
from baselines.seedtok import DIFFUSION, SeedTokenizer
from benchmarks.contract.check import check
from lactok import registry
from lactok.errors import UserError, WeightsNotFound
from lactok.nn.maskgit_vqgan import MaskGITConfig
from lactok.specs import Hub
from lactok.tokenizer import Tokenizer

pytestmark = pytest.mark.usefixtures("own_cache")


def pickled(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, small: Tokenizer, **arguments: object) -> None:
    """Let `name` mean the small network, with the official assets less the digests of their contents."""
    entry = registry.TOKENIZERS.entry(name)
    assets = tuple(
        replace(a, sources=tuple(replace(s, sha256=None) for s in a.sources if isinstance(s, Hub)) or a.sources)
        for a in entry.spec.assets
    )
    spec = replace(small.spec, name=name, assets=assets)
    monkeypatch.setitem(registry.TOKENIZERS.registered, name, registry.Entry(spec, entry.factory, arguments))


def assert_same(name: str, small: Tokenizer) -> None:
    loaded, small = lactok.load(name), small.eval().requires_grad_(False)
    side = small.spec.input_size
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    ids = small.encode(images)
    assert torch.equal(loaded.encode(images), ids)
    torch.testing.assert_close(loaded.decode(ids), small.decode(ids), atol=1e-5, rtol=0)


def assert_keeps_the_contract(name: str) -> None:
    findings = check(name)
    assert len(findings) > 10
    # pixels of random weights reach far beyond [0, 1], which stands for a wrong scale elsewhere
    assert [f"{f.rule}: {f.text}" for f in findings if f.state == "FAIL" and f.rule != "range of the output"] == []


def test_titok_as_safetensors_and_as_the_older_bin(here: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    small = titok("titok_s128")
    state = small.get_submodule("model").state_dict()
    here.add("yucornetto/tokenizer_titok_s128_imagenet/model.safetensors", save(state), cdn=True)
    here.add("fun-research/TiTok/tokenizer_titok_b64.bin", pickled(state))
    for name in ("titok-s128", "titok-b64"):
        pretend(monkeypatch, name, small, config=small.get_submodule("model").config)
        assert_same(name, small)


def test_flextok_is_built_as_its_config_says(here: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    small = flextok("")
    values, tensors = reference("flextok")
    repo = "EPFL-VILAB/flextok_d12_d12_in1k"
    here.add(f"{repo}/model.safetensors", save(tensors), cdn=True)
    here.add(f"{repo}/config.json", json.dumps(values["hydra_config"]).encode())
    assumed = replace(small.get_submodule("model").config, encoder=(64, 1), max_timestep=1.0)
    pretend(monkeypatch, "flextok-d12-d12", small, config=assumed)
    monkeypatch.setattr("lactok.nn.flextok_checkpoint.FlexTokConfig", shrunk_vae(small))
    assert_same("flextok-d12-d12", small)


def shrunk_vae(small: Tokenizer):
    """FlexTok's files do not say how wide the VAE is; the reference set's is narrow."""
    from functools import partial

    from lactok.nn.flextok import FlexTokConfig

    config = small.get_submodule("model").config
    return partial(FlexTokConfig, vae_channels=config.vae_channels, vae_layers=config.vae_layers)


def test_flextok_of_an_unknown_kind_is_refused(here: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    values, tensors = reference("flextok")
    repo = "EPFL-VILAB/flextok_d12_d12_in1k"
    here.add(f"{repo}/model.safetensors", save(tensors))
    tree = values["hydra_config"]
    tree["encoder"]["module_dict"]["enc_transformer"]["_target_"] = "os.system"
    here.add(f"{repo}/config.json", json.dumps(tree).encode())
    with pytest.raises(UserError, match=r"enc_transformer names os.system"):
        lactok.load("flextok-d12-d12")


@pytest.mark.slow
def test_vqgan_as_lightning_wrote_it(here: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    _, tensors = reference("vqgan_f16")
    small = vqgan()
    file = {
        "epoch": 11,
        "state_dict": tensors | {"loss.discriminator.main.1.num_batches_tracked": torch.tensor(7)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        "hyper_parameters": Namespace(lr=1.0),
    }
    here.add("pxlpshr/pytti-models/vqgan/imagenet.ckpt", pickled(file), cdn=True)
    pretend(monkeypatch, "vqgan-f16-16384", small, config=small.get_submodule("model").config)
    assert_same("vqgan-f16-16384", small)


def lightning(tensors: dict[str, torch.Tensor]) -> bytes:
    """A checkpoint of Lightning's, with the optimizers' states."""
    return pickled(
        {"epoch": 3, "state_dict": tensors, "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}]}
    )


@pytest.mark.parametrize(
    ("name", "file", "set_name", "make"),
    [
        ("ibq-1k", "IBQ-Tokenizer-1024/imagenet256_1024.ckpt", "ibq_ema", ibq),
        (
            "open-magvit2-262k",
            "Open-MAGVIT2-Tokenizer-256-resolution/imagenet_256_L.ckpt",
            "open_magvit2_ema",
            open_magvit2,
        ),
    ],
)
def test_seed_voken_s_averages_as_lightning_wrote_them(
    here: LocalHub,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    file: str,
    set_name: str,
    make: Callable[[], Tokenizer],
) -> None:
    """The official set has other averages than raw weights, and what it expects is of the averages."""
    small = make()
    here.add(f"TencentARC/{file}", lightning(reference(set_name)[1]))
    pretend(monkeypatch, name, small, config=small.get_submodule("model").config)
    assert_same(name, small)
    assert_keeps_the_contract(name)


def test_var_s_counter_of_other_scales_is_no_obstacle(here: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    small = var()
    _, tensors = reference("var_vqvae")
    tensors["quantize.ema_vocab_hit_SV"] = torch.rand(3, small.spec.codebook_size)
    here.add("FoundationVision/var/vae_ch160v4096z32.pth", pickled(tensors))
    pretend(monkeypatch, "var-vqvae", small, config=small.get_submodule("model").config)
    assert_same("var-vqvae", small)
    assert_keeps_the_contract("var-vqvae")


@pytest.mark.slow
def test_maskgit_vqgan(here: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    small = maskgit()
    state = small.get_submodule("model").state_dict()
    here.add("fun-research/TiTok/maskgit-vqgan-imagenet-f16-256.bin", pickled(state))
    pretend(monkeypatch, "maskgit-vqgan-f16", small, config=MaskGITConfig(32, (1, 1, 1, 1, 2), 1, 32, 1024))
    assert_same("maskgit-vqgan-f16", small)


@pytest.mark.slow
def test_seedtok_from_six_files(here: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    small = seedtok("")
    assert isinstance(small, SeedTokenizer)
    state = small.model.state_dict()
    rest = {k: v for k, v in state.items() if not k.startswith("visual_encoder.")}
    vit = {k.removeprefix("visual_encoder."): v for k, v in state.items() if k.startswith("visual_encoder.")}
    here.add("AILab-CVC/seed-tokenizer-2/seed_quantizer.pt", pickled(rest | {"Qformer.cls.bias": torch.ones(2)}))
    address = here.server.url_for("/someone/files/resolve/main/eva_vit_g.pth")
    here.add("someone/files/eva_vit_g.pth", pickled(vit | {"blocks.39.norm1.weight": torch.ones(2)}))
    for part in DIFFUSION:
        tensors = small.unclip.get_submodule(part).state_dict()
        if part == "text_encoder":  # as older transformers wrote it
            tensors = {f"text_model.{k}": v for k, v in tensors.items()}
        file = "model.safetensors" if part == "text_encoder" else "diffusion_pytorch_model.safetensors"
        here.add(f"sd2-community/stable-diffusion-2-1-unclip/{part}/{file}", save(tensors))
    pretend(monkeypatch, "seedtok-2", small, config=small.model.config, unclip=TINY_UNCLIP)
    entry = registry.TOKENIZERS.registered["seedtok-2"]
    assets = tuple(
        replace(a, sources=(replace(a.sources[0], where=address),)) if a.name == "eva-vit-g" else a
        for a in entry.spec.assets
    )
    monkeypatch.setitem(
        registry.TOKENIZERS.registered, "seedtok-2", replace(entry, spec=replace(entry.spec, assets=assets))
    )
    names = set(small.model.state_dict())
    monkeypatch.setattr("lactok.nn.unclip_checkpoint.seed_names", lambda: names)
    assert_same("seedtok-2", small)


def test_a_missing_file_of_several_is_named(here: LocalHub) -> None:
    _, tensors = reference("flextok")
    here.add("EPFL-VILAB/flextok_d12_d12_in1k/model.safetensors", save(tensors))
    with pytest.raises(WeightsNotFound, match=r"flextok-d12-d12-config; tried hub:.*config.json"):
        lactok.load("flextok-d12-d12")
