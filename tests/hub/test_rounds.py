"""A round of a hub's folder is pooled into one file that the hub accepts."""

import json
import re
import shutil
from functools import partial

import numpy as np
import polars as pl
import pytest

import jaxcast
from jaxcast.cli.hub.forecast import ForecastHub
from jaxcast.cli.main import parse
from jaxcast.hub.rounds.files import round_path, write_metadata, write_round
from jaxcast.hub.rounds.pooling import newest_round, pool_round
from jaxcast.hub.rounds.quantiles import RoundSettings, pool_quantiles, read_history
from jaxcast.hub.tables.target_data import find_target_data
from jaxcast.hub.validation.report import validate_submission
from tests.hub.tiny_hub import CATEGORIES, CATEGORY, COUNT, HORIZONS, LOCATIONS, MODELS, PEAK, RATE, WEEKS, write_hub
from tests.real_data import real_data

OURS = "ours-pool"


def mean_of(hub, kind):
    """The mean of the newest forecasts, without compiling anything."""
    newest = hub.quantiles[:, -1]
    count = np.isfinite(newest).sum(1)
    return np.where(count > 0, np.nansum(newest, 1) / np.maximum(count, 1), np.nan)


def settings(hub, pool=mean_of, **options):
    return RoundSettings(OURS, pool, find_target_data(hub), **options)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    return write_hub(tmp_path_factory.mktemp("hub") / "tiny", num_rounds=4, as_of=True)


@pytest.fixture(scope="module")
def rows(hub):
    return pool_round(jaxcast.hub.describe_hub(hub), "2026-01-24", settings(hub)).table.frame


def values_of(frame, target, kind, *columns):
    return frame.filter((pl.col("target") == target) & (pl.col("output_type") == kind)).select(*columns, "value").rows()


def test_every_target_horizon_and_output_type_is_pooled(rows):
    found = rows.group_by("target", "output_type", "horizon", "location").len()
    assert {row[:2] for row in found.rows()} == {
        (COUNT, "quantile"), (COUNT, "mean"), (COUNT, "median"), (COUNT, "sample"), (RATE, "cdf"), (CATEGORY, "pmf")
    }  # fmt: skip
    assert len(found) == 6 * len(HORIZONS) * len(LOCATIONS)
    of_one = rows.filter((pl.col("horizon") == "1") & (pl.col("location") == "01"))
    # Models' medians are 30, 31 and 32; quantiles are 8 apart from 0 to 1.
    expected = {0.1: 27.8, 0.25: 29, 0.5: 31, 0.75: 33, 0.9: 34.2}
    quantiles = dict(values_of(of_one, COUNT, "quantile", "output_type_id"))
    assert {float(level): value for level, value in quantiles.items()} == pytest.approx(expected)
    assert values_of(of_one, COUNT, "mean") == [(pytest.approx(31.5),)]
    assert values_of(of_one, COUNT, "median") == [(pytest.approx(31),)]
    assert dict(values_of(of_one, RATE, "cdf", "output_type_id")) == pytest.approx({"1": 0.2, "2.5": 0.35, "4": 0.5})
    assert values_of(of_one, CATEGORY, "pmf", "output_type_id") == list(zip(CATEGORIES, (0.25, 0.5, 0.25), strict=True))
    assert of_one["target_end_date"].unique().to_list() == ["2026-01-31"]
    samples = of_one.filter(pl.col("output_type") == "sample")
    assert (len(samples), samples["value"].to_list()) == (4, [round(each) for each in samples["value"]])


@pytest.mark.slow
def test_the_file_of_a_round_is_accepted(hub, tmp_path):
    shutil.copytree(hub, folder := tmp_path / "hub")
    description = jaxcast.hub.describe_hub(folder)
    assert newest_round(description, OURS) == "2026-01-24"
    for suffix in (".csv", ".parquet"):
        if suffix == ".parquet":
            admin = json.loads((folder / "hub-config/admin.json").read_text()) | {"file_format": ["parquet"]}
            (folder / "hub-config/admin.json").write_text(json.dumps(admin))
            description = jaxcast.hub.describe_hub(folder)
        path = round_path(description.model_output, OURS, "2026-01-24", description)
        assert path == folder / f"model-output/{OURS}/2026-01-24-{OURS}{suffix}"
        forecast = pool_round(description, "2026-01-24", settings(folder))
        assert write_round(path, forecast) == ()
        assert validate_submission(path, folder).failures == ()
        read = pl.read_csv(path, infer_schema=False) if suffix == ".csv" else pl.read_parquet(path).cast(pl.String)
        assert read["value"].cast(pl.Float64).to_list() == forecast.table.frame["value"].to_list()
        with pytest.raises(jaxcast.InputError, match="exists"):
            write_round(path, forecast)
        write_round(path, forecast, overwrite=True)
        path.unlink()


