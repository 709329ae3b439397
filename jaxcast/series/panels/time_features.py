"""Features of time that are known in advance: the calendar, the phase of a season, the age of a series."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown
from jaxcast.series.calendars import DAY, DAYS_FROM_MONDAY, Calendar, Day, Month, Second

AGE = "age"
SEASON = re.compile(r"season_([0-9]+)")
HOUR = 3600


def _seconds(dates: np.ndarray) -> np.ndarray:
    return dates.astype(Second).astype(int)


def _day_of_week(dates: np.ndarray) -> np.ndarray:
    return (_seconds(dates) // DAY + DAYS_FROM_MONDAY) % 7


def _day_of_month(dates: np.ndarray) -> np.ndarray:
    return (dates.astype(Day) - dates.astype(Month).astype(Day)).astype(int)


def _day_of_year(dates: np.ndarray) -> np.ndarray:
    return (dates.astype(Day) - dates.astype("datetime64[Y]").astype(Day)).astype(int)


def _month_of_year(dates: np.ndarray) -> np.ndarray:
    return dates.astype(Month).astype(int) % 12


CALENDAR_FEATURES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], int]] = {
    "minute_of_hour": (lambda dates: _seconds(dates) // 60 % 60, 60),
    "hour_of_day": (lambda dates: _seconds(dates) // HOUR % 24, 24),
    "day_of_week": (_day_of_week, 7),
    "day_of_month": (_day_of_month, 31),
    "day_of_year": (_day_of_year, 366),
    "month_of_year": (_month_of_year, 12),
}
"""The number of each date, from 0 on, and how many there are."""


@checked
def time_features(
    rows: Int[np.ndarray, "..."],
    *,
    names: Sequence[str],
    calendar: Calendar | None = None,
    cyclic: bool = False,
) -> Float[np.ndarray, "... feature"]:
    """Computes features of dates, which are known in advance.

    A feature with n numbers k = 0, ..., n - 1, such as the hour of the day, becomes

        k / (n - 1) - 1 / 2,    or with cyclic both sin(2 pi k / n) and cos(2 pi k / n)

    Args:
        rows: of the calendar; without one, steps.
        names: "minute_of_hour", "hour_of_day", "day_of_week", "day_of_month", "day_of_year" or
            "month_of_year"; or "season_24" for the phase of a season of 24 steps.
        calendar: of the rows; needed by all but the phases of seasons.
        cyclic: whether each becomes a sine and a cosine.

    Returns:
        The features.

    Raises:
        InputError: for an unknown name, or a date's feature without a calendar.

    Source:
        The features in [-1/2, 1/2] are those of GluonTS (Alexandrov et al. 2020, JMLR 21:116).

    Example:
        >>> import jaxcast, numpy as np
        >>> jaxcast.series.time_features(np.asarray([0, 12, 23, 24]), names=["season_24"]).round(3).tolist()
        [[-0.5], [0.022], [0.5], [-0.5]]
    """
    check_time_features(names, calendar)
    rows = np.asarray(rows)
    needs_dates = any(name in CALENDAR_FEATURES for name in names)
    dates = calendar.dates(rows) if needs_dates and calendar is not None else None
    columns = []
    for name in names:
        numbers, count = _numbers(name, rows, dates)
        if cyclic:
            angle = 2 * np.pi * numbers / count
            columns += [np.sin(angle), np.cos(angle)]
        else:
            columns.append(numbers / (count - 1) - 0.5)
    return np.stack(columns, -1) if columns else np.empty((*rows.shape, 0))


def _numbers(name: str, rows: np.ndarray, dates: np.ndarray | None) -> tuple[np.ndarray, int]:
    if found := SEASON.fullmatch(name):
        return rows % int(found[1]), int(found[1])
    number, count = CALENDAR_FEATURES[name]
    return number(np.asarray(dates)), count


def check_time_features(names: Sequence[str], calendar: Calendar | None) -> None:
    """Refuses names of features that are unknown, or that need dates which are not there.

    Args:
        names: of the features.
        calendar: of the rows; None without dates.

    Raises:
        InputError: with the name.
    """
    for name in names:
        season = SEASON.fullmatch(name)
        if season is None and name not in CALENDAR_FEATURES:
            known = ", ".join([*CALENDAR_FEATURES, "season_24"])
            raise InputError(f"unknown time feature {shown(repr(name))}; expected {known}")
        if season is not None:
            check_whole(f"the season of {name}", int(season[1]), least=2)
        elif calendar is None:
            raise InputError(
                f"the time feature {shown(repr(name))} needs dates, which the panel has not; give season_24 or the like"
            )


def default_time_features(calendar: Calendar | None, seasons: Sequence[int]) -> tuple[str, ...]:
    """Returns the features that fit the step of a calendar, or the phases of seasons without one.

    Args:
        calendar: of the panel; None without dates.
        seasons: steps of each season.

    Returns:
        The names of the features.
    """
    if calendar is None:
        return tuple(f"season_{season}" for season in seasons if season > 1)
    if calendar.months:
        return ("month_of_year",) if calendar.months < 12 else ()
    longest = {"minute_of_hour": HOUR, "hour_of_day": DAY, "day_of_week": 7 * DAY, "day_of_month": 28 * DAY}
    own = [name for name, seconds in longest.items() if calendar.seconds < seconds]
    return (*own, "day_of_year") if calendar.seconds < 90 * DAY else ()


def default_seasons(calendar: Calendar | None) -> tuple[int, ...]:
    """Returns the steps of the seasons that are usual for the step of a calendar, shortest first.

    Args:
        calendar: of the panel; None without dates.

    Returns:
        A day and a week of hours, a week of days, a year of weeks or months; none without dates.
    """
    if calendar is None:
        return ()
    if calendar.months:
        return (12 // calendar.months,) if calendar.months in (1, 2, 3, 4, 6) else ()
    if calendar.weekdays and calendar.seconds == DAY:
        return (5,)
    spans = (DAY, 7 * DAY) if calendar.seconds < DAY else (7 * DAY,)
    seasons = [span // calendar.seconds for span in spans if span % calendar.seconds == 0 and span > calendar.seconds]
    return tuple(seasons) if calendar.seconds < 7 * DAY else (52,) if calendar.seconds == 7 * DAY else ()


@checked
def seasonal_lags(seasons: Sequence[int], *, longest: int, num_recent: int = 7, num_cycles: int = 4) -> tuple[int, ...]:
    """Returns the lags of an autoregression: the newest values, and those around each past season.

    A lag counts steps from the value that is forecast, so that 1 is the value before it. Beside
    1, ..., num_recent there are S k - 1, S k, S k + 1 for each season S and k = 1, 2, ... up to the
    next longer season, and `num_cycles` of the longest one.

    Args:
        seasons: steps of each season, rising, such as (24, 168) of hourly values.
        longest: the longest lag.
        num_recent: how many of the newest values.
        num_cycles: how many of the longest season.

    Returns:
        The different lags, rising.

    Raises:
        InputError: for seasons that do not rise, numbers out of range, or no lag at all.

    Source:
        The lags of DeepAR in GluonTS, after Salinas et al. (2020), section 3.3.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.seasonal_lags((24,), longest=49)
        (1, 2, 3, 4, 5, 6, 7, 23, 24, 25, 47, 48, 49)
    """
    check_whole("longest", longest)
    check_whole("num_recent", num_recent, least=0)
    check_whole("num_cycles", num_cycles, least=0)
    for season in seasons:
        check_whole("every season", season, least=2)
    if list(seasons) != sorted(set(seasons)):
        raise InputError(f"expected seasons that rise, got {shown(tuple(seasons))}")
    lags = {*range(1, num_recent + 1)}
    for k, season in enumerate(seasons):
        cycles = seasons[k + 1] // season if k + 1 < len(seasons) else num_cycles
        lags |= {season * cycle + near for cycle in range(1, cycles + 1) for near in (-1, 0, 1)}
    own = tuple(sorted(lag for lag in lags if 1 <= lag <= longest))
    if not own:
        raise InputError("there is no lag up to the longest one; give num_recent or a season")
    return own
