"""Recurrent layers as a cell that forecasts the next value."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_positive
from jaxcast.errors import InputError, shown
from jaxcast.forecasters.readout import Readout, as_series, check_dim, fit_readout
from jaxcast.nn.layers import Buffer
from jaxcast.nn.network import check_bounds, check_settings, filled_in
from jaxcast.nn.recurrent_layer import StepwiseLayers
from jaxcast.nn.stack import LAYERS, Stack
from jaxcast.nn.standardizer import Standardizer, standardizer_of
from jaxcast.rollout import DeterministicCell, Input, Output
from jaxcast.tracing import is_traced
from jaxcast.types import Scalar

_LAYERS: dict[str, Any] = LAYERS | {"stack": Stack}


class RecurrentForecaster(DeterministicCell, Checked, nnx.Module, name="recurrent"):
    """Recurrent layers that forecast the increment of a series.

        u_(n+1) = u_n + std * (W' [z_n, h_n] + b)

    h_n is the layers' output for the standardised value z_n. The memory fades, so give a forecast a
    history as long as the training steps. `fit_recurrent_readout` and `fit_recurrent_forecaster`
    return it; `fit` trains it too.

    Args:
        layers: an `LSTM`, `GRU`, `RNN` or `Stack`, with an input for each component of a value.
        weights: W, (component + hidden, component).
        bias: b.
        standardizer: mean and standard deviation of the training values.

    Raises:
        InputError: when rolled with values of another length.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> wave = jnp.sin(0.3 * jnp.arange(300.0))[:, None]
        >>> gru = jaxcast.nn.GRU(input_size=1, hidden_size=20, key=jax.random.key(0), dtype=wave.dtype)
        >>> cell = jaxcast.forecasters.fit_recurrent_readout(wave, layers=gru, penalty=1e-6)
        >>> forecast = jaxcast.forecast(cell, wave[:100], num_leads=20).forecast
        >>> bool(abs(forecast - wave[100:120]).max() < 0.05)
        True
    """

    warmup = 0

    @checked
    def __init__(
        self, layers: Any, weights: Float[Array, "feature dim"], bias: Float[Array, " dim"], standardizer: Standardizer
    ):
        self.layers = layers
        self.weights, self.bias = nnx.Param(weights), nnx.Param(bias)
        self.mean, self.std = Buffer(standardizer.mean), Buffer(standardizer.std)

    @property
    def config(self) -> dict[str, Any]:
        """The components of a value, and the layers' kind and settings."""
        names = [name for name, kind in _LAYERS.items() if type(self.layers) is kind]
        if not names:
            raise InputError(f"cannot save layers of your own class {type(self.layers).__name__}")
        return {"dim": self.mean.shape[-1], "layers": names[0], "of_layers": self.layers.config}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], arrays: Mapping[str, Any]) -> "RecurrentForecaster":
        """Makes the forecaster whose layers have these settings, and puts arrays into it.

        Args:
            config: of the forecaster that was saved.
            arrays: all of them, by their paths; they may have further axes of seeds in front, the
                same ones.

        Returns:
            The forecaster.

        Raises:
            InputError: for settings or arrays that no such forecaster has.
        """
        check_bounds(config, arrays)
        like = jax.eval_shape(lambda key: _untrained(**config, key=key), jax.random.key(0))
        check_settings(like.config, config)
        filled: RecurrentForecaster = filled_in(like, arrays, seeds=True)
        return filled

    def check(self) -> None:
        """Raises InputError for settings or arrays out of range."""
        check_positive(std=self.std[...])

    @property
    def standardizer(self) -> Standardizer:
        """Mean and standard deviation of the training values, (dim,) each."""
        return Standardizer(self.mean[...], self.std[...])

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> Any:
        # The first value has no effect on the carry.
        check_dim(value, self.standardizer)
        return self.layers.init_carry()

    def __call__(self, carry: Any, x: Input) -> tuple[Any, Output]:
        scaled = self.standardizer.apply(x.value)
        carry, hidden = self.layers.step(carry, scaled)
        features = jnp.concatenate([scaled, hidden.astype(scaled.dtype)], -1)
        step = Readout(self.weights[...], self.bias[...])(features)
        return carry, Output((x.value + self.standardizer.std * step).astype(x.value.dtype), {})


