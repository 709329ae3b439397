"""Windows of the sizes that a saved network was trained on."""

import math
from typing import Any

import jax.numpy as jnp

from jaxcast.series.features import TargetFeatures, check_features, check_targets
from jaxcast.series.samples import SeriesWindows, WindowLags


def samples_like(config: dict[str, Any]) -> SeriesWindows:
    """Takes the sizes of training samples out of a config, and makes samples of these sizes.

    Args:
        config: of a network; the sizes are removed from it.

    Returns:
        Samples of other numbers; the arrays of a network hold the true scale.

    Raises:
        InputError: for features that are not whole numbers, or do not exist.
    """
    regions, leads, size = (config.pop(name) for name in ("num_regions", "num_leads", "num_covariates"))
    features, numbers = config.pop("num_features"), tuple(config.pop("target_features"))
    lags = tuple(config.pop("lags", (0,)))
    check_features(numbers)
    series: tuple[int, ...] = (regions,)
    if numbers:
        check_targets(numbers, features)
        series = (regions, features)
    values = jnp.arange(2.0 * math.prod(series)).reshape(2, 1, *series)
    targets = jnp.ones((2, leads, regions, *[len(numbers)] * bool(numbers)))
    return SeriesWindows(
        jnp.broadcast_to(values, (2, len(lags), *series)),
        targets,
        targets,
        jnp.ones((2, leads), int),
        jnp.ones((2, size)) if size else None,
        TargetFeatures(numbers) if numbers else None,
        WindowLags(lags),
    )
