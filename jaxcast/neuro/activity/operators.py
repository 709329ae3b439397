"""Products of a filter with many series at once, as fast as its length allows."""

from abc import abstractmethod
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.backends.dispatch import compile_apart
from jaxcast.neuro.activity.filters import HaemodynamicFilter
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static

MOST_TAPS = 32
"""The longest response that is applied term by term; from there on a matrix product is faster."""


class FilterOperator(FrozenPytree):
    """A filter that starts from zero, applied to (time, voxel)."""

    @abstractmethod
    def forward(self, series: Float[Array, "time voxel"]) -> Float[Array, "time voxel"]:
        """Returns A x.

        Args:
            series: x.
        """

    @abstractmethod
    def transposed(self, series: Float[Array, "time voxel"]) -> Float[Array, "time voxel"]:
        """Returns A' x.

        Args:
            series: x.
        """


class ShortFilter(FilterOperator):
    """A filter whose response ends after a few scans: a sum of shifted series.

    Args:
        response: its terms, static, so that they are constants of the compiled program.
    """

    response: tuple[float, ...] = static()

    def forward(self, series: Float[Array, "time voxel"]) -> Float[Array, "time voxel"]:
        """Returns the sum of the series, each shifted forward in time."""
        return compile_apart(self._forward, series)

    def transposed(self, series: Float[Array, "time voxel"]) -> Float[Array, "time voxel"]:
        """Returns the sum of the series, each shifted backward in time."""
        return compile_apart(self._transposed, series)

    def _forward(self, series: Any) -> Any:
        last = len(self.response) - 1
        padded = jnp.pad(series, ((last, 0), (0, 0)))
        return sum(weight * padded[last - k : last - k + len(series)] for k, weight in enumerate(self.response))

    def _transposed(self, series: Any) -> Any:
        padded = jnp.pad(series, ((0, len(self.response) - 1), (0, 0)))
        return sum(weight * padded[k : k + len(series)] for k, weight in enumerate(self.response))


class LongFilter(FilterOperator):
    """A filter with a long response, as a matrix.

    Args:
        matrix: (time, time).
    """

    matrix: Float[Array, "time time"]

    @highest
    def forward(self, series: Float[Array, "time voxel"]) -> Float[Array, "time voxel"]:
        """Returns the product with the matrix."""
        return self.matrix @ series

    @highest
    def transposed(self, series: Float[Array, "time voxel"]) -> Float[Array, "time voxel"]:
        """Returns the product with the transposed matrix."""
        return self.matrix.T @ series


def filter_operator(haemodynamic: HaemodynamicFilter, num_scans: int, dtype: Any) -> FilterOperator:
    """Returns the faster of the two forms of a filter.

    Args:
        haemodynamic: the filter.
        num_scans: length of the series.
        dtype: of the series.
    """
    matrix = haemodynamic.matrix(num_scans)
    response = matrix[:, 0]
    is_causal = len(haemodynamic.backward_denominator) == 1
    counts = np.flatnonzero(np.abs(response) > np.finfo(dtype).eps * np.abs(response).max() / 16)
    num_taps = int(counts[-1]) + 1
    if is_causal and num_taps <= MOST_TAPS:
        return ShortFilter(tuple(map(float, response[:num_taps])))
    return LongFilter(jnp.asarray(matrix, dtype))
