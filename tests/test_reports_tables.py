"""`python -m reports`: the papers' tables from stored results, what stands in a cell and what must not; `compare`."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import shared
from page_runs import KINDS, write_row, write_usual

from benchmarks import published
from lactok.evaluation import protocol
from lactok.evaluation.results import to_json
from reports.__main__ import main

N = 5000
TITOK, LLAMAGEN = KINDS[2], KINDS[4]


def numbers(value: Any) -> list[float]:
    """All numbers of a JSON value."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(str(ended.value.code))


def tables(runs: Path, out: Path) -> dict[str, dict[str, Any]]:
    """The tables alone; figures and the page have tests of their own."""
    from reports import stored
    from reports.tables.files import build

    build(stored.read(runs), out)
    return {t["id"]: t for t in json.loads((out / "tables.json").read_text())["tables"]}


def cell(table: dict[str, Any], row: str, metric: str) -> dict[str, Any]:
    (found,) = [r for r in table["rows"] if r["name"] == row]
    return next(c for c in found["cells"] if c["metric"] == metric)


def full_coco(runs: Path, kind: Any, shift: float, **changes: Any) -> Path:
    """A whole COCO run under the paper's protocol, its PSNR about 17 + `shift`, images paired between runs."""
    shared_part = np.random.default_rng(0).normal(17, 3, N)
    own = np.random.default_rng(len(kind.name)).normal(0, 0.5, N)
    own -= own.mean()
    scores = {"psnr": shared_part + shift + own, "lpips_vgg": np.full(N, 0.5)}
    folder = write_row(
        runs, kind, "coco", [f"{i}.jpg" for i in range(N)], [None] * N, {}, name=changes.pop("name", kind.name),
        scores={k: v.tolist() for k, v in scores.items()},
    )  # fmt: skip
    paper = protocol.get("paper-1024")
    result = json.loads((folder / "result.json").read_text())
    result["protocol"] |= {
        "name": "paper-1024", "resolution": 1024, "prepare": paper.prepare_hash, "score": paper.score_hash,
        "definition": {"prepare": asdict(paper.prepare), "score": paper.score.hashed()},
    }  # fmt: skip
    result["run"] |= changes
    (folder / "result.json").write_bytes(to_json(result))
    return folder


def test_published_numbers_are_those_of_the_papers(tmp_path: Path) -> None:
    source = json.loads((shared("facts") / "published.json").read_text())
    ours = json.loads((Path(published.__file__).parent / "published.json").read_text())
    assert {k: v for k, v in ours.items() if k != "source"} == {k: v for k, v in source.items() if k != "source"}
    write_usual(tmp_path / "runs", samples=3, pictures=1)
    built = tables(tmp_path / "runs", tmp_path / "out")
    shown = Counter(c["published"] for t in built.values() for r in t["rows"] for c in r["cells"])
    # columns with two measured kinds (LPIPS, HPSv2) show a number twice; tokens and the resolution are no results
    rest = {k: v for k, v in source["recon"].items() if k not in ("tokens", "resolution")}
    for number, times in Counter(numbers(source | {"recon": rest})).items():
        assert shown[number] >= times, number


