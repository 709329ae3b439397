"""Paths from quantiles, joined by the ranks of past errors, and quantiles of reconciled paths."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.hierarchy.reconciliation import Reconciliation
from jaxcast.limits import check_arrays
from jaxcast.numerics.levels import check_levels

NUM_PATHS = 1000


class ReconciledForecast(NamedTuple):
    """Forecasts of all series of a hierarchy that add up, path by path.

    Args:
        mean: of the paths; it adds up, too.
        quantiles: of the paths at all levels. Quantiles of a sum are no sums of quantiles.
        paths: each of which adds up.
    """

    mean: Float[np.ndarray, "*batch series"]
    quantiles: Float[np.ndarray, "*batch series level"]
    paths: Float[np.ndarray, "path *batch series"]


@checked
def shuffled_paths(
    quantiles: Float[Any, "*batch series level"],
    *,
    levels: Sequence[float],
    template: Float[Any, "sample *batch series"],
    num_paths: int = NUM_PATHS,
    key: Key[Array, ""],
) -> Float[np.ndarray, "path *batch series"]:
    """Joins quantile forecasts into paths that depend on each other as past values or errors did.

    Each series at each lead gets equally likely values from its own quantiles. Their order over the
    paths is that of the template's ranks, so that series that were wrong together are so here. This
    is the Schaake shuffle, or an empirical copula. Ties between repeated samples break at random.
    Between levels quantiles are linear in the quantile of a standard normal, and so beyond the
    outer ones.

    Args:
        quantiles: of the forecasts, (*batch, series, level), as with an axis of leads in front.
        levels: of the quantiles, at least two, rising.
        template: past errors of such forecasts, or past values; a sample is one date.
        num_paths: how many paths.
        key: breaks ties.

    Returns:
        The paths.

    Raises:
        InputError: for quantiles or a template that are not finite or do not fit each other, fewer
            than 2 levels or samples.

    Source:
        Clark, Gangopadhyay, Hay, Rajagopalan and Wilby, J. Hydrometeorol. 5, 243-262 (2004);
        Schefzik, Thorarinsdottir and Gneiting, Stat. Sci. 28, 616-640 (2013).

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> quantiles = np.asarray([[-1.28, 0.0, 1.28], [8.72, 10.0, 11.28]])
        >>> together = np.random.default_rng(0).normal(size=(30, 1)) * [1.0, 2.0]
        >>> paths = jaxcast.hierarchy.shuffled_paths(
        ...     quantiles, levels=(0.1, 0.5, 0.9), template=together, num_paths=300, key=jax.random.key(0)
        ... )
        >>> paths.mean(1).shape, bool(np.corrcoef(paths.T)[0, 1] > 0.95)
        ((300,), True)
    """
    levels = check_levels(levels)
    check_whole("num_paths", num_paths, least=2)
    quantiles, template = np.asarray(quantiles, float), np.asarray(template, float)
    if len(levels) < 2 or quantiles.shape[-1:] != (len(levels),):
        raise InputError(
            f"expected quantiles (..., series, level) at the {len(levels)} levels given, of which paths need at least "
            f"2, got shape {quantiles.shape}"
        )
    if template.shape[1:] != quantiles.shape[:-1] or len(template) < 2:
        raise InputError(
            f"expected a template of at least 2 samples for quantiles {quantiles.shape}, got shape {template.shape}"
        )
    for name, array in (("quantiles", quantiles), ("template", template)):
        if not np.isfinite(array).all():
            raise InputError(f"{name} must be finite, got NaN or infinity; leave such series or samples out")
    check_arrays(f"{num_paths} paths", *[(num_paths, *quantiles.shape[:-1])] * 4)
    ordered = _equally_likely(quantiles, levels, num_paths)
    return np.take_along_axis(ordered, _ranks(template, num_paths, key), 0)


def _equally_likely(quantiles: Any, levels: tuple[float, ...], count: int) -> Float[np.ndarray, "path *batch series"]:
    """Returns the quantiles at the middles of equal parts of (0, 1), rising."""
    normal = NormalDist().inv_cdf
    known = np.asarray([normal(level) for level in levels])
    wanted = np.asarray([normal((number + 0.5) / count) for number in range(count)])
    right = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)
    share = (wanted - known[right - 1]) / (known[right] - known[right - 1])
    values = np.moveaxis(np.sort(quantiles, -1), -1, 0)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return values[right - 1] + share * (values[right] - values[right - 1])


def _ranks(template: Any, count: int, key: Any) -> Any:
    """Returns the rank of each of the template's samples, repeated or thinned to a number of them."""
    samples = len(template)
    rows = np.arange(count) % samples if count >= samples else np.linspace(0, samples - 1, count).round().astype(int)
    noise = np.asarray(jax.random.uniform(key, (count, *template.shape[1:])))
    return np.argsort(np.lexsort((noise, template[rows]), axis=0), axis=0)


@checked
def reconcile_quantiles(
    quantiles: Float[Any, "*batch base level"],
    *,
    reconciliation: Reconciliation,
    levels: Sequence[float],
    template: Float[Any, "sample *batch base"],
    num_paths: int = NUM_PATHS,
    key: Key[Array, ""],
) -> ReconciledForecast:
    """Makes quantile forecasts add up: joins them into paths, each of which is reconciled.

    Args:
        quantiles: of the base forecasts, with an axis of leads in front where there are several.
        reconciliation: by `fit_reconciliation`.
        levels: of the quantiles.
        template: past errors of the base forecasts, whose ranks join series and leads; see
            `shuffled_paths`.
        num_paths: how many paths.
        key: breaks ties.

    Returns:
        Means, quantiles and paths of all series of the hierarchy.

    Raises:
        InputError: as `shuffled_paths` and `Reconciliation` do.

    Source:
        Panagiotelis, Gamakumara, Athanasopoulos and Hyndman, Eur. J. Oper. Res. 306, 693-706
        (2023).

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> hierarchy = jaxcast.hierarchy.hierarchy_from_parents({"north": "all", "south": "all"})
        >>> errors = np.random.default_rng(0).normal(size=(40, 2)) @ np.asarray([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
        >>> quantiles = np.asarray([[5.0, 6.0, 7.0], [0.0, 1.0, 2.0], [1.0, 2.0, 3.0]])
        >>> found = jaxcast.hierarchy.reconcile_quantiles(
        ...     quantiles, levels=(0.1, 0.5, 0.9), template=errors, key=jax.random.key(0),
        ...     reconciliation=jaxcast.hierarchy.fit_reconciliation(hierarchy, method="ols"),
        ... )
        >>> found.paths.shape, hierarchy.is_coherent(found.paths), hierarchy.is_coherent(found.mean)
        ((1000, 3), True, True)
    """
    base = shuffled_paths(quantiles, levels=levels, template=template, num_paths=num_paths, key=key)
    paths = reconciliation(base)
    return ReconciledForecast(paths.mean(0), quantiles_of_paths(paths, levels), paths)


def quantiles_of_paths(
    paths: Float[np.ndarray, " path *batch"], levels: Sequence[float]
) -> Float[np.ndarray, " *batch level"]:
    """Returns the quantiles of equally likely paths.

    Between sorted values, which stand at the middles of equal parts of (0, 1), they are linear.

    Args:
        paths: one on the first axis.
        levels: of the quantiles.
    """
    return np.moveaxis(np.quantile(paths, levels, axis=0, method="hazen"), 0, -1)
