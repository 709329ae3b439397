"""The steps of windows that are cut at lags: which lie in the last season, and which a season before a lead."""

from itertools import pairwise
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.checks import check_whole
from jaxcast.errors import InputError, shown
from jaxcast.series.baselines import Leads
from jaxcast.series.samples import SeriesWindows, WindowLags


class WindowSteps(NamedTuple):
    """The steps of a window, and which of them a forecast uses by themselves.

    Args:
        lags: steps back from the newest value of each, oldest first.
        season: steps of a season; 0 for none.
    """

    lags: Leads
    season: int

    @property
    def own(self) -> tuple[int, ...]:
        """Rows whose values are features: all of the last season."""
        return tuple(k for k, lag in enumerate(self.lags) if not self.season or lag <= self.season)

    def of_season(self, lead: int) -> tuple[int, ...]:
        """Rows that are whole seasons before a lead, whose mean is a feature.

        Args:
            lead: steps from the newest value to the target.
        """
        return tuple(k for k, lag in enumerate(self.lags) if self.season and (lag + lead) % self.season == 0)

    def seasonal_mean(self, values: Array, known: Array, lead: int) -> Float[Array, "*batch series"]:
        """Returns the mean over seasons before a lead; 0 where none is known.

        Args:
            values: (*batch, time, series), 0 where one is missing.
            known: 1 where a value is known, of a shape that broadcasts to theirs.
            lead: steps from the newest value to the target.
        """
        rows = np.asarray(self.of_season(lead), int)
        count = known[..., rows, :].sum(-2)
        return values[..., rows, :].sum(-2) / jnp.maximum(count, 1)


def at_lags(history: Array, lags: Leads, given: WindowLags | None, *, axis: int = -2) -> Array:
    """Returns the steps of a history at some lags.

    Args:
        history: those steps where `given` says so, else consecutive steps.
        lags: steps back from the newest value, oldest first.
        given: the lags at which the history was cut; None for consecutive steps.
        axis: of time.

    Returns:
        The steps.

    Raises:
        InputError: for too few steps, or other lags.
    """
    size = history.shape[axis]
    if given is not None:
        if given.steps != tuple(lags) or size != len(lags):
            raise InputError(
                f"expected histories of the steps at the lags {shown(tuple(lags))}, got {size} at {shown(given.steps)}"
            )
        return history
    if size <= lags[0]:
        raise InputError(
            f"expected histories of {lags[0] + 1} consecutive steps or more, got {size}; of windows that were cut at "
            "lags, give also lags=samples.lags"
        )
    return history if size == len(lags) else jnp.take(history, size - 1 - np.asarray(lags), axis)


def check_lags(lags: Any) -> None:
    """Refuses lags that do not fall to 0 or more.

    Args:
        lags: what was given.

    Raises:
        InputError: also for none.
    """
    if not lags or any(one <= other for one, other in pairwise(lags)):
        raise InputError(f"expected at least one lag, and lags that fall, got {shown(lags)}")
    for lag in lags:
        check_whole("every lag", lag, least=0)


def lags_of(samples: SeriesWindows) -> Leads:
    """Returns steps back from the newest value of each row of the histories.

    Args:
        samples: with lags, or of consecutive steps.
    """
    return tuple(range(samples.history.shape[1]))[::-1] if samples.lags is None else samples.lags.steps
