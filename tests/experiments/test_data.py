"""Where experiments find their data."""

import importlib
from pathlib import Path

import pytest

from experiments.datasets import data_root
from experiments.frame import with_data
from jaxcast import InputError

SETS = {
    "hub": "us-covid19-forecast-hub",
    "regions": "ili_us_regions",
    "traffic": "los_loop",
    "od": "nyc_taxi_od",
    "causal": "dml_oracles",
    "chaos_zoo": "dysts",
    "language": "tiny_shakespeare",
}


@pytest.mark.parametrize("name", SETS)
def test_an_experiment_looks_for_its_data_where_jaxcast_data_says(name, tmp_path, monkeypatch, refused_in_one_line):
    monkeypatch.setenv("JAXCAST_DATA", str(tmp_path))
    experiment = importlib.import_module(f"experiments.{name}.__main__")
    config = experiment.PRESETS["quick"]
    message = f"got {tmp_path / SETS[name]}, which is none; give --data, .*experiments/{name}/README.md"
    with refused_in_one_line(tmp_path, message):
        experiment.main(config)
    (tmp_path / SETS[name]).mkdir()
    with pytest.raises(InputError, match=str(tmp_path / SETS[name])):  # it is empty
        experiment.main(config)


def test_data_that_are_given_come_first_and_smoke_runs_make_their_own(tmp_path, monkeypatch):
    from experiments.regions.__main__ import PRESETS, Config

    def found(config):
        return with_data(config, "ili_us_regions", "README.md").data

    monkeypatch.setenv("JAXCAST_DATA", str(tmp_path / "all"))
    for name in ("ili_us_regions", "ili_us_states"):
        (tmp_path / "all" / name).mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert found(Config()) == tmp_path / "all/ili_us_regions"
    assert found(Config(data=Path("ili_us_states"))) == tmp_path / "all/ili_us_states"
    assert found(Config(data=Path("mine"))) == Path("mine")
    assert found(PRESETS["smoke"]) is None
    with pytest.raises(InputError, match="got none"):
        found(Config(data=Path("none")))


def test_data_lie_beside_the_checkout_unless_the_variable_says_otherwise(monkeypatch):
    monkeypatch.delenv("JAXCAST_DATA", raising=False)
    assert data_root() == Path(__file__).parents[3] / "shared/data"
