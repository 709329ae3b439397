"""The normal distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.distributions.abstract import Likelihood
from jaxcast.distributions.gamma_functions import HALF_LOG_2PI
from jaxcast.distributions.shapes import at_levels, sample_shape
from jaxcast.pytrees import FrozenPytree


class Normal(Likelihood, FrozenPytree):
    """Normal distributions.

    Args:
        loc: the mean.
        scale: the standard deviation, positive.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> normal = jaxcast.distributions.Normal(jnp.asarray([0.0, 10.0]), 2.0)
        >>> [round(float(q), 2) for q in normal.quantiles([0.5, 0.975])[1]]
        [10.0, 13.92]
    """

    loc: Shaped[ArrayLike, "..."]
    scale: Shaped[ArrayLike, "..."]

    @property
    def is_discrete(self) -> bool:
        return False

    @property
    def mean(self) -> Float[Array, "*batch"]:
        return jnp.broadcast_to(self.loc, sample_shape((), self.loc, self.scale))

    @checked
    def log_prob(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        z = (jnp.asarray(y) - self.loc) / self.scale
        return -0.5 * z**2 - jnp.log(self.scale) - HALF_LOG_2PI

    @checked
    def cdf(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        found: Array = jax.scipy.special.ndtr((jnp.asarray(y) - self.loc) / self.scale)
        return found

    @checked
    def quantiles(self, levels: Shaped[ArrayLike, " level"]) -> Float[Array, "*batch level"]:
        levels, loc, scale = at_levels(levels, self.loc, self.scale)
        return loc + scale * jax.scipy.special.ndtri(levels)

    @checked
    def sample(self, key: Key[Array, ""], num_samples: int = 1) -> Float[Array, " sample *batch"]:
        dtype: Any = jnp.result_type(self.loc, self.scale, jnp.float32)
        shape = sample_shape((num_samples,), self.loc, self.scale)
        return jnp.asarray(self.loc) + self.scale * jax.random.normal(key, shape, dtype)
