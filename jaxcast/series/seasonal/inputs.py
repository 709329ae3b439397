"""Features of recent values, past days and weeks, neighbours, and the level relative to the usual one."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jaxcast.checks import Checked, check_floats, check_leads, check_positive, check_whole, sizes_of
from jaxcast.pytrees import FrozenPytree, static

NUM_LAGS = 12
"""Recent values that are features themselves."""
SPANS = (1, 3, 12)
"""Steps over which the recent level is compared with the usual one, besides all that are seen."""
HALF_LIVES = (1.0, 4.0)
"""Half-lives, in days or weeks, of the averages that are what is usual in a slot."""
LARGEST_RATIO = 6.0
SMALLEST_RATIO = 0.1
PSEUDO_LEVEL = 0.09
"""Share of a standard deviation, a step, that is added to both levels before one divides the other."""


class Features(NamedTuple):
    """Features of windows.

    Args:
        common: of the newest step, the same at all leads.
        by_lead: of each lead: what is usual then, and what was seen in its slot.
        calendar: of each lead: time of day and day of the week.
    """

    common: Float[Array, "sample region feature"]
    by_lead: Float[Array, "sample lead region feature"]
    calendar: Float[Array, "sample lead feature"]


class SeasonalFeatures(Checked, FrozenPytree, name="seasonal_features"):
    """Features of counts with daily and weekly seasons, made by `seasonal_features`.

    All values are standardised, z = (u - mean) / std of each series. What is usual in a slot is the
    exponentially weighted mean of that slot on past days and in past weeks, with half-lives of 1
    and 4; m_s(l) below is the slowest of them. The features of a series at lead h are

        z_t, ..., z_(t-11);   the same of the mean of all series and of its neighbours, fewer lags;
        the slot of t+h on past days and in past weeks, and the slots beside it;
        the usual values at t and at t+h;   z_t - m(t) averaged over 3, 12 and num_recent steps;
        u^(t+h) L_n / M_n,   n = 1, 3, 12, num_recent:   the usual value times the level

    with L_n the sum of the last n values, M_n of what is usual then, so that a series whose level
    has changed, as in a lockdown, is forecast by its usual shape at its new level. The last is also
    made with the sums over all series. Missing recent values are taken to be usual.

    Args:
        mean: of each series.
        std: of each series.
        neighbours: numbers of the nearest series of each.
        usual: what is usual in each slot of the week, standardised: used where no past day is seen.
        slots_per_day: steps of a day.
        leads: steps ahead, rising.
        num_recent: recent steps that are seen.
        num_days: past days that are seen; 0 for none, and no weeks either.
        num_weeks: past weeks that are seen; 0 where the data are too short for them.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.random.default_rng(0).poisson(5.0, (300, 3)).astype(float)
        >>> features = jaxcast.series.seasonal_features(values, slots_per_day=8, leads=(1, 2), num_days=2, num_weeks=1)
        >>> windows = jaxcast.series.series_windows(values, lags=features.lags, leads=(1, 2))
        >>> features(windows.history, np.arange(len(windows.history)) % 56).by_lead.shape[:3]
        (232, 2, 3)
    """

    mean: Float[Array, " region"]
    std: Float[Array, " region"]
    neighbours: Int[Array, "region neighbour"]
    usual: Float[Array, "slot region"]
    slots_per_day: int = static()
    leads: tuple[int, ...] = static()
    num_recent: int = static()
    num_days: int = static()
    num_weeks: int = static()

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such features."""
        check_floats(self, whole=(".neighbours",))
        check_leads(self.leads)
        check_whole("slots_per_day", self.slots_per_day)
        check_whole("num_recent", self.num_recent, least=NUM_LAGS)
        for name in ("num_days", "num_weeks"):
            check_whole(name, getattr(self, name), least=0)
        own = {".mean": "region", ".std": "region", ".neighbours": "region neighbour", ".usual": "slot region"}
        sizes_of(self, own)
        check_positive(std=self.std)

    @property
    def spans(self) -> tuple[int, ...]:
        """The steps over which the recent level is compared with the usual one."""
        return tuple(sorted({*SPANS, self.num_recent}))

    @property
    def lags(self) -> tuple[int, ...]:
        """The steps back of which a window is made, oldest first."""
        day, week = self.slots_per_day, 7 * self.slots_per_day
        steps = set(range(self.num_recent))
        around = {*range(self.num_recent), *(-lead for lead in self.leads)}
        beside = {lead + k for lead in self.leads for k in (-1, 0, 1)}
        for number in range(1, self.num_days + 1):
            own = {0, *(-lead for lead in self.leads)} if self.num_weeks else around
            steps |= {number * day + step for step in own}
        if self.num_days:
            steps |= {day + 1, *(day - lead for lead in beside)}
        for number in range(1, self.num_weeks + 1):
            steps |= {number * week + step for step in around}
        if self.num_weeks:
            steps |= {week - lead for lead in beside}
        return tuple(sorted((step for step in steps if step >= 0), reverse=True))

    def __call__(self, history: Float[Array, "sample time region"], slots: Shaped[Any, " sample"]) -> Features:
        """Makes the features of histories.

        Args:
            history: at the steps of `lags`, NaN where a value is missing.
            slots: slot of the week of each history's newest step.
        """
        return _Seen(self, history, slots).features()


