"""A cell that sees analyses instead of raw values."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import Cell, FillsGaps, Input, Output
from jaxcast.types import Info


class AssimilatedCarry(NamedTuple):
    """The carry of an `AssimilatedCell`.

    Args:
        assimilation: the carry of the filter or smoother.
        forecaster: the carry of the other cell.
        fed: what the other cell fed back last.
    """

    assimilation: Any
    forecaster: Any
    fed: Float[Array, " dim"]


class AssimilatedCell(Cell, FillsGaps, FrozenPytree, name="assimilated_cell"):
    """A cell whose history is assimilated: the analysis replaces the raw value that it sees.

    While values come, a filter or smoother makes an analysis of each, and the other cell, such as a
    `Forecaster` with any pool, spins up on these. Then it forecasts in closed loop as it does
    alone. So histories may be noisy, partial and gappy, whatever the pool. A regime forecaster
    takes the spread of an analysis for its standard deviation. NaN is a gap in the history, in
    which the other cell sees the filter's own estimate; the mask `known` of a rollout says where
    the closed loop begins.

    `info` holds what the other cell reports, and the filter's "analysis" and "analysis_spread". The
    filter may have another model than the candidates, but it forecasts the same state.

    Args:
        assimilation: a cell that reports its analysis: `EnsembleKalmanFilter`, `ParticleFilter`,
            `IterativeEnsembleSmoother` or `VariationalFilter`.
        forecaster: any cell of whole states that does not sample.

    Raises:
        InputError: for a cell that reports no analysis, or one that reads tokens.

    Example:
        >>> import jax, jaxcast
        >>> ensemble = jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 28.0, 30.0)])
        >>> pool = jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=8, key=jax.random.key(0))
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30, transient=5.0).states
        >>> members = truth.mean(0) + truth.std(0) * jax.random.normal(jax.random.key(1), (20, 3))
        >>> cell = jaxcast.assimilation.AssimilatedCell(
        ...     jaxcast.assimilation.EnsembleKalmanFilter(
        ...         jaxcast.flow_map(jaxcast.Lorenz63()), observation_noise=0.5, key=jax.random.key(2), num_members=20,
        ...         initial_ensemble=members,
        ...     ),
        ...     jaxcast.Forecaster(pool, jaxcast.flow_map(ensemble)),
        ... )
        >>> history = truth[:20].at[:, 1:].set(float("nan"))  # x alone is seen
        >>> jaxcast.forecast(cell, history, num_leads=5).forecast.shape
        (5, 3)
    """

    assimilation: Cell
    forecaster: Cell

    def __post_init__(self) -> None:
        for cell in (self.assimilation, self.forecaster):
            if not isinstance(cell, Cell):
                raise InputError(f"expected two cells, a filter and a forecaster, got {type(cell).__name__}")
            if cell.reads_tokens:
                raise InputError(f"expected cells of real numbers, got a {type(cell).__name__}, which reads tokens")

    @property
    def warmup(self) -> int:
        return self.assimilation.warmup + self.forecaster.warmup

    @property
    def reads_tokens(self) -> bool:
        return False

    def init_carry(self, value: Float[Array, " observation"], exogenous: Any = None) -> AssimilatedCarry:
        carry = self.assimilation.init_carry(value, exogenous)
        x = Input(value, jnp.asarray(True), exogenous)
        _, output = jax.eval_shape(self.assimilation, carry, x)
        if "analysis" not in output.info:
            raise InputError(
                f"expected a filter or smoother that reports its analysis, got a {type(self.assimilation).__name__}"
            )
        state = jnp.zeros(output.forecast.shape, output.forecast.dtype)
        return AssimilatedCarry(carry, self.forecaster.init_carry(state, exogenous), state)

    def check_first(self, value: Any, known: Any) -> None:
        """Refuses a first value from which the filter cannot start.

        Args:
            value: the first value.
            known: whether it is the truth.

        Raises:
            InputError: for such a value.
        """
        self.assimilation.check_first(value, known)

    def __call__(self, carry: AssimilatedCarry, x: Input) -> tuple[AssimilatedCarry, Output]:
        assimilation, estimate = self.assimilation(carry.assimilation, x)
        is_known = jnp.any(x.known)
        value = jnp.where(is_known, estimate.info["analysis"], carry.fed)
        deviation = estimate.info.get("analysis_spread")
        forecaster, output = self.forecaster(carry.forecaster, Input(value, is_known, x.exogenous, deviation))
        found: Info = {"analysis": estimate.info["analysis"]}
        if "analysis_spread" in estimate.info:
            found["analysis_spread"] = estimate.info["analysis_spread"]
        fed = self.forecaster.feedback(output, None).astype(carry.fed.dtype)
        return AssimilatedCarry(assimilation, forecaster, fed), Output(output.forecast, found | output.info)

    def feedback(self, output: Output, key: Any) -> Array:
        """Returns what would be observed of the forecast.

        Args:
            output: the output of the step before.
            key: not used.

        Returns:
            The forecast, as an observation.
        """
        fed: Array = self.assimilation.feedback(output, key)
        return fed
