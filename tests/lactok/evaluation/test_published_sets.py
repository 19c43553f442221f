"""Published data sets: found at any usual layout, the same choice everywhere, and nothing else bears their names."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from conftest import photograph

import lactok
from lactok.errors import MissingFile
from lactok.evaluation import datasets, flux5k, mjhq, published_sets
from lactok.evaluation.candidates import NotPublished
from lactok.evaluation.protocol import digest

VAL = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 21)]
COCO = [f"{number:012}.jpg" for number in range(139, 159)]
MJHQ = [f"{category}/{number:02x}{category}.jpg" for category in mjhq.CATEGORIES for number in range(6)]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published sets, but with few images."""
    for name, size in (("imagenet", len(VAL)), ("coco", len(COCO)), ("mjhq", 30)):
        small = replace(published_sets.PUBLISHED[name], size=size, list_sha256="")
        monkeypatch.setitem(published_sets.PUBLISHED, name, small)
    monkeypatch.setattr(published_sets, "COCO_ENDS", (COCO[0], COCO[-1]))
    monkeypatch.setattr(mjhq, "EACH", 6)
    monkeypatch.setattr(mjhq, "CHOSEN", 3)
    monkeypatch.setattr(flux5k, "SIZE", 4)


def touch(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def tar_of(path: Path, names: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name in names:
            header = tarfile.TarInfo(name)
            header.size = len(name)
            tar.addfile(header, io.BytesIO(name.encode()))


def zip_of(path: Path, names: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, name)


def parquet_of(path: Path, rows: list[tuple[str | None, str]], labels: tuple[str, ...] = ()) -> None:
    """As the library datasets writes image folders: a struct of bytes and path, and numbers of labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": str(name).encode(), "path": name} for name, _ in rows]
    columns = {"image": images}
    features: dict[str, object] = {"image": {"_type": "Image"}}
    if labels:
        columns["label"] = [labels.index(label) for _, label in rows]
        features["label"] = {"names": list(labels), "_type": "ClassLabel"}
    notes = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pyarrow.table(columns).replace_schema_metadata(notes)
    pyarrow.parquet.write_table(table, path, row_group_size=4)


def found(name: str, root: Path, limit: int | None = None) -> list[str]:
    """The ids of a published set that is kept in `root`."""
    dataset = datasets.get(name, root, limit=limit)
    assert dataset.name == name
    return [sample.id for sample in dataset.samples]


def refused(name: str, root: Path) -> str:
    with pytest.raises(NotPublished) as stop:
        datasets.get(name, root)
    line = str(stop.value)
    assert line.isprintable()
    assert f"is not {name}" in line
    assert "Name the folder itself to use what is in it under a name of its own" in line
    return line


class TestImageNet:
    @pytest.mark.parametrize(
        "layout",
        [
            "{name}",
            "val/{name}",
            "val/n{folder:08}/{name}",
            "validation/{name}",
            "ILSVRC2012_img_val/{name}",
            "ILSVRC/Data/CLS-LOC/val/{name}",
            "imagenet/ILSVRC/Data/CLS-LOC/val/n{folder:08}/{name}",
        ],
    )
    def test_the_validation_part_is_found_beside_train(self, tmp_path: Path, layout: str) -> None:
        root = tmp_path / "imagenet"
        touch(root, [layout.format(name=name, folder=i % 3) for i, name in enumerate(VAL)])
        above = root / layout.partition("val")[0] if "val/" in layout else root
        touch(above / "train", [f"n01440764/n01440764_{i}.JPEG" for i in range(40)])
        touch(root, ["train/n01440764/n01440764_10026.JPEG", "test/ILSVRC2012_test_00000001.JPEG"])
        assert found("imagenet", tmp_path) == VAL
        assert found("imagenet", tmp_path, 5) == found("imagenet", flat(tmp_path), 5)

    def test_archives_are_read_as_they_are(self, tmp_path: Path) -> None:
        tar_of(tmp_path / "imagenet" / "ILSVRC2012_img_val.tar", VAL)
        tar_of(tmp_path / "imagenet" / "ILSVRC2012_img_train.tar", ["n01440764.tar"])
        assert found("imagenet", tmp_path) == VAL
        rows = [(name.replace(".JPEG", "_n01440764.JPEG"), "") for name in VAL]
        parquet_of(tmp_path / "hub" / "imagenet" / "data" / "validation-00000-of-00002.parquet", rows[:10])
        parquet_of(tmp_path / "hub" / "imagenet" / "data" / "validation-00001-of-00002.parquet", rows[10:])
        parquet_of(tmp_path / "hub" / "imagenet" / "data" / "train-00000-of-00002.parquet", [("n01440764_1.JPEG", "")])
        assert found("imagenet", tmp_path / "hub") == VAL

    def test_names_in_small_letters(self, tmp_path: Path) -> None:
        touch(tmp_path / "imagenet", [name.lower() for name in VAL])
        assert found("imagenet", tmp_path) == VAL

    def test_train_alone_is_refused(self, tmp_path: Path) -> None:
        touch(tmp_path / "imagenet", [f"n01440764/n01440764_{i}.JPEG" for i in range(20)])
        assert "holds training images, such as n01440764/n01440764_0.JPEG" in refused("imagenet", tmp_path)

    def test_names_that_are_not_the_published_ones_are_refused(self, tmp_path: Path) -> None:
        touch(tmp_path / "imagenet" / "val", [f"{i}.png" for i in range(20)])
        assert "20 images, and none of them is called ILSVRC2012_val_*.JPEG" in refused("imagenet", tmp_path)
        assert datasets.get(str(tmp_path / "imagenet")).name.startswith("imagenet-")

    def test_missing_and_second_images_are_refused(self, tmp_path: Path) -> None:
        root = touch(tmp_path / "imagenet" / "val", VAL[:-2])
        assert f"18 of the 20 images; missing are {VAL[-2]}, {VAL[-1]}" in refused("imagenet", tmp_path)
        touch(root, VAL)
        touch(root, ["ILSVRC2012_val_00000099.JPEG"])
        assert "1 images too many, such as ILSVRC2012_val_00000099.JPEG" in refused("imagenet", tmp_path)
        (root / "ILSVRC2012_val_00000099.JPEG").unlink()
        touch(root.parent / "copy", VAL[:1])
        assert f"{VAL[0]} twice" in refused("imagenet", tmp_path)

    def test_the_digest_of_the_list_is_known(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        names = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 50_001)]
        known = digest(names)
        assert known == "975b64c2bc10cbfe9f65c1b3f08591ac47ccf89cadf578e37a2e06f05ee3d3e0"
        touch(tmp_path / "imagenet" / "val", VAL)
        wanted = replace(published_sets.PUBLISHED["imagenet"], list_sha256=known)
        monkeypatch.setitem(published_sets.PUBLISHED, "imagenet", wanted)
        assert "the digest of the list" in refused("imagenet", tmp_path)
        monkeypatch.setitem(published_sets.PUBLISHED, "imagenet", replace(wanted, list_sha256=digest(VAL)))
        assert datasets.get("imagenet", tmp_path).list_sha256 == digest(VAL)


def flat(tmp_path: Path) -> Path:
    """A folder of data sets where ImageNet's validation images lie side by side."""
    touch(tmp_path / "flat" / "imagenet", VAL)
    return tmp_path / "flat"


def coco_annotations(root: Path, names: Iterable[str]) -> None:
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": 100 * k + i, "image_id": i, "caption": f"caption {k} of {name}"}
            for k in (2, 1)
            for i, name in enumerate(names)
        ],
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "captions_val2017.json").write_text(json.dumps(content))


