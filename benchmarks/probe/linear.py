"""The linear probe: how well a logistic regression tells the class of a photograph by its ids."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.probe.budget import Budget
from lactok.evaluation.protocol import digest

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from benchmarks.probe.labels import Labels


@dataclass(frozen=True)
class Classes:
    """The photographs that have a class of enough photographs.

    Attributes:
        chosen: their numbers, (m,) int64.
        names: the class of each of them.
        contents: the digest of the file of each of them.
        left_out: the classes of too few photographs.
        without_label: the number of photographs without a label.
    """

    chosen: np.ndarray
    names: tuple[str, ...]
    contents: tuple[str, ...]
    left_out: tuple[str, ...]
    without_label: int

    @classmethod
    def of(cls, labels: Labels, contents: Sequence[str], budget: Budget) -> Classes:
        """Take the classes of which there are as many different photographs as the cross-validation has folds.

        Args:
            labels: the label of each photograph.
            contents: the digest of each photograph's file.
            budget: the folds.
        """
        pairs = {(name, content) for name, content in zip(labels.names, contents, strict=True) if name is not None}
        counts = Counter(name for name, _ in pairs)
        chosen = [i for i, name in enumerate(labels.names) if name is not None and counts[name] >= budget.folds]
        return cls(
            np.array(chosen, np.int64),
            tuple(str(labels.names[i]) for i in chosen),
            tuple(contents[i] for i in chosen),
            tuple(sorted(name for name, count in counts.items() if count < budget.folds)),
            sum(name is None for name in labels.names),
        )

    @property
    def different(self) -> int:
        """The number of classes."""
        return len(set(self.names))

    @property
    def chance(self) -> float:
        """The accuracy of always naming the most frequent class."""
        return max(Counter(self.names).values()) / len(self.names)

    @property
    def sha256(self) -> str:
        """The digest of what decides the folds and the answers."""
        return digest([list(self.names), list(self.contents)])


def code_features(ids: np.ndarray, budget: Budget) -> csr_matrix:
    """Return the features of ids, (n, 2 * budget.histogram), of the same width for every tokenizer.

    Both halves are hashed with signs (Weinberger et al. 2009, "Feature hashing for large scale multitask learning"), so
    that products of features are, on average, those of what is hashed: the square roots of how often each code occurs
    in an image, wherever it stands; and which code stands at which position, which is what a linear layer on one-hot
    ids sees. Each half has length 1.

    Args:
        ids: (n, L).
        budget: the width.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.preprocessing import normalize

    hasher = FeatureHasher(budget.histogram, input_type="pair")

    def counted(row: np.ndarray) -> list[tuple[str, float]]:
        codes, counts = np.unique(row, return_counts=True)
        return [(str(code), float(root)) for code, root in zip(codes, np.sqrt(counts), strict=True)]

    histograms = hasher.transform(counted(row) for row in ids)
    placed = hasher.transform([(f"{place}:{code}", 1.0) for place, code in enumerate(row)] for row in ids.tolist())
    return hstack([normalize(histograms), normalize(placed)], format="csr")


def vector_features(ids: np.ndarray, vectors: torch.Tensor, budget: Budget) -> np.ndarray:
    """Return the mean code vector of each image, (n, budget.vector) float64.

    Vectors of more numbers than that are projected by a fixed random matrix; those of fewer are followed by zeros.

    Args:
        ids: (n, L).
        vectors: the vector of each code, (codebook_size, C).
        budget: the width.
    """
    codes = vectors.double().cpu().numpy()
    means = np.stack([codes[row].mean(0) for row in ids])
    width = codes.shape[1]
    if width > budget.vector:
        return means @ np.random.default_rng(0).standard_normal((width, budget.vector)) / np.sqrt(width)
    return np.pad(means, ((0, 0), (0, budget.vector - width)))


def predictions(features: Any, classes: Classes, budget: Budget, scaled: bool = False) -> np.ndarray:
    """Return the class that a logistic regression names for each photograph when it was not trained on it, (m,).

    Photographs are dealt to folds class by class; copies of a photograph are in one fold.

    Args:
        features: (m, D), dense or sparse.
        classes: what the photographs show.
        budget: the penalty and the number of folds.
        scaled: whether each column is first brought to mean 0 and variance 1, by the photographs learned from.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=budget.penalty, max_iter=budget.iterations)
    folds = StratifiedGroupKFold(budget.folds, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as far as the iterations come, the same for all
        return cross_val_predict(
            make_pipeline(StandardScaler(), model) if scaled else model,
            features,
            np.array(classes.names),
            groups=np.array(classes.contents),
            cv=folds,
        )
