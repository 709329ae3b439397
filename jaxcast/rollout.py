"""One scan rolls everything that runs in time.

Open loop, spin-up, closed loop and gaps are patterns of one mask: where a value is known the cell
gets it, elsewhere the cell gets its own forecast.
"""

import abc
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree, Shaped

from jaxcast.arguments import checked
from jaxcast.backends.cpu import num_operations
from jaxcast.backends.dispatch import by_platform
from jaxcast.backends.tpu import no_float64_on_tpu
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.registry import Saveable
from jaxcast.sampling import check_exogenous, exact_times, with_all_digits
from jaxcast.types import Info

_STEPS_AT_ONCE = 6
"""Steps in one pass of a loop on a GPU, where a pass launches kernels of its own."""
_MOST_UNROLLED = 100
"""Operations of a step that is unrolled; longer ones would take long to compile."""


class Input(NamedTuple):
    """The input of a cell at one step.

    Args:
        value: the newest value, (dim,).
        known: whether the value is the truth or the cell's own forecast, () or (dim,).
        exogenous: anything else that the cell gets at this step, such as the time of the value.
        deviation: standard deviation of the value about the truth, (dim,); None if it is not known.
            Regime forecasters add it to the noise of their values; other cells do not use it.
    """

    value: Any
    known: Any
    exogenous: Any = None
    deviation: Any = None


class Output(NamedTuple):
    """The output of a cell at one step.

    Args:
        forecast: of the next value.
        info: what else the cell reports, such as weights; `jaxcast.types.Info` lists the entries.
    """

    forecast: Any
    info: Info


class RolloutState(NamedTuple):
    """The state of a rollout.

    Args:
        carry: the cell's memory.
        output: the cell's newest output, which a closed loop feeds back.
    """

    carry: Any
    output: Any


class Cell(Saveable):
    """A model that runs in time, one step per value: the interface that `roll` needs.

    A cell is a pytree, such as a `FrozenPytree` or an `nnx.Module`. Most cells derive from
    `DeterministicCell`, which leaves three members to write.
    """

    @property
    @abc.abstractmethod
    def warmup(self) -> int:
        """The number of steps before the memory is full."""

    @property
    @abc.abstractmethod
    def reads_tokens(self) -> bool:
        """Whether values are whole numbers; other cells get integers as floating point."""

    @abc.abstractmethod
    def init_carry(self, value: Any, exogenous: Any = None) -> Any:
        """Returns the carry before any value.

        Args:
            value: the first value, for its shape and dtype.
            exogenous: what comes with it.

        Returns:
            An empty memory.
        """

    @abc.abstractmethod
    def check_first(self, value: Any, known: Any) -> None:
        """Refuses a first value from which the cell cannot start; traced values pass.

        Args:
            value: the first value.
            known: whether it is the truth.

        Raises:
            InputError: for such a value.
        """

    @abc.abstractmethod
    def __call__(self, carry: Any, x: Input) -> tuple[Any, Output]:
        """Takes one step.

        Args:
            carry: the memory so far.
            x: the newest value and what comes with it.

        Returns:
            The memory with that value, and the forecast of the next one.
        """

    @abc.abstractmethod
    def feedback(self, output: Output, key: Any) -> Any:
        """Returns the value that takes the place of an unknown one.

        Args:
            output: the cell's output of the step before.
            key: for a cell that samples; None without.

        Returns:
            A value like the known ones.
        """


class HasCell(abc.ABC):
    """Base of models that are not cells but have one, such as a language model."""

    @property
    @abc.abstractmethod
    def cell(self) -> Cell:
        """The model as a cell."""


class FillsGaps:
    """Base of cells that can forecast from a history with gaps, marked by NaN."""


class DeterministicCell(Cell):
    """A cell that is fed its forecast as it is, and can start from any value.

    A subclass writes `warmup`, `init_carry` and `__call__`.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> from jaxcast.pytrees import FrozenPytree
        >>> class Decay(FrozenPytree, jaxcast.DeterministicCell):
        ...     rate: float
        ...     warmup = 0
        ...     def init_carry(self, value, exogenous=None):
        ...         return None
        ...     def __call__(self, carry, x):
        ...         return carry, jaxcast.Output(self.rate * x.value, {})
        >>> jaxcast.forecast(Decay(0.5), jnp.asarray([[8.0]]), num_leads=3).forecast[:, 0].tolist()
        [4.0, 2.0, 1.0]
    """

    @property
    def reads_tokens(self) -> bool:
        """False: values are real numbers."""
        return False

    def check_first(self, value: Any, known: Any) -> None:
        """Accepts any first value.

        Args:
            value: the first value.
            known: whether it is the truth.
        """

    def feedback(self, output: Output, key: Any) -> Any:
        """Returns the forecast.

        Args:
            output: the cell's output of the step before.
            key: not used.

        Returns:
            The forecast.
        """
        return output.forecast


