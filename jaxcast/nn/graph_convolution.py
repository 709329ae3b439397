"""Convolutions over the nodes of graphs, and a graph that is learned."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes, check_whole
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.nn.sparse_graph import SparseGraph

Operators = Array | tuple[SparseGraph, ...]
"""What a graph convolution multiplies by: (operator, node, node), or sparse ones."""


class _PolynomialConvolution(nnx.Module):
    """Base of graph convolutions: polynomials of operators, with a kernel for each term.

    The kernel is (term, in, out): X itself, then degree by degree the terms of all operators.
    """

    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        order: int,
        num_operators: int,
        chebyshev: bool,
        use_bias: bool,
        key: Key[Array, ""],
        dtype: DTypeLike,
    ):
        check_sizes(input_size=input_size, output_size=output_size, num_operators=num_operators)
        check_whole("order", order, least=0)
        shape = (1 + num_operators * order, input_size, output_size)
        check_arrays(f"a graph convolution from {input_size} to {output_size} features", shape, dtype=dtype)
        bound = (shape[0] * input_size) ** -0.5
        self.kernel = nnx.Param(jax.random.uniform(key, shape, dtype, -bound, bound))
        self.bias = nnx.Param(jnp.zeros(output_size, dtype)) if use_bias else None
        self.order, self.num_operators, self.chebyshev = order, num_operators, chebyshev

    @checked
    def __call__(
        self, inputs: Float[Array, "*batch node input_size"], operators: Any
    ) -> Float[Array, "*batch node output_size"]:
        """Convolves the features of the nodes.

        Args:
            inputs: the features.
            operators: one for each graph, (operator, node, node); a single one may be (node, node).
                Or what `sparse_operators` makes of them.

        Returns:
            The outputs.

        Raises:
            InputError: for inputs or operators of other sizes.
        """
        kernel = self.kernel[...]
        inputs = jnp.asarray(inputs, kernel.dtype)
        operators = self._checked(inputs, operators)
        *batch, num_nodes, input_size = inputs.shape
        # Nodes come first, so that one product with an operator serves the whole batch.
        values = jnp.moveaxis(inputs.reshape(-1, num_nodes, input_size), 1, 0)
        # With as many outputs as inputs, Clenshaw's scheme moves less memory than joined terms.
        kernel_first = input_size >= kernel.shape[-1]
        outputs = (_kernel_first if kernel_first else _graph_first)(
            values, operators, kernel, self.order, self.chebyshev
        )
        outputs = jnp.moveaxis(outputs, 0, 1).reshape(*batch, num_nodes, -1)
        return outputs if self.bias is None else outputs + self.bias[...]

    def _checked(self, inputs: Array, operators: Any) -> Operators:
        """Returns the operators, (operator, node, node) or sparse ones, in the layer's dtype."""
        size, dtype = self.kernel.shape[-2], self.kernel.dtype
        if inputs.ndim < 2 or inputs.shape[-1] != size:
            raise InputError(f"expected inputs (*batch, node, feature) of {size} features, got shape {inputs.shape}")
        num_nodes = inputs.shape[-2]
        expected = (self.num_operators, num_nodes, num_nodes)
        if isinstance(operators, tuple) and all(isinstance(operator, SparseGraph) for operator in operators):
            made = tuple(operator.astype(dtype) for operator in operators)
            shape: tuple[int, ...] = (len(made), *(made[0].num_nodes,) * 2) if made else (0,)
            if shape == expected:
                return made
        else:
            array = jnp.asarray(operators, dtype)
            shape = array.shape
            if shape == expected or (1, *shape) == expected:
                return array.reshape(expected)
        raise InputError(f"expected operators of shape {expected} for these inputs, got {shape}")


def _graph_first(values: Array, operators: Operators, kernel: Array, order: int, chebyshev: bool) -> Array:
    """Sums p_k(S) X W_k with the terms p_k(S) X from the lowest degree up; X is (node, window, feature)."""
    before, newest, terms = None, values[None], [values]
    for _ in range(order):
        product = _products(operators, newest)
        before, newest = newest, 2 * product - before if chebyshev and before is not None else product
        terms.extend(newest)
    return jnp.concatenate(terms, -1) @ kernel.reshape(-1, kernel.shape[-1])


def _kernel_first(values: Array, operators: Operators, kernel: Array, order: int, chebyshev: bool) -> Array:
    """Sums p_k(S) (X W_k) from the highest degree down, by the schemes of Horner and Clenshaw."""
    own = [values @ weights for weights in kernel]
    if not order:
        return own[0]
    num = len(operators)
    of_degree = [jnp.stack(own[1 + k * num : 1 + (k + 1) * num]) for k in range(order)]
    before, partial = None, of_degree.pop()
    for rest in reversed(of_degree):
        product = _products(operators, partial)
        ahead = rest + (2 * product if chebyshev else product)
        before, partial = partial, ahead - before if chebyshev and before is not None else ahead
    total = _products(operators, partial)
    if chebyshev and before is not None:
        total = total - before
    return own[0] + total.sum(0)


def _products(operators: Operators, values: Array) -> Array:
    """Returns each operator times its values, (operator, node, window, feature); one set may serve all."""
    num, num_nodes = len(operators), values.shape[1]
    flat = values.reshape(len(values), num_nodes, -1)
    if isinstance(operators, tuple):
        products = jnp.stack([operator @ flat[n % len(flat)] for n, operator in enumerate(operators)])
    elif len(flat) == 1:
        products = jnp.tensordot(operators, flat[0], 1)
    else:
        products = operators @ flat
    return products.reshape(num, *values.shape[1:])


