"""MQRNN: a recurrent encoder, of which each step forecasts all leads."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
from jaxcast.nn.layers import apply_flat, uniform_linear
from jaxcast.nn.stack import Stack
from jaxcast.series.panels.windows import PanelSizes, PanelWindows
from jaxcast.series.probabilistic_networks.abstract import LEVELS, PanelInputs
from jaxcast.series.probabilistic_networks.bases import MarginalNetwork
from jaxcast.series.probabilistic_networks.steps import history_step_size, history_steps
from jaxcast.types import Info


class MQRNN(MarginalNetwork, name="mqrnn"):
    """A recurrent network that forecasts quantiles of all leads at once, trained at every step.

    Stacked LSTM layers run over the history. At a step t, a global decoder makes a context c_k for
    each lead and one, c_a, that all leads share, of the state and all covariates that are known in
    advance; a local decoder makes the quantiles of each lead:

        (c_1, ..., c_K, c_a) = relu(W_g [h_t; u_(t+1); ...; u_(t+K)] + b_g)
        q_(t+k) = head(W_2 relu(W_1 [c_k; c_a; u_(t+k)] + b_1) + b_2)

    Training forecasts from every step of the history at which a value is known or was before
    ("forking sequences"), forecasts from the newest step alone.

    Args:
        sizes: of the windows.
        hidden_size: components of each layer of the encoder.
        num_layers: stacked LSTM layers of the encoder.
        context_size: components of each context, and of the hidden layer of the local decoder.
        dropout: probability with which a component between two layers is set to zero in training.
        head: what the outputs are the parameters of; see `PanelNetwork`.
        levels: quantile levels of the forecasts, rising.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for settings out of range; when called, for windows of other sizes.

    Source:
        Wen, Torkkola, Narayanaswamy and Madeka, arXiv 1711.11053 (2017). Levels and the size of
        contexts are those of GluonTS (Alexandrov et al. 2020, JMLR 21:116).

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> windows = jaxcast.series.PanelWindows.plain(np.ones((5, 8)), np.ones((5, 2)))
        >>> network = jaxcast.series.MQRNN(windows.sizes(), hidden_size=8, key=jax.random.key(0))
        >>> network(windows).info["quantiles"].shape
        (5, 2, 11)
    """

    @checked
    def __init__(
        self,
        sizes: PanelSizes,
        *,
        hidden_size: int = 50,
        num_layers: int = 1,
        context_size: int = 30,
        dropout: float | int = 0.0,
        head: str = "quantiles",
        levels: Sequence[float] = LEVELS,
        key: Key[Array, ""],
        dtype: Any = jnp.float32,
    ):
        of_base, of_encoder, of_decoders = jax.random.split(key, 3)
        super().__init__(sizes, head=head, levels=levels, key=of_base, dtype=dtype)
        check_whole("context_size", context_size)
        check_number("dropout", dropout, least=0, most=0.99)
        self.hidden_size, self.num_layers, self.context_size = hidden_size, num_layers, context_size
        self.dropout = float(dropout)
        self.encoder = Stack(
            "lstm",
            input_size=history_step_size(sizes, self.static_size),
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=self.dropout,
            dtype=self.dtype,
            key=of_encoder,
        )
        rngs = nnx.Rngs(of_decoders)
        in_global = hidden_size + sizes.num_leads * sizes.num_known
        in_local = 2 * context_size + sizes.num_known

        def linear(num_inputs: int, num_outputs: int) -> nnx.Linear:
            return uniform_linear(num_inputs, num_outputs, fan_in=num_inputs, rngs=rngs, dtype=self.dtype)

        self.global_decoder = linear(in_global, (sizes.num_leads + 1) * context_size)
        self.local_decoder = linear(in_local, context_size)
        self.out = linear(context_size, self.head.num_parameters)

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "context_size": self.context_size,
            "dropout": self.dropout,
        }

    def raw_outputs(self, inputs: PanelInputs, key: Any) -> tuple[Float[Array, "*batch lead parameter"], Info]:
        """Returns the numbers of the head that the newest step forecasts by.

        Args:
            inputs: of the windows.
            key: switches dropout on; None for none.

        Returns:
            The numbers of each lead, and nothing else.
        """
        return self._from_newest(inputs, self._encoded(inputs, key)), {}

    def loss(self, windows: PanelWindows, key: Any = None) -> Float[Array, ""]:
        """Computes the mean loss of all known values that any step forecasts.

        Args:
            windows: with their targets.
            key: of a step of training: it switches dropout on, and every step of the history
                forecasts. Without one only the newest does, as held-out windows are to be judged.
        """
        inputs = self.inputs(windows)
        encoded, scale = self._encoded(inputs, key), inputs.scale[..., None]
        if key is None:
            raw = self._from_newest(inputs, encoded)
            return self.mean_loss(raw, windows.targets, windows.weights, scale)
        of_steps = self._ahead()
        raw = self._decoded(encoded, inputs.known[..., of_steps, :])
        is_known = jnp.isfinite(windows.history)
        weights = jnp.concatenate([is_known.astype(windows.weights.dtype), windows.weights], -1)[..., of_steps]
        targets = jnp.concatenate([windows.history, windows.targets], -1)[..., of_steps]
        has_begun = jnp.cumsum(is_known, -1)[..., None] > 0
        return self.mean_loss(raw, targets, weights * has_begun, scale[..., None])

    def _ahead(self) -> Array:
        """Returns the numbers of the steps that each step of the history forecasts."""
        return jnp.arange(self.sizes.history_size)[:, None] + jnp.arange(1, self.sizes.num_leads + 1)

    def _encoded(self, inputs: PanelInputs, key: Any) -> Float[Array, "*batch time hidden"]:
        outputs: Array = self.encoder(history_steps(inputs), key=key)[1]
        return outputs

    def _from_newest(self, inputs: PanelInputs, encoded: Array) -> Float[Array, "*batch lead parameter"]:
        known = inputs.known[..., inputs.values.shape[-1] :, :]
        return self._decoded(encoded[..., -1:, :], known[..., None, :, :])[..., 0, :, :]

    def _decoded(
        self, encoded: Float[Array, "*batch step hidden"], known: Float[Array, "*batch step lead known"]
    ) -> Float[Array, "*batch step lead parameter"]:
        """Returns the numbers of each lead, forecast from each step."""
        *first, num_leads, _ = known.shape
        flat = jnp.concatenate([encoded, known.reshape(*first, -1)], -1)
        contexts = jax.nn.relu(apply_flat(self.global_decoder, flat))
        contexts = contexts.reshape(*first, num_leads + 1, self.context_size)
        # The product with the shared context is the same for all leads.
        local: Any = self.local_decoder
        kernel, bias = local.kernel[...], local.bias[...]
        of_lead, of_shared, of_known = jnp.split(kernel, [self.context_size, 2 * self.context_size])
        own = _product(jnp.concatenate([contexts[..., :-1, :], known], -1), jnp.concatenate([of_lead, of_known]))
        hidden = jax.nn.relu(own + (_product(contexts[..., -1, :], of_shared) + bias)[..., None, :])
        return apply_flat(self.out, hidden)


def _product(rows: Float[Array, "*batch input"], kernel: Float[Array, "input output"]) -> Float[Array, "*batch output"]:
    """Multiplies with all batch axes as one."""
    return (rows.reshape(-1, rows.shape[-1]) @ kernel).reshape(*rows.shape[:-1], kernel.shape[-1])