class TestCoco:
    @pytest.mark.parametrize("layout", ["", "val2017", "images/val2017", "coco2017/images/val2017", "val"])
    def test_the_validation_part_is_found_beside_train(self, tmp_path: Path, layout: str) -> None:
        root = tmp_path / "coco"
        touch(root / layout, COCO)
        others = [f"{number:012}.jpg" for number in range(1000, 1040)]
        touch((root / layout).parent if layout else root, [f"train2017/{name}" for name in others])
        touch(root, [f"test2017/{name}" for name in others])
        assert found("coco", tmp_path) == COCO
        touch(tmp_path / "flat" / "coco", COCO)
        assert found("coco", tmp_path, 5) == found("coco", tmp_path / "flat", 5)

    def test_the_captions_are_those_of_the_lowest_annotation_ids(self, tmp_path: Path) -> None:
        zip_of(tmp_path / "coco" / "val2017.zip", [f"val2017/{name}" for name in COCO])
        coco_annotations(tmp_path / "coco" / "annotations", COCO)
        samples = datasets.get("coco", tmp_path).samples
        assert [sample.caption for sample in samples] == [f"caption 1 of {name}" for name in COCO]
        touch(tmp_path, [f"val2017/{COCO[0]}"])
        assert samples[0].content_sha256 == datasets.file_sha256(tmp_path / "val2017" / COCO[0])

    def test_what_is_not_val2017_is_refused(self, tmp_path: Path) -> None:
        root = touch(tmp_path / "coco", ["a.jpg"])
        assert "no images of names with twelve digits" in refused("coco", tmp_path)
        touch(root / "val2017", COCO[1:])
        assert "19 images of names with twelve digits, not 20" in refused("coco", tmp_path)
        touch(root / "val2017", ["000000999999.jpg"])
        assert f"its images are {COCO[1]} to 000000999999.jpg" in refused("coco", tmp_path)
        shutil.rmtree(root / "val2017")
        touch(root / "val2017", [*COCO[:5], "000000000143a.jpg", *COCO[6:], "000000000138.jpg"])
        coco_annotations(root / "annotations", COCO)
        assert f"19 of the 20 images; missing are {COCO[5]}" in refused("coco", tmp_path)

    def test_train_alone_is_refused(self, tmp_path: Path) -> None:
        touch(tmp_path / "coco" / "train2017", COCO)
        assert "no images" in refused("coco", tmp_path)


