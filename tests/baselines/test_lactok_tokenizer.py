"""LaCTok as tokenizers: options, assets in parts, and every shortcut against the long way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import lactok
from baselines.lactok import LaCTokTokenizer
from benchmarks.ablation.studies import STUDIES, names
from benchmarks.speed import reference_lactok
from lactok import registry, weights
from lactok.errors import UserError, WeightsNotFound
from lactok.nn import samplers
from lactok.nn.lactok_checkpoint import add_lora
from lactok.tokenizer import Tokenizer


def random_parts(name: str) -> dict[str, dict[str, Tensor]]:
    """Seeded weights for every asset of a tiny tokenizer, in the parts that are shipped."""
    torch.manual_seed(0)
    whole = registry.TOKENIZERS.entry(name).create().get_submodule("model").state_dict()
    whole = {k: torch.randn(v.shape) * 0.1 if v.ndim > 1 else v for k, v in whole.items()}
    cut = {
        "llamagen-vq4-tiny": {k: v for k, v in whole.items() if k.startswith(("encoder.", "quant"))},
        "vae-tiny": {k.removeprefix("vae."): v for k, v in whole.items() if k.startswith("vae.")},
        "ldm-tiny": {k.removeprefix("decoder.unet."): v for k, v in whole.items() if k.startswith("decoder.unet.")},
        "copy": {
            k.removeprefix("decoder.controlnet."): v for k, v in whole.items() if k.startswith("decoder.controlnet.")
        },
    }
    lora = {}
    for path in ("conv_in", "mid_block.resnets.0.conv1"):
        weight = whole[f"decoder.unet.{path}.weight"]
        lora[f"{path}.lora_A.default.weight"] = torch.randn(2, *weight.shape[1:]) * 0.1
        lora[f"{path}.lora_B.default.weight"] = torch.randn(len(weight), 2, 1, 1) * 0.1
    assets = [a.name for a in registry.tokenizer_spec(name).assets]
    return {a: cut.get(a, lora if a in ("hyper-sd-tiny", "tlcm-tiny") else cut["copy"]) for a in assets}


def tokenizer(name: str, dtype: torch.dtype = torch.float32, offload: bool = False) -> LaCTokTokenizer:
    made = registry.TOKENIZERS.entry(name).create()
    assert isinstance(made, LaCTokTokenizer)
    made.load_assets(random_parts(name))
    made.eval().requires_grad_(False)
    made.place("cpu", dtype, offload, False)
    return made


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 4096, (2, 256), generator=torch.Generator().manual_seed(0))


SEEDS = torch.tensor([3, 4])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lactok-h-tiny", "lactok-t-tiny@steps=2,size=128", "vq-ladd-tiny@steps=2,size=128"])
def test_pixels_do_not_depend_on_neighbours_and_seeds_count(name: str, ids: Tensor) -> None:
    tok = tokenizer(name)
    out = tok.decode(ids, SEEDS)
    assert out.shape == (2, 3, tok.spec.output_size, tok.spec.output_size)
    torch.testing.assert_close(tok.decode(ids[1:], SEEDS[1:]), out[1:], atol=1e-4, rtol=0)
    assert not torch.equal(tok.decode(ids, SEEDS.flip(0)), out)


@pytest.mark.parametrize(("side", "tokens"), [(56, 196), (64, 256), (72, 324)])
def test_the_encoders_size_gives_the_number_of_ids(side: int, tokens: int) -> None:
    tok = tokenizer(f"lactok-h-tiny@input={side}")
    assert (tok.spec.input_size, tok.spec.tokens) == (side, tokens)
    found = tok.encode(torch.rand(1, 3, side, side))
    assert found.shape == (1, tokens)
    assert tok.decode(found).shape == (1, 3, 256, 256)


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 136, 512])
def test_any_size_from_the_same_ids(size: int, ids: Tensor) -> None:
    assert tokenizer(f"lactok-h-tiny@size={size}").decode(ids[:1]).shape == (1, 3, size, size)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lactok-t@size=1001", "option size=1001: a multiple of 8"),
        ("lactok-t@steps=9", "option steps=9: between 1 and 8"),
        ("lactok-h@steps=2", "option steps=2: one of 1"),
        ("lactok-h@input=240", "option input=240: one of 224, 256, 288"),
    ],
)
def test_mistakes_in_options(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        lactok.spec(name)


def test_missing_weights_say_what_is_needed() -> None:
    with pytest.raises(WeightsNotFound) as error:
        lactok.load("lactok-t")
    for part in ("16.5 GB in float32", "lactok-t.safetensors or lactok-t.pt", "Open RAIL", "python -m lactok.train"):
        assert part in str(error.value)


def test_kept_embeddings_are_the_computed_ones(ids: Tensor) -> None:
    tok = tokenizer("lactok-t-tiny@size=128")
    kept = [tok.decode(ids, SEEDS) for _ in range(2)]
    for network in (tok.model.decoder.unet, tok.model.decoder.controlnet):
        network.time_embedding = network.time_embedding.embedding
        network.add_embedding = network.add_embedding.embedding
    computed = tok.decode(ids, SEEDS)
    assert torch.equal(kept[0], kept[1])
    torch.testing.assert_close(kept[0], computed, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_kept_embeddings_are_those_of_the_time_and_the_size(ids: Tensor) -> None:
    """A decoder that has seen other times and sizes gives what a fresh one gives."""
    worn = tokenizer("lactok-t-tiny@size=128")
    code_map = {size: worn.model.code_map(ids.unflatten(1, (16, 16)), size) for size in (64, 128)}
    with torch.inference_mode():
        for size, sampler, steps in ((64, "tlcm", 4), (128, "hyper-sd", 1)):
            worn.model.sample(code_map[size], SEEDS, size, sampler, steps)
    fresh = tokenizer("lactok-t-tiny@size=128")
    assert torch.equal(worn.decode(ids, SEEDS), fresh.decode(ids, SEEDS))


@pytest.mark.slow
def test_bfloat16_weights_are_what_autocast_makes_of_them(ids: Tensor) -> None:
    cast, plain = tokenizer("lactok-h-tiny", torch.bfloat16), tokenizer("lactok-h-tiny")
    plain.dtype = torch.bfloat16
    assert {p.dtype for p in cast.model.decoder.parameters()} == {torch.bfloat16, torch.float32}
    torch.testing.assert_close(cast.decode(ids, SEEDS), plain.decode(ids, SEEDS), atol=2e-2, rtol=0)


@pytest.mark.slow
def test_offloaded_weights_give_the_same_pixels(ids: Tensor) -> None:
    near, far = tokenizer("lactok-t-tiny@size=128"), tokenizer("lactok-t-tiny@size=128", offload=True)
    assert all(p.is_meta for p in far.model.decoder.unet.parameters())
    assert torch.equal(far.decode(ids, SEEDS), near.decode(ids, SEEDS))
    assert all(p.is_meta for p in far.model.decoder.unet.parameters())


def test_what_cannot_be_offloaded_says_so() -> None:
    with pytest.raises(UserError, match="llamagen-vq16-tiny has no offload"):
        lactok.load("llamagen-vq16-tiny", offload=True)


@pytest.mark.slow
def test_tiles_are_decoded_one_by_one(ids: Tensor) -> None:
    whole, tiled = (tokenizer(f"lactok-h-tiny@size=512,vae={v}") for v in ("whole", "tiled"))
    assert tiled.spec.name == "lactok-h-tiny@size=512,vae=tiled"
    calls = []
    tiled.model.vae.decoder.register_forward_hook(lambda *_: calls.append(1))
    assert tiled.decode(ids[:1]).shape == whole.decode(ids[:1]).shape
    assert len(calls) > 1


@pytest.mark.slow
def test_the_fast_decoder_computes_what_the_published_one_does() -> None:
    shape = reference_lactok.config("small")
    slow, fast = reference_lactok.load_plain(shape), reference_lactok.load_fast(shape, "float32", 64)
    code_map, starts = reference_lactok.inputs(shape, 64, 2)
    with torch.inference_mode():
        expected = reference_lactok.plain_decode(slow, code_map, starts, samplers.TLCM[2])
        found = reference_lactok.fast_decode(fast, code_map, starts, samplers.TLCM[2])
    assert float(expected.std()) > 0.01
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_studies_name_tokenizers_of_both_scales() -> None:
    for study in STUDIES.values():
        for scale in ("tiny", "full"):
            assert len(set(names(study, scale))) == len(study.rows_of(scale)) > 2
    assert "lactok-t@size=2048" in names(STUDIES["steps"], "full")
    assert names(STUDIES["tokens"], "full")[0] == "lactok-h@input=224"
    assert names(STUDIES["tokens"], "tiny")[0] == "lactok-h-tiny@input=56"
    hidden = {name for name, place in registry.TOKENIZERS.own().items() if not place.listed}
    assert "vq-ladd-tiny" in hidden
    assert not hidden & set(registry.list_tokenizers())


@pytest.mark.slow
def test_a_lora_of_another_network_is_refused() -> None:
    made: Tokenizer = replace(registry.TOKENIZERS.entry("lactok-h-tiny")).create()
    parts = random_parts("lactok-h-tiny")
    parts["hyper-sd-tiny"] = {f"strange.{k}": v for k, v in parts["hyper-sd-tiny"].items()}
    with pytest.raises(UserError, match="of another network: this one has no layer strange"):
        made.load_assets(parts)
    parts["hyper-sd-tiny"] = {}
    with pytest.raises(UserError, match="holds no LoRA; was it merged already"):
        made.load_assets(parts)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lactok-h-tiny", "lactok-t-tiny"])
def test_the_shipped_models_are_small_and_read_their_ids(name: str) -> None:
    from skimage import data

    tok = lactok.load(name)
    files = [weights.resolve(asset) for asset in tok.spec.assets]
    assert {file.source for file in files} == {"bundled"}
    own = {asset.name for which in ("lactok-h-tiny", "lactok-t-tiny") for asset in lactok.spec(which).assets}
    own.discard("llamagen-vq4-tiny")  # a tokenizer of its own
    assert sum((files[0].path.parent / f"{asset}.safetensors").stat().st_size for asset in own) <= 20_000_000
    pictures = [data.astronaut()[:512:2, ::2], data.chelsea()[:300, :300], data.coffee()[:400, :400]]
    images = torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1).float() / 255 for p in pictures[:1]])
    others = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255 for p in pictures[1:]]
    resize = torch.nn.functional.interpolate
    images = torch.cat([images, *(resize(o, (256, 256), mode="bilinear", antialias=True) for o in others)])
    ids, seeds = tok.encode(resize(images, (64, 64), mode="bilinear")), torch.arange(3)
    right, wrong = ((tok.decode(i, seeds) - images).square().mean((1, 2, 3)) for i in (ids, ids.roll(1, 0)))
    mean = (images.mean((2, 3), keepdim=True) - images).square().mean((1, 2, 3))
    assert right.mean() < mean.mean() / 2
    assert wrong.mean() > 2 * right.mean()  # 3 dB


def test_a_lora_under_the_names_that_peft_saves(ids: Tensor) -> None:
    parts = random_parts("lactok-t-tiny")
    unet = parts["ldm-tiny"]
    plain = {k.replace(".default.", "."): v for k, v in parts["tlcm-tiny"].items()}
    merged = add_lora(unet, plain, 0.125, "x")
    for prefix in ("base_model.model.", "unet."):  # as the published file of TLCM, and as diffusers
        again = add_lora(unet, {f"{prefix}{k}": v for k, v in plain.items()}, 0.125, "x")
        assert again.keys() == merged.keys()
        assert all(torch.equal(again[k], merged[k]) for k in merged)
    changed = [k for k in unet if not torch.equal(merged[k], unet[k])]
    assert sorted(changed) == ["conv_in.weight", "mid_block.resnets.0.conv1.weight"]
