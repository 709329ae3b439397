"""Small exact answers, in which a flipped sign, a dropped term, another default or a leak would show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from jaxcast.pooling.corrected import Features


def hub_forecasts(forecasts, truth, levels, **options):
    return jaxcast.hub.HubForecasts.of(
        np.asarray(forecasts, float), np.asarray(truth, float), np.asarray(levels), **options
    )


@pytest.mark.slow
@pytest.mark.parametrize(("trim", "expected"), [(0.0, 21.0), (0.25, 3.5), (0.4, 3.5), (0.1, 14 / 4)])
def test_a_trimmed_mean_leaves_out_the_nearest_whole_number_of_models(trim, expected):
    """Of six: round(0.25 * 6) = 2 at either end, not 1; round(0.1 * 6) = 1."""
    models = np.asarray([1.0, 2, 3, 4, 5, 111])
    pooled = jaxcast.hub.pool_forecasts(
        jaxcast.hub.TrimmedMean(trim), hub_forecasts(models.reshape(1, 1, 6, 1), [[3.0]], [0.5])
    ).forecast
    assert float(pooled[0, 0, 0]) == pytest.approx(expected)


def test_a_linear_regression_reports_the_mean_of_what_each_candidate_counts_for():
    weights = jnp.arange(12.0).reshape(2, 3, 2)
    output = jaxcast.pooling.LinearRegression(weights, jnp.asarray([1.0, -1.0]))(None, jnp.ones((3, 2)))
    np.testing.assert_allclose(
        output.info["weights"], [(w[0] + w[3]) / 2 for w in ([0, 0, 0, 7], [2, 0, 0, 9], [4, 0, 0, 11])]
    )
    np.testing.assert_allclose(output.forecast, [15 + 1, 51 - 1])


@pytest.mark.slow
def test_another_origin_moves_a_regressions_bias_alone():
    rng = np.random.default_rng(0)
    forecasts, targets = rng.normal(size=(40, 2, 1)), rng.normal(size=(40, 1))
    for fit in (jaxcast.pooling.fit_linear_regression, lambda f, t: jaxcast.pooling.fit_ridge(f, t, penalty=5.0)):
        one, other = (
            fit(jnp.asarray(forecasts), jnp.asarray(targets)),
            fit(jnp.asarray(forecasts + 7), jnp.asarray(targets + 100)),
        )
        np.testing.assert_allclose(one.weights, other.weights, rtol=1e-9)
        shift = 100 - 7 * float(one.weights.sum())
        np.testing.assert_allclose(other.bias - one.bias, [shift], rtol=1e-9)


def test_a_ridge_is_that_of_the_normal_equations():
    rng = np.random.default_rng(1)
    forecasts, targets = rng.normal(size=(30, 3, 1)), rng.normal(size=(30, 1))
    x, y = forecasts[..., 0] - forecasts[..., 0].mean(0), targets - targets.mean(0)
    expected = np.linalg.solve(x.T @ x + 4.0 * np.eye(3), x.T @ y)
    found = jaxcast.pooling.fit_ridge(jnp.asarray(forecasts), jnp.asarray(targets), penalty=4.0)
    np.testing.assert_allclose(found.weights[0, :, 0], expected[:, 0], rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("miss", "position"), [(0.5, -0.5), (1.15, -1.15), (5.0, -1.2), (-5.0, 1.2)])
def test_an_interpolation_reaches_a_fifth_beyond_its_candidates(miss, position):
    pool = jaxcast.pooling.RegimeInterpolation(jnp.asarray([[-1.0], [1.0]]), jnp.ones(1), num_delays=1)
    errors = jnp.asarray([[[-1.0 + miss], [1.0 + miss]]])
    output = pool(jaxcast.pooling.Memory(jnp.zeros((1, 1)), errors), jnp.zeros((2, 1)))
    assert float(output.info["position"][0]) == pytest.approx(position, abs=1e-5)
    np.testing.assert_allclose(output.info["weights"], [0.5 - position / 2, 0.5 + position / 2], atol=1e-5)


def test_the_first_candidate_is_never_above_the_last_along_a_direction():
    states = jnp.linspace(1, 2, 12)[:, None]
    for order in ((1.0, 2.0, 3.0), (3.0, 2.0, 1.0)):
        forecasts = states[:, None] * jnp.asarray(order)[:, None]
        samples = jaxcast.pooling.OneStepSamples(
            jaxcast.pooling.Memory(states[:, None], jnp.zeros((12, 1, 3, 1))), forecasts, states
        )
        directions = jaxcast.pooling.fit_regime_interpolation(samples).directions[:, 0]
        np.testing.assert_allclose(directions, [-1, 0, 1], atol=1e-6)


def test_a_correction_holds_features_a_tenth_beyond_their_range_and_stretches_the_infos_alone():
    features = Features(jnp.asarray([1.0, 0.0]), jnp.asarray([2.0, 4.0]), jnp.asarray(0.5), ("position",))
    seen = lambda state, position: features(jnp.asarray([state]), {"position": jnp.asarray([position])}).tolist()  # noqa: E731
    assert seen(2.0, 2.0) == pytest.approx([0.5, 0.25])
    assert seen(100.0, -100.0) == pytest.approx([1.1, -0.55])


def switching(known):
    """The weights of two candidates before the last of three values, at each of which the second alone is right."""
    pool = jaxcast.pooling.FixedShare(0.2, jnp.ones(1))
    memory = pool.init(jnp.zeros(1), jnp.zeros((2, 1)))
    for flag in known:
        memory = pool.observe(memory, jaxcast.Input(jnp.zeros(1), flag), jnp.asarray([[3.0], [0.0]]))
    return np.exp(np.asarray(memory.log_weights))


@pytest.mark.slow
def test_a_forecast_is_verified_only_where_it_began_and_ended_at_the_truth():
    """By hand: odds e^(-9/2) of the first, then mixed by the share of 0.2."""
    first = np.exp(-4.5) / (1 + np.exp(-4.5))
    mixed = 0.8 * first + 0.2 * (1 - first)
    np.testing.assert_allclose(switching([True]), [0.5, 0.5])
    np.testing.assert_allclose(switching([True, True]), [mixed, 1 - mixed], rtol=1e-6)
    np.testing.assert_allclose(switching([False, True]), [0.5, 0.5])
    np.testing.assert_allclose(switching([True, False]), [0.5, 0.5])


@pytest.mark.slow
def test_a_candidate_that_has_diverged_is_out_of_the_question():
    pool = jaxcast.pooling.FixedShare(0.1, jnp.ones(1))
    memory = pool.init(jnp.zeros(1), jnp.zeros((2, 1)))
    for pending in (0.0, jnp.inf, jnp.nan):
        memory = pool.observe(memory, jaxcast.Input(jnp.zeros(1), True), jnp.asarray([[pending], [0.0]]))
    np.testing.assert_allclose(np.exp(memory.log_weights), [0.1, 0.9], rtol=1e-6)


@pytest.mark.slow
def test_cold_text_is_the_likeliest_token_each_time():
    model = jaxcast.text.LanguageModel(num_tokens=6, hidden_size=5, num_layers=1, key=jax.random.key(3))
    written = jaxcast.text.sample_tokens(model, [0, 1], 8, temperature=1e-4, key=jax.random.key(1))
    tokens, expected = [0, 1], []
    for _ in range(8):
        _, logits = model(jnp.asarray(tokens + expected))
        expected.append(int(jnp.argmax(logits[-1])))
    assert written.tolist() == expected


def test_scales_of_a_network_are_subtracted_and_divided_by():
    pool = jaxcast.pooling.ComponentAttention(
        dim=2, num_models=2, num_delays=1, hidden_sizes=(3,), errors="all", key=jax.random.key(0),
        scales=jaxcast.pooling.Standardizer(jnp.asarray([1.0, 2]), jnp.asarray([2.0, 4]), jnp.asarray([0.5, 0.25])),
    )  # fmt: skip
    memory = jaxcast.pooling.Memory(jnp.asarray([[3.0, 4.0]]), jnp.asarray([[[1.0, 1.0], [2.0, -1.0]]]))
    np.testing.assert_allclose(pool.inputs(memory), [1.0, 0.5, 2, 4, 4, -4])