@pytest.mark.slow
def test_files_of_other_teams_are_not_replaced(hub, tmp_path):
    """Whatever the name of the model: their columns are those that jaxcast writes."""
    shutil.copytree(hub, folder := tmp_path / "hub")
    command = ["hub", "forecast", str(folder), "--model", MODELS[0], "--method", "equal_median", "--overwrite"]
    file = folder / f"model-output/{MODELS[0]}/2026-01-24-{MODELS[0]}.csv"
    header, *lines = file.read_text().splitlines()
    order = "reference_date,target,horizon,target_end_date,location,output_type,output_type_id,value"
    for first in (header, order, '"' + order.replace(",", '","') + '"'):
        file.write_text(text := "\n".join([first, *lines]) + "\n")
        with pytest.raises(jaxcast.InputError, match="was not written by jaxcast"):
            parse(command).run()
        assert file.read_text() == text
    file.unlink()
    parse(command[:-1]).run()
    parse(command).run()
    assert pl.read_csv(file).columns == order.split(",")


def test_metadata_have_the_fields_of_the_hub(hub, tmp_path):
    shutil.copytree(hub, folder := tmp_path / "hub")
    schema = {
        "properties": {name: {} for name in ("team_abbr", "website_url", "model_abbr", "license", "designated_model")},
        "required": ["team_abbr", "model_abbr", "license", "funding"],
    }
    schema["properties"]["license"] = {"enum": ["CC0-1.0", "ODbL"]}
    (folder / "hub-config/model-metadata-schema.json").write_text(json.dumps(schema))
    description = jaxcast.hub.describe_hub(folder)
    path = write_metadata(folder / "model-metadata", OURS, description, "A mean.")
    assert path.read_text().splitlines() == [
        'team_abbr: "ours"', 'model_abbr: "pool"', 'license: "CC0-1.0"', "designated_model: true", 'funding: "TODO"',
    ]  # fmt: skip
    assert write_metadata(folder / "model-metadata", OURS, description, "A mean.") is None
    file = folder / f"model-output/{MODELS[0]}/2026-01-24-{MODELS[0]}.csv"
    assert [
        each.name for each in validate_submission(file, folder).checks if each.failures and not each.is_warning
    ] == ["metadata_exists"]


@pytest.mark.slow
@pytest.mark.parametrize("beyond", [-10, -3])
def test_rounds_on_wednesdays(tmp_path, beyond):
    hub = write_hub(tmp_path / "hub", column="origin_date", first="2025-10-01", beyond=beyond, num_rounds=3)
    description = jaxcast.hub.describe_hub(hub)
    forecast = pool_round(description, "2025-10-15", settings(hub))
    path = round_path(hub / "model-output", OURS, "2025-10-15", description)
    write_round(path, forecast)
    assert path.read_text().startswith("origin_date,target,horizon,target_end_date,location,output_type,")
    assert validate_submission(path, hub).failures == ()
    ends = {(row[0], row[1]) for row in forecast.table.frame.select("horizon", "target_end_date").rows()}
    assert ends == {(str(h), str(np.datetime64("2025-10-15") + beyond + 7 * h)) for h in HORIZONS}
    write_round(path, forecast, overwrite=True)


