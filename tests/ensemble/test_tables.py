import gzip
import itertools

import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.ensemble import read_ensemble

TRUTH = "date,value\n2024-01,1\n2024-02,2\n2024-03,3\n"


@pytest.fixture
def tables(tmp_path):
    def write(forecasts, truth=TRUTH, **options):
        (tmp_path / "forecasts.csv").write_text(forecasts)
        (tmp_path / "truth.csv").write_text(truth)
        return read_ensemble(tmp_path / "forecasts.csv", tmp_path / "truth.csv", **options)

    return write


def test_months_with_leads_and_targets_are_read(tables):
    found = tables(
        "issue,model,kind,lead,season_start,anomaly\n2024-01,a,x,1,2024-01,0.5\n2024-01,b,y,2,2024-02,1\n"
        "2024-03,a,x,1,2024-03,2\n",
        verified=3,
    )
    assert (found.issues, found.leads, found.models) == (("2024-01", "2024-02", "2024-03"), (1, 2), ("a", "b"))
    assert found.groups == ("x", "y")
    assert found.targets[0] == ("2024-01", "2024-02")
    np.testing.assert_array_equal(found.forecasts.truth, [[1, 2], [2, 3], [3, np.nan]])
    assert not np.asarray(found.forecasts.present[1]).any()
    assert found.forecasts.season[2].tolist() == [2, 3]
    assert found.forecasts.known_from.tolist() == [[3, 3], [3, 3], [3, 3]]
    assert found.years.tolist() == [2024] * 3


@pytest.mark.parametrize(
    ("dates", "frequency", "names", "seasons"),
    [
        (("2019", "2020", "2022"), "year", ("2019", "2020", "2021", "2022"), 1),
        (("2023Q4", "2024Q1", "2024Q3"), "quarter", ("2023Q4", "2024Q1", "2024Q2", "2024Q3"), 4),
        (("2023-12-01", "2024-01-01", "2024-02-01"), "month", ("2023-12", "2024-01", "2024-02"), 12),
        (("2024-01-03", "2024-01-10", "2024-01-17"), "week", ("2024-01-03", "2024-01-10", "2024-01-17"), 12),
        (
            ("2024-01-03", "2024-01-04", "2024-01-06"),
            "day",
            ("2024-01-03", "2024-01-04", "2024-01-05", "2024-01-06"),
            12,
        ),
    ],
)
def test_dates_of_every_frequency_are_read(tables, dates, frequency, names, seasons):
    rows = "".join(f"{date},a,1,{number}\n" for number, date in enumerate(dates))
    truth = "date,value\n" + "".join(f"{date},{number}\n" for number, date in enumerate(dates))
    found = tables(f"issue,model,lead,value\n{rows}", truth)
    assert (found.frequency, found.issues, found.forecasts.num_seasons) == (frequency, names, seasons)
    assert found.forecasts.truth[-2 if len(names) > 3 else 0].tolist() == [2.0 if len(names) > 3 else 1.0]


def table(column, dates):
    return "".join(f"{date},{column}\n" for date in dates)


ENDS = ("2011-10-31", "2011-11-30", "2011-12-31", "2012-01-31", "2012-02-29", "2012-03-31")
HALVES = ("2010-01-01", "2010-07-01", "2011-01-01")


@pytest.mark.parametrize(
    ("issues", "observed", "frequency", "target"),
    [
        (ENDS, ENDS, "month", "2012-04"),
        (ENDS[2::3], ENDS[2::3], "quarter", "2012Q2"),
        (ENDS, [f"{end[:7]}-01" for end in ENDS], "month", "2012-04"),
        (HALVES, ("2010-01-01", "2010-02-01"), "month", "2011-02"),
        (HALVES, ("2010-01-01", "2010-04-01"), "quarter", "2011Q2"),
        (HALVES, ("2010-01", "2010-07"), "month", "2011-02"),
        (("2010-01-01", "2011-01-01"), ("2010-01-01", "2010-02-01"), "month", "2011-02"),
        (("2024-01-03", "2024-01-17"), ("2024-01-06", "2024-01-13"), "week", "2024-01-24"),
        (("2024-01-03", "2024-01-13"), ("2024-01-03", "2024-01-04"), "day", "2024-01-14"),
    ],
)
def test_the_step_is_found_from_issues_and_observations(tables, issues, observed, frequency, target):
    found = tables("issue,model,lead,value\n" + table("a,1,2", issues), "date,value\n" + table(1, observed))
    assert (found.frequency, found.targets[-1]) == (frequency, (target,))


