"""Memories of pools: the latest states, and the latest errors of the candidates."""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.rollout import Input


class PoolMemory(ABC):
    """Base of the ways in which a pool remembers; what is kept is any pytree."""

    @abstractmethod
    def init(self, value: Any, forecasts: Any) -> Any:
        """Returns what is kept before anything was seen.

        Args:
            value: gives shape and dtype.
            forecasts: of the candidates, likewise; None where there are none.

        Returns:
            A pytree of arrays.
        """

    @abstractmethod
    def observe(self, memory: Any, x: Input, pending: Any) -> Any:
        """Returns what is kept after the newest input.

        Args:
            memory: what was kept before.
            x: the newest input.
            pending: the candidate forecasts of its value; None where there are none.

        Returns:
            What is kept now.
        """

    @abstractmethod
    def newest(self, memory: Any) -> Any:
        """Returns the newest value in what is kept.

        Args:
            memory: what is kept.

        Returns:
            The value, (*batch, dim).
        """

    @abstractmethod
    def warmup(self, with_errors: bool) -> int:
        """Returns the number of outputs that pass before a forecast counts.

        Args:
            with_errors: whether there are candidates.

        Returns:
            That number.
        """


class Memory(NamedTuple):
    """The last l states and candidate errors, newest first.

    Args:
        states: u_(j-1), ..., u_(j-l).
        errors: F_(j-1)^(i) - u_(j-1), ..., F_(j-l)^(i) - u_(j-l); None where there are no
            candidates.
    """

    states: Float[Array, "*batch lag dim"]
    errors: Float[Array, "*batch lag model dim"] | None


@dataclasses.dataclass(frozen=True)
class DelayMemory(PoolMemory):
    """Time-delay embedding, without parameters.

    Args:
        num_delays: terms l of the embedding; 1 keeps the newest state only.

    Source:
        Patel and Wikner (2023), eq. 4 and 8.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> memory = jaxcast.pooling.DelayMemory(num_delays=2)
        >>> kept = memory.init(jnp.zeros(1), jnp.zeros((2, 1)))  # for one component and two candidates
        >>> for value in (1.0, 2.0, 3.0):
        ...     x = jaxcast.Input(jnp.asarray([value]), known=True)
        ...     kept = memory.observe(kept, x, pending=jnp.asarray([[2.5], [3.0]]))
        >>> kept.states[:, 0].tolist(), kept.errors[:, :, 0].tolist()
        ([3.0, 2.0], [[-0.5, 0.0], [0.5, 1.0]])
    """

    num_delays: int

    def init(self, value: Float[Array, " dim"], forecasts: Any) -> Memory:
        states = jnp.zeros((self.num_delays, *value.shape), value.dtype)
        if forecasts is None:
            return Memory(states, None)
        return Memory(states, jnp.zeros((self.num_delays, *forecasts.shape), forecasts.dtype))

    def observe(self, memory: Memory, x: Input, pending: Any) -> Memory:
        states = self._push(memory.states, x.value)
        if memory.errors is None:
            return Memory(states, None)
        return Memory(states, self._push(memory.errors, pending - x.value))

    def newest(self, memory: Memory) -> Float[Array, "*batch dim"]:
        return memory.states[..., 0, :]

    def warmup(self, with_errors: bool) -> int:
        # An error needs two values, a state one.
        return self.num_delays if with_errors else max(self.num_delays - 1, 0)

    def _push(self, lags: Array, newest: Array) -> Array:
        # Not a shifted update in place, which XLA miscompiles on CPUs (openxla/xla#49176).
        return jnp.concatenate([newest.astype(lags.dtype)[None], lags])[: self.num_delays]
