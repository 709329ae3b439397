"""ST-ResNet: residual convolutions over a grid, of recent values, those of days and weeks ago."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_sizes, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.nn.grid_convolution import GridConvolution
from jaxcast.nn.layers import uniform_linear
from jaxcast.series.graph_networks.inputs import by_lead
from jaxcast.series.grid_networks.grid import columns_of
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start, WindowNetwork
from jaxcast.types import Info

Fusion = Literal["maps", "scalars"]
EXTERNAL_SIZE = 10
DAYS = 7


class STResNet(WindowNetwork, name="st_resnet"):
    """Deep residual convolutions over a grid, one branch for each part of the history (ST-ResNet).

        x_0 = conv(history of the branch),    x_(u+1) = x_u + conv(relu(conv(relu(x_u))))
        w = sum_b M_b * conv(relu(x_U of branch b)) + external

    with M_b learned numbers of each cell, or one of each branch. The branches are those of trend,
    period and closeness. Of a window made with lags=(0, 1, 2, 23, 47, 167), for example, and
    branches=(1, 2, 3), the first has the value of a week ago, the second those of one and two days
    ago, and the third the newest three. `external` has two layers on covariates, the day of the
    week and the slot of the day; the second layer is each cell's own. Outputs are in units of
    standard deviations, without the paper's tanh on values scaled to [-1, 1].

    Args:
        samples: training samples; the series are the cells of the grid, one row after the other.
        rows: of the grid.
        branches: how many steps of the history go to each branch, from the oldest on; () for one
            branch of all.
        num_units: U, residual units of each branch.
        hidden_size: channels of the convolutions.
        kernel_size: cells that a convolution spans in each direction, an odd number.
        fusion: "maps", M_b has a number for each cell, as in the paper; or "scalars", only one.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`.
        slots_per_day: steps of a day, see `WindowNetwork`.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for cells that do not fill the rows, branches of other steps than those of the
            history, or sizes below one.

    Source:
        Zhang, Zheng and Qi (2017), eq. 2 to 4; scalars as in UCTB (Chen et al.).

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.arange(6.0)
        >>> samples = jaxcast.series.series_windows(values, lags=(0, 1, 2, 20), leads=(1, 2))
        >>> network = jaxcast.series.STResNet(samples, rows=2, branches=(1, 3), hidden_size=4, key=jax.random.key(0))
        >>> network(samples.history, lags=samples.lags).forecast.shape
        (39, 2, 6)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        rows: int,
        key: Key[Array, ""],
        branches: Sequence[int] = (),
        num_units: int = 2,
        hidden_size: int = 32,
        kernel_size: int = 3,
        fusion: Fusion = "maps",
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "mean",
        slots_per_day: int = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        super().__init__(
            samples,
            levels=levels,
            head=head,
            level=level,
            scaling=scaling,
            start=start,
            slots_per_day=slots_per_day,
            dtype=dtype,
        )
        check_choice("fusion", fusion, get_args(Fusion))
        check_whole("num_units", num_units, least=0)
        check_sizes(hidden_size=hidden_size)
        self.branches = tuple(branches) or (self.history_size,)
        if min(self.branches) < 1 or sum(self.branches) != self.history_size:
            raise InputError(
                f"branches must share the {self.history_size} steps of the history among them, got "
                f"{shown(tuple(branches))}"
            )
        self.rows, self.num_units, self.hidden_size = rows, num_units, hidden_size
        self.kernel_size, self.fusion = kernel_size, fusion
        columns = columns_of(self.num_regions, rows)
        of_branches, of_external = jax.random.split(key)
        shape = {"rows": rows, "columns": columns, "kernel_size": kernel_size, "dtype": dtype}
        size = self.num_leads * self.num_outputs
        self.parts = nnx.List(
            _Branch(steps * self.input_size, hidden_size, size, num_units, key=k, **shape)
            for steps, k in zip(self.branches, jax.random.split(of_branches, len(self.branches)), strict=True)
        )
        numbers = (self.num_regions, size) if fusion == "maps" else (1, 1)
        self.weights = nnx.Param(jnp.ones((len(self.branches), *numbers), dtype))
        self.external = _External(self, size, key=of_external, dtype=dtype) if self.num_external else None

    @property
    def num_external(self) -> int:
        """Numbers that the external part sees of each cell."""
        return self.num_known + (self.slots_per_day + DAYS if self.slots_per_day else 0)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the class, as JSON values."""
        return self.window_settings | {
            "rows": self.rows,
            "branches": self.branches,
            "num_units": self.num_units,
            "hidden_size": self.hidden_size,
            "kernel_size": self.kernel_size,
            "fusion": self.fusion,
        }

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        """Returns forecasts in standardised units, see `WindowNetwork`.

        Args:
            inputs: standardised values and flags.
            known: covariates and the calendar.
            key: not used, as nothing is dropped.
        """
        values = jnp.moveaxis(inputs.astype(self.dtype), -3, -2)  # (*batch, region, time, feature)
        ends = [sum(self.branches[:k]) for k in range(len(self.branches) + 1)]
        maps = jnp.stack(
            [
                branch(values[..., first:end, :].reshape(*values.shape[:-2], -1))
                for branch, (first, end) in zip(self.parts, pairwise(ends), strict=True)
            ]
        )
        weights = self.weights[...].reshape(-1, *[1] * (maps.ndim - 3), *self.weights.shape[-2:])
        fused = (weights * maps).sum(0)
        if self.external is not None:
            fused = fused + self.external(known, fused.shape[:-1])
        return by_lead(fused, self.num_leads), {}


class _Branch(nnx.Module):
    """A convolution, residual units and a convolution."""

    def __init__(self, input_size: int, hidden_size: int, size: int, num_units: int, *, key: Array, **shape: Any):
        keys = jax.random.split(key, 2 * num_units + 2)
        self.first = GridConvolution(input_size=input_size, output_size=hidden_size, key=keys[0], **shape)
        self.units = nnx.List(
            GridConvolution(input_size=hidden_size, output_size=hidden_size, key=k, **shape) for k in keys[1:-1]
        )
        self.last = GridConvolution(input_size=hidden_size, output_size=size, key=keys[-1], **shape)

    def __call__(self, values: Array) -> Array:
        values = self.first(values)
        for k in range(0, len(self.units), 2):
            values = values + self.units[k + 1](jax.nn.relu(self.units[k](jax.nn.relu(values))))
        return self.last(jax.nn.relu(values))


class _External(nnx.Module):
    """Two layers on what is known besides the history; the second is each cell's own."""

    def __init__(self, network: STResNet, size: int, *, key: Array, dtype: Any):
        of_first, of_second = jax.random.split(key)
        count = network.num_external
        self.slots_per_day = network.slots_per_day
        self.first = uniform_linear(count, EXTERNAL_SIZE, fan_in=count, rngs=nnx.Rngs(of_first), dtype=dtype)
        shape = (network.num_regions, EXTERNAL_SIZE, size)
        self.second = nnx.Param(jax.random.normal(of_second, shape, dtype) / math.sqrt(EXTERNAL_SIZE))

    def __call__(self, known: KnownInputs, shape: tuple[int, ...]) -> Array:
        """Returns its maps, (*batch, region, number), for (*batch, region)."""
        numbers = []
        if known.covariates is not None:
            numbers.append(jnp.broadcast_to(known.covariates, (*shape, known.covariates.shape[-1])))
        if self.slots_per_day:
            newest = known.slots[..., -1, None]
            is_slot = jax.nn.one_hot(newest % self.slots_per_day, self.slots_per_day)
            is_day = jax.nn.one_hot(newest // self.slots_per_day, DAYS)
            numbers += [jnp.broadcast_to(a, (*shape, a.shape[-1])) for a in (is_slot, is_day)]
        hidden = jax.nn.relu(self.first(jnp.concatenate(numbers, -1)))
        return jnp.einsum("...rh,rhn->...rn", hidden, self.second[...])
