"""All output types of a hub: reading, pools by hand, and quantiles of samples."""

import numpy as np
import pytest

import jaxcast
from jaxcast.hub.outputs.samples import _drawn, _quota

pl = pytest.importorskip("polars", reason="hub tables need the extra `hub`")

HEADER = "reference_date,target,horizon,target_end_date,location,age,output_type,output_type_id,value"
TASK = {"location": "X", "reference_date": "2024-01-06", "horizon": 1, "target": "cases"}


def folder(tmp_path, **files):
    for name, lines in files.items():
        path = tmp_path / "model-output" / f"t-{name}" / f"2024-01-06-t-{name}.csv"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines) + "\n")
    return tmp_path


def line(kind, id_, value, target="cases", horizon="1", end="2024-01-13", age="old"):
    return f"2024-01-06,{target},{horizon},{end},01,{age},{kind},{id_},{value}"


def frame(kind, values, **columns):
    """Rows of a task: values by model and id."""
    rows = [
        {"model": model, **TASK, **columns, "output_type": kind, "output_type_id": id_, "value": float(value)}
        for model, by_id in values.items()
        for id_, value in by_id.items()
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def values_of(outputs):
    return dict(outputs.rows.select("output_type_id", "value").rows())


def test_every_output_type_is_read_in_one_form(tmp_path):
    lines = [
        line("quantile", "0.50", 3),
        line("sample", "US_1", 4),
        line("pmf", "very high", 0.5),
        line("cdf", "1.0", 0.25),
        line("mean", "NA", 2),
        line("median", "", 1),
        line("pmf", "2024-02-03", 0.5, "peak week", "NA", "NA"),
        line("point", "NA", 7),
    ]
    other = ["location,horizon,reference_date,target,output_type,output_type_id,value", "02,2,2024-01-06,cases,mean,,9"]
    path = folder(tmp_path, a=[HEADER, *lines], b=other)
    outputs = jaxcast.hub.read_outputs(path)
    assert outputs.dropped == ("1 row of t-a of the output type point",)
    rows = outputs.rows
    assert rows["output_type_id"].to_list() == ["0.5", "US_1", "very high", "1", None, None, "2024-02-03", None]
    assert rows["value"].to_list() == [3, 4, 0.5, 0.25, 2, 1, 0.5, 9]
    assert rows["location"].to_list() == ["01"] * 7 + ["02"]
    assert rows["age"].to_list() == ["old"] * 7 + [None]
    assert rows["horizon"].to_list() == [1] * 6 + [None, 2]
    assert [str(day) for day in rows["target_end_date"]] == ["2024-01-13"] * 6 + ["None", "2024-01-20"]
    assert rows["row"].to_list() == [*range(1, 8), 1]
    chosen = jaxcast.hub.read_outputs(path, output_types=["mean"], models=["t-b"], reference_dates=["2024-01-06"])
    assert chosen.rows["value"].to_list() == [9]
    with pytest.raises(jaxcast.InputError, match="holds no forecast of what was asked for"):
        jaxcast.hub.read_outputs(path, reference_dates=["2024-01-13"])
    with pytest.raises(jaxcast.InputError, match="unknown output type 'samples'; did you mean sample"):
        jaxcast.hub.read_outputs(path, output_types=["samples"])


def test_a_parquet_file_with_numbers_as_ids_reads_like_a_csv(tmp_path):
    path = folder(tmp_path, a=[HEADER, line("cdf", "1", 0.25), line("cdf", "2.5", 0.5), line("quantile", "0.025", 3)])
    rows = jaxcast.hub.read_outputs(path).rows.drop("file")
    csv = next(path.glob("model-output/*/*.csv"))
    pl.read_csv(csv, schema_overrides={"location": pl.String}, try_parse_dates=True).write_parquet(
        csv.with_suffix(".parquet")
    )
    csv.unlink()
    assert jaxcast.hub.read_outputs(path).rows.drop("file").equals(rows)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (line("sample", "", 1), "row 2: the output_type_id of t-a for 01 is NA or not the id of a sample"),
        (line("quantile", "1.5", 1), "row 2: the output_type_id .*'1.5'"),
        (line("mean", "NA", "x"), "row 2: the value .*'x'"),
        (line("means", "NA", 1), "row 2: the output_type .*'means'"),
        (line("mean", "NA", 1, horizon="one"), "row 2: the horizon .*'one'"),
        (line("mean", "NA", 1, end="2024-02-13"), "row 2: the reference_date"),
        (line("sample", "1", 5), "row 2: t-a has a second sample 1 for 01 on 2024-01-13"),
    ],
)
def test_bad_rows_are_refused_with_file_and_row_or_dropped_and_counted(tmp_path, bad, message):
    path = folder(tmp_path, a=[HEADER, line("sample", "1", 4), bad])
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.hub.read_outputs(path)
    outputs = jaxcast.hub.read_outputs(path, bad="drop")
    assert len(outputs.rows) == len(outputs.dropped) == 1
    assert outputs.rows["value"].to_list() == [5 if "second" in message else 4]


