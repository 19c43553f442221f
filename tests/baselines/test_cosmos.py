"""Cosmos' discrete tokenizers: patches, where attention and resampling stand, TorchScript files, the contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_weights import photographs, pretend, randomised
from torch import nn

import lactok
from baselines.cosmos import CONFIGS
from benchmarks.contract.check import check
from benchmarks.verify.checks import NotBuilt
from benchmarks.verify.cosmos import config_of
from lactok.errors import UserError
from lactok.nn.cosmos import Cosmos, CosmosConfig, from_patches, haar, to_patches, unhaar

pytestmark = pytest.mark.usefixtures("own_cache")

SMALL = CosmosConfig(channels=32, channel_mult=(1, 1, 2), res_blocks=1, z_channels=32)


class TestPatches:
    def test_means_and_differences_of_a_cell(self) -> None:
        cell = torch.tensor([[[[1.0, 2.0], [4.0, 9.0]]]])  # a b / c d
        assert haar(cell).flatten().tolist() == [4.0, (3 - 13) / 4, (5 - 11) / 4, (1 - 2 - 4 + 9) / 4]

    def test_the_wavelets_are_torchs_convolutions_of_every_channel(self) -> None:
        x = torch.rand(2, 3, 6, 8)
        half = torch.full((1, 1, 2), 0.5)
        kernels = {"l": half, "h": torch.tensor([[[0.5, -0.5]]])}
        parts = []
        for across in "lh":
            for down in "lh":
                kernel = (kernels[down].mT @ kernels[across])[None].expand(3, 1, 2, 2)
                parts.append(nn.functional.conv2d(x, kernel, stride=2, groups=3))
        torch.testing.assert_close(haar(x), torch.cat(parts, 1))

    @pytest.mark.parametrize("patching", ["haar", "rearrange"])
    @pytest.mark.parametrize("patch", [1, 2, 4])
    def test_they_can_be_undone(self, patching: str, patch: int) -> None:
        config = replace(SMALL, downsampling=8, patch=patch, patching=patching)
        images = torch.rand(2, 3, 16, 24)
        patches = to_patches(images, config)
        assert patches.shape == (2, 3 * patch**2, 16 // patch, 24 // patch)
        torch.testing.assert_close(from_patches(patches, config), images)

    def test_an_odd_side_is_reflected(self) -> None:
        x = torch.rand(1, 1, 3, 5)
        assert torch.equal(haar(x), haar(nn.functional.pad(x, (0, 1, 0, 1), mode="reflect")))
        assert unhaar(haar(x)).shape == (1, 1, 4, 6)


class TestStructure:
    def test_the_finest_levels_halve_and_the_coarsest_double(self) -> None:
        names = set(Cosmos(replace(SMALL, downsampling=8)).state_dict())
        resampled = sorted(name for name in names if name.endswith("sample.conv.weight"))
        assert resampled == ["decoder.up.2.upsample.conv.weight", "encoder.down.0.downsample.conv.weight"]

    @pytest.mark.parametrize(
        ("resolution", "downsampling", "expected"),
        [
            (1024, 16, set()),  # as published: the sides are 256, 128, 64
            (128, 16, {"encoder.down.0", "decoder.up.0"}),
            (512, 16, {"encoder.down.2", "decoder.up.2"}),
            (256, 8, {"encoder.down.1", "encoder.down.2", "decoder.up.1", "decoder.up.0"}),
        ],
    )
    def test_attention_is_where_the_config_has_it(self, resolution: int, downsampling: int, expected: set) -> None:
        network = Cosmos(replace(SMALL, resolution=resolution, downsampling=downsampling))
        found = {name.partition(".attn.")[0] for name in network.state_dict() if ".attn." in name}
        assert found == expected

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"channels": 24}, "multiples of 32"),
            ({"patch": 3}, "powers of two"),
            ({"downsampling": 2}, "is not possible"),
            ({"downsampling": 64}, "is not possible"),
        ],
    )
    def test_impossible_shapes_are_refused(self, changes: dict, message: str) -> None:
        with pytest.raises(UserError, match=message):
            replace(SMALL, **changes)

    def test_other_quantizers_are_named(self) -> None:
        with pytest.raises(NotBuilt, match="quantizer 'RESFSQ'"):
            config_of({"config": {"quantizer": "RESFSQ"}})


class Published(nn.Module):
    """The network as it is traced: with the constants that the official classes hold beside the weights."""

    def __init__(self, network: Cosmos):
        super().__init__()
        self.encoder, self.decoder = network.encoder, network.decoder
        self.quant_conv, self.post_quant_conv = network.quant_conv, network.post_quant_conv
        for part, name in ((self.encoder, "patcher"), (self.decoder, "unpatcher")):
            patcher = nn.Module()
            patcher.register_buffer("wavelets", torch.ones(2))
            patcher.register_buffer("_arange", torch.arange(2))
            part.add_module(name, patcher)
        self.quantizer = nn.Module()
        self.quantizer.register_buffer("_levels", torch.tensor([8, 8, 8, 5, 5, 5]))
        self.quantizer.register_buffer("implicit_codebook", torch.zeros(64000, 6, dtype=torch.bfloat16))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.post_quant_conv(self.quant_conv(self.encoder(images)))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_the_tensors_of_a_torchscript_file_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small, images = randomised(Cosmos(SMALL)), photographs(64)
    spec = pretend(monkeypatch, tmp_path, "cosmos-di16x16", small, config=SMALL)
    expected = lactok.load("cosmos-di16x16").encode(images)
    (tmp_path / "cosmos-di16x16.safetensors").unlink()
    file = tmp_path / spec.assets[0].file_names[1]  # as the hub names it
    file.parent.mkdir()
    torch.jit.trace(Published(small).eval(), images).save(str(file))
    assert "quantizer.implicit_codebook" in torch.jit.load(file).state_dict()
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("the file was run"))
    assert torch.equal(lactok.load("cosmos-di16x16").encode(images), expected)
    assert expected.unique().numel() > 10


def test_a_file_without_a_weight_or_with_another_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wider = randomised(Cosmos(replace(SMALL, res_blocks=2)))
    pretend(monkeypatch, tmp_path, "cosmos-di16x16", wider, config=SMALL)
    with pytest.raises(UserError, match=r"unexpected .decoder"):
        lactok.load("cosmos-di16x16")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_the_contract_holds(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    published = CONFIGS[name]
    small = replace(SMALL, downsampling=published.downsampling, patch=published.patch)
    network = randomised(Cosmos(small), "decoder.conv_out", 0.15)
    pretend(monkeypatch, tmp_path, name, network, config=small)
    assert [finding for finding in check(name) if finding.state == "FAIL"] == []


@pytest.mark.parametrize(
    ("name", "tokens", "codes"),
    [
        ("cosmos-di16x16", 256, 64000),
        ("cosmos-di8x8", 1024, 64000),
        ("cosmos-di16x16@input=1024", 4096, 64000),
        ("cosmos-di8x8-lowres@input=512", 4096, 64000),
    ],
)
def test_counts_of_tokens(name: str, tokens: int, codes: int) -> None:
    spec = lactok.spec(name)
    assert (spec.tokens, spec.codebook_size) == (tokens, codes)
    with pytest.raises(UserError, match="a multiple of 16"):
        lactok.spec("cosmos-di16x16@input=250")
