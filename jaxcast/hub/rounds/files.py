"""Writes the file of a round of a hub, and the metadata of its model."""

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.config.description import HubDescription, Round
from jaxcast.hub.rounds.pooling import RoundForecast
from jaxcast.hub.rounds.submission import check_model_name, number_text
from jaxcast.hub.validation.file import find_metadata, required_fields
from jaxcast.hub.validation.report import validate_rows
from jaxcast.hub.validation.submitted import TYPE_ID, VALUE
from jaxcast.hub.validation.table import type_of
from jaxcast.io.files import whole_file
from jaxcast.io.ownership import SOFTWARE, refuse_replacing, submission_header
from jaxcast.io.tables import polars

FIELDS = ("team_name", "team_abbr", "model_name", "model_abbr", "model_contributors", "license", "designated_model",
          "data_inputs", "methods", "methods_long", "ensemble_of_models", "ensemble_of_hub_models")  # fmt: skip
"""Fields of a model's metadata where a hub has no schema of its own."""


def round_path(folder: Path, model: str, round_id: str, hub: HubDescription) -> Path:
    """Returns the path of a round's file, in the first of the hub's formats that can be written.

    Args:
        folder: A model-output folder.
        model: Name of the model, TEAM-MODEL.
        round_id: The round.
        hub: Description of the hub.

    Raises:
        InputError: for another name, or a hub without such a format.
    """
    check_model_name(model)
    formats = hub.find_round(round_id).file_formats or hub.file_formats
    suffix = next((each for each in formats if each in ("csv", "parquet")), None)
    if suffix is None:
        raise InputError(
            f"{shown(hub.path)} accepts files in {shown(', '.join(formats))}; csv and parquet can be written"
        )
    return folder / model / f"{round_id}-{model}.{suffix}"


def write_round(path: Path, forecast: RoundForecast, *, overwrite: bool = False) -> tuple[str, ...]:
    """Writes the forecasts of a round, if the hub would accept the rows.

    Args:
        path: The file; see `round_path`.
        forecast: The forecasts.
        overwrite: Whether to replace a file that is there already, if jaxcast wrote it.

    Returns:
        What the hub requires and no model forecast, a line each; it may refuse the file for it.

    Raises:
        InputError: for rows that the hub would refuse for any other reason; nothing is written.
    """
    texts = forecast.table.frame.with_columns(
        polars().Series(VALUE, [number_text(value) for value in forecast.table.frame[VALUE]])
    )
    checks = validate_rows(path, texts, forecast.table.group, forecast.round_id)
    missing = tuple(line for check in checks if check.name == "req_vals" for line in check.failures)
    wrong = [line for check in checks if check.name != "req_vals" for line in check.failures]
    if wrong:
        raise InputError(
            f"the hub would refuse the file for {counted(len(wrong), 'fault')}, the first: {wrong[0]}; leave models "
            "out until the one is gone that this comes from"
        )
    check = partial(refuse_replacing, path, overwrite=overwrite)
    with whole_file(path, check) as growing:
        if path.suffix == ".csv":
            rows = texts.fill_null("NA").rows()
            with growing.open("w", newline="", encoding="utf-8") as file:
                file.write(submission_header(texts.columns))
                csv.writer(file, lineterminator="\n").writerows(rows)
        else:
            _typed(texts, forecast.table.group).write_parquet(growing, metadata={"software": SOFTWARE})
    return missing


def _typed(texts: Any, group: Round) -> Any:
    """Returns rows with the types that the hub's values have."""
    pl = polars()
    kinds = {name: type_of(group.values_of(name)) for name in group.task_id_names}
    dtypes = {"integer": pl.Int64, "number": pl.Float64}
    ids = texts[TYPE_ID]
    all_numbers = ids.cast(pl.Float64, strict=False).null_count() == ids.null_count()
    has_texts = any(kind.name in ("pmf", "sample") for task in group.model_tasks for kind in task.output_types)
    chosen = {name: dtypes[kind] for name, kind in kinds.items() if kind in dtypes} | {VALUE: pl.Float64}
    chosen |= {TYPE_ID: pl.Float64} if all_numbers and not has_texts else {}
    dates = [pl.col(name).str.to_date("%Y-%m-%d") for name, kind in kinds.items() if kind == "date"]
    return texts.cast(chosen).with_columns(dates)


def write_metadata(
    folder: Path, model: str, hub: HubDescription, methods: str, *, is_ensemble: bool = True
) -> Path | None:
    """Writes the stub of a model's metadata, to be filled in by its team.

    Args:
        folder: A model-metadata folder.
        model: Name of the model, TEAM-MODEL.
        hub: Description of the hub, whose model-metadata-schema.json names the fields.
        methods: The methods in a sentence.
        is_ensemble: Whether the model pools the hub's models.

    Returns:
        The file; None where the model has one already.
    """
    path = folder / f"{model}.yml"
    if path.exists() or find_metadata(model, hub) is not None:
        return None
    properties = _properties(hub)
    team, _, name = model.partition("-")
    known = {
        "team_name": team, "team_abbr": team, "model_name": name, "model_abbr": name, "model_id": model,
        "license": _license(properties), "designated_model": True, "methods": methods,
        "methods_long": f"{methods} TODO: describe the methods.",
        "data_inputs": "The models of the hub and its target data" if is_ensemble else "The target data of the hub",
        "ensemble_of_models": is_ensemble, "ensemble_of_hub_models": is_ensemble, "model_version": "1.0",
        "model_contributors": [{"name": "TODO", "affiliation": "TODO", "email": "todo@example.org"}],
        "team_model_designation": "primary",
    }  # fmt: skip
    fields = dict.fromkeys(
        [*FIELDS, *required_fields(hub)] if not properties else _wanted(properties, required_fields(hub))
    )
    with whole_file(path) as growing, growing.open("w", encoding="utf-8") as file:
        for field in fields:
            file.write(_yaml(field, known.get(field, "TODO")))
    return path


def _properties(hub: HubDescription) -> dict[str, Any]:
    path = Path(hub.path) / "hub-config" / "model-metadata-schema.json"
    required_fields(hub)  # refuses a file that is not JSON
    found = json.loads(path.read_text(encoding="utf-8-sig")).get("properties") if path.is_file() else None
    return found if isinstance(found, dict) else {}


def _wanted(properties: dict[str, Any], required: tuple[str, ...]) -> list[str]:
    """Returns the fields of a schema that are required, or allowed and among `FIELDS`."""
    return [field for field in properties if field in required or field in FIELDS] + [
        field for field in required if field not in properties
    ]


def _license(properties: dict[str, Any]) -> str:
    allowed = properties.get("license", {}).get("enum")
    return "CC-BY-4.0" if not allowed or "CC-BY-4.0" in allowed else str(allowed[0])


def _yaml(field: str, value: Any) -> str:
    """Returns a field as YAML; texts as JSON has them, which YAML reads."""
    if not isinstance(value, list):
        return f"{field}: {json.dumps(value)}\n"
    lines = [f"{field}:"]
    for each in value:
        items = [f"{key}: {json.dumps(text)}" for key, text in each.items()]
        lines += [f"  - {items[0]}", *(f"    {item}" for item in items[1:])]
    return "\n".join(lines) + "\n"
