"""When the rounds of a hub stop to accept submissions."""

from collections.abc import Iterator

import numpy as np

from jaxcast.hub.config.description import HubDescription, Round

DAY_COLUMNS = ("reference_date", "origin_date", "nowcast_date")
"""Task ids with the day of a round whose identifier is not a date."""


def due_days_of(hub: HubDescription) -> int | dict[str, int] | None:
    """Finds how many days after its date each round of a hub accepts its last submissions.

    Windows may be given as days from the round's date, or as dates; groups of rounds may have
    different ones. A window that is relative to another task id than the one that names the round,
    or one range of dates for several rounds, does not say when a round is due.

    Args:
        hub: Description of the hub.

    Returns:
        The number of days where all rounds have the same, else that of each round by its date; None
        where the hub does not say.
    """
    found: dict[str, int] = {}
    for group in hub.rounds:
        for day, days in _due_days(group):
            found[day] = min(days, found.get(day, days))
    return next(iter(found.values())) if len(set(found.values())) == 1 else found or None


def _due_days(group: Round) -> Iterator[tuple[str, int]]:
    """Yields the date of each round of a group and the days from it to the last of submissions."""
    window, days = group.window, _days_of(group)
    if window is None:
        return
    if isinstance(window.end, int):
        if not group.is_from_variable:
            days = _values_of(group, str(window.relative_to)) or days
        elif window.relative_to != group.round_id:
            return
        yield from ((day, window.end) for day in days)
    elif len(days) == 1 and _is_day(window.end[:10]):
        yield days[0], int((np.datetime64(window.end[:10], "D") - np.datetime64(days[0], "D")).astype(int))


def _days_of(group: Round) -> list[str]:
    """Returns the dates of the rounds of a group."""
    named = [name for name in group.round_ids if _is_day(name)]
    return named or next((days for name in DAY_COLUMNS if (days := _values_of(group, name))), [])


def _values_of(group: Round, name: str) -> list[str]:
    values = dict.fromkeys(map(str, group.values_of(name)))
    return [value for value in values if _is_day(value)]


def _is_day(text: str) -> bool:
    try:
        return len(text) == 10 and not np.isnat(np.datetime64(text, "D"))
    except ValueError:
        return False
