"""GEML, its loss, and the median of counts, against numpy and scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxcast
from jaxcast.errors import InputError
from jaxcast.pytrees import named_leaves

N, LAGS = 4, (0, 1, 6, 7)
CHAIN = np.eye(N, k=1) + np.eye(N, k=-1)


def samples_of(trips, **options):
    slots = (np.arange(len(trips)) % 7).astype(float)[:, None]
    options = {"lags": LAGS, "leads": (1, 2), "newest_covariates": slots} | options
    return jaxcast.series.series_windows(trips, **options)


@pytest.fixture(scope="module")
def trips():
    return np.random.default_rng(0).poisson(3, (40, N * N)).astype(float)


def network_of(samples, **options):
    options = {
        "adjacency": CHAIN,
        "embedding_size": 3,
        "hidden_size": 5,
        "slots_per_day": 1,
        "dtype": jnp.float64,
    } | options
    return jaxcast.series.GEML(samples, key=jax.random.key(0), **options)


@jax.jit
def forecasts(network, samples):
    return network(samples.history, samples.covariates, lags=samples.lags)


def arrays_of(module):
    return {name[1:].removesuffix(".value"): np.asarray(array) for name, array in named_leaves(module).items()}


def lstm(layer, xs):
    """Returns the last output of an LSTM, gate by gate."""
    arrays = arrays_of(layer)
    inputs, recurrent, bias = (arrays[name] for name in ("input_kernel", "recurrent_kernel", "bias"))
    h = c = np.zeros(recurrent.shape[0])
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    for x in xs:
        i, f, g, o = np.split(x @ inputs + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


@pytest.mark.slow
def test_geml_is_the_equations(trips):
    samples = samples_of(trips)
    network = network_of(samples)
    n = arrays_of(network)
    output = forecasts(network, samples)
    output = output._replace(forecast=output.forecast[5], info={name: a[5] for name, a in output.info.items()})
    std = float(n["std"][0])
    used = trips[: len(samples.rows) + LAGS[-1]].mean(0).reshape(N, N)  # each row once
    matrices = (np.asarray(samples.history[5]).reshape(-1, N, N) - used) / std
    flows = used + used.T
    near, linked = CHAIN / CHAIN.sum(1, keepdims=True), flows / flows.sum(1, keepdims=True)
    embedded = []
    for matrix in matrices:
        x = np.concatenate([matrix, matrix.T], 1) @ n["embedding.kernel"] + n["embedding.bias"]
        embedded.append(np.maximum(x[:, :3] + near @ x[:, 3:6] + linked @ x[:, 6:], 0))
    slot = int(samples.covariates[5, 0])
    states = np.stack(
        [
            np.concatenate(
                [
                    lstm(network.recent, [e[zone] for e in embedded[2:]]),
                    lstm(network.earlier, [e[zone] for e in embedded[:2]]),
                    n["calendar"][slot],
                ]
            )
            for zone in range(N)
        ]
    )
    origins = states @ n["origins.kernel"] + n["origins.bias"]
    destinations = (states @ n["destinations.kernel"] + n["destinations.bias"]).reshape(N, 2, 5)
    expected = np.einsum("ih,jlh->lij", origins, destinations) / np.sqrt(5)
    np.testing.assert_allclose(output.forecast, (used + std * expected).reshape(2, -1), rtol=1e-9)
    margins = (states @ n["margins.kernel"] + n["margins.bias"]).reshape(N, 2, 2)
    for end, name in enumerate(("outflow", "inflow")):
        np.testing.assert_allclose(output.info[name], used.sum(1 - end) + N * std * margins[:, end].T, rtol=1e-9)


@pytest.mark.slow
def test_flow_loss_adds_the_margins_that_are_known(trips):
    samples = samples_of(trips)
    weights = samples.weights.at[:, :, 1].set(0)  # the trips from zone 0 to zone 1
    samples = samples._replace(weights=weights)
    network = network_of(samples)
    output = forecasts(network, samples)
    plain, loss = (float(jaxcast.series.FlowLoss(margins=weight)(network, samples)) for weight in (0.0, 0.5))
    assert plain == pytest.approx(float(jaxcast.series.WindowLoss()(network, samples)), rel=1e-9)
    targets = np.asarray(samples.targets).reshape(*samples.targets.shape[:2], N, N)
    known = np.asarray(weights).reshape(targets.shape) > 0
    errors = []
    for name, axis in (("outflow", -1), ("inflow", -2)):
        off = (np.asarray(output.info[name]) - targets.sum(axis)) / (N * float(network.std[...][0]))
        errors.append((off[known.all(axis)] ** 2).mean())
    assert loss == pytest.approx(plain + 0.5 * np.mean(errors), rel=1e-9)


@pytest.mark.slow
def test_geml_is_saved_and_read_to_the_bit_with_every_option(trips, tmp_path):
    for number, options in enumerate(
        ({"levels": (0.1, 0.5, 0.9), "pair_means": False}, {"scaling": "series", "start": "newest", "level": "window"})
    ):
        samples = samples_of(trips)
        network = network_of(samples, **options)
        jaxcast.save_model(tmp_path / str(number), network)
        loaded = jaxcast.load_model(tmp_path / str(number)).pool
        outputs = [forecasts(model, samples) for model in (network, loaded)]
        np.testing.assert_array_equal(outputs[0].forecast, outputs[1].forecast)
        assert outputs[0].forecast.shape == samples.targets.shape
        if network.levels:
            assert (jnp.diff(outputs[0].info["quantiles"], axis=-1) > 0).all()


@pytest.mark.slow
def test_a_history_without_gaps_has_one_lstm(trips):
    samples = samples_of(trips, lags=(), history_size=7)
    assert network_of(samples).earlier is None
    assert network_of(samples_of(trips)).earlier is not None


def test_geml_refuses_what_is_no_matrix_of_trips(trips):
    with pytest.raises(InputError, match="not a square number"):
        network_of(samples_of(trips[:, :15]))
    with pytest.raises(InputError, match="adjacency of 4 zones"):
        network_of(samples_of(trips), adjacency=np.ones((3, 3)))
    with pytest.raises(InputError, match="symmetric"):
        network_of(samples_of(trips), adjacency=np.triu(np.ones((N, N))))


@pytest.mark.slow
def test_the_median_of_counts_is_that_of_scipy():
    mean = np.concatenate([[0.0, 1e-6], np.random.default_rng(0).gamma(0.5, 4, 3000), [60.5, 300.2]])
    median = jaxcast.series.flow_median(mean)
    np.testing.assert_array_equal(median, np.maximum(stats.poisson.ppf(0.5, mean), 0))
    for dispersion in (0.2, 3.0):
        size = 1 / dispersion
        expected = np.where(mean > 0, stats.nbinom.ppf(0.5, size, size / (size + mean)), 0)
        np.testing.assert_array_equal(jaxcast.series.flow_median(mean, dispersion=dispersion), np.maximum(expected, 0))


def test_the_median_of_counts_keeps_nan_and_refuses_negative_means():
    assert jnp.isnan(jaxcast.series.flow_median(jnp.asarray([jnp.nan]))).all()
    assert jnp.isnan(jaxcast.series.flow_median(jnp.asarray([jnp.nan]), dispersion=1.0)).all()
    with pytest.raises(InputError, match="not negative"):
        jaxcast.series.flow_median(jnp.asarray([-0.1]))
