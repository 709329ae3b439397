"""`jaxcast series forecast`: quantile forecasts of a saved forecaster, as a table and a picture."""

import csv
import dataclasses
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from jaxcast.checks import check_seed
from jaxcast.cli.figures import figure_of
from jaxcast.cli.pool.pictures import MOST_COMPONENTS, some_of
from jaxcast.cli.series.output import Loaded, describe, load
from jaxcast.cli.series.weights import check_weights, draw_graph, write_weights
from jaxcast.errors import InputError, shown
from jaxcast.hierarchy.files import read_hierarchy
from jaxcast.hierarchy.structure import Hierarchy
from jaxcast.io.dates import parse_date
from jaxcast.io.files import save_figure, whole_file, write_arrays
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.io.ownership import SERIES_HEADER, refuse_replacing
from jaxcast.plotting.quantiles import plot_fan
from jaxcast.plotting.trajectories import HISTORY, label_of
from jaxcast.progress import announce
from jaxcast.series.files.graphs import read_coordinates
from jaxcast.series.model import SeriesForecast
from jaxcast.series.reconciled import reconcile_forecast, table_with_sums

Reconcile = Literal["bottom_up", "top_down", "ols", "structural", "variance", "mint"]


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
    """Table (.csv) of the places of series, for a map: name, latitude, longitude, in degrees. By
    default those of a file of sensors that has them."""
    reconcile: Reconcile | None = None
    """Make forecasts add up over a hierarchy: mint weighs them by their errors on the dates of
    --data and the correlations of these, variance by their errors, structural by the number of
    members, ols alike; bottom_up sums the smallest series, top_down shares out the total. By
    default mint where --hierarchy is given."""
    hierarchy: Path | None = None
    """Table (.csv) of which series are sums of which: child, parent; or series and columns of
    labels. By default that of `jaxcast series train --hierarchy`."""
    paths: Path | None = None
    """File (.npz) for the reconciled paths, (path, lead, series), each of which adds up, and their
    mean."""
    seed: int = 0
    """Random seed of the paths."""
    overwrite: bool = False
    """Replace the files of --out, --weights, --paths and the pictures, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        with Outputs(
            vars(self),
            {
                "--out": (self.out, (".csv",)),
                "--plot": (self.plot, PICTURE),
                "--weights": (self.weights, (".npz",)),
                "--plot-graph": (self.plot_graph, PICTURE),
                "--paths": (self.paths, (".npz",)),
            },
            inputs={
                "--model": self.model,
                "--data": self.data,
                "--coordinates": self.coordinates,
                "--hierarchy": self.hierarchy,
            },
            overwrite=self.overwrite,
        ):
            self.forecast()

    def forecast(self) -> None:
        """Makes the forecast and writes it."""
        loaded = load(self.model, self.data)
        model, what = loaded.model, str(shown(self.data))
        hierarchy = self.chosen_hierarchy(loaded)
        table = loaded.table if hierarchy is None else table_with_sums(loaded.table, hierarchy)
        unknown = [name for name in self.plot_series if name not in table.names]
        if unknown:
            raise InputError(
                f"unknown series {shown(repr(unknown[0]))} to plot; the table has {shown(', '.join(table.names[:10]))}"
                f"{', ...' if len(table.names) > 10 else ''}"
            )
        found = model.forecast(loaded.table, at=self.at, what=what)
        for option, file in (("--weights", self.weights), ("--plot-graph", self.plot_graph)):
            if file is not None:
                check_weights(found, option, model.method)
        if self.plot_graph is not None:
            places = loaded.places if self.coordinates is None else read_coordinates(self.coordinates, found.names)
            draw_graph(self.plot_graph, found, places, model.method)
        if self.weights is not None:
            write_weights(self.weights, found)
        if hierarchy is not None:
            found = reconcile_forecast(
                model,
                loaded.table,
                hierarchy=hierarchy,
                method=self.reconcile or "mint",
                at=self.at,
                seed=self.seed,
                what=what,
            )
            if self.paths is not None:
                names, leads = np.asarray(hierarchy.names), np.asarray(found.leads)
                write_arrays(self.paths, {"names": names, "leads": leads, **found.info})
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
            self.draw(Loaded(model, table), found, int(table.calendar.rows(newest)))

    def chosen_hierarchy(self, loaded: Loaded) -> Hierarchy | None:
        """Returns the hierarchy over which forecasts are to add up, None for none."""
        check_seed(self.seed)
        if self.hierarchy is not None:
            return read_hierarchy(self.hierarchy)
        if self.reconcile is not None and loaded.hierarchy is None:
            raise InputError("--reconcile needs --hierarchy, a table of which series are sums of which")
        if self.paths is not None and self.reconcile is None:
            raise InputError("--paths are those of reconciled forecasts; give --hierarchy or --reconcile, too")
        return None if self.reconcile is None else loaded.hierarchy

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
        shown = self.plot_series or found.names[:MOST_COMPONENTS]
        figure = figure_of(height=1.9 * len(shown) + 0.8)
        axes = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
        first = max(0, origin + 1 - max(loaded.model.history_size, 4 * leads[-1]))
        seen, later = (
            np.arange(first, origin + 1),
            np.arange(origin + 1, min(len(table.values), origin + 1 + leads[-1])),
        )
        for ax, name in zip(axes, shown, strict=True):
            values = table.values[:, table.names.index(name)]
            ax.plot(table.calendar.dates(seen), values[seen], color=HISTORY, lw=1.1, marker=".", ms=3, label="history")
            rows, fan = np.asarray([origin + lead for lead in leads]), quantiles[:, found.names.index(name)]
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
