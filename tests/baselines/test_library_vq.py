"""Janus' and Emu3's VQ tokenizers beside transformers' own classes, with small random networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from random_weights import photographs, pretend, randomised
from torch import Tensor
from torch.nn import functional as F

import lactok
from baselines import emu3, janus
from baselines.janus import JanusVQ
from benchmarks.contract.check import check
from lactok.errors import UserError
from lactok.nn.vqgan import VQConfig, VQModel

pytestmark = pytest.mark.usefixtures("own_cache")

SMALL = VQConfig(32, (1, 1, 2), 1, 32, 512, usage_buffer=False)
LIBRARY = {"base_channels": 32, "channel_multiplier": [1, 1, 2], "num_res_blocks": 1, "latent_channels": 32}
SMALL_EMU3: dict[str, Any] = {
    "base_channels": 32,
    "channel_multiplier": [1, 1, 1, 2],
    "num_res_blocks": 1,
    "hidden_size": 64,
    "codebook_size": 512,
}


@pytest.fixture(scope="module")
def janus_vq() -> Any:
    """transformers' own class."""
    from transformers.models.janus.configuration_janus import JanusVQVAEConfig
    from transformers.models.janus.modeling_janus import JanusVQVAE

    return randomised(JanusVQVAE(JanusVQVAEConfig(**LIBRARY, num_embeddings=512, num_patches=16)))


@pytest.fixture(scope="module")
def own(janus_vq: Any) -> VQModel:
    """The network here, with the same weights."""
    network = VQModel(SMALL).eval().requires_grad_(False)
    network.load_state_dict(janus.convert({f"model.vqmodel.{k}": v for k, v in janus_vq.state_dict().items()}))
    return network


@pytest.fixture(scope="module")
def emu3_vq() -> Any:
    """transformers' own class."""
    from transformers import Emu3VQVAE, Emu3VQVAEConfig

    network = randomised(Emu3VQVAE(Emu3VQVAEConfig(**SMALL_EMU3)), "decoder.conv_out", 2.0)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(1))
    frames = (2 * photographs(64) - 1)[:, None].repeat(1, 4, 1, 1, 1)
    features = network.quant_conv(network.encoder(frames).transpose(1, 2)).movedim(1, -1).flatten(0, -2)
    codes = network.quantize.embedding.weight  # as the features are spread, so that many are in use
    drawn = torch.randn(codes.shape, generator=torch.Generator().manual_seed(2))
    codes.copy_(features.mean(0) + features.std(0) * drawn)
    return network


