"""What takes steps: a system prepared for a method."""

import abc
from typing import Any

from jaxcast.dynamics.systems import Components
from jaxcast.pytrees import FrozenPytree


class Stepper(FrozenPytree):
    """A system, or a stack, prepared for steps of one method and one size."""

    @abc.abstractmethod
    def enter(self, u: Components) -> Any:
        """Computes what the steps carry.

        Args:
            u: the components of the state.

        Returns:
            A tree of arrays.
        """

    @abc.abstractmethod
    def leave(self, carried: Any) -> Components:
        """Computes a state from what the steps carry: the inverse of `enter`.

        Args:
            carried: a tree of arrays.

        Returns:
            The components of the state.
        """

    @abc.abstractmethod
    def step_after(self, t0: Any, num_steps: Any, carried: Any, h: Any) -> Any:
        """Takes one step from t0 + num_steps h.

        Args:
            t0: a number or an `Instant`.
            num_steps: of the dtype of h, or an integer if t0 is an instant.
            carried: as `enter` returns it.
            h: the step, of the kind of t0.

        Returns:
            What is carried one step later.
        """
