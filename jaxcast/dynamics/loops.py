"""The loops over steps of which all trajectories are made.

A state is carried as its components. They are separate arrays, which a compiler keeps in registers
or, for a tile of states, in vectors; or one array with the components first, if the vector field
returns one. Some methods carry more, or something else (`Stepper`).
"""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.backends.cpu import num_operations, one_loop
from jaxcast.clock import Instant
from jaxcast.dynamics.noise import AnySystem
from jaxcast.dynamics.stepper import Finish, Stepper, as_it_is
from jaxcast.dynamics.systems import Components
from jaxcast.errors import InputError

_MOST_UNROLLED = 2000
"""Operations; compiling that many takes a second, and more take disproportionately longer."""

_MOST_IN_BLOCK = 1000
"""Operations; a GPU's compiler takes ten seconds for the derivative of so many, and a minute for twice as many."""
_BLOCKS_AT_ONCE = 2
"""Blocks in one pass of a loop, which launches kernels of its own."""


def _counter(first: Any, h: Any) -> Any:
    return jnp.asarray(first, jnp.int32 if isinstance(h, Instant) else h.dtype)


def _counted(steps: Stepper, t0: Any, h: Any, first: Array, finish: Finish) -> Callable[..., Any]:
    """Returns a step of a scan, which carries the number of steps before it and what the method carries."""

    # The counter has 32 bits: the widest number in a loop sets the lanes of XLA's vectors on CPU.
    def step(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], None]:
        k, carried = carry
        return (k + 1, steps.step_after(t0, first + k.astype(first.dtype), carried, h, finish)), None

    return step


def advance(
    steps: Stepper,
    t0: Any,
    carried: Any,
    h: Any,
    first: Any,
    num_steps: int,
    *,
    finish: Finish = as_it_is,
) -> Any:
    """Takes steps number first, first + 1, ... on the grid t0 + n h.

    Args:
        steps: the system, prepared for a method.
        t0: a number or an `Instant`.
        carried: what the method carries, before the first step.
        h: the step, of the kind of t0.
        first: the number of the first step.
        num_steps: how many to take.
        finish: as in `Stepper.step_after`.

    Returns:
        What is carried after the last step.
    """
    step = _counted(steps, t0, h, _counter(first, h), finish)
    return jax.lax.scan(step, (jnp.int32(0), carried), None, length=num_steps)[0][1]


advance_together = partial(advance, finish=one_loop)
"""The same for a tile of states with separate components; several times faster on CPU.

See `one_loop` for its limit.
"""


def advance_in_blocks(steps: Stepper, t0: Any, carried: Any, h: Any, first: Any, num_steps: int) -> Any:
    """Takes steps in unrolled blocks, of which a derivative keeps nothing but what is carried into them.

    On a GPU a block is then one kernel, and one or a few on the way back. A loop that keeps what each step computes
    launches a kernel for each number that it keeps.

    Args:
        steps: the system, prepared for a method.
        t0: a number or an `Instant`.
        carried: what the method carries, before the first step.
        h: the step, of the kind of t0.
        first: the number of the first step.
        num_steps: how many to take.

    Returns:
        What is carried after the last step.
    """
    first = _counter(first, h)
    most = _MOST_IN_BLOCK // num_operations(steps.step_after, t0, first, carried, h)
    if min(most, num_steps) < 2:
        return advance(steps, t0, carried, h, first, num_steps)
    at_once = -(-num_steps // -(-num_steps // most))  # blocks of about the same length
    step = _counted(steps, t0, h, first, as_it_is)

    @partial(jax.checkpoint, static_argnums=1)
    def block(carry: Any, length: int) -> Any:
        return jax.lax.scan(step, carry, None, length=length, unroll=length)[0]

    num_blocks, rest = divmod(num_steps, at_once)
    carry = (jnp.int32(0), carried)
    carry, _ = jax.lax.scan(
        lambda carry, _: (block(carry, at_once), None), carry, None, length=num_blocks, unroll=_BLOCKS_AT_ONCE
    )
    return (block(carry, rest) if rest else carry)[1]


def advance_unrolled(steps: Stepper, t0: Any, carried: Any, h: Any, first: Any, num_steps: int) -> Any:
    """Takes unrolled steps; components that are single numbers then stay in registers.

    Do not use it under `jax.vmap`: unrolled steps of arrays take minutes to compile.

    Args:
        steps: one system, prepared for a method.
        t0: a number or an `Instant`.
        carried: what the method carries, before the first step.
        h: the step, of the kind of t0.
        first: the number of the first step.
        num_steps: how many to take.

    Returns:
        What is carried after the last step.
    """
    first = _counter(first, h)
    operations = num_operations(steps.step_after, t0, first, carried, h)
    at_once = max(n for n in range(1, 21) if num_steps % n == 0 and (n == 1 or n * operations <= _MOST_UNROLLED))

    def block(b: Any, carried: Any) -> Any:
        for k in range(at_once):
            carried = steps.step_after(t0, first + (b * at_once + k), carried, h)
        return carried

    return block(0, carried) if at_once == num_steps else jax.lax.fori_loop(0, num_steps // at_once, block, carried)


def record(
    steps: Stepper,
    t0: Any,
    carried: Any,
    h: Any,
    *,
    num_transient: int,
    num_samples: int,
    num_substeps: int,
    emit: Callable[[Components], Any] = lambda u: u,
    advance: Callable[..., Any] = advance,
    kernel: Callable[..., Any] = operator.call,
    block_size: int = 1,
) -> Any:
    """Records a trajectory at t0, t0 + num_substeps h, ...

    Args:
        steps: the system, prepared for a method.
        t0: the time of the first sample.
        carried: what the method carries, num_transient steps before t0.
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

    def block(steps: Stepper, t0: Any, carried: Any, h: Any, first: Array) -> tuple[Any, Any]:
        def sample(carried: Any, n: Array) -> tuple[Any, Any]:
            carried = advance(steps, t0, carried, h, n * num_substeps, num_substeps)
            return carried, emit(steps.leave(carried))

        return jax.lax.scan(sample, carried, first + jnp.arange(block_size))

    if num_transient:
        carried = kernel(partial(advance, first=-num_transient, num_steps=num_transient), steps, t0, carried, h)
    num_later = num_samples - 1
    num_blocks = -(-num_later // block_size)
    first_of_each = block_size * jnp.arange(num_blocks)
    _, blocks = jax.lax.scan(lambda carried, first: kernel(block, steps, t0, carried, h, first), carried, first_of_each)

    def joined(first: Array, blocks: Array) -> Array:
        later = blocks.reshape(num_blocks * block_size, *blocks.shape[2:])[:num_later]
        return jnp.concatenate([first[None], later])

    return jax.tree.map(joined, emit(steps.leave(carried)), blocks)


def components_of(system: AnySystem, u: Array) -> Components:
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
    field: Any = system
    slopes = jax.eval_shape(field, jnp.zeros((), u.dtype), u)
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
