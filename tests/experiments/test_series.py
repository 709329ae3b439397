"""The scores and choices of the experiments on series; the smoke presets themselves run in .ci/run."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcast
from experiments import rows
from experiments.chaos_zoo import __main__ as chaos_zoo
from experiments.chaos_zoo.methods import Zoo, lag_weights, last_period, picked, score, smape
from experiments.regions import __main__ as regions
from experiments.regions.averages import Candidates, best, network_shares
from experiments.regions.methods import Setup as RegionSetup
from experiments.regions.methods import by_penalty
from experiments.traffic import __main__ as traffic
from experiments.traffic.methods import (
    DAY,
    PENALTIES,
    Learned,
    Method,
    Setup,
    regressions,
    road_inputs,
    usual_day,
    windows_at,
)
from jaxcast.training import TrainingOptions

pytestmark = pytest.mark.slow


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


def test_every_system_gets_the_settings_of_its_training_series():
    zoo = make_zoo()
    # What is forecast is not there to look at.
    hidden = zoo._replace(test=zoo.test.at[:, -20:].set(jnp.nan))
    settings = [0.1, 0.4, 0.7]

    def run(systems, setting):
        """A wave of that frequency goes on from the last two values, with half of its height for 0.4."""
        past, histories = systems
        np.testing.assert_array_equal(histories[:, 0], past[:, -10:])
        values = list(np.moveaxis(np.asarray(histories), -1, 0)[-2:])
        for _ in range(20):
            values.append(2 * np.cos(setting) * values[-1] - values[-2])
        return np.stack(values[2:], -1) * (0.5 if setting == 0.4 else 1)

    np.testing.assert_allclose(picked(run, hidden, settings, num_known=10), zoo.test[:, -20:], atol=1e-10)
    past = zoo.test[:, :-20]
    each = [run((past, past[:, None, -10:]), setting)[:, 0] for setting in settings]
    median = picked(run, hidden, settings, num_known=10, num_best=3)
    np.testing.assert_allclose(median, np.median(each, 0), atol=1e-12)


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
    mae = [own[0], theirs[0] | {"published_mae": 6.0}]
    assert list(rows.table(mae, "title", ".1f", of="mae").columns[1].cells) == ["3.0", "\\[6.0]"]


def make_roads(horizons=(3, 6), length=2016, **changes):
    speeds = 40 + np.random.default_rng(0).normal(size=(length, 3)).cumsum(0) % 30
    config = dataclasses.replace(traffic.PRESETS["smoke"], horizons=horizons, **changes)
    return Setup.of(speeds, np.ones((3, 3)), config)


def test_traffic_is_scored_on_the_published_windows():
    """404 - 12 - H windows inside of the last fifth, all steps to H; the validation part ends where the test part begins."""
    setup = make_roads()
    truth = np.asarray([setup.speeds[k + 12 : k + 18] for k in range(1612, 1612 + 389) if k + 18 <= 2016])
    np.testing.assert_array_equal(setup.targets(setup.whole.asked)[: len(truth)], truth)
    assert len(setup.whole.asked) == 389
    assert setup.whole.train.max() + 6 < 1612
    assert setup.early.asked.max() + 6 < 1612
    assert setup.early.train.max() + 6 < setup.early.asked.min() - 11
    scores = traffic.score(Method(lambda setup, seed: setup.targets(setup.whole.asked) + 2.0), setup)
    np.testing.assert_allclose([scores["rmse"], scores["mae"]], 2.0)
    off = np.zeros((389, 6, 3))
    off[386:, :3] = 1  # the longer horizon has 386 windows
    scores = traffic.score(Method(lambda setup, seed: setup.targets(setup.whole.asked) + off), setup)
    np.testing.assert_allclose(scores["mae"], [[3 / 389, 0]])


def test_a_usual_day_knows_other_working_days_before_the_test_part():
    speeds = np.arange(5.0)[:, None].repeat(DAY, 0) * np.ones((1, 2))
    course = usual_day(speeds, 4 * DAY, (2, 3), 5 * DAY + 12)
    np.testing.assert_allclose(course[::DAY, 0], [1, 0, 0.5, 0.5, 0.5, 0.5])
    changed = usual_day(np.where(np.arange(5 * DAY)[:, None] < 4 * DAY, speeds, 99.0), 4 * DAY, (2, 3), 5 * DAY + 12)
    np.testing.assert_array_equal(course, changed)


def see(setup, stop, newest, sight):
    """Features before they are standardised."""
    windows = windows_at(setup, stop, newest)
    inputs = road_inputs(setup, stop, sight, newest, each_sensor=False)
    return np.asarray(inputs.features(windows.history, windows.covariates))


@pytest.mark.parametrize("sight", ["neighbours", pytest.param("time", marks=pytest.mark.slow)])
def test_traffic_features_know_nothing_of_later_speeds(sight):
    setup = make_roads()
    later = dataclasses.replace(setup, speeds=np.where(np.arange(2016)[:, None] > 1700, 1.0, setup.speeds))
    newest = np.asarray([1650, 1700])
    features = [see(one, one.whole.stop, newest, sight) for one in (setup, later)]
    assert features[0].shape[:2] == (2, 3)
    np.testing.assert_array_equal(*features)


@pytest.mark.parametrize("each_sensor", [True, False])
def test_traffic_regressions_are_ridge_regressions(each_sensor):
    setup = make_roads(horizons=(2,), length=200)
    learned = Learned(160, np.arange(11, 139), np.arange(150, 158))
    got = regressions(setup, learned, "own", lambda size: jaxcast.series.LinearFeatures(), each_sensor=each_sensor)

    def features(newest):
        return see(setup, learned.stop, newest, "own")

    seen, change = features(learned.train), setup.targets(learned.train) - setup.speeds[learned.train, None]
    groups = [[s] for s in range(3)] if each_sensor else [[0, 1, 2]]
    mean, std = (f(seen, 0 if each_sensor else (0, 1)) for f in (np.mean, np.std))
    for group in groups:
        x = ((seen - mean) / std)[:, group].reshape(-1, seen.shape[-1])
        y = np.swapaxes(change, 1, 2)[:, group].reshape(-1, 2)
        asked = ((features(learned.asked) - mean) / std)[:, group]
        gram = (x - x.mean(0)).T @ (x - x.mean(0))
        for p, penalty in enumerate(PENALTIES[3:], 3):
            w = np.linalg.solve(gram + penalty * np.trace(gram) / len(gram) * np.eye(len(gram)), (x - x.mean(0)).T @ y)
            expected = (
                np.swapaxes((asked - x.mean(0)) @ w + y.mean(0), 1, 2) + setup.speeds[learned.asked][:, None, group]
            )
            np.testing.assert_allclose(got[p][:, :, group], np.clip(expected, 0, setup.speeds.max()), rtol=2e-3)


def make_regions():
    config = dataclasses.replace(regions.PRESETS["smoke"], leads=(2, 5))
    return RegionSetup.of(regions._made(config), config)


@pytest.mark.slow
def test_a_refit_learns_from_the_validation_part_and_the_fit_before_does_not():
    """In arrays of one length, so that one program serves both."""
    setup = make_regions()
    parts = setup.parts
    inputs = jaxcast.series.lag_inputs(parts.train, lags=range(3))

    def forecasts(learned):
        return by_penalty(parts, learned, inputs, jaxcast.series.LinearFeatures(), 1.0, predict_change=True)[1]

    early, masked, again = map(forecasts, (parts.train, setup.only_training(parts.known), parts.known))
    np.testing.assert_allclose(early, masked, rtol=1e-6)
    assert abs(again - early).max() > 1e-3
    assert parts.known.rows[parts.known.weights.any(-1)].max() < parts.test.rows[parts.test.weights.any(-1)].min()


def test_an_average_is_of_those_that_forecast_the_validation_part_best():
    parts = make_regions().parts
    truth = np.asarray(parts.valid.targets)
    noise = np.random.default_rng(0).normal(size=(40, *truth.shape)) * np.repeat([0.1, 5.0], 20)[:, None, None, None]
    test, refitted = (np.zeros((40, *parts.test.targets.shape)) + k for k in (1.0, 2.0))
    test[20:] = refitted[20:] = 99
    candidates = Candidates(truth + noise, test, refitted)
    np.testing.assert_array_equal(best(candidates, parts, refitted=False), test[0])
    np.testing.assert_array_equal(best(candidates, parts, refitted=True), refitted[0])


def test_the_share_of_networks_is_what_the_validation_part_asks_for():
    parts = make_regions().parts
    truth, num_leads = np.asarray(parts.valid.targets), len(parts.valid.targets[0])
    noise = np.random.default_rng(0).normal(size=truth.shape)
    off = np.where(np.arange(num_leads) == 0, 0.0, 0.1)[:, None]  # at the first lead networks err alone, later both do
    test = np.zeros((1, *parts.test.targets.shape))
    kernels = Candidates(truth[None] + off * noise, test, test)
    ours = Candidates(truth[None] - 0.1 * noise, test, test)
    np.testing.assert_allclose(network_shares([kernels, kernels], ours, parts), [0] + [0.5] * (num_leads - 1))


def test_the_calendar_tells_the_week_of_the_year_and_nothing_else():
    config = dataclasses.replace(regions.PRESETS["smoke"], leads=(2,), season_length=10.0)
    setup = RegionSetup.of(regions._made(config), config)
    window, calendar = setup.by_seen["window"], setup.by_seen["last_year"]
    size = window.train.history.shape[1]
    np.testing.assert_array_equal(
        window.train.history[-len(calendar.train.history) :], calendar.train.history[:, -size:]
    )
    np.testing.assert_allclose(calendar.train.covariates[0], calendar.train.covariates[10], atol=1e-12)
    newest = calendar.train.rows[3, 0] - 2
    np.testing.assert_allclose(np.arctan2(calendar.train.covariates[3, 2], calendar.train.covariates[3, 0]) % (2 * np.pi),
                               2 * np.pi * newest / 10 % (2 * np.pi), rtol=1e-9)  # fmt: skip


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (regions, {"training": TrainingOptions(num_seeds=0)}, "num_seeds must be positive, got 0"),
        (regions, {"num_settings": -1}, "num_settings must be positive, got -1"),
        (regions, {"training": TrainingOptions(learning_rate=float("nan"))}, "learning_rate must be finite, got nan"),
        (regions, {"split": (0.9, 0.5)}, "split must be two rising shares below 1"),
        (regions, {"split": (0.5, 1.0)}, "split must be two rising shares below 1"),
        (regions, {"leads": (500,)}, "leads must rise and be at most"),
        (regions, {"leads": ()}, "leads must not be empty"),
        (regions, {"leads": (2, 2)}, "leads must rise and be at most"),
        (regions, {"leads": (2, 60)}, "leads must rise and be at most"),
        (regions, {"methods": ("drift", "drift")}, "method 'drift' is named twice"),
        (traffic, {"horizons": (0,)}, "horizons must be positive, got 0"),
        (traffic, {"horizons": (2000,)}, "2000 steps ahead need 2013 or more"),
        (traffic, {"train_share": 1.5}, "the test part has -"),
        (traffic, {"train_share": 0.01}, "the training part has"),
        (chaos_zoo, {"num_starts": 0}, "num_starts must be positive, got 0"),
        (chaos_zoo, {"num_systems": -130}, "num_systems must be positive, got -130"),
        (chaos_zoo, {"seed": -1}, "seed must be zero or more, got -1"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    experiment, changes, message, tmp_path, refused_in_one_line, without_type_checks
):
    config = dataclasses.replace(experiment.PRESETS["smoke"], out=tmp_path / "out", **changes)
    with refused_in_one_line(tmp_path, message):
        experiment.main(config)
