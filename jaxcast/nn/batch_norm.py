"""Batch normalisation whose statistics are measured once, after training."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.nn.layers import Buffer

EPSILON = 1e-5


class NormStatistics(NamedTuple):
    """Mean and variance of each feature.

    Args:
        mean: of each feature.
        variance: of each feature.
    """

    mean: Float[Array, "*seed feature"]
    variance: Float[Array, "*seed feature"]


class BatchNorm(nnx.Module):
    """Standardises each feature over a batch, with a trained factor and offset.

        y = g (x - mean) / sqrt(variance + 1e-5) + b

    In training, mean and variance are those of the minibatch. For predictions they are measured
    once, by a last pass over training samples, and kept: there are no running averages, and
    training changes no numbers besides the parameters.

    Args:
        size: number of features.
        dtype: of the parameters.

    Raises:
        InputError: for a size below one.

    Source:
        Ioffe and Szegedy (2015), algorithms 1 and 2.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> norm, inputs = jaxcast.nn.BatchNorm(size=1), jnp.asarray([[1.0], [3.0]])
        >>> norm(inputs, norm.measure(inputs)).round(3).tolist()
        [[-1.0], [1.0]]
        >>> norm.keep(norm.measure(inputs))
        >>> norm(jnp.asarray([[2.0]])).tolist()
        [[0.0]]
    """

    @checked
    def __init__(self, *, size: int, dtype: DTypeLike = jnp.float32):
        check_sizes(size=size)
        self.factor, self.offset = nnx.Param(jnp.ones(size, dtype)), nnx.Param(jnp.zeros(size, dtype))
        self.mean, self.variance = Buffer(jnp.zeros(size, dtype)), Buffer(jnp.ones(size, dtype))

    @checked
    def __call__(
        self, inputs: Float[Array, "*batch size"], statistics: NormStatistics | None = None
    ) -> Float[Array, "*batch size"]:
        """Standardises inputs.

        Args:
            inputs: of all samples.
            statistics: of the batch, in training; by default those that were kept.

        Returns:
            The standardised inputs.
        """
        mean, variance = (self.mean[...], self.variance[...]) if statistics is None else statistics
        scale = self.factor[...] * jax.lax.rsqrt(variance + EPSILON)
        return inputs * scale + (self.offset[...] - mean * scale)

    @checked
    def measure(self, inputs: Float[Array, "*batch size"]) -> NormStatistics:
        """Measures mean and variance over all axes but the last.

        Args:
            inputs: of all samples.

        Returns:
            The statistics of each feature.
        """
        axes = tuple(range(inputs.ndim - 1))
        return NormStatistics(inputs.mean(axes), inputs.var(axes))

    @checked
    def keep(self, statistics: NormStatistics) -> None:
        """Keeps statistics for predictions.

        Args:
            statistics: what `measure` returned, with the layer's leading seed axis if it has one.
        """
        for own, new in ((self.mean, statistics.mean), (self.variance, statistics.variance)):
            own[...] = new.astype(own[...].dtype)
