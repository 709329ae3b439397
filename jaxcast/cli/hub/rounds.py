"""Pools a round of a hub's folder: all targets, horizons and output types, into one file."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.cli.hub.ensembles import warn_of_ensembles
from jaxcast.cli.hub.folder import local_hub
from jaxcast.cli.hub.output import draw_fan, newest_truth, say
from jaxcast.errors import InputError, counted
from jaxcast.hub.arrays import Hub
from jaxcast.hub.config.description import HubDescription, OutputType
from jaxcast.hub.config.files import describe_hub
from jaxcast.hub.rounds.files import round_path, write_metadata, write_round
from jaxcast.hub.rounds.pooling import RoundForecast, newest_round, pool_round
from jaxcast.hub.rounds.quantiles import RoundSettings
from jaxcast.hub.tables.cloud import is_remote
from jaxcast.hub.tables.target_data import TargetFiles, find_target_data
from jaxcast.hub.validation.file import METADATA
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.progress import announce, doing

FOR_TABLES = (
    "forecasts", "horizons", "target", "target_name", "first_horizon", "first", "last", "due_days", "step_days",
    "lower", "num_models", "levels", "pool", "truth_source",
)  # fmt: skip
"""Options that a hub's description answers, or that are for one target and horizon."""


def forecast_round(command: Any) -> None:
    """Runs `jaxcast hub forecast HUB`.

    Args:
        command: The command, a `ForecastHub` with a hub.

    Raises:
        InputError: for options of tables, and for what cannot be read, pooled or written.
    """
    refuse_options_of_tables(command)
    with open_round(command, command.models) as (hub, round_id, path, metadata):
        doing("pooling the round")
        forecast = pool_round(hub, round_id, _settings(command, hub))
        missing = write_round(path, forecast, overwrite=command.overwrite)
        methods = f"Pool of the hub's models by jaxcast ({command.method})."
        stub = write_metadata(metadata, command.model, hub, methods)
        _report(path, forecast)
        report_files(stub, missing, "its models forecast")
        warn_of_ensembles(forecast.models, hub)
        if command.plot is not None:
            draw_round(command.plot, forecast)


class RoundPlace(NamedTuple):
    """A round, and where its files are written.

    Args:
        hub: Description of the hub.
        round_id: The round.
        path: File of its forecasts.
        metadata: Folder of the models' metadata.
    """

    hub: HubDescription
    round_id: str
    path: Path
    metadata: Path


@contextlib.contextmanager
def open_round(command: Any, models: Sequence[str] = ()) -> Iterator[RoundPlace]:
    """Opens a command's hub, and locks the files of the round that the command writes.

    Args:
        command: The command, a `HubTables` with a hub.
        models: Models to copy of a hub at an address; by default all.

    Yields:
        The round, the newest by default, and its files: within the hub's folder, or by default of a
        hub at an address, within the working folder.

    Raises:
        InputError: for a hub that cannot be read, an unknown round, and files that cannot be
            written.
    """
    with local_hub(command.hub, models) as folder:
        hub = describe_hub(folder)
        round_id = command.round or newest_round(hub, command.model)
        in_place = command.out is None and not is_remote(command.hub)
        out = hub.model_output if in_place else command.out or Path(hub.output_folder)
        path = round_path(out, command.model, round_id, hub)
        beside = out.parent if out.name == hub.output_folder else out
        with Outputs(
            vars(command),
            {"--out": (path, (path.suffix,)), "--plot": (command.plot, PICTURE)},
            inputs={"--hub": folder, "--truth": command.truth, "--vintages": command.vintages},
            own=path.parent,
            overwrite=command.overwrite,
        ):
            yield RoundPlace(hub, round_id, path, beside / METADATA)


def report_files(stub: Path | None, missing: Sequence[str], source: str) -> None:
    """Prints which metadata were written, and what the hub requires beyond the forecasts.

    Args:
        stub: Stub of the model's metadata; None where the model has metadata.
        missing: What the hub requires and the file lacks, a line each.
        source: What the forecasts are made from, in words.
    """
    if stub is not None:
        say(f"{stub}: a stub of the model's metadata; fill it in")
    for line in missing:
        say(f"the hub requires more than {source}: {line}")


