"""Parts, windows, forms and scores of the experiment on trips between zones."""

import dataclasses
import json
import warnings

import jax
import numpy as np
import pytest

from experiments.od import __main__ as od
from experiments.od import networks, pictures, scores
from experiments.od.data import JAPAN, Protocol, Setup, Trips, made_trips, read_trips
from experiments.od.methods import PairInputs, average, least_squares, slot_mean
from jaxcast import InputError

SMOKE = od.PRESETS["smoke"]


def made(protocol, num_rows, start=0.0, first_slot=0, zones=2):
    values = start + np.arange(num_rows, dtype=np.float32)[:, None] + np.zeros(zones**2, np.float32)
    return Trips("made", values, tuple("abc"[:zones]), None, protocol, first_slot)


def test_japan_has_the_published_windows():
    """79 test windows, the first with its first target on day 340; 65 windows validate."""
    setup = Setup.of(SMOKE, made(JAPAN, 425))
    days = lambda part: np.asarray(setup.windows(part, (0,)).targets)[:, :, 0]  # noqa: E731
    assert days("test").shape == (79, 7)
    assert days("test")[0].tolist() == list(range(340, 347))
    assert days("test")[-1, -1] == 424
    assert days("valid").shape == (65, 7)
    assert days("valid")[-1, -1] == 339
    assert days("early").max() < days("valid").min()
    assert JAPAN.lags == tuple(range(28))[::-1]
    np.testing.assert_array_equal(setup.truths["test"][:, :, 0], days("test"))


def test_taxis_are_tested_on_the_last_fifth_and_validated_on_a_tenth_before():
    setup = Setup.of(SMOKE, made(Protocol(), 5760))
    targets = {part: np.asarray(setup.windows(part, (0,)).targets)[:, 0, 0] for part in ("early", "valid", "test")}
    assert (targets["test"][0], targets["test"][-1], len(targets["test"])) == (4608, 5759, 1152)
    assert (targets["valid"][0], len(targets["valid"])) == (4147, 461)
    assert targets["early"][-1] == 4146
    assert {0, 1, 2, 3, 46, 47, 334, 335, 336, 671, 1007, 1343} == set(setup.protocol.lags)
    # The slot of the week of a row of the file is that of its number.
    first = setup.rows("test")[0]
    assert (setup.slots[first] - setup.slots[first - 4608]) % 336 == 4608 % 336


def test_another_folder_is_tested_whole_but_for_its_first_week_and_keeps_the_slot_of_the_week():
    protocol = Protocol(slots_per_day=8)
    train, test = made(protocol, 8 * 35, 1.0), made(protocol, 8 * 21, 1000.0, first_slot=8 * 3)
    setup = Setup.of(SMOKE, test, train)
    windows = setup.windows("test", (0, 55))
    np.testing.assert_array_equal(windows.targets[:, 0, 0], 1056 + np.arange(8 * 14))
    np.testing.assert_array_equal(windows.history[:, 1, 0], 1055 + np.arange(8 * 14))
    assert np.asarray(setup.windows("whole").targets).max() == 8 * 35
    # No window reaches into the training folder.
    history = np.asarray(setup.windows("test").history)
    assert not (history < 1000).any()
    assert np.isnan(history).any()
    first_of_train = max(protocol.lags) + 1
    first_of_test = setup.rows("test")[0] - protocol.season
    assert (setup.slots[first_of_test] - setup.slots[first_of_train]) % 56 == 24
    unknown = Setup.of(SMOKE, test, dataclasses.replace(train, first_slot=None))
    first_of_test = unknown.rows("test")[0] - protocol.season
    assert unknown.slots[first_of_test] == unknown.slots[first_of_train]
    with pytest.raises(InputError, match="training data of 3 zones"):
        Setup.of(SMOKE, made(protocol, 168, zones=3), train)
    with pytest.raises(InputError, match="the test part has 0 rows"):
        Setup.of(SMOKE, made(protocol, 40), train)


@pytest.mark.slow
def test_plain_rows_of_generated_trips_are_those_by_hand():
    setup = Setup.of(SMOKE, made_trips(0))
    trips, test = made_trips(0).values, np.arange(269, 336)
    week = average(setup, 0, None, num_weeks=1)["test"][:, 0]
    np.testing.assert_array_equal(week, trips[test - 56])
    mean = slot_mean(setup, 0, None)["test"][:, 0]
    by_hand = [trips[:269][np.arange(269) % 56 == t % 56].mean(0) for t in test]
    np.testing.assert_allclose(mean, by_hand, rtol=1e-5)


