"""Fits of hybrids: a ridge in closed form, with settings chosen by closed loops."""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_finite, check_number, check_whole
from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap, as_forecast_map
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import check_trajectory
from jaxcast.errors import InputError
from jaxcast.forecasters.readout import Readout
from jaxcast.limits import check_arrays
from jaxcast.pooling.hybrid.bases import base_cell
from jaxcast.pooling.hybrid.channels import measure_channels, no_channels
from jaxcast.pooling.hybrid.feature_maps import NoMap
from jaxcast.pooling.hybrid.forecaster import HybridForecaster, HybridMemory
from jaxcast.pooling.hybrid.normal_equations import NormalEquations
from jaxcast.pooling.hybrid.regressors import PolynomialRegressor, Regressor, SeenSamples
from jaxcast.pooling.hybrid.stencil import Stencil, as_stencil
from jaxcast.pooling.hybrid.trials import lost_shares
from jaxcast.pooling.pool import Pool
from jaxcast.pooling.samples import check_candidates
from jaxcast.rollout import Input
from jaxcast.sampling import check_sampling, exact_times, with_all_digits
from jaxcast.windows import late_windows

MOST_AT_ONCE = 4_000_000
"""Features that are held at once."""
MOST_WINDOWS = 32
"""Windows that choose the penalty."""
MOST_SAMPLES = 200_000
"""Samples from which a regressor learns its features; the readout is fitted to all."""


@checked
def fit_hybrid(
    trajectory: Trajectory,
    forecast_map: ForecastMap | None = None,
    *,
    base: Pool | CandidateCell | Literal["none", "equal", "ridge", "interpolation"] = "equal",
    regressor: Regressor = PolynomialRegressor(),  # noqa: B008 (it is frozen)
    num_delays: int = 2,
    num_errors: int = 2,
    candidate_errors: bool = False,
    stencil: Any = None,
    penalties: Sequence[float | int] = tuple(10.0**n for n in range(-12, 1)),
    validation_share: float = 0.25,
    num_leads: int | None = None,
    key: Key[Array, ""] | None = None,
) -> HybridForecaster:
    """Fits a hybrid: a residual on the forecast of a base, by ridge regression in closed form.

        W, b = argmin sum_n |(u_(n+1) - y_n) / error - W' g_n - b|^2 / N + penalty |W|^2

    Features are scaled to deviation one. Every penalty is fitted before the last part of the
    trajectory and forecasts windows of that part in closed loop; the one whose forecasts last
    longest is refitted on all. One-step errors would choose too small a penalty: what is fed back
    leaves the training samples, which a one-step error does not see.

    Args:
        trajectory: of the truth.
        forecast_map: of the candidates; None for a hybrid of states alone.
        base: a pool or cell that is already trained; or "equal" weights; a "ridge" regression of
            the candidates' forecasts; "interpolation" between them at the regime of the last step,
            by `fit_regime_interpolation`, where a parameter varies; or "none", persistence.
        regressor: what makes the features g of what a site sees: `PolynomialRegressor`,
            `KernelRegressor`, `ReservoirRegressor`, `NetworkRegressor`, or your own.
        num_delays: past states that the residual sees.
        num_errors: last errors of the base that it sees.
        candidate_errors: whether it sees the candidates' last errors, too.
        stencil: None for one residual of the whole state; for a field on a ring the number of
            neighbours on either side that each site sees; or a table of neighbours, as
            `ring_stencil` makes it. All sites share the weights.
        penalties: to try, for the mean over all samples.
        validation_share: share of the trajectory, its end, that chooses the penalty.
        num_leads: of the windows that choose; by default a third of that end, at most 200.
        key: random key of the regressor; by default that of seed 0.

    Returns:
        The forecaster.

    Raises:
        InputError: for settings out of range, an unknown base, candidates or a base whose forecasts
            are not finite, or a trajectory that is too short, not finite or not evenly sampled.

    Source:
        Pathak et al., Chaos 28, 041101 (2018); Wikner et al., Chaos 30, 053111 (2020); Gauthier,
        Bollt, Griffith and Barbosa, Nature Communications 12, 5564 (2021).

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=400)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (30.0, 34.0)]))
        >>> cell = jaxcast.pooling.fit_hybrid(truth, candidates, num_delays=1, penalties=(1e-9, 1e-6))
        >>> forecast = jaxcast.forecast(cell, truth.states[:5], 10, truth.times[:14]).forecast
        >>> bool(abs(forecast - truth.states[5:15]).max() < 0.2)
        True
    """
    check_trajectory(trajectory)
    check_sampling(trajectory.times, forecast_map)
    _check_settings(num_delays, num_errors, penalties, validation_share)
    num_fit = round(len(trajectory.states) * (1 - validation_share))
    if num_leads is not None:
        check_whole("num_leads", num_leads, most=len(trajectory.states) - num_fit)
    fit_one = partial(
        _fit,
        forecast_map=as_forecast_map(forecast_map),
        base=base,
        num_delays=num_delays,
        num_errors=num_errors,
        candidate_errors=candidate_errors,
        regressor=regressor,
        stencil=as_stencil(stencil, trajectory.states.shape[1]),
        key=jax.random.key(0) if key is None else key,
    )
    chosen = penalties[0]
    if len(penalties) > 1:
        cell, readouts = fit_one(jax.tree.map(lambda a: a[:num_fit], trajectory), penalties=penalties)
        history_size = max(cell.warmup, cell.base_warmup + regressor.num_discarded) + 1
        windows = late_windows(
            trajectory, num_fit, history_size=history_size, num_windows=MOST_WINDOWS, num_leads=num_leads
        )
        chosen = penalties[int(np.argmin(lost_shares(cell, readouts, windows)))]
    cell, (readout,) = fit_one(trajectory, penalties=(chosen,))
    return dataclasses.replace(cell, readout=readout)


