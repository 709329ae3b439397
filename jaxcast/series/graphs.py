"""Weights between neighbouring series."""

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError


@checked
def neighbour_weights(
    num_regions: int, adjacency: Float[Any, "region region"] | None = None, *, everyone: bool = False, nearest: int = 0
) -> Float[np.ndarray, "region group source"]:
    """Weighs the series that the forecast of each region sees, in groups: its own first.

    Args:
        num_regions: how many regions there are.
        adjacency: how close regions are, not negative. Without `nearest`, the mean of all others,
            weighted by it, is one group.
        everyone: whether the mean of all series is another group.
        nearest: how many of the closest others are a group each.

    Returns:
        The weights.

    Raises:
        InputError: for an adjacency of another shape, negative or not finite, or with fewer others
            than nearest ones.

    Example:
        >>> import jaxcast, numpy as np
        >>> jaxcast.series.neighbour_weights(2, np.ones((2, 2)), everyone=True)[0].tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    """
    own = np.eye(num_regions)
    parts = [own[:, None]]
    if adjacency is not None:
        closeness = np.asarray(adjacency, float)
        if closeness.shape != own.shape or nearest >= num_regions:
            raise InputError(
                f"expected an adjacency of {num_regions} regions and fewer nearest ones, got {closeness.shape} and "
                f"{nearest}"
            )
        if not (np.isfinite(closeness) & (closeness >= 0)).all():
            raise InputError("expected an adjacency of finite numbers that are not negative; fix it")
        others = np.where(own > 0, 0, closeness)
        if nearest:
            parts.append(own[np.argsort(-others, axis=1, kind="stable")[:, :nearest]])
        else:
            # A region without any neighbour sees itself once more.
            others = np.where(others.sum(1, keepdims=True) > 0, others, own)
            parts.append((others / others.sum(1, keepdims=True))[:, None])
    if everyone:
        parts.append(np.full((num_regions, 1, num_regions), 1 / num_regions))
    return np.concatenate(parts, 1)
