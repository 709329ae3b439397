"""`jaxcast series forecast` and `jaxcast series evaluate`: what a trained forecaster of series says, and how true it was."""

import csv
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich import box
from rich.table import Table

from jaxcast.checks import check_flag, check_leads, check_number, check_texts, check_whole
from jaxcast.cli.command import check_numbers, make_console
from jaxcast.cli.figures import figure_of
from jaxcast.cli.pool.pictures import MOST_COMPONENTS, some_of
from jaxcast.errors import InputError, shown
from jaxcast.io.dates import parse_date
from jaxcast.io.files import SERIES_HEADER, refuse_replacing, save_figure, whole_file
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.io.run_folder import RunFolder
from jaxcast.plotting.quantiles import plot_fan
from jaxcast.plotting.trajectories import HISTORY, label_of
from jaxcast.progress import announce
from jaxcast.pytrees import fingerprint
from jaxcast.saving.models import load_model
from jaxcast.series.baselines import LastValue
from jaxcast.series.calibration import CalibratedForecaster
from jaxcast.series.evaluation import intervals, scores
from jaxcast.series.fit import within
from jaxcast.series.problem import describe, samples_of
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.tables import SeriesTable, newest_row, read_series


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """What a folder holds, and a table with the same series."""

    forecaster: CalibratedForecaster
    about: dict[str, Any]
    table: SeriesTable

    @property
    def leads(self) -> tuple[int, ...]:
        return tuple(self.about["leads"])

    def samples(self, newest: int | None = None) -> SeriesWindows:
        return samples_of(self.table, self.about["history_size"], self.leads, newest)


def load(model: Path, data: Path) -> _Loaded:
    """A forecaster, and a table, whose series are in the forecaster's order.

    Raises:
        InputError: for a folder without one, or a table of other series, steps or columns.
    """
    stored = load_model(model)
    if not isinstance(stored.pool, CalibratedForecaster):
        raise InputError(
            f"{shown(model)} holds no forecaster of series; a pool of candidate models is for jaxcast pool"
        )
    about = stored.attributes
    try:
        _check_about(about, stored.pool)
    except InputError as error:
        raise InputError(f"{shown(model / 'pool.json')}, attributes: {error}; train and save it again") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{shown(model)} was not saved by `jaxcast series train`; load it in Python with jaxcast.load_model"
        ) from None
    names, columns, kinds = tuple(about["names"]), about["columns"], about["covariates"]
    size, step = about["history_size"], about["step"]
    table = read_series(data, **columns, **kinds)
    if set(table.names) != set(names):
        lacking, new = (
            [*map(repr, sorted(some)[:5])] for some in ({*names} - {*table.names}, {*table.names} - {*names})
        )
        parts = [f"{what} {', '.join(some)}" for what, some in (("it lacks", lacking), ("it also has", new)) if some]
        raise InputError(
            f"{shown(data)} has other series than the forecaster: {shown(' and '.join(parts))}; give those it was trained on"
        )
    if table.calendar.step != step:
        raise InputError(
            f"{shown(data)} has a date every {table.calendar.step}, the forecaster learned from one every {step}"
        )
    if newest_row(table.values) + 1 < size:
        raise InputError(
            f"{shown(data)} has values of {newest_row(table.values) + 1} dates, a forecast needs {size}; give a longer table"
        )
    order = [table.names.index(name) for name in names]
    table = table._replace(
        names=names, values=table.values[:, order], past_covariates=table.past_covariates[:, order], future_covariates=table.future_covariates[:, order],
        static_covariates=table.static_covariates[order],
    )  # fmt: skip
    return _Loaded(stored.pool, about, table)


