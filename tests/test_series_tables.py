"""Tables of series as users write them: ids, numbers, separators, dates."""

import csv
import datetime
import json

import numpy as np
import polars as pl
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.regions.series_tables import read_adjacency

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
        jaxcast.read_folder(tmp_path / "d")


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
    lines = [f"{np.datetime64('2020-01-05') + 7 * n},{5 + n % 3}e-301,{n % 5}" for n in range(80)]
    (tmp_path / "t.csv").write_text("date,a,b\n" + "\n".join(lines))
    with refused_in_one_line(tmp_path, r"series 'a' moves by 2e-301 only .* give it in another unit"):
        run("train", "--data", "t.csv", "--horizon", 2, "--season", 0, "--out", "m")


def test_a_lead_without_a_held_out_value_is_named_and_leaves_nothing(tmp_path, refused_in_one_line):
    """Values come every tenth day, and windows of 3 days hold the one that is 8 days before, not 5."""
    rows = [f"{np.datetime64('2024-01-01') + n},{n % 7 if n < 60 or n % 10 == 0 else ''}" for n in range(100)]
    (tmp_path / "t.csv").write_text("date,a\n" + "\n".join(rows))
    message = "no value is known in the second held-out part, rows 74 to 91, to set the quantiles of lead 5"
    with refused_in_one_line(tmp_path, message):
        run("train", "--data", "t.csv", "--leads", 5, 8, "--window", 3, "--season", 0, "--out", "m")


@pytest.mark.parametrize(
    ("separator", "encoding", "message"),
    [
        (";", "utf-8", "separated by semicolons, expected commas"),
        ("\t", "utf-8", "separated by tabs, expected commas"),
        ("|", "utf-8", "separated by vertical bars, expected commas"),
        (",", "utf-16", "line 1: the file is not in UTF-8 but in UTF-16"),
        (",", "utf-16-le", "line 1: the file is (not in UTF-8 but )?in UTF-16"),
        (",", "utf-16-be", "line 1: the file is (not in UTF-8 but )?in UTF-16"),
        (",", "latin-1", "line 1: the file is not in UTF-8 but in another encoding, such as Latin-1"),
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
def test_damaged_texts_are_told_with_their_line(text, message, tmp_path):
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
def test_the_level_and_the_unit_of_one_series_are_its_own(methods, tmp_path):
    """Forecasts of the other stay, its own move or scale with it; scores, in standard deviations, stay."""
    rng = np.random.default_rng(3)
    values = np.zeros((110, 2))
    for t in range(2, 110):
        values[t] = 1.6 * values[t - 1] - 0.8 * values[t - 2] + rng.normal(size=2)
    values = values[20:]
    dates = np.datetime64("2019-01-06") + 7 * np.arange(90)
    shape = ["--horizon", 2, "--window", 4, "--season", 5, "--num-epochs", 2, "--hidden-size", 2]

    def trained(name, scale, level):
        rows = [f"{date},{a!r},{scale * b + level!r}" for date, (a, b) in zip(dates, values.tolist(), strict=True)]
        (tmp_path / f"{name}.csv").write_text("date,a,b\n" + "\n".join(rows))
        run("train", "--data", tmp_path / f"{name}.csv", *shape, "--method", *methods, "--out", tmp_path / name)
        model = jaxcast.load_pool(tmp_path / name).pool
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
