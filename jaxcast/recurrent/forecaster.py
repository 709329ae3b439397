"""A recurrent layer as a cell: it sees one value a step and forecasts the next, in open and in closed loop."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxcast.reservoirs import Readout, Scaler, as_series, check_dim, fit_readout, scaler_of
from jaxcast.rollout import Input, Output
from jaxcast.schedules import Scalar


class Constant(nnx.Variable[Any]):
    """A number that is not trained."""


class RecurrentForecaster(nnx.Module):
    """A cell of recurrent layers that forecasts the increment of a series.

        u_(n+1) = u_n + std * (W' [z_n, h_n] + b),    h_n the layers' output for the standardised value z_n

    Its memory fades; give a forecast a history as long as what it was trained on needs. Made by `fit_recurrent_readout`, or
    trained by `fit` with `nnx.Param` leaves in the layers and the readout.

    Args:
        layers: an `LSTM`, `GRU` or `RNN`, or a `Stack`, of as many inputs as a value has components.
        weights, bias: W (component + hidden, component) and b. scaler: mean and standard deviation of the training values.

    Raises:
        InputError: when rolled with values of another length.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> wave = jnp.sin(0.3 * jnp.arange(300.0))[:, None]
        >>> gru = jaxcast.GRU(in_size=1, hidden_size=20, key=jax.random.key(0), dtype=wave.dtype)
        >>> cell = jaxcast.fit_recurrent_readout(gru, wave, penalty=1e-6)
        >>> forecast = jaxcast.forecast(cell, wave[:100], num_leads=20).forecast
        >>> bool(abs(forecast - wave[100:120]).max() < 0.05)
        True
    """

    def __init__(self, layers: Any, weights: Float[Array, "feature dim"], bias: Float[Array, " dim"], scaler: Scaler):
        self.layers = layers
        self.weights, self.bias = nnx.Param(weights), nnx.Param(bias)
        self.mean, self.std = Constant(scaler.mean), Constant(scaler.std)
        self.warmup = 0

    @property
    def scaler(self) -> Scaler:
        return Scaler(self.mean[...], self.std[...])

    def init_carry(self, value: Float[Array, " dim"], given: Any = None) -> Any:
        """The layers' carry before the first value."""
        check_dim(value, self.scaler)
        return self.layers.init_carry()

    def __call__(self, carry: Any, x: Input) -> tuple[Any, Output]:
        scaled = self.scaler.apply(x.value)
        carry, hidden = self.layers.step(carry, scaled)
        features = jnp.concatenate([scaled, hidden.astype(scaled.dtype)], -1)
        step = Readout(self.weights[...], self.bias[...])(features)
        return carry, Output((x.value + self.scaler.std * step).astype(x.value.dtype), {})

    def feedback(self, output: Output, key: Any) -> Array:
        return output.forecast


def fit_recurrent_readout(
    layers: Any, values: Float[Any, "time dim"], *, penalty: Scalar = 1e-6, num_discarded: int = 50
) -> RecurrentForecaster:
    """A recurrent forecaster whose layers stay as they are, and whose readout is trained on one series in closed form.

        W, b = argmin sum_n |(u_(n+1) - u_n) / std - W' [z_n, h_n] - b|^2 + penalty |W|^2

    A start for training everything, or a forecaster of its own, as an echo state network with gates. Under `jax.vmap`
    over series the layers are the same for all.

    Args:
        penalty: for the sum over all samples; other numbers compile nothing. num_discarded: the first steps, in which the
            layers forget how they began.

    Raises:
        InputError: for a penalty that is not positive, or a series that is too short or not finite.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=400, dt=0.05)
        >>> lstm = jaxcast.LSTM(in_size=3, hidden_size=30, key=jax.random.key(0), dtype=truth.states.dtype)
        >>> cell = jaxcast.fit_recurrent_readout(lstm, truth.states)
        >>> jaxcast.forecast(cell, truth.states, num_leads=5).forecast.shape
        (5, 3)
    """
    states = as_series(values, num_discarded + 3, penalty)
    readout, scaler = _fit(layers, states, penalty, num_discarded=num_discarded)
    return RecurrentForecaster(layers, readout.weights, readout.bias, scaler)


@partial(jax.jit, static_argnames="num_discarded")
def _fit(layers: Any, states: Array, penalty: Scalar, *, num_discarded: int) -> tuple[Readout, Scaler]:
    scaler = scaler_of(states)
    scaled = scaler.apply(states)
    _, hidden = layers(scaled[:-1])
    features = jnp.concatenate([scaled[:-1], hidden.astype(scaled.dtype)], -1)
    return fit_readout(features[num_discarded:], jnp.diff(scaled, axis=0)[num_discarded:], penalty), scaler
