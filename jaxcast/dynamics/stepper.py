"""What takes steps: a system prepared for a method."""

import abc
from collections.abc import Callable
from typing import Any, TypeAlias

from jaxcast.dynamics.systems import Components
from jaxcast.pytrees import FrozenPytree

Finish: TypeAlias = Callable[[Any], Any]
"""Returns a tree of arrays as it is; `one_loop` makes a compiler compute them together."""


def as_it_is(tree: Any) -> Any:
    """Returns a tree as it is."""
    return tree


class Stepper(FrozenPytree):
    """A system, or a stack, prepared for steps of one method and one size."""

    @abc.abstractmethod
    def enter(self, u: Components, seed: Any = None) -> Any:
        """Computes what the steps carry.

        Args:
            u: the components of the state.
            seed: of the noise, if there is any. XLA for CPU cannot have it among what the steps do
                not use.

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
    def step_after(self, t0: Any, num_steps: Any, carried: Any, h: Any, finish: Finish = as_it_is) -> Any:
        """Takes one step from t0 + num_steps h.

        Args:
            t0: a number or an `Instant`.
            num_steps: of the dtype of h, or an integer if t0 is an instant.
            carried: as `enter` returns it.
            h: the step, of the kind of t0.
            finish: to be called on what is computed together, with the result among it.

        Returns:
            What is carried one step later.
        """
