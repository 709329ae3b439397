"""Damped Gauss-Newton steps of a variational analysis."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.precision import product


class Minimum(NamedTuple):
    """Where a cost is smallest.

    Args:
        control: the minimum.
        root: of the inverse Hessian there.
        end: the state at the end of the window.
        end_root: of the covariance of that state.
    """

    control: Float[Array, " control"]
    root: Float[Array, "control control"]
    end: Float[Array, " dim"]
    end_root: Float[Array, "dim control"]


class _Point(NamedTuple):
    control: Array
    cost: Array
    residual: Array
    slopes: tuple[Array, Array]
    end: Array


def minimise(
    observed: Callable[[Array], tuple[Array, Array]],
    begin: Float[Array, " control"],
    goal: Float[Array, " number"],
    num_iterations: int,
) -> Minimum:
    """Minimises |v|^2 + |goal - observed(v)|^2.

    A step that would raise the cost is not taken; the next one is shorter and turned downhill.

    Args:
        observed: v -> (what is observed, the state at the end of the window).
        begin: the first v.
        goal: the observations.
        num_iterations: steps.

    Returns:
        The best v, and the uncertainty by the Hessian there.

    Source:
        Nocedal and Wright, Numerical Optimization (2006), section 10.3, for the damping.
    """

    def at(control: Array) -> _Point:
        def twice(control: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            found = observed(control)
            return found, found

        slopes, (seen, end) = jax.jacfwd(twice, has_aux=True)(control)
        residual = goal - seen
        return _Point(control, product(control, control) + product(residual, residual), residual, slopes, end)

    def factors(point: _Point, damping: Array) -> tuple[Array, Array]:
        """Returns the factors of [(1 + damping)^(1/2); slope], whose squares are the Hessian, unsquared."""
        found: tuple[Array, Array] = jnp.linalg.qr(jnp.concatenate([jnp.sqrt(1 + damping) * unit, point.slopes[0]]))
        return found

    def iterate(state: tuple[_Point, Array], _: None) -> tuple[tuple[_Point, Array], None]:
        best, damping = state
        q, r = factors(best, damping)
        goals = jnp.concatenate([-best.control / jnp.sqrt(1 + damping), best.residual])
        tried = at(best.control + jax.scipy.linalg.solve_triangular(r, product(q.T, goals)))
        is_better = tried.cost <= best.cost
        best = jax.tree.map(lambda new, old: jnp.where(is_better, new, old), tried, best)
        return (best, jnp.where(is_better, damping / 10, 10 * damping + 1)), None

    unit = jnp.eye(len(begin), dtype=begin.dtype)
    # A guess from which the model leaves its range has no cost: start from the background then.
    first = at(jnp.where(jnp.isfinite(begin), begin, 0))
    first = jax.tree.map(lambda a, b: jnp.where(jnp.isfinite(first.cost), a, b), first, at(jnp.zeros_like(begin)))
    start = (first, jnp.zeros((), begin.dtype))
    (best, _), _ = jax.lax.scan(iterate, start, length=num_iterations)
    root = jax.scipy.linalg.solve_triangular(factors(best, jnp.zeros((), begin.dtype))[1], unit)
    return Minimum(best.control, root, best.end, product(best.slopes[1], root))
