"""The negative binomial distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.distributions.abstract import Likelihood
from jaxcast.distributions.counts import normal_guess, smallest_count
from jaxcast.distributions.gamma_functions import HALF_LOG_2PI, half_deviance, stirling_error
from jaxcast.distributions.poisson import draw_counts
from jaxcast.distributions.shapes import at_levels, sample_shape
from jaxcast.distributions.tail_functions import lower_beta
from jaxcast.pytrees import FrozenPytree


class NegativeBinomial(Likelihood, FrozenPytree):
    """Negative binomial distributions of counts, by their mean and dispersion.

        P(y) = Gamma(y + r) / (y! Gamma(r)) (1 + a m)^-r (a m / (1 + a m))^y,    r = 1 / a

    with mean m and dispersion a; the variance is m + a m^2. A Poisson distribution is its limit of
    no dispersion.

    Args:
        rate: the mean m, positive.
        dispersion: a, positive.

    Source:
        Salinas, Flunkert, Gasthaus and Januschowski, Int. J. Forecast. 36, 1181-1191 (2020). Loader
        (2000) for probabilities that are exact also for large counts.

    Example:
        >>> import jaxcast
        >>> counts = jaxcast.distributions.NegativeBinomial(4.0, 0.5)
        >>> counts.quantiles([0.1, 0.5, 0.9]).tolist()
        [0.0, 3.0, 9.0]
    """

    rate: Shaped[ArrayLike, "..."]
    dispersion: Shaped[ArrayLike, "..."]

    @property
    def is_discrete(self) -> bool:
        return True

    @property
    def mean(self) -> Float[Array, "*batch"]:
        return jnp.broadcast_to(self.rate, sample_shape((), self.rate, self.dispersion))

    @checked
    def log_prob(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        y, rate, dispersion = jnp.broadcast_arrays(*map(jnp.asarray, (y, self.rate, self.dispersion)))
        counted, size, spread = jnp.where(y > 0, y, 1), 1 / dispersion, 1 + dispersion * rate
        # Both parts are compared with what is expected of all y + r trials.
        first = dispersion * (counted - rate) / spread, (1 + dispersion * counted) / spread
        second = (rate - counted) / (spread * counted), (1 / counted + dispersion) * rate / spread
        found = (
            stirling_error(size + counted)
            - stirling_error(size)
            - stirling_error(counted)
            - half_deviance(size, *first)
            - half_deviance(counted, *second)
            - 0.5 * (jnp.log(counted) + jnp.log1p(dispersion * counted))
            - HALF_LOG_2PI
        )
        return jnp.where(y > 0, found, jnp.where(y == 0, -size * jnp.log1p(dispersion * rate), -jnp.inf))

    @checked
    def cdf(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        return _cdf(*map(jnp.asarray, (y, self.rate, self.dispersion)))

    @checked
    def quantiles(self, levels: Shaped[ArrayLike, " level"]) -> Float[Array, "*batch level"]:
        levels, rate, dispersion = at_levels(levels, self.rate, self.dispersion)
        rate, dispersion = jnp.broadcast_arrays(rate, dispersion)
        variance = rate * (1 + dispersion * rate)
        skewness = (1 + 2 * dispersion * rate) * variance**-0.5
        guess = normal_guess(levels, rate, variance, skewness)
        return smallest_count(lambda y: _cdf(y, rate, dispersion), levels, guess)

    @checked
    def sample(self, key: Key[Array, ""], num_samples: int = 1) -> Float[Array, " sample *batch"]:
        dtype: Any = jnp.result_type(self.rate, self.dispersion, jnp.float32)
        shape = sample_shape((num_samples,), self.rate, self.dispersion)
        of_rates, of_counts = jax.random.split(key)
        # A Poisson distribution whose rate is drawn from a gamma distribution.
        size = 1 / jnp.asarray(self.dispersion, dtype)
        rates = jax.random.gamma(of_rates, jnp.broadcast_to(size, shape), dtype=dtype) / size * self.rate
        return draw_counts(of_counts, rates)


def _cdf(y: Array, rate: Array, dispersion: Array) -> Array:
    count, share = jnp.maximum(jnp.floor(y), 0) + 1, 1 / (1 + dispersion * rate)
    found = lower_beta(1 / dispersion, count, share, dispersion * rate * share, (count - rate) * share)
    return jnp.where(y < 0, 0, found)
