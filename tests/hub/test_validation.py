"""Submissions are validated as hubs do; broken copies fail with the right line."""

import datetime
import json
import re
import shutil

import numpy as np
import polars as pl
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.hub.validation.report import validate_submission
from tests.hub.tiny_hub import COUNT, MODELS, write_hub
from tests.real_data import real_data

ROUND, MODEL = "2026-01-10", MODELS[0]
NAME = f"{ROUND}-{MODEL}.csv"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    return write_hub(tmp_path_factory.mktemp("hub") / "tiny")


@pytest.fixture
def copy(hub, tmp_path):
    shutil.copytree(hub, tmp_path / "hub")
    return tmp_path / "hub"


def lines_of(folder):
    path = folder / "model-output" / MODEL / NAME
    return path, path.read_text().splitlines()


def validate(folder, file=None):
    return validate_submission(file or folder / "model-output" / MODEL / NAME, folder)


def with_row(folder, row, **cells):
    """Changes cells of a row, counted from 1."""
    path, lines = lines_of(folder)
    header, values = lines[0].split(","), lines[row].split(",")
    for name, cell in cells.items():
        values[header.index(name)] = cell
    lines[row] = ",".join(values)
    path.write_text("\n".join(lines) + "\n")


def row_of(folder, *texts):
    """The first row that holds these texts."""
    _, lines = lines_of(folder)
    return next(i for i, line in enumerate(lines) if all(f",{text}," in f",{line}," for text in texts))


def without_rows(folder, *texts):
    path, lines = lines_of(folder)
    path.write_text("\n".join(x for x in lines if not all(f",{text}," in f",{x}," for text in texts)) + "\n")


def moved(folder, name, model=MODEL):
    path, _ = lines_of(folder)
    (folder / "model-output" / model).mkdir(exist_ok=True)
    return path.rename(folder / "model-output" / model / name)


@pytest.mark.slow
def test_submissions_of_the_hub_pass(hub):
    for model in MODELS:
        found = validate_submission(hub / f"model-output/{model}/{ROUND}-{model}.csv", hub)
        assert found.failures == ()
        assert len(found.checks) == 29
    inside = validate_submission(f"{MODEL}/{NAME}", hub, now=datetime.datetime(2026, 1, 6, tzinfo=datetime.UTC))
    assert inside.failures == inside.warnings == ()


def test_a_closed_window_is_a_warning(hub):
    late = validate_submission(f"{MODEL}/{NAME}", hub, now=datetime.datetime(2026, 1, 8, 12, tzinfo=datetime.UTC))
    assert late.failures == ()
    assert late.warnings == (
        "the round accepts submissions from 2026-01-04 to 2026-01-07 (US/Eastern), today is 2026-01-08",
    )


def no_file(folder):
    (folder / "model-output" / MODEL / NAME).unlink()


