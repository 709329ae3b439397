"""GEML: grid embedding and multi-task learning of origin-destination matrices."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_flag, check_number, check_sizes
from jaxcast.nn.graph import transition
from jaxcast.nn.layers import Buffer
from jaxcast.nn.lstm import LSTM
from jaxcast.numerics.levels import middle_of
from jaxcast.series.od.layers import linear
from jaxcast.series.od.usual_flows import slot_means
from jaxcast.series.od.zones import num_zones_of, zone_graph
from jaxcast.series.samples import SeriesWindows, learned_from
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_loss import WindowLoss
from jaxcast.series.window_network import KnownInputs, Start, WindowNetwork
from jaxcast.types import Info

CALENDAR_SIZE = 8


class GEML(WindowNetwork, name="geml"):
    """Forecasts of trips between zones from embeddings of the zones over time (GEML).

        e_i = relu(W x_i + W_g sum_j G_ij x_j + W_s sum_j S_ij x_j + b)
        s_i = LSTM(e_i of recent steps), LSTM(e_i of the same time on earlier days)
        y_ij = s_i^T B s_j,    out_i = v . s_i,    in_i = w . s_i

    with x_i all standardised trips from and to zone i at a step, G the transition matrix of zones
    that touch, and S that of the trips between zones over the training part. The recent steps of a
    history are those without a gap before the newest; a history without gaps has one LSTM. y, out
    and in are standardised. `info` holds "outflow" and "inflow", (*batch, lead, N), the other two
    tasks; `FlowLoss` trains all three. Forecasts of trips may be slightly below zero.

    Args:
        samples: training samples, pair origin * N + destination as region.
        adjacency: which zones touch, (N, N), symmetric; None for no such neighbours.
        embedding_size: components of e.
        hidden_size: components of an LSTM's state.
        levels: quantile levels, rising; () for a point forecast.
        level: "series" or "window", see `WindowNetwork`.
        scaling: "series" or "all", whose mean and scale. With "series", no pair may be constant.
        start: "mean" or "newest", what forecasts are relative to.
        pair_means: whether m_ij is each pair's mean; else it is 0, as in the source.
        slots_per_day: steps of a day; the first covariate is then the slot of the week in which a
            history ends, from 0 on. 0 for series without a calendar.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for regions that are not all pairs of N zones, an adjacency of other zones or
            not symmetric, or sizes below one.

    Source:
        Wang, Yin, Chen, Wo, Xu and Zheng (2019), Origin-Destination Matrix Prediction via Graph
        Convolution. The two LSTMs stand for its periodic skips.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> trips = jax.random.poisson(jax.random.key(0), 3.0, (30, 9)).astype(float)
        >>> samples = jaxcast.series.series_windows(trips, lags=(0, 1, 7), leads=(1,))
        >>> network = jaxcast.series.GEML(samples, hidden_size=4, embedding_size=4, key=jax.random.key(1))
        >>> output = network(samples.history, lags=samples.lags)
        >>> output.forecast.shape, output.info["outflow"].shape
        ((22, 1, 9), (22, 1, 3))
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        adjacency: Float[Any, "zone other"] | None = None,
        embedding_size: int = 64,
        hidden_size: int = 64,
        levels: Sequence[float] = (),
        level: Level = "series",
        scaling: Scaling = "all",
        start: Start = "mean",
        pair_means: bool = True,
        slots_per_day: int = 0,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(embedding_size=embedding_size, hidden_size=hidden_size)
        check_flag("pair_means", pair_means)
        self.num_zones = num_zones_of(samples)
        edges = zone_graph(adjacency, self.num_zones)
        super().__init__(
            samples,
            levels=levels,
            level=level,
            scaling=scaling,
            start=start,
            slots_per_day=slots_per_day,
            dtype=dtype,
        )
        self.scaling = scaling
        means = slot_means(samples, 1)[0]
        # In units of a window, a pair's mean is that of the window.
        own = (jnp.asarray(means) - self.mean[...]) / self.std[...] * (pair_means and level == "series")
        self.pair_means, self.own_means = pair_means, Buffer(own.reshape(edges.shape).astype(self.dtype))
        means = means.reshape(edges.shape)
        graphs = [transition(jnp.asarray(graph)) for graph in (edges, np.maximum(means + means.T, 0))]
        self.graphs = Buffer(jnp.stack(graphs).astype(self.dtype))
        keys = jax.random.split(key, 7)
        self.embedding = linear(2 * self.num_zones, 3 * embedding_size, key=keys[0], dtype=self.dtype)
        sizes: dict[str, Any] = {"input_size": embedding_size, "hidden_size": hidden_size, "dtype": self.dtype}
        self.recent = LSTM(key=keys[1], **sizes)
        self.earlier = LSTM(key=keys[2], **sizes) if self._num_recent < self.history_size else None
        table = jax.random.normal(keys[3], (7 * slots_per_day, CALENDAR_SIZE), self.dtype) / 10
        self.calendar = nnx.Param(table) if slots_per_day else None
        size = hidden_size * (1 + (self.earlier is not None)) + CALENDAR_SIZE * (slots_per_day > 0) + self.num_known
        self.origins = linear(size, hidden_size, key=keys[4], dtype=self.dtype)
        num_matrices = self.num_leads * self.num_outputs
        self.destinations = linear(size, num_matrices * hidden_size, key=keys[5], dtype=self.dtype)
        self.margins = linear(size, 2 * self.num_leads, key=keys[6], dtype=self.dtype)
        self.bias = nnx.Param(jnp.zeros(num_matrices, self.dtype))

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the class."""
        return {
            "embedding_size": self.embedding.out_features // 3,
            "hidden_size": self.origins.out_features,
            "scaling": self.scaling,
            "pair_means": self.pair_means,
        } | self.window_settings

    @property
    def _num_recent(self) -> int:
        """The steps of a history without a gap before the newest."""
        gaps = np.diff(self.lags) != -1
        return len(self.lags) - (int(np.flatnonzero(gaps)[-1]) + 1 if gaps.any() else 0)

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        """Returns standardised trips, and both margins.

        Args:
            inputs: standardised values and flags of known ones.
            known: covariates and the calendar.
            key: not used.

        Returns:
            The trips, and the trips from and to every zone.
        """
        batch, zones = inputs.shape[:-3], (self.num_zones, self.num_zones)
        means = self.own_means[...]
        trips = inputs[..., 0].astype(self.dtype).reshape(-1, self.history_size, *zones) - means
        states = self._states(trips, known)
        origins = self.origins(states)
        destinations = self.destinations(states).reshape(*states.shape[:2], -1, origins.shape[-1])
        matrices = jnp.einsum("nih,njmh->nmij", origins, destinations) / math.sqrt(origins.shape[-1])
        matrices = matrices + self.bias[:, None, None]
        steps = matrices.reshape(*batch, self.num_leads, self.num_outputs, -1)
        if self.start == "mean":
            is_middle = np.arange(self.num_outputs) == (middle_of(self.levels) if self.levels else 0)
            steps = steps + is_middle[:, None] * means.reshape(-1)
        margins = self.margins(states).reshape(*batch, self.num_zones, 2, self.num_leads)
        mean, std = self.margin_scale
        outflow, inflow = jnp.moveaxis(mean + std * jnp.moveaxis(margins, -1, -3), -1, 0)
        return jnp.swapaxes(steps, -1, -2), {"outflow": outflow, "inflow": inflow}

    @property
    def margin_scale(self) -> tuple[Float[Array, "zone 2"], Float[Array, "zone 2"]]:
        """The mean and scale of the trips from and to every zone: sums over the pairs."""
        mean, std = (a[...].reshape(self.num_zones, self.num_zones) for a in (self.mean, self.std))
        mean, std = (jnp.stack([a.sum(1), a.sum(0)], -1) for a in (mean + std * self.own_means[...], std))
        return mean, std

    def _states(
        self, trips: Float[Array, "sample time zone zone"], known: KnownInputs
    ) -> Float[Array, "sample zone size"]:
        features = jnp.concatenate([trips, jnp.swapaxes(trips, 2, 3)], -1)
        own, near, linked = jnp.split(self.embedding(features), 3, -1)
        geographic, semantic = self.graphs[...]
        embedded = jnp.swapaxes(jax.nn.relu(own + geographic @ near + semantic @ linked), 1, 2)
        states = [self.recent(embedded[:, :, -self._num_recent :])[1][:, :, -1]]
        if self.earlier is not None:
            states.append(self.earlier(embedded[:, :, : -self._num_recent])[1][:, :, -1])
        if self.calendar is not None:
            newest = known.slots.reshape(len(trips), -1)[:, -1]
            states.append(jnp.repeat(self.calendar[...][newest][:, None], self.num_zones, 1))
        if known.covariates is not None:
            # Those of all pairs are their mean too.
            others = known.covariates.reshape(len(trips), self.num_regions, -1).mean(1, keepdims=True)
            states.append(jnp.repeat(others, self.num_zones, 1).astype(self.dtype))
        return jnp.concatenate(states, -1)


@dataclasses.dataclass(frozen=True)
class FlowLoss:
    """The loss of `GEML`: of trips, and of the trips from and to every zone.

        loss = WindowLoss(error) + margins mean_i (a_i^2 + b_i^2) / 2
        a_i = (out_i - sum_j y_ij) / sum_j std_ij,    b_j = (in_j - sum_i y_ij) / sum_i std_ij

    A margin counts where all its targets are known.

    Args:
        error: of the trips, see `WindowLoss`.
        margins: the weight of the margins.

    Raises:
        InputError: for another error or a negative weight.

    Example:
        >>> import jax, jaxcast
        >>> trips = jax.random.poisson(jax.random.key(0), 3.0, (30, 9)).astype(float)
        >>> samples = jaxcast.series.series_windows(trips, history_size=2, leads=(1,))
        >>> network = jaxcast.series.GEML(samples, hidden_size=4, embedding_size=4, key=jax.random.key(1))
        >>> losses = [jaxcast.series.FlowLoss(margins=weight)(network, samples) for weight in (0.0, 0.5)]
        >>> bool(losses[0] < losses[1])
        True
    """

    error: Literal["squared", "absolute", "huber", "poisson"] = "squared"
    margins: float | int = 0.25

    def __post_init__(self) -> None:
        WindowLoss(self.error)
        check_number("margins", self.margins, least=0)

    @checked
    def __call__(self, model: Any, samples: SeriesWindows, key: Any = None, num_leads: Any = None) -> Float[Array, ""]:
        """Computes the loss.

        Args:
            model: a `GEML`.
            samples: what to forecast; where a weight is 0 the target does not matter.
            key: not used.
            num_leads: how many of the first leads count; None for all.

        Returns:
            The loss; 0 where nothing is known.
        """
        samples = learned_from(samples)
        weights = samples.weights
        if num_leads is not None:
            weights = weights * (jnp.arange(weights.shape[1]) < num_leads)[:, None]
        outputs = model(samples.history, samples.covariates, lags=samples.lags, key=key)
        errors = WindowLoss(self.error).errors(model, outputs, samples.targets)
        trips = _weighted_mean(errors, weights)
        matrices = (*weights.shape[:-1], model.num_zones, model.num_zones)
        targets, known = samples.targets.reshape(matrices), weights.reshape(matrices)
        std = model.margin_scale[1]
        tasks = [
            _weighted_mean(((outputs.info[name] - targets.sum(axis)) / std[:, end]) ** 2, known.min(axis))
            for end, (name, axis) in enumerate((("outflow", -1), ("inflow", -2)))
        ]
        return trips + self.margins * (tasks[0] + tasks[1]) / 2


def _weighted_mean(values: Float[Array, "*shape"], weights: Float[Array, "*shape"]) -> Float[Array, ""]:
    return jnp.sum(weights * values) / jnp.maximum(jnp.sum(weights), 1)
