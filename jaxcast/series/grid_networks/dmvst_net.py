"""DMVST-Net: convolutions around a cell, a recurrent layer over time, and cells of like demand."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError
from jaxcast.nn.grid_convolution import GridConvolution
from jaxcast.nn.layers import Buffer, uniform_linear
from jaxcast.nn.stack import Stack
from jaxcast.series.graph_networks.abstract import GraphNetwork
from jaxcast.series.graph_networks.inputs import CALENDAR_SIZE, by_lead, with_calendar, with_covariates
from jaxcast.series.graphs.demand import laplacian_embedding
from jaxcast.series.grid_networks.grid import columns_of
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start
from jaxcast.types import Info


class DMVSTNet(GraphNetwork, name="dmvst_net"):
    """Three views of each cell: its surroundings, its past and cells of like demand (DMVST-Net).

        s_t = relu(W_s conv_K(...conv_1(x_t)) + b_s)     each followed by relu; 3 x 3 cells
        h = LSTM(s_t, calendar_t),    m = relu(W_m e + b_m)
        w = W [h, m, covariates] + b

    with e the smoothest eigenvectors of the Laplacian of the similarity of demand, in place of the
    paper's LINE embeddings. K convolutions see a patch of 2 K + 1 cells in each direction. They run
    over the whole grid at once, which gives all patches the numbers that they share; the paper cuts
    the patches out first and pads each with zeros. Its loss, squared error plus gamma times squared
    relative error, is `WindowLoss(relative=gamma)`.

    Args:
        samples: training samples; the series are the cells of the grid, one row after the other.
        rows: of the grid.
        graphs: the similarity of demand, such as `demand_similarity_graph` of the training part.
        num_convolutions: K.
        num_filters: channels of the convolutions.
        hidden_size: hidden units of the recurrent layer, and size of s.
        num_eigenvectors: size of e.
        embedding_size: size of m.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`.
        slots_per_day: steps of a day, see `WindowNetwork`.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for cells that do not fill the rows, several graphs, or sizes below one.

    Source:
        Yao et al. (2018), eq. 1 to 10.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.arange(6.0)
        >>> samples = jaxcast.series.series_windows(values, history_size=4, leads=(1, 2))
        >>> network = jaxcast.series.DMVSTNet(
        ...     samples, rows=2, graphs=jnp.ones((6, 6)), hidden_size=4, key=jax.random.key(0)
        ... )
        >>> network(samples.history).forecast.shape
        (56, 2, 6)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        rows: int,
        graphs: Float[Any, "*graph node node"],
        key: Key[Array, ""],
        num_convolutions: int = 3,
        num_filters: int = 16,
        hidden_size: int = 32,
        num_eigenvectors: int = 8,
        embedding_size: int = 6,
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "newest",
        slots_per_day: int = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        super().__init__(
            samples,
            graphs=graphs,
            levels=levels,
            head=head,
            level=level,
            scaling=scaling,
            start=start,
            slots_per_day=slots_per_day,
            dtype=dtype,
        )
        check_sizes(
            num_convolutions=num_convolutions,
            num_filters=num_filters,
            hidden_size=hidden_size,
            num_eigenvectors=num_eigenvectors,
            embedding_size=embedding_size,
        )
        if len(self.graphs[...]) != 1:
            raise InputError(f"expected one graph, the similarity of demand, got {len(self.graphs[...])}")
        shape: dict[str, Any] = {"rows": rows, "columns": columns_of(self.num_regions, rows), "dtype": dtype}
        self.rows, self.hidden_size, self.embedding_size = rows, hidden_size, embedding_size
        self.num_filters, self.num_eigenvectors = num_filters, num_eigenvectors
        of_grid, of_local, of_time, of_semantic, of_output = jax.random.split(key, 5)
        self.convolutions = nnx.List(
            GridConvolution(input_size=num_filters if n else self.input_size, output_size=num_filters, key=k, **shape)
            for n, k in enumerate(jax.random.split(of_grid, num_convolutions))
        )

        def linear(input_size: int, size: int, key: Array) -> nnx.Linear:
            return uniform_linear(input_size, size, fan_in=input_size, rngs=nnx.Rngs(key), dtype=dtype)

        self.local = linear(num_filters, hidden_size, of_local)
        self.stack = Stack(
            "lstm",
            input_size=hidden_size + (CALENDAR_SIZE if slots_per_day else 0),
            hidden_size=hidden_size,
            num_layers=1,
            key=of_time,
            dtype=dtype,
        )
        # Of the argument, a number also where the network's making is traced.
        similarity = np.asarray(graphs).reshape(self.graphs.shape)[0]
        embedding = laplacian_embedding(similarity, num_eigenvectors)
        self.eigenvectors = Buffer(jnp.asarray(embedding, dtype))
        self.semantic = linear(num_eigenvectors, embedding_size, of_semantic)
        size = hidden_size + embedding_size + self.num_known
        self.read_out = linear(size, self.num_leads * self.num_outputs, of_output)

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {
            "rows": self.rows,
            "num_convolutions": len(self.convolutions),
            "num_filters": self.num_filters,
            "hidden_size": self.hidden_size,
            "num_eigenvectors": self.num_eigenvectors,
            "embedding_size": self.embedding_size,
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
        values = inputs.astype(self.dtype)
        for convolution in self.convolutions:
            values = jax.nn.relu(convolution(values))
        local = with_calendar(jax.nn.relu(self.local(values)), known.slots, self.slots_per_day)
        states = self.stack(jnp.swapaxes(local, -3, -2))[1][..., -1, :]
        semantic = jax.nn.relu(self.semantic(self.eigenvectors[...]))
        semantic = jnp.broadcast_to(semantic, (*states.shape[:-1], semantic.shape[-1]))
        states = with_covariates(jnp.concatenate([states, semantic], -1), known.covariates)
        return by_lead(self.read_out(states), self.num_leads), {}
