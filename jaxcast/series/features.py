"""Histories with a feature axis: several numbers of each region, some of them forecast."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num

from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static

Numbers = tuple[int, ...]


class TargetFeatures(FrozenPytree):
    """Numbers of the features of a region that are forecast; a pytree without leaves.

    Args:
        numbers: of the features, in the order of the targets.
    """

    numbers: Numbers = static()


def target_features_of(samples: Any) -> Numbers:
    """Returns the features that samples are to forecast; () without a feature axis.

    Args:
        samples: with or without a feature axis.
    """
    return () if samples.features is None else samples.features.numbers


def check_targets(targets: Sequence[int] | None, num_features: int) -> Numbers:
    """Checks which features are to be forecast.

    Args:
        targets: numbers of features, None for all.
        num_features: how many there are.

    Returns:
        The numbers.

    Raises:
        InputError: unless they are different numbers from 0 on.
    """
    if targets is None:
        return tuple(range(num_features))
    numbers = tuple(targets) if isinstance(targets, Sequence | np.ndarray | range) else (targets,)
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and 0 <= n < num_features for n in numbers)
    if not numbers or not whole or len(set(numbers)) < len(numbers):
        raise InputError(
            f"expected targets as different numbers of features from 0 to {num_features - 1}, got {shown(targets)}"
        )
    return tuple(map(int, numbers))


def check_features(numbers: Any) -> None:
    """Refuses numbers of features that are not different whole numbers from 0 on.

    Args:
        numbers: of the features; there may be none.

    Raises:
        InputError: with the number that is wrong.
    """
    if not isinstance(numbers, tuple | list):
        raise InputError(f"target_features must be numbers of features, got {shown(repr(numbers))}")
    for number in numbers:
        check_whole("every target feature", number, least=0)
    if len(set(numbers)) < len(numbers):
        raise InputError(f"target_features must be different, got {shown(numbers)}")


def check_history(history: Any, targets: Numbers, *, series: tuple[int, ...] | None = None, least: int = 1) -> None:
    """Checks the shape of histories, so that a feature axis is never taken for a batch axis.

    Further batch axes in front are taken only where the sizes of the last axes are known, and tell
    them from features.

    Args:
        history: what came.
        targets: which features are forecast; () for histories without a feature axis.
        series: the sizes that region and feature axis must have, where known.
        least: steps that are needed.

    Raises:
        InputError: with the expected shape and the one that came.
    """
    shape, own = np.shape(history), 2 if targets else 1
    axes = "time, region, feature" if targets else "time, region"
    wanted = f"({axes}) or (sample, {axes})"
    if series is not None:
        wanted += f" of {series[0]} regions" + (f" and {series[1]} features" if targets else "")
    many = len(shape) > own + 2
    has_features = not targets and many and (series is None or shape[-2] == series[0])
    fits = len(shape) > own and (series is None or shape[-own:] == series) and not (many and series is None)
    if not fits or has_features:
        hint = "; several features a region need a forecaster with target_features" if has_features else ""
        raise InputError(f"expected histories {wanted}, got shape {shape}{hint}")
    if targets and max(targets) >= shape[-1]:
        raise InputError(f"expected histories {wanted} with at least {max(targets) + 1} features, got shape {shape}")
    if shape[-1 - own] < least:
        raise InputError(f"expected histories {wanted} and at least {least} steps, got shape {shape}")


def of_targets(values: Any, targets: Numbers) -> Any:
    """Returns the features that are forecast, (..., target); all without a feature axis.

    Args:
        values: with or without a last axis of features.
        targets: which features are forecast; () without a feature axis.
    """
    return values[..., np.asarray(targets)] if targets else values


def flat(values: Array) -> Array:
    """Joins region and feature axis, (..., time, region * feature).

    Args:
        values: with both axes.
    """
    return values.reshape(*values.shape[:-2], -1)


def for_each_series(
    forecast: Callable[[Array], Array], history: Num[Array, "..."], targets: Numbers
) -> Num[Array, "..."]:
    """Applies a forecast of histories (*batch, time, region) to every feature that is forecast.

    Args:
        forecast: of histories without a feature axis, (*batch, lead, region).
        history: with a feature axis where there are targets.
        targets: which features are forecast.

    Returns:
        The forecasts, (*batch, lead, region, target).
    """
    if not targets:
        return forecast(history)
    series = of_targets(history, targets)
    return _apart(forecast(flat(series)), series.shape[-2:])


def _apart(values: Array, sizes: tuple[int, ...]) -> Array:
    return jnp.reshape(values, (*values.shape[:-1], *sizes))
