"""The convex combination of the candidates with the least error in the last steps."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.arguments import checked
from jaxcast.pooling.memory import Memory
from jaxcast.pooling.pool import DelayPool, WeightedSum
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static


class SimplexLeastSquares(WeightedSum, DelayPool, FrozenPytree, name="simplex_least_squares"):
    """The convex weights with the least squared error over the last l steps. It has no parameters.

        a = argmin_(a >= 0, sum a = 1) sum_(n = j-l)^(j-1) |sum_i a_i e_n^(i)|^2
        y = sum_i a_i F_i

    e_n^(i) = F_n^(i) - u_n is the error of candidate i, so sum_i a_i e_n^(i) is that of the
    combination. An active-set method solves this exactly, whatever the rank. To the Gram matrix is
    added eps^(2/3) of the summed squared errors (4e-11 of them in float64, 2e-5 in float32), which
    selects the most even of equally good weights. Errors with NaN give weights of NaN. The gradient
    with respect to the errors, in reverse mode, is that of the nonzero weights.

    Args:
        num_delays: l.

    Raises:
        InputError: for less than one delay, a memory of another number of delays, or no candidates.

    Source:
        Wolfe (1976), "Finding the nearest point in a polytope".

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> pool = jaxcast.pooling.SimplexLeastSquares(num_delays=1)
        >>> memory = jaxcast.pooling.Memory(states=jnp.zeros((1, 1)), errors=jnp.asarray([[[3.0], [-1.0]]]))
        >>> [round(float(w), 2) for w in pool(memory, jnp.zeros((2, 1))).info["weights"]]
        [0.25, 0.75]
    """

    num_delays: int = static()

    @checked
    def weigh(self, memory: Memory, forecasts: Float[Array, "*batch model dim"]) -> Float[Array, "*batch model"]:
        errors = self.errors_in(memory)
        *batch, _, num_models, _ = errors.shape
        points = jnp.moveaxis(errors, -2, -3).reshape(*batch, num_models, -1)
        return _nearest_to_zero(points).astype(forecasts.dtype)


class _Search(NamedTuple):
    """The state of the search: weights are zero outside of the support."""

    support: Bool[Array, " model"]
    weights: Float[Array, " model"]
    count: Any
    done: Any


@jax.jit
@partial(jnp.vectorize, signature="(m,n)->(m)")
@highest
def _nearest_to_zero(points: Float[Array, "model number"]) -> Float[Array, " model"]:
    """Returns the weights of the point nearest to zero in the convex hull of these points."""
    # Only the ratios of the errors matter; scaled, their squares neither overflow nor vanish.
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(points)))
    points = points / jnp.where(size > 0, size, 1)
    gram = points @ points.T
    trace = jnp.maximum(jnp.trace(gram), 1)
    eps = float(jnp.finfo(gram.dtype).eps)
    gram += eps ** (2 / 3) * trace * jnp.eye(len(gram), dtype=gram.dtype)
    support = _find_support(jax.lax.stop_gradient(gram))
    weights = jnp.maximum(_nearest_in_plane(gram, support), 0)
    return jnp.where(jnp.isfinite(trace), weights / weights.sum(), jnp.nan)


def _nearest_in_plane(gram: Float[Array, "model model"], support: Bool[Array, " model"]) -> Float[Array, " model"]:
    """Returns the weights, of either sign, of the point of the support's plane nearest to zero."""
    within = jnp.where(support[:, None] & support, gram, jnp.eye(len(gram), dtype=gram.dtype))
    weights = jax.scipy.linalg.solve(within, support.astype(gram.dtype), assume_a="pos")
    return weights / weights.sum()


def _find_support(gram: Float[Array, "model model"]) -> Bool[Array, " model"]:
    """Returns the support of the nearest point, by Wolfe's cycles."""
    models = jnp.arange(len(gram))
    tiny = jnp.finfo(gram.dtype).tiny
    rounding = 4 * jnp.finfo(gram.dtype).eps * jnp.max(jnp.diagonal(gram))

    def cycle(search: _Search) -> _Search:
        support, weights, count, _ = search
        target = _nearest_in_plane(gram, support)
        leaving = support & (target <= 0)
        inside = ~leaving.any()
        reach = jnp.where(leaving, weights / jnp.maximum(weights - target, tiny), jnp.inf)
        step = reach.min()
        weights = jnp.where(inside, target, weights + jnp.minimum(step, 1) * (target - weights))
        slope = gram @ weights
        steepest = jnp.argmin(jnp.where(support, jnp.inf, slope))
        improves = ~support[steepest] & (slope[steepest] < weights @ slope - rounding)
        entering = inside & improves & (models == steepest)
        support = (support & ~(leaving & (reach <= step))) | entering
        weights = jnp.where(support, weights, 0)
        # A step of zero drops the point just added: that is rounding, and would repeat for ever.
        return _Search(support, weights, count + 1, jnp.where(inside, ~improves, step <= 0))

    first = models == jnp.argmin(jnp.diagonal(gram))
    start = _Search(first, first.astype(gram.dtype), 0, ~jnp.isfinite(gram).all())
    limit = 10 * len(gram)
    return jax.lax.while_loop(lambda search: ~search.done & (search.count < limit), cycle, start).support
