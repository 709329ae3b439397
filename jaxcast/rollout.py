"""One scan rolls everything that runs in time: open loop, spin-up, closed loop and gaps are mask patterns of it.

A *cell* is a pytree with

    cell(carry, x: Input) -> (carry, Output)     one step
    cell.init_carry(value, exogenous) -> carry       before any value; arguments as in an Input
    cell.feedback(output, key) -> value          what to feed where the truth is not known
    cell.warmup: int                             how many outputs pass before its memory is full
    cell.whole_numbers: bool                     where it is there and true, values are tokens; other integers are made floating
    cell.check_first(value, known)               where it is there: raises InputError for a first value that the cell cannot
                                                 begin from, of which only this is known; traced values pass
"""

from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.sampling import check_exogenous, exact_times, with_all_digits


class Input(NamedTuple):
    """What a cell gets at one step.

    value: the newest value, (dim,). known: whether it is the truth or the cell's own forecast, () or (dim,).
    exogenous: what comes with that step whatever happens, such as the time of the value.
    """

    value: Any
    known: Any
    exogenous: Any = None


class Output(NamedTuple):
    """What a cell returns at one step: its forecast of the next value, and what it wants to show of itself."""

    forecast: Any
    info: dict[str, Any]


class RolloutState(NamedTuple):
    """Where a rollout stands: the cell's carry, and its newest output, which a closed loop feeds back."""

    carry: Any
    output: Any


@runtime_checkable
class Cell(Protocol):
    """The interface that `roll` needs; see the top of this module."""

    @property
    def warmup(self) -> int: ...
    def init_carry(self, value: Any, exogenous: Any) -> Any: ...
    def __call__(self, carry: Any, x: Input) -> tuple[Any, Output]: ...
    def feedback(self, output: Output, key: Any) -> Any: ...


@checked
def roll(
    cell: Cell, xs: Input, state: RolloutState | None = None, *, key: Key[Array, ""] | None = None
) -> tuple[RolloutState, Output]:
    """Rolls a cell over inputs with a leading time axis, feeding back its forecast wherever the truth is unknown.

        value_n = where(known_n, xs.value_n, cell.feedback(output_(n-1)))

    Args:
        xs: value (time, dim); known (time,) or (time, dim), True where value holds the truth; exogenous, any pytree
            with a leading time axis, or None.
        state: where an earlier rollout ended; by default the cell starts empty, and the first value must be known
            (an unknown one is NaN, and so is every forecast that depends on it).
        key: for cells whose feedback samples.

    Raises:
        InputError: for a mask of another shape or dtype, inputs of different lengths, or a first value from which the
            cell cannot begin.

    Returns:
        The state at the end, and the outputs of every step: output n is the forecast of value n + 1.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> cell = jaxcast.Forecaster(jaxcast.pooling.Persistence())
        >>> values, known = jnp.asarray([[1.0], [2.0], [0.0], [4.0]]), jnp.asarray([True, True, False, True])
        >>> state, outputs = jaxcast.roll(cell, jaxcast.Input(values, known))
        >>> outputs.forecast[:, 0].tolist()
        [1.0, 2.0, 2.0, 4.0]
    """
    values = jnp.asarray(xs.value)
    mask = jnp.asarray(xs.known)
    if mask.dtype != bool or mask.shape not in (values.shape[:1], values.shape):
        raise InputError(
            f"known must be a boolean mask of shape {values.shape[:1]} or {values.shape}, got {mask.dtype}{mask.shape}"
        )
    cell, exogenous = _timed(cell, xs.exogenous)
    if state is None:
        _check_first(cell, values, mask)
    return _roll(cell, Input(values, mask, exogenous), state, key, known=None, num_steps=len(values))


def _timed(cell: Any, exogenous: Any) -> tuple[Any, Any]:
    """Both with the digits of their times, which are compared with the cell's flow maps."""
    check_exogenous(cell, exogenous)
    return with_all_digits(cell), exact_times(exogenous, cell)


def _check_first(cell: Cell, values: Array, known: Any) -> None:
    check = getattr(cell, "check_first", None)
    if check is not None and len(values):
        check(values[0], known[0])


