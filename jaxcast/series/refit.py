"""Refits a saved forecaster to a table that has grown."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_seed, check_whole
from jaxcast.errors import InputError
from jaxcast.io.dates import parse_date
from jaxcast.progress import doing
from jaxcast.series.calibration import CalibratedForecaster, shifted
from jaxcast.series.evaluation import WindowScores, window_scores
from jaxcast.series.fit import search
from jaxcast.series.held_out import HeldOutParts, check_diverging, held_out_parts, shifts_of, width_power_of, widths_of
from jaxcast.series.methods import check_methods
from jaxcast.series.model import SeriesModel
from jaxcast.series.network_methods import NETWORKS, seen_by, train_network
from jaxcast.series.panel_methods import PanelForecaster
from jaxcast.series.problem import SeriesProblem, TrainingPart, check_series, part_until, windows_of, within
from jaxcast.series.region_methods import REGION_NETWORKS
from jaxcast.series.regressions.lags import LagInputs
from jaxcast.series.regressions.regression import LagRegression
from jaxcast.series.samples import SeriesWindows, base_quantiles
from jaxcast.series.tables import SeriesTable, newest_row

NUM_EPOCHS = 5
MOST_EPOCHS = 200
"""Of a network of panels, which is trained anew and stops by itself."""
LEAST_DATES = 20
"""New dates from which quantiles are calibrated anew; with fewer, those of the old model stay."""
VALIDATION_SHARE = 0.2


class SeriesRefit(NamedTuple):
    """The result of `refit_series`.

    Args:
        model: that has learned from all dates of the table.
        before: scores of the old model on all new dates, in standard deviations of each series.
        old: scores of the old model on the second half of the new dates.
        new: scores of a model that was refitted to the first half of the new dates, on the second.
        new_from: the first new date.
        compared_from: the first date of their second half.
        is_recalibrated: whether the quantiles were calibrated on the new dates.
    """

    model: SeriesModel
    before: WindowScores
    old: WindowScores
    new: WindowScores
    new_from: str
    compared_from: str
    is_recalibrated: bool


@checked
def refit_series(
    model: SeriesModel,
    table: SeriesTable,
    *,
    num_epochs: int = NUM_EPOCHS,
    seed: int = 0,
    what: str = "the table",
    progress: Callable[[str], None] = doing,
) -> SeriesRefit:
    """Refits a forecaster to a table that has grown since it learned.

    Method, leads, levels, history, season and graph stay. A network goes on from its weights and
    scales for some epochs over all dates; other methods, and the networks of panels such as
    "deepar", are fitted anew, which takes no longer than before.

    Scores come before learning: the old model is scored on all new dates, of which it has learned
    nothing. A model refitted to the first half of the new dates is scored beside it on the second
    half. The returned model has learned from both. Its quantiles are calibrated on errors of dates
    that were not learned from; those of a network stay as they were where there are fewer than 20
    new dates.

    Args:
        model: by `fit_series`, or one that was loaded.
        table: with the series, steps and covariates of the old one, the dates that the model has
            learned from, and at least two new ones.
        num_epochs: passes of a network that goes on from its weights.
        seed: of shuffling, and of kernel ridge.
        what: what to call the table in a message.
        progress: is called with a line of text before each step; by default it goes to the command
            line's progress.

    Returns:
        The new model, and the scores of both. The old model is not changed.

    Raises:
        InputError: for other series, steps or covariates, a table with fewer than two new dates,
            new dates without known values, networks of grids or trips, or forecasts that diverge.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2015-01", "2025-01", dtype="datetime64[M]")
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=(120, 2)), 0)
        >>> model = jaxcast.series.fit_series(
        ...     jaxcast.series.series_table(walk[:100], dates[:100]), horizon=2, methods=("last_value",)
        ... ).model
        >>> refit = jaxcast.series.refit_series(model, jaxcast.series.series_table(walk, dates))
        >>> refit.new_from, refit.compared_from, refit.model.learned_until
        ('2023-05-01', '2024-03-01', '2024-12-01')
    """
    check_whole("num_epochs", num_epochs)
    check_seed(seed)
    check_methods((model.method,), len(model.names))
    if model.method in REGION_NETWORKS:
        raise InputError(f"{model.method} is not refitted; train a new one on the longer table")
    table = model.arranged(table, what)
    problem, start = _problem(model, table, seed, what)
    refit = _warm if model.method in NETWORKS else _anew
    return refit(model, problem, start, num_epochs, progress)


def _problem(model: SeriesModel, table: SeriesTable, seed: int, what: str) -> tuple[SeriesProblem, int]:
    """Returns the windows of the table, whose test part is the second half of the new dates, and the first of these."""
    start = int(table.calendar.rows(parse_date(model.learned_until, "the model's last date"))) + 1
    end = newest_row(table.values) + 1
    if end - start < 2:
        raise InputError(
            f"{what} must have at least 2 dates after {model.learned_until}, until which the forecaster has learned, got "
            f"{max(0, end - start)}; give a table with newer values"
        )
    needed = model.history_size + max(model.leads)
    if start < needed:
        raise InputError(
            f"{what} begins on {table.date(0)}, {max(0, start)} dates before the new ones; a refit learns from the old "
            f"dates, too, and needs at least {needed}; give the longer table, not only its new rows"
        )
    middle = start + (end - start) // 2
    first = start
    if model.method not in NETWORKS:  # what is fitted anew may hold out dates that the old one has learned from
        first = max(needed, min(start, middle - int(VALIDATION_SHARE * end)))
    lower = model.forecaster.lower
    if lower is not None and (lowest := float(np.nanmin(table.values))) < lower:
        raise InputError(
            f"{what} holds {lowest:g}, which is below lower={lower:g} of the forecaster; train a new one with a smaller "
            "lower"
        )
    check_series(table, first)
    size = model.history_size
    problem = SeriesProblem(
        table,
        windows_of(table, size, model.leads),
        (first, middle, end),
        model.leads,
        size,
        model.lags or tuple(range(size)),
        model.levels,
        model.season,
        _graphs_of(model),
        lower,
        num_epochs=MOST_EPOCHS,
        seed=seed,
        **_of_network(model),
    )
    _check_new(problem, start, what)
    return problem, start


def _of_network(model: SeriesModel) -> dict[str, Any]:
    """Returns the hidden units and the head of a network of panels; those of other networks stay as they are."""
    forecaster = model.forecaster.forecaster
    if not isinstance(forecaster, PanelForecaster):
        return {"hidden_size": 1}
    config = forecaster.model.network.config
    return {"hidden_size": int(config["hidden_size"]), "head": str(config["head"])}


def _graphs_of(model: SeriesModel) -> Any:
    """Returns how close series are to each other for a regression on neighbours, None for no graph."""
    regression = model.forecaster.forecaster
    if not isinstance(regression, LagRegression) or not isinstance(regression.inputs, LagInputs):
        return None
    groups = np.asarray(regression.inputs.neighbour_weights, float)
    is_mean_of_all = groups.shape[1] > 1 and np.allclose(groups[:, 1], 1 / len(groups))
    return None if groups.shape[1] == 1 or is_mean_of_all else groups[None, :, 1]


def _check_new(problem: SeriesProblem, start: int, what: str) -> None:
    """Refuses new dates of which a half has no known value at some lead."""
    _, middle, end = problem.bounds
    for first, stop in ((start, middle), (middle, end)):
        known = np.asarray(within(problem.windows, first, stop).weights).any((0, 2))
        if not known.all():
            raise InputError(
                f"{what} has no known value from {problem.table.date(first)} to {problem.table.date(stop - 1)} to score "
                f"lead {problem.leads[int(np.argmin(known))]}; wait for more dates, or give the missing values"
            )


def _anew(
    model: SeriesModel, problem: SeriesProblem, start: int, num_epochs: int, progress: Callable[[str], None]
) -> SeriesRefit:
    """Fits the method anew, its variant chosen on dates before the second half of the new ones."""
    fitted = search((model.method,), problem, progress=progress)
    held_out = held_out_parts(problem, *(part_until(problem, row) for row in problem.bounds[:2]))
    before, old = _of_old(model, problem, start, held_out)
    return SeriesRefit(
        fitted.model,
        before,
        old,
        fitted.scores[0].test,
        problem.table.date(start),
        problem.table.date(problem.bounds[1]),
        is_recalibrated=True,
    )


def _of_old(
    model: SeriesModel, problem: SeriesProblem, start: int, held_out: HeldOutParts
) -> tuple[WindowScores, WindowScores]:
    """Scores the old model on all new dates, and on their second half."""
    windows = model.windows(problem.table)
    run = jax.jit(lambda f, *args: f(*args).info["quantiles"])
    quantiles = np.asarray(run(model.forecaster, windows.history, windows.covariates))
    first, second = (
        window_scores(quantiles, within(windows, row, problem.bounds[2]), levels=problem.levels, scale=held_out.std)
        for row in (start, problem.bounds[1])
    )
    return first, second


def _warm(
    model: SeriesModel, problem: SeriesProblem, start: int, num_epochs: int, progress: Callable[[str], None]
) -> SeriesRefit:
    """Trains a network further: to the first half of the new dates for the scores, then to all."""
    method, calibrated = model.method, model.forecaster
    early, late, whole = (_part(problem, row, calibrated, model.sees_calendar) for row in problem.bounds)
    held_out = held_out_parts(problem, early, late)
    before, old = _of_old(model, problem, start, held_out)
    progress(f"training {method} further, to {problem.table.date(problem.bounds[1] - 1)}")
    first = train_network(method, problem, late, None, num_epochs, calibrated.forecaster)
    bases = [
        _base(network, seen_by(NETWORKS[method], part.windows, problem))
        for network, part in ((calibrated.forecaster, early), (first.network, late))
    ]
    for base, windows in zip(bases, (held_out.validation, held_out.test), strict=True):
        check_diverging(method, [base], windows, problem)
    is_recalibrated = problem.bounds[2] - start >= LEAST_DATES
    at_first = calibrated
    if is_recalibrated:
        at_first = _recalibrated(calibrated, bases[0], held_out.validation, problem, held_out)
    widths = widths_of(held_out.test, jnp.asarray(at_first.usual_change), at_first.width_power)
    quantiles = shifted(bases[1], at_first.shifts, widths, problem.lower)
    new = window_scores(quantiles, held_out.test, levels=problem.levels, scale=held_out.std)
    progress(f"training {method} further, on all dates")
    last = train_network(method, problem, whole, None, num_epochs, calibrated.forecaster)
    if is_recalibrated:
        both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), held_out.validation, held_out.test)
        calibrated = _recalibrated(calibrated, np.concatenate(bases), both, problem, held_out)
    refitted = dataclasses.replace(
        model,
        forecaster=dataclasses.replace(calibrated, forecaster=last.network),
        learned_until=problem.table.date(problem.bounds[2] - 1),
        lowest=float(np.nanmin(problem.table.values)),
    )
    dates = problem.table.date(start), problem.table.date(problem.bounds[1])
    return SeriesRefit(refitted, before, old, new, *dates, is_recalibrated)


def _part(problem: SeriesProblem, end: int, calibrated: CalibratedForecaster, sees_calendar: bool) -> TrainingPart:
    """Returns what is known before a row, with covariates as the old model standardises them."""
    part = part_until(problem, end)
    if problem.windows.covariates is None:
        return part
    mean, std = jnp.asarray(calibrated.covariates_mean), jnp.asarray(calibrated.covariates_std)
    if sees_calendar:  # the first is the slot of the week, which comes later
        mean, std = mean[..., 1:], std[..., 1:]
    covariates = (problem.windows.covariates - mean) / std
    return TrainingPart(part.windows._replace(covariates=covariates), mean, std, end)


def _base(network: Any, windows: SeriesWindows) -> Float[np.ndarray, "sample lead region level"]:
    return np.asarray(jax.jit(base_quantiles)(network, windows))


def _recalibrated(
    calibrated: CalibratedForecaster, base: Any, windows: SeriesWindows, problem: SeriesProblem, held_out: HeldOutParts
) -> CalibratedForecaster:
    """Returns the forecaster with shifts from held-out windows."""
    power = width_power_of(base, windows, problem, held_out)
    shifts = shifts_of(base, windows, problem, held_out.std, widths_of(windows, held_out.typical, power))
    return dataclasses.replace(calibrated, shifts=jnp.asarray(shifts), usual_change=held_out.typical, width_power=power)
