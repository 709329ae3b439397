"""The methods of `fit_series`: naive forecasters, regressions, networks, and a user's own."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxcast.checks import check_choice
from jaxcast.distributions.heads import HEADS
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.pytrees import FrozenPytree
from jaxcast.registry import names_of
from jaxcast.series.baselines import Drift, HistoryMean, LastValue, SeasonalLastValue
from jaxcast.series.graphs.structure import neighbour_weights
from jaxcast.series.network_methods import NETWORKS, train_network
from jaxcast.series.panel_methods import train_panel_network
from jaxcast.series.panel_models.network_settings import PANEL_NETWORKS
from jaxcast.series.plain_methods import PLAIN_METHODS
from jaxcast.series.problem import SeriesProblem, TrainingPart
from jaxcast.series.region_methods import REGION_NETWORKS, check_regions, train_region_network
from jaxcast.series.regressions.expansions import LinearFeatures, random_fourier_features
from jaxcast.series.regressions.lags import LagInputs, lag_inputs
from jaxcast.series.regressions.path import RegressionPath, fit_regression_path
from jaxcast.series.samples import SeriesWindows, base_quantiles
from jaxcast.series.window_forecaster import WindowForecaster

PENALTIES = np.logspace(-5, 2, 8)
NUM_COSINES = 200
DEFAULT_METHODS = ("last_value", "seasonal_last_value", "ridge", "ridge_each_series", "kernel_ridge")
REGRESSIONS = ("ridge", "ridge_each_series", "kernel_ridge")
SEES_ALL = {*REGRESSIONS, "lasso", "lasso_each_series", "star", "boosted_trees"}
"""Methods that see weighted means of all series, by a matrix between them."""


class TrainableForecaster(WindowForecaster, FrozenPytree):
    """Abstract base of a user's forecasters that `fit_series` tries by their name.

    A subclass gives its name in its head. It is then a method of `fit_series` and of
    `jaxcast series train --method`, and can be saved and loaded.

    Example:
        >>> import jax.numpy as jnp, jaxcast, numpy as np
        >>> class Typical(jaxcast.series.TrainableForecaster, name="typical"):
        ...     mean: object
        ...     num_leads: int = jaxcast.static()
        ...     @property
        ...     def signature(self):
        ...         return jaxcast.series.WindowSignature(self.num_leads, mean=self.mean)
        ...     @classmethod
        ...     def fit(cls, windows, *, problem):
        ...         weights = windows.weights
        ...         mean = (weights * windows.targets).sum((0, 1)) / weights.sum((0, 1))
        ...         return cls(mean, len(problem.leads))
        ...     def __call__(self, history, covariates=None):
        ...         shape = (*history.shape[:-2], self.num_leads, len(self.mean))
        ...         return jaxcast.Output(jnp.broadcast_to(self.mean, shape), {})
        >>> dates = np.arange("2021-01", "2031-01", dtype="datetime64[M]")
        >>> rng = np.random.default_rng(0)
        >>> table = jaxcast.series.series_table(rng.normal(5, 1, (120, 2)), dates)
        >>> fitted = jaxcast.series.fit_series(table, horizon=2, methods=("last_value", "typical"), season=0)
        >>> fitted.model.method
        'typical'
    """

    @classmethod
    @abstractmethod
    def fit(cls, windows: SeriesWindows, *, problem: SeriesProblem) -> Any:
        """Fits the forecaster.

        Args:
            windows: those with a known target alone, with covariates standardised.
            problem: with the leads, quantile levels, season and seed; its other windows must not be
                learned from.

        Returns:
            The forecaster, of as many leads as the problem has.
        """


_USERS_BASE: Any = TrainableForecaster  # abstract, which mypy takes for no type


class Variants(NamedTuple):
    """A method that has learned from a part, in one or several variants, such as penalties.

    Args:
        names: of the variants.
        pick: returns one of them, by its number.
        base: returns the quantiles of one of them for all windows; of a point forecast a single
            level.
        num_epochs: passes of a network over its windows.
        sees_calendar: whether its first covariate is the slot of the week.
        window_features: features of time that it sees at every step of a window, beside all
            covariates of these; None where it does not.
    """

    names: tuple[str, ...]
    pick: Callable[[int], Any]
    base: Callable[[int], Float[np.ndarray, "sample lead region level"]]
    num_epochs: int | None = None
    sees_calendar: bool = False
    window_features: tuple[str, ...] | None = None


Fit = Callable[[str, SeriesProblem, TrainingPart, SeriesWindows | None, int], Variants]


def _naive(make: Callable[[SeriesProblem], Any]) -> Fit:
    return lambda name, problem, part, validation, num_epochs: _single(name, make(problem), part)


def _single(name: str, forecaster: Any, part: TrainingPart) -> Variants:
    base = np.asarray(jax.jit(base_quantiles)(forecaster, part.windows))
    return Variants((name,), lambda _: forecaster, lambda _: base)


def _regressions(
    method: str, problem: SeriesProblem, part: TrainingPart, validation: SeriesWindows | None, num_epochs: int
) -> Variants:
    """Fits one for each penalty."""
    num_series = part.windows.history.shape[-1]
    everyone = problem.adjacency is None and num_series > 1
    weights = neighbour_weights(num_series, problem.adjacency, everyone=everyone)
    inputs = lag_inputs(part.own, lags=problem.lags, neighbour_weights=weights, centred=True)
    expansion: Any = LinearFeatures()
    if method == "kernel_ridge":
        key = jax.random.key(problem.seed)
        expansion = random_fourier_features(inputs.num_features, NUM_COSINES, bandwidth=0.4, key=key)
    path, forecasts = _of_penalties(part.windows, inputs, expansion, each_region=method == "ridge_each_series")
    forecasts = np.asarray(forecasts)[..., None]
    names = tuple(f"penalty {penalty:g}" for penalty in PENALTIES)
    return Variants(names, path.pick, lambda k: forecasts[k])


@partial(jax.jit, static_argnames="each_region")
def _of_penalties(
    windows: SeriesWindows, inputs: LagInputs, expansion: Any, *, each_region: bool
) -> tuple[RegressionPath, Float[Array, "penalty sample lead region"]]:
    """Fits and forecasts in one program, so that features are made once."""
    path = fit_regression_path(
        windows,
        inputs=inputs,
        expansion=expansion,
        penalties=PENALTIES,
        error_weighting=0.0,
        each_region=each_region,
        predict_change=True,
    )
    return path, path.forecasts(windows)


def _network(
    method: str, problem: SeriesProblem, part: TrainingPart, validation: SeriesWindows | None, num_epochs: int
) -> Variants:
    trained = train_network(method, problem, part, validation, num_epochs)
    seen = part._replace(windows=trained.windows)
    name = f"network, {trained.num_epochs} epochs"
    return _single(name, trained.network, seen)._replace(
        num_epochs=trained.num_epochs, sees_calendar=NETWORKS[method].sees_calendar
    )


def _region_network(
    method: str, problem: SeriesProblem, part: TrainingPart, validation: SeriesWindows | None, num_epochs: int
) -> Variants:
    trained = train_region_network(method, problem, part, validation, num_epochs)
    seen = part._replace(windows=trained.windows)
    name = f"network, {trained.num_epochs} epochs"
    return _single(name, trained.network, seen)._replace(num_epochs=trained.num_epochs, sees_calendar=True)


def _panel_network(
    method: str, problem: SeriesProblem, part: TrainingPart, validation: SeriesWindows | None, num_epochs: int
) -> Variants:
    trained = train_panel_network(method, problem, part, num_epochs, refit=validation is None)

    def base(_: int) -> Float[np.ndarray, "sample lead region level"]:
        windows = trained.windows
        rows, stop = np.asarray(windows.rows), min(row for row in problem.bounds if row > part.end)
        # Sampled paths take long, and only the part that follows is looked at.
        held_out = np.flatnonzero((rows[:, -1] >= part.end) & (rows[:, 0] < stop))
        own = jax.tree.map(lambda a: a[held_out], windows)
        found = np.full((*windows.targets.shape, len(problem.levels)), np.nan)
        found[held_out] = np.asarray(jax.jit(base_quantiles)(trained.forecaster, own))
        return found

    return Variants(
        (f"network, {trained.num_epochs} epochs",),
        lambda _: trained.forecaster,
        base,
        trained.num_epochs,
        window_features=trained.features,
    )


def _plain(
    method: str, problem: SeriesProblem, part: TrainingPart, validation: SeriesWindows | None, num_epochs: int
) -> Variants:
    fitted = PLAIN_METHODS[method](method, problem, part)
    seen = part if fitted.windows is None else part._replace(windows=fitted.windows)

    def base(number: int) -> Float[np.ndarray, "sample lead region level"]:
        return _single(method, fitted.models[number], seen).base(0)

    return Variants(fitted.names, fitted.models.__getitem__, base, sees_calendar=fitted.sees_calendar)


def _users(
    method: str, problem: SeriesProblem, part: TrainingPart, validation: SeriesWindows | None, num_epochs: int
) -> Variants:
    return _single(method, names_of(_USERS_BASE)[method].fit(part.own, problem=problem), part)


_METHODS: dict[str, Fit] = {
    "last_value": _naive(lambda problem: LastValue(problem.leads)),
    "seasonal_last_value": _naive(lambda problem: SeasonalLastValue(problem.leads, problem.season)),
    "history_mean": _naive(lambda problem: HistoryMean(problem.leads)),
    "drift": _naive(lambda problem: Drift(problem.leads)),
    **dict.fromkeys(PLAIN_METHODS, _plain),
    **dict.fromkeys(REGRESSIONS, _regressions),
    **dict.fromkeys(NETWORKS, _network),
    **dict.fromkeys(REGION_NETWORKS, _region_network),
    **dict.fromkeys(PANEL_NETWORKS, _panel_network),
}

OWN_METHODS = tuple(_METHODS)
"""Methods of the package; a user's own have the names of their classes."""


