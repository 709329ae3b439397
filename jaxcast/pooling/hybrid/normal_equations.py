"""Ridge regression from sums over samples, so that the features need not be held at once."""

from collections.abc import Sequence

import numpy as np


class NormalEquations:
    """Sums of products of features and targets, in double precision on the host.

    The features are scaled to deviation one before a penalty applies.

    Args:
        num_features: how many there are.
        num_targets: likewise.
    """

    def __init__(self, num_features: int, num_targets: int):
        self._count = 0
        self._shift = np.zeros(num_features)
        self._total = np.zeros(num_features + num_targets)
        self._products = np.zeros((num_features, num_features + num_targets))

    def add(self, features: np.ndarray, targets: np.ndarray) -> None:
        """Adds samples.

        Args:
            features: (sample, feature).
            targets: (sample, target).
        """
        if not self._count:
            self._shift = features.mean(0, dtype=np.float64)  # against cancellation
        centred = features - self._shift
        joined = np.concatenate([centred, targets], 1)
        self._total += joined.sum(0)
        self._products += centred.T @ joined
        self._count += len(features)

    def solve(self, penalties: Sequence[float | int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Solves for every penalty.

        Args:
            penalties: for the mean over all samples.

        Returns:
            Weights (feature, target) and bias (target,) of each.
        """
        num_features = len(self._shift)
        mean = self._total / self._count
        covariance = self._products / self._count - np.outer(mean[:num_features], mean)
        size = np.sqrt(np.maximum(np.diag(covariance), 0))
        size = np.where(size > 0, size, 1)
        values, vectors = np.linalg.eigh(covariance[:, :num_features] / np.outer(size, size))
        found = vectors.T @ (covariance[:, num_features:] / size[:, None])
        solutions = []
        for penalty in penalties:
            weights = vectors @ (found / (np.maximum(values, 0) + penalty)[:, None]) / size[:, None]
            solutions.append((weights, mean[num_features:] - (mean[:num_features] + self._shift) @ weights))
        return solutions
