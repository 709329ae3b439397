"""Observation operators: what of a state is observed."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.assimilation.checks import check_all
from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static

ObservationOperator: TypeAlias = Callable[..., Any]
"""state (dim,) -> what is observed of it without noise, (observation,)."""


class WholeState(FrozenPytree, name="whole_state"):
    """Every component is observed, y = u; NaN marks those that are not, at any step.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.assimilation.WholeState()(jnp.asarray([1.0, 2.0])).tolist()
        [1.0, 2.0]
    """

    def __call__(self, state: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """Returns the state.

        Args:
            state: u.

        Returns:
            The same.
        """
        return state


class ObservedComponents(FrozenPytree, name="observed_components"):
    """Some components are observed, y = u[components].

    Args:
        components: their numbers, from 0.

    Raises:
        InputError: for no components, or numbers that a state does not have.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.assimilation.ObservedComponents((0, 2))(jnp.asarray([1.0, 2.0, 3.0])).tolist()
        [1.0, 3.0]
    """

    components: tuple[int, ...] = static()

    def __post_init__(self) -> None:
        object.__setattr__(self, "components", tuple(self.components))
        if not self.components:
            raise InputError("expected the numbers of the components that are observed, got none")
        for number in self.components:
            check_whole("the number of an observed component", number, least=0)

    def __call__(self, state: Float[Array, "*batch dim"]) -> Float[Array, "*batch observation"]:
        """Returns the observed components.

        Args:
            state: u.

        Returns:
            These components, in the order given.
        """
        # JAX would take the last component for a number that is too large.
        if max(self.components) >= state.shape[-1]:
            raise InputError(
                f"the observed components {self.components} are numbered from 0, got a state of {state.shape[-1]}"
            )
        return state[..., jnp.asarray(self.components)]


class ObservationMatrix(FrozenPytree, name="observation_matrix"):
    """Linear combinations are observed, y = H u.

    Args:
        matrix: H, (observation, dim).

    Raises:
        InputError: for a matrix with NaN, or of another width than the state.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> jaxcast.assimilation.ObservationMatrix(jnp.asarray([[1.0, 1.0]]))(jnp.asarray([1.0, 2.0])).tolist()
        [3.0]
    """

    matrix: Float[Any, "observation dim"]

    def __post_init__(self) -> None:
        check_all("matrix", self.matrix)

    @highest
    def __call__(self, state: Float[Array, "*batch dim"]) -> Float[Array, "*batch observation"]:
        """Returns the combinations.

        Args:
            state: u.

        Returns:
            H u.
        """
        if self.matrix.shape[-1] != state.shape[-1]:
            raise InputError(
                f"expected an observation matrix (observation, {state.shape[-1]}) of the state, got {self.matrix.shape}"
            )
        return state @ jnp.asarray(self.matrix, state.dtype).T


def as_operator(operator: ObservationOperator | None) -> Any:
    """Wraps an observation operator as a pytree, so that it can be an argument of a compiled function.

    Args:
        operator: a function or a pytree; None where the whole state is observed.

    Returns:
        The operator.

    Raises:
        InputError: for something that cannot be called.
    """
    if operator is None:
        return WholeState()
    if not callable(operator):
        raise InputError(
            f"expected an observation operator, a function of the state, got {type(operator).__name__}; "
            "ObservedComponents, ObservationMatrix and plain functions are some"
        )
    return jax.tree_util.Partial(operator) if jax.tree_util.all_leaves([operator]) else operator


def weights_of(known: Any, value: Float[Array, " observation"], noise: Any) -> Float[Array, " observation"]:
    """Returns the weight of each observation, 1 / noise; 0 for one that is unknown or NaN.

    Args:
        known: whether each is observed, () or (observation,).
        value: the observations.
        noise: their standard deviations, a number or (observation,).

    Returns:
        The roots of the diagonal of R^-1.
    """
    is_observed = jnp.broadcast_to(jnp.asarray(known), value.shape) & ~jnp.isnan(value)
    return jnp.where(is_observed, 1 / jnp.asarray(noise, value.dtype), 0)
