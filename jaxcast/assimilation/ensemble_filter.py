"""The base of filters that carry an ensemble from one value to the next."""

from abc import abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxcast.assimilation.ensemble_cell import EnsembleCell
from jaxcast.assimilation.members import moments
from jaxcast.assimilation.observation import weights_of
from jaxcast.assimilation.start import around_value
from jaxcast.rollout import Input, Output
from jaxcast.types import Info


class EnsembleCarry(NamedTuple):
    """The carry of an ensemble filter.

    Args:
        states: forecast of the next state by each member.
        parameters: the variables of each member's unknown parameters.
        log_weights: of the members; zeros in a Kalman filter, whose members weigh the same.
        num_seen: number of values so far.
        key: random key of all steps.
    """

    states: Float[Array, "member dim"]
    parameters: Float[Array, "member variable"]
    log_weights: Float[Array, " member"]
    num_seen: Int[Array, ""]
    key: Key[Array, ""]


class EnsembleFilter(EnsembleCell):
    """Base of the filters that carry an ensemble, `EnsembleKalmanFilter` and `ParticleFilter`.

        analysis   members and weights <- analyse(members, weights, y)
        forecast   p <- p one step later,   u <- model(u, p) + noise,   forecast = mean of u

    Components that are unknown or NaN are not observed, and where none is there is no analysis.
    The model noise acts at every step, observed or not, and in closed loop too.
    """

    @abstractmethod
    def analyse(
        self,
        members: Float[Array, "member number"],
        log_weights: Float[Array, " member"],
        observed: Float[Array, "member observation"],
        values: Float[Array, " observation"],
        key: Key[Array, ""],
    ) -> tuple[Float[Array, "member number"], Float[Array, " member"], Info]:
        """Returns members and weights after the observations of a step, and what else to report.

        Args:
            members: before it, each a state and the variables of parameters.
            log_weights: of the members.
            observed: what is observed of each member, divided by the noise; 0 where there is no
                observation.
            values: the observations, likewise.
            key: of what is random.

        Returns:
            Members, weights and entries of `Info`.
        """

    @abstractmethod
    def shares(self, log_weights: Float[Array, " member"]) -> Float[Array, " member"] | None:
        """Returns the share of each member in the mean; None for equal ones.

        Args:
            log_weights: of the members.

        Returns:
            Shares that sum to 1.
        """

    def init_carry(self, value: Float[Array, " observation"], exogenous: Any = None) -> EnsembleCarry:
        states, variables = self._start_members(value, exogenous)
        return EnsembleCarry(states, variables, jnp.zeros(self.num_members, value.dtype), jnp.asarray(0), self.key)

    def __call__(self, carry: EnsembleCarry, x: Input) -> tuple[EnsembleCarry, Output]:
        analysed, info = self.assimilate(carry, x)
        dim = carry.states.shape[1]
        shares = self.shares(analysed.log_weights)
        members = jnp.concatenate([analysed.states, analysed.parameters], 1)
        info["analysis"], info["analysis_spread"] = moments(analysed.states, shares)
        _, key, noise_key = self._keys(analysed)
        later = self.member_model.disturbed_step(members, x.exogenous, jnp.any(x.known), noise_key)
        if shares is None:
            later = self.recover_lost(later, key)
        forecast, info["spread"] = moments(later[:, :dim], shares)
        info |= self.member_model.report(later, shares)
        analysed = analysed._replace(states=later[:, :dim], parameters=later[:, dim:], num_seen=analysed.num_seen + 1)
        return analysed, Output(forecast, info)

    def assimilate(self, carry: EnsembleCarry, x: Input) -> tuple[EnsembleCarry, Info]:
        """Takes the first half of a step: the analysis; a filter without a finite member begins anew.

        Args:
            carry: before the newest value.
            x: the newest value.

        Returns:
            The members after the analysis, and what the analysis reports.
        """
        is_lost = ~jnp.isfinite(carry.states).all(1).any()
        carry = self.begun_anew(carry, x, is_lost, from_value=self.initial_ensemble is None)
        weights = weights_of(x.known, x.value, self.observation_noise)
        seen = (weights > 0).any()
        keys = self._keys(carry)
        prior = jnp.concatenate([carry.states, carry.parameters], 1)
        dim = carry.states.shape[1]
        values = jnp.where(weights > 0, x.value, 0) * weights
        observed = jax.vmap(self.operator)(carry.states) * weights
        posterior, log_weights, info = self.analyse(prior, carry.log_weights, observed, values, keys[0])
        # Without an observation there is no inflation either: it stands for errors that
        # observations reveal.
        members = jnp.where(seen, posterior, prior)
        log_weights = jnp.where(seen, log_weights, carry.log_weights)
        if self.initial_ensemble is None:
            # The first value is all that is known of the state: the ensemble begins around it.
            around = around_value(x.value, self.observation_noise, self.num_members, keys[1])
            is_first = carry.num_seen == 0
            members = jnp.where(is_first, jnp.concatenate([around, carry.parameters], 1), members)
            log_weights = jnp.where(is_first, carry.log_weights, log_weights)
        return carry._replace(states=members[:, :dim], parameters=members[:, dim:], log_weights=log_weights), info

    def _keys(self, carry: EnsembleCarry) -> Any:
        return jax.random.split(jax.random.fold_in(carry.key, carry.num_seen + 1), 3)
