import gzip

import numpy as np
import pytest

import jaxcast
from jaxcast.series import draw_windows, panel_of_table, panel_windows, read_panel, seasonal_lags, series_panel
from jaxcast.series.panels import long_files
from jaxcast.series.panels.time_features import default_seasons, default_time_features

LENGTHS = (9, 1, 5, 2, 14)
GLUONTS_HOURLY = [
    *range(1, 8),
    *(24 * day + near for day in range(1, 8) for near in (-1, 0, 1)),
    *(168 * week + near for week in (2, 3, 4) for near in (-1, 0, 1)),
    *(719, 720, 721),
]


def random_panel(seed=0):
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=length) for length in LENGTHS]
    values[0][3] = np.nan
    values[4][:2] = np.nan
    return values, series_panel(
        values,
        past_covariates=[rng.normal(size=(length, 2)) for length in LENGTHS],
        future_covariates=[rng.normal(size=(length + 3, 1)) for length in LENGTHS],
        static_covariates=rng.normal(size=(5, 2)),
        categories={"kind": ["a", "b", "a", "c", "b"], "place": ["x"] * 5},
    )


def one_window(values, newest, history_size, num_leads):
    """The window of one series, cell by cell."""
    steps = range(newest + 1 - history_size, newest + 1 + num_leads)
    cells = [values[k] if 0 <= k < len(values) else np.nan for k in steps]
    targets = np.asarray(cells[history_size:])
    return cells[:history_size], np.where(np.isnan(targets), 0, targets), np.isfinite(targets)


def test_windows_are_those_of_a_loop_over_series_and_steps():
    values, panel = random_panel()
    values[4] = values[4][2:]  # a series begins at its first known value
    windows = panel_windows(panel, history_size=4, num_leads=2, stride=3)
    expected = [
        one_window(one, newest, 4, 2)
        for one in values
        for newest in sorted(range(len(one) - 3, -1, -3))
        if len(one) > 2
    ]
    np.testing.assert_array_equal(windows.history, [history for history, _, _ in expected])
    np.testing.assert_array_equal(windows.targets, [targets for _, targets, _ in expected])
    np.testing.assert_array_equal(windows.weights, [known for _, _, known in expected])
    newest = panel_windows(panel, history_size=4, num_leads=2, newest=panel.newest)
    np.testing.assert_array_equal(newest.history[1], [np.nan] * 3 + [values[1][0]])
    assert newest.weights.sum() == 0
    assert newest.history[3, 2:].tolist() == values[3].tolist()


def test_covariates_and_categories_stand_beside_their_values():
    _, panel = random_panel()
    windows = panel_windows(panel, history_size=3, num_leads=3, newest=panel.newest)
    for k, (own, length) in enumerate(zip(panel.offsets, panel.lengths, strict=True)):
        seen = min(3, length)
        np.testing.assert_array_equal(
            windows.past[k, 3 - seen :], panel.past_covariates[own + length - seen : own + length]
        )
        known = panel.future_covariates[own + length - seen : own + length + 3]
        np.testing.assert_array_equal(windows.known[k, 3 - seen :], known)
        assert np.isnan(windows.known[k, : 3 - seen]).all()
    np.testing.assert_array_equal(windows.static, panel.static_covariates)
    assert windows.categories.tolist() == [[1, 1], [2, 1], [1, 1], [3, 1], [2, 1]]
    assert windows.sizes(panel.cardinalities).cardinalities == (3, 1)


def test_values_after_the_newest_change_nothing_but_targets():
    values, panel = random_panel()
    other = series_panel([np.where(np.arange(len(one)) > 4, one + 9, one) for one in values])
    first, second = (
        panel_windows(one, history_size=3, num_leads=2, newest=[4, 4], series=[0, 4]) for one in (panel, other)
    )
    np.testing.assert_array_equal(first.history[0], second.history[0])
    assert (first.targets[0] != second.targets[0]).all()


def test_panels_without_their_last_values_and_of_some_series_are_views():
    _, panel = random_panel()
    part = panel.without_last(2).select([4, 0])
    assert part.names == ("5", "1")
    assert part.lengths.tolist() == [10, 7]
    assert part.values is panel.values
    np.testing.assert_array_equal(part.of("1"), panel.of("1")[:-2])
    windows = panel_windows(part, history_size=3, num_leads=2, newest=part.newest)
    assert windows.weights.sum() == 0  # what was left out is not known
    assert np.isfinite(windows.known).all()  # but for what is known in advance