class _Seen:
    """Histories and what is usual of them, while features are made."""

    def __init__(self, own: SeasonalFeatures, history: Array, slots: Any):
        self.own, self.slots = own, jnp.asarray(slots, int)
        self.row = {lag: n for n, lag in enumerate(own.lags)}
        z = (history - own.mean) / own.std
        self.z = jnp.concatenate([z, jnp.full_like(z[:, :1], jnp.nan)], 1)  # last: what is not seen
        self.ahead = -np.asarray(own.leads)
        self.usual = self._usual(np.concatenate([[0], self.ahead]))
        self.expected = self._usual(np.arange(own.num_recent), slowest=True)[-1]
        recent = self.at(np.arange(own.num_recent))
        self.recent = jnp.where(jnp.isnan(recent), self.expected, recent)

    def at(self, lags: Any) -> Float[Array, "sample *lag region"]:
        """Returns the values some steps back, NaN where they are missing or not seen."""
        rows = np.vectorize(lambda lag: self.row.get(int(lag), len(self.row)), otypes=[int])(np.asarray(lags))
        return self.z[:, rows]

    def _usual(self, steps: np.ndarray, *, slowest: bool = False) -> list[Float[Array, "sample step region"]]:
        """Returns what is usual some steps back, or ahead where negative: the slowest average last."""
        own = self.own
        if not own.num_days:
            return [own.usual[(self.slots[:, None] - steps) % len(own.usual)]]
        found: list[Array] = []
        for period, number in ((own.slots_per_day, own.num_days), (7 * own.slots_per_day, own.num_weeks)):
            if not number or (slowest and own.num_weeks and period == own.slots_per_day):
                continue  # days are not seen at all steps where weeks are
            ages = np.arange(1, number + 1)
            seen = self.at(ages[:, None] * period + steps)
            fallback = found[-1] if found else jnp.zeros_like(seen[:, 0])
            found += [_weighted_mean(seen, 0.5 ** (ages / half), fallback) for half in HALF_LIVES]
        return found

    def features(self) -> Features:
        """Returns all features."""
        return Features(jnp.stack(self._common(), -1), jnp.stack(self._by_lead(), -1), self._calendar())

    def _common(self) -> list[Float[Array, "sample region"]]:
        own, z = self.own, self.recent
        near, mean = z[:, :3][..., own.neighbours], _of_all(z)
        found = [z[:, k] for k in range(NUM_LAGS)] + [mean[:, k] for k in (0, 1, 2, 5)]
        found += [near[:, k].mean(-1) for k in (0, 1, 2)]
        found += [near[:, 0, :, k] for k in range(min(4, own.neighbours.shape[1]))] + [near[:, 1, :, 0]]
        off = z - self.expected
        found += [off[:, :span].mean(1) for span in own.spans[1:]]
        found += [_of_all(off[:, 0]), *(usual[:, 0] for usual in self.usual)]
        if own.num_days:
            found += [
                self._filled(np.asarray([own.slots_per_day + k]), self.expected[:, k : k + 1])[:, 0] for k in (0, 1)
            ]
        if own.num_weeks:
            week = self._filled(np.asarray([7 * own.slots_per_day]), self.expected[:, :1])[:, 0]
            found += [week, _of_all(week)]
        return found

    def _by_lead(self) -> list[Float[Array, "sample lead region"]]:
        """Returns usual values and levels first, of which a network sees all leads."""
        own, day, week = self.own, self.own.slots_per_day, 7 * self.own.slots_per_day
        usual = [each[:, 1:] for each in self.usual]
        found = [*usual, _of_all(usual[-1]), *self._levels(usual[-1])]
        if own.num_days:
            found += [self._filled(day + self.ahead + k, usual[-1]) for k in (0, -1, 1)]
        if own.num_weeks:
            weeks = [self._filled(week + self.ahead + k, usual[-1]) for k in (0, -1, 1)]
            found += [*weeks, _of_all(weeks[0])]
        found += [self._filled(k * day + self.ahead, usual[-1]) for k in range(2, own.num_days + 1)]
        return found + [self._filled(k * week + self.ahead, usual[-1]) for k in range(2, min(own.num_weeks, 4) + 1)]

    def _filled(self, lags: np.ndarray, usual: Array) -> Float[Array, "sample lead region"]:
        """Returns values at some lags, where they are missing what is usual."""
        seen = self.at(lags)
        return jnp.where(jnp.isnan(seen), usual, seen)

    def _levels(self, usual: Array) -> list[Float[Array, "sample lead region"]]:
        """Returns what is usual at each lead, times recent levels over usual levels."""
        own = self.own
        raw, expected, ahead = (jnp.maximum(z * own.std + own.mean, 0) for z in (self.recent, self.expected, usual))
        ratios = []
        for span in own.spans:
            more = PSEUDO_LEVEL * span * own.std
            ratios.append((raw[:, :span].sum(1) + more) / (expected[:, :span].sum(1) + more))
        for span in own.spans[:2]:
            more = PSEUDO_LEVEL * span * own.std.sum()
            level, normal = (a[:, :span].sum((1, 2)) + more for a in (raw, expected))
            ratios.append(jnp.broadcast_to((level / normal)[:, None], raw[:, 0].shape))
        ratios = [jnp.clip(ratio, SMALLEST_RATIO, LARGEST_RATIO)[:, None] for ratio in ratios]
        return [(ahead * ratio - own.mean) / own.std for ratio in ratios]

    def _calendar(self) -> Float[Array, "sample lead feature"]:
        own = self.own
        slots = self.slots[:, None] + jnp.asarray(own.leads)
        angles = 2 * jnp.pi * slots[..., None] * jnp.arange(1, 4) / own.slots_per_day
        parts = [jnp.sin(angles), jnp.cos(angles)]
        if len(own.usual) > own.slots_per_day:
            parts.append((slots // own.slots_per_day % 7)[..., None] == jnp.arange(6))
        return jnp.concatenate(parts, -1).astype(self.z.dtype)


def _of_all(values: Float[Array, "*batch region"]) -> Float[Array, "*batch region"]:
    """Returns the mean of all series, for each."""
    return jnp.broadcast_to(values.mean(-1, keepdims=True), values.shape)


def _weighted_mean(values: Array, weights: Any, fallback: Array) -> Array:
    """Averages what is known over the second axis."""
    known = ~jnp.isnan(values)
    weights = jnp.asarray(weights, values.dtype)[:, None, None]
    total, weight = jnp.sum(jnp.where(known, values * weights, 0), 1), jnp.sum(known * weights, 1)
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1), fallback)
