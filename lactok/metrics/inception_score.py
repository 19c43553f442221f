"""The Inception Score (Salimans et al. 2016): how sure FID's Inception is of each image's class, and of how many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lactok.metrics.grouped import Grouping, LeaveOut
from lactok.metrics.inception_features import INCEPTION_TF1, classifier
from lactok.metrics.registry import metric
from lactok.nn.inception_checkpoint import INCEPTION_CLASSIFIER

Blocks = Sequence[np.ndarray]
SPLITS = 10  # groups of images, over whose scores the mean is taken
SHUFFLE = 2020  # torch-fidelity's seed of the order in which images are put into groups
ROWS = 4096  # images whose probabilities are in memory together
COMPARABLE_FROM = 50_000  # images: the score grows with their number, and papers give that of 50,000


def score(features: Blocks, classifier: np.ndarray, splits: int = SPLITS) -> float:
    """Return the Inception Score as torch-fidelity does: the mean over groups of images.

    Args:
        features: pooled features of the images, as blocks (n, 2048) that can be iterated over more than once.
        classifier: the matrix (classes, 2048) of Inception's last layer.
        splits: number of groups, to which the images are dealt in an order that is shuffled by a fixed seed.

    Returns:
        The score, at least 1; nan for fewer images than groups.
    """
    from scipy.special import xlogy

    count = sum(len(block) for block in features)
    if count < splits:
        return float("nan")
    group = _deal(count, splits)
    mean = np.zeros((splits, len(classifier)))  # of the images' probabilities
    negative_entropy = np.zeros(splits)  # mean over the images
    sizes = np.bincount(group, minlength=splits)
    start = 0
    for probability, entropy in _probabilities(features, classifier):
        own = group[start : start + len(probability)]
        np.add.at(negative_entropy, own, entropy / sizes[own])
        for i in np.unique(own):
            mean[i] += probability[own == i].sum(0) / sizes[i]
        start += len(probability)
    return float(np.exp(negative_entropy - xlogy(mean, mean).sum(1)).mean())


def score_leaving_out(features: Blocks, classifier: np.ndarray, groups: np.ndarray, count: int) -> LeaveOut:
    """Compute the score of all images and without each of some groups; the others stay in the splits that they are in.

    Args:
        features, classifier: as for `score`.
        groups: the group of each image.
        count: the number of groups.
    """
    from scipy.special import xlogy

    split = _deal(len(groups), SPLITS)
    total = np.zeros((SPLITS, count, len(classifier)))
    entropies, sizes = np.zeros((SPLITS, count)), np.zeros((SPLITS, count))
    np.add.at(sizes, (split, groups), 1)
    start = 0
    for probability, entropy in _probabilities(features, classifier):
        of = slice(start, start + len(probability))
        np.add.at(entropies, (split[of], groups[of]), entropy)
        np.add.at(total, (split[of], groups[of]), probability)
        start = of.stop
    without = np.zeros(count)
    for group in range(count):
        left = sizes.sum(1) - sizes[:, group]
        with np.errstate(divide="ignore", invalid="ignore"):  # a split may have no images left: the score is nan
            mean = (total.sum(1) - total[:, group]) / left[:, None]
            entropy = (entropies.sum(1) - entropies[:, group]) / left
        without[group] = np.exp(entropy - xlogy(mean, mean).sum(1)).mean()
    return LeaveOut(score(features, classifier), without)


def _deal(count: int, splits: int) -> np.ndarray:
    """Return the split of each image, in an order that is shuffled by a fixed seed."""
    place = np.argsort(np.random.RandomState(SHUFFLE).permutation(count))
    bounds = [i * count // splits for i in range(1, splits)]
    return np.searchsorted(bounds, place, side="right")


def _probabilities(features: Blocks, classifier: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images' probabilities of classes (n, classes) and their negative entropies (n,), piece by piece."""
    matrix = classifier.astype(np.float64).T
    for block in features:
        for first in range(0, len(block), ROWS):
            logits = block[first : first + ROWS].astype(np.float64) @ matrix
            logits -= logits.max(1, keepdims=True)
            logarithm = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            probability = np.exp(logarithm)
            yield probability, (probability * logarithm).sum(1)


def _leaving_out(references: object, outputs: Blocks, grouping: Grouping) -> LeaveOut:
    """Compute the score of all outputs and without each group; the references do not count."""
    return score_leaving_out(outputs, classifier(), grouping.outputs, grouping.count)


@metric(
    "inception_score",
    title="IS",
    higher=True,
    digits=1,
    reliable_from=COMPARABLE_FROM,
    fewest=SPLITS,
    networks=(INCEPTION_CLASSIFIER,),
    features=INCEPTION_TF1,
    of_references="nothing",
    leaving_out=_leaving_out,
    listed=False,
)
def inception_score(references: object, outputs: Blocks) -> float:
    """Return the Inception Score of the outputs (n, 2048), over ten groups; the references do not count."""
    return score(outputs, classifier())
