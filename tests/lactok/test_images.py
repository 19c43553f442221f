"""Odd photographs: handled, or named in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import photograph
from PIL import Image

from lactok import images
from lactok.images import Prepare


def opened(image: Image.Image, path: Path, **keywords: object) -> Image.Image:
    image.save(path, **keywords)
    return images.open_photograph(path)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    out = np.asarray(opened(Image.fromarray(values), tmp_path / "a.png"))
    np.testing.assert_array_equal(out[..., 0], (values / 257).round())


def test_grey_and_cmyk_become_rgb(tmp_path: Path) -> None:
    grey = opened(photograph(0).convert("L"), tmp_path / "a.png")
    cmyk = opened(photograph(0).convert("CMYK"), tmp_path / "a.jpg", quality=95)
    assert grey.mode == cmyk.mode == "RGB"
    assert np.abs(np.asarray(cmyk, float) - np.asarray(photograph(0), float)).mean() < 5


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.asarray(opened(image, tmp_path / "a.png")).min() == 255
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30])
    assert np.asarray(opened(palette, tmp_path / "b.png", transparency=0)).min() == 255


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert opened(photograph(0, 64, 48), tmp_path / "a.jpg", exif=exif).size == (48, 64)


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (3, 500)])
def test_extreme_shapes_are_prepared(tmp_path: Path, size: tuple[int, int]) -> None:
    image = opened(Image.new("RGB", size, (10, 20, 30)), tmp_path / "a.png")
    out = images.prepare(image, Prepare(64))
    assert out.shape == (64, 64, 3)
    assert (out == [10, 20, 30]).all()


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    photograph(0, 640, 480).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(images.UnreadableImage, match="truncated"):
        images.open_photograph(tmp_path / "cut.jpg")
    with pytest.raises(images.UnreadableImage, match="not an image"):
        images.open_photograph(tmp_path / "text.jpg")


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (256, 256), (64, 64)])
def test_prepare_is_torchvisions_resize_and_crop(size: tuple[int, int]) -> None:
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    image = photograph(1, *size)
    expected = CenterCrop(128)(Resize(128, InterpolationMode.BICUBIC)(image))
    np.testing.assert_array_equal(images.prepare(image, Prepare(128)), np.asarray(expected))


def test_cutting_an_extreme_shape_first_keeps_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    image = photograph(2, 900, 60)
    cut = images.prepare(image, Prepare(32))
    monkeypatch.setattr(images, "_central_strip", lambda image: image)
    difference = cut.astype(int) - images.prepare(image, Prepare(32)).astype(int)
    assert np.abs(difference).max() <= 1  # the two grids of samples differ by a fraction of a pixel


def test_rounding() -> None:
    levels = torch.arange(256).float() / 255
    for rounding in ("nearest", "llamagen"):
        assert images.to_uint8(levels, rounding).tolist() == list(range(256))
    almost = torch.tensor([0.9 / 255])
    assert [int(images.to_uint8(almost, r)) for r in ("nearest", "truncate", "llamagen")] == [1, 0, 1]
