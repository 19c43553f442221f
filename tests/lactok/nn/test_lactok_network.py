"""LaCTok's published layout: every key loaded, merged or left out, and merging and folding are exact."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from conftest import shared
from safetensors.torch import save_file

from lactok import config
from lactok.errors import UserError
from lactok.nn import samplers
from lactok.nn.lactok import SDXL_VAE, LaCTok, LaCTokConfig, VAEShape
from lactok.nn.lactok_checkpoint import convert, merge_lora
from lactok.nn.latent_decoder import (
    SDXL_UNET,
    DecoderConfig,
    LatentDecoder,
    UNetShape,
    fold_cross_attention,
    fold_upsampling,
    size_conditions,
)
from lactok.nn.vqgan import VQConfig
from lactok.training import numerics, pretrained
from lactok.training.lactok import LaCTokRecipe, shape
from lactok.weights import known_assets

UNET = UNetShape((8, 16), (0, 1), head_channels=8)


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    listed = json.loads(shared("manifests", "lactok_t.json").read_text())["keys"]
    return {k["key"]: torch.empty(k["shape"], dtype=getattr(torch, k["dtype"]), device="meta") for k in listed}


def test_every_published_key_is_accounted_for(published: dict[str, torch.Tensor]) -> None:
    with torch.device("meta"):
        own = LaCTok(LaCTokConfig()).state_dict()
    converted = convert({f"model.{k}": v for k, v in published.items()})
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in own.items()}
    saved = 1 - sum(v.numel() for v in own.values()) / sum(v.numel() for v in published.values())
    assert saved > 0.2


def test_a_checkpoint_without_lora_or_with_half_a_pair_is_refused(published: dict[str, torch.Tensor]) -> None:
    with pytest.raises(UserError, match="has no LoRA: it was merged already or is of stage 1"):
        convert({k: v for k, v in published.items() if ".lora_" not in k})
    half = next(k for k in published if ".lora_B." in k)
    with pytest.raises(UserError, match="half of the LoRA pair"):
        convert({k: v for k, v in published.items() if k != half})


def test_merged_lora_computes_what_peft_computes() -> None:
    from diffusers import UNet2DConditionModel
    from peft import LoraConfig

    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNET.arguments()).eval()
    fold_cross_attention(unet)
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([999, 499])
    conditions = size_conditions(unet, 64, x)
    unet.add_adapter(
        LoraConfig(r=4, lora_alpha=2, target_modules=["to_q", "conv1", "proj_in"], init_lora_weights=False)
    )
    with torch.no_grad():
        expected = unet(x, t, None, added_cond_kwargs=conditions, return_dict=False)[0]
        merged = UNet2DConditionModel(**UNET.arguments()).eval()
        fold_cross_attention(merged)
        merged.load_state_dict(merge_lora(unet.state_dict(), 2 / 4))
        found = merged(x, t, None, added_cond_kwargs=conditions, return_dict=False)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_folded_cross_attention_is_what_zero_text_gives() -> None:
    """Also: the weights that are left out do nothing, whatever they are."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNET.arguments()).eval()
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([999, 499])
    conditions, text = size_conditions(unet, 64, x), torch.zeros(2, 77, 8)
    with torch.no_grad():
        expected = unet(x, t, text, added_cond_kwargs=conditions, return_dict=False)[0]
        for name, parameter in unet.named_parameters():
            if ".attn2.to_" in name and not name.endswith("to_out.0.bias"):
                parameter.normal_()
        assert torch.equal(unet(x, t, text, added_cond_kwargs=conditions, return_dict=False)[0], expected)
        fold_cross_attention(unet)
        found = unet(x, t, None, added_cond_kwargs=conditions, return_dict=False)[0]
    assert torch.equal(found, expected)


@pytest.mark.parametrize("side", [1, 7, 8])
def test_folded_upsampling_is_nearest_neighbour_and_convolution(side: int) -> None:
    from diffusers import AutoencoderKL
    from diffusers.models.upsampling import Upsample2D

    torch.manual_seed(0)
    vae = AutoencoderKL(**VAEShape((8, 16, 16)).arguments()).eval().requires_grad_(False)
    x = torch.randn(2, 4, side, side)
    expected = vae.decode(x).sample
    fold_upsampling(vae.decoder)
    assert not any(isinstance(m, Upsample2D) for m in vae.modules())
    torch.testing.assert_close(vae.decode(x).sample, expected, atol=1e-5, rtol=0)


