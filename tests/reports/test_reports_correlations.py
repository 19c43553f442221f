"""Rank correlations: against scipy and by hand, and the tables of the command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau, permutation_test, spearmanr

from lactok.evaluation.rank_correlation import RankCorrelation, rank_correlation, smallest_significant
from lactok.evaluation.results import Results, load_results
from lactok.evaluation.schema import parsed
from reports import correlations
from reports.__main__ import main


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("n", [2, 5, 7, 30])
@pytest.mark.parametrize("ties", [False, True])
def test_correlations_are_those_of_scipy(n: int, ties: bool) -> None:
    first, second = np.random.default_rng(n).normal(size=(2, n))
    if ties and n > 2:
        first[1], second[2] = first[0], second[1]
    found = rank_correlation(first, second)
    assert found.spearman == pytest.approx(spearmanr(first, second).statistic)
    assert found.kendall == pytest.approx(kendalltau(first, second).statistic)


def test_the_test_is_exact_for_few() -> None:
    first, second = np.random.default_rng(1).normal(size=(2, 6))
    expected = permutation_test(
        (first,),
        lambda values: spearmanr(values, second).statistic,
        permutation_type="pairings",
        n_resamples=np.inf,
    )
    assert rank_correlation(first, second).p == pytest.approx(expected.pvalue)


def test_intervals_hold_the_value_and_narrow() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (10, 100):
        first = rng.normal(size=n)
        found = rank_correlation(first, first + 0.5 * rng.normal(size=n))
        assert found.spearman is not None
        assert found.kendall is not None
        assert found.spearman_ci95 is not None
        assert found.kendall_ci95 is not None
        assert found.spearman_ci95[0] <= found.spearman <= found.spearman_ci95[1]
        assert found.kendall_ci95[0] <= found.kendall <= found.kendall_ci95[1]
        widths.append(found.spearman_ci95[1] - found.spearman_ci95[0])
    assert widths[1] < widths[0] / 2


def test_too_few_and_constant_figures_have_no_interval() -> None:
    four = rank_correlation(np.arange(4.0), np.arange(4.0))
    assert four == RankCorrelation(4, 1.0, None, 1.0, None, None)
    assert rank_correlation(np.ones(9), np.arange(9.0)) == RankCorrelation(9)
    assert rank_correlation(np.zeros(0), np.zeros(0)) == RankCorrelation(0)
    assert smallest_significant(4) is None


@pytest.mark.parametrize(("n", "published"), [(5, 1.0), (6, 0.886), (7, 0.786), (8, 0.738), (20, 0.447)])
def test_smallest_significant_correlations_are_those_of_published_tables(n: int, published: float) -> None:
    """Zar 1984, table B.20, two-sided 5 %; from 9 pairs on it is the approximation by Student's t."""
    assert smallest_significant(n) == pytest.approx(published, abs=0.005)


def recon(name: str, psnr: float, lpips: float) -> dict[str, Any]:
    """The content of a reconstruction result."""
    protocol = {"name": "square-256", "prepare": "1a", "score": "2b", "resolution": 256, "networks": []}
    return {
        **common(name),
        "suite": "recon",
        "protocol": protocol | {"definition": {"prepare": {}, "score": {}}},
        "metrics": {"psnr": {"value": psnr, "n": 40}, "lpips_alex": {"value": lpips, "n": 40}},
        "codebook": None,
    }


def probe(name: str, accuracy: float, bits: float) -> dict[str, Any]:
    """The content of a probe's result."""
    budget = {"steps": 1, "step_symbols": 2}
    return {
        **common(name),
        "suite": "probe",
        "prepare": "1a",
        "probe": {"hash": "3c", "budget": budget, "parameters": 9, "ids_sha256": name},
        "labels": None,
        "split": None,
        "metrics": {"probe_accuracy": {"value": accuracy, "n": 40}, "bits_per_id": {"value": bits, "n": 8}},
    }


