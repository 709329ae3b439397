"""One stage of CausalTrans: the network of demand, or that of supply."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Int, Key

from jaxcast.nn.dropout import drop
from jaxcast.nn.layers import Buffer, apply_flat, uniform_linear
from jaxcast.series.causal_trans.attention import EffectAttention, FeedForward
from jaxcast.series.causal_trans.fusion import SpatialFusion


class StageSizes(NamedTuple):
    """Sizes of the layers of a stage.

    Args:
        hidden_size: components of a node at a step.
        num_heads: of the attention over time.
        kernel_size: steps that a query and a key see.
        num_layers: layers of attention over time.
        num_clusters: clusters of nodes.
        dropout: share of the outputs of layers that training drops.
    """

    hidden_size: int
    num_heads: int
    kernel_size: int
    num_layers: int
    num_clusters: int
    dropout: float | int


class StageInputs(NamedTuple):
    """What a stage sees.

    Args:
        history: features of each step, (sample, time, node, feature).
        leads: features of each lead, (sample, lead, node, feature).
        levels: the level of each treatment at all steps and leads, (sample, time + lead, node or 1).
    """

    history: Any
    leads: Any
    levels: tuple[Any, ...]


class Stage(nnx.Module):
    """Maps histories and what is known of the leads to the numbers of each lead.

        x_t = W u_t + v_node + p_t + sum_k theta_k(t) E_k(t)

    at the steps t of the history and at the leads, where u are the features of either, theta_k the
    effect of treatment k at its level, and E_k the learned vectors of its levels. Spatial fusion,
    then layers of attention over time and dense layers, each added to what it sees and normalised
    before, follow. The last layer computes the leads alone.

    Args:
        effects: of each level of a treatment, (level, node, output), for each treatment; not
            trained.
        num_features: features of a step of the history, and of a lead.
        num_steps: steps of a history, and leads.
        num_outputs: numbers of a node and lead.
        sizes: of the layers.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        effects: Sequence[Float[Array, "level node output"]],
        *,
        num_features: tuple[int, int],
        num_steps: tuple[int, int],
        num_outputs: int,
        sizes: StageSizes,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        size, num_nodes = sizes.hidden_size, effects[0].shape[1]
        keys = iter(jax.random.split(key, 6 + len(effects) + 2 * sizes.num_layers))
        options: Any = {"size": size, "dtype": dtype}
        self.history, self.leads = (
            uniform_linear(number, size, fan_in=number, rngs=nnx.Rngs(next(keys)), dtype=dtype)
            for number in num_features
        )
        self.places = nnx.Param(0.1 * jax.random.normal(next(keys), (sum(num_steps), size), dtype))
        self.nodes = nnx.Param(0.1 * jax.random.normal(next(keys), (num_nodes, size), dtype))
        self.effects = nnx.List([Buffer(jnp.asarray(effect, dtype)) for effect in effects])
        self.embeddings = nnx.List([nnx.Param(_embedding(next(keys), effect, size, dtype)) for effect in effects])
        self.fusion = SpatialFusion(num_clusters=sizes.num_clusters, key=next(keys), **options)
        self.attentions = nnx.List(
            [
                EffectAttention(num_heads=sizes.num_heads, kernel_size=sizes.kernel_size, key=next(keys), **options)
                for _ in range(sizes.num_layers)
            ]
        )
        self.dense = nnx.List(
            [FeedForward(hidden_size=2 * size, key=next(keys), **options) for _ in range(sizes.num_layers)]
        )
        self.norms = nnx.List([_norm(size, dtype) for _ in range(2 * sizes.num_layers + 2)])
        self.read_out = uniform_linear(size, num_outputs, fan_in=size, rngs=nnx.Rngs(next(keys)), dtype=dtype)
        self.num_steps, self.dropout = num_steps[0], sizes.dropout

    def effects_at(self, levels: Sequence[Int[Array, "..."]]) -> list[Array]:
        """Returns the effect of each treatment at some steps, (sample, time, node, output).

        Args:
            levels: of each treatment, (sample, time, node or 1).
        """
        nodes = jnp.arange(self.nodes.shape[0])
        return [
            effect[...][level[..., 0]] if level.shape[-1] == 1 else effect[...][level, nodes]
            for effect, level in zip(self.effects, levels, strict=True)
        ]

    def __call__(
        self, inputs: StageInputs, neighbours: Array, key: Any
    ) -> tuple[Float[Array, "sample lead node output"], dict[str, Any]]:
        """Computes all leads.

        Args:
            inputs: of each step and lead.
            neighbours: which nodes each node listens to.
            key: switches dropout on; None for none.

        Returns:
            The numbers of each node and lead, clusters and weights.
        """
        num_drops = 1 + 2 * len(self.dense)
        keys = iter([None] * num_drops if key is None else jax.random.split(key, num_drops))
        norms = iter(self.norms)
        own = self.effects_at(inputs.levels)
        seen = [apply_flat(layer, xs) for layer, xs in ((self.history, inputs.history), (self.leads, inputs.leads))]
        states = jnp.concatenate(seen, 1) + self.nodes[...] + self.places[...][:, None]
        for effect, table, level in zip(own, self.embeddings, inputs.levels, strict=True):
            states = states + _embedded(effect, table[...], level)
        fused, info = self.fusion(next(norms)(states), states[:, : self.num_steps].mean(1), neighbours)
        states = states + drop(fused, self.dropout, next(keys))
        bias = jnp.sum(jnp.stack([effect.mean(-1) for effect in own]), 0)
        weights = None
        for number, (attention, dense) in enumerate(zip(self.attentions, self.dense, strict=True)):
            num_steps = states.shape[1]
            num_queries = num_steps if number < len(self.dense) - 1 else num_steps - self.num_steps
            attended, weights = attention(next(norms)(states), bias, num_queries)
            states = states[:, num_steps - num_queries :] + drop(attended, self.dropout, next(keys))
            states = states + drop(_flat(dense, next(norms)(states)), self.dropout, next(keys))
        return apply_flat(self.read_out, next(norms)(states)), info | {"attention": weights}


def _flat(layers: FeedForward, xs: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
    """Applies dense layers to all batch axes as one, see `apply_flat`."""
    return layers(xs.reshape(-1, xs.shape[-1])).reshape(xs.shape)


def _embedded(effect: Array, table: Array, level: Array) -> Float[Array, "sample time node size"]:
    """Returns the vectors of levels times their effects, summed over outputs."""
    if level.shape[-1] == 1:
        return jnp.sum(effect[..., None] * table[level], -2)
    # Of each node: a product is faster than gathering its vectors.
    chosen = effect[..., None, :] * jax.nn.one_hot(level, len(table), dtype=effect.dtype)[..., None]
    flat: Array = chosen.reshape(-1, table.shape[0] * table.shape[1]) @ table.reshape(-1, table.shape[-1])
    return flat.reshape(*effect.shape[:-1], -1)


def _norm(size: int, dtype: DTypeLike) -> nnx.LayerNorm:
    return nnx.LayerNorm(size, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0))


def _embedding(key: Key[Array, ""], effect: Array, size: int, dtype: DTypeLike) -> Float[Array, "level output size"]:
    """Draws vectors that are much the same for all levels of a treatment, so that effects alone tell them apart."""
    common, own = jax.random.split(key)
    num_levels, _, num_outputs = effect.shape
    vectors = 0.5 * jax.random.normal(common, (1, num_outputs, size), dtype)
    return vectors + 0.1 * jax.random.normal(own, (num_levels, num_outputs, size), dtype)
