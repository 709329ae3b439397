import dataclasses

import numpy as np
import pytest

import jaxcast

pytest.importorskip("polars", reason="hub tables need the extra `hub`")

LEVELS = np.asarray([0.25, 0.5, 0.75])
DAY = np.timedelta64(1, "D")
DATES = np.datetime64("2024-01-06") + 7 * np.arange(6)
TIDY = "model,location,target_end_date,horizon,quantile,value"


def value(model, place, time, level, horizon=1):
    """A different number in every cell, increasing in the level."""
    return 100 * (ord(model) - ord("a")) + 10 * place + time + level + 1000 * (horizon - 1)


def tidy_rows(models="abc", places=("01", "02"), horizon=1, skip=()):
    for model in models:
        for i, place in enumerate(places):
            for t, date in enumerate(DATES):
                if (model, place, t) in skip:
                    continue
                for level in LEVELS:
                    yield f"{model},{place},{date},{horizon},{level},{value(model, i, t, level, horizon)}"


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def truth(tmp_path):
    dates = DATES[0] + 7 * np.arange(-4, 6)
    rows = [f"{place},{date},{10 * i + t}" for i, place in enumerate(("01", "02")) for t, date in enumerate(dates)]
    return write(tmp_path / "truth.csv", "location,date,value", rows)


def expected(models="abc", skip=()):
    array = np.full((2, 6, len(models), 3), np.nan)
    for m, model in enumerate(models):
        for i, place in enumerate(("01", "02")):
            for t in range(6):
                if (model, place, t) not in skip:
                    array[i, t, m] = [value(model, i, t, level) for level in LEVELS]
    return array


def test_tidy_tables_legacy_and_hubverse_folders_hold_the_same(tmp_path, truth):
    skip = {("b", "02", 3), ("c", "01", 0)}
    tidy = write(tmp_path / "tidy.csv", TIDY, tidy_rows(skip=skip))
    for model in "abc":
        for t, date in enumerate(DATES):
            legacy, hubverse = [], []
            for i, place in enumerate(("01", "02")):
                if (model, place, t) in skip:
                    continue
                legacy.append(f"{date - 5 * DAY},1 wk ahead inc death,{date},{place},point,NA,5")
                for level in LEVELS:
                    number = value(model, i, t, level)
                    legacy.append(f"{date - 5 * DAY},1 wk ahead inc death,{date},{place},quantile,{level},{number}")
                    hubverse.append(f"{date - 7 * DAY},wk inc death,1,{place},quantile,{level},{number}")
                hubverse.append(f"{date - 7 * DAY},wk inc death,1,{place},pmf,large,0.3")
            name = f"{date - 5 * DAY}-{model}.csv"
            header = "forecast_date,target,target_end_date,location,type,quantile,value"
            write(tmp_path / "old/data-processed" / model / name, header, legacy)
            header = "reference_date,target,horizon,location,output_type,output_type_id,value"
            write(tmp_path / "new/model-output" / model / name, header, hubverse)
    for path in (tidy, tmp_path / "old", tmp_path / "new"):
        hub = jaxcast.load_hub(path, truth)
        np.testing.assert_array_equal(hub.quantiles, expected(skip=skip))
        np.testing.assert_array_equal(hub.dates, DATES)
        assert (hub.locations, hub.models) == (("01", "02"), ("a", "b", "c"))
        np.testing.assert_array_equal(hub.levels, LEVELS)
    np.testing.assert_array_equal(hub.truth, [[4, 5, 6, 7, 8, 9], [14, 15, 16, 17, 18, 19]])


def test_a_parquet_table_reads_like_a_csv(tmp_path, truth):
    polars = pytest.importorskip("polars")
    path = write(tmp_path / "tidy.csv", TIDY, tidy_rows())
    polars.read_csv(path, schema_overrides={"location": polars.Categorical}, try_parse_dates=True).write_parquet(
        tmp_path / "tidy.parquet"
    )
    hub = jaxcast.load_hub(tmp_path / "tidy.parquet", truth)
    np.testing.assert_array_equal(hub.quantiles, expected())


