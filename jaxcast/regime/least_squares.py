"""Nonlinear least squares over many samples and few outputs each, as fits of flows are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

MAX_DAMPING = 1e6


@partial(jax.jit, static_argnames=("residuals", "batch_size"))
def _normal_equations(
    residuals: Callable[..., Any], params: Any, constants: Any, data: Any, batch_size: int
) -> tuple[Any, Any, Any]:
    """Sum of squares, its half gradient J^T r, and J^T J, added up over the samples.

    Reverse mode a sample: it has few residuals and many parameters. J itself is never held for all samples.
    """
    flat, unravel = ravel_pytree(params)

    def one(sample: Any) -> tuple[Any, Any]:
        def of(flat: Any) -> Any:
            return residuals(unravel(flat), constants, sample)

        return of(flat), jax.jacrev(of)(flat)

    def add(total: Any, batch: Any) -> tuple[Any, None]:
        r, jacobian = jax.vmap(one)(batch)
        jacobian = jacobian.reshape(-1, flat.size)
        r = r.ravel()
        parts = (r @ r, jacobian.T @ r, jacobian.T @ jacobian)
        return jax.tree.map(jnp.add, total, parts), None

    length = len(jax.tree.leaves(data)[0])
    whole = length // batch_size * batch_size
    batches = jax.tree.map(lambda a: a[:whole].reshape(-1, batch_size, *a.shape[1:]), data)
    zero = jnp.zeros((), flat.dtype)
    total, _ = jax.lax.scan(add, (zero, jnp.zeros_like(flat), jnp.zeros((flat.size, flat.size), flat.dtype)), batches)
    if whole < length:
        total, _ = add(total, jax.tree.map(lambda a: a[whole:], data))
    return total


@partial(jax.jit, static_argnames="residuals")
def sum_of_squares(residuals: Callable[..., Any], params: Any, constants: Any, data: Any) -> Any:
    """Of every sample, (sample,)."""
    return jax.vmap(lambda sample: jnp.sum(residuals(params, constants, sample) ** 2))(data)


@jax.jit
def _step(params: Any, gradient: Any, hessian: Any, damping: Any) -> Any:
    flat, unravel = ravel_pytree(params)
    scale = jnp.sqrt(jnp.diagonal(hessian))
    scale = jnp.where(scale > 0, scale, 1)  # parameters without effect stay where they are
    scaled = hessian / scale[:, None] / scale + damping * jnp.eye(len(scale), dtype=scale.dtype)
    return unravel(flat - jnp.linalg.solve(scaled, gradient / scale) / scale)


def levenberg_marquardt(
    residuals: Callable[[Any, Any, Any], Any],
    params: Any,
    constants: Any,
    data: Any,
    *,
    max_steps: int = 30,
    batch_size: int = 256,
    tolerance: float = 1e-3,
    target: float = 0.0,
) -> tuple[Any, float]:
    """Minimises sum_n |residuals(params, constants, data_n)|^2; returns the parameters and the sum.

    Ends when the sum is down to `target`, when a step takes off less than `tolerance` of it, or when none takes off any.

    Source: Marquardt (1963).

    Args:
        residuals: (params, constants, sample) -> (number,), a function defined once (it is compared by identity).
        data: a pytree with a leading sample axis.
    """
    batch_size = min(batch_size, len(jax.tree.leaves(data)[0]))
    total, gradient, hessian = _normal_equations(residuals, params, constants, data, batch_size)
    damping = 1e-3
    for _ in range(max_steps):
        while True:
            proposed = _step(params, gradient, hessian, damping)
            equations = _normal_equations(residuals, proposed, constants, data, batch_size)
            if equations[0] < total or damping > MAX_DAMPING:
                break
            damping *= 10
        if not equations[0] < total:
            break
        has_converged = equations[0] > (1 - tolerance) * total
        params, (total, gradient, hessian) = proposed, equations
        damping = max(damping / 10, 1e-12)
        if has_converged or total <= target:
            break
    return params, float(total)