def test_drawn_windows_are_reproduced_and_as_frequent_as_asked():
    panel = series_panel([np.arange(100.0), 200 + np.arange(20.0), np.asarray([900.0, 901.0])])
    by_value = draw_windows(panel, num=6000, history_size=4, num_leads=10, seed=1)
    by_series = draw_windows(panel, num=6000, history_size=4, num_leads=10, seed=1, weighting="series", least_history=4)
    again = draw_windows(panel, num=6000, history_size=4, num_leads=10, seed=1)
    by_scale = draw_windows(panel, num=6000, history_size=4, num_leads=10, seed=1, weighting="scale")
    np.testing.assert_array_equal(by_value.history, again.history)
    of_first = [np.mean(windows.history[:, -1] < 200) for windows in (by_value, by_series)]
    np.testing.assert_allclose(of_first, [90 / 101, 1 / 3], atol=0.02)  # the third series has one window only
    shares = np.asarray([100 * 49.5, 20 * 209.5, 2 * 900.5])
    np.testing.assert_allclose(np.mean(by_scale.history[:, -1] < 200), shares[0] / shares.sum(), atol=0.02)
    long = by_series.history[:, -1] < 900
    assert np.isfinite(by_series.history[long]).all()
    assert np.isnan(by_series.history[~long, :3]).all()
    assert by_series.weights[~long].sum(1).max() == 1
    assert by_series.weights[long].min() == 1


def test_features_of_time_are_those_of_the_calendar():
    hours = np.arange("2023-12-30T05", "2024-01-02T00", dtype="datetime64[h]")
    panel = series_panel([np.ones(len(hours)), np.ones(5)], dates=[hours, hours[20:25]])
    assert default_time_features(panel.calendar, ()) == ("hour_of_day", "day_of_week", "day_of_month", "day_of_year")
    assert default_seasons(panel.calendar) == (24, 168)
    names = [*default_time_features(panel.calendar, ()), "month_of_year", "age"]
    windows = panel_windows(panel, history_size=2, num_leads=4, newest=panel.newest, time_features=names)
    own = hours[23:29].astype(object)
    expected = [
        [
            date.hour / 23 - 0.5,
            date.weekday() / 6 - 0.5,
            (date.day - 1) / 30 - 0.5,
            (date.timetuple().tm_yday - 1) / 365 - 0.5,
            (date.month - 1) / 11 - 0.5,
            np.log10(2 + 3 + k),
        ]
        for k, date in enumerate(own)
    ]
    np.testing.assert_allclose(windows.known[1], expected)
    cyclic = panel_windows(
        panel, history_size=2, num_leads=4, newest=panel.newest, time_features=["hour_of_day"], cyclic=True
    )
    angle = 2 * np.pi * np.asarray([date.hour for date in own]) / 24
    np.testing.assert_allclose(cyclic.known[1], np.stack([np.sin(angle), np.cos(angle)], 1), atol=1e-12)


@pytest.mark.parametrize(
    ("dates", "features", "seasons"),
    [
        (np.arange("2020-01", "2021-01", dtype="datetime64[M]"), ("month_of_year",), (12,)),
        (
            np.arange("2020-01-01", "2020-02-01", dtype="datetime64[D]"),
            ("day_of_week", "day_of_month", "day_of_year"),
            (7,),
        ),
        (np.arange("2020-01-01", "2020-05-01", 7, dtype="datetime64[D]"), ("day_of_month", "day_of_year"), (52,)),
        (
            np.arange("2020-01-01T00:00", "2020-01-02T00:00", 15, dtype="datetime64[m]"),
            ("minute_of_hour", "hour_of_day", "day_of_week", "day_of_month", "day_of_year"),
            (96, 672),
        ),
    ],
)
def test_features_and_seasons_fit_the_step(dates, features, seasons):
    panel = series_panel([np.ones(len(dates))], dates=[dates])
    assert default_time_features(panel.calendar, ()) == features
    assert default_seasons(panel.calendar) == seasons


