"""Operators of graphs against SciPy and NumPy, convolutions against dense eigen-decompositions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.csgraph

import jaxcast
from jaxcast.nn import ChebyshevConvolution, DiffusionConvolution

NUM_NODES = 6


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def directed(seed=0):
    graph = np.abs(draw(NUM_NODES, NUM_NODES, seed=seed))
    graph = np.where(graph > 0.5, graph, 0)
    return graph + np.eye(NUM_NODES, k=1) + np.eye(NUM_NODES, k=1 - NUM_NODES)  # nobody is left out


def undirected(seed=0):
    return np.maximum(directed(seed), directed(seed).T)


def with_an_isolated_node():
    graph = undirected()
    graph[2] = graph[:, 2] = 0
    return graph


def eigen_function(matrix, function):
    """Returns f(A) through the eigenvectors of A, which need not be symmetric."""
    values, vectors = np.linalg.eig(matrix)
    return (vectors * function(values)) @ np.linalg.inv(vectors)


def test_the_normalised_laplacian_is_scipys():
    graph = undirected()
    np.fill_diagonal(graph, 0)  # SciPy's leaves loops out
    laplacian = scipy.sparse.csgraph.laplacian(graph, normed=True)
    largest = np.linalg.eigvalsh(laplacian)[-1]
    ours = jaxcast.nn.rescaled_laplacian(graph)
    np.testing.assert_allclose(ours, 2 * laplacian / largest - np.eye(NUM_NODES), atol=1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(ours)[[0, -1]], [-1, 1], atol=1e-12)
    bound = jaxcast.nn.rescaled_laplacian(graph, largest=2)
    np.testing.assert_allclose(bound, laplacian - np.eye(NUM_NODES), atol=1e-12)


def test_a_directed_graph_is_symmetrised_for_its_laplacian():
    graph = directed()
    assert (graph != graph.T).any()
    expected = jaxcast.nn.rescaled_laplacian(np.maximum(graph, graph.T))
    np.testing.assert_array_equal(jaxcast.nn.rescaled_laplacian(graph), expected)


def test_transitions_are_walks_both_ways():
    graph = directed()
    rows, columns = graph.sum(1, keepdims=True), graph.sum(0)[:, None]
    np.testing.assert_allclose(jaxcast.nn.transition(graph), graph / rows, rtol=1e-14)
    np.testing.assert_allclose(jaxcast.nn.backward_transition(graph), graph.T / columns, rtol=1e-14)
    both = jaxcast.nn.both_transitions(np.stack([graph, graph.T]))
    np.testing.assert_allclose(both[np.asarray([1, 0])], both[2:])


@pytest.mark.parametrize(
    "operator",
    [
        jaxcast.nn.transition,
        jaxcast.nn.backward_transition,
        jaxcast.nn.symmetric_normalised,
        jaxcast.nn.rescaled_laplacian,
    ],
)
def test_isolated_nodes_are_zero_and_have_gradients(operator):
    graph = np.stack([with_an_isolated_node(), np.zeros((NUM_NODES, NUM_NODES)), np.diag([0.0, 1, 0, 0, 0, 0])])
    found = np.asarray(operator(graph))
    isolated = graph.sum(-1) == 0
    off_diagonal = np.where(np.eye(NUM_NODES) > 0, 0, found)
    assert np.isfinite(found).all()
    assert isolated.any()
    assert not off_diagonal[isolated].any()
    assert not np.swapaxes(off_diagonal, -1, -2)[isolated].any()
    gradient = jax.jit(jax.grad(lambda g: jnp.sum(jnp.sin(1 + operator(g)))))(jnp.asarray(graph))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("operator", [jaxcast.nn.transition, jaxcast.nn.rescaled_laplacian])
def test_gradients_of_operators_are_differences(operator):
    graph, step = undirected() + 0.1, 1e-6 * np.abs(undirected(1))
    value = jax.jit(lambda g: jnp.sum(jnp.sin(operator(g))))
    slope = np.sum(jax.grad(value)(jnp.asarray(graph)) * step)
    np.testing.assert_allclose((value(graph + step) - value(graph - step)) / 2, slope, rtol=1e-6)


def test_chebyshev_polynomials_are_cosines_of_eigenvalues():
    laplacian = np.asarray(jaxcast.nn.rescaled_laplacian(undirected()))
    for degree, polynomial in enumerate(jaxcast.nn.chebyshev_polynomials(laplacian, 4)):
        expected = eigen_function(laplacian, lambda x, k=degree: np.cos(k * np.arccos(np.clip(x, -1, 1))))
        np.testing.assert_allclose(polynomial, expected, atol=1e-10)


def chebyshev(degree):
    return lambda x: np.cos(degree * np.arccos(np.clip(x, -1, 1)))


def power(degree):
    return lambda x: x**degree


def make(kind, sizes, order, num_operators):
    settings = dict(input_size=sizes[0], output_size=sizes[1], order=order, key=jax.random.key(3), dtype=jnp.float64)
    if kind is ChebyshevConvolution:
        operators = [jaxcast.nn.rescaled_laplacian(undirected(seed)) for seed in range(num_operators)]
        return kind(num_graphs=num_operators, **settings), np.stack(operators)
    operators = [jaxcast.nn.transition(directed(seed)) for seed in range(num_operators)]
    return kind(num_supports=num_operators, **settings), np.stack(operators)


@pytest.mark.parametrize(("kind", "term"), [(ChebyshevConvolution, chebyshev), (DiffusionConvolution, power)])
@pytest.mark.parametrize("sizes", [(2, 3), (3, 2)], ids=["graph first", "kernel first"])
@pytest.mark.parametrize(("order", "num_operators"), [(0, 1), (1, 2), (3, 1), (4, 3)])
def test_convolutions_are_functions_of_eigenvalues(kind, term, sizes, order, num_operators):
    layer, operators = make(kind, sizes, order, num_operators)
    layer.bias[...] = jnp.asarray(draw(sizes[1], seed=9))
    inputs, kernel = draw(2, 4, NUM_NODES, sizes[0], seed=5), np.asarray(layer.kernel[...])
    expected = inputs @ kernel[0] + np.asarray(layer.bias[...])
    for degree in range(1, order + 1):
        for which, operator in enumerate(operators):
            weights = kernel[1 + (degree - 1) * num_operators + which]
            expected = expected + np.real(eigen_function(operator, term(degree))) @ inputs @ weights
    np.testing.assert_allclose(layer(jnp.asarray(inputs), jnp.asarray(operators)), expected, atol=1e-10)


def with_hubs(num_nodes=40):
    """A graph in which one node listens to all, one is heard by all, and some are alone."""
    random = np.random.default_rng(4)
    graph = np.where(random.random((num_nodes, num_nodes)) < 0.1, random.random((num_nodes, num_nodes)), 0)
    graph[3], graph[:, 5] = 1.0, 2.0
    graph[7:9], graph[:, 7:9] = 0, 0
    return graph


@pytest.mark.slow
def test_sparse_products_are_dense_ones_with_gradients_both_ways():
    graph, values = with_hubs(), jnp.asarray(draw(40, 6))
    (sparse,) = jaxcast.nn.sparse_operators(graph)
    assert len(sparse.by_receiver.neighbours) == len(sparse.by_sender.neighbours) == 4  # 8, 8, 16 and the rest
    loss = jax.jit(jax.value_and_grad(lambda operator, x: jnp.sum(jnp.sin(operator @ x)), (0, 1), allow_int=True))
    value, (of_graph, of_values) = loss(sparse, values)
    expected, (of_dense, expected_of_values) = loss(jnp.asarray(graph), values)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(of_values, expected_of_values, atol=1e-12)
    np.testing.assert_allclose(of_graph.weights, np.asarray(of_dense)[graph > 0], atol=1e-12)


def test_a_graph_without_edges_gives_zeros():
    (sparse,) = jaxcast.nn.sparse_operators(np.zeros((3, 3)))
    np.testing.assert_array_equal(sparse @ jnp.ones((3, 2)), np.zeros((3, 2)))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "sizes"), [(ChebyshevConvolution, (2, 3)), (DiffusionConvolution, (3, 2))])
def test_convolutions_take_sparse_operators(kind, sizes):
    layer, operators = make(kind, sizes, 3, 2)
    inputs = jnp.asarray(draw(4, NUM_NODES, sizes[0]))
    sparse = jaxcast.nn.sparse_operators(operators)
    ours = jax.jit(layer.__call__)(inputs, sparse)
    np.testing.assert_allclose(ours, layer(inputs, jnp.asarray(operators)), atol=1e-13)
    with pytest.raises(jaxcast.InputError, match=r"\(2, 6, 6\) for these inputs, got \(1, 6, 6\)"):
        layer(inputs, sparse[:1])


def test_another_graph_compiles_nothing(count_compilations):
    layer, operators = make(DiffusionConvolution, (2, 3), 2, 2)
    run, inputs = jax.jit(layer.__call__), jnp.asarray(draw(4, NUM_NODES, 2))
    first, others = jnp.asarray(operators), jnp.asarray(operators[::-1])
    before = run(inputs, first)
    count_compilations()
    after = run(inputs, others)
    assert count_compilations() == 0
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize("kind", [ChebyshevConvolution, DiffusionConvolution])
def test_permuting_nodes_permutes_outputs(kind):
    layer, operators = make(kind, (2, 3), 2, 2)
    inputs, order = draw(4, NUM_NODES, 2), np.random.default_rng(1).permutation(NUM_NODES)
    outputs = layer(jnp.asarray(inputs), jnp.asarray(operators))
    permuted = layer(jnp.asarray(inputs[:, order]), jnp.asarray(operators[:, order][:, :, order]))
    np.testing.assert_allclose(permuted, outputs[:, order], atol=1e-13)


def test_a_learned_graph_finds_who_drives_whom():
    """Each node follows the next one's last step: descent finds these edges from whatever start."""
    values = jnp.asarray(draw(200, NUM_NODES))

    def found(key):
        learned = jaxcast.nn.LearnedGraph(num_nodes=NUM_NODES, embedding_size=6, key=key, dtype=jnp.float64)
        slope = jax.grad(lambda graph: jnp.mean((values @ graph().T - jnp.roll(values, -1, 1)) ** 2))
        descend = lambda _, graph: jax.tree.map(lambda p, g: p - 2.0 * g, graph, slope(graph))  # noqa: E731
        return jax.lax.fori_loop(0, 300, descend, learned)()

    graphs = np.asarray(jax.jit(jax.vmap(found))(jax.random.split(jax.random.key(0), 5)))
    assert (graphs.argmax(-1) == np.roll(np.arange(NUM_NODES), -1)).all()
    assert graphs.max(-1).min() > 0.9
    np.testing.assert_allclose(graphs.sum(-1), 1)


def test_wrong_graphs_are_refused(without_type_checks):
    layer, operators = make(ChebyshevConvolution, (2, 3), 2, 2)
    inputs = jnp.ones((1, NUM_NODES, 2))
    with pytest.raises(jaxcast.InputError, match=r"\(2, 6, 6\) for these inputs, got \(6, 6\)"):
        layer(inputs, jnp.asarray(operators[0]))
    with pytest.raises(jaxcast.InputError, match="2 features, got shape"):
        layer(inputs[..., :1], jnp.asarray(operators))
    with pytest.raises(jaxcast.InputError, match=r"a graph \(node, node\)"):
        jaxcast.nn.transition(np.ones((2, 3)))
    with pytest.raises(jaxcast.InputError, match=r"finite operators .* got shape \(2, 3\)"):
        jaxcast.nn.sparse_operators(np.ones((2, 3)))
    with pytest.raises(jaxcast.InputError, match="largest must be above 0"):
        jaxcast.nn.rescaled_laplacian(np.ones((2, 2)), largest=0)
    with pytest.raises(jaxcast.InputError, match="order"):
        jaxcast.nn.chebyshev_polynomials(np.ones((2, 2)), -1)
