"""Attention of the nodes of a graph to their neighbours."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_positive, check_sizes
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.nn.layers import shares_of


class GraphAttention(nnx.Module):
    """A graph attention layer: each node averages its neighbours by weights that it computes.

        z_j = x_j W,    e_ij = LeakyReLU( a . z_i + c . z_j )
        w_ij = softmax of e_ij over j in N(i) and i itself
        y_i = sum_j w_ij z_j + b

    Heads have W, a and c of their own, and their outputs lie side by side. Which edges there are
    matters, not their weights. Graphs are dense, and every sample of a batch may have another one.

    Args:
        input_size: features of a node.
        output_size: features of a node's output, of all heads together.
        num_heads: of output_size / num_heads features each.
        negative_slope: slope of the leaky ReLU below zero.
        use_bias: whether there is a bias, starting at zero.
        key: random key for W, a and c, Glorot uniform.
        dtype: of the parameters, the arithmetic and the outputs.

    Raises:
        InputError: for sizes below one, a number of heads that does not divide the output, a slope
            that is not positive, or inputs and graphs of other sizes.

    Source:
        Veličković et al. (2018), Graph Attention Networks, eqs. 1 to 5.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> layer = jaxcast.nn.GraphAttention(input_size=3, output_size=8, num_heads=2, key=jax.random.key(0))
        >>> ring = jnp.roll(jnp.eye(5), 1, 1)
        >>> outputs, weights = layer(jnp.ones((32, 5, 3)), ring)
        >>> outputs.shape, weights.shape, weights[0, 0, 0].tolist()
        ((32, 5, 8), (32, 2, 5, 5), [0.5, 0.5, 0.0, 0.0, 0.0])
    """

    @checked
    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        num_heads: int = 1,
        negative_slope: float | int = 0.2,
        use_bias: bool = True,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        check_sizes(input_size=input_size, output_size=output_size, num_heads=num_heads)
        check_positive(negative_slope=negative_slope)
        if output_size % num_heads:
            raise InputError(f"num_heads must divide the output_size {output_size}, got {num_heads}")
        shape = (input_size, output_size)
        check_arrays(f"graph attention from {input_size} to {output_size} features", shape, dtype=dtype)
        glorot = jax.nn.initializers.glorot_uniform()
        of_kernel, of_scores = jax.random.split(key)
        self.kernel = nnx.Param(glorot(of_kernel, shape, dtype))
        # The two vectors of a head are the columns of one matrix: those of a, then those of c.
        self.score_kernel = nnx.Param(glorot(of_scores, (2, output_size // num_heads, num_heads), dtype))
        self.bias = nnx.Param(jnp.zeros(output_size, dtype)) if use_bias else None
        self.num_heads, self.negative_slope = num_heads, negative_slope

    @checked
    def __call__(
        self, inputs: Float[Array, "*batch node input_size"], graph: Shaped[Any, "*graph node node"]
    ) -> tuple[Float[Array, "*batch node output_size"], Float[Array, "*batch head node node"]]:
        """Attends to the neighbours of each node.

        Args:
            inputs: the features.
            graph: truth values or weights; node i sees node j where entry (i, j) is not zero. One
                for all, (node, node), or one for each sample.

        Returns:
            The outputs, and the weight that each node gives to the others, zero without an edge.

        Raises:
            InputError: for inputs or graphs of other sizes.
        """
        kernel = self.kernel[...]
        inputs, graph = jnp.asarray(inputs, kernel.dtype), jnp.asarray(graph)
        *batch, num_nodes, size = inputs.shape if inputs.ndim > 1 else (0, 0)
        if size != len(kernel) or not num_nodes:
            raise InputError(f"expected inputs (*batch, node, {len(kernel)}), got shape {inputs.shape}")
        if graph.shape not in ((num_nodes, num_nodes), (*batch, num_nodes, num_nodes)):
            raise InputError(
                f"expected a graph ({num_nodes}, {num_nodes}), or one for each of the samples {tuple(batch)}, got "
                f"shape {graph.shape}"
            )
        visible = (graph != 0) | jnp.eye(num_nodes, dtype=bool)
        values = (inputs @ kernel).reshape(*batch, num_nodes, self.num_heads, -1)
        own, of_others = jnp.einsum("...npd,kdp->k...pn", values, self.score_kernel[...])
        scores = jax.nn.leaky_relu(own[..., :, None] + of_others[..., None, :], self.negative_slope)
        weights = shares_of(scores, jnp.broadcast_to(visible[..., None, :, :], scores.shape))
        outputs = jnp.einsum("...pij,...jpd->...ipd", weights, values).reshape(*batch, num_nodes, -1)
        return (outputs if self.bias is None else outputs + self.bias[...]), weights
