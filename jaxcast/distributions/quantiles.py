"""A distribution given by its quantiles."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.distributions.abstract import Distribution
from jaxcast.numerics.levels import check_levels, pinball_of
from jaxcast.pytrees import FrozenPytree, static


class Quantiles(Distribution, FrozenPytree):
    """Distributions given by some of their quantiles.

    Between two levels, quantiles are interpolated linearly: the density is constant there. Beyond
    the outermost levels the density falls exponentially from that of the nearest pair on, so that
    it has no step:

        q(u) = q_1 - s ln(u_1 / u)  for u < u_1,    s = u_1 (q_2 - q_1) / (u_2 - u_1)

    and the same on the other side. With one level all quantiles are the same.

    Args:
        values: quantiles, which must not fall.
        levels: of the quantiles, rising within (0, 1).

    Raises:
        InputError: for levels that do not rise, or another number of values.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> found = jaxcast.distributions.Quantiles(jnp.asarray([1.0, 2.0, 4.0]), (0.25, 0.5, 0.75))
        >>> [round(float(q), 2) for q in found.quantiles([0.05, 0.25, 0.4, 0.9])]
        [-0.61, 1.0, 1.6, 5.83]
    """

    values: Float[Array, "*batch level"]
    levels: tuple[float, ...] = static()

    def __post_init__(self) -> None:
        check_levels(self.levels)

    @property
    def is_discrete(self) -> bool:
        return False

    @property
    def mean(self) -> Float[Array, "*batch"]:
        values, levels = self._arrays
        below, above = self._tails
        inside = (0.5 * (values[..., 1:] + values[..., :-1]) * jnp.diff(levels)).sum(-1)
        first, last = levels[0], 1 - levels[-1]
        return inside + first * (values[..., 0] - below) + last * (values[..., -1] + above)

    @checked
    def log_prob(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        values, levels = self._arrays
        y = jnp.asarray(y)[..., None]
        below, above = (tail[..., None] for tail in self._tails)
        starts, ends = values[..., :-1], values[..., 1:]
        inside = jnp.log(jnp.diff(levels)) - jnp.log(ends - starts)
        found = jnp.where((y >= starts) & (y < ends), inside, -jnp.inf).max(-1, initial=-jnp.inf)
        first, last = values[..., :1], values[..., -1:]
        left = jnp.log(levels[0] / below) - jnp.maximum(first - y, 0) / below
        right = jnp.log((1 - levels[-1]) / above) - jnp.maximum(y - last, 0) / above
        return jnp.where((y < first)[..., 0], left[..., 0], jnp.where((y >= last)[..., 0], right[..., 0], found))

    @checked
    def loss(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        """Returns the pinball loss, the mean over levels.

        Args:
            y: values.
        """
        values, levels = self._arrays
        return pinball_of(jnp.asarray(y)[..., None] - values, levels).mean(-1)

    @checked
    def cdf(self, y: Shaped[ArrayLike, "..."]) -> Float[Array, "..."]:
        values, levels = self._arrays
        y = jnp.asarray(y)
        below, above = self._tails
        gaps = values[..., 1:] - values[..., :-1]
        passed = y[..., None] - values[..., :-1]
        shares = jnp.where(gaps > 0, jnp.clip(passed / jnp.where(gaps > 0, gaps, 1), 0, 1), passed >= 0)
        inside = levels[0] + (jnp.diff(levels) * shares).sum(-1)
        first, last = values[..., 0], values[..., -1]
        left = levels[0] * jnp.exp(jnp.minimum(y - first, 0) / _positive(below))
        right = 1 - (1 - levels[-1]) * jnp.where(above > 0, jnp.exp(jnp.minimum(last - y, 0) / _positive(above)), 0)
        return jnp.where(y < first, left, jnp.where(y >= last, right, inside))

    @checked
    def quantiles(self, levels: Shaped[ArrayLike, " level"]) -> Float[Array, "*batch level"]:
        return self._at(jnp.asarray(levels, self._arrays[0].dtype))

    @checked
    def sample(self, key: Key[Array, ""], num_samples: int = 1) -> Float[Array, " sample *batch"]:
        values, _ = self._arrays
        drawn = jax.random.uniform(key, (num_samples, *values.shape[:-1]), values.dtype, jnp.finfo(values.dtype).tiny)
        return self._at(drawn[..., None])[..., 0]

    @property
    def _arrays(self) -> tuple[Array, Array]:
        dtype: Any = jnp.result_type(self.values, jnp.float32)
        return jnp.asarray(self.values, dtype), jnp.asarray(self.levels, dtype)

    @property
    def _tails(self) -> tuple[Array, Array]:
        """Returns the mean excess over both outermost quantiles."""
        values, levels = self._arrays
        if len(self.levels) == 1:
            return jnp.zeros_like(values[..., 0]), jnp.zeros_like(values[..., 0])
        gaps, steps = values[..., 1:] - values[..., :-1], jnp.diff(levels)
        return levels[0] * gaps[..., 0] / steps[0], (1 - levels[-1]) * gaps[..., -1] / steps[-1]

    def _at(self, wanted: Array) -> Array:
        """Returns the quantiles at levels, (level) or (..., *batch, level)."""
        values, levels = self._arrays
        below, above = (tail[..., None] for tail in self._tails)
        first, last = values[..., :1], values[..., -1:]
        left = first + below * jnp.log(jnp.minimum(wanted / levels[0], 1))
        right = last - above * jnp.log(jnp.clip((1 - wanted) / (1 - levels[-1]), jnp.finfo(values.dtype).tiny, 1))
        if len(self.levels) == 1:
            return left
        pair = jnp.clip(jnp.searchsorted(levels, wanted, side="right") - 1, 0, len(self.levels) - 2)
        share = jnp.clip((wanted - levels[pair]) / jnp.diff(levels)[pair], 0, 1)
        start, end = (_taken(a, pair) for a in (values[..., :-1], values[..., 1:]))
        inside = jnp.minimum(start + share * (end - start), end)
        return jnp.where(wanted < levels[0], left, jnp.where(wanted >= levels[-1], right, inside))


def _positive(width: Array) -> Array:
    return jnp.maximum(width, jnp.finfo(width.dtype).tiny)


def _taken(values: Array, index: Array) -> Array:
    """Takes from the last axis, by the same index everywhere or by one of each sample."""
    if index.ndim == 1:
        return values[..., index]
    return jnp.take_along_axis(jnp.broadcast_to(values, (*index.shape[:-1], values.shape[-1])), index, -1)