class TestJanus:
    def test_features_and_pictures_are_the_librarys(self, janus_vq: Any, own: VQModel) -> None:
        images = 2 * photographs(64) - 1
        features = janus_vq.quant_conv(janus_vq.encoder(images))
        torch.testing.assert_close(own.encode_features(images), features, atol=1e-5, rtol=1e-4)
        ids = own.encode(images)
        torch.testing.assert_close(own.decode(ids), janus_vq.decode(ids.flatten(1)), atol=1e-4, rtol=1e-4)

    def test_ids_are_the_librarys_once_features_and_codes_are_normalised(self, janus_vq: Any, own: VQModel) -> None:
        images = 2 * photographs(64) - 1
        features = janus_vq.quant_conv(janus_vq.encoder(images))
        ids, plain = own.encode(images).flatten(), janus_vq.quantize(features)[2]
        assert not torch.equal(ids, plain)  # the library compares neither normalised, unlike the authors' code
        codes = janus_vq.quantize.embedding.weight
        stored = codes.clone()
        codes.copy_(F.normalize(codes, dim=-1))
        normalised = janus_vq.quantize(F.normalize(features, dim=1))[2]
        codes.copy_(stored)
        assert torch.equal(ids, normalised)
        assert ids.unique().numel() > 20

    def test_the_authors_names_are_read(self, own: VQModel) -> None:
        authors = {f"gen_vision_model.{k}": v for k, v in own.state_dict().items()}
        authors |= {"gen_vision_model.quantize.codebook_used": torch.zeros(4), "language_model.x": torch.zeros(1)}
        assert janus.convert(authors).keys() == own.state_dict().keys()

    @pytest.mark.slow
    def test_the_contract_holds(self, own: VQModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        # its own spec has 16 pixels an id, the small network 4
        small = VQConfig(32, (1, 1, 1, 1, 2), 1, 32, janus.CONFIG.codebook_size, usage_buffer=False)
        network = randomised(VQModel(small), "decoder.conv_out", 0.3)
        pretend(monkeypatch, tmp_path, "janus-vq16", network, config=small)
        assert [finding for finding in check("janus-vq16") if finding.state == "FAIL"] == []

    def test_it_is_llamagens_network(self) -> None:
        assert isinstance(lactok.build("janus-vq16"), JanusVQ)
        spec = lactok.spec("janus-vq16")
        assert (spec.tokens, spec.codebook_size, spec.bits) == (576, 16384, 576 * 14)
        with pytest.raises(UserError, match="one of 256, 384, 512"):
            lactok.spec("janus-vq16@input=128")


def authors_emu3(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of transformers' network under the authors' names, their linear layers as convolutions."""
    out = {}
    for name, tensor in tensors.items():
        if name.endswith("_proj.weight"):
            tensor = tensor[..., None, None]
        for new, old in (
            ("down_block.", ""),
            ("up_block.", ""),
            ("middle_block.attn_norm.", "mid.attn_1.norm."),
            ("middle_block.", "mid."),
            ("out_proj.", "proj_out."),
            *((f"{letter}_proj.", f"{letter}.") for letter in "qkv"),
            *((f"attn_norms.{i}.", f"attn.{i}.norm.") for i in range(3)),
        ):
            name = name.replace(new, old)
        out[name] = tensor
    return out


class TestEmu3:
    def tokenizer(self, emu3_vq: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> lactok.Tokenizer:
        pretend(monkeypatch, folder, "emu3-vq", emu3_vq, changes={"codebook_size": 512}, config=SMALL_EMU3)
        return lactok.load("emu3-vq")

    def test_ids_and_pictures_are_the_librarys(
        self, emu3_vq: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        tokenizer, images = self.tokenizer(emu3_vq, monkeypatch, tmp_path), photographs(64)
        ids = tokenizer.encode(images)
        sizes = torch.tensor([[64, 64]] * 3)
        expected = torch.stack(emu3_vq.encode(2 * images - 1, sizes).image_tokens)
        assert torch.equal(ids, expected.flatten(1))
        assert ids.unique().numel() > 20
        out = (emu3_vq.decode(expected) + 1) / 2
        torch.testing.assert_close(tokenizer.decode(ids), out.clamp(0, 1), atol=1e-4, rtol=0)

    def test_the_authors_names_become_transformers(self, emu3_vq: Any) -> None:
        state = emu3_vq.state_dict()
        renamed = authors_emu3(state)
        assert {"encoder.down.3.attn.0.norm.weight", "decoder.mid.attn_1.norm.conv_y.weight"} <= renamed.keys()
        assert renamed["decoder.up.3.attn.1.q.weight"].shape == (64, 64, 1, 1)
        back = emu3.convert(renamed)
        assert back.keys() == state.keys()
        assert all(torch.equal(back[name], state[name]) for name in state)
        assert emu3.convert(state).keys() == state.keys()  # its own names stay

    @pytest.mark.slow
    def test_the_contract_holds(self, emu3_vq: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.tokenizer(emu3_vq, monkeypatch, tmp_path)
        assert [finding for finding in check("emu3-vq") if finding.state == "FAIL"] == []

    def test_counts_of_tokens(self) -> None:
        assert [lactok.spec(f"emu3-vq{option}").tokens for option in ("", "@input=256")] == [4096, 1024]
        assert lactok.spec("emu3-vq").bits == 4096 * 15
