"""Nonlinear least squares over many samples with few outputs each, such as fits of flows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxcast.precision import highest

MAX_DAMPING = 1e6


def _normal_equations(
    residuals: Callable[..., Any], params: Any, constants: Any, data: Any, batch_size: int
) -> tuple[Any, Any, Any]:
    """Sums r^2, J^T r and J^T J over the samples.

    Derivatives are in reverse mode for each sample, unless it has more residuals than parameters.
    J is never kept for all samples.
    """
    flat, unravel = ravel_pytree(params)

    def one(sample: Any, counts: Any) -> tuple[Any, Any]:
        def of(flat: Any) -> Any:
            return counts * residuals(unravel(flat), constants, sample)

        few = flat.size < jax.eval_shape(of, flat).size
        return of(flat), (jax.jacfwd(of) if few else jax.jacrev(of))(flat)

    def add(total: Any, batch: Any) -> tuple[Any, None]:
        r, jacobian = jax.vmap(one)(*batch)
        jacobian = jacobian.reshape(-1, flat.size)
        r = r.ravel()
        parts = (r @ r, jacobian.T @ r, jacobian.T @ jacobian)
        return jax.tree.map(jnp.add, total, parts), None

    # Batches have one length, so that the program holds the derivative once; padding has no weight.
    length = len(jax.tree.leaves(data)[0])
    num_batches = -(-length // batch_size)
    number = jnp.arange(num_batches * -(-length // num_batches)).reshape(num_batches, -1)
    batches = jax.tree.map(lambda a: a[jnp.minimum(number, length - 1)], data)
    zero = jnp.zeros((), flat.dtype)
    zeros = (zero, jnp.zeros_like(flat), jnp.zeros((flat.size, flat.size), flat.dtype))
    total, _ = jax.lax.scan(add, zeros, (batches, (number < length).astype(flat.dtype)))
    return total


@partial(jax.jit, static_argnames="residuals")
@highest
def sum_of_squares(residuals: Callable[..., Any], params: Any, constants: Any, data: Any) -> Any:
    """Computes the sum of squared residuals of each sample.

    Args:
        residuals: (params, constants, sample) -> (number,), a function defined once.
        params: the parameters.
        constants: what does not change.
        data: a pytree with a leading sample axis.

    Returns:
        The sums (sample,).
    """
    return jax.vmap(lambda sample: jnp.sum(residuals(params, constants, sample) ** 2))(data)


@partial(jax.jit, static_argnames=("residuals", "batch_size"))
@highest
def _try(
    residuals: Callable[..., Any],
    params: Any,
    equations: tuple[Any, Any, Any],
    damping: Any,
    constants: Any,
    data: Any,
    batch_size: int,
) -> tuple[Any, tuple[Any, Any, Any]]:
    """Takes a step by the normal equations; returns the new parameters and equations."""
    flat, unravel = ravel_pytree(params)
    _, gradient, hessian = equations
    scale = jnp.sqrt(jnp.diagonal(hessian))
    scale = jnp.where(scale > 0, scale, 1)  # parameters without effect do not move
    scaled = hessian / scale[:, None] / scale + damping * jnp.eye(len(scale), dtype=scale.dtype)
    proposed = unravel(flat - jnp.linalg.solve(scaled, gradient / scale) / scale)
    return proposed, _normal_equations(residuals, proposed, constants, data, batch_size)


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
    """Minimises sum_n |residuals(params, constants, data_n)|^2.

    It ends when the sum reaches `target`, when a step reduces it by less than the share
    `tolerance`, or when no step reduces it.

    Args:
        residuals: (params, constants, sample) -> (number,), a function defined once, as it is
            compared by identity.
        params: where to start.
        constants: what does not change.
        data: a pytree with a leading sample axis.
        max_steps: the most steps to take.
        batch_size: samples whose derivatives are computed at once.
        tolerance: the least share of the sum that a step must take off.
        target: a sum that is small enough.

    Returns:
        The parameters and the sum.

    Source:
        Marquardt, Journal of the Society for Industrial and Applied Mathematics 11, 431-441 (1963).
    """
    leaves = jax.tree.leaves(params)
    size, dtype = sum(leaf.size for leaf in leaves), jnp.result_type(*leaves)
    nowhere = (np.zeros((), dtype), np.zeros(size, dtype), np.zeros((size, size), dtype))
    damping = 1e-3
    attempt = partial(_try, residuals, constants=constants, data=data, batch_size=batch_size)
    params, equations = attempt(params, nowhere, damping)
    for _ in range(max_steps):
        while True:
            proposed, proposed_equations = attempt(params, equations, damping)
            before, after = float(equations[0]), float(proposed_equations[0])
            if after < before or damping > MAX_DAMPING:
                break
            damping *= 10
        if not after < before:
            break
        params, equations = proposed, proposed_equations
        damping = max(damping / 10, 1e-12)
        if after > (1 - tolerance) * before or after <= target:
            break
    return params, float(equations[0])