class TestMjhq:
    def kept(self, root: Path, kind: str) -> Path:
        root = root / "mjhq"
        if kind == "zip":
            zip_of(root / "mjhq30k_imgs.zip", [f"mjhq30k_imgs/{name}" for name in MJHQ])
        elif kind == "parquet":
            rows = [(Path(name).name, name.split("/")[0]) for name in MJHQ]
            for i in range(3):
                path = root / "data" / f"test-{i:05}-of-00003.parquet"
                parquet_of(path, rows[20 * i : 20 * i + 20], mjhq.CATEGORIES)
        elif kind == "flat":
            touch(root, [Path(name).name for name in MJHQ])
            meta = {Path(name).stem: {"category": name.split("/")[0], "prompt": f"a  {name}"} for name in MJHQ}
            (root / "meta_data.json").write_text(json.dumps(meta))
        else:
            touch(root / kind, MJHQ)
        return root.parent

    @pytest.mark.parametrize("kind", ["mjhq30k_imgs", "a/b/c", "zip", "parquet", "flat"])
    def test_the_choice_does_not_depend_on_how_it_is_kept(self, tmp_path: Path, kind: str) -> None:
        expected = found("mjhq", self.kept(tmp_path / "plain", ""))
        assert found("mjhq", self.kept(tmp_path / "other", kind)) == expected
        assert Counter(name.split("/")[0] for name in expected) == dict.fromkeys(mjhq.CATEGORIES, 3)
        limited = found("mjhq", tmp_path / "other", 7)
        assert limited == found("mjhq", tmp_path / "plain", 7)
        assert set(limited) < set(expected)

    def test_the_choice_is_by_the_files_own_names(self, tmp_path: Path) -> None:
        expected = []
        for category in mjhq.CATEGORIES:
            own = {name: hashlib.sha256(f"0 {Path(name).stem}".encode()).hexdigest() for name in MJHQ}
            expected += sorted([name for name in MJHQ if name.startswith(f"{category}/")], key=own.__getitem__)[:3]
        assert found("mjhq", self.kept(tmp_path, "")) == sorted(expected)

    def test_prompts_are_captions(self, tmp_path: Path) -> None:
        samples = datasets.get("mjhq", self.kept(tmp_path, "flat")).samples
        assert all(sample.caption == f"a {sample.id}" for sample in samples)
        below = tmp_path / "below" / "mjhq"
        below.mkdir(parents=True)
        (tmp_path / "mjhq").rename(below / "MJHQ-30K")
        assert [sample.caption for sample in datasets.get("mjhq", tmp_path / "below").samples] == [
            sample.caption for sample in samples
        ]

    def test_wrong_numbers_and_categories_are_refused(self, tmp_path: Path) -> None:
        root = self.kept(tmp_path, "mjhq30k_imgs") / "mjhq" / "mjhq30k_imgs"
        (root / MJHQ[0]).unlink()
        assert "5 images of the category animals, not 6" in refused("mjhq", tmp_path)
        touch(root, [MJHQ[0], "seventh/a.jpg"])
        assert "seventh/a.jpg is of none of the categories animals, art" in refused("mjhq", tmp_path)
        shutil.rmtree(root / "seventh")
        assert len(found("mjhq", tmp_path)) == 30
        touch(root / "again", [MJHQ[0]])
        assert "twice" in refused("mjhq", tmp_path)

    def test_rows_without_names_are_refused(self, tmp_path: Path) -> None:
        rows = [(None, name.split("/")[0]) for name in MJHQ]
        parquet_of(tmp_path / "mjhq" / "data" / "test-00000-of-00001.parquet", rows, mjhq.CATEGORIES)
        assert "has no file names, by which images are chosen" in refused("mjhq", tmp_path)


