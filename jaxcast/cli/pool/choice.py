"""Chooses among methods for `jaxcast pool train --pool auto`, and reports what was compared."""

import math
from pathlib import Path
from typing import Any

from jaxcast.cli.pool.regime import one_step_error
from jaxcast.dynamics.trajectories import FlowMap, Trajectory
from jaxcast.pooling.cell import Forecaster
from jaxcast.selection.fit import PoolChoice, fit_pool


def chosen(
    trajectory: Trajectory,
    candidates: FlowMap | None,
    *,
    history_size: int | None,
    budget: float | int | None,
    max_methods: int | None,
    checkpoint: Path,
    seed: int,
) -> tuple[PoolChoice, dict[str, Any]]:
    """Tries all methods on the last quarter of a trajectory and fits the best.

    Args:
        trajectory: Training trajectory.
        candidates: The candidates; None for the methods that need none.
        history_size: Samples before each forecast; None for the default of `fit_pool`.
        budget: Seconds after which no further method starts; None for all.
        max_methods: The most methods that are tried; None for all.
        checkpoint: File that keeps finished trials.
        seed: Of what is random.

    Returns:
        The choice, and the results for the file.
    """
    choice = fit_pool(
        trajectory,
        candidates,
        history_size=history_size,
        budget=budget,
        max_methods=max_methods,
        checkpoint=checkpoint,
        seed=seed,
    )
    error, num_samples = one_step_error(choice.cell, trajectory)
    trials = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in one.items()}
        for one in (trial._asdict() for trial in choice.trials)
    ]
    return choice, {
        "one_step_mse": [error],
        "num_samples": num_samples,
        "chosen": {"method": choice.method, "setting": choice.setting},
        "trials": trials,
        "num_windows": choice.num_windows,
        "window": choice.window,
    }


def parts_of(cell: Any) -> tuple[Any, Any]:
    """Returns what is saved of a cell: a pool and its candidates, or the cell itself.

    Args:
        cell: The cell.
    """
    return (cell.pool, cell.forecast_map) if isinstance(cell, Forecaster) else (cell, None)