@pytest.mark.slow
def test_least_squares_is_one_regression_of_all_pairs_on_their_deviations():
    setup = Setup.of(SMOKE, made_trips(0))
    trips, lags = made_trips(0).values.astype(float), (0, 1, 2, 3, 7, 55, 111, 167)
    first, last, test = 57, 269, np.arange(269, 336)
    assert setup.protocol.few_lags == lags[::-1]
    mean = trips[first:last].mean(0)

    def features(rows):
        padded = np.concatenate([np.tile(mean, (200, 1)), trips]) - mean
        return np.stack([padded[200 + rows - 1 - lag] for lag in lags], -1).reshape(-1, len(lags))

    rows = np.arange(first, last)
    columns = np.c_[features(rows), np.ones(len(rows) * 16)]
    weights = np.linalg.lstsq(columns, (trips[rows] - mean).ravel(), rcond=None)[0]
    expected = mean + (features(test) @ weights[:-1] + weights[-1]).reshape(-1, 16)
    found = least_squares(setup, 0, None)["test"][:, 0]
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_features_of_zones_are_the_usual_trips_and_the_latest_of_both_zones():
    history = np.random.default_rng(0).poisson(4.0, (3, 4)).astype(np.float32)
    inputs = PairInputs(jax.numpy.ones(4), (0, 1), True)
    features = np.asarray(inputs(jax.numpy.asarray(history)).features)
    usual, now = history[:2].mean(0), history[2].reshape(2, 2)
    for pair, (origin, destination) in enumerate(np.ndindex(2, 2)):
        ratio = now[origin].sum() / (usual.reshape(2, 2)[origin].sum() + 1)
        out, into = now[origin].sum(), now[:, destination].sum()
        expected = [*(history[:, pair] - 1), usual[pair], usual[pair] * ratio, out / 2, into / 2]
        np.testing.assert_allclose(features[pair], expected, rtol=1e-6)


def test_networks_of_zones_leave_out_zones_to_which_nobody_travels():
    trips = made_trips(0)
    trips.values.reshape(-1, 4, 4)[:, :, 2] = 0
    setup, network = Setup.of(SMOKE, trips), networks.NETWORKS["stgcn"]
    seen = networks._seen(network, setup, "test")
    assert seen.targets.shape == (67, 1, 4, 3)
    assert seen.history.shape[2:] == (4, 3)
    back = networks._of_pairs(network, setup, np.asarray(seen.targets))
    np.testing.assert_array_equal(back, setup.truths["test"])


def test_the_median_form_is_the_median_of_what_came_after_such_forecasts():
    setup = Setup.of(SMOKE, made(Protocol(slots_per_day=8), 8 * 42))
    rng = np.random.default_rng(0)
    mean = rng.uniform(0.1, 0.6, (4000, 1, 4)).astype(np.float32)
    truth = (rng.random(mean.shape) < mean).astype(np.float32)  # a median of 0 below 1/2, of 1 above
    setup.truths["valid"] = truth
    test = np.asarray([0.2, 0.35, 0.58, 5.0], np.float32)[:, None, None] * np.ones((1, 1, 4), np.float32)
    forms = scores.both_forms(setup, mean, test)
    np.testing.assert_array_equal(forms["mean"], test)
    np.testing.assert_allclose(forms["median"][:3, 0, 0], [0, 0, 1], atol=1e-6)
    assert forms["median"][3, 0, 0] > 4


def test_the_median_form_of_few_windows_follows_the_mean():
    setup = Setup.of(SMOKE, made(Protocol(slots_per_day=8), 8 * 42))
    rng = np.random.default_rng(0)
    mean = rng.uniform(0.2, 4.0, (220, 1, setup.num_zones**2)).astype(np.float32)
    valid, test = mean[:120], mean[120:]
    setup.truths["valid"], truth = rng.poisson(valid).astype(np.float32), rng.poisson(test)
    forms = scores.both_forms(setup, valid, test)
    assert np.abs(forms["median"] - truth).mean() < 1.1 * np.abs(test - truth).mean()


def test_a_test_part_without_trips_or_without_rows_has_scores_for_json():
    setup = Setup.of(SMOKE, made_trips(0))
    setup.values[slice(*setup.rows("test"))] = 0
    setup.values[setup.rows("test")[0] + 3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores.scored(setup, 0 * setup.truths["test"])
    row = scores.make_row("zeros", "mean", setup, [found])
    assert (row["rmse"], row["rmse_positive"]) == (0, None)
    assert np.isnan(found["squares"]).tolist() == [k == 3 for k in range(67)]
    where = scores.where_errors_sit(setup, np.nan_to_num(setup.truths["test"]))
    json.dumps([row, where], allow_nan=False)


def test_rows_hold_every_score_and_published_ones_no_more_than_is_known():
    setup = Setup.of(SMOKE, dataclasses.replace(made(JAPAN, 425), name="japan_od"))
    off = setup.truths["test"] + np.arange(7, dtype=np.float32)[:, None]
    one = scores.scored(setup, off)
    row = scores.make_row("ours", "median", setup, [one, one, one])
    assert {"method", "data", "lead", "num_seeds", "rmse", "rmse_positive", "mae", "wmape", "cpc", "published"} <= set(
        row
    )
    assert (row["method"], row["lead"], row["num_seeds"]) == ("ours, median", 7, 3)
    assert row["mae"] == pytest.approx(3)
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean(np.arange(7) ** 2)))
    np.testing.assert_allclose(row["rmse_by_lead"], np.arange(7), atol=1e-4)
    geml = scores.published_rows(setup)[0]
    assert (geml["published"], geml["published_mae"], geml["rmse"]) == (0.400797, 0.280601, None)
    better = scores.against(setup, one["squares"], 4 * one["squares"], "worse")
    assert better["ratio"] == pytest.approx(0.5)
    assert better["high"] < 0.51


