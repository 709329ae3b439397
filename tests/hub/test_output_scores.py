"""Scores of all output types of a hub, by hand, and both small real hubs."""

import numpy as np
import pytest

import jaxcast
from tests.hub.test_outputs import TASK, frame, samples, values_of
from tests.real_data import real_data

pl = pytest.importorskip("polars", reason="hub tables need the extra `hub`")

CATEGORIES = ["low", "moderate", "high", "very high"]


def truth_of(value=None, category=None, **columns):
    task = {"location": "X", "target": "cases"} | columns
    return pl.DataFrame(
        [task | {"value": value, "category": category}], schema_overrides={"value": pl.Float64, "category": pl.String}
    )


def row_of(scores, method="a", **wanted):
    rows = [row for row in scores.tables if row["method"] == method and wanted.items() <= row.items()]
    assert len(rows) == 1
    return rows[0]


@pytest.mark.slow
def test_each_output_type_has_the_scores_that_are_proper_for_it():
    levels = {"0.25": 1.0, "0.5": 2.0, "0.75": 4.0}
    rows = pl.concat(
        [
            frame("quantile", {"a": levels}),
            frame("sample", {"a": {"1": 1.0, "2": 2.0, "3": 6.0}}),
            frame("cdf", {"a": {"2": 0.25, "4": 0.5, "8": 1.0}}),
            frame("mean", {"a": {None: 4.5}}),
            frame("median", {"a": {None: 4.5}}),
        ]
    )
    scores = jaxcast.hub.score_outputs(rows, truth_of(3.0))
    kinds = {row["output_type"]: row for row in scores.tables}
    # (|y - m| + alpha (u - l)) / 3 of the 50 % interval: here alpha / 2 (u - l) = 0.75, and
    # |y - m| / 2 = 0.5.
    np.testing.assert_allclose(kinds["quantile"]["wis"], (0.5 + 0.25 * 3) / 1.5, atol=1e-10)
    assert kinds["quantile"]["coverage50"] == 1.0
    np.testing.assert_allclose(kinds["sample"]["crps"], (2 + 1 + 3) / 3 - 2 * (1 + 5 + 4) / 18, atol=1e-10)
    np.testing.assert_allclose(kinds["sample"]["energy"], kinds["sample"]["crps"], atol=1e-10)
    # From 2 to 3 F rises from 1/4 to 3/8, from 3 to 4 to 1/2, from 4 to 8 to 1; the integrals of
    # F^2 and (1 - F)^2.
    inside = (0.375**3 - 0.25**3) / (3 * 0.125) + (0.625**3 - 0.5**3) / (3 * 0.125) + 0.5**3 / (3 * 0.125)
    np.testing.assert_allclose(kinds["cdf"]["crps"], inside, atol=1e-10)
    assert (kinds["mean"]["squared_error"], kinds["median"]["absolute_error"]) == (2.25, 1.5)
    assert {row["num_tasks"] for row in scores.tables} == {1}
    assert scores.tasks.filter(pl.col("output_type") == "mean")["value"].to_list() == [2.25]


def test_scores_of_a_pmf_need_the_observed_category():
    rows = frame("pmf", {"a": {"low": 0.1, "mid": 0.2, "high": 0.7}, "b": {"mid": 1.0, "low": 0.0, "high": 0.0}})
    order = {"cases": ["low", "mid", "high"]}
    scores = jaxcast.hub.score_outputs(rows, truth_of(category="mid"), categories=order, baseline="a")
    a, b = (row_of(scores, name) for name in "ab")
    np.testing.assert_allclose([a["rps"], a["log"]], [0.1**2 + 0.7**2, -np.log(0.2)], atol=1e-10)
    assert (b["rps"], b["log"], a["relative"], b["relative"]) == (0.0, 0.0, 1.0, 0.0)
    floored = jaxcast.hub.score_outputs(rows, truth_of(category="high"), categories=order, floor=0.01)
    np.testing.assert_allclose(row_of(floored, "b")["log"], -np.log(0.01), atol=1e-10)
    without = jaxcast.hub.score_outputs(rows, truth_of(category="mid"))
    assert "rps" not in row_of(without)
    assert without.dropped == ("pmf of cases: no ranked probability score, as no order of the categories is given",)
    unknown = jaxcast.hub.score_outputs(rows, truth_of(3.0))
    assert unknown.tables == []
    assert unknown.dropped == ("pmf of cases: no target data for any of 1 task; give an oracle output, or cut points",)
    unknown = jaxcast.hub.score_outputs(rows, truth_of(category="huge"), categories=order)
    assert unknown.dropped == ("pmf of cases: 1 task whose truth is no category (huge)",)
    with pytest.raises(jaxcast.InputError, match="no forecast to score"):
        jaxcast.hub.score_outputs(rows.clear(), truth_of(3.0))


