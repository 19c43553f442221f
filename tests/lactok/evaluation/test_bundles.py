"""Bundles of results: what they hold, that they are the same bytes, and what is refused when one is opened."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lactok
from lactok.errors import MissingFile, UserError
from lactok.evaluation import bundles
from lactok.evaluation.id_statistics import stored_ids
from lactok.evaluation.result_folders import files_of
from lactok.evaluation.results import load_results


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two results, one of them with ids, and their pictures."""
    out = tmp_path_factory.mktemp("bundles") / "runs"
    for name in ("toy", "resize-8"):
        lactok.evaluate(name, metrics="psnr,error_profile", limit=3, resolution=64, out=out)
    return out


def bundle(runs: Path, path: Path) -> Path:
    results = load_results(runs)
    bundles.write(path, {name: file for r in results for name, file in files_of(r, r.name, pictures=False)})
    return path


def packed(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A bundle with these members, whose digests are right."""
    import hashlib

    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    about = {"kind": bundles.KIND, "schema": bundles.SCHEMA, "files": digests}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in {bundles.CONTENTS: json.dumps(about).encode(), **members}.items():
            file.writestr(name, content)
    return path


def test_a_bundle_holds_what_a_result_says_and_no_picture(runs: Path, tmp_path: Path) -> None:
    path = bundle(runs, tmp_path / "a.lactok.zip")
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
    assert {name.rpartition("/")[2] for name in names} == {bundles.CONTENTS, *bundles.FILES}
    assert not any(name.endswith(".png") for name in names)
    assert str(runs).encode() not in path.read_bytes()
    here, there = load_results(runs), load_results(path)
    assert [r.name for r in there] == [r.name for r in here]
    assert there.table() == here.table()
    for one, other in zip(here, there, strict=True):
        assert one.records.equals(other.records)
        assert one.about == other.about
    ids, other_ids = (stored_ids(next(r.folder for r in each if r.label == "toy")) for each in (here, there))
    assert ids is not None
    assert other_ids is not None
    assert np.array_equal(ids[0], other_ids[0])


def test_the_same_results_give_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "copied")
    first = bundle(runs, tmp_path / "a.lactok.zip").read_bytes()
    assert bundle(tmp_path / "copied", tmp_path / "b.lactok.zip").read_bytes() == first


def test_results_come_from_folders_and_bundles_together(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(next(runs.glob("toy__*")), tmp_path / "mine" / next(runs.glob("toy__*")).name)
    path = bundle(runs, tmp_path / "theirs.lactok.zip")
    results = lactok.load_results(tmp_path / "mine", path)
    assert [r.label for r in results] == ["resize-8", "toy"]
    assert results[1].folder.is_relative_to(tmp_path)
    changed = next((tmp_path / "mine").iterdir()) / "result.json"
    changed.write_text(changed.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(UserError, match="are different results; keep one of them, or merge the folders"):
        load_results(tmp_path / "mine", path)


def objects() -> bytes:
    out = io.BytesIO()
    np.savez(out, ids=np.array([{"a": 1}], dtype=object))
    return out.getvalue()


HOSTILE = {
    "up": {"../result.json": b"{}"},
    "absolute": {"/tmp/result.json": b"{}"},
    "deep": {"a/b/result.json": b"{}"},
    "windows": {"a\\..\\b/result.json": b"{}"},
    "drive": {"c:x/result.json": b"{}"},
    "program": {"a/run.py": b"print()"},
    "picture": {"a/images/x.png": b""},
    "alone": {"result.json": b"{}"},
    "pickle": {"a/tokens.npz": objects()},
    "no arrays": {"a/tokens.npz": b"junk"},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_bundle_may_hold_is_refused_before_it_is_used(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    path = packed(tmp_path / "in" / "x.lactok.zip", HOSTILE[kind])
    with pytest.raises(UserError) as raised:
        load_results(path)
    assert "\n" not in str(raised.value)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["x.lactok.zip"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"suite": "recon"', b'"suite": "recoN"', 1))


def _junk(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 and nothing of it")


def _more(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("more/result.json", "{}")


def _twice(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        name = file.namelist()[1]
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as file:
        file.writestr(name, "{}")


def _compressed(path: Path) -> None:
    packed(path, {"a/result.json": b"{}" * 100}, zipfile.ZIP_DEFLATED)


def _other(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "x")


@pytest.mark.parametrize("spoil", [_cut, _flip, _junk, _more, _twice, _compressed, _other])
def test_a_damaged_bundle_is_told_in_one_line(runs: Path, tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = bundle(runs, tmp_path / "x.lactok.zip")
    spoil(path)
    with pytest.raises(UserError, match=r"^x\.lactok\.zip is ") as raised:
        load_results(path)
    assert "\n" not in str(raised.value)


def test_a_bundle_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"no such folder, and no bundle, whose name ends in \.lactok\.zip"):
        load_results(tmp_path / "none.zip")
