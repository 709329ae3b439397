"""A hub of a few locations and rounds with all output types, written into a folder."""

import json

import numpy as np

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
POINTS = (1, 2.5, 4)
CATEGORIES = ("low", "moderate", "high")
LOCATIONS = ("US", "01")
HORIZONS = (-1, 0, 1)
MODELS = ("alpha-one", "beta-two", "gamma-three")
NUM_SAMPLES = 4
COUNT, RATE, CATEGORY = "wk inc x", "wk rate x", "wk category x"
PEAK = "peak week x"
WEEKS = ("2026-02-07", "2026-02-14")


def days(first, number, step=7):
    return [str(np.datetime64(first) + np.timedelta64(step * i, "D")) for i in range(number)]


def optional(*values):
    return {"required": None, "optional": list(values)}


def config(column, rounds, ends, with_peak=False):
    """The tasks.json of schema version 6; a peak has neither horizon nor target date."""

    def task(target, kind, types):
        ids = {
            column: optional(*rounds),
            "target": {"required": None, "optional": [target]},
            "horizon": optional(*HORIZONS),
            "location": {"required": ["US"], "optional": ["01"]},
            "target_end_date": optional(*ends),
        }
        target = {
            "target_id": target, "target_name": target, "target_units": "count", "target_keys": {"target": target},
            "target_type": kind, "is_step_ahead": True, "time_unit": "week",
        }  # fmt: skip
        return {"task_ids": ids, "output_type": types, "target_metadata": [target]}

    def kind(ids, *, required, type="double", **bounds):
        return {"output_type_id": {"required": ids}, "is_required": required, "value": {"type": type, **bounds}}

    samples = {
        "output_type_id_params": {
            "type": "integer", "min_samples_per_task": 2, "max_samples_per_task": NUM_SAMPLES,
            "compound_taskid_set": [column, "location"],
        },
        "is_required": False, "value": {"type": "integer", "minimum": 0},
    }  # fmt: skip
    peak = task(PEAK, "nominal", {"pmf": kind(list(WEEKS), required=True, minimum=0, maximum=1)})
    peak["task_ids"] |= {"horizon": {"required": None, "optional": None}, "target_end_date": optional("NA")}
    peak["target_metadata"][0] |= {"is_step_ahead": False}
    return {
        "schema_version": "https://raw.githubusercontent.com/hubverse-org/schemas/main/v6.0.0/tasks-schema.json",
        "rounds": [{
            "round_id_from_variable": True, "round_id": column,
            "model_tasks": [
                task(COUNT, "discrete", {
                    "quantile": kind(list(LEVELS), required=True, minimum=0),
                    "mean": kind(None, required=False, minimum=0),
                    "median": kind(None, required=False, minimum=0),
                    "sample": samples,
                }),
                task(RATE, "continuous", {"cdf": kind(list(POINTS), required=True, minimum=0, maximum=1)}),
                task(CATEGORY, "ordinal", {"pmf": kind(list(CATEGORIES), required=True, minimum=0, maximum=1)}),
                *[peak] * with_peak,
            ],
            "submissions_due": {"relative_to": column, "start": -6, "end": -3},
        }],
        "derived_task_ids": ["target_end_date"],
    }  # fmt: skip


def rows_of(model, round_id, beyond=0, with_peak=False):
    """Rows of one submission: round, target, horizon, location, target date, type, id, value."""
    rng = np.random.default_rng([MODELS.index(model), int(np.datetime64(round_id).astype(int))])
    rows = []
    for place, location in enumerate(LOCATIONS):
        level = 20 + 10 * place + MODELS.index(model)
        for horizon in HORIZONS:
            task = [round_id, COUNT, horizon, location, np.datetime64(round_id) + beyond + 7 * horizon]
            samples = np.sort(rng.poisson(level, NUM_SAMPLES))
            rows += [[*task, "quantile", each, level + 8 * (each - 0.5)] for each in LEVELS]
            rows += [[*task, "mean", "NA", level + 0.5], [*task, "median", "NA", level]]
            rows += [[*task, "sample", 10 * place + i, each] for i, each in enumerate(samples)]
            task[1] = RATE
            rows += [[*task, "cdf", point, round(0.2 + 0.15 * i, 3)] for i, point in enumerate(POINTS)]
            task[1] = CATEGORY
            rows += [
                [*task, "pmf", each, probability]
                for each, probability in zip(CATEGORIES, (0.25, 0.5, 0.25), strict=True)
            ]
        share = 0.25 + 0.25 * MODELS.index(model)
        peak = [round_id, PEAK, "NA", location, "NA", "pmf"]
        rows += [[*peak, WEEKS[0], share], [*peak, WEEKS[1], 1 - share]] * with_peak
    return [[str(cell) for cell in row] for row in rows]


def write_hub(
    folder, *, column="reference_date", first="2026-01-03", num_rounds=3, beyond=0, as_of=False, with_peak=False
):
    """Writes the hub; `beyond` is the days from a round's date to the target date of horizon 0."""
    rounds = days(first, num_rounds)
    ends = days(np.datetime64(first) + beyond - 7 * 12, num_rounds + 16)
    (folder / "hub-config").mkdir(parents=True)
    (folder / "hub-config/tasks.json").write_text(json.dumps(config(column, rounds, ends, with_peak), indent=1))
    admin = {"name": "A tiny hub", "file_format": ["csv", "parquet"], "timezone": "US/Eastern"}
    (folder / "hub-config/admin.json").write_text(json.dumps(admin))
    header = [column, "target", "horizon", "location", "target_end_date", "output_type", "output_type_id", "value"]
    for model in MODELS:
        (folder / "model-output" / model).mkdir(parents=True)
        for round_id in rounds:
            lines = [",".join(row) for row in [header, *rows_of(model, round_id, beyond, with_peak)]]
            (folder / "model-output" / model / f"{round_id}-{model}.csv").write_text("\n".join(lines) + "\n")
    (folder / "target-data").mkdir()
    write_truth(folder, rounds, beyond, as_of)
    return folder


def write_truth(folder, rounds, beyond, as_of):
    """Target data of two targets: with releases three days before each round, whose values are one
    too low."""
    first, last = np.datetime64(rounds[0]) + beyond, np.datetime64(rounds[-1]) + beyond
    newest = {str(np.datetime64(each) - 3): np.datetime64(each) + beyond - 7 for each in rounds}
    final = str(np.datetime64(rounds[-1]) + 4)
    newest = newest | {final: last} if as_of else {final: last}
    lines = [["as_of", "target_end_date", "location", "target", "observation"]]
    for release, end in newest.items():
        for date in np.arange(first - 7 * 12, end + 1, 7):
            lines += [
                [release, str(date), location, target, str(value + 10 * place - (release != final))]
                for place, location in enumerate(LOCATIONS)
                for target, value in ((COUNT, 20), (RATE, 2))
            ]
    rows = [",".join(row if as_of else row[1:]) for row in lines]
    (folder / "target-data/time-series.csv").write_text("\n".join(rows) + "\n")
