"""The linear opinion pool with tails: mixtures whose distribution functions are known."""

import numpy as np
import pytest
from scipy import optimize, stats

import jaxcast
from jaxcast import hub

LEVELS = np.asarray([0.01, 0.025, *np.arange(1, 20) / 20, 0.975, 0.99])


@pytest.mark.slow
def test_mixtures_of_normals_are_exact():
    rng = np.random.default_rng(0)
    mean, spread = rng.normal(0, 5, (6, 4)), rng.uniform(0.2, 4, (6, 4))
    weights = rng.dirichlet(np.ones(4), 6)
    quantiles = mean[..., None] + spread[..., None] * stats.norm.ppf(LEVELS)

    def inverse(task, level):
        miss = lambda x: weights[task] @ stats.norm.cdf((x - mean[task]) / spread[task]) - level  # noqa: E731
        return optimize.brentq(miss, -60, 60, xtol=1e-14, rtol=1e-14)

    exact = np.asarray([[inverse(task, level) for level in LEVELS] for task in range(6)])
    np.testing.assert_allclose(hub.mixture_quantiles(quantiles, weights, LEVELS), exact, atol=1e-11)
    rough = hub.mixture_quantiles(quantiles, weights, LEVELS, tails="none")
    assert np.abs(rough - exact).max() > 0.01


def by_hand(x, q, levels, tails):
    """The distribution function of one model at one point."""
    z = stats.norm.ppf(levels)
    if q[0] <= x < q[-1]:
        k = np.flatnonzero(q <= x)[-1]
        way = (x - q[k]) / (q[k + 1] - q[k])
        if tails == "none":
            return levels[k] + way * (levels[k + 1] - levels[k])
        return stats.norm.cdf(z[k] + way * (z[k + 1] - z[k]))
    if tails == "none":
        return float(x >= q[-1])
    i, j = (0, 1) if x < q[0] else (-2, -1)
    if q[i] == q[j]:
        return float(x >= q[-1])
    if tails == "lognormal" and q[i] > 0:
        spread = np.log(q[j] / q[i]) / (z[j] - z[i])
        return stats.lognorm.cdf(x, spread, scale=q[i] / np.exp(spread * z[i])) if x > 0 else 0.0
    spread = (q[j] - q[i]) / (z[j] - z[i])
    return stats.norm.cdf(x, q[i] - spread * z[i], spread)


@pytest.mark.slow
@pytest.mark.parametrize("tails", ["none", "normal", "lognormal"])
def test_mixtures_by_the_definition(tails):
    levels = np.asarray([0.1, 0.3, 0.5, 0.7, 0.9])
    rng = np.random.default_rng(1)
    quantiles = np.sort(rng.integers(0, 12, (40, 3, 5)), -1).astype(float) ** 1.5  # many are equal, some are zero
    weights = rng.dirichlet(np.ones(3), 40)
    mixed = np.asarray(hub.mixture_quantiles(quantiles, weights, levels, tails=tails))
    assert (np.diff(mixed, axis=-1) >= 0).all()
    for task, k in np.ndindex(mixed.shape):
        low, high = (
            sum(a * by_hand(x, q, levels, tails) for a, q in zip(weights[task], quantiles[task], strict=True))
            for x in mixed[task, k] + np.asarray([-1e-9, 1e-9])
        )
        assert low - 1e-8 <= levels[k] <= high + 1e-8


@pytest.mark.slow
def test_weights_count_models_and_absent_ones_do_not():
    rng = np.random.default_rng(2)
    values = np.sort(rng.normal(10, 3, (2, 6, 3, 23)), -1)
    values[0, 1, 2], values[1, 3] = np.nan, np.nan
    truth = np.full((2, 6), 10.0)
    twice = hub.HubForecasts.of(values[:, :, [0, 0, 1, 2]], truth, LEVELS)
    weighted = hub.LinearOpinionPool(tails="normal", weights=np.asarray([2.0, 1.0, 1.0]))
    once = hub.HubForecasts.of(values, truth, LEVELS)
    output = hub.pool_forecasts(weighted, once)
    np.testing.assert_allclose(
        output.forecast, hub.pool_forecasts(hub.LinearOpinionPool(tails="normal"), twice).forecast, atol=1e-11
    )
    np.testing.assert_allclose(output.info["weights"][0, :2], [[0.5, 0.25, 0.25], [2 / 3, 1 / 3, 0]], rtol=1e-12)
    assert np.isnan(output.forecast[1, 3]).all()
    with pytest.raises(jaxcast.InputError, match=r"expected 4 models' weights, got \(3,\)"):
        hub.pool_forecasts(weighted, twice)


@pytest.mark.slow
def test_a_single_level_and_a_single_model_stay_as_they_are():
    np.testing.assert_allclose(hub.mixture_quantiles([[3.0], [5.0], [9.0]], [1.0, 1.0, 1.0], [0.5]), [5.0])
    values = np.sort(np.random.default_rng(3).normal(size=(4, 1, 23)), -1)
    np.testing.assert_allclose(hub.mixture_quantiles(values, np.ones((4, 1)), LEVELS), values[:, 0], atol=1e-12)
    nothing = hub.mixture_quantiles(values, np.zeros((4, 1)), LEVELS)
    assert np.isnan(nothing).all()


def test_the_opinion_pool_is_saved_with_its_weights(tmp_path):
    for pool in (hub.LinearOpinionPool(), hub.LinearOpinionPool("lognormal", np.asarray([1.0, 2.0]))):
        folder = tmp_path / pool.tails
        jaxcast.save_model(folder, pool)
        loaded = jaxcast.load_model(folder).pool
        assert loaded.tails == pool.tails
        if pool.weights is None:
            assert loaded.weights is None
        else:
            np.testing.assert_array_equal(loaded.weights, pool.weights)


@pytest.mark.slow
def test_bad_mixtures_are_refused():
    with pytest.raises(jaxcast.InputError, match="tails"):
        hub.LinearOpinionPool("cauchy")
    with pytest.raises(jaxcast.InputError, match="numbers of at least 0"):
        hub.mixture_quantiles([[1.0], [2.0]], [1.0, -1.0], [0.5])
    with pytest.raises(jaxcast.InputError, match="numbers of at least 0"):
        hub.mixture_quantiles([[1.0], [2.0]], [1.0, np.nan], [0.5])
    with pytest.raises(jaxcast.InputError, match="not finite; give it the weight 0"):
        hub.mixture_quantiles([[1.0, np.nan], [2.0, 3.0]], [0.5, 0.5], [0.25, 0.5])
    absent = hub.mixture_quantiles([[1.0, np.nan], [2.0, 3.0]], [0.0, 0.5], [0.25, 0.5])
    np.testing.assert_allclose(absent, [2.0, 3.0], atol=1e-9)
    with pytest.raises(jaxcast.InputError, match="1 along the axis quantile, where quantiles has 2"):
        hub.mixture_quantiles([[1.0, 2.0]], [1.0], [0.5])
