"""`python -m benchmarks.datasets list | check | fetch`."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import photograph
from hub import COMMIT, Cut, LocalHub

import lactok
from benchmarks.datasets import fetching, transfer
from benchmarks.datasets.__main__ import main
from lactok.evaluation import mjhq, published_sets

COCO = [f"{number:012}.jpg" for number in range(139, 145)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published sets, but with few images."""
    for name, size in (("coco", len(COCO)), ("mjhq", 10)):
        monkeypatch.setitem(published_sets.PUBLISHED, name, replace(published_sets.PUBLISHED[name], size=size))
    monkeypatch.setattr(published_sets, "COCO_ENDS", (COCO[0], COCO[-1]))
    monkeypatch.setattr(mjhq, "EACH", 2)
    monkeypatch.setattr(mjhq, "CHOSEN", 1)


def run(*arguments: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == code


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The line that a command ends with; nothing is written to standard output."""
    capsys.readouterr()
    run(*arguments, code=2)
    out, err = capsys.readouterr()
    line = err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert out == ""
    return line.removeprefix("error: ")


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    photograph(seed).save(buffer, "JPEG")
    return buffer.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def annotations() -> bytes:
    images = [{"id": i, "file_name": name} for i, name in enumerate(COCO)]
    texts = [{"id": i, "image_id": i, "caption": f"caption of {name}"} for i, name in enumerate(COCO)]
    return json.dumps({"images": images, "annotations": texts}).encode()


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A folder of data sets with COCO in it, train beside val."""
    for i, name in enumerate(COCO):
        path = tmp_path / "data" / "coco" / "val2017" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(i))
    (tmp_path / "data" / "coco" / "train2017").mkdir()
    (tmp_path / "data" / "coco" / "train2017" / "000000000009.jpg").write_bytes(b"")
    return tmp_path / "data"


def test_the_list_says_what_is_here(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (coco / "mjhq" / "animals").mkdir(parents=True)
    (coco / "mjhq" / "animals" / "a.jpg").write_bytes(b"")
    run("list", "--data", coco)
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line[:1].isalpha()}
    assert "not here" in rows["imagenet"]
    assert "50,000" in rows["imagenet"]
    assert " here " in rows["coco"]
    assert "not here" not in rows["coco"]
    assert "another set" in rows["mjhq"]
    assert "1 images of the category animals, not 2" in out


