"""A recurrent forecaster that all regions share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.nn.self_attention import SelfAttention
from jaxcast.nn.stack import Kind, Stack
from jaxcast.series.abstract_network import RegionNetwork
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level
from jaxcast.types import Info


class GlobalNetwork(RegionNetwork, name="global_network"):
    """One recurrent network for all regions, with a learned vector for each.

    Args:
        samples: training samples; means, standard deviations and the number of leads are theirs.
        hidden_size: hidden units of each layer.
        key: for the initial weights.
        kind: "lstm", "gru" or "rnn".
        num_layers: recurrent layers on top of each other.
        dropout: share of the outputs between layers that training drops.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        embedding_size: size of a region's vector.
        self_attention: whether steps attend to each other (`SelfAttention`) before the last is
            read.
        level: "series" or "window", the mean and scale that a region's values are in units of; see
            `RegionNetwork`.
        dtype: of the weights.

    Raises:
        InputError: for sizes below one, levels that do not rise within (0, 1), series that never
            change, or histories of other regions.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 5))
        >>> network = jaxcast.series.GlobalNetwork(samples, hidden_size=4, self_attention=True, key=jax.random.key(0))
        >>> network(samples.history).forecast.shape
        (52, 2, 2)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        hidden_size: int,
        key: Key[Array, ""],
        kind: Kind = "lstm",
        num_layers: int = 1,
        dropout: float = 0.0,
        levels: Sequence[float] = (),
        head: str = "quantiles",
        embedding_size: int = 4,
        self_attention: bool = False,
        level: Level = "series",
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(hidden_size=hidden_size, embedding_size=embedding_size)
        of_stack, of_regions, of_head, of_attention = jax.random.split(key, 4)
        options: dict[str, Any] = {"levels": levels, "head": head, "level": level, "each": False, "dtype": dtype}
        super().__init__(samples, hidden_size, key=of_head, **options)
        num_regions = len(self.mean[...])
        self.embedding = nnx.Param(0.1 * jax.random.normal(of_regions, (num_regions, embedding_size), dtype))
        sizes: dict[str, Any] = {
            "input_size": self.input_size + embedding_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
        }
        self.stack = Stack(kind, **sizes, dropout=dropout, key=of_stack, dtype=dtype)
        self.attention = (
            SelfAttention(size=hidden_size, causal=True, key=of_attention, dtype=dtype) if self_attention else None
        )

    @property
    def layers(self) -> Stack:
        """Its recurrent layers."""
        return self.stack

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {"embedding_size": self.embedding.shape[-1], "self_attention": self.attention is not None}

    def encode(self, inputs: Array, key: Any) -> tuple[Array, Info]:
        embedded = jnp.broadcast_to(self.embedding[...], (*inputs.shape[:-1], self.embedding.shape[-1]))
        sequences = jnp.swapaxes(jnp.concatenate([inputs, embedded.astype(inputs.dtype)], -1), -3, -2)
        outputs = self.stack(sequences, key=key)[1]
        if self.attention is None:
            return outputs[..., -1, :], {}
        outputs, weights = self.attention(outputs)
        return outputs[..., -1, :], {"time_weights": weights[..., -1, :]}
