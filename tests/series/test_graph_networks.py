"""STGCN, ST-MGCN and Graph WaveNet against plain NumPy, permuted nodes, and planted dependences."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxcast
from jaxcast import InputError
from jaxcast.series.graph_networks.stgcn_layers import NodeNorm, SpatialLayer, TemporalLayer

NUM_NODES = 4
RNG = np.random.default_rng(0)
GRAPHS = np.asarray(
    [
        [[0, 1, 0, 0], [1, 0, 2, 0], [0, 2, 0, 0], [0, 0, 0, 0]],  # the last node is isolated
        [[0, 1, 3, 1], [1, 0, 0, 0], [3, 0, 0, 1], [1, 0, 1, 0]],
    ],
    float,
)

pytestmark = pytest.mark.slow
VALUES = RNG.normal(size=(30, NUM_NODES)).cumsum(0)
SAMPLES = jaxcast.series.series_windows(VALUES, history_size=6, leads=(1, 2))
NOTHING = jaxcast.series.KnownInputs(None, None)
CLASSES = {
    "stgcn": jaxcast.series.STGCN,
    "st_mgcn": jaxcast.series.STMGCN,
    "graph_wavenet": jaxcast.series.GraphWaveNet,
}
SMALL = {
    "stgcn": {"channels": ((3, 2),)},
    "st_mgcn": {"hidden_size": 3, "num_layers": 2, "output_size": 5},
    "graph_wavenet": {"hidden_size": 3, "skip_size": 4, "output_size": 5, "num_blocks": 1, "embedding_size": 2},
}


def make(name, samples=SAMPLES, **options):
    return CLASSES[name](samples, **({"graphs": GRAPHS, "key": jax.random.key(1)} | SMALL[name] | options))


@nnx.jit
def steps_of(model, inputs):
    return model.steps(inputs, NOTHING, None)


@nnx.jit
def forecast_of(model, samples, covariates=None):
    return model(samples.history, covariates)


NAMES = pytest.mark.parametrize("name", CLASSES)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def polynomials(graph, order=2):
    """The Chebyshev polynomials by cosines of angles: T_k(L) = U cos(k arccos(w)) U^T."""
    degree = graph.sum(1)
    root = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    eigenvalues, vectors = np.linalg.eigh(np.eye(len(graph)) - root[:, None] * graph * root)
    angles = np.arccos(np.clip(2 * eigenvalues / eigenvalues[-1] - 1, -1, 1))
    return [vectors @ np.diag(np.cos(k * angles)) @ vectors.T for k in range(order + 1)]


def randomised(model):
    """Random numbers for the parameters that start as zeros and ones."""
    graph, state = nnx.split(model)
    rng = np.random.default_rng(2)
    state = jax.tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape) if a.ndim < 3 else a, state)
    return nnx.merge(graph, state)


def weights(*variables):
    return [np.asarray(v[...], float) for v in variables]


@pytest.mark.parametrize(
    ("sizes", "residual", "gated"), [((2, 5), "inside", True), ((5, 2), "outside", True), ((5, 2), "inside", False)]
)
def test_a_temporal_layer_is_a_sum_over_steps(sizes, residual, gated):
    n_in, n_out = sizes
    layer = TemporalLayer(
        input_size=n_in,
        output_size=n_out,
        kernel_size=3,
        residual=residual,
        gated=gated,
        key=jax.random.key(0),
        dtype=np.float64,
    )
    xs = RNG.normal(size=(2, 5, n_in))
    kernel, bias = weights(layer.convolution.kernel, layer.convolution.bias)
    expected = np.zeros((2, 3, n_out))
    for t in range(3):
        values = sum(xs[:, t + k] @ kernel[k] for k in range(3)) + bias
        own = np.zeros((2, n_out))
        if n_in < n_out:
            own[..., :n_in] = xs[:, t + 2]
        else:
            own = xs[:, t + 2] @ weights(layer.projection.kernel)[0]
        if not gated:
            expected[:, t] = relu(values + own)
        elif residual == "inside":
            expected[:, t] = (values[..., :n_out] + own) * sigmoid(values[..., n_out:])
        else:
            expected[:, t] = values[..., :n_out] * sigmoid(values[..., n_out:]) + own
    np.testing.assert_allclose(layer(jnp.asarray(xs)), expected, atol=1e-12)


def test_dilated_convolutions_skip_steps():
    layer = jaxcast.nn.TemporalConvolution(
        input_size=2, output_size=3, kernel_size=2, dilation=3, key=jax.random.key(0), dtype=np.float64
    )
    xs = RNG.normal(size=(4, 7, 2))
    kernel, bias = weights(layer.kernel, layer.bias)
    np.testing.assert_allclose(
        layer(jnp.asarray(xs)), xs[:, :-3] @ kernel[0] + xs[:, 3:] @ kernel[1] + bias, atol=1e-12
    )
    with pytest.raises(InputError, match="of 4 steps or more, got shape"):
        layer(jnp.asarray(xs[:, :3]))


@pytest.mark.parametrize("convolution", ["chebyshev", "first_order"])
def test_a_spatial_layer_is_a_sum_over_polynomials(convolution):
    model = make("stgcn", convolution=convolution, dtype=np.float64)
    layer = randomised(model.blocks[0].graph)
    assert isinstance(layer, SpatialLayer)
    xs = RNG.normal(size=(2, NUM_NODES, 3))
    if convolution == "chebyshev":
        kernel, bias = weights(layer.convolution.kernel, layer.convolution.bias)
        of_graphs = [polynomials(graph) for graph in GRAPHS]
        terms = [np.eye(NUM_NODES), *[of_graph[k] for k in (1, 2) for of_graph in of_graphs]]
    else:
        kernel, bias = weights(layer.convolution.layer.kernel, layer.convolution.layer.bias)
        kernel = kernel.reshape(2, 3, 3)
        loops = GRAPHS + np.eye(NUM_NODES)
        roots = loops.sum(-1) ** -0.5
        terms = np.eye(NUM_NODES) + roots[:, :, None] * loops * roots[:, None]
    expected = sum(term @ xs @ w for term, w in zip(terms, kernel, strict=True)) + bias + xs
    found = layer(jnp.asarray(xs.swapaxes(0, 1)), model.operators[...]).swapaxes(0, 1)
    np.testing.assert_allclose(found, relu(expected), atol=1e-10)


def test_a_norm_standardises_nodes_and_channels():
    layer = randomised(NodeNorm(num_nodes=3, size=2, dtype=np.float64))
    factor, offset = weights(layer.factor, layer.offset)
    xs = RNG.normal(2, 5, size=(4, 3, 2))
    mean, std = xs.mean((1, 2), keepdims=True), np.sqrt(xs.var((1, 2), keepdims=True) + 1e-6)
    found = layer(jnp.asarray(xs.swapaxes(0, 1))).swapaxes(0, 1)
    np.testing.assert_allclose(found, (xs - mean) / std * factor + offset, atol=1e-12)


def test_stgcn_is_its_layers_in_turn():
    model = randomised(make("stgcn", channels=((3, 2), (2, 4)), kernel_size=2, dtype=np.float64))
    xs = jnp.asarray(RNG.normal(size=(5, 6, NUM_NODES, 2)))

    @nnx.jit
    def before_the_last(model, xs):
        values = xs.transpose(2, 0, 1, 3)
        for block in model.blocks:
            values = block.norm(block.second(block.graph(block.first(values), model.operators[...])))
        return model.output.norm(model.output.over_time(values))

    last = model.output
    states = np.asarray(before_the_last(model, xs))
    assert states.shape == (NUM_NODES, 5, 1, 4)
    layer, offset, read_out, bias = weights(last.layer.kernel, last.layer.bias, last.read_out.kernel, last.bias)
    numbers = sigmoid(states[:, :, 0] @ layer + offset).swapaxes(0, 1) @ read_out + bias
    found, _ = steps_of(model, xs)
    np.testing.assert_allclose(found[..., 0], np.moveaxis(numbers, -1, 1), atol=1e-12)


@pytest.mark.slow
def test_blocks_of_windows_do_not_change_stgcn(monkeypatch):
    network = randomised(make("stgcn", dtype=np.float64))

    def found():
        loss = jax.jit(
            jax.value_and_grad(lambda network: (network(SAMPLES.history).forecast ** 2).sum(), allow_int=True)
        )
        leaves = jax.tree.leaves(loss(network))
        return "while" in loss.lower(network).as_text(), [leaf for leaf in leaves if leaf.dtype != jax.dtypes.float0]

    one_block, expected = found()
    monkeypatch.setattr("jaxcast.series.graph_networks.stgcn._BLOCK_BYTES", 1)
    blocks, leaves = found()
    assert (one_block, blocks) == (False, True)
    for ours, theirs in zip(leaves, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11 * np.abs(theirs).max())


def lstm(stack, xs):
    """The outputs of a stack for (sample, time, feature), gate by gate."""
    for layer in stack.layers:
        w_x, w_h, bias = weights(layer.input_kernel, layer.recurrent_kernel, layer.bias)
        h = c = np.zeros((len(xs), len(w_h)))
        outputs = []
        for t in range(xs.shape[1]):
            i, f, g, o = np.split(xs[:, t] @ w_x + h @ w_h + bias, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            outputs.append(h)
        xs = np.stack(outputs, 1)
    return xs


@pytest.mark.parametrize(
    ("aggregation", "second_stage", "gate"),
    [("sum", True, "history"), ("mean", False, "step"), ("max", True, "history")],
)
def test_st_mgcn_is_its_equations(aggregation, second_stage, gate):
    options = {"aggregation": aggregation, "second_stage": second_stage, "gate": gate}
    model = randomised(make("st_mgcn", **options, dtype=np.float64))
    xs = RNG.normal(size=(2, 6, NUM_NODES, 2))
    states, gates = [], []
    for branch, graph in zip(model.branches, GRAPHS, strict=True):
        terms = polynomials(graph)
        squeeze, excite, kernel, bias = weights(
            branch.gate.squeeze.kernel, branch.gate.excite.kernel, branch.gate.context.kernel, branch.gate.context.bias
        )
        if gate == "history":
            histories = xs[..., 0].swapaxes(1, 2)
            context = histories + relu(sum(t @ histories @ w for t, w in zip(terms, kernel, strict=True)) + bias)
            first, second = weights(branch.gate.squeeze.bias, branch.gate.excite.bias)
            s = sigmoid(relu(context.mean(1) @ squeeze + first) @ excite + second)
        else:
            context = np.tanh(sum(t @ xs @ w for t, w in zip(terms[:2], kernel, strict=True)) + bias)
            s = sigmoid(relu(np.concatenate([context, xs], -1).mean(2) @ squeeze) @ excite)[..., 0]
        weighted = (xs * s[:, :, None, None]).swapaxes(1, 2)
        h = lstm(branch.stack, weighted.reshape(-1, 6, 2))[:, -1].reshape(2, NUM_NODES, -1)
        if second_stage:
            kernel, bias = weights(branch.convolution.kernel, branch.convolution.bias)
            h = relu(sum(t @ h @ w for t, w in zip(terms, kernel, strict=True)) + bias)
        states.append(h)
        gates.append(s)
    y = {"sum": np.sum, "mean": np.mean, "max": np.max}[aggregation](states, 0)
    kernel, bias = weights(model.read_out.kernel, model.read_out.bias)
    found, info = steps_of(model, jnp.asarray(xs))
    np.testing.assert_allclose(info["gates"], np.stack(gates, 1), atol=1e-10)
    np.testing.assert_allclose(found[..., 0], np.moveaxis(y @ kernel + bias, -1, 1), atol=1e-10)


@NAMES
def test_permuted_nodes_have_permuted_forecasts(name):
    order = np.asarray([2, 0, 3, 1])
    permuted = jax.tree.map(lambda a: a[..., order] if a.ndim == 3 else a, SAMPLES)
    options = {"embedding_size": 0} if name == "graph_wavenet" else {}
    forecasts = forecast_of(make(name, **options), SAMPLES).forecast
    there = make(name, permuted, graphs=GRAPHS[:, order][:, :, order], **options)
    other = forecast_of(there, permuted).forecast
    np.testing.assert_allclose(other, forecasts[..., order], atol=2e-4 * np.std(VALUES))
    assert np.std(forecasts) > 0.1


@NAMES
def test_everything_at_once_is_saved_to_the_bit(name, tmp_path):
    """Several features and targets, gaps, covariates, a calendar and quantile levels."""
    values = np.stack([VALUES, VALUES**2], -1)
    values[5:9, 1] = np.nan
    known = np.stack([np.arange(30.0) % 28, RNG.normal(size=30)], -1)
    samples = jaxcast.series.series_windows(values, history_size=6, leads=(1, 2), targets=(1,), newest_covariates=known)
    model = make(name, samples, levels=(0.1, 0.5, 0.9), slots_per_day=4, dropout=0.5)
    loss = jaxcast.series.WindowLoss()

    @jax.jit
    def run(model):
        output = model(samples.history, samples.covariates)
        gradient = nnx.grad(lambda model: loss(model, samples, jax.random.key(0)))(model)
        return output, gradient

    output, gradient = run(model)
    assert output.forecast.shape == (24, 2, NUM_NODES, 1)
    assert (np.diff(output.info["quantiles"]) > 0).all()
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(gradient))
    assert sum(np.any(np.asarray(a) != 0) for a in jax.tree.leaves(gradient)) > 10
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(run(loaded)[0].info["quantiles"], output.info["quantiles"])


@NAMES
def test_one_step_is_fed_back(name):
    samples = jaxcast.series.series_windows(VALUES, history_size=6, leads=(1,))
    model = make(name, samples)
    history = VALUES[:6]
    found = jaxcast.series.RecursiveForecaster(model, (1, 3))(jnp.asarray(history)).forecast
    forecast = nnx.jit(lambda model, history: model(history).forecast)
    for _ in range(3):
        history = np.concatenate([history, forecast(model, jnp.asarray(history[-6:]))])
    np.testing.assert_allclose(found, history[[6, 8]], rtol=1e-5)


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="need a history of 9 steps or more, got 6; give a longer history"):
        make("stgcn", channels=((3, 2), (3, 2)))
    with pytest.raises(InputError, match="two sizes for each block"):
        make("stgcn", channels=((3, 2, 2),))
    with pytest.raises(InputError, match=r"residual .*must be .*inside.*outside"):
        make("stgcn", residual="none")
    with pytest.raises(InputError, match=r"aggregation .*must be"):
        make("st_mgcn", aggregation="median")
    for name in CLASSES:
        with pytest.raises(InputError, match="dropout must be"):
            make(name, dropout=1.0)
        with pytest.raises(InputError, match="of 4 nodes, got shape"):
            make(name, graphs=np.ones((3, 3)))


def test_graph_wavenet_is_its_equations():
    model = randomised(make("graph_wavenet", dtype=np.float64, num_blocks=2))
    assert model.num_seen == 7
    xs = RNG.normal(size=(2, 6, NUM_NODES, 2))
    found, info = steps_of(model, jnp.asarray(xs))
    first, second = weights(model.learned.receivers, model.learned.senders)
    scores = np.exp(relu(first @ second.T))
    learned = scores / scores.sum(1, keepdims=True)
    np.testing.assert_allclose(info["graph"], learned, atol=1e-12)
    supports = [graph / np.maximum(graph.sum(1, keepdims=True), 1e-9) for graph in (*GRAPHS, *GRAPHS.swapaxes(1, 2))]
    supports.append(learned)
    kernel, bias = weights(model.enter.kernel, model.enter.bias)
    values = np.concatenate([np.zeros((2, 1, NUM_NODES, 2)), xs], 1) @ kernel + bias
    skipped = 0
    for k, layer in enumerate(model.layers):
        kernel, bias = weights(layer.over_time.kernel, layer.over_time.bias)
        d = (1, 2, 1, 2)[k]
        both = values[:, :-d] @ kernel[0] + values[:, d:] @ kernel[1] + bias
        h = np.tanh(both[..., :3]) * sigmoid(both[..., 3:])
        kernel, bias = weights(layer.skip.kernel, layer.skip.bias)
        skipped = skipped + h[:, -1] @ kernel + bias
        if k == 3:
            assert h.shape[1] == 1
            break
        kernel, bias = weights(layer.over_graphs.kernel, layer.over_graphs.bias)
        terms = [np.eye(NUM_NODES), *supports, *[support @ support for support in supports]]
        heard = sum(term @ h @ w for term, w in zip(terms, kernel, strict=True)) + bias + values[:, d:]
        factor, offset = weights(layer.norm.scale, layer.norm.bias)
        mean, variance = heard.mean(-1, keepdims=True), heard.var(-1, keepdims=True)
        values = (heard - mean) / np.sqrt(variance + 1e-6) * factor + offset
    hidden, hidden_bias, kernel, bias = weights(
        model.hidden.kernel, model.hidden.bias, model.read_out.kernel, model.read_out.bias
    )
    numbers = relu(relu(skipped) @ hidden + hidden_bias) @ kernel + bias
    np.testing.assert_allclose(found[..., 0], np.moveaxis(numbers, -1, 1), atol=1e-10)


def planted(num_nodes):
    """Node 0 drives node 1 two steps later; all else is noise."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(800, num_nodes))
    values[2:, 1] = values[:-2, 0] + 0.1 * rng.normal(size=798)
    parts = ({"stop": 600}, {"start": 600})
    return [jaxcast.series.series_windows(values, history_size=6, leads=(1,), **part) for part in parts]