def test_pmf_are_pooled_linearly_and_bad_ones_left_out():
    good = {"a": {"low": 0.2, "mid": 0.3, "high": 0.5}, "b": {"low": 0.7, "mid": 0.3, "high": 0.0}}
    bad = {
        "c": {"low": 0.5, "mid": 0.5},
        "d": {"low": 0.5, "mid": 0.5, "high": 0.5},
        "e": {"low": 1.5, "mid": -0.5, "high": 0},
        "f": {"low": 0.5, "mid": 0.5, "tiny": 0.0},
    }
    categories = ["low", "mid", "high"]
    pooled = jaxcast.hub.pool_pmf(frame("pmf", good | bad), categories=categories, weights={"a": 1, "b": 3, "c": 1})
    assert list(values_of(pooled)) == categories
    np.testing.assert_allclose(list(values_of(pooled).values()), [0.575, 0.3, 0.125], atol=1e-12)
    assert pooled.dropped[0] == "3 models without weight: d, e, f"
    assert pooled.dropped[1].startswith("1 forecast of c that lack a category")
    equal = jaxcast.hub.pool_pmf(frame("pmf", good | bad), categories=categories)
    np.testing.assert_allclose(list(values_of(equal).values()), [0.45, 0.3, 0.25], atol=1e-12)
    assert [text[:15] for text in equal.dropped] == [f"1 forecast of {name}" for name in "cdef"]
    rounded = jaxcast.hub.pool_pmf(frame("pmf", {"a": {"low": 0.3333, "mid": 0.3333, "high": 0.3333}}))
    np.testing.assert_allclose(list(values_of(rounded).values()), [1 / 3] * 3, atol=1e-12)
    with pytest.raises(jaxcast.InputError, match="nothing is left to pool"):
        jaxcast.hub.pool_pmf(frame("pmf", bad), categories=categories)
    with pytest.raises(jaxcast.InputError, match="unknown model 'z'"):
        jaxcast.hub.pool_pmf(frame("pmf", good), weights={"z": 1})
    for wrong in ([], ["low", "low", "mid"]):
        with pytest.raises(jaxcast.InputError, match="expected different categories, at least one"):
            jaxcast.hub.pool_pmf(frame("pmf", good), categories=wrong)
    with pytest.raises(jaxcast.InputError, match="there is no cdf to pool"):
        jaxcast.hub.pool_cdf(frame("pmf", good))


def test_cdf_are_pooled_in_the_order_of_their_points():
    good = {"a": {"10": 1.0, "2": 0.5, "5": 0.75}, "b": {"2": 0.0, "5": 0.25, "10": 0.5}}
    bad = {"c": {"2": 0.5, "5": 0.25, "10": 1.0}, "d": {"2": 0.5, "5": 0.6, "10": 1.2}, "e": {"2": 0.5, "5": 0.6}}
    pooled = jaxcast.hub.pool_cdf(frame("cdf", good | bad))
    assert values_of(pooled) == {"2": 0.25, "5": 0.5, "10": 0.75}
    assert list(values_of(pooled)) == ["2", "5", "10"]
    assert [text[:15] for text in pooled.dropped] == [f"1 forecast of {name}" for name in "cde"]


