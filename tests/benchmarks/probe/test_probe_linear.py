"""The linear probe: ids that tell the class, ids that tell nothing, and where labels come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.probe import labels
from benchmarks.probe.budget import Budget
from benchmarks.probe.labels import Labels
from benchmarks.probe.linear import Classes, code_features, predictions, vector_features
from lactok.errors import MissingFile, WrongValue
from lactok.evaluation.statistics import mean_with_interval

BUDGET = Budget(histogram=256)
NAMES = np.array(["cats", "dogs", "hens", "owls"])


def classes_of(n: int, contents: list[str] | None = None) -> Classes:
    """Photographs of four classes in turn."""
    names = tuple(NAMES[np.arange(n) % 4].tolist())
    return Classes.of(Labels("folders", names), contents or [f"file {i}" for i in range(n)], BUDGET)


def accuracy(ids: np.ndarray, classes: Classes) -> tuple[float, list[float]]:
    right = predictions(code_features(ids, BUDGET), classes, BUDGET) == np.array(classes.names)
    mean, interval = mean_with_interval(right.astype(float))
    assert mean is not None
    assert interval is not None
    return mean, interval


@pytest.mark.parametrize(("tokens", "codes"), [(4, 64), (32, 2**40)])
def test_ids_that_tell_the_class_are_read(tokens: int, codes: int) -> None:
    rng = np.random.default_rng(0)
    n = 80
    ids = rng.integers(0, codes, (n, tokens))
    ids[:, 1] = np.arange(n) % 4  # one id is the class, all others are noise
    ids[:, 2] = np.arange(n) % 4
    assert accuracy(ids, classes_of(n))[0] > 0.9


def test_where_a_code_stands_is_read_too() -> None:
    n = 80
    ids = np.tile(np.arange(4), (n, 1))  # each photograph has the same codes
    for i in range(n):
        ids[i] = np.roll(ids[i], i % 4)
    assert accuracy(ids, classes_of(n))[0] == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_random_ids_are_at_chance(seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 512, (200, 16))
    classes = classes_of(200)
    assert classes.chance == 0.25
    _, (low, high) = accuracy(ids, classes)
    assert low <= classes.chance <= high


def test_copies_of_a_photograph_are_never_learned_and_asked() -> None:
    n = 80
    ids = np.repeat(np.random.default_rng(0).integers(0, 2**30, (n // 2, 8)), 2, axis=0)
    contents = [f"file {i // 2}" for i in range(n)]
    names = tuple(NAMES[np.arange(n) // 2 % 4].tolist())
    copies = Classes.of(Labels("folders", names), contents, BUDGET)
    apart = Classes.of(Labels("folders", names), [f"file {i}" for i in range(n)], BUDGET)
    assert accuracy(ids, apart)[0] > 0.6  # the copy tells the class
    assert accuracy(ids, copies)[0] < 0.5


def test_features_are_of_one_width_and_length() -> None:
    rng = np.random.default_rng(0)
    for tokens, codes in ((1, 2), (7, 64000), (40, 2**50)):
        features = code_features(rng.integers(0, codes, (3, tokens)), BUDGET)
        assert features.shape == (3, 512)
        lengths = np.sqrt(features.multiply(features).sum(1))
        assert np.allclose(lengths, np.sqrt(2))


def test_mean_code_vectors_are_of_one_width_and_tell_the_class() -> None:
    n = 80
    rng = np.random.default_rng(0)
    for width in (8, 200):
        vectors = torch.from_numpy(rng.standard_normal((16, width)))
        ids = rng.integers(0, 16, (n, 12))
        ids[:, :6] = (np.arange(n) % 4)[:, None]
        features = vector_features(ids, vectors, BUDGET)
        assert features.shape == (n, BUDGET.vector)
        classes = classes_of(n)
        right = predictions(features, classes, BUDGET, scaled=True) == np.array(classes.names)
        assert right.mean() > 0.9
    few = torch.tensor([[1.0, 3.0], [3.0, 5.0]])
    assert vector_features(np.array([[0, 1]]), few, BUDGET)[0, :3].tolist() == [2, 4, 0]


def test_classes_of_too_few_photographs_are_left_out() -> None:
    names = ("a",) * 5 + ("b",) * 5 + ("c",) * 4 + (None,)
    contents = [f"file {i}" for i in range(15)]
    classes = Classes.of(Labels("x.csv", names), contents, BUDGET)
    assert (classes.different, classes.left_out, classes.without_label) == (2, ("c",), 1)
    assert classes.chosen.tolist() == list(range(10))
    assert classes.chance == 0.5
    contents[1] = contents[0]  # a copy does not count
    assert Classes.of(Labels("x.csv", names), contents, BUDGET).left_out == ("a", "c")


class TestLabels:
    samples = ("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg")

    def test_folders(self) -> None:
        found = labels.of("folders", self.samples)
        assert found is not None
        assert found.names == ("cats", "cats", "dogs")
        deep = labels.of("folders", ["train/cats/1.jpg", "val/cats/1.jpg", "val/dogs/1.jpg", "x.jpg"])
        assert deep is not None
        assert deep.names == ("cats", "cats", "dogs", None)
        assert labels.of("folders", ["1.jpg", "2.jpg"]) is None
        assert labels.of("none", self.samples) is None

    def test_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.csv"
        path.write_text('image,label\ncats/1.jpg,"a, b"\n\ncats/2.png,c\nother.jpg,d\n')
        found = labels.of(str(path), self.samples)
        assert found is not None
        assert found.names == ("a, b", "c", None)  # the second has another ending
        assert found.source == "labels.csv"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a.jpg\n", "row 1: write two cells"),
            ("a.jpg,x,y\n", "row 1: write two cells"),
            ("a.jpg,\n", "row 1: write two cells"),
            ("a.jpg,x\na.jpg,y\n", "row 2: a.jpg has a label already"),
            ("image,label\n", "holds no labels"),
            ("", "holds no labels"),
            ('a.jpg,"x\n', "no CSV"),
            ("a.jpg,x\n", "names none of the photographs, such as cats/1.jpg; its first name is a.jpg"),
        ],
    )
    def test_a_file_that_is_none(self, tmp_path: Path, text: str, said: str) -> None:
        path = tmp_path / "labels.csv"
        path.write_text(text)
        with pytest.raises(WrongValue, match=said) as caught:
            labels.of(str(path), self.samples)
        assert "\n" not in str(caught.value)

    def test_what_cannot_be_a_source(self, tmp_path: Path) -> None:
        with pytest.raises(WrongValue, match=r"ends in \.csv"):
            labels.check("labels.txt")
        with pytest.raises(MissingFile, match="no such file"):
            labels.check(str(tmp_path / "labels.csv"))
        labels.check("folders")
        labels.check("none")
