"""A forecaster of the series in a table, with what it must know of tables."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.checks import Checked, check_flag, check_leads, check_model, check_texts, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.io.dates import parse_date
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.calibration import CalibratedForecaster
from jaxcast.series.panel_methods import window_covariates
from jaxcast.series.problem import SeriesProblem, windows_of
from jaxcast.series.samples import SeriesWindows, with_slots
from jaxcast.series.tables import SeriesTable, newest_row

KINDS = ("past_covariates", "future_covariates", "static_covariates")


class SeriesForecast(NamedTuple):
    """Forecasts of the series of a table from one date.

    Args:
        names: of the series.
        origin: the newest date that was seen.
        leads: steps ahead.
        dates: of the leads.
        levels: of the quantiles, rising.
        forecast: the level nearest to 0.5.
        quantiles: at all levels.
        info: what else the forecaster tells of this forecast, such as the weights of its attention
            or the graph that it has learned.
    """

    names: tuple[str, ...]
    origin: str
    leads: tuple[int, ...]
    dates: tuple[str, ...]
    levels: tuple[float, ...]
    forecast: Float[np.ndarray, "lead region"]
    quantiles: Float[np.ndarray, "lead region level"]
    info: dict[str, Any]


class SeriesModel(Checked, FrozenPytree, name="series_model"):
    """A calibrated forecaster, and the tables that it forecasts; made by `fit_series`.

    It is saved by `save_model` and read by `load_model`.

    Args:
        forecaster: of arrays.
        names: of the series, in its order.
        step: between two dates, such as "1 week".
        leads: steps ahead.
        history_size: steps that a forecast sees.
        learned_until: the last date that it has learned from.
        lowest: the smallest value that it has learned from.
        method: the name of the method.
        past_covariates: names of the covariates that are known up to the newest date.
        future_covariates: names of those that are known of the dates to forecast.
        static_covariates: names of those that are one number for each series.
        sees_calendar: whether its first covariate is the slot of the week.
        lags: steps back from the newest value that regressions see; () where they are not known.
        season: steps of a season; 0 for none.
        window_features: features of time that it sees at every step of a window, beside all
            covariates of these; None where it does not.

    Raises:
        InputError: when saved, loaded or called, for arrays or a table that do not fit it.

    Example:
        >>> import jaxcast, numpy as np, tempfile
        >>> dates = np.arange("2015-01", "2025-01", dtype="datetime64[M]")
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=(120, 2)), 0)
        >>> table = jaxcast.series.series_table(walk, dates)
        >>> model = jaxcast.series.fit_series(table, horizon=2, methods=("last_value",)).model
        >>> folder = tempfile.mkdtemp()
        >>> jaxcast.save_model(folder, model)
        >>> loaded = jaxcast.load_model(folder).pool
        >>> loaded.forecast(table, at="2024-06-01").dates
        ('2024-07-01', '2024-08-01')
    """

    forecaster: CalibratedForecaster
    names: tuple[str, ...] = static()
    step: str = static()
    leads: tuple[int, ...] = static()
    history_size: int = static()
    learned_until: str = static()
    lowest: float = static()
    method: str = static()
    past_covariates: tuple[str, ...] = static(default=())
    future_covariates: tuple[str, ...] = static(default=())
    static_covariates: tuple[str, ...] = static(default=())
    sees_calendar: bool = static(default=False)
    lags: tuple[int, ...] = static(default=())
    season: int = static(default=0)
    window_features: tuple[str, ...] | None = static(default=None)

    @classmethod
    def of(
        cls,
        forecaster: CalibratedForecaster,
        table: SeriesTable,
        problem: SeriesProblem,
        *,
        method: str,
        sees_calendar: bool = False,
        window_features: tuple[str, ...] | None = None,
    ) -> "SeriesModel":
        """Makes the model of a table.

        Args:
            forecaster: that has learned from the table.
            table: the table.
            problem: with the leads and the size of histories.
            method: the name of the method.
            sees_calendar: whether its first covariate is the slot of the week.
            window_features: features of time that it sees at every step of a window, if it does.

        Returns:
            The model.
        """
        return cls(
            forecaster,
            table.names,
            table.calendar.step,
            problem.leads,
            problem.history_size,
            table.date(newest_row(table.values)),
            float(np.nanmin(table.values)),
            method,
            **table.covariate_names,
            sees_calendar=sees_calendar,
            lags=problem.lags,
            season=problem.season,
            window_features=window_features,
        )

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of its quantiles."""
        return self.forecaster.levels

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a model."""
        check_model(self.forecaster)
        check_texts("names", self.names)
        check_leads(self.leads)
        check_whole("history_size", self.history_size)
        shape = self.forecaster.shifts.shape[:2]
        if shape != (len(self.leads), len(self.names)):
            raise InputError(f"expected leads and names for shifts of shape {self.forecaster.shifts.shape}")
        own = self.forecaster.signature.leads
        if own is not None and tuple(own) != self.leads:
            raise InputError(f"leads must be those of the forecaster, {own}, got {shown(self.leads)}")
        for name in ("step", "method", "learned_until"):
            check_texts(name, [getattr(self, name)])
        check_texts("covariates", [name for kind in KINDS for name in getattr(self, kind)], least=0)
        check_flag("sees_calendar", self.sees_calendar)
        check_texts("window_features", self.window_features or (), least=0)
        for lag in self.lags:
            check_whole("every lag", lag, least=0, most=self.history_size - 1)
        check_whole("season", self.season, least=0)
        parse_date(self.learned_until, "learned_until")
        lower = self.forecaster.lower
        if lower is not None and lower > self.lowest:
            raise InputError(f"lower, {lower:g}, is above {self.lowest:g}, which it has learned from")

    def __call__(self, history: Float[Array, "..."], covariates: Any = None) -> Output:
        """Forecasts arrays; see `CalibratedForecaster`.

        Args:
            history: (time, region) or (sample, time, region).
            covariates: those of the windows of a table, before they are standardised.

        Returns:
            The middle level, and all levels in `info["quantiles"]`.
        """
        return self.forecaster(history, covariates)

    def arranged(self, table: SeriesTable, what: str = "the table") -> SeriesTable:
        """Brings the series of a table into the order of the model.

        Args:
            table: with the same series, steps and covariates.
            what: what to call it in a message.

        Returns:
            The table.

        Raises:
            InputError: for other series, steps or covariates, or a table that is too short.
        """
        if {*table.names} != {*self.names}:
            lacking, new = (
                [*map(repr, sorted(some)[:5])]
                for some in ({*self.names} - {*table.names}, {*table.names} - {*self.names})
            )
            parts = [
                f"{verb} {', '.join(some)}" for verb, some in (("it lacks", lacking), ("it also has", new)) if some
            ]
            raise InputError(
                f"{what} has other series than the forecaster: {shown(' and '.join(parts))}; give those it was "
                "trained on"
            )
        if table.calendar.step != self.step:
            raise InputError(
                f"{what} has a date every {table.calendar.step}, the forecaster learned from one every {self.step}"
            )
        for kind, names in table.covariate_names.items():
            if tuple(names) != getattr(self, kind):
                raise InputError(
                    f"{what} has the {kind} {shown(tuple(names))}, expected {shown(getattr(self, kind))}, which the "
                    "forecaster learned from"
                )
        length = newest_row(table.values) + 1
        if length < self.history_size:
            raise InputError(
                f"{what} has values of {length} dates, a forecast needs {self.history_size}; give a longer table"
            )
        return table.of_series([table.names.index(name) for name in self.names])

    def windows(self, table: SeriesTable, newest: int | None = None) -> SeriesWindows:
        """Cuts the windows of a table that the model forecasts.

        Args:
            table: in the order of the model.
            newest: the last row that is seen; by default the last with a value.

        Returns:
            The windows.
        """
        windows = windows_of(table, self.history_size, self.leads, newest)
        ends = np.asarray(windows.rows)[:, 0] - self.leads[0]
        if self.window_features is not None:
            sizes = {"history_size": self.history_size, "num_leads": self.leads[-1]}
            covariates = window_covariates(table, ends, **sizes, features=self.window_features)
            return windows._replace(covariates=jnp.asarray(covariates, windows.history.dtype))
        return with_slots(windows, table.calendar.slots(ends)) if self.sees_calendar else windows

    def forecast(self, table: SeriesTable, *, at: str | None = None, what: str = "the table") -> SeriesForecast:
        """Forecasts the series of a table from its newest date, or from any other.

        Args:
            table: with the series, steps and covariates that the model has learned from.
            at: the newest date that is seen; by default the last with a value. Later rows are not
                seen, but for covariates that are known beforehand.
            what: what to call the table in a message.

        Returns:
            The forecasts.

        Raises:
            InputError: for another table, a date that is not in it, missing covariates, a series
                without any value in the window, or a forecast that diverges.
        """
        table = self.arranged(table, what)
        origin = self._origin(table, at, what)
        self._check_covariates(table, origin, what)
        windows = self.windows(table, origin)
        newest = int(np.argmax(np.asarray(windows.rows)[:, 0] == origin + self.leads[0]))
        history, covariates = (None if a is None else a[newest] for a in (windows.history, windows.covariates))
        output = jax.jit(lambda forecaster, *args: forecaster(*args))(self.forecaster, history, covariates)
        quantiles = np.asarray(output.info["quantiles"])
        bad = np.argwhere(~np.isfinite(quantiles).all(-1))
        if len(bad):
            raise InputError(
                f"the forecast by {self.method} diverges at lead {self.leads[bad[0, 0]]} of series "
                f"'{shown(self.names[bad[0, 1]])}'; look at its newest values, or train another forecaster"
            )
        dates = tuple(table.date(origin + lead) for lead in self.leads)
        forecast = np.asarray(output.forecast)
        info = {name: np.asarray(array) for name, array in output.info.items() if name != "quantiles"}
        return SeriesForecast(self.names, table.date(origin), self.leads, dates, self.levels, forecast, quantiles, info)

    def _origin(self, table: SeriesTable, at: str | None, what: str) -> int:
        """The row of the newest date that is seen."""
        size, last = self.history_size, newest_row(table.values)
        date = None if at is None else parse_date(at, "at")
        origin = last if date is None else int(table.calendar.rows(date))
        if not size - 1 <= origin <= last or (date is not None and table.calendar.dates(origin) != date):
            raise InputError(
                f"at must be a date of {what} from {table.date(size - 1)}, before which there are {size} dates, to "
                f"{table.date(last)}, every {table.calendar.step}, got {at}"
            )
        seen = np.isfinite(table.values[origin + 1 - size : origin + 1]).any(0)
        if not seen.all():
            raise InputError(
                f"series {shown(repr(table.names[int(np.argmin(seen))]))} has no value in the {size} dates up to "
                f"{table.date(origin)}, which the forecast sees; give its values"
            )
        return origin

    def _check_covariates(self, table: SeriesTable, origin: int, what: str) -> None:
        steps: dict[str, Sequence[int]] = {"past_covariates": (0,), "future_covariates": self.leads}
        values = {"past_covariates": table.past_covariates, "future_covariates": table.future_covariates}
        names = {"past_covariates": self.past_covariates, "future_covariates": self.future_covariates}
        for kind, columns in values.items():
            for name, column in zip(names[kind], np.moveaxis(columns, -1, 0), strict=True):
                for row in (origin + step for step in steps[kind]):
                    if row >= len(column) or not np.isfinite(column[row]).all():
                        raise InputError(
                            f"the covariate {shown(repr(name))} has no value on {table.date(row)}, which the forecast "
                            f"needs; give it in {what}"
                        )
