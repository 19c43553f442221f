"""Files are written whole or not at all, and what a killed writer leaves is removed by the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lactok import files
from lactok.files import copy_atomically, replacing, tidy, write_atomically

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
