"""Makes XLA's CPU compiler produce fast programs; call it in the CPU's program of `by_platform`.

The gains are measured in benchmarks/README.md.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from jaxcast.backends.primitives import ELEMENTWISE, TRANSCENDENTAL, programs_in

Result = TypeVar("Result")

# What XLA for CPU can emit inside one kernel, with derivatives. It cannot emit products of
# matrices, sorts, scatters, callbacks or calls of libraries.
_EMITTED = ELEMENTWISE | frozenset(
    [
        "broadcast_in_dim",
        "concatenate",
        "cond",
        "copy",
        "custom_jvp_call",
        "dynamic_slice",
        "dynamic_update_slice",
        "iota",
        "jit",
        "pad",
        "pjit",
        "reduce",
        "reduce_and",
        "reduce_max",
        "reduce_min",
        "reduce_or",
        "reduce_sum",
        "reshape",
        "rev",
        "scan",
        "slice",
        "split",
        "squeeze",
        "stack",
        "stop_gradient",
        "transpose",
        "unstack",
        "while",
    ]
)


def has_kernels() -> bool:
    """Tells whether `one_kernel` has an effect.

    From jax 0.11 on XLA aborts on some kernels; from 0.12 on it finds such loops itself.

    Returns:
        True with an older jax.
    """
    return jax.__version_info__ < (0, 11)


def one_kernel(function: Callable[..., Result], *args: Any) -> Result:
    """Computes function(*args) as one kernel with all its loops, if XLA can.

    Call it under `jax.jit`. Otherwise a loop is a sequence of kernels, dispatched one by one at
    every step, which for small arrays costs more than the arithmetic. Results, derivatives and
    batching are the same.

    Args:
        function: of arrays.
        args: its arguments.

    Returns:
        Its result.
    """
    if not has_kernels() or not _is_emitted(closed := jax.make_jaxpr(function)(*args)):
        return jax.jit(function)(*args)
    structure: Any
    leaves, structure = jax.tree.flatten(args)
    read = {id(value) for equation in closed.eqns for value in equation.invars} | set(map(id, closed.jaxpr.outvars))
    is_read = [id(value) in read for value in closed.jaxpr.invars]

    def of_those_read(those_read: list[Any]) -> Result:
        given = iter(those_read)
        every = [next(given) if yes else leaf for leaf, yes in zip(leaves, is_read, strict=True)]
        return function(*structure.unflatten(every))

    # XLA ends the process over an argument that a kernel does not read.
    with set_xla_metadata(xla_cpu_small_call="true", inlineable="false"):
        return jax.jit(of_those_read)([leaf for leaf, yes in zip(leaves, is_read, strict=True) if yes])


def _is_emitted(closed: Any) -> bool:
    return all(
        equation.primitive.name in _EMITTED and all(map(_is_emitted, programs_in(equation))) for equation in closed.eqns
    )


@jax.custom_jvp
def one_loop(arrays: Any) -> Any:
    """Returns the arrays unchanged, but makes XLA for CPU compute them in one loop.

    XLA for CPU writes a loop for each array and computes everything that the array needs in it: a
    Runge-Kutta step of three components is computed two and a half times. Only a reduction writes
    several arrays in one loop. So each array gets an axis of two, itself and zeros, and all are
    summed over it at once.

    Inside `one_kernel` their work may be at most MOST_WORK: XLA would spread more over threads, and
    fail.

    Args:
        arrays: a tree of arrays of one shape.

    Returns:
        The arrays.
    """
    structure: Any
    leaves, structure = jax.tree.flatten(arrays)
    if len(leaves) < 2:
        return arrays
    zeros = tuple(jnp.full((), -0.0).astype(leaf.dtype) for leaf in leaves)
    last = jnp.ndim(leaves[0])
    padding = [(0, 0, 0)] * last + [(0, 1, 0)]
    padded = tuple(jax.lax.pad(leaf[..., None], zero, padding) for leaf, zero in zip(leaves, zeros, strict=True))

    def add(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(x + y for x, y in zip(a, b, strict=True))

    return structure.unflatten(jax.lax.reduce(padded, zeros, add, (last,)))


@one_loop.defjvp
def _one_loop_jvp(primals: Any, tangents: Any) -> Any:
    return one_loop(*primals), *tangents


MOST_WORK = 150_000
"""Three quarters of the work at which XLA for CPU uses a second thread.

It counts operations, and ten for each byte that is read or written.
"""


def num_operations(function: Callable[..., Any], *args: Any) -> int:
    """Counts the operations of one evaluation on single numbers, as XLA does.

    Args:
        function: to evaluate; a transcendental function counts as two operations.
        args: its arguments.

    Returns:
        The number of operations.
    """
    return _num_operations(jax.make_jaxpr(function)(*args).jaxpr)


def _num_operations(jaxpr: Any) -> int:
    own = sum(2 if equation.primitive.name in TRANSCENDENTAL else 1 for equation in jaxpr.eqns)
    return own + sum(_num_operations(inner) for equation in jaxpr.eqns for inner in programs_in(equation))
