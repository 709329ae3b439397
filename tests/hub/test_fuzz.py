"""Damaged hub tables: the given ones, each kind with inputs of its own, and a seeded sample of
random faults."""

import csv
import shutil

import numpy as np
import pytest

import jaxcast

pl = pytest.importorskip("polars", reason="hub tables need the extra `hub`")

from jaxcast.cli.main import main, parse  # noqa: E402
from jaxcast.errors import shown  # noqa: E402
from tests.hub import faults  # noqa: E402

HEADER, ROWS = faults.tables_of("tidy")["tidy"]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "truth.csv"
    faults.write_csv(path, ("location", "date", "value"), faults.truth_rows(), quoting=True)
    return path


def text_of(rows=ROWS, header=HEADER):
    return "\n".join(",".join(row) for row in [header, *rows]) + "\n"


def with_cell(row, column, cell):
    """The sound table with another cell in one row, counted from 1."""
    rows = [list(each) for each in ROWS]
    rows[row - 1][HEADER.index(column)] = cell
    return text_of(rows)


# Column, cell, and what is said of it; row 8 is a-x's 0.5 quantile for 01 on 2024-01-13,
# horizon 1.
CELLS = [
    ("horizon", "NA", "row 8: the horizon of a-x for 01 is NA or not a horizon in whole steps, 'NA'"),
    ("horizon", "1.9", "in whole steps, '1.9'"),
    ("horizon", "99999999999", "in whole steps, '99999999999'"),
    ("horizon", "-1e30", "in whole steps, '-1e30'"),
    ("horizon", "1 week", "in whole steps, '1 week'"),
    ("target_end_date", "2024-01-13 junk", "not a date like .*, '2024-01-13 junk'"),
    ("target_end_date", "2024-01-13T12:00", "not a date like"),
    ("target_end_date", "2024-02-30", "not a date like"),
    ("target_end_date", "0024-01-13", "from 1900 to 2199"),
    ("reference_date", "2024-01-06x", "row 8: the reference_date .* goes with horizon, target date and step_days"),
    ("reference_date", "2023-01-06", "row 8: the reference_date"),
    ("location", "", "row 8: the location is NA or not the name of a location, ''"),
    ("location", "  ", "the name of a location"),
    ("model", "", "row 8: the model is NA or not the name of a model, ''"),
    ("quantile", "1.5", "a level within 0 and 1, '1.5'"),
    ("quantile", "1e-9", "a level within 0 and 1"),
    ("value", "1e300", "not a number up to 1e"),
    ("value", "1_000", "a number up to .*, '1_000'"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("column", "cell", "message"), CELLS)
def test_a_cell_that_cannot_be_read_is_reported_or_dropped(tmp_path, truth, column, cell, message):
    path = tmp_path / "tidy.csv"
    path.write_text(with_cell(8, column, cell))
    with pytest.raises(jaxcast.InputError, match=message) as error:
        jaxcast.load_hub(path, truth)
    assert "tidy.csv, row 8: " in str(error.value)
    path.write_text(text_of())
    expected = faults.as_found(jaxcast.load_hub(path, truth))
    path.write_text(with_cell(8, column, cell))
    hub = jaxcast.load_hub(path, truth, bad="drop")
    gone = [key for key in expected if key[:3] == ("a-x", "01", "2024-01-13")]
    assert faults.as_found(hub) == {key: value for key, value in expected.items() if key not in gone}
    assert hub.dropped == ("1 row with NA or a cell that cannot be read", "1 forecast with quantile levels missing")


STRUCTURES = {
    "a row too long": (lambda s: s.replace("\nb-y", ",7\nb-y", 1), r"row 48 has 8 cells, the header 7"),
    "a row too short": (lambda s: s.replace(",101.25\n", "\n", 1), r"row 7 has 6 cells, the header 7"),
    "the last row cut": (lambda s: s[:-12], r"row 96 has \d cells"),
    "an open quote": (lambda s: s + '"a-x,01', "row 97 opens a quote that is never closed"),
    "a stray quote": (lambda s: s.replace(",101.25", ',101".25', 1), "row 7 holds a stray quote"),
    "a quote closed too early": (lambda s: s.replace(",101.25", ',"101".25', 1), "row 7 holds a stray quote"),
    "two open quotes": (
        lambda s: s.replace("a-x,01", '"a-x,01', 1).replace("a-x,US,2024-01-06", 'a-x,US",2024-01-06', 1),
        "row 1 has|row 1: a cell holds whole rows|stray",
    ),
    "Latin-1": (lambda s: s.replace("b-y", "Zürich-y").encode("latin-1"), "row 49 is not in UTF-8"),
    "UTF-16": (lambda s: s.encode("utf-16"), "the header is not in UTF-8, the file is UTF-16"),
    "NUL": (lambda s: s.replace("101.25", "101\x0025", 1), "row 7 holds a NUL"),
    "old line ends": (lambda s: s.replace("\n", "\r"), "carriage return"),
    "semicolons": (lambda s: s.replace(",", ";"), "separated by commas, got semicolons"),
    "two columns alike": (lambda s: s.replace("model,location", "value,location", 1), "two columns are called value"),
    "nothing": (lambda s: "", "is empty"),
    "a header alone": (lambda s: s.split("\n")[0], "no quantile forecast"),
    "no value": (lambda s: s.replace("value", "x", 1), "has no column value"),
}


@pytest.mark.slow
@pytest.mark.parametrize("of", ["forecasts", "truth"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_a_damaged_file_is_refused_with_its_row(tmp_path, truth, name, of):
    change, message = STRUCTURES[name]
    text = change(text_of())
    path = tmp_path / "tidy.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    paths = (path, truth)
    if of == "truth":  # the same file, whose columns do for a truth as well
        (tmp_path / "sound.csv").write_text(text_of())
        paths = (tmp_path / "sound.csv", path)
    for bad in ("raise", "drop"):
        with pytest.raises(jaxcast.InputError, match=message if of == "forecasts" else None) as error:
            jaxcast.load_hub(*paths, bad=bad)
        assert str(error.value).isprintable()


def test_what_is_sound_in_another_form_reads_the_same(tmp_path, truth):
    (tmp_path / "tidy.csv").write_text(text_of())
    expected = jaxcast.load_hub(tmp_path / "tidy.csv", truth)
    quoted = "\n".join(",".join(f'"{cell}"' for cell in row) for row in [HEADER, *ROWS])
    forms = {
        "crlf": text_of().replace("\n", "\r\n"),
        "bom": "\ufeff" + text_of(),
        "quoted": quoted,
        "no last line end": text_of()[:-1],
        "blank lines": text_of().replace("\nb-y", "\n\nb-y", 1) + "\n\n,,,,,,\n",
        "midnight": with_cell(8, "target_end_date", "2024-01-13T00:00:00Z"),
        "1.0": text_of([[*row[:4], f"{row[4]}.0", *row[5:]] for row in ROWS]),
    }
    for name, text in forms.items():
        (tmp_path / "form.csv").write_bytes(text.encode())
        hub = jaxcast.load_hub(tmp_path / "form.csv", truth)
        np.testing.assert_array_equal(hub.quantiles, expected.quantiles, err_msg=name)
        assert not hub.dropped


@pytest.mark.parametrize("column", ["model", "location", "target_end_date", "horizon", "quantile", "value"])
def test_nested_and_binary_columns_of_parquet_are_refused(tmp_path, truth, column):
    frame = pl.DataFrame(ROWS, schema=list(HEADER), orient="row")
    cell = pl.col(column)
    for i, nested in enumerate((pl.concat_list(cell), pl.struct(cell), cell.cast(pl.Binary), cell == "a")):
        path = tmp_path / f"{i}.parquet"
        frame.with_columns(nested.alias(column)).write_parquet(path)
        with pytest.raises(jaxcast.InputError, match=f"in column {column}, got cells of type"):
            jaxcast.load_hub(path, truth)


def test_ids_that_are_numbers_keep_no_decimals(tmp_path):
    """Location 1 is called 1 also where another column made pandas write it as 1.0."""
    rows = [["1" if row[1] == "01" else "2", *row[2:]] for row in ROWS]
    frame = pl.DataFrame([["a-x", *row] for row in rows[:48]], schema=list(HEADER), orient="row")
    for dtype in (pl.Int64, pl.Float64):
        frame.with_columns(pl.col("location").cast(dtype)).write_parquet(tmp_path / "tidy.parquet")
        truth = [f"{place},{row[1]},{row[2]}" for place in "12" for row in faults.truth_rows()[:17]]
        (tmp_path / "truth.csv").write_text("\n".join(["location,date,value", *truth]))
        assert jaxcast.load_hub(tmp_path / "tidy.parquet", tmp_path / "truth.csv").locations == ("1", "2")


def test_a_rare_level_does_not_take_all_forecasts_with_it(tmp_path, truth):
    (tmp_path / "tidy.csv").write_text(with_cell(8, "quantile", "0.51"))
    with pytest.raises(jaxcast.InputError, match=r"row 8: the level 0.51 is that of only 1 of 16 forecasts"):
        jaxcast.load_hub(tmp_path / "tidy.csv", truth)
    hub = jaxcast.load_hub(tmp_path / "tidy.csv", truth, bad="drop")
    assert hub.present.sum() == 15
    assert hub.dropped[0] == "1 row of the level 0.51, which too few forecasts have"


def test_a_damaged_file_among_many_is_named(tmp_path):
    tables = faults.tables_of("hubverse")
    for name, (header, rows) in tables.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows, schema=list(header), orient="row").write_parquet(path)
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    faults.write_csv(tmp_path / "truth.csv", ("location", "date", "value"), faults.truth_rows(), quoting=True)
    with pytest.raises(jaxcast.InputError, match=r"2024-01-06-b-y\.parquet is not a table that can be read"):
        jaxcast.load_hub(tmp_path, tmp_path / "truth.csv")


@pytest.mark.slow
def test_a_damaged_parquet_file_says_nothing_but_one_line(tmp_path, truth, capfd):
    """Some damage makes the reader panic, which it reports by a page on standard error."""
    frame = pl.DataFrame(ROWS, schema=list(HEADER), orient="row")
    frame.write_parquet(tmp_path / "sound.parquet")
    sound = (tmp_path / "sound.parquet").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        data = bytearray(sound)
        data[int(rng.integers(len(data) // 2, len(data)))] = int(rng.integers(256))
        (tmp_path / "tidy.parquet").write_bytes(data)
        refused += loaded(tmp_path / "tidy.parquet", truth, "raise")[0] is None
    assert refused > 50
    assert capfd.readouterr().err == ""


def test_rows_of_the_truth_that_cannot_be_read_are_counted(tmp_path):
    (tmp_path / "tidy.csv").write_text(text_of())
    rows = [list(row) for row in faults.truth_rows()]
    rows[2][2], rows[3][1], rows[4][0] = "inf", "2023-11-04 junk", ""
    faults.write_csv(tmp_path / "truth.csv", ("location", "date", "value"), rows, quoting=True)
    hub = jaxcast.load_hub(tmp_path / "tidy.csv", tmp_path / "truth.csv")
    assert hub.dropped == (
        "1 row of the truth without a location or a target",
        "2 rows of the truth without a date or a number",
    )
    assert np.isfinite(hub.truth).all()


def release_text(rows):
    return "\n".join(",".join(row) for row in [["as_of", "location", "date", "value"], *rows]) + "\n"


RELEASE_FAULTS = {
    "a day that is none": (lambda rows: rows[3].__setitem__(0, "soon"), "1 row of the truth without a day of release (as_of)"),
    "no day": (lambda rows: rows[3].__setitem__(0, ""), "1 row of the truth without a day of release (as_of)"),
    "NA": (lambda rows: rows[3].__setitem__(0, "NA"), "1 row of the truth without a day of release (as_of)"),
    "an hour that is none": (lambda rows: rows[3].__setitem__(0, "2024-01-03T25:00"), None),
    "no value": (lambda rows: rows[3].__setitem__(3, "NA"), "1 row of the truth without a date or a number"),
    "no date": (lambda rows: rows[3].__setitem__(2, "NA"), "1 row of the truth without a date or a number"),
    "unsorted": (lambda rows: rows.sort(key=lambda row: row[3]), None),
    "a row twice": (lambda rows: rows.append(rows[5]), None),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", RELEASE_FAULTS)
def test_faults_of_a_table_of_releases_leave_the_rest_as_it_is(tmp_path, name):
    (tmp_path / "tidy.csv").write_text(text_of())
    rows = faults.release_rows()
    table = tmp_path / "releases.csv"
    table.write_text(release_text(rows))
    expected = jaxcast.load_hub(tmp_path / "tidy.csv", table)
    change, line = RELEASE_FAULTS[name]
    change(rows)
    table.write_text(release_text(rows))
    hub = jaxcast.load_hub(tmp_path / "tidy.csv", table)
    assert hub.dropped == (() if line is None else (line,))
    np.testing.assert_array_equal(hub.as_of, expected.as_of)
    np.testing.assert_array_equal(hub.releases[1:], expected.releases[1:])


def test_releases_of_several_targets_are_those_of_the_target_asked_for(tmp_path):
    (tmp_path / "tidy.csv").write_text(text_of())
    rows = faults.release_rows()
    (tmp_path / "releases.csv").write_text(release_text(rows))
    expected = jaxcast.load_hub(tmp_path / "tidy.csv", tmp_path / "releases.csv")
    forecasts = [[*row, faults.TARGET] for row in ROWS]
    (tmp_path / "tidy.csv").write_text(text_of(forecasts, [*HEADER, "target"]))
    both = [[*row, name] for name in (faults.TARGET, "other") for row in rows if name != "other" or row[1] == "US"]
    lines = [
        ["as_of", "location", "date", "value", "target"],
        *sorted(both),
        ["2024-03-01", "01", "2024-01-06", "7", "other"],
    ]
    (tmp_path / "both.csv").write_text("\n".join(map(",".join, lines)))
    hub = jaxcast.load_hub(tmp_path / "tidy.csv", tmp_path / "both.csv")
    for name in ("as_of", "releases", "release_of", "observed", "truth"):
        np.testing.assert_array_equal(getattr(hub, name), getattr(expected, name))


def test_two_values_for_a_date_in_a_release_end_the_command_with_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "tidy.csv").write_text(text_of())
    rows = faults.release_rows()
    (tmp_path / "releases.csv").write_text(release_text([*rows, [*rows[30][:3], "7"]]))
    args = (
        "hub",
        "score",
        "--forecasts",
        tmp_path / "tidy.csv",
        "--truth",
        tmp_path / "releases.csv",
        "--out",
        tmp_path / "out",
    )
    monkeypatch.setattr("sys.argv", ["jaxcast", *map(str, args)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"has 2 duplicate rows, such as {rows[30][1]} on {rows[30][2]} in the release of {rows[30][0][:10]}" in error
    assert not (tmp_path / "out").exists()


ODD = ["Korea, South", 'the "big" one', "two\nlines", " padded ", "Zürich", "1.0", "a,b\nc", "O'Neill", "NA", "#5"]


def test_a_submission_of_odd_names_reads_back_equal(tmp_path):
    rng = np.random.default_rng(0)
    dates, levels = np.datetime64("2024-01-06") + 7 * np.arange(3), np.asarray([0.025, 0.3, 0.975])
    values = np.sort(rng.lognormal(3, 4, (len(ODD), 3)), -1)
    hub = jaxcast.hub.Hub(
        np.ones((len(ODD), 3, 1, 3)), np.ones((len(ODD), 3)), np.ones((len(ODD), 3, 1)), tuple(ODD), dates, ("a",), levels, 1
    )  # fmt: skip
    target = 'wk inc "x", y'
    path = jaxcast.hub.write_submission(
        tmp_path / "model-output", "team-pool", {1: values}, hub, reference_date="2024-01-20", target=target
    )
    with path.open(newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert {len(row) for row in rows} == {len(header)} == {8}
    assert [row[4] for row in rows[::3]] == ODD
    assert [float(row[-1]) for row in rows] == values.ravel().tolist()
    truth = [[name, "2024-01-27", "7"] for name in ODD]
    faults.write_csv(tmp_path / "truth.csv", ("location", "date", "value"), truth, quoting=True)
    again = jaxcast.load_hub(tmp_path, tmp_path / "truth.csv")
    assert (again.locations, again.target) == (tuple(sorted(ODD)), target)
    np.testing.assert_array_equal(again.quantiles[np.argsort(np.argsort(ODD)), 0, 0], values)


@pytest.mark.slow
def test_names_are_printed_and_drawn_as_they_are(tmp_path, truth, capsys):
    """Neither markup, nor emoji, nor formulas, nor terminal controls."""
    names = ["[/b]", "$\\frac{$", ":smile:", "[red]a", "\x1b[31mb"]
    rows = [[name, *row[1:]] for name in names for row in ROWS[:48]]
    faults.write_csv(tmp_path / "tidy.csv", HEADER, rows, quoting=True)
    tables = ("--forecasts", tmp_path / "tidy.csv", "--truth", truth)
    parse(["hub", "score", *map(str, (*tables, "--out", tmp_path / "out"))]).run()
    options = (
        "--method",
        "equal_mean",
        "--target-name",
        "x[/b]",
        "--out",
        tmp_path / "model",
        "--plot",
        tmp_path / "a.png",
    )
    parse(["hub", "forecast", *map(str, (*tables, *options))]).run()
    printed = capsys.readouterr().out
    assert all(shown(name) in printed for name in names)
    assert "\x1b" not in printed
    assert (tmp_path / "a.png").exists()
    assert (tmp_path / "out/submissions.png").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.usefixtures("without_type_checks")
def test_a_submission_that_is_not_finite_names_horizon_and_location(tmp_path, value):
    dates, levels = np.datetime64("2024-01-06") + 7 * np.arange(3), np.asarray([0.3, 0.7])
    hub = jaxcast.hub.Hub(
        np.ones((2, 3, 1, 2)), np.ones((2, 3)), np.ones((2, 3, 1)), ("01", "US"), dates, ("a",), levels, 1
    )
    with pytest.raises(jaxcast.InputError, match="horizon 3 for US is not finite"):
        jaxcast.hub.write_submission(
            tmp_path / "out", "a-b", {3: [[1, 2], [1, value]]}, hub, reference_date="2024-01-20", target="x"
        )
    with pytest.raises(jaxcast.InputError, match="reference date like 2024-01-06, got 'today is'"):
        jaxcast.hub.write_submission(tmp_path / "out", "a-b", {}, hub, reference_date="today is", target="x")
    assert not (tmp_path / "out").exists()


def loaded(forecasts, truth, bad):
    """The hub, or the one line that says why there is none."""
    try:
        return jaxcast.load_hub(forecasts, truth, bad=bad), ""
    except jaxcast.InputError as error:
        return None, str(error)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 60, 20))
def test_random_faults_give_one_line_or_what_the_table_says(tmp_path, start):
    for seed in range(start, start + 20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        forecasts, truth, is_text = faults.make_case(folder, seed, heavy=seed % 5 == 0)
        for bad in ("raise", "drop"):
            hub, message = loaded(forecasts, truth, bad)
            assert message.isprintable(), seed
            if hub is not None and hub.as_of is not None:
                assert (np.diff(hub.as_of).astype(int) > 0).all(), seed
                used = hub.release_of >= 0
                assert (hub.as_of[hub.release_of[used]] < hub.dates[used] - (hub.steps_ahead - 1) * hub.step).all(), (
                    seed
                )
                assert np.isnan(hub.observed[:, ~used]).all(), seed
            if hub is not None and is_text and bad == "raise":
                assert faults.as_found(hub) == faults.read_plainly(forecasts), seed
        shutil.rmtree(folder)
