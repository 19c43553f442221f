"""`python -m reports`: the papers' tables from stored results, what stands in a cell and what must not; `compare`."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import shared
from page_runs import COCO_SIZE, KINDS, full_coco, write_geneval, write_row, write_usual
from reference import ROOT

from benchmarks import published
from lactok.evaluation.results import load_results
from lactok.evaluation.writing import to_json
from reports.__main__ import main

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
    from reports.tables.files import build

    build(load_results(runs), out, all_papers=True)
    return {t["id"]: t for t in json.loads((out / "tables.json").read_text())["tables"]}


def cell(table: dict[str, Any], row: str, metric: str) -> dict[str, Any]:
    (found,) = [r for r in table["rows"] if r["name"] == row]
    return next(c for c in found["cells"] if c["metric"] == metric)


def test_published_numbers_are_those_of_the_papers(tmp_path: Path) -> None:
    source = json.loads((shared("facts") / "published.json").read_text())
    ours = json.loads((Path(published.__file__).parent / "published.json").read_text())
    more = json.loads((shared("facts") / "published-more.json").read_text())
    for key, value in source.items():
        if key not in ("source", "titok_readme_imagenet256"):  # of that there are more rows by now
            assert ours[key] == value, key
    wanted = set(numbers(source["titok_readme_imagenet256"])) | set(numbers(more))
    assert wanted <= set(numbers(ours))
    write_usual(tmp_path / "runs", samples=3, pictures=1)
    built = tables(tmp_path / "runs", tmp_path / "out")
    shown = Counter(c["published"] for t in built.values() for r in t["rows"] for c in r["cells"])
    # columns with two measured kinds (LPIPS, HPSv2) show a number twice; tokens and the resolution are no results
    rest = {k: v for k, v in source["recon"].items() if k not in ("tokens", "resolution")}
    for number, times in Counter(numbers(source | {"recon": rest})).items():
        assert shown[number] >= times, number


def test_no_definition_stands_beside_another_without_a_word(tmp_path: Path) -> None:
    """The paper's P, S and L stand under every metric that they may be, and the table says that these are readings."""
    full_coco(tmp_path / "runs", TITOK, 0)
    built = tables(tmp_path / "runs", tmp_path / "out")
    for name in ("table1-imagenet", "table1-coco", "table2-mjhq", "table2-flux5k", "table4", "table5"):
        table = built[name]
        heads = [c["key"] for c in table["columns"]]
        assert heads == [
            "rfid",
            "rfid_clean",
            "psnr",
            "psnr_pooled",
            "ssim",
            "ms_ssim",
            "lpips_vgg",
            "lpips_alex",
        ]
        for row in table["rows"]:
            told = [c["published"] for c in row["cells"]]
            assert told[0::2] == told[1::2]
        assert any("a reading of an unpublished protocol" in note for note in table["notes"]), name


def test_two_sources_of_one_number_stand_side_by_side(tmp_path: Path) -> None:
    full_coco(tmp_path / "runs", TITOK, 0)
    built = tables(tmp_path / "runs", tmp_path / "out")
    found = cell(built["table1-coco"], "lactok-h", "rfid")
    assert (found["published"], found["second"]) == (10.8, 10.8)
    assert "**10.80** / 10.8" in (tmp_path / "out" / "tables" / "table1-coco.md").read_text()
    table = built["published-rfid"]
    rows = [(r["row"], r["cells"][0]["published"]) for r in table["rows"] if r["name"] == "titok-s128"]
    assert [value for _, value in rows] == [2.32, 1.71, 3.91]
    assert [
        next(s for s in ("arXiv 2503.08377", "TiTok's README", "issue 105") if s in label) for label, _ in rows
    ] == ["arXiv 2503.08377", "TiTok's README", "issue 105"]
    assert any("4.28 instead of 2.19" in note for note in table["notes"])


