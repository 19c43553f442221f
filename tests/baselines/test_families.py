"""TiTok, FlexTok, SeedTok and VQGAN as tokenizers: shrunk, with the reference sets' weights where a set has them."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from conftest import shared
from reference import ROOT
from shrunk import TINY_UNCLIP, flextok, ibq, maskgit, open_magvit2, reference, seedtok, titok, var, vqgan

import lactok
from baselines.seedtok import SeedTokenizer
from benchmarks.speed.reference_networks import plain
from lactok import registry
from lactok.errors import UserError
from lactok.nn.flextok import FlexTok
from lactok.nn.flextok_checkpoint import check_config, config_of, read_config
from lactok.nn.quantize import FSQ, count_near_ties
from lactok.nn.unclip_checkpoint import convert_eva, convert_seed, convert_text, convert_vae, seed_names
from lactok.nn.vqgan import from_taming
from lactok.tokenizer import Tokenizer

MAKERS = {
    "titok legacy": lambda: titok("titok_s128"),
    "titok rgb": lambda: titok("titok_rgb_nonlegacy"),
    "flextok": flextok,
    "flextok prefix": lambda: flextok("tokens=5,steps=2"),
    "flextok cfg": lambda: flextok("steps=2,guidance=3,guider=cfg,posterior=sample"),
    "seedtok": seedtok,
    "vqgan": vqgan,
    "maskgit": maskgit,
    "ibq": ibq,
    "open-magvit2": open_magvit2,
    "var": var,
}


@pytest.fixture(params=MAKERS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return MAKERS[request.param]().eval().requires_grad_(False)


def photographs(tokenizer: Tokenizer) -> torch.Tensor:
    from skimage import data

    size = tokenizer.spec.input_size
    found = [data.astronaut(), data.coffee()[:400, :400], data.chelsea()[:300, :300]]
    batch = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255 for p in found]
    return torch.cat([torch.nn.functional.interpolate(p, (size, size), mode="bilinear", antialias=True) for p in batch])


@pytest.mark.slow
def test_ids_and_pixels_do_not_depend_on_neighbours(tokenizer: Tokenizer) -> None:
    images, seeds = photographs(tokenizer), torch.tensor([5, 6, 7])
    with count_near_ties() as counts:
        ids = tokenizer.encode(images, seeds)
    alone = tokenizer.encode(images[1:2], seeds[1:2])
    assert ids.shape == (3, tokenizer.spec.tokens)
    assert ids.unique().numel() > 2
    assert int((alone != ids[1:2]).sum()) <= int(counts[0][1])
    out = tokenizer.decode(ids, seeds)
    assert out.isfinite().all()
    torch.testing.assert_close(tokenizer.decode(ids[1:2], seeds[1:2]), out[1:2], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_fast_path_keeps_the_numbers(tokenizer: Tokenizer) -> None:
    images, seeds = photographs(tokenizer), torch.tensor([5, 6, 7])
    ids = tokenizer.encode(images, seeds)
    fast = tokenizer.decode(ids, seeds)
    with plain(tokenizer):
        assert torch.equal(tokenizer.encode(images, seeds), ids)
        torch.testing.assert_close(tokenizer.decode(ids, seeds), fast, atol=1e-4, rtol=0)


def test_seeds_decide_what_is_drawn() -> None:
    for make in (flextok, seedtok):
        tokenizer = make().eval()
        ids = tokenizer.encode(photographs(tokenizer)[:1])
        one, again, other = (tokenizer.decode(ids, torch.tensor([s])) for s in (1, 1, 2))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


class TestFlexTok:
    def test_a_prefix_is_the_beginning_of_the_whole(self) -> None:
        whole, prefix = flextok(), flextok("tokens=5")
        images = photographs(whole)
        assert torch.equal(whole.encode(images)[:, :5], prefix.encode(images))
        assert prefix.spec.name == "flextok-d12-d12@tokens=5"

    @pytest.mark.parametrize("kept", [1, 5, 15, 16])
    def test_merged_registers_are_exact(self, kept: int) -> None:
        model = flextok().get_submodule("model")
        assert isinstance(model, FlexTok)
        decoder, codes = model.decoder, torch.rand(2, kept, 6)
        x, at = torch.randn(2, *model.latent_shape), decoder.modulations(torch.tensor([0.5]))[0]
        with torch.no_grad():
            few, all_of_them = (decoder(x, at, decoder.condition(codes, merge=m)) for m in (True, False))
            torch.testing.assert_close(few, all_of_them, atol=1e-5, rtol=1e-5)
            few, all_of_them = (decoder(x, at, decoder.unconditional(2, m)) for m in (True, False))
            torch.testing.assert_close(few, all_of_them, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("size", ["d12_d12", "d18_d18", "d18_d28"])
    def test_the_registered_shapes_are_the_reconstructed_ones(self, size: str) -> None:
        tree = json.loads(shared("manifests", f"flextok_{size}.reconstructed_config.json").read_text())
        entry = registry.TOKENIZERS.entry(f"flextok-{size.replace('_', '-')}")
        assert read_config(tree) == entry.arguments["config"]

    def test_config_decides_over_what_is_assumed(self) -> None:
        values, _ = reference("flextok")
        tree = copy.deepcopy(values["hydra_config"])
        tree["decoder"]["module_dict"]["dec_time_embedder"]["max_timestep"] = 1.0
        tree["vae"]["sample_posterior"] = True
        config = config_of(stored(tree))
        assert (config.max_timestep, config.sample_posterior) == (1.0, True)

    @pytest.mark.parametrize(
        ("where", "key", "value", "message"),
        [
            ("encoder.enc_transformer", "_target_", "os.system", "encoder.enc_transformer names os.system"),
            ("encoder.enc_transformer", "rope", True, "unknown key 'rope'"),
            ("encoder.enc_seq_packer", "mask_mode", "full", "mask_mode is 'full', only 'causal_last'"),
            ("decoder.dec_transformer", "dim", 64, "decoder has the widths"),
            ("decoder.dec_time_embedder", "max_timestep", "fast", "lacks or misstates a size"),
        ],
    )
    def test_an_odd_config_is_refused(self, where: str, key: str, value: object, message: str) -> None:
        tree = copy.deepcopy(reference("flextok")[0]["hydra_config"])
        section, module = where.split(".")
        tree[section]["module_dict"][module][key] = value
        with pytest.raises(UserError, match=message):
            check_config(stored(tree))

    def test_a_further_module_or_part_is_refused(self) -> None:
        tree = copy.deepcopy(reference("flextok")[0]["hydra_config"])
        with pytest.raises(UserError, match="unknown parts: surprise"):
            read_config(tree | {"surprise": {}})
        tree["decoder"]["module_dict"]["repa_head"] = {"_target_": "torch.nn.Linear"}
        with pytest.raises(UserError, match="decoder differs from the known models in repa_head"):
            read_config(tree)


def stored(tree: dict) -> dict[str, torch.Tensor]:
    """A config.json as an asset keeps it."""
    return {"json": torch.tensor(list(json.dumps(tree).encode()), dtype=torch.uint8)}


class TestFSQ:
    LEVELS = (8, 8, 8, 5, 5, 5)

    def test_every_id_is_a_fixed_point(self) -> None:
        quantizer = FSQ(self.LEVELS)
        ids = torch.arange(quantizer.codebook_size)[None]
        codes = quantizer.lookup(ids)
        assert codes.unique(dim=1).shape[1] == 64000
        half = torch.tensor(self.LEVELS) // 2
        levels = codes * half  # whole numbers, which bound() must round back to
        offset = torch.where(torch.tensor(self.LEVELS) % 2 == 0, 0.5, 0.0)
        scale = (torch.tensor(self.LEVELS) - 1) * 1.001 / 2
        z = ((levels + offset) / scale).atanh() - (offset / scale).atanh()
        assert torch.equal(quantizer.encode(z), ids)

    def test_near_ties_are_counted_an_image(self) -> None:
        quantizer = FSQ((5, 5))
        z = torch.tensor([[[0.0, 0.0], [0.2553, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])
        boundary = torch.atanh(torch.tensor(0.5 / 2.002))  # half way between the levels 0 and 1
        z[0, 1, 0] = boundary
        with count_near_ties() as counts:
            quantizer.encode(z)
        assert counts[0].tolist() == [1, 0]


class TestFiles:
    def test_taming_checkpoint_with_losses_and_optimizer(self) -> None:
        _, tensors = reference("vqgan_f16")
        file = {f"state_dict.{k}": v for k, v in tensors.items()}
        file |= {"state_dict.loss.discriminator.main.0.weight": torch.ones(1), "optimizer_states.0.exp": torch.ones(1)}
        assert set(from_taming(file)) == set(vqgan().get_submodule("model").state_dict())

    def test_seed_files_are_joined_and_the_rest_dropped(self) -> None:
        names = seed_names()
        file = {k: torch.zeros(1) for k in names if not k.startswith("visual_encoder.")}
        file |= {
            "Qformer.cls.predictions.bias": torch.zeros(1),
            "Qformer.bert.embeddings.word_embeddings.weight": file["pos_embed"],
        }
        eva = {k.removeprefix("visual_encoder."): torch.zeros(1) for k in names - file.keys()}
        eva |= {"blocks.39.norm1.weight": torch.zeros(1), "head.weight": torch.zeros(1)}
        assert convert_seed(file).keys() | convert_eva(eva).keys() == names
        assert not convert_seed(file).keys() & convert_eva(eva).keys()

    def test_old_and_new_names_of_the_diffusion_parts(self) -> None:
        old = {"text_model.embeddings.position_ids": torch.zeros(1), "text_model.final_layer_norm.bias": torch.zeros(1)}
        assert list(convert_text(old)) == ["final_layer_norm.bias"]
        named = convert_vae(
            {"decoder.mid_block.attentions.0.query.weight": torch.zeros(1), "encoder.conv_in.bias": torch.zeros(1)}
        )
        assert list(named) == ["decoder.mid_block.attentions.0.to_q.weight", "encoder.conv_in.bias"]

    def test_seedtok_loads_its_six_files_and_names_what_is_missing(self) -> None:
        made = seedtok()
        parts = {
            "seed-2-quantizer": {
                k: v for k, v in made.model.state_dict().items() if not k.startswith("visual_encoder.")
            },
            "eva-vit-g": {k: v for k, v in made.model.state_dict().items() if k.startswith("visual_encoder.")},
        }
        for asset, part in zip(made.spec.assets[2:], ("unet", "vae", "text_encoder", "image_normalizer"), strict=True):
            parts[asset.name] = made.unclip.get_submodule(part).state_dict()
        with torch.device("meta"):
            empty = SeedTokenizer(made.spec, made.model.config, TINY_UNCLIP)
        empty.load_assets(parts)
        assert not any(t.is_meta for t in [*empty.state_dict().values(), *empty.buffers()])
        images = photographs(made)
        assert torch.equal(empty.eval().encode(images), made.eval().encode(images))
        ids = made.encode(images[:1])
        torch.testing.assert_close(empty.decode(ids), made.decode(ids))
        del parts["seed-2-quantizer"]["query_tokens"]
        with pytest.raises(UserError, match=r"1 missing .query_tokens"):
            empty.load_assets(parts)


@pytest.mark.parametrize(
    ("name", "tokens", "codes", "side"),
    [
        ("titok-s128", 128, 4096, 256),
        ("titok-b64", 64, 4096, 256),
        ("titok-l32", 32, 4096, 256),
        ("titok-sl256", 256, 8192, 256),
        ("titok-bl128", 128, 8192, 256),
        ("titok-bl64", 64, 8192, 256),
        ("flextok-d18-d28-dfn@tokens=64", 64, 64000, 256),
        ("seedtok-2", 32, 8192, 768),
        ("vqgan-f16-16384", 256, 16384, 256),
        ("vqgan-f16-1024", 256, 1024, 256),
        ("maskgit-vqgan-f16", 256, 1024, 256),
        ("ibq-1k", 256, 1024, 256),
        ("ibq-8k", 256, 8192, 256),
        ("ibq-16k-pretrain", 256, 16384, 256),
        ("ibq-262k@input=512", 1024, 262144, 512),
        ("ibq-262k-pretrain", 256, 262144, 256),
        ("open-magvit2-262k", 256, 262144, 256),
        ("open-magvit2-262k-128", 256, 262144, 128),
        ("open-magvit2-262k-128@input=256", 1024, 262144, 256),
        ("open-magvit2-16k-pretrain", 256, 16384, 256),
        ("var-vqvae", 680, 4096, 256),
        ("var-vqvae@input=512", 2240, 4096, 512),
    ],
)
def test_counts_of_tokens(name: str, tokens: int, codes: int, side: int) -> None:
    spec = lactok.spec(name)
    assert (spec.tokens, spec.codebook_size, spec.output_size) == (tokens, codes, side)
    assert all(a.license and a.sources for a in spec.assets)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("tokens=0", "tokens=0: between 1 and 256"),
        ("tokens=257", "tokens=257: between 1 and 256"),
        ("guider=apq", "guider=apq: one of apg, cfg"),
        ("steps=x", "steps=x: not an integer"),
        ("length=3", "unknown option of flextok-d12-d12 'length'"),
    ],
)
def test_wrong_options_are_refused(options: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        lactok.spec(f"flextok-d12-d12@{options}")


@pytest.mark.slow
def test_bfloat16_runs_and_stays_near(tokenizer: Tokenizer) -> None:
    images, seeds = photographs(tokenizer), torch.tensor([5, 6, 7])
    ids = tokenizer.encode(images, seeds)
    exact = tokenizer.decode(ids, seeds)
    tokenizer.dtype = torch.bfloat16
    assert tokenizer.encode(images, seeds).shape == ids.shape
    rough = tokenizer.decode(ids, seeds)
    assert rough.dtype == torch.float32
    assert float((rough - exact).abs().mean()) < 0.1


def test_another_number_of_ids_is_refused(tokenizer: Tokenizer) -> None:
    longest = (
        int(tokenizer.spec.options["tokens"].high) if "tokens" in tokenizer.spec.options else tokenizer.spec.tokens
    )
    with pytest.raises(ValueError, match="ids an image, not"):
        tokenizer.decode(torch.zeros(1, longest + 1, dtype=torch.int64))


def test_features_that_overflowed_are_not_ids(tokenizer: Tokenizer) -> None:
    images = photographs(tokenizer)
    with pytest.raises(UserError, match="not finite"):
        tokenizer.encode(images * float("inf"))


@pytest.mark.slow
def test_asking_for_information_imports_no_diffusers() -> None:
    import subprocess
    import sys

    code = (
        "import sys, lactok\nfrom lactok import registry\n"
        "[registry.tokenizer_spec(n) for n in registry.list_tokenizers()]\n"
        "print('diffusers' in sys.modules, 'transformers' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.split() == ["False", "False"]