def test_a_folder_of_trips_is_read_with_its_neighbours_and_its_month(tmp_path):
    trips = np.random.default_rng(0).poisson(2, (48 * 30, 3, 3)).astype(np.uint8)
    np.savez(tmp_path / "trips_2019_may.npz", od=trips)
    (tmp_path / "W_adj_matrix.csv").write_text("0,1,2\n0,1,0\n1,0,0\n0,0,1\n")
    found = read_trips(tmp_path)
    np.testing.assert_array_equal(found.values, trips.reshape(-1, 9))
    np.testing.assert_array_equal(found.adjacency, [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert found.first_slot == 2 * 48  # 2019-05-01 was a Wednesday
    for text in ("zone,a,b,c\nx,0,1,0\ny,0,0,0\nz,0,0,0\n", "0,1,0\n0,0,0\n0,0,0\n"):
        (tmp_path / "W_adj_matrix.csv").write_text(text)
        np.testing.assert_array_equal(read_trips(tmp_path).adjacency, [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    hours = read_trips(tmp_path, 24)
    assert (hours.protocol.season, hours.first_slot) == (168, 48)
    (tmp_path / "W_adj_matrix.csv").write_text("0,1\n1,0\n")
    with pytest.raises(InputError, match="expected 3 x 3 numbers"):
        read_trips(tmp_path)
    np.savez(tmp_path / "more.npz", od=trips)
    with pytest.raises(InputError, match=r"expected one \.npz of trips"):
        read_trips(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_factors": 0}, "num_factors must be positive, got 0"),
        ({"num_optimizer_steps": -1}, "num_optimizer_steps must be positive, got -1"),
        ({"methods": ("none",)}, "unknown method 'none'"),
        ({"methods": ("zeros", "average")}, "average needs regressions"),
    ],
)
def test_bad_settings_of_trips_are_refused(changes, message, tmp_path, refused_in_one_line):
    config = dataclasses.replace(SMOKE, out=tmp_path / "out", **changes)
    with refused_in_one_line(tmp_path, message):
        od.main(config)


def part_of(values, name, number):
    """Returns trips of which one part holds a number alone."""
    values = values.copy()
    _, middle, end, begin = Setup.of(SMOKE, made_trips(0)).bounds
    margin = max(made_trips(0).protocol.lags) + 1
    rows = {"training": (0, middle), "validation": (middle, end), "test": (begin, None)}[name]
    values[slice(*(None if row is None else max(row - margin, 0) for row in rows))] = number
    return values


@pytest.mark.parametrize(
    ("part", "number", "message"),
    [
        ("training", 0, "expected trips that change in the training part"),
        ("training", np.nan, "expected known trips in the training part"),
        ("validation", np.nan, "expected known trips in the validation part"),
        ("test", np.nan, "expected known trips in the test part"),
    ],
)
def test_parts_without_trips_are_refused_before_anything_is_learned(part, number, message):
    trips = made_trips(0)
    with pytest.raises(InputError, match=message):
        Setup.of(SMOKE, dataclasses.replace(trips, values=part_of(trips.values, part, number)))


def test_the_median_form_counts_known_values_alone():
    setup = Setup.of(SMOKE, made_trips(0))
    valid = np.full_like(setup.truths["valid"], 5)
    test = np.full_like(setup.truths["test"], 5)
    setup.truths["valid"] = np.full_like(valid, np.nan)
    np.testing.assert_array_equal(scores.both_forms(setup, valid, test)["median"], test)
    setup.truths["valid"][..., np.argmax(setup.levels)] = 3  # too few for a group of their own
    np.testing.assert_array_equal(scores.both_forms(setup, valid, test)["median"], 0 * test + 3)


def test_errors_that_are_zero_or_unknown_are_drawn_and_written():
    setup = Setup.of(SMOKE, made_trips(0))
    found = scores.scored(setup, setup.truths["test"])
    perfect = scores.make_row("ridge", "mean", setup, [found])
    failed = scores.make_row("flows", "mean", setup, [scores.scored(setup, setup.truths["test"] * np.nan)])
    json.dumps([perfect, failed], allow_nan=False)
    assert (perfect["rmse"], failed["rmse"], failed["rmse_per_seed"]) == (0, None, [None])
    figure = pictures.errors([perfect, failed], {"ridge": setup.truths["test"]}, setup)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0]
    assert scores.against(setup, found["squares"], found["squares"], "ridge") is None
    some = found["squares"] + np.where(np.arange(len(found["squares"])) < 6, 1.0, np.nan)
    assert scores.against(setup, some, some, "ridge")["ratio"] == 1
