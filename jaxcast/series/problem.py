"""The windows of a table in three parts by time, for the search for a forecaster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxcast.checks import check_leads, check_number, check_seed, check_whole
from jaxcast.distributions import check_counts, make_head
from jaxcast.errors import InputError, shown
from jaxcast.io.tables import LARGEST
from jaxcast.numerics.levels import check_levels
from jaxcast.series.graphs.structure import check_graphs
from jaxcast.series.samples import SeriesWindows, series_windows
from jaxcast.series.tables import SeriesTable, newest_row
from jaxcast.series.whole_regions import WholeRegions

SEASONS = {"1 week": 52, "1 month": 12, "3 months": 4, "1 day": 7, "1 business day": 5, "1 hour": 24}
LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
LEAST_SAMPLES = 10


class SeriesProblem(NamedTuple):
    """The windows of a table, and what is asked of their forecasters.

    Args:
        table: with the series and their covariates.
        windows: of the whole table.
        bounds: the rows at which the validation and the test part begin, and the row after the
            last.
        leads: steps ahead.
        history_size: steps that a forecast sees.
        lags: steps back from the newest value that regressions see.
        levels: quantile levels.
        season: steps of a season; 0 for none.
        graphs: how close series are to each other, one or more graphs, or None.
        lower: the least value that a series can have, or None.
        hidden_size: hidden units of networks.
        num_epochs: the most passes of networks over their windows.
        seed: of everything that is drawn.
        head: what the outputs of a network of panels are; None for each one's own.
        checkpoints: folder for checkpoints of networks, from which an interrupted training
            continues; None for none.
        whole: the cells of a grid or the pairs of zones that the series belong to, or None.
    """

    table: SeriesTable
    windows: SeriesWindows
    bounds: tuple[int, int, int]
    leads: tuple[int, ...]
    history_size: int
    lags: tuple[int, ...]
    levels: tuple[float, ...]
    season: int
    graphs: Float[np.ndarray, "graph region region"] | None
    lower: float | None
    hidden_size: int
    num_epochs: int
    seed: int
    head: str | None = None
    checkpoints: Path | None = None
    whole: WholeRegions | None = None

    def checkpoint(self, method: str, end: int, *, chooses: bool) -> Path | None:
        """Returns the file of a network's checkpoint.

        Args:
            method: its name.
            end: the row after the last that it learns from.
            chooses: whether held-out windows choose its epoch.
        """
        name = f"{method}-{end}-{'choice' if chooses else 'all'}.checkpoint"
        return None if self.checkpoints is None else self.checkpoints / name

    @property
    def adjacency(self) -> Float[np.ndarray, "region region"] | None:
        """How close series are: the mean of the graphs, each over its largest weight where there are several."""
        if self.graphs is None or len(self.graphs) == 1:
            return None if self.graphs is None else self.graphs[0]
        largest = self.graphs.max((1, 2), keepdims=True)
        return (self.graphs / np.where(largest > 0, largest, 1)).mean(0)


def series_problem(
    table: SeriesTable,
    *,
    leads: Sequence[int],
    history_size: int | None = None,
    season: int | None = None,
    levels: Sequence[float] = LEVELS,
    adjacency: Float[Any, "*graph region region"] | None = None,
    lower: float | None = None,
    validation_share: float = 0.2,
    test_share: float | None = None,
    hidden_size: int = 16,
    num_epochs: int = 200,
    seed: int = 0,
    head: str | None = None,
) -> SeriesProblem:
    """Cuts the windows of a table, with defaults that depend on the table.

    Args:
        table: with the series and their covariates.
        leads: steps ahead, rising.
        history_size: see `fit_series`.
        season: see `fit_series`.
        levels: quantile levels, rising.
        adjacency: how close series are to each other, in the order of the table; of several graphs,
            (graph, region, region).
        lower: the least value that a series can have.
        validation_share: share of the dates in the validation part.
        test_share: share of the dates in the test part; by default the same.
        hidden_size: hidden units of networks.
        num_epochs: the most passes of networks over their windows.
        seed: of everything that is drawn.
        head: see `fit_series`.

    Returns:
        The problem.

    Raises:
        InputError: for options out of range, a table that is too short, parts or series in which
            nothing is known, and values that are not counts under a head of counts.
    """
    test_share = validation_share if test_share is None else test_share
    _check_options(leads, history_size, season, validation_share, test_share, hidden_size, num_epochs, seed)
    leads, levels = tuple(leads), check_levels(levels)
    length = newest_row(table.values) + 1
    if not length:
        raise InputError(f"expected a table with values, all of its {len(table.values)} dates lack them; give others")
    if season is None:
        usual = SEASONS.get(table.calendar.step, 0)
        season = usual if length >= 4 * usual else 0
    window = history_size or max(2, min(20, length // 10))
    size = max(window, season + 1 if season else 0)
    bounds = _bounds(length, validation_share, test_share, size + max(leads) + LEAST_SAMPLES - 1)
    check_series(table, bounds[0])
    if head is not None and make_head(head, levels).is_count:
        for name, values in zip(table.names, table.values.T, strict=True):
            check_counts(values, f"series {shown(repr(name))}")
        lower = 0.0 if lower is None else lower
    if lower is not None:
        check_number("lower", lower)
        if (lowest := float(np.nanmin(table.values))) < lower:
            raise InputError(f"the table holds {lowest:g}, which is below lower={lower:g}; give a smaller lower")
    of_season = {season - lead + k for lead in leads for k in (-1, 0, 1)} if season else set()
    lags = tuple(sorted({*range(window), *(lag for lag in of_season if 0 <= lag < size)}))
    windows = windows_of(table, size, leads)
    graphs = None if adjacency is None else check_graphs(np.asarray(adjacency, float), num_nodes=len(table.names))
    if not np.asarray(windows.weights)[np.asarray(windows.rows)[:, 0] < bounds[0]].any():
        raise InputError("no date has all covariates; leave one out, or give more of their values")
    problem = SeriesProblem(
        table, windows, bounds, leads, size, lags, levels, season, graphs, lower, hidden_size, num_epochs, seed, head
    )
    _check_parts(problem)
    return problem


def _check_options(
    leads: Sequence[int],
    history_size: int | None,
    season: int | None,
    validation_share: float,
    test_share: float,
    hidden_size: int,
    num_epochs: int,
    seed: int,
) -> None:
    check_leads(leads)
    if history_size is not None:
        check_whole("history_size", history_size)
    if season is not None:
        check_whole("season", season, least=0)
        if season == 1:
            raise InputError("season must be at least 2 steps, or 0 for none, got 1")
    for name, share in (("validation_share", validation_share), ("test_share", test_share)):
        check_number(name, share, above=0)
        if share >= 0.5:
            raise InputError(f"{name} must be above 0 and below 0.5, got {share}")
    check_whole("hidden_size", hidden_size)
    check_whole("num_epochs", num_epochs)
    check_seed(seed)


def _bounds(length: int, validation_share: float, test_share: float, needed: int) -> tuple[int, int, int]:
    sizes = {"validation": int(validation_share * length), "test": int(test_share * length)}
    for name, share in (("validation", validation_share), ("test", test_share)):
        if sizes[name] < 2:
            raise InputError(
                f"the {name} part must have at least 2 dates, {share:g} of the table's {length} has {sizes[name]}; "
                f"give a longer table or a larger {name}_share"
            )
    first = length - sizes["validation"] - sizes["test"]
    if first < needed:
        raise InputError(
            f"these leads, history_size and season need at least {needed} dates to learn from, got {first} of the "
            f"table's {length} before the validation part; give smaller ones, or a longer table"
        )
    return first, length - sizes["test"], length


def windows_of(
    table: SeriesTable, history_size: int, leads: tuple[int, ...], newest: int | None = None
) -> SeriesWindows:
    """Cuts a window that ends at each row with enough rows before it; targets may lie ahead.

    Where no value of a series is known in a window, that series has no weight.

    Args:
        table: with the series and their covariates.
        history_size: steps of history.
        leads: steps ahead.
        newest: the last row that is seen; by default the last with a value.

    Returns:
        The windows.
    """
    rows = (newest_row(table.values) if newest is None else newest) + 1 + max(leads)

    def padded(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array[:rows], np.full((max(0, rows - len(array)), *array.shape[1:]), np.nan)])

    past, static = table.past_covariates, table.static_covariates
    newest_covariates = np.concatenate([past, np.broadcast_to(static, (len(past), *static.shape))], -1)
    windows = series_windows(
        padded(table.values),
        history_size=history_size,
        leads=leads,
        newest_covariates=padded(newest_covariates) if newest_covariates.shape[-1] else None,
        future_covariates=padded(table.future_covariates) if table.future_covariates.shape[-1] else None,
    )
    return windows._replace(weights=windows.weights * jnp.isfinite(windows.history).any(1)[:, None])


def check_series(table: SeriesTable, end: int) -> None:
    """Refuses series from which nothing can be learned.

    Args:
        table: with the series.
        end: the row after the last that is learned from.

    Raises:
        InputError: for a series that is never known, never changes, or changes by too little.
    """
    before = f"in the {end} dates before {table.date(end)}"
    for name, values in zip(table.names, table.values[:end].T, strict=True):
        known, series = values[np.isfinite(values)], shown(f"series {name!r}")
        if not len(known):
            raise InputError(
                f"{series} has no value {before} to learn from; leave it out, or use "
                "`jaxcast panel train`, which takes series that begin late"
            )
        spread = known.max() - known.min()
        if spread == 0:
            raise InputError(f"{series} never changes {before}; leave it out")
        if spread < 1 / LARGEST:
            raise InputError(
                f"{series} moves by {spread:g} only {before}, expected at least {1 / LARGEST:g}; give it in another "
                "unit"
            )


def _check_parts(problem: SeriesProblem) -> None:
    """Refuses a validation or a test part in which some lead has no known value."""
    for name, start, stop in zip(("validation", "test"), problem.bounds[:-1], problem.bounds[1:], strict=True):
        known = np.asarray(within(problem.windows, start, stop).weights).any((0, 2))
        part = f"the {name} part, rows {start + 1} to {stop},"
        if not known.any():
            raise InputError(
                f"{part} has no known value whose covariates are all known; give more data, or another {name}_share"
            )
        if not known.all():
            raise InputError(
                f"{part} has no known value to calibrate the quantiles of lead {problem.leads[int(np.argmin(known))]}; "
                f"give more data, or another {name}_share"
            )


class TrainingPart(NamedTuple):
    """Returns the part known before a row, with covariates standardised by it.

    Args:
        windows: all of the problem; those with later targets have no weight, so that arrays keep
            their shapes.
        covariates_mean: what was taken off the covariates.
        covariates_std: what they were then divided by.
        end: the row after the last target.
    """

    windows: SeriesWindows
    covariates_mean: Any
    covariates_std: Any
    end: int

    @property
    def own(self) -> SeriesWindows:
        """The windows with a weight alone."""
        return with_targets(self.windows)


def with_targets(windows: SeriesWindows) -> SeriesWindows:
    """Returns the windows that have a target with a weight."""
    index = np.nonzero(np.asarray(windows.weights).any((1, 2)))[0]
    return jax.tree.map(lambda a: a[index], windows)


def within(windows: SeriesWindows, start: int, stop: int) -> SeriesWindows:
    """Returns the same windows, with a weight only for targets in some rows.

    Args:
        windows: of a table.
        start: the first row.
        stop: the row after the last.
    """
    inside = jnp.asarray((windows.rows >= start) & (windows.rows < stop))[..., None]
    return windows._replace(weights=windows.weights * inside, targets=windows.targets * inside)


def part_until(problem: SeriesProblem, end: int) -> TrainingPart:
    """Returns what is known before a row, with covariates standardised by it.

    Args:
        problem: with the windows.
        end: the row.
    """
    windows = within(problem.windows, 0, end)
    if windows.covariates is None:
        return TrainingPart(windows, 0.0, 1.0, end)
    seen = np.asarray(windows.covariates)[np.asarray(windows.weights).any(1)]
    mean, std = seen.mean(0), seen.std(0)
    std = np.where(std > 0, std, 1)
    return TrainingPart(windows._replace(covariates=(windows.covariates - mean) / std), mean, std, end)
