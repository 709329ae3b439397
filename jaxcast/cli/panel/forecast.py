"""`jaxcast panel forecast`: quantile forecasts of all series of a panel, as a table and a picture."""

import csv
import dataclasses
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.checks import check_seed, check_whole
from jaxcast.cli.figures import figure_of
from jaxcast.cli.panel.data import StoredPanelModel, columns_for, describe, load, read_data
from jaxcast.cli.pool.pictures import MOST_COMPONENTS, some_of
from jaxcast.errors import InputError, shown
from jaxcast.io.dates import parse_date
from jaxcast.io.files import save_figure, whole_file, write_arrays
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.io.ownership import SERIES_HEADER, refuse_replacing
from jaxcast.limits import check_arrays
from jaxcast.plotting.quantiles import plot_fan
from jaxcast.plotting.trajectories import HISTORY, label_of
from jaxcast.progress import announce
from jaxcast.series.panel_models.model import PanelForecast, PanelModel
from jaxcast.series.panel_models.preparation import SERIES
from jaxcast.series.panel_models.regression import PanelRegression
from jaxcast.series.panels.panel import SeriesPanel


@dataclasses.dataclass(frozen=True)
class ForecastPanel:
    """Forecast all series of a panel, also new ones, each from its own newest value.

    Example: jaxcast panel forecast --model model --data sales.parquet --out forecasts.csv --plot
    forecast.png"""

    model: Path
    """Folder that `jaxcast panel train` wrote."""
    data: Path
    """Data with the columns that were trained on. Rows after the newest value of a series may give
    future covariates."""
    out: Path
    """File (.csv) for the forecasts: series, origin_date, target_date, lead, quantile, value."""
    at: str | None = None
    """Newest date that forecasts see, or newest step where there are no dates; by default the last
    value of each series. Series that begin later are left out."""
    paths: Path | None = None
    """File (.npz) for sampled paths, (path, series, lead), of a network."""
    num_paths: int = 100
    """How many paths of each series."""
    seed: int = 0
    """Random seed of the paths."""
    plot: Path | None = None
    """Picture (.png) of history, median and central intervals."""
    plot_series: tuple[str, ...] = ()
    """Series to draw; by default the first six."""
    stream: bool = False
    """Keep the values of a .parquet on disk, for tables that memory does not hold."""
    overwrite: bool = False
    """Replace the files of --out, --paths and --plot, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        check_whole("num_paths", self.num_paths)
        check_seed(self.seed)
        with Outputs(
            vars(self),
            {"--out": (self.out, (".csv",)), "--paths": (self.paths, (".npz",)), "--plot": (self.plot, PICTURE)},
            inputs={"--model": self.model, "--data": self.data},
            overwrite=self.overwrite,
        ):
            self.forecast()

    def forecast(self) -> None:
        """Makes the forecasts and writes them."""
        stored = load(self.model)
        if self.paths is not None and isinstance(stored.model, PanelRegression):
            raise InputError("--paths are drawn by networks, and the model is a regression; leave --paths out")
        panel = read_data(self.data, columns_for(self.data, stored), stored.covariates(), stream=self.stream)
        self.check_panel(stored, panel)
        lines = [*describe(panel, self.data), *unseen(stored, panel)]
        panel, newest = self.origins(panel)
        found = self.forecast_of(stored, panel, newest)
        if self.paths is not None:
            leads = np.arange(1, stored.num_leads + 1)
            arrays = {"names": np.asarray(found.names), "leads": leads, "dates": found.dates, "paths": found.paths}
            write_arrays(self.paths, arrays)
        self.write(panel, found)
        for line in lines:
            announce(line)
        announce(
            f"{self.out}: {len(found.names)} series, {stored.num_leads} leads, {len(found.levels)} quantiles, by "
            f"{stored.method}"
        )
        if self.plot is not None:
            self.draw(stored, panel, found)

    def check_panel(self, stored: StoredPanelModel, panel: SeriesPanel) -> None:
        """Raises InputError for data of other steps, or without a series to plot."""
        step = "" if panel.calendar is None else panel.calendar.step
        if step != stored.step:
            raise InputError(
                f"{shown(self.data)} has {f'a date every {step}' if step else 'no dates'}, the model learned from "
                f"{f'a date every {stored.step}' if stored.step else 'steps without dates'}"
            )
        unknown = [name for name in self.plot_series if name not in panel.names]
        if unknown:
            raise InputError(
                f"unknown series {shown(repr(unknown[0]))} to plot; the data have {shown(', '.join(panel.names[:10]))}"
                f"{', ...' if len(panel.names) > 10 else ''}"
            )

    def origins(self, panel: SeriesPanel) -> tuple[SeriesPanel, np.ndarray]:
        """Returns the series to forecast, and the newest step that is seen of each."""
        if self.at is None:
            return panel, panel.newest
        if panel.calendar is not None:
            row = int(panel.calendar.rows(parse_date(self.at, "--at")))
        elif self.at.isdecimal():
            row = int(self.at)
        else:
            raise InputError(f"--at must be the number of a step, as the data have no dates, got {shown(self.at)}")
        newest = np.minimum(row - panel.starts, panel.newest)
        has_begun = newest >= 0
        if not has_begun.any():
            raise InputError(f"every series begins after --at {shown(self.at)}; give a later one")
        if not has_begun.all():
            announce(f"note: {int((~has_begun).sum())} series left out, which begin after {self.at}")
        unplotted = {*self.plot_series} - {panel.names[k] for k in np.flatnonzero(has_begun)}
        if unplotted:
            raise InputError(f"series {shown(repr(min(unplotted)))} of --plot-series begins after --at {self.at}")
        return panel.select(np.flatnonzero(has_begun)), newest[has_begun]

    def forecast_of(self, stored: StoredPanelModel, panel: SeriesPanel, newest: np.ndarray) -> PanelForecast:
        """Returns the forecasts of a panel."""
        if isinstance(stored.model, PanelRegression):
            return stored.model.forecast(panel, newest=newest)
        num_paths = 0 if self.paths is None else self.num_paths
        check_arrays(f"{num_paths} paths of {len(panel.names)} series", (num_paths, len(panel.names), stored.num_leads))
        return stored.model.forecast(
            panel, newest=newest, num_paths=num_paths, seed=self.seed, what=str(shown(self.data))
        )

    def write(self, panel: SeriesPanel, found: PanelForecast) -> None:
        """Writes the tidy table."""
        check = partial(refuse_replacing, self.out, overwrite=self.overwrite)

        @cache
        def text(row: int) -> str:
            return str(row) if panel.calendar is None else panel.calendar.text(panel.calendar.dates(np.asarray(row)))

        with whole_file(self.out, check) as growing, growing.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(SERIES_HEADER)
            for number, name in enumerate(found.names):
                origin = int(panel.starts[number] + found.newest[number])
                for k, quantiles in enumerate(found.quantiles[number].tolist()):
                    first = (name, text(origin), text(origin + k + 1), k + 1)
                    pairs = zip(found.levels, quantiles, strict=True)
                    rows.writerows((*first, level, float(f"{value:.9g}")) for level, value in pairs)

    def draw(self, stored: StoredPanelModel, panel: SeriesPanel, found: PanelForecast) -> None:
        """Draws each series: history, forecast, and later observed values if there are some."""
        names = self.plot_series or found.names[:MOST_COMPONENTS]
        figure = figure_of(height=1.9 * len(names) + 0.8)
        axes = np.atleast_1d(figure.subplots(len(names), 1))
        for ax, name in zip(axes, names, strict=True):
            self.draw_one(ax, stored, panel, found, found.names.index(name))
        handles: dict[str, Any] = {}
        for ax in axes:
            handles |= {label: handle for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
            ax.get_legend().remove()
        axes[-1].set_xlabel("step" if panel.calendar is None else "date")
        left_out = some_of(len(names), len(found.names), "series; --plot-series names others")
        axes[0].set_title(f"Forecasts by {stored.method}{'' if self.plot_series else left_out}", fontsize=10)
        figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles), frameon=False)
        save_figure(self.plot or Path(), figure)

    def draw_one(
        self, ax: Any, stored: StoredPanelModel, panel: SeriesPanel, found: PanelForecast, number: int
    ) -> None:
        """Draws one series."""
        values, newest = panel.of(found.names[number]), int(found.newest[number])
        seen = np.arange(max(0, newest + 1 - 4 * stored.num_leads), newest + 1)
        later = np.arange(newest + 1, min(len(values), newest + 1 + stored.num_leads))
        start = int(panel.starts[number])

        def dates(steps: np.ndarray) -> np.ndarray:
            rows = start + steps
            return rows if panel.calendar is None else np.asarray(panel.calendar.dates(rows))

        ax.plot(dates(seen), values[seen], color=HISTORY, lw=1.1, marker=".", ms=3, label="history")
        steps, fan = newest + np.arange(1, stored.num_leads + 1), found.quantiles[number]
        if np.isfinite(values[newest]):  # a fan opens from what was seen last
            steps, fan = np.append(newest, steps), np.concatenate([np.full_like(fan[:1], values[newest]), fan])
        came = (dates(later), values[later]) if np.isfinite(values[later]).any() else None
        plot_fan(ax, dates(steps), fan, np.asarray(found.levels), truth=came)
        ax.set_ylabel(label_of(found.names[number], 20))


def unseen(stored: StoredPanelModel, panel: SeriesPanel) -> list[str]:
    """Returns lines about values of categories that training has not seen.

    Args:
        stored: the model.
        panel: to forecast.
    """
    if not isinstance(stored.model, PanelModel):
        return []
    lines = []
    for name, known in zip(stored.model.category_names, stored.model.category_values, strict=True):
        if name != SERIES and name in panel.category_names:
            new = sorted({*panel.category_values[panel.category_names.index(name)]} - {*known})
            if new:
                values = f"{shown(name)} {shown(', '.join(new))}"
                lines.append(f"note: training has not seen {values}; the mean of the others stands in")
    return lines
