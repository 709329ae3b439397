"""Recurrent forecasters with a network for every region: alone, in layers, or with attention."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.stack import Kind, Stack
from jaxcast.series.abstract_network import RegionNetwork
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level
from jaxcast.types import Info


class NetworkPerRegion(RegionNetwork):
    """Abstract base of networks with recurrent layers of its own for every region.

    Args:
        samples: training samples; means, standard deviations and the number of leads are theirs.
        hidden_size: hidden units of each layer.
        state_size: size of the state that `encode` makes for a region.
        key: for the initial weights.
        kind: "lstm", "gru" or "rnn".
        num_layers: recurrent layers on top of each other.
        dropout: share of the outputs between layers that training drops.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", the mean and scale that a region's values are in units of; see
            `RegionNetwork`.
        dtype: of the weights.
    """

    def __init__(
        self,
        samples: SeriesWindows,
        *,
        hidden_size: int,
        state_size: int,
        key: Key[Array, ""],
        kind: Kind,
        num_layers: int,
        dropout: float,
        levels: Sequence[float],
        head: str,
        level: Level,
        dtype: DTypeLike,
    ):
        check_sizes(hidden_size=hidden_size)
        of_layers, of_head = jax.random.split(key)
        super().__init__(
            samples, state_size, levels=levels, head=head, level=level, each=True, key=of_head, dtype=dtype
        )

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
        """The recurrent layers of all regions."""
        return self.stacks

    @property
    def own_config(self) -> dict[str, Any]:
        """Nothing that other networks do not have."""
        return {}

    def sequences(
        self, inputs: Float[Array, "*batch time region feature"], key: Any
    ) -> Float[Array, "*batch time region h"]:
        """Returns every region's outputs at all steps.

        Args:
            inputs: of every region.
            key: switches dropout on; None for none.

        Returns:
            The outputs of the last layer.
        """
        run = lambda stack, xs: stack(xs, key=key)[1]  # noqa: E731
        return jax.vmap(run, in_axes=(0, -2), out_axes=-2)(self.stacks, inputs)


class IndependentNetwork(NetworkPerRegion, name="independent_network"):
    """A recurrent network of its own for every region, which sees that region only.

    Args:
        samples: training samples; means, standard deviations and the number of leads are theirs.
        hidden_size: hidden units of each layer.
        key: for the initial weights.
        kind: "lstm", "gru" or "rnn".
        num_layers: recurrent layers on top of each other.
        dropout: share of the outputs between layers that training drops.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
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
        >>> network = jaxcast.series.IndependentNetwork(
        ...     samples, hidden_size=4, levels=(0.1, 0.5, 0.9), key=jax.random.key(0)
        ... )
        >>> network(samples.history).info["quantiles"].shape
        (52, 2, 2, 3)
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
        level: Level = "series",
        dtype: DTypeLike = jnp.float32,
    ):
        options: dict[str, Any] = {
            "hidden_size": hidden_size,
            "kind": kind,
            "num_layers": num_layers,
            "dropout": dropout,
            "levels": levels,
            "head": head,
            "level": level,
            "dtype": dtype,
        }
        super().__init__(samples, state_size=hidden_size, key=key, **options)

    def encode(
        self, inputs: Float[Array, "*batch time region feature"], key: Any
    ) -> tuple[Float[Array, "*batch region state"], Info]:
        return self.sequences(inputs, key)[..., -1, :, :], {}


