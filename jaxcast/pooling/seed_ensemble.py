"""The training seeds of one pool as an ensemble: their mean, and how far they part."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_model
from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap
from jaxcast.errors import InputError
from jaxcast.pooling.cell import Forecaster
from jaxcast.pooling.pool import Pool
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import Input, Output


class SeedsCarry(NamedTuple):
    """The carry of a `SeedEnsemble`.

    Args:
        each: the carry of every seed, with a leading seed axis.
        forecasts: of the next value, by each seed.
    """

    each: Any
    forecasts: Float[Array, "seed dim"]


class SeedEnsemble(CandidateCell, Checked, FrozenPytree, name="seed_ensemble"):
    """A deep ensemble: the mean forecast of one pool's training seeds, with their spread.

        y = mean_s y_s,    spread = (sum_s (y_s - y)^2 / (S - 1))^(1/2)

    Where the truth is not known, each seed continues with its own forecast, not with the mean. In
    closed loop the forecast is thus the mean of S closed loops, and the spread grows as they
    diverge. The spread does not include errors that all seeds share; `spread_and_error` compares
    the two.

    `info` holds the mean over seeds of each entry of the pools' info, and "spread", (dim,).

    Args:
        pools: one pool with a leading seed axis on every array, such as `fit` returns.
        forecast_map: of the candidates, as for a `Forecaster`.

    Raises:
        InputError: when rolled with pools of fewer than two seeds.

    Source:
        Lakshminarayanan, Pritzel and Blundell (2017).

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> init = lambda key: jaxcast.pooling.FeedForward(dim=3, num_delays=1, hidden_size=8, key=key)
        >>> cell = jaxcast.pooling.SeedEnsemble(jax.vmap(init)(jax.random.split(jax.random.key(0), 4)))
        >>> outputs = jaxcast.forecast(cell, truth.states, num_leads=5)
        >>> outputs.forecast.shape, outputs.info["spread"].shape
        ((5, 3), (5, 3))
    """

    pools: Pool
    forecast_map: ForecastMap | None = None

    def check(self) -> None:
        """Raises InputError unless the pool is sound."""
        check_model(self.pools)

    @property
    def warmup(self) -> int:
        return Forecaster(self.pools, self.forecast_map).warmup

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> SeedsCarry:
        sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(self.pools)}
        if len(sizes) != 1 or min(sizes) < (2,):
            raise InputError(f"expected one leading axis of at least 2 seeds on every array, got {sorted(sizes)}")
        each = jax.vmap(lambda pool: Forecaster(pool, self.forecast_map).init_carry(value, exogenous))(self.pools)
        ((num_seeds,),) = sizes
        return SeedsCarry(each, jnp.broadcast_to(value, (num_seeds, *value.shape)))

    def __call__(self, carry: SeedsCarry, x: Input) -> tuple[SeedsCarry, Output]:
        values = jnp.where(jnp.asarray(x.known), x.value, carry.forecasts)

        def step(pool: Any, one: Any, value: Array) -> tuple[Any, Output]:
            return Forecaster(pool, self.forecast_map)(one, x._replace(value=value))

        each, (forecasts, info) = jax.vmap(step)(self.pools, carry.each, values)
        info = jax.tree.map(lambda a: a.mean(0), info) | {"spread": forecasts.std(0, ddof=1)}
        return SeedsCarry(each, forecasts), Output(forecasts.mean(0), info)