def _untrained(*, dim: int, layers: str, of_layers: dict[str, Any], key: Key[Array, ""]) -> RecurrentForecaster:
    """Makes an untrained forecaster whose layers have these settings."""
    made = _LAYERS[layers](**of_layers, key=key)
    _, hidden = made.step(made.init_carry(), jnp.zeros(dim))
    standardizer = Standardizer(jnp.zeros(dim), jnp.ones(dim))
    return RecurrentForecaster(made, jnp.zeros((dim + len(hidden), dim)), jnp.zeros(dim), standardizer)


@checked
def fit_recurrent_readout(
    values: Float[Any, "time dim"], *, layers: Any, penalty: Scalar = 1e-6, num_discarded: int = 50
) -> RecurrentForecaster:
    """Fits the readout of given recurrent layers to one series, in closed form.

        W, b = argmin sum_n |(u_(n+1) - u_n) / std - W' [z_n, h_n] - b|^2 + penalty |W|^2

    The result is a start for training everything, or a forecaster by itself: an echo state network
    with gates. Under `jax.vmap` over series all share the layers.

    Args:
        values: a series, evenly sampled.
        layers: the layers, which are not trained.
        penalty: for the sum over all samples; a new value does not compile again.
        num_discarded: first steps, in which the layers forget their initial carry.

    Returns:
        The forecaster.

    Raises:
        InputError: for a penalty or num_discarded below zero, a series that is too short or not
            finite, or layers that need whole sequences.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=400, dt=0.05)
        >>> lstm = jaxcast.nn.LSTM(input_size=3, hidden_size=30, key=jax.random.key(0), dtype=truth.states.dtype)
        >>> cell = jaxcast.forecasters.fit_recurrent_readout(truth.states, layers=lstm)
        >>> jaxcast.forecast(cell, truth.states, num_leads=5).forecast.shape
        (5, 3)
    """
    if num_discarded < 0:
        raise InputError(f"num_discarded must be zero or more, got {num_discarded}")
    states = as_series(values, num_discarded + 3, penalty)
    _check_layers(layers, states)
    readout, standardizer = _fit(layers, states, penalty, num_discarded=num_discarded)
    return RecurrentForecaster(layers, readout.weights, readout.bias, standardizer)


@checked
def fit_recurrent_forecaster(
    values: Float[Any, "time dim"],
    *,
    layers: Any,
    num_optimizer_steps: int = 200,
    learning_rate: Scalar = 0.03,
    penalty: Scalar = 1e-3,
    num_discarded: int = 30,
    chunk_size: int = 100,
) -> RecurrentForecaster:
    """Fits a recurrent forecaster to one series: layers by gradients, readout in closed form.

        min_layers log min_(W, b) sum_n |(u_(n+1) - u_n) / std - W' [z_n, h_n] - b|^2 + penalty
        |W|^2

    As the readout is always optimal for its layers, their gradient is that with the readout held
    fixed. Each step of Adam, whose rate falls to zero along a half cosine, uses the whole series,
    cut into chunks. The final readout is `fit_recurrent_readout` on the uncut series. `jax.vmap`
    over layers and series trains many.

    Args:
        values: a series, evenly sampled.
        layers: the initial layers.
        num_optimizer_steps: steps of Adam.
        learning_rate: Adam's, before its decay.
        penalty: for the sum over all samples.
        num_discarded: steps before each chunk, in which the layers forget their initial carry.
        chunk_size: steps of a chunk, through which gradients go back.

    Returns:
        The forecaster.

    Raises:
        InputError: for a penalty below zero, a learning rate that is not positive, sizes below one,
            a series that is too short, not finite or constant, or layers that need whole sequences.

    Source:
        Golub and Pereyra, SIAM J. Numer. Anal. 10, 413 (1973), variable projection.

    Example:
        >>> import jax, jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=400, dt=0.05)
        >>> gru = jaxcast.nn.GRU(input_size=1, hidden_size=8, key=jax.random.key(0), dtype=truth.states.dtype)
        >>> cell = jaxcast.forecasters.fit_recurrent_forecaster(truth.states[:, :1], layers=gru, num_optimizer_steps=20)
        >>> jaxcast.forecast(cell, truth.states[:, :1], num_leads=5).forecast.shape
        (5, 1)
    """
    if min(num_optimizer_steps, num_discarded, chunk_size) < 1:
        raise InputError(
            "num_optimizer_steps, num_discarded and chunk_size must be at least 1, "
            f"got {num_optimizer_steps}, {num_discarded}, {chunk_size}"
        )
    if not is_traced(learning_rate) and not 0 < float(np.asarray(learning_rate)) < np.inf:
        raise InputError(f"learning_rate must be positive and finite, got {learning_rate}")
    states = as_series(values, num_discarded + chunk_size + 1, penalty)
    if not is_traced(states) and not (states != states[0]).any():
        raise InputError(f"expected a series that changes, got {shown(states[0].tolist())} at all {len(states)} times")
    _check_layers(layers, states)
    layers = _train(
        layers,
        states,
        learning_rate,
        penalty,
        num_optimizer_steps=num_optimizer_steps,
        num_discarded=num_discarded,
        chunk_size=chunk_size,
    )
    return fit_recurrent_readout(states, layers=layers, penalty=penalty, num_discarded=num_discarded)


