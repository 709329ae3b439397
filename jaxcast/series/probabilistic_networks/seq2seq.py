"""Seq2Seq: a recurrent encoder of the history, and a decoder that reads its own median."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_number
from jaxcast.distributions import Quantiles
from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.stack import Stack
from jaxcast.numerics.levels import middle_of
from jaxcast.series.panels.windows import PanelSizes
from jaxcast.series.probabilistic_networks.abstract import LEVELS, PanelInputs
from jaxcast.series.probabilistic_networks.bases import DirectNetwork
from jaxcast.series.probabilistic_networks.steps import history_step_size, history_steps, joined
from jaxcast.types import Info


class Seq2Seq(DirectNetwork, name="seq2seq"):
    """A recurrent encoder of the history, and a decoder of the leads.

    Stacked LSTM layers run over the history: values, covariates and what the series has once. Other
    layers start from their state and run over the leads. At lead k they see the covariates that are
    known in advance, and the median of lead k-1:

        s_k = LSTM(s_(k-1); m_(k-1), covariates of k, the series),    head(W s_k + b)

    m_0 is the newest value. Training, too, feeds medians, and not true values. Where the head is
    one of distributions, the mean takes the place of the median.

    Args:
        sizes: of the windows.
        hidden_size: components of each layer.
        num_layers: stacked LSTM layers of the encoder, and of the decoder.
        dropout: probability with which a component between two layers of the encoder is set to zero
            in training.
        head: what the outputs are the parameters of; see `PanelNetwork`.
        levels: quantile levels of the forecasts, rising.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for settings out of range; when called, for windows of other sizes.

    Source:
        Sutskever, Vinyals and Le, Advances in Neural Information Processing Systems 27 (2014).

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> windows = jaxcast.series.PanelWindows.plain(np.ones((5, 8)), np.ones((5, 2)))
        >>> network = jaxcast.series.Seq2Seq(windows.sizes(), hidden_size=8, key=jax.random.key(0))
        >>> network(windows).info["quantiles"].shape
        (5, 2, 11)
    """

    @checked
    def __init__(
        self,
        sizes: PanelSizes,
        *,
        hidden_size: int = 40,
        num_layers: int = 2,
        dropout: float | int = 0.1,
        head: str = "quantiles",
        levels: Sequence[float] = LEVELS,
        key: Key[Array, ""],
        dtype: Any = jnp.float32,
    ):
        of_base, of_encoder, of_decoder, of_out = jax.random.split(key, 4)
        super().__init__(sizes, head=head, levels=levels, key=of_base, dtype=dtype)
        check_number("dropout", dropout, least=0, most=0.99)
        self.hidden_size, self.num_layers, self.dropout = hidden_size, num_layers, float(dropout)
        own: dict[str, Any] = {"hidden_size": hidden_size, "num_layers": num_layers, "dtype": self.dtype}
        encoded = history_step_size(sizes, self.static_size)
        self.encoder = Stack("lstm", input_size=encoded, dropout=self.dropout, key=of_encoder, **own)
        decoded = 1 + sizes.num_known + self.static_size
        self.decoder = Stack("lstm", input_size=decoded, key=of_decoder, **own)
        self.out = uniform_linear(
            hidden_size, self.head.num_parameters, fan_in=hidden_size, rngs=nnx.Rngs(of_out), dtype=self.dtype
        )

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {"hidden_size": self.hidden_size, "num_layers": self.num_layers, "dropout": self.dropout}

    def raw_outputs(self, inputs: PanelInputs, key: Any) -> tuple[Float[Array, "*batch lead parameter"], Info]:
        """Returns the numbers that the head makes distributions of.

        Args:
            inputs: of the windows.
            key: switches dropout on; None for none.

        Returns:
            The numbers of each lead, and nothing else.
        """
        carry, _ = self.encoder(history_steps(inputs), key=key)
        known = inputs.known[..., inputs.values.shape[-1] :, :]
        shared = jnp.moveaxis(joined([known], [inputs.static, inputs.embedded]), -2, 0)

        def step(state: tuple[Any, Array], shared: Array) -> tuple[Any, Array]:
            carry, median = state
            carry, hidden = self.decoder.step(carry, jnp.concatenate([median[..., None], shared], -1))
            raw = self.out(hidden)
            return (carry, self._median(raw)), raw

        _, raw = jax.lax.scan(step, (carry, inputs.values[..., -1]), shared)
        return jnp.moveaxis(raw, 0, -2), Info()

    def _median(self, raw: Float[Array, "*batch parameter"]) -> Float[Array, "*batch"]:
        """Returns what the next step sees, in units of the scale."""
        distribution = self.distribution(raw, jnp.ones((), raw.dtype))
        if isinstance(distribution, Quantiles):
            return distribution.values[..., middle_of(self.levels)]
        return distribution.mean
