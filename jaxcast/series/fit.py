"""Finds, fits and calibrates a forecaster of the series in a table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.progress import doing
from jaxcast.series.calibration import CalibratedForecaster, shifted
from jaxcast.series.evaluation import WindowScores, window_scores
from jaxcast.series.held_out import HeldOutParts, check_diverging, held_out_parts, shifts_of, width_power_of, widths_of
from jaxcast.series.methods import Variants, check_head, check_methods, chosen_methods, fit_method
from jaxcast.series.model import SeriesModel
from jaxcast.series.problem import (
    LEVELS,
    SeriesProblem,
    TrainingPart,
    part_until,
    series_problem,
    with_targets,
)
from jaxcast.series.tables import SeriesTable


class MethodScores(NamedTuple):
    """The scores of one method on the validation and on the test part.

    Args:
        method: its name.
        setting: its best variant, such as a penalty.
        validation_mae: the mean absolute error on the validation part, which chooses, in units of
            each series' standard deviation.
        width_power: how far its quantiles follow what a series moved lately; see
            `CalibratedForecaster`.
        test: its scores on the test part, in the same units.
    """

    method: str
    setting: str
    validation_mae: float
    width_power: float
    test: WindowScores


class SeriesFit(NamedTuple):
    """The result of `fit_series`.

    Args:
        model: the best method, fitted to the whole table and calibrated.
        scores: of all methods that were tried, the best on the validation part first.
        validation_from: the first date of the validation part.
        test_from: the first date of the test part.
        left_out: of each method that cannot learn from the table, why.
    """

    model: SeriesModel
    scores: tuple[MethodScores, ...]
    validation_from: str
    test_from: str
    left_out: Mapping[str, str]


@checked
def fit_series(
    table: SeriesTable,
    *,
    horizon: int | None = None,
    leads: Sequence[int] = (),
    methods: Sequence[str] | None = None,
    history_size: int | None = None,
    season: int | None = None,
    levels: Sequence[float] = LEVELS,
    adjacency: Float[Any, "*graph region region"] | None = None,
    lower: float | int | None = None,
    validation_share: float = 0.2,
    test_share: float | None = None,
    hidden_size: int = 16,
    num_epochs: int = 200,
    seed: int = 0,
    head: str | None = None,
    progress: Callable[[str], None] = doing,
) -> SeriesFit:
    """Finds the method that forecasts a table best, and fits it to the whole table.

    The dates of the table are cut into three parts. Every method learns from the first part; the
    second, the validation part, chooses one of them. All are then fitted to both and scored on the
    last, the test part, which plays no role in the choice. The chosen method is fitted to all
    dates, and its quantiles are calibrated on the validation and the test part. Missing values are
    neither learned from nor scored. Of several methods, those that cannot learn from the table are
    left out, and the result says why.

    Args:
        table: with the series and their covariates, by `read_series` or `series_table`.
        horizon: steps ahead; all leads from 1 to this are forecast.
        leads: instead of a horizon, certain steps ahead, rising.
        methods: names of methods: "last_value", "seasonal_last_value", "history_mean", "drift",
            "historical_average", "ridge", "ridge_each_series", "lasso", "lasso_each_series",
            "kernel_ridge", "var", "star" (see `fit_lasso`, `fit_var`, `fit_star`); "boosted_trees"
            (see `fit_boosted_trees`; scikit-learn) and, for steps that share a day evenly,
            "seasonal" (see `fit_seasonal_forecaster`), which sees as many past days and weeks as
            history_size holds; the networks
            "independent_network", "hierarchical_network", "attention_network", "global_network";
            the probabilistic ones "deepar", "seq2seq", "mqrnn", "tft", "conv_trans", which all
            series share; on graphs "stgcn", "st_mgcn", "d2stgnn", "graph_wavenet", "dcrnn"; and
            those of `TrainableForecaster` classes. By default last values and regressions; networks
            take minutes.
        history_size: newest steps that a forecast sees; by default 20, or a tenth of the table
            where that is less.
        season: steps of a season, whose values one season before the targets are seen too; 0 for
            none. By default a year of weeks, months or quarters, a week of days, or a day of hours,
            where the table has four of them.
        levels: quantile levels, rising.
        adjacency: how close series are to each other, in the order of the table; each then sees the
            mean of its neighbours, by default that of all series. Of several graphs, (graph,
            region, region), networks on graphs see each, and other methods the mean.
        lower: the least value that a series can have, such as 0 for counts.
        validation_share: share of the dates in the validation part.
        test_share: share of the dates in the test part; by default as many as in the validation
            part.
        hidden_size: hidden units of networks.
        num_epochs: the most passes of networks over their windows; they stop by the validation
            part.
        seed: of the initial parameters and the shuffling of networks, and of kernel ridge.
        head: what the probabilistic networks make: "quantiles", or the parameters of a
            distribution, such as "negative_binomial" for counts; see
            `jaxcast.distributions.make_head`. By default each network's own.
        progress: is called with a line of text before each method; by default it goes to the
            command line's progress.

    Returns:
        The model, and the scores of all methods.

    Raises:
        InputError: for options out of range, unknown methods, and where no method can learn: from a
            table that is too short or holds nothing to learn, or because its forecasts diverge.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2015-01", "2025-01", dtype="datetime64[M]")
        >>> rng = np.random.default_rng(0)
        >>> season = np.sin(2 * np.pi * np.arange(120) / 12)
        >>> values = 10 + season[:, None] * [1.0, 3.0] + 0.2 * rng.normal(size=(120, 2))
        >>> table = jaxcast.series.series_table(values, dates, names=("north", "south"))
        >>> fitted = jaxcast.series.fit_series(table, horizon=3, methods=("last_value", "ridge"))
        >>> [score.method for score in fitted.scores]
        ['ridge', 'last_value']
        >>> forecast = fitted.model.forecast(table)
        >>> forecast.dates[:2], forecast.quantiles.shape
        (('2025-01-01', '2025-02-01'), (3, 2, 7))
        >>> bool((abs(forecast.forecast - (10 + season[:3, None] * [1.0, 3.0])) < 0.5).all())
        True
    """
    if (horizon is None) == (not leads):
        raise InputError(f"give either a horizon or leads, got horizon={horizon} and leads={tuple(leads)}")
    if horizon is not None:
        if not 1 <= horizon < len(table.values):
            raise InputError(f"horizon must be from 1 to below the table's {len(table.values)} dates, got {horizon}")
        leads = tuple(range(1, horizon + 1))
    check_methods(methods, len(table.names))
    check_head(head, methods)
    problem = series_problem(
        table,
        leads=leads,
        history_size=history_size,
        season=season,
        levels=levels,
        adjacency=adjacency,
        lower=lower,
        validation_share=validation_share,
        test_share=test_share,
        hidden_size=hidden_size,
        num_epochs=num_epochs,
        seed=seed,
        head=head,
    )
    return search(chosen_methods(methods, problem), problem, progress=progress)


class _Tried(NamedTuple):
    """A method after both parts: its scores, its best variant, and that one's quantiles of both."""

    scores: MethodScores
    variant: int
    num_epochs: int
    validation_base: Any
    test_base: Any


