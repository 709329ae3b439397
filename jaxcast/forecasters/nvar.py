"""Nonlinear vector autoregression, in closed form."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_positive, check_whole, sizes_of
from jaxcast.dynamics.gaps import filled_rows, known_throughout
from jaxcast.forecasters.readout import Readout, as_series, fit_readout, no_lags, scaled_readout
from jaxcast.nn.standardizer import Standardizer, standardizer_of
from jaxcast.numerics.delay_embedding import delay_embed
from jaxcast.numerics.polynomials import monomials, products
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import DeterministicCell, Input, Output
from jaxcast.types import Scalar


class NVAR(DeterministicCell, Checked, FrozenPytree, name="nvar"):
    """Nonlinear vector autoregression of the increment, or next-generation reservoir computing.

        u_(n+1) = u_n + std * (W' g_n + b)
        g_n = all monomials of degree 1 to p in [z_n, z_(n-s), ..., z_(n-(k-1)s)]

    z are the standardised values. It sees no candidates and needs (k - 1) s + 1 values to start.
    `fit_nvar` returns it.

    Args:
        readout: W and b.
        standardizer: of the training values.
        num_delays: k.
        skip: s.
        degree: p.

    Raises:
        InputError: when rolled with values of another length.

    Source:
        Gauthier, Bollt, Griffith and Barbosa, Nature Communications 12, 5564 (2021), eq. 5 to 10.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=400, dt=0.05)
        >>> cell = jaxcast.forecasters.fit_nvar(truth.states, num_delays=2, penalty=1e-6)
        >>> jaxcast.forecast(cell, truth.states[:2], num_leads=5).forecast.shape
        (5, 3)
    """

    readout: Readout
    standardizer: Standardizer
    num_delays: int = static()
    skip: int = static()
    degree: int = static()

    def __post_init__(self) -> None:
        check_settings(self.num_delays, self.skip, self.degree)

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_floats(self)
        sizes = sizes_of(self, scaled_readout("feature"), seeds=True)
        check_positive(std=self.standardizer.std)
        most = sizes["feature"]
        check_whole("num_delays * dim", self.num_delays * sizes["dim"], most=most)
        check_whole("degree", self.degree, most=most)
        num_features = math.comb(self.num_delays * sizes["dim"] + self.degree, self.degree) - 1
        check_whole("the number of features", most, least=num_features, most=num_features)

    @property
    def warmup(self) -> int:
        return (self.num_delays - 1) * self.skip

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> Float[Array, "lag dim"]:
        return no_lags(value, self.standardizer, self.warmup + 1)

    @checked
    def __call__(self, carry: Float[Array, "lag dim"], x: Input) -> tuple[Float[Array, "lag dim"], Output]:
        newest = self.standardizer.apply(x.value).astype(carry.dtype)
        lags = jnp.concatenate([newest[None], carry])[: len(carry)]
        step = self.readout(_features(lags[:: self.skip].ravel(), self.degree))
        return lags, Output((x.value + self.standardizer.std * step).astype(x.value.dtype), {})


def check_settings(num_delays: int, skip: int, degree: int) -> None:
    """Checks the settings of an NVAR.

    Args:
        num_delays: k.
        skip: s.
        degree: p.

    Raises:
        InputError: for sizes below one.
    """
    for name, size in {"num_delays": num_delays, "skip": skip, "degree": degree}.items():
        check_whole(name, size)


def _features(lags: Float[Array, "*batch lagged"], degree: int) -> Float[Array, "*batch monomial"]:
    """Computes all monomials except the constant, which is the bias of the readout."""
    return products(lags, monomials(lags.shape[-1], degree)[1:])


@checked
def fit_nvar(
    values: Float[Any, "time dim"],
    *,
    num_delays: int = 2,
    skip: int = 1,
    degree: int = 2,
    penalty: Scalar = 1e-6,
    known: Bool[Any, "..."] | None = None,
) -> NVAR:
    """Fits an NVAR to one series, in closed form.

        W, b = argmin sum_n |(u_(n+1) - u_n) / std - W' g_n - b|^2 + penalty |W|^2

    Args:
        values: a series, evenly sampled.
        num_delays: k, the past values that it sees.
        skip: s, samples from one of them to the next.
        degree: of the polynomial, at least 1.
        penalty: for the sum over all samples; a new value does not compile again.
        known: which values or components are known, (time,) or (time, dim); by default all. Samples
            with an unknown one are left out.

    Returns:
        The forecaster.

    Raises:
        InputError: for sizes below one, a penalty below zero, a series that is too short or not
            finite where it is known, a mask of another shape, or one without any sample.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> wave = jnp.sin(0.3 * jnp.arange(200.0))[:, None]
        >>> cell = jaxcast.forecasters.fit_nvar(wave, num_delays=2, degree=1, penalty=1e-9)
        >>> forecast = jaxcast.forecast(cell, wave[:10], num_leads=50).forecast
        >>> bool(abs(forecast - wave[10:60]).max() < 1e-2)
        True
    """
    check_settings(num_delays, skip, degree)
    span = (num_delays - 1) * skip + 2
    if known is None:
        states = as_series(values, span, penalty)
        readout, standardizer = _fit_nvar(states, penalty, num_delays=num_delays, skip=skip, degree=degree)
        return NVAR(readout, standardizer, num_delays, skip, degree)
    values, rows = filled_rows(jnp.asarray(values), known)
    states = as_series(values, span, penalty)
    standardizer = standardizer_of(states[rows])
    features, increments = _samples(standardizer.apply(states), num_delays=num_delays, skip=skip, degree=degree)
    found = known_throughout(rows, span)
    return NVAR(fit_readout(features[found], increments[found], penalty), standardizer, num_delays, skip, degree)


@partial(jax.jit, static_argnames=("num_delays", "skip", "degree"))
def _fit_nvar(
    states: Array, penalty: Scalar, *, num_delays: int, skip: int, degree: int
) -> tuple[Readout, Standardizer]:
    standardizer = standardizer_of(states)
    samples = _samples(standardizer.apply(states), num_delays=num_delays, skip=skip, degree=degree)
    return fit_readout(*samples, penalty), standardizer


def _samples(scaled: Array, *, num_delays: int, skip: int, degree: int) -> tuple[Array, Array]:
    """Returns features and increments along standardised states."""
    lags = delay_embed(scaled[:-1], (num_delays - 1) * skip + 1)[:, ::skip]
    features = _features(lags.reshape(len(lags), -1), degree)
    return features, jnp.diff(scaled, axis=0)[-len(lags) :]
