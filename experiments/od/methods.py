"""Naive forecasts, regressions and our own models of `experiments.od`."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxcast
from experiments.od.data import Part, Setup, forecasts
from experiments.od.networks import NETWORKS, train
from jaxcast.series import HistoricalAverage, LinearFeatures, calendar_lags, fit_slot_mean

RIDGE = np.logspace(-7, -1, 7)
LASSO = np.logspace(-1, -5, 9)
FACTOR_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
CHUNK = 16

PARTS: tuple[tuple[Part, Part], ...] = (("early", "valid"), ("whole", "test"))
"""What is learned from before what is forecast."""

Forecasts = dict[str, np.ndarray]
"""Of the validation part, learned before it, and of the test part, (window, lead, pair)."""
Found = Callable[[str, int], Forecasts]
"""The forecasts of another method by its name and seed."""


class Method(NamedTuple):
    """A method of the experiment.

    Args:
        forecast: (setup, seed, forecasts of other methods) -> its forecasts.
        draws: whether the seed matters.
        daily: whether it makes sense where a row is a day.
    """

    forecast: Callable[[Setup, int, Found], Forecasts]
    draws: bool = False
    daily: bool = True


def zeros(setup: Setup, seed: int, found: Found) -> Forecasts:
    """Forecasts that nobody travels."""
    return {part: np.zeros_like(truth) for part, truth in setup.truths.items()}


def average(setup: Setup, seed: int, found: Found, **numbers: int) -> Forecasts:
    """Averages recent values and the targets' slots of past days and weeks."""
    settings: dict[str, Any] = {"num_recent": 0, "slots_per_day": setup.protocol.slots_per_day} | numbers
    leads = setup.protocol.leads
    lags = calendar_lags(leads=leads, **settings)
    model = HistoricalAverage(leads, lags=lags, **settings)
    return {part: np.nan_to_num(forecasts(model, setup.windows(part, lags))) for part in setup.truths}


def slot_mean(setup: Setup, seed: int, found: Found) -> Forecasts:
    """Averages the training part by the slot of the week."""
    both: Forecasts = {}
    for learned, part in PARTS:
        options: dict[str, Any] = {"slots_per_day": setup.protocol.slots_per_day, "leads": setup.protocol.leads}
        model = fit_slot_mean(setup.values, setup.slots, stop=setup.rows(learned)[1], **options)
        both[part] = forecasts(model, setup.windows(part, (0,), calendar=True))
    return both


class PairInputs(jaxcast.series.RegressionInputs):
    """Features of a pair for a regression that all pairs share: its history less its mean.

    With `zones` also the mean over weeks, that mean times the origin's latest trips over their mean
    in those weeks, and the latest trips from the origin and to the destination, all less their means
    over time.

    Args:
        mean: of each pair.
        weeks: rows of the history that are whole weeks before the first target.
        zones: whether features of the zones are seen.
        target_features: ().
    """

    mean: Float[Array, " pair"]
    weeks: tuple[int, ...] = jaxcast.pytrees.static()
    zones: bool = jaxcast.pytrees.static(default=False)
    target_features: tuple[int, ...] = jaxcast.pytrees.static(default=())

    def __call__(self, history: Any, covariates: Any = None) -> jaxcast.series.Window:
        known = jnp.isfinite(history)
        off = jnp.where(known, history - self.mean, 0)
        features = jnp.moveaxis(off, -2, -1)
        if self.zones:
            features = jnp.concatenate([features, jnp.stack(self._of_zones(off), -1)], -1)
        newest = history[..., -1, :]
        return jaxcast.series.Window(features, newest, jnp.ones_like(newest), self.mean)

    def _of_zones(self, off: Any) -> list[Any]:
        size = round(len(self.mean) ** 0.5)
        table = lambda a: a.reshape(*a.shape[:-1], size, size)  # noqa: E731
        usual = off[..., self.weeks, :].mean(-2) + self.mean
        now = jnp.maximum(table(off[..., -1, :] + self.mean), 0)
        from_origin, to_destination = (jnp.broadcast_to(now.sum(k, keepdims=True), now.shape) for k in (-1, -2))
        ratio = from_origin / (jnp.maximum(table(usual), 0).sum(-1, keepdims=True) + 1)
        flat = lambda a: a.reshape(usual.shape)  # noqa: E731
        return [usual, usual * jnp.minimum(flat(ratio), 5), flat(from_origin) / size, flat(to_destination) / size]

    def of_region(self, history: Any, covariates: Any, region: Any) -> jaxcast.series.Window:
        """Returns the window of one pair."""
        return jax.tree.map(lambda a: a[..., region, :][..., None, :], self(history, covariates))


def _inputs(setup: Setup, learned: Any, lags: tuple[int, ...], zones: bool) -> PairInputs:
    first = setup.protocol.leads[0]
    weeks = tuple(k for k, lag in enumerate(lags) if (lag + first) % setup.protocol.season == 0)
    weights = learned.weights[:, 0]
    mean = (learned.targets[:, 0] * weights).sum(0) / jnp.maximum(weights.sum(0), 1)
    return PairInputs(mean, weeks, zones)