class HierarchicalNetwork(NetworkPerRegion, name="hierarchical_network"):
    """A network for every region, and one above them that sees the outputs of all regions.

    Each region's forecast reads its own network and the upper one.

    Args:
        samples: training samples; means, standard deviations and the number of leads are theirs.
        hidden_size: hidden units of each layer.
        key: for the initial weights.
        kind: "lstm", "gru" or "rnn".
        num_layers: recurrent layers on top of each other.
        dropout: share of the outputs between layers that training drops.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
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
        >>> network = jaxcast.series.HierarchicalNetwork(samples, hidden_size=4, key=jax.random.key(0))
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
        level: Level = "series",
        dtype: DTypeLike = jnp.float32,
    ):
        options: dict[str, Any] = {
            "hidden_size": hidden_size,
            "kind": kind,
            "num_layers": num_layers,
            "dropout": dropout,
            "levels": levels,
            "head": head,
            "level": level,
            "dtype": dtype,
        }
        of_regions, of_all = jax.random.split(key)
        super().__init__(samples, state_size=2 * hidden_size, key=of_regions, **options)
        input_size = hidden_size * len(self.mean[...])
        self.upper = Stack(kind, input_size=input_size, hidden_size=hidden_size, num_layers=1, key=of_all, dtype=dtype)

    def encode(
        self, inputs: Float[Array, "*batch time region feature"], key: Any
    ) -> tuple[Float[Array, "*batch region state"], Info]:
        lower = self.sequences(inputs, key)
        joined = lower.reshape(*lower.shape[:-2], -1)
        upper = self.upper(joined)[1][..., -1, None, :]
        own = lower[..., -1, :, :]
        return jnp.concatenate([own, jnp.broadcast_to(upper, own.shape)], -1), {}


class AttentionNetwork(NetworkPerRegion, name="attention_network"):
    """A network for every region, and additive attention of each region's state to those of all.

        a_(r,s) = softmax_s [ v . tanh(W_q h_r + W_k h_s + b) ],    s_r = [h_r, sum_s a_(r,s) h_s]

    `info["weights"]` is the map a, (*batch, region, source).

    Args:
        samples: training samples; means, standard deviations and the number of leads are theirs.
        hidden_size: hidden units of each layer.
        key: for the initial weights.
        kind: "lstm", "gru" or "rnn".
        num_layers: recurrent layers on top of each other.
        dropout: share of the outputs between layers that training drops.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", the mean and scale that a region's values are in units of; see
            `RegionNetwork`.
        dtype: of the weights.

    Raises:
        InputError: for sizes below one, levels that do not rise within (0, 1), series that never
            change, or histories of other regions.

    Source:
        Bahdanau, Cho and Bengio (2015) for the score.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 5))
        >>> network = jaxcast.series.AttentionNetwork(samples, hidden_size=4, key=jax.random.key(0))
        >>> network(samples.history).info["weights"].sum(-1).round(5)[0].tolist()
        [1.0, 1.0]
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
        level: Level = "series",
        dtype: DTypeLike = jnp.float32,
    ):
        options: dict[str, Any] = {
            "hidden_size": hidden_size,
            "kind": kind,
            "num_layers": num_layers,
            "dropout": dropout,
            "levels": levels,
            "head": head,
            "level": level,
            "dtype": dtype,
        }
        of_regions, of_query, of_key, of_score = jax.random.split(key, 4)
        super().__init__(samples, state_size=2 * hidden_size, key=of_regions, **options)

        def linear(size: int, key: Array, use_bias: bool = False) -> nnx.Linear:
            return uniform_linear(
                hidden_size, size, fan_in=hidden_size, rngs=nnx.Rngs(key), dtype=dtype, use_bias=use_bias
            )

        self.query, self.key = linear(hidden_size, of_query, True), linear(hidden_size, of_key)
        self.score = linear(1, of_score)

    def encode(
        self, inputs: Float[Array, "*batch time region feature"], key: Any
    ) -> tuple[Float[Array, "*batch region state"], Info]:
        states = self.sequences(inputs, key)[..., -1, :, :]
        hidden = jnp.tanh(self.query(states)[..., :, None, :] + self.key(states)[..., None, :, :])
        weights = jax.nn.softmax(self.score(hidden)[..., 0], -1)
        context = jnp.einsum("...rs,...sh->...rh", weights, states)
        return jnp.concatenate([states, context], -1), {"weights": weights}
