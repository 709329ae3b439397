"""What forecasters that are trained on one series share: its scales, and a linear readout by ridge regression."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import check_finite, check_penalty
from jaxcast.errors import InputError
from jaxcast.numerics.ridge import ridge
from jaxcast.types import Scalar


class Scaler(NamedTuple):
    """The mean and the standard deviation of each component, which features and readout are standardised by."""

    mean: Float[Array, " dim"]
    std: Float[Array, " dim"]

    def apply(self, values: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        return (values - self.mean) / self.std


class Readout(NamedTuple):
    """The linear map from features to a standardised step: W' features + b."""

    weights: Float[Array, "feature dim"]
    bias: Float[Array, " dim"]

    def __call__(self, features: Float[Array, "*batch feature"]) -> Float[Array, "*batch dim"]:
        return jnp.matmul(features, self.weights, precision="highest") + self.bias


def scaled_readout(feature: str) -> dict[str, str]:
    """The shapes of a readout from so many features and of a scaler, for `sizes_of`."""
    return {
        ".readout.weights": f"{feature} dim",
        ".readout.bias": "dim",
        ".scaler.mean": "dim",
        ".scaler.std": "dim",
    }


def fit_readout(features: Array, targets: Array, penalty: Scalar) -> Readout:
    mean = features.mean(0)
    weights = ridge(features - mean, targets - targets.mean(0), penalty)
    return Readout(weights, targets.mean(0) - jnp.matmul(mean, weights, precision="highest"))


def scaler_of(states: Array) -> Scaler:
    std = states.std(0)
    # A component that never changes is nothing to scale by.
    return Scaler(states.mean(0), jnp.where(std > 0, std, 1.0))


def as_series(values: Any, least: int, penalty: Scalar) -> Array:
    states = jnp.asarray(values)
    if states.ndim != 2 or len(states) < least:
        raise InputError(f"expected a finite series (time, dim) of at least {least} values, got shape {states.shape}")
    check_finite({"values": states}, "time")
    check_penalty(penalty)
    return states if jnp.issubdtype(states.dtype, jnp.floating) else states.astype(jnp.result_type(float))


def check_dim(value: Any, scaler: Scaler) -> None:
    if value.shape != scaler.mean.shape:
        raise InputError(f"it was trained on values of shape {scaler.mean.shape}, got {value.shape}")


def no_lags(value: Float[Array, " dim"], scaler: Scaler, num_lags: int) -> Float[Array, "lag dim"]:
    """What a cell that carries so many standardised values carries before it has seen any."""
    check_dim(value, scaler)
    return jnp.zeros((num_lags, *value.shape), value.dtype)
