"""Kernel ridge regression over delays, a strong forecaster of noise-free series."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_positive, is_zero, sizes_of
from jaxcast.errors import InputError
from jaxcast.forecasters.readout import as_series, no_lags
from jaxcast.nn.standardizer import Standardizer, standardizer_of
from jaxcast.numerics.delay_embedding import delay_embed
from jaxcast.numerics.ridge import gaussian_gram, ridge
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree
from jaxcast.rollout import DeterministicCell, Input, Output
from jaxcast.tracing import is_traced
from jaxcast.types import Scalar


class DelayKernelRidge(DeterministicCell, Checked, FrozenPytree, name="delay_kernel_ridge"):
    """Gaussian kernel ridge regression from weighted delays to the next increment.

        u_(n+1) = u_n + std * sum_i a_i exp( -|x_n - x_i|^2 / 2 b^2 )
        x_n = [w_0 z_n, w_1 z_(n-1), ..., w_(l-1) z_(n-l+1)]

    z are the standardised values, and x_i those of the training series. It sees no candidates and
    needs l values to start. Far from all training values it forecasts no change.
    `fit_delay_kernel_ridge` returns it.

    Args:
        points: x_i.
        coefficients: a_i.
        standardizer: of the training values.
        lag_weights: w.
        bandwidth: b.

    Raises:
        InputError: when rolled with values of another length.

    Source:
        Saunders, Gammerman and Vovk (1998); Hamzi and Owhadi, Physica D 421, 132817 (2021), for
        chaotic series.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> wave = jnp.sin(0.3 * jnp.arange(100.0))[:, None]
        >>> cell = jaxcast.forecasters.fit_delay_kernel_ridge(
        ...     wave, lag_weights=jnp.ones(3), bandwidth=1.0, penalty=1e-5
        ... )
        >>> forecast = jaxcast.forecast(cell, wave[:10], num_leads=30).forecast
        >>> bool(abs(forecast - wave[10:40]).max() < 1e-2)
        True
    """

    points: Float[Array, "sample lag_and_dim"]
    coefficients: Float[Array, "sample dim"]
    standardizer: Standardizer
    lag_weights: Float[Array, " lag"]
    bandwidth: Scalar

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        shapes = {
            ".points": "sample lagged",
            ".coefficients": "sample dim",
            ".standardizer.mean": "dim",
            ".standardizer.std": "dim",
        }
        sizes = sizes_of(self, shapes | {".lag_weights": "lag", ".bandwidth": ""}, seeds=True)
        if sizes["lagged"] != sizes["lag"] * sizes["dim"]:
            raise InputError(
                f"points must be of {sizes['lag']} lags of {sizes['dim']} components, got {sizes['lagged']}"
            )
        check_positive(bandwidth=self.bandwidth, std=self.standardizer.std)

    @property
    def warmup(self) -> int:
        return self.lag_weights.shape[-1] - 1

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> Float[Array, "lag dim"]:
        return no_lags(value, self.standardizer, self.warmup + 1)

    @checked
    @highest
    def __call__(self, carry: Float[Array, "lag dim"], x: Input) -> tuple[Float[Array, "lag dim"], Output]:
        newest = self.standardizer.apply(x.value).astype(carry.dtype)
        lags = jnp.concatenate([newest[None], carry])[: len(carry)]
        point = (self.lag_weights[:, None] * lags).ravel()
        near = gaussian_gram(point[None], self.points, self.bandwidth)[0]
        step = near @ self.coefficients
        return lags, Output((x.value + self.standardizer.std * step).astype(x.value.dtype), {})


@checked
def fit_delay_kernel_ridge(
    values: Float[Any, "time dim"],
    *,
    lag_weights: Float[Any, " lag"],
    bandwidth: Scalar = 1.0,
    penalty: Scalar | None = None,
) -> DelayKernelRidge:
    """Fits a kernel ridge regression to one series, in closed form.

        a = (K + penalty I)^(-1) y,    K_ij = exp( -|x_i - x_j|^2 / 2 b^2 )

    y are the standardised increments. Only the number of lags is static: other weights, bandwidths
    and penalties do not compile again, and `jax.vmap` fits many series or settings at once.

    Args:
        values: a series, evenly sampled.
        lag_weights: w, newest first; a lag of weight 0 is not used.
        bandwidth: b, in units of the root mean square distance of the training points from their
            mean.
        penalty: small for series without noise. By default the square root of the dtype's epsilon,
            the smallest that is safe from rounding; 0 is plain least squares.

    Returns:
        The forecaster.

    Raises:
        InputError: for a penalty below zero or so small that the kernel matrix is singular to
            rounding, or a series that is too short or not finite.

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=300, dt=0.05, transient=5.0)
        >>> fit = lambda b: jaxcast.forecasters.fit_delay_kernel_ridge(
        ...     truth.states, lag_weights=jnp.ones(2), bandwidth=b
        ... )
        >>> jax.vmap(fit)(jnp.asarray([0.5, 1.0])).points.shape
        (2, 298, 6)
    """
    lag_weights = jnp.asarray(lag_weights)
    if lag_weights.ndim != 1 or not lag_weights.size:
        raise InputError(f"expected a weight for each lag, (lag,), got shape {lag_weights.shape}")
    states = as_series(values, len(lag_weights) + 1, 1.0 if penalty is None else penalty)
    if penalty is None:
        penalty = float(jnp.finfo(states.dtype).eps) ** 0.5
    cell = _fit(states, lag_weights, bandwidth, penalty, is_plain=is_zero(penalty))
    if not is_traced(cell.coefficients) and not jnp.isfinite(cell.coefficients).all():
        raise InputError(
            f"expected a penalty above the rounding of {states.dtype}, got {penalty}: give a larger one, "
            "or compute in float64"
        )
    return cell


@partial(jax.jit, static_argnames="is_plain")
def _fit(states: Array, lag_weights: Array, bandwidth: Scalar, penalty: Scalar, *, is_plain: bool) -> DelayKernelRidge:
    standardizer = standardizer_of(states)
    scaled = standardizer.apply(states)
    lags = delay_embed(scaled[:-1], len(lag_weights)) * lag_weights[:, None].astype(states.dtype)
    points = lags.reshape(len(lags), -1)
    increments = jnp.diff(scaled, axis=0)[-len(points) :]
    centred = points - points.mean(0)
    width = jnp.asarray(bandwidth * jnp.sqrt(jnp.mean(jnp.sum(centred**2, -1))), states.dtype)
    kernel = gaussian_gram(centred, centred, width) + penalty * jnp.eye(len(points), dtype=states.dtype)
    if is_plain:  # the least coefficients, also where points repeat
        coefficients = ridge(kernel, increments, 0.0)
    else:
        coefficients = jax.scipy.linalg.solve(kernel, increments, assume_a="pos")
    return DelayKernelRidge(points, coefficients, standardizer, lag_weights.astype(states.dtype), width)
