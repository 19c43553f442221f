"""How references reach tokenizers and come back, against torchvision, OpenCV and SEED-Voken's own evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import photograph
from PIL import Image
from reference import shared
from safetensors.torch import load_file
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lactok import fitting, images
from lactok.images import Prepare
from lactok.specs import TokenizerSpec

FREE = TokenizerSpec("x", "x", None, None, None, None, "-", multiple=16)
SHAPES = [(64, 48), (48, 64), (101, 67), (53, 200)]


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize(("filter", "margin"), [("bilinear", 1.0), ("lanczos", 1.125), ("bicubic", 1.0)])
def test_resizing_is_torchvision_s(size: tuple[int, int], filter: str, margin: float) -> None:
    transforms = pytest.importorskip("torchvision.transforms", reason="torchvision is not installed")
    mode = transforms.InterpolationMode(filter)
    theirs = transforms.Compose([transforms.Resize(round(32 * margin), mode), transforms.CenterCrop(32)])
    picture = photograph(1, *size)
    how = Prepare(32, filter=filter, margin=margin)  # type: ignore[arg-type]
    np.testing.assert_array_equal(images.prepare(picture, how), np.asarray(theirs(picture)))


@pytest.mark.parametrize("size", SHAPES)
def test_the_square_of_ibq_is_opencv_s_but_for_its_integers(size: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    picture = photograph(2, *size)
    scale = 32 / min(size)
    width, height = (round(side * scale) for side in size)
    resized = cv2.resize(np.asarray(picture), (width, height), interpolation=cv2.INTER_LINEAR)
    top, left = (height - 32) // 2, (width - 32) // 2
    ours = images.prepare(picture, Prepare(32, "albumentations"))
    assert np.abs(ours.astype(int) - resized[top : top + 32, left : left + 32]).max() <= 1


def test_a_squashed_photograph_is_all_there() -> None:
    picture = photograph(3, 64, 48)
    expected = picture.resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(images.prepare(picture, Prepare(32, "squash")), np.asarray(expected))


@pytest.mark.parametrize("size", SHAPES)
def test_the_box_is_shrunk_and_enlarged_by_lanczos(size: tuple[int, int]) -> None:
    picture, how = photograph(4, *size), Prepare(32, "box")
    given = fitting.tokenizer_input(np.asarray(picture), how, FREE)
    assert given.shape == (3, 32, 32)
    scale = 32 / max(size)
    inner = tuple(-int(-side * scale // 1) for side in size)
    small = picture.resize(inner, Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    back = fitting.reconstructions(given[None], (size[1], size[0]), how)
    assert np.array_equal(images.to_pil(back[0]), small.resize(size, Image.Resampling.LANCZOS))
    black = (given == 0).all(0)
    assert int(black.sum()) >= 32 * 32 - inner[0] * inner[1]


def test_dark_levels_fall_by_one_as_seed_voken_s() -> None:
    levels = torch.arange(256)
    ours = images.to_uint8(levels / 255, "seed-voken")
    signed = torch.from_numpy((np.arange(256) / 127.5 - 1).astype(np.float32))
    assert torch.equal(ours, ((signed + 1) / 2 * 255).to(torch.uint8))
    assert levels[ours != levels].tolist() == list(range(1, 96))


def test_the_border_is_that_of_seed_voken_s_evaluation() -> None:
    golden = load_file(shared("golden", "seed_voken_eval") / "io.safetensors")
    for i in range(3):
        picture = golden[f"original.{i:02}.image"].numpy()
        given = fitting.tokenizer_input(picture, Prepare(None, "pad"), FREE)
        expected = golden[f"original.{i:02}.padded"][0]
        assert given.shape == expected.shape
        torch.testing.assert_close(2 * given - 1, expected, rtol=0, atol=2e-7)


def test_pixels_give_the_numbers_of_seed_voken_s_evaluation() -> None:
    """Its PSNR and SSIM are means of the means of batches, put together here from the values of single pictures."""
    folder = shared("golden", "seed_voken_eval")
    golden, config = load_file(folder / "io.safetensors"), json.loads((folder / "config.json").read_text())
    for job, head, size in (("fixed_size", "fixed", 4), ("original_resolution", "original", 1)):
        psnr, ssim = [], []
        for i in range(14):
            picture = golden[f"{head}.{i:02}.image"]
            reference = images.to_uint8(picture.float() / 255, "seed-voken")
            made = (golden[f"{head}.{i:02}.reconstructed"].reshape(3, *picture.shape[:2]) + 1) / 2
            output = images.to_uint8(made, "seed-voken").permute(1, 2, 0)
            pair = [t.numpy().astype(np.float32) / np.float32(255) for t in (reference, output)]
            psnr.append(peak_signal_noise_ratio(*pair, data_range=1))
            ssim.append(structural_similarity(*pair, channel_axis=-1, data_range=1))
        batches = [slice(start, start + size) for start in range(0, 14, size)]
        expected = config[job]["expected"]
        assert np.mean([np.mean(psnr[b]) for b in batches]) == pytest.approx(expected["PSNR"], abs=1e-6)
        assert np.mean([np.mean(ssim[b]) for b in batches]) == pytest.approx(expected["SSIM"], abs=1e-6)
