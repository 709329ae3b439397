"""Bases of hybrids, by name or given."""

import dataclasses
from typing import Any

from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap, candidate_shapes, forecasts_along
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError, shown
from jaxcast.pooling.baselines import Persistence
from jaxcast.pooling.cell import Forecaster
from jaxcast.pooling.interpolation import fit_regime_interpolation
from jaxcast.pooling.linear import equal_weights, fit_ridge
from jaxcast.pooling.pool import Pool
from jaxcast.pooling.samples import one_step_samples

RIDGE_SHARES = tuple(10.0**n for n in range(-14, -1, 2))
"""Penalties of the ridge base to try, in shares of the forecasts' total square."""


def base_cell(base: Any, trajectory: Trajectory, forecast_map: ForecastMap | None) -> CandidateCell:
    """Returns the cell of a base, without its candidates.

    Args:
        base: a cell, a pool, or the name of one.
        trajectory: to which a named base is fitted.
        forecast_map: of the candidates.

    Raises:
        InputError: for a base that needs candidates, without any.
    """
    if isinstance(base, CandidateCell):
        cell: Any = base  # of no dataclass that mypy knows
        bare: CandidateCell = dataclasses.replace(cell, forecast_map=None)
        return bare
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
    if base == "interpolation":
        return Forecaster(fit_regime_interpolation(one_step_samples(trajectory, 1, forecast_map)))
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
