"""Pools that are linear in the candidate forecasts, with given or closed-form weights."""

from collections.abc import Callable
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_finite, check_floats, check_penalty, sizes_of
from jaxcast.errors import InputError
from jaxcast.numerics.ridge import ridge
from jaxcast.pooling.memory import DelayMemory, Memory
from jaxcast.pooling.pool import Pool, WeightedSum
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import Output
from jaxcast.types import Scalar


class FixedWeights(WeightedSum, Checked, FrozenPytree, name="fixed_weights"):
    """Pool with given weights a: y = sum_i a_i F_i.

    Args:
        weights: a, one for each candidate.

    Raises:
        InputError: when called with another number of candidates.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> pool = jaxcast.pooling.FixedWeights(jnp.asarray([0.5, 0.5, 0.0]))
        >>> pool(None, jnp.asarray([[1.0], [2.0], [3.0]])).forecast.tolist()
        [1.5]
    """

    weights: Float[Array, " model"]
    memory: ClassVar[DelayMemory] = DelayMemory(0)

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes_of(self, {".weights": "model"})

    def weigh(self, memory: Memory | None, forecasts: Float[Array, "*batch model dim"]) -> Float[Array, "*batch model"]:
        weights = jnp.asarray(self.weights, forecasts.dtype)
        if weights.shape != forecasts.shape[-2:-1]:
            raise InputError(f"expected a weight for each of {forecasts.shape[-2]} candidates, got {weights.shape}")
        return jnp.broadcast_to(weights, forecasts.shape[:-1])


@checked
def equal_weights(num_models: int) -> FixedWeights:
    """Makes the pool whose forecast is the mean of the candidates'.

    Args:
        num_models: candidates.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.equal_weights(2)(None, jnp.asarray([[1.0], [3.0]])).forecast.tolist()
        [2.0]
    """
    return FixedWeights(jnp.full(num_models, 1 / num_models))


@checked
def single_candidate(index: int, num_models: int) -> FixedWeights:
    """Makes the pool whose forecast is that of one candidate.

    Args:
        index: of the candidate, from 0.
        num_models: candidates.

    Raises:
        InputError: for an index out of range.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.pooling.single_candidate(1, num_models=2)(None, jnp.asarray([[1.0], [3.0]])).forecast.tolist()
        [3.0]
    """
    if not 0 <= index < num_models:
        raise InputError(f"expected the index of one of {num_models} candidates, 0 to {num_models - 1}, got {index}")
    return FixedWeights(jnp.zeros(num_models).at[index].set(1.0))


class LinearRegression(Pool, Checked, FrozenPytree, name="linear_regression"):
    """Linear regression on the candidate forecasts: y = W [F^(1), ..., F^(M)] + b.

    `fit_linear_regression` and `fit_ridge` return it. `info["weights"]`, (*batch, model), is the
    coefficient of each candidate's own component, W[d, i, d], averaged over the components d. It is
    the same at every step, and not a convex weight.

    Args:
        weights: W.
        bias: b.

    Raises:
        InputError: when called with another number of candidates or components.

    Source:
        Patel and Wikner (2023), section 3.1.2.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> pool = jaxcast.pooling.LinearRegression(weights=jnp.ones((1, 2, 1)), bias=jnp.asarray([0.5]))
        >>> pool(None, jnp.asarray([[1.0], [3.0]])).forecast.tolist()
        [4.5]
    """

    weights: Float[Array, "dim model dim"]
    bias: Float[Array, " dim"]
    memory: ClassVar[DelayMemory] = DelayMemory(0)

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes_of(self, {".weights": "dim model dim", ".bias": "dim"})

    @checked
    @highest
    def __call__(self, memory: Memory | None, forecasts: Float[Array, "*batch model dim"]) -> Output:
        if forecasts.shape[-2:] != self.weights.shape[1:]:
            raise InputError(
                f"expected forecasts of {self.weights.shape[1]} candidates with {self.weights.shape[2]} components, "
                f"got shape {forecasts.shape[-2:]}"
            )
        own = jnp.diagonal(self.weights, axis1=0, axis2=2).mean(-1)
        forecast = jnp.einsum("dme,...me->...d", self.weights, forecasts) + self.bias
        return Output(forecast, {"weights": jnp.broadcast_to(own, forecasts.shape[:-1])})