def _check_settings(
    num_delays: int, num_errors: int, penalties: Sequence[float | int], validation_share: float
) -> None:
    check_whole("num_delays", num_delays)
    check_whole("num_errors", num_errors, least=0)
    check_number("validation_share", validation_share, above=0, most=0.9)
    if not penalties:
        raise InputError("expected at least one penalty")
    for penalty in penalties:
        check_number("every penalty", penalty, above=0)


class Along(NamedTuple):
    """What a hybrid gets along a trajectory, from where the base's forecasts count.

    Args:
        states: of the truth.
        forecasts: of the base, of the next state.
        candidates: theirs.
    """

    states: Float[Array, "time dim"]
    forecasts: Float[Array, "time dim"]
    candidates: Float[Array, "time model dim"] | None


def _fit(
    trajectory: Trajectory,
    *,
    forecast_map: ForecastMap | None,
    base: Any,
    regressor: Regressor,
    num_delays: int,
    num_errors: int,
    candidate_errors: bool,
    stencil: Stencil,
    penalties: Sequence[float | int],
    key: Key[Array, ""],
) -> tuple[HybridForecaster, list[Readout]]:
    """Fits the readouts of all penalties."""
    states = trajectory.states
    cell = HybridForecaster(
        base_cell(base, trajectory, forecast_map),
        no_channels(),
        stencil,
        NoMap(),
        Readout(jnp.zeros((0, 0)), jnp.zeros(0)),
        forecast_map,
        num_delays,
        num_errors,
        candidate_errors,
    )
    num_discarded = max(cell.own_warmup, regressor.num_discarded)
    if len(states) < (needed := cell.base_warmup + num_discarded + 3):
        raise InputError(f"expected a trajectory of at least {needed} samples to fit, got {len(states)}")
    run = _run_base(with_all_digits(cell), trajectory._replace(times=exact_times(trajectory.times, cell)))
    along = Along(*jax.tree.map(lambda a: a[cell.base_warmup :], (states, *run)))
    if along.candidates is not None:
        check_candidates(along.candidates)
    check_finite({"the base's forecasts": along.forecasts}, "step")
    cell = dataclasses.replace(cell, channels=measure_channels(*along, stencil=stencil))
    features = regressor.make(_sampled(cell, along), key)
    cell = dataclasses.replace(cell, features=features)
    return cell, _readouts(cell, along, num_discarded, penalties)


