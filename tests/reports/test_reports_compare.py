"""`python -m reports compare`: results of the same images or prompts, and of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from page_runs import KINDS, full_coco, write_geneval, write_row

from reports.__main__ import main

TITOK, LLAMAGEN = KINDS[2], KINDS[4]


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(str(ended.value.code))


@pytest.mark.slow
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


def test_compare_takes_the_only_pair_of_one_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TiTok has runs of two data sets, LlamaGen of one of them."""
    ids, runs = [f"{i}.jpg" for i in range(4)], tmp_path / "runs"
    for kind, dataset in ((TITOK, "coco"), (TITOK, "flowers"), (LLAMAGEN, "flowers")):
        write_row(runs, kind, dataset, ids, [None] * 4, {})
    assert command("compare", TITOK.name, LLAMAGEN.name, "--runs", str(runs)) == 0
    assert f"first: {TITOK.name}__flowers__" in capsys.readouterr().out
    write_row(runs, LLAMAGEN, "coco", ids, [None] * 4, {})
    assert command("compare", TITOK.name, LLAMAGEN.name, "--runs", str(runs)) == 2
    assert "more than one shares its data and protocol" in capsys.readouterr().err
    assert command("compare", TITOK.name, LLAMAGEN.name, "--runs", str(runs), "--dataset", "coco") == 0
    assert f"second: {LLAMAGEN.name}__coco__" in capsys.readouterr().out


def test_so_many_tests_that_none_can_be_below_the_level_are_named(tmp_path: Path) -> None:
    from lactok.evaluation.compare import compare
    from lactok.evaluation.results import load_results
    from reports.compare import text

    for name in ("one", "other"):
        write_geneval(tmp_path, name)
    compared = compare(*load_results(tmp_path).geneval)
    assert "p by flipping signs is 0.001 at least, so of more than 50 tests" in text(compared, 9, 51)
    assert "at least" not in text(compared, 9, 50)


def test_compare_pairs_prompts_of_geneval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    for name in ("one", "other"):
        write_geneval(runs, name)
    written = runs / "geneval__other__toy-toy" / "records.parquet"
    import pandas

    records = pandas.read_parquet(written)
    records["correct"] = records["correct"] | (records["tag"] == "colors")
    records.to_parquet(written)
    out = tmp_path / "compared.json"
    assert command("compare", "one", "other", "--runs", str(runs), "--json", str(out)) == 0
    compared = json.loads(out.read_text())
    differences = {name: metric["difference"] for name, metric in compared["metrics"].items()}
    assert differences == {"single_object": 0, "counting": 0, "colors": 0.5, "overall": pytest.approx(0.5 / 3)}
    assert {"what": "pictures", "first": "one", "second": "other"} in compared["differs"]
    assert "| colors ↑" in capsys.readouterr().out
