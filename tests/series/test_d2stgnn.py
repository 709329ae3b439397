"""D2STGNN against the equations in plain NumPy, and what must hold of any network on graphs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from jaxcast.nn.dropout import Dropout
from jaxcast.series.graph_networks.d2stgnn_graphs import LocalisedConvolution, supports_of
from tests.series import d2stgnn_reference as reference

NODES, SLOTS_PER_DAY = 3, 2
NOTHING = Dropout(0.0, None, 0)
SMALL = {
    "hidden_size": 4,
    "num_layers": 2,
    "embedding_size": 2,
    "spatial_order": 2,
    "gap": 2,
    "forecast_size": 5,
    "output_size": 6,
    "num_heads": 2,
    "dtype": jnp.float64,
}


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).normal(size=(40, NODES))


@pytest.fixture(scope="module")
def graph():
    return np.random.default_rng(1).uniform(size=(NODES, NODES))


def windows(values, num_covariates=1, history_size=6, num_leads=5):
    """Windows with the slot of the week and perhaps another covariate."""
    slots = np.arange(float(len(values))) % (7 * SLOTS_PER_DAY)
    known = np.stack([slots, np.cos(slots)], -1)[:, :num_covariates]
    return jaxcast.series.series_windows(
        values,
        history_size=history_size,
        leads=tuple(range(1, num_leads + 1)),
        newest_covariates=known if num_covariates else None,
    )


def made(samples, graph, **options):
    slots_per_day = 0 if samples.covariates is None else SLOTS_PER_DAY
    options = {"slots_per_day": slots_per_day, "key": jax.random.key(0)} | SMALL | options
    return jaxcast.series.D2STGNN(samples, graphs=graph, **options)


@pytest.fixture(scope="module")
def network(values, graph):
    return made(windows(values), graph)


@jax.jit
def output_of(network, samples):
    return network(samples.history, samples.covariates)


def forecast(network, samples):
    return output_of(network, samples).forecast


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_covariates", "flags"),
    [
        (1, {}),
        (0, {"repeat_positions": True, "swap_embeddings": True}),
        (2, {"gate": False, "residual": False, "autoregressive": False}),
        (1, {"coupled": True, "dynamic_graph": False, "levels": (0.1, 0.5, 0.9)}),
    ],
    ids=["clean", "as the code", "without parts", "coupled"],
)
def test_is_the_equations(values, graph, num_covariates, flags):
    samples = windows(values, num_covariates)
    network = made(samples, graph, **flags)
    history = (np.asarray(samples.history[3]) - network.mean[...]) / network.std[...]
    inputs = np.stack([history, np.ones_like(history)], -1)
    slots, covariates = None, None
    if num_covariates:
        slots = (int(samples.covariates[3, 0]) - np.arange(len(inputs))[::-1]) % (7 * SLOTS_PER_DAY)
    if num_covariates > 1:
        covariates = np.broadcast_to(samples.covariates[3, 1:], (NODES, 1))
    output = output_of(network, samples)
    expected, found = reference.network(network, inputs, slots, covariates)
    same = {"rtol": 1e-9, "atol": 1e-12}
    middle = network.mean[0] + network.std[0] * expected[..., 1 if network.levels else 0]
    np.testing.assert_allclose(output.forecast[3], middle, **same)
    np.testing.assert_allclose(output.info["graph"][3], np.mean(found["graphs"], 0), **same)
    if network.gates:
        np.testing.assert_allclose(output.info["gates"][3], [gate[-1] for gate in found["gates"]], **same)


@pytest.mark.slow
def test_every_layer_takes_two_steps_off():
    samples = windows(np.random.default_rng(0).normal(size=(40, NODES)), history_size=12, num_leads=12)
    options = SMALL | {"num_layers": 5, "gap": 3}
    network = jax.eval_shape(lambda: made(samples, np.ones((NODES, NODES)), **options))
    signal, lengths = jnp.zeros((2, NODES, 12, 4)), [12]
    for layer in network.layers:
        states = jax.eval_shape(
            lambda layer, signal: layer.diffusion(signal, jnp.zeros((2, NODES, 6 * NODES)), NOTHING), layer, signal
        )
        signal = jnp.zeros(states[0].shape)
        lengths.append(signal.shape[2])
        assert states[1].shape[2] == 4
    assert lengths == [12, 10, 8, 6, 4, 2]


@pytest.mark.slow
def test_has_the_published_number_of_parameters():
    values = jnp.asarray(np.random.default_rng(0).normal(size=(30, 170)), jnp.float32)
    samples = jaxcast.series.series_windows(
        values, history_size=12, leads=tuple(range(1, 13)), newest_covariates=jnp.zeros((30, 1))
    )
    network = jax.eval_shape(
        lambda: jaxcast.series.D2STGNN(samples, graphs=np.ones((170, 170)), slots_per_day=288, key=jax.random.key(0))
    )
    number = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))
    unused = 5 * 64 + (10 * 32 + 32) + (32 * 32 + 32 + 2 * 32)  # a norm of each layer, an embedding, the last backcast
    one_of_many_biases = 5 * 2 * 32 + 9 * 256  # second biases of gates, and a bias for each block's forecast
    flags_of_known_values = 32
    assert number == 391_222 - unused - one_of_many_biases + flags_of_known_values


@pytest.mark.slow
def test_localised_convolution_is_its_explicit_form(values):
    rng = np.random.default_rng(2)
    signal, graphs = rng.normal(size=(6, NODES, 4)), [reference.softmax(rng.normal(size=(NODES, NODES))) for _ in "ab"]
    layer = LocalisedConvolution(size=4, kernel_size=3, num_supports=4, key=jax.random.key(1), dtype=jnp.float32)
    supports = supports_of([jnp.asarray(graph, jnp.float32) for graph in graphs], 2)
    got = layer(jnp.swapaxes(jnp.asarray(signal, jnp.float32), 0, 1)[None], supports, NOTHING)[0]
    expected = reference.convolution(layer, signal, reference.localised(graphs, 2, 3))
    np.testing.assert_allclose(jnp.swapaxes(got, 0, 1), expected, atol=1e-6)


@pytest.mark.slow
def test_with_one_support_and_one_step_it_is_a_diffusion_convolution():
    rng = np.random.default_rng(3)
    graph = jnp.asarray(reference.transition(rng.uniform(size=(NODES, NODES)) * (1 - np.eye(NODES))))
    signal = jnp.asarray(rng.uniform(size=(2, NODES, 5, 4)))  # positive: the hidden layer leaves it as it is
    layer = LocalisedConvolution(size=4, kernel_size=1, num_supports=1, key=jax.random.key(1), dtype=jnp.float64)
    layer.steps.kernel[...] = jnp.eye(4)
    diffusion = jaxcast.nn.DiffusionConvolution(
        input_size=4, output_size=3 + 1, order=1, num_supports=1, key=jax.random.key(2), dtype=jnp.float64
    )
    diffusion.kernel[...] = layer.neighbours.kernel[...].reshape(2, 4, 4)
    diffusion.bias[...] = layer.neighbours.bias[...]
    expected = jnp.swapaxes(diffusion(jnp.swapaxes(signal, 1, 2), graph), 1, 2)
    np.testing.assert_allclose(layer(signal, supports_of([graph], 1), NOTHING), expected, atol=1e-12)


@pytest.mark.slow
def test_forecasts_do_not_change_with_the_future(network, values):
    changed = values.copy()
    changed[30:] += 5
    samples, others = windows(values), windows(changed)
    before = np.asarray(samples.rows[:, 0]) <= 30
    assert (forecast(network, samples)[before] == forecast(network, others)[before]).all()
    assert (forecast(network, samples)[~before] != forecast(network, others)[~before]).any()


@pytest.mark.slow
def test_a_permutation_of_the_nodes_permutes_the_forecasts(network, values, graph):
    order = np.array([2, 0, 1])
    permuted = nnx.clone(network)
    permuted.graphs[...] = jnp.asarray(graph[np.ix_(order, order)])[None]
    for embedding in (permuted.listening, permuted.speaking):
        embedding[...] = embedding[...][order]
    got = forecast(permuted, windows(values[:, order]))
    np.testing.assert_allclose(got, forecast(network, windows(values))[..., order], atol=1e-12)


@pytest.mark.slow
def test_saves_and_loads_the_same_bits(network, values, tmp_path):
    jaxcast.save_model(tmp_path / "model", network)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    assert (forecast(loaded, windows(values)) == forecast(network, windows(values))).all()


@pytest.mark.slow
def test_isolated_nodes_and_missing_values_are_no_obstacle(values):
    gaps = windows(np.where(np.arange(len(values))[:, None] % 5 == np.arange(NODES), np.nan, values))
    graph = np.zeros((NODES, NODES))
    graph[0, 1] = 1
    network = made(gaps, graph, num_layers=1, spatial_order=1)
    loss = jax.jit(jax.value_and_grad(lambda network: jaxcast.series.WindowLoss()(network, gaps)))
    value, gradients = loss(network)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(nnx.state(gradients, nnx.Param)))


def test_refuses_a_history_too_short_for_its_layers(values, graph):
    with pytest.raises(jaxcast.InputError, match="2 layers with kernels of 3 steps need a history of 5 steps, got 4"):
        made(windows(values, history_size=4), graph)
    with pytest.raises(jaxcast.InputError, match="gap must be"):
        made(windows(values), graph, gap=0)


@pytest.mark.slow
def test_learned_graphs_find_a_planted_dependence():
    """Node 2 drives node 0 two steps later, and all else is noise: node 0 learns to listen to node 2."""
    values = np.random.default_rng(4).normal(size=(900, 5)).astype("float32")
    values[2:, 0] = 0.95 * values[:-2, 2] + 0.3 * values[2:, 0]
    train, test = (
        jaxcast.series.series_windows(values, history_size=3, leads=(1, 2), **part)
        for part in ({"stop": 700}, {"start": 700})
    )
    sizes = {"hidden_size": 8, "num_layers": 1, "spatial_order": 1, "forecast_size": 16, "output_size": 16}

    def init(key):
        return jaxcast.series.D2STGNN(
            train, graphs=np.ones((5, 5)), num_heads=2, dropout=0.0, gate=False, key=key, **sizes
        )

    run = jaxcast.fit(
        train,
        init=init,
        loss=jaxcast.series.WindowLoss(),
        keys=jax.random.key(0)[None],
        optimizer=jaxcast.training.make_optimizer(5e-3, clip_norm=5.0),
        num_epochs=60,
        batch_size=32,
    )
    network = jax.tree.map(lambda a: a[0], run.models)
    output = output_of(network, test)
    errors = jnp.mean((output.forecast - test.targets)[:-2] ** 2, (0, 1))  # noise alone: 0.09 and four times 1
    assert errors[0] < 0.2 < 0.8 < min(errors[1:])
    static = np.asarray(network.learned_graph())[0]  # measured: 0.996 on node 2
    dynamic = np.asarray(output.info["graph"].mean(0))[0]  # 0.502 on itself, which does not count, 0.497 on node 2
    assert static[2] > 0.9
    assert dynamic[2] > 10 * max(dynamic[[1, 3, 4]])
