"""Noise level of series, from their finest wavelet coefficients."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_number
from jaxcast.neuro.activity.series import check_series

HIGH_PASS = (
    -0.3326705529509569,
    0.8068915093133388,
    -0.4598775021193313,
    -0.13501102001039084,
    0.08544127388224149,
    0.035226291882100656,
)
"""Daubechies' wavelet with three vanishing moments: it is blind to quadratic trends."""
ORIGINAL_DIVISOR = 0.8095
GAUSSIAN_DIVISOR = 0.6745


@checked
def wavelet_noise_level(
    series: Shaped[ArrayLike, "time ..."], *, divisor: float = ORIGINAL_DIVISOR
) -> Float[Array, "..."]:
    """Estimates the standard deviation of white noise in each series.

        sigma = median |c - median c| / divisor

    over the finest coefficients c of Daubechies' wavelet with three vanishing moments, with the
    series mirrored at both ends. The median ignores the few coefficients that hold signal.

    Args:
        series: one column for each voxel or region.
        divisor: 0.8095 as in the original Total Activation, or 0.6745, which is right for Gaussian
            noise and gives a level 20 % higher.

    Returns:
        sigma of each series.

    Raises:
        InputError: for NaN or infinity, fewer than 12 scans, or a divisor that is not positive.

    Source:
        Donoho and Johnstone, Biometrika 81, 425-455 (1994); Karahanoglu et al., NeuroImage 73,
        121-134 (2013).

    Example:
        >>> import jax, jaxcast
        >>> noise = 3 * jax.random.normal(jax.random.key(0), (4000,))
        >>> bool(abs(jaxcast.neuro.wavelet_noise_level(noise, divisor=0.6745) - 3) < 0.3)
        True
    """
    check_number("divisor", divisor, above=0)
    check_series(series)
    return _level(jnp.asarray(series)) / divisor


@jax.jit
def _level(series: Array) -> Array:
    size, num_scans = len(HIGH_PASS), len(series)
    mirrored = np.pad(np.arange(num_scans), size - 1, mode="symmetric")
    starts = np.arange(1, num_scans + size - 1, 2)
    terms = (weight * series[mirrored[starts + size - 1 - k]] for k, weight in enumerate(HIGH_PASS))
    coefficients = sum(terms, jnp.zeros((), series.dtype))
    return jnp.median(jnp.abs(coefficients - jnp.median(coefficients, axis=0)), axis=0)
