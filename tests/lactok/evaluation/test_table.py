"""The cells and footnotes of tables: short whatever the numbers, a reason where one is missing, one share of codes."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import tries
from hypothesis import example, given
from hypothesis import strategies as st
from page_runs import KINDS, write_row

from benchmarks.recon import __main__ as recon
from lactok.evaluation import statistics
from lactok.evaluation.results import ReconResult, load, load_results
from lactok.evaluation.schema_parts import Entry, Skipped
from lactok.evaluation.table import decimals, lines_by_reason, markdown, missing_notes, number, share_of_codes
from lactok.evaluation.writing import to_json
from lactok.metrics.registry import METRICS, Features, Metric, find, metric
from reports.tables.cells import column

RESIDUE = -5.7e-14  # the Frechet distance of a set to itself, as it is computed


def run(out: Path, *arguments: str) -> dict[str, Any]:
    """The one result of the command."""
    with pytest.raises(SystemExit) as stop:
        recon.main(["--tokenizers", "toy", "--resolution", "64", "--pictures", "0", "--out", str(out), *arguments])
    assert stop.value.code == 0
    (path,) = out.glob("*/result.json")
    return json.loads(path.read_text())


def row(runs: Path, **codebook: Any) -> ReconResult:
    """A stored result of 12 images with 1024 codes, with these entries of its codebook."""
    folder = write_row(runs, KINDS[0], "photos", [f"{i}" for i in range(12)], [None] * 12, {})
    stored = json.loads((folder / "result.json").read_text())
    stored["tokenizer"]["codebook_size"] = 1024
    stored["codebook"] = {"perplexity": 2.0, "entropy_bits": 1.0, "near_ties": 0, **codebook}
    (folder / "result.json").write_bytes(to_json(stored))
    found = load(folder)
    assert isinstance(found, ReconResult)
    return found


def test_a_zero_has_no_minus_and_what_is_no_number_is_a_dash() -> None:
    rfid, kid = find("rfid"), find("kid")
    assert number(rfid, Entry(value=RESIDUE, n=36, reliable=False)) == "~0.00"
    assert number(kid, Entry(value=-0.0184, n=36)) == "-18.4"
    assert number(rfid, Entry(value=1.0, n=2, ci95=[1e300, 2e300])) == "1.00 ±5e+299"
    assert column(rfid).number(RESIDUE) == "0.00"
    assert column(rfid).number(RESIDUE, "+") == "+0.00"
    for value in (math.nan, math.inf, -math.inf):
        assert column(rfid).number(value) == "-"


@pytest.mark.fuzz
@tries(300, 50_000)
@given(st.floats(), st.integers(0, 6), st.sampled_from(["", "+"]), st.sampled_from([1.0, 1000.0]))
@example(RESIDUE, 2, "", 1.0)
@example(-0.0, 0, "+", 1.0)
@example(1.7e308, 4, "", 1000.0)
@example(-999_999_999.99, 2, "", 1.0)
def test_every_number_makes_a_short_cell(value: float, digits: int, sign: str, scale: float) -> None:
    text = decimals(value * scale, digits, sign)
    assert len(text) <= 18
    if not math.isfinite(value * scale):
        assert text == "-"
        return
    assert "nan" not in text
    assert "inf" not in text
    if abs(value * scale) < 1e300:  # rounded up, the largest floats are none any more
        assert float(text) == pytest.approx(value * scale, rel=0.005, abs=0.51 * 10.0**-digits)
    assert not re.fullmatch(r"-[0.]+", text)
    whole = number(Metric("m", "M", True, digits, scale), Entry(value=value, n=3, ci95=[value, value], reliable=False))
    assert len(whole) <= 40
    assert "nan" not in whole


def test_a_missing_value_has_its_reason_below_the_table() -> None:
    few = Entry(value=None, n=1, reason="a distance needs two images or more")
    older = Entry(value=None, n=3)
    notes = missing_notes([("rFID", few), ("KID", few), ("rFID", few), ("FID", older), ("PSNR", Entry(value=0.0, n=1))])
    assert notes == [
        "- under rFID, KID: a distance needs two images or more.",
        "- under FID: could not be computed from 3 images.",
    ]


def test_means_and_distances_without_a_value_say_why() -> None:
    assert statistics.mean_with_interval(np.array([1.0, np.nan, 2.0])) == (None, None)
    assert statistics.mean_with_interval(np.array([np.inf, np.inf])) == (None, None)
    assert statistics.mean_entry(np.array([np.inf]))["reason"] == "the values of 1 of 1 images are not finite"
    assert statistics.mean_entry(np.zeros(0)) == {"value": None, "ci95": None, "n": 0, "reason": "no image"}
    assert statistics.mean_entry(np.array([2.0])) == {"value": 2.0, "ci95": None, "n": 1}
    rfid = find("rfid")
    assert statistics.distance_entry(rfid, 3.0, 4, 1) == {
        "value": None,
        "ci95": None,
        "n": 4,
        "references": 1,
        "reliable": False,
        "reason": "a distance needs two images or more",
    }
    assert statistics.distance_entry(rfid, math.nan, 5)["reason"] == "its value is not finite"
    assert statistics.distance_entry(rfid, RESIDUE, 5) == {"value": RESIDUE, "ci95": None, "n": 5, "reliable": False}


def test_one_image_has_no_distance_and_both_looks_say_why(
    photographs: Path, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = Features("colours", lambda images, device: images.float().mean((2, 3)).numpy())
    request.addfinalizer(lambda: METRICS.registered.pop("far", None))
    metric("far", title="far", higher=False, features=colours, reliable_from=9)(lambda a, b: RESIDUE)
    arguments = ("--dataset", str(photographs), "--metrics", "psnr,far")
    one = run(tmp_path / "one", *arguments, "--limit", "1")
    assert one["metrics"]["far"] | {"higher_is_better": False, "title": "far"} == {
        "value": None,
        "ci95": None,
        "n": 1,
        "reliable": False,
        "reason": "a distance needs two images or more",
        "higher_is_better": False,
        "title": "far",
    }
    (written,) = (tmp_path / "one").glob("table__*.md")
    text = written.read_text()
    assert text in capsys.readouterr().out
    assert load_results(tmp_path / "one").table() == text
    assert "- under far: a distance needs two images or more.\n" in text
    assert "nan" not in text
    assert "~" not in text
    two = run(tmp_path / "two", *arguments, "--limit", "2")
    assert two["metrics"]["far"]["value"] == RESIDUE
    assert " ~0.000 |" in next((tmp_path / "two").glob("table__*.md")).read_text()


def test_usage_is_the_share_of_all_codes(tmp_path: Path) -> None:
    histogram = np.zeros(1024, int)
    histogram[:64] = 2
    counted = statistics.codebook_statistics(histogram)
    assert (counted["size"], counted["seen"], counted["used"], counted["usage"]) == (1024, 128, 64, 64 / 1024)
    found = row(tmp_path / "new", **counted)
    assert share_of_codes(found) == "6%"
    assert counted["usage_of_seen"] == 64 / 128
    assert "12 images hold 128 ids, at most 12.5 % of 1024 codes, 50 % of which they use." in markdown([found])
    assert statistics.codebook_statistics(np.ones(8, int) * 9)["usage_of_seen"] == 1
    assert statistics.codebook_statistics(np.zeros(8, int))["usage_of_seen"] == 0
    enough = row(tmp_path / "enough", size=1024, seen=2048, used=1, usage=1 / 1024)
    assert share_of_codes(enough) == "<1%"
    assert "at most" not in markdown([enough])


def test_results_of_the_earlier_denominator_show_the_same_share(tmp_path: Path) -> None:
    older = row(tmp_path, seen=128, used=64, usage=0.5)
    assert older.data.codebook.usage == 64 / 1024
    assert older.data.codebook.size == 1024
    assert older.result["codebook"]["usage"] == 64 / 1024
    assert json.loads((older.folder / "result.json").read_text())["codebook"]["usage"] == 0.5  # the file stays
    odd = row(tmp_path / "odd", seen=128, used=5000, usage=0.5)  # more codes than there are: not ours
    assert odd.data.codebook.usage == 0.5


def test_a_flood_of_names_is_a_few_and_a_count() -> None:
    notes = [Skipped(id=f"{i:05}.png", reason="not an image") for i in range(50_000)]
    notes += [Skipped(id="a\x1b[31m\u202e.png", reason="reason\nof\x00two lines")]
    lines = lines_by_reason(notes, "left out")
    assert len(lines) == 2
    assert lines[0].endswith("and 49990 more, named in result.json: not an image")
    assert lines[1] == r"left out: 'a\x1b[31m\u202e.png': reason of two lines"
    own = [Skipped(id=f"{i}.png", reason=f"cut after {i} bytes") for i in range(50)]
    lines = lines_by_reason(own, "left out", rest="")
    assert len(lines) == 11
    assert lines[-1] == "left out: 40 more for other reasons"
