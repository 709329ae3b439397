"""Naive forecasters and regressions on lags of `experiments.regions`."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import jaxcast
from experiments.datasets import Folder
from jaxcast import InputError

PENALTIES = np.logspace(-6, -0.5, 8)


class Parts(NamedTuple):
    """The samples of the parts, whose targets do not overlap.

    Args:
        train: the training part.
        valid: the validation part.
        test: the test part.
        known: training and validation part together.
    """

    train: jaxcast.series.SeriesWindows
    valid: jaxcast.series.SeriesWindows
    test: jaxcast.series.SeriesWindows
    known: jaxcast.series.SeriesWindows


Seen = Literal["window", "last_year"]


@dataclasses.dataclass(frozen=True)
class Setup:
    """The data and their parts.

    Args:
        config: the settings.
        data: the series.
        by_seen: the parts by what is seen: the published window alone, or also the values one
            season before the targets and the part of the season at which the window ends.
        found: what several methods build on, kept from its first computation.
    """

    config: Any
    data: Folder
    by_seen: dict[Seen, Parts]
    found: dict[Any, Any] = dataclasses.field(default_factory=dict)

    @property
    def parts(self) -> Parts:
        return self.by_seen["window"]

    def only_training(self, known: jaxcast.series.SeriesWindows) -> jaxcast.series.SeriesWindows:
        """Returns the training part in arrays as long as those of both parts.

        One program then serves both.
        """
        early = known.rows < int(self.config.split[0] * len(self.data.values))
        return known._replace(weights=jnp.where(early[..., None], known.weights, 0))

    def one_step_ahead(self) -> jaxcast.series.SeriesWindows:
        """Returns training and validation part with the next step as the only target."""
        stop = int(self.config.split[1] * len(self.data.values))
        return jaxcast.series.series_windows(
            jnp.asarray(self.data.values), history_size=self.config.history_size, leads=(1,), stop=stop
        )

    @classmethod
    def of(cls, data: Folder, config: Any) -> "Setup":
        values = jnp.asarray(data.values)
        first, second = (int(share * len(values)) for share in config.split)
        far = max(config.history_size, config.season + 2 - min(config.leads))
        longest = min(second - first, len(values) - second, first - far)
        if sorted(set(config.leads)) != list(config.leads) or max(config.leads) > longest:
            raise InputError(
                f"leads must rise and be at most {longest} for a table of {len(values)} steps, of which windows take {far}, in three "
                f"parts, got {config.leads}"
            )
        bounds = ((0, first), (first, second), (second, len(values)), (0, second))

        angles = 2 * np.pi / config.season_length * np.arange(len(values))[:, None] * np.asarray([1, 2])
        calendar = np.concatenate([np.cos(angles), np.sin(angles)], 1)

        def parts(history_size: int, calendar: np.ndarray | None = None) -> Parts:
            cut = partial(
                jaxcast.series.series_windows,
                values,
                history_size=history_size,
                leads=config.leads,
                newest_covariates=calendar,
            )
            return Parts(*(cut(start=start, stop=stop) for start, stop in bounds))

        by_seen: dict[Seen, Parts] = {
            "window": parts(config.history_size),
            "last_year": parts(far, calendar),
        }
        return cls(config, data, by_seen)


@dataclasses.dataclass(frozen=True)
class Method:
    """A method of the experiment.

    Args:
        forecast: (setup, parts, seeds) -> forecasts of the test part, (seed, sample, lead, region),
            and what else was learned.
        draws: whether the seed matters.
        seen: what its windows hold.
        refitted: whether its parts are refitted with the validation part.
        with_calendar: whether it sees the week of the year.
    """

    forecast: Callable[[Setup, Parts, Sequence[int]], tuple[Any, dict[str, Any]]]
    draws: bool = False
    seen: Seen = "window"
    refitted: bool = False
    with_calendar: bool = False

    def sees(self, config: Any) -> str:
        """Describes what a forecast is made from, for a table."""
        back = f" and {config.season} weeks back" if self.seen == "last_year" else ""
        return (
            f"{config.history_size} weeks{back}{', the week of the year' * self.with_calendar}"
            f"{'; refitted with the validation part' * self.refitted}"
        )


def one_by_one(forecast: Callable[[Setup, Parts, int], Array]) -> Callable[..., tuple[Any, dict[str, Any]]]:
    """Turns a method of one seed into one of all seeds."""
    return lambda setup, parts, seeds: (np.stack([forecast(setup, parts, seed) for seed in seeds]), {})


def score(method: Method, setup: Setup) -> dict[str, np.ndarray]:
    """Returns every seed's test errors, the first seed's forecasts, and what was learned."""
    parts = setup.by_seen[method.seen]
    seeds = range(setup.config.seed, setup.config.seed + (setup.config.training.num_seeds if method.draws else 1))
    forecasts, learned = method.forecast(setup, parts, seeds)
    scores = [jaxcast.series.errors_by_lead(forecast, parts.test) for forecast in forecasts]
    return {name: np.stack([getattr(one, name) for one in scores]) for name in ("rmse", "mae", "pcc")} | {
        "forecast": forecasts[0][-len(setup.parts.test.targets) :],
        **learned,
    }


def naive(make: Callable[[tuple[int, ...]], Any], setup: Setup, parts: Parts, seed: int) -> Array:
    return make(setup.config.leads)(parts.test.history).forecast


def seasonal(setup: Setup, parts: Parts, seed: int) -> Array:
    values, rows = jnp.asarray(setup.data.values), parts.test.rows
    return values[jnp.clip(rows - setup.config.season, 0, len(values) - 1)]


@partial(jax.jit, static_argnames=("each_region", "predict_change", "leads"))
def by_penalty(
    parts: Parts,
    learned: jaxcast.series.SeriesWindows,
    inputs: jaxcast.series.LagInputs,
    expansion: Any,
    power: Any,
    *,
    each_region: bool = False,
    predict_change: bool = False,
    leads: tuple[int, ...] = (),
) -> tuple[Array, Array]:
    """Forecasts validation and test part with every penalty.

    With leads the regressions are of one step and run in closed loop. One program, so that features
    are made once."""
    path = jaxcast.series.fit_regression_path(
        learned,
        inputs=inputs,
        expansion=expansion,
        penalties=PENALTIES,
        error_weighting=power,
        each_region=each_region,
        predict_change=predict_change,
        nonnegative=True,
    )
    ask = partial(path.recursive_forecasts, leads=leads) if leads else path.forecasts
    return ask(parts.valid), ask(parts.test)


def best_penalty(parts: Parts, inputs: jaxcast.series.LagInputs, expansion: Any, **options: Any) -> Array:
    """Returns the test forecasts of the penalty with the lowest validation error at each lead."""
    valid, test = by_penalty(parts, parts.train, inputs, expansion, 1.0, **options)
    return best_at_each_lead(valid, test, parts, inputs.std)


def best_at_each_lead(valid: Array, test: Array, parts: Parts, std: Array) -> Array:
    """Returns the test forecasts of the setting with the lowest validation error at each lead.

    Errors are in units of each series' standard deviation.
    """
    best = jaxcast.series.best_by_lead(valid, parts.valid, scale=std)
    return jnp.stack([test[b, :, k] for k, b in enumerate(best)], 1)


def ridge(setup: Setup, parts: Parts, seed: int) -> Array:
    inputs = jaxcast.series.lag_inputs(parts.train, lags=range(setup.config.history_size), centred=False)
    return best_penalty(parts, inputs, jaxcast.series.LinearFeatures(), each_region=True)


def polynomial(setup: Setup, parts: Parts, seed: int) -> Array:
    lags = [lag for lag in (0, 1, 2, 4, 8) if lag < setup.config.history_size]
    inputs = jaxcast.series.lag_inputs(
        parts.train, lags=lags, neighbour_weights=weights_of(setup, "neighbours"), centred=False
    )
    return best_penalty(parts, inputs, jaxcast.series.PolynomialFeatures(2), predict_change=True)


def kernel_ridge(setup: Setup, parts: Parts, seed: int) -> Array:
    inputs, expansion = _kernels(setup, parts, seed)
    return best_penalty(parts, inputs, expansion, predict_change=True)


def _kernels(setup: Setup, parts: Parts, seed: int) -> tuple[jaxcast.series.LagInputs, Any]:
    """Returns the inputs of kernel ridge and its random features."""
    lags = range(setup.config.history_size)
    inputs = jaxcast.series.lag_inputs(
        parts.train, lags=lags, neighbour_weights=weights_of(setup, "neighbours"), centred=False
    )
    key = jax.random.key(seed)
    return inputs, jaxcast.series.random_fourier_features(
        inputs.num_features, setup.config.num_cosines, bandwidth=0.4, key=key
    )


def kernel_ridge_recursive(setup: Setup, parts: Parts, seed: int) -> Array:
    """Fits kernel ridge one step ahead and runs it in closed loop.

    At each lead the penalty is the one whose closed loop forecasts the validation part best.
    """
    learned = setup.only_training(setup.one_step_ahead())
    inputs, expansion = _kernels(setup, parts, seed)
    valid, test = by_penalty(parts, learned, inputs, expansion, 1.0, predict_change=True, leads=setup.config.leads)
    return best_at_each_lead(valid, test, parts, inputs.std)


def reservoir(setup: Setup, parts: Parts, seed: int) -> Array:
    """Fits ridge regression to a fixed random recurrent layer.

    The layer runs over the window of a region and of its neighbours' mean.
    """
    num_lags = setup.config.history_size
    inputs = jaxcast.series.lag_inputs(
        parts.train, lags=range(num_lags), neighbour_weights=weights_of(setup, "neighbours"), centred=False
    )
    sizes = {"num_features": inputs.num_features, "num_lags": num_lags, "num_nodes": setup.config.num_nodes}
    expansion = jaxcast.series.random_reservoir_features(**sizes, key=jax.random.key(seed))
    return best_penalty(parts, inputs, expansion, predict_change=True)


def weights_of(setup: Setup, seen: str) -> np.ndarray:
    adjacency = None if seen == "own" else setup.data.adjacency
    return jaxcast.series.neighbour_weights(setup.data.values.shape[1], adjacency, everyone=seen == "everyone")


PLAIN = {
    "last_value": Method(one_by_one(partial(naive, jaxcast.series.LastValue))),
    "mean_of_window": Method(one_by_one(partial(naive, jaxcast.series.HistoryMean))),
    "drift": Method(one_by_one(partial(naive, jaxcast.series.Drift))),
    "same_week_of_last_year": Method(one_by_one(seasonal), seen="last_year"),
    "ridge_each_region": Method(one_by_one(ridge)),
    "polynomial": Method(one_by_one(polynomial)),
    "reservoir": Method(one_by_one(reservoir), draws=True),
    "kernel_ridge": Method(one_by_one(kernel_ridge), draws=True),
    "kernel_ridge_recursive": Method(one_by_one(kernel_ridge_recursive), draws=True),
}
