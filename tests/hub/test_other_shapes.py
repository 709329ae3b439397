"""Hubs of other shapes: levels that differ, names of other programs, other folders, other steps."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

import jaxcast
from jaxcast.hub.rounds.pooling import pool_round
from jaxcast.hub.rounds.quantiles import RoundSettings
from jaxcast.hub.tables.target_data import find_target_data
from tests.hub.tiny_hub import COUNT, MODELS, write_hub

DATES = np.datetime64("2024-01-06") + 7 * np.arange(4)
TIDY = "model,location,target_end_date,horizon,quantile,value"
FEW, MANY = (0.25, 0.5, 0.75), (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def rows_of(model, levels, dates=DATES):
    return [f"{model},X,{date},1,{level},{100 * level}" for date in dates for level in levels]


@pytest.fixture
def truth(tmp_path):
    return write(tmp_path / "truth.csv", "location,date,value", [f"X,{date},50" for date in DATES])


@pytest.mark.parametrize(
    ("levels_of", "kept", "models"),
    [
        ({"a": FEW, "b": FEW, "c": FEW, "d": MANY}, FEW, "abcd"),  # 12 quantiles a date, with all of them only 7
        ({"a": MANY, "b": MANY, "c": FEW}, MANY, "ab"),  # 14 against 9
        ({"a": FEW, "b": FEW, "c": (0.01, *FEW)}, FEW, "abc"),
        ({"a": MANY, "b": MANY, "c": MANY[1:]}, MANY[1:-1], "abc"),  # 15 against 14; 0.95 leaves with 0.05
        ({"a": FEW, "b": (0.1, 0.5, 0.9)}, FEW, "a"),
    ],
)
def test_the_levels_kept_are_those_of_which_whole_forecasts_hold_the_most(tmp_path, truth, levels_of, kept, models):
    rows = [row for model, levels in levels_of.items() for row in rows_of(model, levels)]
    path = write(tmp_path / "forecasts.csv", TIDY, rows)
    hub = jaxcast.load_hub(path, truth, bad="drop")
    assert (hub.levels.tolist(), hub.models) == (list(kept), tuple(models))
    np.testing.assert_allclose(hub.quantiles[0, 0, 0], 100 * hub.levels)
    asked = jaxcast.load_hub(path, truth, bad="drop", levels=(0.5,))
    assert asked.models == tuple(levels_of)


def test_all_horizons_keep_the_same_levels(tmp_path, truth):
    rows = [row for model in "abc" for row in rows_of(model, FEW)] + rows_of("d", MANY)
    rows += [row.replace(",1,", ",2,") for row in rows_of("d", MANY)]
    hubs = jaxcast.hub.load_hubs(write(tmp_path / "forecasts.csv", TIDY, rows), truth, bad="drop")
    assert [hub.levels.tolist() for hub in hubs.values()] == [list(FEW)] * 2
    assert "16 rows" in hubs[2].dropped[0] or "32 rows" in hubs[2].dropped[0]


def test_the_horizon_follows_from_the_two_dates(tmp_path, truth):
    header = "model,location,reference_date,target_end_date,quantile,value"
    rows = [f"a,X,{date - 14},{date},{level},{level}" for date in DATES for level in FEW]
    hub = jaxcast.load_hub(write(tmp_path / "forecasts.csv", header, rows), truth, horizon=2)
    np.testing.assert_array_equal(hub.reference_dates, DATES - 14)
    rows[0] = rows[0].replace(str(DATES[0] - 14), str(DATES[0] - 13))
    with pytest.raises(jaxcast.InputError, match=r"row 1: the (horizon|target)"):
        jaxcast.load_hub(write(tmp_path / "forecasts.csv", header, rows), truth, horizon=2)


@pytest.mark.parametrize(
    ("header", "of_truth"),
    [
        ("model,location,target_end_date,horizon,quantile_level,predicted", "location,target_end_date,observed"),
        ("forecaster,geo_value,target_date,ahead,quantile,value", "geo_value,time_value,value"),
        ("model_id,unit,target_end_date,horizon,output_type_id,prediction", "unit,wk_end_date,true_value"),
    ],
)
def test_columns_may_have_the_names_of_other_programs(tmp_path, truth, header, of_truth):
    path = write(tmp_path / "forecasts.csv", header, rows_of("a", FEW))
    other = write(tmp_path / "other.csv", of_truth, truth.read_text().splitlines()[1:])
    hub = jaxcast.load_hub(path, other)
    np.testing.assert_array_equal(hub.truth, [[50] * 4])
    np.testing.assert_allclose(hub.quantiles, np.broadcast_to([25, 50, 75], (1, 4, 1, 3)))


@pytest.mark.parametrize(
    "place", ["{0}/x.csv", "{0}/2024/x.csv", "model_id={0}/part-0.csv", "year=2024/model={0}/x.csv"]
)
def test_files_lie_at_any_depth_in_the_folder_of_a_model(tmp_path, truth, place):
    for model in ("team-a", "team-b"):
        rows = [row.partition(",")[2] for row in rows_of(model, FEW)]
        write(tmp_path / "hub/model-output" / place.format(model), TIDY.partition(",")[2], rows)
    write(tmp_path / "hub/model-output/notes.csv", "anything", ["1"])
    write(tmp_path / "hub/model-output/.cache/team-c/x.csv", "anything", ["1"])
    assert jaxcast.load_hub(tmp_path / "hub", truth).models == ("team-a", "team-b")


def test_a_folder_of_tables_is_read_as_one(tmp_path, truth):
    for model in "ab":
        write(tmp_path / f"tables/{model}.csv", TIDY, rows_of(model, FEW))
    assert jaxcast.load_hub(tmp_path / "tables", truth).models == ("a", "b")
    assert jaxcast.load_hub(tmp_path / "tables", truth, exclude=["a"]).models == ("b",)


def test_dates_of_another_step_are_refused_even_where_bad_rows_are_dropped(tmp_path, truth):
    daily = DATES[0] + np.arange(22)
    path = write(tmp_path / "forecasts.csv", TIDY, rows_of("a", FEW, daily))
    with pytest.raises(jaxcast.InputError, match="18 target dates off the grid of 7 days"):
        jaxcast.load_hub(path, truth, bad="drop")
    assert jaxcast.load_hub(path, truth, step_days=1).quantiles.shape[1] == 22


def test_the_only_table_of_target_data_may_have_any_name(tmp_path):
    path = write(tmp_path / "target-data/target-hospital-admissions.csv", "location,date,value", ["X,2024-01-06,1"])
    assert find_target_data(tmp_path) == (path, None)


def test_levels_that_a_hub_leaves_open_keep_no_model_out(tmp_path):
    """One that nobody gives, and one that one model gives."""
    folder = write_hub(tmp_path / "hub", num_rounds=3)
    tasks = json.loads((folder / "hub-config/tasks.json").read_text())
    ids = tasks["rounds"][0]["model_tasks"][0]["output_type"]["quantile"]["output_type_id"]
    ids["optional"] = [0.05, 0.95, 0.4]
    (folder / "hub-config/tasks.json").write_text(json.dumps(tasks))
    for file in (folder / "model-output" / MODELS[0]).iterdir():
        lines = file.read_text().splitlines()
        lines += [line.replace(",0.25,", ",0.4,") for line in lines if ",quantile,0.25," in line]
        file.write_text("\n".join(lines) + "\n")

    def pool(hub, kind):
        assert hub.models == MODELS
        return np.nanmean(hub.quantiles[:, -1], 1)

    for truth in (find_target_data(folder), None):
        forecast = pool_round(jaxcast.hub.describe_hub(folder), "2026-01-17", RoundSettings("ours-pool", pool, truth))
        rows = forecast.table.frame.filter((pl.col("target") == COUNT) & (pl.col("output_type") == "quantile"))
        assert rows["output_type_id"].unique().sort().to_list() == ["0.1", "0.25", "0.5", "0.75", "0.9"]
    shutil.rmtree(folder)
