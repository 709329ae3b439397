"""`jaxcast series forecast`: quantile forecasts of a saved forecaster, as a table and a picture."""

import csv
import dataclasses
from functools import partial
from pathlib import Path

import numpy as np

from jaxcast.cli.figures import figure_of
from jaxcast.cli.pool.pictures import MOST_COMPONENTS, some_of
from jaxcast.cli.series.output import Loaded, describe, load
from jaxcast.cli.series.weights import check_weights, draw_graph, write_weights
from jaxcast.errors import InputError, shown
from jaxcast.io.dates import parse_date
from jaxcast.io.files import save_figure, whole_file
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.io.ownership import SERIES_HEADER, refuse_replacing
from jaxcast.plotting.quantiles import plot_fan
from jaxcast.plotting.trajectories import HISTORY, label_of
from jaxcast.progress import announce
from jaxcast.series.model import SeriesForecast


@dataclasses.dataclass(frozen=True)
class ForecastSeries:
    """Forecast the series of a table from its newest date, or any other, with quantiles.

    Example: jaxcast series forecast --model model --data cases.csv --out forecasts.csv --plot
    forecast.png"""

    model: Path
    """Folder that `jaxcast series train` wrote."""
    data: Path
    """Table with the columns of the table that was trained on. Rows after the newest value may give
    future covariates."""
    out: Path
    """File (.csv) for the forecasts: series, origin_date, target_date, lead, quantile, value."""
    at: str | None = None
    """Newest date that the forecast sees; by default the last with a value."""
    plot: Path | None = None
    """Picture (.png) of history, median and central intervals."""
    plot_series: tuple[str, ...] = ()
    """Series to draw; by default the first six."""
    weights: Path | None = None
    """File (.npz) for what the forecast weighed: attention, gates and graphs of a network."""
    plot_graph: Path | None = None
    """Picture (.png) of the graph that a network was given or has learned."""
    coordinates: Path | None = None
    """Table (.csv) of the places of series, for a map: name, latitude, longitude, in degrees."""
    overwrite: bool = False
    """Replace the files of --out, --weights and the pictures, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        with Outputs(
            vars(self),
            {
                "--out": (self.out, (".csv",)),
                "--plot": (self.plot, PICTURE),
                "--weights": (self.weights, (".npz",)),
                "--plot-graph": (self.plot_graph, PICTURE),
            },
            inputs={"--model": self.model, "--data": self.data, "--coordinates": self.coordinates},
            overwrite=self.overwrite,
        ):
            self.forecast()

    def forecast(self) -> None:
        """Makes the forecast and writes it."""
        loaded = load(self.model, self.data)
        model, table = loaded
        unknown = [name for name in self.plot_series if name not in table.names]
        if unknown:
            raise InputError(
                f"unknown series {shown(repr(unknown[0]))} to plot; the table has {shown(', '.join(table.names[:10]))}"
            )
        found = model.forecast(table, at=self.at, what=str(shown(self.data)))
        for option, file in (("--weights", self.weights), ("--plot-graph", self.plot_graph)):
            if file is not None:
                check_weights(found, option, model.method)
        if self.plot_graph is not None:
            draw_graph(self.plot_graph, found, self.coordinates, model.method)
        if self.weights is not None:
            write_weights(self.weights, found)
        self.write(found)
        for line in describe(table, self.data):
            announce(line)
        announce(
            f"{self.out}: {len(found.names)} series from {found.origin}, {len(found.leads)} leads up to "
            f"{found.dates[-1]}, {len(found.levels)} quantiles, by {model.method}"
        )
        newest = parse_date(found.origin, "the forecast's date")
        if newest < parse_date(model.learned_until, "the model's last date"):
            announce("the forecaster has also learned from later dates")
        if self.plot is not None:
            self.draw(loaded, found, int(table.calendar.rows(newest)))

    def write(self, found: SeriesForecast) -> None:
        """Writes the tidy table."""
        check = partial(refuse_replacing, self.out, overwrite=self.overwrite)
        with whole_file(self.out, check) as growing, growing.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(SERIES_HEADER)
            for r, name in enumerate(found.names):
                for k, lead in enumerate(found.leads):
                    for q, level in enumerate(found.levels):
                        value = float(f"{found.quantiles[k, r, q]:.9g}")
                        rows.writerow([name, found.origin, found.dates[k], lead, level, value])

    def draw(self, loaded: Loaded, found: SeriesForecast, origin: int) -> None:
        """Draws each series: history, forecast, and later observed values if there are some."""
        table, leads, quantiles = loaded.table, found.leads, found.quantiles
        shown = self.plot_series or table.names[:MOST_COMPONENTS]
        figure = figure_of(height=1.9 * len(shown) + 0.8)
        axes = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
        first = max(0, origin + 1 - max(loaded.model.history_size, 4 * leads[-1]))
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
                np.asarray(found.levels),
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
        axes[0].set_title(f"Forecast from {found.origin} by {loaded.model.method}{left_out}", fontsize=10)
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
        save_figure(self.plot or Path(), figure)
