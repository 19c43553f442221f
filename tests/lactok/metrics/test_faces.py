"""The similarity of faces: cosines and counting with a small recogniser, and dlib's own where it is installed."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lactok
from lactok.errors import UserError
from lactok.evaluation.statistics import mean_entry
from lactok.metrics import faces
from lactok.metrics.registry import find

DLIB = all(importlib.util.find_spec(name) for name in faces.MODULES)
needs_dlib = pytest.mark.skipif(not DLIB, reason="dlib and its models are not installed: pip install 'lactok[faces]'")


class Small:
    """A face is a pixel of full red; its embedding are the colours of that pixel and of the one to its right."""

    def __init__(self) -> None:
        self.searched: list[np.ndarray] = []

    def find(self, image: np.ndarray) -> Sequence[tuple[int, int]]:
        self.searched.append(image)
        return [(int(y), int(x)) for y, x in np.argwhere(image[..., 0] == 255)]

    def embed(self, image: np.ndarray, faces: Sequence[tuple[int, int]]) -> np.ndarray:
        assert faces, "nobody asks for the embeddings of no face"
        after = np.roll(image, -1, axis=1)
        return np.array([[*image[place], *after[place]] for place in faces], np.float32)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Small:
    made = Small()
    monkeypatch.setattr(faces, "_recogniser", lambda: made)
    declared = find("face_similarity")
    monkeypatch.setitem(declared.__dict__, "libraries", ())
    monkeypatch.setitem(declared.__dict__, "check", None)
    return made


def image(*red: tuple[int, int]) -> torch.Tensor:
    """A uint8 image (3, 4, 6), black but for pixels of full red."""
    made = torch.zeros(3, 4, 6, dtype=torch.uint8)
    for y, x in red:
        made[0, y, x] = 255
    return made


def test_cosines_are_numpys() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 5, 7))
    expected = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(faces.cosines(first, second), expected)
    assert faces.cosines(np.zeros((1, 3)), np.ones((1, 3))).tolist() == [0]


def test_a_face_is_compared_with_what_is_in_its_place(small: Small) -> None:
    photographs = torch.stack([image((1, 2)), image((1, 2)), image((0, 0), (3, 4)), image()])
    changed = photographs.clone()
    changed[1, 1, 1, 2] = 255  # as much green as red: the cosine is that of 45 degrees
    changed[2, :, 3, 4] = torch.tensor([0, 0, 9], dtype=torch.uint8)  # nothing in common, and no longer a face
    changed[3, 0] = 255  # faces that are in the reconstruction alone
    found = faces.face_similarity(photographs, changed)
    assert found.dtype == torch.float64
    assert found[:3].tolist() == pytest.approx([1, 2**-0.5, 0.5])
    assert math.isnan(found[3])
    assert len(small.searched) == 4  # faces are looked for in the photographs alone
    again = faces.face_similarity(photographs, photographs, known=faces.faces_of(photographs))
    assert again[:3].tolist() == pytest.approx([1, 1, 1])
    assert len(small.searched) == 8


def test_images_without_a_face_are_left_out_and_counted(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number, colour in enumerate(((255, 0, 0), (9, 9, 9), (255, 90, 0), (8, 8, 8))):
        Image.new("RGB", (32, 32), colour).save(folder / f"{number}.png")
    result = lactok.evaluate(
        "identity", dataset=folder, metrics="psnr,face_similarity", resolution=32, out=tmp_path / "out"
    )
    entry = result["face_similarity"]
    assert (entry.value, entry.n, entry.excluded) == (pytest.approx(1), 2, 2)
    assert result["psnr"].n == 4
    assert result.records["face_similarity"].isna().tolist() == [False, True, False, True]
    stored = json.loads(next((tmp_path / "out").glob("*/result.json")).read_text())
    assert stored["metrics"]["face_similarity"]["excluded"] == 2
    assert "face similarity is of 2 of 4 images; the others show nothing that it measures." in result.table()


def test_where_no_image_shows_a_face_there_is_no_value() -> None:
    found = mean_entry(np.array([np.nan, np.nan]), partial=True)
    assert found == {
        "value": None,
        "ci95": None,
        "n": 0,
        "reason": "none of 2 images shows what it measures",
        "excluded": 2,
    }
    groups = mean_entry(np.array([1.0, np.nan, 3.0]), ["a", "b", "a"], partial=True)
    assert (groups["value"], groups["n"], groups["excluded"]) == (2, 2, 1)
    with_infinity = mean_entry(np.array([np.inf, np.nan]), partial=True)  # a fault, which is not hidden
    assert with_infinity["value"] is None
    assert with_infinity["excluded"] == 1


def test_it_is_measured_only_when_it_is_named() -> None:
    from lactok.metrics.choice import chosen

    assert "face_similarity" not in chosen("all", ())
    assert find("face_similarity").higher


@pytest.mark.skipif(DLIB, reason="dlib is installed")
def test_without_dlib_a_line_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs the package [\w-]+; install it with: pip install 'lactok\[faces\]'$"):
        lactok.evaluate("identity", metrics="face_similarity", limit=1, out=tmp_path)


@needs_dlib
def test_a_face_is_found_and_stays_itself_the_less_the_coarser_it_is() -> None:
    from skimage import data

    whole = Image.fromarray(data.astronaut())
    photographs = torch.from_numpy(np.array(whole)).permute(2, 0, 1)[None]
    (found,) = faces.faces_of(photographs)
    assert len(found.places) == 1  # at the detector's own threshold there is another, in a fold
    assert found.embeddings.shape == (1, 128)
    values = []
    for side in (512, 128, 64, 32):
        coarse = np.array(whole.resize((side, side), Image.Resampling.BICUBIC).resize(whole.size))
        values.append(float(faces.face_similarity(photographs, torch.from_numpy(coarse).permute(2, 0, 1)[None])))
    assert values[0] == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.92


@needs_dlib
def test_a_photograph_without_a_face_has_no_value() -> None:
    from skimage import data

    coffee = torch.from_numpy(data.coffee().copy()).permute(2, 0, 1)[None]
    assert math.isnan(float(faces.face_similarity(coffee, coffee)))
