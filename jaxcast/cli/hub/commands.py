"""The tables that commands of a hub read, and checks of what they pool."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from jaxcast.cli.command import check_numbers
from jaxcast.cli.hub.output import truth_note
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.arrays import Hub
from jaxcast.hub.loading import load_hubs
from jaxcast.hub.revisions import summarise_revisions
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import announce, doing
from jaxcast.pytrees import fingerprint


@dataclasses.dataclass(frozen=True)
class HubTables:
    """The tables that every command of a hub reads."""

    hub: str | None = None
    """Folder of a hub with hub-config/, model-output/ and target-data/, or its address, such as
    s3://bucket; it may also come first, without --hub. Or name its tables:"""
    forecasts: Path | None = None
    """Forecasts: a .csv or .parquet table, or the folder of a hub, legacy or hubverse."""
    truth: Path | None = None
    """Target data: a .csv or .parquet table with location, date and value, a hub's time-series or
    oracle-output table, or a folder of such tables."""
    vintages: Path | None = None
    """Table of the releases of the target data, with a column as_of, where --truth has none."""
    truth_source: str | None = None
    """Text in the source or as_of column of the target data, where the table holds several
    releases."""
    target: str | None = None
    """Target to read, where the tables hold several."""
    first_horizon: int | None = None
    """Horizon of the first date after the newest target data that forecasters could know. By
    default 0 where the tables hold a horizon 0 (FluSight: the reference date is a week after these
    data), else 1 (US COVID-19 hub)."""
    due_days: int | None = None
    """Days from the date of a round to the last on which forecasts are made, such as -3: later
    releases of the target data are not used. By default that of a hub's folder, and of tables 2
    where horizons count from 1; where they count from 0, releases come from before the round."""
    due_by_round: tyro.conf.Suppress[dict[str, int] | None] = None
    """Of a hub's folder whose rounds differ: these days by the date of the round."""
    models: tuple[str, ...] = ()
    """Names of the models; by default all."""
    num_models: int | None = None
    """Instead of --models: the number of models, those with the most forecasts."""
    exclude: tuple[str, ...] = ()
    """Names of models to leave out."""
    locations: tuple[str, ...] = ()
    """Names of the locations; by default all."""
    first: str | None = None
    """First target date to read."""
    last: str | None = None
    """Last target date to read."""
    levels: tuple[float, ...] = ()
    """Quantile levels; by default all."""
    step_days: int = 7
    """Days between two dates of the hub: 7, or 1 for a daily hub."""
    bad: Literal["raise", "drop"] | None = None
    """Whether to stop at crossing quantiles, missing levels, NA and duplicate rows, or to drop and
    count them. By default tables raise, and those of a hub's folder are dropped."""

    def load(self, horizon: int) -> Hub:
        """Reads the hub at one horizon.

        Args:
            horizon: The horizon.

        Returns:
            The hub.

        Raises:
            InputError: as by `load_all`.
        """
        return self.load_all((horizon,))[horizon]

    def paths(self) -> tuple[Path, Path]:
        """Returns the tables of forecasts and of target data.

        Raises:
            InputError: where they are not named.
        """
        if self.forecasts is None or self.truth is None:
            raise InputError("name the folder of a hub, or its tables by --forecasts and --truth")
        return self.forecasts, self.truth

    def load_all(self, horizons: tuple[int, ...], *, num_lags: int = 10) -> dict[int, Hub]:
        """Reads the hub at several horizons, and says what is left out.

        Args:
            horizons: The horizons.
            num_lags: Number of newest target data that each date keeps.

        Returns:
            The hub at each of them.

        Raises:
            InputError: for tables that are not named or cannot be read, as by `load_hubs`.
        """
        check_numbers(self)
        doing("reading the tables of the hub")
        if self.models and self.num_models is not None:
            raise InputError("give --models or --num-models, not both")
        hubs = load_hubs(
            *self.paths(),
            horizons=horizons,
            vintages=self.vintages,
            first_horizon=self.first_horizon,
            due_days=self.due_days if self.due_by_round is None else self.due_by_round,
            target=self.target,
            models=self.models or self.num_models,
            exclude=self.exclude,
            locations=self.locations or None,
            levels=self.levels or None,
            first=self.first,
            last=self.last,
            truth_source=self.truth_source,
            step_days=self.step_days,
            num_lags=num_lags,
            bad=self.bad or "raise",
        )
        for line in dict.fromkeys(line for hub in hubs.values() for line in hub.dropped):
            announce(f"left out: {line}")
        return hubs


