"""Quality against bits: BD-rates and equal-quality bits of curves whose truth is known, and the reasons for none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lactok
from lactok.errors import WrongValue
from lactok.evaluation.rate import bd_rate, curve, curve_name, equal_quality_bits, is_codec, overlap, points

BITS = [1000.0, 2000.0, 4000.0, 8000.0, 16000.0]


def parallel(name: str, factor: float, bits: list[float] | None = None) -> object:
    """Curves of one shape, shifted in the logarithm of the bits: 3 dB an octave."""
    return curve(name, [(b * factor, 3 * np.log2(b)) for b in bits or BITS], higher=True, title="PSNR")


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.3])
def test_curves_of_one_shape_have_the_bd_rate_of_their_shift(factor: float) -> None:
    anchor, test = parallel("jpeg", 1), parallel("toy", factor, BITS[:4])
    assert bd_rate(test, anchor) == pytest.approx(100 * (factor - 1), abs=1e-6)  # type: ignore[arg-type]


def test_bits_at_equal_quality_are_found_between_the_rates() -> None:
    codec = parallel("jpeg", 1)
    for bits in (1000, 1500, 3000, 16000):
        found = equal_quality_bits(codec, 3 * np.log2(bits), higher=True)  # type: ignore[arg-type]
        assert found == pytest.approx(bits, rel=1e-9)
    lpips = curve("jpeg", [(b, 1 / b) for b in BITS], higher=False)
    assert equal_quality_bits(lpips, 1 / 4000, higher=False) == pytest.approx(4000)
    assert 2000 < equal_quality_bits(lpips, 1 / 3000, higher=False) < 4000


def test_a_number_that_there_is_not_has_its_reason() -> None:
    anchor = parallel("jpeg", 1)
    with pytest.raises(WrongValue, match=r"toy has 3 of the 4 rates that a BD-rate needs"):
        bd_rate(parallel("toy", 1, BITS[:3]), anchor)  # type: ignore[arg-type]
    far = curve("toy", [(b, 100 + b) for b in BITS], higher=True)
    with pytest.raises(WrongValue, match=r"toy and jpeg reach no PSNR in common"):
        bd_rate(far, anchor, "PSNR")  # type: ignore[arg-type]
    assert overlap(far, anchor) == 0  # type: ignore[arg-type]
    assert overlap(anchor, anchor) == 1  # type: ignore[arg-type]
    with pytest.raises(WrongValue, match=r"PSNR of jpeg does not get better from 2000 bits to 4000 \(30, then 29\)"):
        curve("jpeg", [(1000, 20), (2000, 30), (4000, 29)], higher=True, title="PSNR")
    with pytest.raises(WrongValue, match=r"jpeg is better at its lowest rate, 1000 bits"):
        equal_quality_bits(anchor, 1.0, higher=True)  # type: ignore[arg-type]
    with pytest.raises(WrongValue, match=r"jpeg does not reach it at its highest rate, 16000 bits"):
        equal_quality_bits(anchor, 99.0, higher=True)  # type: ignore[arg-type]
    with pytest.raises(WrongValue, match=r"jpeg was measured at 1 rate"):
        equal_quality_bits(curve("jpeg", [(1000, 20)], higher=True), 20, higher=True)


def test_curves_of_stored_runs(photographs: Path, tmp_path: Path) -> None:
    chosen = {"dataset": photographs, "metrics": "psnr", "resolution": 64, "limit": 4, "pictures": 0}
    runs = [lactok.evaluate(f"jpeg@bits={b}", out=tmp_path, **chosen) for b in (8000, 16000)]  # type: ignore[arg-type]
    assert {curve_name(r) for r in runs} == {"jpeg"}
    assert all(is_codec(r) for r in runs)
    found = curve("jpeg", points(runs, "psnr"), higher=True)
    assert len(found.bits) == 2
    assert found.bits[1] <= 16000
    toy = lactok.evaluate("toy", out=tmp_path, **chosen | {"seed": 3})  # type: ignore[arg-type]
    assert curve_name(toy) == "toy seed 3"
    assert not is_codec(toy)
