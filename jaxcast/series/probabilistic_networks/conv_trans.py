"""ConvTrans: a decoder-only transformer that forecasts by sampled paths."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_flag, check_number, check_whole
from jaxcast.errors import InputError
from jaxcast.nn.dropout import NO_DROPOUT, Dropout
from jaxcast.nn.layers import apply_flat, chosen_heads, uniform_linear
from jaxcast.series.panels.windows import PanelSizes, PanelWindows
from jaxcast.series.probabilistic_networks.abstract import LEVELS, PanelInputs
from jaxcast.series.probabilistic_networks.bases import SampledNetwork
from jaxcast.series.probabilistic_networks.conv_trans_layers import ConvTransLayer, LayerCache, log_sparse_mask
from jaxcast.series.probabilistic_networks.steps import joined
from jaxcast.series.scaling import filled


class _Sequence(NamedTuple):
    """Values over the scale, the last known one where one is missing, and whether one is known."""

    values: Float[Array, "window step"]
    is_known: Bool[Array, "window step"]


class ConvTrans(SampledNetwork, name="conv_trans"):
    """A decoder-only transformer with convolved queries and keys, which samples paths.

    Each step t sees the values up to step t-1 and the covariates of step t, and makes the
    distribution of the value of step t. Queries and keys are causal convolutions over the inputs,
    so that a step looks for shapes and not for single values. With `log_sparse`, a step sees
    itself and the steps 1, 2, 4, 8, ... before; the mask saves no time here, all scores are
    computed.

    Training sees true values at each step, over the history and the leads. Forecasts run over the
    history once, keep keys and values, and then draw paths: each value drawn is an input of the
    next step. Quantiles are those of `num_paths` paths. Values are divided by the scale of the
    window. Where one is missing, the last known one takes its place as an input; steps before a
    series begins are not seen. Past covariates stay over the leads as they were at the newest step.

    Args:
        sizes: of the windows.
        hidden_size: components of each step; as many as the heads need.
        num_heads: heads of the attention; they must divide the components. By default the most up
            to 4 that do.
        num_layers: layers of attention.
        kernel_size: steps that a query or key sees; 1 is a plain transformer.
        log_sparse: whether steps see only those a power of 2 before.
        dropout: probability with which a component is set to zero in training.
        num_paths: paths of which quantiles are computed.
        head: the distribution of each step; see `PanelNetwork`.
        levels: quantile levels of the forecasts, rising.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for settings out of range; when called, for windows of other sizes.

    Source:
        Li, Jin, Xuan, Zhou, Chen, Wang and Yan, "Enhancing the locality and breaking the memory
        bottleneck of transformer on time series forecasting", NeurIPS 2019.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> windows = jaxcast.series.PanelWindows.plain(np.ones((5, 8)), np.ones((5, 2)))
        >>> network = jaxcast.series.ConvTrans(windows.sizes(), hidden_size=8, num_layers=1, key=jax.random.key(0))
        >>> network(windows).info["quantiles"].shape
        (5, 2, 11)
        >>> network.paths(windows, 20, jax.random.key(1)).shape
        (20, 5, 2)
    """

    @checked
    def __init__(
        self,
        sizes: PanelSizes,
        *,
        hidden_size: int = 32,
        num_heads: int | None = None,
        num_layers: int = 3,
        kernel_size: int = 5,
        log_sparse: bool = False,
        dropout: float | int = 0.1,
        num_paths: int = 100,
        head: str = "normal",
        levels: Sequence[float] = LEVELS,
        key: Key[Array, ""],
        dtype: Any = jnp.float32,
    ):
        check_whole("hidden_size", hidden_size)
        num_heads = chosen_heads(hidden_size, num_heads)
        for name, value in (
            ("num_heads", num_heads),
            ("num_layers", num_layers),
            ("kernel_size", kernel_size),
            ("num_paths", num_paths),
        ):
            check_whole(name, value)
        if hidden_size % num_heads:
            raise InputError(f"num_heads must divide the hidden size {hidden_size}, got {num_heads}")
        check_flag("log_sparse", log_sparse)
        check_number("dropout", dropout, least=0, most=0.99)
        of_base, of_inputs, of_places, of_out, of_layers = jax.random.split(key, 5)
        super().__init__(sizes, head=head, levels=levels, key=of_base, dtype=dtype)
        self.hidden_size, self.num_heads, self.num_layers = hidden_size, num_heads, num_layers
        self.kernel_size, self.log_sparse, self.num_paths = kernel_size, log_sparse, num_paths
        self.dropout = float(dropout)
        num_inputs = 2 + sizes.num_past + sizes.num_known + self.static_size
        self.input = uniform_linear(
            num_inputs, hidden_size, fan_in=num_inputs, rngs=nnx.Rngs(of_inputs), dtype=self.dtype
        )
        self.places = nnx.Param(0.02 * jax.random.normal(of_places, (self._num_steps, hidden_size), self.dtype))
        own: dict[str, Any] = {"size": hidden_size, "num_heads": num_heads, "kernel_size": kernel_size}
        self.layers = nnx.List(
            ConvTransLayer(key=one, dtype=self.dtype, **own) for one in jax.random.split(of_layers, num_layers)
        )
        self.out = uniform_linear(
            hidden_size, self.head.num_parameters, fan_in=hidden_size, rngs=nnx.Rngs(of_out), dtype=self.dtype
        )

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        names = ("hidden_size", "num_heads", "num_layers", "kernel_size", "log_sparse", "dropout", "num_paths")
        return {name: vars(self)[name] for name in names}

    @property
    def _num_steps(self) -> int:
        """Steps at which a value is forecast: all but the first."""
        return self.sizes.history_size + self.sizes.num_leads - 1

    def loss(self, windows: PanelWindows, key: Any = None) -> Float[Array, ""]:
        """Computes the mean loss of all known values, each given the true ones before it.

        Args:
            windows: with their targets.
            key: of a step of training: it switches dropout on, and the values of the history count
                as well. Without one only the leads count, as held-out windows are to be judged.
        """
        inputs = self._flat(windows)
        scale, first = inputs.scale[:, None], self.sizes.history_size - 1
        history, targets, weights = (
            jnp.asarray(a).reshape(len(scale), -1) for a in (windows.history, windows.targets, windows.weights)
        )
        ahead = jnp.where(weights > 0, targets / scale, jnp.nan)
        whole = jnp.concatenate([history / scale, ahead], -1)
        raw = self._raw(inputs, whole[:, :-1], key)
        if key is None:
            return self.mean_loss(raw[:, first:], targets, weights, scale)
        is_known = jnp.isfinite(history[:, 1:]).astype(weights.dtype)
        targets = jnp.concatenate([history[:, 1:], targets], -1)
        return self.mean_loss(raw, targets, jnp.concatenate([is_known, weights], -1), scale)

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
        drawn = self._drawn(self._flat(windows), num_paths, key)
        return jnp.moveaxis(drawn, 0, -1).reshape(num_paths, *windows.history.shape[:-1], self.sizes.num_leads)

    def _raw(self, inputs: PanelInputs, whole: Float[Array, "window step"], key: Any) -> Array:
        """Returns the numbers of the head at all steps, given the true values before each."""
        num, steps = whole.shape
        drop = Dropout(self.dropout, key, num * steps * self.hidden_size * (2 * self.num_layers + 1))
        values = filled(whole[..., None], jnp.zeros(1, whole.dtype))[..., 0]
        sequence = _Sequence(values.astype(self.dtype), jnp.isfinite(whole))
        hidden, _ = self._run(inputs, sequence, drop)
        return apply_flat(self.out, hidden)

    def _run(self, inputs: PanelInputs, sequence: _Sequence, drop: Dropout) -> tuple[Array, list[Any]]:
        """Runs over sequences; returns the outputs, and inputs, keys and values of each layer."""
        steps = sequence.values.shape[1]
        is_newest = jnp.arange(steps) >= self.sizes.history_size - 1  # it is seen even of a series without values
        exists = (jnp.cumsum(sequence.is_known, 1) > 0) | is_newest
        xs = apply_flat(self.input, self._steps(inputs, sequence)) + self.places[...][:steps]
        xs = jnp.where(exists[..., None], drop(xs), 0)
        kept = []
        for layer in self.layers:
            outputs, pair = layer(xs, exists, jnp.asarray(self._visible()[:steps, :steps]), drop)
            kept.append((xs, *pair))
            xs = outputs
        return xs, kept

    def _drawn(self, inputs: PanelInputs, num_paths: int, key: Array) -> Float[Array, "lead path window"]:
        """Draws one lead after another, all paths of all windows at once."""
        num_leads, first = self.sizes.num_leads, self.sizes.history_size - 1
        is_known = inputs.is_known > 0
        before = _Sequence(inputs.values[:, :first], is_known[:, :first])
        caches = self._caches(self._run(inputs, before, NO_DROPOUT)[1] if first else [], num_paths, len(is_known))
        exists = jnp.cumsum(before.is_known, 1) > 0
        # All that paths share; the value and whether it is known come first.
        padded = (
            jnp.pad(a[:, first:], ((0, 0), (0, num_leads - 1)), constant_values=1) for a in (inputs.values, is_known)
        )
        shared = jnp.moveaxis(self._steps(inputs, _Sequence(*padded), start=first), 1, 0)
        visible = jnp.asarray(self._visible()[first:])
        rows = (num_paths, len(is_known))

        def step(state: tuple[Any, Array], at: Any) -> tuple[Any, Array]:
            caches, newest = state
            lead, shared, place, visible, key = at
            x = jnp.broadcast_to(shared, (*rows, shared.shape[-1]))
            x = apply_flat(self.input, jnp.concatenate([newest[..., None], x[..., 1:]], -1)) + place
            seen = (exists & visible[:first], visible[first:])
            grown = []
            for layer, cache in zip(self.layers, caches, strict=True):
                x, cache = layer.step(x, cache, lead, seen, NO_DROPOUT)
                grown.append(cache)
            values = self.distribution(apply_flat(self.out, x), inputs.scale).sample(key, 1)[0]
            return (tuple(grown), (values / inputs.scale).astype(self.dtype)), values

        at = (jnp.arange(num_leads), shared, self.places[...][first:], visible, jax.random.split(key, num_leads))
        start = (caches, jnp.broadcast_to(inputs.values[:, -1], rows))
        drawn: Array = jax.lax.scan(step, start, at)[1]
        return drawn

    def _caches(self, kept: list[Any], num_paths: int, num_windows: int) -> tuple[LayerCache, ...]:
        """Returns what each layer keeps of the history."""
        size = self.hidden_size
        own = jnp.zeros(
            (num_paths, num_windows, self.sizes.num_leads, self.num_heads, size // self.num_heads), self.dtype
        )
        empty = own[0, :, :0]
        kept = kept or [(jnp.zeros((num_windows, 0, size), self.dtype), empty, empty)] * self.num_layers
        caches = []
        for xs, keys, values in kept:
            padded = jnp.pad(xs, ((0, 0), (self.kernel_size - 1, 0), (0, 0)))
            newest = padded[:, padded.shape[1] - self.kernel_size + 1 :]
            caches.append(LayerCache(keys, values, own, own, jnp.broadcast_to(newest, (num_paths, *newest.shape))))
        return tuple(caches)

    def _visible(self) -> Bool[np.ndarray, "step step"]:
        return log_sparse_mask(self._num_steps) if self.log_sparse else np.tri(self._num_steps, dtype=bool)

    def _steps(self, inputs: PanelInputs, sequence: _Sequence, start: int = 0) -> Float[Array, "window step _"]:
        """Returns what is known before each of some steps, `sequence` being the values from `start`."""
        num, history_size = sequence.values.shape[1], self.sizes.history_size
        stop = start + num
        held = jnp.repeat(inputs.past[:, -1:], max(stop - history_size, 0), 1)
        past = jnp.concatenate([inputs.past, held], 1)[:, start:stop]
        values = jnp.stack([sequence.values, sequence.is_known.astype(self.dtype)], -1)
        return joined([values, past, inputs.known[:, start + 1 : stop + 1]], [inputs.static, inputs.embedded])

    def _flat(self, windows: PanelWindows) -> PanelInputs:
        """Returns inputs with one axis of windows."""
        inputs = self.inputs(windows)
        num_axes, size = inputs.scale.ndim, inputs.scale.size
        return PanelInputs._make(a.reshape(size, *a.shape[num_axes:]) for a in inputs)
