"""How closely an inferred parameter follows the true one."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError


class ParameterTracking(NamedTuple):
    """How well the candidate of the highest weight follows the truth: their correlation, and their mean distance."""

    correlation: Float[Array, ""]
    mean_distance: Float[Array, ""]


@checked
def parameter_tracking(
    weights: Float[Array, "*sample model"],
    coordinates: Shaped[ArrayLike, " model"] | Sequence[float],
    truth: Shaped[ArrayLike, "*sample"] | Sequence[float],
) -> ParameterTracking:
    """How well a pool's attention follows a hidden parameter that was never shown to it.

    Compares the coordinate of the candidate with the highest weight with the true value, over all samples; the
    correlation is Pearson's, NaN where either never changes.

    Args:
        coordinates: of the candidates, such as their parameter values. truth: in the same unit, best taken at the middle
            of the interval that a forecast covers.

    Raises:
        InputError: unless there is a coordinate for each candidate and a true value for each sample.

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