@checked
def roll(
    cell: Cell, xs: Input, state: RolloutState | None = None, *, key: Key[Array, ""] | None = None
) -> tuple[RolloutState, Output]:
    """Rolls a cell over inputs and feeds back its forecast wherever the truth is unknown.

        value_n = where(known_n, xs.value_n, cell.feedback(output_(n-1)))

    Args:
        cell: the model.
        xs: inputs with a leading time axis. `value` is (time, dim), `known` is (time,) or
            (time, dim), True where `value` holds the truth, `exogenous` is any pytree or None, and
            `deviation` is (time, dim) or None.
        state: the end of an earlier rollout. By default the cell starts empty; then the first
            value must be known, or every forecast that depends on it is NaN.
        key: for cells whose feedback samples.

    Returns:
        The state at the end, and the outputs of all steps. Output n is the forecast of value n + 1.

    Raises:
        InputError: for a mask of another shape or dtype, inputs of different lengths, or a first
            value from which the cell cannot start.

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
    return _roll(cell, Input(values, mask, exogenous, xs.deviation), state, key, known=None, num_steps=len(values))


def _timed(cell: Any, exogenous: Any) -> tuple[Any, Any]:
    """Keeps the digits of both's times, once these fit the cell's flow maps."""
    check_exogenous(cell, exogenous)
    return with_all_digits(cell), exact_times(exogenous, cell)


def _check_first(cell: Cell, values: Array, known: Any) -> None:
    if len(values):
        cell.check_first(values[0], known[0])


@checked
def open_loop(cell: Cell, values: Shaped[Array, "time ..."], exogenous: PyTree = None) -> Output:
    """Makes one-step forecasts along known values.

    Args:
        cell: the model.
        values: the known values, oldest first.
        exogenous: what else the cell gets, a pytree with a leading time axis, or None.

    Returns:
        The outputs of all steps. Output n is the forecast of value n + 1; the first `cell.warmup`
        outputs, made before the memory was full, are NaN.

    Raises:
        InputError: for inputs of different lengths, or a first value from which the cell cannot
            start.

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
    """Runs a cell over known values, so that a closed loop can follow.

    Args:
        cell: the model.
        values: the known values, oldest first, at least `cell.warmup` + 1 of them.
        exogenous: what else the cell gets, a pytree with a leading time axis, or None.

    Returns:
        The state after the newest value.

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
    """Rolls a cell on its own forecasts.

    The first value fed back is the forecast at the end of `state`. If that is the forecast of
    lead 1, the outputs are those of leads 2 to num_steps + 1.

    Args:
        cell: the model.
        state: where the rollout starts, such as the result of `spin_up`.
        num_steps: how many steps to take.
        exogenous: what else the cell gets, a pytree with a leading axis of num_steps, or None.
        key: for cells whose feedback samples.

    Returns:
        The state at the end, and the outputs of all steps.

    Raises:
        InputError: for exogenous inputs of another length.

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
    """Forecasts from a history: spin-up, then closed loop.

    It acts on one window; `jax.vmap` makes many.

    Args:
        cell: the model.
        history: the known values, oldest first, at least `cell.warmup` + 1 of them.
        num_leads: how many steps ahead; lead 1 follows the newest known value.
        exogenous: what else the cell gets, a pytree with a leading axis of
            len(history) + num_leads - 1 steps, or None.
        key: for cells whose feedback samples.

    Returns:
        The outputs at leads 1 to num_leads.

    Raises:
        InputError: for a history that does not fill the memory, no leads, or exogenous inputs of
            another length.

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
    """Scans over the steps. `known` is static if it is the same at every step, which saves work."""
    xs = xs._replace(value=no_float64_on_tpu(xs.value))
    is_whole = xs.value is not None and jnp.issubdtype(xs.value.dtype, jnp.integer)
    if is_whole and not cell.reads_tokens:
        # Forecasts of counts have fractions.
        xs = xs._replace(value=xs.value.astype(jnp.result_type(float)))
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
        carry, output = cell(state.carry, Input(value, is_known, x.exogenous, x.deviation))
        return RolloutState(carry, output), output

    def scanned(state: RolloutState, steps: Any, unroll: int = 1) -> tuple[RolloutState, Output]:
        return jax.lax.scan(step, state, steps, length=num_steps, unroll=unroll)

    def on_gpu(state: RolloutState, steps: Any) -> tuple[RolloutState, Output]:
        first = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), steps)
        is_short = num_operations(step, state, first) <= _MOST_UNROLLED
        return scanned(state, steps, unroll=_STEPS_AT_ONCE if is_short else 1)

    return by_platform(scanned, state, (jnp.arange(num_steps), xs), cuda=on_gpu)


def _start(cell: Cell, first: tuple[Any, Any]) -> RolloutState:
    """Returns an empty carry, and an output of NaN, as there is no forecast yet."""
    value, exogenous = first
    carry = cell.init_carry(value, exogenous)
    _, output = jax.eval_shape(cell, carry, Input(value, jnp.asarray(True), exogenous))
    return RolloutState(carry, jax.tree.map(_nan_like, output))


def _nan_like(leaf: jax.ShapeDtypeStruct) -> Shaped[Array, "..."]:
    fill = jnp.nan if jnp.issubdtype(leaf.dtype, jnp.floating) else 0
    return jnp.full(leaf.shape, fill, leaf.dtype)
