"""Pools that are linear in the candidate forecasts, with given or closed-form weights."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.errors import InputError
from jaxcast.pooling.memory import DelayMemory, Memory
from jaxcast.rollout import Output


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FixedWeights:
    """y = sum_i a_i F_i with given weights a, shape (model,).

    Raises:
        InputError: when called with another number of candidates.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> pool = jaxcast.FixedWeights(jnp.asarray([0.5, 0.5, 0.0]))
        >>> pool(None, jnp.asarray([[1.0], [2.0], [3.0]])).forecast.tolist()
        [1.5]
    """

    weights: Float[Array, " model"]
    memory: ClassVar[DelayMemory] = DelayMemory(0)

    def __call__(self, memory: Memory | None, forecasts: Float[Array, "*batch model dim"]) -> Output:
        weights = jnp.asarray(self.weights, forecasts.dtype)
        if weights.shape != forecasts.shape[-2:-1]:
            raise InputError(f"expected a weight for each of {forecasts.shape[-2]} candidates, got {weights.shape}")
        weights = jnp.broadcast_to(weights, forecasts.shape[:-1])
        return Output(jnp.einsum("...m,...md->...d", weights, forecasts), {"weights": weights})


def equal_weights(num_models: int) -> FixedWeights:
    """The mean of the candidate forecasts.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.equal_weights(2)(None, jnp.asarray([[1.0], [3.0]])).forecast.tolist()
        [2.0]
    """
    return FixedWeights(jnp.full(num_models, 1 / num_models))


def single_candidate(index: int, num_models: int) -> FixedWeights:
    """One candidate alone.

    Raises:
        InputError: for an index out of range.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.single_candidate(1, num_models=2)(None, jnp.asarray([[1.0], [3.0]])).forecast.tolist()
        [3.0]
    """
    if not 0 <= index < num_models:
        raise InputError(f"expected the index of one of {num_models} candidates, 0 to {num_models - 1}, got {index}")
    return FixedWeights(jnp.zeros(num_models).at[index].set(1.0))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LinearRegression:
    """y = W [F^(1), ..., F^(M)] + b with W (dim, model, dim) and b (dim,). Made by `fit_linear_regression`.

    Source: Patel and Wikner (2023), section 3.1.2.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> pool = jaxcast.LinearRegression(weights=jnp.ones((1, 2, 1)), bias=jnp.asarray([0.5]))
        >>> pool(None, jnp.asarray([[1.0], [3.0]])).forecast.tolist()
        [4.5]
    """

    weights: Float[Array, "dim model dim"]
    bias: Float[Array, " dim"]
    memory: ClassVar[DelayMemory] = DelayMemory(0)

    def __call__(self, memory: Memory | None, forecasts: Float[Array, "*batch model dim"]) -> Output:
        return Output(jnp.einsum("dme,...me->...d", self.weights, forecasts) + self.bias, {})


def fit_linear_regression(
    forecasts: Float[Array, "sample model dim"], targets: Float[Array, "sample dim"], *, rcond: float = 1e-12
) -> LinearRegression:
    """The least-squares W and b, in closed form, by a singular value decomposition of the centred forecasts.

    Args:
        rcond: directions whose singular value is below this share of the largest are left out. Forecasts of similar
            models are nearly collinear, and what lies below is rounding that differs from machine to machine.

    Raises:
        InputError: unless forecasts and targets have one row for each sample.

    Example:
        >>> import jax, jaxcast
        >>> forecasts = jax.random.normal(jax.random.key(0), (50, 2, 1))
        >>> targets = 3 * forecasts[:, 0] - forecasts[:, 1] + 0.5
        >>> pool = jaxcast.fit_linear_regression(forecasts, targets)
        >>> [round(float(w), 3) for w in (*pool.weights[0, :, 0], pool.bias[0])]
        [3.0, -1.0, 0.5]
    """
    if forecasts.ndim != 3 or targets.shape != (forecasts.shape[0], forecasts.shape[2]):
        raise InputError(
            "expected forecasts (sample, model, dim) and targets (sample, dim), "
            f"got {forecasts.shape} and {targets.shape}"
        )
    num_samples, num_models, dim = forecasts.shape
    features = forecasts.reshape(num_samples, -1)
    mean = features.mean(0)
    cutoff = max(rcond, float(jnp.finfo(features.dtype).eps))
    weights, *_ = jnp.linalg.lstsq(features - mean, targets - targets.mean(0), rcond=cutoff)
    bias = targets.mean(0) - mean @ weights
    return LinearRegression(weights.T.reshape(dim, num_models, dim), bias)
