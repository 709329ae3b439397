"""The scores and choices of the experiments on series; the smoke presets themselves run in .ci/run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from experiments import rows
from experiments.zoo_methods import Zoo, lag_weights, last_period, picked, score, smape


def test_smape_is_the_published_formula():
    truth, forecast = np.asarray([1.0, 2.0, -4.0, 9.0]), np.asarray([2.0, 2.0, 4.0, 0.0])
    np.testing.assert_allclose(smape(forecast, truth), 200 * np.mean([1 / 3, 0, 8 / 8]))
    assert smape(np.asarray([1.0, np.nan, -4.0, 9.0]), truth) == pytest.approx(200 / 3)
    assert smape(np.zeros(3), np.zeros(3)) == 0


def make_zoo():
    time = np.arange(120)
    return Zoo(
        ["slow", "fast"],
        jnp.asarray(np.sin(np.outer([0.1, 0.7], time))),
        jnp.asarray(np.sin(np.outer([0.1, 0.7], time) + 1)),
    )


def test_every_system_gets_the_setting_that_did_best_before_the_test_part():
    """Never shown the test part: runs get no more than the series before it."""
    zoo = make_zoo()
    seen = []

    def run(past, setting):
        seen.append((past.shape[1], np.asarray(setting).tolist()))
        phase = 0 if np.allclose(past, zoo.train[:, : past.shape[1]]) else 1
        return np.sin(np.asarray(setting)[:, None] * np.arange(past.shape[1], past.shape[1] + 20) + phase)

    forecasts = picked(run, zoo, [0.1, 0.4, 0.7])
    np.testing.assert_allclose(forecasts, zoo.test[:, -20:], atol=1e-12)
    tried = [[0.1, 0.1], [0.4, 0.4], [0.7, 0.7]]
    assert seen == [(n, setting) for n in (100, 80) for setting in tried] + [(100, [0.1, 0.7])]


def test_valid_time_ends_at_the_first_large_error():
    zoo = make_zoo()
    forecast = np.array(zoo.test[:, -20:])
    forecast[0, 7] += 2
    forecast[1, 3] = np.nan
    np.testing.assert_array_equal(score(lambda zoo, config: forecast, zoo, None)["valid_time"], [7, 3])
    assert last_period(zoo, None).shape == (2, 20)


def test_lags_span_as_much_of_a_period_at_any_sampling():
    np.testing.assert_array_equal(np.flatnonzero(lag_weights(4, 12, 100)), [0, 12, 24, 36])
    np.testing.assert_array_equal(np.flatnonzero(lag_weights(4, 12, 15)), [0, 2, 4, 6])
    np.testing.assert_array_equal(np.flatnonzero(lag_weights(4, 1, 15)), [0, 1, 2, 3])


def test_rows_are_medians_over_seeds_and_the_table_shows_published_ones():
    scores = {name: np.asarray([[1.0, 4.0], [3.0, 8.0], [9.0, np.nan]]) for name in ("rmse", "mae", "pcc")}
    own = rows.make_rows("ours", (2, 5), scores, sees="20 weeks")
    assert [(row["horizon"], row["rmse"], row["num_seeds"]) for row in own] == [(2, 3.0, 3), (5, None, 3)]
    theirs = rows.published_rows("theirs", {2: 7.5})
    assert theirs[0] == {
        "method": "theirs",
        "horizon": 2,
        "num_seeds": 0,
        "rmse": None,
        "mae": None,
        "pcc": None,
        "published": 7.5,
    }
    assert rows.table([own[0], *theirs], "title", ".1f").row_count == 2


def test_a_sample_of_a_language_model_is_its_steps():
    """One scan writes what a loop of single steps with the same keys would; a cold model writes the likeliest tokens."""
    model = jaxcast.LanguageModel(num_tokens=7, hidden_size=6, num_layers=2, key=jax.random.key(0), dtype=jnp.float64)
    model.read_out.kernel[...] *= 20
    prompt = jnp.asarray([1, 4, 2])
    carry, logits = model(prompt)
    expected = []
    for _ in range(9):
        expected.append(int(jnp.argmax(logits[-1] if logits.ndim == 2 else logits)))
        carry, logits = model.step(carry, jnp.asarray(expected[-1]))
    cold = jaxcast.sample_tokens(model, prompt, 9, temperature=1e-6, key=jax.random.key(3))
    np.testing.assert_array_equal(cold, expected)
    one, again, other = (
        jaxcast.sample_tokens(model, prompt, 9, temperature=5.0, key=jax.random.key(k)) for k in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (np.asarray(one) != np.asarray(other)).any()


def test_cross_entropy_of_chunks_is_that_of_the_text():
    model = jaxcast.LanguageModel(num_tokens=5, hidden_size=6, num_layers=1, key=jax.random.key(0), dtype=jnp.float64)
    seen, followed = jaxcast.text_streams(np.random.default_rng(0).integers(0, 5, 41), 2)
    whole, _ = jaxcast.cross_entropy(model, None, (seen, followed))
    logits = np.asarray(model(seen)[1])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(
        whole, -np.log(np.take_along_axis(p, np.asarray(followed)[..., None], -1)).mean(), rtol=1e-12
    )
    carry, parts = model.init_carry(2), []
    for first in (0, 10):
        loss, carry = jaxcast.cross_entropy(
            model, carry, (seen[:, first : first + 10], followed[:, first : first + 10])
        )
        parts.append(loss)
    np.testing.assert_allclose(np.mean(parts), whole, rtol=1e-12)


def test_bad_prompts_and_texts_are_refused():
    model = jaxcast.LanguageModel(num_tokens=5, hidden_size=6, num_layers=1, key=jax.random.key(0))
    with pytest.raises(jaxcast.InputError, match=r"a positive temperature, got \(2,\), 3 and 0"):
        jaxcast.sample_tokens(model, jnp.asarray([0, 1]), 3, temperature=0, key=jax.random.key(0))
    with pytest.raises(jaxcast.InputError, match="a text of 3 tokens cannot be cut into 3 streams"):
        jaxcast.text_streams([1, 2, 3], 3)
