"""The LASSO from moments, by accelerated proximal gradients to a small duality gap."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxcast.numerics.moments import Moments
from jaxcast.precision import highest
from jaxcast.types import Scalar


class Lasso(NamedTuple):
    """Solutions of the LASSO for falling penalties.

    Args:
        slopes: of the features.
        intercept: the constant.
        gap: duality gap, in units of the variance of the target: the objective is that close to its
            minimum.
        num_steps: steps that were taken.
    """

    slopes: Float[Array, "penalty *own feature target"]
    intercept: Float[Array, "penalty *own target"]
    gap: Float[Array, "penalty *own target"]
    num_steps: Int[Array, "penalty *own target"]


class _Problem(NamedTuple):
    """One target: products of standardised features, and of these with the standardised target."""

    gram: Float[Array, "feature feature"]
    products: Float[Array, " feature"]


class _State(NamedTuple):
    """Two successive iterates, the momentum's number, the gap of the newest, and the steps taken."""

    slopes: Float[Array, " feature"]
    before: Float[Array, " feature"]
    momentum: Float[Array, ""]
    gap: Float[Array, ""]
    num_steps: Int[Array, ""]


@highest
def lasso_of_moments(
    moments: Moments, penalties: Float[Array, " penalty"], *, tolerance: Scalar = 1e-6, max_steps: int = 20_000
) -> Lasso:
    """Minimises a squared error plus the sum of absolute slopes, for each of several penalties.

        min 1/2 mean w (y - x' b)^2 + lambda |b|_1,    lambda = penalty max |mean w x y|

    with features and targets standardised to mean 0 and variance 1, and weights w that sum to one.
    So a penalty of 1 is the smallest at which all slopes are 0. Each penalty starts from the
    solution of the one before. Steps are those of FISTA with restarts.

    Args:
        moments: of all samples.
        penalties: falling, from 1 to above 0.
        tolerance: duality gap at which to stop.
        max_steps: the most steps for a penalty.

    Returns:
        The solutions in the units of features and targets.

    Source:
        Beck and Teboulle, SIAM J. Imaging Sciences 2, 183-202 (2009); O'Donoghue and Candes,
        Found. Comput. Math. 15, 715-732 (2015), for the restarts.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcast.numerics.lasso import lasso_of_moments
        >>> from jaxcast.numerics.moments import Moments
        >>> x = jnp.asarray([[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
        >>> y = 3 * x[:, :1] + x[:, 1:2]
        >>> found = lasso_of_moments(Moments(x.T @ x, x.T @ y, (y**2).sum(0)), jnp.asarray([0.5, 0.1]))
        >>> bool(abs(found.slopes[..., 0] - jnp.asarray([[1.5, 0.0], [2.7, 0.7]])).max() < 1e-3)
        True
    """
    gram, targets, squares = moments
    count, sums, middle = gram[..., -1, -1], gram[..., :-1, -1], targets[..., -1, :]
    mean = sums / count[..., None]
    centred = gram[..., :-1, :-1] / count[..., None, None] - mean[..., :, None] * mean[..., None, :]
    level = middle / count[..., None]
    products = targets[..., :-1, :] / count[..., None, None] - mean[..., :, None] * level[..., None, :]
    std = jnp.sqrt(jnp.maximum(jnp.diagonal(centred, axis1=-2, axis2=-1), 0))
    size = jnp.sqrt(jnp.maximum(squares / count[..., None] - level**2, 0))
    # A feature or a target that never changes, but for rounding, has no slope.
    std = jnp.where(std > 1e-7 * (1 + jnp.abs(mean)), std, jnp.inf)
    size = jnp.where(size > 1e-7 * (1 + jnp.abs(level)), size, jnp.inf)
    correlations = centred / (std[..., :, None] * std[..., None, :])
    problem = _Problem(correlations, products / (std[..., :, None] * size[..., None, :]))
    solve = lambda gram, products: _solve(_Problem(gram, products), penalties, tolerance, max_steps)  # noqa: E731
    solve = jax.vmap(solve, (None, 1), 1)  # every target
    for _ in range(gram.ndim - 2):
        solve = jax.vmap(solve, (0, 0), 1)
    found = solve(*problem)  # (penalty, *own, target, feature)
    slopes = jnp.moveaxis(found.slopes, -1, -2) / std[..., :, None]
    slopes = slopes * jnp.where(jnp.isfinite(size), size, 0)[..., None, :]
    intercept = level - (mean[..., :, None] * slopes).sum(-2)
    return Lasso(slopes, intercept, found.gap, found.num_steps)


def _solve(problem: _Problem, penalties: Float[Array, " penalty"], tolerance: Scalar, max_steps: int) -> _State:
    """Solves one problem for all penalties; every field has a leading axis of them."""
    largest = jnp.max(jnp.abs(problem.products), initial=0)
    step = 1 / jnp.maximum(jnp.linalg.eigvalsh(problem.gram)[-1], jnp.finfo(problem.gram.dtype).tiny)

    def next_penalty(start: Array, penalty: Scalar) -> tuple[Array, _State]:
        strength = penalty * largest
        number = jnp.zeros((), int)
        state = _State(start, start, jnp.ones_like(strength), _gap(problem, start, strength), number)
        state = jax.lax.while_loop(
            lambda state: (state.gap > tolerance) & (state.num_steps < max_steps),
            lambda state: _advance(problem, state, strength, step),
            state,
        )
        return state.slopes, state

    return jax.lax.scan(next_penalty, jnp.zeros_like(problem.products), penalties)[1]


def _advance(problem: _Problem, state: _State, strength: Scalar, step: Scalar) -> _State:
    """One step of FISTA; the momentum starts again where it points uphill."""
    momentum = (1 + jnp.sqrt(1 + 4 * state.momentum**2)) / 2
    ahead = state.slopes + (state.momentum - 1) / momentum * (state.slopes - state.before)
    down = ahead + step * (problem.products - problem.gram @ ahead)
    slopes = jnp.sign(down) * jnp.maximum(jnp.abs(down) - step * strength, 0)
    uphill: Bool[Array, ""] = (ahead - slopes) @ (slopes - state.slopes) > 0
    momentum = jnp.where(uphill, 1.0, momentum)
    before = jnp.where(uphill, slopes, state.slopes)
    return _State(slopes, before, momentum, _gap(problem, slopes, strength), state.num_steps + 1)


def _gap(problem: _Problem, slopes: Array, strength: Any) -> Float[Array, ""]:
    """Primal minus dual objective, at the residual scaled into the dual's constraints."""
    explained = slopes @ problem.products
    back = problem.gram @ slopes
    residual = 1 - 2 * explained + slopes @ back
    steepest = jnp.max(jnp.abs(problem.products - back), initial=0)
    scale = jnp.minimum(1, strength / jnp.maximum(steepest, jnp.finfo(slopes.dtype).tiny))
    primal = residual / 2 + strength * jnp.abs(slopes).sum()
    gap = primal - (scale * (1 - explained) - scale**2 * residual / 2)
    # A target that correlates with no feature, such as one that never changes, has no slopes.
    return jnp.where(strength > 0, gap, 0)
