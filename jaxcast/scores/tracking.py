"""Scores of an inferred parameter against the true one."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.precision import highest


class ParameterTracking(NamedTuple):
    """Agreement of the candidate with the highest weight and the true parameter.

    Args:
        correlation: Pearson's correlation of the two; NaN where either never changes.
        mean_distance: mean absolute difference, in the unit of the parameter.
    """

    correlation: Float[Array, ""]
    mean_distance: Float[Array, ""]


@checked
@highest
def parameter_tracking(
    weights: Float[Array, "*sample model"],
    coordinates: Shaped[ArrayLike, " model"] | Sequence[float],
    truth: Shaped[ArrayLike, "*sample"] | Sequence[float],
) -> ParameterTracking:
    """Measures how well a pool's weights follow a hidden parameter that it never sees.

    Compares the coordinate of the candidate with the highest weight with the true value, over all
    samples.

    Args:
        weights: the candidates' weights at each sample, such as `info["weights"]` of a pool.
        coordinates: one number per candidate, such as the value of its parameter.
        truth: true value of the parameter at each sample, in the unit of the coordinates. Best
            taken at the middle of the interval that a forecast covers.

    Returns:
        Correlation and mean distance.

    Raises:
        InputError: unless there is one coordinate per candidate and one true value per sample.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> weights = jnp.asarray([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> correlation, distance = jaxcast.scores.parameter_tracking(weights, [28.0, 30.0], [28.0, 31.0, 28.5])
        >>> round(float(correlation), 2), float(distance)
        (0.99, 0.5)
    """
    truth, coordinates = jnp.asarray(truth), jnp.asarray(coordinates)
    if weights.shape != (*truth.shape, *coordinates.shape) or coordinates.ndim != 1:
        raise InputError(
            "expected weights (*sample, model) with a coordinate for each model and a true value for each sample, "
            f"got shapes {weights.shape}, {coordinates.shape} and {truth.shape}"
        )
    attended = coordinates[jnp.argmax(weights, -1)]
    correlation = jnp.corrcoef(attended.ravel(), truth.ravel())[0, 1]
    return ParameterTracking(correlation, jnp.abs(attended - truth).mean())
