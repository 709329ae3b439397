"""Features of a hybrid's readout: functions of what a site sees."""

from abc import abstractmethod
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_floats, check_whole, sizes_of
from jaxcast.numerics.polynomials import monomials, products
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.registry import Saveable

MARGIN = 1.1
"""How far variables may leave their training range before they are clipped."""


class FeatureMap(Saveable):
    """Base of maps from what a site sees to the features of a linear readout.

    A map may have a state, such as the nodes of a reservoir.
    """

    @abstractmethod
    def init(self, num_sites: int) -> Any:
        """Returns the state before anything was seen.

        Args:
            num_sites: sites of the field.
        """

    @abstractmethod
    def __call__(self, state: Any, seen: Float[Array, "site seen"]) -> tuple[Any, Float[Array, "site feature"]]:
        """Computes the features.

        Args:
            state: before the step.
            seen: what each site sees.

        Returns:
            The state after the step, and the features.
        """


class HybridPolynomials(FeatureMap, Checked, FrozenPytree, name="hybrid_polynomials"):
    """All that a site sees, and all monomials of degree 2 to p in some of it.

    The variables of the monomials are clipped a little outside of their training range.

    Args:
        low: the least training value of each variable.
        high: the greatest.
        degree: p.
    """

    low: Float[Array, " variable"]
    high: Float[Array, " variable"]
    degree: int = static()

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes_of(self, {".low": "variable", ".high": "variable"})
        check_whole("degree", self.degree, most=100)

    def init(self, num_sites: int) -> Any:
        return ()

    def __call__(self, state: Any, seen: Float[Array, "site seen"]) -> tuple[Any, Float[Array, "site feature"]]:
        num_variables = len(self.low)
        margin = (MARGIN - 1) / 2 * (self.high - self.low)
        variables = jnp.clip(seen[:, :num_variables], self.low - margin, self.high + margin)
        curved = monomials(num_variables, self.degree)[num_variables + 1 :]
        if not curved:
            return state, seen
        return state, jnp.concatenate([seen, products(variables, curved)], -1)
