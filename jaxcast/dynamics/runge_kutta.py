"""The classical Runge-Kutta step, and the loops over it of which all trajectories are made.

A state is carried as its components. They are separate arrays, which a compiler keeps in registers
or, for a tile of states, in vectors; or one array with the components first, if the vector field
returns one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.arguments import checked
from jaxcast.clock import Instant, after_steps, joined, shifted
from jaxcast.dynamics.exponential import ExponentialSteps
from jaxcast.dynamics.systems import Components, System
from jaxcast.errors import InputError
from jaxcast.types import Scalar
from jaxcast.xla_cpu import num_operations, one_loop

_MOST_UNROLLED = 2000
"""Operations; compiling that many takes a second, and more take disproportionately longer."""


@checked
def rk4_step(system: System, t: Scalar, u: Components, h: Scalar) -> Components:
    """Takes one step of the classical fourth-order Runge-Kutta method, from t to t + h.

        k1 = f(t, u)                    k2 = f(t + h/2, u + h/2 k1)
        k3 = f(t + h/2, u + h/2 k2)     k4 = f(t + h, u + h k3)
        u(t + h) = u + h/6 (k1 + 2 k2 + 2 k3 + k4) + O(h^5)

    Args:
        system: one system, or a stack.
        t: the time at the start of the step.
        u: the components of one state or of many, separate or as one array with components first.
        h: the step.

    Returns:
        The components at t + h.

    Source:
        Kutta (1901); Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I,
        table 1.2.

    Example:
        >>> import jaxcast
        >>> [round(float(v), 4) for v in jaxcast.dynamics.rk4_step(jaxcast.Lorenz63(), 0.0, (1.0, 1.0, 20.0), 0.01)]
        [1.0035, 1.0723, 19.4839]
    """

    return _step(system, (t, t + h / 2, t + h), u, h)


def _step(system: System, times: tuple[Any, Any, Any], u: Components, h: Any) -> Components:
    def moved(base: Components, step: Any, slope: Components) -> Components:
        if isinstance(slope, tuple | list):
            return tuple(x + step * k for x, k in zip(base, slope, strict=True))
        return jnp.asarray(base) + step * slope

    start, middle, end = system.over_step(*times)
    k1 = _slopes(start, times[0], u, h)
    total = moved(u, h / 6, k1)
    k2 = _slopes(middle, times[1], moved(u, h / 2, k1), h)
    k3 = _slopes(middle, times[1], moved(u, h / 2, k2), h)
    total = moved(total, h / 3, jax.tree.map(lambda b, c: b + c, k2, k3))
    # The sum grows with the slopes: only one operation lies between k4 and the next step.
    return moved(total, h / 6, _slopes(end, times[2], moved(u, h, k3), h))


def _slopes(system: System, t: Any, u: Components, h: Any) -> Components:
    slopes = system.vector_field(joined(t), u)
    if not isinstance(t, Instant):
        return slopes
    # A field that uses the time may have more digits than its states.
    return jax.tree.map(lambda slope: jnp.asarray(slope, h.dtype), slopes)


def step_after(system: Any, t0: Any, num_steps: Any, u: Components, h: Any) -> Components:
    """Takes one step from t0 + num_steps h.

    Args:
        system: one system, or a stack; or one that is prepared for another method.
        t0: a number or an `Instant`.
        num_steps: of the dtype of the states, or an integer if t0 is an instant.
        u: the components.
        h: the step, of the kind of t0.

    Returns:
        The components one step later.
    """
    if isinstance(system, ExponentialSteps):
        return system.step_after(t0, num_steps, jnp.asarray(u), h)
    t = after_steps(t0, num_steps, h)
    step = h.hi.astype(dtype_of(u)) if isinstance(h, Instant) else h
    return _rounded(_step(system, (t, shifted(t, step / 2), shifted(t, step)), u, step), step)


def dtype_of(u: Components) -> Any:
    """Returns the dtype of the components of a state."""
    return jax.tree.leaves(u)[0].dtype


def _counter(first: Any, h: Any) -> Any:
    return jnp.asarray(first, jnp.int32 if isinstance(h, Instant) else h.dtype)


def advance(
    system: Any,
    t0: Any,
    u: Components,
    h: Any,
    first: Any,
    num_steps: int,
    *,
    finish: Callable[[Any], Any] = lambda u: u,
) -> Components:
    """Takes RK4 steps number first, first + 1, ... on the grid t0 + n h.

    Args:
        system: one system, or a stack; or one that is prepared for another method.
        t0: a number or an `Instant`.
        u: the components before the first step.
        h: the step, of the kind of t0.
        first: the number of the first step.
        num_steps: how many to take.
        finish: called on the components after each step.

    Returns:
        The components after the last step.
    """
    first = _counter(first, h)

    # The counter has 32 bits: the widest number in a loop sets the lanes of XLA's vectors on CPU.
    def step(carry: tuple[Array, Components], _: None) -> tuple[tuple[Array, Components], None]:
        k, u = carry
        u = step_after(system, t0, first + k.astype(first.dtype), u, h)
        return (k + 1, finish(u)), None

    return jax.lax.scan(step, (jnp.int32(0), u), None, length=num_steps)[0][1]


advance_together = partial(advance, finish=one_loop)
"""The same for a tile of states with separate components; several times faster on CPU.

