"""What is computed again after something changed: what depends on it, and nothing else. Calls are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Toy, photograph
from safetensors.torch import save_file

import lactok
from lactok.evaluation import datasets, protocol, reconstruction
from lactok.evaluation.config import Execution, Run
from lactok.evaluation.jackknife import GROUPS
from lactok.evaluation.measuring import evaluate_source
from lactok.evaluation.metric_networks import metric_networks
from lactok.evaluation.results import ReconResult
from lactok.evaluation.sources import ObjectSource, Source, TokenizerSource
from lactok.metrics import registry as metrics
from lactok.specs import Asset

ALL = 70  # photographs, in two shards
LAST = 6  # of them in the second shard
ONE = 1 + GROUPS  # a distance, and its values without each group of images
JUDGE, EYE = Asset("redone-judge", "MIT"), Asset("redone-eye", "MIT")


@dataclass
class Counts:
    """How many images went through each step since the last look."""

    encoded: int = 0
    decoded: int = 0
    compared: int = 0
    described: int = 0  # photographs and reconstructions together
    distances: int = 0

    def taken(self) -> tuple[int, int, int, int, int]:
        """Return the counts and begin again at 0."""
        found = (self.encoded, self.decoded, self.compared, self.described, self.distances)
        self.__init__()  # type: ignore[misc]
        return found


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    """Counters around the toy tokenizer; the metrics of `judged` count what they are given."""
    found = Counts()

    def counting(name: str, counter: str) -> None:
        original = getattr(Toy, name)

        def counted(self: Toy, images: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
            setattr(found, counter, getattr(found, counter) + len(images))
            return original(self, images, seeds)

        monkeypatch.setattr(Toy, name, counted)

    counting("_encode", "encoded")
    counting("_decode", "decoded")
    reconstruction._scorer.cache_clear()
    yield found
    reconstruction._scorer.cache_clear()


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, own_cache: Path, tmp_path: Path, counts: Counts) -> Iterator[Path]:
    """The metrics `judged`, with a network, and `colours`, of features with another; the folder of their weights."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for asset in (JUDGE, EYE):
        save_file({"weight": torch.zeros(4)}, folder / f"{asset.name}.safetensors")
    monkeypatch.setenv("LACTOK_WEIGHTS", str(folder))

    def mean_colours(images: torch.Tensor, device: str) -> np.ndarray:
        counts.described += len(images)
        return images.float().mean((2, 3)).numpy()

    features = metrics.Features("redone_colours", mean_colours, (EYE,))

    def difference(references: torch.Tensor, outputs: torch.Tensor, device: str = "cpu") -> torch.Tensor:
        counts.compared += len(references)
        return (references.double() - outputs.double()).abs().mean((1, 2, 3))

    def distance(references: Any, outputs: Any) -> float:
        counts.distances += 1
        means = [np.concatenate(list(blocks)).mean(0) for blocks in (references, outputs)]
        return float(np.abs(means[0] - means[1]).sum())

    metrics.metric("judged", title="judged", higher=False, networks=(JUDGE,))(difference)
    metrics.metric("colours", title="colours", higher=False, features=features)(distance)
    metrics.metric("colours_too", title="colours too", higher=False, features=features)(lambda a, b: distance(a, b) + 1)
    yield folder
    for key in ("judged", "colours", "colours_too"):
        del metrics.METRICS.registered[key]


Measure = Callable[..., ReconResult]


@pytest.fixture
def measure(photographs: Path, tmp_path: Path, judged: Path) -> Measure:
    """Evaluate a source into one and the same folder; what is given is changed of the first run."""

    def measured(
        source: Source | None = None,
        data: Path = photographs,
        keys: str = "psnr,judged,colours",
        score: dict[str, Any] | None = None,
        prepare: dict[str, Any] | None = None,
        **run_changes: Any,
    ) -> ReconResult:
        reconstruction._scorer.cache_clear()  # a process has one version of a metric, but for this test's
        found = protocol.get("square-256", 64, keys)
        found = replace(
            found, score=replace(found.score, **(score or {})), prepare=replace(found.prepare, **(prepare or {}))
        )
        run = Run(found, threads=1, **run_changes)
        run = replace(run, networks=metric_networks(run))
        result = evaluate_source(
            source or TokenizerSource("toy"), datasets.get(str(data)), run, Execution(tmp_path / "o")
        )
        assert result is not None
        return result

    return measured


