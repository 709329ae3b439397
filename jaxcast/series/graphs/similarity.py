"""Graphs of nodes that are alike or exchange trips."""

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError
from jaxcast.series.graphs.places import nearest

LEAST_COMMON = 3
"""Rows in which two series must both be known: any two values correlate perfectly."""


@checked
def graph_from_correlation(
    values: Float[Any, "time node"],
    *,
    stop: int,
    start: int = 0,
    threshold: float | int | None = None,
    num_neighbours: int | None = None,
) -> Float[np.ndarray, "node node"]:
    """Returns the graph of series that correlate over the training part.

    Without `threshold` and `num_neighbours`, A_ij = max(0, correlation of i and j).

    Args:
        values: NaN where missing. The correlation of two series is over the rows that both know.
        stop: the row after the last one that is used: where the validation or test part begins.
        start: the first row that is used.
        threshold: A_ij = 1 where the correlation is above it, and 0 elsewhere.
        num_neighbours: A_ij = 1 for so many j with the highest positive correlations, and 0
            elsewhere. Such a graph need not be symmetric.

    Returns:
        The graph. No node is its own neighbour. A series that is constant, or known together with
        another in fewer than three rows, has no edge to it.

    Raises:
        InputError: for rows that are not in the data or fewer than three, infinite values, or both
            a threshold and a number of neighbours.

    Source:
        Chai, Wang and Yang (2018), section 3.2.

    Example:
        >>> import jaxcast, numpy as np
        >>> t = np.arange(30.0)
        >>> values = np.stack([np.sin(t), np.sin(t) + 0.1 * np.cos(2 * t), np.cos(t), np.ones(30)], 1)
        >>> jaxcast.series.graph_from_correlation(values, stop=20, threshold=0.5)[:2].tolist()
        [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
    """
    found = np.asarray(values, float)
    if found.ndim != 2:
        raise InputError(f"expected values (time, node), got shape {found.shape}")
    check_whole("start", start, least=0)
    check_whole("stop", stop, least=start + LEAST_COMMON, most=len(found))
    correlation = _correlation(found[start:stop])
    if threshold is not None and num_neighbours is not None:
        raise InputError("expected a threshold or a number of neighbours, got both; leave one out")
    if threshold is not None:
        check_number("threshold", threshold, least=0, most=1)
        return (correlation > threshold).astype(float)
    if num_neighbours is not None:
        check_whole("num_neighbours", num_neighbours, most=max(found.shape[1] - 1, 1))
        return nearest(np.where(correlation > 0, correlation, -np.inf), num_neighbours)
    return np.maximum(correlation, 0)


def _correlation(values: Float[np.ndarray, "time node"]) -> Float[np.ndarray, "node node"]:
    """Returns correlations over rows known in both; 0 on the diagonal and where there is none."""
    if np.isinf(values).any():
        raise InputError("expected values that are finite, and NaN where missing; fix them")
    known = np.isfinite(values)
    mean = np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1)
    centred, flags = np.where(known, values - mean, 0), known.astype(float)
    number = flags.T @ flags
    shared = np.maximum(number, 1)
    sums = centred.T @ flags  # of i, over the rows known in both
    variance = (centred**2).T @ flags - sums**2 / shared
    covariance = centred.T @ centred - sums * sums.T / shared
    rounding = 1e-24 * number * np.abs(np.where(known, values, 0)).max(0)[:, None] ** 2
    varies = (variance > rounding) & (number >= LEAST_COMMON) & ~np.eye(len(number), dtype=bool)
    usable = varies & varies.T
    scale = np.sqrt(np.where(usable, variance * variance.T, 1))
    return np.where(usable, np.clip(covariance / scale, -1, 1), 0)


@checked
def similarity_graph(attributes: Float[Any, "node attribute"]) -> Float[np.ndarray, "node node"]:
    """Returns the graph of nodes with alike attributes: the cosine of the angle between them.

        A_ij = max(0, P_i . P_j / (|P_i| |P_j|))

    Args:
        attributes: P of each node, such as its numbers of shops, schools and homes.

    Returns:
        The graph, within [0, 1]. No node is its own neighbour, and one without attributes is
        isolated.

    Raises:
        InputError: for attributes that are not finite.

    Source:
        Geng et al. (2019), eq. 2.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.similarity_graph([[3.0, 4.0], [4.0, 3.0], [0.0, 0.0]]).round(2).tolist()
        [[0.0, 0.96, 0.0], [0.96, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    found = np.asarray(attributes, float)
    if found.ndim != 2 or not np.isfinite(found).all():
        raise InputError(f"expected attributes (node, attribute), all finite, got shape {found.shape}; fix them")
    largest = np.abs(found).max(1, keepdims=True, initial=0)
    found = found / np.where(largest > 0, largest, 1)  # squares neither overflow nor vanish
    length = np.sqrt((found**2).sum(1, keepdims=True))
    found = found / np.where(length > 0, length, 1)
    return np.where(np.eye(len(found)) > 0, 0, np.clip(found @ found.T, 0, 1))


@checked
def graph_from_trips(
    trips: Float[Any, "*time origin destination"],
    *,
    stop: int | None = None,
    threshold: float | int | None = None,
    both_ways: bool = True,
) -> Float[np.ndarray, "node node"]:
    """Returns the graph of nodes between which many trips go.

    Without a threshold, the weights are the trips in shares of the busiest pair. For shares of each
    node's trips see `jaxcast.nn.transition`.

    Args:
        trips: their numbers, (origin, destination), or (time, origin, destination). Use none from
            the validation and test parts.
        stop: for trips over time, the row after the last one that is used: where the validation or
            test part begins.
        threshold: A_ij = 1 where there are more trips, and 0 elsewhere.
        both_ways: whether trips from i to j count as those from j to i, which makes the graph
            symmetric. Otherwise node i listens to the origins of the trips to it.

    Returns:
        The graph. No node is its own neighbour.

    Raises:
        InputError: for trips that are negative or not finite, or rows that are not in the data.

    Source:
        Chai, Wang and Yang (2018), section 3.2.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.graph_from_trips([[9.0, 3.0], [1.0, 0.0]], both_ways=False).tolist()
        [[0.0, 0.3333333333333333], [1.0, 0.0]]
    """
    found = np.asarray(trips, float)
    if found.ndim not in (2, 3) or found.shape[-1] != found.shape[-2]:
        raise InputError(f"expected trips (origin, destination), perhaps with time in front, got shape {found.shape}")
    if found.ndim == 3:
        if stop is None:
            raise InputError("trips over time need stop, the row where the validation or test part begins; give it")
        check_whole("stop", stop, most=len(found))
        found = found[:stop]
    elif stop is not None:
        raise InputError("stop is for trips (time, origin, destination); leave it out for (origin, destination)")
    if not (np.isfinite(found) & (found >= 0)).all():
        raise InputError("expected numbers of trips that are finite and not negative; fix them")
    total = found.sum(0) if found.ndim == 3 else found
    between = total + total.T if both_ways else total.T
    between = np.where(np.eye(len(between)) > 0, 0, between)
    if threshold is not None:
        check_number("threshold", threshold, least=0)
        return (between > threshold).astype(float)
    return between / (between.max(initial=0) or 1)
