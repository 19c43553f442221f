"""Subsets of images: COCO's by a drawn file of annotations, a user's own, folders; and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lactok.errors import UserError
from lactok.evaluation.subsets import REST, Subsets, read

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 2, "name": "clock"}, {"id": 3, "name": "dog"}]


def annotated(*objects: tuple[int, int, float]) -> dict[str, Any]:
    """COCO's annotations of five images of 200 x 100 pixels; objects are (image, category, area)."""
    images = [{"id": i, "file_name": f"{i:012}.jpg", "width": 200, "height": 100} for i in range(5)]
    annotations = [
        {"image_id": i, "category_id": c, "area": a, "iscrowd": 0, "bbox": [0, 0, 1, 1]} for i, c, a in objects
    ]
    return {"images": images, "annotations": annotations, "categories": CATEGORIES, "info": {}}


def written(folder: Path, content: Any) -> str:
    path = folder / "subsets.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def members(subsets: Subsets, samples: list[str]) -> dict[str, list[int]]:
    return {name: np.flatnonzero(inside).tolist() for name, inside in subsets.of(samples).items()}


def test_subsets_of_coco(tmp_path: Path) -> None:
    content = annotated(
        *((0, 1, 500), (0, 1, 500)),  # 5 % people, in two of them
        *((1, 1, 999), (1, 2, 200)),  # not quite 5 %, and a clock of 1 %
        *((2, 3, 1023), (2, 3, 1000), (2, 3, 5000)),  # two of three are small
        *((3, 3, 1024), (3, 3, 1000), (3, 3, 5000)),  # one of three
    )
    content["annotations"].append({"image_id": 4, "category_id": 3, "area": 10, "iscrowd": 1})
    subsets = read(written(tmp_path, content))
    names = [f"val2017/{i:012}.png" for i in range(5)]
    expected = {"people": [0], "text-like": [1], "small objects": [2], REST: [3, 4]}
    assert members(subsets, names) == expected
    assert "persons cover 5 %" in subsets.notes[0]
    assert members(subsets, names[3:] + names[:1]) == {"people": [2], REST: [0, 1]}


def test_own_subsets_and_folders(tmp_path: Path) -> None:
    samples = ["cats/1.png", "cats/2.png", "dogs/1.png", "dogs/3.jpg"]
    subsets = read(written(tmp_path, {"mine": ["cats/1", "3.png", "nowhere.png"], "empty": ["x"], "every": samples}))
    assert members(subsets, samples) == {"mine": [0, 3], "every": [0, 1, 2, 3]}
    assert members(read("folders"), [*samples, "x.png"]) == {"cats": [0, 1], "dogs": [2, 3], REST: [4]}
    with pytest.raises(UserError, match=r"1\.png could be cats/1\.png, dogs/1\.png; write the folder too"):
        read(written(tmp_path, {"mine": ["1.png"]})).of(samples)
    with pytest.raises(UserError, match=r"none of their images is among a\.png"):
        read("folders").of(["a.png"])
    with pytest.raises(UserError, match="the images lie in 101 folders"):
        read("folders").of([f"{i}/a.png" for i in range(101)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "subsets.json is damaged"),
        ("[1, 2]", "neither COCO's annotations of objects nor names of images by subset"),
        ("{}", "neither COCO's annotations of objects nor names of images by subset"),
        ('{"a": "b.jpg"}', "neither COCO's annotations of objects nor names of images by subset"),
        ('{"a": [1]}', "neither COCO's annotations of objects nor names of images by subset"),
        ('{"the others": ["a"]}', "name yours otherwise"),
        ('{"all": ["a"]}', "name yours otherwise"),
        (json.dumps({str(i): [] for i in range(101)}), "has 101 subsets; 100 is the most"),
        ('{"images": [], "annotations": [{}], "categories": []}', "not as COCO's annotations of objects are"),
        ('{"images": {}, "annotations": 3, "categories": []}', "not as COCO's annotations of objects are"),
        ('{"images": [{"id": [1]}], "annotations": [], "categories": []}', "not as COCO's annotations of objects are"),
        (json.dumps(annotated((0, 9, 1.0))), "not as COCO's annotations of objects are"),
    ],
)
def test_a_file_of_something_else_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UserError, match="`subsets`") as raised:
        read(written(tmp_path, content))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file; name instances_val2017\.json"):
        read(str(tmp_path / "no.json"))