def _check_about(about: dict[str, Any], forecaster: CalibratedForecaster) -> None:
    """Raises InputError, KeyError or TypeError for what `jaxcast series train` cannot have noted beside a forecaster."""
    check_texts("names", about["names"])
    check_leads(about["leads"])
    check_whole("history_size", about["history_size"])
    if forecaster.shifts.shape[:2] != (len(about["leads"]), len(about["names"])):
        raise InputError(f"expected leads and names for shifts of shape {forecaster.shifts.shape}")
    own = getattr(forecaster.forecaster, "leads", None)
    if own is not None and list(own) != list(about["leads"]):
        raise InputError(f"leads must be those of the forecaster, {own}, got {shown(about['leads'])}")
    columns, kinds = dict(about["columns"]), about["covariates"]
    check_flag("business_days", columns.pop("business_days"))
    if columns.keys() != {"time", "series", "value"} or kinds.keys() != {
        "past_covariates",
        "future_covariates",
        "static_covariates",
    }:
        raise KeyError
    check_texts("columns", [name for name in columns.values() if name is not None], least=0)
    check_texts("covariates", [name for kind in kinds.values() for name in kind], least=0)
    for name in ("step", "method", "learned_until"):
        check_texts(name, [about[name]])
    parse_date(about["learned_until"], "the model's last date")
    check_number("lowest", about["lowest"])
    if forecaster.lower is not None and forecaster.lower > about["lowest"]:
        raise InputError(f"lower, {forecaster.lower:g}, is above {about['lowest']:g}, which it has learned from")


