"""Graph attention against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.nn import GraphAttention

NUM_NODES, NUM_HEADS = 5, 2


def make(**options):
    layer = GraphAttention(
        input_size=3, output_size=4, num_heads=NUM_HEADS, key=jax.random.key(1), dtype=jnp.float64, **options
    )
    if layer.bias is not None:
        layer.bias[...] = jnp.arange(4.0)
    return layer


def draw():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, NUM_NODES, 3)), rng.random((6, NUM_NODES, NUM_NODES)) < 0.4


def of_one(layer, inputs, graph):
    """Returns outputs and weights of one sample, head by head and node by node."""
    size = 4 // NUM_HEADS
    outputs, weights = np.zeros((NUM_NODES, 4)), np.zeros((NUM_HEADS, NUM_NODES, NUM_NODES))
    for head in range(NUM_HEADS):
        columns = slice(head * size, (head + 1) * size)
        values = inputs @ np.asarray(layer.kernel[...])[:, columns]
        of_node, of_neighbour = np.asarray(layer.score_kernel[...])[:, :, head]
        for i in range(NUM_NODES):
            seen = [j for j in range(NUM_NODES) if graph[i, j] or i == j]
            scores = np.asarray([of_node @ values[i] + of_neighbour @ values[j] for j in seen])
            scores = np.exp(np.where(scores > 0, scores, 0.2 * scores))
            weights[head, i, seen] = scores / scores.sum()
        outputs[:, columns] = weights[head] @ values
    return outputs + (0 if layer.bias is None else np.asarray(layer.bias[...])), weights


@pytest.mark.slow
@pytest.mark.parametrize("use_bias", [True, False])
def test_outputs_and_weights_are_those_of_loops(use_bias):
    layer, (inputs, graphs) = make(use_bias=use_bias), draw()
    outputs, weights = layer(jnp.asarray(inputs), graphs)
    for k in range(len(inputs)):
        expected = of_one(layer, inputs[k], graphs[k])
        np.testing.assert_allclose(outputs[k], expected[0], rtol=1e-12)
        np.testing.assert_allclose(weights[k], expected[1], rtol=1e-12)
    shared, _ = layer(jnp.asarray(inputs), 7.0 * graphs[0])
    np.testing.assert_allclose(shared[0], outputs[0], rtol=1e-12)


@pytest.mark.slow
def test_a_node_feels_only_its_neighbours():
    layer, (inputs, _) = make(), draw()
    chain = np.eye(NUM_NODES, k=1)
    gradient = jax.jacobian(lambda inputs: layer(inputs, chain)[0].sum(-1))(jnp.asarray(inputs[0]))
    assert (np.asarray(gradient).any(-1) == (chain + np.eye(NUM_NODES) > 0)).all()


def test_bad_input_is_refused(without_type_checks):
    layer, (inputs, graphs) = make(), draw()
    for refused, message in (
        (lambda: layer(jnp.ones((2, 5, 4)), graphs[0]), r"expected inputs \(\*batch, node, 3\)"),
        (lambda: layer(jnp.asarray(inputs), graphs[:2]), r"expected a graph \(5, 5\)"),
        (lambda: GraphAttention(input_size=3, output_size=4, num_heads=3, key=jax.random.key(0)), "must divide"),
        (lambda: make(negative_slope=-1.0), "negative_slope"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            refused()
