"""Tables and figures of ids, error profiles, rates and subsets, of runs of a toy tokenizer and of JPEG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import photograph

import lactok
from lactok.evaluation.results import load_results
from reports import figures
from reports.__main__ import main
from reports.tables import ids, page, rate
from reports.tables.cells import Table

BITS = (3000, 4000, 6000, 8000)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of eight photographs, of which two are the same, in two folders."""
    folder = tmp_path_factory.mktemp("ids")
    for i in range(8):
        path = folder / "photographs" / ("a" if i < 3 else "b") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(min(i, 6)).save(path)
    chosen: dict[str, Any] = {"dataset": folder / "photographs", "metrics": "psnr,error_profile", "resolution": 64}
    for name in ("toy", *(f"jpeg@bits={bits}" for bits in BITS)):
        lactok.evaluate(name, out=folder / "runs", pictures=0, **chosen)
    return folder / "runs"


def cells(table: Table, name: str) -> dict[str, Any]:
    (row,) = [r for r in table.rows if r.label == name]
    return {c.key: cell for c, cell in zip(table.columns, row.cells, strict=True)}


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return int(str(ended.value.code or 0)), said.out, said.err


def test_the_table_of_ids_has_what_results_say(runs: Path) -> None:
    of_ids, profiles = ids.build(load_results(runs))
    toy = next(r for r in load_results(runs).recon if r.label == "toy")
    found = cells(of_ids, "toy")
    assert found["order0_bits"].measured.value == toy.data.ids.order0_bits
    assert found["adaptive_bits"].measured.value == toy.data.ids.adaptive_bits
    assert found["shared"].measured.value == 2
    assert "toy: 2 images share all their ids with others, such as b/6.png = b/7.png." in of_ids.notes
    assert [row.label for row in of_ids.rows] == ["toy"]
    assert len(profiles.rows) == 1 + len(BITS)
    kept = [cells(profiles, name)["octave_0"].measured.value for name in (f"jpeg@bits={b}" for b in BITS)]
    assert kept == sorted(kept)
    assert any(note.startswith("toy, worst colour: ") for note in profiles.notes)
    shown = {table["id"] for table in page.tables(load_results(runs))}
    assert {of_ids.id, profiles.id} <= shown


def test_tables_of_rates(runs: Path) -> None:
    (equal,) = rate.build(load_results(runs))
    cell = cells(equal, "toy")["bits_at_equal_psnr"]
    assert cell.measured is None
    assert "jpeg is better at its lowest rate" in cell.reason
    assert equal.rows[0].facts[0] == "jpeg"


def test_figures_are_drawn_and_those_of_an_earlier_build_go(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    stale = tmp_path / "figures" / "detail-kept__old.svg"
    mine = tmp_path / "figures" / "mine.svg"
    for path in (stale, mine):
        path.write_text("x")
    names = {path.name.partition("__")[0] for path in figures.build(load_results(runs), tmp_path)}
    assert {"ids-by-position", "detail-kept"} <= names
    assert not stale.exists()
    assert mine.exists()
    drawn = next((tmp_path / "figures").glob("ids-by-position__*.svg"))
    before = drawn.read_bytes()
    assert b">toy<" in before
    figures.build(load_results(runs), tmp_path)
    assert drawn.read_bytes() == before


def test_by_subset(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "mine.json"
    own.write_text(json.dumps({"first": ["a/0.png", "1.png"], "last": ["7"]}))
    code, out, err = command(capsys, "subsets", own, "--runs", runs, "--json", tmp_path / "out.json")
    assert (code, err) == (0, "")
    (table,) = json.loads((tmp_path / "out.json").read_text())["tables"]
    toy = next(r for r in load_results(runs).recon if r.label == "toy")
    values = toy.records.set_index("id")["psnr"]
    rows = {row["facts"]["subset"]: row["cells"][0] for row in table["rows"] if row["row"] == "toy"}
    assert list(rows) == ["all", "first", "last", "the others"]
    assert rows["all"]["measured"] == pytest.approx(values.mean())
    assert rows["first"]["measured"] == pytest.approx(values[["a/0.png", "a/1.png"]].mean())
    assert rows["first"]["n"] == 2
    assert rows["first"]["ci95"] is not None
    assert (rows["last"]["n"], rows["last"]["ci95"]) == (1, None)
    assert "By subset (mine.json)" in out
    code, out, _ = command(capsys, "subsets", "folders", "--runs", runs)
    assert code == 0
    assert " b " in out


def test_a_build_has_a_table_by_subset(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = command(capsys, "--runs", runs, "--out", tmp_path / "out", "--subsets", "folders")
    assert (code, err) == (0, "")
    ids_of_tables = [t["id"] for t in json.loads((tmp_path / "out" / "tables.json").read_text())["tables"]]
    assert [i.partition("-")[0] for i in ids_of_tables if i.startswith(("ids", "profile", "rate", "subsets"))] == [
        "ids",
        "profile",
        "rate",
        "subsets",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file; name instances_val2017.json"), ("[]", "neither COCO's"), ('{"a": ["x"]}', "none of their")],
)
def test_a_wrong_file_is_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, said: str
) -> None:
    path = tmp_path / "subsets.json"
    if content is not None:
        path.write_text(content)
    for words in (("subsets", path, "--runs", runs), ("--runs", runs, "--out", tmp_path / "out", "--subsets", path)):
        code, out, err = command(capsys, *words)
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