def refuse_options_of_tables(command: Any) -> None:
    """Refuses options that a hub's folder answers.

    Args:
        command: The command, a `HubTables` with a hub.

    Raises:
        InputError: for one that is given.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(command)}
    for name in FOR_TABLES:
        if name in defaults and vars(command)[name] != defaults[name]:
            raise InputError(
                f"--{name.replace('_', '-')} is for tables; leave it out, as a hub's folder says what is to be forecast"
            )


def _settings(command: Any, hub: HubDescription) -> RoundSettings:
    truth = None if command.truth is None else TargetFiles(command.truth, command.vintages)
    if truth is None:
        try:
            truth = find_target_data(hub.path)
        except InputError as error:
            announce(f"all quantiles are pooled with equal weights: {error}")

    def newest(hub: Hub, kind: OutputType) -> np.ndarray:
        doing(f"pooling {hub.target}, horizon {hub.horizon}")
        is_below = kind.minimum is not None and bool(np.any(hub.known_truth() < kind.minimum))
        found: np.ndarray = dataclasses.replace(command, lower=None if is_below else kind.minimum).newest(hub)
        return found

    return RoundSettings(
        model=command.model,
        pool=newest,
        truth=truth,
        equal="median" if "median" in command.method else "mean",
        targets=command.targets,
        models=command.models,
        exclude=command.exclude,
        locations=command.locations,
        bad=command.bad or "drop",
        seed=command.seed,
    )


def _report(path: Path, forecast: RoundForecast) -> None:
    report_notes(forecast)
    frame, group = forecast.table.frame, forecast.table.group
    parts = [
        f"{key[0]}: {counted(len(rows), 'row')}" for key, rows in frame.group_by("output_type", maintain_order=True)
    ]
    targets = [name for name in ("target",) if name in group.task_id_names]
    names = [str(name) for column in targets for name in frame[column].unique(maintain_order=True)]
    of = f" of {', '.join(names)}" if names else ""
    say(f"{path}: round {forecast.round_id}{of}; {', '.join(parts)}; {counted(len(forecast.models), 'model')} pooled")
    report_truth(forecast)


def report_notes(forecast: RoundForecast) -> None:
    """Prints what was left out of a round, each note once.

    Args:
        forecast: Forecasts of the round.
    """
    for note, places in _grouped(forecast.notes).items():
        announce(f"{'; '.join(places)}: {note}" if places else note)


def report_truth(forecast: RoundForecast) -> None:
    """Prints from which target data the forecasts of each target were made.

    Args:
        forecast: Forecasts of the round.
    """
    for target in dict.fromkeys(target for target, _ in forecast.hubs):
        latest = max(horizon for each, horizon in forecast.hubs if each == target)
        say(f"{target}: {newest_truth(forecast.hubs[target, latest][0])}")


def _grouped(notes: tuple[str, ...]) -> dict[str, list[str]]:
    """Returns each different note with the targets and horizons that it is about."""
    found: dict[str, list[str]] = {}
    for note in notes:
        place, colon, rest = note.partition(": ")
        of_horizon = ", horizon " in place and bool(colon)
        places = found.setdefault(rest if of_horizon else note, [])
        if of_horizon:
            places.append(place)
    return found


def draw_round(path: Path, forecast: RoundForecast) -> None:
    """Draws the forecasts of the first target that was pooled with target data.

    Args:
        path: Name of the picture.
        forecast: Forecasts of the round.

    Raises:
        InputError: where there are none.
    """
    if not forecast.hubs:
        raise InputError("there is no picture without target data; leave out --plot")
    first = next(iter(forecast.hubs))[0]
    of_first = {horizon: found for (target, horizon), found in forecast.hubs.items() if target == first}
    common = sorted(set.intersection(*(set(hub.locations) for hub, _ in of_first.values())))
    newest = {
        horizon: values[[hub.locations.index(name) for name in common]] for horizon, (hub, values) in of_first.items()
    }
    hub = of_first[max(of_first)][0]
    kept = dataclasses.replace(
        hub, locations=tuple(common), truth=hub.truth[[hub.locations.index(name) for name in common]]
    )
    draw_fan(path, newest, kept, hub.reference_dates[-1])
