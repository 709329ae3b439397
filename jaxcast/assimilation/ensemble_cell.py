"""Bases of the cells that assimilate: what they feed back, and how an ensemble starts."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jaxcast.assimilation.members import (
    MemberModel,
    checked_ensemble,
    checked_model,
    checked_parameters,
    replace_lost,
)
from jaxcast.assimilation.observation import WholeState, as_operator
from jaxcast.assimilation.smoothing import Estimate, Smoothable, as_members, of_members
from jaxcast.assimilation.start import check_known, check_operator, check_settings
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Cell, FillsGaps, Input, Output


class ObservingCell(Cell, FillsGaps):
    """Base of filters and smoothers: cells that read observations and forecast whole states.

    A subclass has the field `operator`, what of a state is observed.
    """

    operator: Any

    @property
    def reads_tokens(self) -> bool:
        return False

    def feedback(self, output: Output, key: Any) -> Array:
        """Returns what would be observed of the forecast.

        Args:
            output: the output of the step before.
            key: not used.

        Returns:
            The forecast, as an observation.
        """
        fed: Array = self.operator(output.forecast)
        return fed

    def begun_anew(self, carry: Any, x: Input, is_lost: Any, *, from_value: bool) -> Any:
        """Returns the carry of before any value where a filter has diverged, and can start again.

        Args:
            carry: the memory so far.
            x: the newest value and what comes with it.
            is_lost: whether the filter has diverged.
            from_value: whether it can start from a value alone that is known in whole.
        """
        is_observed = jnp.broadcast_to(x.known, x.value.shape) & jnp.isfinite(x.value)
        begins = is_lost & (is_observed.all() if from_value else is_observed.any())
        anew = self.init_carry(x.value, x.exogenous)
        return jax.tree.map(lambda first, later: jnp.where(begins, first, later), anew, carry)


class EnsembleCell(ObservingCell, FrozenPytree):
    """Base of filters and smoothers that carry an ensemble."""

    model: Callable[..., Any]
    observation_noise: Any
    key: Key[Any, "..."]
    parameters: Any = ()
    operator: Any = None
    model_noise: Any = 0.0
    num_members: int = static(default=50)
    initial_ensemble: Any = None

    warmup = 0

    @abstractmethod
    def check_analysis(self) -> None:
        """Refuses settings of the analysis that it cannot have.

        Raises:
            InputError: with the setting.
        """

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial_ensemble", checked_ensemble(self.initial_ensemble, self.num_members))
        object.__setattr__(self, "parameters", checked_parameters(self.parameters))
        object.__setattr__(self, "operator", as_operator(self.operator))
        object.__setattr__(self, "model", checked_model(self.model))
        check_settings(self.initial_ensemble, self.operator, self.observation_noise, self.model_noise)
        self.check_analysis()

    @property
    def member_model(self) -> MemberModel:
        """The model with the dynamics of its parameters."""
        return MemberModel(self.model, self.parameters, self.model_noise)

    def check_first(self, value: Float[Any, " observation"], known: Bool[Any, "..."]) -> None:
        """Refuses a first value that is not known in whole where there is no initial ensemble.

        Args:
            value: the first value.
            known: whether it is the truth.

        Raises:
            InputError: for such a value.
        """
        check_known(self.initial_ensemble, value, known)

    def _start_members(self, value: Float[Array, " observation"], exogenous: Any) -> tuple[Array, Array]:
        """Returns the members before any value: their states, and the variables of their parameters.

        Args:
            value: the first value.
            exogenous: what comes with it.

        Returns:
            States (member, dim), zeros without an initial ensemble, and variables
            (member, variable).

        Raises:
            InputError: for states, a model or an operator of another size.
        """
        states = self.initial_ensemble
        if states is not None and isinstance(self.operator, WholeState) and states.shape[1:] != value.shape:
            raise InputError(
                f"expected an initial ensemble {(self.num_members, *value.shape)}, as the values are, "
                f"got one of shape {states.shape}"
            )
        states = jnp.zeros((self.num_members, *value.shape)) if states is None else states
        states = states.astype(value.dtype)
        self.member_model.check_model(states[0], exogenous)
        check_operator(self.operator, self.observation_noise, states[0], value)
        return states, self.member_model.draw(self.key, self.num_members, value.dtype)

    def recover_lost(
        self, members: Float[Array, "member number"], key: Key[Array, ""]
    ) -> Float[Array, "member number"]:
        """Returns an ensemble after a step of the model, which may have led members out of its range.

        Such members become the mean of the others. Where there is no other, the filter has
        diverged, and begins again with the initial ensemble.

        Args:
            members: states, and the variables of their parameters.
            key: of the parameters of a new beginning.

        Returns:
            The members; NaN where all are lost and there is no initial ensemble.
        """
        members = replace_lost(members)
        if self.initial_ensemble is None:
            return members
        drawn = self.member_model.draw(key, self.num_members, members.dtype)
        anew = jnp.concatenate([self.initial_ensemble.astype(members.dtype), drawn], 1)
        return jnp.where(jnp.isfinite(members).all(), members, anew)


class SmoothableEnsemble(Smoothable, ABC):
    """Base of ensemble cells whose estimates are ensembles.

    A subclass has `member_model`, as `EnsembleCell` does.
    """

    member_model: Any

    def moved(self, estimate: Estimate, exogenous: Any) -> Estimate:
        """Returns an estimate one step later, without noise.

        Args:
            estimate: before the step.
            exogenous: of the step.
        """
        return of_members(jax.vmap(self.member_model.step, (0, None))(as_members(estimate), exogenous))

    def parameters_of(self, estimate: Estimate) -> tuple[Array, Array]:
        """Returns mean and standard deviation of the unknown parameters.

        Args:
            estimate: of the state and their variables.
        """
        report = self.member_model.report(as_members(estimate))
        return report["regime"], report["regime_deviation"]
