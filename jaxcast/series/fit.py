"""The forecasters of series that `jaxcast series train` chooses from, and the choice, by windows that none has learned from."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.errors import InputError
from jaxcast.nn.layers import Buffer
from jaxcast.progress import doing
from jaxcast.series.abstract_network import region_loss
from jaxcast.series.baselines import Drift, HistoryMean, LastValue, SeasonalLastValue
from jaxcast.series.calibration import (
    CalibratedForecaster,
    conformal_shifts,
    recent_volatility,
    shifted,
    typical_change,
)
from jaxcast.series.evaluation import scores
from jaxcast.series.expansions import LinearFeatures, random_fourier_features
from jaxcast.series.graphs import neighbour_weights
from jaxcast.series.lags import LagInputs, lag_inputs
from jaxcast.series.recurrent_networks import AttentionNetwork, GlobalNetwork, HierarchicalNetwork, IndependentNetwork
from jaxcast.series.regression import fit_lag_regression
from jaxcast.series.samples import SeriesWindows, base_quantiles
from jaxcast.series.scaling import series_scale
from jaxcast.training.fitting import fit
from jaxcast.training.optimizers import make_optimizer

Method = Literal[
    "last_value", "seasonal_last_value", "history_mean", "drift", "ridge", "ridge_each_series", "kernel_ridge",
    "independent_network", "hierarchical_network", "attention_network", "global_network",
]  # fmt: skip
NAIVE: dict[str, Any] = {"last_value": LastValue, "history_mean": HistoryMean, "drift": Drift}
NETWORKS: dict[str, Any] = {
    "independent_network": IndependentNetwork,
    "hierarchical_network": HierarchicalNetwork,
    "attention_network": AttentionNetwork,
    "global_network": GlobalNetwork,
}
PENALTIES = np.logspace(-5, 2, 8)
NUM_COSINES = 200
WIDTH_POWERS = (0.0, 0.5, 1.0)


class Problem(NamedTuple):
    """What is to be learned. samples: of the whole table. bounds: the rows at which the first and the second held-out part
    begin, and the end of the table."""

    samples: SeriesWindows
    bounds: tuple[int, int, int]
    leads: tuple[int, ...]
    lags: tuple[int, ...]
    levels: tuple[float, ...]
    season: int
    adjacency: Float[np.ndarray, "region region"] | None
    lower: float | None
    hidden_size: int
    num_epochs: int
    seed: int


class Part(NamedTuple):
    """What is learned from: all samples, those after the part with the weight 0, which keeps shapes as they are; and what
    covariates were standardised by. ends: the row after the last target."""

    samples: SeriesWindows
    covariates_mean: Any
    covariates_std: Any
    end: int

    @property
    def own(self) -> SeriesWindows:
        return with_targets(self.samples)


class Fitted(NamedTuple):
    """A method's variants, such as penalties, and their quantiles (or only points) of all samples, (sample, lead, region, level);
    for how many epochs a network learned."""

    names: tuple[str, ...]
    pick: Callable[[int], Any]
    base: Callable[[int], Float[np.ndarray, "sample lead region level"]]
    epochs: int | None = None


class Trained(NamedTuple):
    """The chosen forecaster, trained on the whole table, and a row for each method that was tried."""

    model: CalibratedForecaster
    method: str
    rows: list[dict[str, Any]]


def with_targets(samples: SeriesWindows) -> SeriesWindows:
    """Those of the samples that have a target with a weight."""
    index = np.nonzero(np.asarray(samples.weights).any((1, 2)))[0]
    return jax.tree.map(lambda a: a[index], samples)


def within(samples: SeriesWindows, start: int, stop: int) -> SeriesWindows:
    """The same samples, with a weight only for targets in the rows from start to before stop."""
    inside = jnp.asarray((samples.rows >= start) & (samples.rows < stop))[..., None]
    return samples._replace(weights=samples.weights * inside, targets=samples.targets * inside)


def part_until(problem: Problem, end: int) -> Part:
    """What is known before a row, with covariates standardised by it."""
    samples = within(problem.samples, 0, end)
    if samples.covariates is None:
        return Part(samples, 0.0, 1.0, end)
    seen = np.asarray(samples.covariates)[np.asarray(samples.weights).any(1)]
    mean, std = seen.mean(0), seen.std(0)
    std = np.where(std > 0, std, 1)
    return Part(samples._replace(covariates=(samples.covariates - mean) / std), mean, std, end)


def fitted(method: str, problem: Problem, part: Part, validation: SeriesWindows | None, epochs: int) -> Fitted:
    """A method learns a part; networks stop by the validation samples, or after so many epochs where there are none."""
    if method in NAIVE or method == "seasonal_last_value":
        forecaster = (
            NAIVE[method](problem.leads) if method in NAIVE else SeasonalLastValue(problem.leads, problem.season)
        )
        return _single(method, forecaster, part)
    if method in NETWORKS:
        forecaster, best = _network(method, problem, part, validation, epochs)
        return _single(f"network, {best} epochs", forecaster, part)._replace(epochs=best)
    return _regressions(method, problem, part)


def _single(name: str, forecaster: Any, part: Part) -> Fitted:
    base = np.asarray(jax.jit(base_quantiles)(forecaster, part.samples.history, part.samples.covariates))
    return Fitted((name,), lambda _: forecaster, lambda _: base)


def _regressions(method: str, problem: Problem, part: Part) -> Fitted:
    """One for each penalty."""
    num_series = part.samples.history.shape[-1]
    weights = neighbour_weights(num_series, problem.adjacency, everyone=problem.adjacency is None and num_series > 1)
    inputs = lag_inputs(part.own, lags=problem.lags, neighbour_weights=weights, centred=True)
    expansion: Any = LinearFeatures()
    if method == "kernel_ridge":
        key = jax.random.key(problem.seed)
        expansion = random_fourier_features(inputs.num_features, NUM_COSINES, bandwidth=0.4, key=key)
    many, forecasts = _of_penalties(part.samples, inputs, expansion, each_region=method == "ridge_each_series")
    forecasts = np.asarray(forecasts)[..., None]

    def pick(k: int) -> Any:
        return dataclasses.replace(many, inputs=inputs, expansion=expansion, weights=many.weights[k], bias=many.bias[k])

    return Fitted(tuple(f"penalty {penalty:g}" for penalty in PENALTIES), pick, lambda k: forecasts[k])


@partial(jax.jit, static_argnames="each_region")
def _of_penalties(
    samples: SeriesWindows, inputs: LagInputs, expansion: Any, *, each_region: bool
) -> tuple[Any, Float[Array, "penalty sample lead region"]]:
    learn = partial(
        fit_lag_regression,
        samples,
        inputs=inputs,
        expansion=expansion,
        error_weighting=0.0,
        each_region=each_region,
        predict_change=True,
    )
    many = jax.vmap(lambda penalty: learn(penalty=penalty))(PENALTIES)

    def forecasts(weights: Array, bias: Array) -> Array:
        one = dataclasses.replace(many, inputs=inputs, expansion=expansion, weights=weights, bias=bias)
        return one(samples.history, samples.covariates).forecast

    return many, jax.vmap(forecasts)(many.weights, many.bias)


def _network(
    method: str, problem: Problem, part: Part, validation: SeriesWindows | None, epochs: int
) -> tuple[Any, int]:
    """The trained network, and the epochs that it learned for."""
    mean, std = series_scale(part.own)
    own = _float32(_in_units(part.own, mean, std))
    held_out = None if validation is None else _float32(_in_units(validation, mean, std))

    def init(key: Any) -> Any:
        return NETWORKS[method](
            own, hidden_size=problem.hidden_size, kind="gru", levels=problem.levels, key=key, dtype=jnp.float32
        )

    run = fit(
        own, init=init, keys=jax.random.key(problem.seed)[None], optimizer=make_optimizer(3e-3, clip_norm=1.0),
        num_epochs=epochs, batch_size=min(32, len(own.targets)), loss=region_loss,
        validation=held_out, patience=None if validation is None else 20,
    )  # fmt: skip
    losses = np.asarray(run.losses if validation is None else run.validation_losses)[0]
    if not np.isfinite(losses).any():
        raise InputError(f"{method} does not learn: its losses are not finite; leave it out")
    best = epochs if validation is None else int(np.nanargmin(losses)) + 1
    network = jax.tree.map(lambda a: a[0], run.models)
    network.mean, network.std = Buffer(mean + std * network.mean[...]), Buffer(std * network.std[...])
    return network, best


def _in_units(samples: SeriesWindows, mean: Array, std: Array) -> SeriesWindows:
    """The samples with every series standardised, so that float32 rounds none by its level."""
    targets = jnp.where(samples.weights > 0, (samples.targets - mean) / std, 0)
    return samples._replace(history=(samples.history - mean) / std, targets=targets)


def _float32(samples: SeriesWindows) -> SeriesWindows:
    return jax.tree.map(lambda a: a.astype(jnp.float32) if jnp.issubdtype(a.dtype, jnp.floating) else a, samples)


def train_series(methods: tuple[str, ...], problem: Problem) -> Trained:
    """Tries methods and their variants, and trains the best once more on everything.

    What is learned before the first held-out part is judged by that part, which chooses. All are then scored by the second
    part, after they have learned what is before it, with quantiles set right by the first: that is a score of forecasts that nothing was
    chosen by. The quantiles of the final forecaster come from both parts.
    """
    first, second, end = problem.bounds
    early, late, whole = (part_until(problem, row) for row in problem.bounds)
    judge = within(problem.samples, first, second)._replace(covariates=early.samples.covariates)
    check = within(problem.samples, second, end)._replace(covariates=late.samples.covariates)
    std, usual = np.asarray(series_scale(early.own)[1]), typical_change(early.own)
    rows, tried = [], {}
    for method in methods:
        doing(f"training {method}")
        at_first = fitted(method, problem, early, with_targets(judge), problem.num_epochs)
        bases = [at_first.base(k) for k in range(len(at_first.names))]
        _check_finite(method, bases, judge, problem)
        errors = [scores(base, judge, problem.levels, std)["mae"] for base in bases]
        best = int(np.argmin(errors))
        epochs = at_first.epochs or problem.num_epochs
        again = fitted(method, problem, late, None, epochs)
        later = again.base(best if len(again.names) > 1 else 0)
        _check_finite(method, [later], check, problem)
        power = _width_power(bases[best], judge, problem, std, usual)
        shifts = _shifts(bases[best], judge, problem, std, _widths(judge, usual, power))
        quantiles = shifted(later, shifts, _widths(check, usual, power), problem.lower)
        rows.append(
            {"method": method, "setting": at_first.names[best], "validation_mae": errors[best], "width_power": power}
            | scores(quantiles, check, problem.levels, std)
        )
        tried[method] = (best, epochs, bases[best], later)
    rows.sort(key=lambda row: row["validation_mae"])
    method = rows[0]["method"]
    best, epochs, *bases = tried[method]
    doing(f"training {method} on all dates")
    final = fitted(method, problem, whole, None, epochs)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), judge, check)
    base = np.concatenate(bases)
    power = _width_power(base, both, problem, std, usual)
    shifts = _shifts(base, both, problem, std, _widths(both, usual, power))
    model = CalibratedForecaster(
        final.pick(best), jnp.asarray(shifts), jnp.asarray(whole.covariates_mean), jnp.asarray(whole.covariates_std), problem.levels,
        problem.lower, usual, power,
    )  # fmt: skip
    return Trained(model, method, rows)


def _check_finite(method: str, bases: list[Any], samples: SeriesWindows, problem: Problem) -> None:
    """Raises InputError where a forecast that counts is not finite."""
    for base in bases:
        bad = ~np.isfinite(base).all(-1) & (np.asarray(samples.weights) > 0)
        if bad.any():
            _, lead, series = np.argwhere(bad)[0]
            raise InputError(
                f"forecasts by {method} diverge: one of series number {series} is not finite at lead {problem.leads[lead]}; give "
                "the series in another unit, or leave the method out"
            )


def _shifts(
    base: Any, samples: SeriesWindows, problem: Problem, std: Any, widths: Float[np.ndarray, "sample region"]
) -> Float[np.ndarray, "lead region level"]:
    shifts = conformal_shifts(base, samples, levels=problem.levels, std=std, widths=widths)
    if np.isnan(shifts).any():
        lead = problem.leads[int(np.argmax(np.isnan(shifts).any((1, 2))))]
        raise InputError(
            f"no value is known in a held-out part to set the quantiles of lead {lead} right by; give more data"
        )
    return shifts


def _widths(samples: SeriesWindows, usual: Any, power: float) -> Float[np.ndarray, "sample region"]:
    return np.asarray(recent_volatility(samples.history, usual), float) ** power


def _width_power(base: Any, samples: SeriesWindows, problem: Problem, std: Any, usual: Any) -> float:
    """How far quantiles follow what a series moved lately: the power whose shifts from either half of the held-out windows have
    the smallest pinball loss on the other; 0 where a half has no known value at some lead."""
    rows = np.flatnonzero(np.asarray(samples.weights).any((1, 2)))
    halves = np.array_split(rows, 2)
    losses = np.zeros(len(WIDTH_POWERS))
    for learned, judged in (halves, halves[::-1]):
        first, second = (jax.tree.map(lambda a, rows=rows: a[rows], samples) for rows in (learned, judged))
        for k, power in enumerate(WIDTH_POWERS):
            one, other = (_widths(part, usual, power) for part in (first, second))
            shifts = conformal_shifts(base[learned], first, levels=problem.levels, std=std, widths=one)
            if np.isnan(shifts).any():
                return 0.0
            quantiles = shifted(base[judged], shifts, other, problem.lower)
            losses[k] += scores(quantiles, second, problem.levels, std)["pinball"]
    return WIDTH_POWERS[int(np.argmin(losses))]
