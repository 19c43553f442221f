"""TiTok's continuous models beside a transformer written with torch's own layers, and their bits and samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from random_weights import photographs, pretend, randomised
from torch import Tensor, nn

import lactok
from baselines.titok import CONTINUOUS
from benchmarks.contract.check import check
from lactok.nn.titok import TiTok, TiTokConfig

pytestmark = pytest.mark.usefixtures("own_cache")

NAME = "titok-vae-bl64"
SHAPE = TiTokConfig((32, 2, 4), (48, 2, 4), 8, code_dim=16, image_size=64, l2_norm=False, legacy=False, continuous=True)
VALUES = 8 * 16  # of an image


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TiTok:
    """Let the name mean a small network with random weights; returns the network."""
    network: TiTok = randomised(TiTok(SHAPE), "decoder.conv_out", 0.3)
    pretend(monkeypatch, tmp_path, NAME, network, config=SHAPE)
    return network


def transformed(tokens: Tensor, part: dict[str, Tensor], layers: int, heads: int) -> Tensor:
    """Tokens (B, L, width) after a transformer's blocks, by torch's own attention; `part` are its weights by name."""
    width = tokens.shape[-1]
    x = nn.functional.layer_norm(tokens, (width,), part["ln_pre.weight"], part["ln_pre.bias"])
    for layer in range(layers):
        own = {k.split(f"transformer.{layer}.", 1)[1]: v for k, v in part.items() if f"transformer.{layer}." in k}
        attention = nn.MultiheadAttention(width, heads, batch_first=True)
        attention.load_state_dict({k.removeprefix("attn."): v for k, v in own.items() if k.startswith("attn.")})
        normed = nn.functional.layer_norm(x, (width,), own["ln_1.weight"], own["ln_1.bias"])
        x = x + attention(normed, normed, normed, need_weights=False)[0]
        normed = nn.functional.layer_norm(x, (width,), own["ln_2.weight"], own["ln_2.bias"])
        inner = nn.functional.gelu(normed @ own["mlp.c_fc.weight"].T + own["mlp.c_fc.bias"])
        x = x + inner @ own["mlp.c_proj.weight"].T + own["mlp.c_proj.bias"]
    return x


def by_hand(network: TiTok, images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance (B, tokens, 16) of images, as the official encoder computes them."""
    part = dict(network.encoder.state_dict())
    patches = nn.functional.conv2d(images, part["patch_embed.weight"], part["patch_embed.bias"], stride=16)
    grid = torch.cat([part["class_embedding"].expand(len(images), 1, -1), patches.flatten(2).transpose(1, 2)], 1)
    latents = network.latent_tokens + part["latent_token_positional_embedding"]
    tokens = torch.cat([grid + part["positional_embedding"], latents.expand(len(images), -1, -1)], 1)
    out = transformed(tokens, part, 2, 4)[:, 1 + 16 :]
    out = nn.functional.layer_norm(out, (32,), part["ln_post.weight"], part["ln_post.bias"])
    found = out @ part["conv_out.weight"][..., 0, 0].T + part["conv_out.bias"]  # mean first, then log variance
    mean, log_variance = found.split(16, -1)
    return mean, log_variance


def test_latents_are_those_of_the_official_encoder(made: TiTok) -> None:
    images = photographs(64)
    mean, log_variance = by_hand(made, images)
    found, deviation = made.posterior(images)
    torch.testing.assert_close(found[:, :, 0].transpose(1, 2), mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(deviation[:, :, 0].transpose(1, 2), (log_variance / 2).exp(), atol=1e-5, rtol=1e-5)


def test_a_reconstruction_is_of_the_mean_or_of_a_sample(made: TiTok) -> None:
    images = photographs(64)
    mean, deviation = made.posterior(images)
    out, bits = lactok.load(NAME, posterior="mode").reconstruct(images)
    expected = made.decode_features(mean).clamp(0, 1)
    assert float(expected.std()) > 0.05
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    assert bits.tolist() == [32.0 * VALUES] * 3
    row = lactok.load(NAME)  # a sample, as the authors' figures are of
    one, again, other = (row.reconstruct(images, torch.tensor([s, 5, 6]))[0] for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one[0], other[0])
    assert torch.equal(one[1:], other[1:])
    assert float(deviation.min()) > 0
    half, bits = lactok.load(NAME, posterior="mode", value_bits=16).reconstruct(images)
    assert bits.tolist() == [16.0 * VALUES] * 3
    torch.testing.assert_close(half, made.decode_features(mean.half().float()).clamp(0, 1), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_contract_holds(made: TiTok) -> None:
    assert [finding for finding in check(NAME) if finding.state == "FAIL"] == []


@pytest.mark.parametrize(("name", "tokens"), [("ll32", 32), ("bl64", 64), ("bl128", 128)])
def test_published_shapes(name: str, tokens: int) -> None:
    spec, shape = lactok.spec(f"titok-vae-{name}"), CONTINUOUS[f"titok-vae-{name}"]
    assert (spec.kind, spec.tokens, spec.bits, spec.output_size) == ("continuous", None, None, 256)
    assert (shape.tokens, shape.code_dim, shape.continuous) == (tokens, 16, True)
    with torch.device("meta"):
        network = TiTok(shape)
    assert len(network.encoder.conv_out.weight) == 32  # mean and log variance
    assert not hasattr(network, "quantize")
    size = 4 * sum(parameter.numel() for parameter in network.parameters())
    assert spec.assets[0].size == pytest.approx(size, rel=1e-3)
