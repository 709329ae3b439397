"""`experiments.enso`: the baselines that SOURCE.md gives, on the real data; a run on made data, resumed."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxcast
from experiments.enso import __main__ as enso
from experiments.enso import made
from experiments.enso import page as enso_page
from experiments.enso.data import load, load_official, make_folder
from experiments.enso.methods import BEST, EQUAL, POOLS, Forecasts, baselines, spread_of_models
from experiments.enso.rows import make_rows
from tests.real_data import real_data

# Of SOURCE.md: RMSE by lead, its mean, ratio to the equally weighted mean, ends of its interval.
BASELINES = {
    "climatology": "0.896 0.889 0.887 0.887 0.889 0.892 0.896 0.899 0.902 0.893 1.702 1.215 2.084",
    "persistence": "0.472 0.658 0.823 0.967 1.086 1.180 1.252 1.302 1.332 1.008 1.921 1.514 2.476",
    "equal_mean": "0.218 0.301 0.385 0.466 0.546 0.621 0.678 0.731 0.776 0.525 1.000 1.000 1.000",
    "equal_median": "0.224 0.307 0.387 0.471 0.560 0.647 0.699 0.757 0.797 0.539 1.027 0.999 1.052",
    "dynamical_mean": "0.208 0.292 0.375 0.457 0.536 0.607 0.655 0.705 0.759 0.511 0.973 0.897 1.073",
    "statistical_mean": "0.301 0.391 0.473 0.551 0.625 0.692 0.747 0.789 0.824 0.599 1.142 1.010 1.238",
}


def rows_of(names):
    """Rows of pools on the real data, beside the baselines with the spread of the models."""
    folder = real_data("iri_enso_plume")
    ensemble = load((folder,), None)
    forecasts = ensemble.forecasts
    pooled = baselines(ensemble)
    for name in names:
        pooled[name] = np.asarray(jaxcast.ensemble.pool_ensemble(POOLS[name], forecasts).forecast)
    spreads = dict.fromkeys(pooled, spread_of_models(forecasts))
    if BEST in pooled:
        spreads[BEST] = np.asarray(jax.jit(jaxcast.ensemble.error_spread)(pooled[BEST], forecasts))
    is_scored = np.asarray(ensemble.issues) >= "2008-01"
    official, _ = load_official((folder,), ensemble)
    rows = make_rows(ensemble, Forecasts(pooled, spreads, np.zeros(0)), official, is_scored)
    return {row["method"]: row for row in rows}


@pytest.mark.slow
def test_baselines_are_those_of_the_source_to_its_digits():
    rows = rows_of((EQUAL, "equal_median"))
    for name, text in BASELINES.items():
        row = rows[name]
        found = [*row["rmse_by_lead"], row["rmse"], row["ratio"], *row["ratio_ci95"]]
        np.testing.assert_allclose(found, [float(number) for number in text.split()], atol=5.5e-4, err_msg=name)
        assert row["num_cases"] == 1233
    official = [rows["official_iri"]["rps_iri"], rows["official_cpc"]["rps_cpc"]]
    np.testing.assert_allclose(official, [0.2354, 0.1992], atol=5.5e-5)
    assert [rows[f"official_{name}"]["num_cases"] for name in ("iri", "cpc")] == [1233, 715]
    mean = rows[EQUAL]
    np.testing.assert_allclose([mean["crps"], mean["rps_iri"], mean["rps_cpc"]], [0.2926, 0.2424, 0.1877], atol=5.5e-5)


@pytest.mark.slow
def test_the_adaptive_pool_has_the_scores_that_were_recorded():
    found = rows_of((EQUAL, BEST))[BEST]
    assert np.isclose(found["ratio"], 0.955, atol=1e-3)
    assert found["ratio_ci95"][1] < 1
    recorded = next(row for row in enso_page.rows() if row["method"] == BEST)
    for name, value in recorded.items():
        if name != "method":
            np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A folder of made data, and the same in two parts."""
    whole = make_folder(tmp_path_factory.mktemp("whole"), num_issues=60)
    parts = [tmp_path_factory.mktemp(name) for name in ("early", "late")]
    for file in whole.iterdir():
        head, *lines = file.read_text().splitlines()
        column = head.split(",").index("issue")
        for part, is_late in zip(parts, (False, True), strict=True):
            kept = [line for line in lines if (line.split(",")[column] >= "2007-01") == is_late]
            (part / file.name).write_text("\n".join([head, *kept]) + "\n")
    return whole, parts


