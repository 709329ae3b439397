"""Square-root Kalman filtering of a nonlinear system, linearised where the newest value implies."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.precision import highest

NUM_ITERATIONS = 4


class GaussianState(NamedTuple):
    """A normal distribution.

    Args:
        mean: of the distribution.
        root: L, a root of the covariance L L^T.
    """

    mean: Float[Array, " number"]
    root: Float[Array, "number number"]

    @property
    def deviation(self) -> Float[Array, "*batch number"]:
        """The standard deviation of each number."""
        return jnp.linalg.norm(self.root, axis=-1)


_Guess = tuple[GaussianState, GaussianState, Array]


def root_of(*parts: Float[Array, "number _"]) -> Float[Array, "number number"]:
    """Computes the lower triangular root of a sum of covariances, without squaring.

    Args:
        *parts: a root of each covariance.
    """
    return jnp.linalg.qr(jnp.concatenate(parts, 1).T, mode="r").T


@highest
def condition(
    belief: GaussianState,
    observation: Float[Array, "value number"],
    surprise: Float[Array, " value"],
    noise_root: Float[Array, "value _"],
) -> GaussianState:
    """Conditions a distribution on observations, observation @ number plus noise.

    Args:
        belief: before the observations.
        observation: the matrix.
        surprise: observed less expected values.
        noise_root: a root of the covariance of the noise.

    Source:
        Kailath, Sayed and Hassibi (2000), Linear Estimation, section 12.1.
    """
    num_values = len(surprise)
    blank = jnp.zeros((len(belief.mean), noise_root.shape[1]), belief.mean.dtype)
    both = jnp.block([[noise_root, observation @ belief.root], [blank, belief.root]])
    root = root_of(both)
    expected, gain, left = (
        root[:num_values, :num_values],
        root[num_values:, :num_values],
        root[num_values:, num_values:],
    )
    return GaussianState(belief.mean + gain @ jax.scipy.linalg.solve_triangular(expected, surprise, lower=True), left)


@highest
def predict(
    step: Callable[[Array], Array], belief: GaussianState, noise_root: Float[Array, "number _"]
) -> GaussianState:
    """Predicts a distribution one step ahead, linearised at the mean.

    Args:
        step: of the system.
        belief: before the step.
        noise_root: a root of the covariance of the step's noise.
    """
    slope, mean = _slope_and_value(step, belief.mean)
    return GaussianState(mean, root_of(slope @ belief.root, noise_root))


def _slope_and_value(step: Callable[[Array], Array], mean: Array) -> tuple[Array, Array]:
    def twice(mean: Array) -> tuple[Array, Array]:
        value = step(mean)
        return value, value

    return jax.jacfwd(twice, has_aux=True)(mean)


@highest
def observe(
    step: Callable[[Array], Array],
    before: GaussianState,
    value: Float[Array, " value"],
    known: Any,
    noise_root: Float[Array, "number _"],
    value_noise: Float[Array, " value"],
) -> tuple[GaussianState, Float[Array, ""]]:
    """Filters one step: the distribution after `before` when the first numbers are observed.

    A few iterations find where, given the observation, the step must have started, and linearise it
    there. The curvature over the distribution there counts as noise, so that a broad distribution
    does not become too narrow after one observation.

    Args:
        step: of the system.
        before: the distribution before the step.
        value: observed after it.
        known: which components are observed, (value,).
        noise_root: a root of the covariance of the step's noise.
        value_noise: standard deviations of the observation.

    Returns:
        The distribution, and the logarithmic density of the observation without its constant.

    Source:
        Kullberg, Skog and Hendeby (2022), dynamically iterated filters; the curvature is by second
        differences along the columns of the root.
    """
    num_values = len(value)
    seen = jnp.eye(num_values, len(before.mean), dtype=value.dtype) * known[:, None]
    value_root = jnp.diag(value_noise)

    def again(guess: _Guess, _: Any) -> tuple[_Guess, None]:
        began = guess[0]
        slope, there = _slope_and_value(step, began.mean)
        beside = jax.vmap(step)(began.mean + jnp.concatenate([began.root.T, -began.root.T]))
        curvature = beside[: len(there)] + beside[len(there) :] - 2 * there
        noise = root_of(noise_root, 0.75**0.5 * curvature.T)
        expected = there + slope @ (before.mean - began.mean)
        surprise = jnp.where(known, value - expected[:num_values], 0)
        began = condition(before, seen @ slope, surprise, root_of(seen @ noise, value_root))
        ahead = GaussianState(expected, root_of(slope @ before.root, noise))
        density = _log_density(surprise, root_of(seen @ ahead.root, value_root))
        return (began, condition(ahead, seen, surprise, value_root), density), None

    start = (before, before, jnp.zeros((), before.mean.dtype))
    (_, ahead, density), _ = jax.lax.scan(again, start, length=NUM_ITERATIONS)
    return ahead, density


def _log_density(surprise: Float[Array, " value"], root: Float[Array, "value value"]) -> Array:
    scaled = jax.scipy.linalg.solve_triangular(root, surprise, lower=True)
    return -jnp.sum(scaled**2) / 2 - jnp.sum(jnp.log(jnp.abs(jnp.diagonal(root))))
