"""Networks on grids against SciPy's convolutions and plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.signal

import jaxcast
from jaxcast import InputError
from jaxcast.nn.grid_convolution import GridConvolution, _convolution, _of_copies
from jaxcast.series import KnownInputs, demand_similarity_graph

ROWS, COLUMNS, STEPS = 3, 4, 6
CELLS = ROWS * COLUMNS
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(30, CELLS)).cumsum(0)
SAMPLES = jaxcast.series.series_windows(VALUES, history_size=STEPS, leads=(1, 2))
GRAPH = np.abs(RNG.normal(size=(CELLS, CELLS)))
KEY = jax.random.key(1)
MAKE = {
    "st_resnet": lambda samples, **options: jaxcast.series.STResNet(
        samples, **({"rows": ROWS, "branches": (1, 2, 3), "num_units": 1, "hidden_size": 3, "key": KEY} | options)
    ),
    "dmvst_net": lambda samples, **options: jaxcast.series.DMVSTNet(
        samples,
        **({"rows": ROWS, "graphs": GRAPH, "num_filters": 2, "hidden_size": 3, "num_convolutions": 2} | options),
        key=KEY,
    ),
}
NAMES = pytest.mark.parametrize("name", MAKE)


def relu(x):
    return np.maximum(x, 0)


def convolved(layer, xs, mode="same"):
    """Convolves maps (window, row, column, feature) by SciPy, one feature after the other."""
    kernel, bias = np.asarray(layer.kernel[...], float), np.asarray(layer.bias[...], float)

    def of_map(x, k):
        return sum(scipy.signal.correlate2d(x[..., i], kernel[..., i, k], mode) for i in range(kernel.shape[2]))

    return np.stack([[of_map(x, k) for k in range(kernel.shape[3])] for x in xs]).transpose(0, 2, 3, 1) + bias


@pytest.mark.slow
def test_a_convolution_is_scipys_and_its_forms_have_the_same_gradients():
    layer = GridConvolution(
        input_size=2, output_size=3, rows=ROWS, columns=COLUMNS, kernel_size=5, key=KEY, dtype=np.float64
    )
    xs = RNG.normal(size=(2, 3, CELLS, 2))
    grid = xs.reshape(6, ROWS, COLUMNS, 2)
    found = np.asarray(layer(jnp.asarray(xs))).reshape(6, ROWS, COLUMNS, 3)
    np.testing.assert_allclose(found, convolved(layer, grid), atol=1e-12)
    kernel = layer.kernel[...]
    one, other = (
        jax.value_and_grad(lambda x, w, form=form: jnp.sum(jnp.sin(form(x, w))), (0, 1))(grid, kernel)
        for form in (_of_copies, _convolution)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), one, other)


@pytest.mark.slow
def test_a_shifted_pattern_has_shifted_outputs():
    layer = GridConvolution(input_size=1, output_size=2, rows=7, columns=7, key=KEY, dtype=np.float64)
    pattern = np.zeros((7, 7, 1))
    pattern[2:4, 2:4] = RNG.normal(size=(2, 2, 1))
    one, other = (
        layer(jnp.asarray(x.reshape(49, 1))).reshape(7, 7, 2) for x in (pattern, np.roll(pattern, (1, 2), (0, 1)))
    )
    np.testing.assert_allclose(np.roll(one, (1, 2), (0, 1)), other, atol=1e-12)
    assert np.std(one) > 0


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["maps", "scalars"])
def test_st_resnet_is_its_equations(fusion):
    known = np.stack([np.arange(30.0) % 28, RNG.normal(size=30)], -1)
    samples = jaxcast.series.series_windows(VALUES, history_size=STEPS, leads=(1, 2), newest_covariates=known)
    model = MAKE["st_resnet"](samples, fusion=fusion, slots_per_day=4, dtype=np.float64)
    model.weights[...] = RNG.normal(size=model.weights.shape)
    xs = RNG.normal(size=(2, STEPS, CELLS, model.input_size))
    covariates, slots = RNG.normal(size=(2, CELLS, 1)), np.asarray([[9] * 5 + [10], [0] * 5 + [27]])
    grid = np.moveaxis(xs, 1, 2).reshape(2, ROWS, COLUMNS, STEPS, -1)
    fused = 0
    for branch, weights, first, end in zip(model.parts, model.weights[...], (0, 1, 3), (1, 3, 6), strict=True):
        x = convolved(branch.first, grid[..., first:end, :].reshape(2, ROWS, COLUMNS, -1))
        x = x + convolved(branch.units[1], relu(convolved(branch.units[0], relu(x))))
        fused = fused + np.asarray(weights) * convolved(branch.last, relu(x)).reshape(2, CELLS, 2)
    days = np.zeros((2, CELLS, 11))
    days[0, :, [2, 4 + 2]] = days[1, :, [3, 4 + 6]] = 1
    external = np.concatenate([covariates, days], -1)
    first = model.external.first
    hidden = relu(external @ np.asarray(first.kernel[...]) + np.asarray(first.bias[...]))
    fused = fused + np.einsum("brh,rhn->brn", hidden, np.asarray(model.external.second[...]))
    found = jax.jit(
        lambda xs: model.steps(jnp.asarray(xs), KnownInputs(jnp.asarray(covariates), jnp.asarray(slots)), None)[0]
    )(xs)
    np.testing.assert_allclose(found[..., 0], np.moveaxis(fused, 2, 1), atol=1e-10)


@pytest.mark.slow
def test_dmvst_net_forecasts_a_cell_from_its_patch():
    """Convolutions of a cell's patch alone, an LSTM in NumPy and eigenvectors give the cell's forecast."""
    values = RNG.normal(size=(12, 25))
    graph = np.abs(RNG.normal(size=(25, 25)))
    samples = jaxcast.series.series_windows(values, history_size=STEPS, leads=(1, 2))
    model = MAKE["dmvst_net"](samples, rows=5, graphs=graph, num_eigenvectors=3, dtype=np.float64)
    xs = RNG.normal(size=(1, STEPS, 25, 2))
    x = xs[0].reshape(STEPS, 5, 5, 2)
    for layer in model.convolutions:
        x = relu(convolved(layer, x, "valid"))
    assert x.shape == (STEPS, 1, 1, 2)

    def linear(layer, x):
        return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])

    layer = model.stack.layers[0]
    w_x, w_h, bias = (np.asarray(a[...]) for a in (layer.input_kernel, layer.recurrent_kernel, layer.bias))
    h = c = np.zeros(3)
    for s in relu(linear(model.local, x[:, 0, 0])):
        i, f, g, o = np.split(s @ w_x + h @ w_h + bias, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    weights = np.maximum(graph, graph.T).astype(float)
    scaled = weights / np.sqrt(np.outer(weights.sum(0), weights.sum(0)))
    vectors = np.asarray(model.eigenvectors[...])
    eigenvalues = np.linalg.eigvalsh(scaled)[::-1][1:4]
    np.testing.assert_allclose(scaled @ vectors, vectors * eigenvalues, atol=1e-6)
    np.testing.assert_allclose((vectors**2).mean(0), 1)
    expected = linear(model.read_out, np.concatenate([h, relu(linear(model.semantic, vectors[12]))]))
    found = jax.jit(lambda xs: model.steps(jnp.asarray(xs), KnownInputs(None, None), None)[0])(xs)
    np.testing.assert_allclose(found[0, :, 12, 0], expected, atol=1e-10)


def test_similar_demand_is_close_by_dynamic_time_warping():
    season = 5
    values = RNG.normal(size=(2 * season, 3))
    values[3, 1] = np.nan
    graph = demand_similarity_graph(values, season=season, alpha=0.7)
    means = np.nanmean(values.reshape(2, season, 3), 0)
    p = ((means - means.mean(0)) / means.std(0)).T

    def distance(a, b):
        if not len(a) or not len(b):
            return 0.0 if len(a) == len(b) else np.inf
        before = min(distance(a[:-1], b), distance(a, b[:-1]), distance(a[:-1], b[:-1]))
        return abs(a[-1] - b[-1]) + before

    expected = [[0 if i == j else np.exp(-0.7 * distance(p[i], p[j]) / season) for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(graph, expected, atol=1e-12)


@pytest.mark.slow
@NAMES
def test_everything_at_once_is_saved_to_the_bit(name, tmp_path):
    """Several features and targets, gaps, covariates, a calendar and quantile levels."""
    values = np.stack([VALUES, VALUES**2], -1)
    values[5:9, 1] = np.nan
    known = np.stack([np.arange(30.0) % 28, RNG.normal(size=30)], -1)
    samples = jaxcast.series.series_windows(
        values, lags=(0, 1, 2, 4, 5, 9), leads=(1, 2), targets=(1,), newest_covariates=known
    )
    model = MAKE[name](samples, levels=(0.1, 0.5, 0.9), slots_per_day=4)

    @jax.jit
    def run(model):
        return model(samples.history, samples.covariates, lags=samples.lags)

    output = run(model)
    assert output.forecast.shape == (20, 2, CELLS, 1)
    assert (np.diff(output.info["quantiles"]) > 0).all()
    assert np.isfinite(output.info["quantiles"]).all()
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(run(loaded).info["quantiles"], output.info["quantiles"])


def test_bad_settings_are_refused():
    for make in MAKE.values():
        with pytest.raises(InputError, match=r"a grid of 5 rows.*got 12 series, which 5 does not divide"):
            make(SAMPLES, rows=5)
    with pytest.raises(InputError, match=r"share the 6 steps of the history among them, got \(1, 2\)"):
        MAKE["st_resnet"](SAMPLES, branches=(1, 2))
    with pytest.raises(InputError, match=r"fusion .*must be"):
        MAKE["st_resnet"](SAMPLES, fusion="sum")
    with pytest.raises(InputError, match="kernel_size must be odd"):
        MAKE["st_resnet"](SAMPLES, kernel_size=2)
    with pytest.raises(InputError, match="expected one graph, the similarity of demand, got 2"):
        MAKE["dmvst_net"](SAMPLES, graphs=np.stack([GRAPH, GRAPH]))
    with pytest.raises(InputError, match="12 cells of 3 rows and 4 columns, 2 features"):
        GridConvolution(input_size=2, output_size=1, rows=3, columns=4, key=KEY)(jnp.ones((11, 2)))
    with pytest.raises(InputError, match="a season of 9 steps, got 4"):
        demand_similarity_graph(np.ones((4, 2)), season=9)
    with pytest.raises(InputError, match="node number 0 has no value at some slot of the season, or the same"):
        demand_similarity_graph(np.ones((4, 2)), season=2)


@pytest.mark.slow
@NAMES
def test_a_planted_dependence_is_learned(name):
    """Each cell follows its left neighbour two steps later; those of the first column follow nobody."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(800, ROWS, COLUMNS))
    for t in range(2, 800):
        values[t, :, 1:] = values[t - 2, :, :-1] + 0.1 * values[t, :, 1:]
    values = values.reshape(800, CELLS)
    samples = jaxcast.series.series_windows(values, history_size=4, leads=(1,), stop=600)
    test = jaxcast.series.series_windows(values, history_size=4, leads=(1,), start=600)
    options = {"branches": ()} if name == "st_resnet" else {"num_filters": 8}
    fit = jaxcast.fit(
        samples,
        init=lambda key: MAKE[name](samples, hidden_size=16, start="mean", **options),
        loss=jaxcast.series.WindowLoss(relative=0.001),
        keys=jax.random.key(0)[None],
        optimizer=optax.adam(1e-2),
        num_epochs=40,
        batch_size=32,
    )
    model = jax.tree.map(lambda a: a[0], fit.models)
    errors = np.sqrt(np.mean((model(test.history, lags=test.lags).forecast - test.targets)[:, 0] ** 2, 0)).reshape(
        ROWS, COLUMNS
    )
    assert errors[:, 1:].max() < 0.5
    assert errors[:, 0].min() > 0.9
