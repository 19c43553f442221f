"""Precision, recall, the Inception Score and distances to stored statistics, against torch-fidelity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_prc import calculate_precision_recall_full, calculate_precision_recall_part

from lactok.errors import UserError
from lactok.metrics import inception_features, inception_score, precision_recall, registry
from lactok.metrics.frechet import Gaussian, frechet
from lactok.nn.inception_checkpoint import INCEPTION_CLASSIFIER, convert_classifier


def two_sets(n: int = 300, m: int = 240, width: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, width)).astype(np.float32), rng.normal(0.4, 0.8, size=(m, width)).astype(np.float32)


@pytest.mark.parametrize("oracle", [calculate_precision_recall_full, calculate_precision_recall_part])
@pytest.mark.parametrize("rows", [4096, 37])
def test_precision_and_recall_are_torch_fidelitys(oracle, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(precision_recall, "ROWS", rows)
    references, outputs = two_sets()
    expected = oracle(torch.from_numpy(outputs), torch.from_numpy(references), 3)
    for pieces in (1, 7):
        blocks = [np.array_split(array, pieces) for array in (references, outputs)]
        found = precision_recall.precision(*blocks), precision_recall.recall(*blocks)
        counts = [round(share * len(array)) for share, array in zip(found, (outputs, references), strict=True)]
        assert counts == [
            round(share * len(array)) for share, array in zip(expected, (outputs, references), strict=True)
        ]
    assert 0.1 < found[0] < 1
    assert 0.1 < found[1] < 1
    assert found[0] != found[1]


def test_precision_and_recall_of_a_set_and_itself_and_of_far_sets() -> None:
    references, outputs = two_sets()
    assert precision_recall.precision([references], [references]) == 1
    assert precision_recall.recall([references], [references]) == 1
    assert precision_recall.precision([references], [outputs + 100]) == 0
    assert precision_recall.recall([references], [outputs + 100]) == 0
    collapsed = np.repeat(references[:1], 50, 0)
    assert precision_recall.precision([references], [collapsed]) == 1
    assert precision_recall.recall([references], [collapsed]) <= 1 / len(references)


def test_few_images_have_no_precision() -> None:
    references, outputs = two_sets()
    assert np.isnan(precision_recall.precision([references[:3]], [outputs]))
    assert np.isnan(precision_recall.covered([], [outputs]))
    from lactok.evaluation.statistics import distance_entry

    metric = registry.find("precision")
    assert distance_entry(metric, float("nan"), 9, 3)["reason"] == "precision needs 4 images or more"


@pytest.mark.parametrize(("count", "pieces"), [(400, 1), (403, 9), (10, 3)])
def test_inception_score_is_torch_fidelitys(count: int, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception_score, "ROWS", 50)
    rng = np.random.default_rng(1)
    features = rng.normal(size=(count, 64)).astype(np.float32)
    classifier = rng.normal(size=(30, 64)).astype(np.float32)
    logits = torch.from_numpy(features).double() @ torch.from_numpy(classifier).double().T
    expected = isc_features_to_metric(logits, 10, True, 2020)["inception_score_mean"]
    found = inception_score.score(np.array_split(features, pieces), classifier)
    assert found == pytest.approx(expected, rel=1e-10)
    assert found > 1 or count == 10  # a group of one image scores 1


def test_inception_score_of_sure_and_equal_images() -> None:
    sure = np.eye(20, dtype=np.float32)[np.arange(2000) % 20]
    assert 18 < inception_score.score([sure], 2000 * np.eye(20)) <= 20  # a group of 200 has not all classes alike
    assert inception_score.score([np.ones((50, 20), np.float32)], np.eye(20)) == pytest.approx(1)
    assert np.isnan(inception_score.score([sure[:9]], np.eye(20)))


def test_the_classifier_comes_from_a_users_file(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LACTOK_WEIGHTS", str(tmp_path))
    classifier = torch.randn(1008, 2048) * 0.1
    torch.save({"fc.weight": classifier, "fc.bias": torch.zeros(1008)}, tmp_path / f"{INCEPTION_CLASSIFIER.name}.pth")
    features = np.random.default_rng(2).normal(size=(40, 2048)).astype(np.float32)
    metric = registry.find("inception_score")
    assert isinstance(metric, registry.DistanceMetric)
    assert metric.needs == (INCEPTION_CLASSIFIER, *metric.features.networks)
    assert metric.compute(None, [features]) == inception_score.score([features], classifier.numpy())
    assert inception_features.classifier() is inception_features.classifier()  # it is read once, not for each batch
    assert INCEPTION_CLASSIFIER in registry.assets()["metrics"]


def test_a_file_without_the_classifier_is_refused() -> None:
    with pytest.raises(UserError, match="has no classifier"):
        convert_classifier({"Conv2d_1a_3x3.conv.weight": torch.zeros(1)})


@pytest.mark.parametrize(("n", "width"), [(300, 24), (20, 24)])
def test_fid_to_statistics_is_torch_fidelitys(n: int, width: int) -> None:
    references, outputs = two_sets(n, 60, width)
    mean, covariance = (f(references.astype(np.float64), 0) for f in (np.mean, lambda x, _: np.cov(x, rowvar=False)))
    own = outputs.astype(np.float64)
    theirs = {"mu": mean, "sigma": covariance}
    ours = {"mu": own.mean(0), "sigma": np.cov(own, rowvar=False)}
    expected = fid_statistics_to_metric(ours, theirs, verbose=False)["frechet_inception_distance"]
    assert frechet(Gaussian(mean, covariance), np.array_split(outputs, 4)) == pytest.approx(expected, rel=1e-5)
    assert frechet([references], [outputs]) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(frechet(Gaussian(mean, covariance), [outputs[:1]]))


def test_metrics_of_pictures_are_none_of_reconstructions() -> None:
    assert not {"fid", "inception_score"} & {m.key for m in registry.known()}