@pytest.mark.slow
def test_nothing_of_later_rounds_or_releases_enters_a_round_that_is_replayed(hub, tmp_path):
    shutil.copytree(hub, folder := tmp_path / "hub")
    seen = []

    def spy(hub, kind):
        seen.append(hub)
        return mean_of(hub, kind)

    description = jaxcast.hub.describe_hub(folder)
    before = pool_round(description, "2026-01-10", settings(folder, spy))
    for file in folder.glob("model-output/*/2026-01-[12]*"):
        if not file.name.startswith("2026-01-10"):
            file.write_text(re.sub(r",(\d[\d.]*)$", r",9\1", file.read_text(), flags=re.M))
    truth = folder / "target-data/time-series.csv"
    lines = truth.read_text().splitlines()
    lines[1:] = [line if line < "2026-01-10" else line[: line.rindex(",")] + ",777" for line in lines[1:]]
    truth.write_text("\n".join(lines) + "\n")
    after = pool_round(description, "2026-01-10", settings(folder, spy))
    assert before.table.frame.equals(after.table.frame)
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert [hub.horizon for hub in first] == [-1, 0, 1]
    for one, other in zip(first, second, strict=True):
        assert one.dates[-1] == np.datetime64("2026-01-10") + 7 * one.horizon
        np.testing.assert_array_equal(one.quantiles, other.quantiles)
        np.testing.assert_array_equal(one.observed, other.observed)
        np.testing.assert_array_equal(
            jaxcast.hub.known_truth(one.forecasts(), len(one.dates) - 1),
            jaxcast.hub.known_truth(other.forecasts(), len(other.dates) - 1),
        )


@pytest.mark.slow
def test_a_round_that_is_replayed_by_the_adaptive_pool_is_the_same_whatever_comes_later(
    hub, tmp_path, monkeypatch, capsys
):
    """Later rounds, later releases, and in these a value below the least one and another of the
    newest week."""
    seen, newest = [], ForecastHub.newest
    monkeypatch.setattr(ForecastHub, "newest", lambda self, each: seen.append((self.lower, each)) or newest(self, each))
    files, printed = [], []
    for name in ("one", "other"):
        shutil.copytree(hub, folder := tmp_path / name)
        if files:
            for file in folder.glob("model-output/*/2026-01-[12]*"):
                if not file.name.startswith("2026-01-10"):
                    text = re.sub(r",(\d[\d.]*)$", r",9\1", file.read_text(), flags=re.M)
                    file.write_text(re.sub(r",0.1,[\d.]+$", ",0.1,NA", text, flags=re.M))
            truth = folder / "target-data/time-series.csv"
            lines = truth.read_text().splitlines()
            lines[1:] = [line if line < "2026-01-10" else line[: line.rindex(",")] + ",-777" for line in lines[1:]]
            truth.write_text("\n".join(lines) + "\n")
        parse(["hub", "forecast", str(folder), "--model", OURS, "--targets", COUNT, "--round", "2026-01-10"]).run()
        files.append((folder / f"model-output/{OURS}/2026-01-10-{OURS}.csv").read_bytes())
        printed.append("".join(capsys.readouterr()).replace(str(folder), ""))
    assert files[0] == files[1]
    assert printed[0] == printed[1]
    assert len(seen) == 2 * len(HORIZONS)
    for (lower, one), (other_lower, other) in zip(seen[: len(HORIZONS)], seen[len(HORIZONS) :], strict=True):
        assert (lower, other_lower) == (0, 0)
        assert not np.array_equal(one.truth, other.truth, equal_nan=True)
        for time in range(len(one.dates)):
            np.testing.assert_array_equal(one.known_truth(time), other.known_truth(time))


def test_a_target_with_further_columns_leaves_the_others_as_they_are(hub, tmp_path):
    """Of rows that differ in age, those of one target alone are pooled with equal weights, and the
    note says why."""
    description = jaxcast.hub.describe_hub(hub)
    group = description.find_round("2026-01-24")
    rows = jaxcast.hub.read_outputs(hub / "model-output", round_id="2026-01-24").rows
    rows = rows.filter(pl.col("output_type") == "quantile", pl.col("target") == COUNT)
    aged = [rows.with_columns(target=pl.lit(RATE), age=pl.lit(age)) for age in ("0-4", "5+")]
    undated = rows.with_columns(target=pl.lit(COUNT), horizon=pl.lit(None, rows.schema["horizon"]))
    given, kind = settings(hub), group.model_tasks[0].output_type("quantile")

    def pooled(*frames):
        read = partial(read_history, description, group, given, None)
        found, hubs = pool_quantiles(description, group, kind, pl.concat(frames, how="diagonal"), given, read)
        return [note for note in found.dropped if "equal weights" in note], {target for target, _ in hubs}

    assert pooled(rows, *aged) == (
        [f"{RATE}: quantiles pooled with equal weights, as its tasks also differ in age"], {COUNT}
    )  # fmt: skip
    assert pooled(undated) == (
        [f"{COUNT}: quantiles pooled with equal weights, as its forecasts have no horizon"],
        set(),
    )
    other = rows.with_columns(target=pl.lit(PEAK))
    assert pooled(other) == ([f"{PEAK}: quantiles pooled with equal weights, as there are no target data of it"], set())


