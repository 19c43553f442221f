"""`python -m reports table`: chosen rows and columns of stored runs, as LaTeX that compiles, Markdown and CSV."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from page_runs import KINDS, full_coco, write_geneval, write_row, write_usual

from lactok.evaluation.writing import to_json
from reports.__main__ import main

TITOK, LLAMAGEN = KINDS[2], KINDS[4]
COMPILERS = {"pdflatex": ["-interaction=nonstopmode", "-halt-on-error"], "tectonic": []}


def command(*words: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["table", *map(str, words)])
    assert ended.value.code == code


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two data sets and of GenEval."""
    root = tmp_path_factory.mktemp("stored") / "runs"
    write_usual(root, samples=12, pictures=1)
    return root


def table_of(text: str) -> list[list[str]]:
    """The cells of a Markdown table's lines, without the ruler."""
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [lines[0], *lines[2:]]


def test_rows_and_columns_stand_in_the_order_given(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("llamagen-vq16", "lactok-h", "jpeg@bits=3584")
    command("--runs", *names, "--results", runs, "--dataset", "coco", "--columns", "psnr,tokens,rfid")
    out = capsys.readouterr().out
    head, *rows = table_of(out)
    assert head == ["method", "PSNR ↑", "tokens", "rFID ↓"]
    assert [row[0] for row in rows] == list(names)
    assert [row[2] for row in rows] == ["256", "1024", "–"]
    assert [row[1].startswith("**") for row in rows] == [False, True, False]
    assert all(row[3].startswith("\\~") for row in rows)  # of twelve images
    assert "coco (12 images), square-256 at 64 px." in out
    assert "no part in that" in out
    assert "__" not in out  # no folder's name, no hash


def test_figures_of_the_network_that_taught_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """Such figures are too good, and a table for a paper stood without a word of it."""
    sample = Path(__file__).parents[2] / "docs" / "sample-run"
    command("--runs", sample / "lactok-h-tiny", sample / "resize-8", "--columns", "psnr,lpips_alex", "--format", "tex")
    out = capsys.readouterr().out
    own, other = (line for line in out.splitlines() if line.endswith(r"\\") and "PSNR" not in line)
    assert own.endswith(r"\dag{} \\")
    assert own.count("dag") == 1
    assert "dag" not in other
    assert r"trained by the metric's own network, so the figure flatters it: lactok-h-tiny by that of LPIPS alex" in out
    assert "-tiny: trained here on a few thousand photographs or fewer, a demonstration, not a ranking of" in out
    command("--runs", sample / "lactok-h-tiny", "--columns", "psnr", "--format", "tex")
    assert "flatters" not in capsys.readouterr().out


def test_a_difference_within_the_interval_is_not_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, shift in (("apart", 0.3), ("within", 0.0)):
        folder = tmp_path / name
        full_coco(folder, TITOK, 0)
        full_coco(folder, LLAMAGEN, shift)
        command("--runs", folder, "--columns", "psnr")
        rows = dict(table_of(capsys.readouterr().out)[1:])
        assert rows[LLAMAGEN.name].startswith("**") == (name == "apart")
        assert not rows[TITOK.name].startswith("**")


def test_all_runs_of_a_folder_with_intervals_and_names(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("--runs", runs, "--dataset", "flowers", "--intervals", "--names", "One, Two,Three")
    head, *rows = table_of(capsys.readouterr().out)
    assert head == ["method", "tokens", "bits", "PSNR ↑", "SSIM ↑", "rFID ↓"]  # one lacks LPIPS and KID
    assert [row[0] for row in rows] == ["One", "Two", "Three"]
    assert all(" ± " in row[3] for row in rows)


def test_csv_has_all_digits_and_the_ends_of_intervals(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.csv"
    command("--runs", "lactok-h", "titok-b64", "--results", runs, "--columns", "psnr,lpips_alex,n", "--out", out)
    first, second = csv.DictReader(out.open())
    assert float(first["psnr_low"]) < float(first["psnr"]) < float(first["psnr_high"])
    assert len(first["psnr"]) > 8
    assert (second["method"], second["lpips_alex"], second["n"]) == ("titok-b64", "", "12")


def test_runs_with_other_metrics_share_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [f"{i}.jpg" for i in range(4)]
    folders = [write_row(tmp_path, kind, "coco", ids, [None] * 4, {}) for kind in (TITOK, LLAMAGEN)]
    result = json.loads((folders[0] / "result.json").read_text())
    result["protocol"] |= {"score": "0" * 8}
    result["protocol"]["definition"]["score"] = {"metrics": ["psnr"]}
    result["metrics"] = {"psnr": result["metrics"]["psnr"]}
    (folders[0] / "result.json").write_bytes(to_json(result))
    command("--runs", tmp_path, "--columns", "psnr,ssim")
    rows = {row[0]: row[2] for row in table_of(capsys.readouterr().out)[1:]}
    assert rows[TITOK.name] == "–"
    assert rows[LLAMAGEN.name] != "–"
    result["protocol"]["definition"]["score"] = {"metrics": ["psnr"], "rounding": "another"}
    (folders[0] / "result.json").write_bytes(to_json(result))
    command("--runs", tmp_path, "--columns", "psnr", code=2)
    assert "do not share images and protocol" in capsys.readouterr().err


@pytest.mark.slow
def test_the_latex_compiles(runs: Path, tmp_path: Path) -> None:
    compiler = next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        pytest.skip("no pdflatex and no tectonic: apt-get install texlive-latex-base texlive-latex-recommended")
    words = ("--runs", "lactok-h", "titok-b64", "jpeg@bits=3584", "--results", runs, "--dataset", "coco")
    columns = "psnr,ssim,lpips_alex,rfid,kid,tokens,codes,bits,bpp,usage,decode,n"
    names = r"Ours_{1} & 100% $x$^2,a\b~c,#3"
    command(*words, "--columns", columns, "--names", names, "--intervals", "--out", tmp_path / "t.tex")
    paper = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{t}\\end{document}\n"
    (tmp_path / "paper.tex").write_text(paper)
    made = subprocess.run([compiler, *COMPILERS[compiler], "paper.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")
    if compiler == "pdflatex":
        assert "Missing character" not in (tmp_path / "paper.log").read_text(errors="replace")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "do not share images and protocol"),
        (("--dataset", "cocoa"), "unknown dataset 'cocoa', did you mean 'coco'"),
        (("--dataset", "coco", "--columns", "psnr,nothing"), "unknown column 'nothing'"),
        (("--dataset", "coco", "--columns", "psnr,dists"), "dists was not measured for these runs; measure it"),
        (("--dataset", "coco", "--columns", "psnr,psnr"), "--columns names psnr twice"),
        (("--dataset", "coco", "--columns", ","), "--columns is empty"),
        (("--dataset", "coco", "--names", "a,b"), "--names: 2 for 8 rows"),
        (("--out", "t.pdf"), "a .tex, .md or .csv file"),
    ],
)
def test_a_mistake_is_one_line(
    runs: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    command("--runs", runs, *words, code=2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_names_that_say_too_little_and_other_suites_are_refused(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--runs", "titok-s128", "llamagen-vq16", "--results", runs, code=2)
    assert "more than one shares its data and protocol with llamagen-vq16" in capsys.readouterr().err
    command("--runs", "toy-pictures", "--results", runs, code=2)
    assert "is a result of geneval" in capsys.readouterr().err
    write_geneval(tmp_path / "runs")
    command("--runs", tmp_path / "runs", code=2)
    assert "holds no reconstructions" in capsys.readouterr().err
