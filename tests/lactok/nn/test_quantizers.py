"""Quantizers without a nearest code: the largest dot product, signs, and the convolutions of VAR's scales."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lactok.errors import UserError
from lactok.nn import quantize
from lactok.nn.multiscale_vq import MultiScaleConfig, MultiScaleVQ, nearest_tick
from lactok.nn.quantize import DotProductQuantizer, SignQuantizer, count_near_ties


def dot_products(codes: int = 50, dim: int = 6) -> DotProductQuantizer:
    torch.manual_seed(0)
    quantizer = DotProductQuantizer(codes, dim)
    torch.nn.init.normal_(quantizer.embedding.weight)
    return quantizer.requires_grad_(False)


class TestDotProducts:
    def test_the_code_of_the_largest_product_is_taken_and_not_the_nearest(self) -> None:
        quantizer, z = dot_products(), torch.randn(2, 6, 3, 4)
        ids = quantizer.encode(z)
        products = torch.einsum("bchw,kc->bkhw", z, quantizer.embedding.weight)
        assert torch.equal(ids, products.argmax(1))
        nearest = quantize.VectorQuantizer.encode(quantizer, z)
        assert not torch.equal(ids, nearest)
        assert torch.equal(quantizer.lookup(ids)[0, :, 1, 2], quantizer.embedding.weight[ids[0, 1, 2]])

    def test_many_codes_are_compared_part_by_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        quantizer, z = dot_products(), torch.randn(3, 6, 3, 5)
        with count_near_ties() as whole:
            ids = quantizer.encode(z)
        monkeypatch.setattr(quantize, "PRODUCTS", 7 * 50)
        with count_near_ties() as parts:
            assert torch.equal(quantizer.encode(z), ids)
        assert torch.equal(whole[0], parts[0])

    def test_probabilities_that_are_the_same_in_float32_take_the_first_code(self) -> None:
        quantizer = dot_products(3, 1)
        quantizer.embedding.weight[:, 0] = torch.tensor([0.0, 1.0, 1.0 + 2**-23])
        with count_near_ties() as ties:
            found = quantizer.encode(torch.tensor([0.25, 1e3]).view(2, 1, 1, 1))
        assert found.flatten().tolist() == [1, 2]
        assert ties[0].tolist() == [1, 1]

    def test_features_that_overflowed_are_refused(self) -> None:
        with pytest.raises(UserError, match="not finite"):
            dot_products().encode(torch.full((1, 6, 1, 1), float("nan")))


class TestSigns:
    def test_the_first_channel_is_the_least_significant_bit_and_zero_is_off(self) -> None:
        z = torch.tensor([[0.5, -1.0, 2.0], [-0.1, 0.0, 0.1]])[..., None, None]
        assert SignQuantizer(3).encode(z).flatten().tolist() == [5, 4]

    @pytest.mark.parametrize("bits", [1, 18, 63])
    def test_codes_and_ids_are_inverse(self, bits: int) -> None:
        quantizer = SignQuantizer(bits)
        ids = torch.tensor([[[0, 2**bits - 1], [2 ** (bits - 1), 1]]])
        codes = quantizer.lookup(ids)
        assert codes.shape == (1, bits, 2, 2)
        assert set(codes.unique().tolist()) == {-1.0, 1.0}
        assert torch.equal(quantizer.encode(codes), ids)

    def test_values_about_zero_are_near_ties(self) -> None:
        z = torch.tensor([[1.0, 1e-6], [1.0, -0.1]])[..., None, None]
        with count_near_ties() as ties:
            SignQuantizer(2).encode(z)
        assert ties[0].tolist() == [1, 0]

    def test_more_bits_than_an_id_has_are_refused(self) -> None:
        with pytest.raises(UserError, match="an id of 64 bits: from 1 to 63 fit"):
            SignQuantizer(64)


class TestScales:
    @pytest.mark.parametrize("scales", [2, 3, 7, 9, 10, 13])
    def test_the_convolution_of_a_scale_is_the_official_table_s(self, scales: int) -> None:
        """A scale half way between two ticks goes where numpy's rounding puts it: with six, not always to the first."""
        for count in range(1, 9):
            edge = 1 / 3 / count if count == 4 else 1 / 2 / count
            ticks = np.linspace(edge, 1 - edge, count)
            table = [int(np.argmin(np.abs(ticks - i / (scales - 1)))) for i in range(scales)]
            assert [nearest_tick(i, scales, count) for i in range(scales)] == table
        assert nearest_tick(2, 5, 6) == 2
        assert [nearest_tick(i, 7, 4) for i in range(7)] == [0, 0, 1, 2, 2, 3, 3]

    @pytest.mark.parametrize(
        ("count", "share", "names"),
        [
            (4, 0.5, {"quant_resi.qresi_ls.0.weight", "quant_resi.qresi_ls.3.bias"}),
            (1, 0.5, {"quant_resi.qresi.weight", "quant_resi.qresi.bias"}),
            (0, -0.5, {"quant_resi.0.weight", "quant_resi.2.bias"}),
            (4, 0.0, set()),
        ],
    )
    def test_convolutions_have_the_original_s_names(self, count: int, share: float, names: set[str]) -> None:
        torch.manual_seed(0)
        config = MultiScaleConfig(32, (1, 1), 1, 4, 16, (1, 2, 4), refinement=share, convolutions=count)
        model = MultiScaleVQ(config).eval().requires_grad_(False)
        found = {name for name in model.quantize.state_dict() if "resi" in name}
        assert names <= found
        assert bool(names) == bool(found)
        ids = model.encode(torch.rand(2, 3, 8, 8))
        assert ids.shape == (2, 1 + 4 + 16)
        assert model.decode(ids).shape == (2, 3, 8, 8)

    def test_codes_may_be_compared_by_direction_and_are_added_as_they_are(self) -> None:
        torch.manual_seed(0)
        model = MultiScaleVQ(MultiScaleConfig(32, (1, 1), 1, 4, 16, (1, 2), by_direction=True)).requires_grad_(False)
        table = torch.nn.init.normal_(model.quantize.embedding.weight)
        features = torch.randn(1, 4, 2, 2)
        ids, totals, rest = model.quantize.encode_scales(features, ((1, 1), (2, 2)))
        unit = torch.nn.functional.normalize
        expected = torch.einsum("kc,bchw->bkhw", unit(table, dim=1), unit(rest, dim=1)).argmax(1)
        assert torch.equal(ids[1], expected)
        assert torch.equal(model.quantize.lookup(ids[0])[0, :, 0, 0], table[ids[0][0, 0, 0]])
        torch.testing.assert_close(
            totals[1], features - rest + model.quantize.enlarged(table[ids[1]].permute(0, 3, 1, 2), 1, ((1, 1), (2, 2)))
        )
