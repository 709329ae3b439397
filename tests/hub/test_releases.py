"""Target data that are revised: each round sees the newest it could know, and no later one changes
anything."""

import dataclasses

import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from tests.hub.test_tables import write

pl = pytest.importorskip("polars", reason="hub tables need the extra `hub`")

LEVELS = (0.25, 0.5, 0.75)
DAY, WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")
ROUNDS = np.datetime64("2024-01-06") + 7 * np.arange(6)
AS_OF = ROUNDS - 3 * DAY  # each Wednesday before the round's Saturday
PLACES = ("01", "02")


def published(release, place, date):
    """The value of a date in a release, revised at every one; None before it is known."""
    age = (AS_OF[release] - date) // DAY
    return None if age < 0 else 100.0 * (place + 1) + (date - ROUNDS[0]) // WEEK + 10.0 / (1 + age // 7)


def release_rows(releases=range(6), *, first=-4):
    for release in releases:
        for i, place in enumerate(PLACES):
            for date in ROUNDS[0] + 7 * np.arange(first, 9):
                value = published(release, i, date)
                if value is not None:
                    yield f"{AS_OF[release]},{place},{date},{value}"


def forecast_rows(horizons, *, offset=0, made=None):
    for model, horizon, place, round_ in ((m, h, p, r) for m in "ab" for h in horizons for p in PLACES for r in ROUNDS):
        end = round_ + (horizon - offset) * WEEK
        day = "" if made is None else f",{round_ + made * DAY}"
        for level in LEVELS:
            yield f"{model},{place},{end},{horizon},{level},{level + (model == 'b')}{day}"


HEADER, TRUTH = "model,location,target_end_date,horizon,quantile,value", "as_of,location,target_end_date,observation"


@pytest.fixture
def tables(tmp_path):
    truth = write(tmp_path / "releases.csv", TRUTH, release_rows())
    return write(tmp_path / "forecasts.csv", HEADER, forecast_rows((0, 1, 2))), truth


def test_each_date_has_the_newest_release_before_its_round(tables):
    for horizon in (0, 1, 2):
        hub = jaxcast.load_hub(*tables, horizon=horizon, num_lags=3)
        np.testing.assert_array_equal(hub.as_of, AS_OF)
        np.testing.assert_array_equal(hub.release_of, np.arange(6))
        np.testing.assert_array_equal(hub.dates, ROUNDS + horizon * WEEK)
        for (r, i, t), value in np.ndenumerate(hub.releases):
            assert value == published(r, i, hub.dates[t]) or (np.isnan(value) and published(r, i, hub.dates[t]) is None)
        np.testing.assert_array_equal(hub.truth, hub.releases[-1])
        for (i, t, lag), value in np.ndenumerate(hub.observed):
            assert value == published(t, i, ROUNDS[t] - (1 + lag) * WEEK)


@pytest.mark.parametrize(("days", "behind"), [(1, 0), (2, 0), (3, 1), (6, 1)])
def test_where_horizons_count_from_one_releases_of_the_next_two_days_count(tmp_path, days, behind):
    """A round's reference date is then the newest date observed, and no release before it holds
    that date."""
    shifted = [f"{np.datetime64(row[:10]) + (days - 4) * DAY}{row[10:]}" for row in release_rows()]
    truth = write(tmp_path / "releases.csv", TRUTH, shifted)
    path = write(tmp_path / "forecasts.csv", HEADER, forecast_rows((1, 2), offset=1))
    for horizon in (1, 2):
        hub = jaxcast.load_hub(path, truth, horizon=horizon)
        assert (hub.first_horizon, hub.steps_ahead) == (1, horizon)
        np.testing.assert_array_equal(hub.as_of, hub.reference_dates + days * DAY)
        np.testing.assert_array_equal(hub.release_of, np.arange(6) - behind)


def test_where_forecasts_say_when_they_were_made_that_day_counts(tmp_path):
    truth = write(tmp_path / "releases.csv", TRUTH, release_rows())
    for made, behind in (
        (-3, 0),
        (-4, 1),
        (5, 0),
    ):  # of releases four days after the reference date, which is ROUNDS - 7
        rows = forecast_rows((1,), offset=1, made=made)
        path = write(tmp_path / "forecasts.csv", HEADER + ",forecast_date", rows)
        np.testing.assert_array_equal(jaxcast.load_hub(path, truth, first_horizon=1).release_of, np.arange(6) - behind)


