"""OD-CED: forecasts of origin-destination matrices from clusters of their zones."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_sizes, check_whole
from jaxcast.errors import InputError
from jaxcast.nn.layers import Buffer
from jaxcast.numerics.levels import middle_of
from jaxcast.series.od.clusters import ClusterEncoder
from jaxcast.series.od.coarsening import assignment_of, coarsen_zones, merged
from jaxcast.series.od.decoder import FlowDecoder, Flows, log_ratio
from jaxcast.series.od.usual_flows import UsualFlows, slot_means
from jaxcast.series.od.zones import check_clusters, check_trips, num_zones_of, zone_graph
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level
from jaxcast.series.window_network import KnownInputs, WindowNetwork
from jaxcast.types import Info

CALENDAR_SIZE = 8
SMALLEST_TRIPS = 1e-6


class ODCED(WindowNetwork, name="od_ced"):
    """Forecasts of trips between zones from those between clusters of zones (OD-CED).

    The N zones are merged to M clusters once, the super-cells of the source, see `coarsen_zones`.
    The usual trips U_ij(s) are means by slot of the week over the training part, smoothed to a low
    rank. All numbers of the network are relative to them:

        x_ab = ln( (X_ab + 1) / (U_ab + 1) ) of each step, between clusters a and b
        z = encoder(x, calendar),    F_ab = U_ab(s) softplus(o_a . d_b + c)
        y_ij = F_ab p_ij exp(g_ij r_ij),    p_ij = U_ij(s) e^(u_i + v_j) / sum over (i, j) in (a, b)

    with o, d linear in z; u_i the similarity of zone i, two layers of its recent in- and outflows
    relative to the usual ones, to its cluster, and v_j alike; r_ij of low rank in the states of
    zones, plus weighted logarithms of the pair's own recent trips relative to the usual ones; and
    g_ij = sigmoid(alpha ln mean_ij + beta) a gate by the pair's mean. Without r, the trips of the
    zones of two clusters sum to F_ab. Trips are never negative.

    `info` holds "head_weights", the attention between clusters, (*batch, head, M, M), and
    "cluster_flows" F, (*batch, lead, M, M). `clusters` says which zones are merged. With quantile
    levels, the distance between two of them is c y^e, with learned c and e; below the middle level
    it is a share of the level above, so that none is negative.

    Args:
        samples: training samples of trips, pair origin * N + destination as region.
        adjacency: which zones touch, (N, N), symmetric; without it, any two zones may be merged,
            and clusters have no neighbours.
        clusters: the cluster of each zone; by default `coarsen_zones` finds them.
        max_cluster_size: the most zones of a cluster.
        least_share: the least share of all trips of a cluster, see `coarsen_zones`.
        hidden_size: components of a state.
        num_heads: of the attention between clusters.
        embedding_size: learned numbers of each zone and cluster.
        residual_rank: rank of r; 0 for no r at all.
        usual_rank: rank of the usual trips besides the product of their margins.
        leads: steps ahead of each lead; by default 1, 2, ...
        levels: quantile levels, rising; () for the mean alone.
        level: "series", the only one.
        slots_per_day: steps of a day; the first covariate is then the slot of the week in which a
            history ends, from 0 on. 0 for one mean as usual trips.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for negative trips, regions that are not all pairs of N zones, an adjacency of
            other zones or not symmetric, clusters with gaps, or sizes below one.

    Source:
        Yang, Dai, Gao, Tang, Zhou and Zhu (2025), arXiv 2503.24237, for the coarsening, the
        permutation-invariant embedding and the decoder by similarities. The usual trips, the
        residual and all sizes are our own.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> trips = jax.random.poisson(jax.random.key(0), 3.0, (30, 16)).astype(float)
        >>> samples = jaxcast.series.series_windows(trips, history_size=4, leads=(1,))
        >>> network = jaxcast.series.ODCED(samples, max_cluster_size=2, hidden_size=8, key=jax.random.key(1))
        >>> network(samples.history).forecast.shape, len(network.clusters)
        ((26, 1, 16), 4)
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        adjacency: Float[Any, "zone other"] | None = None,
        clusters: Sequence[int] | Int[Any, " zone"] = (),
        max_cluster_size: int = 5,
        least_share: float | int = 0.005,
        hidden_size: int = 32,
        num_heads: int = 4,
        embedding_size: int = 8,
        residual_rank: int = 8,
        usual_rank: int = 40,
        leads: Sequence[int] = (),
        levels: Sequence[float] = (),
        level: Level = "series",
        slots_per_day: int = 0,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(hidden_size=hidden_size, embedding_size=embedding_size)
        check_whole("residual_rank", residual_rank, least=0)
        check_whole("usual_rank", usual_rank, least=0)
        check_choice("level", level, ("series",))
        self.num_zones = num_zones_of(samples)
        check_trips(samples)
        edges = zone_graph(adjacency, self.num_zones)
        super().__init__(samples, levels=levels, scaling="all", start="mean", slots_per_day=slots_per_day, dtype=dtype)
        self.leads = tuple(leads) if len(leads) else tuple(range(1, self.num_leads + 1))
        if len(self.leads) != self.num_leads:
            raise InputError(f"expected the steps ahead of {self.num_leads} leads, got {tuple(leads)}")
        self.hidden_size, self.embedding_size, self.usual_rank = hidden_size, embedding_size, usual_rank
        means = slot_means(samples, max(7 * slots_per_day, 1))
        self.usual = UsualFlows(means, rank=usual_rank, dtype=self.dtype)
        if not len(clusters):
            means = means.reshape(-1, self.num_zones, self.num_zones)
            touching = 1 - np.eye(self.num_zones) if adjacency is None else edges
            clusters = coarsen_zones(means, touching, max_cluster_size=max_cluster_size, least_share=least_share)
        self.clusters = check_clusters(clusters, self.num_zones)
        of_calendar, of_encoder, of_decoder = jax.random.split(key, 3)
        num_slots = self.usual.of_slots.shape[-2]
        self.calendar = nnx.Param(jax.random.normal(of_calendar, (num_slots, CALENDAR_SIZE), self.dtype) / 10)
        assignment = assignment_of(self.clusters)
        self.assignment = Buffer(jnp.asarray(assignment, self.dtype))
        graph = assignment.T @ edges @ assignment
        np.fill_diagonal(graph, 0)
        sizes: dict[str, Any] = {
            "num_known": CALENDAR_SIZE + self.num_known,
            "embedding_size": embedding_size,
            "size": hidden_size,
            "dtype": self.dtype,
        }
        self.encoder = ClusterEncoder(
            self.history_size + 1, graph=jnp.asarray(graph), num_heads=num_heads, key=of_encoder, **sizes
        )
        self.decoder = FlowDecoder(
            num_zones=self.num_zones,
            num_steps=self.history_size,
            num_leads=self.num_leads,
            rank=residual_rank,
            key=of_decoder,
            **sizes,
        )
        # Of the distance between two levels, c y^e: ln c and e.
        self.gaps = nnx.Param(jnp.asarray([[0.0] * len(self.levels), [0.5] * len(self.levels)], self.dtype))

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the class."""
        return {
            "clusters": self.clusters,
            "hidden_size": self.hidden_size,
            "num_heads": self.encoder.attention.num_heads,
            "embedding_size": self.embedding_size,
            "residual_rank": self.decoder.rank,
            "usual_rank": self.usual_rank,
            "leads": self.leads,
            "lags": self.lags,
            "slots_per_day": self.slots_per_day,
        }

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        """Returns standardised trips, relative to the mean of all pairs.

        Args:
            inputs: standardised trips and flags of known ones.
            known: covariates and the calendar.
            key: not used.

        Returns:
            The trips; attention between clusters, and the trips between these.
        """
        batch = inputs.shape[:-3]
        flows = self._flows(inputs, known)
        assignment = self.assignment[...]
        ratios = log_ratio(merged(flows.trips, assignment), merged(flows.usual, assignment))
        season = log_ratio(merged(flows.expected[:, :1], assignment), merged(flows.mean, assignment))
        pairs = jnp.moveaxis(jnp.concatenate([ratios, season], 1), 1, -1)
        states, attention = self.encoder(pairs, flows.known)
        trips, merged_flows = self.decoder(states, flows, assignment)
        outputs = self._levels_of_trips(trips.reshape(*batch, self.num_leads, -1))
        attention, merged_flows = (a.reshape(*batch, *a.shape[1:]) for a in (attention, merged_flows))
        return outputs, {"head_weights": attention, "cluster_flows": merged_flows}

    def _flows(self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs) -> Flows:
        """Returns recent and usual trips, of one axis of samples."""
        matrix = (-1, self.num_zones, self.num_zones)
        mean, std = self.mean[...][0], self.std[...][0]
        trips = jnp.maximum(mean + std * inputs[..., 0], 0).astype(self.dtype)
        trips = trips.reshape(-1, self.history_size, *matrix[1:])
        slots = jnp.zeros(trips.shape[:2], int) if known.slots is None else known.slots.reshape(trips.shape[:2])
        targets = slots[:, -1:] + self.lags[-1] + jnp.asarray(self.leads)
        calendar = self.calendar[...][targets[:, 0] % len(self.calendar)]
        if known.covariates is not None:
            # Those of all pairs are their mean too.
            others = known.covariates.reshape(len(trips), self.num_regions, -1).mean(1)
            calendar = jnp.concatenate([calendar, others.astype(self.dtype)], -1)
        usual, expected = (self.usual(s).reshape(len(trips), *matrix) for s in (slots, targets))
        return Flows(trips, usual, expected, self.usual.mean.reshape(matrix[1:]), calendar)

    def _levels_of_trips(self, trips: Float[Array, "*batch pair"]) -> Float[Array, "*batch pair output"]:
        """Returns standardised trips; of other levels, what softplus makes the distance."""
        mean, std = self.mean[...][0], self.std[...][0]
        if not self.levels:
            return ((trips - mean) / std)[..., None]
        factors, exponents = self.gaps[...]
        logs = jnp.log(jnp.maximum(trips, SMALLEST_TRIPS))
        outputs = [(trips - mean) / std]
        below = trips
        for level in reversed(range(middle_of(self.levels))):
            # A share of the level above, so that none is negative.
            gap = below * jax.nn.sigmoid(factors[level] - exponents[level] * logs)
            below = below - gap
            outputs.insert(0, _inverse_softplus(gap / std))
        for level in range(middle_of(self.levels) + 1, len(self.levels)):
            outputs.append(_inverse_softplus(jnp.exp(factors[level] + exponents[level] * logs) / std))
        return jnp.stack(outputs, -1)


def _inverse_softplus(values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    values = jnp.maximum(values, SMALLEST_TRIPS)
    return values + jnp.log(-jnp.expm1(-values))