def test_hourly_lags_are_those_of_gluonts():
    assert list(seasonal_lags((24, 168, 720), longest=1200, num_cycles=1)) == GLUONTS_HOURLY
    assert seasonal_lags((12,), longest=36, num_recent=2, num_cycles=3) == (1, 2, 11, 12, 13, 23, 24, 25, 35, 36)


def long_rows(seed=0):
    """Rows of a long table in no order, and the panel that they make."""
    rng = np.random.default_rng(seed)
    days = np.arange("2024-01-01", "2024-02-10", dtype="datetime64[D]")
    rows, values = [], {}
    for number in range(7):
        first, length = int(rng.integers(0, 20)), int(rng.integers(3, 20))
        values[f"s{number}"] = rng.integers(0, 99, length) / 8
        for k in range(length + 2):
            y = values[f"s{number}"][k] if k < length else None
            rows.append((days[first + k], f"s{number}", y, first + k, number % 3, f"kind {number % 3}"))
    order = rng.permutation(len(rows))
    return [rows[k] for k in order], values


@pytest.fixture(scope="module")
def long_files_of_rows(tmp_path_factory):
    pl = pytest.importorskip("polars")
    folder = tmp_path_factory.mktemp("panels")
    rows, values = long_rows()
    frame = pl.DataFrame(
        {
            "date": [row[0].astype(object) for row in rows],
            "unique_id": [row[1] for row in rows],
            "y": [row[2] for row in rows],
            "price": [float(row[3]) for row in rows],
            "size": [row[4] for row in rows],
            "kind": [row[5] for row in rows],
        }
    )
    frame.write_parquet(folder / "long.parquet", row_group_size=16)
    frame.write_csv(folder / "long.csv")
    (folder / "parts").mkdir()
    frame[:50].write_parquet(folder / "parts" / "1.parquet")
    frame[50:].write_parquet(folder / "parts" / "2.parquet")
    return folder, values


OPTIONS = {"future_covariates": ["price"], "static_covariates": ["size"], "categories": ["kind"]}


@pytest.mark.parametrize("name", ["long.csv", "long.parquet", "parts"])
def test_long_tables_are_read_in_any_order(long_files_of_rows, name):
    folder, values = long_files_of_rows
    panel = read_panel(folder / name, **OPTIONS)
    assert set(panel.names) == set(values)
    for k, one in enumerate(panel.names):
        np.testing.assert_array_equal(panel.of(one), values[one])
        own = panel.offsets[k] + np.arange(panel.num_rows[k])
        np.testing.assert_array_equal(
            panel.future_covariates[own, 0], panel.starts[k] + np.arange(len(own)) + panel_start(panel)
        )
        assert panel.category_values[0][panel.categories[k, 0] - 1] == f"kind {int(one[1:]) % 3}"
        assert panel.static_covariates[k, 0] == int(one[1:]) % 3


def panel_start(panel):
    """The day of January on which the calendar begins, from 0."""
    return (panel.calendar.first - np.datetime64("2024-01-01")).astype("timedelta64[D]").astype(int)


def test_a_large_file_is_never_held_and_gives_the_same_windows(long_files_of_rows, monkeypatch):
    folder, _ = long_files_of_rows
    whole = read_panel(folder / "long.parquet", **OPTIONS)
    sizes = []
    block = long_files._block

    def counted(frame, *args):
        sizes.append(len(frame))
        return block(frame, *args)

    monkeypatch.setattr(long_files, "_block", counted)
    mapped = read_panel(folder / "long.parquet", **OPTIONS, in_memory=False, block_size=10)
    assert max(sizes) == 10
    assert sum(sizes) == 3 * sum(whole.num_rows)
    assert isinstance(mapped.values, np.memmap)
    assert isinstance(mapped.future_covariates, np.memmap)
    first, second = (draw_windows(one, num=64, history_size=5, num_leads=2, seed=3) for one in (whole, mapped))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_archive_of_m4_is_read_with_and_without_its_test_values(tmp_path):
    np.savez(
        tmp_path / "m4.npz",
        train=np.arange(7.0),
        length=[3, 4],
        test=np.arange(4.0).reshape(2, 2) + 90,
        series="H1\nH2",
    )
    panel, whole = (read_panel(tmp_path / "m4.npz", with_test=test) for test in (False, True))
    assert panel.names == ("H1", "H2")
    assert panel.of("H2").tolist() == [3.0, 4.0, 5.0, 6.0]
    assert whole.of("H1").tolist() == [0.0, 1.0, 2.0, 90.0, 91.0]
    np.testing.assert_array_equal(whole.without_last(2).lengths, panel.lengths)
    np.savez(tmp_path / "m4.npz", train=np.arange(7.0), length=[3, 4], series="H1")
    with pytest.raises(jaxcast.InputError, match="expected 2 names in series, one a line, got 1"):
        read_panel(tmp_path / "m4.npz")