def test_rounds_may_be_due_on_different_days(tmp_path):
    truth = write(tmp_path / "releases.csv", TRUTH, release_rows())
    path = write(tmp_path / "forecasts.csv", HEADER, forecast_rows((0, 1)))
    due = {str(day): -3 - i % 2 for i, day in enumerate(ROUNDS[:4])}  # the others as the earliest
    hub = jaxcast.load_hub(path, truth, horizon=0, due_days=due)
    np.testing.assert_array_equal(hub.release_of, np.arange(6) - [0, 1, 0, 1, 1, 1])


@pytest.mark.parametrize(("made", "behind"), [(-3, 0), (-4, 1), (0, 0), (5, 0)])
def test_no_release_after_the_day_of_the_forecasts_counts(tmp_path, made, behind):
    truth = write(tmp_path / "releases.csv", TRUTH, release_rows())
    rows = [*forecast_rows((0,), made=made), f"c,01,{ROUNDS[0]},0,0.5,1,2020-01-01"]
    rows += [f"c,01,{ROUNDS[0]},0,{level},1,soon" for level in (0.25, 0.75)]
    path = write(tmp_path / "forecasts.csv", HEADER + ",forecast_date", rows)
    hub = jaxcast.load_hub(path, truth, horizon=0)
    np.testing.assert_array_equal(hub.release_of, np.arange(6) - behind)
    assert np.isnan(hub.observed[:, 0]).all() == bool(behind)  # no release was out at all


@pytest.mark.parametrize(
    ("offset", "due", "first", "behind"), [(0, -3, 0, 0), (0, -4, 0, 1), (1, 4, 1, 0), (1, 2, 1, 1)]
)
def test_no_release_after_the_day_on_which_forecasts_are_due_counts(tmp_path, offset, due, first, behind):
    """And where they are due before their reference date, that date is not known yet."""
    truth = write(tmp_path / "releases.csv", TRUTH, release_rows())
    path = write(tmp_path / "forecasts.csv", HEADER, forecast_rows((1, 2), offset=offset))
    for horizon in (1, 2):
        hub = jaxcast.load_hub(path, truth, horizon=horizon, due_days=due)
        assert (hub.first_horizon, hub.steps_ahead) == (first, horizon + 1 - first)
        np.testing.assert_array_equal(hub.release_of, np.arange(6) - behind)
    assert jaxcast.load_hub(path, truth, horizon=1, due_days=due, first_horizon=0).first_horizon == 0


@pytest.mark.slow
def test_what_a_forecast_may_use_is_its_release_up_to_its_newest_date(tables):
    hub = jaxcast.load_hub(*tables, horizon=1)
    forecasts = hub.forecasts()
    for time in range(6):
        known = np.asarray(jaxcast.hub.known_truth(forecasts, time))
        np.testing.assert_allclose(hub.known_truth(time), known, rtol=1e-6)
        for (i, t), value in np.ndenumerate(known):
            expected = published(time, i, hub.dates[t]) if t <= time - 2 else None
            assert value == pytest.approx(expected) if expected is not None else np.isnan(value)


def test_where_horizons_count_from_one_no_release_of_later_days_changes_what_a_round_sees(tmp_path):
    def daily(changed_after=None):  # a release every day, each revises all
        for day in np.arange(ROUNDS[0] - WEEK, ROUNDS[-1] + WEEK):
            for date in np.arange(ROUNDS[0] - 4 * WEEK, day, WEEK):
                is_changed = changed_after is not None and day > changed_after
                yield f"{day},01,{date},{(day - date).astype(int) + (777 if is_changed else 0)}"

    path = write(tmp_path / "forecasts.csv", HEADER, [row for row in forecast_rows((1,), offset=1) if ",01," in row])
    before = jaxcast.load_hub(path, write(tmp_path / "a.csv", TRUTH, daily()))
    np.testing.assert_array_equal(before.as_of[before.release_of], before.reference_dates + 2)
    for time, day in enumerate(before.reference_dates):
        after = jaxcast.load_hub(path, write(tmp_path / "b.csv", TRUTH, daily(day + 2)))
        np.testing.assert_array_equal(after.observed[:, : time + 1], before.observed[:, : time + 1])
        np.testing.assert_array_equal(after.known_truth(time), before.known_truth(time))
        assert not np.array_equal(after.truth, before.truth)


