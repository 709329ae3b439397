"""Which releases of the target data a round may use: those that came out before its deadline."""

from collections.abc import Mapping

import numpy as np

# Days from the date of a round to the last on which its forecasts are made: of all, or by date.
DueDays = int | Mapping[str, int] | None
USUAL_DUE_DAYS = 2
"""Days after the newest observed date on which forecasts are made where nobody says: the Monday
after a Saturday, as in the US COVID-19 hub."""


def due_dates(days: np.ndarray, due_days: DueDays) -> np.ndarray:
    """Returns the last day on which the forecasts of each round are made.

    Args:
        days: Days of the rounds.
        due_days: Days from these to the last of submissions: a number; or of some rounds, by date,
            and then the others are taken to be due as early as the earliest of them.

    Returns:
        The days; NaT where nobody says.
    """
    if due_days is None or (not isinstance(due_days, int) and not due_days):
        return np.full(days.shape, np.datetime64("NaT", "D"), "datetime64[D]")
    if isinstance(due_days, int):
        return days + np.timedelta64(due_days, "D")
    earliest = min(due_days.values())
    return days + np.asarray([due_days.get(str(day), earliest) for day in days], "timedelta64[D]")


def deadlines_of(
    reference: np.ndarray,
    rounds: np.ndarray,
    made: np.ndarray,
    *,
    first_horizon: int,
    step_days: int,
    due_days: DueDays,
) -> np.ndarray:
    """Returns the day before which a release must have come out for a round to use it.

    A release counts if it came out

    - before the round's date, where horizons count from 0: the submissions of the week that ends on
      that date know the week before it. So where a round's date is of another day than the weeks,
      such as the Wednesday of a hub whose weeks end on Sundays;
    - where horizons count from 1, so that the round's date is itself the newest observed date and
      only a later release holds it: at most `USUAL_DUE_DAYS` after it, unless the tables or the hub
      say when forecasts are made;
    - not after the day on which the forecasts were due, or made, where that is known;
    - in no case on the first date that the round forecasts, or later.

    Args:
        reference: Reference dates, from which horizons count.
        rounds: Day of each round, where that is another; else NaT.
        made: Day on which the forecasts were made, where the tables say; else NaT.
        first_horizon: Horizon of the first date after the newest observed one.
        step_days: Days between two dates.
        due_days: Days from the date of a round to the last of submissions; see `due_dates`.
    """
    day, step = np.timedelta64(1, "D"), np.timedelta64(step_days, "D")
    has_own = ~np.isnat(rounds)
    own = np.where(has_own, rounds, reference)
    latest = np.where(has_own, rounds, reference + first_horizon * step)
    last = due_dates(own, due_days)
    last = np.fmin(last, made)
    if first_horizon > 0:
        newest = reference + (first_horizon - 1) * step
        last = np.where(np.isnat(last) & ~has_own, newest + np.timedelta64(USUAL_DUE_DAYS, "D"), last)
    deadlines: np.ndarray = np.fmin(latest, last + day)
    return deadlines