@pytest.mark.slow
def test_forecasts_that_cannot_be_scored_are_named():
    rows = pl.concat(
        [
            frame("pmf", {"a": {"low": 0.5, "high": 0.5}, "b": {"low": 1.0}, "c": {"low": 0.6, "high": 0.6}}),
            frame("quantile", {"a": {"0.25": 1.0, "0.75": 2.0}, "b": {"0.25": 2.0, "0.75": 1.0}, "c": {"0.5": 1.0}}),
            frame("quantile", {"a": {"0.25": 1.0, "0.75": 2.0}}, horizon=2),
            frame("cdf", {"a": {"1": 0.5, "2": 1.0}, "b": {"1": 0.5, "2": 0.25}, "c": {"EW01": 1.0}}),
        ]
    )
    truth = pl.concat([truth_of(1.5), truth_of(category="low")])
    truth = truth.group_by("location", "target").agg(pl.col("value", "category").drop_nulls().first())
    scores = jaxcast.hub.score_outputs(rows, truth, categories={"cases": ["low", "high"]})
    assert {row["method"] for row in scores.tables} == {"a"}
    assert scores.dropped == (
        "quantile of cases: 1 forecast of c with other levels than most",
        "quantile of cases: 1 forecast of b with crossing quantiles",
        "pmf of cases: 1 forecast of b with missing or unknown categories",
        "pmf of cases: 1 forecast of c with probabilities that do not sum to 1",
        "cdf of cases: 1 row of a cdf at points that are not numbers",
        "cdf of cases: 1 forecast of b with a cdf that falls or leaves 0 to 1",
    )


def test_energy_scores_are_of_whole_trajectories_and_complete_truth():
    rows = pl.concat([samples({"a": 5, "b": 7}, (1, 2)), samples({"a": 5, "b": 7}, (1, 2), place="Y")])
    rng = np.random.default_rng(0)
    rows = rows.with_columns(value=pl.Series(rng.normal(size=len(rows)))).sample(fraction=1.0, shuffle=True, seed=1)
    rows = rows.with_columns(target_end_date=pl.lit("2024-01-0") + (6 + pl.col("horizon")).cast(pl.String))
    days = ("2024-01-07", "2024-01-08")
    truth = pl.concat([truth_of(0.5 * i, target_end_date=day) for i, day in enumerate(days)])
    known = pl.concat([truth, truth_of(1.0, location="Y", target_end_date=days[0])])
    scores = jaxcast.hub.score_outputs(rows, known)
    for model in "ab":
        paths = rows.filter(pl.col("model") == model, pl.col("location") == "X").sort("output_type_id", "horizon")
        draws = paths["value"].to_numpy().reshape(-1, 2)
        row = row_of(scores, model)
        between = np.linalg.norm(draws[:, None] - draws, axis=-1).mean()
        expected = np.linalg.norm(draws - [0.0, 0.5], axis=-1).mean() - between / 2
        np.testing.assert_allclose(row["energy"], expected, atol=1e-10)
        assert (row["num_tasks"], row["num_compound"]) == (3, 1)
        of_tasks = rows.filter(pl.col("model") == model).join(known, on=["location", "target_end_date"])
        crps = []
        for _, task in of_tasks.group_by("location", "target_end_date"):
            x = task["value"].to_numpy()
            crps.append(np.abs(x - task["value_right"][0]).mean() - np.abs(x[:, None] - x).mean() / 2)
        np.testing.assert_allclose(row["crps"], np.mean(crps), atol=1e-10)
    assert scores.dropped == ("sample of cases: 1 task without target data yet",)


def test_relative_scores_and_counts_are_over_common_tasks():
    parts = [frame("median", {"a": {None: 1.0}, "b": {None: 3.0}}, horizon=h) for h in (1, 2)]
    rows = pl.concat([*parts, frame("median", {"a": {None: 9.0}}, horizon=3)])
    scores = jaxcast.hub.score_outputs(rows, truth_of(0.0), baseline="b")
    a, b = row_of(scores, "a"), row_of(scores, "b")
    np.testing.assert_allclose([a["relative"], b["relative"], a["absolute_error"]], [1 / 3, 1.0, 11 / 3])
    assert (a["num_tasks"], b["num_tasks"], b["num_missing"], b["num_common"]) == (3, 2, 1, 2)
    with pytest.raises(jaxcast.InputError, match="baseline"):
        jaxcast.hub.score_outputs(rows, truth_of(0.0), baseline="c")


