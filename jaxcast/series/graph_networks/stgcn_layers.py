"""The layers of STGCN: over time, over the graph, and a norm.

Nodes are the first axis, then windows and steps: so one product with the graph serves them all, and
nothing is transposed in between.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from jaxcast.nn.graph import rescaled_laplacian, symmetric_normalised
from jaxcast.nn.graph_convolution import ChebyshevConvolution
from jaxcast.nn.layers import uniform_linear
from jaxcast.nn.temporal_convolution import TemporalConvolution

Convolution = Literal["chebyshev", "first_order"]
Residual = Literal["inside", "outside"]


def operators_of(
    graphs: Array, convolution: Convolution, largest: float | int | None
) -> Float[Array, "graph node node"]:
    """Returns the operators of the convolutions over graphs.

    Args:
        graphs: (graph, node, node).
        convolution: "chebyshev" for rescaled Laplacians, "first_order" for I + S, with S the
            normalised A + I.
        largest: eigenvalue of the Laplacians; None for each graph's own.

    Returns:
        One for each graph.
    """
    if convolution == "chebyshev":
        return rescaled_laplacian(graphs, largest)
    identity = jnp.eye(graphs.shape[-1], dtype=graphs.dtype)
    return identity + symmetric_normalised(jnp.maximum(graphs, jnp.swapaxes(graphs, -1, -2)) + identity)


class TemporalLayer(nnx.Module):
    """A convolution over time, gated or with relu, to which the newest steps are added.

    Args:
        input_size: channels of the inputs.
        output_size: channels of the outputs.
        kernel_size: steps that an output sees.
        residual: "inside" or "outside" of the product with the gate.
        gated: whether it has a gate.
        key: random key for the initial weights.
        dtype: of the weights.
    """

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        kernel_size: int,
        residual: Residual,
        gated: bool,
        key: Array,
        dtype: DTypeLike,
    ):
        of_steps, of_own = jax.random.split(key)
        self.gated, self.residual, self.output_size = gated, residual, output_size
        self.convolution = TemporalConvolution(
            input_size=input_size,
            output_size=output_size * (1 + gated),
            kernel_size=kernel_size,
            key=of_steps,
            dtype=dtype,
        )
        self.projection = (
            uniform_linear(
                input_size, output_size, fan_in=input_size, rngs=nnx.Rngs(of_own), dtype=dtype, use_bias=False
            )
            if input_size > output_size
            else None
        )

    def __call__(self, inputs: Float[Array, "*batch time in"]) -> Float[Array, "*batch shorter out"]:
        """Returns the outputs of all steps for which there are enough inputs.

        Args:
            inputs: of each step, oldest first.
        """
        values = self.convolution(inputs)
        own = self._own(inputs[..., inputs.shape[-2] - values.shape[-2] :, :])
        if not self.gated:
            return jax.nn.relu(values + own)
        linear, gate = jnp.split(values, 2, -1)
        if self.residual == "inside":
            return (linear + own) * jax.nn.sigmoid(gate)
        return linear * jax.nn.sigmoid(gate) + own

    def _own(self, inputs: Array) -> Array:
        """Returns inputs with the channels of the output, padded with zeros or projected."""
        if self.projection is not None:
            return self.projection(inputs)
        return jnp.pad(inputs, [(0, 0)] * (inputs.ndim - 1) + [(0, self.output_size - inputs.shape[-1])])


class SpatialLayer(nnx.Module):
    """A convolution over graphs with relu, to which the inputs are added.

    Args:
        size: channels of inputs and outputs.
        convolution: "chebyshev" or "first_order".
        order: the highest degree of the polynomials.
        num_graphs: how many graphs there are.
        key: random key for the initial weights.
        dtype: of the weights.
    """

    def __init__(
        self, *, size: int, convolution: Convolution, order: int, num_graphs: int, key: Array, dtype: DTypeLike
    ):
        self.convolution: Any
        if convolution == "first_order":
            self.convolution = _FirstOrder(size, num_graphs, key, dtype)
        else:
            self.convolution = ChebyshevConvolution(
                input_size=size, output_size=size, order=order, num_graphs=num_graphs, key=key, dtype=dtype
            )

    def __call__(
        self, inputs: Float[Array, "node *batch channel"], operators: Float[Array, "graph node node"]
    ) -> Float[Array, "node *batch channel"]:
        """Returns the outputs of all nodes.

        Args:
            inputs: of all nodes.
            operators: one for each graph.
        """
        return jax.nn.relu(over_nodes(self.convolution, inputs, operators) + inputs)


def over_nodes(
    convolution: Any, inputs: Float[Array, "node *batch in"], operators: Float[Array, "graph node node"]
) -> Float[Array, "node *batch out"]:
    """Calls a graph convolution, whose nodes are the last axis but one, with nodes first.

    Args:
        convolution: over graphs.
        inputs: of all nodes.
        operators: of the graphs.

    Returns:
        Its outputs. The convolution moves the nodes back to the front, so that nothing moves.
    """
    return jnp.moveaxis(convolution(jnp.moveaxis(inputs, 0, -2), operators), -2, 0)


class _FirstOrder(nnx.Module):
    """sum_m O_m X W_m + b, with O_m = I + S_m."""

    def __init__(self, size: int, num_graphs: int, key: Array, dtype: DTypeLike):
        fan_in = num_graphs * size
        self.layer = uniform_linear(fan_in, size, fan_in=fan_in, rngs=nnx.Rngs(key), dtype=dtype)

    def __call__(self, inputs: Array, operators: Array) -> Array:
        heard = jnp.einsum("mij,...jc->...imc", operators, inputs)
        return self.layer(heard.reshape(*inputs.shape[:-1], -1))


class NodeNorm(nnx.Module):
    """Standardises over nodes and channels, with a factor and an offset for each.

    Args:
        num_nodes: how many nodes there are.
        size: channels of a node.
        dtype: of the factors and offsets.
    """

    def __init__(self, *, num_nodes: int, size: int, dtype: DTypeLike):
        self.factor = nnx.Param(jnp.ones((num_nodes, size), dtype))
        self.offset = nnx.Param(jnp.zeros((num_nodes, size), dtype))

    def __call__(self, inputs: Float[Array, "node *batch channel"]) -> Float[Array, "node *batch channel"]:
        """Returns the standardised inputs.

        Args:
            inputs: of all nodes.
        """
        centred = inputs - inputs.mean((0, -1), keepdims=True)
        scale = jax.lax.rsqrt((centred**2).mean((0, -1), keepdims=True) + 1e-6)
        of_node = [jnp.expand_dims(a[...], range(1, inputs.ndim - 1)) for a in (self.factor, self.offset)]
        return centred * scale * of_node[0] + of_node[1]