@dataclasses.dataclass(frozen=True)
class ForecastSeries:
    """Forecast the series of a table from its newest date, or any other: quantiles for each lead, as a table and a picture.

    Example: jaxcast series forecast --model model --data cases.csv --out forecasts.csv --plot forecast.png
    """

    model: Path
    """Folder that `jaxcast series train` wrote."""
    data: Path
    """Table with the columns of the one that was trained on. Rows after the newest value may give what is known ahead."""
    out: Path
    """File (.csv) for the forecasts: series, origin_date, target_date, lead, quantile, value."""
    at: str | None = None
    """Newest date that the forecast sees; by default the last with a value."""
    plot: Path | None = None
    """Also draw history, median and central intervals into this .png."""
    plot_series: tuple[str, ...] = ()
    """Which series to draw; by default the first six."""
    overwrite: bool = False
    """Replace what --out and --plot name, if jaxcast wrote it."""

    def run(self) -> None:
        """Runs the command."""
        with Outputs(
            vars(self),
            {"--out": (self.out, (".csv",)), "--plot": (self.plot, PICTURE)},
            inputs={"--model": self.model, "--data": self.data},
            overwrite=self.overwrite,
        ):
            self.forecast()

    def forecast(self) -> None:
        """Makes the forecast and writes it."""
        loaded = load(self.model, self.data)
        table = loaded.table
        unknown = [name for name in self.plot_series if name not in table.names]
        if unknown:
            raise InputError(
                f"unknown series {shown(repr(unknown[0]))} to plot; the table has {shown(', '.join(table.names[:10]))}"
            )
        origin = self.origin(table, loaded.about["history_size"])
        quantiles = self.quantiles(loaded, origin)
        self.refuse_divergence(loaded, quantiles)
        self.write(loaded, origin, quantiles)
        for line in describe(table, self.data):
            announce(line)
        announce(
            f"{self.out}: {len(table.names)} series from {table.date(origin)}, {len(loaded.leads)} leads up to "
            f"{table.date(origin + loaded.leads[-1])}, {len(loaded.forecaster.levels)} quantiles, by {loaded.about['method']}"
        )
        if table.calendar.dates(origin) < parse_date(loaded.about["learned_until"], "the model's last date"):
            announce("what came after that date is part of what the forecaster has learned from")
        if self.plot is not None:
            self.draw(loaded, origin, quantiles)

    def origin(self, table: SeriesTable, history_size: int) -> int:
        """The row of the newest date that is seen."""
        last = newest_row(table.values)
        origin = last if self.at is None else int(table.calendar.rows(parse_date(self.at, "--at")))
        if not history_size - 1 <= origin <= last or (
            self.at is not None and table.calendar.dates(origin) != parse_date(self.at, "--at")
        ):
            raise InputError(
                f"--at must be a date of {shown(self.data)} from {table.date(history_size - 1)}, before which there are {history_size} dates, to "
                f"{table.date(last)}, every {table.calendar.step}, got {self.at}"
            )
        seen = np.isfinite(table.values[origin + 1 - history_size : origin + 1]).any(0)
        if not seen.all():
            raise InputError(
                f"series {shown(repr(table.names[int(np.argmin(seen))]))} has no value in the {history_size} dates up to {table.date(origin)}, "
                "which the forecast sees; give its values"
            )
        return origin

    def quantiles(self, loaded: _Loaded, origin: int) -> np.ndarray:
        """The forecast from one row, (lead, region, level); what comes after it is not seen."""
        table, leads = loaded.table, loaded.leads
        for kind, steps in (("past_covariates", (0,)), ("future_covariates", leads)):
            for name, column in zip(
                loaded.about["covariates"][kind], np.moveaxis(getattr(table, kind), -1, 0), strict=True
            ):
                for step in steps:
                    if origin + step >= len(column) or not np.isfinite(column[origin + step]).all():
                        raise InputError(
                            f"the covariate {shown(repr(name))} has no value on {table.date(origin + step)}, which the forecast needs; give "
                            f"it in {shown(self.data)}"
                        )
        samples = loaded.samples(origin)
        newest = int(np.argmax(np.asarray(samples.rows)[:, 0] == origin + leads[0]))
        history, covariates = (None if a is None else a[newest] for a in (samples.history, samples.covariates))
        return np.asarray(jax.jit(lambda f, *args: f(*args))(loaded.forecaster, history, covariates).info["quantiles"])

    def refuse_divergence(self, loaded: _Loaded, quantiles: np.ndarray) -> None:
        """Raises InputError for quantiles that are not finite, with the forecaster, the lead and the series."""
        bad = np.argwhere(~np.isfinite(quantiles).all(-1))
        if len(bad):
            lead, name = loaded.leads[bad[0, 0]], loaded.table.names[bad[0, 1]]
            raise InputError(
                f"the forecast by {loaded.about['method']} in {shown(self.model)} diverges at lead {lead} of series "
                f"'{shown(name)}'; look at its newest values, or train another forecaster"
            )

    def write(self, loaded: _Loaded, origin: int, quantiles: np.ndarray) -> None:
        """The tidy table."""
        dates = [loaded.table.date(origin + lead) for lead in loaded.leads]
        check = partial(refuse_replacing, self.out, overwrite=self.overwrite)
        with whole_file(self.out, check) as growing, growing.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(SERIES_HEADER)
            for r, name in enumerate(loaded.table.names):
                for k, lead in enumerate(loaded.leads):
                    for q, level in enumerate(loaded.forecaster.levels):
                        value = float(f"{quantiles[k, r, q]:.9g}")
                        rows.writerow([name, loaded.table.date(origin), dates[k], lead, level, value])

    def draw(self, loaded: _Loaded, origin: int, quantiles: np.ndarray) -> None:
        """Draws each series: its history, the forecast, and what was observed where the table goes on."""
        table, leads = loaded.table, loaded.leads
        shown = self.plot_series or table.names[:MOST_COMPONENTS]
        figure = figure_of(height=1.9 * len(shown) + 0.8)
        axes = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
        first = max(0, origin + 1 - max(loaded.about["history_size"], 4 * leads[-1]))
        seen, later = (
            np.arange(first, origin + 1),
            np.arange(origin + 1, min(len(table.values), origin + 1 + leads[-1])),
        )
        for ax, name in zip(axes, shown, strict=True):
            r = table.names.index(name)
            values = table.values[:, r]
            ax.plot(table.calendar.dates(seen), values[seen], color=HISTORY, lw=1.1, marker=".", ms=3, label="history")
            rows, fan = np.asarray([origin + lead for lead in leads]), quantiles[:, r]
            if np.isfinite(values[origin]):  # a fan opens from what was seen last
                rows, fan = np.append(origin, rows), np.concatenate([np.full_like(fan[:1], values[origin]), fan])
            came = (table.calendar.dates(later), values[later]) if np.isfinite(values[later]).any() else None
            plot_fan(
                ax,
                table.calendar.dates(rows),
                fan,
                np.asarray(loaded.forecaster.levels),
                truth=came,
            )
            ax.set_ylabel(label_of(name, 20))
            ax.get_legend().remove()
        axes[-1].set_xlabel("date" if np.issubdtype(table.calendar.dates(seen).dtype, np.datetime64) else "time")
        one_of_each = {
            label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
        }
        handles, labels = list(one_of_each.values()), list(one_of_each)
        left_out = (
            "" if self.plot_series else some_of(len(shown), len(table.names), "series; --plot-series names others")
        )
        axes[0].set_title(f"Forecast from {table.date(origin)} by {loaded.about['method']}{left_out}", fontsize=10)
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
        save_figure(self.plot or Path(), figure)


