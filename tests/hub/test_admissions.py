"""The hub of admissions with every release of its truth; skipped, with the reason, where its data
are not there."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import jaxcast
from jaxcast.hub.revisions import revision_sizes
from jaxcast.hub.tables.checks import Grid
from jaxcast.hub.tables.releases import place_targets, read_targets
from tests.real_data import real_data

pytestmark = pytest.mark.slow
OTHERS = ("CovidHub-ensemble", "CovidHub-baseline", "CMU-climate_baseline")
WINDOWS = (("2024-11-01", "2025-05-31"), ("2025-06-01", "2025-11-30"), ("2025-12-01", "2026-08-31"))
# WIS in the three windows, and coverage of the 50 and 95 % intervals over all of them.
PRINTED = {
    0: {
        "CovidHub-ensemble": "23.57 12.17 8.33 47.4 92.3",
        "CovidHub-baseline": "29.37 17.41 10.58 58.9 90.6",
        "mean": "23.59 11.04 8.19 48.4 92.9",
        "median": "23.83 11.70 8.39 47.9 92.7",
    },
    1: {
        "CovidHub-ensemble": "28.66 17.09 10.78 52.5 94.2",
        "CovidHub-baseline": "36.25 24.95 14.55 65.7 92.4",
        "mean": "28.88 15.63 10.70 55.1 94.5",
        "median": "29.19 16.44 10.83 52.7 94.7",
    },
    2: {
        "CovidHub-ensemble": "33.16 24.66 13.67 52.8 94.7",
        "CovidHub-baseline": "43.35 32.99 18.39 65.9 92.3",
        "mean": "32.63 24.09 13.92 53.8 94.0",
        "median": "33.07 24.67 13.69 52.8 94.6",
    },
    3: {
        "CovidHub-ensemble": "36.93 30.35 15.82 53.2 94.6",
        "CovidHub-baseline": "50.06 39.35 21.70 66.8 92.4",
        "mean": "35.74 29.49 16.40 53.8 94.1",
        "median": "36.49 30.36 15.86 52.7 94.5",
    },
}
FOLDER = "us-covid-admissions-hub"


@pytest.fixture(scope="module")
def tables():
    return [real_data(f"{FOLDER}/{name}.parquet") for name in ("forecasts", "truth_vintages", "truth")]


@pytest.fixture(scope="module")
def hubs(tables):
    return jaxcast.hub.load_hubs(*tables[:2])


def test_the_newest_of_all_releases_is_the_final_truth(tables, hubs):
    assert {horizon: hub.quantiles.shape for horizon, hub in hubs.items()} == {
        0: (53, 92, 18, 23), 1: (53, 92, 18, 23), 2: (53, 92, 15, 23), 3: (53, 92, 14, 23),
    }  # fmt: skip
    final = jaxcast.load_hub(tables[0], tables[2], horizon=0)
    np.testing.assert_array_equal(hubs[0].truth, final.truth)
    assert (final.as_of, len(hubs[0].as_of)) == (None, 84)
    assert str(hubs[0].dates[hubs[0].pending.any(0)]) == "['2026-08-22']"
    for horizon, hub in hubs.items():
        rounds = hub.dates - horizon * hub.step
        assert (hub.as_of[hub.release_of] < rounds).all()
        later = np.minimum(hub.release_of + 1, 83)
        assert ((hub.as_of[later] >= rounds) | (hub.release_of == 83)).all()


@pytest.mark.parametrize("horizon", PRINTED)
def test_reference_scores_to_the_printed_digits(hubs, horizon):
    hub = hubs[horizon]
    places = np.asarray([name != "US" for name in hub.locations])
    components = hub.only([name for name in hub.models if name not in OTHERS]).forecasts()
    pools = {"mean": jaxcast.hub.QuantileMean(), "median": jaxcast.hub.QuantileMedian()}
    found = {name: np.asarray(jaxcast.hub.pool_forecasts(pool, components).forecast) for name, pool in pools.items()}
    found |= {name: hub.quantiles[:, :, hub.models.index(name)] for name in OTHERS[:2]}
    tasks = np.isfinite(found["CovidHub-ensemble"]).all(-1) & places[:, None]
    inside = [tasks & hub.weeks(*window) for window in WINDOWS]
    for name, printed in PRINTED[horizon].items():
        wis = np.asarray(jaxcast.scores.weighted_interval_score(found[name], hub.truth, hub.levels).wis)
        numbers = [f"{np.nanmean(wis[window]):.2f}" for window in inside]
        for nominal in (0.5, 0.95):
            covered = jaxcast.scores.interval_coverage(found[name], hub.truth, hub.levels, nominal=nominal)
            numbers.append(f"{100 * np.nanmean(np.asarray(covered)[np.logical_or.reduce(inside)]):.1f}")
        assert " ".join(numbers) == printed


def test_revisions_are_as_large_as_its_source_says(tables, hubs):
    """Over all dates with truth, also those before the first forecast."""
    rows = read_targets(tables[1], None, None, hubs[0].locations)
    dates = np.arange("2024-11-09", "2026-08-16", np.timedelta64(7, "D"), dtype="datetime64[D]")
    none = np.full(len(dates), np.datetime64("NaT", "D"), "datetime64[D]")
    grid = Grid(np.empty((53, len(dates), 0, 0)), list(hubs[0].locations), dates, [], np.empty(0), none, none, [])
    known = place_targets(rows, tables[1], grid, 7, 0)
    num_values, changed, change, drift = revision_sizes(known.values)
    assert num_values == 4929
    assert [f"{100 * share:.1f}" for share in (1 - changed, change, drift)] == ["25.2", "13.1", "8.5"]
    found = jaxcast.hub.summarise_revisions(hubs[0])
    assert (found.num_releases, str(found.first), str(found.last)) == (84, "2024-11-20", "2026-08-19")
    assert [tuple(map(str, gap)) for gap in found.gaps] == [("2025-01-15", "2025-01-29"), ("2025-09-24", "2025-11-19")]
    assert f"{found.newest_seen:.2f}" == "0.12"


@pytest.mark.parametrize(
    ("folder", "truth", "target", "horizons", "num_pending"),
    [
        ("hub", "time-series.parquet", "wk inc covid hosp", (0, 1, 2, 3), {0: 5, 1: 10, 2: 15, 3: 15}),
        ("hub", "time-series.parquet", "wk inc covid prop ed visits", (0, 1, 2, 3), {0: 5, 1: 10, 2: 15, 3: 15}),
        ("hub", "oracle-output.parquet", "wk inc covid hosp", (0, 3), {0: 5, 3: 15}),
        ("hub_all_types", "time-series.csv", "wk inc flu hosp", (0, 1, 2, 3), {0: 0, 1: 0, 2: 0, 3: 0}),
    ],
)
def test_the_two_small_folders_are_read_whole(folder, truth, target, horizons, num_pending):
    """Each quantile is that of the file which a plain reading finds."""
    path = real_data(f"{FOLDER}/{folder}")
    hubs = jaxcast.hub.load_hubs(path, path / "target-data" / truth, target=target, horizons=horizons)
    frames = []
    for file in sorted(path.glob("model-output/*/*")):
        frame = pl.read_csv(file, infer_schema=False) if file.suffix == ".csv" else pl.read_parquet(file)
        frame = frame.select(pl.all().cast(pl.String)).filter(output_type="quantile", target=target)
        frames.append(frame.with_columns(model=pl.lit(file.parent.name)).select(sorted([*frame.columns, "model"])))
    rows = pl.concat(frames, how="diagonal")
    for horizon, hub in hubs.items():
        of_horizon = rows.filter(pl.col("horizon").cast(pl.Float64) == horizon)
        assert int((~np.isnan(hub.quantiles)).sum()) == len(of_horizon)
        assert int(hub.pending.sum()) == num_pending[horizon]
        for row in of_horizon.sample(40, seed=0).iter_rows(named=True):
            end = np.datetime64(row["reference_date"]) + horizon * hub.step
            level = int(np.argmin(abs(hub.levels - float(row["output_type_id"]))))
            place, time = hub.locations.index(row["location"]), int(np.flatnonzero(hub.dates == end)[0])
            assert hub.quantiles[place, time, hub.models.index(row["model"]), level] == float(row["value"])


COST = """
import pathlib, re, sys, time
import jaxcast, polars
start = time.process_time()
hubs = jaxcast.hub.load_hubs(sys.argv[1], sys.argv[2], horizons=[int(h) for h in sys.argv[3].split(",")])
# The peak of getrusage would be that of the process which started this one, if that is larger.
peak = re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())
print(time.process_time() - start, int(peak[1]) * 1024)
"""


@pytest.mark.parametrize("horizons", ["0", "0,1,2,3"])
def test_a_table_of_millions_of_rows_is_read_in_seconds_and_a_gigabyte(tables, horizons):
    """Seconds of computing, about 2 where nothing else runs; twice as many are allowed for a busy
    machine."""
    args = [sys.executable, "-c", COST, str(tables[0]), str(tables[1]), horizons]
    seconds, memory = map(float, subprocess.run(args, capture_output=True, text=True, check=True).stdout.split())
    assert seconds < 6
    assert memory < 2**30
