"""Checks of the settings of filters: numbers or arrays, which may be traced."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.checks import check_number
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced


def check_all(
    name: str,
    values: Any,
    *,
    least: float | int = -math.inf,
    most: float | int = math.inf,
    above: float | int = -math.inf,
) -> None:
    """Refuses an array or number that is not finite and in a range everywhere; traced ones pass.

    Args:
        name: of the values, for a message.
        values: what was given.
        least: the smallest value allowed.
        most: the largest value allowed.
        above: a bound that the values must exceed.

    Raises:
        InputError: with one that is refused, also for NaN and text.
    """
    if is_traced(values):
        return
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        check_number(name, values, least=least, most=most, above=above)
        raise InputError(f"{name} must hold numbers, got {shown(repr(values))}") from None
    allowed = np.isfinite(array) & (array >= least) & (array <= most) & (array > above)
    if not allowed.all():
        check_number(name, float(array[~allowed][0]), least=least, most=most, above=above)


def check_range(low_name: str, low: Any, high_name: str, high: Any) -> None:
    """Refuses a range whose ends are not finite or the wrong way round; traced ones pass.

    Args:
        low_name: of the lower end.
        low: the lower end.
        high_name: of the upper end.
        high: the upper end.

    Raises:
        InputError: with both.
    """
    check_all(low_name, low)
    check_all(high_name, high)
    if not is_traced(low, high) and not (np.asarray(low) <= np.asarray(high)).all():
        raise InputError(f"{low_name} must be at most {high_name}, got {low} and {high}")


def check_covariance(name: str, covariance: Any, size: int) -> None:
    """Refuses a covariance of another size, or one without a root; None and traced ones pass.

    Args:
        name: of the setting.
        covariance: (size, size).
        size: the number of variables.

    Raises:
        InputError: with what is wrong.
    """
    if covariance is None:
        return
    if jnp.shape(covariance) != (size, size):
        raise InputError(f"{name} must be ({size}, {size}), got shape {jnp.shape(covariance)}")
    if is_traced(covariance):
        return
    check_all(name, covariance)
    matrix = np.asarray(covariance, float)
    if (
        not np.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6 * abs(matrix).max())
        or not (np.linalg.eigvalsh(matrix) > 0).all()
    ):
        raise InputError(f"{name} must be symmetric, with positive eigenvalues, got a matrix that is not")


def check_noise_fits(name: str, noise: Any, values: Array) -> None:
    """Refuses noise that is neither one standard deviation nor one for each component.

    Args:
        name: of the setting.
        noise: standard deviations, a number or (component,).
        values: what has the noise, (component,), for its shape.

    Raises:
        InputError: with both shapes.
    """
    if np.shape(noise) not in ((), values.shape):
        raise InputError(f"{name} must be a number or {values.shape}, got shape {np.shape(noise)}")
