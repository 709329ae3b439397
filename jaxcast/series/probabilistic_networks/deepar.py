"""DeepAR: an autoregressive recurrent network that forecasts by sampled paths."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_flag, check_number, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.nn.layers import apply_flat, uniform_linear
from jaxcast.nn.stack import Stack
from jaxcast.series.panels.windows import PanelSizes, PanelWindows
from jaxcast.series.probabilistic_networks.abstract import LEVELS, PanelInputs
from jaxcast.series.probabilistic_networks.bases import SampledNetwork
from jaxcast.series.probabilistic_networks.steps import joined
from jaxcast.series.scaling import filled


class _Sequence(NamedTuple):
    """Values over the scale, the last known one where one is missing, and 1 where one is known."""

    values: Float[Array, "*batch step"]
    is_known: Float[Array, "*batch step"]


class DeepAR(SampledNetwork, name="deepar"):
    """An autoregressive recurrent network, trained by likelihood, that samples paths.

    Stacked LSTM layers see, at each step t, values of earlier steps, and make the distribution of
    the value of step t:

        h_t = LSTM(h_(t-1); x_(t-1), x_(t-l) for all lags l, covariates of t, the series)
        x_t ~ head(W h_t + b),    with skip_inputs head(W [h_t; inputs of t] + b)

    Values are divided by the scale of the window. Where one is missing, the last known one takes
    its place as an input, a number tells so of x_(t-1), and the likelihood leaves it out. Past
    covariates are those of step t-1; over the leads they stay as they were at the newest step.

    Training sees true values at each step, over the context and the leads. Forecasts run over the
    context once and then draw paths: each value drawn is an input of the next step. Quantiles are
    those of `num_paths` paths.

    Args:
        sizes: of the windows. The history holds the context and, before it, the longest lag.
        context_size: steps of the history that the network runs over; by default all but the
            longest lag.
        lags: steps back of the values that it sees; 1 always is one.
        hidden_size: components of each layer.
        num_layers: stacked LSTM layers.
        dropout: probability with which a component between two layers is set to zero in training.
        skip_inputs: whether the head sees the inputs of a step, too: a linear autoregression on the
            lags, to which the layers add.
        num_paths: paths of which quantiles are computed.
        head: the distribution of each step; see `PanelNetwork`.
        levels: quantile levels of the forecasts, rising.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for settings out of range, or a history that does not hold the context and the
            longest lag; when called, for windows of other sizes.

    Source:
        Salinas, Flunkert, Gasthaus and Januschowski, Int. J. Forecast. 36, 1181-1191 (2020). Sizes
        and lags as inputs are those of GluonTS (Alexandrov et al. 2020, JMLR 21:116).

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> windows = jaxcast.series.PanelWindows.plain(np.ones((5, 8)), np.ones((5, 2)))
        >>> network = jaxcast.series.DeepAR(windows.sizes(), lags=(1, 4), key=jax.random.key(0))
        >>> network.context_size, network(windows).info["quantiles"].shape
        (4, (5, 2, 11))
        >>> network.paths(windows, 20, jax.random.key(1)).shape
        (20, 5, 2)
    """

    @checked
    def __init__(
        self,
        sizes: PanelSizes,
        *,
        context_size: int | None = None,
        lags: Sequence[int] = (1,),
        hidden_size: int = 40,
        num_layers: int = 2,
        dropout: float | int = 0.1,
        skip_inputs: bool = False,
        num_paths: int = 100,
        head: str = "student_t",
        levels: Sequence[float] = LEVELS,
        key: Key[Array, ""],
        dtype: Any = jnp.float32,
    ):
        of_base, of_stack, of_out = jax.random.split(key, 3)
        super().__init__(sizes, head=head, levels=levels, key=of_base, dtype=dtype)
        for lag in lags:
            check_whole("every lag", lag)
        check_whole("num_paths", num_paths)
        check_number("dropout", dropout, least=0, most=0.99)
        self.lags = tuple(sorted({1, *lags}))
        self.context_size = _context_size(context_size, self.lags[-1], sizes.history_size)
        self.hidden_size, self.num_layers, self.num_paths = hidden_size, num_layers, num_paths
        check_flag("skip_inputs", skip_inputs)
        self.dropout, self.skip_inputs = float(dropout), skip_inputs
        input_size = len(self.lags) + 1 + sizes.num_past + sizes.num_known + self.static_size
        self.layers = Stack(
            "lstm",
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=self.dropout,
            dtype=self.dtype,
            key=of_stack,
        )
        num_seen = hidden_size + input_size * skip_inputs
        self.out = uniform_linear(
            num_seen, self.head.num_parameters, fan_in=num_seen, rngs=nnx.Rngs(of_out), dtype=self.dtype
        )

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {
            "context_size": self.context_size,
            "lags": list(self.lags),
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "dropout": self.dropout,
            "skip_inputs": self.skip_inputs,
            "num_paths": self.num_paths,
        }

    def loss(self, windows: PanelWindows, key: Any = None) -> Float[Array, ""]:
        """Computes the mean loss of all known values, each given the true ones before it.

        Args:
            windows: with their targets.
            key: of a step of training: it switches dropout on, and the values of the context count
                as well. Without one only the leads count, as held-out windows are to be judged.
        """
        inputs = self.inputs(windows)
        scale = inputs.scale[..., None]
        is_known = windows.weights > 0
        whole = jnp.concatenate([windows.history / scale, jnp.where(is_known, windows.targets / scale, jnp.nan)], -1)
        first = self.sizes.history_size - self.context_size
        steps = self._steps(inputs, self._sequence(whole), first, whole.shape[-1])
        raw = self._raw(self.layers(steps, key=key)[1], steps)
        if key is None:
            return self.mean_loss(raw[..., self.context_size :, :], windows.targets, windows.weights, scale)
        context = windows.history[..., first:]
        targets = jnp.concatenate([context, windows.targets], -1)
        weights = jnp.concatenate([jnp.isfinite(context).astype(windows.weights.dtype), windows.weights], -1)
        return self.mean_loss(raw, targets, weights, scale)

    @checked
    def paths(self, windows: PanelWindows, num_paths: int, key: Key[Array, ""]) -> Float[Array, "path *batch lead"]:
        """Draws paths of the leads.

        Args:
            windows: of the sizes of the network; their targets are not seen.
            num_paths: how many of each window.
            key: of the random numbers.

        Returns:
            The paths, in the units of the data.

        Raises:
            InputError: for no paths, or windows of other sizes.
        """
        check_whole("num_paths", num_paths)
        inputs = self.inputs(windows)
        batch = inputs.scale.shape
        size = math.prod(batch)
        inputs = PanelInputs(*(a.reshape(size, *a.shape[len(batch) :]) for a in inputs))
        history = _Sequence(inputs.values, inputs.is_known)
        end = self.sizes.history_size
        carry, _ = self.layers(self._steps(inputs, history, end - self.context_size, end))
        carry = jax.tree.map(lambda a: jnp.broadcast_to(a, (num_paths, *a.shape)), carry)
        drawn = self._drawn(inputs, history, carry, key)
        return jnp.moveaxis(drawn, 0, -1).reshape(num_paths, *batch, self.sizes.num_leads)

    def _drawn(
        self, inputs: PanelInputs, history: _Sequence, carry: Any, key: Array
    ) -> Float[Array, "lead path window"]:
        """Draws one lead after another, all paths of all windows at once."""
        num_leads, end = self.sizes.num_leads, self.sizes.history_size
        padded = [
            jnp.pad(a, ((0, 0), (0, num_leads)), constant_values=fill) for a, fill in zip(history, (0, 1), strict=True)
        ]
        # Lags that reach back into the history, and all that paths share; the lags come first.
        shared = jnp.moveaxis(self._steps(inputs, _Sequence(*padded), end, end + num_leads), 1, 0)
        rows = carry[0].h.shape[:2]
        own = [lag for lag in self.lags if lag < num_leads]

        def step(state: tuple[Any, Array], at: tuple[Array, Array, Array]) -> tuple[Any, Array]:
            carry, before = state
            lead, shared, key = at
            x = jnp.broadcast_to(shared, (*rows, shared.shape[-1]))
            reached = [
                jnp.where(lead >= lag, before[jnp.maximum(lead - lag, 0)], x[..., n]) for n, lag in enumerate(own)
            ]
            x = jnp.concatenate([jnp.stack(reached, -1), x[..., len(own) :]], -1) if own else x
            carry, hidden = self.layers.step(carry, x)
            values = self.distribution(self._raw(hidden, x), inputs.scale).sample(key, 1)[0]
            scaled = (values / inputs.scale).astype(before.dtype)
            return (carry, jax.lax.dynamic_update_index_in_dim(before, scaled, lead, 0)), values

        leads = (jnp.arange(num_leads), shared, jax.random.split(key, num_leads))
        start = (carry, jnp.zeros((num_leads, *rows), self.dtype))
        drawn: Array = jax.lax.scan(step, start, leads)[1]
        return drawn

    def _raw(self, hidden: Float[Array, "... hidden"], steps: Float[Array, "... _"]) -> Float[Array, "... parameter"]:
        """Returns the numbers of the head, of outputs of the layers and their inputs."""
        return apply_flat(self.out, jnp.concatenate([hidden, steps], -1) if self.skip_inputs else hidden)

    def _sequence(self, whole: Float[Array, "*batch step"]) -> _Sequence:
        """Returns scaled values with their gaps filled."""
        values = filled(whole[..., None], jnp.zeros(1, whole.dtype))[..., 0]
        return _Sequence(values.astype(self.dtype), jnp.isfinite(whole).astype(self.dtype))

    def _steps(self, inputs: PanelInputs, sequence: _Sequence, start: int, stop: int) -> Float[Array, "*batch step _"]:
        """Returns what the layers are given at steps from `start` to before `stop`."""
        lagged = [sequence.values[..., start - lag : stop - lag] for lag in self.lags]
        last = inputs.past[..., -1:, :]
        num_after = max(stop - 1 - inputs.past.shape[-2], 0)
        after = jnp.broadcast_to(last, (*last.shape[:-2], num_after, last.shape[-1]))
        past = jnp.concatenate([inputs.past[..., start - 1 : stop - 1, :], after], -2)
        flag = sequence.is_known[..., start - 1 : stop - 1, None]
        known = inputs.known[..., start:stop, :]
        return joined([jnp.stack(lagged, -1), flag, past, known], [inputs.static, inputs.embedded])


def _context_size(context_size: int | None, longest: int, history_size: int) -> int:
    """Returns the steps of the context, if the history holds them and the longest lag."""
    size = history_size - longest if context_size is None else context_size
    if longest >= history_size:
        raise InputError(f"a lag of {shown(longest)} needs a history of more than {longest} steps, got {history_size}")
    check_whole("context_size", size, most=history_size - longest)
    return size
