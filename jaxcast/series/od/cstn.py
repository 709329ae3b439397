"""CSTN: views of origins and destinations, a convolutional LSTM, and correlations of all zones."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes, check_whole
from jaxcast.errors import InputError
from jaxcast.nn.graph import transition
from jaxcast.nn.graph_convolution import DiffusionConvolution
from jaxcast.nn.grid_convolution import GridConvolution
from jaxcast.nn.layers import Buffer
from jaxcast.series.graph_networks.inputs import CALENDAR_SIZE, with_calendar, with_covariates
from jaxcast.series.grid_networks.grid import columns_of
from jaxcast.series.od.convolutional_lstm import ConvolutionalLSTM
from jaxcast.series.od.layers import linear
from jaxcast.series.od.zones import num_zones_of, zone_graph
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start, WindowNetwork
from jaxcast.types import Info

Convolution = GridConvolution | DiffusionConvolution


class CSTN(WindowNetwork, name="cstn"):
    """A network of trips between zones that looks at origins, destinations and all zones (CSTN).

        o_t = relu(M_2 relu(M_1 X_t)),    d_t = relu(M_4 relu(M_3 X_t^T))
        z_t = relu(M_5 [o_t, d_t]),    h = ConvLSTM(z, calendar)
        S = softmax_rows( (h A) (h B)^T / sqrt(C) ),    g = S h
        w_ij = [ W [h_i, g_i, covariates] + b ]_j

    with X_t the matrix of trips at time t, whose row i are the trips from zone i. M are
    convolutions over zones: of 3 x 3 zones where the zones are a grid, else x W_0 + P x W_1 + b
    with P the transition matrix of an adjacency. `info["graph"]` holds S, (*batch, zone, zone).

    Args:
        samples: training samples of trips, pair origin * N + destination as region.
        rows: of the grid of zones, one row after the other; 0 for zones that are none.
        adjacency: which zones touch, (N, N), symmetric, where they are no grid; without it, zones
            see each other through S alone.
        hidden_size: C, features of a zone.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`.
        slots_per_day: steps of a day, see `WindowNetwork`.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for regions that are not all pairs of N zones, zones that do not fill the rows,
            an adjacency of other zones or not symmetric, or both rows and an adjacency.

    Source:
        Liu et al. (2019), Contextualized Spatial-Temporal Network, for the three parts; sizes and
        the convolution over zones that are no grid are our own.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> trips = jax.random.poisson(jax.random.key(0), 3.0, (30, 16)).astype(float)
        >>> samples = jaxcast.series.series_windows(trips, history_size=4, leads=(1,))
        >>> network = jaxcast.series.CSTN(samples, rows=2, hidden_size=4, key=jax.random.key(1))
        >>> network(samples.history).forecast.shape
        (26, 1, 16)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        rows: int = 0,
        adjacency: Float[Any, "zone other"] | None = None,
        hidden_size: int = 16,
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "newest",
        slots_per_day: int = 0,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_whole("rows", rows, least=0)
        check_sizes(hidden_size=hidden_size)
        if rows and adjacency is not None:
            raise InputError("give the rows of a grid or an adjacency, got both; leave one out")
        self.num_zones = num_zones_of(samples)
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
        self.rows, self.hidden_size = rows, hidden_size
        self.columns = columns_of(self.num_zones, rows) if rows else 0
        self.adjacency = Buffer(jnp.asarray(zone_graph(adjacency, self.num_zones), dtype))
        keys = jax.random.split(key, 10)
        wide = self.num_zones * self.input_size
        self.origins = nnx.List(self._pair(wide, keys[0], keys[1]))
        self.destinations = nnx.List(self._pair(wide, keys[2], keys[3]))
        self.joined = self._convolution(2 * hidden_size, hidden_size, keys[4])
        size = hidden_size + (CALENDAR_SIZE if slots_per_day else 0)
        self.memory = ConvolutionalLSTM(
            self._convolution(size, 4 * hidden_size, keys[5]), self._convolution(hidden_size, 4 * hidden_size, keys[6])
        )
        self.queries = linear(hidden_size, hidden_size, key=keys[7], dtype=dtype)
        self.keys = linear(hidden_size, hidden_size, key=keys[8], dtype=dtype)
        size = 2 * hidden_size + self.num_known
        self.read_out = linear(size, self.num_zones * self.num_leads * self.num_outputs, key=keys[9], dtype=dtype)

    def _pair(self, input_size: int, first: Array, second: Array) -> list[Convolution]:
        size = self.hidden_size
        return [self._convolution(input_size, size, first), self._convolution(size, size, second)]

    def _convolution(self, input_size: int, output_size: int, key: Array) -> Convolution:
        if self.rows:
            return GridConvolution(
                input_size=input_size,
                output_size=output_size,
                rows=self.rows,
                columns=self.columns,
                key=key,
                dtype=self.dtype,
            )
        return DiffusionConvolution(
            input_size=input_size, output_size=output_size, order=1, num_supports=1, key=key, dtype=self.dtype
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the class, as JSON values."""
        return self.window_settings | {"rows": self.rows, "hidden_size": self.hidden_size}

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        """Returns forecasts in standardised units, see `WindowNetwork`.

        Args:
            inputs: standardised trips and flags.
            known: covariates and the calendar.
            key: not used, as nothing is dropped.
        """
        zones = self.num_zones
        operator = transition(self.adjacency[...])

        def convolve(layer: Convolution, values: Array) -> Array:
            return layer(values) if isinstance(layer, GridConvolution) else layer(values, operator)

        trips = inputs.astype(self.dtype).reshape(*inputs.shape[:-2], zones, zones, -1)
        views = []
        for view, matrix in ((self.origins, trips), (self.destinations, jnp.swapaxes(trips, -3, -2))):
            values = matrix.reshape(*matrix.shape[:-2], -1)
            for layer in view:
                values = jax.nn.relu(convolve(layer, values))
            views.append(values)
        joined = jax.nn.relu(convolve(self.joined, jnp.concatenate(views, -1)))
        states = self.memory(with_calendar(joined, known.slots, self.slots_per_day), convolve)
        products = self.queries(states) @ jnp.swapaxes(self.keys(states), -1, -2)
        correlation = jax.nn.softmax(products / math.sqrt(self.hidden_size), -1)
        covariates = known.covariates
        if covariates is not None:  # those of a zone: the mean over its destinations
            covariates = covariates.reshape(*covariates.shape[:-2], zones, zones, -1).mean(-2)
        states = with_covariates(jnp.concatenate([states, correlation @ states], -1), covariates)
        outputs = self.read_out(states).reshape(*states.shape[:-1], zones, self.num_leads, self.num_outputs)
        outputs = jnp.moveaxis(outputs, -2, -4)
        return outputs.reshape(*outputs.shape[:-3], zones**2, self.num_outputs), {"graph": correlation}
