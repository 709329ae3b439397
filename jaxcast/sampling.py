"""Checks of times: their spacing, and whether it is the step of the models."""

from typing import Any

import jax
import numpy as np

from jaxcast.clock import HasStep, HasTimes, has_float64, split_number
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced

SPACING_TOLERANCE = 1e-6
"""Relative to the spacing of the times, besides the rounding of their dtype."""


def rounding_of(times: np.ndarray) -> float:
    """Bounds the rounding error of a step between two times.

    Args:
        times: floating-point numbers of any shape.

    Returns:
        The bound, in the unit of the times.
    """
    return 4 * float(np.finfo(times.dtype).eps) * float(np.abs(times).max())


def check_sampling(times: Any, *models: Any, what: str = "the trajectory", dt: Any = None) -> None:
    """Refuses times that are uneven, or spaced by another step than that of the models.

    Traced times and those on other hosts pass, as their numbers are not known.

    Args:
        times: (..., time), each row evenly spaced, in the models' time unit.
        models: pytrees; each flow map in them, and each other model with a step, is compared.
        what: whose times they are, for the message.
        dt: another step to compare with.

    Raises:
        InputError: with the step that was found and the one that was expected.

    Example:
        >>> import jaxcast, numpy as np
        >>> from jaxcast.sampling import check_sampling
        >>> check_sampling(0.1 * np.arange(5), jaxcast.flow_map(jaxcast.Lorenz63(), dt=0.1))
    """
    if is_traced(times) or not getattr(times, "is_fully_addressable", True):
        return
    found = np.asarray(times)
    if found.ndim < 1 or found.shape[-1] < 2 or not found.size or found.dtype.kind not in "fiu":
        return
    found = found if found.dtype.kind == "f" else found.astype(float)
    _check_even(found, what)
    precise = found.astype(float)
    num_steps = found.shape[-1] - 1
    spacing = np.ravel(precise[..., -1] - precise[..., 0]) / num_steps
    for step in [*intervals_of(models), *([] if dt is None or is_traced(dt) else [float(dt)])]:
        off = np.abs(spacing - step) > SPACING_TOLERANCE * abs(step) + rounding_of(found) / num_steps
        if off.any():
            raise InputError(
                f"{what} is sampled every {spacing[np.argmax(off)]:.9g}, but a step of {step:.9g} was given, as dt "
                "of a flow map or by itself; both must be equal"
            )


def _check_even(times: np.ndarray, what: str) -> None:
    if not np.isfinite(times).all():
        raise InputError(f"the times of {what} must be finite, got {np.sum(~np.isfinite(times))} that are not")
    steps = np.diff(times.astype(float), axis=-1)
    usual = np.mean(steps, axis=-1, keepdims=True)
    rounding = rounding_of(times)
    bad = np.argwhere(np.abs(steps - usual) > SPACING_TOLERANCE * np.abs(usual) + rounding)
    if len(bad):
        at = tuple(bad[0])
        typical = float(np.median(steps[at[:-1]]))
        worst = int(np.argmax(np.abs(steps[at[:-1]] - typical)))
        raise InputError(
            f"the times of {what} must be evenly spaced, got a step of {steps[at[:-1]][worst]:.9g} before sample "
            f"{worst + 1} (counted from 0) where most are {typical:.9g}; interpolate to a regular grid, or cut "
            "the series at the gap"
        )
    if (usual <= -rounding / steps.shape[-1]).any() or (not usual.any() and not rounding):
        raise InputError(f"the times of {what} must increase, got {shown(times.ravel()[:3].tolist())}, ...")


def check_exogenous(cell: Any, exogenous: Any) -> None:
    """Compares exogenous inputs with a cell's flow maps, for which they are times.

    Args:
        cell: any; one without flow maps accepts anything.
        exogenous: as in `jaxcast.roll`; only a single row of numbers can be times.

    Raises:
        InputError: for times that do not fit, as from `check_sampling`.
    """
    if np.ndim(exogenous) == 1 and not isinstance(exogenous, list | tuple) and intervals_of(cell):
        check_sampling(exogenous, cell, what="the exogenous input")


def with_all_digits(tree: Any) -> Any:
    """Keeps the digits of all schedules' times, before a pytree enters a compiled function.

    Args:
        tree: such as a cell.

    Returns:
        The tree, with an `Instant` for each number that JAX would cut to float32.
    """
    if has_float64():
        return tree
    return jax.tree.map(lambda a: a.with_all_digits() if _has_times(a) else a, tree, is_leaf=_has_times)


def exact_times(times: Any, *models: Any) -> Any:
    """Keeps the digits of times for models that follow schedules.

    Args:
        times: for a compiled function. Only NumPy's float64, which `simulate` returns with float32
            states, has digits that JAX may cut off.
        models: pytrees that get these times.

    Returns:
        The times, or an `Instant` of them.
    """
    is_cut = isinstance(times, np.ndarray) and times.dtype == np.float64 and not has_float64()
    is_used = is_cut and any(map(_has_times, jax.tree.leaves(models, is_leaf=_has_times)))
    return split_number(times) if is_used else times


def _has_times(node: Any) -> bool:
    return isinstance(node, HasTimes)


def intervals_of(tree: Any) -> list[float]:
    """Finds the steps of all models in a pytree.

    Args:
        tree: such as a cell, with models that are `HasStep`.

    Returns:
        The different steps, without traced ones.
    """
    nodes = jax.tree.leaves(tree, is_leaf=_has_step)
    found = [node.sampling_step() for node in nodes if isinstance(node, HasStep)]
    steps = (step for dt in found if not is_traced(dt) for step in np.ravel(np.asarray(dt, float)).tolist())
    return list(dict.fromkeys(steps))


def _has_step(node: Any) -> bool:
    return isinstance(node, HasStep)
