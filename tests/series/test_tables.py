"""Tables of series as users write them: ids, numbers, separators, dates."""

import csv
import datetime
import json

import numpy as np
import polars as pl
import pytest

import jaxcast
from experiments.datasets import read_folder
from jaxcast.cli.main import parse
from jaxcast.series.files.graphs import read_adjacency
from jaxcast.series.methods import check_methods
from tests.series import faults

pytestmark = pytest.mark.slow

NAN = np.nan


def run(*args):
    parse([str(arg) for arg in args]).run()


def wide(path, dates, separator=",", encoding="utf-8", names=("a", "b"), head="date"):
    rows = [separator.join([head, *names])]
    rows += [
        separator.join([str(date), *(f"{(3 * n + 7 * k) % 11}.5" for k in range(len(names)))])
        for n, date in enumerate(dates)
    ]
    path.write_bytes(("\n".join(rows) + "\n").encode(encoding))
    return path


DAY = datetime.date(2024, 1, 1)
IDS = {
    **{str(kind): pl.Series([1, 2], dtype=kind) for kind in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt64)},
    "large": pl.Series([9007199254740993, 9007199254740992]),
    "negative": pl.Series([-1, 10**18]),
    "bool": pl.Series([True, False]),
    "categorical": pl.Series(["x", "y,z"], dtype=pl.Categorical),
    "enum": pl.Series(["b", "a"], dtype=pl.Enum(["a", "b"])),
    "dates": pl.Series([DAY, DAY + datetime.timedelta(1)]),
    "times": pl.Series([datetime.datetime(2024, 1, 1, 5), datetime.datetime(2024, 1, 1, 6)]),
    "floats": pl.Series([1.0, 2.5]),
    "decimals": pl.Series(["1.50", "2.00"]).str.to_decimal(scale=2),
    "texts": pl.Series(["01", "1"]),
    "mixed": pl.Series(["1", "1.0"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", IDS)
def test_ids_are_named_alike_by_csv_and_parquet(kind, tmp_path):
    days = [DAY + datetime.timedelta(n) for n in range(4)]
    ids = pl.concat([IDS[kind][k : k + 1].extend_constant(IDS[kind][k], 3) for k in range(2)])
    table = pl.DataFrame({"ds": days * 2, "unique_id": ids, "y": [*range(8)]})
    table.write_parquet(tmp_path / "t.parquet")
    table.write_csv(tmp_path / "t.csv")
    one, other = (jaxcast.read_series(tmp_path / f"t.{kind}") for kind in ("csv", "parquet"))
    assert one.names == other.names
    assert len(one.names) == 2
    assert one.calendar == other.calendar
    np.testing.assert_array_equal(one.values, [[0, 4], [1, 5], [2, 6], [3, 7]])
    np.testing.assert_array_equal(one.values, other.values)
    if isinstance(IDS[kind][0], int) and not isinstance(IDS[kind][0], bool):
        assert other.names == tuple(map(str, IDS[kind].to_list()))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_without_an_id_is_refused(kind, tmp_path):
    table = pl.DataFrame(
        {"ds": [DAY + datetime.timedelta(n) for n in range(4)], "id": [1, 1, None, 1], "y": [1.0, 2, 3, 4]}
    )
    getattr(table, f"write_{kind}")(tmp_path / f"t.{kind}")
    with pytest.raises(jaxcast.InputError, match=r"(line 4|row 3): the column 'id' is empty"):
        jaxcast.read_series(tmp_path / f"t.{kind}")


@pytest.mark.parametrize(
    "cell",
    ["1_234", "1_0", "0x1", "\uff11\uff12", "\u0661", "1e5_0", "1,5", "1.234,5", "1e", "e5", ".", "+", "1 2", "1\u00a0", "1.5.2", "+nan", "1f", "true", "\u00bd"],
)  # fmt: skip
def test_what_only_a_program_would_call_a_number_is_refused(cell, tmp_path):
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["date", "a"], *([f"2024-01-0{n}", n] for n in range(1, 5)), ["2024-01-05", cell]])
    with pytest.raises(jaxcast.InputError, match="line 6: expected a number in column 'a', got "):
        jaxcast.read_series(tmp_path / "t.csv")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x.csv").write_text(f"1,2\n3,{cell.replace(',', '_')}\n", encoding="utf-8")
    with pytest.raises(jaxcast.InputError, match="row 2: expected a finite number"):
        read_folder(tmp_path / "d")


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400", "1e300", "-1e101"])
def test_numbers_without_a_square_are_refused(cell, tmp_path):
    (tmp_path / "t.csv").write_text(f"date,a\n2024-01-01,1\n2024-01-02,{cell}\n2024-01-03,2\n")
    with pytest.raises(jaxcast.InputError, match=r"t.csv, line 3: 'a' is (infinite|1e\+300|-1e\+101), expected"):
        jaxcast.read_series(tmp_path / "t.csv")


