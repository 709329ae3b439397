"""Recurrent forecasters of several related series: for each alone, in two layers, with attention between them, or one for all."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.self_attention import SelfAttention
from jaxcast.nn.stack import Kind, Stack
from jaxcast.series.abstract_network import RegionNetwork
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level
from jaxcast.types import Info


class IndependentNetwork(RegionNetwork, name="independent_network"):
    """A recurrent network of its own for every region, which sees that region only.

    Args:
        samples: training samples; see `RegionNetwork`. kind: "lstm", "gru" or "rnn". hidden_size: of each. num_layers,
            dropout: see `Stack`. levels: for quantiles. level: "series" or "window", see `RegionNetwork`. key: for the initial weights.

    Raises:
        InputError: for sizes below one, levels that do not rise within (0, 1), series that never change, or histories of
            other regions.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 5))
        >>> network = jaxcast.series.IndependentNetwork(samples, hidden_size=4, levels=(0.1, 0.5, 0.9), key=jax.random.key(0))
        >>> network(samples.history).info["quantiles"].shape
        (52, 2, 2, 3)
    """

    @checked
    def __init__(
        self, samples: SeriesWindows, *, hidden_size: int, key: Key[Array, ""], kind: Kind = "lstm", num_layers: int = 1,
        dropout: float = 0.0, levels: Sequence[float] = (), level: Level = "series", dtype: DTypeLike = jnp.float32,
        state_size: int | None = None,
    ):  # fmt: skip
        check_sizes(hidden_size=hidden_size)
        of_layers, of_head = jax.random.split(key)
        head: dict[str, Any] = {"levels": levels, "level": level, "each": True, "dtype": dtype}
        super().__init__(samples, state_size or hidden_size, key=of_head, **head)

        def stack(key: Array) -> Stack:
            sizes: dict[str, Any] = {
                "input_size": self.input_size,
                "hidden_size": hidden_size,
                "num_layers": num_layers,
            }
            return Stack(kind, **sizes, dropout=dropout, key=key, dtype=dtype)

        self.stacks = jax.vmap(stack)(jax.random.split(of_layers, len(self.mean[...])))

    @property
    def layers(self) -> Stack:
        return self.stacks

    def sequences(
        self, inputs: Float[Array, "*batch time region feature"], key: Any
    ) -> Float[Array, "*batch time region h"]:
        """Every region's outputs at all steps."""
        run = lambda stack, xs: stack(xs, key=key)[1]  # noqa: E731
        return jax.vmap(run, in_axes=(0, -2), out_axes=-2)(self.stacks, inputs)

    def encode(self, inputs: Array, key: Any) -> tuple[Array, Info]:
        return self.sequences(inputs, key)[..., -1, :, :], {}


class HierarchicalNetwork(IndependentNetwork, name="hierarchical_network"):
    """A network for every region, whose outputs at each step are the input of a second one that sees all regions.

    Arguments and errors are those of `IndependentNetwork`; each region reads both.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 5))
        >>> jaxcast.series.HierarchicalNetwork(samples, hidden_size=4, key=jax.random.key(0))(samples.history).forecast.shape
        (52, 2, 2)
    """

    @checked
    def __init__(
        self, samples: SeriesWindows, *, hidden_size: int, key: Key[Array, ""], kind: Kind = "lstm", **options: Any
    ):
        of_regions, of_all = jax.random.split(key)
        super().__init__(
            samples, hidden_size=hidden_size, key=of_regions, kind=kind, state_size=2 * hidden_size, **options
        )
        input_size = hidden_size * len(self.mean[...])
        dtype = options.get("dtype", jnp.float32)
        self.upper = Stack(kind, input_size=input_size, hidden_size=hidden_size, num_layers=1, key=of_all, dtype=dtype)

    def encode(self, inputs: Array, key: Any) -> tuple[Array, Info]:
        lower = self.sequences(inputs, key)
        joined = lower.reshape(*lower.shape[:-2], -1)
        upper = self.upper(joined)[1][..., -1, None, :]
        own = lower[..., -1, :, :]
        return jnp.concatenate([own, jnp.broadcast_to(upper, own.shape)], -1), {}