See `one_loop` for its limit.
"""


def advance_unrolled(system: System, t0: Any, u: Components, h: Any, first: Any, num_steps: int) -> Components:
    """Takes unrolled steps; components that are single numbers then stay in registers.

    Do not use it under `jax.vmap`: unrolled steps of arrays take minutes to compile.

    Args:
        system: one system.
        t0: a number or an `Instant`.
        u: the components before the first step.
        h: the step, of the kind of t0.
        first: the number of the first step.
        num_steps: how many to take.

    Returns:
        The components after the last step.
    """
    first = _counter(first, h)
    operations = num_operations(step_after, system, t0, first, u, h)
    at_once = max(n for n in range(1, 21) if num_steps % n == 0 and (n == 1 or n * operations <= _MOST_UNROLLED))

    def block(b: Any, u: Components) -> Components:
        for k in range(at_once):
            u = step_after(system, t0, first + (b * at_once + k), u, h)
        return u

    return block(0, u) if at_once == num_steps else jax.lax.fori_loop(0, num_steps // at_once, block, u)


def _rounded(u: Components, h: Array) -> Components:
    return jax.tree.map(lambda x: x.astype(h.dtype), tuple(u) if isinstance(u, list) else u)


def record(
    system: Any,
    t0: Any,
    u: Components,
    h: Any,
    *,
    num_transient: int,
    num_samples: int,
    num_substeps: int,
    emit: Callable[[Components], Any] = lambda u: u,
    advance: Callable[..., Components] = advance,
    kernel: Callable[..., Any] = lambda function, *args: function(*args),
    block_size: int = 1,
) -> Any:
    """Records a trajectory at t0, t0 + num_substeps h, ...

    Args:
        system: one system, or a stack; or one that is prepared for another method.
        t0: the time of the first sample.
        u: the components num_transient steps before t0.
        h: the step, of the kind of t0.
        num_transient: steps before the first sample.
        num_samples: how many to record.
        num_substeps: steps between samples.
        emit: what to record of the components.
        advance: takes the steps between two samples.
        kernel: calls the function that records a block of samples.
        block_size: samples in a block.

    Returns:
        The records, stacked along a leading time axis.
    """

    def block(system: Any, t0: Any, u: Components, h: Any, first: Array) -> tuple[Components, Any]:
        def sample(u: Components, n: Array) -> tuple[Components, Any]:
            u = advance(system, t0, u, h, n * num_substeps, num_substeps)
            return u, emit(u)

        return jax.lax.scan(sample, u, first + jnp.arange(block_size))

    if num_transient:
        u = kernel(partial(advance, first=-num_transient, num_steps=num_transient), system, t0, u, h)
    num_later = num_samples - 1
    num_blocks = -(-num_later // block_size)
    first_of_each = block_size * jnp.arange(num_blocks)
    _, blocks = jax.lax.scan(lambda u, first: kernel(block, system, t0, u, h, first), u, first_of_each)

    def joined(first: Array, blocks: Array) -> Array:
        later = blocks.reshape(num_blocks * block_size, *blocks.shape[2:])[:num_later]
        return jnp.concatenate([first[None], later])

    return jax.tree.map(joined, emit(u), blocks)


def components_of(system: System, u: Array) -> Components:
    """Splits a state into the components that the loops carry.

    Args:
        system: one system, or a stack.
        u: one state, (dim,).

    Returns:
        Separate arrays, or one if the vector field returns one; with a trailing model axis for a
        stack.

    Raises:
        InputError: for a vector field with another number of components.
    """
    slopes = jax.eval_shape(system, jnp.zeros((), u.dtype), u)
    is_split = isinstance(slopes, tuple | list)
    found = len(slopes) if is_split else slopes.shape[:1]
    if found not in (system.dim, (system.dim,)):
        raise InputError(f"the vector field of {type(system).__name__} returns {found} of {system.dim} components")
    shape = jnp.broadcast_shapes(u.shape[1:], *(x.shape if is_split else x.shape[1:] for x in jax.tree.leaves(slopes)))
    parts = jnp.broadcast_to(u.reshape(*u.shape, *[1] * (len(shape) + 1 - u.ndim)), (system.dim, *shape))
    return tuple(parts) if is_split else parts


def as_state(u: Components) -> Array:
    """Joins components into a state, with the components last."""
    return jnp.moveaxis(u, 0, -1) if isinstance(u, Array) else jnp.stack(u, -1)