@pytest.mark.slow
def test_no_release_after_a_round_changes_what_the_round_sees(tables, tmp_path):
    before = jaxcast.load_hub(*tables, horizon=1)
    for time in range(6):
        rows = [row if AS_OF[r] < ROUNDS[time] else f"{row}7" for r in range(6) for row in release_rows([r])]
        later = write(tmp_path / "later.csv", TRUTH, [*rows, f"2025-01-01,01,{ROUNDS[2]},7"])
        after = jaxcast.load_hub(tables[0], later, horizon=1)
        assert not np.array_equal(after.truth, before.truth, equal_nan=True)
        upto = slice(time + 1)
        np.testing.assert_array_equal(after.release_of[upto], before.release_of[upto])
        np.testing.assert_array_equal(after.observed[:, upto], before.observed[:, upto])
        for t in range(time + 1):
            seen = [jaxcast.hub.known_truth(hub.forecasts(), t) for hub in (after, before)]
            np.testing.assert_array_equal(*seen)


@pytest.mark.slow
@pytest.mark.parametrize("pool", [jaxcast.hub.InverseScoreWeights(window=3), jaxcast.hub.AdaptivePool()], ids=str)
def test_no_release_after_a_round_changes_its_forecast(tables, tmp_path, pool):
    rows = [f"{row}{9 if AS_OF[r] > ROUNDS[3] else ''}" for r in range(6) for row in release_rows([r])]
    later = write(tmp_path / "later.csv", TRUTH, rows)
    hubs = [jaxcast.load_hub(tables[0], truth, horizon=1) for truth in (tables[1], later)]
    one, other = (np.asarray(jaxcast.hub.pool_forecasts(pool, hub.forecasts()).forecast) for hub in hubs)
    np.testing.assert_array_equal(one[:, :4], other[:, :4])
    assert (one[:, 4:] != other[:, 4:]).any()


def test_releases_lie_in_a_table_of_their_own_beside_final_truth(tables, tmp_path):
    dates = ROUNDS[0] + 7 * np.arange(-3, 9)
    final = write(tmp_path / "truth.csv", "location,date,value", [f"{p},{d},{7}" for p in PLACES for d in dates])
    alone = jaxcast.load_hub(tables[0], final)
    assert (alone.releases, alone.as_of, alone.release_of) == (None, None, None)
    forecasts = alone.forecasts()
    np.testing.assert_array_equal(forecasts.releases, alone.truth[None])
    np.testing.assert_array_equal(forecasts.release_of, 0)
    both = jaxcast.load_hub(tables[0], final, vintages=tables[1])
    inside = jaxcast.load_hub(*tables)
    assert (both.truth == 7).all()
    for name in ("releases", "as_of", "release_of", "observed"):
        np.testing.assert_array_equal(getattr(both, name), getattr(inside, name))
    with pytest.raises(
        jaxcast.InputError, match=r"truth.csv has no column as_of with several days; give a table of releases"
    ):
        jaxcast.load_hub(tables[0], final, vintages=final)


def test_a_single_release_is_final_truth(tables, tmp_path):
    one = write(tmp_path / "one.csv", TRUTH, release_rows([5]))
    hub = jaxcast.load_hub(tables[0], one)
    assert (hub.releases, hub.as_of, hub.release_of) == (None, None, None)
    same = write(tmp_path / "same.csv", "location,date,value", (row.split(",", 1)[1] for row in release_rows([5])))
    np.testing.assert_array_equal(hub.observed, jaxcast.load_hub(tables[0], same).observed)


def test_a_release_keeps_what_it_does_not_list_and_loses_what_it_withdraws(tables, tmp_path):
    whole = jaxcast.load_hub(*tables)
    short = [row for row in release_rows() if not row.startswith(f"{AS_OF[-1]},02")]
    hub = jaxcast.load_hub(tables[0], write(tmp_path / "short.csv", TRUTH, short[::-1]))
    np.testing.assert_array_equal(hub.releases[:, 0], whole.releases[:, 0])
    np.testing.assert_array_equal(hub.releases[-1, 1], whole.releases[-2, 1])
    gone = [f"{AS_OF[-1]},02,{hub.dates[0]},NA", *short]
    withdrawn = jaxcast.load_hub(tables[0], write(tmp_path / "gone.csv", TRUTH, gone))
    assert np.isnan(withdrawn.truth[1, 0])
    np.testing.assert_array_equal(withdrawn.truth[1, 1:], hub.truth[1, 1:])


