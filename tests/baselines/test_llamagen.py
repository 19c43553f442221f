"""LlamaGen's tokenizers: the official arithmetic, and independence of an image from its neighbours."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import lactok
from lactok import weights
from lactok.nn.quantize import VectorQuantizer, count_near_ties
from lactok.registry import TOKENIZERS


def tiny_with_random_weights() -> lactok.Tokenizer:
    torch.manual_seed(0)
    tokenizer = lactok.build("llamagen-vq16-tiny", "cpu")
    torch.nn.init.normal_(tokenizer.get_submodule("model.quantize.embedding").weight)
    return tokenizer


@pytest.mark.slow
def test_ids_and_pixels_do_not_depend_on_neighbours() -> None:
    tokenizer = lactok.load("llamagen-vq16-tiny")
    images = torch.rand(3, 3, 256, 256)
    with count_near_ties() as counts:
        ids = tokenizer.encode(images)
    alone = tokenizer.encode(images[1:2])
    differing = int((ids[1:2] != alone).sum())
    assert differing <= int(counts[0][1])
    assert ids.shape == (3, 256)
    torch.testing.assert_close(tokenizer.decode(ids)[1:2], tokenizer.decode(ids[1:2]), atol=1e-5, rtol=0)


def test_output_is_float32_in_range_and_input_is_checked() -> None:
    tokenizer = tiny_with_random_weights()
    out = tokenizer.decode(torch.randint(0, 4096, (1, 256)))
    assert out.dtype == torch.float32
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    with pytest.raises(ValueError, match=r"takes images \(B, 3, 256, 256\)"):
        tokenizer.encode(torch.rand(1, 3, 128, 128))
    with pytest.raises(ValueError, match="float32"):
        tokenizer.encode(torch.zeros(1, 3, 256, 256, dtype=torch.uint8))
    with pytest.raises(ValueError, match="its ids are 0 to 4095, not 4096"):
        tokenizer.decode(torch.full((1, 256), 4096))
    with pytest.raises(ValueError, match="seeds are"):
        tokenizer.encode(torch.rand(2, 3, 256, 256), torch.zeros(1, dtype=torch.int64))


def test_bfloat16_keeps_float32_outside_and_the_quantizer_exact() -> None:
    tokenizer = tiny_with_random_weights()
    tokenizer.dtype = torch.bfloat16
    ids = tokenizer.encode(torch.rand(1, 3, 256, 256))
    assert tokenizer.decode(ids).dtype == torch.float32


@pytest.mark.parametrize("l2_norm", [True, False])
def test_nearest_code_is_the_nearest(l2_norm: bool) -> None:
    torch.manual_seed(1)
    quantizer = VectorQuantizer(50, 4, l2_norm)
    torch.nn.init.normal_(quantizer.embedding.weight)
    z = torch.randn(2, 4, 3, 5)
    flat, codes = z.permute(0, 2, 3, 1).flatten(0, 2), quantizer.embedding.weight
    if l2_norm:
        flat, codes = F.normalize(flat, dim=-1), F.normalize(codes, dim=-1)
    expected = torch.cdist(flat, codes).argmin(1).view(2, 3, 5)
    ids = quantizer.encode(z)
    assert torch.equal(ids, expected)
    torch.testing.assert_close(quantizer.lookup(ids), codes[ids].permute(0, 3, 1, 2))


def test_near_ties_are_counted_an_image() -> None:
    quantizer = VectorQuantizer(3, 2, l2_norm=False)
    quantizer.embedding.weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [9.0, 9.0]])
    z = torch.tensor([[[[0.0, 0.9]], [[5.0, 0.0]]], [[[0.9, 0.8]], [[0.0, 0.0]]]])  # the first position is a tie
    with count_near_ties() as counts:
        quantizer.encode(z)
    assert counts[0].tolist() == [1, 0]


def test_gradient_passes_straight_through() -> None:
    quantizer = VectorQuantizer(8, 4, l2_norm=False)
    z = torch.randn(1, 4, 2, 2, requires_grad=True)
    quantizer.straight_through(z, quantizer.encode(z)).sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, torch.ones_like(z))


@pytest.mark.parametrize("name", [n for n in TOKENIZERS.own() if n.startswith("llamagen")])
def test_counts_of_tokens_and_bits(name: str) -> None:
    spec = lactok.spec(name)
    ids = {"llamagen-vq8": 1024}.get(name, 256)
    assert spec.tokens == ids
    assert spec.bits == ids * {"tiny": 12, "scenes": 10}.get(name.split("-")[-1], 14)


def test_the_shipped_checkpoint_is_small_and_reconstructs() -> None:
    from skimage import data

    tokenizer = lactok.load("llamagen-vq16-tiny")
    resolved = weights.resolve(tokenizer.spec.assets[0])
    assert resolved.source == "bundled"
    assert resolved.path.stat().st_size <= 8_000_000
    image = torch.from_numpy(data.astronaut()[:512:2, ::2].copy()).permute(2, 0, 1)[None].float() / 255
    out, bits = tokenizer.reconstruct(image)
    mse = F.mse_loss(out, image)
    floor = F.mse_loss(lactok.load("resize-8").reconstruct(image)[0], image)
    assert mse < floor
    assert bits.tolist() == [3072]
