"""Continuous autoencoders beside diffusers' own classes, their bits, and how their rows stand apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from random_weights import photographs, pretend, randomised

import lactok
from baselines.continuous import MODELS
from benchmarks.contract.check import check
from lactok.errors import UserError
from lactok.nn import continuous
from lactok.nn.continuous import Shape

pytestmark = pytest.mark.usefixtures("own_cache")

# shapes of the published kinds, narrower: name -> class, arguments, and the last layer with its spread
SMALL: dict[str, tuple[str, dict[str, Any], str]] = {
    "sd-vae": (
        "AutoencoderKL",
        {
            "block_out_channels": [32, 32, 64, 64],
            "latent_channels": 4,
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
        },
        "decoder.conv_out",
    ),
    "flux-vae": (
        "AutoencoderKL",
        {
            "block_out_channels": [32, 32, 64, 64],
            "latent_channels": 16,
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
        },
        "decoder.conv_out",
    ),
    "dc-ae-f32c32": (
        "AutoencoderDC",
        dict(continuous.dc((32, 32, 64, 64, 64, 64), 32).arguments)
        | {"encoder_layers_per_block": [0, 1, 1, 1, 1, 1], "decoder_layers_per_block": [0, 1, 1, 1, 1, 1]},
        "decoder.conv_out.conv",
    ),
    "taesd": (
        "AutoencoderTiny",
        {"latent_channels": 4, "encoder_block_out_channels": [32] * 4, "decoder_block_out_channels": [32] * 4},
        "decoder.layers.18",
    ),
}


def network(name: str) -> Any:
    kind, arguments, last = SMALL[name]
    made = getattr(diffusers, kind)(**arguments)
    if kind == "AutoencoderTiny":
        last = [key for key, layer in made.named_modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    elif kind == "AutoencoderDC":
        last = [key for key, layer in made.decoder.named_modules() if isinstance(layer, torch.nn.Conv2d)][-1]
        last = f"decoder.{last}"
    return randomised(made, last, 0.3)


def small(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path, side: int = 64) -> Any:
    """Let a name mean a small network with random weights; returns the network."""
    kind, arguments, _ = SMALL[name]
    made = network(name)
    config = {"_class_name": kind, "_diffusers_version": "0.30.0", **arguments}
    pretend(monkeypatch, folder, name, made, config, side, shape=Shape(kind, arguments))
    return made


def library_latents(made: Any, images: torch.Tensor) -> torch.Tensor:
    found = made.encode(images)
    if isinstance(made, diffusers.AutoencoderKL):
        return found.latent_dist.mode()
    return found.latents if isinstance(made, diffusers.AutoencoderTiny) else found.latent


@pytest.mark.parametrize("name", SMALL)
def test_reconstructions_are_the_librarys(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made, images = small(name, monkeypatch, tmp_path), photographs(64)
    row = lactok.load(name)
    out, bits = row.reconstruct(images)
    latents = library_latents(made, 2 * images - 1)
    expected = (made.decode(latents).sample + 1) / 2
    torch.testing.assert_close(out, expected.clamp(0, 1), atol=1e-5, rtol=0)
    assert float(expected.std()) > 0.05
    assert bits.tolist() == [32.0 * latents[0].numel()] * 3
    side = 64 // MODELS[name].shape.downsampling
    assert latents.shape[1:] == (MODELS[name].shape.channels, side, side)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_contract_holds(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small(name, monkeypatch, tmp_path)
    assert [finding for finding in check(name) if finding.state == "FAIL"] == []


def test_a_row_without_ids_says_what_it_has_instead() -> None:
    row = lactok.load("resize-8")
    for name in ("encode", "decode"):
        assert not hasattr(row, name)
        with pytest.raises(
            AttributeError, match=rf"resize-8 has no ids, so that it has no {name}; reconstruct\(images\)"
        ):
            getattr(row, name)
    with pytest.raises(AttributeError, match="nothing"):
        row.nothing  # noqa: B018
    assert lactok.load("llamagen-vq16-tiny").encode


class TestBits:
    def test_latents_are_kept_at_the_width_that_is_counted(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        made, images = small("taesd", monkeypatch, tmp_path), photographs(64)
        latents = made.encode(2 * images - 1).latents
        for width, kept in ((8, None), (16, latents.half().float()), (32, latents)):
            out, bits = lactok.load("taesd", value_bits=width).reconstruct(images)
            assert bits.tolist() == [4.0 * 8 * 8 * width] * 3
            # with 8 bits the library's own forward pass is meant, which keeps latents as bytes
            expected = made(2 * images - 1).sample if kept is None else made.decode(kept).sample
            torch.testing.assert_close(out, ((expected + 1) / 2).clamp(0, 1), atol=1e-4, rtol=0)

    def test_a_sample_of_the_posterior_is_drawn_from_the_seed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        made, images = small("sd-vae", monkeypatch, tmp_path), photographs(64)
        row = lactok.load("sd-vae", posterior="sample")
        one, again, other = (row.reconstruct(images, torch.tensor([s, 5, 6]))[0] for s in (1, 1, 2))
        assert torch.equal(one, again)
        assert not torch.equal(one[0], other[0])
        assert torch.equal(one[1:], other[1:])
        assert not torch.equal(one, lactok.load("sd-vae").reconstruct(images)[0])
        assert made.config.latent_channels == 4

    @pytest.mark.parametrize(
        ("name", "values"),
        [("sd-vae", 4 * 32 * 32), ("sd3-vae", 16 * 32 * 32), ("dc-ae-f64c128", 128 * 4 * 4), ("taef1", 16 * 32 * 32)],
    )
    def test_published_counts_of_values(self, name: str, values: int) -> None:
        spec, shape = lactok.spec(name), MODELS[name].shape
        side = (spec.input_size or 0) // shape.downsampling
        assert shape.channels * side * side == values
        assert (spec.kind, spec.tokens, spec.bits) == ("continuous", None, None)
        assert lactok.spec(f"{name}@input=512").output_size == 512


class TestConfig:
    def config(self, **changes: Any) -> dict[str, torch.Tensor]:
        text = json.dumps({"_class_name": "AutoencoderKL", **SMALL["sd-vae"][1], **changes})
        return {"json": torch.tensor(list(text.encode()), dtype=torch.uint8)}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"_class_name": "os.system"}, "names os.system, expected one of AutoencoderKL"),
            ({"wavelets": 3}, "has wavelets, which diffusers .* does not know of AutoencoderKL"),
        ],
    )
    def test_an_odd_config_is_refused(self, changes: dict, message: str) -> None:
        with pytest.raises(UserError, match=message):
            continuous.check_config(self.config(**changes))

    def test_sizes_that_do_not_fit_are_one_line(self) -> None:
        with pytest.raises(UserError, match="cannot be built of these sizes"):
            continuous.build(continuous.read_config(self.config(block_out_channels=[33])))

    def test_a_config_of_another_model_is_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        small("flux-vae", monkeypatch, tmp_path)
        text = json.dumps({"_class_name": "AutoencoderKL", **SMALL["sd-vae"][1]})
        (tmp_path / "flux-vae-config.json").write_text(text)
        with pytest.raises(UserError, match="4 channels, expected AutoencoderKL with 16"):
            lactok.load("flux-vae")

    def test_the_shipped_one_is_a_ceiling_of_thumbnails(self) -> None:
        images = photographs(256)
        errors = {}
        for name in ("vae-tiny", "vae-tiny@value_bits=16", "resize-16"):
            out, _ = lactok.load(name).reconstruct(images)
            errors[name] = float((out - images).square().mean())
        assert errors["vae-tiny"] < errors["resize-16"] / 2
        assert errors["vae-tiny"] == pytest.approx(errors["vae-tiny@value_bits=16"], rel=0.01)
        assert lactok.load("vae-tiny").reconstruct(images)[1].tolist() == [4.0 * 32 * 32 * 32] * 3

    def test_the_published_kinds_are_built(self) -> None:
        for name, model in MODELS.items():
            made = lactok.build(name)
            assert type(made.get_submodule("model")).__name__ == model.shape.kind, name
            if not model.file.sources:
                continue  # shipped
            assert abs(model.file.size / sum(4 * p.numel() for p in made.parameters()) - 1) < 0.55, name


@pytest.mark.slow
def test_rows_say_continuous_and_stand_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lactok.evaluation.table import markdown
    from reports import figures
    from reports.tables import found

    small("taesd", monkeypatch, tmp_path)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, image in enumerate(photographs(64)):
        from lactok import images as pixels

        pixels.to_pil(pixels.to_uint8(image[None], "nearest")[0]).save(folder / f"{i}.png")
    out = tmp_path / "runs"
    common = {"dataset": folder, "out": out, "metrics": "psnr", "resolution": 64}
    results = [lactok.evaluate(name, **common) for name in ("taesd", "resize-8", "resize-12")]
    text = markdown(results)
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:]
    assert rows == ["resize-8", "resize-12", "taesd"]
    assert "| continuous |" in text.replace("  ", "")
    assert "bits are those of all the numbers: taesd 256 of 32 bits." in text
    loaded = lactok.load_results(out)
    (table,) = found.build(loaded)
    assert [row.label for row in table.rows][-1] == "taesd"
    assert not table.rows[-1].marked
    drawn: dict[str, Any] = {}

    def keep(points: Any, x: str, y: str, path: Path, base: int, ceilings: Any = ()) -> list[Path]:
        drawn[path.name.partition("__")[0]] = ([p.name for p in points], [p.name for p in ceilings])
        return []

    monkeypatch.setattr(figures, "_draw", keep)
    figures.figures(loaded, tmp_path / "figures")
    assert drawn["rate-distortion-psnr-bits"] == (["resize-12", "resize-8"], ["taesd"])
