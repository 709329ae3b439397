"""`jaxcast series train`: finds, fits and saves a forecaster of the series in a table."""

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated, Any

from rich import box
from rich.table import Table

from jaxcast.checks import check_leads, check_whole
from jaxcast.cli.arguments import Names
from jaxcast.cli.command import check_numbers, make_console
from jaxcast.cli.series.data import COVARIATES, Learnable, SensorOptions, SeriesGraph, learnable, read_data, read_graph
from jaxcast.cli.series.output import as_attribute, describe
from jaxcast.cli.series.refit import check_options, refit_folder
from jaxcast.distributions.heads import HeadName
from jaxcast.errors import InputError, shown
from jaxcast.hierarchy.files import read_hierarchy
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import announce
from jaxcast.pytrees import fingerprint
from jaxcast.saving.models import save_model
from jaxcast.series.files.graphs import read_adjacency
from jaxcast.series.files.regions import read_names
from jaxcast.series.files.sensors import SensorData
from jaxcast.series.fit import SeriesFit, search
from jaxcast.series.methods import OWN_METHODS, TrainableForecaster, check_head, check_methods, chosen_methods
from jaxcast.series.od.zones import zone_graph
from jaxcast.series.problem import SeriesProblem, series_problem
from jaxcast.series.reconciled import table_with_sums
from jaxcast.series.tables import SeriesTable, newest_row

NUM_EPOCHS = 200
GRAPH_FILES = ("adjacency", "distances", "coordinates")
NAMES = Names(OWN_METHODS, (TrainableForecaster,))