def flux(root: Path, **changes: object) -> Path:
    root = root / "flux5k"
    images = []
    for i in range(4):
        path = touch(root, [f"{i:05}/samples/0000.png"]) / f"{i:05}/samples/0000.png"
        photograph(i).save(path)
        sha256 = datasets.file_sha256(path)
        images.append({"file": f"{i:05}/samples/0000.png", "sha256": sha256, "prompt": f"prompt {i}"})
    manifest = {
        "generator": "flux.1-dev",
        "dtype": "bfloat16",
        "seed": 0,
        "prompts": flux5k.PROMPTS,
        "images": images,
    }
    (root / "manifest.json").write_text(json.dumps(manifest | changes))
    return root


class TestFlux5k:
    def test_the_manifest_is_the_list(self, tmp_path: Path) -> None:
        flux(tmp_path)
        assert found("flux5k", tmp_path) == [f"{i:05}/samples/0000.png" for i in range(4)]
        assert datasets.get("flux5k", tmp_path).samples[1].caption == "prompt 1"

    def test_another_recipe_is_refused(self, tmp_path: Path) -> None:
        root = flux(tmp_path, generator="flux.1-dev@steps=4")
        assert "generator flux.1-dev@steps=4 instead of flux.1-dev" in refused("flux5k", tmp_path)
        flux(tmp_path, images=[])
        line = refused("flux5k", tmp_path)
        assert "lists 0 of 4 pictures; `python -m benchmarks.datasets make flux5k` goes on" in line
        flux(tmp_path, images=[{"file": "../a.png", "sha256": ""}] * 4)
        assert "manifest.json is damaged" in refused("flux5k", tmp_path)
        (root / "manifest.json").unlink()
        assert "has no manifest.json" in refused("flux5k", tmp_path)

    def test_a_changed_picture_is_refused_where_it_is_used(self, tmp_path: Path) -> None:
        root = flux(tmp_path)
        photograph(9).save(root / "00001/samples/0000.png")
        assert "00001/samples/0000.png was changed" in refused("flux5k", tmp_path)
        (chosen,) = found("flux5k", tmp_path, 1)
        assert chosen != "00001/samples/0000.png"
        (root / "00001/samples/0000.png").unlink()
        assert "1 of its pictures are missing" in refused("flux5k", tmp_path)


def test_a_folder_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"data set coco is not in .*val2017\.zip"):
        datasets.get("coco", tmp_path)


def test_the_lists_digest_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i, name in enumerate(COCO):
        path = tmp_path / "coco" / "images" / "val2017" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(i).save(path)
    touch(tmp_path / "coco", ["images/train2017/000000001000.jpg"])
    monkeypatch.setenv("LACTOK_DATA", str(tmp_path))
    result = lactok.evaluate("resize-8", dataset="coco", limit=3, metrics="psnr", out=tmp_path / "runs")
    assert result.data.dataset.name == "coco"
    assert result.data.dataset.list_sha256 == digest(found("coco", tmp_path, 3))