def test_a_run_stands_beside_the_number_of_its_own_kind(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    folder = full_coco(runs, TITOK, 0)
    built = tables(runs, tmp_path / "out")
    found = cell(built["table1-coco"], TITOK.name, "psnr")
    value = json.loads((folder / "result.json").read_text())["metrics"]["psnr"]
    assert found["published"] == 16.47
    assert found["measured"] == pytest.approx(value["value"])
    assert found["difference"] == pytest.approx(value["value"] - 16.47)
    assert found["ci95"] == pytest.approx(value["ci95"])
    assert found["n"] == N
    assert "paper-1024" in found["protocol"]
    assert cell(built["table1-imagenet"], TITOK.name, "psnr")["measured"] is None


def test_empty_cells_say_why(tmp_path: Path) -> None:
    write_usual(tmp_path / "runs", samples=3, pictures=1)
    built = tables(tmp_path / "runs", tmp_path / "out")
    coco = built["table1-coco"]
    assert "3 of 5000 images" in cell(coco, "titok-s128", "psnr")["reason"]
    assert cell(coco, "flextok-d18-d28", "psnr")["reason"].startswith("not run: python -m benchmarks.recon")
    assert "weights missing" in cell(coco, "lactok-h-star", "psnr")["reason"]
    assert cell(coco, "seedtok-2", "ssim")["published_reason"] == "not published"
    generation = [c["reason"] for r in built["table3-geneval"]["rows"] for c in r["cells"] if "gen-" in r["name"]]
    assert generation
    assert all("suite not built yet" in reason for reason in generation)
    for table in built.values():
        for row in table["rows"]:
            assert all(c["measured"] is not None or c["reason"] for c in row["cells"]), (table["id"], row["name"])


@pytest.mark.parametrize(("shift", "mark"), [(1.0, "best"), (0.0001, "")])
def test_a_difference_inside_the_interval_is_no_win(tmp_path: Path, shift: float, mark: str) -> None:
    full_coco(tmp_path / "runs", TITOK, 0)
    full_coco(tmp_path / "runs", replace(LLAMAGEN, name="llamagen-vq16"), shift)
    coco = tables(tmp_path / "runs", tmp_path / "out")["table1-coco"]
    assert cell(coco, "llamagen-vq16", "psnr")["mark"] == mark
    assert cell(coco, "titok-s128", "psnr")["mark"] == ("second" if mark else "")


def test_of_several_runs_the_plainest_is_taken_and_said(tmp_path: Path) -> None:
    for name, shift, changes in (("a", 2.0, {"seed": 1}), ("b", 0.0, {}), ("c", 1.0, {"dtype": "bfloat16"})):
        full_coco(tmp_path / "runs", TITOK, shift, name=name, **changes)
    coco = tables(tmp_path / "runs", tmp_path / "out")["table1-coco"]
    assert cell(coco, TITOK.name, "psnr")["run"] == "b"
    assert "left aside: a, c" in json.dumps(coco)


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    write_usual(tmp_path / "runs", samples=4, pictures=2)
    for out in ("one", "two"):
        assert command("build", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / out)) == 0
    files = [p.relative_to(tmp_path / "one") for p in sorted((tmp_path / "one").rglob("*")) if p.is_file()]
    assert {p.suffix for p in files} >= {".md", ".csv", ".tex", ".json", ".html", ".svg", ".pdf"}
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    assert str(tmp_path) not in (tmp_path / "one" / "tables.md").read_text()


def test_names_from_outside_are_text_in_every_format(tmp_path: Path) -> None:
    name = "=cmd|a & 50% of_$x$ <b> `c` \\end{table}"
    ids = ["1", "2", "3"]
    write_row(tmp_path / "runs", replace(TITOK, name=name), "photos", ids, [None] * 3, {}, name="row")
    tables(tmp_path / "runs", tmp_path / "out")
    rows = list(csv.reader((tmp_path / "out" / "tables.csv").open()))
    assert len({len(r) for r in rows}) == 1
    assert not any(value.startswith("=") for row in rows for value in row)
    tex = (tmp_path / "out" / "tables.tex").read_text()
    assert r"\toprule" in tex
    assert r"50\% of\_\$x\$" in tex
    assert tex.count(r"\end{table") == tex.count(r"\begin{table")
    line = next(row for row in (tmp_path / "out" / "tables.md").read_text().splitlines() if "cmd" in row)
    assert "<b>" not in line
    assert not re.search(r"cmd(?<!\\)\|a", line)


def test_what_cannot_be_read_is_told_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_usual(tmp_path / "runs", samples=3, pictures=1)
    for name, text in (("cut", '{"schema": 1, "tok'), ("foreign", '{"a": 1}')):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "result.json").write_text(text)
    assert command("build", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in lines if line.startswith("left out")] == [" 'cut'", " 'foreign'"]
    (tmp_path / "none").mkdir()
    for runs in ("none", "nowhere"):
        assert command("--runs", str(tmp_path / runs), "--out", str(tmp_path / "x")) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "python -m benchmarks.recon --tokenizers local" in line


def test_compare_pairs_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pandas

    folders = [full_coco(tmp_path / "runs", kind, shift) for kind, shift in ((TITOK, 0.0), (LLAMAGEN, 0.3))]
    assert command("compare", TITOK.name, LLAMAGEN.name, "--runs", str(tmp_path / "runs")) == 0
    text = capsys.readouterr().out
    first, second = (pandas.read_parquet(f / "records.parquet")["psnr"] for f in folders)
    assert (second - first).mean() == pytest.approx(0.3)
    assert "+0.30" in text
    assert "rFID" in text


def test_compare_refuses_what_differs_in_more_than_the_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    full_coco(runs, TITOK, 0)
    write_row(runs, LLAMAGEN, "coco", [f"{i}.jpg" for i in range(3)], [None] * 3, {}, name="other")
    for names in ((TITOK.name, "other"), (TITOK.name, "nothing")):
        assert command("compare", *names, "--runs", str(runs)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