def test_at_horizon_h_the_newest_truth_is_h_weeks_old(tmp_path, truth):
    path = write(tmp_path / "tidy.csv", TIDY, [*tidy_rows(horizon=1), *tidy_rows(horizon=3)])
    hub = jaxcast.load_hub(path, truth, horizon=3, num_lags=2)
    np.testing.assert_array_equal(hub.quantiles, expected() + 2000)
    np.testing.assert_array_equal(hub.observed[0, :, 0], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(hub.observed[0, :, 1], [0, 1, 2, 3, 4, 5])


def test_a_choice_of_models_locations_and_levels(tmp_path, truth):
    path = write(tmp_path / "tidy.csv", TIDY, tidy_rows(skip={("a", "01", 2), ("a", "01", 3), ("b", "01", 2)}))
    hub = jaxcast.load_hub(path, truth, models=["c", "a"], locations=["02"], levels=[0.25, 0.75])
    np.testing.assert_array_equal(hub.quantiles, expected("ca")[1:, :, :, [0, 2]])
    assert hub.models == ("c", "a")
    assert jaxcast.load_hub(path, truth, models=2).models == ("b", "c")
    assert hub.only(["a"]).models == ("a",)
    assert jaxcast.load_hub(path, truth, models=2, exclude=["b"]).models == ("a", "c")
    assert jaxcast.load_hub(path, truth, exclude=["c", "a"]).models == ("b",)
    assert hub.weeks(str(DATES[1]), str(DATES[2])).sum() == 2
    with pytest.raises(jaxcast.InputError, match="two dates like 2024-01-06, got '2024-13-01'"):
        hub.weeks("2024-13-01", "2024-12-01")


def test_dates_outside_of_the_window_are_not_even_checked(tmp_path, truth):
    rows = change(tidy_rows(), FIRST, FIRST[:-4] + "NA")
    path = write(tmp_path / "tidy.csv", TIDY, rows)
    hub = jaxcast.load_hub(path, truth, first=str(DATES[1]), last=str(DATES[3]))
    np.testing.assert_array_equal(hub.dates, DATES[1:4])
    np.testing.assert_array_equal(hub.quantiles, expected()[:, 1:4])
    np.testing.assert_array_equal(hub.observed[0, :, 0], [4, 5, 6])  # truth from before the window is known
    with pytest.raises(jaxcast.InputError, match="no quantile forecast is left"):
        jaxcast.load_hub(path, truth, first="2030-01-01")
    with pytest.raises(jaxcast.InputError, match="a date like 2024-01-06, got '2024-13-01'"):
        jaxcast.load_hub(path, truth, last="2024-13-01")


def test_models_and_locations_without_the_horizon_are_left_out_and_counted(tmp_path, truth):
    path = write(tmp_path / "tidy.csv", TIDY, [*tidy_rows("ab"), *tidy_rows("a", ("01",), horizon=2)])
    hub = jaxcast.load_hub(path, truth, horizon=2, models=["b", "a"], locations=["02", "01"])
    assert (hub.models, hub.locations) == (("a",), ("01",))
    assert hub.dropped == (
        "1 model without a forecast of horizon 2, such as b",
        "1 location without a forecast of horizon 2, such as 02",
    )
    assert jaxcast.load_hub(path, truth, horizon=2).dropped == ("1 model without a forecast of horizon 2, such as b",)
    with pytest.raises(jaxcast.InputError, match="no quantile forecast is left"):
        jaxcast.load_hub(path, truth, horizon=2, models=["b"])


def test_several_horizons_at_once_are_those_read_one_by_one(tmp_path, truth):
    rows = [*tidy_rows("ab"), *tidy_rows("bc", horizon=3), *tidy_rows("a", horizon=2, skip={("a", "01", 1)})]
    path = write(tmp_path / "tidy.csv", TIDY, rows)
    hubs = jaxcast.hub.load_hubs(path, truth, num_lags=3)
    assert list(hubs) == [1, 2, 3]
    for horizon, hub in hubs.items():
        alone = vars(jaxcast.load_hub(path, truth, horizon=horizon, num_lags=3))
        for name, value in vars(hub).items():
            np.testing.assert_array_equal(value, alone[name])
    assert list(jaxcast.hub.load_hubs(path, truth, horizons=[3, 1], exclude=["c"])) == [3, 1]
    for wrong, message in (
        ({"horizons": [1, 1]}, "expected different horizons among"),
        ({"horizons": [4]}, r"a horizon among \[1, 2, 3\], got 4"),
        ({"horizon": 1}, "unknown argument 'horizon'"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            jaxcast.hub.load_hubs(path, truth, **wrong)


def test_a_week_nobody_forecast_stays_a_hole_in_the_grid(tmp_path, truth):
    rows = [row for row in tidy_rows() if str(DATES[3]) not in row]
    hub = jaxcast.load_hub(write(tmp_path / "tidy.csv", TIDY, rows), truth)
    assert len(hub.dates) == 6
    assert not hub.present[:, 3].any()
    assert not np.asarray(hub.forecasts().is_forecast)[:, 3].any()


def change(rows, old, new):
    rows = list(rows)
    assert old in rows
    rows[rows.index(old)] = new
    return rows


FIRST = f"a,01,{DATES[0]},1,0.25,0.25"
BAD = {
    "crossing": (lambda rows: change(rows, FIRST, FIRST[:-4] + "7.5"), r"tidy.csv, row 1: a's quantile 0.25 .* above its quantile 0.5"),
    "a level missing": (lambda rows: [row for row in rows if row != FIRST], r"a lacks some of the 3 quantile levels in 1 forecast,.*\(no 0.25; .*tidy.csv, row 1\)"),
    "NA": (lambda rows: change(rows, FIRST, FIRST[:-4] + "NA"), "tidy.csv, row 1: the value of a for 01 is NA"),
    "infinite": (lambda rows: change(rows, FIRST, FIRST[:-4] + "inf"), "row 1: the value of a for 01 is NA or not a number"),
    "no level": (lambda rows: change(rows, FIRST, FIRST.replace(",0.25,", ",25,")), "row 1: the quantile of a for 01 is NA or not a level"),
    "no date": (lambda rows: change(rows, FIRST, FIRST.replace("2024-01-06", "06/01/2024")), "row 1: the target_end_date of a for 01"),
    "duplicate": (lambda rows: [*rows, FIRST], "row 109: a's quantile 0.25 for 01 on 2024-01-06 was there already, in row 1"),
    "off the grid": (lambda rows: change(rows, FIRST, FIRST.replace("01-06", "01-08")), "row 1: 1 target date off the grid of 7 days, such as 2024-01-08"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_reported_with_file_and_row(tmp_path, truth, name):
    make, message = BAD[name]
    path = write(tmp_path / "tidy.csv", TIDY, make(tidy_rows()))
    with pytest.raises(jaxcast.InputError, match=message) as error:
        jaxcast.load_hub(path, truth)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", BAD)
def test_bad_forecasts_can_be_dropped_and_are_counted(tmp_path, truth, name):
    path = write(tmp_path / "tidy.csv", TIDY, BAD[name][0](tidy_rows()))
    hub = jaxcast.load_hub(path, truth, bad="drop")
    same = expected()
    if name != "duplicate":
        same[0, 0, 0] = np.nan
    np.testing.assert_array_equal(hub.quantiles, same)
    assert hub.dropped


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ["a", "bb"]}, "unknown model 'bb'; did you mean b"),
        ({"exclude": ["bb"]}, "unknown model 'bb'; did you mean b"),
        ({"models": ["a", "a"]}, "model 'a' is named twice"),
        ({"locations": ["1"]}, "unknown location '1'; did you mean 01"),
        ({"horizon": 2}, r"expected a horizon among \[1\], got 2"),
        ({"target": "wk inc case"}, "name no target"),
        ({"levels": [0.25, 0.4]}, "unknown level 0.4; there are 0.25, 0.5, 0.75"),
        ({"models": 4}, "from 1 to 3 models, .* got 4"),
        ({"models": 0}, "from 1 to 3 models, .* got 0"),
        ({"step_days": 0}, "step_days must be from 1 to"),
        ({"truth_source": "final"}, "no column source or as_of"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, truth, arguments, message):
    path = write(tmp_path / "tidy.csv", TIDY, tidy_rows())
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.load_hub(path, truth, **arguments)


def test_an_unknown_target_is_answered_with_the_nearest(tmp_path, truth):
    header = "reference_date,target,horizon,location,output_type,output_type_id,value"
    rows = [
        f"{DATES[0] - 7 * DAY},wk inc {what},1,01,quantile,{level},1" for what in ("death", "case") for level in LEVELS
    ]
    write(tmp_path / "hub/a" / "round.csv", header, rows)
    with pytest.raises(jaxcast.InputError, match="several targets, wk inc case, wk inc death"):
        jaxcast.load_hub(tmp_path / "hub", truth)
    with pytest.raises(jaxcast.InputError, match="did you mean wk inc death"):
        jaxcast.load_hub(tmp_path / "hub", truth, target="wk inc deaths")


def test_forecasts_after_the_newest_truth_are_pending(tmp_path):
    path = write(tmp_path / "tidy.csv", TIDY, tidy_rows())
    rows = [f"{place},{date},1" for place in ("01", "02") for date in DATES[:4]]
    short = write(tmp_path / "short.csv", "location,date,value", rows)
    hub = jaxcast.load_hub(path, short)
    assert np.isnan(hub.truth[:, 4:]).all()
    assert not hub.pending[:, :4].any()
    assert hub.pending[:, 4:].all()
    other = write(tmp_path / "other.csv", "location,date,value", [row for row in rows if row.startswith("01")])
    assert jaxcast.load_hub(path, other).dropped == ("no truth for 1 of 2 locations, such as 02",)
    sunday = write(tmp_path / "sunday.csv", "location,date,value", [f"01,{date + DAY},1" for date in DATES])
    with pytest.raises(jaxcast.InputError, match=r"6 of 6 dates of the truth in .* are off the forecasts' grid"):
        jaxcast.load_hub(path, sunday)
    daily = write(
        tmp_path / "daily.csv", "location,date,value", [f"01,{day},1" for day in np.arange(DATES[0], DATES[-1])]
    )
    with pytest.raises(jaxcast.InputError, match="one value for every step"):
        jaxcast.load_hub(path, daily)
    gaps = write(tmp_path / "gaps.csv", "location,date,value", [*rows[:-1], "02,2024-01-27,many"])
    assert jaxcast.load_hub(path, gaps).dropped == (
        "1 row of the truth without a date or a number",
        "no truth on the last date for 1 location, such as 02",
    )
    doubled = write(tmp_path / "doubled.csv", "location,date,value", [*rows, f"01,{DATES[0]},2"])
    with pytest.raises(jaxcast.InputError, match="2 duplicate rows, such as 01 on 2024-01-06"):
        jaxcast.load_hub(path, doubled)


def test_truth_of_several_vintages_is_chosen_by_source(tmp_path):
    path = write(tmp_path / "tidy.csv", TIDY, tidy_rows())
    rows = [
        f"{p},{d},{v},{s}" for p in ("01", "02") for d in DATES for v, s in ((1, "as of May"), (2, "the final one"))
    ]
    table = write(tmp_path / "truth.csv", "location,target_end_date,observation,as_of", rows)
    assert (jaxcast.load_hub(path, table, truth_source="final").truth == 2).all()


def test_paths_that_hold_no_tables(tmp_path, truth):
    for path in (tmp_path / "nowhere", tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(jaxcast.InputError):
            jaxcast.load_hub(path, truth)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(jaxcast.InputError, match="not a table"):
        jaxcast.load_hub(broken, truth)


def test_a_submission_reads_back_as_it_was(tmp_path, truth):
    path = write(tmp_path / "tidy.csv", TIDY, tidy_rows())
    hub = jaxcast.load_hub(path, truth)
    ours = hub.quantiles[:, -1, 0].copy()
    written = jaxcast.hub.write_submission(
        tmp_path / "out/model-output",
        "team-pool",
        {1: ours},
        hub,
        reference_date=DATES[-1] - 7 * DAY,
        target="wk inc death",
    )
    assert written.name == f"{DATES[-1] - 7 * DAY}-team-pool.csv"
    again = jaxcast.load_hub(tmp_path / "out", truth)
    np.testing.assert_array_equal(again.quantiles[:, 0, 0], ours)
    assert (again.models, again.target) == (("team-pool",), "wk inc death")
    ours[0] = np.nan  # a location without a forecast has no rows
    written = jaxcast.hub.write_submission(
        tmp_path / "out", "team-pool", {1: ours}, hub, reference_date=DATES[-1] - 7 * DAY, target="wk inc death"
    )
    assert len(written.read_text().splitlines()) == 1 + 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "pool"}, "TEAM-MODEL"),
        ({"target": None}, "no target"),
        ({"forecasts": {1: np.ones((1, 3))}}, "2 locations by 3 levels"),
        ({"forecasts": {1: np.asarray([[1.0, 2, 3], [2, 1, 3]])}}, "cross"),
        ({"forecasts": {1: np.full((2, 3), np.nan)}}, "no forecast to write"),
    ],
)
def test_a_submission_that_no_hub_would_accept_is_not_written(tmp_path, truth, arguments, message):
    hub = jaxcast.load_hub(write(tmp_path / "tidy.csv", TIDY, tidy_rows()), truth)
    given = {"model": "team-pool", "forecasts": {1: np.ones((2, 3))}, "target": "wk inc death"} | arguments
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.hub.write_submission(
            tmp_path / "out",
            given["model"],
            given["forecasts"],
            hub,
            reference_date="2024-01-06",
            target=given["target"],
        )
    assert not (tmp_path / "out").exists()