class ChebyshevConvolution(_PolynomialConvolution):
    """A spectral graph convolution with Chebyshev polynomials of rescaled Laplacians.

        out = X W_0 + sum_m sum_(k=1..K) T_k(L~_m) X W_mk + b
        T_0 = I,  T_1 = L~,  T_k = 2 L~ T_(k-1) - T_(k-2)

    The features of the whole batch form one matrix, which is multiplied by the operator of a graph
    before or after the kernel, whichever has fewer columns. The kernel is (term, in, out): X
    itself, then degree by degree the terms of all graphs.

    Args:
        input_size: features of a node.
        output_size: features of a node's output.
        order: K, how many edges away a node sees.
        num_graphs: how many graphs there are; their terms are summed.
        use_bias: whether there is a bias, starting at zero.
        key: random key for the initial kernel, uniform within 1/sqrt(number of inputs).
        dtype: of the parameters, the arithmetic and the outputs.

    Raises:
        InputError: for sizes below one or a negative order.

    Source:
        Defferrard, Bresson and Vandergheynst (2016), eq. 4; Geng et al. (2019), eq. 4.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> laplacian = jaxcast.nn.rescaled_laplacian(jnp.ones((5, 5)) - jnp.eye(5))
        >>> convolution = jaxcast.nn.ChebyshevConvolution(input_size=3, output_size=8, order=2, key=jax.random.key(0))
        >>> convolution(jnp.ones((32, 5, 3)), laplacian).shape
        (32, 5, 8)
    """

    @checked
    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        order: int = 2,
        num_graphs: int = 1,
        use_bias: bool = True,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        super().__init__(
            input_size=input_size,
            output_size=output_size,
            order=order,
            num_operators=num_graphs,
            chebyshev=True,
            use_bias=use_bias,
            key=key,
            dtype=dtype,
        )


class DiffusionConvolution(_PolynomialConvolution):
    """A graph convolution with powers of transition matrices, of given and learned graphs.

        out = X W_0 + sum_s sum_(k=1..K) S_s^k X W_sk + b

    The S are P and P' of each graph, as `both_transitions` returns them, and any further ones, such
    as those of a `LearnedGraph`. How it is computed, and the kernel, are as in
    `ChebyshevConvolution`.

    Args:
        input_size: features of a node.
        output_size: features of a node's output.
        order: K, how many edges away a node sees.
        num_supports: how many matrices S there are.
        use_bias: whether there is a bias, starting at zero.
        key: random key for the initial kernel, uniform within 1/sqrt(number of inputs).
        dtype: of the parameters, the arithmetic and the outputs.

    Raises:
        InputError: for sizes below one or a negative order.

    Source:
        Li, Yu, Shahabi and Liu (2018), eq. 2; Wu, Pan, Long, Jiang and Zhang (2019), eq. 6.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast
        >>> supports = jaxcast.nn.both_transitions(jnp.ones((5, 5)))
        >>> convolution = jaxcast.nn.DiffusionConvolution(input_size=3, output_size=8, key=jax.random.key(0))
        >>> convolution(jnp.ones((32, 5, 3)), supports).shape
        (32, 5, 8)
    """

    @checked
    def __init__(
        self,
        *,
        input_size: int,
        output_size: int,
        order: int = 2,
        num_supports: int = 2,
        use_bias: bool = True,
        key: Key[Array, ""],
        dtype: DTypeLike = jnp.float32,
    ):
        super().__init__(
            input_size=input_size,
            output_size=output_size,
            order=order,
            num_operators=num_supports,
            chebyshev=False,
            use_bias=use_bias,
            key=key,
            dtype=dtype,
        )


class LearnedGraph(nnx.Module):
    """A graph that is learned: transition probabilities from embeddings of the nodes.

        P = softmax_rows( relu(E_1 E_2^T) )

    The embeddings start positive (own design). A node whose row of E_1 E_2^T is negative
    throughout gets no gradient, and never learns whom it listens to; from normal embeddings that
    happens to one node in five.

    Args:
        num_nodes: how many nodes there are.
        embedding_size: components of a node's two embeddings.
        key: random key for the initial embeddings, half-normal over the root of their size.
        dtype: of the embeddings and the graph.

    Raises:
        InputError: for sizes below one.

    Source:
        Wu, Pan, Long, Jiang and Zhang (2019), eq. 5.

    Example:
        >>> import jax, jaxcast
        >>> learned = jaxcast.nn.LearnedGraph(num_nodes=5, key=jax.random.key(0))
        >>> learned().shape, learned().sum(1).round(4).tolist()
        ((5, 5), [1.0, 1.0, 1.0, 1.0, 1.0])
    """

    @checked
    def __init__(
        self, *, num_nodes: int, embedding_size: int = 10, key: Key[Array, ""], dtype: DTypeLike = jnp.float32
    ):
        check_sizes(num_nodes=num_nodes, embedding_size=embedding_size)
        check_arrays(f"a learned graph of {num_nodes} nodes", (num_nodes, num_nodes), dtype=dtype)
        both = jnp.abs(jax.random.normal(key, (2, num_nodes, embedding_size), dtype)) * embedding_size**-0.5
        self.receivers, self.senders = map(nnx.Param, both)

    def __call__(self) -> Float[Array, "node node"]:
        """Returns the graph: the weight with which each node listens to each other, rows summing to 1."""
        return jax.nn.softmax(jax.nn.relu(self.receivers[...] @ self.senders[...].T), -1)