def least_squares(setup: Setup, seed: int, found: Found, *, zones: bool = False) -> Forecasts:
    """Fits one regression for all pairs, on few lags and without a penalty."""
    both: Forecasts = {}
    lags = setup.protocol.few_lags
    for learned, part in PARTS:
        samples = setup.windows(learned, lags)
        inputs = _inputs(setup, samples, lags, zones)
        options: dict[str, Any] = {"expansion": LinearFeatures(), "penalty": 0.0, "chunk_size": CHUNK}
        model = jaxcast.series.fit_lag_regression(samples, inputs=inputs, **options)
        del samples
        both[part] = forecasts(model, setup.windows(part, lags))
    return both


def penalised(setup: Setup, seed: int, found: Found, *, kind: str) -> Forecasts:
    """Fits one regression for all pairs; the penalty is that of the least validation error."""
    lags = setup.protocol.lags

    def path(samples: Any, penalties: Any) -> Any:
        inputs = _inputs(setup, samples, lags, False)
        options: dict[str, Any] = {"inputs": inputs, "penalties": penalties, "chunk_size": CHUNK}
        if kind == "lasso":
            return jaxcast.series.fit_lasso_path(samples, **options)
        return jaxcast.series.fit_regression_path(samples, expansion=LinearFeatures(), **options)

    valid, penalties = setup.windows("valid"), RIDGE if kind == "ridge" else LASSO
    early = path(setup.windows("early"), penalties)
    each = [forecasts(early.pick(k), valid) for k in range(len(penalties))]
    best = int(np.argmin([_mse(one, setup.truths["valid"]) for one in each]))
    # A sparse path is found from the largest penalty down.
    model = path(setup.windows("whole"), penalties[: best + 1] if kind == "lasso" else penalties[best : best + 1])
    return {"valid": each[best], "test": forecasts(model.pick(-1), setup.windows("test"))}


def _mse(forecast: np.ndarray, truth: np.ndarray) -> float:
    return float(np.nanmean((forecast - truth) ** 2))


def factors(setup: Setup, seed: int, found: Found) -> Forecasts:
    """Fits factor models; the penalty is that which forecasts the validation part best."""
    fit: Any = partial(jaxcast.series.fit_factor_regression, **_settings(setup))
    early, valid = setup.windows("early"), setup.windows("valid")
    each = [forecasts(fit(early, penalty=penalty), valid) for penalty in FACTOR_PENALTIES]
    best = int(np.argmin([_mse(one, setup.truths["valid"]) for one in each]))
    del early
    model = fit(setup.windows("whole"), penalty=FACTOR_PENALTIES[best])
    both = {"valid": each[best], "test": forecasts(model, setup.windows("test"))}
    return both | {"penalty": np.asarray(FACTOR_PENALTIES[best])}


def flows(setup: Setup, seed: int, found: Found) -> Forecasts:
    """Fits factor models that a regression of pairs corrects, with the penalty of `factors`."""
    penalty = float(found("factors", seed)["penalty"])
    both: Forecasts = {}
    for learned, part in PARTS:
        samples = setup.windows(learned)
        model = jaxcast.series.fit_flow_regression(samples, penalty=penalty, **_settings(setup))
        del samples
        both[part] = forecasts(model, setup.windows(part))
    return both


def _settings(setup: Setup) -> dict[str, Any]:
    return {
        "leads": setup.protocol.leads,
        "num_factors": setup.config.num_factors,
        "season": setup.protocol.season,
    }


def num_seeds_of(name: str, config: Any) -> int:
    """Returns how often a method is run."""
    if not METHODS[name].draws:
        return 1
    if name in ("od_ced", "average"):
        return int(config.num_seeds)
    return int(config.num_slow_seeds if name == "mrstn" else config.num_network_seeds)


def members(setup: Setup) -> list[str]:
    """Returns the methods that may be averaged: without seeds, or with all of them."""
    config = setup.config
    names = [name for name in ("ridge", *NETWORKS, "factors", "flows") if name in config.methods]
    return [name for name in names if not METHODS[name].draws or num_seeds_of(name, config) >= config.num_seeds]


def select(setup: Setup, seed: int, found: Found) -> Forecasts:
    """Averages those of the regressions, our models and a seed's networks that validate best."""
    names = members(setup)
    each = [found(name, seed) for name in names]
    chosen = jaxcast.training.select_average(np.stack([one["valid"] for one in each]), setup.truths["valid"])
    both = {part: np.mean([each[k][part] for k in chosen], 0) for part in ("valid", "test")}
    return both | {"chosen": np.asarray([names[k] for k in chosen])}


METHODS: dict[str, Method] = {
    "zeros": Method(zeros),
    "last_value": Method(partial(average, num_recent=1)),
    "yesterday": Method(partial(average, num_days=1), daily=False),
    "last_week": Method(partial(average, num_weeks=1)),
    "mean_of_4_weeks": Method(partial(average, num_weeks=4)),
    "slot_of_week_mean": Method(slot_mean),
    "least_squares": Method(least_squares),
    "least_squares_and_zones": Method(partial(least_squares, zones=True)),
    "lasso": Method(partial(penalised, kind="lasso")),
    "ridge": Method(partial(penalised, kind="ridge")),
    **{name: Method(partial(train, name), draws=True) for name in NETWORKS},
    "factors": Method(factors),
    "flows": Method(flows),
    "average": Method(select, draws=True),
}
