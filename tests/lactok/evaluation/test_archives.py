"""Images in tar, zip and Parquet files: the same samples as from the files, and damage told in one line."""

from __future__ import annotations

import gzip
import io
import json
import logging
import pickle
import sys
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from conftest import photograph

import lactok
from lactok.errors import UserError
from lactok.evaluation import datasets
from lactok.images import UnreadableImage

KINDS = ("tar", "zip", "parquet")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of seven pictures, one of them damaged, in two folders."""
    folder = tmp_path / "pictures"
    for i in range(7):
        path = folder / f"n{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(i).save(path)
    (folder / "n0" / "4.png").write_bytes(b"no picture")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


def packed(kind: str, path: Path, files: dict[str, bytes]) -> Path:
    """An archive of files, `path` with the kind's ending."""
    path = path.with_name(f"{path.name}.{kind}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "tar":
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                header = tarfile.TarInfo(name)
                header.size = len(data)
                tar.addfile(header, io.BytesIO(data))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        rows = [{"bytes": data, "path": name} for name, data in files.items()]
        pyarrow.parquet.write_table(pyarrow.table({"image": rows}), path, row_group_size=3)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_those_of_the_files(kind: str, pictures: Path, tmp_path: Path) -> None:
    path = packed(kind, tmp_path / "archive", content(pictures))
    expected = datasets.folder(pictures).samples
    found = datasets.get(str(path)).samples
    assert [(s.id, s.sha256, s.size()) for s in found] == [(s.id, s.sha256, s.size()) for s in expected]
    for ours, theirs in zip(pickle.loads(pickle.dumps(found)), expected, strict=True):
        if ours.id == "n0/4.png":
            with pytest.raises(UnreadableImage, match="not an image"):
                ours.open()
        else:
            assert ours.open().tobytes() == theirs.open().tobytes()
    assert datasets.get(str(path), limit=3).samples == tuple(s for s in found if s.id in chosen(expected, 3))


def test_a_group_of_rows_is_read_once_for_several_threads(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = datasets.get(str(packed("parquet", tmp_path / "archive", content(pictures)))).samples[:3]
    read: list[object] = []
    usual = pyarrow.parquet.ParquetFile

    def read_bytes(sample: datasets.Sample) -> bytes:
        assert sample.member is not None
        return sample.member.read(sample.path)

    def opened(path: Path) -> Any:
        read.append(path)
        time.sleep(0.05)
        return usual(path)

    monkeypatch.setattr(pyarrow.parquet, "ParquetFile", opened)
    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(read_bytes, samples))
    assert len(read) == 1


def chosen(samples: tuple[datasets.Sample, ...], limit: int) -> set[str]:
    return {sample.id for sample in datasets.limited(samples, limit)}


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_the_files(kind: str, pictures: Path, tmp_path: Path) -> None:
    packed(kind, tmp_path / "shards" / "archive", content(pictures))
    results = [
        lactok.evaluate("resize-8", dataset=folder, metrics="psnr", out=tmp_path / "runs")
        for folder in (pictures, tmp_path / "shards")
    ]
    plain, inside = (result.data for result in results)
    assert inside.metrics == plain.metrics
    assert inside.dataset.list_sha256 == plain.dataset.list_sha256
    assert inside.dataset.sha256 == plain.dataset.sha256
    assert [s.id for s in inside.dataset.skipped] == ["n0/4.png"]
    assert results[0].records.drop(columns="caption").equals(results[1].records.drop(columns="caption"))


def test_many_shards_by_folder_glob_and_braces(pictures: Path, tmp_path: Path) -> None:
    files = content(pictures)
    for i, name in enumerate(files):
        packed("tar", tmp_path / "shards" / f"part-{i:03}", {name: files[name]})
    expected = [s.id for s in datasets.folder(pictures).samples]
    for name in ("", "/part-*.tar", "/part-{000..006}.tar"):
        dataset = datasets.get(f"{tmp_path}/shards{name}")
        assert [s.id for s in dataset.samples] == expected
        assert dataset.name.startswith("shards-" if not name else "part-")
    with pytest.raises(UserError, match=r"no shard .*part-007\.tar"):
        datasets.get(f"{tmp_path}/shards/part-{{000..007}}.tar")


def test_captions_of_shards_and_rows(pictures: Path, tmp_path: Path) -> None:
    files = {"0.png": b"a", "0.txt": b"a  red\nbus", "1.png": b"b", "1.json": json.dumps({"prompt": "two"}).encode()}
    path = packed("tar", tmp_path / "a", files | {"2.png": b"c"})
    assert [s.caption for s in datasets.get(str(path)).samples] == ["a red bus", "two", None]
    rows = [{"bytes": b"a", "path": None}, {"bytes": b"b", "path": ""}]
    table = pyarrow.table({"image": rows, "text": ["one", None]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    samples = datasets.get(str(tmp_path / "rows.parquet")).samples
    assert [(s.id, s.caption) for s in samples] == [("rows/000000", "one"), ("rows/000001", None)]
    table = pyarrow.table({"jpg": [b"a"], "other": [b"b"]})
    pyarrow.parquet.write_table(table, tmp_path / "plain.parquet")
    assert datasets.get(str(tmp_path / "plain.parquet")).samples[0].member.read(tmp_path / "plain.parquet") == b"a"


def one_line(name: str | Path) -> str:
    with pytest.raises(UserError) as stop:
        datasets.get(str(name))
    assert str(stop.value).isprintable()
    assert len(str(stop.value)) < 600
    return str(stop.value)


class TestDamage:
    def test_no_archives_at_all(self, tmp_path: Path) -> None:
        for kind in KINDS:
            path = tmp_path / f"a.{kind}"
            path.write_bytes(b"no archive" * 200)
            assert f"a.{kind} is damaged" in one_line(path)
            path.write_bytes(b"")
            assert f"a.{kind}" in one_line(path)

    @pytest.mark.parametrize("kind", ["zip", "parquet"])
    def test_cut_short(self, kind: str, pictures: Path, tmp_path: Path) -> None:
        path = packed(kind, tmp_path / "a", content(pictures))
        path.write_bytes(path.read_bytes()[:-40])
        assert "get it again" in one_line(path)

    def test_a_tar_that_was_cut_short_is_used_as_far_as_it_is_whole(
        self, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = packed("tar", tmp_path / "a", content(pictures))
        with tarfile.open(path) as tar:
            last = tar.getmembers()[-1]
        path.write_bytes(path.read_bytes()[: last.offset_data + 10])
        with caplog.at_level(logging.WARNING):
            assert len(datasets.get(str(path)).samples) == 6
        assert "a.tar is damaged: cut short" in caplog.text

    @pytest.mark.parametrize("kind", ["zip", "parquet"])
    def test_one_damaged_member_is_left_out(self, kind: str, tmp_path: Path) -> None:
        files = {f"{i}.png": bytes([i]) * 1000 for i in range(7)}
        buffer = io.BytesIO()
        photograph(0).save(buffer, "PNG")
        path = tmp_path / f"a.{kind}"
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name in files:
                    archive.writestr(name, buffer.getvalue())
            place = path.read_bytes().index(buffer.getvalue())
        else:
            rows = [{"bytes": buffer.getvalue() + name.encode(), "path": name} for name in files]
            table = pyarrow.table({"image": rows})
            options: dict[str, Any] = {"row_group_size": 1, "compression": "NONE", "use_dictionary": False}
            pyarrow.parquet.write_table(table, path, write_page_checksum=True, **options)
            place = path.read_bytes().index(buffer.getvalue() + b"0.png") - 30
        data = bytearray(path.read_bytes())
        for i in range(place, place + 30):
            data[i] ^= 0xFF
        path.write_bytes(bytes(data))
        result = lactok.evaluate("resize-8", dataset=path, metrics="psnr", out=tmp_path / "runs")
        assert [s.id for s in result.data.dataset.skipped] == ["0.png"]
        assert result["psnr"].n == 6

    def test_a_compressed_tar_is_refused(self, pictures: Path, tmp_path: Path) -> None:
        path = packed("tar", tmp_path / "a", content(pictures))
        (tmp_path / "b.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
        assert "unpack it to a plain .tar first" in one_line(tmp_path / "b.tar.gz")

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_two_members_of_one_name(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            for _ in range(2):
                tar.addfile(tarfile.TarInfo("0.png"))
        assert "two images of the name 0.png" in one_line(tmp_path / "a.tar")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("0.png", "a")
            archive.writestr("0.png", "b")
        assert "two images have the name 0.png" in one_line(tmp_path / "a.zip")
        for part in "bc":
            packed("tar", tmp_path / "shards" / part, {"0.png": b"a"})
        assert "two images have the name 0.png, in " in one_line(tmp_path / "shards")

    @pytest.mark.parametrize("kind", KINDS)
    def test_two_unicode_forms_of_one_name(self, kind: str, tmp_path: Path) -> None:
        path = packed(kind, tmp_path / "a", {"caf\u00e9.png": b"a", "cafe\u0301.png": b"b"})
        assert "one name in two Unicode forms" in one_line(path)

    def test_columns_that_are_no_images(self, tmp_path: Path) -> None:
        pyarrow.parquet.write_table(pyarrow.table({"a": [1], "b": ["x"]}), tmp_path / "a.parquet")
        assert "has no column of images; its columns are a, b" in one_line(tmp_path / "a.parquet")
        pyarrow.parquet.write_table(pyarrow.table({"a": [b"1"], "b": [b"x"]}), tmp_path / "a.parquet")
        assert "several columns of images (a, b), and none is called image" in one_line(tmp_path / "a.parquet")

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_images_in_it(self, kind: str, tmp_path: Path) -> None:
        files = {"a.txt": b"text", "__MACOSX/0.png": b"copy", ".hidden/1.png": b"hidden"}
        path = packed(kind, tmp_path / "a", files if kind != "parquet" else {})
        if kind == "parquet":
            kinds = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
            pyarrow.parquet.write_table(pyarrow.table({"image": pyarrow.array([], kinds)}), path)
        assert "holds no images" in one_line(path)


OPENED: list[str] | None = None


def note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and OPENED is not None:
        OPENED.append(str(arguments[0]))


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_only_what_is_chosen_is_opened(kind: str, tmp_path: Path) -> None:
    """Of 5,000 files, a limit of 50 reads 50; the archive is opened for its headers and for those."""
    global OPENED
    files = {f"n{i % 7}/{i:05}.png": b"%05d" % i for i in range(5000)}
    path = tmp_path / "many"
    if kind == "tar":
        path = packed("tar", path, files)
    else:
        for i in range(7):
            (path / f"n{i}").mkdir(parents=True)
        for name, data in files.items():
            (path / name).write_bytes(data)
    if note not in HOOKS:
        HOOKS.append(note)
        sys.addaudithook(note)
    OPENED = []
    try:
        dataset = datasets.get(str(path), limit=50)
        opened = [name for name in OPENED if name.startswith(str(tmp_path))]
    finally:
        OPENED = None
    assert len(dataset.samples) == 50
    assert len(opened) < 60
    if kind == "folder":
        assert sorted(opened) == sorted(str(sample.path) for sample in dataset.samples)


HOOKS: list[object] = []
