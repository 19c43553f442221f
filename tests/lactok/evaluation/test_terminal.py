"""Tables and notes on a terminal: nothing is wider than it, and nothing is lost."""

from __future__ import annotations

import re

import pytest

from lactok.evaluation.terminal import fitted

TABLE = """
| tokenizer          |   tokens |   codes |    bits |       PSNR ↑ |   LPIPS alex ↓ |   KID x1000 ↓ |   usage |   n |
|:-------------------|---------:|--------:|--------:|-------------:|---------------:|--------------:|--------:|----:|
| lactok-h-tiny      |      256 |    4096 |    3072 |  17.28 ±0.71 |   0.625 ±0.028 |         235.7 |     72% |  36 |
| identity           |        - |       - | 1572864 | 100.00 ±0.00 |   0.000 ±0.000 |         -18.4 |       - |  36 |

± is half the 95 % interval of the mean over images, and this note is longer than any terminal of the tests is.
"""


def words(text: str) -> list[str]:
    """The words of a text without lines of dashes and bars, sorted."""
    return sorted(word for word in re.split(r"[\s|]+", text) if word.strip("-:|") or word == "-")


@pytest.mark.parametrize("width", [60, 80, 100, 112])
def test_a_wide_table_is_fitted(width: int) -> None:
    text = fitted(TABLE, width)
    assert max(map(len, text.splitlines())) <= width
    blocks = text.count("lactok-h-tiny")
    assert blocks == (1 if width >= 100 else 2)  # each begins with the names
    extra = ["tokenizer", "lactok-h-tiny", "identity"] * (blocks - 1)
    assert words(text) == sorted([*words(TABLE), *extra])


def test_what_fits_and_what_is_no_terminal_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert fitted(TABLE, 200) == TABLE
    assert fitted(TABLE) == TABLE  # standard output is a file here
    assert fitted("", 80) == ""


def test_a_column_wider_than_the_terminal_is_shown_all_the_same() -> None:
    text = fitted(f"| name | value |\n|---|---|\n| {'x' * 60} | 1.5 |\n", 40)
    assert "x" * 60 in text
    assert "1.5" in text
