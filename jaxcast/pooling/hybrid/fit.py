"""Fits of hybrids: a ridge in closed form, with settings chosen by closed loops."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap, as_forecast_map, candidate_shapes, forecasts_along
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import check_trajectory
from jaxcast.errors import InputError, shown
from jaxcast.forecasters.readout import Readout
from jaxcast.pooling.baselines import Persistence
from jaxcast.pooling.cell import Forecaster
from jaxcast.pooling.hybrid.channels import measure_channels, no_channels
from jaxcast.pooling.hybrid.feature_maps import HybridPolynomials
from jaxcast.pooling.hybrid.forecaster import HybridForecaster, HybridMemory
from jaxcast.pooling.hybrid.normal_equations import NormalEquations
from jaxcast.pooling.hybrid.stencil import Stencil, as_stencil
from jaxcast.pooling.hybrid.trials import late_windows, lost_shares
from jaxcast.pooling.linear import equal_weights, fit_ridge
from jaxcast.pooling.pool import Pool
from jaxcast.rollout import Input
from jaxcast.sampling import check_sampling, exact_times, with_all_digits

MOST_AT_ONCE = 4_000_000
"""Features that are held at once."""
RIDGE_SHARES = tuple(10.0**n for n in range(-14, -1, 2))
"""Penalties of the ridge base to try, in shares of the forecasts' total square."""