def test_target_data_are_the_newest_release_and_categories_come_from_the_oracle(tmp_path):
    series = tmp_path / "time-series.csv"
    lines = ["as_of,location,date,target,observation,age"]
    lines += [f"2024-02-0{day},X,2024-01-06,cases,{value},old" for day, value in ((1, 5), (3, 7), (2, 6))]
    lines += [f"2024-02-0{day},X,2024-01-13,cases,{value},old" for day, value in ((1, 5), (2, "NA"))]
    series.write_text("\n".join(lines) + "\n")
    truth = jaxcast.hub.read_output_truth(series)
    assert truth.select("value", "age").rows() == [(7.0, "old")]
    oracle = tmp_path / "oracle-output.csv"
    header = "location,target_end_date,target,output_type,output_type_id,oracle_value"
    rows = ["median,NA,4", "quantile,NA,4", "pmf,low,0", "pmf,high,1", "cdf,2,0", "cdf,5,1"]
    oracle.write_text("\n".join([header, *(f"X,2024-01-06,cases,{row}" for row in rows)]) + "\n")
    assert jaxcast.hub.read_output_truth(oracle).select("value", "category").rows() == [(4.0, "high")]
    oracle.write_text("\n".join([header, *(f"X,2024-01-06,cases,{row}" for row in ("mean,NA,4", "quantile,NA,5"))]))
    with pytest.raises(jaxcast.InputError, match="several values for X on 2024-01-06"):
        jaxcast.hub.read_output_truth(oracle)


def test_values_are_cut_into_categories_at_the_lower_ends():
    truth = pl.concat([truth_of(value, target="rate", day=str(value)) for value in (2.4, 2.5, 7.4, 7.5, 90.0)])
    cut = jaxcast.hub.cut_into_categories(truth, "level", CATEGORIES, [2.5, 5, 7.5], of="rate")
    assert cut.filter(pl.col("target") == "level")["category"].to_list() == [
        "low",
        "moderate",
        "high",
        "very high",
        "very high",
    ]
    assert len(cut) == 10
    with pytest.raises(jaxcast.InputError, match="expected 3 cut points between 4 categories"):
        jaxcast.hub.cut_into_categories(truth, "level", CATEGORIES, [2.5, 5], of="rate")
    with pytest.raises(jaxcast.InputError, match="unknown target 'rat'"):
        jaxcast.hub.cut_into_categories(truth, "level", CATEGORIES, [2.5, 5, 7.5], of="rat")


@pytest.mark.parametrize("name", ["hub", "hub_all_types"])
def test_every_type_and_target_of_a_real_hub_is_read_scored_and_pooled(name):
    hub = real_data(f"us-covid-admissions-hub/{name}")
    all_types = name == "hub_all_types"
    compound = ("location", "reference_date" if all_types else "target")
    outputs = jaxcast.hub.read_outputs(hub)
    assert outputs.dropped == ()
    truth = jaxcast.hub.read_output_truth(
        hub / "target-data" / ("time-series.csv" if all_types else "oracle-output.parquet")
    )
    categories = {"wk flu hosp rate category": CATEGORIES} if all_types else None
    if all_types:
        (target,) = categories
        truth = jaxcast.hub.cut_into_categories(truth, target, CATEGORIES, [2.5, 5, 7.5], of="wk flu hosp rate")
    made = [jaxcast.hub.pool_samples(outputs.rows, compound=compound, max_samples=100)]
    pools = jaxcast.hub.pool_pmf, jaxcast.hub.pool_cdf, jaxcast.hub.pool_means, jaxcast.hub.pool_medians
    made += [pool(outputs.rows) for pool in pools] if all_types else []
    made.append(jaxcast.hub.quantiles_of_samples(made[0].rows))
    assert not any(pooled.dropped for pooled in made)
    together = pl.concat([outputs.rows, *(pooled.rows for pooled in made)], how="diagonal")
    scores = jaxcast.hub.score_outputs(together, truth, categories=categories, compound=compound)
    kinds = outputs.rows.select("output_type", "target").unique().rows()
    assert {(row["output_type"], row["target"]) for row in scores.tables} == set(kinds)
    for kind, target in kinds:
        pooled = row_of(scores, "pool", output_type=kind, target=target)
        worst = max(row["relative"] for row in scores.tables if (row["output_type"], row["target"]) == (kind, target))
        assert pooled["relative"] <= worst
        assert pooled["num_tasks"] > 25
    _check_by_hand(scores, together, truth, all_types)


def _check_by_hand(scores, rows, truth, all_types):
    """Scores of one model and task in numpy, from the rows as they were read."""
    target = "wk inc flu hosp" if all_types else "wk inc covid hosp"
    task = scores.tasks.filter(pl.col("score") == "crps", pl.col("target") == target, pl.col("model") != "pool")
    task = task.row(7, named=True)
    key = ("model", "location", "reference_date", "horizon", "target")
    of_task = rows.filter(pl.col("output_type") == "sample", *(pl.col(name) == task[name] for name in key))
    draws = of_task["value"].to_numpy()
    y = truth.filter(*(pl.col(name) == task[name] for name in ("location", "target_end_date", "target")))[
        "value"
    ].item()
    expected = np.abs(draws - y).mean() - np.abs(draws[:, None] - draws).mean() / 2
    np.testing.assert_allclose(task["value"], expected, rtol=1e-10)


def test_pooled_rows_have_the_columns_of_rows_that_were_read():
    pooled = jaxcast.hub.pool_means(frame("mean", {"a": {None: 1.0}, "b": {None: 2.0}}), model="t-pool")
    assert pooled.rows.columns == ["model", *TASK, "output_type", "output_type_id", "value"]
    assert values_of(pooled) == {None: 1.5}
