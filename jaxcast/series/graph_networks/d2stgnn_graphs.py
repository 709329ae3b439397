"""The graphs of D2STGNN, and the convolution over neighbours and the last few steps."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.nn.dropout import Dropout
from jaxcast.nn.layers import apply_flat, uniform_linear

SMALLEST = 1e-7
"""Weight of a pair of nodes that the given graph does not connect."""


class DynamicGraphs(nnx.Module):
    """Graphs of each window, learned from its values, its time and the nodes.

        F = W_2 drop(layernorm(relu(W_1 x)))                  from a node's values in the window
        Z = [F, T_D, T_W, E],    G = rows_normalised( softmax((Z W_Q)(Z W_K)^T / sqrt(C)) * (P + 1e-7) )

    with E = E_d for transitions P forward and E = E_u for those backward. The published code has
    batch normalisation in F; here a window's forecast does not depend on the others of its batch.

    Args:
        num_values: values of a node in a window.
        hidden_size: C.
        embedding_size: components of the embedding of a node, and of each one of the time.
        num_times: embeddings of the time, 2 or 0.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        *,
        num_values: int,
        hidden_size: int,
        embedding_size: int,
        num_times: int,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        rngs = nnx.Rngs(key)
        options: dict[str, Any] = {"rngs": rngs, "dtype": dtype}
        self.first = uniform_linear(num_values, 2 * hidden_size, fan_in=num_values, **options)
        self.norm = nnx.LayerNorm(2 * hidden_size, epsilon=1e-5, param_dtype=dtype, **options)
        self.second = uniform_linear(2 * hidden_size, hidden_size, fan_in=2 * hidden_size, **options)
        size = hidden_size + (num_times + 1) * embedding_size
        self.query = uniform_linear(size, hidden_size, fan_in=size, use_bias=False, **options)
        self.source = uniform_linear(size, hidden_size, fan_in=size, use_bias=False, **options)

    def __call__(
        self,
        values: Float[Array, "batch node value"],
        times: Float[Array, "batch time_embedding"] | None,
        embeddings: Sequence[Float[Array, "node embedding"]],
        masks: Sequence[Float[Array, "node node"]],
        drop: Dropout,
    ) -> list[Float[Array, "batch node node"]]:
        """Returns the graphs of each window, rows receive.

        Args:
            values: all values of a node in its window.
            times: embeddings of the newest step, side by side; None for none.
            embeddings: of the nodes, one for each mask.
            masks: transition matrices.
            drop: sets components to zero.
        """
        hidden = drop(self.norm(jax.nn.relu(apply_flat(self.first, values))))
        features = apply_flat(self.second, hidden)
        # [F, T, E] W is the sum of the parts' products: only F differs between windows and nodes.
        queries, sources = (_parts(layer, features, times) for layer in (self.query, self.source))
        graphs = []
        for embedding, mask in zip(embeddings, masks, strict=True):
            own = [layer.kernel[...][-embedding.shape[-1] :] for layer in (self.query, self.source)]
            scores = jnp.einsum("bnc,bmc->bnm", queries + embedding @ own[0], sources + embedding @ own[1])
            # exp(s) m / sum exp(s) m is the softmax of s + log m.
            graphs.append(jax.nn.softmax(scores * queries.shape[-1] ** -0.5 + jnp.log(mask + SMALLEST), -1))
        return graphs


def _parts(layer: nnx.Linear, features: Array, times: Array | None) -> Float[Array, "batch node size"]:
    """Multiplies all but the embeddings of the nodes."""
    kernel, size = layer.kernel[...], features.shape[-1]
    product = features @ kernel[:size]
    return product if times is None else product + (times @ kernel[size : size + times.shape[-1]])[:, None]


