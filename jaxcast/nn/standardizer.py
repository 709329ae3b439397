"""Statistics by which inputs are standardised."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Standardizer(NamedTuple):
    """Statistics of each component, which are measured once and not trained: z = (u - mean) / std.

    Args:
        mean: mean of each component, (dim,).
        std: standard deviations, (dim,).
        error: sizes of the candidates' one-step errors, (dim,), for pools; None where there are
            no candidates.
    """

    mean: Any
    std: Any
    error: Any = None

    def apply(self, values: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """Standardises values.

        Args:
            values: in the unit of the series.

        Returns:
            The standardised values.
        """
        return (values - self.mean) / self.std


def standardizer_of(states: Float[Array, "time dim"]) -> Standardizer:
    """Measures the mean and the standard deviation of each component.

    Args:
        states: a series.

    Returns:
        The statistics; the deviation of a component that never changes counts as 1.
    """
    std = states.std(0)
    return Standardizer(states.mean(0), jnp.where(std > 0, std, 1.0))
