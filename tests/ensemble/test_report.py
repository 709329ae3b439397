import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import jaxcast
from jaxcast.ensemble import categories_of, category_probabilities, error_spread, score_categories, score_ensemble
from tests.ensemble.made import arrays, forecasts


@pytest.mark.slow
def test_scores_are_those_of_numpy():
    values, truth = arrays()
    found = forecasts(values, truth)
    target = np.asarray(found.truth)
    pooled = {"zero": np.zeros((36, 3)), "near": target + 0.5}
    pooled["near"][:5] = np.nan
    spread = {"near": np.full((36, 3), 0.7)}
    blocks = np.arange(36) // 6
    zero, near = score_ensemble(pooled, found, reference="zero", blocks=blocks, spreads=spread)
    by_lead = np.sqrt(np.nanmean(target**2, 0))
    np.testing.assert_allclose(zero["rmse_by_lead"], by_lead)
    assert (zero["ratio"], zero["ratio_ci95"], zero["crps"]) == (1.0, [1.0, 1.0], None)
    assert near["num_cases"] == 31 * 3
    other = np.sqrt(np.mean(target[5:] ** 2, 0)).mean()
    assert np.isclose(near["ratio"], 0.5 / other)  # over the cases that both have
    draws = np.random.default_rng(0).integers(0, 6, (2000, 6))
    ratios = []
    for draw in draws:
        rows = np.concatenate([np.flatnonzero((blocks == block) & (np.arange(36) >= 5)) for block in draw])
        ratios.append(0.5 / np.sqrt((target[rows] ** 2).mean(0)).mean())
    np.testing.assert_allclose(near["ratio_ci95"], np.quantile(ratios, [0.025, 0.975]))
    few = score_ensemble(pooled, found, reference="zero", blocks=np.arange(36) // 9)
    assert [(row["ratio"], row["ratio_ci95"]) for row in few] == [(1.0, None), (near["ratio"], None)]
    z = -0.5 / 0.7
    crps = 0.7 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    assert np.isclose(near["crps"], crps)
    assert (near["coverage50"], near["coverage90"]) == (0.0, 1.0)  # |z| is 0.71


@pytest.mark.slow
def test_categories_take_their_bounds():
    values = jnp.asarray([-0.6, -0.5, -0.499, 0.499, 0.5, jnp.nan])
    np.testing.assert_array_equal(categories_of(values, (-0.5, 0.5)), [0, 0, 1, 1, 2, np.nan])
    np.testing.assert_array_equal(categories_of(jnp.asarray([0.0, 1.0]), (1.0,)), [0, 1])
    found = category_probabilities(jnp.asarray([0.3]), jnp.asarray([2.0]), (-0.5, 0.5))[0]
    np.testing.assert_allclose(found, np.diff(norm.cdf([-np.inf, -0.4, 0.1, np.inf])), rtol=1e-6)


@pytest.mark.slow
def test_ranked_probability_scores_are_those_of_numpy():
    values, truth = arrays()
    found = forecasts(values, truth)
    pooled, spread = np.full((36, 3), 0.2), np.full((36, 3), 1.3)
    pooled[3] = np.nan
    scores = score_categories(pooled, spread, found, (-0.5, 0.5))
    below = norm.cdf((np.asarray([-0.5, 0.5]) - 0.2) / 1.3)
    target = np.asarray(found.truth)
    expected = (below[0] - (target <= -0.5)) ** 2 + (below[1] - (target < 0.5)) ** 2
    assert np.isnan(scores[3]).all()
    np.testing.assert_allclose(np.delete(scores, 3, 0), np.delete(expected, 3, 0), rtol=1e-6)


def test_spread_is_that_of_the_errors_by_lead_and_season():
    rng = np.random.default_rng(0)
    num_issues = 600
    season = np.arange(num_issues + 2) % 12
    scale = np.where(season < 6, 1.0, 1.6)
    truth = scale * rng.normal(size=num_issues + 2)
    found = jaxcast.ensemble.EnsembleForecasts.of(
        np.zeros((num_issues, 1, 2)), truth, leads=(0, 1), seasons=season, num_seasons=12
    )
    spread = np.asarray(jax.jit(error_spread)(jnp.zeros((num_issues, 2)), found))
    of_target = scale[np.arange(num_issues)[:, None] + np.arange(2)]
    ratio = (spread / of_target)[400:]
    middle = np.isin(np.arange(400, num_issues) % 12, (2, 3))  # seasons far from a change
    assert np.abs(ratio[middle] - 1).max() < 0.3
    assert spread[400:].max() / spread[400:].min() > 1.3
    inside = np.abs(truth[np.arange(num_issues)]) <= 1.645 * spread[:, 0]
    assert 0.87 < inside[200:].mean() < 0.94