@pytest.mark.parametrize(
    ("series", "names"),
    [
        (["a b", "ü"], ("a b", "ü")),
        ([3, 11], ("3", "11")),
        (np.asarray([[3], [11]]), ("3", "11")),
        ("a b\nü\n", ("a b", "ü")),
        ("a b\nü".encode(), ("a b", "ü")),
        ([b"a b", "ü".encode()], ("a b", "ü")),
    ],
)
def test_names_of_an_archive_are_texts_numbers_or_lines(tmp_path, series, names):
    np.savez(tmp_path / "a.npz", train=np.arange(7.0), length=[3, 4], series=series)
    assert read_panel(tmp_path / "a.npz").names == names


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"series": np.asarray(["a", "b"], object)}, "'series' is pickled Python objects.*array of numbers or texts"),
        ({"train": np.asarray(["1"] * 7)}, "expected numbers in 'train'"),
        ({"length": [3.0, 4.0]}, "whole numbers, got shapes .7,. and .2,. of float64"),
        ({"length": [3, 5]}, "add up to the 7 values of train.*got the sum 8"),
        ({"length": [-3, 10]}, "not be negative"),
    ],
)
def test_an_archive_that_is_none_is_refused_in_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **({"train": np.arange(7.0), "length": [3, 4], "series": "a\nb"} | arrays))
    with pytest.raises(jaxcast.InputError, match=message) as error:
        read_panel(tmp_path / "a.npz")
    assert "\n" not in str(error.value)


def test_an_unknown_category_is_number_0():
    panel = series_panel([np.ones(3)] * 3, categories={"kind": ["b", "", "a"]})
    assert panel.categories[:, 0].tolist() == [2, 0, 1]
    assert panel.cardinalities == (2,)


def test_steps_may_be_numbers_instead_of_dates(tmp_path):
    (tmp_path / "steps.csv").write_text("ds,unique_id,y\n3,a,1\n4,a,2\n6,a,3\n5,b,4\n")
    panel = read_panel(tmp_path / "steps.csv")
    (tmp_path / "steps.csv.gz").write_bytes(gzip.compress((tmp_path / "steps.csv").read_bytes()))
    np.testing.assert_array_equal(read_panel(tmp_path / "steps.csv.gz").values, panel.values)
    np.testing.assert_array_equal(panel.values, [1, 2, np.nan, 3, 4])
    assert panel.starts.tolist() == [0, 2]
    assert panel.calendar is None


def test_a_table_becomes_a_panel():
    dates = np.arange("2024-01", "2024-05", dtype="datetime64[M]")
    values = np.asarray([[1.0, np.nan], [2.0, np.nan], [3.0, 3.0], [np.nan, 4.0]])
    table = jaxcast.series.series_table(values, dates, future_covariates=np.arange(10.0).reshape(5, 2, 1))
    panel = panel_of_table(table)
    assert panel.lengths.tolist() == [3, 2]
    assert panel.num_rows.tolist() == [5, 3]
    assert panel.future_covariates[:, 0].tolist() == [0, 2, 4, 6, 8, 5, 7, 9]
    assert panel.date(1, 2) == "2024-05-01"