def of_parquet(folder):
    path, _ = lines_of(folder)
    frame = pl.read_csv(path, infer_schema=False).with_columns(horizon=pl.col("horizon") + ".0")
    frame.with_columns(pl.col("horizon", "value").cast(pl.Float64)).write_parquet(path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def metadata(folder, text=None):
    (folder / "model-metadata").mkdir()
    schema = {"required": ["team_name", "team_abbr", "model_abbr", "license"]}
    (folder / "hub-config/model-metadata-schema.json").write_text(json.dumps(schema))
    if text is not None:
        (folder / f"model-metadata/{MODEL}.yml").write_text(text)


def changed(text, **cells):
    """Changes the first row with some texts."""
    return lambda folder: with_row(folder, row_of(folder, *text), **cells)


def headed(old, new):
    def change(folder):
        path, lines = lines_of(folder)
        path.write_text("\n".join([lines[0].replace(old, new), *lines[1:]]) + "\n")

    return change


def with_extra_column(folder):
    path, lines = lines_of(folder)
    path.write_text("\n".join([lines[0] + ",comment", *(line + ",x" for line in lines[1:])]) + "\n")


def repeated(folder):
    path, lines = lines_of(folder)
    path.write_text("\n".join([*lines, lines[3]]) + "\n")


def with_index(folder):
    path, lines = lines_of(folder)
    path.write_text("\n".join(["," + lines[0], *(f"{i},{line}" for i, line in enumerate(lines[1:]))]) + "\n")


def with_commas(folder):
    path, lines = lines_of(folder)
    path.write_bytes("\r\n".join([*lines[:3], "," * lines[0].count(","), *lines[3:], ""]).encode())


def cut(folder):
    path, lines = lines_of(folder)
    path.write_text("\n".join([*lines[:4], "2026-01-10,x"]) + "\n")


def more_samples(folder):
    path, lines = lines_of(folder)
    extra = [line.replace(",sample,0,", ",sample,7,") for line in lines if ",US," in line and ",sample,0," in line]
    path.write_text("\n".join([*lines, *extra]) + "\n")


def finer_samples(folder):
    """Each horizon has samples of its own."""
    path, lines = lines_of(folder)
    for i, line in enumerate(lines):
        cells = line.split(",")
        if cells[5] == "sample":
            lines[i] = ",".join([*cells[:6], f"{cells[6]}{int(cells[2]) + 1}", cells[7]])
    path.write_text("\n".join(lines) + "\n")


def shared_sample(folder):
    """One sample of location 01 becomes one of both locations."""
    path, lines = lines_of(folder)
    path.write_text("\n".join(lines).replace(",sample,10,", ",sample,0,") + "\n")


QUANTILE, CDF, PMF, SAMPLE = (COUNT, "-1", "US", "quantile"), ("cdf", "2.5"), ("pmf", "moderate"), ("sample,2",)
META = "team_name: A\nteam_abbr: alpha\nmodel_abbr: one\nlicense: x\n"
BROKEN = {
    "no file": (no_file, "file_exists", "expected a file .*there is none"),
    "a name without a team": (lambda f: moved(f, f"{ROUND}-alpha.csv"), "file_name", "a name like 2026-01-10-TEAM-MODEL.csv, got 2026-01-10-alpha.csv"),
    "another folder": (lambda f: moved(f, NAME, "other-team"), "file_location", "model-output/alpha-one/, got other-team/"),
    "no round of the hub": (lambda f: moved(f, f"2026-01-11-{MODEL}.csv"), "round_id_valid", "2026-01-03 or 2026-01-10 or 2026-01-17, got 2026-01-11"),
    "another round in the name": (lambda f: moved(f, f"2026-01-17-{MODEL}.csv"), "match_round_id", "row 1: expected reference_date 2026-01-17 as in the file's name, got 2026-01-10"),
    "another format": (lambda f: moved(f, f"{ROUND}-{MODEL}.arrow"), "file_format", "csv or parquet, got .arrow"),
    "two files of a round": (lambda f: shutil.copy(f / "model-output" / MODEL / NAME, f / f"model-output/{MODEL}/{ROUND}-{MODEL}.parquet") and None, "file_n", "expected one file of the round, got .*csv and .*parquet"),
    "no metadata": (lambda f: metadata(f), "metadata_exists", "model-metadata/alpha-one.yml, got no such file"),
    "metadata without a field": (lambda f: metadata(f, "team_name: A\nteam_abbr: alpha\nmodel_abbr: one\n"), "metadata_matches_schema", "expected the fields license in"),
    "metadata of another model": (lambda f: metadata(f, "team_name: A\nteam_abbr: alpha\nmodel_abbr: two\nlicense: x\n"), "metadata_matches_schema", "to be of alpha-one, got alpha-two"),
    "metadata with an open bracket": (lambda f: metadata(f, f"{META}methods: [a, b\n"), "metadata_matches_schema", "expected fields in YAML in model-metadata/alpha-one.yml, but .*',' or ']'.* in line 6"),
    "metadata with an open quote": (lambda f: metadata(f, f"{META}methods: \"a\n"), "metadata_matches_schema", "unexpected end of stream in line 6"),
    "metadata with two colons": (lambda f: metadata(f, f"{META}methods: a: b\n"), "metadata_matches_schema", "mapping values are not allowed here in line 5"),
    "metadata with a tab": (lambda f: metadata(f, f"{META}methods:\n\t- a\n"), "metadata_matches_schema", "cannot start any token in line 6"),
    "metadata that are no fields": (lambda f: metadata(f, f"{META}nonsense\n"), "metadata_matches_schema", "could not find expected ':' in line 6"),
    "a horizon with a point": (changed(QUANTILE, horizon="-1.0"), "col_types", "row 1: expected horizon like -1, got '-1.0'"),
    "NA as horizon": (changed(QUANTILE, horizon="NA"), "valid_vals", "row 1: expected horizon to be .* got an empty cell or NA"),
    "a short row": (cut, "file_read", "row 4 has 2 cells, the header 8"),
    "no column of the round": (headed("reference_date", "origin_date"), "valid_round_id_col", "expected a column reference_date"),
    "a missing column": (headed(",horizon,", ",step,"), "colnames", "got no horizon"),
    "a column too many": (with_extra_column, "colnames", "got comment"),
    "an index without a name": (with_index, "colnames", "expected no columns but .*, got one without a name$"),
    "a row of commas": (with_commas, "file_read", "row 3 has no cell; remove the row"),
    "numbers where dates should be": (of_parquet, "col_types", "expected date in the column reference_date, got cells of type String"),
    "two rounds": (changed(QUANTILE, reference_date="2026-01-17"), "unique_round_id", "row 1: expected one reference_date in all rows, got 2026-01-17, 2026-01-10"),
    "an unknown target": (changed(QUANTILE, target="wk x"), "valid_vals", "row 1: expected target to be wk inc x or wk rate x or wk category x, got 'wk x'"),
    "an unknown location": (changed(QUANTILE, location="1"), "valid_vals", "row 1: expected location to be US or 01, got '1'"),
    "an unknown horizon": (changed(QUANTILE, horizon="2"), "valid_vals", "row 1: expected horizon to be -1 or 0 or 1, got '2'"),
    "an empty horizon": (changed(QUANTILE, horizon=""), "valid_vals", "row 1: expected horizon to be .* got an empty cell"),
    "an unknown level": (changed(QUANTILE, output_type_id="0.33"), "valid_vals", "row 1: expected output_type_id of quantile to be 0.1 or .*, got '0.33'"),
    "an unknown category": (changed(PMF, output_type_id="Moderate"), "valid_vals", "expected output_type_id of pmf to be low or moderate or high, got 'Moderate'"),
    "a type of another target": (changed(PMF, target="wk rate x"), "valid_vals", "expected output_type of .*wk rate x.* to be cdf, got 'pmf'"),
    "a sample without a whole number": (changed(SAMPLE, output_type_id="2a"), "valid_vals", "expected output_type_id of sample to be a whole number, got '2a'"),
    "an id of a mean": (changed(("mean",), output_type_id="0.5"), "valid_vals", "expected output_type_id of mean to be empty, got '0.5'"),
    "a target date off by a week": (changed(QUANTILE, target_end_date="2026-01-10"), "horizon_timediff", "row 1: expected target_end_date 2026-01-03 at horizon -1 of reference_date 2026-01-10, got 2026-01-10"),
    "a target date the hub does not list": (changed(QUANTILE, target_end_date="2026-01-04"), "derived_task_id_vals", "row 1: expected target_end_date to be one of .* got '2026-01-04'"),
    "a row twice": (repeated, "rows_unique", "rows 3, .*: expected one row of .*quantile, output_type_id 0.5, got 2"),
    "a missing level": (lambda f: without_rows(f, *QUANTILE, "0.9"), "req_vals", "expected quantile 0.9 of .*horizon -1, location US, got no such row"),
    "no required location": (lambda f: without_rows(f, COUNT, "-1", "US"), "req_vals", "expected rows of .*horizon -1, location US .location US is required., got none"),
    "no required output type": (lambda f: without_rows(f, *QUANTILE), "req_vals", "expected the required output type quantile of .*location US, got none"),
    "a word as value": (changed(QUANTILE, value="many"), "value_col_valid", "row 1: expected the value of quantile to be a number, got 'many'"),
    "an infinite value": (changed((*QUANTILE, "0.9"), value="inf"), "value_col_valid", "row 5: expected the value of quantile to be a number, got 'inf'"),
    "a value below zero": (changed(QUANTILE, value="-1"), "value_col_valid", "row 1: expected the value of quantile to be at least 0, got '-1'"),
    "a probability above one": (changed(PMF, value="1.5"), "value_col_valid", "the value of pmf to be at most 1, got '1.5'"),
    "half a count": (changed(SAMPLE, value="2.5"), "value_col_valid", "the value of sample to be a whole number, got '2.5'"),
    "quantiles that cross": (changed((*QUANTILE, "0.75"), value="3"), "value_col_non_desc", "rows 3, 4: expected quantile 0.75 of .*to be at least quantile 0.5, 20.0, got 3"),
    "a cdf that falls": (changed(CDF, value="0.1"), "value_col_non_desc", "expected cdf 2.5 of .*to be at least cdf 1, 0.2, got 0.1"),
    "a pmf of 1.1": (changed(PMF, value="0.6"), "value_col_sum1", "rows 15, 16, 17: expected the pmf of .*to sum to 1, got 1.1"),
    "a sample of two locations": (shared_sample, "spl_compound_tid", "expected sample 0 to have one location, got US, 01"),
    "a sample of a location alone": (shared_sample, "spl_compound_taskid_set", "expected sample 0 to have one value of each of reference_date, location and several of the others, as most have, got one of reference_date$"),
    "samples of single horizons": (finer_samples, "spl_compound_taskid_set", "joint over horizon"),
    "a sample without a horizon": (lambda f: without_rows(f, "-1", "US", *SAMPLE), "spl_non_compound_tid", "expected sample 2 to have the 3 rows by .*horizon that most samples have, got 2"),
    "too many samples": (more_samples, "spl_n", "expected at least 2 and at most 4 samples of .*location US, got 5"),
    "too few samples": (lambda f: [without_rows(f, "US", f"sample,{i}") for i in range(3)], "spl_n", "at least 2 and at most 4 samples of .*location US, got 1"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_broken_copies_fail_with_the_right_line(name, copy):
    change, check, line = BROKEN[name]
    file = change(copy)
    found = validate_submission(file if hasattr(file, "suffix") else copy / "model-output" / MODEL / NAME, copy)
    failed = {each.name: each.failures for each in found.checks if each.failures and not each.is_warning}
    assert check in failed
    assert any(re.search(line, each) for each in failed[check]), failed


ONE_LINE = (
    "a value below zero",
    "a probability above one",
    "a row twice",
    "a horizon with a point",
    "NA as horizon",
    "an index without a name",
    "a row of commas",
)


@pytest.mark.parametrize("name", [*ONE_LINE, *(name for name in BROKEN if name.startswith("metadata with "))])
def test_one_fault_is_reported_once(name, copy):
    change, check, _ = BROKEN[name]
    change(copy)
    found = validate(copy)
    assert [each.name for each in found.checks if each.failures and not each.is_warning] == [check]
    assert len(found.failures) == 1


def test_metadata_of_a_hub_without_a_schema_are_not_checked(copy):
    text = '# of ours\n---\nteam_abbr: \'alpha\'\n"model_abbr": one # here\ndesigned: [a,\n  \'b]\']\nmethods: |\n  a: b: c\n\nurl: http://x.y\ncontributors:\n- name: "A"\n  at: B\nlast: "a\n  b"\n'
    metadata(copy, text)
    (copy / "hub-config/model-metadata-schema.json").unlink()
    found = {check.name: check for check in validate(copy).checks}
    assert found["metadata_exists"].skipped is None
    check = found["metadata_matches_schema"]
    assert (check.failures, check.skipped) == ((), "this copy of the hub has no hub-config/model-metadata-schema.json")
    metadata_file = next((copy / "model-metadata").iterdir())
    metadata_file.write_text(text.replace('model_abbr": one', 'model_abbr": two'))
    assert "to be of alpha-one, got alpha-two" in validate(copy).failures[0]


def test_the_command_prints_failures_and_a_table_of_checks(copy, capsys):
    parse(["hub", "validate", f"{MODEL}/{NAME}", str(copy)]).run()
    assert re.search(r"spl_n .* passed", capsys.readouterr().out)
    with_row(copy, 1, value="-1")
    with_row(copy, row_of(copy, *PMF), value="0.6")
    with pytest.raises(jaxcast.InputError, match=r"alpha-one.csv fails 2 checks of 29; fix what"):
        parse(["hub", "validate", "--file", f"{MODEL}/{NAME}", "--hub", str(copy)]).run()
    printed = capsys.readouterr().out
    assert f"{NAME}, row 1: expected the value of quantile to be at least 0, got '-1'\n" in printed
    assert re.search(r"value_col_sum1 .* failed", printed)


@pytest.mark.parametrize("column", ["origin_date", "forecast_date"])
def test_rounds_on_wednesdays_with_weeks_that_end_on_sundays(tmp_path, column):
    hub = write_hub(tmp_path / "hub", column=column, first="2025-10-01", beyond=-10)
    file = hub / f"model-output/{MODEL}/2025-10-08-{MODEL}.csv"
    assert validate_submission(file, hub).failures == ()
    # All rows a week later: only the other models' files show that this is wrong.
    lines = file.read_text().splitlines()
    cells = [line.split(",") for line in lines[1:]]
    for row in cells:
        row[4] = str(np.datetime64(row[4]) + 7)
    file.write_text("\n".join([lines[0], *(",".join(row) for row in cells)]) + "\n")
    found = validate_submission(file, hub).failures
    assert found[0] == (
        f"2025-10-08-{MODEL}.csv, row 1: expected target_end_date 2025-09-21 at horizon -1 of {column} 2025-10-08, "
        "got 2025-09-28"
    )


@pytest.mark.parametrize("folder", ["hub", "hub_all_types"])
def test_real_submissions_pass(folder):
    hub = real_data(f"us-covid-admissions-hub/{folder}")
    files = sorted((hub / "model-output").glob("*/*.csv"))
    assert len(files) == {"hub": 55, "hub_all_types": 6}[folder]
    for file in files:
        assert validate_submission(file, hub).failures == ()


def test_descriptions_that_cannot_be_read_are_refused(copy):
    tasks = copy / "hub-config/tasks.json"
    whole = tasks.read_text()
    for old, new, line in (
        ('"rounds"', '"round"', r"tasks.json: expected a list of objects at rounds, got None"),
        ("v6.0.0", "v2.0.0", "is of schema version 2.0.0; versions from 3 to 6 are read"),
        ('"start": -6', '"start": "2026"', "at rounds.0..submissions_due, got"),
        ('"minimum": 0', '"minimum": "0"', "expected a number at rounds.0..model_tasks.0..output_type.quantile.value.minimum"),
        ('"task_ids": {', '"task_ids": [{', "is not JSON"),
    ):  # fmt: skip
        tasks.write_text(whole.replace(old, new))
        with pytest.raises(jaxcast.InputError, match=line):
            jaxcast.hub.describe_hub(copy)
    with pytest.raises(jaxcast.InputError, match="no hub-config"):
        jaxcast.hub.describe_hub(copy / "model-output")