def common(name: str) -> dict[str, Any]:
    tokenizer = {"name": name, "family": "x", "tokens": 4, "codebook_size": 8, "bits": 12.0, "decode_steps": 1}
    return {
        "schema": 2,
        "limit": None,
        "tokenizer": tokenizer | {"options": {}, "license": "MIT", "note": "", "assets": []},
        "dataset": {"name": "photographs", "n": 40, "sha256": "d", "skipped": []},
        "run": {"dtype": "float32", "seed": 0, "device": "cpu"},
    }


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Seven tokenizers: PSNR orders them as the accuracy does, LPIPS too, and bits per id the other way round."""
    from lactok.evaluation.schema import as_data
    from lactok.evaluation.writing import to_json

    for i in range(7):
        for content in (recon(f"t{i}", 20.0 + i, 0.5 - 0.1 * i), probe(f"t{i}", 0.1 * i, 5.0 + i)):
            folder = tmp_path / "runs" / f"t{i}-{content['suite']}"
            folder.mkdir(parents=True)
            (folder / "result.json").write_bytes(to_json(as_data(parsed(content)[0])))
    return tmp_path / "runs"


def line_of(shown: str, figure: str, metric: str) -> list[str]:
    """Return the cells of a metric's line in a figure's table."""
    section = shown.split(f"### {figure}\n")[1].split("###")[0]
    (line,) = [line for line in section.splitlines() if line.startswith(f"| {metric}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_tables_show_which_order_is_shared(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("correlations", "--runs", runs) == 0
    shown = capsys.readouterr().out
    assert line_of(shown, "probe accuracy", "PSNR")[1] == "+1.00"
    assert line_of(shown, "probe accuracy", "LPIPS alex")[1] == "+1.00"  # lower is better
    assert line_of(shown, "probe accuracy", "PSNR")[5:] == ["< 0.001", "< 0.001", "7", "same order"]
    assert line_of(shown, "bits per id", "PSNR")[1] == "-1.00"
    assert line_of(shown, "bits per id", "PSNR")[-1] == "opposite order"
    assert line_of(shown, "bits per id", "nominal bits")[-1] == "the same for all"
    assert "7 tokenizers: t0, t1, t2, t3, t4, t5, t6." in shown
    assert "7 tokenizers are few: a single correlation below 0.79" in shown


def test_too_few_tokenizers_are_said_to_be_too_few(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("correlations", "--runs", runs, "--without", "t0", "t1", "t2") == 0
    shown = capsys.readouterr().out
    assert "4 tokenizers are too few to conclude anything" in shown
    assert line_of(shown, "probe accuracy", "PSNR") == [
        *("PSNR ↑", "+1.00", "-", "+1.00", "-", "-", "-", "4", "too few tokenizers")
    ]


def test_mistakes_are_one_line(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error_of(*words: object) -> str:
        capsys.readouterr()
        assert run("correlations", *words) == 2
        return capsys.readouterr().err

    assert "unknown tokenizer with a probe 't9'" in error_of("--runs", runs, "--without", "t9")
    assert "unknown data set with probes 'coco'" in error_of("--runs", runs, "--dataset", "coco")
    assert "no such folder" in error_of("--runs", tmp_path / "nowhere")
    for folder in runs.glob("*-recon"):
        (folder / "result.json").unlink()
    assert "no probe in --runs is of the ids of a reconstruction" in error_of("--runs", runs)
    for folder in runs.glob("*-probe"):
        (folder / "result.json").write_bytes((folder / "result.json").read_bytes().replace(b'"probe"', b'"other"'))
    assert "holds no results" in error_of("--runs", runs)


def test_only_the_same_photographs_weights_and_settings_are_paired(runs: Path) -> None:
    results = load_results(runs)
    (group,) = correlations.groups(results)
    assert [pair[0].label for pair in group.pairs] == [f"t{i}" for i in range(7)]
    first = results.probe[0]
    for changed in (
        {"prepare": "9z"},
        {"dataset": first.data.dataset.model_copy(update={"sha256": "other"})},
        {"run": first.data.run.model_copy(update={"seed": 1})},
        {"tokenizer": first.data.tokenizer.model_copy(update={"name": "t0@tokens=2"})},
    ):
        other = replace(first, data=first.data.model_copy(update=changed))
        (group,) = correlations.groups(Results((*results.recon, *results.probe[1:], other)))
        assert [pair[0].label for pair in group.pairs] == [f"t{i}" for i in range(1, 7)]


def test_the_report_has_the_tables_and_forgets_them(runs: Path, tmp_path: Path) -> None:
    results = load_results(runs)
    correlations.build(results, tmp_path)
    assert "### probe accuracy" in (tmp_path / correlations.FILE).read_text(encoding="utf-8")
    correlations.build(Results(results.recon), tmp_path)
    assert not (tmp_path / correlations.FILE).exists()
