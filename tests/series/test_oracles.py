"""Forecasters of several series against what their equations say, with numbers in which a slip would show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.numerics.levels import rising_quantiles
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output

NAN = np.nan


@pytest.fixture(scope="module")
def values():
    """Positive and of unlike sizes."""
    rng = np.random.default_rng(0)
    return np.exp(0.5 * rng.normal(size=(40, 3))) * [1.0, 5.0, 20.0]


@pytest.fixture(scope="module")
def samples(values):
    return jaxcast.series.series_windows(values, history_size=6, leads=(1, 3))


def test_scores_are_weighted_means_over_samples_and_regions(samples):
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.5, 2, size=samples.targets.shape) * (np.asarray(samples.weights) > 0)
    weighted = samples._replace(weights=jnp.asarray(weights))
    forecasts = np.asarray(samples.targets) + rng.normal(size=samples.targets.shape)
    scores = jaxcast.series.errors_by_lead(jnp.asarray(forecasts), weighted)
    for k in range(2):
        w, f, t = (np.asarray(a)[:, k].ravel() for a in (weights, forecasts, samples.targets))
        np.testing.assert_allclose(scores.rmse[k], np.sqrt(np.average((f - t) ** 2, weights=w)), rtol=1e-12)
        np.testing.assert_allclose(scores.mae[k], np.average(abs(f - t), weights=w), rtol=1e-12)
        covariance = np.cov(f, t, aweights=w, ddof=0)
        expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
        np.testing.assert_allclose(scores.pcc[k], expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (jaxcast.series.LastValue((1, 3)), [9, 9]),
        (jaxcast.series.HistoryMean((1, 3)), [13 / 3, 13 / 3]),
        (jaxcast.series.Drift((1, 3)), [13, 17]),  # from 1 to 9 in four steps, the newest of which is a step old
        (jaxcast.series.SeasonalLastValue((1, 3), 4), [3, 9]),
        (jaxcast.series.SeasonalLastValue((2, 6), 4), [9, 9]),  # unknown a season before, so the last known
    ],
)
def test_naive_forecasts_of_a_series_with_gaps(model, expected):
    history = jnp.asarray([1.0, NAN, 3.0, NAN, 9.0, NAN])[:, None]
    np.testing.assert_allclose(model(history).forecast[:, 0], expected)


@pytest.mark.slow
def test_random_cosines_are_a_gaussian_kernel_and_a_line():
    size, bandwidth, linear = 3, 1.5, 0.7
    expansion = jaxcast.series.random_fourier_features(
        size, 40_000, bandwidth=bandwidth, linear=linear, key=jax.random.key(0)
    )
    x, y = jnp.asarray([[0.2, -0.5, 1.0], [0.9, 0.1, 0.3]])
    expected = size * np.exp(-(bandwidth**2) * np.sum((x - y) ** 2) / (2 * size)) + linear**2 * (x @ y)
    assert float(expansion(x) @ expansion(y)) == pytest.approx(float(expected), abs=0.05)
    assert expansion(x).shape == (40_000 + size,)
    np.testing.assert_allclose(jaxcast.series.PolynomialFeatures(2)(jnp.asarray([2.0, 3.0])), [2, 3, 4, 6, 9])


@pytest.mark.slow
@pytest.mark.parametrize("level", ["series", "window"])
def test_lags_of_groups_are_scaled_averaged_transformed_and_standardised(values, level):
    """In this order; with a level of its own a window is divided by its mean first, whose logarithm is one feature more."""
    extra = np.linspace(-2, 2, 40)[:, None]
    samples = jaxcast.series.series_windows(values, history_size=6, leads=(1,), newest_covariates=extra)
    neighbour_weights = jaxcast.series.neighbour_weights(
        3, np.asarray([[0, 1, 3], [1, 0, 0], [3, 0, 0]]), everyone=True
    )
    inputs = jaxcast.series.lag_inputs(
        samples, lags=(0, 4), neighbour_weights=neighbour_weights, transform="sqrt", level=level, covariates_scale=0.5
    )
    window = inputs(samples.history, samples.covariates)
    history = np.asarray(samples.history)
    std = history.reshape(-1, 3).std(0)
    mixed = np.einsum("rms,nls->nrml", neighbour_weights, history / std)
    mean = mixed.mean(-1, keepdims=True) + 0.05
    mixed = mixed / mean if level == "window" else mixed
    raw = np.sqrt(mixed[..., [5, 1]]).reshape(len(history), 3, -1)
    if level == "window":
        raw = np.concatenate([raw, np.log(mean[..., 0])], -1)
    flat = raw.reshape(-1, raw.shape[-1])
    standard = (raw - flat.mean(0)) / flat.std(0)
    covariates = np.broadcast_to(0.5 * np.asarray(samples.covariates)[:, None], (len(raw), 3, 1))
    np.testing.assert_allclose(window.features, np.concatenate([standard, covariates], -1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(window.newest, history[:, -1], rtol=1e-12)
    own = mean[..., 0, 0] if level == "window" else np.ones((len(raw), 3))
    np.testing.assert_allclose(window.scale, std * own, rtol=1e-9)


@pytest.mark.slow
def test_principal_components_of_all_windows_have_the_size_asked_for(samples):
    inputs = jaxcast.series.lag_inputs(samples, lags=range(6), num_components=2, components_scale=0.3)
    found = np.asarray(inputs(samples.history).features)[..., 6:]
    assert (found == found[:, :1]).all()  # all regions see the same
    history = np.asarray(samples.history)
    scaled = (history / history.reshape(-1, 3).std(0)).reshape(len(history), -1)
    left, *_ = np.linalg.svd(scaled - scaled.mean(0), full_matrices=False)
    np.testing.assert_allclose(found[:, 0].std(0), 0.3, rtol=1e-6)
    off = found[:, 0] - found[:, 0].mean(0)
    np.testing.assert_allclose(abs(left[:, :2].T @ off) / 0.3 / np.sqrt(len(off)), np.eye(2), atol=1e-6)


def test_neighbours_count_by_their_closeness_and_a_lonely_region_sees_itself_again():
    adjacency = np.asarray([[9, 1, 3, 0], [1, 9, 0, 0], [3, 0, 9, 0], [0, 0, 0, 9.0]])
    neighbour_weights = jaxcast.series.neighbour_weights(4, adjacency)
    np.testing.assert_allclose(neighbour_weights[:, 1], [[0, 0.25, 0.75, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(jaxcast.series.neighbour_weights(3, everyone=True)[:, 1], 1 / 3)


def small(network, samples, **options):
    return network(samples, hidden_size=3, kind="gru", key=jax.random.key(1), dtype=jnp.float64, **options)


def test_distances_between_levels_are_softplus_of_their_own_numbers():
    steps = np.asarray([0.4, -1.0, 7.0, 2.0, -3.0])
    gap = np.log1p(np.exp(steps))
    expected = [7 - gap[1] - gap[0], 7 - gap[1], 7, 7 + gap[3], 7 + gap[3] + gap[4]]
    np.testing.assert_allclose(rising_quantiles(jnp.asarray(steps), 2), expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("network", [jaxcast.series.HierarchicalNetwork, jaxcast.series.GlobalNetwork])
def test_a_key_drops_between_layers_and_none_does_not(samples, network):
    model, whole = (small(network, samples, num_layers=2, dropout=dropout) for dropout in (0.5, 0.0))
    inputs = jnp.stack([samples.history[:2], jnp.ones((2, 6, 3))], -1)
    run = jax.jit(lambda model, key: model.encode(inputs, key)[0])
    plain = run(model, None)
    dropped = [run(model, jax.random.key(seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert (abs(dropped[0] - dropped[2]) > 1e-9).any()
    assert (abs(dropped[0] - plain) > 1e-9).any()
    np.testing.assert_allclose(plain, run(whole, None), rtol=1e-12)


def test_shifts_are_quantiles_of_errors_in_the_regions_own_sizes():
    """Whose size is the mean of its errors and of five of the usual size, in units of std."""
    rng = np.random.default_rng(2)
    std, num = np.asarray([1.0, 10.0]), 9
    errors = rng.normal(size=(num, 1, 2)) * [1.0, 50.0] + 0.2
    weights = np.ones(errors.shape)
    weights[:3, 0, 1] = 0
    samples = jaxcast.series.series_windows(np.zeros((num + 1, 2)), history_size=1, leads=(1,))
    samples = samples._replace(targets=jnp.asarray(errors * weights), weights=jnp.asarray(weights))
    levels = (0.2, 0.5, 0.8)
    ours = jaxcast.series.conformal_shifts(np.zeros((num, 1, 2, 1)), samples, levels=levels, std=std)
    off, known = abs(errors * weights)[:, 0], weights[:, 0] > 0
    usual = (off / std).sum() / known.sum()
    size = (off.sum(0) + 5 * usual * std) / (known.sum(0) + 5)
    relative = np.sort((errors[:, 0] / size)[known])
    at = np.asarray(levels) * (len(relative) + 1) - 1  # k / (n + 1), linear between
    quantiles = np.interp(at, np.arange(len(relative)), relative)
    np.testing.assert_allclose(ours[0], size[:, None] * quantiles, rtol=1e-12)


@pytest.mark.slow
def test_usual_changes_are_those_of_windows_that_are_learned_from():
    values = np.concatenate([np.arange(6.0), 1000.0 * np.arange(6)])[:, None]
    learned = jaxcast.series.series_windows(values, history_size=3, leads=(1,), stop=5)
    everything = jaxcast.series.series_windows(values, history_size=3, leads=(1,))
    weights = jnp.where(jnp.asarray(everything.rows)[..., None] < 5, everything.weights, 0)
    np.testing.assert_allclose(jaxcast.series.typical_change(learned), [1.0])
    np.testing.assert_allclose(jaxcast.series.typical_change(everything._replace(weights=weights)), [1.0])


class Told(jaxcast.series.WindowForecaster, FrozenPytree):
    """Its point forecast is what is given."""

    leads: tuple = static(default=(1,))

    @property
    def signature(self):
        return jaxcast.series.WindowSignature(len(self.leads), leads=self.leads)

    def __call__(self, history, covariates=None):
        return Output(jnp.broadcast_to(covariates[..., None, :1], (*history.shape[:-2], 1, history.shape[-1])), {})


def test_a_calibrated_forecaster_is_its_equation():
    history = jnp.asarray([[0.0, 0.0], [4.0, 1.0], [0.0, 2.0]])  # moves by 4 and by 1 a step
    model = jaxcast.series.CalibratedForecaster(
        Told(), jnp.asarray([[[3.0, -2.0, 1.0], [-1.0, 0.0, 2.0]]]), jnp.asarray([10.0]), jnp.asarray([4.0]),
        levels=(0.1, 0.4, 0.9), lower=-1.5, usual_change=jnp.asarray([1.0, 4.0]), width_power=0.5,
    )  # fmt: skip
    output = model(history, jnp.asarray([14.0]))  # one, standardised
    widths = np.sqrt([4.0, 0.25])
    expected = [np.sort(1 + widths[0] * np.asarray([3, -2, 1])), 1 + widths[1] * np.asarray([-1, 0, 2])]
    np.testing.assert_allclose(output.info["quantiles"][0], np.maximum(expected, -1.5), rtol=1e-12)
    np.testing.assert_allclose(output.forecast[0], [expected[0][1], expected[1][1]], rtol=1e-12)