def check_finite(pooled: np.ndarray, is_forecast: np.ndarray, name: str, hub: Hub) -> None:
    """Checks pooled forecasts wherever any model forecast.

    Args:
        pooled: Forecasts (location, time, quantile).
        is_forecast: Whether any model forecast (location, time).
        name: Name of the pool.
        hub: Hub with the locations, dates and horizon.

    Raises:
        InputError: for the first that is not finite, with pool, horizon, location and date.
    """
    bad = is_forecast & ~np.isfinite(pooled).all(-1)
    if bad.any():
        place, time = np.argwhere(bad)[0]
        raise InputError(
            f"the pool {shown(name)} gives a forecast that is not finite at horizon {hub.horizon}, first for "
            f"{shown(hub.locations[place])} on {hub.dates[time]} ({int(bad.sum())} forecasts); "
            "look for candidates with huge values, or choose another pool"
        )


def check_order(pooled: np.ndarray, name: str, hub: Hub) -> None:
    """Checks that pooled quantiles do not fall, but for rounding.

    Args:
        pooled: Forecasts of the last date (location, quantile).
        name: Name of the pool.
        hub: Hub with the locations, dates and horizon.

    Raises:
        InputError: for the first that cross, with pool, horizon, location and date.
    """
    falls = (np.diff(pooled) < -1e-4 * (1e-3 + np.abs(pooled).max(-1, keepdims=True))).any(-1)
    if falls.any():
        raise InputError(
            f"the pool {shown(name)} gives quantiles that cross at horizon {hub.horizon}, first for "
            f"{shown(hub.locations[int(np.argmax(falls))])} on {hub.dates[-1]} ({counted(int(falls.sum()), 'forecast')}"
            "); sort them within the pool"
        )


def check_lower(lower: float | None, hub: Hub, truth: np.ndarray) -> None:
    """Checks that target data are not below their least value.

    Args:
        lower: The least value; None for any.
        hub: The hub.
        truth: Those of its target data that are used (location, time).

    Raises:
        InputError: with the lowest value and where it is.
    """
    if lower is None or not np.any(truth < lower):
        return
    place, time = np.unravel_index(np.nanargmin(truth), truth.shape)
    raise InputError(
        f"the truth holds {truth[place, time]:g} ({shown(hub.locations[place])} on {hub.dates[time]}), below the "
        f"pool's least value {lower:g}; give --lower None, or a lower number"
    )


def facts_of(hubs: Sequence[Hub], *, is_pooled: bool = False) -> dict[str, Any]:
    """Returns what is written beside the scores: target data, pending tasks and what was left out.

    Args:
        hubs: The hub at each horizon.
        is_pooled: Whether these are scores of pools.
    """
    revisions = None if hubs[0].as_of is None else str(summarise_revisions(hubs[0]))
    return {
        "note": truth_note(hubs[0], is_pooled=is_pooled),
        "revisions": revisions,
        "pending": {str(hub.horizon): int(hub.pending.sum()) for hub in hubs},
        "dropped": list(dict.fromkeys(line for hub in hubs for line in hub.dropped)),
    }


def open_folder(settings: Any, hubs: Sequence[Hub], outputs: tuple[str, ...]) -> RunFolder:
    """Opens the folder of a command.

    Args:
        settings: The command.
        hubs: The hub at each horizon.
        outputs: Names of the files that it writes.

    Returns:
        The folder.
    """
    data = fingerprint([(hub.quantiles, hub.truth, hub.observed) for hub in hubs])
    return RunFolder.of(
        settings, reads=("forecasts", "truth", "vintages", "hub"), facts={"data": data}, outputs=outputs
    )