@pytest.mark.parametrize("form", ["{}T17:00:00Z", "{} 23:59:59.5-05:00", "{}T00:00", "parquet", "zone"])
def test_the_day_of_a_release_may_have_a_time_and_a_zone(tables, tmp_path, form):
    expected = jaxcast.load_hub(*tables)
    if "{" in form:
        rows = [form.format(row[:10]) + row[10:] for row in release_rows()]
        truth = write(tmp_path / "times.csv", TRUTH, rows)
    else:
        truth = tmp_path / "times.parquet"
        day = pl.col("as_of").str.to_datetime("%Y-%m-%d") + pl.duration(hours=22)
        day = day.dt.replace_time_zone("America/New_York") if form == "zone" else day
        pl.read_csv(tables[1], infer_schema=False).with_columns(day).write_parquet(truth)
    hub = jaxcast.load_hub(tables[0], truth)
    np.testing.assert_array_equal(hub.as_of, AS_OF)
    np.testing.assert_array_equal(hub.observed, expected.observed)


def test_faults_of_releases_are_counted_or_refused(tables, tmp_path):
    rows = [*release_rows(), f"NA,01,{ROUNDS[0]},1", f"soon,01,{ROUNDS[0]},2", f"{AS_OF[0]},,{ROUNDS[0]},1"]
    hub = jaxcast.load_hub(tables[0], write(tmp_path / "na.csv", TRUTH, rows))
    assert "2 rows of the truth without a day of release (as_of)" in hub.dropped
    twice = write(tmp_path / "twice.csv", TRUTH, [*release_rows(), f"{AS_OF[2]},02,{ROUNDS[0] - WEEK},1"])
    with pytest.raises(
        jaxcast.InputError, match=rf"2 duplicate rows, such as 02 on 2023-12-30 in the release of {AS_OF[2]} \(row"
    ):
        jaxcast.load_hub(tables[0], twice)
    never = write(tmp_path / "never.csv", TRUTH, [f"NA{row[10:]}" for row in release_rows([5])])
    with pytest.raises(jaxcast.InputError, match=r"no day of release .* in as_of of any row"):
        jaxcast.load_hub(tables[0], never)


@pytest.mark.parametrize("seed", range(6))
def test_releases_by_a_plain_reading(tmp_path, seed):
    """Of parts of a table, in any order, with other values in each release, some withdrawn, some
    repeated."""
    rng = np.random.default_rng(seed)
    rows, now, expected = [], {}, []
    for as_of in AS_OF:
        for place, date in ((p, d) for p in PLACES for d in ROUNDS[0] + 7 * np.arange(-4, 6)):
            if date < as_of and rng.random() < 0.5:
                value = None if rng.random() < 0.1 else float(rng.integers(100))
                now[place, date] = value
                rows += [f"{as_of},{place},{date},{'NA' if value is None else value}"] * int(rng.integers(1, 3))
        expected.append(dict(now))
    rng.shuffle(rows)
    path = write(tmp_path / "forecasts.csv", HEADER, forecast_rows((1,)))
    hub = jaxcast.load_hub(path, write(tmp_path / "releases.csv", TRUTH, rows), num_lags=2, first_horizon=0)
    np.testing.assert_array_equal(hub.as_of, AS_OF)
    for (r, i, t), value in np.ndenumerate(hub.releases):
        wanted = expected[r].get((PLACES[i], hub.dates[t]))
        assert value == wanted or (np.isnan(value) and wanted is None)
    for (i, t, lag), value in np.ndenumerate(hub.observed):
        wanted = expected[t].get((PLACES[i], ROUNDS[t] - (1 + lag) * WEEK))
        assert value == wanted or (np.isnan(value) and wanted is None)