def test_without_target_data_quantiles_are_pooled_equally(hub):
    description = jaxcast.hub.describe_hub(hub)
    given = RoundSettings(
        OURS, mean_of, None, equal="median", exclude=(MODELS[0],), targets=(COUNT,), locations=("US",)
    )
    forecast = pool_round(description, "2026-01-24", given)
    assert forecast.models == MODELS[1:]
    assert any("equal weights" in note for note in forecast.notes)
    frame = forecast.table.frame
    assert (frame["target"].unique().to_list(), frame["location"].unique().to_list()) == ([COUNT], ["US"])
    found = [
        value for *_, value in values_of(frame.filter(pl.col("horizon") == "0"), COUNT, "quantile", "output_type_id")
    ]
    assert found == pytest.approx([21.5 + 8 * (level - 0.5) for level in (0.1, 0.25, 0.5, 0.75, 0.9)])


def test_values_stay_within_the_bounds_of_the_hub(hub):
    below = settings(hub, lambda hub, kind: mean_of(hub, kind) - 100)
    frame = pool_round(jaxcast.hub.describe_hub(hub), "2026-01-24", below).table.frame
    assert {value for *_, value in values_of(frame, COUNT, "quantile")} == {0}
    assert {value for *_, value in values_of(frame, COUNT, "median")} == {0}


def test_tasks_without_a_required_output_type_are_left_out(hub, tmp_path):
    shutil.copytree(hub, folder := tmp_path / "hub")
    for file in folder.glob("model-output/*/2026-01-24*"):
        lines = file.read_text().splitlines()
        kept = [line for line in lines if not re.search(",-1,01,.*,(quantile|sample),", line)]
        file.write_text("\n".join(kept) + "\n")
    forecast = pool_round(jaxcast.hub.describe_hub(folder), "2026-01-24", settings(folder))
    assert "1 task of which quantile could not be pooled" in forecast.notes
    assert not len(forecast.table.frame.filter(horizon="-1", location="01", target=COUNT))


@pytest.mark.slow
def test_the_command_finds_all_by_itself(hub, tmp_path, capsys):
    shutil.copytree(hub, folder := tmp_path / "hub")
    parse(["hub", "forecast", str(folder), "--model", OURS, "--method", "equal_median"]).run()
    file = folder / f"model-output/{OURS}/2026-01-24-{OURS}.csv"
    assert f"{file}: round 2026-01-24 of {COUNT}, " in capsys.readouterr().out
    assert validate_submission(file, folder).failures == ()
    assert (folder / f"model-metadata/{OURS}.yml").read_text().startswith('team_name: "ours"')
    with pytest.raises(jaxcast.InputError, match="exists; choose another name"):
        parse(["hub", "forecast", str(folder), "--model", OURS, "--method", "equal_median"]).run()
    for horizon in ("1", "2"):
        with pytest.raises(jaxcast.InputError, match=r"--horizons is for tables; leave it out"):
            parse(["hub", "forecast", str(folder), "--model", OURS, "--horizons", horizon]).run()
    with pytest.raises(jaxcast.InputError, match=r"--lower is for tables; leave it out"):
        parse(["hub", "forecast", str(folder), "--model", OURS, "--lower", "None"]).run()
    with pytest.raises(jaxcast.InputError, match=r"2026-01-25.* is not a round of .*its rounds are"):
        parse(["hub", "forecast", str(folder), "--model", OURS, "--round", "2026-01-25"]).run()
    with pytest.raises(jaxcast.InputError, match="name the folder of a hub, or its tables"):
        parse(["hub", "forecast", "--model", OURS]).run()


