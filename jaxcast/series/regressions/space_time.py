"""Space-time autoregressions (STAR): a few numbers that all series share, on lags and neighbours' lags."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.series.graphs.structure import hop_graphs
from jaxcast.series.regressions.expansions import LinearFeatures
from jaxcast.series.regressions.lags import lag_inputs
from jaxcast.series.regressions.regression import LagRegression, fit_lag_regression
from jaxcast.series.samples import SeriesWindows
from jaxcast.types import Scalar


@checked
def fit_star(
    samples: SeriesWindows,
    *,
    graph: Float[Any, "region region"],
    num_hops: int = 1,
    lags: Sequence[int] | None = None,
    neighbour_lags: Sequence[int] | None = None,
    penalty: Scalar = 0.0,
    nonnegative: bool = False,
    chunk_size: int | None = None,
) -> LagRegression:
    """Fits a space-time autoregression: a few numbers that all series share.

        y_(t+h) = c_h + sum_l sum_k phi_(h,l,k) W_k u_(t-l)

    with W_0 the identity and W_k the mean over the neighbours at a distance of exactly k steps, by
    `hop_graphs`. The numbers are found by least squares. Missing values are filled by the last
    known.

    Args:
        samples: to learn from.
        graph: A; node i listens to node j where A_ij > 0.
        num_hops: the largest distance.
        lags: rows back from the newest of a history; by default all rows.
        neighbour_lags: those at which neighbours are seen; by default the same.
        penalty: strength of a ridge penalty, see `fit_lag_regression`.
        nonnegative: whether forecasts are cut at zero.
        chunk_size: samples whose features are in memory at a time; by default all.

    Returns:
        The regression, whose features are `lags` of the series itself, then of the neighbours at
        each distance.

    Raises:
        InputError: for a graph of another size, with negative weights, and as in
            `fit_lag_regression`.

    Source:
        Pfeifer and Deutsch, Technometrics 22, 35-47 (1980).

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> graph = jaxcast.series.grid_graph(1, 5)
        >>> values = [rng.normal(size=5)]
        >>> for _ in range(99):
        ...     values.append(0.5 * values[-1] + 0.2 * graph @ values[-1] + rng.normal(size=5))
        >>> samples = jaxcast.series.series_windows(np.stack(values), history_size=2, leads=(1,))
        >>> jaxcast.series.fit_star(samples, graph=graph).weights.shape
        (1, 4)
    """
    num_regions = samples.history.shape[2]
    graphs = hop_graphs(graph, num_hops)
    if graphs.shape[1] != num_regions:
        raise InputError(f"expected a graph of {num_regions} regions, got shape {np.shape(graph)}")
    inputs = lag_inputs(
        samples,
        lags=range(samples.history.shape[1]) if lags is None else lags,
        neighbour_weights=np.moveaxis(graphs, 0, 1),
        neighbour_lags=neighbour_lags,
        scaling="all",
        centred=False,
    )
    return fit_lag_regression(
        samples,
        inputs=inputs,
        expansion=LinearFeatures(),
        penalty=penalty,
        nonnegative=nonnegative,
        chunk_size=chunk_size,
    )
