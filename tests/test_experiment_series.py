"""The scores and choices of the experiments on series; the smoke presets themselves run in .ci/run."""

import jax.numpy as jnp
import numpy as np
import pytest

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


def test_every_system_gets_the_setting_of_its_training_series():
    zoo = make_zoo()
    seen = []

    def run(past, setting):
        seen.append(np.asarray(setting))
        phase = 0 if np.allclose(past, zoo.train[:, :-20]) else 1
        return np.sin(np.asarray(setting)[:, None] * np.arange(100, 120) + phase)

    forecasts = picked(run, zoo, [0.1, 0.4, 0.7])
    np.testing.assert_allclose(forecasts, zoo.test[:, -20:], atol=1e-12)
    np.testing.assert_array_equal(seen, [[0.1, 0.1], [0.4, 0.4], [0.7, 0.7], [0.1, 0.7]])


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
