"""Writes a hub's file of quantile forecasts in the hubverse form."""

import csv
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.hub.arrays import Hub
from jaxcast.io.files import check_output, whole_file
from jaxcast.io.ownership import SUBMISSION_HEADER, refuse_replacing, submission_header


@checked
def write_submission(
    folder: str | Path,
    model: str,
    forecasts: Mapping[int, Shaped[ArrayLike, "location quantile"]],
    hub: Hub,
    *,
    reference_date: str | np.datetime64,
    target: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes FOLDER/MODEL/DATE-MODEL.csv, one round of a model in the hubverse form.

    Cells are quoted where CSV needs it, and numbers have all their digits, so the file reads back
    equal.

    Args:
        folder: A hub's model-output folder.
        model: Name of the model, TEAM-MODEL.
        forecasts: For each horizon, as the hub counts it, the quantiles of every location, in the
            unit of the target; a row of NaN is left out.
        hub: Hub with the locations, levels and step of the forecasts.
        reference_date: Day of the round. It is the target date of horizon 0, unless the hub's
            rounds are of another day than its weeks (`Hub.rounds`).
        target: Name of the target; by default the hub's own.
        overwrite: Whether to replace a file that is there already, if jaxcast wrote it.

    Returns:
        The path of the file.

    Raises:
        InputError: for a model without a team, no target, quantiles that cross or are infinite,
            target dates off the hub's days, nothing to write, or a file that is there already.

    Example:
        >>> import jaxcast, numpy as np, tempfile
        >>> forecasts = np.ones((1, 3, 1, 3))
        >>> dates = np.arange("2024-01-06", "2024-01-27", np.timedelta64(7, "D"), dtype="datetime64[D]")
        >>> levels = np.asarray([0.25, 0.5, 0.75])
        >>> hub = jaxcast.hub.Hub(forecasts, np.ones((1, 3)), np.ones((1, 3, 1)), ("01",), dates, ("a",), levels, 1)
        >>> path = jaxcast.hub.write_submission(
        ...     tempfile.mkdtemp(), "team-pool", {1: np.asarray([[1.0, 2.0, 3.0]])}, hub,
        ...     reference_date="2024-01-20", target="wk inc death",
        ... )
        >>> path.name, path.read_text().splitlines()[1]
        ('2024-01-20-team-pool.csv', '2024-01-20,wk inc death,1,2024-01-27,01,quantile,0.25,1')
    """
    target, path = check_submission(folder, model, hub, reference_date, target=target, overwrite=overwrite)
    date = _day(reference_date)
    rows: list[list[str]] = []
    for horizon, values in sorted(forecasts.items()):
        rows += _rows(np.asarray(values, float), horizon, hub, date, target)
    if not rows:
        raise InputError("there is no forecast to write: no model forecast any location on these dates")
    check = partial(refuse_replacing, path, overwrite=overwrite)
    with whole_file(path, check) as growing, growing.open("w", newline="", encoding="utf-8") as file:
        file.write(submission_header(SUBMISSION_HEADER))
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def check_submission(
    folder: str | Path,
    model: str,
    hub: Hub,
    reference_date: str | np.datetime64,
    *,
    target: str | None = None,
    overwrite: bool = False,
) -> tuple[str, Path]:
    """Checks, before any work is done, whether a submission can be written.

    Args:
        folder: A hub's model-output folder.
        model: Name of the model, TEAM-MODEL.
        hub: Hub whose target is meant where none is given.
        reference_date: Reference date of the round.
        target: Name of the target.
        overwrite: Whether to replace a file that is there already.

    Returns:
        The target and the path of the file.

    Raises:
        InputError: for what `write_submission` refuses before it looks at the forecasts.
    """
    target = hub.target if target is None else target
    if not target:
        raise InputError(
            "the hub's tables name no target; say which one the file is for (--target-name, target=), "
            "such as 'wk inc death'"
        )
    path = submission_path(folder, model, reference_date)
    check_output(path, (".csv",), overwrite=overwrite)
    return target, path


def check_model_name(model: str) -> None:
    """Checks the name of a model.

    Args:
        model: The name.

    Raises:
        InputError: for a name that is not TEAM-MODEL.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]+-[A-Za-z0-9_]+", model) or len(model) > 100:
        raise InputError(f"expected a model as TEAM-MODEL of letters, digits and underscores, got {shown(model)!r}")


def submission_path(folder: str | Path, model: str, reference_date: str | np.datetime64) -> Path:
    """Returns the path of one round of a model in a hub's model-output folder.

    Args:
        folder: The model-output folder.
        model: Name of the model, TEAM-MODEL.
        reference_date: Reference date of the round.

    Raises:
        InputError: for what is not such a name or a date.
    """
    check_model_name(model)
    return Path(folder) / model / f"{_day(reference_date)}-{model}.csv"


def _day(date: str | np.datetime64) -> np.datetime64:
    message = f"expected a reference date like 2024-01-06, got {shown(date)!r}"
    try:
        day = np.datetime64(str(date), "D")
    except ValueError:
        raise InputError(message) from None
    if np.isnat(day):
        raise InputError(message)
    return day


def _rows(forecast: np.ndarray, horizon: int, hub: Hub, date: np.datetime64, target: str) -> list[list[str]]:
    """Returns the rows of one horizon, for the locations that have a forecast."""
    if not isinstance(horizon, int | np.integer):
        raise InputError(f"expected horizons as whole numbers of steps, got {shown(repr(horizon))}")
    if forecast.shape != (len(hub.locations), len(hub.levels)):
        raise InputError(
            f"expected {len(hub.locations)} locations by {len(hub.levels)} levels at horizon {horizon}, got "
            f"{forecast.shape}"
        )
    there = np.flatnonzero(~np.isnan(forecast).all(-1))
    for place in there:
        quantiles, name = forecast[place], shown(hub.locations[place])
        if not np.isfinite(quantiles).all():
            raise InputError(f"the forecast of horizon {horizon} for {shown(name)} is not finite; check the pool")
        if (np.diff(quantiles) < -1e-9 * np.abs(quantiles).max()).any():
            raise InputError(f"the forecast of horizon {horizon} for {shown(name)} has quantiles that cross; sort them")
    end = hub.target_date(date, int(horizon))
    if (end - hub.dates[-1]) % hub.step:
        raise InputError(
            f"the reference date {date} gives the target date {end} at horizon {horizon}, which is not a whole "
            f"number of steps from the hub's {hub.dates[-1]}; give a reference date on the day of the hub's rounds"
        )
    return [
        [
            str(date),
            target,
            str(horizon),
            str(end),
            hub.locations[place],
            "quantile",
            number_text(level),
            number_text(value),
        ]
        for place in there
        for level, value in zip(hub.levels, np.maximum.accumulate(forecast[place]), strict=True)
    ]


def number_text(value: float) -> str:
    """Returns the shortest text of a number that reads back equal.

    Args:
        value: The number.
    """
    return repr(float(value)).removesuffix(".0")
