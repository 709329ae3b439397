"""Writing a hub's file of quantile forecasts in the hubverse form."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.errors import InputError
from jaxcast.hub.arrays import Hub
from jaxcast.storage.files import check_output, whole_file

HEADER = "reference_date,target,horizon,target_end_date,location,output_type,output_type_id,value"


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
    """Writes FOLDER/MODEL/DATE-MODEL.csv, one round of a model as a hubverse hub wants it, and returns its path.

    Args:
        folder: a hub's model-output. model: TEAM-MODEL. forecasts: for each horizon, as the hub counts it, the quantiles of
            every location, a row of NaN where there is none, which is left out.
        hub: whose locations, levels and step are meant. reference_date: the date that horizons count from, that of horizon 0.
        target: as the hub calls it; by default the hub's own.

    Raises:
        InputError: for a model without a team, no target, quantiles that cross or are infinite, nothing to write, or a file that
            is there already.

    Example:
        >>> import jaxcast, numpy as np, tempfile
        >>> forecasts = np.ones((1, 3, 1, 3))
        >>> dates = np.arange("2024-01-06", "2024-01-27", 7, dtype="datetime64[D]")
        >>> levels = np.asarray([0.25, 0.5, 0.75])
        >>> hub = jaxcast.Hub(forecasts, np.ones((1, 3)), np.ones((1, 3, 1)), ("01",), dates, ("a",), levels, 1)
        >>> path = jaxcast.write_submission(
        ...     tempfile.mkdtemp(), "team-pool", {1: np.asarray([[1.0, 2.0, 3.0]])}, hub,
        ...     reference_date="2024-01-20", target="wk inc death",
        ... )
        >>> path.name, path.read_text().splitlines()[1]
        ('2024-01-20-team-pool.csv', '2024-01-20,wk inc death,1,2024-01-27,01,quantile,0.25,1')
    """
    target = hub.target if target is None else target
    if target is None:
        raise InputError("the hub's tables name no target; say which one the file is for, such as 'wk inc death'")
    if not re.fullmatch(r"[A-Za-z0-9_]+-[A-Za-z0-9_]+", model):
        raise InputError(f"expected a model as TEAM-MODEL of letters, digits and underscores, got {model!r}")
    date = np.datetime64(str(reference_date), "D")
    lines = [HEADER]
    for horizon, values in sorted(forecasts.items()):
        lines += _rows(np.asarray(values, float), horizon, hub, date, target)
    if len(lines) == 1:
        raise InputError("there is no forecast to write: no model forecast any location on these dates")
    path = Path(folder) / model / f"{date}-{model}.csv"
    check_output(path, (".csv",), overwrite=overwrite)
    with whole_file(path) as partial:
        partial.write_text("\n".join(lines) + "\n")
    return path


def _rows(forecast: np.ndarray, horizon: int, hub: Hub, date: np.datetime64, target: str) -> list[str]:
    """Those of one horizon, for the locations that have a forecast."""
    if forecast.shape != (len(hub.locations), len(hub.levels)):
        raise InputError(
            f"expected {len(hub.locations)} locations by {len(hub.levels)} levels at horizon {horizon}, got {forecast.shape}"
        )
    there = ~np.isnan(forecast).all(-1)
    if not np.isfinite(forecast[there]).all() or (np.diff(forecast[there]) < 0).any():
        raise InputError(f"the forecasts of horizon {horizon} have quantiles that cross or are not finite")
    end = date + horizon * hub.step_days
    return [
        f"{date},{target},{horizon},{end},{hub.locations[place]},quantile,{level:g},{value:.10g}"
        for place in np.flatnonzero(there)
        for level, value in zip(hub.levels, forecast[place], strict=True)
    ]
