"""Distances between vectors."""

from typing import Any

import numpy as np
from jaxtyping import Float


def squared_distances(
    left: Float[np.ndarray, "left feature"], right: Float[np.ndarray, "right feature"]
) -> Float[np.ndarray, "left right"]:
    """Computes the squared distances of all pairs of vectors.

    Args:
        left: vectors.
        right: vectors.

    Returns:
        |left_i - right_j|^2 in double precision, not below 0.
    """
    products: Any = np.asarray(left @ right.T, float)
    norms = np.square(left).sum(1, dtype=float)[:, None] + np.square(right).sum(1, dtype=float)
    return np.maximum(norms - 2 * products, 0)