def redeclared(key: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Declare a metric anew with changes."""
    monkeypatch.setitem(metrics.METRICS.registered, key, replace(metrics.find(key), **changes))


def test_nothing_changed(measure: Measure, counts: Counts) -> None:
    first = measure()
    assert counts.taken() == (ALL, ALL, ALL, 2 * ALL, ONE)
    again = measure()
    assert counts.taken() == (0, 0, 0, 0, 0)
    assert again.result == first.result


def test_one_photograph(measure: Measure, counts: Counts, photographs: Path) -> None:
    measure()
    counts.taken()
    photograph(999).save(photographs / "069.png")
    measure()
    assert counts.taken() == (LAST, LAST, LAST, 2 * LAST, ONE)


def test_a_photograph_has_another_name(measure: Measure, counts: Counts, photographs: Path) -> None:
    """Its seed is another one, so its shard is encoded again; the features of its pixels are not."""
    measure()
    counts.taken()
    (photographs / "069.png").rename(photographs / "070.png")
    measure()
    assert counts.taken() == (LAST, LAST, LAST, LAST, ONE)


def test_one_photograph_more(measure: Measure, counts: Counts, photographs: Path) -> None:
    """Shards are counted off by name: the last one grows, those before it stay."""
    measure()
    counts.taken()
    photograph(999).save(photographs / "070.png")
    measure()
    assert counts.taken() == (LAST + 1, LAST + 1, LAST + 1, 2 * (LAST + 1), ONE)


def test_the_folder_has_another_name(measure: Measure, counts: Counts, photographs: Path) -> None:
    measure()
    counts.taken()
    photographs.rename(photographs.with_name("moved"))
    measure(data=photographs.with_name("moved"))
    assert counts.taken() == (0, 0, 0, 0, 0)


def test_a_caption(measure: Measure, counts: Counts, photographs: Path) -> None:
    measure()
    counts.taken()
    (photographs / "captions.json").write_text('{"000.png": "a cat"}')
    result = measure()
    assert counts.taken() == (0, 0, 0, 0, 0)
    assert result.records["caption"].tolist()[:1] == ["a cat"]


@pytest.mark.parametrize("prepare", [{"upright": False}, {"crop": "adm"}, {"version": 2}, {"resolution": 96}])
def test_how_photographs_are_prepared(measure: Measure, counts: Counts, prepare: dict[str, Any]) -> None:
    measure()
    counts.taken()
    measure(prepare=prepare)
    assert counts.taken() == (ALL, ALL, ALL, 2 * ALL, ONE)


@pytest.mark.parametrize("score", [{"rounding": "truncate"}, {"version": 2}])
def test_how_outputs_become_pixels(measure: Measure, counts: Counts, score: dict[str, Any]) -> None:
    """The ids stay, and the features of the photographs, which have no outputs."""
    measure()
    counts.taken()
    measure(score=score)
    assert counts.taken() == (0, ALL, ALL, ALL, ONE)


def test_the_version_of_a_metric(measure: Measure, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    measure()
    counts.taken()
    redeclared("psnr", monkeypatch, version=2)
    measure()
    assert counts.taken() == (0, ALL, ALL, ALL, ONE)


def test_the_version_of_a_distance(measure: Measure, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is computed from stored features."""
    first = measure()
    counts.taken()
    redeclared("colours", monkeypatch, version=2)
    second = measure()
    assert counts.taken() == (0, 0, 0, 0, ONE)
    assert first.data.protocol.score != second.data.protocol.score
    assert first["colours"].value == second["colours"].value


def test_one_distance_more(measure: Measure, counts: Counts) -> None:
    measure()
    counts.taken()
    result = measure(keys="psnr,judged,colours,colours_too")
    assert counts.taken() == (0, 0, 0, 0, ONE)
    assert result["colours_too"].value == result["colours"].value + 1


def test_the_version_of_features(measure: Measure, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    measure()
    counts.taken()
    features = metrics.find("colours").features  # type: ignore[attr-defined]
    redeclared("colours", monkeypatch, features=replace(features, version=2))
    measure()
    assert counts.taken() == (0, ALL, ALL, 2 * ALL, ONE)


@pytest.mark.parametrize(("asset", "described"), [(JUDGE, ALL), (EYE, 2 * ALL)])
def test_one_byte_of_a_metrics_network(
    measure: Measure, counts: Counts, judged: Path, asset: Asset, described: int
) -> None:
    """The photographs' features are computed again where it is their network."""
    measure()
    counts.taken()
    path = judged / f"{asset.name}.safetensors"
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    measure()
    assert counts.taken() == (0, ALL, ALL, described, ONE)


def test_one_byte_of_a_tokenizers_weights(
    measure: Measure, counts: Counts, judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that it made, and nothing of the photographs or of another tokenizer."""
    tokenizer = lactok.load("toy")
    tokenizer.gain = torch.nn.Parameter(torch.ones(1))
    measure(ObjectSource(tokenizer))
    measure(TokenizerSource("resize-8"))
    counts.taken()
    with torch.no_grad():
        tokenizer.gain.view(torch.uint8)[0] ^= 1
    measure(ObjectSource(tokenizer))
    assert counts.taken() == (ALL, ALL, ALL, ALL, ONE)
    measure(TokenizerSource("resize-8"))
    assert counts.taken() == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("change", [{"seed": 1}, {"dtype": "bfloat16"}])
def test_the_seed_and_the_dtype_of_a_tokenizer(measure: Measure, counts: Counts, change: dict[str, Any]) -> None:
    measure()
    counts.taken()
    measure(**change)
    assert counts.taken() == (ALL, ALL, ALL, ALL, ONE)


def test_pictures_are_of_the_pixels_alone(measure: Measure, counts: Counts, tmp_path: Path) -> None:
    """Other metrics of the same outputs keep the pictures; with another rounding they are other pictures."""
    measure()
    stored = set((tmp_path / "o" / "store" / "pictures").glob("*/*.png"))
    measure(keys="psnr,judged")
    assert set((tmp_path / "o" / "store" / "pictures").glob("*/*.png")) == stored
    measure(score={"rounding": "truncate"})
    assert set((tmp_path / "o" / "store" / "pictures").glob("*/*.png")) > stored
