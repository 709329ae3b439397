"""The Poisson distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.distributions.abstract import Likelihood
from jaxcast.distributions.counts import normal_guess, smallest_count
from jaxcast.distributions.gamma_functions import HALF_LOG_2PI, half_deviance, stirling_error
from jaxcast.distributions.shapes import at_levels, sample_shape
from jaxcast.distributions.tail_functions import upper_gamma
from jaxcast.pytrees import FrozenPytree

LARGEST_DRAWN = 1e8
"""Beyond this rate, samples are rounded normal numbers: `jax.random.poisson` counts by int32."""


class Poisson(Likelihood, FrozenPytree):
    """Poisson distributions of counts.

    Args:
        rate: the mean and variance, positive.

    Example:
        >>> import jaxcast
        >>> poisson = jaxcast.distributions.Poisson(4.0)
        >>> poisson.quantiles([0.1, 0.5, 0.9]).tolist()
        [2.0, 4.0, 7.0]
    """

    rate: Shaped[ArrayLike, "..."]

    @property
    def is_discrete(self) -> bool:
        return True

    @property
    def mean(self) -> Float[Array, "*batch"]:
        return jnp.asarray(self.rate)

    @checked
    def log_prob(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        y, rate = jnp.broadcast_arrays(jnp.asarray(y), jnp.asarray(self.rate))
        counted = jnp.where(y > 0, y, 1)
        deviance = half_deviance(counted, (rate - counted) / counted, rate / counted)
        found = -deviance - stirling_error(counted) - 0.5 * jnp.log(counted) - HALF_LOG_2PI
        return jnp.where(y > 0, found, jnp.where(y == 0, -rate, -jnp.inf))

    @checked
    def cdf(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        return _cdf(jnp.asarray(y), jnp.asarray(self.rate))

    @checked
    def quantiles(self, levels: Shaped[ArrayLike, " level"]) -> Float[Array, "*batch level"]:
        levels, rate = at_levels(levels, self.rate)
        return smallest_count(lambda y: _cdf(y, rate), levels, normal_guess(levels, rate, rate, rate**-0.5))

    @checked
    def sample(self, key: Key[Array, ""], num_samples: int = 1) -> Float[Array, " sample *batch"]:
        dtype: Any = jnp.result_type(self.rate, jnp.float32)
        return draw_counts(
            key, jnp.broadcast_to(jnp.asarray(self.rate, dtype), sample_shape((num_samples,), self.rate))
        )


def draw_counts(key: Array, rate: Float[Array, "..."]) -> Float[Array, "..."]:
    """Draws a Poisson count of each rate.

    Args:
        key: of the random numbers.
        rate: the means.
    """
    of_counts, of_noise = jax.random.split(key)
    counts = jax.random.poisson(of_counts, jnp.minimum(rate, LARGEST_DRAWN)).astype(rate.dtype)
    large = jnp.round(rate + jnp.sqrt(rate) * jax.random.normal(of_noise, rate.shape, rate.dtype))
    return jnp.where(rate > LARGEST_DRAWN, large, counts)


def _cdf(y: Array, rate: Array) -> Array:
    found = upper_gamma(jnp.maximum(jnp.floor(y), 0) + 1, rate)
    return jnp.where(y < 0, 0, found)