def test_gaps_are_filled_by_the_three_steps_of_the_paper(tmp_path, truth):
    hub = jaxcast.load_hub(write(tmp_path / "tidy.csv", TIDY, tidy_rows("ab")), truth)
    forecasts = hub.quantiles.copy()
    forecasts[0, 1:3, 0] = np.nan  # two steps: linear in time
    forecasts[1, 1:4, 0] = np.nan  # three: the mean of the others, which is b
    forecasts[1, 5] = np.nan  # nobody: the nearest
    filled = jaxcast.hub.fill_gaps(dataclasses.replace(hub, quantiles=forecasts)).quantiles
    same = hub.quantiles.copy()
    same[1, 1:4, 0] = same[1, 1:4, 1]
    same[1, 5] = same[1, 4]
    np.testing.assert_allclose(filled, same)


def test_gaps_between_whole_numbers_are_filled_by_their_means():
    forecasts = np.asarray([1.0, np.nan, 2.0]).reshape(1, 3, 1, 1)
    dates = np.arange("2024-01-06", "2024-01-27", 7, dtype="datetime64[D]")
    hub = jaxcast.hub.Hub(forecasts, np.ones((1, 3)), np.ones((1, 3, 1)), ("X",), dates, ("a",), np.asarray([0.5]), 1)
    assert jaxcast.hub.fill_gaps(hub).quantiles.ravel().tolist() == [1.0, 1.5, 2.0]
    whole = dataclasses.replace(hub, quantiles=np.asarray([1, 5, 2]).reshape(1, 3, 1, 1))
    assert jaxcast.hub.fill_gaps(whole).quantiles.dtype == float


