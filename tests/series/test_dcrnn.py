"""DCRNN against its equations in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from tests.series.d2stgnn_reference import linear, sigmoid, transition

NODES = 3


def windows(values):
    return jaxcast.series.series_windows(values, history_size=4, leads=(1, 2, 3))


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).normal(size=(30, NODES))


@pytest.fixture(scope="module")
def network(values):
    graph = np.random.default_rng(1).uniform(size=(NODES, NODES))
    return jaxcast.series.DCRNN(
        windows(values), graphs=graph, hidden_size=4, num_layers=2, key=jax.random.key(0), dtype=jnp.float64
    )


@jax.jit
def forecast(network, history):
    return network(history).forecast


def convolution(module, x, supports):
    """sum_k S^k X W_k, with the identity first and then power by power of all supports."""
    terms = [x] + [np.linalg.matrix_power(s, k) @ x for k in range(1, module.order + 1) for s in supports]
    product = sum(term @ np.asarray(kernel) for term, kernel in zip(terms, module.kernel[...], strict=True))
    return product if module.bias is None else product + np.asarray(module.bias[...])


def gru_step(layer, h, x, supports):
    of_x = np.split(convolution(layer.of_inputs, x, supports), 3, -1)
    of_h = np.split(convolution(layer.of_gates, h, supports), 2, -1)
    r, u = sigmoid(of_x[0] + of_h[0]), sigmoid(of_x[1] + of_h[1])
    c = np.tanh(of_x[2] + convolution(layer.of_candidate, r * h, supports))
    return u * h + (1 - u) * c


def test_is_the_equations(network, values):
    graph = np.asarray(network.graphs[0])
    supports = [transition(graph), transition(graph.T)]
    samples = windows(values)
    history = (np.asarray(samples.history[5]) - np.asarray(network.mean[...])) / np.asarray(network.std[...])
    states = [np.zeros((NODES, 4)) for _ in network.encoder]
    for values_of_step in history:
        x = np.stack([values_of_step, np.ones(NODES)], -1)
        for n, layer in enumerate(network.encoder):
            x = states[n] = gru_step(layer, states[n], x, supports)
    outputs, x = [], np.zeros((NODES, 1))
    for _ in range(3):
        for n, layer in enumerate(network.decoder):
            x = states[n] = gru_step(layer, states[n], x, supports)
        x = linear(network.read_out, x)
        outputs.append(history[-1] + x[:, 0])
    expected = np.asarray(network.mean[...]) + np.asarray(network.std[...]) * np.stack(outputs)
    np.testing.assert_allclose(forecast(network, samples.history)[5], expected, rtol=1e-10)


def test_a_permutation_of_the_nodes_permutes_the_forecasts(network, values):
    order = np.array([2, 0, 1])
    permuted = nnx.clone(network)
    permuted.graphs[...] = network.graphs[...][:, order][:, :, order]
    got = forecast(permuted, windows(values[:, order]).history)
    np.testing.assert_allclose(got, forecast(network, windows(values).history)[..., order], atol=1e-12)


def test_saves_and_loads_the_same_bits(network, values, tmp_path):
    jaxcast.save_model(tmp_path / "model", network)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    history = windows(values).history
    assert (forecast(loaded, history) == forecast(network, history)).all()