@pytest.mark.parametrize("folder", ["hub", "hub_all_types"])
def test_real_hubs_are_forecast_in_all_their_rounds(folder, tmp_path):
    path = real_data(f"us-covid-admissions-hub/{folder}")
    hub = jaxcast.hub.describe_hub(path)
    rounds = sorted({file.name[:10] for file in hub.model_output.glob("*/*.csv")})
    for round_id in (rounds[0], rounds[-1]):
        forecast = pool_round(hub, round_id, settings(path))
        file = round_path(tmp_path / "model-output", OURS, round_id, hub)
        write_round(file, forecast)
        assert validate_submission(file, path).failures == ()
        tasks = forecast.table.frame.group_by("target", "output_type").agg(pl.col("horizon").n_unique()).sort("target")
        assert set(tasks["horizon"]) == (
            {4} if folder == "hub_all_types" else {4, 5} if "sample" in tasks["output_type"] else {5}
        )
        assert len(tasks) == (6 if folder == "hub_all_types" else 2 + ("sample" in tasks["output_type"]))


@pytest.mark.slow
def test_models_that_give_samples_alone_are_pooled_by_their_quantiles(hub, tmp_path):
    shutil.copytree(hub, folder := tmp_path / "hub")
    for model in MODELS:
        for file in folder.glob(f"model-output/{model}/*.csv"):
            lines = file.read_text().splitlines()
            kept = [line for line in lines if model == MODELS[0] or ",quantile," not in line]
            file.write_text("\n".join(kept) + "\n")
    description = jaxcast.hub.describe_hub(folder)
    seen = []
    forecast = pool_round(
        description, "2026-01-24", settings(folder, lambda hub, kind: seen.append(hub) or mean_of(hub, kind))
    )
    assert all(hub.present[:, -1].all() for hub in seen)
    assert (len(seen), seen[0].models) == (3, MODELS)
    without = pool_round(description, "2026-01-24", RoundSettings(OURS, mean_of, None))
    found = [
        {
            row[:3]: row[3]
            for row in values_of(each.table.frame, COUNT, "quantile", "horizon", "location", "output_type_id")
        }
        for each in (forecast, without)
    ]
    assert len(found[0]) == 30
    assert found[0] == pytest.approx(found[1])


@pytest.mark.slow
def test_targets_without_a_horizon_are_pooled(tmp_path):
    hub = write_hub(tmp_path / "hub", with_peak=True)
    assert validate_submission(f"{MODELS[0]}/2026-01-17-{MODELS[0]}.csv", hub).failures == ()
    forecast = pool_round(jaxcast.hub.describe_hub(hub), "2026-01-17", settings(hub))
    path = hub / f"model-output/{OURS}/2026-01-17-{OURS}.csv"
    write_round(path, forecast)
    assert validate_submission(path, hub).failures == ()
    of_peak = forecast.table.frame.filter(target=PEAK)
    assert of_peak.select("horizon", "location", "target_end_date", "output_type_id", "value").rows() == [
        (None, location, None, week, 0.5) for location in sorted(LOCATIONS) for week in WEEKS
    ]
    assert len(forecast.table.frame.filter(target=COUNT, output_type="quantile")) == 30


