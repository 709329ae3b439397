"""Training losses for one-step samples and for chunks."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.pooling.samples import OneStepSamples, SequenceChunks


@checked
def mean_squared_error(model: Any, samples: OneStepSamples) -> Float[Array, ""]:
    """Computes the mean squared one-step error over samples and components, the published loss.

    Args:
        model: a pool.
        samples: to forecast.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=10)
        >>> samples = jaxcast.one_step_samples(truth, num_delays=1)
        >>> bool(jaxcast.pooling.mean_squared_error(jaxcast.pooling.Persistence(), samples) > 0)
        True
    """
    outputs = model(samples.memory, samples.forecasts)
    return jnp.mean((outputs.forecast - samples.targets) ** 2)


@checked
def error_over_time(model: Any, chunks: SequenceChunks) -> Float[Array, ""]:
    """Computes the mean squared one-step error along chunks, without their burn-in.

    It is the loss of pools with a recurrent memory, for `fit` on `sequence_chunks`. The burn-in are
    the steps during which the memory fills, `model.memory.warmup`.

    Args:
        model: a pool such as `RecurrentAttention`.
        chunks: to forecast.

    Raises:
        InputError: for chunks no longer than the burn-in.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=30)
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> chunks = jaxcast.pooling.sequence_chunks(truth, candidates, length=8)
        >>> pool = jaxcast.pooling.RecurrentAttention(dim=3, hidden_size=4, key=jax.random.key(0))
        >>> bool(jaxcast.pooling.error_over_time(pool, chunks) > 0)
        True
    """
    # The first value of a chunk is the second of a rolled cell.
    burn_in = max(model.memory.warmup(with_errors=True) - 1, 0)
    if chunks.values.shape[-2] <= burn_in:
        raise InputError(f"chunks must be longer than the burn-in of {burn_in} steps, got {chunks.values.shape[-2]}")
    outputs = model.along(chunks.values, chunks.errors, chunks.forecasts)
    return jnp.mean((outputs.forecast - chunks.targets)[..., burn_in:, :] ** 2)
