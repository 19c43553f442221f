"""Files are written whole or not at all, and what a killed writer leaves is removed by the next one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
from reference import ROOT

import lactok
from benchmarks.verify import sets
from lactok import files, images, registry, weights
from lactok.errors import UserError
from lactok.evaluation import datasets
from lactok.evaluation.writing import LONGEST, folder_name
from lactok.files import copy_atomically, is_file, is_folder, replacing, tidy, write_atomically
from lactok.nn.vqgan import VQConfig
from lactok.training.vq import VQRecipe
from reports import grids, serve, stored_runs

KILLED = """
import os, signal, sys
from pathlib import Path
from lactok.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_writers_file_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a")])
    assert killed.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    write_atomically(tmp_path / "b", b"new")
    assert names(tmp_path) == ["a", "b"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_writer_at_work_keeps_its_file(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as temporary:
        temporary.write_bytes(b"half")
        tidy(tmp_path)
        assert temporary.exists()
    assert (tmp_path / "a").read_bytes() == b"half"


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def broken() -> None:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("name", [".x.npz.00000000-1-0.part", ".x.npz.123.part", "new-abcd_12x"])
def test_other_machines_and_earlier_versions_files_go_when_an_hour_old(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir() if name.startswith("new") else path.write_bytes(b"half")
    tidy(tmp_path)
    assert path.exists()
    os.utime(path, (time.time() - files.ABANDONED - 60,) * 2)
    tidy(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize(
    "name", [".film.part", "film.mkv.part", ".part", "new-folder", ".a.1.part.txt", "new-12345678"]
)
def test_what_others_wrote_stays(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir()
    (path / "file").write_bytes(b"theirs")
    os.utime(path, (0, 0))
    tidy(tmp_path)
    assert (path / "file").exists()


@pytest.mark.parametrize("name", [".backup.001.part", "new-pictures", "new-document"])
def test_writing_a_file_leaves_what_others_wrote_beside_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.mkdir() if name.startswith("new") else path.write_bytes(b"theirs")
    os.utime(path, (0, 0))
    write_atomically(tmp_path / "table.svg", b"x")
    assert path.exists()


def test_names_as_long_as_a_file_system_has_them(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize("without", [False, True])
def test_a_copy_is_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: bool) -> None:
    def refused(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    if without:
        monkeypatch.setattr(os, "copy_file_range", refused, raising=False)
    (tmp_path / "a").write_bytes(b"content" * 1000)
    copy_atomically(tmp_path / "a", tmp_path / "deep" / "b")
    (tmp_path / "deep" / "b").open("r+b").write(b"EDITED")
    assert (tmp_path / "a").read_bytes() == b"content" * 1000
    assert names(tmp_path / "deep") == ["b"]


LONG = "x" * 300  # no file system of today has such a name


def test_no_file_and_no_folder_has_a_name_that_is_too_long() -> None:
    assert not is_file(Path(LONG))
    assert not is_folder(Path(LONG))
    assert not is_file(Path("a\0b"))
    assert not is_folder(Path("a\0b"))


READERS: dict[str, Callable[[], object]] = {
    "results": lambda: lactok.load_results(LONG),
    "weights": lambda: weights.use_folder(LONG),
    "adapter": lambda: registry.TOKENIZERS.check_name(f"./{LONG}.py:A"),
    "picture": lambda: images.open_picture(LONG),
    "comparison": lambda: stored_runs.find([LONG], LONG),
    "served page": lambda: serve.server(Path(LONG), 0),
    "grid": lambda: grids.generated(Namespace(folders=[Path(LONG)])),
    "reference set": lambda: sets.read(Path(LONG)),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_name_that_is_too_long_is_a_users_mistake(reader: str) -> None:
    with pytest.raises(UserError) as raised:
        READERS[reader]()
    assert "\n" not in str(raised.value)
    assert "xxx...xxx" in str(raised.value)


def test_a_folder_of_weights_whose_name_is_too_long_is_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asset = weights.known_assets()["fid-inception"][0]
    monkeypatch.setenv("LACTOK_CACHE", LONG)
    assert weights.locate(asset) is None
    monkeypatch.setenv("LACTOK_WEIGHTS", LONG)
    with pytest.raises(UserError, match="no such folder"):
        weights.locate(asset)


def test_names_of_results_fit_into_a_folder() -> None:
    images = "images-" + "d" * 250 + "-012345"
    assert folder_name("jpeg", "d" * 128 + "-012345", "1a-2b") == "jpeg__" + "d" * 128 + "-012345__1a-2b"
    name = folder_name(images, "d" * 128 + "-012345", "1a-2b", limit=100, dtype="bfloat16", seed=3)
    assert len(name) <= LONGEST
    # the table of a command finds its results by the ends of their names
    assert name.endswith(folder_name("", "d" * 128 + "-012345", "1a-2b", limit=100, dtype="bfloat16", seed=3))
    assert name != folder_name(images + "x", "d" * 128 + "-012345", "1a-2b", limit=100, dtype="bfloat16", seed=3)
    assert len(folder_name("geneval", images, "detector-colours")) <= LONGEST


def test_users_names_are_looked_up_by_functions_that_take_any_name() -> None:
    """A bare `Path(name).is_file()` raises OSError where a name is too long."""
    found = []
    for package in ("lactok", "benchmarks", "reports", "baselines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if re.search(r"Path\([^()]*\)\.(is_file|is_dir|exists)\(\)", path.read_text()):
                found.append(path.name)
    assert found == []


def test_messages_name_what_the_user_gave(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`reference` good/0\.png: no such folder"):
        datasets.get("good/0.png", argument="reference")
    with pytest.raises(UserError, match=r"RUN A/result\.json: no folder of a result"):
        stored_runs.find(["A/result.json"], str(tmp_path / "none"))
    with pytest.raises(UserError, match="`runs` is empty"):
        lactok.load_results("")
    with pytest.raises(UserError, match=r"bits=1: between 64 and 1000000000$"):
        registry.spec("jpeg@bits=1")
    with pytest.raises(UserError, match="300 characters, 100 at most"):
        VQRecipe(name="x" * 300, data="sample", steps=1, batch=1, crop="center", scale=(1.0, 1.0), model=VQConfig())
