"""The base classes of pools: memory and candidate forecasts -> one forecast."""

from abc import abstractmethod
from typing import Any, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError
from jaxcast.pooling.memory import DelayMemory, Memory, PoolMemory
from jaxcast.precision import highest
from jaxcast.registry import Saveable
from jaxcast.rollout import Output

Fitted = TypeVar("Fitted", bound="FittedPool")


class Pool(Saveable):
    """Base of pools: (memory, candidate forecasts) -> `Output`, and the memory that the pool needs.

    Like a flax layer it takes leading batch axes on all of them. A network that pools nothing
    ignores the forecasts. A subclass is either a `FrozenPytree` of numbers, or a
    `jaxcast.nn.Network` that `fit` trains.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> class Nearest(jaxcast.Pool, jaxcast.FrozenPytree):
        ...     memory = jaxcast.pooling.DelayMemory(1)
        ...     def __call__(self, memory, forecasts):
        ...         off = jnp.abs(forecasts - memory.states[..., 0, None, :])
        ...         nearest = off.argmin(-2, keepdims=True)
        ...         return jaxcast.Output(jnp.take_along_axis(forecasts, nearest, -2)[..., 0, :], {})
        >>> cell = jaxcast.Forecaster(Nearest(), lambda u: jnp.stack([u + 1, u + 3]))
        >>> jaxcast.forecast(cell, jnp.asarray([[1.0], [2.0]]), num_leads=2).forecast[:, 0].tolist()
        [3.0, 4.0]
    """

    @property
    @abstractmethod
    def memory(self) -> PoolMemory:
        """The pool's memory, such as `DelayMemory(5)`."""

    @abstractmethod
    def __call__(self, memory: Any, forecasts: Any) -> Output:
        """Pools the candidates' forecasts.

        Args:
            memory: what `self.memory` keeps.
            forecasts: of the next value, (*batch, model, dim); None where there are no candidates.

        Returns:
            The forecast, (*batch, dim), and what the pool shows of itself, such as its weights.
        """


class DelayPool(Pool):
    """Base of pools that see the last `num_delays` states and errors.

    A subclass has `num_delays`, as a static field or an attribute.

    Raises:
        InputError: for less than one delay.
    """

    num_delays: int

    def __post_init__(self) -> None:
        check_sizes(num_delays=self.num_delays)

    @property
    def memory(self) -> DelayMemory:
        """The last `num_delays` states and errors."""
        return DelayMemory(self.num_delays)

    def errors_in(self, memory: Memory) -> Float[Array, "*batch lag model dim"]:
        """Returns the candidates' last errors.

        Args:
            memory: as `self.memory` keeps it.

        Returns:
            The errors, newest first.

        Raises:
            InputError: for a memory without candidates, or of another number of delays.
        """
        errors = memory.errors
        if errors is None:
            raise InputError(f"{type(self).__name__} needs candidates: give the Forecaster a forecast map")
        if errors.shape[-3] != self.num_delays:
            raise InputError(f"the memory holds {errors.shape[-3]} delays, the pool was made for {self.num_delays}")
        return errors


class FittedPool(Pool):
    """Base of pools that one-step samples determine in closed form."""

    @classmethod
    @abstractmethod
    def fit(cls: type[Fitted], samples: Any) -> Fitted:
        """Fits the pool.

        Args:
            samples: `OneStepSamples`, whose memory holds `num_delays` states and errors.

        Returns:
            The pool.
        """


class WeightedPool(Pool):
    """Base of pools in two halves, so that their weights can be held.

    pool(memory, forecasts) = pool.combine(pool.weigh(memory, forecasts), forecasts)
    """

    @abstractmethod
    def weigh(self, memory: Any, forecasts: Float[Array, "*batch model dim"]) -> Any:
        """Returns the weights; it may take more than is given here, such as a mask.

        Args:
            memory: what `self.memory` keeps; the weights depend on it alone.
            forecasts: give shape and dtype.

        Returns:
            Any pytree of arrays that `combine` takes.
        """

    @abstractmethod
    def combine(self, weights: Any, forecasts: Float[Array, "*batch model dim"]) -> Output:
        """Returns the forecast, with each candidate's share in `info["weights"]`, (*batch, model).

        Args:
            weights: what `weigh` returned, now or earlier.
            forecasts: of the candidates.

        Returns:
            The forecast, (*batch, dim), and the shares.
        """

    @checked
    def __call__(self, memory: Any, forecasts: Float[Array, "*batch model dim"], **given: Any) -> Output:
        """Pools the candidates' forecasts.

        Args:
            memory: what `self.memory` keeps.
            forecasts: of the candidates.
            **given: what else `weigh` takes, such as a mask.

        Returns:
            The forecast, (*batch, dim), and the shares.
        """
        return self.combine(self.weigh(memory, forecasts, **given), forecasts)


class WeightedSum(WeightedPool):
    """Base of pools whose weights are the same for all components: y = sum_i a_i F_i.

    A subclass's `weigh` returns (*batch, model).
    """

    @highest
    def combine(self, weights: Any, forecasts: Float[Array, "*batch model dim"]) -> Output:
        """Returns the weighted sum, and the weights.

        Args:
            weights: (*batch, model).
            forecasts: of the candidates.

        Returns:
            The forecast, (*batch, dim), and `info["weights"]`.
        """
        return Output(jnp.einsum("...m,...md->...d", weights, forecasts), {"weights": weights})


class ComponentWeights(WeightedPool):
    """Base of pools with weights of its own for each component: y_d = sum_i a_(d,i) F_(i,d).

    A subclass's `weigh` returns (*batch, dim, model).
    """

    @highest
    def combine(self, weights: Float[Array, "*batch dim model"], forecasts: Float[Array, "*batch model dim"]) -> Output:
        """Returns the weighted sums, and the weights.

        Args:
            weights: of each component.
            forecasts: of the candidates.

        Returns:
            The forecast, (*batch, dim), `info["component_weights"]`, and their means over
            components in `info["weights"]`.
        """
        forecast = jnp.einsum("...dm,...md->...d", weights, forecasts)
        return Output(forecast, {"weights": weights.mean(-2), "component_weights": weights})
