"""The page of the reports as it is written: data files, pictures, names from outside."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import page_runs
import pytest
from PIL import Image

from lactok.errors import UserError
from lactok.evaluation.results import load, load_results
from reports import page, pictures
from reports.page.scripts import script

HOSTILE = "</script><img src=x onerror=alert(1)> & \u2028\u2029 \"'`${x}` ../../up \x00\x7f \U0001f600"
CALL = re.compile(r'lactok\.receive\("([a-z0-9-]+)",(.*)\);\n', re.S)


def data(site: Path, name: str = "summary") -> Any:
    """What a data file hands to the page."""
    called = CALL.fullmatch((site / "data" / f"{name}.js").read_text("ascii"))
    assert called is not None
    assert called[1] == name
    return json.loads(called[2])


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "runs"
    page_runs.write_usual(folder)
    return folder


@pytest.fixture(scope="module")
def site(runs: Path) -> Path:
    page.build(runs, runs.parent / "site")
    return runs.parent / "site"


@pytest.fixture
def own_runs(tmp_path: Path) -> Path:
    """One row of 6 samples, 3 with pictures, to be spoilt."""
    samples = [f"a/{i}.jpg" for i in range(6)]
    pictured = {s: f"{i}.png" for i, s in enumerate(samples[:3])}
    page_runs.write_row(tmp_path / "runs", page_runs.KINDS[2], "photos", samples, [None] * 6, pictured)
    return tmp_path / "runs"


def row_of(runs: Path) -> Path:
    return next(p.parent for p in runs.glob("*/result.json"))


def built(runs: Path) -> Any:
    page.build(runs, runs.parent / "site")
    return data(runs.parent / "site")


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes(runs: Path, site: Path, tmp_path: Path) -> None:
    page.build(load_results(runs), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(site)


def test_building_again_removes_what_is_no_more_and_nothing_else(own_runs: Path) -> None:
    site = own_runs.parent / "site"
    page_runs.write_geneval(own_runs)
    first = built(own_runs)
    assert len(first["geneval"]) == 1
    for name in ("tables.md", "data/mine.js", "pictures/mine.png"):
        (site / name).write_text("the reader's")
    shutil.rmtree(next(own_runs.glob("geneval__*")))
    assert built(own_runs)["geneval"] == []
    page.build(own_runs, own_runs.parent / "fresh")
    others = {"tables.md", "data/mine.js", "pictures/mine.png"}
    assert set(contents(site)) - others == set(contents(own_runs.parent / "fresh"))
    assert others <= set(contents(site))


def test_records_are_those_of_the_run(runs: Path, site: Path) -> None:
    summary = data(site)
    row = next(r for r in summary["rows"] if r["name"] == "titok-s128" and r["dataset"] == "coco")
    result = next(r for r in load_results(runs).recon if r.label == "titok-s128" and r.dataset == "coco")
    records = data(site, row["records"])
    samples = data(site, records["samples"])
    assert samples["ids"] == result.records["id"].tolist()
    assert records["columns"]["psnr"] == pytest.approx(result.records["psnr"].tolist(), abs=5e-5)
    assert row["metrics"]["psnr"]["value"] == result["psnr"].value
    files = {data(site, r["records"])["samples"] for r in summary["rows"] if r["dataset"] == "coco"}
    assert files == {records["samples"]}


def test_a_photograph_is_stored_once_beside_its_reconstructions(runs: Path, site: Path) -> None:
    group = next(g for g in data(site)["groups"] if g["title"].startswith("coco"))
    sample = group["samples"][0]
    original = next((runs / "references").glob("coco*")) / "0000.png"
    assert (site / sample["photo"]["full"]).read_bytes() == original.read_bytes()
    assert len(sample["rows"]) == len(page_runs.KINDS)
    with Image.open(site / sample["photo"]["thumb"]) as thumb:
        assert thumb.format == "WEBP"
        assert max(thumb.size) <= 128


def test_data_are_ascii_without_a_sign_of_html() -> None:
    text = script("a", {HOSTILE: [HOSTILE]}).decode("ascii")
    assert not set("<>&\u2028\u2029") & set(text)
    called = CALL.fullmatch(text)
    assert called is not None
    assert json.loads(called[2]) == {HOSTILE: [HOSTILE]}


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    page_runs.write_hostile(tmp_path / "runs", lambda words: f"{words} {HOSTILE}", lambda name: name)
    page.build(tmp_path / "runs", tmp_path / "site")
    for name, content in contents(tmp_path / "site").items():
        assert re.fullmatch(r"[a-z0-9./-]+", name)
        assert b"alert(1)" not in content or not set(b"<>&") & set(content)
    row = data(tmp_path / "site")["rows"][0]
    assert row["dataset"] == f"photos {HOSTILE}"
    records = data(tmp_path / "site", row["records"])
    assert HOSTILE in data(tmp_path / "site", records["samples"])["captions"][0]


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/passwd", "..", "", "a\\..\\b.png", "images/../../secret.png", "a\nb.png", "\u202ea.png"],
)
def test_an_index_leads_nowhere_but_to_its_folder(own_runs: Path, name: str) -> None:
    page_runs.picture(99).save(row_of(own_runs) / "secret.png")
    index = row_of(own_runs) / "images" / "index.json"
    entry = {"sample": "a/0.jpg", "file": name, "why": ["chosen"]}
    index.write_text(json.dumps({"pictures": [entry], "references": name}))
    assert built(own_runs)["groups"] == []
    assert not (own_runs.parent / "site" / "pictures").exists()
    with pytest.raises(UserError, match=r"images/index.json is damaged .* is not a file's name"):
        pictures.stored_pictures(load(row_of(own_runs)))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"pictures": 3}', '{"pictures": [{"sample": "a/0.jpg"}], "references": ""}']
)
def test_a_damaged_index_is_named(own_runs: Path, text: str) -> None:
    (row_of(own_runs) / "images" / "index.json").write_text(text)
    summary = built(own_runs)
    assert summary["groups"] == []
    assert len(summary["rows"]) == 1
    assert "index.json" in summary["problems"][0]


def test_what_is_no_picture_is_named_and_left_out(own_runs: Path) -> None:
    (row_of(own_runs) / "images" / "1.png").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    summary = built(own_runs)
    assert [s["id"] for s in summary["groups"][0]["samples"]] == ["a/0.jpg", "a/2.jpg"]
    assert "images/1.png" in summary["problems"][0]


def test_a_run_without_photographs_shows_its_pictures_alone(own_runs: Path) -> None:
    shutil.rmtree(own_runs / "references")
    (row_of(own_runs) / "images" / "index.json").unlink()
    for i in range(3):
        (row_of(own_runs) / "images" / f"{i}.png").rename(row_of(own_runs) / "images" / f"a_{i}.jpg.png")
    samples = built(own_runs)["groups"][0]["samples"]
    assert [s["id"] for s in samples] == ["a/0.jpg", "a/1.jpg", "a/2.jpg"]
    assert {s["photo"] for s in samples} == {None}


def test_of_very_many_pictures_the_best_and_worst_are_shown(own_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.page.viewer.MAX_PICTURES", 2)
    summary = built(own_runs)
    assert [s["rows"][summary["rows"][0]["key"]]["why"] for s in summary["groups"][0]["samples"]] == [
        ["best 3 by LPIPS alex"],
        ["worst 3 by LPIPS alex"],
    ]
    assert "2 of its 3 pictures" in summary["problems"][0]


def test_a_row_without_records_is_in_the_tables_all_the_same(own_runs: Path) -> None:
    (row_of(own_runs) / "records.parquet").write_bytes(b"PAR1")
    summary = built(own_runs)
    assert "records" not in summary["rows"][0]
    assert summary["groups"] == []
    assert "records.parquet is damaged" in summary["problems"][0]


def test_a_flood_of_left_out_images_is_a_few_names_and_reasons_stand_below(own_runs: Path) -> None:
    file = row_of(own_runs) / "result.json"
    result = json.loads(file.read_text())
    result["dataset"]["skipped"] = [{"id": f"{i}.png", "reason": "not an image"} for i in range(5000)]
    result["metrics"]["rfid"] |= {"value": None, "reason": "a distance needs two images or more"}
    file.write_text(json.dumps(result))
    summary = built(own_runs)
    (row,) = summary["rows"]
    (skipped,) = row["skipped"]
    assert skipped.startswith("0.png: not an image, 1.png: not an image, ")
    assert skipped.endswith(" and 4990 more, named in its result.json")
    assert (row["metrics"]["rfid"]["text"], row["metrics"]["rfid"]["reliable"]) == ("-", True)
    assert "- under rFID: a distance needs two images or more." in summary["sets"][0]["notes"]
    assert any("6 images hold 768 ids, at most 18.8 % of 4096 codes" in note for note in summary["sets"][0]["notes"])


def test_verdicts_have_their_pictures_and_boxes(site: Path) -> None:
    line = data(site)["geneval"][0]
    verdicts = data(site, line["verdicts"])
    assert line["pictures"] == len(verdicts) == 18
    assert {v["correct"] for v in verdicts} == {True, False}
    assert verdicts[0]["objects"] == [{"class": "kite", "colour": None, "box": [4, 4, 30, 30], "score": 0.9}]
    assert all((site / v["picture"]["full"]).is_file() for v in verdicts)


def test_a_metric_that_is_not_installed_is_shown_as_its_entry_says(own_runs: Path) -> None:
    import pandas

    result = json.loads((row_of(own_runs) / "result.json").read_text())
    for name, title in (("constructor", "A lower is better"), ("torchmetrics:FrechetInceptionDistance", None)):
        result["metrics"][name] = {"value": 2.5, "ci95": None, "n": 6, "higher_is_better": False}
        result["metrics"][name] |= {"title": title} if title else {}
    (row_of(own_runs) / "result.json").write_text(json.dumps(result))
    records = pandas.read_parquet(row_of(own_runs) / "records.parquet").assign(constructor=[0.5] * 6)
    records.to_parquet(row_of(own_runs) / "records.parquet")
    summary = built(own_runs)
    shown = {m["key"]: m for m in summary["metrics"]}
    assert shown["other-constructor"] == {
        "key": "other-constructor",
        "title": "A lower is better",
        "better": "lower",
        "digits": 3,
        "factor": 1,
        "perImage": True,
    }
    assert shown["other-torchmetrics:FrechetInceptionDistance"]["title"] == "FrechetInceptionDistance"
    assert not shown["other-torchmetrics:FrechetInceptionDistance"]["perImage"]
    assert list(shown)[:2] == ["psnr", "ssim"]  # this project's stand first
    (row,) = summary["rows"]
    assert row["metrics"]["other-constructor"]["text"] == "2.500"
    assert data(own_runs.parent / "site", row["records"])["columns"]["other-constructor"] == [0.5] * 6
    sample = summary["groups"][0]["samples"][0]
    assert sample["rows"][row["key"]]["scores"]["other-constructor"] == 0.5


def test_published_numbers_come_with_what_would_be_measured(runs: Path, tmp_path: Path) -> None:
    page.build(runs, tmp_path, all_papers=True)
    table = next(t for t in data(tmp_path)["tables"] if t["id"] == "table1-coco")
    column = [c["key"] for c in table["columns"]].index("psnr")
    cell = next(r for r in table["rows"] if r["name"] == "titok-s128")["cells"][column]
    assert cell["published"] == 16.47
    assert cell["measured"] is None  # 12 images are not the 5,000 of the paper
    assert "12 of 5000 images" in cell["reason"]


def test_another_page_is_not_replaced(own_runs: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<title>mine</title>")
    with pytest.raises(UserError, match="another page"):
        page.build(own_runs, tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_text() == "<title>mine</title>"


def test_many_records_leave_the_first_view_small(tmp_path: Path) -> None:
    page_runs.write_large(tmp_path / "runs", 2000, 3, pictures=4)
    page.build(tmp_path / "runs", tmp_path / "site")
    files = contents(tmp_path / "site")
    assert len(data(tmp_path / "site", data(tmp_path / "site")["rows"][0]["records"])["columns"]["psnr"]) == 2000
    page_runs.write_large(tmp_path / "few", 20, 3, pictures=4)
    page.build(tmp_path / "few", tmp_path / "small")
    grown = len(files["data/summary.js"]) - len(contents(tmp_path / "small")["data/summary.js"])
    assert grown < 2000  # bytes: the summary holds no records, however many there are


def test_the_library_of_the_plots_is_the_file_that_its_note_names(site: Path) -> None:
    note = (site / "vendor" / "d3.readme.md").read_text("ascii")
    digest = hashlib.sha256((site / "vendor" / "d3.js").read_bytes()).hexdigest()
    assert f"sha256 of `d3.js`: `{digest}`" in note
    licence = (site / "vendor" / "d3.license.txt").read_text("ascii")
    bundled = set(re.findall(r"^  // node_modules/([^/]+)/", (site / "vendor" / "d3.js").read_text("ascii"), re.M))
    assert bundled == set(re.findall(r"^\| (d3-\w+) \|", note, re.M))
    assert bundled == set(re.findall(r"^(d3-\w+): Copyright ", licence, re.M))
    assert "THE SOFTWARE IS PROVIDED" in licence


def test_the_page_refers_to_nothing_elsewhere(site: Path) -> None:
    index = (site / "index.html").read_text()
    named = re.findall(r'(?:src|href)="([^"#]+)"', index)
    assert named
    assert all((site / name).is_file() for name in named)
    for name, content in contents(site).items():
        if name.endswith((".html", ".css", ".js")) and not name.startswith("data/"):
            text = content.decode().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(
                r"https?:|@import|url\(|innerHTML|insertAdjacentHTML|document\.write|\beval\b", text
            ), name
    assert not re.search(r'\son[a-z]+="', index)