@dataclasses.dataclass(frozen=True)
class TrainSeries:
    """Train a forecaster of the series in a table, with quantiles.

    Methods learn from the first part of the dates. The method with the smallest error on the second
    part, the validation part, is chosen. All methods are scored on a last part, the test part, that
    plays no role in the choice; the chosen method is then refitted on all dates. Its quantiles are
    calibrated on both held-out parts. Missing values are reported and excluded from training.

    With --warm-start, a saved forecaster is refitted to a table that has grown: a network goes on
    from its weights for a few epochs, other methods are fitted anew. The old and the refitted
    forecaster are scored on the new dates before these are learned from.

    Example: jaxcast series train --data cases.csv --horizon 8 --out model
    """

    data: Path
    """Table of dated series: .csv, or .parquet (which needs the extra hub). Wide, a date and a
    column for each series; or long, with columns of date, series and value. Or values of sensors,
    such as PEMS08.npz or metr-la.h5; of a grid, .npz (time, row, column, channel), whose cells are
    the series; or trips, .npz with `od` (time, origin, destination), whose pairs are."""
    out: Path
    """Folder for the trained forecaster, its settings and scores."""
    warm_start: Path | None = None
    """Folder of a forecaster that `jaxcast series train` wrote, to refit to a longer --data. Its
    method, horizon and other options stay; the folder is not changed."""
    horizon: int = 4
    """Steps ahead to forecast: all leads from 1 to this."""
    leads: tuple[int, ...] = ()
    """Forecast certain leads only, in steps, instead of --horizon."""
    levels: tuple[float, ...] = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
    """Quantile levels."""
    history_size: int | None = None
    """Newest steps that a forecast sees; by default 20, or a tenth of the table where that is
    less."""
    season: int | None = None
    """Steps of a season, whose values one season before a target are seen too; 0 for none. By
    default a year of weeks, months or quarters, a week of days, or a day of hours, where the table
    has four of them."""
    method: Annotated[tuple[str, ...], NAMES] = ()
    """Methods to try: last_value, seasonal_last_value, history_mean, drift, historical_average,
    ridge, ridge_each_series, lasso, lasso_each_series, kernel_ridge, var, star; boosted_trees
    (needs scikit-learn); seasonal, which sees as many past days and weeks as --history-size holds;
    the networks independent_network, hierarchical_network, attention_network, global_network; the
    probabilistic ones deepar, seq2seq, mqrnn, tft, conv_trans, which all series share; on graphs
    stgcn, st_mgcn, d2stgnn, graph_wavenet, dcrnn; on a grid st_resnet, dmvst_net; of trips od_ced,
    geml, cstn, mrstn; or a TrainableForecaster of your own (see --import). By default last values
    and regressions; networks take minutes."""
    head: HeadName | None = None
    """What deepar, seq2seq, mqrnn, tft and conv_trans make: quantiles, or the parameters of a
    distribution, such as negative_binomial for counts. By default each network's own."""
    past_covariates: tuple[str, ...] = ()
    """Columns that are known up to the newest date, such as a temperature; of a .npz with an array
    weather (time, covariate), weather."""
    future_covariates: tuple[str, ...] = ()
    """Columns that are known in advance for the dates to forecast, such as holidays."""
    static_covariates: tuple[str, ...] = ()
    """Columns of a long table that are one number for each series, such as a population."""
    time: str | None = None
    """Column of the dates, if it is not called date, time or ds."""
    series: str | None = None
    """Column of the series' names in a long table, if it is not called series, region, location or
    unique_id."""
    value: str | None = None
    """Column of the values in a long table, if it is not called value, y or target."""
    business_days: bool | None = None
    """Whether daily steps skip weekends; by default they do if the table has no date on a
    weekend."""
    adjacency: Path | None = None
    """Table (.csv) of how close series are, with their names as header: each series then sees the
    mean of its neighbours. Or a matrix (.npy, or .csv without a header) in the order of the
    series. Of trips: which zones touch, for networks of trips."""
    distances: Path | None = None
    """Instead, a table (.csv) of distances between series: from, to, cost."""
    others: bool = False
    """Leave out lines of --distances that name other sensors than the data, as METR-LA's does."""
    coordinates: Path | None = None
    """Table (.csv) of the places of series: name, latitude, longitude, in degrees. They give the
    graph where there are no other weights."""
    nearest: int | None = None
    """Join each series to so many nearest ones, both ways, by --distances or places. By default all
    that are close are neighbours, weighted by a Gaussian kernel of the distance."""
    graph: tuple[str, ...] = ()
    """Names of graphs in a file of sensors that has several, which must have been built before the
    validation part begins. Networks on graphs see each of them, other methods their mean."""
    names: Path | None = None
    """Text file with the names of the sensors, in the order of the values, such as PEMS03.txt; by
    default those of the file, or 0, 1 and so on."""
    first_date: str | None = None
    """Date of the first row of a file of sensors that has no dates, such as PEMS08.npz, or a .csv
    without a column of dates."""
    minutes: float | None = None
    """Minutes between two rows of such a file."""
    feature: int = 0
    """Number of the feature to forecast where sensors have several, from 0."""
    missing: float | None = None
    """Number that stands for a missing value in a file of sensors, such as 0 in metr-la.h5."""
    hierarchy: Path | None = None
    """Table (.csv) of which series are sums of which: child, parent; or series and columns of
    labels. Sums that --data lacks are added to it, here and whenever the forecaster is used."""
    lower: float | None = None
    """Smallest value that a series can have, such as 0 for counts."""
    validation_share: float = 0.2
    """Share of the dates in the validation part, and as many in the test part."""
    hidden_size: int = 16
    """Hidden units of a network."""
    num_epochs: int | None = None
    """Maximum number of passes of a network over its windows; by default 200. With --warm-start the
    number of passes, by default 5."""
    seed: int = 0
    """Random seed of networks and of kernel ridge."""
    overwrite: bool = False
    """Start afresh if the folder holds a run with other settings."""

    def run(self) -> None:
        """Runs the command."""
        self.check()
        if self.warm_start is not None:
            check_options(self)
            refit_folder(self, self.warm_start)
            return
        console = make_console()
        columns: dict[str, Any] = {name: getattr(self, name) for name in ("time", "series", "value")}
        names = None if self.names is None else read_names(self.names)
        options = SensorOptions(self.first_date, self.minutes, self.feature, self.missing, names)
        options.check()
        covariates = {kind: getattr(self, kind) for kind in COVARIATES}
        table, sensors = read_data(self.data, columns | {"business_days": self.business_days}, covariates, options)
        hierarchy = None if self.hierarchy is None else read_hierarchy(self.hierarchy)
        if hierarchy is not None:
            table = table_with_sums(table, hierarchy)
        if sensors is None:
            options.refuse(self.data)
        table, graph, whole = self.learnable(table, sensors)
        check_methods(self.method or None, len(table.names))
        check_head(self.head, self.method)
        problem = self.problem(table, graph)._replace(whole=whole)
        methods = chosen_methods(self.method or None, problem)
        arrays = (table.values, table.past_covariates, table.future_covariates, table.static_covariates)
        folder = RunFolder.of(
            self,
            reads=("data", "hierarchy", "warm_start", "names", *GRAPH_FILES),
            facts={"table": fingerprint((*arrays, problem.graphs, None if whole is None else whole.adjacency))},
            outputs=("results.json", "pool.json", "arrays.npz"),
        )
        for line in (*describe(table, self.data), *(() if graph is None else graph.notes)):
            announce(line)
        with folder.leaving_nothing():
            fitted = search(methods, problem._replace(checkpoints=folder.path / "stages"))
        for method, reason in fitted.left_out.items():
            announce(f"{method} is left out: {reason}")
        business_days = table.calendar.weekdays and not table.calendar.months
        attributes = {"columns": columns | {"business_days": business_days}, "trained_on": str(self.data)}
        if hierarchy is not None:
            attributes["hierarchy"] = as_attribute(hierarchy)
        if sensors is not None:
            attributes["sensors"] = options._asdict()
        save_model(folder.path, fitted.model, attributes=attributes)
        folder.write_json("results.json", results_of(fitted, table))
        folder.remove_checkpoints()
        console.print(table_of(fitted))
        announce(
            f"{fitted.model.method} in {self.out}, trained on all dates; quantiles calibrated on the errors from "
            f"{fitted.validation_from} on"
        )

    def check(self) -> None:
        """Raises InputError for options that are wrong whatever the table holds."""
        check_numbers(self)
        check_whole("horizon", self.horizon)
        for name in ("num_epochs", "nearest"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        if self.leads:
            check_leads(self.leads)
        names = (*self.past_covariates, *self.future_covariates, *self.static_covariates)
        if len(set(names)) < len(names):
            raise InputError(f"name each column once among covariates, got {shown(', '.join(names))}")

    def learnable(self, table: SeriesTable, sensors: SensorData | None) -> Learnable:
        """Returns the series to learn from, and how they lie to each other."""
        files: dict[str, Any] = {name: getattr(self, name) for name in GRAPH_FILES}
        zones = () if sensors is None or sensors.layout is None else sensors.layout.zones
        adjacency = None
        if zones and self.adjacency is not None:  # is of zones, not of their pairs
            adjacency = zone_graph(read_adjacency(self.adjacency, zones), len(zones))
            files["adjacency"] = None
        graph = read_graph(table.names, sensors, graph=self.graph, others=self.others, nearest=self.nearest, **files)
        if sensors is None or self.hierarchy is not None:
            return Learnable(table, graph, None)
        length = newest_row(table.values) + 1
        end = max(length - 2 * int(self.validation_share * length), 1)
        return learnable(table, graph, sensors, end, adjacency)

    def problem(self, table: SeriesTable, graph: SeriesGraph | None = None) -> SeriesProblem:
        """Returns what is to be learned from a table."""
        if not self.leads and self.horizon >= len(table.values):
            raise InputError(
                f"horizon must be below the {len(table.values)} dates of {shown(self.data)}, got {self.horizon}"
            )
        return series_problem(
            table,
            leads=self.leads or tuple(range(1, self.horizon + 1)),
            history_size=self.history_size,
            season=self.season,
            levels=self.levels,
            adjacency=None if graph is None else graph.adjacency,
            lower=self.lower,
            validation_share=self.validation_share,
            hidden_size=self.hidden_size,
            num_epochs=NUM_EPOCHS if self.num_epochs is None else self.num_epochs,
            seed=self.seed,
            head=self.head,
        )


def results_of(fitted: SeriesFit, table: SeriesTable) -> dict[str, Any]:
    """Returns the scores as JSON values.

    Args:
        fitted: the result of the search.
        table: that was learned from.
    """
    return {
        "method": fitted.model.method,
        "rows": [
            {
                "method": one.method,
                "setting": one.setting,
                "validation_mae": one.validation_mae,
                "width_power": one.width_power,
            }
            | one.test.row()
            for one in fitted.scores
        ],
        "validation_from": fitted.validation_from,
        "test_from": fitted.test_from,
        "left_out": dict(fitted.left_out),
        "missing": list(table.missing),
    }


def table_of(fitted: SeriesFit) -> Table:
    """Returns a table with a row for each method, the best on the validation part first.

    Args:
        fitted: the result of the search.
    """
    covered = list(itertools.islice(fitted.scores[0].test.coverage, 3))
    table = Table(
        title=f"Errors on the validation part, from {fitted.validation_from}, which chooses, "
        f"and on the test part, from {fitted.test_from} to {fitted.model.learned_until}",
        caption="in standard deviations of each series; coverage of central intervals on the test part",
        box=box.SIMPLE,
    )
    heads = ("method", "validation MAE", "test MAE", "RMSE", "WIS", *(f"{float(name):.0%}" for name in covered))
    for head in heads:
        table.add_column(head, justify="left" if head == "method" else "right", no_wrap=True)
    for one in fitted.scores:
        test = one.test
        numbers = (one.validation_mae, test.mae, test.rmse, test.wis or 0.0)
        table.add_row(
            f"{one.method}, {one.setting}" if one.setting != one.method else one.method,
            *(f"{number:.3f}" for number in numbers),
            *(f"{test.coverage[name]:.1%}" for name in covered),
        )
    return table
