"""The network of dynamic graphs: its equations, what must not matter to it, and what it saves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from jaxcast.neuro import DynamicGraphNetwork, correlation_graphs, subject_series, uniform_segments

MODULES = np.asarray([0, 1, 0, 2, 1])
KINDS = ("gru", "transformer")


def make_graphs(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    series = [rng.normal(size=(length, 5)) @ rng.normal(size=(5, 5)) for length in lengths]
    subjects = subject_series(series, np.arange(len(lengths)) % 2)
    graphs = correlation_graphs(subjects, uniform_segments(subjects, size=10, step=5), edge_share=0.3)
    return graphs._replace(scans=graphs.scans.astype(float))


def make_network(kind, modules=MODULES):
    return DynamicGraphNetwork(
        num_regions=5,
        num_modules=3,
        modules=modules,
        hidden_size=4,
        over_segments=kind,
        key=jax.random.key(0),
        dtype=jnp.float64,
    )


@nnx.jit
def outputs_of(network, graphs):
    return network(graphs)


def normed(values):
    centred = values - values.mean(-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)


@pytest.mark.slow
def test_segments_are_those_of_the_equations_and_modules_are_fused_by_gates():
    network, graphs = make_network("gru"), make_graphs(30, 20)
    output = outputs_of(network, graphs)
    states = normed(
        np.asarray(graphs.correlations) @ np.asarray(network.projection.kernel[...])
        + np.asarray(network.region_embedding[...])
    )
    for layer, norm in zip(network.graph_layers, network.norms, strict=False):
        seen = np.asarray(layer(jnp.asarray(states), graphs.edges)[0])
        states = normed(states + np.where(seen > 0, seen, np.expm1(seen)))
        assert (norm.scale[...] == 1).all()
    of_modules = np.stack([states[:, :, module == MODULES].mean(2) for module in range(3)], 1)
    fused = np.zeros((2, 4))
    for n in range(2):
        length = int(graphs.present[n].sum())  # the second subject is rolled alone, without absent segments
        rolled = network.over_segments.gru(jnp.asarray(of_modules[n, :, :length]))[1]
        summed, weights = network.of_segments(rolled)
        np.testing.assert_allclose(output.segment_weights[n, :, :length], weights, rtol=1e-10)
        fused[n], gates = network.of_modules(summed)
        np.testing.assert_allclose(output.module_weights[n], gates, rtol=1e-10)
    np.testing.assert_allclose(output.logits, network.head(jnp.asarray(fused)), rtol=1e-10)
    np.testing.assert_allclose(output.region_attention.sum(-1), 1, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_absent_segments_change_nothing(kind):
    network, graphs = make_network(kind), make_graphs(30, 20)
    alone = jax.tree.map(lambda array: array[1:, :3], graphs)
    other = graphs._replace(
        scans=np.where(graphs.present[..., None, None], graphs.scans, 7.0),
        thresholds=np.where(graphs.present, graphs.thresholds, 0),
    )
    assert not graphs.present[1, 3:].any()
    output = outputs_of(network, graphs)
    np.testing.assert_allclose(output.logits[1:], outputs_of(network, alone).logits, rtol=1e-10)
    np.testing.assert_allclose(output.logits, outputs_of(network, other).logits, rtol=1e-10)
    assert not output.segment_weights[1, :, 3:].any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_regions_does_not_matter_but_that_of_segments_does(kind):
    graphs, order = make_graphs(30, 30), np.asarray([3, 0, 4, 1, 2])
    network, permuted = make_network(kind), make_network(kind, MODULES[order])
    permuted.projection.kernel[...] = network.projection.kernel[...][order]
    permuted.region_embedding[...] = network.region_embedding[...][order]
    output = outputs_of(network, graphs)
    found = outputs_of(permuted, graphs._replace(scans=graphs.scans[..., order]))
    np.testing.assert_allclose(found.logits, output.logits, rtol=1e-9)
    np.testing.assert_allclose(found.region_attention, output.region_attention[..., order], rtol=1e-9)
    backwards = jax.tree.map(lambda array: array[:, ::-1], graphs)
    assert (np.abs(outputs_of(network, backwards).logits - output.logits) > 1e-6).all()


@pytest.mark.slow
def test_gradients_are_finite_with_constant_regions_and_dropout():
    graphs = make_graphs(30, 20)
    graphs.scans[:, :2, :, 1] = 0

    @nnx.jit
    def gradient(network, key):
        return nnx.grad(lambda network: network(graphs, key=key).logits.sum())(network)

    network = make_network("transformer")
    first, second = (gradient(network, jax.random.key(seed)) for seed in range(2))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_network_gives_the_same_bits(kind, tmp_path):
    network, graphs = make_network(kind), make_graphs(30, 20)
    jaxcast.save_model(tmp_path, network)
    loaded = jaxcast.load_model(tmp_path).pool
    np.testing.assert_array_equal(loaded.module_means[...], network.module_means[...])
    np.testing.assert_array_equal(outputs_of(loaded, graphs).logits, outputs_of(network, graphs).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_modules": 6}, "at most the 5 regions"),
        ({"num_modules": 2, "modules": MODULES}, "numbered from 0 to num_modules - 1 = 1"),
        ({"num_modules": 3, "modules": MODULES[:4]}, "each of the 5 regions"),
        ({"dropout": 1.0}, "dropout must be below 1"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"over_segments": "lstm"}, "over_segments"),
    ],
)
def test_settings_out_of_range_are_refused(options, message, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message):
        DynamicGraphNetwork(**({"num_regions": 5, "num_modules": 2} | options), key=jax.random.key(0))


def test_graphs_of_other_regions_are_refused():
    graphs = make_graphs(30, 20)
    with pytest.raises(jaxcast.InputError, match="graphs of 5 regions"):
        make_network("gru")(graphs._replace(scans=graphs.scans[..., :4]))
