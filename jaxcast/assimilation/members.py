"""Members of an ensemble: a state and the variables of unknown parameters, in one step of time."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from jaxcast.assimilation.checks import check_noise_fits
from jaxcast.assimilation.parameters import ParameterDynamics
from jaxcast.dynamics.candidates import as_forecast_map
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree
from jaxcast.tracing import is_traced
from jaxcast.types import Info


class MemberModel(FrozenPytree):
    """The model of a filter with unknown parameters, for states with the parameters' variables.

    Args:
        model: (u, exogenous) or u alone -> u one step later; (u, parameters) where there are
            unknown parameters.
        parameters: the dynamics of each unknown parameter.
        model_noise: standard deviation of the model error.
    """

    model: Any
    parameters: tuple[Any, ...]
    model_noise: Any

    @property
    def num_variables(self) -> int:
        """The number of variables of all parameters."""
        return sum(parameter.num_variables for parameter in self.parameters)

    def _pieces(self, variables: Array) -> list[Array]:
        ends = np.cumsum([parameter.num_variables for parameter in self.parameters])
        return jnp.split(variables, ends[:-1])

    def draw(self, key: Key[Array, ""], num_members: int, dtype: Any) -> Float[Array, "member variable"]:
        """Draws the variables of all members at the start.

        Args:
            key: random key of the draws.
            num_members: number of members.
            dtype: of the result.

        Returns:
            The variables of each member; no column where no parameter is unknown.
        """
        if not self.parameters:
            return jnp.zeros((num_members, 0), dtype)
        uniform = jax.random.uniform(key, (num_members, self.num_variables), dtype)

        def initial(row: Array) -> Array:
            pairs = zip(self.parameters, self._pieces(row), strict=True)
            return jnp.concatenate([parameter.initial(piece) for parameter, piece in pairs])

        return jax.vmap(initial)(uniform).astype(dtype)

    def values(self, variables: Float[Array, "*batch variable"]) -> Float[Array, "*batch parameter"]:
        """Returns the parameters that belong to variables.

        Args:
            variables: of one member or several, the parameters' one after another.

        Returns:
            The value of each parameter.
        """
        if variables.ndim > 1:
            return jax.vmap(self.values)(variables)
        if not self.parameters:
            return variables
        pairs = zip(self.parameters, self._pieces(variables), strict=True)
        return jnp.stack([parameter.value(piece) for parameter, piece in pairs])

    def step(self, member: Float[Array, " number"], exogenous: Any) -> Float[Array, " number"]:
        """Returns a member one step later, without any noise.

        Args:
            member: its state and the variables of its parameters.
            exogenous: what else the model gets; unused where there are unknown parameters.

        Returns:
            The member.
        """
        return self._step(member, exogenous, jnp.zeros_like(member))

    def disturbed_step(
        self, members: Float[Array, "member number"], exogenous: Any, in_history: Bool[Array, ""], key: Key[Array, ""]
    ) -> Float[Array, "member number"]:
        """Returns all members one step later, each with noise of its own.

        The noise of all members has the mean zero, so that it does not move the forecast. States
        have it at every step, as the truth does; parameters only while the history lasts.

        Args:
            members: before the step.
            exogenous: what else the model gets; unused where there are unknown parameters.
            in_history: whether the step belongs to the history, observed or not; False in closed
                loop.
            key: of the noise.

        Returns:
            The members.
        """
        noise = jax.random.normal(key, members.shape, members.dtype)
        noise = noise - noise.mean(0)
        is_of_state = jnp.arange(members.shape[1]) < members.shape[1] - self.num_variables
        noise = jnp.where(in_history | is_of_state, noise, 0)
        return jax.vmap(self._step, (0, None, 0))(members, exogenous, noise)

    def _step(self, member: Array, exogenous: Any, noise: Array) -> Array:
        dim = len(member) - self.num_variables
        state, variables = member[:dim], member[dim:]
        if self.parameters:
            pieces = zip(self.parameters, self._pieces(variables), self._pieces(noise[dim:]), strict=True)
            variables = jnp.concatenate([parameter.step(piece, own) for parameter, piece, own in pieces])
            variables = variables.astype(member.dtype)
        given = self.values(variables) if self.parameters else exogenous
        later = self.model(state, given).astype(member.dtype) + jnp.asarray(self.model_noise, noise.dtype) * noise[:dim]
        return jnp.concatenate([later, variables])

    def check_model(self, state: Float[Array, " dim"], exogenous: Any) -> None:
        """Refuses a model that does not return a state, or noise that does not fit one.

        Args:
            state: any state, for its shape and dtype.
            exogenous: what else the model gets.

        Raises:
            InputError: with both shapes.
        """
        check_noise_fits("model_noise", self.model_noise, state)
        given = jnp.zeros(len(self.parameters), state.dtype) if self.parameters else exogenous
        returned = jax.eval_shape(self.model, state, given)
        found = returned.shape if isinstance(returned, jax.ShapeDtypeStruct) else returned
        if found != state.shape:
            raise InputError(f"the model must return a state {state.shape}, got {shown(found)}")

    def report(self, members: Float[Array, "member number"], shares: Float[Array, " member"] | None = None) -> Info:
        """Returns mean and standard deviation of the parameters, as entries of `Info`.

        Args:
            members: the ensemble.
            shares: of the members in it; None for equal ones.

        Returns:
            "regime" and "regime_deviation", (parameter,) each.
        """
        values = self.values(members[:, members.shape[1] - self.num_variables :])
        mean, deviation = moments(values, shares)
        return {"regime": mean, "regime_deviation": deviation}


@highest
def moments(members: Float[Array, "member number"], shares: Float[Array, " member"] | None) -> tuple[Array, Array]:
    """Computes mean and standard deviation over an ensemble.

    With shares, members that are not finite have none, as those of a particle filter may leave the
    range of the model.

    Args:
        members: the ensemble.
        shares: of the members in it; None for equal ones.

    Returns:
        Both, for each number.
    """
    if shares is None:
        mean, count = members.mean(0), len(members)
        # A root has no gradient at 0, where all members agree.
        variance = ((members - mean) ** 2).sum(0) / (count - 1)
    else:
        members, shares = without_lost(members, shares)
        mean = shares @ members
        variance = shares @ (members - mean) ** 2
    return mean, jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)


def without_lost(
    members: Float[Array, "member number"], shares: Float[Array, " member"]
) -> tuple[Float[Array, "member number"], Float[Array, " member"]]:
    """Returns an ensemble in which members that are not finite have no share.

    Args:
        members: the ensemble.
        shares: of the members.

    Returns:
        Members, with zeros in place of those, and shares that sum to 1; NaN where none is finite.
    """
    is_finite = jnp.isfinite(members).all(1)
    shares = jnp.where(is_finite, shares, 0)
    return jnp.where(is_finite[:, None], members, 0), shares / shares.sum()


def replace_lost(members: Float[Array, "member number"]) -> Float[Array, "member number"]:
    """Returns an ensemble in which members that are not finite are the mean of the others.

    A step of the model may lead out of its range; the other members go on.

    Args:
        members: the ensemble.

    Returns:
        The members; NaN where none is finite.
    """
    is_finite = jnp.isfinite(members).all(1)[:, None]
    mean = jnp.where(is_finite, members, 0).sum(0) / is_finite.sum()
    return jnp.where(is_finite, members, mean)


def checked_parameters(parameters: Sequence[ParameterDynamics]) -> tuple[ParameterDynamics, ...]:
    """Returns the dynamics of all parameters as a tuple.

    Args:
        parameters: one of them or a sequence.

    Returns:
        The tuple.

    Raises:
        InputError: for something else among them.
    """
    found = tuple(parameters) if isinstance(parameters, list | tuple) else (parameters,)
    for parameter in found:
        if not isinstance(parameter, ParameterDynamics):
            raise InputError(
                f"expected the dynamics of each unknown parameter, got {type(parameter).__name__}; ConstantParameter, "
                "RandomWalk and HarmonicParameter are some"
            )
    return found


def checked_model(model: Any) -> Any:
    """Wraps a model as a pytree of two arguments, so that it can enter a compiled function.

    Args:
        model: a function of a state, or of a state and what else it gets.

    Returns:
        The pytree.
    """
    return as_forecast_map(model)


def checked_ensemble(ensemble: Any, num_members: int) -> Any:
    """Returns the initial ensemble as floating-point numbers.

    Args:
        ensemble: states of the members, (member, dim); None for none.
        num_members: number of members.

    Returns:
        The ensemble; None for none.

    Raises:
        InputError: for fewer than two members, another number or more axes than expected, numbers
            that are not finite, or, without an ensemble, more members than memory can hold.
    """
    if num_members < 2:
        raise InputError(f"expected at least 2 members, got {num_members}")
    if ensemble is None:
        check_arrays(f"{num_members} members", (num_members, 1))
        return None
    states = jnp.asarray(ensemble, float)
    if states.ndim != 2 or len(states) != num_members:
        raise InputError(
            f"expected an initial ensemble (member, dim) of num_members={num_members}, got shape {states.shape}; "
            "set num_members to its first axis"
        )
    if not is_traced(states) and not bool(jnp.isfinite(states).all()):
        raise InputError("the initial ensemble must be finite, got NaN or infinity")
    return states