def test_numbers_as_tables_write_them(tmp_path):
    cells = [
        "1",
        " 2 ",
        "+3.5",
        "-.5",
        "4.",
        "1e3",
        "1.5E-2",
        "007",
        "",
        "NA",
        "NaN",
        "null",
        "none",
        "n/a".replace("/", ""),
    ]
    lines = [f"2024-01-{n + 1:02d},{cell},{n}" for n, cell in enumerate(cells)]
    (tmp_path / "t.csv").write_text("date,a,b\n" + "\n".join(lines))
    found = jaxcast.read_series(tmp_path / "t.csv").values[:, 0]
    np.testing.assert_array_equal(found, [1, 2, 3.5, -0.5, 4, 1000, 0.015, 7, *[NAN] * 6])


def test_a_series_that_hardly_moves_is_named_and_leaves_nothing(tmp_path, refused_in_one_line):
    lines = [
        f"{date},{5 + n % 3}e-301,{n % 5}" for n, date in enumerate(np.datetime64("2020-01-05") + 7 * np.arange(80))
    ]
    (tmp_path / "t.csv").write_text("date,a,b\n" + "\n".join(lines))
    with refused_in_one_line(tmp_path, r"series 'a' moves by 2e-301 only .* give it in another unit"):
        run("series", "train", "--data", "t.csv", "--horizon", 2, "--season", 0, "--out", "m")


def test_a_lead_without_a_held_out_value_is_named_and_leaves_nothing(tmp_path, refused_in_one_line):
    """Values come every tenth day, and windows of 3 days hold the one that is 8 days before, not 5."""
    rows = [
        f"{date},{n % 7 if n < 60 or n % 10 == 0 else ''}"
        for n, date in enumerate(np.datetime64("2024-01-01") + np.arange(100))
    ]
    (tmp_path / "t.csv").write_text("date,a\n" + "\n".join(rows))
    message = "the test part, rows 74 to 91, has no known value to calibrate the quantiles of lead 5"
    with refused_in_one_line(tmp_path, message):
        run("series", "train", "--data", "t.csv", "--leads", 5, 8, "--history-size", 3, "--season", 0, "--out", "m")


