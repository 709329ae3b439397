"""The ensemble Kalman filter with augmented parameters."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.assimilation.analyses import (
    EnsembleAnalysis,
    EnsembleTransform,
    LocalEnsembleTransform,
    PerturbedObservations,
)
from jaxcast.assimilation.ensemble_cell import SmoothableEnsemble
from jaxcast.assimilation.ensemble_filter import EnsembleCarry, EnsembleFilter
from jaxcast.assimilation.observation import WholeState
from jaxcast.assimilation.smoothing import Estimate, of_members
from jaxcast.errors import InputError
from jaxcast.rollout import Input, Output
from jaxcast.types import Info

LOCALISED = (LocalEnsembleTransform, PerturbedObservations)


class EnsembleKalmanFilter(EnsembleFilter, SmoothableEnsemble, name="ensemble_kalman_filter"):
    """An ensemble Kalman filter of states and parameters, by any of several analyses.

        analysis   [u; p] <- analysis of the members, with weights by covariances
        forecast   p <- p one step later while the truth is known
                   u <- model(u, p) + noise,    forecast = mean of u

    Components that are unknown or NaN are not observed, and where none is there is no analysis. So
    observations may be partial, sparse and irregular on the grid of steps. NaN is a gap of the
    history; the mask `known` of a rollout says where the closed loop begins. The model noise acts
    at every step, observed or not, so that the spread is that of the forecast's errors at all
    leads; it has the mean zero over the members. A random walk of parameters acts in the history
    alone: in closed loop each member keeps its own where it is.

    `info` holds "spread", that of the forecast, (dim,); "regime" and "regime_deviation", mean and
    standard deviation of the parameters, (parameter,); and "analysis" and "analysis_spread",
    (dim,), mean and standard deviation of the states after the newest value was assimilated.

    Args:
        model: u (dim,) -> u one step later, such as `flow_map` returns, or (u, exogenous), for
            which exogenous is the time; with unknown parameters (u, parameters (parameter,)), such
            as `parameter_map` returns.
        observation_noise: standard deviation of an observation, the root of R, a number or
            (observation,). Use a small number for observations without noise: zero would collapse
            the ensemble.
        key: random key of the initial ensemble, of all noise and of the rotations.
        parameters: the dynamics of each unknown parameter: `ConstantParameter`, `RandomWalk`,
            `HarmonicParameter`, or your own `ParameterDynamics`.
        operator: what of a state is observed: `ObservedComponents`, `ObservationMatrix` or any
            function u -> (observation,); None for the whole state.
        model_noise: standard deviation of the model error at each step, a number or (dim,).
        num_members: M.
        initial_ensemble: (member, dim), states of the members just before the first value, which is
            then assimilated like any other. Without it the ensemble starts around the first value,
            which must be known in full.
        analysis: `EnsembleTransform`, `LocalEnsembleTransform` (LETKF) or `PerturbedObservations`.

    Raises:
        InputError: for fewer than two members, an initial ensemble of another size, a model that
            does not return a state or an operator that does not return values; by `roll`,
            `open_loop` and `forecast` for a first value that is not known in full where there is no
            initial ensemble.

    Source:
        Evensen (1994) for the filter; Anderson, Mon. Wea. Rev. 129, 2884-2903 (2001), for augmented
        parameters and for inflation; the analyses name theirs.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(rho=33.0), [1.0, 1.0, 20.0], num_samples=60, transient=5.0)
        >>> cell = jaxcast.assimilation.EnsembleKalmanFilter(
        ...     jaxcast.assimilation.parameter_map(jaxcast.Lorenz63(), ["rho"]), observation_noise=0.1,
        ...     parameters=[jaxcast.assimilation.RandomWalk(25.0, 40.0, deviation=0.05)], num_members=20,
        ...     key=jax.random.key(0),
        ... )
        >>> outputs = jaxcast.forecast(cell, truth.states[:50], num_leads=10)
        >>> bool(abs(outputs.info["regime"][-1, 0] - 33.0) < 0.5)
        True
    """

    analysis: EnsembleAnalysis = EnsembleTransform()

    lag = 0

    def check_analysis(self) -> None:
        """Refuses something else than an analysis.

        Raises:
            InputError: with its type.
        """
        if not isinstance(self.analysis, EnsembleAnalysis):
            raise InputError(
                f"expected an analysis, got {type(self.analysis).__name__}; EnsembleTransform, LocalEnsembleTransform "
                "and PerturbedObservations are some"
            )

    def analyse(
        self,
        members: Float[Array, "member number"],
        log_weights: Float[Array, " member"],
        observed: Float[Array, "member observation"],
        values: Float[Array, " observation"],
        key: Key[Array, ""],
    ) -> tuple[Float[Array, "member number"], Float[Array, " member"], Info]:
        return self.analysis.analyse(members, observed, values, key), log_weights, {}

    def estimate(self, carry: EnsembleCarry, x: Input) -> tuple[EnsembleCarry, Output, Estimate, Estimate]:
        """Takes a step.

        Args:
            carry: the ensemble before the newest value.
            x: the newest value and what comes with it.

        Returns:
            The ensemble of the next step, the output, and the estimates after and before.
        """
        analysed, _ = self.assimilate(carry, x)
        carry, output = self(carry, x)
        now, later = (of_members(jnp.concatenate([one.states, one.parameters], 1)) for one in (analysed, carry))
        return carry, output, now, later

    def tapers(self, num_numbers: int, dtype: Any) -> Float[Array, "number number"] | None:
        """Returns the tapers of the analysis, between components; those of parameters are 1.

        Args:
            num_numbers: of a member.
            dtype: of the result.

        Raises:
            InputError: where not the whole state is observed.
        """
        found = self.analysis.localisation if isinstance(self.analysis, LOCALISED) else None
        if found is None:
            return None
        if not isinstance(self.operator, WholeState):
            raise InputError(
                "a reanalysis with localisation needs tapers between components; observe the whole state, with NaN "
                "for what is unseen, or leave the localisation out"
            )
        dim = num_numbers - self.member_model.num_variables
        tapers = found.of_members(num_numbers, dim, dtype)
        return jnp.concatenate([tapers, jnp.ones((num_numbers, num_numbers - dim), dtype)], 1)

    def shares(self, log_weights: Float[Array, " member"]) -> Any:
        return None
