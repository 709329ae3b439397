"""Reads tables of dated point forecasts and of observations."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_whole
from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.ensemble.observed import Observations, observed_dates, read_observations
from jaxcast.ensemble.periods import SEASONS, Frequency, name_of, seasons_of
from jaxcast.ensemble.rows import Rows, read_rows
from jaxcast.errors import InputError, counted

NAMES: Mapping[str, tuple[str, ...]] = {
    "issue": ("issue", "origin", "issue_date", "origin_date", "reference_date", "forecast_date"),
    "model": ("model", "model_id", "member", "source"),
    "lead": ("lead", "horizon", "step"),
    "target": ("target", "target_date", "target_end_date", "valid_date", "season_start", "date"),
    "value": ("value", "forecast", "prediction", "mean", "anomaly"),
    "group": ("group", "type", "kind"),
}
MOST_ISSUES = 100_000


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """An ensemble of dated point forecasts: arrays, and the names of what is in them.

    Args:
        forecasts: The arrays.
        issues: Name of each issue, such as 2024-01.
        targets: Name of the date of each issue's and lead's target.
        models: Names of the models.
        leads: The leads, as the table counts them.
        groups: Names of the groups of models.
        frequency: Length of a step.
        dropped: What was left out, in words.
        notes: What is unusual in the tables, in words.

    Example:
        >>> import jaxcast
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of([[[1.0], [3.0]]], [2.0], leads=(0,))
        >>> ensemble = jaxcast.ensemble.Ensemble(
        ...     forecasts, ("2024-01",), (("2024-01",),), ("a", "b"), (1,), ("all",), "month"
        ... )
        >>> ensemble.years.tolist()
        [2024]
    """

    forecasts: EnsembleForecasts
    issues: tuple[str, ...]
    targets: tuple[tuple[str, ...], ...]
    models: tuple[str, ...]
    leads: tuple[int, ...]
    groups: tuple[str, ...]
    frequency: Frequency
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def years(self) -> np.ndarray:
        """The year of each issue."""
        return np.asarray([int(name[:4]) for name in self.issues])


@checked
def read_ensemble(
    forecasts: str | Path | Sequence[str | Path],
    observations: str | Path | Sequence[str | Path],
    *,
    verified: int = 1,
    frequency: Frequency | None = None,
    models: Sequence[str] = (),
    first: str | None = None,
    last: str | None = None,
    bad: Literal["raise", "drop"] = "raise",
    columns: Mapping[str, str] | None = None,
) -> Ensemble:
    """Reads point forecasts of many models, and the observations of their targets.

    Forecasts are rows of issue, model, lead or date of the target (or both), and value; a column
    group is the kind of a model. Without a date of the target, it is lead steps after the issue:
    lead 0 is the step of the issue itself, lead 1 the next one. Where both are given, the date
    decides, and leads may be counted from any number, such as 1 for the step of the issue itself.
    Observations are rows of date and value; a column known_from is the issue at which a value is
    known, where that is irregular: not before its date. Columns latest_date and latest are an
    observation that is newer than the newest target, such as last month beside seasons: at the
    issue of known_from, or of a column issue. Dates are years (2024), quarters (2024Q1), months
    (2024-01) or days.

    Args:
        forecasts: A .csv, .csv.gz or .parquet of forecasts, or several of one form.
        observations: Likewise of observations. A value that is given twice must be the same, and
            is known from the earliest issue that is given.
        verified: Steps after its date that a target is known, where there is no known_from: 1 for a
            value of the step before, 3 for a mean of three months that is dated by its first.
        frequency: Length of a step; by default as the dates of the issues are written, or where
            they are days the step that fits those of issues, targets and observations.
        models: Names of the models; by default all.
        first: First issue to read.
        last: Last issue to read.
        bad: Whether rows that cannot be used stop the reading, or are dropped and counted.
        columns: Names of columns that are not called as usual: of issue, model, lead, target,
            value, group, date, observation, known_from, latest_date, latest.

    Returns:
        The ensemble. Issues that no model has are masked.

    Raises:
        InputError: for files that cannot be read, missing columns, rows that cannot be used such as
            observations of years beside forecasts of months, dates whose step cannot be told, and
            tables without a forecast.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "forecasts.csv").write_text("issue,model,lead,value\\n2024-01,a,1,2\\n2024-02,a,1,3\\n")
        >>> _ = (folder / "truth.csv").write_text("date,value\\n2024-02,2.5\\n")
        >>> ensemble = jaxcast.ensemble.read_ensemble(folder / "forecasts.csv", folder / "truth.csv")
        >>> ensemble.issues, ensemble.targets[0], ensemble.forecasts.truth.tolist()
        (('2024-01', '2024-02'), ('2024-02',), [[2.5], [nan]])
    """
    check_whole("verified", verified, least=0)
    check_choice("bad", bad, ("raise", "drop"))
    names = dict(columns or {})
    dates = [] if frequency else observed_dates(_paths(observations), names)
    rows = read_rows(_paths(forecasts), NAMES, names, frequency=frequency, bad=bad, observed=dates)
    rows = rows.within(first, last).of_models(models)
    observed = read_observations(_paths(observations), names, rows.frequency, bad=bad)
    return _ensemble_of(rows, observed, verified)


def _ensemble_of(rows: Rows, observed: Observations, verified: int) -> Ensemble:
    """Lays rows of forecasts and observations out as arrays."""
    start, num_issues = int(rows.issue.min()), int(np.ptp(rows.issue)) + 1
    if num_issues > MOST_ISSUES:
        raise InputError(f"expected at most {MOST_ISSUES} issues, got {num_issues}; give --frequency")
    leads, places = np.unique(rows.target - rows.issue, return_inverse=True)
    models = sorted(set(rows.model))
    num_steps = num_issues + max(int(leads[-1]), 0)
    groups = sorted(set(rows.group.values())) or ["all"]
    forecasts = EnsembleForecasts.of(
        _grid_of(rows, models, places),
        observed.values_from(start, num_steps),
        leads=[int(lead) for lead in leads],
        verified=observed.usual_wait(verified),
        known_at=observed.known_from(start, num_steps),
        last=observed.latest_from(start, num_issues),
        last_age=observed.latest_age,
        seasons=seasons_of(start + np.arange(num_steps), rows.frequency),
        num_seasons=SEASONS[rows.frequency],
        groups=[groups.index(rows.group.get(name, groups[0])) for name in models],
    )

    def name(step: int) -> str:
        return name_of(step, rows.frequency, rows.weekday)

    issues, last = range(start, start + num_issues), start + num_issues - 1
    missing = observed.steps_missing(last, verified)
    late = (
        f"the newest observation is of {name(max(observed.values))}, {counted(missing, rows.frequency)} older than the "
        f"one that is usually known at the last issue, {name(last)}"
    )
    return Ensemble(
        forecasts=forecasts,
        issues=tuple(name(step) for step in issues),
        targets=tuple(tuple(name(step + int(lead)) for lead in leads) for step in issues),
        models=tuple(models),
        leads=tuple(int(lead) + rows.first_lead for lead in leads),
        groups=tuple(groups),
        frequency=rows.frequency,
        dropped=(*rows.dropped, *observed.dropped),
        notes=(late,) if missing else (),
    )


def _grid_of(rows: Rows, models: Sequence[str], places: np.ndarray) -> Float[np.ndarray, "issue model lead"]:
    """Returns the forecasts of all issues, models and places of leads, NaN where there is none."""
    issues = rows.issue - rows.issue.min()
    values = np.full((issues.max() + 1, len(models), places.max() + 1), np.nan)
    of_model = {name: number for number, name in enumerate(models)}
    values[issues, [of_model[name] for name in rows.model], places] = rows.value
    return values


def _paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    paths = [given] if isinstance(given, str | Path) else list(given)
    if not paths:
        raise InputError("expected at least one table, got none; name a .csv or .parquet")
    return [Path(path) for path in paths]
