"""Cells made of a pool: the forecaster, held weights, and the best candidate."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_model
from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap, candidate_shapes
from jaxcast.errors import InputError
from jaxcast.pooling.memory import PoolMemory
from jaxcast.pooling.pool import Pool, WeightedPool, WeightedSum
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import DeterministicCell, Input, Output


class ForecasterCarry(NamedTuple):
    """The carry of a `Forecaster`.

    Args:
        memory: of the pool.
        pending: candidate forecasts, (model, dim), whose value is still to come.
    """

    memory: Any
    pending: Any


class Forecaster(CandidateCell, Checked, FrozenPytree, name="forecaster"):
    """The cell of a pool: it updates the memory, runs the candidates one step, and pools them.

    Args:
        pool: the pool, with its memory.
        forecast_map: (value, exogenous) -> candidate forecasts (model, dim), such as the flow map
            of a stacked system, for which `exogenous` is the time of the value; None for a pool
            that sees states only.

    Raises:
        InputError: when rolled with a forecast map that does not return (model, dim).

    Example:
        >>> import jax, jaxcast
        >>> ensemble = jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 28.0, 30.0)])
        >>> candidates = jaxcast.flow_map(ensemble, dt=0.1, h=0.01)
        >>> cell = jaxcast.Forecaster(jaxcast.equal_weights(3), candidates)
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> jaxcast.forecast(cell, truth.states, num_leads=5).forecast.shape
        (5, 3)
    """

    pool: Pool
    forecast_map: ForecastMap | None = None

    def check(self) -> None:
        """Raises InputError unless the pool is sound."""
        check_model(self.pool)

    @property
    def warmup(self) -> int:
        return self.pool.memory.warmup(with_errors=self.forecast_map is not None)

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> ForecasterCarry:
        pending = _zeros(candidate_shapes(self.forecast_map, value, exogenous))
        return ForecasterCarry(self.pool.memory.init(value, pending), pending)

    def observe(self, carry: ForecasterCarry, x: Input) -> ForecasterCarry:
        """Does a step without pooling.

        Args:
            carry: before the step.
            x: the newest value.

        Returns:
            The carry after the step.
        """
        memory = self.pool.memory.observe(carry.memory, x, carry.pending)
        return ForecasterCarry(memory, self._candidates(x.value, x.exogenous))

    def __call__(self, carry: ForecasterCarry, x: Input) -> tuple[ForecasterCarry, Output]:
        carry = self.observe(carry, x)
        return carry, self.pool(carry.memory, carry.pending)

    def _candidates(self, value: Array, exogenous: Any) -> Any:
        return None if self.forecast_map is None else self.forecast_map(value, exogenous)


class HeldCarry(NamedTuple):
    """The carry of `HeldWeights`.

    Args:
        inner: the carry of the forecaster.
        weights: what the pool's `weigh` returned when the truth was last known.
    """

    inner: ForecasterCarry
    weights: Any


class HeldWeights(DeterministicCell, FrozenPytree):
    """A cell whose weights are recomputed while the truth is known and held while it is not.

    Over an attention pool it is the paper's fixed attention; over the `BestCandidate` of one, its
    best initial model.

    Args:
        forecaster: whose pool is a `WeightedPool`.

    Raises:
        InputError: when rolled over another pool, or without candidates.

    Source:
        Patel and Wikner (2023), section 3.1.2 (b) and (c).

    Example:
        >>> import jax, jaxcast
        >>> ensemble = jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 28.0, 30.0)])
        >>> pool = jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=8, key=jax.random.key(0))
        >>> best = jaxcast.pooling.BestCandidate(pool)
        >>> cell = jaxcast.pooling.HeldWeights(jaxcast.Forecaster(best, jaxcast.flow_map(ensemble)))
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> sorted(jaxcast.forecast(cell, truth.states, num_leads=5).info["weights"][-1].tolist())
        [0.0, 0.0, 1.0]
    """

    forecaster: Forecaster

    @property
    def warmup(self) -> int:
        return self.forecaster.warmup

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> HeldCarry:
        inner = self.forecaster.init_carry(value, exogenous)
        if inner.pending is None:
            raise InputError("held weights need candidates: give the Forecaster a forecast map")
        shapes = jax.eval_shape(_weighted(self.forecaster.pool).weigh, inner.memory, inner.pending)
        return HeldCarry(inner, _zeros(shapes))

    def __call__(self, carry: HeldCarry, x: Input) -> tuple[HeldCarry, Output]:
        pool = _weighted(self.forecaster.pool)
        inner = self.forecaster.observe(carry.inner, x)
        newest = pool.weigh(inner.memory, inner.pending)
        known = jnp.all(x.known)
        weights = jax.tree.map(lambda new, held: jnp.where(known, new, held), newest, carry.weights)
        return HeldCarry(inner, weights), pool.combine(weights, inner.pending)


class BestCandidate(WeightedSum, Checked, FrozenPytree, name="best_candidate"):
    """The candidate to which another pool gives most weight: y = F_i with i = argmax a.

    Args:
        pool: that gives the weights a.

    Raises:
        InputError: when called over a pool that is no `WeightedPool`.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> pool = jaxcast.pooling.BestCandidate(jaxcast.pooling.FixedWeights(jnp.asarray([0.2, 0.7, 0.1])))
        >>> pool(None, jnp.asarray([[1.0], [2.0], [3.0]])).forecast.tolist()
        [2.0]
    """

    pool: WeightedPool

    def check(self) -> None:
        """Raises InputError unless the pool is sound."""
        check_model(self.pool)

    @property
    def memory(self) -> PoolMemory:
        return self.pool.memory

    def weigh(self, memory: Any, forecasts: Float[Array, "*batch model dim"]) -> Float[Array, "*batch model"]:
        weights = _weighted(self.pool)(memory, forecasts).info["weights"]
        return jax.nn.one_hot(jnp.argmax(weights, -1), weights.shape[-1], dtype=weights.dtype)


def _weighted(pool: Pool) -> WeightedPool:
    if not isinstance(pool, WeightedPool):
        raise InputError(f"expected a pool with weights to hold (weigh and combine), got {type(pool).__name__}")
    return pool


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
