"""`jaxcast series train`: a forecaster of the series in a table, chosen and calibrated by what was held out."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from jaxcast.checks import check_seed
from jaxcast.cli.command import check_numbers, make_console
from jaxcast.errors import InputError, shown
from jaxcast.io.run_folder import RunFolder
from jaxcast.limits import check_arrays
from jaxcast.progress import announce
from jaxcast.pytrees import fingerprint
from jaxcast.saving.models import save_model
from jaxcast.scores.quantiles import check_levels
from jaxcast.series.fit import Method, Problem, Trained, train_series
from jaxcast.series.problem import LEAST_SAMPLES, SEASONS, check_held_out, check_series, describe, samples_of
from jaxcast.series.tables import SeriesTable, newest_row, read_adjacency, read_series

DEFAULT = ("last_value", "seasonal_last_value", "ridge", "ridge_each_series", "kernel_ridge")


@dataclasses.dataclass(frozen=True)
class TrainSeries:
    """Train a forecaster of the series in a table, with quantiles. Several methods learn from the first dates; the one that
    forecasts the next ones best, which it has not seen, is taken, and scored on the last ones beside the others. Then it learns
    from all. Quantiles are set right by its errors on both held-out parts. Missing values are told, and not learned from.

    Example: jaxcast series train --data cases.csv --horizon 8 --out model
    """

    data: Path
    """Table of dated series: .csv, or .parquet (which needs the extra hub). Wide, a date and a column for each series; or
    long, with columns of date, series and value."""
    out: Path
    """Folder for the trained forecaster, its settings and scores."""
    horizon: int = 4
    """Steps ahead to forecast: all leads from 1 to this."""
    leads: tuple[int, ...] = ()
    """Instead of --horizon: certain leads only, in steps."""
    levels: tuple[float, ...] = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
    """Quantile levels."""
    history_size: int | None = None
    """Newest steps that a forecast sees; by default 20, or a tenth of the table where that is less."""
    season: int | None = None
    """Steps of a season, whose values one season before a target are seen too; 0 for none. By default a year of weeks, months
    or quarters, a week of days, a day of hours, where the table has four of them."""
    method: tuple[Method, ...] = ()
    """Which methods to try; by default the naive last_value and seasonal_last_value, and those of closed form: ridge regression
    on lags, for all series together or each, and kernel ridge. Networks, by name, take minutes."""
    past_covariates: tuple[str, ...] = ()
    """Columns that are known up to the newest date, such as a temperature."""
    future_covariates: tuple[str, ...] = ()
    """Columns that are known beforehand of the dates to forecast, such as holidays."""
    static_covariates: tuple[str, ...] = ()
    """Columns of a long table that are one number for each series, such as a population."""
    time: str | None = None
    """Column of the dates, where it is not called date, time or ds."""
    series: str | None = None
    """Column of the series' names in a long table, where it is not called series, region, location or unique_id."""
    value: str | None = None
    """Column of the values in a long table, where it is not called value, y or target."""
    business_days: bool | None = None
    """Whether steps of a day leave weekends out; by default where the table has no date on a weekend."""
    adjacency: Path | None = None
    """Table (.csv) of how close series are, with their names as header: each then sees the mean of its neighbours."""
    lower: float | None = None
    """The least value that a series can have, such as 0 for counts."""
    held_out: float = 0.2
    """Share of the dates in each of the two held-out parts."""
    hidden_size: int = 16
    """Hidden units of a network."""
    num_epochs: int = 200
    """Passes of a network over its samples, at most."""
    seed: int = 0
    """Of a network's initial parameters and shuffling, and of kernel ridge."""
    overwrite: bool = False
    """Start afresh where the folder holds a run with other settings."""

    def run(self) -> None:
        """Runs the command."""
        console = make_console()
        self.check()
        columns: dict[str, Any] = {name: getattr(self, name) for name in ("time", "series", "value")}
        kinds: dict[str, Any] = {
            "past_covariates": self.past_covariates,
            "future_covariates": self.future_covariates,
            "static_covariates": self.static_covariates,
        }
        table = read_series(self.data, **columns, **kinds, business_days=self.business_days)
        methods = self.methods(len(table.names))
        problem, history_size = self.problem(table)
        covariates = (table.past_covariates, table.future_covariates, table.static_covariates)
        check_held_out(problem)
        folder = RunFolder.of(
            self,
            reads=("data", "adjacency"),
            facts={"table": fingerprint((table.values, *covariates, problem.adjacency))},
            outputs=("results.json", "pool.json", "arrays.npz"),
        )
        for line in describe(table, self.data):
            announce(line)
        methods = methods or tuple(name for name in DEFAULT if problem.season or not name.startswith("seasonal"))
        trained = train_series(methods, problem)
        last = newest_row(table.values)
        attributes = {
            "names": list(table.names),
            "step": table.calendar.step,
            "leads": list(problem.leads),
            "history_size": history_size,
            "columns": columns | {"business_days": table.calendar.weekdays and not table.calendar.months},
            "covariates": {kind: list(names) for kind, names in kinds.items()},
            "learned_until": table.date(last),
            "lowest": float(np.nanmin(table.values)),
            "method": trained.method,
            "trained_on": str(self.data),
        }
        save_model(folder.path, trained.model, attributes=attributes)
        held_out = {name: table.date(row) for name, row in zip(("first", "second"), problem.bounds[:2], strict=True)}
        folder.write_json(
            "results.json",
            {"method": trained.method, "rows": trained.rows, "held_out_from": held_out, "missing": list(table.missing)},
        )
        console.print(table_of(trained, held_out, table.date(last)))
        announce(
            f"{trained.method} in {self.out}, trained on all dates; quantiles by its errors from {held_out['first']} on"
        )

    def methods(self, num_series: int) -> tuple[str, ...]:
        """The methods that were asked for; refuses those whose matrices of all series by all do not fit into memory."""
        if not self.method or {"ridge", "ridge_each_series", "kernel_ridge"} & {*self.method}:
            what = f"regressions of {num_series} series, which see the mean of all or neighbours (not so --method last_value)"
            check_arrays(what, (3, num_series, 2, num_series))
        return self.method

    def check(self) -> None:
        """Raises InputError for what needs no table to be seen."""
        check_numbers(self)
        check_levels(self.levels)
        for name in ("horizon", "hidden_size", "num_epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.leads and (min(self.leads) < 1 or sorted(set(self.leads)) != list(self.leads)):
            raise InputError(f"leads must rise and be at least 1, got {self.leads}")
        if self.history_size is not None and self.history_size < 1:
            raise InputError(f"history_size must be at least 1, got {self.history_size}")
        if self.season is not None and (self.season < 0 or self.season == 1):
            raise InputError(f"season must be at least 2 steps, or 0 for none, got {self.season}")
        names = (*self.past_covariates, *self.future_covariates, *self.static_covariates)
        if len(set(names)) < len(names):
            raise InputError(f"name each column once among covariates, got {shown(', '.join(names))}")
        if not 0 < self.held_out < 0.5:
            raise InputError(f"held_out must be above 0 and below 0.5, got {self.held_out}")
        check_seed(self.seed)
        if len(set(self.method)) < len(self.method):
            raise InputError(f"name each method once, got {shown(', '.join(self.method))}")

    def problem(self, table: SeriesTable) -> tuple[Problem, int]:
        """What is to be learned, and how many steps a forecast sees."""
        length = newest_row(table.values) + 1
        if not self.leads and self.horizon >= len(table.values):
            raise InputError(
                f"horizon must be below the {len(table.values)} dates of {shown(self.data)}, got {self.horizon}"
            )
        leads = self.leads or tuple(range(1, self.horizon + 1))
        season = self.season
        if season is None:
            usual = SEASONS.get(table.calendar.step, 0)
            season = usual if length >= 4 * usual else 0
        if "seasonal_last_value" in self.method and not season:
            raise InputError("seasonal_last_value needs a --season")
        history_size = self.history_size or max(2, min(20, length // 10))
        size = max(history_size, season + 1 if season else 0)
        held_out = int(self.held_out * length)
        bounds = (length - 2 * held_out, length - held_out, length)
        needed = size + max(leads) + LEAST_SAMPLES - 1
        if held_out < 2:
            raise InputError(
                f"a held-out part must have at least 2 dates, {self.held_out:g} of the {length} of {shown(self.data)} has {held_out}; "
                "give a larger --held-out"
            )
        if bounds[0] < needed:
            raise InputError(
                f"a horizon of {max(leads)} steps with {size} steps before it needs at least {needed} dates to learn from, got "
                f"{bounds[0]} of the {length} of {shown(self.data)} before the two held-out parts; ask for a shorter --horizon, "
                "--history-size or --season, or give a longer table"
            )
        check_series(table, bounds[0])
        if self.lower is not None and np.nanmin(table.values) < self.lower:
            raise InputError(
                f"{shown(self.data)} holds {np.nanmin(table.values):g}, which is below --lower {self.lower:g}; give a lower one"
            )
        of_season = {season - lead + k for lead in leads for k in (-1, 0, 1)} if season else set()
        lags = tuple(sorted({*range(history_size), *(lag for lag in of_season if 0 <= lag < size)}))
        adjacency = None if self.adjacency is None else read_adjacency(self.adjacency, table.names)
        samples = samples_of(table, size, leads)
        if not np.asarray(samples.weights)[np.asarray(samples.rows)[:, 0] < bounds[0]].any():
            raise InputError("no date has all covariates; leave one out, or give more of their values")
        return Problem(
            samples, bounds, leads, lags, self.levels, season, adjacency, self.lower, self.hidden_size, self.num_epochs,
            self.seed,
        ), size  # fmt: skip


def table_of(trained: Trained, held_out: dict[str, str], last: str) -> Table:
    """A row for each method, best first."""
    covered = list(itertools.islice(trained.rows[0]["coverage"], 3))
    table = Table(
        title=f"Errors on what was held out, from {held_out['first']} (chooses) and from {held_out['second']} to {last} (scores)",
        caption="errors in standard deviations of each series; coverage: of central intervals, on the second part",
        box=box.SIMPLE,
    )
    heads = ("method", "chooses: MAE", "scores: MAE", "RMSE", "pinball", *(f"{float(name):.0%}" for name in covered))
    for head in heads:
        table.add_column(head, justify="left" if head == "method" else "right", no_wrap=True)
    for row in trained.rows:
        numbers = (row[name] for name in ("validation_mae", "mae", "rmse", "pinball"))
        shares = (f"{row['coverage'][name]:.1%}" for name in covered)
        table.add_row(
            f"{row['method']}, {row['setting']}" if row["setting"] != row["method"] else row["method"],
            *(f"{number:.3f}" for number in numbers),
            *shares,
        )
    return table
