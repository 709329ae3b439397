"""Historical averages: of recent values and the same slot of past days and weeks, or of a slot of the week."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_floats, check_leads, check_whole, sizes_of
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.baselines import Leads, NaiveForecaster, last_known
from jaxcast.series.features import check_history
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature


@checked
def calendar_lags(
    *, num_recent: int, num_days: int = 0, num_weeks: int = 0, slots_per_day: int, leads: Sequence[int] = (1,)
) -> tuple[int, ...]:
    """Returns the lags of the newest values and of each target's slot on past days and weeks.

    These are the closeness, period and trend of traffic models. A lag counts steps back from the
    newest value, so that a day before lead h is the lag `slots_per_day` - h.

    Args:
        num_recent: how many of the newest values.
        num_days: on how many past days the slot of each target is seen.
        num_weeks: in how many past weeks it is seen, on the same weekday.
        slots_per_day: steps of a day.
        leads: steps from the newest value to each target, rising.

    Returns:
        The different lags, oldest first.

    Raises:
        InputError: for numbers that are not whole, and for no lag at all.

    Example:
        >>> import jaxcast
        >>> jaxcast.series.calendar_lags(num_recent=2, num_days=1, num_weeks=1, slots_per_day=24)
        (167, 23, 1, 0)
    """
    check_leads(tuple(leads))
    each = [_lags_of_lead(lead, num_recent, num_days, num_weeks, slots_per_day) for lead in leads]
    return tuple(sorted({lag for lags in each for lag in lags}, reverse=True))


def _lags_of_lead(lead: int, num_recent: int, num_days: int, num_weeks: int, slots_per_day: int) -> list[int]:
    """Returns the lags that are averaged for a lead; one that is a day and a week ago comes twice."""
    check_whole("slots_per_day", slots_per_day)
    for name, number in (("num_recent", num_recent), ("num_days", num_days), ("num_weeks", num_weeks)):
        check_whole(name, number, least=0)
    if num_recent + num_days + num_weeks == 0:
        raise InputError("give at least one of num_recent, num_days and num_weeks")
    lags = list(range(num_recent))
    for number, period in ((num_days, slots_per_day), (num_weeks, 7 * slots_per_day)):
        newest = -lead % period  # the target's slot, at its newest occurrence that is seen
        lags += [newest + k * period for k in range(number)]
    return lags


class HistoricalAverage(NaiveForecaster, FrozenPytree, name="historical_average"):
    """A naive forecast: the mean of recent values and of the target's slot on past days and weeks.

        y_(t+h) = mean of u_t, ..., u_(t-c+1), u_(t+h-kD) for p days k, u_(t+h-7kD) for q weeks k

    with D slots a day: the historical average HA(c, p, q). A value that is both a day and a week
    ago counts twice. Missing values are left out of the mean; where all are missing, the forecast
    is the newest known value.

    Args:
        leads: steps ahead, rising from 1 on.
        num_recent: c.
        num_days: p.
        num_weeks: q.
        slots_per_day: D.
        lags: those of the history's rows, where `series_windows` was given lags; () for a history
            of consecutive steps.
        target_features: numbers of the features that are forecast, where histories have a feature
            axis.

    Raises:
        InputError: for leads that do not rise, numbers below 0, and lags that lack one which is
            averaged; when called, for histories of another shape, or too short.

    Source:
        HA as in the baselines of UCTB, Wang et al., IEEE TKDE 35, 5073-5086 (2023).

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> average = jaxcast.series.HistoricalAverage((1, 2), num_recent=1, num_days=1, slots_per_day=3)
        >>> average(jnp.arange(6.0)[:, None]).forecast[:, 0].tolist()
        [4.0, 4.5]
    """

    leads: Leads = static()
    num_recent: int = static(default=0)
    num_days: int = static(default=0)
    num_weeks: int = static(default=0)
    slots_per_day: int = static(default=24)
    lags: Leads = static(default=())
    target_features: Leads = static(default=())

    @property
    def _least_history(self) -> int:
        rows = self._rows_back()
        return len(self.lags) or int(rows.max()) + 1

    def _rows_back(self) -> Int[np.ndarray, "lead average"]:
        """The rows that are averaged for each lead, counted back from the newest."""
        settings = (self.num_recent, self.num_days, self.num_weeks, self.slots_per_day)
        wanted = np.asarray([_lags_of_lead(lead, *settings) for lead in self.leads])
        if not self.lags:
            return wanted
        seen = np.unique(np.asarray(self.lags))
        if len(seen) < len(self.lags):
            raise InputError(f"lags must be different, got {shown(self.lags)}")
        missing = sorted({*wanted.ravel().tolist()} - {*seen.tolist()})
        if missing:
            raise InputError(
                f"the average needs the lags {shown(missing)}, which are not among those of the history; make it "
                "with the lags of calendar_lags"
            )
        return np.searchsorted(seen, wanted)

    def _of_series(self, history: Array) -> Array:
        rows = self._rows_back()
        if history.shape[-2] <= rows.max() or (self.lags and history.shape[-2] != len(self.lags)):
            raise InputError(
                f"the average needs a history of {self._least_history} steps, got {history.shape[-2]}; give longer "
                "windows"
            )
        values = history[..., history.shape[-2] - 1 - rows, :]
        known = jnp.isfinite(values)
        count = known.sum(-2)
        mean = jnp.where(known, values, 0).sum(-2) / jnp.maximum(count, 1)
        return jnp.where(count > 0, mean, last_known(history)[0][..., None, :])


class SlotMean(WindowForecaster, Checked, FrozenPytree, name="slot_mean"):
    """A naive forecast: the training mean of the target's slot of the week, made by `fit_slot_mean`.

    The first covariate of a window is the slot of the week of its newest step, from 0 on.

    Args:
        mean: of each slot of the week and series.
        leads: steps ahead, rising from 1 on.

    Raises:
        InputError: when called without covariates, or with histories of other series.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> forecaster = jaxcast.series.SlotMean(jnp.arange(14.0)[:, None], (1, 3))
        >>> forecaster(jnp.zeros((2, 1)), jnp.asarray([12.0])).forecast[:, 0].tolist()
        [13.0, 1.0]
    """

    mean: Float[Array, "slot region"]
    leads: Leads = static()

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        return WindowSignature(len(self.leads), leads=self.leads, mean=self.mean.mean(0))

    def check(self) -> None:
        """Raises InputError unless the means are of slots and series, and the leads rise."""
        check_leads(self.leads)
        check_floats(self)
        sizes_of(self, {".mean": "slot region"})

    @checked
    def __call__(
        self, history: Float[Array, "..."], covariates: Float[Any, "*batch_and_region covariate"] | None = None
    ) -> Output:
        check_history(history, (), series=self.mean.shape[1:])
        if covariates is None:
            raise InputError("a slot mean needs the slot of the week as the first covariate, got no covariates")
        slot = jnp.asarray(covariates)[..., 0]
        slot = slot[..., 0] if slot.ndim == history.ndim - 1 else slot
        slots = (jnp.round(slot).astype(int)[..., None] + jnp.asarray(self.leads)) % len(self.mean)
        return Output(self.mean[slots], {})


@checked
def fit_slot_mean(
    values: Float[Any, "time region"],
    slots: Shaped[Any, " time"],
    *,
    slots_per_day: int,
    leads: Sequence[int],
    stop: int | None = None,
) -> SlotMean:
    """Learns the mean of each series in every slot of the week.

    A slot without a known value has the mean of the same slot on all days, or else that of the
    whole series.

    Args:
        values: NaN where one is missing.
        slots: of the week of each row, from 0 to below 7 `slots_per_day`.
        slots_per_day: slots of a day.
        leads: steps ahead, rising from 1 on.
        stop: row after the last that is learned from, by default the end.

    Returns:
        The forecaster.

    Raises:
        InputError: for slots out of range or of another number of rows, and a series without any
            known value.

    Example:
        >>> import jax.numpy as jnp, jaxcast, numpy as np
        >>> slots = np.arange(28) % 14
        >>> model = jaxcast.series.fit_slot_mean(slots[:, None] * 1.0, slots, slots_per_day=2, leads=(1,))
        >>> model(jnp.zeros((1, 1)), np.asarray([4.0])).forecast.tolist()
        [[5.0]]
    """
    check_whole("slots_per_day", slots_per_day)
    table, slots = np.asarray(values, float)[:stop], np.asarray(slots)
    num_slots = 7 * slots_per_day
    if slots.shape != np.shape(values)[:1] or not ((slots >= 0) & (slots < num_slots) & (slots == slots // 1)).all():
        raise InputError(
            f"expected a slot of the week from 0 to {num_slots - 1} for each of {len(np.asarray(values))} rows, got "
            f"shape {slots.shape}"
        )
    known = np.isfinite(table)
    if not known.any(0).all():
        raise InputError(f"series number {int(np.argmin(known.any(0)))} has no known value to learn from")
    own = np.eye(num_slots)[slots[:stop].astype(int)].T
    counts, sums = own @ known, own @ np.where(known, table, 0)
    of_day = [np.tile(a.reshape(7, slots_per_day, -1).sum(0), (7, 1)) for a in (counts, sums)]
    mean = sums.sum(0) / counts.sum(0)
    for count, total in (of_day, (counts, sums)):
        mean = np.where(count > 0, total / np.maximum(count, 1), mean)
    return SlotMean(jnp.asarray(mean), tuple(leads))