def test_of_two_alike_rows_the_last_stays(tmp_path, truth):
    path = write(tmp_path / "tidy.csv", TIDY, [*tidy_rows(), FIRST[:-4] + "0.3"])
    assert jaxcast.load_hub(path, truth, bad="drop").quantiles[0, 0, 0].tolist() == [0.3, 0.5, 0.75]


def write_folder(root, *, bad=None):
    """A legacy folder whose models have their columns in other orders; a file may lack a value in
    its last row."""
    columns = ["target", "target_end_date", "location", "type", "quantile", "value"]
    for m, model in enumerate("abc"):
        order = columns[m:] + columns[:m]
        for t, date in enumerate(DATES):
            rows = [
                ["1 wk ahead x", date, p, "quantile", q, value(model, i, t, q)]
                for i, p in enumerate(("01", "02"))
                for q in LEVELS
            ]
            if (model, t) == bad:
                rows[-1][-1] = "NA"
            rows = [",".join(str(row[columns.index(name)]) for name in order) for row in rows]
            write(root / model / f"{date}-{model}.csv", ",".join(order), [*rows[:2], "", *rows[2:]])
    return root


def test_the_files_of_a_folder_are_scanned_together_and_keep_the_numbers_of_their_rows(tmp_path, truth, monkeypatch):
    hub = jaxcast.load_hub(write_folder(tmp_path / "hub [1]"), truth)
    np.testing.assert_array_equal(hub.quantiles, expected())
    assert not hub.dropped
    write_folder(tmp_path / "bad", bad=("b", 4))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        jaxcast.InputError, match=rf"^bad/b/{DATES[4]}-b.csv, row 7: the value of b for 02 is NA"
    ) as error:
        jaxcast.load_hub("bad", truth)
    alone = tmp_path / "alone/b" / f"{DATES[4]}-b.csv"
    alone.parent.mkdir(parents=True)
    alone.write_text((tmp_path / "bad/b" / alone.name).read_text())
    with pytest.raises(jaxcast.InputError) as other:
        jaxcast.load_hub("alone", truth)
    assert str(other.value) == str(error.value).replace("bad", "alone", 1)
    hub = jaxcast.load_hub("bad", truth, bad="drop")
    same = expected()
    same[1, 4, 1] = np.nan
    np.testing.assert_array_equal(hub.quantiles, same)