@jax.jit
def _run_base(cell: HybridForecaster, trajectory: Trajectory) -> tuple[Array, Any]:
    """Runs the base in open loop; returns its forecasts and the candidates'."""

    def step(carry: Any, x: tuple[Array, Array]) -> tuple[Any, Any]:
        carry, output, candidates = cell.run_base(carry, Input(x[0], jnp.asarray(True), x[1]))
        return carry, (output.forecast, candidates)

    start = cell.init_base(trajectory.states[0], trajectory.times[0])
    return jax.lax.scan(step, start, (trajectory.states, trajectory.times))[1]


def _sampled(cell: HybridForecaster, along: Along) -> SeenSamples:
    """Returns what the sites see, at evenly spaced times if that is much."""
    num_sites, num_neighbours, num_components = cell.stencil.table.shape
    every = -(-len(along.states) * num_sites // MOST_SAMPLES)
    seen = [rows[(-start) % every :: every] for start, rows in in_pieces(cell, along, cell.num_features * num_sites)]
    targets = _missing(cell, along)[::every]
    first = -(-cell.own_warmup // every)
    num_states = cell.num_delays * num_neighbours * num_components
    found, missed = (a[first:].reshape(-1, a.shape[-1]) for a in (jnp.concatenate(seen)[: len(targets)], targets))
    return SeenSamples(found, missed, num_states)


def _missing(cell: HybridForecaster, along: Along) -> Float[Array, "time site component"]:
    """Returns the scaled errors of the base that the readout is to forecast."""
    missing = (along.states[1:] - along.forecasts[:-1]) / cell.channels.error
    return missing[:, cell.stencil.table[:, 0]]


def _readouts(
    cell: HybridForecaster, along: Along, num_discarded: int, penalties: Sequence[float | int]
) -> list[Readout]:
    """Fits the readout of every penalty."""
    targets = np.asarray(_missing(cell, along), np.float64)
    num_features = cell.num_features
    what = f"a regression on {num_features} features (fewer with a stencil, a lower degree or fewer delays)"
    check_arrays(what, *[(num_features, num_features)] * 3)  # sums, their correlations and eigenvectors
    equations = NormalEquations(num_features, targets.shape[-1])
    for start, rows in in_pieces(cell, along, num_features * targets.shape[1]):
        left_out = max(0, num_discarded - start)
        own = targets[start : start + len(rows)]
        features = np.asarray(rows[: len(own)], np.float64)[left_out:].reshape(-1, num_features)
        equations.add(features, own[left_out:].reshape(len(features), -1))
    dtype = along.states.dtype
    return [Readout(*(jnp.asarray(a, dtype) for a in solution)) for solution in equations.solve(penalties)]


def in_pieces(cell: HybridForecaster, along: Along, num_each: int) -> Iterator[tuple[int, Array]]:
    """Yields the features of all sites along pieces of a trajectory, and where each begins.

    Args:
        cell: whose features are known.
        along: what it gets.
        num_each: numbers of one time.

    Yields:
        The first time of a piece, and its features (time, site, feature).
    """
    size = max(1, MOST_AT_ONCE // num_each)
    memory = cell.empty_memory(along.states[0])
    for start in range(0, len(along.states), size):
        memory, features = _features_along(cell, memory, jax.tree.map(lambda a, n=start: a[n : n + size], along))
        yield start, features


@jax.jit
def _features_along(cell: HybridForecaster, memory: HybridMemory, along: Along) -> tuple[HybridMemory, Array]:
    def step(memory: HybridMemory, x: Along) -> tuple[HybridMemory, Array]:
        return cell.observe(memory, *x)

    return jax.lax.scan(step, memory, along)