def static_graph(
    receivers: Float[Array, "node embedding"], sources: Float[Array, "node embedding"]
) -> Float[Array, "node node"]:
    """Returns the learned graph that is the same for all windows, softmax(relu(E_d E_u^T)).

    Args:
        receivers: E_d, embeddings of the nodes that listen.
        sources: E_u, embeddings of the nodes that are listened to.
    """
    return jax.nn.softmax(jax.nn.relu(receivers @ sources.T), -1)


def supports_of(graphs: Sequence[Array], order: int) -> Float[Array, "*window node source"]:
    """Returns the powers 1 to `order` of all graphs side by side, none with a diagonal.

    Args:
        graphs: (node, node), or of each window.
        order: the highest power.

    Returns:
        One matrix, (node, powers * node); of each window where a graph is.
    """
    powers = [power for graph in graphs for power in _powers(graph, order)]
    others = 1 - jnp.eye(powers[0].shape[-1], dtype=powers[0].dtype)
    batch = max((power.shape[:-2] for power in powers), key=len)
    return jnp.concatenate([jnp.broadcast_to(power * others, (*batch, *others.shape)) for power in powers], -1)


def _powers(graph: Array, order: int) -> list[Array]:
    powers = [graph]
    while len(powers) < order:
        powers.append(powers[-1] @ graph)
    return powers


class LocalisedConvolution(nnx.Module):
    """A convolution over each node's neighbours at the last k_t steps.

        [U_1 .. U_kt] = relu( [X_(t-kt+1) .. X_t] W ),    X_0 = mean_k U_k
        D_t = drop( W_g [X_0, S_1 sum_k U_k, S_2 sum_k U_k, ..] + b )

    Each S is the power of a graph. A node listens to the others at all k_t steps alike, that is
    [S S S] [U_1; U_2; U_3] = S (U_1 + U_2 + U_3): the steps are summed first, and one product with
    [S_1 S_2 ..] serves all steps of a window.

    Args:
        size: components of a step of a node.
        kernel_size: k_t.
        num_supports: matrices S.
        key: for the initial weights.
        dtype: of the weights.
    """

    def __init__(self, *, size: int, kernel_size: int, num_supports: int, key: Key[Array, ""], dtype: DTypeLike):
        rngs, width = nnx.Rngs(key), kernel_size * size
        self.steps = uniform_linear(width, width, fan_in=width, rngs=rngs, dtype=dtype, use_bias=False)
        width = (num_supports + 1) * size
        self.neighbours = uniform_linear(width, size, fan_in=width, rngs=rngs, dtype=dtype)
        self.kernel_size, self.num_supports = kernel_size, num_supports

    def __call__(
        self, signal: Float[Array, "batch node time size"], supports: Float[Array, "*batch node source"], drop: Dropout
    ) -> Float[Array, "batch node step size"]:
        """Returns D of every step that has k_t - 1 before it.

        Args:
            signal: the inputs X.
            supports: of `supports_of`.
            drop: sets components to zero.
        """
        batch, num_nodes, num_steps, size = signal.shape
        num_steps -= self.kernel_size - 1
        windows = jnp.concatenate([signal[:, :, k : k + num_steps] for k in range(self.kernel_size)], -1)
        hidden = jax.nn.relu(apply_flat(self.steps, windows))
        summed = hidden.reshape(batch, num_nodes, num_steps, self.kernel_size, size).sum(-2)
        # One product with the kernels of all supports, each of which is a block of rows.
        kernel = jnp.swapaxes(self.neighbours.kernel[...].reshape(-1, size, size), 0, 1).reshape(size, -1)
        products = (summed.reshape(-1, size) @ kernel).reshape(*summed.shape[:-1], -1, size)
        bias: Any = self.neighbours.bias
        own = products[..., 0, :] / self.kernel_size + bias[...]
        heard = jnp.moveaxis(products[..., 1:, :], 3, 1)
        heard = heard.reshape(batch, self.num_supports * num_nodes, num_steps * size)
        return drop(own + (supports @ heard).reshape(own.shape))
