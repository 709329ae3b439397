"""The base of trained forecasters whose series are the nodes of graphs."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.nn.layers import Buffer
from jaxcast.series.graphs.structure import check_graphs
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import Start, WindowNetwork


class GraphNetwork(WindowNetwork):
    """Abstract base of trained forecasters on graphs.

    A graph A is (node, node), with A_ij >= 0 the weight with which node i listens to node j. The
    graphs are arrays of the network: one compiled program serves all graphs of a size.

    Args:
        samples: training samples, see `WindowNetwork`.
        graphs: one graph or several.
        levels: quantile levels, rising; () for a point forecast.
        head: "quantiles" at the levels, or the name of a distribution; see `WindowNetwork`.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`.
        slots_per_day: steps of a day, see `WindowNetwork`.
        dtype: of the weights.

    Raises:
        InputError: for graphs of another number of nodes, negative or not finite.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> from flax import nnx
        >>> class Neighbours(jaxcast.series.GraphNetwork, name="neighbours"):
        ...     def __init__(self, samples, *, graphs, key, **options):
        ...         super().__init__(samples, graphs=graphs, **options)
        ...         self.share = nnx.Param(jax.random.uniform(key, (self.num_leads,)))
        ...     def steps(self, inputs, known, key):
        ...         seen = self.graphs[0] @ inputs[..., -1, :, :1]
        ...         return self.share[:, None, None] * seen[..., None, :, :], {}
        ...     @property
        ...     def own_config(self):
        ...         return {}
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=8, leads=(1, 2))
        >>> network = Neighbours(samples, graphs=jnp.ones((2, 2)), key=jax.random.key(0))
        >>> network(samples.history).forecast.shape
        (52, 2, 2)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        graphs: Float[Any, "*graph node node"],
        levels: Sequence[float] = (),
        head: str = "quantiles",
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "newest",
        slots_per_day: int = 0,
        dtype: Any = jnp.float32,
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
        self.graphs = Buffer(jnp.asarray(check_graphs(graphs, num_nodes=self.num_regions), self.dtype))

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the class, with the number of graphs."""
        return {"num_graphs": self.graphs.shape[-3]} | self.window_settings | self.own_config

    @property
    @abstractmethod
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
