"""CI: real data that are announced are there, and what smoke runs wrote makes sense."""

import pytest

from experiments.check import check
from jaxcast import InputError
from jaxcast.io.run_folder import RunFolder
from tests.real_data import DEFAULT, real_data


@pytest.mark.parametrize(
    ("environment", "outcome"),
    [
        ({}, pytest.skip.Exception),
        ({"CI": "true"}, pytest.fail.Exception),
        ({"JAXCAST_DATA": "x"}, pytest.fail.Exception),
    ],
)
def test_absent_data_fail_where_they_are_announced(tmp_path, monkeypatch, environment, outcome):
    for name in ("CI", "JAXCAST_DATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(tmp_path) if name == "JAXCAST_DATA" else value)
    with pytest.raises(outcome, match="is missing"):
        real_data("no such data")
    (tmp_path / "there").touch()
    monkeypatch.setenv("JAXCAST_DATA", str(tmp_path))
    assert real_data("there") == tmp_path / "there" != DEFAULT / "there"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("[]", "has no rows"),
        ('[{"wis": NaN}]', "is not what a run writes"),
        ('[{"wis": 1e300}]', "makes no sense"),
        ('[{"method": "a", "wis": 0, "per_seed": [0.0]}]', "makes no sense"),
        ('[{"method": "a", "wis": 1}, {"method": "b"}]', "makes no sense"),
    ],
)
def test_results_that_make_no_sense_are_found(tmp_path, rows, message):
    file = tmp_path / "results.json"
    file.write_text(f'{{"rows": {rows}}}')
    with pytest.raises(InputError, match=message):
        check(file)
    with pytest.raises(InputError, match="is not what a run writes"):
        check(tmp_path / "none.json")


def test_a_run_that_worked_is_found_sound(tmp_path):
    folder = RunFolder(tmp_path, {"seed": 0}, code="c")
    folder.write_json("results.json", {"rows": [{"method": "a", "errors": [1.5, 0.0], "is_best": True}]})
    assert check(tmp_path) == 2
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"its config.json is none"):
        check(tmp_path)
