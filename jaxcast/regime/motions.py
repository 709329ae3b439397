"""How a hidden regime moves: what a filter must know of it, and its path over one step."""

import abc
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.dynamics.schedules import Parameter, Schedule, SmoothSchedule
from jaxcast.precision import highest
from jaxcast.registry import Saveable
from jaxcast.types import Scalar

PAST_KNOTS = 3
"""Values of the regime up to the start of a step that its path in the step passes through."""
_NODES = np.arange(1 - PAST_KNOTS, 2.0)
_TO_COEFFICIENTS = np.linalg.inv(_NODES[:, None] ** np.arange(PAST_KNOTS + 1))


class Motion(Saveable):
    """Base of what says how the numbers that describe a regime move from one sample to the next.

    A subclass is a frozen pytree, too.
    """

    @abc.abstractmethod
    def path(self, numbers: Float[Array, " number"]) -> Schedule:
        """Returns the regime over the next step, as a schedule from time 0.

        Args:
            numbers: that describe the regime.
        """

    @abc.abstractmethod
    def described(self) -> str:
        """Returns in words how the regime moves."""

    @abc.abstractmethod
    def at(self, time: Any) -> tuple[Array, Array] | None:
        """Returns mean and root of the numbers by the clock of the training trajectory.

        Args:
            time: when they are wanted.

        Returns:
            None for a motion without a clock, or an unknown time.
        """

    @abc.abstractmethod
    def later(self, numbers: Float[Array, " number"]) -> Float[Array, " number"]:
        """Returns the numbers one sample later.

        Args:
            numbers: that describe the regime.
        """


class PolynomialPath(SmoothSchedule):
    """A regime over one step: sum_k coefficients_k (t / dt)^k.

    Args:
        coefficients: (power, coordinate).
        dt: length of the step.
    """

    coefficients: Parameter
    dt: Parameter

    @highest
    def __call__(self, t: Scalar) -> Float[Array, " coordinate"]:
        powers = (jnp.asarray(t) / self.dt) ** jnp.arange(len(self.coefficients))
        return powers.astype(self.coefficients.dtype) @ self.coefficients


@highest
def path_through(knots: Float[Array, "knot coordinate"], dt: Any) -> PolynomialPath:
    """Returns the cubic through four values of the regime, the last two of which bound the step.

    Args:
        knots: the values at -2, -1, 0 and 1 steps, in this order.
        dt: length of the step.
    """
    return PolynomialPath(jnp.asarray(_TO_COEFFICIENTS, knots.dtype) @ knots, dt)
