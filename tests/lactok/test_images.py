"""Odd photographs: handled, or named in one line."""

from __future__ import annotations

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import photograph
from PIL import Image

from lactok import images
from lactok.errors import WrongValue
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


def test_the_orientation_tag_can_be_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = photograph(0, 64, 48)
    image.save(tmp_path / "a.png", exif=exif)
    as_stored = images.open_photograph(tmp_path / "a.png", upright=False)
    assert as_stored.tobytes() == image.tobytes()
    assert images.size_of(tmp_path / "a.png", upright=False) == (64, 48)
    assert images.size_of(tmp_path / "a.png") == images.open_photograph(tmp_path / "a.png").size == (48, 64)


@pytest.mark.parametrize("darkest", [0, 200])
def test_dark_pictures_of_sixteen_bits_stay_dark(tmp_path: Path, darkest: int) -> None:
    """The scale is that of the file's type, never of its content."""
    values = np.full((8, 8), darkest, np.uint16)
    levels = np.full((8, 8, 3), round(darkest / 257), np.uint8)
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(np.asarray(opened(Image.fromarray(values), tmp_path / name)), levels)
    pgm = b"P5 8 8 65535\n" + values.astype(">u2").tobytes()
    (tmp_path / "a.ppm").write_bytes(pgm)
    np.testing.assert_array_equal(np.asarray(images.open_photograph(tmp_path / "a.ppm")), levels)


def test_twelve_bits_reach_white(tmp_path: Path) -> None:
    """A TIFF file of 12 bits, two levels in three bytes, whose header was written by hand: 4095 is white."""
    pixels = bytes([0xFF, 0xFF, 0xFF]) * 4
    tags = [(256, 4, 4), (257, 4, 2), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (279, 4, 12)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels + directory)
    out = np.asarray(images.open_photograph(tmp_path / "a.tif"))
    assert out.shape == (2, 4, 3)
    assert out.min() == 255


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
def test_decimal_pixels_are_refused(tmp_path: Path, value: float) -> None:
    image = Image.fromarray(np.full((8, 8), value, np.float32))
    with pytest.raises(images.UnreadableImage, match="holds decimal numbers; save it as 8 or 16 bits"):
        opened(image, tmp_path / "a.tif")
    with pytest.raises(WrongValue, match="decimal numbers"):
        images.open_picture(image)


def test_integers_of_32_bits_are_refused(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((8, 8), 70_000, np.int32))
    with pytest.raises(images.UnreadableImage, match="holds integers of 32 bits or with a sign"):
        opened(image, tmp_path / "a.tif")
    with pytest.raises(WrongValue, match="32 bits"):
        images.open_picture(image)


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(WrongValue, match="holds no pixels"):
        images.open_picture(Image.new("RGB", (0, 4)))


def test_a_program_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript would be run by Ghostscript, whatever the file's ending says."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it was run"))
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(images.UnreadableImage, match="not an image"):
        images.open_photograph(tmp_path / "a.png")


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


def test_threads_open_files_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow imports its decoders when they are needed, and loses sight of those that another thread is importing."""
    photograph(0).save(tmp_path / "0.png")
    inside, most, usual = [0], [0], Image.open

    def open_slowly(file: Path) -> Image.Image:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.02)
        inside[0] -= 1
        return usual(file)

    monkeypatch.setattr(Image, "open", open_slowly)
    with ThreadPoolExecutor(4) as threads:
        assert len({p.tobytes() for p in threads.map(images.open_photograph, [tmp_path / "0.png"] * 4)}) == 1
    assert most == [1]
