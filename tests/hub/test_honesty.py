"""What pools of a hub may not see: later weeks, the window that is judged, and any value
where a weight is 0."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.hub.forecasts import lagged
from jaxcast.hub.tables.checks import find_bad_forecasts

pytestmark = pytest.mark.slow

LEVELS = np.asarray([0.025, 0.25, 0.5, 0.75, 0.975])
NORMAL = np.asarray([-1.96, -0.67, 0.0, 0.67, 1.96])
SHAPE = (3, 16, 3)
CUT = 9
POOLS = {
    "mean": jaxcast.hub.QuantileMean(),
    "median": jaxcast.hub.QuantileMedian(),
    "trimmed": jaxcast.hub.TrimmedMean(0.34),
    "opinion": jaxcast.hub.LinearOpinionPool(),
    "inverse": jaxcast.hub.InverseScoreWeights(power=2.0, window=3),
    "inverse pooled": jaxcast.hub.InverseScoreWeights(power=2.0, window=3, pooled=True),
    "average": jaxcast.hub.TrainedQuantileAverage(jnp.asarray([0.3, 0.0, -0.5])),
    "adaptive": jaxcast.hub.AdaptivePool(),
    "adaptive, newest": jaxcast.hub.AdaptivePool(follow_newest=True),
}


def make(missing=0.15):
    rng = np.random.default_rng(3)
    truth = 10.0 * 2.0 ** np.arange(SHAPE[0])[:, None] * rng.lognormal(0, 0.2, SHAPE[:2])
    centre = truth[..., None] * rng.lognormal(0.05, [0.1, 0.2, 0.4], SHAPE)
    forecasts = np.maximum(centre[..., None] * (1 + 0.15 * NORMAL), 0)
    forecasts[rng.random(SHAPE) < missing] = np.nan
    return forecasts, truth


def hub_forecasts_of(forecasts, truth, horizon=1):
    return jaxcast.hub.HubForecasts.of(forecasts, truth, LEVELS, horizon=horizon)


def of_pool(name):
    return lambda hub_forecasts: jaxcast.hub.pool_forecasts(POOLS[name], hub_forecasts)


def aggregated(hub_forecasts):
    pools = (POOLS["mean"], POOLS["median"], POOLS["inverse"])
    experts = jnp.stack([jaxcast.hub.pool_forecasts(pool, hub_forecasts).forecast for pool in pools])
    return jaxcast.hub.aggregate_experts(experts, hub_forecasts)


def tracked(hub_forecasts):
    return jaxcast.hub.track_coverage(jaxcast.hub.pool_forecasts(POOLS["mean"], hub_forecasts).forecast, hub_forecasts)


def rolled(hub_forecasts):
    return jaxcast.hub.rolling_origin(
        hub_forecasts, pool=jaxcast.hub.TrainedQuantileAverage.untrained(SHAPE[2]), num_optimizer_steps=1
    )


RUNS = {name: of_pool(name) for name in POOLS} | {
    "aggregate_experts": aggregated,
    "track_coverage": tracked,
    "rolling_origin": rolled,
}


def by_time(output):
    """All arrays of an output that have a time axis, time first."""
    found = []
    for leaf in jax.tree.leaves(output):
        axes = [axis for axis, size in enumerate(np.shape(leaf)) if size == SHAPE[1]]
        if axes:
            found.append(np.moveaxis(np.asarray(leaf), axes[0], 0))
    assert found
    return found


@pytest.mark.parametrize("horizon", [1, 3][1:])
@pytest.mark.parametrize("name", RUNS)
def test_nothing_later_changes_what_was_forecast_chosen_or_learned(name, horizon):
    forecasts, truth = make()
    later_forecasts, later_truth = forecasts.copy(), truth.copy()
    later_forecasts[:, CUT + 1 :] = 7 * later_forecasts[:, CUT + 1 :] + 50
    later_forecasts[:, CUT + 2, 0] = np.nan
    later_truth[:, CUT - horizon + 1 :] = 1e4
    before, after = (
        by_time(RUNS[name](hub_forecasts_of(*each, horizon=horizon)))
        for each in ((forecasts, truth), (later_forecasts, later_truth))
    )
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[: CUT + 1], other[: CUT + 1])
    assert any((one[CUT + 1 :] != other[CUT + 1 :]).any() for one, other in zip(before, after, strict=True))


def with_releases(forecasts, truth, horizon, factor=1.0):
    """A hub with a release before each time, which revises all that was known; later ones by a
    factor, too."""
    releases = truth * np.random.default_rng(5).lognormal(0, 0.2, (SHAPE[1], *SHAPE[:2]))
    release_of = np.maximum(np.arange(SHAPE[1]) - 1, -1)
    releases[release_of[CUT] + 1 :] *= factor
    return jaxcast.hub.HubForecasts.of(
        forecasts, truth * factor, LEVELS, horizon=horizon, releases=releases, release_of=release_of
    )


@pytest.mark.parametrize("horizon", [1, 3][:1])
@pytest.mark.parametrize("name", RUNS)
def test_no_release_after_a_round_changes_it(name, horizon):
    """Nor does the final truth, or a forecast of a later round."""
    forecasts, truth = make()
    later = forecasts.copy()
    later[:, CUT + 1 :, 1] = np.nan
    before = by_time(RUNS[name](with_releases(forecasts, truth, horizon)))
    after = by_time(RUNS[name](with_releases(later, truth, horizon, factor=3.0)))
    final = by_time(RUNS[name](hub_forecasts_of(forecasts, truth, horizon)))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[: CUT + 1], other[: CUT + 1])
    reads_truth = name not in ("mean", "median", "trimmed", "opinion", "average")
    assert any((one[CUT] != other[CUT]).any() for one, other in zip(before, final, strict=True)) == reads_truth


@pytest.mark.parametrize("name", RUNS)
def test_values_where_a_model_is_absent_change_nothing(name):
    forecasts, truth = make(missing=0.3)
    truth[1, 4] = np.nan
    hub_forecasts = hub_forecasts_of(forecasts, truth)
    other = dataclasses.replace(
        hub_forecasts, quantiles=jnp.where(hub_forecasts.present[..., None], hub_forecasts.quantiles, 1e6)
    )
    for one, again in zip(by_time(RUNS[name](hub_forecasts)), by_time(RUNS[name](other)), strict=True):
        np.testing.assert_array_equal(one, again)


def attention(key):
    return jaxcast.AdditiveAttention(dim=len(LEVELS), query_dim=1, num_delays=2, hidden_size=3, key=key)


def flat_samples(hub_forecasts):
    samples = jaxcast.hub.quantile_samples(hub_forecasts, num_delays=2, scale=np.ones(SHAPE[0]))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), samples)


@pytest.mark.parametrize("garbage", [1e6, np.nan])
def test_targets_of_weight_0_change_neither_loss_nor_gradient_nor_fit(garbage):
    forecasts, truth = make()
    truth[0, 3] = truth[2, 5:8] = np.nan
    samples = flat_samples(hub_forecasts_of(forecasts, truth))
    assert (np.asarray(samples.weight) == 0).any()
    other = samples._replace(target=jnp.where(samples.weight > 0, samples.target, garbage))
    results = []
    for each in (samples, other):
        loss, gradient = value_and_gradient(each)
        fitted = jaxcast.fit(
            each, init=attention, keys=jax.random.key(0)[None], optimizer=jaxcast.training.make_optimizer(1e-2), num_epochs=2,
            batch_size=16, loss=jaxcast.hub.scaled_wis,
        )  # fmt: skip
        results.append([loss, *jax.tree.leaves(gradient), fitted.losses, *jax.tree.leaves(fitted.models)])
    for one, again in zip(*results, strict=True):
        np.testing.assert_array_equal(one, again)
    assert np.isfinite(results[0][0])


def test_the_loss_is_the_mean_over_the_tasks_that_count():
    forecasts, truth = make()
    truth[0, 3] = truth[2, 5:8] = np.nan
    samples = flat_samples(hub_forecasts_of(forecasts, truth))
    counts = np.asarray(samples.weight) > 0
    pool = attention(jax.random.key(1))
    loss = jaxcast.hub.scaled_wis(pool, jax.tree.map(lambda a: a[counts], samples))
    np.testing.assert_allclose(jaxcast.hub.scaled_wis(pool, samples), loss, rtol=1e-12)


def value_and_gradient(samples):
    graph, state = nnx.split(attention(jax.random.key(1)))
    return jax.value_and_grad(lambda state: jaxcast.hub.scaled_wis(nnx.merge(graph, state), samples))(state)


def test_a_blocked_window_is_neither_learned_from_nor_scaled_by():
    """The window is the last one, so that no later task remembers it."""
    forecasts, truth = make(missing=0.0)
    window = np.arange(SHAPE[1]) >= 11
    runs = []
    for factor in (1, 100):
        other = truth.copy()
        other[:, window] *= factor
        runs.append(
            jaxcast.hub.blocked_windows(
                hub_forecasts_of(forecasts, other), window[None], init=attention, num_delays=2, keys=jax.random.key(0)[None],
                optimizer=jaxcast.training.make_optimizer(1e-2), num_epochs=2, batch_size=16,
            )
        )  # fmt: skip
    np.testing.assert_array_equal(runs[0].losses, runs[1].losses)
    np.testing.assert_array_equal(runs[0].forecast[0][:, 11], runs[1].forecast[0][:, 11])  # before any of it was known
    assert (runs[0].forecast[0][:, 12:] != runs[1].forecast[0][:, 12:]).any()
    np.testing.assert_array_equal(np.isnan(runs[0].forecast[0, 0, :, 0]), ~window)


def test_blocked_forecasts_are_missing_where_nobody_forecast():
    forecasts, truth = make(missing=0.0)
    forecasts[1, 12] = np.nan
    window = np.arange(SHAPE[1]) >= 11
    run = jaxcast.hub.blocked_windows(
        hub_forecasts_of(forecasts, truth), window[None], init=attention, num_delays=2, keys=jax.random.key(0)[None],
        optimizer=jaxcast.training.make_optimizer(1e-2), num_epochs=1, batch_size=16,
    )  # fmt: skip
    missing = np.isnan(run.forecast[0, :, window]).any(-1)
    assert np.argwhere(missing).tolist() == [[1, 1]]


@pytest.mark.parametrize("pair", range(len(LEVELS) - 1))
def test_every_pair_of_levels_is_looked_at_for_crossing(pair):
    forecasts, _ = make(missing=0.0)
    forecasts[1, 2, 0, pair] = forecasts[1, 2, 0, pair + 1] + 1
    forecasts[1, 2, 0, : pair + 1] = np.maximum.accumulate(forecasts[1, 2, 0, : pair + 1])
    bad = find_bad_forecasts(forecasts)
    assert np.argwhere(bad.crossing).tolist() == [[1, 2, 0]]
    assert bad.first_crossing == (1, 2, 0, pair)
    assert jaxcast.scores.count_crossings(forecasts) == 1


def test_the_ends_of_an_interval_are_covered():
    forecast = np.asarray([2.0, 3.0, 5.0, 8.0, 9.0])
    truths = {1: (0, 0), 2: (0, 1), 3: (1, 1), 5: (1, 1), 8: (1, 1), 9: (0, 1), 10: (0, 0)}
    for truth, expected in truths.items():
        covered = [
            float(jaxcast.scores.interval_coverage(forecast, truth, LEVELS, nominal=nominal)) for nominal in (0.5, 0.95)
        ]
        assert tuple(covered) == expected, truth
    rows = jaxcast.hub.score_forecasters({"a": forecast[None, None]}, np.asarray([[8.0]]), LEVELS)
    assert (rows[0]["coverage50"], rows[0]["coverage95"]) == (1, 1)


@pytest.mark.parametrize("end", range(len(LEVELS)))
def test_a_truth_at_an_end_counts_as_missed_as_often_as_it_should_be(end):
    """All locations hit one quantile: its own side is left as it is, and a time counts as at most 8."""
    quantiles = 20 + np.asarray([-9.0, -4.0, 0.0, 4.0, 9.0])
    truth = np.full((4, 3), quantiles[end])
    hub_forecasts = hub_forecasts_of(np.broadcast_to(quantiles, (4, 3, 1, 5)), truth)
    tracked = jaxcast.hub.track_coverage(hub_forecasts.quantiles[:, :, 0], hub_forecasts, rate=0.04, slack=(0.0, 0.0))
    factors = np.diff(np.asarray(tracked)[0, 2]) / np.diff(quantiles)
    nominal = np.asarray([0.025, 0.25, 0.25, 0.025])  # below the outer, the inner end, above the inner, the outer end
    missed = np.asarray([end < 0, end < 1, end > 3, end > 4]) / nominal
    missed[np.asarray([end == 0, end == 1, end == 3, end == 4])] = 1
    counted = 4 / 10 * (missed - 1)  # by a tenth for each of four locations
    np.testing.assert_allclose(factors, np.exp(0.04 * np.minimum(counted, 8)), rtol=1e-5)


def test_what_was_observed_is_of_the_release_of_the_day():
    releases = np.arange(8.0) + 100 * np.arange(3.0)[:, None]
    release_of = np.asarray([-1, -1, 0, 0, 0, 1, 1, 2])
    hub = jaxcast.hub.HubForecasts.of(
        np.ones((1, 8, 1, 1)), releases[-1:], [0.5], horizon=2, releases=releases[:, None], release_of=release_of
    )
    for time, lag in itertools.product(range(8), range(10)):
        is_known = time - 2 - lag >= 0 and release_of[time] >= 0
        expected = 100 * release_of[time] + time - 2 - lag if is_known else np.nan
        np.testing.assert_array_equal(hub.observed[0, time, lag], expected)


def test_what_was_observed_is_the_truth_by_lags():
    truth = np.arange(8.0)[None]
    hub_forecasts = jaxcast.hub.HubForecasts.of(np.ones((1, 8, 1, 1)), truth, np.asarray([0.5]), horizon=2)
    for time, lag in itertools.product(range(8), range(10)):
        expected = time - 2 - lag if time - 2 - lag >= 0 else np.nan
        np.testing.assert_array_equal(hub_forecasts.observed[0, time, lag], expected)
    np.testing.assert_array_equal(lagged(jnp.asarray(truth), 0, num_lags=2)[0, 3], [3, 2])


def test_a_pool_is_retrained_as_often_as_was_asked_for():
    run = jaxcast.hub.rolling_origin(
        hub_forecasts_of(*make()),
        pool=jaxcast.hub.TrainedQuantileAverage.untrained(SHAPE[2]),
        num_optimizer_steps=1,
        every=3,
        start=6,
    )
    logits = np.asarray(run.info["pool"].logits)
    changed = np.flatnonzero((np.diff(logits, axis=0) != 0).any(1)) + 1
    assert changed.tolist() == [6, 9, 12, 15]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Tables of forecasts up to the last date, and of the truth up to then, though the newest known
    is a week older."""
    pytest.importorskip("polars", reason="hub tables need the extra `hub`")
    folder = tmp_path_factory.mktemp("hub")
    forecasts, truth = make()
    dates = np.datetime64("2024-01-06") + 7 * np.arange(SHAPE[1])
    rows = [
        f"m{model},{place},{dates[time]},1,{level},{value}"
        for place, time, model in np.ndindex(SHAPE)
        for level, value in zip(LEVELS, forecasts[place, time, model], strict=True)
        if not np.isnan(value)
    ]
    (folder / "forecasts.csv").write_text("\n".join(["model,location,target_end_date,horizon,quantile,value", *rows]))
    for name, factor in (("truth", 1), ("later", 30)):
        values = truth.copy()
        values[:, -1] *= factor
        rows = [f"{place},{dates[time]},{values[place, time]}" for place, time in np.ndindex(SHAPE[:2])]
        (folder / f"{name}.csv").write_text("\n".join(["location,date,value", *rows]))
    return folder


