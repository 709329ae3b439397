"""Mixtures of distributions."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.distributions.abstract import Distribution, Likelihood
from jaxcast.distributions.counts import smallest_count
from jaxcast.pytrees import FrozenPytree

MOST_STEPS = 200


class Mixture(Likelihood, FrozenPytree):
    """Mixtures of distributions: sum_k softmax(logits)_k P_k.

    Quantiles are found by bisection between the smallest and the largest of the components.

    Args:
        components: distributions whose last batch axis counts the components.
        logits: of their shares, (*batch, component).

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> two = jaxcast.distributions.Normal(jnp.asarray([-5.0, 5.0]), 1.0)
        >>> mixture = jaxcast.distributions.Mixture(two, jnp.zeros(2))
        >>> [round(float(q), 2) for q in mixture.quantiles([0.25, 0.75])]
        [-5.0, 5.0]
    """

    components: Distribution
    logits: Float[Array, "*batch component"]

    @property
    def is_discrete(self) -> bool:
        return self.components.is_discrete

    @property
    def weights(self) -> Float[Array, "*batch component"]:
        """The share of each component."""
        found: Array = jax.nn.softmax(jnp.asarray(self.logits), axis=-1)
        return found

    @property
    def mean(self) -> Float[Array, "*batch"]:
        return (self.weights * self.components.mean).sum(-1)

    @checked
    def log_prob(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        each = self.components.log_prob(jnp.asarray(y)[..., None])
        found: Array = jax.nn.logsumexp(jax.nn.log_softmax(jnp.asarray(self.logits), axis=-1) + each, axis=-1)
        return found

    @checked
    def cdf(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        return (self.weights * self.components.cdf(jnp.asarray(y)[..., None])).sum(-1)

    @checked
    def quantiles(self, levels: Shaped[ArrayLike, " level"]) -> Float[Array, "*batch level"]:
        each = self.components.quantiles(levels)
        levels = jnp.asarray(levels, each.dtype)
        low, high = each.min(-2), each.max(-2)

        def cdf(y: Array) -> Array:
            # Levels go in front, where the components do not see them.
            return jnp.moveaxis(self.cdf(jnp.moveaxis(y, -1, 0)), 0, -1)

        if self.is_discrete:
            return smallest_count(cdf, levels, jnp.floor((low + high) / 2))
        return _bisected(cdf, levels, low, high)

    @checked
    def sample(self, key: Key[Array, ""], num_samples: int = 1) -> Float[Array, " sample *batch"]:
        of_component, of_value = jax.random.split(key)
        values = self.components.sample(of_value, num_samples)
        logits = jnp.broadcast_to(self.logits, values.shape)
        number = jax.random.categorical(of_component, logits, axis=-1)
        return jnp.take_along_axis(values, number[..., None], -1)[..., 0]


def _bisected(cdf: Callable[[Array], Array], levels: Array, low: Array, high: Array) -> Array:
    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        number, low, high = state
        middle = low + (high - low) / 2
        reached = cdf(middle) >= levels
        return number + 1, jnp.where(reached, low, middle), jnp.where(reached, middle, high)

    def unfinished(state: tuple[Array, ...]) -> Array:
        number, low, high = state
        middle = low + (high - low) / 2
        return (number < MOST_STEPS) & ((middle > low) & (middle < high)).any()

    start: tuple[Array, ...] = (jnp.zeros((), int), low, high)
    return jax.lax.while_loop(unfinished, step, start)[2]
