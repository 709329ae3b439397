"""Forecasts of the series of a table that add up."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_seed
from jaxcast.errors import InputError, counted, shown
from jaxcast.hierarchy.paths import NUM_PATHS, reconcile_quantiles
from jaxcast.hierarchy.reconciliation import METHODS, Method, fit_reconciliation
from jaxcast.hierarchy.structure import Hierarchy
from jaxcast.io.dates import parse_date
from jaxcast.numerics.levels import middle_of
from jaxcast.series.model import SeriesForecast, SeriesModel
from jaxcast.series.problem import within
from jaxcast.series.tables import SeriesTable

FARTHEST_SHARE = 0.1
"""How far a sum may be from its members' sum, as a share of the sizes of its values."""
ROUNDING = 1e-6
"""How far it may always be, as a share of the sizes of its members, which may cancel out."""


@checked
def table_with_sums(table: SeriesTable, hierarchy: Hierarchy) -> SeriesTable:
    """Adds the sums of a hierarchy to a table that lacks them.

    Args:
        table: with the bottom series.
        hierarchy: with their sums; those that the table has stay as they are.

    Returns:
        The table, with further series at the end. A sum is missing where a member is. Its past and
        future covariates are those of its members, which must be the same for all.

    Raises:
        InputError: for bottom series that the table lacks, sums in the table that are not about
            those of their members, covariates that differ between members, and static covariates,
            of which nobody knows how to sum them.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2024-01", "2024-04", dtype="datetime64[M]")
        >>> table = jaxcast.series.series_table(np.asarray([[1.0, 2], [3, 4], [5, 6]]), dates, names=("a", "b"))
        >>> hierarchy = jaxcast.hierarchy.hierarchy_from_parents({"a": "all", "b": "all"})
        >>> jaxcast.series.table_with_sums(table, hierarchy).values[:, 2].tolist()
        [3.0, 7.0, 11.0]
    """
    _check_sums(table, hierarchy)
    new = [name for name in hierarchy.aggregates if name not in table.names]
    if not new:
        return table
    index = [table.names.index(name) for name in hierarchy.bottom]
    if table.static_covariates.shape[1]:
        raise InputError(
            f"the table has static covariates but not the series {shown(repr(new[0]))}; give its values and covariates "
            "in the table"
        )
    sums = hierarchy.sums(table.values[:, index])[:, [hierarchy.names.index(name) for name in new]]
    covariates: dict[str, Any] = {}
    for kind in ("past_covariates", "future_covariates"):
        values = table._asdict()[kind]
        of_first = values[:, index[:1]]
        if not np.array_equal(values[:, index], np.broadcast_to(of_first, values[:, index].shape), equal_nan=True):
            raise InputError(
                f"the {kind} of the members of {shown(repr(new[0]))} differ; give its values and covariates in the table"
            )
        covariates[kind] = np.concatenate([values, np.repeat(of_first, len(new), 1)], 1)
    return table._replace(
        names=(*table.names, *new),
        values=np.concatenate([table.values, sums], 1),
        static_covariates=np.empty((len(table.names) + len(new), 0)),
        **covariates,
    )


def _check_sums(table: SeriesTable, hierarchy: Hierarchy) -> None:
    """Refuses a table that lacks members of a hierarchy, or holds other sums than theirs."""
    lacking = [name for name in hierarchy.bottom if name not in table.names]
    if lacking:
        raise InputError(
            f"the table has no series {shown(repr(lacking[0]))} of the hierarchy, it has "
            f"{shown(', '.join(table.names[:10]))}{', ...' if len(table.names) > 10 else ''}; leave it out of the "
            "hierarchy, or give its values"
        )
    bottom = table.values[:, [table.names.index(name) for name in hierarchy.bottom]]
    sums, sizes = hierarchy.sums(bottom), hierarchy.sums(np.abs(bottom))
    for name in hierarchy.aggregates:
        if name not in table.names:
            continue
        own, row = table.values[:, table.names.index(name)], hierarchy.names.index(name)
        known = np.isfinite(own) & np.isfinite(sums[:, row])
        gap, size, of_members = (
            float(np.abs(values[known]).sum()) for values in (own - sums[:, row], own, sizes[:, row])
        )
        if gap > FARTHEST_SHARE * size + ROUNDING * of_members:
            raise InputError(
                f"the series {shown(repr(name))} of the table is not the sum of its "
                f"{counted(len(hierarchy.members(name)), 'member')} in the hierarchy: they differ by "
                f"{f'{gap / size:.0%} of it' if gap < 100 * size else f'{gap / known.sum():.3g} on average'}; correct "
                "the hierarchy or the table"
            )