def run(hub, truth, command, *args):
    tables = ("--forecasts", hub / "forecasts.csv", "--truth", hub / f"{truth}.csv")
    parse(["hub", command, *map(str, (*tables, *args))]).run()


@pytest.mark.parametrize("method", ["adaptive", "inverse_score"])
def test_the_command_forecasts_from_no_later_truth(hub, tmp_path, method):
    args = (
        "--method",
        method,
        "--model",
        "a-b",
        "--target-name",
        "x",
        *(("--follow-newest",) * (method == "adaptive")),
    )
    for truth in ("truth", "later"):
        run(hub, truth, "forecast", *args, "--out", tmp_path / truth)
    files = [next((tmp_path / truth).rglob("*.csv")) for truth in ("truth", "later")]
    assert files[0].read_text() == files[1].read_text()
    assert len(files[0].read_text().splitlines()) == 1 + SHAPE[0] * len(LEVELS)


def submitted(hub, folder, *args):
    """The quantiles of the newest date that the command writes, (location, quantile)."""
    run(hub, "truth", "forecast", "--model", "a-b", "--target-name", "x", *args, "--out", folder)
    rows = next(folder.rglob("*.csv")).read_text().splitlines()[1:]
    return np.asarray([float(row.split(",")[-1]) for row in rows]).reshape(SHAPE[0], len(LEVELS))


