"""A stored pool, and the file whose trajectory it is used on."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.checks import check_number, check_texts, check_whole
from jaxcast.cli.pool.candidates import sampling_interval
from jaxcast.dynamics.trajectories import FlowMap
from jaxcast.dynamics.trajectory_checks import StoredTrajectory
from jaxcast.errors import InputError, counted, shown
from jaxcast.io.conventions import in_order
from jaxcast.pooling.cell import Forecaster
from jaxcast.regime.filtering import RegimeCell
from jaxcast.registry import name_of
from jaxcast.rollout import Cell, Input, Output
from jaxcast.sampling import intervals_of
from jaxcast.saving.models import StoredModel
from jaxcast.series.calibration import CalibratedForecaster
from jaxcast.series.model import SeriesModel
from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.panel_models.regression import PanelRegression

SPIN_UP = 100
"""Samples that a filter sees by default before it forecasts."""
NOTED = {"settings", "components", "dt", "num_seeds"}
"""Attributes that `jaxcast pool train` saves beside a pool, and the commands need."""


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
    return cell.warmup + 1 if isinstance(cell, Forecaster) else max(SPIN_UP, cell.warmup + 1)


def matched(pool: StoredModel, stored: StoredTrajectory, path: Path) -> tuple[StoredModel, StoredTrajectory]:
    """Matches a pool or cell with a file: components, their order, and the sampling interval.

    What `jaxcast pool train` made knows the names of its components; the file's columns are put in
    their order. A cell saved in Python takes the columns and the interval as they are.

    Args:
        pool: The pool, or a cell.
        stored: Trajectory of the file.
        path: The file.

    Returns:
        The pool with the attributes that `jaxcast pool train` notes, and the trajectory.

    Raises:
        InputError: for other components, or another sampling interval.
    """
    if isinstance(pool.pool, CalibratedForecaster | SeriesModel):
        raise InputError("that is not a pool but a forecaster of series; use jaxcast series with it")
    if isinstance(pool.pool, PanelModel | PanelRegression):
        raise InputError("that is not a pool but a model of panels; use jaxcast panel with it")
    if is_own_cell(pool):
        return _noted(pool, stored, path), stored
    try:
        names, dt = pool.attributes["components"], pool.attributes["dt"]
        check_texts("settings.data", [pool.attributes["settings"]["data"]])
        _check_about(pool, names, dt)
    except (KeyError, TypeError):
        raise InputError(
            "the pool was not saved by `jaxcast pool train`; save it as a cell, "
            "jaxcast.save_model(folder, jaxcast.Forecaster(pool, candidates)), or use it in Python"
        ) from None
    stored = in_order(stored, names, path, "the pool was trained on")
    found = _interval(stored)
    if abs(found - dt) > 1e-6 * dt:
        raise InputError(f"{shown(path)} is sampled every {found:g}, the pool was trained on samples every {dt:g}")
    return pool, stored


def is_own_cell(pool: StoredModel) -> bool:
    """Tells whether a folder holds a cell that was saved in Python, not by `jaxcast pool train`.

    Args:
        pool: What was loaded from it.
    """
    return isinstance(pool.pool, Cell) and not pool.attributes.keys() >= NOTED


def reported(pool: StoredModel, output: Output) -> Output:
    """Keeps of a report what has the meaning that pictures and scores rely on.

    A cell of a user's own may report anything under any name.

    Args:
        pool: The pool or cell.
        output: Its output at every step.

    Returns:
        The output without a regime, weights and a spread that are not those of candidates.
    """
    dropped = set() if isinstance(pool.pool, RegimeCell) else {"regime", "regime_deviation"}
    if pool.forecast_map is None:
        dropped.add("weights")
    spread: Any = output.info.get("spread")
    if np.shape(spread) != output.forecast.shape:
        dropped.add("spread")
    info: Any = {name: values for name, values in output.info.items() if name not in dropped}
    return output._replace(info=info)


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
    if _misfit(pick_seed(pool, 0).cell, len(names)) is not None:
        raise InputError(f"pool, candidates and {len(names)} components do not fit each other; train and save it again")


def _misfit(cell: Cell, dim: int) -> str | None:
    """Says why a cell cannot forecast states of so many components; None where it can."""

    def step(value: Any) -> Any:
        _, output = cell(cell.init_carry(value, 0.0), Input(value, True, 0.0))
        return cell.feedback(output, None)

    value = jnp.zeros(dim)
    try:
        shape = jax.eval_shape(step, value).shape
    except InputError:
        raise
    except (TypeError, ValueError, IndexError) as error:
        return shown(error)
    return None if shape == value.shape else f"it forecasts an array of shape {shape}"


def _noted(cell: StoredModel, stored: StoredTrajectory, path: Path) -> StoredModel:
    """Notes beside a cell, from the file, what `jaxcast pool train` would have noted.

    Raises:
        InputError: for a cell of another step, or of other components.
    """
    name, dt, dim = name_of(type(cell.pool)), sampling_interval(stored.trajectory), len(stored.components)
    for step in intervals_of(cell.pool):
        if abs(step - dt) > 1e-6 * step:
            raise InputError(
                f"{shown(path)} is sampled every {dt:g}, the cell {name} steps by {step:g}; give a file of its step"
            )
    if (problem := _misfit(cell.pool, dim)) is not None:
        raise InputError(f"the cell {name} cannot forecast the {counted(dim, 'component')} of {shown(path)}: {problem}")
    attributes = {
        "settings": {"cell": name, "data": None},
        "components": list(stored.components),
        "dt": dt,
        "num_seeds": None,
    }
    return cell._replace(attributes=cell.attributes | attributes)


def _interval(stored: StoredTrajectory) -> float:
    times = np.asarray(stored.trajectory.times, float)
    return float((times[-1] - times[0]) / (len(times) - 1))