def test_a_choice_of_an_earlier_version_stands_beside_no_published_number(tmp_path: Path) -> None:
    """It took MJHQ-5K otherwise, and any folder for FLUX-5K; its results have no digest of their list."""
    folder = full_coco(tmp_path / "runs", TITOK, 0)
    result = json.loads((folder / "result.json").read_text())
    for made, said in ({"name": "mjhq"}, "an earlier version took"), ({"list_sha256": "0" * 64}, ""):
        result["dataset"] |= made
        (folder / "result.json").write_bytes(to_json(result))
        found = cell(tables(tmp_path / "runs", tmp_path / "out")["table2-mjhq"], TITOK.name, "psnr")
        assert said in found["reason"]
        assert (found["measured"] is None) == bool(said)


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
    assert found["n"] == COCO_SIZE
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
    star = [c["reason"] for r in built["table3-geneval"]["rows"] for c in r["cells"] if r["name"] == "lactokgen-t-star"]
    assert all(reason.startswith("not run: python -m benchmarks.geneval") for reason in star)
    assert all("not run" in reason or "weights missing" in reason for reason in generation)
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


def test_both_strengths_of_lactok_s_condition_are_told_apart(tmp_path: Path) -> None:
    runs, lactok = tmp_path / "runs", replace(KINDS[7], name="lactok-t-star")
    said = "cond_scale 1, the default of its authors' decode_quant"
    full_coco(runs, lactok, 0)
    built = tables(runs, tmp_path / "one")
    for table in ("table1-imagenet", "table1-coco", "table2-mjhq", "table4", "table5"):
        assert any(said in note and "lactok-t-star@cond_scale=0.8" in note for note in built[table]["notes"]), table
    assert [r["name"] for r in built["table1-coco"]["rows"]].count("lactok-t-star") == 1
    full_coco(runs, replace(lactok, name="lactok-t-star@cond_scale=0.8"), 1.0)
    coco = tables(runs, tmp_path / "two")["table1-coco"]
    labels = {r["name"]: r["row"] for r in coco["rows"] if r["name"].startswith("lactok-t-star")}
    assert labels == {"lactok-t-star": "LaCTok-T*", "lactok-t-star@cond_scale=0.8": "LaCTok-T*, cond_scale 0.8"}
    first, second = (cell(coco, name, "psnr") for name in labels)
    assert first["published"] == second["published"] == 17.98
    assert second["measured"] == pytest.approx(first["measured"] + 1, abs=0.1)
    assert second["difference"] == pytest.approx(second["measured"] - 17.98)
    assert second["mark"] == second["published_mark"] == ""
    others = tables(runs, tmp_path / "three")
    assert not any("cond_scale" in r["name"] for t in ("table1-imagenet", "table2-mjhq") for r in others[t]["rows"])


@pytest.mark.slow
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


@pytest.mark.slow
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


def generation(runs: Path, name: str) -> None:
    """A result of pictures that a generator made."""
    result = {
        "schema": 2,
        "suite": "generation",
        "limit": None,
        "metrics": {},
        "pictures": {"name": name, "generator": {"name": name, "samples": 4, "seed": 0, "dtype": "float32"}},
        "dataset": {"name": "geneval", "n": 8, "sha256": "0" * 64, "skipped": []},
        "run": {"dtype": "float32", "seed": 0, "device": "cpu"},
    }
    (runs / f"pictures-{name}").mkdir(parents=True)
    (runs / f"pictures-{name}" / "result.json").write_text(json.dumps(result))


@pytest.mark.slow
def test_pictures_alone_are_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    write_usual(runs, samples=3, pictures=1)
    plain = tables(runs, tmp_path / "plain")
    for name in ("toy-pictures", "mine"):  # the first is the GenEval result's name too
        generation(runs, name)
    assert tables(runs, tmp_path / "more") == plain
    assert command("--runs", str(runs), "--out", str(tmp_path / "out")) == 0
    assert f"written: tables of {len(KINDS) + 4} results" in capsys.readouterr().out
    assert command("compare", "pictures-mine", "pictures-toy-pictures", "--runs", str(runs)) == 2
    assert "nothing has judged" in capsys.readouterr().err
    assert command("compare", "toy-pictures", TITOK.name, "--runs", str(runs)) == 2
    assert f"{TITOK.name} has several runs" in capsys.readouterr().err  # and toy-pictures had one