def test_the_step_is_found_from_targets(tables):
    rows = "issue,target,model,value\n2010-01-01,2010-02-01,a,1\n2011-01-01,2011-03-01,a,1\n"
    found = tables(rows, "date,value\n2010-01-01,1\n2011-01-01,2\n")
    assert (found.frequency, found.leads) == ("month", (1, 2))


@pytest.mark.parametrize("dates", [HALVES, ("2010-01-29", "2010-02-26", "2010-03-31"), ("2024-01-01", "2024-01-15")])
def test_a_step_that_cannot_be_told_is_asked_for(tables, dates):
    both = "issue,model,lead,value\n" + table("a,1,2", dates), "date,value\n" + table(1, dates)
    with pytest.raises(jaxcast.InputError, match=r"step cannot be told from the dates, .*give --frequency"):
        tables(*both)
    assert tables(*both, frequency="day").frequency == "day"


def test_a_value_is_known_when_its_table_says_so(tables):
    truth = "season_start,season_anomaly,issue,month,month_anomaly\n2024-01,1,2024-03,2024-02,7\n2024-02,2,2024-04,2024-03,8\n"
    found = tables("issue,model,lead,value\n2024-01,a,0,1\n2024-03,a,0,1\n2024-04,a,0,1\n", truth).forecasts
    assert found.known_from[:, 0].tolist() == [2, 3, 4, 4]
    np.testing.assert_array_equal(found.last, [np.nan, np.nan, 7, 8])
    assert found.newest[:, 0].tolist() == [-1, -1, 0, 1]
    assert found.latest[:, 0].tolist() == [-1, -1, 1, 2]


