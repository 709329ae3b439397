"""Products of graphs with the features of their nodes: neighbour lists against dense and other sparse forms.

The peers are the dense product, BCOO of jax.experimental.sparse, sums over edges by
`jax.ops.segment_sum`, SciPy's CSR and torch's CSR. Each node has about the same number of random
neighbours, or one node is everybody's neighbour (a hub). Features are 512 columns, as of 16 windows
of 32 features. A gradient is that of a sum of squares with respect to the features.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse

import jaxcast
from benchmarks import frame

NUM_COLUMNS = 512
SIZES, DENSITIES = (25, 100, 200, 500, 1000, 2000), (0.01, 0.03, 0.1)


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures all cases for one number of cores."""
    for num_nodes in (25, 100) if quick else SIZES:
        for density in DENSITIES:
            if num_nodes * density >= 1:
                yield from product_rows(num_nodes, density, threads, quick)
    yield from product_rows(100 if quick else 1000, 0.01, threads, quick, hub=True)


def product_rows(num_nodes: int, density: float, threads: int, quick: bool, hub: bool = False) -> Iterator[frame.Row]:
    """Measures one graph: the product, and its gradient."""
    random = np.random.default_rng(0)
    graph = np.where(random.random((num_nodes, num_nodes)) < density, random.random((num_nodes, num_nodes)), 0)
    graph[:, 0] = 1.0 if hub else graph[:, 0]
    graph = graph.astype(np.float32)
    values = jnp.asarray(random.normal(size=(num_nodes, NUM_COLUMNS)), jnp.float32)
    (lists,) = jaxcast.nn.sparse_operators(graph)
    case = f"{num_nodes} nodes, {100 * density:g} % of edges{' and a hub' if hub else ''}"
    functions = in_jax(graph, lists, values, lambda product: product)
    functions |= outside(graph, np.asarray(values), threads)
    check(functions)
    yield from frame.rows_against(f"product, {case}", "float32", threads, functions, quick=quick)
    slopes = in_jax(
        graph, lists, values, lambda product: lambda a, x: jax.grad(lambda x: (product(a, x) ** 2).sum())(x)
    )
    check(slopes)
    yield from frame.rows_against(f"gradient, {case}", "float32", threads, slopes, quick=quick)


def in_jax(graph: np.ndarray, lists: Any, values: jax.Array, of: Callable[[Any], Any]) -> frame.Functions:
    """Returns what is measured in jax; `of` makes a function of a product."""
    receivers, senders = map(jnp.asarray, np.nonzero(graph))
    weights = jnp.asarray(graph[np.nonzero(graph)])

    def by_edges(edges: Any, x: jax.Array) -> jax.Array:
        receivers, senders, weights = edges
        sums = jax.ops.segment_sum(weights[:, None] * x[senders], receivers, len(x), indices_are_sorted=True)
        return jnp.asarray(sums)

    run = jax.jit(of(lambda a, x: a @ x))
    run_edges = jax.jit(of(by_edges))
    dense, bcoo = jnp.asarray(graph), sparse.BCOO.fromdense(jnp.asarray(graph))
    return {
        frame.OURS: lambda: run(lists, values),
        "dense": lambda: run(dense, values),
        "BCOO": lambda: run(bcoo, values),
        "segment sums": lambda: run_edges((receivers, senders, weights), values),
    }


def outside(graph: np.ndarray, values: np.ndarray, threads: int) -> frame.Functions:
    """Returns what is measured of other libraries."""
    csr = scipy.sparse.csr_array(graph)
    functions: frame.Functions = {"scipy CSR": lambda: csr @ values}
    try:
        import torch
    except ImportError:
        return functions
    torch.set_num_threads(threads)
    theirs, x = torch.tensor(graph).to_sparse_csr(), torch.tensor(values)
    return functions | {"torch CSR": lambda: theirs @ x}


def check(functions: frame.Functions) -> None:
    """Raises AssertionError unless all functions give the same numbers."""
    expected = np.asarray(functions["dense"]())
    for name, function in functions.items():
        np.testing.assert_allclose(function(), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max(), err_msg=name)


if __name__ == "__main__":
    frame.run("benchmarks.graph_products", make_rows)
