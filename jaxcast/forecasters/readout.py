"""What forecasters that are trained on one series share: its scales, and a linear readout by ridge regression."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import check_finite, check_penalty
from jaxcast.errors import InputError
from jaxcast.nn.standardizer import Standardizer
from jaxcast.numerics.ridge import ridge
from jaxcast.types import Scalar


class Readout(NamedTuple):
    """The linear map from features to a standardised step: W' features + b."""

    weights: Float[Array, "feature dim"]
    bias: Float[Array, " dim"]

    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch dim"]:
        return jnp.matmul(features, self.weights, precision="highest") + self.bias


def scaled_readout(feature: str) -> dict[str, str]:
    """The shapes of a readout from so many features and of a standardizer, for `sizes_of`."""
    return {
        ".readout.weights": f"{feature} dim",
        ".readout.bias": "dim",
        ".standardizer.mean": "dim",
        ".standardizer.std": "dim",
    }


def fit_readout(features: Array, targets: Array, penalty: Scalar) -> Readout:
    mean = features.mean(0)
    weights = ridge(features - mean, targets - targets.mean(0), penalty)
    return Readout(weights, targets.mean(0) - jnp.matmul(mean, weights, precision="highest"))


def as_series(values: Any, least: int, penalty: Scalar) -> Array:
    states = jnp.asarray(values)
    if states.ndim != 2 or len(states) < least:
        raise InputError(f"expected a finite series (time, dim) of at least {least} values, got shape {states.shape}")
    check_finite({"values": states}, "time")
    check_penalty(penalty)
    return states if jnp.issubdtype(states.dtype, jnp.floating) else states.astype(jnp.result_type(float))


def check_dim(value: Any, standardizer: Standardizer) -> None:
    if value.shape != standardizer.mean.shape:
        raise InputError(f"it was trained on values of shape {standardizer.mean.shape}, got {value.shape}")


def no_lags(value: Float[Array, " dim"], standardizer: Standardizer, num_lags: int) -> Float[Array, "lag dim"]:
    """What a cell that carries so many standardised values carries before it has seen any."""
    check_dim(value, standardizer)
    return jnp.zeros((num_lags, *value.shape), value.dtype)