class AttentionNetwork(IndependentNetwork, name="attention_network"):
    """A network for every region, and additive attention of each region's state to those of all.

        a_(r,s) = softmax_s [ v . tanh(W_q h_r + W_k h_s + b) ],    s_r = [h_r, sum_s a_(r,s) h_s]

    Arguments and errors are those of `IndependentNetwork`; `info["weights"]` is the map a, (*batch, region, source).

    Source: Bahdanau, Cho and Bengio (2015) for the score.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 5))
        >>> network = jaxcast.series.AttentionNetwork(samples, hidden_size=4, key=jax.random.key(0))
        >>> network(samples.history).info["weights"].sum(-1).round(5)[0].tolist()
        [1.0, 1.0]
    """

    @checked
    def __init__(self, samples: SeriesWindows, *, hidden_size: int, key: Key[Array, ""], **options: Any):
        of_regions, of_query, of_key, of_score = jax.random.split(key, 4)
        super().__init__(samples, hidden_size=hidden_size, key=of_regions, state_size=2 * hidden_size, **options)
        dtype = options.get("dtype", jnp.float32)

        def linear(size: int, key: Array, use_bias: bool = False) -> nnx.Linear:
            return uniform_linear(
                hidden_size, size, fan_in=hidden_size, rngs=nnx.Rngs(key), dtype=dtype, use_bias=use_bias
            )

        self.query, self.key = linear(hidden_size, of_query, True), linear(hidden_size, of_key)
        self.score = linear(1, of_score)

    def encode(self, inputs: Array, key: Any) -> tuple[Array, Info]:
        states = self.sequences(inputs, key)[..., -1, :, :]
        hidden = jnp.tanh(self.query(states)[..., :, None, :] + self.key(states)[..., None, :, :])
        weights = jax.nn.softmax(self.score(hidden)[..., 0], -1)
        context = jnp.einsum("...rs,...sh->...rh", weights, states)
        return jnp.concatenate([states, context], -1), {"weights": weights}


class GlobalNetwork(RegionNetwork, name="global_network"):
    """One recurrent network for all regions, each known to it by a learned vector; with self-attention over time if wanted.

    Args:
        samples, kind, hidden_size, num_layers, dropout, levels, level, key: as in `IndependentNetwork`.
        embedding_size: of a region's vector. self_attention: whether steps attend to each other (`SelfAttention`) before the
            last is read.

    Raises:
        InputError: as `IndependentNetwork`.

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
        self, samples: SeriesWindows, *, hidden_size: int, key: Key[Array, ""], kind: Kind = "lstm", num_layers: int = 1,
        dropout: float = 0.0, levels: Sequence[float] = (), embedding_size: int = 4, self_attention: bool = False,
        level: Level = "series", dtype: DTypeLike = jnp.float32,
    ):  # fmt: skip
        check_sizes(hidden_size=hidden_size, embedding_size=embedding_size)
        of_stack, of_regions, of_head, of_attention = jax.random.split(key, 4)
        head: dict[str, Any] = {"levels": levels, "level": level, "each": False, "dtype": dtype}
        super().__init__(samples, hidden_size, key=of_head, **head)
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
        return self.stack

    @property
    def config(self) -> dict[str, Any]:
        """What it must be made with, and the sizes of the samples."""
        own = {"embedding_size": self.embedding.shape[-1], "self_attention": self.attention is not None}
        return super().config | own

    def encode(self, inputs: Array, key: Any) -> tuple[Array, Info]:
        embedded = jnp.broadcast_to(self.embedding[...], (*inputs.shape[:-1], self.embedding.shape[-1]))
        sequences = jnp.swapaxes(jnp.concatenate([inputs, embedded.astype(inputs.dtype)], -1), -3, -2)
        outputs = self.stack(sequences, key=key)[1]
        if self.attention is None:
            return outputs[..., -1, :], {}
        outputs, weights = self.attention(outputs)
        return outputs[..., -1, :], {"time_weights": weights[..., -1, :]}