@pytest.mark.slow
def test_releases_have_the_shape_of_the_truth():
    truth = np.ones((2, 5))
    make = jaxcast.hub.HubForecasts.of
    good = {"releases": np.ones((3, 2, 5)), "release_of": np.zeros(5, int)}
    for change, message in (
        ({"releases": None}, "both releases and release_of"),
        ({"releases": np.ones((3, 2, 4))}, "releases of HubForecasts.of has 4 along the axis time"),
        ({"releases": np.ones((2, 5))}, "releases of HubForecasts.of must have the shape"),
        ({"release_of": np.zeros(4, int)}, "has 4 along the axis time"),
        ({"release_of": np.zeros(5)}, "whole"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            make(np.ones((2, 5, 3, 1)), truth, np.asarray([0.5]), **(good | change))
    dates = ROUNDS[:5]
    hub = jaxcast.hub.Hub(
        np.ones((2, 5, 3, 1)), truth, truth[..., None], PLACES, dates, ("a", "b", "c"), np.asarray([0.5]), 1
    )
    assert np.isfinite(hub.known_truth()[0]).tolist() == [True] * 4 + [False]
    assert np.isnan(
        dataclasses.replace(hub, releases=truth[None], as_of=dates, release_of=np.full(5, -1)).known_truth()
    ).all()
    forecasts = make(np.ones((2, 5, 3, 1)), truth, np.asarray([0.5]), **good)
    assert np.isnan(jaxcast.hub.known_truth(dataclasses.replace(forecasts, release_of=np.full(5, -1)), 4)).all()


def test_revisions_are_summed_up_by_a_loop(tables, tmp_path):
    rows = [row for row in release_rows() if not row.startswith((str(AS_OF[2]), str(AS_OF[3])))]
    hub = jaxcast.load_hub(tables[0], write(tmp_path / "gap.csv", TRUTH, rows))
    found = jaxcast.hub.summarise_revisions(hub)
    newest, first, seen, final = [], [], [], []
    for place, date in ((i, date) for i in range(2) for date in hub.dates):
        values = [v for r in (0, 1, 4, 5) if (v := published(r, place, date)) is not None]
        if values:
            newest.append(values[-1])
            first.append(values[0])
    for place, t in np.ndindex(2, 6):
        known, end = published((0, 1, 1, 1, 4, 5)[t], place, date := ROUNDS[t] - WEEK), published(5, place, date)
        if date in hub.dates and t >= 2:
            seen.append(np.nan if known is None else known)
            final.append(end)
    newest, first, seen, final = map(np.asarray, (newest, first, seen, final))
    assert (found.num_releases, found.first, found.last) == (4, AS_OF[0], AS_OF[5])
    assert found.gaps == ((AS_OF[1], AS_OF[4]),)
    assert found.num_values == len(newest)
    np.testing.assert_allclose(found.share_changed, (newest != first).mean())
    np.testing.assert_allclose(found.mean_change, (abs(newest - first) / newest).mean())
    np.testing.assert_allclose(found.drift, (newest - first).sum() / newest.sum())
    there = ~np.isnan(seen)
    np.testing.assert_allclose(found.newest_seen, abs(seen - final)[there].sum() / final[there].sum())
    np.testing.assert_allclose(found.missing_seen, 1 - there.mean())
    assert "4 releases of the truth" in str(found)
    assert "downwards" in str(found)
    unseen = jaxcast.hub.summarise_revisions(dataclasses.replace(hub, observed=np.full_like(hub.observed, np.nan)))
    assert str(unseen).endswith("; no release came out in time to hold the newest date that its round may know")
    with pytest.raises(jaxcast.InputError, match="no releases; read a table with a column as_of"):
        jaxcast.hub.summarise_revisions(dataclasses.replace(hub, releases=None))


def test_the_command_says_which_release_it_scores_against(tables, capsys):
    parse(["hub", "score", "--forecasts", str(tables[0]), "--truth", str(tables[1]), "--horizons", "0", "1"]).run()
    printed = " ".join(capsys.readouterr().out.split())
    assert "truth of the newest release, 2024-02-07, of 6 since 2024-01-03" in printed
    assert "6 releases of the truth, 2024-01-03 to 2024-02-07" in printed
    assert "final truth" not in printed
    assert "pending at horizon 1: 4 tasks without truth yet, 2024-02-10 to 2024-02-17" in printed
