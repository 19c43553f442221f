"""Files that are almost pictures: each is opened, or is an UnreadableImage in one short line."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from conftest import photograph
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from lactok import images
from lactok.images import UnreadableImage

MOST_BYTES = 64 * 2**20  # that Python may hold while a picture of a few pixels is opened


def _encoded() -> list[bytes]:
    """Return small files of every kind: grey, colour, palette, transparency, 16 bits, animation, orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    colour, grey = photograph(0, 12, 9), photograph(1, 9, 12).convert("L")
    deep = Image.fromarray(np.linspace(0, 65535, 81).reshape(9, 9).astype(np.uint16))
    clear = colour.convert("RGBA")
    clear.putalpha(100)
    decimals = Image.fromarray(np.linspace(0, 1, 81, dtype=np.float32).reshape(9, 9))
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (colour, "PNG", {"exif": exif}),
        (clear, "PNG", {}),
        (deep, "PNG", {}),
        (colour.quantize(8), "PNG", {"transparency": 1}),
        (colour, "JPEG", {"exif": exif}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour, "TIFF", {"compression": "tiff_lzw"}),
        (deep, "TIFF", {}),
        (decimals, "TIFF", {}),
        (grey, "TIFF", {"compression": "tiff_deflate"}),
        (grey, "GIF", {"save_all": True, "append_images": [grey.rotate(90)]}),
        (clear, "WEBP", {}),
        (colour, "AVIF", {"speed": 10}),
        (colour, "BMP", {}),
        (colour, "PPM", {}),
    ]
    files = []
    for image, kind, settings in kinds:
        out = io.BytesIO()
        image.save(out, kind, **settings)
        files.append(out.getvalue())
    return files


FILES = _encoded()
# (position from 0 to 1, bytes that are put there, how many are taken away)
change = st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 8))
damaged = st.builds(
    lambda file, changes, end: _changed(file, changes)[: max(1, round(end * 2 * len(file)))],
    st.sampled_from(FILES),
    st.lists(change, max_size=4),
    st.floats(0.1, 1),
)


def _changed(file: bytes, changes: list[tuple[float, bytes, int]]) -> bytes:
    """Return a file with some of its bytes replaced."""
    for place, inserted, removed in changes:
        at = round(place * len(file))
        file = file[:at] + inserted + file[at + removed :]
    return file


def outcome(file: bytes) -> tuple[Image.Image | None, str]:
    """Return the picture, or None and why there is none."""
    try:
        return images.open_photograph(io.BytesIO(file)), ""
    except UnreadableImage as error:
        return None, str(error)


def check(file: bytes) -> None:
    """Check that a file is a picture or is refused in one short line."""
    image, why = outcome(file)
    if image is None:
        assert 0 < len(why) <= 200
        assert "\n" not in why
    else:
        assert image.mode == "RGB"
        assert min(image.size) > 0
        assert images.prepare(image, images.Prepare(32)).shape == (32, 32, 3)


@pytest.mark.parametrize("file", FILES, ids=range(len(FILES)))
def test_whole_files_are_read_but_for_those_of_decimals(file: bytes) -> None:
    image, why = outcome(file)
    assert (image is None) == ("decimal" in why)


@pytest.mark.fuzz
@tries(300, 30_000)
@given(damaged)
@example(b"")
@example(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
@example(b"P5 2 2 65535\n" + bytes(8))
@example(b"Pf 2 2 -1.0\n" + bytes(16))
@example(b"P6 0 4 255\n")
@example(b"P6 4000000000 4000000000 255\n")
def test_fuzz_damaged_pictures(file: bytes) -> None:
    check(file)


@pytest.mark.fuzz
@tries(30, 3000)
@given(st.integers(1, 2**31), st.integers(1, 2**31))
@example(13_000, 13_700)
@example(2**31 - 1, 2**31 - 1)
def test_fuzz_sizes_that_a_header_claims(width: int, height: int) -> None:
    """A few bytes that claim a large picture are refused without its memory."""
    if width * height < 20_000_000:
        return
    header = b"P6 %d %d 255\n" % (width, height)
    tracemalloc.start()
    image, why = outcome(header)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image is None
    assert why
    assert peak < MOST_BYTES