def trained(name, samples, graph, **options):
    def init(key):
        return make(name, samples, graphs=graph, key=key, start="mean", **options)

    fit = jaxcast.fit(
        samples,
        init=init,
        loss=jaxcast.series.WindowLoss(),
        keys=jax.random.key(0)[None],
        optimizer=optax.adam(optax.cosine_decay_schedule(1e-2, 60 * (len(samples.history) // 32))),
        num_epochs=60,
        batch_size=32,
    )
    return jax.tree.map(lambda a: a[0], fit.models)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stgcn", "st_mgcn"])
def test_a_planted_dependence_is_learned_along_an_edge(name):
    """Without an edge, ST-MGCN knows nothing of the driven node; STGCN hears of others by its norm."""
    samples, test = planted(3)
    large = {
        "stgcn": {"channels": ((8, 8),)},
        "st_mgcn": {"hidden_size": 16, "num_layers": 1, "output_size": 16},
    }
    errors = {}
    for edge in (1.0, 0.0) if name == "st_mgcn" else (1.0,):
        model = trained(name, samples, np.asarray([[0, edge, 0], [edge, 0, 0], [0, 0, 0]]), **large[name])
        errors[edge] = np.sqrt(np.mean((forecast_of(model, test).forecast - test.targets)[:, 0, 1] ** 2))
    assert errors[1.0] < 0.5
    if name == "st_mgcn":
        assert errors[0.0] > 0.9


@pytest.mark.slow
def test_a_planted_dependence_is_found_by_the_learned_graph():
    samples, test = planted(4)
    sizes = {"hidden_size": 16, "skip_size": 16, "output_size": 32, "num_blocks": 2, "order": 1, "dropout": 0.0}
    model = trained("graph_wavenet", samples, np.zeros((4, 4)), **sizes)
    output = forecast_of(model, test)
    assert np.sqrt(np.mean((output.forecast - test.targets)[:, 0, 1] ** 2)) < 0.5
    graph = np.asarray(output.info["graph"])
    assert graph[1].argmax() == 0
    assert graph[1, 0] > 0.5