@pytest.mark.parametrize(
    ("separator", "encoding", "message"),
    [
        (";", "utf-8", "separated by semicolons, expected commas"),
        ("\t", "utf-8", "separated by tabs, expected commas"),
        ("|", "utf-8", "separated by vertical bars, expected commas"),
        (",", "utf-16", "line 1: expected text in UTF-8, got UTF-16"),
        (",", "utf-16-le", "line 1: expected text in UTF-8, got UTF-16"),
        (",", "utf-16-be", "line 1: expected text in UTF-8, got UTF-16"),
        (",", "latin-1", "line 1: expected text in UTF-8, got text in another encoding, such as Latin-1"),
    ],
)
def test_a_wrong_separator_or_encoding_says_so(separator, encoding, message, tmp_path):
    dates = np.datetime64("2024-01-01") + np.arange(5)
    names = ("Köln", "b") if encoding == "latin-1" else ("a", "b")
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.read_series(wide(tmp_path / "t.csv", dates, separator, encoding, names))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('date,a\n2024-01-01,"1\n2024-01-02,2\n', "line 3: a quote is not closed"),
        ('date,series,value\n2024-01-01,"x"y,1\n', "line 2: a quote is not closed, or out of place"),
        ('date,value,series\n2024-01-01,1,"x\n2024-01-02,2,x"\n', "line 3: a quoted cell goes over several lines"),
        ("date,a\n2024-01-01,1000000\n2024-01-02,1\n2024-01-03,\0\n", "line 4: there is a NUL character"),
        ("date,a,a\n2024-01-01,1,2\n", "a different name for each column"),
        ("date,a\n2024-01-01,1,2\n", "expected 2 columns in every line, line 2 has 3"),
        ("", "holds no rows"),
        ("\n\n", "holds no rows"),
        ("date,a\n", "holds no rows"),
    ],
)
def test_damaged_texts_are_reported_with_their_line(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(jaxcast.InputError, match=message) as error:
        jaxcast.read_series(tmp_path / "t.csv")
    assert "\n" not in str(error.value)
    with pytest.raises(jaxcast.InputError):
        read_adjacency(tmp_path / "t.csv", ("a",))


@pytest.mark.parametrize(
    "kind", [pl.List(pl.Float64), pl.Array(pl.Float64, 1), pl.Struct({"x": pl.Float64}), pl.Binary]
)
def test_nested_columns_are_named(kind, tmp_path):
    cells = {pl.Binary: [b"1"] * 4, pl.Struct({"x": pl.Float64}): [{"x": 1.0}] * 4}.get(kind, [[1.0]] * 4)
    table = {"date": [DAY + datetime.timedelta(n) for n in range(4)], "a": pl.Series(cells, dtype=kind)}
    pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(jaxcast.InputError, match="the column 'a' holds "):
        jaxcast.read_series(tmp_path / "t.parquet")


NAIVE = ("last_value", "seasonal_last_value", "history_mean", "drift")
NETWORKS = [(f"{kind}_network",) for kind in ("global", "independent", "hierarchical", "attention")]


@pytest.mark.parametrize(
    "methods",
    [
        ("last_value", "ridge", "kernel_ridge"),
        *(pytest.param(some, marks=pytest.mark.slow) for some in (NAIVE, ("ridge_each_series",), *NETWORKS)),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_the_level_and_the_unit_of_one_series_are_its_own(methods, tmp_path):
    """Forecasts of the other stay, its own move or scale with it; scores, in standard deviations, stay."""
    rng = np.random.default_rng(3)
    values = np.zeros((110, 2))
    for t in range(2, 110):
        values[t] = 1.6 * values[t - 1] - 0.8 * values[t - 2] + rng.normal(size=2)
    values = values[20:]
    dates = np.datetime64("2019-01-06") + 7 * np.arange(90)
    shape = ["--horizon", 2, "--history-size", 4, "--season", 5, "--num-epochs", 2, "--hidden-size", 2]

    def trained(name, scale, level):
        rows = [f"{date},{a!r},{scale * b + level!r}" for date, (a, b) in zip(dates, values.tolist(), strict=True)]
        (tmp_path / f"{name}.csv").write_text("date,a,b\n" + "\n".join(rows))
        run(
            "series",
            "train",
            "--data",
            tmp_path / f"{name}.csv",
            *shape,
            "--method",
            *methods,
            "--out",
            tmp_path / name,
        )
        model = jaxcast.load_model(tmp_path / name).pool
        newest = values[-6:] * np.asarray([1, scale]) + np.asarray([0, level])
        scored = json.loads((tmp_path / name / "results.json").read_text())["rows"]
        return np.asarray(model(newest).info["quantiles"]), {row["method"]: row for row in scored}

    quantiles, rows = trained("raw", 1, 0)
    for name, scale, level in (("level", 1, 1e5), ("unit", 1000, 0)):
        moved, scored = trained(name, scale, level)
        np.testing.assert_allclose(moved[:, 0], quantiles[:, 0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose((moved[:, 1] - level) / scale, quantiles[:, 1], rtol=1e-5, atol=1e-5)
        for method in methods:
            assert scored[method]["setting"] == rows[method]["setting"]
            assert scored[method]["mae"] == pytest.approx(rows[method]["mae"], rel=1e-5), method
            assert scored[method]["pinball"] == pytest.approx(rows[method]["pinball"], rel=1e-5), method


def days(*texts):
    return [np.datetime64(text) for text in texts]


ONE_DAY, ONE_MONTH = np.timedelta64(1, "D"), np.timedelta64(1, "M")
MONTHS = np.datetime64("2023-01", "M") + np.arange(14)
ENDS = (MONTHS + ONE_MONTH).astype("datetime64[D]") - ONE_DAY
WEEKDAYS = np.busday_offset("2024-01-01", np.arange(25))
FRIDAYS = np.busday_offset((MONTHS + ONE_MONTH).astype("datetime64[D]"), -1, roll="forward")
CALENDARS = {
    "month ends": (ENDS, "1 month", ["2024-03-31", "2024-04-30", "2025-02-28"], (0, 1, 11)),
    "the 30th, or the end of February": (np.minimum(MONTHS.astype("datetime64[D]") + 29 * ONE_DAY, ENDS), "1 month", ["2024-03-30", "2024-04-30"], (0, 1)),
    "the 29th": (np.minimum(MONTHS.astype("datetime64[D]") + 28 * ONE_DAY, ENDS), "1 month", ["2024-03-29", "2025-02-28"], (0, 11)),
    "the 31st alone": (ENDS[[0, 2, 4, 6]], "2 months", ["2023-09-30", "2023-11-30"], (0, 1)),
    "quarter ends": (ENDS[[2, 5, 8, 11]], "3 months", ["2024-03-31", "2024-06-30"], (0, 1)),
    "mid-months": (MONTHS.astype("datetime64[D]") + 14 * ONE_DAY, "1 month", ["2024-03-15"], (0,)),
    "business days": (WEEKDAYS, "1 business day", ["2024-02-05", "2024-02-09", "2024-02-12"], (0, 4, 5)),
    "business days with a holiday": (np.delete(WEEKDAYS, 7), "1 business day", ["2024-02-05"], (0,)),
    "last business days": (FRIDAYS, "1 month", ["2024-03-29", "2024-04-30", "2024-05-31"], (0, 1, 2)),
    "ISO weeks": (["2020-W51", "2020-W52", "2020-W53", "2021-W01", "2021-W02"], "1 week", ["2021-W03", "2021-W53".replace("53", "52"), "2022-W01"], (0, 49, 50)),
    "ISO weeks without a dash": (["2024W05", "2024W06", "2024W07"], "1 week", ["2024-W08"], (0,)),
    "days of ISO weeks": (["2024-W05-1", "2024-W05-2", "2024-W05-3"], "1 day", ["2024-02-01"], (0,)),
    "every day": (np.datetime64("2024-01-01") + np.arange(20), "1 day", ["2024-01-21"], (0,)),
    "weekends too, rarely": (np.append(WEEKDAYS, np.datetime64("2024-02-04")), "1 day", ["2024-02-05"], (0,)),
    "two weeks of weekdays": (WEEKDAYS[:10], "1 day", ["2024-01-13"], (0,)),
}  # fmt: skip


@pytest.mark.parametrize("kind", CALENDARS)
def test_a_calendar_goes_on_as_the_table_does(kind, tmp_path):
    """Also of a parquet, and every date of the table is its own row's."""
    dates, step, later, after = CALENDARS[kind]
    table = jaxcast.read_series(wide(tmp_path / "t.csv", dates))
    assert table.calendar.step == step
    if later is not None:
        assert [table.date(len(table.values) + n) for n in after] == later
    moments = table.calendar.dates(np.arange(len(table.values)))
    np.testing.assert_array_equal(table.calendar.rows(moments), np.arange(len(moments)))
    known = np.isfinite(table.values[:, 0])
    assert known.sum() == len(dates)
    if not isinstance(dates, list):
        np.testing.assert_array_equal(moments[known].astype("datetime64[D]"), dates)
        frame = pl.DataFrame({"when": np.asarray(dates).astype("datetime64[us]"), "a": table.values[known, 0]})
        frame.with_columns(pl.col("when").cast(pl.Date)).write_parquet(tmp_path / "t.parquet")
        assert jaxcast.read_series(tmp_path / "t.parquet").calendar == table.calendar


def test_weekends_are_no_gaps_of_weekdays_unless_asked_for(tmp_path):
    path = wide(tmp_path / "t.csv", WEEKDAYS)
    table = jaxcast.read_series(path)
    assert table.missing == ()
    assert table.notes == ("no date is on a weekend: steps are business days, and no weekend is forecast",)
    every = jaxcast.read_series(path, business_days=False)
    assert every.calendar.step == "1 day"
    assert every.missing[0].startswith("8 dates of 33 are left out, the first 2024-01-06")
    with pytest.raises(jaxcast.InputError, match="2024-02-04 is off the grid of a date every 1 business day"):
        jaxcast.read_series(wide(path, np.append(WEEKDAYS, np.datetime64("2024-02-04"))), business_days=True)


def test_forecasts_of_weekdays_skip_the_weekend(tmp_path, capsys):
    path = wide(tmp_path / "t.csv", np.busday_offset("2024-01-01", np.arange(79)))
    run(
        "series",
        "train",
        "--data",
        path,
        "--horizon",
        6,
        "--history-size",
        3,
        "--season",
        0,
        "--method",
        "drift",
        "--out",
        tmp_path / "m",
    )
    assert "note: no date is on a weekend" in capsys.readouterr().out
    run("series", "forecast", "--model", tmp_path / "m", "--data", path, "--out", tmp_path / "f.csv")
    with (tmp_path / "f.csv").open() as file:
        targets = list(dict.fromkeys(row["target_date"] for row in csv.DictReader(file)))
    assert targets == ["2024-04-19", "2024-04-22", "2024-04-23", "2024-04-24", "2024-04-25", "2024-04-26"]


ONE_HOUR = np.timedelta64(1, "h")
HOURS = np.datetime64("2024-03-30T20:00", "s") + 3600 * np.arange(12)


@pytest.mark.parametrize(
    ("texts", "first", "note"),
    [
        ([f"{h}+00:00".replace("T", " ") for h in HOURS], "2024-03-30T20:00:00", None),
        ([f"{h}Z" for h in HOURS], "2024-03-30T20:00:00", None),
        ([f"{h}+0000" for h in HOURS], "2024-03-30T20:00:00", None),
        ([f"{h} UTC" for h in HOURS], "2024-03-30T20:00:00", None),
        ([f"{h}+01:00" for h in HOURS], "2024-03-30T19:00:00", "turned into UTC"),
        ([f"{h}-05:30" for h in HOURS], "2024-03-31T01:30:00", "turned into UTC"),
        # Clocks are set forward after 01:00.
        ([f"{h}+01:00" for h in HOURS[:6]] + [f"{h + ONE_HOUR}+02:00" for h in HOURS[6:]], "2024-03-30T19:00:00", "turned into UTC"),
        ([f"2024-03-{d}T00:00+0{1 + (d > 31)}:00" for d in range(20, 31)], "2024-03-19T23:00:00", "turned into UTC"),
        ([f"2024-03-{d}T00:00:00+01:00" for d in (29, 30, 31)] + ["2024-04-01 00:00:00+02:00"], "2024-03-29", "are left out: every time is midnight"),
    ],
)  # fmt: skip
def test_times_with_an_offset_become_utc(texts, first, note, tmp_path):
    table = jaxcast.read_series(wide(tmp_path / "t.csv", texts))
    assert table.date(0) == first
    assert len(table.values) == len(texts)
    assert (table.notes == ()) if note is None else (note in table.notes[0])


def test_zones_of_a_parquet_are_utc_too(tmp_path):
    moments = (
        pl.Series(HOURS.astype("datetime64[us]")).dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    )
    pl.DataFrame({"date": moments, "a": [*range(12)]}).write_parquet(tmp_path / "t.parquet")
    assert jaxcast.read_series(tmp_path / "t.parquet").date(0) == "2024-03-30T20:00:00"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2024-10-27 00:00", "2024-10-27 01:00", "2024-10-27 02:00", "2024-10-27 02:00", "2024-10-27 03:00"], "line 5: .* comes twice; keep one row for each date, or use UTC"),
        (["2024-10-27 02:00", "2024-10-27 02:30", "2024-10-27 02:00", "2024-10-27 02:30", "2024-10-27 03:00"], "line 4: .* comes after .*; sort the rows by date, or use UTC"),
        (["2024-10-27", "2024-10-28", "2024-10-28", "2024-10-29"], "2024-10-28 comes twice; keep one row for each date$"),
        (["2024-01-01T00:00+01:00", "2024-01-01T01:00", "2024-01-01T02:00"], "line 3, column 'date': .* has no offset from UTC"),
        (["2021-W53", "2022-W01", "2022-W02"], "expected a date such as 2024-01-31, got '2021-W53'"),
        (["2024-W00", "2024-W01", "2024-W02"], "expected a date"),
        (["2024-01-01x", "2024-01-02", "2024-01-03"], "expected a date .* got '2024-01-01x'"),
        (["2024-02-30", "2024-03-01", "2024-03-02"], "expected a date"),
        (["01/02/2024", "02/02/2024", "03/02/2024"], "expected a date"),
        (["\u0662024-01-01", "2024-01-02", "2024-01-03"], "expected a date"),
        (["2024-01-01T00:00+25:00", "2024-01-02", "2024-01-03"], "expected a date"),
        (["", "2024-01-02", "2024-01-03"], "line 2, column 'date': expected a date"),
    ],
)  # fmt: skip
def test_dates_that_cannot_be_are_reported(texts, message, tmp_path):
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.read_series(wide(tmp_path / "t.csv", texts))


def test_the_only_column_of_dates_is_taken_whatever_its_name(tmp_path):
    dates = np.datetime64("2024-01-01") + np.arange(5)
    assert jaxcast.read_series(wide(tmp_path / "t.csv", dates, head="Stichtag")).names == ("a", "b")
    rows = [f"{n},{n + 1},{date},{date}" for n, date in enumerate(dates)]
    (tmp_path / "two.csv").write_text("a,week,start,end\n" + "\n".join(rows))
    with pytest.raises(jaxcast.InputError, match="expected a date"):
        jaxcast.read_series(tmp_path / "two.csv")
    (tmp_path / "two.csv").write_text("a,b,start,end\n" + "\n".join(rows))
    with pytest.raises(jaxcast.InputError, match="several columns of dates, start, end; choose one with --time"):
        jaxcast.read_series(tmp_path / "two.csv")
    (tmp_path / "week.csv").write_text("week,date,a\n" + "\n".join(f"{n},{date},{n}" for n, date in enumerate(dates)))
    assert jaxcast.read_series(tmp_path / "week.csv").names == ("week", "a")


def test_spoiled_tables_are_refused_or_read_as_they_say(tmp_path):
    """A part of the fuzz run of 9,000."""
    found = [faults.try_one(seed, tmp_path, train=False) for seed in range(300)]
    assert 60 < found.count("read") < 240


def test_methods_that_look_at_one_series_make_no_matrix_of_all(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxcast.series.methods.neighbour_weights", lambda *args, **kwargs: pytest.fail("made"))
    path = wide(tmp_path / "t.csv", np.datetime64("2024-01-01") + np.arange(40), names=[f"s{n}" for n in range(300)])
    run(
        "series",
        "train",
        "--data",
        path,
        "--horizon",
        2,
        "--season",
        0,
        "--method",
        "last_value",
        "--out",
        tmp_path / "m",
    )


def test_matrices_of_all_series_by_all_that_fit_no_memory_are_refused():
    for methods in (("ridge", "drift"), None):
        with pytest.raises(jaxcast.InputError, match=r"regressions of 10000000 series, .* would need"):
            check_methods(methods, 10**7)
    check_methods(("drift",), 10**7)
