"""A hub's folder in place of its tables: what its description and its files answer."""

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxcast.checks import check_names
from jaxcast.cli.hub.output import say
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.config.description import HubDescription, of_target
from jaxcast.hub.config.files import describe_hub
from jaxcast.hub.config.windows import due_days_of
from jaxcast.hub.outputs.reading import scan_outputs
from jaxcast.hub.tables.cloud import copy_hub, is_remote
from jaxcast.hub.tables.scan import collected
from jaxcast.hub.tables.target_data import find_target_data
from jaxcast.hub.validation.values import step_days_of
from jaxcast.io.tables import polars
from jaxcast.progress import announce, doing


@contextlib.contextmanager
def local_hub(hub: str, models: Sequence[str] = ()) -> Iterator[Path]:
    """Gives a hub's folder on this machine, for as long as a command runs.

    Args:
        hub: A folder; or an address such as s3://bucket, of which a copy is made.
        models: Models to copy; by default all.

    Yields:
        The folder.

    Raises:
        InputError: for an address that cannot be read.
    """
    if not is_remote(hub):
        yield Path(hub)
        return
    with tempfile.TemporaryDirectory() as folder:
        doing(f"copying {hub}")
        yield copy_hub(hub, folder, models=models)


def run_for_hub(command: Any, *, types: Sequence[str], each_horizon: bool) -> None:
    """Runs a command of tables for each target of a hub's folder, and perhaps for each horizon.

    Args:
        command: The command, a `HubTables` with a hub.
        types: Output types that it uses.
        each_horizon: Whether it runs for one horizon at a time, as `horizon`, else for all, as
            `horizons`.

    Raises:
        InputError: where the hub cannot be read, or nothing in it can be used.
    """
    with tables_of_hub(command) as (shared, hub):
        count, reasons = run_all(commands_of(shared, hub, types, each_horizon=each_horizon))
    refuse_nothing(bool(count), command.hub, reasons)


def refuse_nothing(is_any: bool, hub: str, reasons: Sequence[str]) -> None:
    """Refuses a hub in which nothing could be used.

    Args:
        is_any: Whether anything could.
        hub: The hub.
        reasons: Why each run could not be made.

    Raises:
        InputError: where nothing could, with the first reason.
    """
    if is_any:
        return
    if not reasons:
        raise InputError(f"{shown(hub)} holds nothing that this command uses; look into its model output")
    others = len(set(reasons)) - 1
    more = f" (and {counted(others, 'other reason')}, in the lines above)" if others else ""
    raise InputError(f"{reasons[0]}{more}")


@contextlib.contextmanager
def tables_of_hub(command: Any) -> Iterator[tuple[Any, HubDescription]]:
    """Gives a command of a hub's folder the hub's tables.

    Args:
        command: The command, a `HubTables` with a hub.

    Yields:
        The command with forecasts, truth and vintages in place of the hub, and the hub's
        description.

    Raises:
        InputError: for a hub that cannot be read, or beside --forecasts.
    """
    if command.forecasts is not None:
        raise InputError("give the folder of a hub or --forecasts, not both")
    with local_hub(command.hub, command.models) as folder:
        hub = describe_hub(folder)
        truth, vintages = command.truth, command.vintages
        if truth is None:
            truth, vintages = find_target_data(folder)
        days = {step for group in hub.rounds if (step := step_days_of(group)) is not None}
        if len(days) == 1 and command.step_days not in (7, *days):
            raise InputError(
                f"targets of this hub are {min(days)} days apart, by its tasks.json; leave --step-days "
                f"{command.step_days} out"
            )
        due = due_days_of(hub) if command.due_days is None else command.due_days
        yield (
            dataclasses.replace(
                command,
                hub=None,
                forecasts=hub.model_output,
                truth=truth,
                vintages=command.vintages or vintages,
                step_days=days.pop() if len(days) == 1 else command.step_days,
                due_days=due if isinstance(due, int) else None,
                due_by_round=None if isinstance(due, int) else due,
                bad=command.bad or "drop",
            ),
            hub,
        )


