"""Writes a round of the flat-line baseline, all targets and horizons, into a hub's folder."""

import dataclasses
from typing import Any

import numpy as np

from jaxcast.cli.hub.output import say
from jaxcast.cli.hub.rounds import (
    draw_round,
    open_round,
    refuse_options_of_tables,
    report_files,
    report_notes,
    report_truth,
)
from jaxcast.errors import InputError, counted
from jaxcast.hub.arrays import Hub
from jaxcast.hub.baseline import flat_line_quantiles
from jaxcast.hub.config.description import HubDescription, OutputType
from jaxcast.hub.rounds.baseline import make_baseline_round
from jaxcast.hub.rounds.files import write_metadata, write_round
from jaxcast.hub.rounds.pooling import RoundForecast
from jaxcast.hub.rounds.quantiles import RoundSettings
from jaxcast.hub.tables.target_data import TargetFiles, find_target_data
from jaxcast.hub.validation.values import step_days_of
from jaxcast.progress import doing

HISTORY_DAYS = 3660
"""Days of target data whose changes count: ten years."""
METHODS = "The newest value, with quantiles of resampled past changes, by jaxcast."


def write_baseline_round(command: Any) -> None:
    """Runs `jaxcast hub baseline HUB`.

    Args:
        command: The command, a `HubBaseline` with a hub.

    Raises:
        InputError: for options of tables, and for what cannot be read, made or written.
    """
    refuse_options_of_tables(command)
    if command.models or command.exclude:
        raise InputError("a baseline looks at no model; leave out --models and --exclude")
    with open_round(command) as (hub, round_id, path, metadata):
        doing("making the baseline")
        forecast = make_baseline_round(hub, round_id, _settings(command, hub, round_id))
        missing = write_round(path, forecast, overwrite=command.overwrite)
        stub = write_metadata(metadata, command.model, hub, METHODS, is_ensemble=False)
        of = ", ".join(dict.fromkeys(str(target) for target, _ in forecast.hubs))
        report_notes(forecast)
        say(f"{path}: round {round_id} of {of}; {counted(len(forecast.table.frame), 'row')}")
        report_truth(forecast)
        report_files(stub, missing, "a baseline has")
        if command.plot is not None:
            draw_round(command.plot, _for_picture(forecast))


def _settings(command: Any, hub: HubDescription, round_id: str) -> RoundSettings:
    """Returns how the quantiles are made: as the baseline, from target data."""
    truth = None if command.truth is None else TargetFiles(command.truth, command.vintages)
    step_days = step_days_of(hub.find_round(round_id)) or 7

    def flat_line(hub: Hub, kind: OutputType) -> np.ndarray:
        return flat_line_quantiles(
            hub.observed[:, -1],
            hub.levels,
            steps_ahead=hub.steps_ahead,
            lower=kind.minimum,
            num_samples=command.num_samples,
            seed=command.seed,
        )

    return RoundSettings(
        model=command.model,
        pool=flat_line,
        truth=truth or find_target_data(hub.path),
        locations=command.locations,
        bad=command.bad or "drop",
        num_lags=max(1, HISTORY_DAYS // step_days),
    )


def _for_picture(forecast: RoundForecast) -> RoundForecast:
    """Returns the forecasts with the target data that they were made from as history."""
    return forecast._replace(hubs={key: (_with_history(hub), values) for key, (hub, values) in forecast.hubs.items()})


def _with_history(hub: Hub) -> Hub:
    """Returns a hub of one date with the dates before it, as far as they were known."""
    known = hub.observed[:, -1, ::-1]
    unknown = np.full((len(hub.locations), hub.steps_ahead), np.nan)
    size = known.shape[1] + hub.steps_ahead
    return dataclasses.replace(
        hub,
        truth=np.concatenate([known, unknown], 1),
        dates=hub.dates[-1] - np.arange(size)[::-1] * hub.step,
        releases=None,
        as_of=None,
        release_of=None,
        deadlines=None,
        rounds=None if hub.rounds is None else np.repeat(hub.rounds[-1:], size),
    )
