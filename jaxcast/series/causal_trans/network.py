"""CausalTrans: forecasts of demand, and of supply given demand, weighed by the effects of treatments."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_flag, check_sizes
from jaxcast.errors import InputError, shown
from jaxcast.nn.layers import chosen_heads
from jaxcast.numerics.levels import middle_of, rising_quantiles
from jaxcast.series.causal_trans.inputs import LeadRows, check_effects, check_leads_of, lead_rows, split_targets
from jaxcast.series.causal_trans.stage import Stage, StageInputs, StageSizes
from jaxcast.series.graph_networks.abstract import GraphNetwork
from jaxcast.series.graph_networks.inputs import check_dropout
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import Level, Scaling
from jaxcast.series.window_network import KnownInputs, Start
from jaxcast.types import Info

LEVELS = (0.1, 0.5, 0.9)


class CausalTrans(GraphNetwork, name="causal_trans"):
    """Transformer of demand, then of supply, that weighs treatments by their effects (CausalTrans).

        P(x(t+1..t+H) | x(..t), z(..t+H)),    P(y(t+1..t+H) | y(..t), x(..t+H), z(..t+H))

    with demand x, supply y and treatments z known ahead, such as the slot of the week, holidays or
    the weather forecast. Each of the two is a network of its own: spatial fusion among nodes (see
    `SpatialFusion`), then causal attention over the steps of the history and the leads (see
    `EffectAttention`), in which the effects theta of treatments, which are not trained, multiply
    the treatments' embeddings and are a bias of keys.

    The network of supply sees the quantiles of demand that the other one forecasts; its loss does
    not change those. By `WindowLoss(teacher_forcing=True)` it sees the true demand in training.

    The steps of the history are those that follow each other up to the newest one. Rows at other
    lags, such as those of the same slot yesterday, must be whole days before a lead, and are
    features of it. With `adjusted`, effects are taken off the histories and put back on the
    forecasts, so that the network forecasts departures from what is usual.

    `info` has, for "demand" and for "supply", the clusters of nodes, (*batch, node, cluster), the
    weights of neighbours, (*batch, node, node), and those of steps, (*batch, head, lead, time +
    lead), as means over nodes.

    Args:
        samples: training samples; the series are the nodes of the graphs.
        graphs: whose edges say which nodes are neighbours.
        effects: of the slots of the week, where there is a calendar, and of the levels of each of
            `treatments`, (level, node, target) in the unit of the values, such as
            `estimate_treatment_effects` finds.
        demand: features that are demand; by default all targets.
        supply: features that are supply, forecast after the demand; () for none.
        treatments: features of the histories that are numbers of levels of treatments, from 0 on.
            What they will be at the leads are the last covariates, lead by lead: give them as
            `past_covariates` and as `future_covariates`.
        leads: steps ahead; by default from 1 on.
        adjusted: whether to forecast departures from the effects.
        sees_supply: whether demand sees the history of supply too.
        hidden_size: components of a node at a step.
        num_heads: heads of the attention over time; by default the most up to 4 that divide the
            components.
        kernel_size: steps of the convolutions of queries and keys.
        num_layers: layers of attention over time.
        num_clusters: clusters of nodes.
        dropout: share of the outputs of layers that training drops.
        levels: quantile levels, rising.
        level: "series" or "window", see `WindowNetwork`; "window" goes without `adjusted`.
        scaling: "series" or "all", see `WindowNetwork`.
        start: "newest" or "mean", see `WindowNetwork`.
        slots_per_day: steps of a day, see `WindowNetwork`.
        key: for the initial weights.
        dtype: of the weights.

    Raises:
        InputError: for features that are no targets or both demand and supply, effects of other
            sizes, treatments without covariates of the leads, rows at lags of no use, or sizes out
            of range.

    Source:
        Wan, Luo and Zhu (2024), CausalTrans; Li et al. (2019) for the convolutions of queries and
        keys.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> steps = jnp.arange(60.0)
        >>> values = jnp.sin(jnp.pi * steps / 4)[:, None, None] + jnp.ones((2, 2))
        >>> samples = jaxcast.series.series_windows(
        ...     values, history_size=8, leads=(1, 2), newest_covariates=(steps % 56)[:, None]
        ... )
        >>> network = jaxcast.series.CausalTrans(
        ...     samples, graphs=jnp.ones((2, 2)), effects=[jnp.zeros((56, 2, 2))], demand=(0,), supply=(1,),
        ...     slots_per_day=8, hidden_size=8, num_heads=2, key=jax.random.key(0)
        ... )
        >>> output = network(samples.history[:3], samples.covariates[:3])
        >>> output.forecast.shape, output.info["quantiles"].shape
        ((3, 2, 2, 2), (3, 2, 2, 2, 3))
    """

    @checked
    def __init__(
        self,
        samples: SeriesWindows,
        *,
        graphs: Float[Any, "*graph node node"],
        effects: Sequence[Float[Any, "..."]],
        key: Key[Array, ""],
        demand: Sequence[int] | None = None,
        supply: Sequence[int] = (),
        treatments: Sequence[int] = (),
        leads: Sequence[int] | None = None,
        adjusted: bool = True,
        sees_supply: bool = False,
        hidden_size: int = 32,
        num_heads: int | None = None,
        kernel_size: int = 3,
        num_layers: int = 1,
        num_clusters: int = 8,
        dropout: float | int = 0.0,
        levels: Sequence[float] = LEVELS,
        level: Level = "series",
        scaling: Scaling = "series",
        start: Start = "newest",
        slots_per_day: int = 0,
        dtype: DTypeLike = jnp.float32,
    ):
        super().__init__(
            samples,
            graphs=graphs,
            levels=levels,
            level=level,
            scaling=scaling,
            start=start,
            slots_per_day=slots_per_day,
            dtype=dtype,
        )
        check_sizes(hidden_size=hidden_size)
        num_heads = chosen_heads(hidden_size, num_heads)
        check_sizes(
            num_heads=num_heads,
            kernel_size=kernel_size,
            num_layers=num_layers,
            num_clusters=num_clusters,
        )
        check_dropout(dropout)
        check_flag("adjusted", adjusted)
        check_flag("sees_supply", sees_supply)
        if adjusted and level == "window":
            raise InputError('level="window" changes the unit of effects from window to window; give adjusted=False')
        if hidden_size % num_heads:
            raise InputError(f"num_heads must divide hidden_size {hidden_size}, got {num_heads}")
        targets = self.target_features or (0,)
        self.demand, self.supply = split_targets(demand, supply, targets)
        self.treatments, self.leads = tuple(treatments), check_leads_of(leads, self.num_leads)
        self.adjusted, self.sees_supply, self.scaling = adjusted, sees_supply, scaling
        self.sizes = StageSizes(hidden_size, num_heads, kernel_size, num_layers, num_clusters, dropout)
        self.num_levels = check_effects(
            effects,
            num_treatments=len(self.treatments),
            slots_per_day=slots_per_day,
            shape=(self.num_regions, len(targets))[: 2 if self.target_features else 1],
        )
        self._check_treatments()
        unit = self.std[...].reshape(self.num_regions, -1)[:, np.asarray(targets)]
        scaled = [jnp.reshape(jnp.asarray(effect), (-1, *unit.shape)) / unit for effect in effects]
        of_demand, of_supply = jax.random.split(key)
        self.of_demand = self._stage(self.demand, scaled, of_demand)
        self.of_supply = self._stage(self.supply, scaled, of_supply) if self.supply else None

    def _stage(self, own: tuple[int, ...], effects: Sequence[Array], key: Array) -> Stage:
        num_levels, rows = max(len(self.levels), 1), self._rows
        num_seen = self.input_size // self.num_features * len(self._seen_by(own))
        num_ahead = num_seen * rows.num_seasons + self._num_free
        if own == self.supply:
            num_ahead += len(self.demand) * num_levels
        return Stage(
            [effect[..., self._columns(own)] for effect in effects],
            num_features=(num_seen, max(num_ahead, 1)),
            num_steps=(len(rows.recent), self.num_leads),
            num_outputs=len(own) * num_levels,
            sizes=self.sizes,
            key=key,
            dtype=self.dtype,
        )

    @property
    def _middle(self) -> int:
        """The place of the level from which the others are distances."""
        return middle_of(self.levels) if self.levels else 0

    @property
    def _rows(self) -> LeadRows:
        return lead_rows(self.lags, self.leads, self.slots_per_day)

    @property
    def _neighbours(self) -> Bool[Array, "node node"]:
        """Which nodes each node listens to; itself is one of them."""
        return (self.graphs[...] > 0).any(0) | jnp.eye(self.num_regions, dtype=bool)

    @property
    def _num_free(self) -> int:
        """Covariates that are not levels of treatments."""
        return self.num_known - self.num_leads * len(self.treatments)

    def _seen_by(self, own: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the features of the histories that a stage sees."""
        hidden = set(self.treatments) | (set(self.supply) if own == self.demand and not self.sees_supply else set())
        return tuple(number for number in range(self.num_features) if number not in hidden)

    def _columns(self, own: tuple[int, ...]) -> np.ndarray:
        """Returns the places of features among the targets."""
        targets = self.target_features or (0,)
        return np.asarray([targets.index(number) for number in own], int)

    def _check_treatments(self) -> None:
        targets = self.target_features or (0,)
        seen_only = [number for number in range(self.num_features) if number not in targets]
        if len({*self.treatments}) < len(self.treatments) or not {*self.treatments} <= {*seen_only}:
            raise InputError(
                f"expected treatments among the features {seen_only} that are not forecast, got {shown(self.treatments)}"
            )
        if self._num_free < 0:
            raise InputError(
                f"expected covariates with the levels of {len(self.treatments)} treatments at each of {self.num_leads} "
                f"leads, got {self.num_known}; give them as future_covariates"
            )

    @property
    def own_config(self) -> dict[str, Any]:
        """The arguments that other networks do not have."""
        return {
            "num_levels": self.num_levels,
            "demand": self.demand,
            "supply": self.supply,
            "treatments": self.treatments,
            "leads": self.leads,
            "adjusted": self.adjusted,
            "sees_supply": self.sees_supply,
            "scaling": self.scaling,
        } | self.sizes._asdict()

    def steps(
        self, inputs: Float[Array, "*batch time region feature"], known: KnownInputs, key: Any
    ) -> tuple[Float[Array, "*batch lead region output"], Info]:
        """Returns forecasts in standardised units, see `WindowNetwork`.

        Args:
            inputs: standardised values and flags.
            known: covariates and the calendar; in training by teacher forcing the true demand.
            key: switches dropout on.
        """
        batch = inputs.shape[:-3]
        size = math.prod(batch)
        given: tuple[Array, KnownInputs] = jax.tree.map(
            lambda a: a.reshape(size, *a.shape[len(batch) :]), (inputs.astype(self.dtype), known)
        )
        quantiles, info = self._forecast(given[0], given[1], key)
        outputs = quantiles.reshape(*batch, *quantiles.shape[1:-2], -1)
        return outputs, jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), info)

    def _forecast(self, inputs: Array, known: KnownInputs, key: Any) -> tuple[Array, Info]:
        levels = self._levels(inputs, known)
        keys = (None, None) if key is None else jax.random.split(key)
        usual = self._usual(levels)
        raw, info = self._of_stage(self.of_demand, self.demand, inputs, known, levels, [], usual, keys[0])
        if self.of_supply is None:
            return self._put_back(raw, usual, self._columns(self.demand)), {"demand": info}
        ahead = jax.lax.stop_gradient(rising_quantiles(raw, self._middle) if self.levels else raw)
        if known.truth is not None:
            truth = known.truth[..., self._columns(self.demand)].astype(self.dtype)
            if self.start == "newest":
                truth = truth - inputs[:, -1:, :, np.asarray(self.demand)]
            truth = truth - self._back(usual)[..., self._columns(self.demand)]
            ahead = jnp.where(jnp.isfinite(truth)[..., None], truth[..., None], ahead)
        ahead = ahead.reshape(*ahead.shape[:-2], -1)
        supply, of_supply = self._of_stage(self.of_supply, self.supply, inputs, known, levels, [ahead], usual, keys[1])
        columns = np.concatenate([self._columns(self.demand), self._columns(self.supply)])
        raw = self._put_back(jnp.concatenate([raw, supply], -2), usual, columns)
        return raw[..., np.argsort(columns), :], {"demand": info, "supply": of_supply}

    def _back(self, usual: Array | None) -> Array:
        """Returns what is usual at the leads, relative to `start`; 0 where effects are not taken off."""
        if usual is None:
            return jnp.zeros((1, 1, 1, max(len(self.target_features), 1)), self.dtype)
        first = len(self.lags)
        return usual[:, first:] - (usual[:, first - 1 : first] if self.start == "newest" else 0)

    def _put_back(self, raw: Array, usual: Array | None, columns: np.ndarray) -> Array:
        """Adds what is usual to the middle level, from which the others are distances."""
        return raw.at[..., self._middle].add(self._back(usual)[..., columns])

    def _levels(self, inputs: Array, known: KnownInputs) -> tuple[Array, ...]:
        """Returns the level of each treatment at all rows of the window and all leads."""
        found = []
        if self.slots_per_day:
            ahead = known.slots[:, -1:] + jnp.asarray(self.leads)
            slots = jnp.concatenate([known.slots, ahead], 1) % (7 * self.slots_per_day)
            found.append(slots[..., None])
        if not self.treatments:
            return tuple(found)
        mean, std = (a[...].astype(self.dtype) for a in (self.mean, self.std))
        planned = known.covariates[..., self._num_free :].reshape(*known.covariates.shape[:-1], self.num_leads, -1)
        sizes = self.num_levels[self.slots_per_day > 0 :]
        for number, (feature, num_levels) in enumerate(zip(self.treatments, sizes, strict=True)):
            past = inputs[..., feature] * std[:, feature] + mean[:, feature]
            ahead = jnp.moveaxis(planned[..., number], -1, -2).astype(past.dtype)
            level = jnp.round(jnp.concatenate([past, ahead], 1)).astype(int)
            found.append(jnp.clip(level, 0, num_levels - 1))
        return tuple(found)

    def _of_stage(
        self,
        stage: Stage,
        own: tuple[int, ...],
        inputs: Array,
        known: KnownInputs,
        levels: tuple[Array, ...],
        ahead: list[Array],
        usual: Array | None,
        key: Any,
    ) -> tuple[Float[Array, "sample lead node target level"], dict[str, Any]]:
        """Returns the numbers of a stage, relative to `start` and to what is usual."""
        rows, num_rows = self._rows, len(self.lags)
        seen = np.asarray(self._seen_by(own))
        features = jnp.concatenate([inputs[..., n + seen] for n in range(0, self.input_size, self.num_features)], -1)
        if usual is not None:
            features = features.at[..., : len(seen)].add(-self._among(usual[:, :num_rows], seen))
        if rows.num_seasons:
            found = jnp.where(rows.of_lead[..., None, None] >= 0, features[:, np.maximum(rows.of_lead, 0)], 0)
            found = jnp.moveaxis(found, 2, 3)  # (sample, lead, node, season, feature)
            ahead = [*ahead, found.reshape(*found.shape[:3], -1)]
        if self._num_free:
            free = known.covariates[:, None, :, : self._num_free].astype(self.dtype)
            ahead = [*ahead, jnp.broadcast_to(free, (len(free), self.num_leads, *free.shape[2:]))]
        if not ahead:
            ahead = [jnp.zeros((len(inputs), self.num_leads, self.num_regions, 1), self.dtype)]
        kept = np.asarray((*rows.recent, *range(num_rows, num_rows + self.num_leads)))
        seen_by_stage = StageInputs(
            features[:, np.asarray(rows.recent)], jnp.concatenate(ahead, -1), tuple(level[:, kept] for level in levels)
        )
        raw, info = stage(seen_by_stage, self._neighbours, key)
        return raw.reshape(*raw.shape[:-1], len(own), -1), info

    def _usual(self, levels: tuple[Array, ...]) -> Float[Array, "sample time node target"] | None:
        """Returns the sum of the effects of all treatments, of each target; None where they stay on."""
        if not self.adjusted:
            return None
        parts = [(self.of_demand, self.demand)]
        if self.of_supply is not None:
            parts.append((self.of_supply, self.supply))
        order = np.argsort(np.concatenate([self._columns(own) for _, own in parts]))
        return jnp.concatenate([sum(stage.effects_at(levels)) for stage, _ in parts], -1)[..., order]

    def _among(self, usual: Array, seen: np.ndarray) -> Float[Array, "sample time node feature"]:
        """Returns what is usual of features; 0 for those that are not forecast."""
        targets = self.target_features or (0,)
        padded = jnp.concatenate([usual, jnp.zeros_like(usual[..., :1])], -1)
        return padded[..., np.asarray([targets.index(n) if n in targets else len(targets) for n in seen])]