BAD = {
    "no value": (lambda: series_panel([np.ones(3), np.full(3, np.nan)]), "series '2' has no value at all"),
    "infinity": (lambda: series_panel([np.ones(3), [1, np.inf]]), "series '2' holds infinity"),
    "same names": (lambda: series_panel([np.ones(3)] * 2, names=["a", "a"]), "got 2 called 'a'"),
    "fewer names": (lambda: series_panel([np.ones(3)] * 2, names=["a"]), "a name for each of 2 series, got 1"),
    "category": (
        lambda: series_panel([np.ones(3)] * 2, categories={"kind": ["a"]}),
        "expected one text of the category",
    ),
    "no category": (lambda: series_panel([np.ones(3)], categories={"kind": [""]}), "expected one text of the category"),
    "season": (
        lambda: panel_windows(series_panel([np.ones(3)]), history_size=2, num_leads=1, time_features=["hour_of_day"]),
        "needs dates",
    ),
    "feature": (
        lambda: panel_windows(series_panel([np.ones(3)]), history_size=2, num_leads=1, time_features=["hour"]),
        "unknown time feature 'hour'",
    ),
    "newest": (
        lambda: panel_windows(series_panel([np.ones(3)]), history_size=2, num_leads=1, newest=[3]),
        "newest step from 0 to 2",
    ),
    "single values": (
        lambda: draw_windows(series_panel([np.ones(1)]), num=2, history_size=2, num_leads=1),
        "no series has two values",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_panels_are_refused_in_one_line(case):
    make, message = BAD[case]
    with pytest.raises(jaxcast.InputError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


BAD_TABLES = {
    "twice": (
        "date,series,value\n2024-01-01,a,1\n2024-01-02,a,2\n2024-01-03,a,3\n2024-01-02,a,4\n",
        {},
        "2024-01-02 comes twice",
    ),
    "category changes": (
        "date,series,value,kind\n2024-01-01,a,1,x\n2024-01-02,a,2,y\n2024-01-03,a,3,x\n",
        {"categories": ["kind"]},
        "the category 'kind' of 'a' changes from 'x' to 'y'",
    ),
    "static changes": (
        "date,series,value,size\n2024-01-01,a,1,1\n2024-01-02,a,2,2\n2024-01-03,a,3,1\n",
        {"static_covariates": ["size"]},
        "the static covariate 'size' of 'a' changes",
    ),
    "no series": ("date,series,value\n2024-01-01,,1\n2024-01-02,a,2\n2024-01-03,a,2\n", {}, "column 'series' is empty"),
    "no column": ("date,series,value\n2024-01-01,a,1\n", {"categories": ["kind"]}, "no column 'kind'"),
    "no value": ("date,series,value\n2024-01-01,a,1\n2024-01-02,a,2\n2024-01-03,b,\n", {}, "series 'b' has no value"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_are_refused_in_one_line(tmp_path, case):
    text, options, message = BAD_TABLES[case]
    (tmp_path / "long.csv").write_text(text)
    with pytest.raises(jaxcast.InputError, match=message) as error:
        read_panel(tmp_path / "long.csv", **options)
    assert "\n" not in str(error.value)


BAD_FRAMES = {
    "null date": ({"date": [None, 2, 3]}, "row 1: the column 'date' is empty"),
    "text": ({"value": ["1", "x", "3"]}, "row 1: expected numbers in column 'value', got String"),
    "infinite": ({"value": [1.0, float("inf"), 3.0]}, "row 2: 'value' is inf, expected numbers"),
    "no dates": ({"date": [0.5, 1.5, 2.5]}, "expected dates in column 'date', got Float64"),
    "nested": ({"series": [["a"], ["a"], ["a"]]}, "the column 'series' holds List"),
}


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_parquet_files_are_refused_in_one_line(tmp_path, case):
    pl = pytest.importorskip("polars")
    changed, message = BAD_FRAMES[case]
    pl.DataFrame({"date": [1, 2, 3], "series": ["a"] * 3, "value": [1.0, 2.0, 3.0]} | changed).write_parquet(
        tmp_path / "long.parquet"
    )
    with pytest.raises(jaxcast.InputError, match=message) as error:
        read_panel(tmp_path / "long.parquet", series="series")
    assert "\n" not in str(error.value)


def test_wide_tables_and_folders_of_one_archive_are_panels(tmp_path):
    (tmp_path / "wide.csv").write_text("date,north,south\n2024-01-01,,2\n2024-01-02,3,4\n2024-01-03,5,6\n")
    panel = read_panel(tmp_path / "wide.csv")
    assert panel.names == ("north", "south")
    assert panel.values.tolist() == [3, 5, 2, 4, 6]
    with pytest.raises(jaxcast.InputError, match="need a long table"):
        read_panel(tmp_path / "wide.csv", categories=["south"])
    np.savez(tmp_path / "m4.npz", train=np.arange(3.0), length=[3], series="H1")
    assert read_panel(tmp_path).of("H1").tolist() == [0, 1, 2]
