"""The base of filters that carry an ensemble from one value to the next."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxcast.assimilation.members import (
    MemberModel,
    checked_ensemble,
    checked_model,
    checked_parameters,
    moments,
)
from jaxcast.assimilation.observation import WholeState, as_operator, weights_of
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Cell, Input, Output
from jaxcast.tracing import is_traced
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


class EnsembleFilter(Cell, FrozenPytree):
    """Base of the filters that carry an ensemble, `EnsembleKalmanFilter` and `ParticleFilter`.

        analysis   members and weights <- analyse(members, weights, y)
        forecast   p <- p one step later,   u <- model(u, p) + noise,   forecast = mean of u

    Components that are unknown or NaN are not observed, and where none is known there is no
    analysis and no noise.
    """

    model: Callable[..., Any]
    observation_noise: Any
    key: Any
    parameters: Any = ()
    operator: Any = None
    model_noise: Any = 0.0
    num_members: int = static(default=50)
    initial_ensemble: Any = None

    warmup = 0

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial_ensemble", checked_ensemble(self.initial_ensemble, self.num_members))
        object.__setattr__(self, "parameters", checked_parameters(self.parameters))
        object.__setattr__(self, "operator", as_operator(self.operator))
        object.__setattr__(self, "model", checked_model(self.model))
        if self.initial_ensemble is None and not isinstance(self.operator, WholeState):
            raise InputError(
                "without an initial ensemble the filter starts from a state that is observed in whole; give "
                "initial_ensemble (member, dim) beside the observation operator"
            )

    @property
    def member_model(self) -> MemberModel:
        """The model with the dynamics of its parameters."""
        return MemberModel(self.model, self.parameters, self.model_noise)

    @property
    def reads_tokens(self) -> bool:
        return False

    def init_carry(self, value: Float[Array, " observation"], exogenous: Any = None) -> EnsembleCarry:
        states = self.initial_ensemble
        if states is not None and isinstance(self.operator, WholeState) and states.shape[1:] != value.shape:
            raise InputError(
                f"expected an initial ensemble {(self.num_members, *value.shape)}, as the values are, "
                f"got one of shape {states.shape}"
            )
        if states is None:
            states = jnp.zeros((self.num_members, *value.shape))
        states = states.astype(value.dtype)
        self.member_model.check_model(states[0], exogenous)
        _check_operator(self.operator, states[0], value)
        variables = self.member_model.draw(self.key, self.num_members, value.dtype)
        return EnsembleCarry(states, variables, jnp.zeros(self.num_members, value.dtype), jnp.asarray(0), self.key)

    def check_first(self, value: Float[Any, " observation"], known: Bool[Any, "..."]) -> None:
        """Refuses a first value that is not known in whole where there is no initial ensemble.

        Args:
            value: the first value.
            known: whether it is the truth.

        Raises:
            InputError: for such a value.
        """
        if self.initial_ensemble is not None or is_traced(value, known):
            return
        unknown = np.flatnonzero(~np.broadcast_to(known, np.shape(value)) | np.isnan(value))
        if unknown.size:
            raise InputError(
                "without an initial ensemble the first value must be wholly known, got components "
                f"{shown(unknown.tolist())} unknown or NaN; give initial_ensemble (member, dim), whose spread says "
                "how little is known of each component, or begin at a value that is known"
            )

    def __call__(self, carry: EnsembleCarry, x: Input) -> tuple[EnsembleCarry, Output]:
        weights = weights_of(x.known, x.value, self.observation_noise)
        seen = (weights > 0).any()
        keys = jax.random.split(jax.random.fold_in(carry.key, carry.num_seen + 1), 3)
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
            noise = jnp.broadcast_to(jnp.asarray(self.observation_noise, x.value.dtype), x.value.shape)
            around = x.value + noise * jax.random.normal(keys[1], carry.states.shape, noise.dtype)
            is_first = carry.num_seen == 0
            members = jnp.where(is_first, jnp.concatenate([around, carry.parameters], 1), members)
            log_weights = jnp.where(is_first, carry.log_weights, log_weights)
        shares = self.shares(log_weights)
        mean, spread = moments(members[:, :dim], shares)
        info |= {"analysis": mean, "analysis_spread": spread}
        later = self.member_model.disturbed_step(members, x.exogenous, seen, keys[2])
        forecast, spread = moments(later[:, :dim], shares)
        info |= {"spread": spread} | self.member_model.report(later, shares)
        carry = EnsembleCarry(later[:, :dim], later[:, dim:], log_weights, carry.num_seen + 1, carry.key)
        return carry, Output(forecast, info)

    def feedback(self, output: Output, key: Any) -> Array:
        """Returns what would be observed of the forecast, the mean of the ensemble.

        Args:
            output: the output of the step before.
            key: not used.

        Returns:
            The forecast, as an observation.
        """
        fed: Array = self.operator(output.forecast)
        return fed


def _check_operator(operator: Any, state: Array, value: Array) -> None:
    returned = jax.eval_shape(operator, state)
    found = returned.shape if isinstance(returned, jax.ShapeDtypeStruct) else returned
    if found != value.shape:
        raise InputError(
            f"the observation operator must return values like those given, of shape {value.shape}, got {shown(found)}"
        )
