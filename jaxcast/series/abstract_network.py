"""The base of recurrent forecasters of several series: forecasts from the state of each."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.stack import LAYERS, Stack
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level
from jaxcast.series.window_network import KnownInputs, WindowNetwork
from jaxcast.types import Info


class RegionNetwork(WindowNetwork):
    """Abstract base of recurrent forecasters: scales of series, and forecasts from states.

        z = (u - mean) / std,    y_(r,h) = mean_r + std_r ( z_r,newest + [W s_r + b]_h )

    with s_r the state that `encode` makes for region r, joined to the covariates; see
    `WindowNetwork` for scales, missing values and quantile levels.

    Args:
        samples: training samples; means, standard deviations and the number of leads are theirs.
        state_size: size of the state of a region.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", the mean and scale that a region's values are in units of.
        each: whether each region has its own W and b.
        key: for W and b.
        dtype: of the weights.
    """

    def __init__(
        self,
        samples: SeriesWindows,
        state_size: int,
        *,
        levels: Sequence[float],
        head: str,
        level: Level,
        each: bool,
        key: Array,
        dtype: Any,
    ):
        super().__init__(samples, levels=levels, head=head, level=level, any_history_size=True, dtype=dtype)
        self.each = each
        size = self.num_leads * self.num_outputs
        state_size += self.num_covariates

        def read_out(key: Array) -> nnx.Linear:
            return uniform_linear(state_size, size, fan_in=state_size, rngs=nnx.Rngs(key), dtype=dtype)

        self.read_out = jax.vmap(read_out)(jax.random.split(key, self.num_regions)) if each else read_out(key)

    @abstractmethod
    def encode(
        self, inputs: Float[Array, "*batch time region feature"], key: Any
    ) -> tuple[Float[Array, "*batch region state"], Info]:
        """Returns each region's state after its history.

        Args:
            inputs: values, flags of known values and, with level="window", the logarithm of the
                level.
            key: switches dropout on; None for none.

        Returns:
            The states, and what else is known of them.
        """

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        """Returns W s + b of each lead and region.

        Args:
            inputs: as `encode` takes them.
            known: covariates.
            key: switches dropout on; None for none.

        Returns:
            The numbers, and what else is known of the states.
        """
        states, info = self.encode(inputs, key)
        if known.covariates is not None:
            states = jnp.concatenate([states, known.covariates.astype(states.dtype)], -1)
        if self.each:
            read = jax.vmap(lambda layer, s: layer(s), in_axes=(0, -2), out_axes=-2)(self.read_out, states)
        else:
            read = self.read_out(states)
        return jnp.moveaxis(read.reshape(*read.shape[:-1], self.num_leads, -1), -2, -3), info

    @property
    @abstractmethod
    def layers(self) -> Stack:
        """Its recurrent layers, of all regions where each has its own."""

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the class."""
        stack = self.layers
        first: Any = stack.layers[0]
        return {
            "kind": next(name for name, kind in LAYERS.items() if type(first) is kind),
            "hidden_size": first.recurrent_kernel.shape[-2],
            "num_layers": len(stack.layers),
            "dropout": stack.dropout,
        } | self.own_config

    @property
    @abstractmethod
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
