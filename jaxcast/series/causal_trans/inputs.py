"""Checks of the arguments of CausalTrans, and which rows of a window are what."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from jaxcast.checks import check_leads
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced


class LeadRows(NamedTuple):
    """The rows of a window.

    Args:
        recent: rows that follow each other up to the newest.
        of_lead: rows that are whole days before each lead, newest last, (lead, season); -1 where
            there are fewer than for other leads.
    """

    recent: tuple[int, ...]
    of_lead: Int[np.ndarray, "lead season"]

    @property
    def num_seasons(self) -> int:
        """Rows of a lead."""
        return int(self.of_lead.shape[1])


def lead_rows(lags: Sequence[int], leads: Sequence[int], slots_per_day: int) -> LeadRows:
    """Finds the rows of a window that are recent, and those that are whole days before each lead.

    Args:
        lags: steps back from the newest value of each row, oldest first.
        leads: steps ahead.
        slots_per_day: steps of a day; 0 for none.

    Returns:
        The rows.

    Raises:
        InputError: for windows without the newest step, or rows that are neither.
    """
    steps = list(lags)
    recent = [row for row, lag in enumerate(steps) if lag == len(steps) - 1 - row]
    if not recent:
        raise InputError(f"expected windows with the newest step, lag 0, got lags {shown(tuple(steps))}")
    days = [
        [row for row, lag in enumerate(steps) if slots_per_day and not (lag + lead) % slots_per_day] for lead in leads
    ]
    unused = sorted(steps[row] for row in {*range(len(steps))}.difference(recent, *days))
    if unused:
        raise InputError(
            f"expected lags from 0 on without a gap, and such as are whole days of {slots_per_day} steps before one of "
            f"the leads {tuple(leads)}, got {shown(unused)}"
        )
    most = max(map(len, days))
    return LeadRows(
        tuple(recent), np.asarray([[-1] * (most - len(rows)) + rows for rows in days], int).reshape(len(leads), most)
    )


def check_leads_of(leads: Sequence[int] | None, num_leads: int) -> tuple[int, ...]:
    """Returns the leads of a network.

    Args:
        leads: as given; None for the first ones.
        num_leads: of the samples.

    Raises:
        InputError: for leads that do not rise, or another number of them.
    """
    found = tuple(range(1, num_leads + 1)) if leads is None else tuple(leads)
    check_leads(found)
    if len(found) != num_leads:
        raise InputError(f"expected the {num_leads} leads of the samples, got {shown(found)}")
    return found


def split_targets(
    demand: Sequence[int] | None, supply: Sequence[int], targets: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the features that are demand, and those that are supply.

    Args:
        demand: as given; None for all targets that are not supply.
        supply: as given.
        targets: features that are forecast.

    Raises:
        InputError: unless each target is one of the two.
    """
    after = tuple(supply)
    first = tuple(number for number in targets if number not in after) if demand is None else tuple(demand)
    if sorted(first + after) != sorted(targets) or not first:
        raise InputError(
            f"expected each of the targets {targets} as demand or as supply, and some demand, got demand {shown(first)} "
            f"and supply {shown(after)}"
        )
    return first, after


def check_effects(
    effects: Sequence[Any], *, num_treatments: int, slots_per_day: int, shape: tuple[int, ...]
) -> tuple[int, ...]:
    """Returns how many levels each treatment has.

    Args:
        effects: of each treatment.
        num_treatments: besides the slot of the week.
        slots_per_day: steps of a day; 0 for none.
        shape: of the effects of a level, (node, target) or (node,).

    Raises:
        InputError: for another number of treatments, or effects of another shape or not finite.
    """
    expected = num_treatments + (slots_per_day > 0)
    if len(effects) != expected or not expected:
        slots = "the slots of the week and " if slots_per_day else ""
        raise InputError(
            f"expected effects of {slots}{num_treatments} treatments, and of one at least, got {len(effects)} arrays"
        )
    for number, effect in enumerate(effects):
        found = np.shape(effect)
        if found[1:] != shape or not found[0]:
            raise InputError(f"expected effects (level, {', '.join(map(str, shape))}), got shape {found}")
        if not number and slots_per_day and found[0] != 7 * slots_per_day:
            raise InputError(f"expected effects of the {7 * slots_per_day} slots of a week, got {found[0]}")
        if not is_traced(effect) and not np.isfinite(np.asarray(effect)).all():
            raise InputError("expected finite effects of treatments; a level that was never seen has the effect 0")
    return tuple(len(effect) for effect in effects)
