"""Options that every command of an ensemble has, and what they share."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxcast.cli.command import check_numbers
from jaxcast.ensemble.periods import Frequency
from jaxcast.ensemble.pool import pool_ensemble
from jaxcast.ensemble.pools import (
    EnsembleMean,
    EnsembleMedian,
    EnsembleTrimmedMean,
    GroupMean,
    RidgeToMean,
    SkillWeights,
)
from jaxcast.ensemble.tables import Ensemble, read_ensemble
from jaxcast.errors import InputError
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import announce, doing, note
from jaxcast.pytrees import fingerprint


@dataclasses.dataclass(frozen=True)
class EnsembleTables:
    """The tables that every command of an ensemble reads."""

    forecasts: tuple[Path, ...]
    """Tables (.csv, .csv.gz, .parquet) of forecasts: issue, model, lead or target (the date that is
    forecast) or both, value; a column group or type is the kind of a model. Without a target, lead 1
    is the step after the issue, lead 0 its own."""
    observations: tuple[Path, ...]
    """Tables of observations: date and value; known_from is the issue at which a value is known.
    latest_date and latest are an observation that is newer than the newest target."""
    verified: int = 1
    """Steps after its date that a target is known, where there is no known_from: 3 for a mean of
    three months that is dated by its first."""
    frequency: Frequency | None = None
    """Length of a step; by default as the dates of the issues are written, or where they are days the
    step that fits those of issues, targets and observations."""
    models: tuple[str, ...] = ()
    """Names of the models; by default all."""
    first: str | None = None
    """First issue to read."""
    last: str | None = None
    """Last issue to read."""
    thresholds: tuple[float, ...] = ()
    """Bounds between categories, rising, such as -0.5 0.5, for their probabilities and the ranked
    probability score."""
    bad: Literal["raise", "drop"] = "raise"
    """Whether rows that cannot be used stop the command, or are dropped and counted."""

    def load(self) -> Ensemble:
        """Reads the tables, and says what is left out.

        Returns:
            The ensemble.
        """
        check_numbers(self)
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise InputError(f"thresholds must rise, got {' '.join(f'{each:g}' for each in self.thresholds)}")
        doing("reading the tables of the ensemble")
        found = read_ensemble(
            self.forecasts,
            self.observations,
            verified=self.verified,
            frequency=self.frequency,
            models=self.models,
            first=self.first,
            last=self.last,
            bad=self.bad,
        )
        if self.frequency is None:
            note(f"steps are {found.frequency}s, by the dates; --frequency sets another")
        for line in found.dropped:
            announce(f"left out: {line}")
        for line in found.notes:
            announce(line)
        return found


def is_scored_from(ensemble: Ensemble, first: str | None) -> np.ndarray:
    """Returns which issues are scored.

    Args:
        ensemble: The ensemble.
        first: First issue to score; None for all.

    Raises:
        InputError: for an issue that no table has.
    """
    if first is None:
        return np.ones(len(ensemble.issues), bool)
    if first not in ensemble.issues:
        raise InputError(f"score_from must be an issue from {ensemble.issues[0]} to {ensemble.issues[-1]}, got {first}")
    return np.arange(len(ensemble.issues)) >= ensemble.issues.index(first)


def simple_pools(ensemble: Ensemble) -> dict[str, np.ndarray]:
    """Pools an ensemble in the ways that need no choice, the mean first.

    Args:
        ensemble: The ensemble.

    Returns:
        Forecasts by the name of the pool.
    """
    pools: dict[str, Any] = {
        "equal_mean": EnsembleMean(),
        "equal_median": EnsembleMedian(),
        "trimmed_mean": EnsembleTrimmedMean(),
        "skill_weights": SkillWeights(),
        "ridge_to_mean": RidgeToMean(),
    }
    if len(ensemble.groups) > 1:
        pools["group_mean"] = GroupMean()
    return {name: np.asarray(pool_ensemble(pool, ensemble.forecasts).forecast) for name, pool in pools.items()}


def open_folder(settings: Any, ensemble: Ensemble, outputs: tuple[str, ...]) -> RunFolder:
    """Opens the folder of a command.

    Args:
        settings: The command.
        ensemble: What it has read.
        outputs: Names of the files that it writes.

    Returns:
        The folder.
    """
    facts = {"data": fingerprint(ensemble.forecasts), "issues": [ensemble.issues[0], ensemble.issues[-1]]}
    return RunFolder.of(settings, reads=("forecasts", "observations"), facts=facts, outputs=outputs)