def search(methods: Sequence[str], problem: SeriesProblem, *, progress: Callable[[str], None] = doing) -> SeriesFit:
    """Tries methods on a problem, and fits the best to the whole table; see `fit_series`.

    Args:
        methods: their names.
        problem: with the windows.
        progress: is called with a line of text before each method.

    Returns:
        The model, and the scores of all methods.

    Raises:
        InputError: where no method can learn from the table, or forecasts without diverging.
    """
    first, second, _ = problem.bounds
    early, late, whole = (part_until(problem, row) for row in problem.bounds)
    held_out = held_out_parts(problem, early, late)
    tried, left_out = [], dict[str, str]()
    for method in methods:
        progress(f"training {method}")
        try:
            tried.append(_try(method, problem, (early, late), held_out))
        except InputError as error:
            if len(left_out) + 1 == len(methods):
                raise
            left_out[method] = str(error)
    tried.sort(key=lambda one: one.scores.validation_mae)
    best = tried[0]
    progress(f"training {best.scores.method} on all dates")
    final = fit_method(best.scores.method, problem, whole, None, best.num_epochs)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), held_out.validation, held_out.test)
    base = np.concatenate([best.validation_base, best.test_base])
    power = width_power_of(base, both, problem, held_out)
    shifts = shifts_of(base, both, problem, held_out.std, widths_of(both, held_out.typical, power))
    sees_calendar = final.sees_calendar and problem.table.calendar.slots_per_day > 0
    forecaster = CalibratedForecaster(
        final.pick(best.variant),
        jnp.asarray(shifts),
        *_covariates_scale(whole, sees_calendar, final),
        problem.levels,
        problem.lower,
        held_out.typical,
        power,
    )
    table = problem.table
    return SeriesFit(
        SeriesModel.of(
            forecaster,
            table,
            problem,
            method=best.scores.method,
            sees_calendar=sees_calendar,
            window_features=final.window_features,
        ),
        tuple(one.scores for one in tried),
        table.date(first),
        table.date(second),
        left_out,
    )


def _try(method: str, problem: SeriesProblem, parts: Any, held_out: HeldOutParts) -> _Tried:
    """Chooses a variant by the validation part, and scores it on the test part."""
    early, late = parts
    at_first = fit_method(method, problem, early, with_targets(held_out.validation), problem.num_epochs)
    bases = [at_first.base(k) for k in range(len(at_first.names))]
    check_diverging(method, bases, held_out.validation, problem)
    errors = [window_scores(base, held_out.validation, levels=problem.levels, scale=held_out.std).mae for base in bases]
    best = int(np.argmin(errors))
    num_epochs = at_first.num_epochs or problem.num_epochs
    again = fit_method(method, problem, late, None, num_epochs)
    later = again.base(best if len(again.names) > 1 else 0)
    check_diverging(method, [later], held_out.test, problem)
    power = width_power_of(bases[best], held_out.validation, problem, held_out)
    widths = widths_of(held_out.validation, held_out.typical, power)
    shifts = shifts_of(bases[best], held_out.validation, problem, held_out.std, widths)
    quantiles = shifted(later, shifts, widths_of(held_out.test, held_out.typical, power), problem.lower)
    test = window_scores(quantiles, held_out.test, levels=problem.levels, scale=held_out.std)
    scores = MethodScores(method, at_first.names[best], errors[best], power, test)
    return _Tried(scores, best, num_epochs, bases[best], later)


def _covariates_scale(part: TrainingPart, sees_calendar: bool, method: Variants) -> tuple[Array, Array]:
    """Returns the mean and scale of covariates; a slot of the week, the first, stays as it is.

    A network of panels scales its covariates itself."""
    if method.window_features is not None:
        size = method.pick(0).signature.num_covariates
        return jnp.zeros(size), jnp.ones(size)
    mean, std = jnp.asarray(part.covariates_mean), jnp.asarray(part.covariates_std)
    if not sees_calendar:
        return mean, std
    if part.windows.covariates is None:
        return jnp.zeros(1), jnp.ones(1)
    first = [(0, 0)] * (mean.ndim - 1) + [(1, 0)]
    return jnp.pad(mean, first), jnp.pad(std, first, constant_values=1)
