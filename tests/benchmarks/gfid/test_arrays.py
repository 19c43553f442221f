"""Files of arrays of others: read without unpickling, refused in a line, written so that ADM's reader takes them."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gfid import arrays
from benchmarks.gfid.reference import read
from lactok.errors import DiskError, MissingFile, UserError, WrongValue
from lactok.evaluation.store import Store
from lactok.metrics.frechet import Gaussian

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
MU, SIGMA = np.zeros(2048), np.eye(2048)


class Opener:
    """Would run a command if it were unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch unpickled",)


def without_end(path: Path) -> None:
    np.savez(path, arr_0=PICTURES)
    path.write_bytes(path.read_bytes()[:-40])


def member(name: str, data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, data)

    return write


def saved(**content: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **content)


def as_bytes(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "no .npz file, or a damaged one"),
        (lambda path: path.write_bytes(b"\x80\x04."), "no .npz file, or a damaged one"),
        (without_end, "no .npz file, or a damaged one"),
        (member("a.txt", b"hello"), "no array in it"),
        (member("arr_0.npy", b"\x93NUMPY\x01\x00\xff\xff"), "no .npz file, or a damaged one"),
        (member("arr_0.npy", as_bytes(PICTURES)[:-9]), "arr_0 is cut off"),
        (saved(arr_0=np.array([Opener()], dtype=object)), "arr_0 holds pickled objects, which are not read"),
        (saved(mu=MU, sigma=np.array([None])), "sigma holds pickled objects"),
        (saved(ids=np.zeros(3)), "it holds ids; a reference has mu and sigma, or pictures in arr_0"),
        (saved(arr_0=PICTURES[..., :1]), r"arr_0 is \(5, 8, 8, 1\) uint8; pictures are \(N, S, S, 3\) uint8"),
        (saved(arr_0=PICTURES.astype(np.float32)), "float32; pictures are"),
        (saved(arr_0=PICTURES[:0]), "pictures are"),
        (saved(arr_0=np.asfortranarray(PICTURES)), "arr_0 is stored in Fortran's order"),
        (saved(arr_0=PICTURES[:, :4]), "pictures are"),
        (saved(mu=MU), "statistics are `mu` and `sigma`, and one of them is missing"),
        (saved(mu=MU[:64], sigma=SIGMA[:64, :64]), "statistics of 64 features; those of FID's Inception have 2048"),
        (saved(mu=MU, sigma=SIGMA[:64]), r"mu is \(2048,\) and sigma \(64, 2048\)"),
        (saved(mu=MU[None], sigma=SIGMA), r"mu is \(1, 2048\)"),
        (saved(mu=MU.astype(int), sigma=SIGMA), "mu is int64; it holds decimal numbers"),
        (saved(mu=MU + np.nan, sigma=SIGMA), "not all finite"),
        (saved(mu=MU, sigma=SIGMA + np.eye(2048, k=1)), "sigma is no covariance"),
        (saved(mu=MU, sigma=-SIGMA), "sigma is no covariance"),
    ],
    ids=range(22),
)
def test_what_is_no_reference_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "r.npz")
    with pytest.raises(WrongValue, match=message) as raised:
        read(str(tmp_path / "r.npz"))
    assert str(raised.value).startswith("`reference` ")
    assert str(raised.value).isprintable()
    assert not Path("unpickled").exists()


def test_a_folder_of_that_name_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "f.npz").mkdir()
    for name in ("f.npz", "none.npz", "x" * 300 + ".npz"):
        with pytest.raises(MissingFile, match="no such file"):
            read(str(tmp_path / name))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_pictures_are_read_where_they_lie(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "p.npz"
    save(path, labels=np.arange(5), arr_0=PICTURES)
    store = Store(tmp_path / "out")
    found = arrays.pictures_of(path, arrays.headers(path, "images"), "images", store)
    assert len(found) == 5
    np.testing.assert_array_equal(np.stack(found.rows([4, 0, 2])), PICTURES[[4, 0, 2]])
    reference = read(str(path))
    assert (reference.kind, reference.n, reference.gaussian) == ("pictures", 5, None)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_array_that_is_damaged(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "p.npz"
    save(path, arr_0=np.repeat(PICTURES, 100, 0))
    data = bytearray(path.read_bytes())
    data[-300:-280] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(WrongValue, match="arr_0 is damaged; get the file again"):
        arrays.pictures_of(path, arrays.headers(path, "images"), "images", Store(tmp_path / "out"))
    assert not list((tmp_path / "out").rglob("*.npy*"))


def test_written_pictures_are_what_numpy_reads(tmp_path: Path) -> None:
    path = tmp_path / "new" / "s.npz"
    for _ in range(2):
        arrays.write_pictures(path, 8, [3, 1, 4, 1, 5], iter(PICTURES), 5, b"note")
        data = path.read_bytes()
        with np.load(path, allow_pickle=False) as stored:
            np.testing.assert_array_equal(stored["arr_0"], PICTURES)
            assert stored["arr_1"].tolist() == [3, 1, 4, 1, 5]
    assert path.read_bytes() == data
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment == b"note"
        with archive.open("arr_0.npy") as stream:  # as ADM's evaluator reads it, batch by batch
            assert np.lib.format.read_magic(stream) == (1, 0)
            assert np.lib.format.read_array_header_1_0(stream) == ((5, 8, 8, 3), False, np.uint8)
            assert stream.read() == PICTURES.tobytes()


def test_a_full_disk_is_a_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.npz"
    np.savez_compressed(path, arr_0=PICTURES)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    store = Store(tmp_path / "out")
    with pytest.raises(DiskError, match="no space left"):
        arrays.pictures_of(path, arrays.headers(path, "images"), "images", store)
    assert not list((tmp_path / "out").rglob("*.npy*"))


def test_statistics_travel(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(64, 2048))
    found = Gaussian(features.mean(0), np.cov(features, rowvar=False))
    arrays.write_statistics(tmp_path / "s.npz", found, 64)
    reference = read(str(tmp_path / "s.npz"))
    assert reference.gaussian is not None
    np.testing.assert_array_equal(reference.gaussian.covariance, found.covariance)
    assert (reference.n, reference.has_pictures, reference.name[:2]) == (64, False, "s-")
    np.savez(tmp_path / "t.npz", mu=found.mean.astype(np.float32), sigma=found.covariance.astype(np.float32))
    assert read(str(tmp_path / "t.npz")).n is None


def test_no_reference_is_a_line() -> None:
    for nothing in (None, ""):
        with pytest.raises(UserError, match="FID is a distance to a reference: name it by `reference`: a folder"):
            read(nothing)