def test_check_prints_the_digests_of_results(
    coco: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("check", "coco", "--data", coco, "--contents")
    out = capsys.readouterr().out
    assert "6 images, the header of each can be read" in out
    monkeypatch.setenv("LACTOK_DATA", str(coco))
    stored = lactok.evaluate("resize-8", dataset="coco", metrics="psnr", out=tmp_path / "runs").data.dataset
    assert f"list of ids: {stored.list_sha256}" in out
    assert f"ids and images:  {stored.sha256}" in out
    run("check", coco / "coco" / "val2017")
    assert "no published set" in capsys.readouterr().out


def test_what_is_wrong_is_one_line(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = error_of(capsys, "check", "imagenet", "--data", coco)
    assert "data set imagenet is not in" in missing
    assert "or set LACTOK_DATA to the folder that imagenet is in;" in missing
    photograph = coco / "coco" / "val2017" / COCO[0]
    assert f"{photograph} is one file; name a folder of images" in error_of(capsys, "check", photograph)
    extra = error_of(capsys, "check", "coco", coco)
    assert extra.endswith("`python -m benchmarks.datasets check --help` explains the arguments")
    assert "`python -m benchmarks.datasets --help`" in error_of(capsys, "chek")
    (coco / "coco" / "val2017" / COCO[2]).write_bytes(b"no picture")
    line = error_of(capsys, "check", "coco", "--data", coco)
    assert f"1 of 6 images cannot be read: {COCO[2]}; get them again" in line
    (coco / "coco" / "val2017" / COCO[2]).unlink()
    assert "5 images of names with twelve digits, not 6" in error_of(capsys, "check", "coco", "--data", coco)
    assert "did you mean 'coco'?" in error_of(capsys, "check", "cocoo", "--data", coco)
    assert "invalid choice" in error_of(capsys, "fetch", "nothing")
    assert "register at image-net.org" in error_of(capsys, "fetch", "imagenet", "--data", coco)
    assert "make flux5k" in error_of(capsys, "fetch", "flux5k", "--data", coco)
    assert "is a file, not a folder" in error_of(
        capsys, "fetch", "coco", "--data", coco / "coco/train2017/000000000009.jpg"
    )


@pytest.fixture
def host(local: LocalHub, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """COCO's host, with small files."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(transfer, "CHUNK", 1000)
    images = packed({f"val2017/{name}": jpeg(i) for i, name in enumerate(COCO)})
    texts = packed({name: annotations() for name in fetching.COCO[1].members} | {"annotations/x.json": b"{}"})
    made = []
    for one, content in zip(fetching.COCO, (images, texts), strict=True):
        name = one.url.rpartition("/")[2]
        made.append(replace(one, url=f"{local.url}/files/{name}", sha256=local.add(name, content)))
    monkeypatch.setattr(fetching, "COCO", tuple(made))
    return local


class TestCoco:
    def test_it_is_fetched_and_checked(
        self, host: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run("fetch", "coco", "--data", tmp_path)
        assert "6 images" in capsys.readouterr().out
        names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("[!.]*") if p.is_file()}
        assert names == {"coco/val2017.zip", *(f"coco/{name}" for name in fetching.COCO[1].members)}
        asked = len(host.asked)
        run("fetch", "coco", "--data", tmp_path)
        assert len(host.asked) == asked
        run("check", "coco", "--data", tmp_path)
        assert "captions: 6" in capsys.readouterr().out

    def test_images_that_are_here_are_not_fetched_again(self, host: LocalHub, tmp_path: Path) -> None:
        for i, name in enumerate(COCO):
            (tmp_path / "coco" / "val2017" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "coco" / "val2017" / name).write_bytes(jpeg(i))
        run("fetch", "coco", "--data", tmp_path)
        assert not (tmp_path / "coco" / "val2017.zip").exists()
        assert all((tmp_path / "coco" / name).is_file() for name in fetching.COCO[1].members)

    def test_broken_transfers_go_on(self, host: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        host.script = [Cut(2500), Cut(1000)]
        run("fetch", "coco", "--data", tmp_path)
        assert host.starts()[:3] == [None, 2000, 3000]  # what came in whole pieces is kept
        assert "6 images" in capsys.readouterr().out

    def test_a_killed_transfer_goes_on(
        self, host: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        host.script = [Cut(2000), Cut(0)]
        line = error_of(capsys, "fetch", "coco", "--data", tmp_path)
        assert "the transfer broke off; 0.0 MB are here, run again to go on from there" in line
        assert not (tmp_path / "coco" / "val2017.zip").exists()
        run("fetch", "coco", "--data", tmp_path)
        assert 2000 in host.starts()

    def test_another_beginning_is_thrown_away(self, host: LocalHub, tmp_path: Path) -> None:
        half = tmp_path / "coco" / fetching.HALF_DONE / "val2017.zip"
        half.parent.mkdir(parents=True)
        half.write_bytes(b"x" * 1000)
        run("fetch", "coco", "--data", tmp_path)
        assert host.starts()[:2] == [1000, None]
        half.parent.mkdir()
        half.write_bytes(b"x" * 10**6)
        (tmp_path / "coco" / "val2017.zip").unlink()
        run("fetch", "coco", "--data", tmp_path)

    def test_another_file_is_refused(
        self, host: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fetching, "COCO", tuple(replace(one, sha256="0" * 64) for one in fetching.COCO))
        assert "it arrived damaged, or is another file than before" in error_of(
            capsys, "fetch", "coco", "--data", tmp_path
        )
        assert not list((tmp_path / "coco").glob("*.zip"))
        host.status = 404
        assert "the host answered 404" in error_of(capsys, "fetch", "coco", "--data", tmp_path)


class TestMjhq:
    def images(self) -> dict[str, bytes]:
        return {f"{category}/{i}{category}.jpg": jpeg(i) for category in mjhq.CATEGORIES for i in range(2)}

    def test_the_zip_comes_from_the_hub(
        self, here: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        meta = {Path(name).stem: {"category": name.split("/")[0], "prompt": "p"} for name in self.images()}
        content = packed(self.images())
        here.add("datasets/playgroundai/MJHQ-30K/mjhq30k_imgs.zip", content)
        here.add("datasets/playgroundai/MJHQ-30K/meta_data.json", json.dumps(meta).encode())
        here.add("datasets/playgroundai/MJHQ-30K/data/test-00000-of-00001.parquet", b"not needed")
        here.script = [Cut(2000)]
        run("fetch", "mjhq", "--data", tmp_path)
        assert 2000 in here.starts()
        assert "10 images" in capsys.readouterr().out
        source = (tmp_path / "mjhq" / "SOURCE.txt").read_text()
        assert source.startswith(f"playgroundai/MJHQ-30K at {COMMIT}\n")
        assert f"{hashlib.sha256(content).hexdigest()}  mjhq30k_imgs.zip" in source
        left = {p.name for p in (tmp_path / "mjhq").glob("[!.]*")}
        assert left == {"SOURCE.txt", "mjhq30k_imgs.zip", "meta_data.json"}
        run("check", "mjhq", "--data", tmp_path)
        out = capsys.readouterr().out
        assert "of them 1 in animals, 1 in art" in out
        assert "captions: 10" in out

    def test_parquet_where_there_is_no_zip(self, here: LocalHub, tmp_path: Path) -> None:
        import pyarrow
        import pyarrow.parquet

        rows = self.images()
        images = [{"bytes": data, "path": name.split("/")[1]} for name, data in rows.items()]
        table = pyarrow.table({"image": images, "label": [name.split("/")[0] for name in rows]})
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer)
        here.add("datasets/playgroundai/MJHQ-30K/data/test-00000-of-00001.parquet", buffer.getvalue())
        run("fetch", "mjhq", "--data", tmp_path)
        assert (tmp_path / "mjhq" / "data" / "test-00000-of-00001.parquet").is_file()
        run("check", "mjhq", "--data", tmp_path)

    def test_a_hub_that_refuses_is_one_line(
        self, here: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = error_of(capsys, "fetch", "mjhq", "--data", tmp_path)
        assert line.startswith("playgroundai/MJHQ-30K: no such repository on the hub")
        assert "put the 30,000 images of MJHQ-30K" in line
        here.add("datasets/playgroundai/MJHQ-30K/README.md", b"")
        assert "neither mjhq30k_imgs.zip nor Parquet" in error_of(capsys, "fetch", "mjhq", "--data", tmp_path)
        here.status = 503
        assert "answered 503" in error_of(capsys, "fetch", "mjhq", "--data", tmp_path)
