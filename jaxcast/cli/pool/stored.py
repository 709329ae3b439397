"""A stored pool, and the file whose trajectory it is used on."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.checks import check_number, check_texts, check_whole
from jaxcast.dynamics.trajectories import FlowMap
from jaxcast.dynamics.trajectory_checks import StoredTrajectory
from jaxcast.errors import InputError, shown
from jaxcast.io.conventions import in_order
from jaxcast.pooling.cell import Forecaster
from jaxcast.rollout import Input
from jaxcast.saving.models import StoredModel
from jaxcast.series.calibration import CalibratedForecaster
from jaxcast.series.model import SeriesModel

SPIN_UP = 100
"""Samples that a filter sees by default before it forecasts."""


def pick_seed(stored: StoredModel, index: int) -> StoredModel:
    """Returns one of the pools that were trained together.

    Args:
        stored: The stored pools.
        index: Index of the seed.

    Raises:
        InputError: for an index out of range.
    """
    num_seeds = stored.attributes.get("num_seeds") or 1
    if not 0 <= index < num_seeds:
        raise InputError(f"seed_index must be from 0 to {num_seeds - 1}, got {index}")
    if stored.attributes.get("num_seeds") is None:
        return stored
    return stored._replace(pool=jax.tree.map(lambda a: a[index], stored.pool))


def enough_history(cell: Any) -> int:
    """Returns the samples after which more change little.

    A pool with delays needs only its memory; a filter keeps gaining where there is noise.

    Args:
        cell: The pool as a cell.
    """
    return cell.warmup + 1 if isinstance(cell, Forecaster) else SPIN_UP


def _check_about(pool: StoredModel, names: Any, dt: Any) -> None:
    """Checks what `jaxcast pool train` noted beside a pool, and whether its candidates fit it.

    Raises:
        InputError: for what the command cannot have written.
    """
    check_texts("components", names)
    check_number("dt", dt, above=0)
    num_seeds = pool.attributes["num_seeds"]
    if num_seeds is not None:
        check_whole("num_seeds", num_seeds)
        if {leaf.shape[:1] for leaf in jax.tree.leaves(pool.pool)} != {(num_seeds,)}:
            raise InputError(f"the folder holds no pools of {num_seeds} seeds; train and save it again")
    if isinstance(pool.forecast_map, FlowMap) and abs(float(pool.forecast_map.dt) - dt) > 1e-6 * dt:
        raise InputError(f"the candidates step by {float(pool.forecast_map.dt):g}, the pool by {dt:g}; train it again")
    cell, value = pick_seed(pool, 0).cell, jnp.zeros(len(names))
    try:
        output = jax.eval_shape(lambda u: cell(cell.init_carry(u, 0.0), Input(u, True, 0.0))[1].forecast, value)
    except InputError:
        raise
    except (TypeError, ValueError, IndexError):
        output = None
    if output is None or output.shape != value.shape:
        raise InputError(f"pool, candidates and {len(names)} components do not fit each other; train and save it again")


def matched(pool: StoredModel, stored: StoredTrajectory, path: Path) -> StoredTrajectory:
    """Puts the columns of a file in the order of those that a pool was trained on, by name.

    Args:
        pool: The pool.
        stored: Trajectory of the file.
        path: The file.

    Returns:
        The trajectory in that order.

    Raises:
        InputError: for other components, or another sampling interval.
    """
    if isinstance(pool.pool, CalibratedForecaster | SeriesModel):
        raise InputError("that is no pool, but a forecaster of series; use jaxcast series with it")
    try:
        names, dt = pool.attributes["components"], pool.attributes["dt"]
        check_texts("settings.data", [pool.attributes["settings"]["data"]])
        _check_about(pool, names, dt)
    except (KeyError, TypeError):
        raise InputError(
            "the pool was not saved by `jaxcast pool train`; load it in Python with jaxcast.load_model"
        ) from None
    stored = in_order(stored, names, path, "the pool was trained on")
    times = np.asarray(stored.trajectory.times, float)
    found = (times[-1] - times[0]) / (len(times) - 1)
    if abs(found - dt) > 1e-6 * dt:
        raise InputError(f"{shown(path)} is sampled every {found:g}, the pool was trained on samples every {dt:g}")
    return stored
