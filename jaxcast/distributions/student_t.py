"""Student's t distribution."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.distributions.abstract import Likelihood
from jaxcast.distributions.gamma_functions import HALF_LOG_2PI, log_gamma_half_step
from jaxcast.distributions.shapes import at_levels, sample_shape
from jaxcast.distributions.tail_functions import upper_student
from jaxcast.pytrees import FrozenPytree

MOST_NEWTON_STEPS = 10


class StudentT(Likelihood, FrozenPytree):
    """Student's t distributions, shifted and scaled.

    Args:
        df: degrees of freedom, positive.
        loc: the median; also the mean where df > 1.
        scale: positive. The standard deviation is scale sqrt(df / (df - 2)) where df > 2.

    Source:
        Bailey, Math. Comput. 62, 779-781 (1994) for samples. Peizer and Pratt, J. Am. Stat. Assoc.
        63, 1416-1456 (1968) for the start of Newton's method, which finds quantiles.

    Example:
        >>> import jaxcast
        >>> student = jaxcast.distributions.StudentT(3.0, 0.0, 1.0)
        >>> [round(float(q), 3) for q in student.quantiles([0.5, 0.975])]
        [0.0, 3.182]
    """

    df: Shaped[ArrayLike, "..."]
    loc: Shaped[ArrayLike, "..."]
    scale: Shaped[ArrayLike, "..."]

    @property
    def is_discrete(self) -> bool:
        return False

    @property
    def mean(self) -> Float[Array, "*batch"]:
        return jnp.where(jnp.asarray(self.df) > 1, self.loc + jnp.zeros_like(jnp.asarray(self.scale)), jnp.nan)

    @checked
    def log_prob(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = (jnp.asarray(y) - self.loc) / self.scale
        return _log_density(z, jnp.asarray(self.df, z.dtype)) - jnp.log(self.scale)

    @checked
    def cdf(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = (jnp.asarray(y) - self.loc) / self.scale
        upper = upper_student(jnp.abs(z), jnp.asarray(self.df, z.dtype))
        return jnp.where(z > 0, 1 - upper, upper)

    @checked
    def quantiles(self, levels: Shaped[ArrayLike, " level"]) -> Float[Array, "*batch level"]:
        levels, df, loc, scale = at_levels(levels, self.df, self.loc, self.scale)
        tail = _of_upper_tail(jnp.minimum(levels, 1 - levels), df)
        return loc + scale * jnp.sign(levels - 0.5) * tail

    @checked
    def sample(self, key: Key[Array, ""], num_samples: int = 1) -> Float[Array, " sample *batch"]:
        dtype: Any = jnp.result_type(self.df, self.loc, self.scale, jnp.float32)
        radius, angle = jax.random.uniform(
            key, (2, *sample_shape((num_samples,), self.df, self.loc, self.scale)), dtype
        )
        # 1 - u lies in (0, 1], so that its logarithm is finite.
        power = jnp.expm1(-2 / jnp.asarray(self.df, dtype) * jnp.log1p(-radius))
        return jnp.asarray(self.loc) + self.scale * jnp.sqrt(self.df * power) * jnp.cos(2 * math.pi * angle)


def _log_density(z: Array, df: Array) -> Array:
    return log_gamma_half_step(df / 2) - HALF_LOG_2PI - (df + 1) / 2 * jnp.log1p(z**2 / df)


def _of_upper_tail(share: Array, df: Array) -> Array:
    """Returns the z >= 0 with P(T > z) = share, for shares up to 1/2."""
    many = jnp.maximum(df, 1)
    factor = jnp.sqrt(many - 5 / 6) / (many - 2 / 3 + 1 / (10 * many)) * jnp.sqrt(many / df)

    def value(score: Array) -> Array:
        return jnp.sqrt(df * jnp.expm1((score * factor) ** 2))

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        # A normal score z stands for t, so that Newton's method on ln P(T > t) starts close and never overshoots far.
        number, score, _ = state
        t, slope = jax.jvp(value, (score,), (jnp.ones_like(score),))
        upper = upper_student(t, df)
        change = (jnp.log(upper) - jnp.log(share)) * upper / (jnp.exp(_log_density(t, df)) * slope)
        change = jnp.where(is_middle, 0, change)
        return number + 1, jnp.maximum(score + change, score / 8), jnp.abs(change).max()

    def unfinished(state: tuple[Array, ...]) -> Array:
        # The next change would be about the square of the last.
        return (state[0] < MOST_NEWTON_STEPS) & (state[2] > jnp.finfo(share.dtype).eps ** 0.6)

    start = jnp.broadcast_to(-jax.scipy.special.ndtri(share), jnp.broadcast_shapes(share.shape, df.shape))
    # Near the median the distribution function is linear, to rounding.
    is_middle = start < jnp.finfo(start.dtype).eps ** 0.4
    first: tuple[Array, ...] = (jnp.zeros((), int), jnp.where(is_middle, 1, start), jnp.ones((), start.dtype))
    score = jax.lax.while_loop(unfinished, step, first)[1]
    near = start * jnp.exp(-_log_density(jnp.zeros_like(df), df)) / math.sqrt(2 * math.pi)
    return jnp.where(is_middle, near, value(score))