def test_a_value_is_known_from_the_earliest_issue_whatever_the_order_of_files(tmp_path):
    rows = "".join(f"2024-0{month},a,0,1\n" for month in range(1, 7))
    (tmp_path / "forecasts.csv").write_text(f"issue,model,lead,value\n{rows}")
    texts = {"late": "date,value,known_from\n2024-01,1,2024-06\n2024-02,2,2024-03\n"}
    texts |= {"early": "date,value,known_from\n2024-01,1,2024-02\n2024-02,2,2024-05\n"}
    texts |= {"unsaid": "date,value\n2024-01,1\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    for order in itertools.permutations(texts):
        found = read_ensemble(tmp_path / "forecasts.csv", [tmp_path / f"{name}.csv" for name in order])
        assert found.forecasts.known_from[:3, 0].tolist() == [1, 2, 6]


def test_observations_that_end_early_are_told(tables):
    rows = "issue,model,lead,value\n2024-01,a,1,1\n2024-04,a,1,1\n"
    assert tables(rows).notes == ()  # of 2024-03, one step before the last issue
    assert tables(rows, verified=3).notes == ()
    early = tables(rows, "date,value\n2024-01,1\n").notes
    assert early == (
        "the newest observation is of 2024-01, 2 months older than the one that is usually known at the last issue, "
        "2024-04",
    )


@pytest.mark.parametrize(
    ("forecasts", "truth", "message"),
    [
        ("issue,model,value\n2024-01,a,1\n", TRUTH, "no column lead or target"),
        ("issue,lead,value\n2024-01,1,1\n", TRUTH, "no column model"),
        ("issue,model,lead,value\nJanuary,a,1,1\n", TRUTH, "line 2: issue cannot be used, got 'January'"),
        ("issue,model,lead,value\n2024-01,a,1.5,1\n", TRUTH, "line 2: lead cannot be used"),
        ("issue,model,lead,value\n2024-01,a,1,many\n", TRUTH, "line 2: value cannot be used"),
        ("issue,model,lead,value\n2024-01,a,1,1\n2024-01,a,1,2\n", TRUTH, "line 3: a second forecast of a"),
        ("issue,model,lead,value\n2024-01,a,1,1\n", "date,value\n2024-01,1\n2024-01,2\n", "a second value"),
        ("issue,model,lead,value\n2024-01,a,1,1\n", "date,value\n", "holds no rows"),
        ("issue,model,lead,value\n2024-01,a,1,1\n", "date,value\n2024,1\n", "line 2: date names no month, got '2024'"),
        ("issue,model,lead,value\n2024-01-01,a,1,1\n2024-01-02,a,1,1\n", TRUTH, "date names no day, got '2024-01'"),
        ("issue,model,lead,value\n2024,a,1,1\n", "date,value\nx,1\n", "line 2: date names no year, got 'x'"),
        (
            "issue,model,lead,value\n2024-01,a,1,1\n",
            "date,value,known_from\n2024-01,1,2024-01\n2024-12,2,2024-03\n",
            "truth.csv, line 3: known_from must not be before date, got '2024-03' before date '2024-12'",
        ),
        (
            "issue,model,lead,target,value\n2024-01,a,1,2024-02,1\n2024-02,a,1,2024-03,1\n2024-02,b,3,2024-03,1\n",
            TRUTH,
            "line 4: lead 3 does not go with",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_named_in_one_line(tables, forecasts, truth, message):
    with pytest.raises(jaxcast.InputError, match=message) as error:
        tables(forecasts, truth)
    assert "\n" not in str(error.value)


def test_bad_rows_are_dropped_and_counted(tables):
    rows = "issue,model,lead,value\n2024-01,a,1,1\n2024-01,a,1,2\nx,a,1,1\n2024-01,b,1,\n2024-02,b,1,nan\n"
    found = tables(rows, TRUTH + "2024-01,9\n", bad="drop")
    assert found.forecasts.values.tolist() == [[[1.0]]]
    assert len(found.dropped) == 4
    assert sum(int(line.split()[0]) for line in found.dropped) == 5


def test_tables_of_years_join_and_compressed_ones_are_read(tmp_path):
    for year in (2023, 2024):
        text = f"issue,model,lead,value\n{year}-01,a,1,{year}\n"
        (tmp_path / f"{year}.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "truth.csv").write_text(TRUTH)
    found = read_ensemble([tmp_path / "2023.csv.gz", tmp_path / "2024.csv.gz"], tmp_path / "truth.csv")
    assert (found.issues[0], found.issues[-1], len(found.issues)) == ("2023-01", "2024-01", 13)
    (tmp_path / "2023.csv.gz").write_bytes(b"no")
    with pytest.raises(jaxcast.InputError, match="cannot be unpacked"):
        read_ensemble(tmp_path / "2023.csv.gz", tmp_path / "truth.csv")


@pytest.mark.parametrize("is_reversed", [False, True])
def test_tables_of_leads_and_tables_of_targets_join(tmp_path, is_reversed):
    (tmp_path / "truth.csv").write_text(TRUTH)
    paths = [tmp_path / "leads.csv", tmp_path / "targets.csv"]
    paths[0].write_text("issue,model,lead,value\n2024-01,a,2,1\n2024-01,a,1,3\n")
    paths[1].write_text("issue,model,target,value\n2024-01,b,2024-02,5\n")
    found = read_ensemble(paths[::-1] if is_reversed else paths, tmp_path / "truth.csv")
    assert (found.leads, found.targets[0]) == ((1, 2), ("2024-02", "2024-03"))
    assert found.forecasts.values[0].tolist() == [[3, 1], [5, 0]]
    paths[1].write_text("issue,model,lead,target,value\n2024-01,b,1,2024-01,5\n")
    with pytest.raises(jaxcast.InputError, match=r"leads.csv, line 2: .* lead 1 is the issue itself .* all tables"):
        read_ensemble(paths[::-1] if is_reversed else paths, tmp_path / "truth.csv")


def command(tmp_path, name, *options):
    tables = ("--forecasts", str(tmp_path / "forecasts.csv"), "--observations", str(tmp_path / "truth.csv"))
    return parse(["ensemble", name, *tables, *options])


@pytest.mark.slow
def test_commands_score_pool_and_forecast(tmp_path, capsys):
    rng = np.random.default_rng(0)
    months = [str(month) for month in np.arange("2020-01", "2022-09", dtype="datetime64[M]")]
    truth = np.cumsum(rng.normal(size=32))
    rows = [
        f"{months[issue]},{model},{lead},{truth[issue + lead] + rng.normal():.3f}"
        for issue in range(30)
        for model in "abc"
        for lead in (0, 1)
    ]
    (tmp_path / "forecasts.csv").write_text("issue,model,lead,value\n" + "\n".join(rows) + "\n")
    observed = [f"{month},{value:.3f}" for month, value in zip(months, truth, strict=True)]
    (tmp_path / "truth.csv").write_text("date,value\n" + "\n".join(observed) + "\n")
    command(tmp_path, "score", "--score-from", "2021-01").run()
    said = capsys.readouterr()
    assert "equal_mean" in said.out
    assert "steps are months, by the dates" in said.err
    out = tmp_path / "pool"
    command(tmp_path, "pool", "--out", str(out), "--thresholds", "-0.5", "0.5").run()
    assert {path.name for path in out.iterdir()} >= {"results.json", "forecasts.csv", "weights.csv", "plume.png"}
    table = tmp_path / "newest.csv"
    command(tmp_path, "forecast", "--out", str(table), "--thresholds", "0").run()
    lines = table.read_text().splitlines()
    assert lines[0] == "issue,lead,target,mean,spread,q0.05,q0.25,q0.5,q0.75,q0.95,p_below_0,p_above_0"
    assert [line.split(",")[:3] for line in lines[1:]] == [["2022-06", "0", "2022-06"], ["2022-06", "1", "2022-07"]]
    of_pool = next(line for line in (out / "forecasts.csv").read_text().splitlines() if line.startswith("2022-06,1"))
    assert lines[2].split(",")[:10] == of_pool.split(",")[:10]
    for name, options, message in (
        ("forecast", ("--issue", "1999-01", "--out", str(tmp_path / "x.csv")), "issue must be one from"),
        ("forecast", ("--out", str(tmp_path / "truth.csv"), "--overwrite"), "truth.csv"),
        ("forecast", ("--levels", "0.9", "0.1", "--out", str(tmp_path / "x.csv")), "levels must rise, got 0.9 0.1"),
        ("forecast", ("--levels", "0.5", "0.5", "--out", str(tmp_path / "x.csv")), "levels must rise"),
        ("pool", ("--out", str(out), "--thresholds", "0.5", "-0.5"), "thresholds must rise"),
        ("score", ("--score-from", "1999-01"), "score_from must be an issue"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            command(tmp_path, name, *options).run()
    assert (tmp_path / "truth.csv").read_text().startswith("date,value")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["equal_mean", "equal_median"])
def test_a_model_named_like_a_reference_is_not_scored_in_its_place(tmp_path, name):
    rows = "".join(f"2024-0{month},{model},0,{month}\n" for month in (1, 2, 3) for model in ("a", name))
    (tmp_path / "forecasts.csv").write_text(f"issue,model,lead,value\n{rows}")
    (tmp_path / "truth.csv").write_text(TRUTH)
    with pytest.raises(jaxcast.InputError, match=f"a model is called {name}, as a reference") as error:
        command(tmp_path, "score", "--out", str(tmp_path / "out")).run()
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
