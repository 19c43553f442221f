"""The error profile: colours against scikit-image, power against truth that is known, the files, the worst samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import photograph
from PIL import Image
from skimage.color import rgb2lab

import lactok
from lactok.evaluation.error_profile import stored_profile
from lactok.metrics.error_profile import OCTAVES, ROUNDING, error_profile, kept, mean_lab, octave_power


def wave(frequency: float, amplitude: float, height: int = 128, width: int = 128) -> torch.Tensor:
    """A grey wave along the rows, (3, H, W) uint8."""
    row = 128 + amplitude * np.sin(2 * np.pi * frequency * np.arange(width))
    return torch.from_numpy(np.broadcast_to(row.round().astype(np.uint8), (3, height, width)).copy())


def test_means_of_lab_are_those_of_scikit_image() -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 20, 31), dtype=np.uint8))
    lab = rgb2lab(image.permute(1, 2, 0).numpy())
    expected = [*lab.mean((0, 1)), np.hypot(lab[..., 1], lab[..., 2]).mean()]
    assert mean_lab(image) == pytest.approx(expected, abs=2e-3)
    assert mean_lab(torch.full((3, 8, 8), 255, dtype=torch.uint8)) == pytest.approx([100, 0, 0, 0], abs=0.02)
    assert mean_lab(torch.zeros(3, 8, 8, dtype=torch.uint8)) == pytest.approx([0, 0, 0, 0], abs=1e-4)


@pytest.mark.parametrize(("frequency", "octave"), [(0.35, 0), (0.18, 1), (0.09, 2), (0.045, 3), (0.023, 4)])
def test_a_wave_has_its_power_in_its_octave(frequency: float, octave: int) -> None:
    power = octave_power(wave(frequency, 60, 128, 256))
    assert power[octave] == pytest.approx(60**2 / 2, rel=0.05)
    assert sum(power) - power[octave] < 0.02 * power[octave]


def test_white_noise_has_the_power_of_its_variance() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 255, 256))
    power = octave_power(torch.from_numpy(np.repeat(noise, 3, 0).astype(np.uint8)))
    variance, radius = (256**2 - 1) / 12, np.hypot(np.fft.fftfreq(255)[:, None], np.fft.fftfreq(256))
    shares = [((radius > 2.0 ** -(k + 2)) & (radius <= (2.0 ** -(k + 1) if k else 9))).mean() for k in range(OCTAVES)]
    assert power == pytest.approx(np.array(shares) * variance, rel=0.2)
    assert power[0] == pytest.approx(shares[0] * variance, rel=0.02)


def test_a_flat_image_has_the_power_of_rounding_alone() -> None:
    power = octave_power(torch.full((3, 64, 64), 77, dtype=torch.uint8))
    assert power[0] < ROUNDING
    assert sum(power) == pytest.approx(ROUNDING, rel=0.01)


def test_shifts_and_lost_detail_are_those_that_were_made() -> None:
    rng = np.random.default_rng(0)
    references = torch.from_numpy(rng.integers(60, 180, (3, 3, 64, 64), dtype=np.uint8))
    outputs = references.clone()
    outputs[1] += 20  # brighter
    blurred = torch.nn.functional.avg_pool2d(references[2:].float(), 3, 1, 1, count_include_pad=False)
    outputs[2] = blurred[0].round().to(torch.uint8)
    state = error_profile(references, outputs)
    assert state["brightness"][0] == state["colour"][0] == state["detail"][0] == 0
    assert state["brightness"][1] == pytest.approx(20 / 2.55 * 0.95, rel=0.1)
    assert state["colour"][1] < 0.5
    assert state["detail"][1] < 0.01
    assert state["detail"][2] > 0.8
    shares = kept(state["power_reference"], state["power_output"])
    assert shares[0].tolist() == [1] * OCTAVES
    assert shares[2, 0] < shares[2, 1] < shares[2, 2] < shares[2, 3]
    assert error_profile.__module__ == "lactok.metrics.error_profile"


def test_files_of_a_result_and_pictures_of_the_worst(photographs: Path, tmp_path: Path) -> None:
    chosen = {"metrics": "psnr,error_profile", "resolution": 64, "pictures": 0}
    result = lactok.evaluate("toy", dataset=photographs, out=tmp_path / "out", **chosen)  # type: ignore[arg-type]
    profile = stored_profile(result.folder)
    assert profile is not None
    with np.load(result.folder / "profile.npz") as stored:
        arrays = dict(stored)
    assert arrays["samples"].tolist() == result.records["id"].tolist()
    shares = kept(arrays["power_reference"], arrays["power_output"])
    assert result["error_profile"].value == pytest.approx(shares[:, 0].mean())
    assert profile["octaves"][0]["kept"]["value"] == pytest.approx(shares[:, 0].mean())
    assert profile["lightness_shift"]["value"] == pytest.approx(
        (arrays["lab_output"] - arrays["lab_reference"])[:, 0].mean()
    )
    index = json.loads((result.folder / "images" / "index.json").read_text())["pictures"]
    for reason in ("brightness", "colour", "detail"):
        worst = arrays["samples"][np.argsort(-arrays[reason], kind="stable")].tolist()
        assert [entry["sample"] for entry in profile["worst"][f"worst {reason}"]] == worst[:10]
        pictured = {entry["sample"] for entry in index if f"worst {reason}" in entry["why"]}
        assert len(pictured) == 3
        assert arrays[reason][np.isin(arrays["samples"], list(pictured))].min() >= np.sort(arrays[reason])[-3]
    before = (result.folder / "profile.json").read_bytes(), (result.folder / "profile.npz").read_bytes()
    for picture in (result.folder / "images").glob("*.png"):
        picture.unlink()
    lactok.evaluate("toy", dataset=photographs, out=tmp_path / "out", **chosen)  # type: ignore[arg-type]
    assert len(list((result.folder / "images").glob("*.png"))) == len(index)
    assert ((result.folder / "profile.json").read_bytes(), (result.folder / "profile.npz").read_bytes()) == before
    plain = lactok.evaluate("toy", dataset=photographs, out=tmp_path / "out", **chosen | {"metrics": "psnr"})  # type: ignore[arg-type]
    assert stored_profile(plain.folder) is None
    same = lactok.evaluate("identity", dataset=photographs, out=tmp_path / "out", **chosen)  # type: ignore[arg-type]
    assert same["error_profile"].value == 1


def test_photographs_of_differing_shapes_have_a_row_each(tmp_path: Path) -> None:
    """The rows stand in the order of the records, also where a shard holds several shapes."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for i, size in enumerate([(64, 48), (48, 64), (64, 48), (80, 50)]):
        photograph(i, *size).save(folder / f"{i}.png")
    result = lactok.evaluate(
        "resize-8",
        dataset=folder,
        protocol="native",
        metrics="psnr,error_profile",
        out=tmp_path / "out",
        pictures="all",
    )
    with np.load(result.folder / "profile.npz") as stored:
        arrays = dict(stored)
    assert arrays["samples"].tolist() == [f"{i}.png" for i in range(4)]
    for i, lab in enumerate(arrays["lab_reference"]):
        pixels = np.asarray(Image.open(folder / f"{i}.png").convert("RGB"))
        assert lab == pytest.approx(mean_lab(torch.from_numpy(pixels.copy()).permute(2, 0, 1)), abs=1e-9)
