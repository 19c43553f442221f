"""Results of pictures of classes in the reports: beside TiTok's numbers where they are of one kind, else among all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lactok.errors import UserError
from lactok.evaluation.compare import compare
from lactok.evaluation.config import Run
from lactok.evaluation.protocol import get
from lactok.evaluation.results import GfidResult, load_results
from lactok.evaluation.timing import Timer
from lactok.evaluation.writing import write_result
from reports.tables import found, paper
from reports.tables.cells import Table

ADM = {"name": "VIRTUAL_imagenet256_labeled-b1b2c3", "kind": "statistics and pictures", "n": None}


def write(runs: Path, name: str = "titok-l32-gen", changes: Mapping[str, Any] | None = None, n: int = 50_000) -> None:
    """A result of a generator; `changes` are parts of it that differ from a run as published."""
    more = dict(changes or {})
    fid = {"value": 2.81, "ci95": None, "n": n, "reliable": True}
    protocol = {
        "name": "adm-256",
        "prepare": "1" * 8,
        "score": "2" * 8,
        "resolution": 256,
        "networks": [],
        "definition": {"prepare": {}, "score": {"rounding": more.pop("rounding", "truncate")}},
    }
    content = {
        "suite": "gfid",
        "limit": None,
        "pictures": {"name": name, "generator": {"name": name, "samples": 50, "seed": 0, "dtype": "float32"}},
        "dataset": {"name": "imagenet-classes", "n": n, "sha256": "0" * 64, "skipped": []},
        "protocol": protocol,
        "reference": {"sha256": "3" * 64, "prepare": None, "skipped": [], **ADM},
        "run": {"dtype": "float32", "seed": 0, "device": "cuda"},
        "metrics": {"fid": fid, "recall": {"value": None, "ci95": None, "n": n, "reason": "for a test"}},
    } | more
    timer = Timer()
    timer.wall["generate"], timer.images["generate"] = 100.0, 400
    folder = runs / f"{name}-{len(list(runs.glob('*')))}"
    write_result(folder, content, {"id": ["00000000"], "sha256": ["x"]}, Run(get("square-256"), threads=1), timer)


def tables(runs: Path) -> tuple[Table, Table]:
    """The published table with these results, and the table of all of them."""
    results = load_results(runs)
    (ours,) = [table for table in paper.build.__wrapped__(results) if table.id == "titok-generation"]
    (every,) = found.build(results)
    return ours, every


def test_a_run_as_published_stands_beside_the_number(tmp_path: Path) -> None:
    write(tmp_path / "runs")
    (result,) = load_results(tmp_path / "runs").gfid
    assert (result.label, result.seconds("generate")) == ("titok-l32-gen", 0.25)
    ours, every = tables(tmp_path / "runs")
    cell = ours.rows[0].cells[0]
    assert cell.measured is not None
    assert (cell.published, cell.measured.value) == (2.77, 2.81)
    assert ours.columns[0].head == "gFID ↓"
    assert ours.rows[0].protocol == f"to {ADM['name']}"
    assert ours.rows[2].cells[0].reason.startswith("not run: python -m benchmarks.gfid --generators titok-s128-gen")
    assert [cell.reason for cell in every.rows[0].cells] == ["", "for a test"]
    assert ADM["name"] in every.title


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"name": "titok-l32-gen@setting=demo"}, "with options (titok-l32-gen@setting=demo)"),
        ({"n": 49_999}, "49999 of 50000 pictures"),
        (
            {"changes": {"dataset": {"name": "classes-a-1", "n": 50_000, "sha256": "0", "skipped": []}}},
            "of classes-a-1",
        ),
        (
            {"changes": {"reference": {"sha256": "3", "prepare": None, "skipped": [], **ADM, "name": "imagenet"}}},
            "to imagenet",
        ),
        (
            {"changes": {"reference": {"sha256": "3", "prepare": None, "skipped": [], **ADM, "kind": "pictures"}}},
            f"to {ADM['name']}",
        ),
        ({"changes": {"rounding": "nearest"}}, "with nearest rounding"),
    ],
)
def test_a_run_of_another_kind_does_not(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    write(tmp_path / "runs", **how)
    ours, every = tables(tmp_path / "runs")
    assert ours.rows[0].cells[0].reason == f"run, but not as published: {why}"
    assert every.rows[0].cells[0].measured is not None


def test_sets_have_no_pairs(tmp_path: Path) -> None:
    write(tmp_path / "runs")
    write(tmp_path / "runs", "titok-b64-gen")
    first, second = load_results(tmp_path / "runs").gfid
    assert isinstance(first, GfidResult)
    with pytest.raises(UserError, match="distances of whole sets, which have no pairs"):
        compare(first, second)
