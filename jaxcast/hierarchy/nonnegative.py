"""Least squares under the constraint that no number is negative."""

from typing import Any

import numpy as np
from jaxtyping import Float

MOST_EXCHANGES = 10_000
_PATIENCE = 3


def nonnegative_least_squares(
    matrix: Float[np.ndarray, "size size"], targets: Float[np.ndarray, "problem size"]
) -> Float[np.ndarray, "problem size"]:
    """Solves min_b (b - c)' A (b - c) with b >= 0 for each target c, by exchanging sets.

    A set says which numbers of b are free, the others being 0. Free numbers follow from linear
    equations; those that are negative, and fixed ones whose gradient A (b - c) is, change sides
    until the conditions of Karush, Kuhn and Tucker hold. All change at once while that makes their
    number smaller, else the last one alone, which always ends.

    Args:
        matrix: A, symmetric and positive definite.
        targets: c.

    Returns:
        The minima.

    Source:
        Portugal, Judice and Vicente, Math. Comput. 63, 625-643 (1994); Wickramasuriya, Turlach and
        Hyndman, Stat. Comput. 30, 1167-1182 (2020).
    """
    found = targets.copy()
    scale = np.sqrt(np.diag(matrix))
    matrix = matrix / np.outer(scale, scale)  # the same problem in units that make its diagonal 1
    for number in np.flatnonzero((targets < 0).any(1)):
        found[number] = _solved(matrix, targets[number] * scale) / scale
    return found


def _solved(matrix: Any, target: Any) -> Any:
    """Solves one problem."""
    size = len(target)
    right = matrix @ target
    slack = 1e-12 * max(1.0, float(np.abs(right).max()))
    free = target > 0
    fewest, patience = size + 1, _PATIENCE
    for _ in range(MOST_EXCHANGES):
        values = np.zeros(size)
        values[free] = np.linalg.solve(matrix[np.ix_(free, free)], right[free])
        gradient = matrix @ values - right
        wrong = np.where(free, values < -slack, gradient < -slack)
        count = int(wrong.sum())
        if count == 0:
            break
        if count < fewest:
            fewest, patience = count, _PATIENCE
        elif patience:
            patience -= 1
        else:
            wrong = np.arange(size) == np.flatnonzero(wrong)[-1]
        free = free ^ wrong
    return np.maximum(values, 0)
