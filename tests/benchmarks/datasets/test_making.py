"""`python -m benchmarks.datasets make flux5k`, with a tiny pipeline in the place of FLUX.1-dev."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pipelines
import pytest

from benchmarks.datasets.__main__ import main
from lactok.evaluation import datasets, flux5k

pytestmark = pytest.mark.slow  # diffusers

NAMES = [f"{number:012}.jpg" for number in range(6)]
TINY = "flux.1-dev@steps=1,size=64"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.save("flux.1-dev", tmp_path_factory.mktemp("weights")).parent


@pytest.fixture(autouse=True)
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """COCO's captions, of few images."""
    monkeypatch.setattr(flux5k, "SIZE", len(NAMES))
    images = [{"id": i, "file_name": name} for i, name in enumerate(NAMES)]
    texts = [{"id": i, "image_id": i, "caption": f"{i} red  buses"} for i in range(len(NAMES))]
    path = tmp_path / "coco" / "annotations" / "captions_val2017.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"images": images, "annotations": texts}))


def make(tmp_path: Path, weights: Path, *more: object, code: int = 0) -> None:
    arguments = ["make", "flux5k", "--data", tmp_path, "--weights", weights, "--generator", TINY, *more]
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == code


def digests(root: Path) -> dict[str, str]:
    files = sorted([*root.glob("*/samples/*.png"), root / "manifest.json"])
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_pictures_and_manifest(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "flux5k"
    make(tmp_path, weights, "--limit", 2)
    assert "2 of 6 pictures" in capsys.readouterr().out
    make(tmp_path, weights)
    before = digests(root)
    manifest = json.loads((root / "manifest.json").read_text())
    assert [image["file"] for image in manifest["images"]] == [f"{i:05}/samples/0000.png" for i in range(6)]
    assert all(before[image["file"]] == image["sha256"] for image in manifest["images"])
    assert manifest["images"][3]["prompt"] == "3 red buses"
    assert manifest["images"][3]["coco"] == NAMES[3]
    assert manifest["options"] == {"steps": 1, "guidance": 3.5, "size": 64}
    assert manifest["dtype"] == "bfloat16"
    # another generator makes no flux5k; by its own name the same folder is a data set
    with pytest.raises(SystemExit):
        main(["check", "flux5k", "--data", str(tmp_path)])
    assert f"says generator {manifest['generator']} instead of flux.1-dev" in capsys.readouterr().err
    assert len(datasets.get(str(root)).samples) == 6
    monkeypatch.setattr(flux5k, "GENERATOR", manifest["generator"])
    assert len(datasets.get("flux5k", tmp_path).samples) == 6
    # killed at any point: some pictures are not there, one is cut short
    for i in (1, 4):
        (root / f"{i:05}/samples/0000.png").unlink()
    cut = root / "00002/samples/0000.png"
    cut.write_bytes(cut.read_bytes()[:100])
    (root / "manifest.json").unlink()
    make(tmp_path, weights)
    assert digests(root) == before


def test_without_captions_it_says_where_to_get_them(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flux5k, "SIZE", 5000)
    make(tmp_path, weights, code=2)
    assert "has captions of 6 images, COCO's val2017 of 5000" in capsys.readouterr().err
    (tmp_path / "coco" / "annotations" / "captions_val2017.json").unlink()
    make(tmp_path, weights, code=2)
    err = capsys.readouterr().err
    assert "`python -m benchmarks.datasets fetch coco` gets it" in err
    assert err.count("\n") == 1