@checked
def fit_linear_regression(
    forecasts: Float[Array, "sample model dim"], targets: Float[Array, "sample dim"], *, rcond: float = 1e-12
) -> LinearRegression:
    """Fits a linear regression by least squares, in closed form.

    It uses a singular value decomposition of the centred forecasts.

    Args:
        forecasts: of the candidates for each sample, in any order of samples.
        targets: the true values.
        rcond: directions whose singular value is below this share of the largest are ignored.
            Forecasts of similar models are nearly collinear; smaller singular values are rounding
            errors, which differ from machine to machine.

    Returns:
        The pool.

    Raises:
        InputError: unless forecasts and targets have one row for each sample.

    Example:
        >>> import jax, jaxcast
        >>> forecasts = jax.random.normal(jax.random.key(0), (50, 2, 1))
        >>> targets = 3 * forecasts[:, 0] - forecasts[:, 1] + 0.5
        >>> pool = jaxcast.pooling.fit_linear_regression(forecasts, targets)
        >>> [round(float(w), 3) for w in (*pool.weights[0, :, 0], pool.bias[0])]
        [3.0, -1.0, 0.5]
    """

    def least_squares(features: Array, targets: Array) -> Array:
        cutoff = max(rcond, float(jnp.finfo(features.dtype).eps))
        return jnp.linalg.lstsq(features, targets, rcond=cutoff)[0]

    return _fit(forecasts, targets, least_squares)


@checked
def fit_ridge(
    forecasts: Float[Array, "sample model dim"], targets: Float[Array, "sample dim"], *, penalty: Scalar
) -> LinearRegression:
    """Fits a linear regression with a penalty on the size of W, in closed form.

        W, b = argmin sum_n |y_n - W [F_n^(1), ..., F_n^(M)] - b|^2 + penalty |W|^2

    It uses a singular value decomposition of the centred forecasts; b is not penalised.

    Args:
        forecasts: of the candidates for each sample, in any order of samples.
        targets: the true values.
        penalty: in the squared unit of the state, for the sum over all samples, not their mean. 0
            is plain least squares, with the least norm where the solution is not unique. A new
            value does not compile again.

    Returns:
        The pool.

    Raises:
        InputError: unless forecasts and targets are finite, with one row for each sample, and the
            penalty is zero or more.

    Source:
        Hoerl and Kennard (1970).

    Example:
        >>> import jax, jaxcast
        >>> forecasts = jax.random.normal(jax.random.key(0), (50, 2, 1))
        >>> targets = 3 * forecasts[:, 0] - forecasts[:, 1]
        >>> weak, strong = (jaxcast.pooling.fit_ridge(forecasts, targets, penalty=penalty) for penalty in (1e-6, 50.0))
        >>> [round(float(w), 3) for w in weak.weights[0, :, 0]]
        [3.0, -1.0]
        >>> bool(abs(strong.weights).sum() < abs(weak.weights).sum())
        True
    """
    check_penalty(penalty)
    return _fit(forecasts, targets, lambda features, targets: ridge(features, targets, penalty))


@highest
def _fit(forecasts: Array, targets: Array, solve: Callable[[Array, Array], Array]) -> LinearRegression:
    """Fits by a function of centred features and targets; the means give the bias."""
    if forecasts.ndim != 3 or targets.shape != (forecasts.shape[0], forecasts.shape[2]):
        raise InputError(
            "expected forecasts (sample, model, dim) and targets (sample, dim), "
            f"got {forecasts.shape} and {targets.shape}"
        )
    check_finite({"forecasts": forecasts, "targets": targets})
    num_samples, num_models, dim = forecasts.shape
    features = forecasts.reshape(num_samples, -1)
    mean = features.mean(0)
    weights = solve(features - mean, targets - targets.mean(0))
    bias = targets.mean(0) - mean @ weights
    return LinearRegression(weights.T.reshape(dim, num_models, dim), bias)