@checked
def reconcile_forecast(
    model: SeriesModel,
    table: SeriesTable,
    *,
    hierarchy: Hierarchy,
    method: Method = "mint",
    at: str | None = None,
    nonnegative: bool | None = None,
    num_paths: int = NUM_PATHS,
    seed: int = 0,
    what: str = "the table",
) -> SeriesForecast:
    """Forecasts the series of a table so that they add up over a hierarchy.

    The model's quantiles become paths over all series and leads, joined as its errors on the dates
    of the table were. Each path is reconciled; quantiles are those of the paths. So paths add up,
    and means; quantiles, and the forecast, which is the level nearest to 0.5, need not.

    Args:
        model: by `fit_series`.
        table: with the series, steps and covariates that the model has learned from.
        hierarchy: of the model's series; its sums that the model does not forecast are the sums of
            their members. Series of the model that are not in it stay as they are.
        method: see `fit_reconciliation`. Residuals are the model's errors in the windows of the
            table that end with known targets up to `at`, for each lead.
        at: the newest date that is seen; by default the last with a value.
        nonnegative: whether forecasts are to be at least 0; by default where the model has a least
            value of 0 or more.
        num_paths: how many paths.
        seed: breaks ties between repeated past errors.
        what: what to call the table in a message.

    Returns:
        The forecasts: of all series of the hierarchy in its order, then of others. `info` has the
        "mean" (lead, series) and the "paths" (path, lead, series).

    Raises:
        InputError: for a hierarchy of other series, a table in which sums are not about those of
            their members, and as `SeriesModel.forecast` and `fit_reconciliation` do.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2015-01", "2025-01", dtype="datetime64[M]")
        >>> parts = 20 + np.cumsum(np.random.default_rng(0).normal(size=(120, 2)), 0)
        >>> table = jaxcast.series.series_table(parts, dates, names=("north", "south"))
        >>> hierarchy = jaxcast.hierarchy.hierarchy_from_parents({"north": "all", "south": "all"})
        >>> table = jaxcast.series.table_with_sums(table, hierarchy)
        >>> model = jaxcast.series.fit_series(table, horizon=2, methods=("last_value",)).model
        >>> found = jaxcast.series.reconcile_forecast(model, table, hierarchy=hierarchy)
        >>> found.names, hierarchy.is_coherent(found.info["paths"])
        (('all', 'north', 'south'), True)
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {shown(repr(method))}")
    check_seed(seed)
    lacking = [name for name in hierarchy.bottom if name not in model.names]
    if lacking:
        raise InputError(
            f"the forecaster has no series {shown(repr(lacking[0]))} of the hierarchy; it forecasts "
            f"{shown(', '.join(model.names))}"
        )
    found = model.forecast(table, at=at, what=what)
    table = model.arranged(table, what)
    _check_sums(table, hierarchy)
    base = tuple(name for name in hierarchy.names if name in model.names)
    index = [model.names.index(name) for name in base]
    origin = int(table.calendar.rows(parse_date(found.origin, "the forecast's date")))
    errors = _errors(model, table, origin)[..., index]
    errors = errors[np.isfinite(errors).all((1, 2))]
    if len(errors) < 2:
        raise InputError(
            f"{what} has {len(errors)} dates from which all series of the hierarchy are known at all leads, expected "
            "at least 2 to find how their errors depend on each other; give a longer table"
        )
    if nonnegative is None:
        nonnegative = model.forecaster.lower is not None and model.forecaster.lower >= 0
    reconciliation = fit_reconciliation(
        hierarchy,
        method=method,
        residuals=errors,
        history=table.values[: origin + 1, index],
        base=base,
        nonnegative=nonnegative,
    )
    reconciled = reconcile_quantiles(
        found.quantiles[:, index],
        reconciliation=reconciliation,
        levels=found.levels,
        template=errors,
        num_paths=num_paths,
        key=jax.random.key(seed),
    )
    others = [k for k, name in enumerate(model.names) if name not in base]
    quantiles = np.concatenate([reconciled.quantiles, found.quantiles[:, others]], 1)
    return found._replace(
        names=(*hierarchy.names, *(model.names[k] for k in others)),
        forecast=quantiles[..., middle_of(found.levels)],
        quantiles=quantiles,
        info={"mean": reconciled.mean, "paths": reconciled.paths},
    )


def _errors(model: SeriesModel, table: SeriesTable, origin: int) -> Float[np.ndarray, "sample lead region"]:
    """Returns what was observed up to a row minus what the model forecasts of it, NaN where unknown."""
    windows: Any = within(model.windows(table, origin), 0, origin + 1)
    kept = np.asarray(windows.weights).any((1, 2))
    windows = jax.tree.map(lambda a: a[kept], windows)
    forecast = jax.jit(lambda f, *args: f(*args).forecast)(model.forecaster, windows.history, windows.covariates)
    known = np.asarray(windows.weights) > 0
    return np.where(known, np.asarray(windows.targets, float) - np.asarray(forecast, float), np.nan)
