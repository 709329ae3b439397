"""The decoder of OD-CED: trips between zones from the states of clusters."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.series.od.coarsening import merged
from jaxcast.series.od.layers import TwoLayers, linear

LARGEST_LOG = 5.0
"""Bounds logarithms of shares, so that no zone of a cluster is left without any."""
LARGEST_RESIDUAL = 10.0


class Flows(NamedTuple):
    """Trips between zones, recent and usual.

    Args:
        trips: of the history.
        usual: at the steps of the history.
        expected: the usual trips of each lead.
        mean: the usual trips of all slots.
        known: of the calendar and besides.
    """

    trips: Float[Array, "sample time zone zone"]
    usual: Float[Array, "sample time zone zone"]
    expected: Float[Array, "sample lead zone zone"]
    mean: Float[Array, "zone zone"]
    known: Float[Array, "sample known"]


def log_ratio(trips: Float[Array, "*shape"], usual: Float[Array, "..."]) -> Float[Array, "*shape"]:
    """Returns ln((X + 1) / (U + 1)).

    Args:
        trips: X.
        usual: U.
    """
    return jnp.log((trips + 1) / (usual + 1))


class FlowDecoder(nnx.Module):
    """Trips between clusters, the shares of zones in them, and a residual; see `ODCED`.

    Args:
        num_zones: number of zones.
        num_steps: steps of a history.
        num_leads: number of leads.
        num_known: numbers known of the calendar and besides.
        embedding_size: learned numbers of each zone.
        size: components of a state.
        rank: of the residual; 0 for none.
        key: for the weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        *,
        num_zones: int,
        num_steps: int,
        num_leads: int,
        num_known: int,
        embedding_size: int,
        size: int,
        rank: int,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        keys = jax.random.split(key, 5)
        self.num_leads, self.size, self.rank = num_leads, size, rank
        self.zones = nnx.Param(jax.random.normal(keys[0], (num_zones, embedding_size), dtype) / 10)
        zone_size = 2 * num_steps + embedding_size + num_known
        self.zone_state = TwoLayers(zone_size, 2 * size, size, key=keys[1], dtype=dtype)
        self.ends = linear(size, 2 * num_leads * size, key=keys[2], dtype=dtype)
        self.start = nnx.Param(jnp.full((), math.log(math.e - 1), dtype))
        self.similarity = linear(size, 2 * num_leads * size, key=keys[3], dtype=dtype)
        if rank:
            self.factors = linear(2 * size, 2 * num_leads * rank, key=keys[4], dtype=dtype)
            self.own = nnx.Param(jnp.zeros((num_leads, num_steps), dtype))
            self.pseudo_trips = nnx.Param(jnp.ones(num_steps, dtype))
            self.gate = nnx.Param(jnp.asarray([0.0, 2.0], dtype))

    def __call__(
        self, states: Float[Array, "sample c size"], flows: Flows, assignment: Float[Array, "zone c"]
    ) -> tuple[Float[Array, "sample lead zone zone"], Float[Array, "sample lead c c"]]:
        """Decodes the trips of all leads.

        Args:
            states: of clusters.
            flows: recent and usual trips.
            assignment: S, of zones to clusters.

        Returns:
            The trips between zones and those between clusters.
        """
        ends, zones = self._by_end(self.ends(states)), self._zone_states(flows)
        product = jnp.einsum("nmkc,npkc->nkmp", ends[:, :, 0], ends[:, :, 1]) / math.sqrt(self.size)
        merged_flows = merged(flows.expected, assignment) * jax.nn.softplus(product + self.start)
        shares = flows.expected * jnp.exp(self._similarities(zones, ends, assignment))
        scale = merged_flows / merged(shares, assignment)
        decoded = shares * (assignment @ scale @ assignment.T)
        if self.rank:
            both = jnp.concatenate([zones, assignment @ states], -1)
            decoded = decoded * jnp.exp(jnp.clip(self._residual(both, flows), -LARGEST_RESIDUAL, LARGEST_RESIDUAL))
        return decoded, merged_flows

    def _by_end(self, numbers: Float[Array, "sample zone number"]) -> Float[Array, "sample zone 2 lead component"]:
        """Splits numbers into those of origins and destinations, and of leads."""
        return numbers.reshape(*numbers.shape[:-1], 2, self.num_leads, -1)

    def _zone_states(self, flows: Flows) -> Float[Array, "sample zone size"]:
        recent = [log_ratio(flows.trips.sum(axis), flows.usual.sum(axis)) for axis in (-1, -2)]
        ratios = jnp.swapaxes(jnp.concatenate(recent, 1), 1, 2)
        zones = jnp.broadcast_to(self.zones[...], (len(ratios), *self.zones.shape))
        known = jnp.broadcast_to(flows.known[:, None], (*ratios.shape[:2], flows.known.shape[-1]))
        return jax.nn.relu(self.zone_state(jnp.concatenate([ratios, zones, known], -1)))

    def _similarities(
        self, zones: Array, ends: Array, assignment: Float[Array, "zone c"]
    ) -> Float[Array, "sample lead zone zone"]:
        """Returns u_i + v_j, within +- 2 LARGEST_LOG."""
        own = jnp.einsum("im,nmekc->niekc", assignment, ends)
        logits = (self._by_end(self.similarity(zones)) * own).sum(-1) / math.sqrt(self.size)
        logits = jnp.moveaxis(LARGEST_LOG * jnp.tanh(logits / LARGEST_LOG), -1, 1)
        return logits[:, :, :, None, 0] + logits[:, :, None, :, 1]

    def _residual(self, zones: Float[Array, "sample zone both"], flows: Flows) -> Float[Array, "sample lead zone zone"]:
        factors = self._by_end(self.factors(zones))
        residual = jnp.einsum("nikr,njkr->nkij", factors[:, :, 0], factors[:, :, 1]) / math.sqrt(self.rank)
        pseudo = jax.nn.softplus(self.pseudo_trips[...])[:, None, None]
        recent = jnp.log((flows.trips + pseudo) / (flows.usual + pseudo))
        residual = residual + jnp.einsum("kt,ntij->nkij", self.own[...], recent)
        slope, offset = self.gate[...]
        return jax.nn.sigmoid(slope * jnp.log(flows.mean / flows.mean.mean()) + offset) * residual
