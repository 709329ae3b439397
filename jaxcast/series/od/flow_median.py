"""The median of a count with a given mean."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_number
from jaxcast.errors import InputError
from jaxcast.tracing import is_traced


@checked
def flow_median(mean: Float[Any, "*shape"], *, dispersion: float | int = 0.0) -> Float[Array, "*shape"]:
    """Returns the median of counts with these means: the least whole k with P(X <= k) >= 1/2.

    The mean has the least squared error, the median the least absolute one. For trips of which most
    pairs have none, that differs much: the median is 0 for every mean below ln 2.

    Args:
        mean: means, not negative.
        dispersion: of a negative binomial distribution with variance mean + dispersion mean^2; 0
            for a Poisson distribution.

    Returns:
        The medians, whole numbers.

    Raises:
        InputError: for negative means or a negative dispersion.

    Source:
        Choi (1994), Proc. AMS 121, for mean - ln 2 <= median < mean + 1/3 of Poisson distributions.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> jaxcast.series.flow_median(jnp.asarray([0.0, 0.69, 0.70, 5.0])).tolist()
        [0.0, 0.0, 1.0, 5.0]
        >>> jaxcast.series.flow_median(jnp.asarray([5.0]), dispersion=1.0).tolist()
        [3.0]
    """
    check_number("dispersion", dispersion, least=0)
    mean = jnp.asarray(mean, float)
    if not is_traced(mean) and bool((mean < 0).any()):
        raise InputError(f"means of trips are not negative, got {np.nanmin(np.asarray(mean)):g}; use maximum(mean, 0)")
    if dispersion == 0:
        return _poisson_median(mean)
    return _negative_binomial_median(mean, dispersion)


@jax.jit
def _poisson_median(mean: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    lowest = jnp.maximum(jnp.ceil(mean - np.log(2.0)), 0)
    # P(X <= k) of a mean of 0 is 1; the incomplete gamma function wants more than 0.
    below = jax.scipy.special.gammaincc(lowest + 1, jnp.maximum(mean, jnp.finfo(mean.dtype).tiny))
    return jnp.where(jnp.isnan(mean), jnp.nan, lowest + (below < 0.5))


@jax.jit
def _negative_binomial_median(mean: Float[Array, "*shape"], dispersion: Any) -> Float[Array, "*shape"]:
    size = 1 / jnp.asarray(dispersion, mean.dtype)
    success = size / (size + mean)

    def halve(bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = jnp.floor((low + high) / 2)
        enough = jax.scipy.special.betainc(size, middle + 1, success) >= 0.5
        return jnp.where(enough, low, jnp.minimum(middle + 1, high)), jnp.where(enough, middle, high)

    known = jnp.where(jnp.isnan(mean), 0, mean)
    start = jnp.zeros_like(mean), jnp.ceil(known) + 1
    found = jax.lax.while_loop(lambda bounds: (bounds[0] < bounds[1]).any(), halve, start)[0]
    return jnp.where(jnp.isnan(mean), jnp.nan, found)