def test_preference_scores_have_titles_and_directions(tmp_path: Path) -> None:
    judge = {"version": 1, "license": "MIT", "variant": "", "assets": []}
    result = {
        "schema": 2,
        "suite": "preference",
        "limit": None,
        "pictures": {"name": "images-mine-0a1b2c"},
        "rewards": [judge | {"name": n, "higher_is_better": n != "elsewhere"} for n in ("image_reward", "elsewhere")],
        "reference": None,
        "dataset": {"name": "coco", "n": 3, "captions": 3, "sha256": "0" * 64, "skipped": []},
        "run": {"dtype": "float32", "seed": 0, "device": "cpu"},
        "metrics": {n: {"value": 0.5, "ci95": None, "n": 3} for n in ("image_reward", "elsewhere", "fid", "kid")},
    }
    (tmp_path / "runs" / "row").mkdir(parents=True)
    (tmp_path / "runs" / "row" / "result.json").write_text(json.dumps(result))
    (table,) = [t for t in tables(tmp_path / "runs", tmp_path / "out").values() if t["id"].startswith("runs-")]
    assert [(c["title"], c["higher_is_better"], c["factor"]) for c in table["columns"]] == [
        ("ImageReward", True, 1),
        ("elsewhere", False, 1),
        ("FID", False, 1),
        ("KID x1000", False, 1000),
    ]
    assert " 500.0 |" in (tmp_path / "out" / "tables" / f"{table['id']}.md").read_text()
    assert table["rows"][0]["row"] == "mine"


def test_a_result_of_an_older_schema_is_read_and_that_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = full_coco(tmp_path / "runs", TITOK, 0)
    older = json.loads((folder / "result.json").read_text()) | {"schema": 1}
    del older["suite"], older["limit"], older["protocol"]["networks"]
    new = tables(tmp_path / "runs", tmp_path / "new")
    for name in (folder.name, "another__limit7"):
        (tmp_path / "runs" / name).mkdir(exist_ok=True)
        (tmp_path / "runs" / name / "result.json").write_bytes(to_json(older))
    assert command("--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "read from version 1 of the schema: 'another__limit7' and 1 more; "
        "measure again to store them in the current version"
    ]
    assert [r.limit for r in load_results(tmp_path / "runs")] == [7, None]
    shutil.rmtree(tmp_path / "runs" / "another__limit7")
    assert tables(tmp_path / "runs", tmp_path / "old") == new


@pytest.mark.slow
def test_the_kept_sample_run_is_read_whatever_its_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = ROOT / "docs" / "sample-run"
    assert command("--runs", str(kept), "--out", str(tmp_path / "out")) == 0
    older = [p for p in kept.glob("*/result.json") if json.loads(p.read_text())["schema"] == 1]
    said = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("read from version 1 of the schema")
    ]
    assert len(said) == bool(older)
    assert not older or f" and {len(older) - 1} more" in said[0] or len(older) == 1
    assert "lactok-h-tiny" in (tmp_path / "out" / "tables.md").read_text()


@pytest.mark.slow
def test_the_published_schema_is_that_of_the_code() -> None:
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-m", "lactok.evaluation.schema"], capture_output=True, text=True, cwd=root, check=True
    )
    published_file = root / "docs" / "result.schema.json"
    remedy = "run `python -m lactok.evaluation.schema > docs/result.schema.json`"
    assert published_file.read_text() == done.stdout, remedy


