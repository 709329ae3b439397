"""Square-root Kalman filtering of a nonlinear system, linearised where the newest value says that it was."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

NUM_ITERATIONS = 4


class GaussianState(NamedTuple):
    """A normal distribution: its mean, and a root L of its covariance L L^T."""

    mean: Float[Array, " number"]
    root: Float[Array, "number number"]

    @property
    def deviation(self) -> Float[Array, "*batch number"]:
        """The standard deviation of each number."""
        return jnp.linalg.norm(self.root, axis=-1)


def root_of(*parts: Float[Array, "number _"]) -> Float[Array, "number number"]:
    """The lower triangular root of a sum of covariances, given a root of each: nothing is squared, so nothing is lost."""
    return jnp.linalg.qr(jnp.concatenate(parts, 1).T, mode="r").T


def condition(
    belief: GaussianState,
    observation: Float[Array, "value number"],
    surprise: Float[Array, " value"],
    noise_root: Float[Array, "value _"],
) -> GaussianState:
    """What to believe after values were seen that are observation @ number plus noise.

    Source: Kailath, Sayed and Hassibi (2000), Linear Estimation, section 12.1.

    Args:
        surprise: the values seen less those expected. noise_root: a root of their noise's covariance.
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


def predict(
    step: Callable[[Array], Array], belief: GaussianState, noise_root: Float[Array, "number _"]
) -> GaussianState:
    """What to believe one step later, linearised at the mean."""
    slope, mean = _slope_and_value(step, belief.mean)
    return GaussianState(mean, root_of(slope @ belief.root, noise_root))


def _slope_and_value(step: Callable[[Array], Array], mean: Array) -> tuple[Array, Array]:
    def twice(mean: Array) -> tuple[Array, Array]:
        value = step(mean)
        return value, value

    return jax.jacfwd(twice, has_aux=True)(mean)


def observe(
    step: Callable[[Array], Array],
    before: GaussianState,
    value: Float[Array, " value"],
    known: Any,
    noise_root: Float[Array, "number _"],
    value_noise: Float[Array, " value"],
) -> GaussianState:
    """What to believe one step after `before`, when the first numbers are seen as `value`.

    The step is linearised not where it was expected to begin but where, with the value seen, it must have begun, found
    in a few iterations. What its curvature may add over the belief there counts as noise, so that a broad belief is not taken for
    a sure one after one look.

    Source: Kullberg, Skog and Hendeby (2022), dynamically iterated filters; curvature by second differences along the
    columns of the root.

    Args:
        known: whether the value is, (value,).
    """
    num_values = len(value)
    seen = jnp.eye(num_values, len(before.mean), dtype=value.dtype) * known[:, None]
    value_root = jnp.diag(value_noise)

    def again(guess: tuple[GaussianState, GaussianState], _: Any) -> tuple[tuple[GaussianState, GaussianState], None]:
        began, _ = guess
        slope, there = _slope_and_value(step, began.mean)
        beside = jax.vmap(step)(began.mean + jnp.concatenate([began.root.T, -began.root.T]))
        curvature = beside[: len(there)] + beside[len(there) :] - 2 * there
        noise = root_of(noise_root, 0.75**0.5 * curvature.T)
        expected = there + slope @ (before.mean - began.mean)
        surprise = jnp.where(known, value - expected[:num_values], 0)
        began = condition(before, seen @ slope, surprise, root_of(seen @ noise, value_root))
        ahead = GaussianState(expected, root_of(slope @ before.root, noise))
        return (began, condition(ahead, seen, surprise, value_root)), None

    (_, ahead), _ = jax.lax.scan(again, (before, before), length=NUM_ITERATIONS)
    return ahead
