"""A hub's forecasts and target data as arrays, with what is missing as NaN."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxcast.checks import check_names
from jaxcast.errors import InputError, shown
from jaxcast.hub.forecasts import HubForecasts


@dataclasses.dataclass(frozen=True)
class Hub:
    """Forecasts of one horizon and target, and the target data, on a grid of dates without holes.

    Args:
        quantiles: Quantiles (location, time, model, quantile) in the unit of the target, NaN where
            a model did not forecast.
        truth: Target data (location, time) of the newest release, NaN where they are not known.
        observed: Target data (location, time, lag) up to the newest date that could be known when
            each forecast was made, newest first, also from before the first forecast; each date's
            from its own release, where there are releases.
        locations: Names of the locations.
        dates: Target dates, a step apart.
        models: Names of the models.
        levels: Levels of the quantiles, increasing.
        horizon: Horizon as the hub counts it, target date minus reference date in steps.
        first_horizon: Horizon of the first date after the newest target that forecasters could
            know. It is 1 where the reference date is that of this target (US COVID-19 hub), 0 where
            it is a step later and horizons count from 0 (FluSight). Forecasts thus verify
            `steps_ahead` steps after that target.
        step_days: Days between two dates.
        target: Name of the target, where the tables have one.
        dropped: What was left out, in words.
        releases: Target data (release, location, time) as known on the day of each release, NaN
            where they were not; None where the tables have no releases, or one alone, and the truth
            is final.
        as_of: Day of each release, increasing.
        release_of: Index of the newest release that the forecasts of each date may use (time,), -1
            where there is none: it came out before the first date that the round forecasts, and not
            after the newest `forecast_date` of the round, where the table has that column.
        rounds: Day of the round of each target date (time,), where that is not `horizon` steps
            before it, as for rounds on Wednesdays and weeks that end on Sundays; NaT, or None for
            all, where it is.
        deadlines: Day before which a release must have come out, for the round of each date to use
            it (time,); None where there are no releases.

    Raises:
        InputError: by `weeks` for what is not a date, by `only` for no or unknown models.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2024-01-06", "2024-01-27", np.timedelta64(7, "D"), dtype="datetime64[D]")
        >>> levels = np.asarray([0.25, 0.5, 0.75])
        >>> hub = jaxcast.hub.Hub(
        ...     np.ones((1, 3, 1, 3)), np.ones((1, 3)), np.ones((1, 3, 1)), ("01",), dates, ("a",), levels, 1
        ... )
        >>> hub.weeks("2024-01-10", "2024-01-20").tolist()
        [False, True, True]
    """

    quantiles: np.ndarray
    truth: np.ndarray
    observed: np.ndarray
    locations: tuple[str, ...]
    dates: np.ndarray
    models: tuple[str, ...]
    levels: np.ndarray
    horizon: int
    first_horizon: int = 1
    step_days: int = 7
    target: str | None = None
    dropped: tuple[str, ...] = ()
    releases: np.ndarray | None = None
    as_of: np.ndarray | None = None
    release_of: np.ndarray | None = None
    rounds: np.ndarray | None = None
    deadlines: np.ndarray | None = None

    @property
    def present(self) -> np.ndarray:
        """Whether each model forecast, (location, time, model)."""
        return ~np.isnan(self.quantiles).any(-1)

    @property
    def pending(self) -> np.ndarray:
        """Whether a forecast is of a date after the newest target data, (location, time)."""
        known = np.flatnonzero(~np.isnan(self.truth).all(0))
        newest = known[-1] if len(known) else -1
        return self.present.any(-1) & (np.arange(len(self.dates)) > newest)

    @property
    def step(self) -> np.timedelta64:
        """The time between two dates."""
        return np.timedelta64(self.step_days, "D")

    @property
    def reference_dates(self) -> np.ndarray:
        """The day of the round of each target date, (time,)."""
        usual = self.dates - self.horizon * self.step
        return usual if self.rounds is None else np.where(np.isnat(self.rounds), usual, self.rounds)

    def target_date(self, reference_date: np.datetime64, horizon: int | None = None) -> np.datetime64:
        """Returns the date that a round forecasts at a horizon.

        It is `horizon` steps after the round's date, and as many days more as in the newest round:
        none but where rounds are of another day than the weeks.

        Args:
            reference_date: Day of the round.
            horizon: Horizon, as the hub counts it; by default that of the hub.
        """
        beyond = self.dates[-1] - self.horizon * self.step - self.reference_dates[-1]
        date: np.datetime64 = reference_date + beyond + (self.horizon if horizon is None else horizon) * self.step
        return date

    @property
    def steps_ahead(self) -> int:
        """Steps from the newest target that forecasters could know to the date of the forecast."""
        return self.horizon - self.first_horizon + 1

    def known_truth(self, time: int = -1) -> np.ndarray:
        """Returns the target data that the forecasts of a date may use, (location, time).

        They are those of its release, up to the newest date that forecasters could know, and NaN
        elsewhere; see `jaxcast.hub.known_truth`.

        Args:
            time: Index of the date; by default the last.

        Raises:
            InputError: for an index of no date.
        """
        if not -len(self.dates) <= time < len(self.dates):
            raise InputError(f"expected a time from {-len(self.dates)} to {len(self.dates) - 1}, got {shown(time)}")
        time = time % len(self.dates)
        release = self.truth
        if self.releases is not None and self.release_of is not None:
            index = self.release_of[time]
            release = self.releases[index] if index >= 0 else np.full_like(self.truth, np.nan)
        return np.where(np.arange(len(self.dates)) <= time - self.steps_ahead, release, np.nan)

    def forecasts(self) -> HubForecasts:
        """Returns the hub as pools see it: JAX arrays with a mask, of horizon `steps_ahead`."""
        return HubForecasts.of(
            self.quantiles,
            self.truth,
            self.levels,
            observed=self.observed,
            horizon=self.steps_ahead,
            releases=self.releases,
            release_of=self.release_of,
        )

    def weeks(self, first: str, last: str) -> np.ndarray:
        """Returns which dates lie in a window, both ends included, (time,).

        Args:
            first: First date, such as 2024-01-06.
            last: Last date.

        Raises:
            InputError: for what is not a date.
        """
        try:
            return (self.dates >= np.datetime64(first, "D")) & (self.dates <= np.datetime64(last, "D"))
        except ValueError:
            raise InputError(
                f"expected two dates like 2024-01-06, got {shown(repr(first))} and {shown(repr(last))}"
            ) from None

    def until(self, last: np.datetime64) -> "Hub":
        """Returns the hub up to a date, as it is where a round is replayed.

        Args:
            last: Last target date.
        """
        kept = self.dates <= last
        return dataclasses.replace(
            self,
            quantiles=self.quantiles[:, kept],
            truth=self.truth[:, kept],
            observed=self.observed[:, kept],
            dates=self.dates[kept],
            releases=None if self.releases is None else self.releases[..., kept],
            release_of=None if self.release_of is None else self.release_of[kept],
            rounds=None if self.rounds is None else self.rounds[kept],
            deadlines=None if self.deadlines is None else self.deadlines[kept],
        )

    def only(self, models: Sequence[str]) -> "Hub":
        """Returns the hub with some of its models.

        Args:
            models: Names of the models, in the order wanted.

        Raises:
            InputError: for no models, or unknown ones.
        """
        if not len(models):
            raise InputError(f"expected at least one of the models {shown(', '.join(self.models))}")
        index = [self.models.index(name) for name in check_names("model", models, self.models)]
        return dataclasses.replace(self, quantiles=self.quantiles[:, :, index], models=tuple(models))