def run_all(commands: Iterable[tuple[Any, str]]) -> tuple[int, list[str]]:
    """Runs commands, and reports which could not be run.

    Args:
        commands: Commands of tables, each with a name.

    Returns:
        The number of those that ran, and why each of the others did not.
    """
    reasons = [_run(each, name) for each, name in commands]
    return reasons.count(None), [reason for reason in reasons if reason is not None]


def _run(command: Any, name: str) -> str | None:
    """Runs one of the commands; reports and returns why it cannot be run."""
    say(name)
    doing(name)
    try:
        command.run()
    except InputError as error:
        announce(f"{name}: left out, as {error}")
        return str(error)
    return None


def commands_of(
    shared: Any, hub: HubDescription, types: Sequence[str], *, each_horizon: bool
) -> Iterator[tuple[Any, str]]:
    """Yields a command for each target, and perhaps horizon, with a name.

    Args:
        shared: The command with the hub's tables.
        hub: Description of the hub.
        types: Output types that it uses.
        each_horizon: Whether it runs for one horizon at a time.
    """
    pl = polars()
    unreadable: list[str] | None = [] if shared.bad == "drop" else None  # each command reports which
    frame = scan_outputs(hub.model_output, step_days=shared.step_days, exclude=shared.exclude, unreadable=unreadable)
    every = collected(frame.select("target", "horizon", "output_type").unique(), hub.model_output)
    names = every["target"].drop_nulls().unique().to_list()
    if shared.target is not None and names:
        check_names("target", [shared.target], names)
    known = every.filter(pl.col("output_type").is_in(list(types))).select("target", "horizon").unique()
    known = known.sort("target", "horizon", nulls_last=True)
    targets = known["target"].unique(maintain_order=True).to_list()
    if shared.target is not None and names and shared.target not in targets:
        announce(f"{shared.target}: no forecasts of the output type {' or '.join(types)}")
        return
    targets = targets if shared.target is None else [shared.target]
    defaults = {field.name: field.default for field in dataclasses.fields(shared)}
    has_bound = "lower" in defaults and shared.lower == defaults["lower"]
    for target in targets:
        there = known.filter(pl.col("target").eq_missing(pl.lit(target, pl.String)))["horizon"].drop_nulls().to_list()
        given = ([] if shared.horizon is None else [shared.horizon]) if each_horizon else list(shared.horizons)
        horizons = given or there
        if not horizons:
            announce(f"{target}: left out, as it has no horizons")
        least = {"lower": _least(hub, target)} if has_bound else {}
        begin = shared.first_horizon if shared.first_horizon is not None else 0 if 0 in there else None
        for chosen in [[each] for each in horizons] if each_horizon else [horizons] * bool(horizons):
            named = {"horizon": chosen[0]} if each_horizon else {"horizons": tuple(chosen)}
            first = min(begin or 0, *chosen) if min(chosen) < 0 else begin
            name = f"{target}, horizon{'s' * (len(chosen) > 1)} {', '.join(map(str, chosen))}"
            out = None if shared.out is None else folder_of(shared.out, target)
            out = out / f"horizon{chosen[0]}" if out is not None and each_horizon else out
            yield dataclasses.replace(shared, target=target, first_horizon=first, out=out, **named, **least), name


def folder_of(out: Path, target: str | None) -> Path:
    """Returns the folder of a target's results.

    Args:
        out: Folder of all targets.
        target: Its name; None in a hub without names of targets.
    """
    return out if target is None else out / re.sub(r"[^A-Za-z0-9]+", "-", target).strip("-")


def _least(hub: HubDescription, target: str | None) -> float | None:
    """Returns the least value of a target's quantiles; None where the hub has no such bound."""
    kinds = [
        kind
        for group in hub.rounds
        for task, _ in of_target(group.model_tasks, str(target))
        for kind in task.output_types
        if kind.name in ("quantile", "sample")
    ]
    bounds = [kind.minimum for kind in kinds]
    return min((bound for bound in bounds if bound is not None), default=None) if None not in bounds else None