def test_a_hub_of_daily_nowcasts_without_horizon_and_target(tmp_path):
    def values(required=None, optional=None):
        return {"required": required, "optional": optional}

    task = {
        "task_ids": {
            "nowcast_date": values(["2026-01-07"]), "target_date": values(optional=["2026-01-05", "2026-01-06"]),
            "location": values(optional=["NY"]), "clade": values(["25A", "other"]),
        },
        "output_type": {
            "mean": {"output_type_id": values(optional=["NA"]), "value": {"type": "double", "minimum": 0, "maximum": 1}},
            "sample": {
                "output_type_id_params": {
                    "is_required": True, "type": "character", "max_length": 3, "min_samples_per_task": 2,
                    "max_samples_per_task": 2,
                },
                "value": {"type": "double", "minimum": 0, "maximum": 1},
            },
        },
        "target_metadata": [{"target_id": "clade prop", "target_keys": None, "is_step_ahead": True, "time_unit": "day"}],
    }  # fmt: skip
    rounds = [{"round_id": "nowcast_date", "round_id_from_variable": True, "model_tasks": [task]}]
    (tmp_path / "hub-config").mkdir()
    schema = "https://raw.githubusercontent.com/hubverse-org/schemas/main/v3.0.1/tasks-schema.json"
    (tmp_path / "hub-config/tasks.json").write_text(json.dumps({"schema_version": schema, "rounds": rounds}))
    header = "nowcast_date,target_date,location,clade,output_type,output_type_id,value"
    for model, share in (("a-one", 0.2), ("b-two", 0.4)):
        lines = [header]
        for day in ("2026-01-05", "2026-01-06"):
            for clade, value in (("25A", share), ("other", 1 - share)):
                task = f"2026-01-07,{day},NY,{clade}"
                lines += [f"{task},mean,NA,{value}"]
                lines += [f"{task},sample,{day[-1]}{clade[-1]}{i},{value + i / 10}" for i in range(2)]
        (tmp_path / "model-output" / model).mkdir(parents=True)
        path = tmp_path / f"model-output/{model}/2026-01-07-{model}.csv"
        path.write_text("\n".join(lines) + "\n")
        assert validate_submission(path, tmp_path).failures == ()
    forecast = pool_round(jaxcast.hub.describe_hub(tmp_path), "2026-01-07", RoundSettings(OURS, mean_of, None))
    write_round(path := tmp_path / f"model-output/{OURS}/2026-01-07-{OURS}.csv", forecast)
    assert path.read_text().startswith("nowcast_date,target_date,location,clade,output_type,")
    assert validate_submission(path, tmp_path).failures == ()
    means = forecast.table.frame.filter(output_type="mean").select("target_date", "clade", "value").rows()
    assert {row[:2]: row[2] for row in means} == pytest.approx({
        (day, clade): value for day in ("2026-01-05", "2026-01-06") for clade, value in (("25A", 0.3), ("other", 0.7))
    })  # fmt: skip


def test_damaged_files_of_models_that_are_left_out_do_not_matter(hub, tmp_path):
    shutil.copytree(hub, folder := tmp_path / "hub")
    damaged = folder / f"model-output/{MODELS[2]}/2026-01-24-{MODELS[2]}.csv"
    damaged.write_text(damaged.read_text() + "1,2\n")
    description = jaxcast.hub.describe_hub(folder)
    with pytest.raises(jaxcast.InputError, match=rf"2026-01-24-{MODELS[2]}.csv, row .* has 2 cells, the header 8"):
        pool_round(description, "2026-01-24", settings(folder, bad="raise"))
    with pytest.raises(jaxcast.InputError, match=r"unknown model 'gamma-thre'; did you mean gamma-three"):
        pool_round(description, "2026-01-24", settings(folder, exclude=("gamma-thre",)))
    forecast = pool_round(description, "2026-01-24", settings(folder, exclude=MODELS[2:]))
    assert forecast.models == MODELS[:2]
    assert forecast.hubs[COUNT, 0][0].models == MODELS[:2]


def test_columns_that_are_no_task_ids_and_links_to_folders_do_not_matter(hub, rows, tmp_path):
    copy = tmp_path / "hub"
    shutil.copytree(hub, copy)
    first, second = (copy / "model-output" / model for model in MODELS[:2])
    file = first / f"2026-01-24-{first.name}.csv"
    header, *lines = file.read_text().splitlines()
    file.write_text("\n".join([f",{header},weight", *(f"{i},{line},0.5" for i, line in enumerate(lines))]) + "\n")
    shutil.move(second, tmp_path / "elsewhere")
    second.symlink_to(tmp_path / "elsewhere")
    (second / "loop").symlink_to(tmp_path / "elsewhere")
    found = pool_round(jaxcast.hub.describe_hub(copy), "2026-01-24", settings(copy))
    assert found.table.frame.equals(rows)
    assert found.notes[0] == f"no task id of the hub: one without a name, weight in 1 file, such as {file.name}"