def test_the_command_writes_what_the_library_pools(hub, tmp_path):
    """Of a saved pool, and of every method."""
    hub_forecasts = jaxcast.load_hub(hub / "forecasts.csv", hub / "truth.csv").forecasts()
    pool = POOLS["adaptive, newest"]
    jaxcast.save_model(tmp_path / "pool", pool, attributes={"steps_ahead": 1})
    pooled = jaxcast.hub.pool_forecasts(pool, hub_forecasts).forecast
    kept = submitted(hub, tmp_path / "kept", "--pool", tmp_path / "pool")
    np.testing.assert_allclose(kept, pooled[:, -1], rtol=1e-9)
    methods = {
        "adaptive": jaxcast.hub.AdaptivePool(),
        "equal_median": jaxcast.hub.QuantileMedian(),
        "trimmed_mean": jaxcast.hub.TrimmedMean(),
        "linear_opinion_pool": jaxcast.hub.LinearOpinionPool(),
        "inverse_score": jaxcast.hub.InverseScoreWeights(),
    }
    for name, own in methods.items():
        expected = jaxcast.hub.pool_forecasts(own, hub_forecasts).forecast[:, -1]
        np.testing.assert_allclose(submitted(hub, tmp_path / name, "--method", name), expected, rtol=1e-9)


def test_scores_of_a_part_are_of_that_part(hub, tmp_path):
    """What comes after --last changes no row; with it, the rows change."""
    for truth, last in itertools.product(("truth", "later"), ("2024-04-13", "9999-12-31")):
        run(hub, truth, "score", "--last", last, "--out", tmp_path / truth / last)
    for last, is_same in (("2024-04-13", True), ("9999-12-31", False)):
        texts = [(tmp_path / truth / last / "results.json").read_text() for truth in ("truth", "later")]
        assert (texts[0] == texts[1]) == is_same


def test_tables_say_that_truth_is_final(hub, tmp_path, capsys):
    run(hub, "truth", "score")
    run(hub, "truth", "pool", "--out", tmp_path)
    assert capsys.readouterr().out.count("final truth") == 3
