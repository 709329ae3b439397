import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxcast

LEVELS = np.asarray([0.01, 0.025, *np.arange(1, 20) / 20, 0.975, 0.99])
PAPER = np.asarray([level for level in LEVELS if min(abs(level - 0.1), abs(level - 0.9)) > 1e-9])


def tasks(levels, seed=0, shape=(40, 7)):
    rng = np.random.default_rng(seed)
    forecast = np.sort(rng.normal(50, 30, (*shape, len(levels))), -1)
    return forecast, rng.normal(50, 40, shape)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [LEVELS, PAPER, LEVELS[LEVELS != 0.5], np.asarray([0.5]), np.asarray([0.1, 0.9])])
def test_wis_is_twice_the_mean_pinball_loss_and_the_sum_of_its_parts(levels):
    forecast, truth = tasks(levels)
    score = jaxcast.scores.weighted_interval_score(forecast, truth, levels)
    loss = jaxcast.scores.pinball_loss(forecast, truth, levels)
    np.testing.assert_allclose(score.wis, 2 * loss.mean(-1), rtol=1e-12)
    np.testing.assert_allclose(score.wis, score.dispersion + score.overprediction + score.underprediction, rtol=1e-12)
    assert min(float(part.min()) for part in score) >= 0


@pytest.mark.parametrize("levels", [LEVELS, PAPER])
def test_wis_by_the_formula_over_intervals(levels):
    forecast, truth = tasks(levels)
    num_intervals = len(levels) // 2
    expected = np.abs(truth - forecast[..., num_intervals]) / 2
    for k in range(num_intervals):
        lower, upper, alpha = forecast[..., k], forecast[..., -1 - k], 2 * levels[k]
        interval = upper - lower
        interval += 2 / alpha * (lower - truth) * (truth < lower) + 2 / alpha * (truth - upper) * (truth > upper)
        np.testing.assert_allclose(jaxcast.scores.interval_score(lower, upper, truth, alpha), interval)
        expected += alpha / 2 * interval
    actual = jaxcast.scores.weighted_interval_score(forecast, truth, levels).wis
    np.testing.assert_allclose(actual, expected / (num_intervals + 0.5), rtol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("levels", [LEVELS, PAPER])
def test_parity_with_scoringrules(levels):
    scoringrules = pytest.importorskip("scoringrules")
    forecast, truth = tasks(levels)
    num_intervals = len(levels) // 2
    lower, median, upper = forecast[..., :num_intervals], forecast[..., num_intervals], forecast[..., :num_intervals:-1]
    alpha = 2 * levels[:num_intervals]
    peer = scoringrules.weighted_interval_score(truth, median, lower, upper, alpha)
    ours = jaxcast.scores.weighted_interval_score(forecast, truth, levels).wis
    np.testing.assert_allclose(ours, peer, rtol=1e-10)
    np.testing.assert_allclose(
        jaxcast.scores.pinball_loss(forecast, truth, levels),
        scoringrules.quantile_score(truth[..., None], forecast, levels),
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        jaxcast.scores.interval_score(lower[..., 3], upper[..., 3], truth, alpha[3]),
        scoringrules.interval_score(truth, lower[..., 3], upper[..., 3], alpha[3]),
        rtol=1e-10,
    )


def test_of_many_quantiles_wis_becomes_the_crps():
    levels = (np.arange(2001) + 0.5) / 2001
    truth = np.linspace(-3, 3, 13)
    forecast = np.broadcast_to(stats.norm.ppf(levels), (13, 2001))
    crps = truth * (2 * stats.norm.cdf(truth) - 1) + 2 * stats.norm.pdf(truth) - 1 / np.sqrt(np.pi)
    np.testing.assert_allclose(jaxcast.scores.weighted_interval_score(forecast, truth, levels).wis, crps, atol=1e-3)


def test_the_log_scale_scores_growth():
    levels = np.asarray([0.25, 0.5, 0.75])
    score = jaxcast.scores.weighted_interval_score(np.asarray([1.0, 3.0, 7.0]), -5.0, levels, scale="log")
    logs = np.log1p([1.0, 3.0, 7.0])
    expected = jaxcast.scores.weighted_interval_score(logs, 0.0, levels)  # negative truth counts as zero
    np.testing.assert_allclose(score, expected)


def test_what_is_missing_is_nan_and_touches_nothing_else():
    forecast, truth = tasks(LEVELS)
    whole = jaxcast.scores.weighted_interval_score(forecast, truth, LEVELS)
    forecast[3, 2], truth[5, 1] = np.nan, np.nan
    score = jaxcast.scores.weighted_interval_score(forecast, truth, LEVELS)
    gone = np.zeros(truth.shape, bool)
    gone[3, 2] = gone[5, 1] = True
    for part, all_parts in zip(score, whole, strict=True):
        assert (np.isnan(np.asarray(part)) == gone).all()
        np.testing.assert_array_equal(np.asarray(part)[~gone], np.asarray(all_parts)[~gone])
    covered = jaxcast.scores.interval_coverage(forecast, truth, LEVELS, nominal=0.5)
    assert (np.isnan(np.asarray(covered)) == gone).all()


def test_coverage_of_a_true_distribution():
    rng = np.random.default_rng(1)
    forecast = np.broadcast_to(stats.norm.ppf(LEVELS), (20000, len(LEVELS)))
    for nominal in (0.5, 0.9, 0.95):
        covered = jaxcast.scores.interval_coverage(forecast, rng.normal(size=20000), LEVELS, nominal=nominal)
        assert abs(float(covered.mean()) - nominal) < 0.01


def test_tasks_without_truth_or_forecast_have_no_score_however_many_there_are():
    rng = np.random.default_rng(7)
    forecast, truth = np.sort(rng.normal(size=(5000, len(LEVELS))), -1), rng.normal(size=5000)
    truth[::2], forecast[1::4, 0] = np.nan, np.nan
    missing = np.isnan(truth) | np.isnan(forecast).any(-1)
    for scale in ("natural", "log"):
        for part in jaxcast.scores.weighted_interval_score(forecast, truth, LEVELS, scale=scale):
            np.testing.assert_array_equal(np.isnan(part), missing)


@pytest.mark.slow
def test_relative_score_by_a_loop_over_pairs():
    rng = np.random.default_rng(2)
    scores = rng.uniform(1, 5, (60, 4))
    scores[rng.random((60, 4)) < 0.4] = np.nan
    result = jaxcast.scores.relative_score(scores, baseline=3)
    theta = []
    for i in range(4):
        ratios = []
        for j in range(4):
            common = ~np.isnan(scores[:, i]) & ~np.isnan(scores[:, j])
            assert int(result.num_common[i, j]) == common.sum()
            ratios.append(scores[common, i].mean() / scores[common, j].mean())
        theta.append(np.prod(ratios) ** 0.25)
    np.testing.assert_allclose(result.relative, np.asarray(theta) / theta[3], rtol=1e-10)


@pytest.mark.slow
def test_a_model_without_common_tasks_has_no_relative_score():
    scores = np.asarray([[1.0, np.nan, 2.0], [np.nan, 5.0, np.nan]])
    relative = jaxcast.scores.relative_score(scores).relative
    assert np.isnan(float(relative[1]))
    np.testing.assert_allclose(relative[::2], [0.5**0.5, 2**0.5])


def test_diebold_mariano_of_one_step_is_a_t_test():
    rng = np.random.default_rng(3)
    first, second = rng.normal(0.2, 1, (25, 1)), rng.normal(0, 1, (25, 1))
    ours = jaxcast.scores.diebold_mariano(first, second)
    peer = stats.ttest_1samp((first - second)[:, 0], 0)
    # With the factor of Harvey et al. at h = 1 it is Student's test to the letter.
    np.testing.assert_allclose([ours.statistic, ours.p_value], [peer.statistic, peer.pvalue], rtol=1e-6)


def test_diebold_mariano_at_a_longer_horizon_allows_for_what_overlaps():
    rng = np.random.default_rng(4)
    shocks = rng.normal(0, 1, 63)
    d = (shocks[:60] + shocks[1:61] + shocks[2:62] + shocks[3:63])[:, None] + 1
    naive = jaxcast.scores.diebold_mariano(d, np.zeros_like(d), horizon=1)
    honest = jaxcast.scores.diebold_mariano(d, np.zeros_like(d), horizon=4)
    assert honest.p_value > naive.p_value
    c = d[:, 0] - d.mean()
    variance = sum((1 if k == 0 else 2) * (c[k:] @ c[: 60 - k]) / 60 for k in range(4))
    expected = d.mean() / np.sqrt(variance / 60) * np.sqrt((61 - 8 + 12 / 60) / 60)
    np.testing.assert_allclose(honest.statistic, expected)


def test_only_common_tasks_are_compared():
    rng = np.random.default_rng(5)
    first, second = rng.uniform(1, 2, (2, 30, 5))
    first[4], second[7, 2] = np.nan, np.nan
    test = jaxcast.scores.diebold_mariano(first, second)
    assert (test.num_weeks, test.num_tasks) == (29, 144)
    result = jaxcast.scores.block_bootstrap(first, second, key=jax.random.key(0), num_resamples=200)
    common = ~np.isnan(first) & ~np.isnan(second)
    np.testing.assert_allclose(result.ratio, first[common].mean() / second[common].mean())
    assert result.low < result.ratio < result.high


def test_the_interval_of_the_bootstrap_widens_with_what_weeks_have_in_common():
    rng = np.random.default_rng(6)
    weekly = np.repeat(rng.normal(0, 0.3, 16), 5)[:, None]
    second = np.ones((80, 3))
    widths = []
    for block_size in (1, 10):
        result = jaxcast.scores.block_bootstrap(
            1 + weekly * second, second, key=jax.random.key(0), block_size=block_size
        )
        widths.append(result.high - result.low)
    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jaxcast.scores.pinball_loss(np.zeros(3), 0.0, np.asarray([0.1, 0.9])), "quantile"),
        (lambda: jaxcast.scores.pinball_loss(np.zeros(2), 0.0, np.asarray([0.9, 0.1])), "increase"),
        (lambda: jaxcast.scores.weighted_interval_score(np.zeros(2), 0.0, np.asarray([0.1, 0.8])), "symmetric"),
        (lambda: jaxcast.scores.weighted_interval_score(np.zeros(2), 0.0, jnp.asarray([0.5, 0.9])), r"\[0.5, 0.9\]"),
        (
            lambda: jaxcast.scores.weighted_interval_score(np.zeros(2), 0.0, np.asarray([0.1, 0.9]), scale="root"),
            "natural",
        ),
        (
            lambda: jaxcast.scores.interval_coverage(np.zeros(2), 0.0, np.asarray([0.1, 0.9]), nominal=0.5),
            "0.25 and 0.75",
        ),
        (lambda: jaxcast.scores.relative_score(np.zeros((3, 2)), baseline=2), "baseline"),
        (lambda: jaxcast.scores.diebold_mariano(np.zeros((2, 1)), np.zeros((2, 1))), "dates"),
        (lambda: jaxcast.scores.diebold_mariano(np.zeros((9, 1)), np.zeros((9, 1)), horizon=0), "horizon must be at"),
        (lambda: jaxcast.scores.block_bootstrap(np.zeros((2, 1)), np.zeros((2, 1)), key=jax.random.key(0)), "dates"),
    ],
)
def test_bad_input_is_one_line(call, message, without_type_checks):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_scores_differentiate_and_keep_their_dtype():
    forecast, truth = tasks(LEVELS, shape=(3,))
    gradient = jax.grad(lambda f: jaxcast.scores.weighted_interval_score(f, truth, LEVELS).wis.sum())(
        jnp.asarray(forecast)
    )
    expected = 2 / len(LEVELS) * ((truth[:, None] < forecast) - LEVELS)
    np.testing.assert_allclose(gradient, expected, atol=1e-12)
    assert jaxcast.scores.weighted_interval_score(forecast.astype(np.float32), truth, LEVELS).wis.dtype == jnp.float32