@dataclasses.dataclass(frozen=True)
class EvaluateSeries:
    """Forecast a table from each of its dates and score that, lead by lead, beside the last value. By default only what comes
    after the dates that the forecaster has learned from is scored.

    Example: jaxcast series evaluate --model model --data cases.csv --out scores
    """

    model: Path
    """Folder that `jaxcast series train` wrote."""
    data: Path
    """Table with the truth, and with the columns of the one that was trained on."""
    out: Path
    """Folder for results.json."""
    since: str | None = None
    """First target date to score; by default the first that the forecaster has not learned from."""
    overwrite: bool = False
    """Start afresh where the folder holds other results."""

    def run(self) -> None:
        """Runs the command."""
        check_numbers(self)
        loaded = load(self.model, self.data)
        table, levels = loaded.table, loaded.forecaster.levels
        learned = int(table.calendar.rows(parse_date(loaded.about["learned_until"], "the model's last date")))
        start = learned + 1 if self.since is None else int(table.calendar.rows(parse_date(self.since, "--since")))
        samples = within(loaded.samples(), start, newest_row(table.values) + 1)
        if not np.asarray(samples.weights).any():
            raise InputError(
                f"{shown(self.data)} has nothing to score from {table.date(start)} on, its last value is of "
                f"{table.date(newest_row(table.values))}; the forecaster learned until {loaded.about['learned_until']}, "
                "give newer data, or an earlier --since"
            )
        facts = {"table": fingerprint(table.values), "model": fingerprint(loaded.forecaster)}
        folder = RunFolder.of(self, reads=("model", "data"), facts=facts)
        output = jax.jit(lambda f, *args: f(*args))(loaded.forecaster, samples.history, samples.covariates)
        last = LastValue(loaded.leads)(samples.history).forecast[..., None]
        rows = []
        for method, forecast in (("last_value", last), (loaded.about["method"], output.info["quantiles"])):
            for k, lead in enumerate(loaded.leads):
                of_lead = samples._replace(weights=samples.weights[:, [k]], targets=samples.targets[:, [k]])
                found = scores(forecast[:, [k]], of_lead, levels, np.ones(len(table.names)))
                rows.append({"method": method, "horizon": lead, **found})
        folder.write_json(
            "results.json", {"rows": rows, "since": table.date(start), "learned_until": table.date(learned)}
        )
        console = make_console()
        console.print(score_table(rows, levels, table.date(start), table.date(newest_row(table.values))))
        if start <= learned:
            console.print(
                f"the forecaster has learned from the dates until {table.date(learned)}: those scores are better than of new data",
                highlight=False,
                soft_wrap=True,
            )


def score_table(rows: list[dict[str, Any]], levels: tuple[float, ...], first: str, last: str) -> Table:
    """A row for each method and lead."""
    covered = [f"{nominal:g}" for _, _, nominal in intervals(levels)][:3]
    table = Table(title=f"Errors from {first} to {last}, in the unit of the series", box=box.SIMPLE)
    for head in ("method", "lead", "RMSE", "MAE", "pinball", *(f"{float(name):.0%}" for name in covered), "values"):
        table.add_column(head, justify="left" if head == "method" else "right", no_wrap=True)
    for row in rows:
        shares = [f"{row['coverage'][name]:.1%}" if "coverage" in row else "" for name in covered]
        pinball = f"{row['pinball']:.4g}" if "pinball" in row else ""
        table.add_row(
            row["method"], str(row["horizon"]), f"{row['rmse']:.4g}", f"{row['mae']:.4g}", pinball, *shares,
            str(row["num_values"]),
        )  # fmt: skip
    return table