def test_a_result_of_today_is_valid_and_a_spoilt_one_is_not(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    from benchmarks.recon.__main__ import main as recon

    schema = json.loads((ROOT / "docs" / "result.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    with pytest.raises(SystemExit) as ended:
        recon(
            [
                "--tokenizers",
                "toy",
                "--metrics",
                "psnr",
                "--limit",
                "2",
                "--resolution",
                "32",
                "--out",
                str(tmp_path / "runs"),
            ]
        )
    assert ended.value.code == 0
    (file,) = (tmp_path / "runs").glob("*/result.json")
    result = json.loads(file.read_text())
    jsonschema.validate(result, schema)
    write_geneval(tmp_path / "runs")
    generation(tmp_path / "runs", "mine")
    for other in (tmp_path / "runs").glob("*/result.json"):
        jsonschema.validate(json.loads(other.read_text()), schema)
    for key, value in (("schema", 1), ("suite", "other"), ("limit", "2"), ("metrics", {"psnr": {"value": "high"}})):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(result | {key: value}, schema)


def test_a_papers_table_is_written_where_something_is_measured(tmp_path: Path) -> None:
    from reports.tables import files, page

    runs = tmp_path / "runs"
    full_coco(runs, TITOK, 0)
    results = load_results(runs)
    papers = {"table1-coco"}  # the only one of COCO's photographs under the paper's protocol
    assert {t.id for t in files.build(results, tmp_path / "out") if t.source} == papers
    assert {t["id"] for t in page.tables(results) if t["source"]} == papers
    every = {t.id for t in files.build(results, tmp_path / "out", all_papers=True) if t.source}
    assert {"table1-imagenet", "table6", *papers} < every
    assert command("--runs", str(runs), "--out", str(tmp_path / "all"), "--all-tables") == 0
    assert {
        t["id"] for t in json.loads((tmp_path / "all" / "tables.json").read_text())["tables"] if t["source"]
    } == every


def test_tables_of_an_earlier_build_go_and_the_users_own_files_stay(tmp_path: Path) -> None:
    from lactok.evaluation.results import Results
    from reports.tables import files

    every = files.build(Results([]), tmp_path, all_papers=True)
    (tmp_path / "tables" / "notes.md").write_text("mine")
    stale = json.loads((tmp_path / "tables.json").read_text())
    stale["tables"].append(stale["tables"][0] | {"id": "gone"})
    (tmp_path / "tables.json").write_bytes(to_json(stale))
    (tmp_path / "tables" / "gone.csv").write_text("old")
    files.build(Results([]), tmp_path, all_papers=True)
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    assert names == {"notes.md", *(f"{table.id}{suffix}" for table in every for suffix in files.SUFFIXES)}


def test_seconds_an_image_are_those_of_the_pictures(tmp_path: Path) -> None:
    """Found in `generated/` beside a GenEval result; never marked, since machines differ."""
    runs = tmp_path / "runs"
    for name, seconds in (("sdxl", 12.0), ("show-o-256", 3.0)):
        folder = write_geneval(runs, name)
        result = json.loads((folder / "result.json").read_text())
        generator = {"name": name, "samples": 4, "seed": 0, "dtype": "float32"}
        (folder / "result.json").write_bytes(to_json(result | {"pictures": {"name": name, "generator": generator}}))
        made = runs / "generated" / name
        made.mkdir(parents=True)
        times = {"seconds": {"wall": {"generate": seconds}}, "images": {"generate": 4}}
        (made / "run.json").write_bytes(to_json(times | {"device": "a card", "batch_size": 2}))
    (found,) = [r for r in load_results(runs).geneval if r.label == "sdxl"]
    assert found.seconds_per_image == 3.0
    assert found.images_per_second == pytest.approx(1 / 3)
    built = tables(runs, tmp_path / "out")["seconds"]
    one = cell(built, "sdxl", "seconds")
    assert one["protocol"] == "a card, batch size 2, float32"
    assert (one["published"], one["measured"], one["n"], one["mark"]) == (4.4, 3.0, 4, "")
    assert cell(built, "show-o-256", "seconds")["mark"] == ""
    assert cell(built, "sd3", "seconds")["reason"].startswith("not run: python -m benchmarks.table3 --generators sd3")