@checked
def open_loop(cell: Cell, values: Shaped[Array, "time ..."], exogenous: PyTree = None) -> Output:
    """The one-step forecasts along known values: output n is the forecast of value n + 1.

    The first `cell.warmup` outputs, made before the memory was full, are NaN.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> cell = jaxcast.Forecaster(jaxcast.pooling.Persistence())
        >>> jaxcast.open_loop(cell, jnp.asarray([[1.0], [2.0], [4.0]])).forecast[:, 0].tolist()
        [1.0, 2.0, 4.0]
    """
    values = jnp.asarray(values)
    cell, exogenous = _timed(cell, exogenous)
    _check_first(cell, values, np.ones(len(values), bool))
    _, outputs = _roll(cell, Input(values, None, exogenous), None, None, known=True, num_steps=len(values))
    warm = jnp.arange(len(values)) >= cell.warmup

    def mask(leaf: Array) -> Array:
        cold = ~warm.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.where(cold, jnp.nan, leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(mask, outputs)


@checked
def spin_up(cell: Cell, values: Shaped[Array, "time ..."], exogenous: PyTree = None) -> RolloutState:
    """The state of a cell that has seen these known values, oldest first.

    Raises:
        InputError: for fewer values than fill the cell's memory.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> cell = jaxcast.Forecaster(jaxcast.pooling.Persistence())
        >>> jaxcast.spin_up(cell, jnp.asarray([[1.0], [2.0]])).output.forecast.tolist()
        [2.0]
    """
    values = jnp.asarray(values)
    if len(values) <= cell.warmup:
        raise InputError(f"spin-up needs at least {cell.warmup + 1} known values, got {len(values)}")
    cell, exogenous = _timed(cell, exogenous)
    _check_first(cell, values, np.ones(len(values), bool))
    state, _ = _roll(cell, Input(values, None, exogenous), None, None, known=True, num_steps=len(values))
    return state


@checked
def closed_loop(
    cell: Cell, state: RolloutState, num_steps: int, exogenous: PyTree = None, *, key: Key[Array, ""] | None = None
) -> tuple[RolloutState, Output]:
    """Rolls a cell on its own forecasts: the first value fed is the forecast that `state` ends with.

    Where `state` ends with the forecast of lead 1, the outputs are those of leads 2 to num_steps + 1.

    Args:
        exogenous: a pytree with a leading axis of num_steps, or None.
        key: for cells whose feedback samples.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> cell = jaxcast.Forecaster(jaxcast.pooling.Persistence())
        >>> state = jaxcast.spin_up(cell, jnp.asarray([[1.0], [2.0]]))
        >>> state, outputs = jaxcast.closed_loop(cell, state, 3)
        >>> outputs.forecast[:, 0].tolist()
        [2.0, 2.0, 2.0]
    """
    cell, exogenous = _timed(cell, exogenous)
    check_arrays(
        f"{num_steps} steps in closed loop", *((num_steps, leaf.size) for leaf in jax.tree.leaves(state.output))
    )
    return _roll(cell, Input(None, None, exogenous), state, key, known=False, num_steps=num_steps)


@checked
def forecast(
    cell: Cell,
    history: Shaped[Array, "time ..."],
    num_leads: int,
    exogenous: PyTree = None,
    *,
    key: Key[Array, ""] | None = None,
) -> Output:
    """Spin-up on a history, then closed loop: outputs for leads 1 to num_leads, lead 1 following the newest truth.

    Functions act on one window; `jax.vmap` makes many.

    Args:
        history: the known values, oldest first, at least `cell.warmup` + 1 of them.
        exogenous: a pytree with a leading axis of len(history) + num_leads - 1 steps, or None.

    Raises:
        InputError: for a history that does not fill the memory, no leads, or `exogenous` of another length.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> cell = jaxcast.Forecaster(jaxcast.pooling.Persistence())
        >>> jaxcast.forecast(cell, jnp.asarray([[1.0], [2.0]]), 3).forecast[:, 0].tolist()
        [2.0, 2.0, 2.0]
    """
    history = jnp.asarray(history)
    length = len(history)
    if num_leads < 1:
        raise InputError(f"num_leads must be at least 1, got {num_leads}")
    check_arrays(f"{num_leads} leads of {history[0].size} numbers", (num_leads, history[0].size), dtype=history.dtype)
    for leaf in jax.tree.leaves(exogenous):
        if len(leaf) != length + num_leads - 1:
            raise InputError(
                f"exogenous must cover the history and all leads but the last, {length} + {num_leads} - 1 steps, "
                f"got {len(leaf)}"
            )
    cell, exogenous = _timed(cell, exogenous)
    state = spin_up(cell, history, jax.tree.map(lambda a: a[:length], exogenous))
    _, later = closed_loop(cell, state, num_leads - 1, jax.tree.map(lambda a: a[length:], exogenous), key=key)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), state.output, later)


@partial(jax.jit, static_argnames=("known", "num_steps"))
def _roll(
    cell: Cell, xs: Input, state: RolloutState | None, key: Any, *, known: bool | None, num_steps: int
) -> tuple[RolloutState, Output]:
    """The scan. `known` is static where it is the same at every step, so that nothing is computed for nothing."""
    is_whole = xs.value is not None and jnp.issubdtype(xs.value.dtype, jnp.integer)
    if is_whole and not getattr(cell, "whole_numbers", False):
        xs = xs._replace(value=xs.value.astype(jnp.result_type(float)))  # forecasts of counts have fractions
    for leaf in jax.tree.leaves(xs):
        if leaf.shape[:1] != (num_steps,):
            raise InputError(f"expected {num_steps} steps of every input, got an array of shape {leaf.shape}")
    if state is None:
        state = _start(cell, jax.tree.map(lambda a: a[0], (xs.value, xs.exogenous)))

    def step(state: RolloutState, scanned: tuple[Array, Input]) -> tuple[RolloutState, Output]:
        n, x = scanned
        value, is_known = x.value, jnp.asarray(known if known is not None else x.known)
        if known is not True:
            fed = cell.feedback(state.output, None if key is None else jax.random.fold_in(key, n))
            value = fed if known is False else jnp.where(is_known, value, fed)
        carry, output = cell(state.carry, Input(value, is_known, x.exogenous))
        return RolloutState(carry, output), output

    return jax.lax.scan(step, state, (jnp.arange(num_steps), xs), length=num_steps)


def _start(cell: Cell, first: tuple[Any, Any]) -> RolloutState:
    """An empty carry, and an output that is NaN: there is no forecast yet."""
    value, exogenous = first
    carry = cell.init_carry(value, exogenous)
    _, output = jax.eval_shape(cell, carry, Input(value, jnp.asarray(True), exogenous))
    return RolloutState(carry, jax.tree.map(_nan_like, output))


def _nan_like(leaf: jax.ShapeDtypeStruct) -> Shaped[Array, "..."]:
    fill = jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else 0
    return jnp.full(leaf.shape, fill, leaf.dtype)
