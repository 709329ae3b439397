"""Quantile forecasts of a hub's locations that add up, such as a nation and its states."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_seed
from jaxcast.errors import InputError, shown
from jaxcast.hierarchy.paths import NUM_PATHS, reconcile_quantiles
from jaxcast.hierarchy.reconciliation import Method, fit_reconciliation
from jaxcast.hierarchy.structure import Hierarchy, hierarchy_of_total
from jaxcast.hub.arrays import Hub

NATION = "US"
FARTHEST_SHARE = 0.1
"""How far the target data of the nation may be from the sum of the others, as a share of it."""


@checked
def reconcile_locations(
    forecasts: Float[Any, "location time quantile"],
    hub: Hub,
    *,
    hierarchy: Hierarchy | None = None,
    method: Method = "mint",
    nonnegative: bool = True,
    num_paths: int = NUM_PATHS,
    seed: int = 0,
) -> Float[np.ndarray, "location quantile"]:
    """Makes the newest quantile forecasts of a hub's locations add up.

    Quantiles become paths over the locations, joined as the errors of the medians on earlier dates
    were. Each path is reconciled, and the quantiles are those of the paths; see
    `reconcile_quantiles`. Only dates count whose targets were known when the newest forecast was
    made.

    Args:
        forecasts: Quantiles of one model or pool at all dates, such as those of `pool_forecasts`;
            the last date is reconciled.
        hub: The hub, with the locations, target data and levels of the forecasts.
        hierarchy: Hierarchy of locations; those that are not in it keep their forecasts. By default
            "US" is the sum of all others.
        method: Method of reconciliation, as in `fit_reconciliation`.
        nonnegative: Whether forecasts are to be at least 0, as counts are.
        num_paths: Number of paths.
        seed: Random seed that breaks ties between repeated past errors.

    Returns:
        Quantiles of the last date for all locations of the hub.

    Raises:
        InputError: for a hub without the total, bottom locations that the hub or the last date
            lacks, fewer than 2 earlier dates with forecasts and targets of all locations, target
            data of "US" that are not about the sum of all others, and as `fit_reconciliation` does.

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> states = rng.uniform(5, 9, size=(2, 30, 1, 1))
        >>> values = np.concatenate([states, states.sum(0, keepdims=True)])
        >>> levels = np.asarray([0.25, 0.5, 0.75])
        >>> quantiles = values + rng.normal(size=values.shape) + np.asarray([-0.7, 0.0, 0.7])
        >>> dates = np.arange("2024-01-06", "2024-08-03", np.timedelta64(7, "D"), dtype="datetime64[D]")
        >>> hub = jaxcast.hub.Hub(
        ...     quantiles, values[:, :, 0, 0], values[:, :, 0], ("01", "02", "US"), dates, ("a",), levels, 1
        ... )
        >>> found = jaxcast.hub.reconcile_locations(quantiles[:, :, 0], hub)
        >>> bool(abs(found[2, 1] - found[:2, 1].sum()) < abs(quantiles[2, -1, 0, 1] - quantiles[:2, -1, 0, 1].sum()))
        True
    """
    check_seed(seed)
    forecasts = np.asarray(forecasts, float)
    if forecasts.shape != (len(hub.locations), len(hub.dates), len(hub.levels)):
        raise InputError(
            f"expected forecasts (location, time, quantile) of the hub, {len(hub.locations)} locations, "
            f"{len(hub.dates)} dates and {len(hub.levels)} levels, got {forecasts.shape}"
        )
    hierarchy = nation_of(hub) if hierarchy is None else hierarchy
    base = _with_forecasts(forecasts[:, -1], hub, hierarchy)
    index = [hub.locations.index(name) for name in base]
    errors = _errors(forecasts[index], hub, base)
    reconciliation = fit_reconciliation(
        hierarchy,
        method=method,
        residuals=errors,
        history=hub.known_truth()[index].T,
        base=base,
        nonnegative=nonnegative,
    )
    found = reconcile_quantiles(
        forecasts[index, -1],
        reconciliation=reconciliation,
        levels=hub.levels.tolist(),
        template=errors,
        num_paths=num_paths,
        key=jax.random.key(seed),
    )
    newest = forecasts[:, -1].copy()
    for name, quantiles in zip(hierarchy.names, found.quantiles, strict=True):
        if name in hub.locations:
            newest[hub.locations.index(name)] = quantiles
    return newest


def nation_of(hub: Hub) -> Hierarchy:
    """Returns the hierarchy of the nation and all other locations.

    Args:
        hub: The hub, with the nation among its locations.

    Raises:
        InputError: for a hub without it, or whose known target data show that it is not about the
            sum of the others.
    """
    if NATION not in hub.locations:
        raise InputError(
            f"the hub has no location {NATION!r} to be the sum of the others; give a hierarchy of its locations"
        )
    _check_total(hub)
    return hierarchy_of_total(hub.locations, total=NATION)


def _check_total(hub: Hub) -> None:
    """Refuses some of the nation's locations alone, whose sum would be a false forecast of it."""
    place, truth = hub.locations.index(NATION), hub.known_truth()
    total, others = truth[place], np.delete(truth, place, 0).sum(0)
    known = np.isfinite(total + others) & (total != 0)
    if not known.any():
        return
    share = float(np.median(others[known] / total[known]))
    if abs(share - 1) > FARTHEST_SHARE:
        raise InputError(
            f"{NATION} is not the sum of the {len(hub.locations) - 1} other locations, whose target data add up to "
            f"{share:.0%} of it; give their sums as a hierarchy (--hierarchy FILE), or more locations"
        )


def _with_forecasts(newest: Any, hub: Hub, hierarchy: Hierarchy) -> tuple[str, ...]:
    """Returns the series of a hierarchy that have a newest forecast, which all bottom ones must."""
    there = {name for name, quantiles in zip(hub.locations, newest, strict=True) if np.isfinite(quantiles).all()}
    for name in hierarchy.bottom:
        if name not in hub.locations:
            raise InputError(f"the hub has no location {shown(repr(name))} of the hierarchy; leave it out of both")
        if name not in there:
            raise InputError(
                f"location {shown(repr(name))} has no forecast on {hub.dates[-1]}, so that sums lack it; leave the "
                "location out, or give a hierarchy without it"
            )
    return tuple(name for name in hierarchy.names if name in there)


def _errors(forecasts: Any, hub: Hub, base: tuple[str, ...]) -> Float[np.ndarray, "time location"]:
    """Returns target minus median at the dates on which all locations have both, known in time."""
    truth = hub.known_truth()[[hub.locations.index(name) for name in base]]
    errors = (truth - forecasts[..., hub.forecasts().median_index]).T
    whole = errors[np.isfinite(errors).all(1)]
    if len(whole) < 2:
        gaps = (~np.isfinite(errors)).sum(0)
        raise InputError(
            f"{len(whole)} dates before {hub.dates[-1]} have forecasts and target data of all locations that add up, "
            f"expected at least 2; most are lacking for {shown(repr(base[int(np.argmax(gaps))]))}, leave it out"
        )
    return whole
