"""Target data of hubs in all their forms, and hubs whose rounds are on Wednesdays."""

import shutil

import numpy as np
import polars as pl
import pytest

import jaxcast
from jaxcast.hub.tables.target_data import find_target_data
from tests.hub.tiny_hub import COUNT, MODELS, write_hub


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Rounds on Wednesdays from 2025-10-01; the week of horizon 0 ends ten days before, on a
    Sunday."""
    folder = tmp_path_factory.mktemp("hub") / "tiny"
    return write_hub(folder, column="origin_date", first="2025-10-01", beyond=-10, num_rounds=4, as_of=True)


def load(hub, truth, vintages=None, **options):
    return jaxcast.load_hub(hub, truth, vintages=vintages, target=COUNT, horizon=1, num_lags=3, **options)


def same(first, second):
    for name in ("quantiles", "truth", "observed", "releases", "release_of", "as_of"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def in_partitions(table, folder, keys, suffix):
    for values, rows in pl.read_csv(table, infer_schema=False).group_by(keys):
        names = [f"{key}={value.replace(' ', '%20')}" for key, value in zip(keys, values, strict=True)]
        (place := folder.joinpath(*names)).mkdir(parents=True)
        rows = rows.drop(keys)
        rows.write_parquet(place / "part-0.parquet") if suffix == ".parquet" else rows.write_csv(place / "part-0.csv")


@pytest.mark.parametrize("keys", [["as_of"], ["target"], ["as_of", "target"]], ids="/".join)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_partitions_are_read_like_one_table(hub, tmp_path, keys, suffix):
    table = hub / "target-data/time-series.csv"
    in_partitions(table, tmp_path / "target-data/time-series", keys, suffix)
    found = find_target_data(tmp_path)
    assert found == (tmp_path / "target-data/time-series", None)
    same(load(hub, found.truth), load(hub, table))


def test_snapshots_are_releases(hub, tmp_path):
    table = pl.read_csv(hub / "target-data/time-series.csv", infer_schema=False)
    place = tmp_path / "target-data/source/snapshots"
    place.mkdir(parents=True)
    for (day,), rows in table.group_by("as_of"):
        rows.drop("as_of").rename({"target_end_date": "truth_date"}).write_csv(place / f"{day}-admissions.csv")
    newest = table.filter(pl.col("as_of") == table["as_of"].max()).drop("as_of")
    newest.write_csv(tmp_path / "target-data/latest-admissions.csv")
    found = find_target_data(tmp_path)
    assert found == (tmp_path / "target-data/latest-admissions.csv", place)
    same(load(hub, *found), load(hub, hub / "target-data/time-series.csv"))


def test_the_date_is_called_as_the_hub_describes_it(hub, tmp_path):
    shutil.copytree(hub, folder := tmp_path / "hub")
    (folder / "hub-config/target-data.json").write_text('{"date_col": "week_ending", "versioned": true}')
    assert jaxcast.hub.describe_hub(folder).target_data.is_versioned
    table = folder / "target-data/time-series.csv"
    table.write_text(table.read_text().replace("target_end_date", "week_ending"))
    same(load(folder, table), load(hub, hub / "target-data/time-series.csv"))


def test_a_hub_without_one_table_of_target_data_is_refused(hub, tmp_path):
    with pytest.raises(jaxcast.InputError, match="holds no target data: no time-series"):
        find_target_data(tmp_path)
    shutil.copytree(hub / "target-data", tmp_path / "target-data")
    (tmp_path / "target-data/time-series.parquet").write_bytes(b"")
    with pytest.raises(jaxcast.InputError, match=r"holds time-series.csv and time-series.parquet; keep one"):
        find_target_data(tmp_path)
    (tmp_path / "target-data/oracle-output").mkdir()
    with pytest.raises(jaxcast.InputError, match="there is no truth table"):
        load(hub, tmp_path / "target-data/oracle-output")


def test_rounds_on_wednesdays_use_the_release_before_them(hub):
    loaded = load(hub, hub / "target-data/time-series.csv")
    # The round of 2025-10-01 forecasts 2025-09-28 at horizon 1, and may use the release of
    # 2025-09-28.
    np.testing.assert_array_equal(loaded.dates, np.datetime64("2025-09-28") + 7 * np.arange(4))
    np.testing.assert_array_equal(loaded.as_of[:4], np.datetime64("2025-09-28") + 7 * np.arange(4))
    np.testing.assert_array_equal(loaded.release_of, [0, 1, 2, 3])
    assert loaded.first_horizon == 0  # the newest value known in a round is that of horizon -1
    np.testing.assert_array_equal(loaded.observed[0], np.full((4, 3), 29))
    np.testing.assert_array_equal(loaded.truth[0], [30, 30, 30, np.nan])
    assert loaded.models == MODELS
    np.testing.assert_array_equal(loaded.reference_dates, np.datetime64("2025-10-01") + 7 * np.arange(4))
    np.testing.assert_array_equal(loaded.until(loaded.dates[1]).reference_dates, loaded.reference_dates[:2])
    of_other_horizon = jaxcast.load_hub(hub, hub / "target-data/time-series.csv", target=COUNT, horizon=0)
    np.testing.assert_array_equal(of_other_horizon.reference_dates, loaded.reference_dates)


def test_a_single_round_that_is_off_by_weeks_is_refused(hub, tmp_path):
    shutil.copytree(hub, tmp_path / "hub")
    file = tmp_path / f"hub/model-output/{MODELS[1]}/2025-10-08-{MODELS[1]}.csv"
    lines = file.read_text().splitlines()
    lines[1] = lines[1].replace("2025-10-08", "2025-10-22")
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(
        jaxcast.InputError, match=rf"2025-10-08-{MODELS[1]}.csv, row 1: the origin_date of .*2025-10-22"
    ):
        jaxcast.load_hub(
            tmp_path / "hub", hub / "target-data/time-series.csv", target=COUNT, horizon=-1, first_horizon=-1
        )
