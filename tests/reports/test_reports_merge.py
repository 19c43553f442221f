"""`python -m reports merge` and `bundle`: results of several folders in one, and in one file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import lactok
from lactok.errors import UserError
from lactok.evaluation.results import load_results
from reports import page
from reports.__main__ import main
from reports.merge import merge
from reports.pictures import stored_pictures


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `a` and `b` of results: one is in both, one in each alone."""
    root = tmp_path_factory.mktemp("merge")
    for folder, names in {"a": ("toy", "resize-8"), "b": ("toy", "resize-12")}.items():
        for name in names:
            lactok.evaluate(name, metrics="psnr", limit=3, resolution=64, out=root / folder)
    return root


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_results_of_two_folders_come_into_one(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("merge", str(measured / "a"), str(measured / "b"), "--out", str(tmp_path / "out"))
    assert run(*words) == 0
    assert "written: 3 results" in capsys.readouterr().out
    results = load_results(tmp_path / "out")
    assert sorted(r.label for r in results) == ["resize-12", "resize-8", "toy"]
    for result in results.recon:
        stored = stored_pictures(result)
        assert stored is not None
        assert all(p.path.is_file() and p.reference.is_file() for p in stored.by_sample.values())
        assert stored.by_sample
    before = contents(tmp_path / "out")
    assert run(*words) == 0
    assert "written: 0 results" in capsys.readouterr().out
    assert contents(tmp_path / "out") == before


def test_different_results_of_one_name_are_refused_or_told_apart(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured / "b", tmp_path / "b")
    changed = next((tmp_path / "b").glob("toy__*")) / "result.json"
    changed.write_text(changed.read_text().replace('"seed": 0', '"seed": 1'))
    sources = [str(measured / "a"), str(tmp_path / "b")]
    with pytest.raises(UserError, match=r"toy__.* are different results; keep one of them"):
        merge(sources, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = merge(sources, tmp_path / "out", keep_both=True)
    assert done.copied == 4
    (renamed,) = done.renamed
    assert sorted(r.seed for r in load_results(tmp_path / "out") if r.label == "toy") == [0, 1]
    assert (tmp_path / "out" / renamed).is_dir()
    assert merge(sources, tmp_path / "out", keep_both=True).copied == 0


def test_a_damaged_result_is_named_and_the_others_are_merged(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(measured / "a", tmp_path / "a")
    (next((tmp_path / "a").glob("toy__*")) / "result.json").write_text("{")
    assert run("merge", str(tmp_path / "a"), "--out", str(tmp_path / "out")) == 3
    assert "left out: 'toy__" in capsys.readouterr().err
    assert [r.label for r in load_results(tmp_path / "out")] == ["resize-8"]


def test_a_bundle_opens_in_anothers_page_and_can_be_merged(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "theirs.lactok.zip")
    assert run("bundle", "resize-8", "--runs", str(measured / "a"), "--out", path) == 0
    assert "written: 1 result in" in capsys.readouterr().out
    page.build(load_results(measured / "b", path), tmp_path / "site")
    assert "resize-8" in (tmp_path / "site" / "data" / "summary.js").read_text()
    assert merge([str(measured / "b"), path], tmp_path / "out").copied == 3
    assert run("bundle", "resize-9", "--runs", str(measured / "a"), "--out", path) == 2
    assert "did you mean 'resize-8'?" in capsys.readouterr().err
    assert run("bundle", "--runs", str(measured / "a"), "--out", str(tmp_path / "x.zip")) == 2
    assert "ends in .lactok.zip" in capsys.readouterr().err


def test_nothing_to_merge_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stop:
        main(["merge", str(tmp_path / "empty"), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert "no results in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