def test_means_and_medians_of_each_task():
    values = {"a": {None: 1.0}, "b": {None: 2.0}, "c": {None: 9.0}}
    rows = pl.concat(
        [frame(kind, values, location=place) for kind in ("mean", "median") for place in "XY"]
        + [frame(kind, {"d": {None: 100.0}}, location="Y") for kind in ("mean", "median")]
    )
    assert jaxcast.hub.pool_means(rows).rows["value"].to_list() == [4.0, 28.0]
    assert jaxcast.hub.pool_medians(rows).rows["value"].to_list() == [2.0, 5.5]
    weights = {"a": 2, "b": 1, "c": 3, "d": 1}
    for place, names in (("X", "abc"), ("Y", "abcd")):
        of_place = rows.filter(pl.col("location") == place, pl.col("model").is_in(list(names)))
        number = {"a": 1.0, "b": 2.0, "c": 9.0, "d": 100.0}
        repeated = [number[name] for name in names for _ in range(weights[name])]
        used = {name: weights[name] for name in names}
        assert jaxcast.hub.pool_medians(of_place, weights=used).rows["value"].item() == np.median(repeated)
        mean = jaxcast.hub.pool_means(of_place, weights=used).rows["value"].item()
        np.testing.assert_allclose(mean, np.mean(repeated))


def samples(held, horizons=(0, 1), place="X", date="2024-01-06"):
    """Samples whose value tells model, id and horizon."""
    rows = [
        {
            "model": model,
            **TASK,
            "location": place,
            "reference_date": date,
            "horizon": horizon,
            "output_type": "sample",
            "output_type_id": f"s{i}",
            "value": 1e4 * (ord(model) - ord("a")) + 10.0 * i + horizon,
        }
        for model, number in held.items()
        for i in range(number)
        for horizon in horizons
    ]
    return pl.DataFrame(rows)


