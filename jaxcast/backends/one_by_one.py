"""Matrix decompositions of a batch, one matrix after the other."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun
from jax.lax import linalg

from jaxcast.backends.dispatch import Programs

_DECOMPOSITIONS = (
    linalg.cholesky_p,
    linalg.eig_p,
    linalg.eigh_p,
    linalg.hessenberg_p,
    linalg.householder_product_p,
    linalg.lu_p,
    linalg.ormqr_p,
    linalg.qr_p,
    linalg.schur_p,
    linalg.svd_p,
    linalg.triangular_solve_p,
    linalg.tridiagonal_p,
)


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decomposes the matrices of a batch one after the other, wherever a function decomposes some.

    On CPUs, jaxlib before 0.11.2 spreads a batch of them over XLA's threads and waits. Where several
    devices do so at once, all threads may wait for each other for ever; one after the other there is
    nothing to wait for, and with a device for each core it is also faster.

    Args:
        function: of arrays, within `jax.jit`.

    Returns:
        The function, with the same results.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxcast.backends.one_by_one import one_by_one
        >>> matrices = jnp.stack([jnp.eye(2), 4 * jnp.eye(2)])
        >>> jax.jit(one_by_one(jnp.linalg.cholesky))(matrices)[1].tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """

    def calling(*args: Any) -> Any:
        traced, result = jax.make_jaxpr(function, return_shape=True)(*args)
        found = jaxpr_as_fun(_replaced(traced))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(result), found)

    return calling


def _replaced(value: Any) -> Any:
    """Replaces the batches in a program, or in a parameter of an operation, which may hold programs."""
    if isinstance(value, Jaxpr):  # from JAX 0.12 on, a ClosedJaxpr is a Jaxpr too
        equations = [_equation(equation) for equation in value.eqns]
        return value if _same(equations, value.eqns) else value.replace(eqns=equations)
    if isinstance(value, ClosedJaxpr):
        program = _replaced(value.jaxpr)
        return value if program is value.jaxpr else value.replace(jaxpr=program)
    if isinstance(value, Programs):
        return value.on_cpu(one_by_one)
    if isinstance(value, tuple):
        parts = [_replaced(part) for part in value]
        if not _same(parts, value):
            return tuple(parts) if type(value) is tuple else type(value)(*parts)
    return value


def _same(found: Iterable[Any], before: Iterable[Any]) -> bool:
    return all(a is b for a, b in zip(found, before, strict=True))


def _equation(equation: JaxprEqn) -> JaxprEqn:
    if equation.primitive not in _DECOMPOSITIONS:
        params = {name: _replaced(value) for name, value in equation.params.items()}
        return equation if _same(params.values(), equation.params.values()) else equation.replace(params=params)
    operands: list[Any] = [operand.aval for operand in equation.invars]
    batch = operands[0].shape[:-2]
    if not batch:
        return equation

    def in_turn(*operands: jax.Array) -> Any:
        flat = [a.reshape(-1, *a.shape[len(batch) :]) for a in operands]
        found = jax.lax.map(lambda one: equation.primitive.bind(*one, **equation.params), flat)
        return jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), found)

    (call,) = jax.make_jaxpr(jax.jit(in_turn))(*operands).eqns
    return equation.replace(primitive=call.primitive, params=call.params)
