"""Reads hub-config/: tasks.json (schema versions 3 to 6), admin.json and target-data.json."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcast.errors import InputError, shown
from jaxcast.hub.config.description import (
    MODEL_OUTPUT,
    HubDescription,
    ModelTask,
    OutputType,
    Round,
    SampleSettings,
    SubmissionWindow,
    Target,
    TargetDataSettings,
    TaskId,
    Value,
)

FIRST_VERSION = (3, 0, 0)
"""The first schema version that is read; before it, samples were described in another way."""
WITHOUT_IDS = ("mean", "median")


def is_hub(path: str | Path) -> bool:
    """Returns whether a folder is that of a hub with a description.

    Args:
        path: The folder.
    """
    return (Path(path) / "hub-config" / "tasks.json").is_file()


def describe_hub(path: str | Path) -> HubDescription:
    """Reads what a hub says of its rounds, tasks and output types.

    Args:
        path: Folder of the hub, with hub-config/tasks.json in it.

    Returns:
        The description.

    Raises:
        InputError: where there is no such file, or it is not of a schema version from 3 to 6, with
            the file and the place in it.

    Example:
        >>> import json, pathlib, tempfile, jaxcast
        >>> hub = pathlib.Path(tempfile.mkdtemp())
        >>> (hub / "hub-config").mkdir()
        >>> dates = {"required": None, "optional": ["2026-01-07"]}
        >>> levels = {"output_type_id": {"required": [0.5]}, "is_required": True, "value": {"type": "double"}}
        >>> task = {"task_ids": {"origin_date": dates}, "output_type": {"quantile": levels}}
        >>> rounds = [{"round_id": "origin_date", "round_id_from_variable": True, "model_tasks": [task]}]
        >>> _ = (hub / "hub-config/tasks.json").write_text(json.dumps({"rounds": rounds}))
        >>> description = jaxcast.hub.describe_hub(hub)
        >>> description.round_ids, description.rounds[0].model_tasks[0].output_types[0].ids
        (('2026-01-07',), (0.5,))
    """
    folder = Path(path) / "hub-config"
    if not folder.is_dir():
        raise InputError(f"{shown(path)} is not the folder of a hub: it has no hub-config/ with tasks.json")
    tasks, admin = _File(folder / "tasks.json"), folder / "admin.json"
    version = _version(tasks.content.get("schema_version"))
    if version < FIRST_VERSION:
        raise InputError(
            f"{shown(tasks.path)} is of schema version {'.'.join(map(str, version))}; versions from 3 to 6 are read"
        )
    hub_derived = tasks.names(tasks.content.get("derived_task_ids"), "derived_task_ids")
    rounds = tuple(
        _round(tasks, each, f"rounds[{i}]", hub_derived)
        for i, each in enumerate(tasks.items(tasks.content, "rounds", ""))
    )
    about = _File(admin).content if admin.is_file() else {}
    formats = about.get("file_format") or ("csv",)
    return HubDescription(
        path=Path(path),
        name=str(about.get("name", Path(path).resolve().name)),
        schema_version=version,
        rounds=rounds,
        output_folder=str(about.get("model_output_dir") or MODEL_OUTPUT),
        file_formats=(formats,) if isinstance(formats, str) else tuple(map(str, formats)),
        timezone=str(about.get("timezone", "UTC")),
        target_data=read_target_settings(path),
    )


class _File:
    """The content of a JSON file; messages name the file and the place in it."""

    def __init__(self, path: Path):
        self.path = path
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise InputError(
                f"{shown(path)} cannot be read ({error.strerror}); a hub describes its tasks there"
            ) from None
        except ValueError as error:
            raise InputError(f"{shown(path)} is not JSON ({shown(error)}); fix it") from None
        self.content: dict[str, Any] = self.mapping(content, "the file")

    def refuse(self, where: str, expected: str, value: Any) -> InputError:
        return InputError(f"{shown(self.path)}: expected {expected} at {where}, got {shown(repr(value), 60)}; fix it")

    def mapping(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.refuse(where, "an object", value)
        return value

    def items(self, value: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
        found = value.get(key)
        if not isinstance(found, list) or not found:
            raise self.refuse(f"{where}.{key}".lstrip("."), "a list of objects", found)
        return [self.mapping(each, f"{where}.{key}[{i}]".lstrip(".")) for i, each in enumerate(found)]

    def values(self, value: Any, where: str) -> tuple[Value, ...]:
        if value is None:
            return ()
        found = value if isinstance(value, list) else [value]
        for each in found:
            if not isinstance(each, str | int | float) or (isinstance(each, float) and not math.isfinite(each)):
                raise self.refuse(where, "texts or numbers", each)
        return tuple(found)

    def names(self, value: Any, where: str) -> tuple[str, ...]:
        return tuple(map(str, self.values(value, where)))

    def number(self, value: Any, where: str) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refuse(where, "a number", value)
        return float(value)


def _version(text: Any) -> tuple[int, ...]:
    """Returns the version in the address of a schema; the newest where there is none."""
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", str(text))
    return tuple(map(int, found.groups())) if found else (6, 0, 0)


def _round(file: _File, content: Mapping[str, Any], where: str, hub_derived: tuple[str, ...]) -> Round:
    derived = content.get("derived_task_ids")
    formats = content.get("file_format")
    group = Round(
        round_id=str(content.get("round_id")),
        is_from_variable=content.get("round_id_from_variable") is True,
        model_tasks=tuple(
            _model_task(file, each, f"{where}.model_tasks[{i}]")
            for i, each in enumerate(file.items(content, "model_tasks", where))
        ),
        derived_task_ids=hub_derived if derived is None else file.names(derived, f"{where}.derived_task_ids"),
        window=_window(file, content.get("submissions_due"), f"{where}.submissions_due"),
        file_formats=file.names(formats, f"{where}.file_format"),
    )
    if content.get("round_id") is None or not group.round_ids:
        raise file.refuse(f"{where}.round_id", "a round's name, or a task id with values", content.get("round_id"))
    return group


def _window(file: _File, content: Any, where: str) -> SubmissionWindow | None:
    if content is None:
        return None
    due = file.mapping(content, where)
    relative, start, end = due.get("relative_to"), due.get("start"), due.get("end")
    dates = relative is None and isinstance(start, str) and isinstance(end, str)
    numbers = relative is not None and isinstance(start, int) and isinstance(end, int)
    if not dates and not numbers:
        raise file.refuse(where, "start and end: dates, or days after a relative_to", content)
    return SubmissionWindow(due["start"], due["end"], relative)


def _model_task(file: _File, content: Mapping[str, Any], where: str) -> ModelTask:
    columns = file.mapping(content.get("task_ids"), f"{where}.task_ids")
    types = file.mapping(content.get("output_type"), f"{where}.output_type")
    task_ids = tuple(_task_id(file, name, each, f"{where}.task_ids.{name}") for name, each in columns.items())
    targets = file.items(content, "target_metadata", where) if content.get("target_metadata") else []
    return ModelTask(
        task_ids,
        tuple(_output_type(file, name, each, f"{where}.output_type.{name}") for name, each in types.items()),
        tuple(_target(file, each, f"{where}.target_metadata[{i}]") for i, each in enumerate(targets)),
    )


def _task_id(file: _File, name: str, content: Any, where: str) -> TaskId:
    found = file.mapping(content, where)
    required, optional = (file.values(found.get(key), f"{where}.{key}") for key in ("required", "optional"))
    return TaskId(name, required, optional)


def _output_type(file: _File, name: str, content: Any, where: str) -> OutputType:
    found = file.mapping(content, where)
    ids = file.mapping(found.get("output_type_id") or {}, f"{where}.output_type_id")
    value = file.mapping(found.get("value") or {}, f"{where}.value")
    required, optional = (
        file.values(ids.get(key), f"{where}.output_type_id.{key}") for key in ("required", "optional")
    )
    params = found.get("output_type_id_params")
    # Before version 4 a type was required where it had required ids, a mean's being "NA".
    of_samples = params.get("is_required", False) if isinstance(params, dict) else False
    is_required = found.get("is_required", bool(required) or of_samples)
    return OutputType(
        name=name,
        ids=() if name in WITHOUT_IDS else required,
        optional_ids=() if name in WITHOUT_IDS else optional,
        is_required=bool(is_required),
        value_type=str(value.get("type", "double")),
        minimum=file.number(value.get("minimum"), f"{where}.value.minimum"),
        maximum=file.number(value.get("maximum"), f"{where}.value.maximum"),
        samples=None if params is None else _samples(file, params, f"{where}.output_type_id_params"),
    )


def _samples(file: _File, content: Any, where: str) -> SampleSettings:
    found = file.mapping(content, where)
    most = {key: found.get(key) for key in ("max_length", "min_samples_per_task", "max_samples_per_task")}
    for key, number in most.items():
        if number is not None and (not isinstance(number, int) or number < 1):
            raise file.refuse(f"{where}.{key}", "a whole number of at least 1", number)
    joint = found.get("compound_taskid_set")
    return SampleSettings(
        id_type=str(found.get("type", "integer")),
        max_length=most["max_length"],
        min_samples=most["min_samples_per_task"] or 1,
        max_samples=most["max_samples_per_task"],
        compound_taskid_set=None if joint is None else file.names(joint, f"{where}.compound_taskid_set"),
    )


def _target(file: _File, content: Any, where: str) -> Target:
    found = file.mapping(content, where)
    keys = file.mapping(found.get("target_keys") or {}, f"{where}.target_keys")
    unit = found.get("time_unit")
    if unit is not None and not isinstance(unit, str):
        raise file.refuse(f"{where}.time_unit", "a text", unit)
    named = {name: file.values(value, f"{where}.target_keys.{name}") for name, value in keys.items()}
    return Target(
        name=str(found.get("target_id", "")),
        keys=tuple((name, values[0]) for name, values in named.items() if values),
        kind=str(found.get("target_type", "continuous")),
        is_step_ahead=bool(found.get("is_step_ahead", True)),
        time_unit=unit,
    )


def read_target_settings(hub: str | Path) -> TargetDataSettings | None:
    """Reads a hub's target-data.json.

    Args:
        hub: Folder of the hub.

    Returns:
        What it says; None where there is no such file.

    Raises:
        InputError: for a file that cannot be read, with the place in it.
    """
    path = Path(hub) / "hub-config" / "target-data.json"
    if not path.is_file():
        return None
    file = _File(path)
    versioned = file.content.get("versioned")
    series = file.mapping(file.content.get("time-series") or {}, "time-series")
    date = file.content.get("date_col")
    return TargetDataSettings(
        None if date is None else str(date),
        bool(series.get("versioned", versioned)) if versioned is not None or "versioned" in series else None,
    )
