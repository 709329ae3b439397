"""CSTN and MRSTN against SciPy's convolutions and plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.signal

import jaxcast
from jaxcast import InputError
from jaxcast.nn.grid_convolution import GridConvolution
from jaxcast.series import KnownInputs
from jaxcast.series.od.mrstn import haar_wavelets, repeated

ZONES, STEPS = 4, 3
PAIRS = ZONES**2
RNG = np.random.default_rng(0)
TRIPS = RNG.poisson(3, (30, PAIRS)).astype(float)
SAMPLES = jaxcast.series.series_windows(TRIPS, history_size=STEPS, leads=(1, 2))
ADJACENCY = np.asarray([[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], float)  # the last touches nobody
KEY = jax.random.key(1)
MAKE = {
    "cstn": lambda samples, **options: jaxcast.series.CSTN(samples, **({"hidden_size": 3, "key": KEY} | options)),
    "mrstn": lambda samples, **options: jaxcast.series.MRSTN(
        samples, **({"num_filters": 2, "hidden_size": 3, "key": KEY} | options)
    ),
}
NAMES = pytest.mark.parametrize("name", MAKE)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numbers(variable):
    return np.asarray(variable[...], float)


def linear(layer, x):
    return x @ numbers(layer.kernel) + numbers(layer.bias)


def convolved(layer, xs):
    """Convolves features (time, node, feature) by SciPy on a grid, by products on a graph."""
    kernel, bias = numbers(layer.kernel), numbers(layer.bias)
    if not isinstance(layer, GridConvolution):
        degree = ADJACENCY.sum(1, keepdims=True)
        return xs @ kernel[0] + ADJACENCY / np.where(degree, degree, 1) @ xs @ kernel[1] + bias
    grid = xs.reshape(len(xs), layer.rows, layer.columns, -1)

    def of_map(x, k):
        parts = [scipy.signal.correlate2d(x[..., i], kernel[..., i, k], "same") for i in range(kernel.shape[2])]
        return np.sum(parts, 0).ravel()

    return np.asarray([[of_map(x, k) for k in range(kernel.shape[3])] for x in grid]).swapaxes(1, 2) + bias


def remembered(memory, zs):
    h = c = np.zeros((1, zs.shape[1], 3))
    for z in zs:
        i, f, g, o = np.split(convolved(memory.of_input, z[None]) + convolved(memory.of_state, h), 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h[0]


def found(model, xs):
    output, info = jax.jit(lambda xs: model.steps(xs, KnownInputs(None, None), None))(jnp.asarray(xs))
    return output[..., 0], info


@pytest.mark.slow
@pytest.mark.parametrize("zones", [{"rows": 2}, {"adjacency": ADJACENCY}])
def test_cstn_is_its_equations(zones):
    model = MAKE["cstn"](SAMPLES, dtype=np.float64, **zones)
    xs = RNG.normal(size=(STEPS, PAIRS, 2))
    matrices = xs.reshape(STEPS, ZONES, ZONES, 2)
    views = []
    for view, matrix in ((model.origins, matrices), (model.destinations, matrices.swapaxes(1, 2))):
        hidden = relu(convolved(view[0], matrix.reshape(STEPS, ZONES, -1)))
        views.append(relu(convolved(view[1], hidden)))
    h = remembered(model.memory, relu(convolved(model.joined, np.concatenate(views, -1))))
    products = np.exp(linear(model.queries, h) @ linear(model.keys, h).T / np.sqrt(3))
    correlation = products / products.sum(1, keepdims=True)
    expected = linear(model.read_out, np.concatenate([h, correlation @ h], -1)).reshape(ZONES, ZONES, 2)
    output, info = found(model, xs)
    np.testing.assert_allclose(info["graph"], correlation, atol=1e-10)
    np.testing.assert_allclose(output, np.moveaxis(expected, 2, 0).reshape(2, PAIRS), atol=1e-10)


@pytest.mark.slow
def test_mrstn_is_its_equations():
    model = MAKE["mrstn"](SAMPLES, dtype=np.float64)
    xs = RNG.normal(size=(STEPS, PAIRS, 2))
    fine = xs
    for layer in model.fine:
        fine = relu(convolved(layer, fine))
    image = xs.reshape(STEPS, 2, 2, 2, 2, 2)  # time, two halves of origins and of destinations, feature
    haar = np.asarray([[1, 1], [1, -1]]) / np.sqrt(2)
    wavelets = np.einsum("tiajbf,pa,qb->tijpqf", image, haar, haar).reshape(STEPS, 4, 8)
    coarse = relu(convolved(model.coarse, wavelets)).reshape(STEPS, 2, 2, 2)
    coarse = coarse.repeat(2, 1).repeat(2, 2).reshape(STEPS, PAIRS, 2)
    both = np.concatenate([fine, coarse], -1)
    shares = sigmoid(linear(model.weights.second, relu(linear(model.weights.first, both.mean(1, keepdims=True)))))
    expected = linear(model.read_out, remembered(model.memory, both * shares))
    np.testing.assert_allclose(found(model, xs)[0], expected.T, atol=1e-10)


def test_wavelets_keep_the_squares_and_an_odd_zone_has_its_own_quarter():
    xs = RNG.normal(size=(2, 25, 1))
    wavelets = haar_wavelets(jnp.asarray(xs), 5)
    assert wavelets.shape == (2, 9, 4)
    np.testing.assert_allclose((wavelets**2).sum(), (xs**2).sum())
    spread = np.asarray(repeated(jnp.arange(9.0)[:, None], 5)).reshape(5, 5)
    assert spread[3:, 3:].tolist() == [[4, 5], [7, 8]]


@pytest.mark.slow
@NAMES
def test_everything_at_once_is_saved_to_the_bit(name, tmp_path):
    """Gaps, covariates, a calendar and quantile levels."""
    trips = TRIPS.copy()
    trips[5:9, 1] = np.nan
    known = np.stack([np.arange(30.0) % 28, RNG.normal(size=30)], -1)
    samples = jaxcast.series.series_windows(trips, lags=(0, 1, 5), leads=(1, 2), newest_covariates=known)
    options = {"adjacency": ADJACENCY} if name == "cstn" else {}
    model = MAKE[name](samples, levels=(0.1, 0.5, 0.9), slots_per_day=4, **options)

    @jax.jit
    def run(model):
        return model(samples.history, samples.covariates, lags=samples.lags)

    output = run(model)
    assert output.forecast.shape == (len(samples.targets), 2, PAIRS)
    assert (np.diff(output.info["quantiles"]) > 0).all()
    assert np.isfinite(output.info["quantiles"]).all()
    jaxcast.save_model(tmp_path / "model", model)
    loaded = jaxcast.load_model(tmp_path / "model").pool
    np.testing.assert_array_equal(run(loaded).info["quantiles"], output.info["quantiles"])


def test_bad_settings_are_refused():
    for make in MAKE.values():
        with pytest.raises(InputError, match="15 regions, which is not a square number"):
            make(jax.tree.map(lambda a: a[..., :15] if a.ndim == 3 else a, SAMPLES))
    with pytest.raises(InputError, match="a grid of 3 rows"):
        MAKE["cstn"](SAMPLES, rows=3)
    with pytest.raises(InputError, match="symmetric, finite and not negative"):
        MAKE["cstn"](SAMPLES, adjacency=np.triu(ADJACENCY))
    with pytest.raises(InputError, match="rows of a grid or an adjacency"):
        MAKE["cstn"](SAMPLES, rows=2, adjacency=ADJACENCY)


@pytest.mark.slow
@NAMES
def test_a_planted_dependence_is_learned(name):
    """Trips return two steps later; without a trip the step before, there would be nothing to know."""
    rng = np.random.default_rng(0)
    trips = rng.normal(size=(2600, ZONES, ZONES))
    for t in range(2, len(trips)):
        trips[t, 2:, :2] = trips[t - 2, :2, 2:].T + 0.1 * trips[t, 2:, :2]
    pairs = trips.reshape(-1, PAIRS)
    samples = jaxcast.series.series_windows(pairs, history_size=4, leads=(1,), stop=2400)
    test = jaxcast.series.series_windows(pairs, history_size=4, leads=(1,), start=2400)
    options = {"adjacency": ADJACENCY, "hidden_size": 32} if name == "cstn" else {"num_filters": 8, "hidden_size": 16}
    fit = jaxcast.fit(
        samples,
        init=lambda key: MAKE[name](samples, start="mean", **options),
        loss=jaxcast.series.WindowLoss(),
        keys=jax.random.key(0)[None],
        optimizer=optax.adam(1e-2),
        num_epochs=20 if name == "cstn" else 8,
        batch_size=32,
    )
    model = jax.tree.map(lambda a: a[0], fit.models)
    errors = np.sqrt(np.mean((model(test.history, lags=test.lags).forecast - test.targets)[:, 0] ** 2, 0)).reshape(
        ZONES, ZONES
    )
    assert errors[2:, :2].mean() < 0.7
    assert errors[:2].mean() > 0.9
