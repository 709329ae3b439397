"""A cell whose gaps are filled by its own forecasts."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcast.assimilation.checks import check_all
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import Cell, FillsGaps, Input, Output
from jaxcast.tracing import is_traced


class InsertionCarry(NamedTuple):
    """The carry of a `DirectInsertion`.

    Args:
        forecaster: the carry of the cell.
        filler: what takes the place of unknown components of the next value.
        num_seen: number of values so far.
    """

    forecaster: Any
    filler: Float[Array, " dim"]
    num_seen: Int[Array, ""]


class DirectInsertion(Cell, FillsGaps, FrozenPytree, name="direct_insertion"):
    """A cell whose history may have gaps: observed components are inserted into its own forecasts.

    NaN in the history is replaced with the cell's forecast of that value, and counts as unknown. It
    is the simplest assimilation, without weights: noise passes as it is, and components that are
    never observed are only as good as the forecasts. `AssimilatedCell` takes a filter instead.

    Args:
        forecaster: any cell of whole states that does not sample.
        start: (dim,), what stands for components that are unknown before there is a forecast, such
            as a climatological mean.

    Raises:
        InputError: for something else than a cell of real numbers, or a start that is not finite.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> cell = jaxcast.assimilation.DirectInsertion(jaxcast.Forecaster(jaxcast.pooling.Persistence()), jnp.ones(1))
        >>> jaxcast.open_loop(cell, jnp.asarray([[jnp.nan], [2.0], [jnp.nan], [4.0]])).forecast[:, 0].tolist()
        [1.0, 2.0, 2.0, 4.0]
    """

    forecaster: Cell
    start: Float[Any, " dim"]

    def __post_init__(self) -> None:
        if not isinstance(self.forecaster, Cell) or self.forecaster.reads_tokens:
            raise InputError(f"expected a cell of real numbers, got {type(self.forecaster).__name__}")
        check_all("start", self.start)

    @property
    def warmup(self) -> int:
        return self.forecaster.warmup

    @property
    def reads_tokens(self) -> bool:
        return False

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> InsertionCarry:
        start = jnp.asarray(self.start, value.dtype)
        if start.shape != value.shape:
            raise InputError(f"expected a start {value.shape}, as the values are, got {start.shape}")
        return InsertionCarry(self.forecaster.init_carry(value, exogenous), start, jnp.asarray(0))

    def check_first(self, value: Float[Any, " dim"], known: Bool[Any, "..."]) -> None:
        """Refuses a first value from which the cell cannot start, once its gaps are filled.

        Args:
            value: the first value.
            known: whether it is the truth.

        Raises:
            InputError: for such a value.
        """
        if not is_traced(value, known) and jnp.shape(self.start) == jnp.shape(value):
            self.forecaster.check_first(np.where(np.isnan(value), self.start, value), known)

    def __call__(self, carry: InsertionCarry, x: Input) -> tuple[InsertionCarry, Output]:
        is_gap = jnp.isnan(x.value)
        value = jnp.where(is_gap, carry.filler, x.value)
        known = jnp.logical_and(x.known, ~is_gap)
        forecaster, output = self.forecaster(carry.forecaster, Input(value, known, x.exogenous, x.deviation))
        # A memory that is not full makes no forecast to go by, and neither does a cell that diverges.
        is_warm = carry.num_seen >= self.warmup
        filler = jnp.where(is_warm, self.forecaster.feedback(output, None), value).astype(value.dtype)
        filler = jnp.where(jnp.isfinite(filler), filler, jnp.asarray(self.start, value.dtype))
        return InsertionCarry(forecaster, filler, carry.num_seen + 1), output

    def feedback(self, output: Output, key: Any) -> Any:
        """Returns what the cell is fed.

        Args:
            output: the cell's output of the step before.
            key: not used.

        Returns:
            A value like the known ones.
        """
        return self.forecaster.feedback(output, key)