def test_joined_folders_are_the_whole(pair):
    whole, parts = pair
    one, two = load((whole,), None), load(parts, None)
    assert one.issues == two.issues
    for name in ("values", "truth", "known_from", "last", "latest"):
        np.testing.assert_array_equal(getattr(one.forecasts, name), getattr(two.forecasts, name))


def test_official_rows_of_overlapping_folders_count_once(pair, tmp_path):
    whole, (early, late) = pair
    ensemble = load((whole,), None)
    once, dropped = load_official((whole,), ensemble)
    assert dropped == ()
    for folders, number in (((early, late), 0), ((whole, whole, late), 2 * 4 * (57 + 24))):
        found, dropped = load_official(folders, ensemble)
        assert [each.split()[0] for each in dropped] == [str(number)] * (number > 0)
        for each, other in zip(found, once, strict=True):
            jax.tree.map(np.testing.assert_array_equal, each, other)
    twice = shutil.copytree(whole, tmp_path / "twice")  # a folder alone counts all of its rows
    with (twice / "official_probabilities.csv").open("a") as file:
        file.write("CPC,2007-01,1,2007-01,,20,60,20\n")
    counts = [[len(each.issue) for each in load_official((folder,), ensemble)[0]] for folder in (twice, whole)]
    assert counts == [[57 * 4, 57 * 4 + 1], [57 * 4, 57 * 4]]


def test_a_target_that_is_not_observed_by_the_last_issue_does_not_count(pair):
    ensemble = load((pair[0],), "2007-12")
    assert ensemble.issues[-1] == "2007-12"
    known = np.isfinite(np.asarray(ensemble.forecasts.truth))
    steps = np.arange(len(ensemble.issues))[:, None] + np.arange(4) + 3
    assert (known == (steps < len(ensemble.issues))).all()


@pytest.mark.slow
def test_an_experiment_writes_its_rows_and_resumes(tmp_path, pair, capsys):
    config = enso.Config(preset="smoke", data=(pair[0], pair[1][1]), out=tmp_path / "run", first="2007-01")
    enso.main(config)
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert len(results["dropped"]) == 2  # forecasts and official rows of the second folder
    assert all(f"left out: {line}\n" in printed for line in results["dropped"])
    keys = {"method", "rmse_by_lead", "rmse", "ratio", "ratio_ci95", "crps", "coverage50", "coverage90"}
    assert all(keys | {"rps_iri", "rps_cpc"} <= row.keys() for row in results["rows"])
    assert {"adaptive", "equal_mean", "official_iri"} <= {row["method"] for row in results["rows"]}
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == set(enso.pictures.NAMES)
    enso.main(config)
    assert json.loads((tmp_path / "run/results.json").read_text()) == results
    other = shutil.copytree(pair[1][1], tmp_path / "other")
    with pytest.raises(jaxcast.InputError, match="other settings"):
        enso.main(enso.Config(preset="smoke", data=(other,), out=tmp_path / "run", first="2007-06"))
    with pytest.raises(jaxcast.InputError, match="first must be an issue"):
        enso.main(enso.Config(preset="smoke", data=(pair[0],), out=tmp_path / "x", first="1999-01"))


@pytest.mark.slow
def test_attention_is_trained_once_and_joins_the_pool(tmp_path, pair):
    config = dataclasses.replace(enso.PRESETS["smoke"], data=(pair[0],), out=tmp_path / "run", first="2008-01")
    enso.main(config)
    results = (tmp_path / "run/results.json").read_text()
    assert {"attention", "adaptive_with_attention"} <= {row["method"] for row in json.loads(results)["rows"]}
    stage = tmp_path / "run/stages/attention.npz"
    before = stage.stat().st_mtime_ns
    enso.main(config)
    assert stage.stat().st_mtime_ns == before
    assert (tmp_path / "run/results.json").read_text() == results


@pytest.mark.slow
def test_the_table_of_made_ensembles_is_that_of_the_notebook(capsys):
    made.main()
    printed = capsys.readouterr().out.strip()
    assert printed.count("\n") == 5
    assert printed in (Path(enso.__file__).parent / "README.md").read_text()
