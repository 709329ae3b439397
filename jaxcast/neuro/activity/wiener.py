"""Wiener's deconvolution: the plain row beside Total Activation."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_number
from jaxcast.neuro.activity.filters import HaemodynamicModel, haemodynamic_response
from jaxcast.neuro.activity.series import check_series, checked_noise_level
from jaxcast.precision import highest

NUM_HALVINGS = 60
"""Of the interval in which the logarithm of the penalty is looked for."""


@checked
def wiener_activity(
    series: Shaped[ArrayLike, "time ..."],
    *,
    repetition_time: float,
    noise_level: Shaped[ArrayLike, "..."],
    model: HaemodynamicModel | str = "balloon",
) -> Float[Array, "time ..."]:
    """Deconvolves series linearly, by ridge regression on the haemodynamic response.

        min_u  |y - H u|^2 + penalty |u|^2

    The penalty of each voxel is the one whose residual has the standard deviation of the noise.

    Args:
        series: y, one column for each voxel or region.
        repetition_time: TR, seconds from scan to scan.
        noise_level: standard deviation of the noise of each voxel, or of all, such as
            `wavelet_noise_level` estimates it.
        model: "balloon", "spm", or a haemodynamic model of your own.

    Returns:
        The activity u; zero where the noise is as large as the series.

    Raises:
        InputError: for NaN, too few scans, noise levels that are not positive or of another shape,
            or a model that is none.

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp, numpy as np
        >>> data = jaxcast.neuro.simulate_activity(np.asarray([0, 1]), snr=10.0, key=jax.random.key(0))
        >>> found = jaxcast.neuro.wiener_activity(
        ...     data.series, repetition_time=1.0, noise_level=data.noise_level
        ... )
        >>> bool(jnp.corrcoef(found[:, 0], data.activity[:, 0])[0, 1] > 0.9)
        True
    """
    check_series(series)
    check_number("repetition_time", repetition_time, above=0)
    series = jnp.asarray(series)
    shape, columns = series.shape, series.reshape(len(series), -1)
    level = checked_noise_level(noise_level, columns, shape[1:])
    response = haemodynamic_response(model, repetition_time=repetition_time, num_scans=len(columns))
    return _wiener(columns, level, jnp.asarray(response, columns.dtype)).reshape(shape)


@jax.jit
@highest
def _wiener(series: Array, noise_level: Array, response: Array) -> Array:
    num_scans = len(response)
    lags = jnp.arange(num_scans)[:, None] - jnp.arange(num_scans)
    system = jnp.where(lags >= 0, response[jnp.maximum(lags, 0)], 0.0)
    left, values, right = jnp.linalg.svd(system)
    rotated = left.T @ series

    def residual(log_penalty: Array) -> Array:
        """Returns the mean square of what each voxel's ridge regression leaves over."""
        share = 1 / (1 + values[:, None] ** 2 / jnp.exp(log_penalty))
        return jnp.mean((share * rotated) ** 2, 0)

    def halve(_: Any, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = (low + high) / 2
        is_small = residual(middle) < noise_level**2
        return jnp.where(is_small, middle, low), jnp.where(is_small, high, middle)

    top = 2 * jnp.log(values[0])
    start = jnp.full_like(noise_level, top - 30), jnp.full_like(noise_level, top + 15)
    low, high = jax.lax.fori_loop(0, NUM_HALVINGS, halve, start)
    weights = values[:, None] / (values[:, None] ** 2 + jnp.exp((low + high) / 2))
    found = right.T @ (weights * rotated)
    return jnp.where(jnp.mean(series**2, 0) > noise_level**2, found, 0)
