"""A hubverse hub whose horizons count from 0, as FluSight's do.

Horizon 0 is the week that ends on the reference date, and the newest truth is that of the week
before.
"""

import re
import shutil

import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse

pytest.importorskip("polars", reason="hub tables need the extra `hub`")

LEVELS = np.asarray([0.25, 0.5, 0.75])
REFERENCES = np.datetime64("2024-01-06") + 7 * np.arange(5)
DAY, WEEK = np.timedelta64(1, "D"), np.timedelta64(7, "D")
TARGET = "wk inc flu hosp"


def value(round_, horizon, level):
    return 1000 * round_ + 100 * (horizon + 1) + level


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Folder and truth, whose value is the number of weeks since the first reference date; it ends
    before the last one."""
    folder = tmp_path_factory.mktemp("flusight")
    header = "reference_date,target,horizon,target_end_date,location,output_type,output_type_id,value"
    for model in ("A-one", "B-two"):
        (folder / "model-output" / model).mkdir(parents=True)
        for t, reference in enumerate(REFERENCES):
            lines = [header, f"{reference},peak inc flu hosp,NA,NA,01,quantile,0.5,7"]
            for horizon in (-1, 0, 1, 2, 3):
                start = f"{reference},{TARGET},{horizon},{reference + horizon * WEEK},01"
                lines += [f"{start},quantile,{level},{value(t, horizon, level)}" for level in LEVELS]
                lines += [
                    f"{reference},wk flu hosp rate change,{horizon},{reference + horizon * WEEK},01,pmf,stable,0.4"
                ]
            (folder / "model-output" / model / f"{reference}-{model}.csv").write_text("\n".join(lines) + "\n")
    dates = REFERENCES[0] + 7 * np.arange(-9, 4)
    truth = [f"2024-02-07,{TARGET},{date},01,{(date - REFERENCES[0]).astype(int) // 7}" for date in dates]
    (folder / "time-series.csv").write_text(
        "\n".join(["as_of,target,target_end_date,location,observation", *truth]) + "\n"
    )
    return folder


def load(hub, **options):
    return jaxcast.load_hub(hub, hub / "time-series.csv", target=TARGET, **options)


@pytest.mark.parametrize(("horizon", "ahead"), [(0, 1), (1, 2), (3, 4)])
def test_what_a_forecaster_could_know_at_each_horizon(hub, horizon, ahead):
    ours = load(hub, horizon=horizon, num_lags=2)
    assert (ours.horizon, ours.first_horizon, ours.steps_ahead, ours.forecasts().horizon) == (horizon, 0, ahead, ahead)
    np.testing.assert_array_equal(ours.dates, REFERENCES + horizon * WEEK)
    np.testing.assert_array_equal(
        ours.quantiles[0, :, 0], [[value(t, horizon, level) for level in LEVELS] for t in range(5)]
    )
    # At any horizon the newest truth is that of the week before the reference date: -1, 0, ...
    np.testing.assert_array_equal(ours.observed[0, :, 0], np.arange(5.0) - 1)
    np.testing.assert_array_equal(ours.observed[0, :, 1], np.arange(5.0) - 2)
    np.testing.assert_array_equal(ours.forecasts().observed, ours.observed)  # from before the first forecast, too


def test_horizons_that_forecast_nothing_are_refused_unless_the_hub_counts_from_there(hub):
    with pytest.raises(
        jaxcast.InputError, match="horizon -1 is before 0, that of the first date after the newest truth"
    ):
        load(hub, horizon=-1)
    assert load(hub, horizon=-1, first_horizon=-1).steps_ahead == 1
    assert load(hub, horizon=1, first_horizon=1).steps_ahead == 1


@pytest.mark.slow
def test_a_pool_does_not_see_the_week_of_the_reference_date(hub):
    """Its scores at horizon 0 begin with the round before; were they one step newer, the changed
    round would show."""
    ours = load(hub, horizon=1)
    late = ours.truth.copy()
    late[0, -2] = 1e6  # the week of the last reference date, which nobody knew then
    pool = jaxcast.hub.AdaptivePool(lower=None)
    same = [
        jaxcast.hub.pool_forecasts(
            pool, jaxcast.hub.HubForecasts.of(ours.quantiles, truth, LEVELS, horizon=ours.steps_ahead)
        ).forecast
        for truth in (ours.truth, late)
    ]
    np.testing.assert_array_equal(same[0][:, -1], same[1][:, -1])


def test_the_command_writes_the_file_that_the_hub_wants(hub, tmp_path, capsys):
    tables = ("--forecasts", hub, "--truth", hub / "time-series.csv", "--target", TARGET, "--first-horizon", 0)
    options = ("--method", "equal_mean", "--model", "us-pool", "--horizons", 0, 1, 2, 3, "--out", tmp_path)
    parse(["hub", "forecast", *map(str, (*tables, *options))]).run()
    printed = " ".join(capsys.readouterr().out.split())
    assert f"1 location, horizons 0, 1, 2, 3 of the round of {REFERENCES[-1]}" in printed
    assert "made from truth up to 2024-01-27" in printed
    assert "though" not in printed
    _, *rows = (tmp_path / "us-pool" / f"{REFERENCES[-1]}-us-pool.csv").read_text().splitlines()
    expected = [
        f"{REFERENCES[-1]},{TARGET},{horizon},{REFERENCES[-1] + horizon * WEEK},01,quantile,{level:g},{value(4, horizon, level):.10g}"
        for horizon in range(4)
        for level in LEVELS
    ]
    assert rows == expected


def test_truth_below_the_least_value_is_named_with_its_place(hub, tmp_path):
    late = (hub / "time-series.csv").read_text()
    last = re.search(r".*,2024-01-20,.*", late)[0]
    (tmp_path / "truth.csv").write_text(late.replace(last, re.sub(r",[-\d.]+$", ",-126", last)))
    tables = ("--forecasts", hub, "--truth", tmp_path / "truth.csv", "--target", TARGET, "--horizon", 0)
    with pytest.raises(jaxcast.InputError, match=r"holds -126 \(01 on 2024-01-20\), .*--lower None"):
        parse(["hub", "pool", *map(str, tables), "--out", str(tmp_path / "pool")]).run()
    assert not (tmp_path / "pool").exists()


def test_the_pool_itself_is_not_a_candidate(hub, tmp_path):
    own = tmp_path / "hub/model-output/us-pool" / f"{REFERENCES[-1]}-us-pool.csv"
    shutil.copytree(hub, tmp_path / "hub")
    other = (hub / "model-output/A-one" / own.name.replace("us-pool", "A-one")).read_text()
    own.parent.mkdir()
    ours = other.replace(",value\n", ',"value"\n', 1)  # the header of a file of jaxcast
    own.write_text(re.sub(r"quantile,(\S+),\S+", r"quantile,\1,9e9", ours))
    tables = ("--forecasts", tmp_path / "hub", "--truth", hub / "time-series.csv", "--target", TARGET)
    options = ("--method", "equal_mean", "--model", "us-pool", "--horizons", 0, "--out", own.parents[1], "--overwrite")
    parse(["hub", "forecast", *map(str, (*tables, *options))]).run()
    values = [float(line.split(",")[-1]) for line in own.read_text().splitlines()[1:]]
    np.testing.assert_allclose(values, [value(4, 0, level) for level in LEVELS])


def test_truth_that_is_late_is_reported(hub, tmp_path, capsys):
    lines = (hub / "time-series.csv").read_text().splitlines()
    (tmp_path / "truth.csv").write_text("\n".join(lines[:-1]) + "\n")
    command = ("forecast", "--forecasts", hub, "--truth", tmp_path / "truth.csv", "--target", TARGET, "--horizons", 0)
    parse(["hub", *map(str, command), "--method", "equal_mean", "--out", str(tmp_path)]).run()
    assert "truth up to 2024-01-20, though it could be of 2024-01-27 if horizons count from 0" in " ".join(
        capsys.readouterr().out.split()
    )


def test_an_oracle_output_table_counts_once(hub, tmp_path):
    rows = [
        f"{TARGET},{date},01,{kind},{number}"
        for t, date in enumerate(REFERENCES)
        for kind, number in (("quantile,NA", t), ("cdf,10", int(t < 10)), ("cdf,20", 1))
    ]
    header = "target,target_end_date,location,output_type,output_type_id,oracle_value"
    (tmp_path / "oracle-output.csv").write_text("\n".join([header, *rows]) + "\n")
    ours = jaxcast.load_hub(hub, tmp_path / "oracle-output.csv", target=TARGET, horizon=0)
    np.testing.assert_array_equal(ours.truth[0], np.arange(5.0))


def test_a_daily_hub_of_the_old_form(tmp_path):
    """Its targets begin at "0 day ahead", which is the day of the forecast; the truth is that of
    the day before."""
    days = np.datetime64("2024-01-01") + np.arange(6)
    header = "forecast_date,target,target_end_date,location,type,quantile,value"
    (tmp_path / "data-processed/a").mkdir(parents=True)
    for day in days:
        lines = [
            f"{day},{ahead} day ahead inc hosp,{day + ahead * DAY},01,quantile,{level},{ahead + level}"
            for ahead in range(3)
            for level in LEVELS
        ]
        (tmp_path / f"data-processed/a/{day}-a.csv").write_text("\n".join([header, *lines]) + "\n")
    truth = [f"{day},01,{i}" for i, day in enumerate(np.arange(days[0] - 4 * DAY, days[-1] + 3 * DAY))]
    (tmp_path / "truth.csv").write_text("\n".join(["date,location,value", *truth]) + "\n")
    hub = jaxcast.load_hub(tmp_path, tmp_path / "truth.csv", horizon=2, step_days=1, num_lags=1)
    assert (hub.target, hub.first_horizon, hub.steps_ahead) == ("inc hosp", 0, 3)
    np.testing.assert_array_equal(hub.dates, days + 2 * DAY)
    np.testing.assert_array_equal(hub.quantiles[0, :, 0], np.tile(2 + LEVELS, (6, 1)))
    np.testing.assert_array_equal(hub.truth[0] - hub.observed[0, :, 0], 3)
