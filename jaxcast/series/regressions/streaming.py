"""Weights of regressions on lags from moments that are summed over chunks of samples."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.numerics.moments import Moments, ridge_of_moments
from jaxcast.precision import highest
from jaxcast.series.regressions.expansions import Expansion
from jaxcast.series.regressions.inputs import RegressionInputs, Window
from jaxcast.series.samples import SeriesWindows
from jaxcast.tracing import is_traced
from jaxcast.types import Scalar


def solve_streaming(
    samples: SeriesWindows,
    inputs: RegressionInputs,
    expansion: Expansion,
    penalty: Scalar,
    power: Scalar,
    *,
    predict_change: bool,
    each_region: bool,
    chunk_size: int,
) -> tuple[Float[Array, "*own lead_or_target feature"], Float[Array, "*own lead_or_target"]]:
    """Solves the normal equations of all leads, with one chunk of features in memory at a time.

    Args:
        samples: to learn from.
        inputs: that turn histories into features.
        expansion: phi.
        penalty: in units of the mean eigenvalue.
        power: of the scale, in the weights of errors.
        predict_change: whether targets are relative to the newest value.
        each_region: whether each region has weights of its own.
        chunk_size: samples of a chunk.

    Returns:
        The weights and the biases.
    """
    moments = sum_moments(
        samples,
        inputs,
        expansion,
        power,
        predict_change=predict_change,
        each_region=each_region,
        chunk_size=chunk_size,
    )
    return arranged(*ridge_of_moments(moments, penalty), samples, power)


def sum_moments(
    samples: SeriesWindows,
    inputs: RegressionInputs,
    expansion: Expansion,
    power: Scalar,
    *,
    predict_change: bool,
    each_region: bool,
    chunk_size: int,
) -> Moments:
    """Sums the products of features and outputs, chunk by chunk; an output is a target at a lead.

    Args:
        samples: to learn from.
        inputs: that turn histories into features.
        expansion: phi.
        power: of the scale, in the weights of errors.
        predict_change: whether targets are relative to the newest value.
        each_region: whether each region has weights of its own.
        chunk_size: samples of a chunk.

    Returns:
        The moments of all outputs at once where they weight samples alike; else of one output each,
        on a leading axis.
    """
    is_shared = _has_same_weights(samples, power)
    options = {"predict_change": predict_change, "each_region": each_region, "is_shared": is_shared}
    return _moments(samples, inputs, expansion, power, chunk_size=chunk_size, **options)


def arranged(
    weights: Array, bias: Array, samples: SeriesWindows, power: Scalar
) -> tuple[Float[Array, "*own lead_or_target feature"], Float[Array, "*own lead_or_target"]]:
    """Brings the solutions of `sum_moments` into the axes of a `LagRegression`.

    Args:
        weights: slopes, as `ridge_of_moments` returns them.
        bias: alike.
        samples: that were learned from.
        power: of the scale, in the weights of errors.

    Returns:
        The weights and the biases.
    """
    if _has_same_weights(samples, power):  # (*region, feature, output)
        weights = jnp.swapaxes(weights, -1, -2)
    else:  # (output, *region, feature, 1)
        weights, bias = jnp.moveaxis(weights[..., 0], 0, -2), jnp.moveaxis(bias[..., 0], 0, -1)
    outputs = (samples.targets.shape[1], *samples.targets.shape[3:])
    dtype = jnp.result_type(samples.history)
    weights = weights.reshape(*weights.shape[:-2], *outputs, weights.shape[-1]).astype(dtype)
    return weights, bias.reshape(*bias.shape[:-1], *outputs).astype(dtype)


def _has_same_weights(samples: SeriesWindows, power: Scalar) -> bool:
    """Whether all leads and targets weight samples alike, so that they share the products of features."""
    if is_traced(samples.weights) or is_traced(power):
        return False
    weights = np.asarray(samples.weights)
    weights = weights.reshape(*weights.shape[:3], -1)
    has_one_scale = weights.shape[3] == 1 or float(np.asarray(power)) == 0
    return has_one_scale and bool((weights == weights[:, :1, :, :1]).all())


def in_chunks(num_samples: int, chunk_size: int) -> Int[np.ndarray, "chunk sample"]:
    """Returns the numbers of samples in chunks of equal size; the last sample fills the last chunk.

    Args:
        num_samples: how many there are.
        chunk_size: how many a chunk has.

    Returns:
        The numbers.
    """
    numbers = np.arange(num_samples)
    return np.pad(numbers, (0, -num_samples % chunk_size), mode="edge").reshape(-1, chunk_size)


@partial(jax.jit, static_argnames=("predict_change", "each_region", "is_shared", "chunk_size"))
def _moments(
    samples: SeriesWindows,
    inputs: RegressionInputs,
    expansion: Expansion,
    power: Scalar,
    *,
    predict_change: bool,
    each_region: bool,
    is_shared: bool,
    chunk_size: int,
) -> Moments:
    num_samples = len(samples.targets)
    chunks = in_chunks(num_samples, chunk_size)
    is_first = np.arange(chunks.size).reshape(chunks.shape) < num_samples

    def of_chunk(numbers: Array, counts: Array) -> Moments:
        own = jax.tree.map(lambda a: a[numbers], samples)
        window = inputs(own.history, own.covariates)
        phi = expansion(window.features)
        phi = jnp.concatenate([phi, jnp.ones_like(phi[..., :1])], -1)
        targets, weights = _outputs(own, window, power, predict_change)
        weights = jnp.where(counts[:, None, None], weights, 0).astype(phi.dtype)
        sums = _sums(phi, targets, weights, each_region=each_region, is_shared=is_shared)
        return jax.tree.map(lambda a: a.astype(jnp.result_type(float)), sums)

    arguments = (jnp.asarray(chunks), jnp.asarray(is_first))
    like = jax.eval_shape(of_chunk, *(a[0] for a in arguments))
    zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)
    add = lambda sums, chunk: (jax.tree.map(jnp.add, sums, of_chunk(*chunk)), None)  # noqa: E731
    return jax.lax.scan(add, zero, arguments)[0]


def _outputs(
    samples: SeriesWindows, window: Window, power: Scalar, predict_change: bool
) -> tuple[Float[Array, "sample region output"], Float[Array, "sample region output"]]:
    """The targets in units of the scale, and their weights; an output is a target at a lead."""
    start = jnp.asarray(window.newest if predict_change else window.level)
    start = start[:, None] if start.ndim == window.newest.ndim else start
    targets = (samples.targets - start) / window.scale[:, None]
    weights = samples.weights * window.scale[:, None] ** (2 * power)
    regions_first = (jnp.moveaxis(a, 2, 1) for a in (targets, weights))
    flat = [a.reshape(*a.shape[:2], -1) for a in regions_first]
    return flat[0], flat[1]


@highest
def _sums(phi: Array, targets: Array, weights: Array, *, each_region: bool, is_shared: bool) -> Moments:
    own = "r" if each_region else ""

    def of_outputs(targets: Array, weights: Array) -> Moments:
        weighted = phi * weights[..., None]
        return Moments(
            jnp.einsum(f"nrf,nrg->{own}fg", weighted, phi),
            jnp.einsum(f"nrf,nro->{own}fo", weighted, targets),
            jnp.einsum(f"nr,nro->{own}o", weights, targets**2),
        )

    if is_shared:
        return of_outputs(targets, weights[..., 0])
    outputs_first = [jnp.moveaxis(a, -1, 0) for a in (targets, weights)]
    return jax.lax.map(lambda own: of_outputs(own[0][..., None], own[1]), tuple(outputs_first))
