"""A linear readout by ridge regression, and checks that forecasters of one series share."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import check_finite, check_penalty
from jaxcast.errors import InputError
from jaxcast.nn.standardizer import Standardizer
from jaxcast.numerics.ridge import ridge
from jaxcast.precision import highest
from jaxcast.types import Scalar


class Readout(NamedTuple):
    """The linear map from features to a standardised step: W' features + b.

    Args:
        weights: W.
        bias: b.
    """

    weights: Float[Array, "feature dim"]
    bias: Float[Array, " dim"]

    @highest
    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch dim"]:
        """Computes the step.

        Args:
            features: of the cell.
        """
        return features @ self.weights + self.bias


def scaled_readout(feature: str) -> dict[str, str]:
    """Returns the shapes of a readout and of a standardizer, for `sizes_of`.

    Args:
        feature: name of the axis of features.
    """
    return {
        ".readout.weights": f"{feature} dim",
        ".readout.bias": "dim",
        ".standardizer.mean": "dim",
        ".standardizer.std": "dim",
    }


@highest
def fit_readout(features: Array, targets: Array, penalty: Scalar) -> Readout:
    """Fits a readout by ridge regression with a bias.

    Args:
        features: features of each sample, (sample, feature).
        targets: values to forecast from them, (sample, dim).
        penalty: for the sum over all samples.
    """
    mean = features.mean(0)
    weights = ridge(features - mean, targets - targets.mean(0), penalty)
    return Readout(weights, targets.mean(0) - mean @ weights)


def as_series(values: Any, least: int, penalty: Scalar) -> Array:
    """Returns a series as an array of floats.

    Args:
        values: what was given.
        least: the number of values that are needed.
        penalty: of the fit, which is checked too.

    Raises:
        InputError: for fewer values, values that are not finite, or a penalty below zero.
    """
    states = jnp.asarray(values)
    if states.ndim != 2 or len(states) < least:
        raise InputError(f"expected a finite series (time, dim) of at least {least} values, got shape {states.shape}")
    check_finite({"values": states}, "time")
    check_penalty(penalty)
    return states if jnp.issubdtype(states.dtype, jnp.floating) else states.astype(jnp.result_type(float))


def check_dim(value: Any, standardizer: Standardizer) -> None:
    """Checks that a value has the components of the training values.

    Args:
        value: of a rollout.
        standardizer: of the training values.

    Raises:
        InputError: for another shape.
    """
    if value.shape != standardizer.mean.shape:
        raise InputError(f"it was trained on values of shape {standardizer.mean.shape}, got {value.shape}")


def no_lags(value: Float[Array, " dim"], standardizer: Standardizer, num_lags: int) -> Float[Array, "lag dim"]:
    """Returns an empty buffer of standardised values.

    Args:
        value: for shape and dtype.
        standardizer: of the training values.
        num_lags: values that the buffer holds.

    Raises:
        InputError: for a value of another shape than the training values.
    """
    check_dim(value, standardizer)
    return jnp.zeros((num_lags, *value.shape), value.dtype)
