"""Products with graphs of few edges."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, DTypeLike, Float, Int

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree

UNROLLED = 8
"""Neighbours that one compiled kernel adds up; one at a time is five times slower on a CPU."""


class NeighbourLists(NamedTuple):
    """The neighbours of all nodes, in levels: the first few of all nodes, then those of busier ones.

    A level's arrays are (chunk, neighbour, node), the nodes with the most neighbours first, and it
    holds only those who have that many. So hubs cost no more than their edges.

    Args:
        neighbours: of each level, the nodes to listen to.
        edges: of each level, which edge it is; the number of edges where there is none.
        places: where each node is among those sorted by their numbers of neighbours.
    """

    neighbours: tuple[Int[Array, "chunk neighbour node"], ...]
    edges: tuple[Int[Array, "chunk neighbour node"], ...]
    places: Int[Array, " node"]


class SparseGraph(FrozenPytree):
    """An operator of a graph of which only the edges are kept.

    `ChebyshevConvolution` and `DiffusionConvolution` take several, as `sparse_operators` returns
    them, in place of a dense array. Products are gathers in both directions; gradients reach the
    weights too. Forward-mode derivatives do not exist.

    Args:
        weights: of the edges.
        receivers: the node that listens, of each edge.
        senders: the node that it listens to, of each edge.
        by_receiver: the edges of each receiver.
        by_sender: the edges of each sender.

    Example:
        >>> import jaxcast, numpy as np
        >>> (graph,) = jaxcast.nn.sparse_operators(np.diag([2.0, 0.0, 3.0]))
        >>> (graph @ np.asarray([[1.0], [1.0], [1.0]])).tolist()
        [[2.0], [0.0], [3.0]]
    """

    weights: Float[Array, " edge"]
    receivers: Int[Array, " edge"]
    senders: Int[Array, " edge"]
    by_receiver: NeighbourLists
    by_sender: NeighbourLists

    @property
    def num_nodes(self) -> int:
        """How many nodes there are."""
        return len(self.by_receiver.places)

    def astype(self, dtype: DTypeLike) -> "SparseGraph":
        """Returns the graph with weights of another dtype.

        Args:
            dtype: of the weights.
        """
        weights = jnp.asarray(self.weights, dtype)
        return SparseGraph(weights, self.receivers, self.senders, self.by_receiver, self.by_sender)

    def __matmul__(self, values: Float[ArrayLike, "node feature"]) -> Float[Array, "node feature"]:
        """Returns the product with the features of all nodes."""
        return _product(self, jnp.asarray(values))


@checked
def sparse_operators(operators: Float[ArrayLike, "*operator node node"]) -> tuple[SparseGraph, ...]:
    """Keeps only the edges of operators, for graphs of many nodes.

    On a CPU products are 4 to 12 times as fast as dense ones where a node has neighbours among 1 %
    of 500 nodes or more, and slower where it has them among 10 %; see benchmarks/graph_products.py.
    A whole convolution gains from several hundred nodes on: with fewer, moving the features takes
    longer than multiplying them. Call it once, outside of `jax.jit`.

    Args:
        operators: (operator, node, node), such as those of `both_transitions`; a single one may be
            (node, node).

    Returns:
        One graph for each.

    Raises:
        InputError: for operators of another shape, or weights that are not finite.

    Example:
        >>> import jax, jax.numpy as jnp, jaxcast, numpy as np
        >>> line = np.eye(600, k=1) + np.eye(600, k=-1)
        >>> supports = jaxcast.nn.sparse_operators(jaxcast.nn.both_transitions(line))
        >>> convolution = jaxcast.nn.DiffusionConvolution(input_size=3, output_size=8, key=jax.random.key(0))
        >>> convolution(jnp.ones((32, 600, 3)), supports).shape
        (32, 600, 8)
    """
    found = np.asarray(operators)
    if found.ndim not in (2, 3) or found.shape[-1] != found.shape[-2] or not np.isfinite(found).all():
        raise InputError(f"expected finite operators (operator, node, node) or (node, node), got shape {found.shape}")
    return tuple(map(_kept, found.reshape(-1, *found.shape[-2:])))


def _kept(operator: np.ndarray) -> SparseGraph:
    receivers, senders = np.nonzero(operator)
    weights, num_nodes = operator[receivers, senders], len(operator)
    edges = np.arange(len(weights))
    by_sender = np.lexsort((receivers, senders))
    return SparseGraph(
        jnp.asarray(weights),
        jnp.asarray(receivers, jnp.int32),
        jnp.asarray(senders, jnp.int32),
        _lists(receivers, senders, edges, num_nodes),
        _lists(senders[by_sender], receivers[by_sender], edges[by_sender], num_nodes),
    )


def _lists(nodes: np.ndarray, neighbours: np.ndarray, edges: np.ndarray, num_nodes: int) -> NeighbourLists:
    """Makes the lists of edges that are sorted by node."""
    number = np.bincount(nodes, minlength=num_nodes)
    places = np.empty(num_nodes, int)
    places[np.argsort(-number, kind="stable")] = np.arange(num_nodes)
    nth = np.arange(len(nodes)) - (np.cumsum(number) - number)[nodes]
    levels: list[list[Array]] = [[], []]
    first, most = 0, int(number.max(initial=0))
    while first < most:
        stop = min(max(2 * first, UNROLLED), most)
        chunks = -(-(stop - first) // UNROLLED)
        at_once = -(-(stop - first) // chunks)
        here = (nth >= first) & (nth < stop)
        for level, content, empty in zip(levels, (neighbours, edges), (0, len(edges)), strict=True):
            table = np.full((chunks * at_once, int((number > first).sum())), empty, np.int32)
            table[nth[here] - first, places[nodes[here]]] = content[here]
            level.append(jnp.asarray(table.reshape(chunks, at_once, -1)))
        first = stop
    return NeighbourLists(tuple(levels[0]), tuple(levels[1]), jnp.asarray(places, jnp.int32))


def _summed(lists: NeighbourLists, weights: Array, values: Array) -> Array:
    """Returns the weighted sum over each node's neighbours."""
    weights = jnp.append(weights, jnp.zeros((), weights.dtype))
    total = jnp.zeros((len(lists.places), values.shape[1]), values.dtype)
    for neighbours, edges in zip(lists.neighbours, lists.edges, strict=True):
        shares = weights[edges]

        def add(chunk: Array, sums: Array, neighbours: Array = neighbours, shares: Array = shares) -> Array:
            for n in range(neighbours.shape[1]):
                sums = sums + shares[chunk, n][:, None] * jnp.take(values, neighbours[chunk, n], axis=0, mode="clip")
            return sums

        num = neighbours.shape[-1]
        total = total.at[:num].set(jax.lax.fori_loop(0, len(neighbours), add, total[:num]))
    return jnp.take(total, lists.places, axis=0, mode="clip")


@jax.custom_vjp
def _product(graph: SparseGraph, values: Array) -> Array:
    return _summed(graph.by_receiver, graph.weights, values)


def _product_forward(graph: SparseGraph, values: Array) -> tuple[Array, tuple[SparseGraph, Array]]:
    return _product(graph, values), (graph, values)


def _product_backward(saved: tuple[SparseGraph, Array], slope: Array) -> tuple[SparseGraph, Array]:
    graph, values = saved
    of_edge = lambda ends: slope[ends[0]] @ values[ends[1]]  # noqa: E731
    of_weights = jax.lax.map(of_edge, (graph.receivers, graph.senders), batch_size=256)
    none = jax.tree.map(lambda a: np.zeros(a.shape, jax.dtypes.float0), graph)
    of_graph = SparseGraph(of_weights, none.receivers, none.senders, none.by_receiver, none.by_sender)
    return of_graph, _summed(graph.by_sender, graph.weights, slope)


_product.defvjp(_product_forward, _product_backward)