def _check_layers(layers: Any, states: Array) -> None:
    """Checks that layers can be called step by step."""
    if not isinstance(layers, StepwiseLayers):
        raise InputError(
            f"expected layers that go step by step, got {type(layers).__name__}, which needs whole sequences"
        )
    jax.eval_shape(layers.step, layers.init_carry(), states[0])


@partial(jax.jit, static_argnames=("num_optimizer_steps", "num_discarded", "chunk_size"))
def _train(
    layers: Any,
    states: Array,
    learning_rate: Scalar,
    penalty: Scalar,
    *,
    num_optimizer_steps: int,
    num_discarded: int,
    chunk_size: int,
) -> Any:
    scaled = standardizer_of(states).apply(states)
    num_pieces = (len(scaled) - 1 - num_discarded) // chunk_size
    ends = len(scaled) - 1 - chunk_size * jnp.arange(num_pieces)[:, None]
    rows = ends + jnp.arange(-num_discarded - chunk_size, 0)
    targets = jnp.diff(scaled, axis=0)[rows[:, num_discarded:]]

    gradient = jax.grad(projected_loss)
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, num_optimizer_steps))

    def update(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        layers, moments = state
        changes, moments = optimizer.update(gradient(layers, scaled[rows], targets, penalty), moments)
        return (optax.apply_updates(layers, changes), moments), None

    (layers, _), _ = jax.lax.scan(update, (layers, optimizer.init(layers)), None, num_optimizer_steps)
    return layers


def projected_loss(
    layers: Any, pieces: Float[Array, "piece time dim"], targets: Float[Array, "piece step dim"], penalty: Scalar
) -> Float[Array, ""]:
    """Computes the loss of `fit_recurrent_forecaster`.

    Args:
        layers: the layers.
        pieces: standardised values of the chunks, with the discarded steps before them.
        targets: standardised increments of the chunks.
        penalty: for the sum over all samples.
    """
    features = _features(layers, pieces)[:, -targets.shape[1] :]
    features, targets = (a.reshape(-1, a.shape[-1]) for a in (features, targets))
    # The readout is a minimum: moving it with the layers would add nothing to their gradient.
    readout = fit_readout(jax.lax.stop_gradient(features), targets, penalty)
    return jnp.log(jnp.sum((readout(features) - targets) ** 2) + penalty * jnp.sum(readout.weights**2))


@partial(jax.jit, static_argnames="num_discarded")
def _fit(layers: Any, states: Array, penalty: Scalar, *, num_discarded: int) -> tuple[Readout, Standardizer]:
    standardizer = standardizer_of(states)
    scaled = standardizer.apply(states)
    features = _features(layers, scaled[:-1])
    return fit_readout(features[num_discarded:], jnp.diff(scaled, axis=0)[num_discarded:], penalty), standardizer


def _features(layers: Any, scaled: Float[Array, "*batch time dim"]) -> Float[Array, "*batch time feature"]:
    """Computes the features of the readout at each step."""
    _, hidden = layers(scaled)
    return jnp.concatenate([scaled, hidden.astype(scaled.dtype)], -1)