def method_names() -> tuple[str, ...]:
    """Returns the names of all methods, the package's own and those of imported modules."""
    return (*OWN_METHODS, *names_of(_USERS_BASE))


def check_methods(methods: Sequence[str] | None, num_series: int) -> None:
    """Refuses unknown or repeated methods, and those whose matrices do not fit into memory.

    Args:
        methods: their names; None for the usual ones.
        num_series: how many series there are.

    Raises:
        InputError: that lists the methods, or names one.
    """
    if methods is not None:
        known = method_names()
        for name in methods:
            if name not in known:
                raise InputError(f"unknown method {shown(repr(name))}; the methods are {', '.join(known)}")
        if not methods or len(set(methods)) < len(methods):
            raise InputError(f"name each method once, got {shown(', '.join(methods))}")
    if {*(methods or DEFAULT_METHODS)} & SEES_ALL:
        what = f"regressions of {num_series} series, which see the mean of all or of neighbours (last_value does not)"
        check_arrays(what, (3, num_series, 2, num_series))


def check_head(head: str | None, methods: Sequence[str] | None) -> None:
    """Refuses an unknown head, and one that none of the methods has.

    Args:
        head: its name, or None.
        methods: their names; None for the usual ones.

    Raises:
        InputError: that lists the heads, or the networks that have one.
    """
    if head is None:
        return
    check_choice("head", head, HEADS)
    if not {*(methods or ())} & {*PANEL_NETWORKS}:
        raise InputError(
            f"a head is for the networks {', '.join(PANEL_NETWORKS)}; name one as a method, or leave it out"
        )


def chosen_methods(methods: Sequence[str] | None, problem: SeriesProblem) -> tuple[str, ...]:
    """Returns the methods to try; by default the usual ones that the problem allows.

    Args:
        methods: their names, or None.
        problem: with its season.

    Raises:
        InputError: for a seasonal method without a season, or a network of grids or trips for other
            data.
    """
    if methods is None:
        return tuple(name for name in DEFAULT_METHODS if problem.season or name != "seasonal_last_value")
    if "seasonal_last_value" in methods and not problem.season:
        raise InputError("seasonal_last_value needs a season; give its steps")
    for method in methods:
        check_regions(method, problem)
    return tuple(methods)


def fit_method(
    method: str, problem: SeriesProblem, part: TrainingPart, validation: SeriesWindows | None, num_epochs: int
) -> Variants:
    """Fits a method to a part.

    Args:
        method: its name.
        problem: with the windows.
        part: that is learned from.
        validation: windows by which networks stop; None to learn for all epochs.
        num_epochs: the most passes of a network.

    Returns:
        The method's variants.
    """
    return _METHODS.get(method, _users)(method, problem, part, validation, num_epochs)