def paths_of(pooled):
    """Model, id and horizons of each trajectory of a pool."""
    paths = []
    for _, path in pooled.rows.group_by("location", "reference_date", "output_type_id", maintain_order=True):
        values = path.sort("horizon")["value"].to_numpy().astype(int)
        horizons = path["horizon"].sort().to_list()
        assert (values % 10).tolist() == horizons
        assert len(set((values // 10).tolist())) == 1, "a trajectory of two samples"
        paths.append(("abcdef"[values[0] // 10_000], values[0] // 10 % 1000))
    return paths


def test_samples_are_drawn_evenly_as_whole_trajectories():
    pooled = jaxcast.hub.pool_samples(samples({"a": 50, "b": 20, "c": 3}), max_samples=31)
    paths = paths_of(pooled)
    assert len(paths) == len(set(paths)) == 31
    assert [sum(path[0] == model for path in paths) for model in "abc"] == [14, 14, 3]
    assert pooled.rows["output_type_id"].unique().cast(int).sort().to_list() == list(range(1, 32))
    assert jaxcast.hub.pool_samples(samples({"a": 5, "b": 2})).rows["output_type_id"].n_unique() == 7
    of_weights = jaxcast.hub.pool_samples(samples({"a": 50, "b": 50}), max_samples=40, weights={"a": 3, "b": 1})
    assert [sum(path[0] == model for path in paths_of(of_weights)) for model in "ab"] == [30, 10]


def test_a_draw_depends_on_its_seed_and_its_own_compound_task_alone():
    one, other = samples({"a": 50, "b": 50}), samples({"a": 50, "b": 50}, place="Y")
    first = paths_of(jaxcast.hub.pool_samples(one, max_samples=10))
    both = jaxcast.hub.pool_samples(pl.concat([other, one]), max_samples=10)
    assert paths_of(both)[:10] == first
    assert paths_of(both)[10:] != first
    assert both.rows["output_type_id"].n_unique() == 20
    assert paths_of(jaxcast.hub.pool_samples(one, max_samples=10, seed=1)) != first


@pytest.mark.slow
def test_a_sample_too_many_falls_to_each_model_equally_often():
    rng = np.random.default_rng(0)
    quotas = np.asarray([_quota(np.asarray([9, 9, 9, 1]), np.ones(4), 11, rng) for _ in range(3000)])
    assert (quotas.sum(1) == 11).all()
    assert (quotas[:, 3] == 1).all()
    np.testing.assert_allclose(quotas[:, :3].mean(0), 10 / 3, atol=4 * 0.47 / 3000**0.5)
    assert _quota(np.asarray([5, 5]), np.asarray([1.0, 1e-9]), 8, rng).tolist() == [5, 3]


@pytest.mark.slow
def test_each_trajectory_is_drawn_equally_often_and_the_draw_is_near_to_all():
    rng = np.random.default_rng(0)
    paths = pl.DataFrame({"model": ["a"] * 7 + ["b"] * 3, "weight": [1.0] * 10})
    draws = np.asarray([_drawn(paths, 6, rng) for _ in range(3000)])
    assert all(len(set(draw)) == 6 for draw in draws.tolist())
    share = np.bincount(draws.ravel(), minlength=10) / 3000
    np.testing.assert_allclose(share, [3 / 7] * 7 + [1] * 3, atol=4 * 0.5 / 3000**0.5)
    # Values that agree in order over the horizons: the mean of a quarter of them is that of all,
    # but for a step.
    rows = samples({"a": 100})
    means = [jaxcast.hub.pool_samples(rows, max_samples=25, seed=seed).rows["value"].mean() for seed in range(5)]
    assert np.abs(np.asarray(means) - rows["value"].mean()).max() <= 10 * (100 / 25 - 1) / 2


def test_trajectories_are_over_the_tasks_that_half_of_the_models_have():
    rows = pl.concat(
        [
            samples({"a": 4, "b": 4}, (0, 1, 2)),
            samples({"c": 4}, (0, 1)),
            samples({"d": 4}, (-1, 0, 1, 2)),
        ]
    )
    pooled = jaxcast.hub.pool_samples(rows)
    assert {path[0] for path in paths_of_horizons(pooled)} == {"a", "b", "d"}
    assert pooled.rows["horizon"].unique().sort().to_list() == [0, 1, 2]
    assert pooled.dropped == (
        "samples of 1 task that less than half of the models have (d)",
        "1 compound task of c that lacks tasks of the pool",
    )
    broken = samples({"a": 4, "b": 4}).filter((pl.col("output_type_id") != "s1") | (pl.col("horizon") == 0))
    kept = jaxcast.hub.pool_samples(broken)
    assert len(paths_of(kept)) == 6
    assert kept.dropped == (
        "1 trajectory of a that lacks tasks of others",
        "1 trajectory of b that lacks tasks of others",
    )
    with pytest.raises(jaxcast.InputError, match="compound names 'age', which is none of"):
        jaxcast.hub.pool_samples(rows, compound=["age"])


def paths_of_horizons(pooled):
    values = pooled.rows.filter(pl.col("horizon") == 1)["value"].to_numpy().astype(int)
    return [("abcdef"[value // 10_000], value // 10 % 1000) for value in values]


@pytest.mark.parametrize("method", ["median_unbiased", "linear"])
def test_quantiles_of_samples_are_those_of_numpy(method):
    rng = np.random.default_rng(1)
    draws = {place: rng.normal(size=size) for place, size in (("X", 30), ("Y", 30), ("Z", 7), ("W", 1))}
    rows = pl.concat(
        [frame("sample", {"a": {str(i): x for i, x in enumerate(draw)}}, location=p) for p, draw in draws.items()]
    )
    levels = [0.9, 0.025, 0.5]
    made = jaxcast.hub.quantiles_of_samples(rows, levels, method=method)
    assert made.dropped == ("1 task of a with fewer than 2 samples",)
    assert made.rows["output_type_id"].to_list() == ["0.025", "0.5", "0.9"] * 3
    for place in "XYZ":
        wanted = np.quantile(draws[place], sorted(levels), method=method)
        found = made.rows.filter(pl.col("location") == place)["value"].to_numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    with pytest.raises(jaxcast.InputError, match="no task has 50 samples"):
        jaxcast.hub.quantiles_of_samples(rows, least=50)


def test_models_that_give_samples_take_part_in_quantile_pools(tmp_path):
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(2, 40))
    levels = (0.1, 0.5, 0.9)
    quantiles = [line("quantile", level, 10 * level) for level in levels]
    both = [*quantiles, *(line("sample", i, 9) for i in range(3))]
    alone = [line("sample", f"s{i}", x) for i, x in enumerate(draws[0])]
    path = folder(tmp_path, a=[HEADER, *quantiles], b=[HEADER, *both], c=[HEADER, *alone])
    truth = tmp_path / "truth.csv"
    truth.write_text("location,date,value\n01,2024-01-13,0.5\n")
    hub = jaxcast.load_hub(path, truth)
    assert hub.models == ("t-a", "t-b", "t-c")
    np.testing.assert_allclose(hub.levels, levels)
    np.testing.assert_allclose(hub.quantiles[0, 0, :2], [[1, 5, 9]] * 2)
    expected = np.quantile(draws[0], levels, method="median_unbiased")
    np.testing.assert_allclose(hub.quantiles[0, 0, 2], expected, rtol=1e-12)
    assert hub.dropped == (
        "samples of 1 forecast of t-b beside its quantiles, which are used",
        "samples of 1 forecast of t-c in whose place their quantiles are used",
    )
    for model in "ab":
        next(path.glob(f"model-output/t-{model}/*")).unlink()
    assert jaxcast.load_hub(path, truth).quantiles.shape[-1] == 23
    chosen = jaxcast.load_hub(path, truth, levels=(0.3, 0.7))
    np.testing.assert_allclose(chosen.quantiles[0, 0, 0], np.quantile(draws[0], (0.3, 0.7), method="median_unbiased"))


def test_a_sample_that_is_there_twice_is_refused(tmp_path):
    path = folder(tmp_path, c=[HEADER, *(line("sample", i, i) for i in (1, 2, 3, 2))])
    truth = tmp_path / "truth.csv"
    truth.write_text("location,date,value\n01,2024-01-13,0.5\n")
    with pytest.raises(jaxcast.InputError, match=r"row 4: the output_type_id of t-c for 01 .* \(each once\)"):
        jaxcast.load_hub(path, truth)
    hub = jaxcast.load_hub(path, truth, bad="drop", levels=(0.5,))
    assert hub.quantiles.item() == 2.0


def test_output_types_that_a_quantile_pool_does_not_use_are_reported(tmp_path):
    quantiles = [line("quantile", level, level) for level in (0.25, 0.5, 0.75)]
    others = [line("mean", "NA", 1), line("pmf", "low", 1)]
    later = line("median", "NA", 1, horizon="2", end="2024-01-20")
    path = folder(tmp_path, a=[HEADER, *quantiles, *others, later], b=[HEADER, *others], c=[HEADER, *quantiles])
    truth = tmp_path / "truth.csv"
    truth.write_text("location,date,value\n01,2024-01-13,0.5\n")
    hub = jaxcast.load_hub(path, truth)
    assert hub.models == ("t-a", "t-c")
    told = "forecasts of the output type mean and pmf of 2 models, such as t-a, as quantiles are read"
    assert hub.dropped == (told,)
    assert jaxcast.load_hub(path, truth, models=["t-c"]).dropped == ()
    assert jaxcast.load_hub(path, truth, exclude=["t-a"]).dropped == (
        told.replace("2 models", "1 model").replace("t-a", "t-b"),
    )


def test_a_column_with_a_name_of_our_own_is_refused(tmp_path):
    path = folder(tmp_path, a=[HEADER.replace(",age,", ",weight,"), line("mean", "NA", 1)])
    with pytest.raises(jaxcast.InputError, match="the column weight of the forecasts has a name"):
        jaxcast.hub.read_outputs(path)


def test_the_second_of_two_equal_rows_is_named(tmp_path):
    rows = [line("sample", 1, 4), line("sample", 2, 4), line("sample", 3, 4), line("sample", 2, 4)]
    with pytest.raises(jaxcast.InputError, match="row 4: t-a has a second sample 2 "):
        jaxcast.hub.read_outputs(folder(tmp_path, a=[HEADER, *rows]))