@checked
def fit_hybrid(
    trajectory: Trajectory,
    forecast_map: ForecastMap | None = None,
    *,
    base: Pool | CandidateCell | Literal["none", "equal", "ridge"] = "equal",
    num_delays: int = 2,
    num_errors: int = 1,
    degree: int = 2,
    stencil: Any = None,
    penalties: Sequence[float | int] = tuple(10.0**n for n in range(-12, 1)),
    validation_share: float = 0.25,
    num_leads: int | None = None,
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
        base: a pool or cell that is already trained; or "equal" weights, a "ridge" regression of
            the candidates' forecasts, or "none", persistence.
        num_delays: past states that the residual sees.
        num_errors: last errors of the base that it sees.
        degree: highest degree of the products of states.
        stencil: None for one residual of the whole state; for a field on a ring the number of
            neighbours on either side that each site sees; or a table of neighbours, as
            `ring_stencil` makes it. All sites share the weights.
        penalties: to try, for the mean over all samples.
        validation_share: share of the trajectory, its end, that chooses the penalty.
        num_leads: of the windows that choose; by default a third of that end, at most 200.

    Returns:
        The forecaster.

    Raises:
        InputError: for settings out of range, an unknown base, or a trajectory that is too short,
            not finite or not evenly sampled.

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
    _check_settings(num_delays, num_errors, degree, penalties, validation_share)
    num_fit = round(len(trajectory.states) * (1 - validation_share))
    fit_one = partial(
        _fit,
        forecast_map=as_forecast_map(forecast_map),
        base=base,
        num_delays=num_delays,
        num_errors=num_errors,
        degree=degree,
        stencil=as_stencil(stencil, trajectory.states.shape[1]),
    )
    chosen = penalties[0]
    if len(penalties) > 1:
        cell, readouts = fit_one(jax.tree.map(lambda a: a[:num_fit], trajectory), penalties=penalties)
        windows = late_windows(trajectory, num_fit, history_size=cell.warmup + 1, num_leads=num_leads)
        chosen = penalties[int(np.argmin(lost_shares(cell, readouts, windows)))]
    cell, (readout,) = fit_one(trajectory, penalties=(chosen,))
    return dataclasses.replace(cell, readout=readout)


def _check_settings(
    num_delays: int, num_errors: int, degree: int, penalties: Sequence[float | int], validation_share: float
) -> None:
    check_whole("num_delays", num_delays)
    check_whole("num_errors", num_errors, least=0)
    check_whole("degree", degree)
    check_number("validation_share", validation_share, above=0, most=0.9)
    if not penalties:
        raise InputError("expected at least one penalty")
    for penalty in penalties:
        check_number("every penalty", penalty, above=0)


def _fit(
    trajectory: Trajectory,
    *,
    forecast_map: ForecastMap | None,
    base: Any,
    num_delays: int,
    num_errors: int,
    degree: int,
    stencil: Stencil,
    penalties: Sequence[float | int],
) -> tuple[HybridForecaster, list[Readout]]:
    """Fits the readouts of all penalties."""
    states = trajectory.states
    num_variables = num_delays * stencil.table.shape[1] * stencil.table.shape[2]
    none = jnp.zeros(num_variables, states.dtype)
    cell = HybridForecaster(
        _base_cell(base, trajectory, forecast_map),
        no_channels(),
        stencil,
        HybridPolynomials(none, none, degree),
        Readout(jnp.zeros((0, 0)), jnp.zeros(0)),
        forecast_map,
        num_delays,
        num_errors,
    )
    if len(states) < cell.warmup + 3:
        raise InputError(f"expected a trajectory of at least {cell.warmup + 3} samples to fit, got {len(states)}")
    skipped = cell.base_warmup
    run = _run_base(with_all_digits(cell), trajectory._replace(times=exact_times(trajectory.times, cell)))
    values, forecasts, candidates = jax.tree.map(lambda a: a[skipped:], (states, *run))
    cell = dataclasses.replace(cell, channels=measure_channels(values, forecasts, candidates, stencil))
    seen = stencil.gather(((values - cell.channels.mean) / cell.channels.std)[:, None])
    low, high = (jnp.tile(bound, num_delays) for bound in (seen.min((0, 1)), seen.max((0, 1))))
    cell = dataclasses.replace(cell, features=HybridPolynomials(low, high, degree))
    return cell, _readouts(cell, values, forecasts, candidates, penalties)


def _base_cell(base: Any, trajectory: Trajectory, forecast_map: ForecastMap | None) -> CandidateCell:
    if isinstance(base, CandidateCell):
        return dataclasses.replace(base, forecast_map=None)  # type: ignore[type-var]
    if isinstance(base, Pool):
        return Forecaster(base)
    if base == "none":
        return Forecaster(Persistence())
    if forecast_map is None:
        raise InputError(f"the base {shown(repr(base))} needs candidates: give a forecast_map, or base='none'")
    if base == "equal":
        return Forecaster(
            equal_weights(candidate_shapes(forecast_map, trajectory.states[0], trajectory.times[0]).shape[0])
        )
    return Forecaster(_fit_ridge_base(trajectory, forecast_map))


def _fit_ridge_base(trajectory: Trajectory, forecast_map: ForecastMap) -> Pool:
    """Fits a ridge with the best penalty on the last fifth of the trajectory."""
    forecasts, targets = forecasts_along(forecast_map, trajectory)[:-1], trajectory.states[1:]
    num_fit = len(targets) - len(targets) // 5
    scale = float(forecasts.var(0).sum()) * len(forecasts)

    def error(penalty: float) -> float:
        pool = fit_ridge(forecasts[:num_fit], targets[:num_fit], penalty=penalty)
        return float(((pool(None, forecasts[num_fit:]).forecast - targets[num_fit:]) ** 2).mean())

    return fit_ridge(forecasts, targets, penalty=min((share * scale for share in RIDGE_SHARES), key=error))


@jax.jit
def _run_base(cell: HybridForecaster, trajectory: Trajectory) -> tuple[Array, Any]:
    """Runs the base in open loop; returns its forecasts and the candidates'."""

    def step(carry: Any, x: tuple[Array, Array]) -> tuple[Any, Any]:
        carry, output, candidates = cell.run_base(carry, Input(x[0], jnp.asarray(True), x[1]))
        return carry, (output.forecast, candidates)

    start = cell.init_base(trajectory.states[0], trajectory.times[0])
    return jax.lax.scan(step, start, (trajectory.states, trajectory.times))[1]


def _readouts(
    cell: HybridForecaster, states: Array, forecasts: Array, candidates: Any, penalties: Sequence[float | int]
) -> list[Readout]:
    """Fits the readout of every penalty."""
    missing = (states[1:] - forecasts[:-1]) / cell.channels.error
    targets = np.asarray(missing[:, cell.stencil.table[:, 0]], np.float64)
    memory, num_features = cell.empty_memory(states[0]), cell.num_features
    equations = NormalEquations(num_features, targets.shape[-1])
    size = max(1, MOST_AT_ONCE // (num_features * targets.shape[1]))
    for start in range(0, len(targets), size):
        rows = slice(start, min(start + size, len(targets)))
        along = jax.tree.map(lambda a, rows=rows: a[rows], (states, forecasts, candidates))
        memory, features = _features_along(cell, memory, *along)
        unfilled = max(0, cell.own_warmup - start)  # the memory fills
        kept = np.asarray(features, np.float64)[unfilled:].reshape(-1, num_features)
        equations.add(kept, targets[rows][unfilled:].reshape(len(kept), -1))
    return [Readout(*(jnp.asarray(a, states.dtype) for a in solution)) for solution in equations.solve(penalties)]


@jax.jit
def _features_along(
    cell: HybridForecaster, memory: HybridMemory, states: Array, forecasts: Array, candidates: Any
) -> tuple[HybridMemory, Array]:
    def step(memory: HybridMemory, x: tuple[Array, Array, Any]) -> tuple[HybridMemory, Array]:
        return cell.observe(memory, *x)

    return jax.lax.scan(step, memory, (states, forecasts, candidates))