def test_the_copy_starts_without_effect() -> None:
    torch.manual_seed(0)
    decoder = LatentDecoder(DecoderConfig(UNET.arguments(), embedding=(8, 8))).eval()
    decoder.copy_unet()
    x, codes = torch.randn(1, 4, 8, 8), torch.randn(1, 8, 8, 8)
    with torch.no_grad():
        alone = decoder.unet(
            x, torch.tensor([499]), None, added_cond_kwargs=size_conditions(decoder.unet, 64, x), return_dict=False
        )[0]
        torch.testing.assert_close(decoder(x, 499, codes, 64), alone)


@pytest.mark.parametrize("part", ["controlnet", "unet"])
def test_a_call_that_fails_leaves_no_embedding_to_the_next(part: str) -> None:
    """Time and size of a call are known while it runs, also if it ends in an exception (out of memory, for one)."""
    torch.manual_seed(0)
    plain = LatentDecoder(DecoderConfig(UNET.arguments(), embedding=(8, 8))).eval().requires_grad_(False)
    torch.nn.init.normal_(plain.controlnet.controlnet_mid_block.weight)  # zero at first: it would hide the embedding
    kept = copy.deepcopy(plain)
    kept.cache_embeddings()
    x, codes = torch.randn(2, 4, 8, 8), torch.randn(2, 8, 8, 8)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    with torch.inference_mode():
        kept(x, 999, codes, 64)
        hook = kept.get_submodule(part).conv_in.register_forward_hook(fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            kept(x, 999, codes, 64)
        hook.remove()
        assert torch.equal(kept.residuals(x, 17, codes, 32)[1], plain.residuals(x, 17, codes, 32)[1])
        times = torch.tensor([17, 803])
        assert torch.equal(kept(x, times, codes, 32), plain(x, times, codes, 32))
        torch.testing.assert_close(kept(x, 499, codes, 32), plain(x, 499, codes, 32), atol=1e-6, rtol=1e-6)


def test_the_steps_are_cut_not_rounded() -> None:
    assert [samplers.TLCM[steps] for steps in (1, 2, 3, 4)] == [
        (999,),
        (999, 499),
        (999, 499, 124),
        (999, 749, 499, 124),
    ]
    assert samplers.TLCM[6] == (999, 749, 499, 374, 249, 124)
    assert all(len(times) == steps for steps, times in samplers.TLCM.items())
    grid = torch.linspace(999, 0, 9, dtype=torch.float64).int().tolist()
    assert all(t in grid for times in samplers.TLCM.values() for t in times)
    assert samplers.ddim_timesteps(25)[:2] == (999, 959)


CONFIGS = Path(numerics.__file__).parent / "configs"


@pytest.mark.parametrize("name", ["lactok-1-512", "lactok-1-1024", "lactok-h-2", "lactok-t-2"])
def test_the_default_recipes_are_the_papers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = tmp_path / "published.safetensors"
    save_file({"weight": torch.zeros(1)}, published)  # the published files do not say their shapes
    monkeypatch.setattr(pretrained, "find_weights", lambda *_: published)
    recipe = config.read(CONFIGS / f"{name}.toml", LaCTokRecipe)
    network = shape(recipe, recipe.copy)
    vae = {k: v for k, v in dict(SDXL_VAE).items() if k != "force_upcast"}
    assert network.vae == vae | {"norm_num_groups": 32}
    given = network.decoder.unet
    assert {k: given[k] for k in SDXL_UNET if k in given} == {k: v for k, v in SDXL_UNET.items() if k in given}
    assert (given["layers_per_block"], given["norm_num_groups"]) == (2, 32)  # diffusers' own defaults
    assert network.encoder == VQConfig()
    assert (recipe.peak_lr, recipe.betas, recipe.batch) == (1e-5, (0.9, 0.99), 4)
    assert (recipe.lpips_net, recipe.l1, recipe.encoder_sizes) == ("vgg", 0.0, (224, 256, 288))
    assert network.decoder.embedding == DecoderConfig().embedding
    assert {recipe.encoder_weights, recipe.unet_weights, recipe.vae.weights} <= known_assets().keys()


def test_the_papers_iterations() -> None:
    steps = {p.stem: config.read(p, LaCTokRecipe).steps for p in CONFIGS.glob("lactok-*.toml")}
    assert steps["lactok-1-512"] + steps["lactok-1-1024"] == 80_000
    assert steps["lactok-h-2"] == steps["lactok-t-2"] == 20_000


def test_what_learns_is_the_copy_its_embedding_and_its_zero_convolutions() -> None:
    decoder = LatentDecoder(DecoderConfig(UNET.arguments(), embedding=(8, 8)))
    assert {name.partition(".")[0] for name, _ in decoder.controlnet.named_parameters()} == {
        "conv_in",
        "time_embedding",
        "add_embedding",
        "down_blocks",
        "mid_block",  # the trunk
        "controlnet_cond_embedding",
        "controlnet_down_blocks",
        "controlnet_mid_block",
    }
