"""`jaxcast panel train`: trains one model for many series of unequal length."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from jaxcast.checks import check_number, check_seed, check_whole
from jaxcast.cli.command import check_numbers, make_console
from jaxcast.cli.panel.data import COLUMNS, StoredPanelModel, columns_for, describe, has_learned_from, load, read_data
from jaxcast.cli.panel.judging import NAIVE, ScoredWindows, scored_windows, scores_of, seasonal_naive, table_of
from jaxcast.cli.panel.methods import NAMES, REGRESSION, network_of, quantiles_of
from jaxcast.distributions.heads import HeadName
from jaxcast.errors import InputError, shown
from jaxcast.io.reading import read_json
from jaxcast.io.run_folder import RunFolder
from jaxcast.numerics.levels import check_levels
from jaxcast.progress import announce, note, phase
from jaxcast.pytrees import fingerprint
from jaxcast.saving.models import save_model
from jaxcast.series.panel_models.fit import fit_panel_network
from jaxcast.series.panel_models.model import KINDS, PanelModel
from jaxcast.series.panel_models.network_settings import PANEL_NETWORKS, NetworkSettings, network_settings
from jaxcast.series.panel_models.regression import fit_panel_regression
from jaxcast.series.panel_models.start import begun
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.time_features import default_seasons
from jaxcast.training.optimizers import make_optimizer

LEVELS = (0.025, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.975)
NUM_EPOCHS, NUM_EPOCHS_MORE = 100, 10
OF_MODEL = (
    "horizon", "method", "season", "history_size", "levels", "head", "hidden_size", "lower", "business_days", *COLUMNS,
    *KINDS, "categories",
)  # fmt: skip
"""Options that the model of --start-from has decided."""
COVARIATES = (*KINDS, "categories")
OUTPUTS = ("results.json", "pool.json", "arrays.npz")


class Trained(NamedTuple):
    """A method that has learned.

    Args:
        model: that was trained.
        losses: of training, (seed, epoch); () of a regression.
        validation_losses: the same, of the windows that stop it.
    """

    model: Any
    losses: Any = ()
    validation_losses: Any = ()


@dataclasses.dataclass(frozen=True)
class TrainPanel:
    """Train one model for many series of unequal length, with quantiles.

    All series share the model, which also forecasts series that it has not seen. The last windows
    of every series judge: each method learns from what comes before, is scored on them beside the
    seasonal naive, and the one with the lowest wQL is kept. The windows before them stop the
    training of a network and calibrate its quantiles. The method that is kept is then trained on
    all values.

    An interrupted training goes on where it stopped when the same command runs again. With
    --start-from, training goes on from the weights of a saved network, with newer values or others.

    Example: jaxcast panel train --data sales.parquet --horizon 28 --method regression deepar --out
    model
    """

    data: Path
    """A long table, with columns of date, series and value (.csv, .parquet, or a folder of
    .parquet); a wide one, with a column for each series; or an .npz with arrays train, length and
    series. Dates may be whole numbers, which count steps."""
    out: Path
    """Folder for the model, its settings and scores."""
    horizon: int | None = None
    """Steps ahead to forecast: all leads from 1 to this. Needed unless there is
    --start-from."""
    method: Annotated[tuple[str, ...], NAMES] = (REGRESSION,)
    """Methods to compare: regression, of each series on its own past, drawn to one that all share,
    which takes seconds (of thousands of series a minute); or the networks deepar, seq2seq, mqrnn,
    tft, conv_trans, which take minutes and see covariates; or a PanelNetwork of your own (see
    --import)."""
    season: tuple[int, ...] = ()
    """Steps of the seasons, rising, such as 24 168 for hours; 0 for none. By default those that are
    usual for the dates, such as a week of days."""
    history_size: int | None = None
    """Steps that a network sees. By default two horizons or a season, if that is longer; for deepar
    a horizon after its longest lag."""
    levels: tuple[float, ...] = LEVELS
    """Quantile levels."""
    head: HeadName | None = None
    """What the outputs of a network are: quantiles, or the parameters of a distribution, such as
    negative_binomial for counts. By default each network's own."""
    past_covariates: tuple[str, ...] = ()
    """Columns that are known up to the newest date, such as a temperature."""
    future_covariates: tuple[str, ...] = ()
    """Columns that are known in advance, such as a price; the dates to forecast need them."""
    static_covariates: tuple[str, ...] = ()
    """Columns of one number for each series, such as the size of a shop."""
    categories: tuple[str, ...] = ()
    """Columns of one text for each series, such as its kind; each has a learned vector."""
    time: str | None = None
    """Column of the dates, if it is not called date, time or ds."""
    series: str | None = None
    """Column of the series' names, if it is not called series, region, location or unique_id."""
    value: str | None = None
    """Column of the values, if it is not called value, y or target."""
    business_days: bool | None = None
    """Whether daily steps skip weekends; by default they do if the table has no date on a
    weekend."""
    stream: bool = False
    """Keep the values of a .parquet on disk, in temporary files, for tables that memory does not
    hold."""
    lower: float | None = None
    """Smallest value that a series can have, such as 0."""
    hidden_size: int | None = None
    """Hidden units of a network; by default each network's own."""
    num_epochs: int | None = None
    """Most epochs of a network: by default 100, with --start-from 10. It stops after 10 without
    progress."""
    num_batches: int = 50
    """Minibatches of an epoch, whose windows are drawn anew."""
    batch_size: int = 32
    """Windows of a minibatch."""
    learning_rate: float = 1e-3
    """Learning rate of Adam."""
    validation_windows: int | None = None
    """Windows of each series that stop and calibrate a network; by default three, or more of few
    series."""
    test_windows: int = 1
    """Windows of each series that judge, the last ones."""
    refit: bool = True
    """Train the method that is kept once more, with the windows that judged. --no-refit halves the
    time."""
    seed: int = 0
    """Random seed of networks."""
    num_seeds: int = 1
    """Networks to train, from seeds that follow each other; the best is kept."""
    start_from: Path | None = None
    """Folder of a network that `jaxcast panel train` wrote, to train on from its weights. Its
    method, horizon and columns stay; the folder is not changed."""
    overwrite: bool = False
    """Start afresh if the folder holds a run with other settings."""

    def run(self) -> None:
        """Runs the command."""
        self.check()
        old = None if self.start_from is None else self.old_model(self.start_from)
        panel = self.read(old)
        seasons = self.seasons(panel)
        plan = self.plan(panel, seasons, old)
        horizon = self.horizon if old is None else old.num_leads
        season = (seasons[0] if seasons else 1) if old is None else old.season
        levels = check_levels(self.levels) if old is None else old.model.levels
        seen = [one.history_size for one in plan.values() if one is not None]
        scored = scored_windows(
            panel,
            int(horizon or 0),
            self.test_windows,
            seen=min([*seen, season if season > 1 else 7, 7, max(1, int(np.median(panel.lengths)) // 2)]),
            season=season,
            levels=levels,
        )
        self.check_networks(plan, panel, scored)
        folder = self.folder(panel, old)
        for line in describe(panel, self.data):
            announce(line)
        if panel.calendar is None and not self.season and old is None:
            note("the data have no dates; --season tells of seasons, such as --season 24 168 for hours")
        if not self.is_finished(folder):
            with folder.leaving_nothing():
                self.train(folder, panel, scored, plan, old)
        folder.remove_checkpoints()  # also those of a run that was killed after its last file
        results = read_json(folder.path / "results.json")
        make_console().print(table_of(results["rows"], results["method"], self.test_windows))
        until = "all values" if self.refit else "all values but those"
        announce(f"{results['method']} in {self.out}, trained on {until}; see jaxcast panel forecast --help")

    def check(self) -> None:
        """Raises InputError for options that are wrong whatever the data hold."""
        check_numbers(self)
        if self.start_from is not None:
            for field in dataclasses.fields(self):
                if field.name in OF_MODEL and getattr(self, field.name) != field.default:
                    raise InputError(
                        f"--{field.name.replace('_', '-')} is that of the network of --start-from; leave it out, or "
                        "train a new one"
                    )
        elif self.horizon is None:
            raise InputError("--horizon is needed, the number of steps ahead; or --start-from, a model that has one")
        else:
            check_whole("horizon", self.horizon)
        for name in ("num_batches", "batch_size", "test_windows", "num_seeds"):
            check_whole(name, getattr(self, name))
        for name in ("history_size", "hidden_size", "num_epochs", "validation_windows"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        check_number("learning_rate", self.learning_rate, above=0)
        check_seed(self.seed)
        check_levels(self.levels)
        if not self.method or len(set(self.method)) < len(self.method):
            raise InputError(f"name each --method once, and at least one, got {shown(' '.join(self.method))}")
        if {*self.method} == {REGRESSION} and self.start_from is None:
            for name in ("head", "hidden_size", "history_size"):
                if getattr(self, name) is not None:
                    raise InputError(
                        f"--{name.replace('_', '-')} is for networks; name one by --method, such as deepar, or leave "
                        "it out"
                    )
        if list(self.season) != sorted(set(self.season)) or (self.season != (0,) and min(self.season, default=2) < 2):
            raise InputError(f"--season must be rising numbers of steps from 2 on, or 0, got {self.season}")

    def old_model(self, folder: Path) -> StoredPanelModel:
        """Reads the network of --start-from."""
        old = load(folder)
        if not isinstance(old.model, PanelModel):
            raise InputError(
                f"{shown(folder)} holds a regression, which is fitted anew in seconds; leave --start-from out"
            )
        return old

    def read(self, old: StoredPanelModel | None) -> SeriesPanel:
        """Reads the data."""
        if old is None:
            columns = {name: getattr(self, name) for name in (*COLUMNS, "business_days")}
            return read_data(self.data, columns, {name: getattr(self, name) for name in COVARIATES}, stream=self.stream)
        return read_data(self.data, columns_for(self.data, old), old.covariates(), stream=self.stream)

    def seasons(self, panel: SeriesPanel) -> tuple[int, ...]:
        """Returns the steps of the seasons."""
        if self.season:
            return () if self.season == (0,) else self.season
        return default_seasons(panel.calendar)

    def plan(
        self, panel: SeriesPanel, seasons: tuple[int, ...], old: StoredPanelModel | None
    ) -> dict[str, NetworkSettings | None]:
        """Returns the settings of each method; None for a regression, which comes first."""
        if old is not None and isinstance(old.model, PanelModel):
            return {old.method: NetworkSettings(old.model, old.model.sizes.history_size)}
        if REGRESSION in self.method and any(getattr(self, name) for name in COVARIATES):
            note("the regression sees no covariates and no categories")
        ordered = sorted(self.method, key=lambda name: name != REGRESSION)
        return {name: None if name == REGRESSION else self.network_settings(name, panel, seasons) for name in ordered}

    def network_settings(self, name: str, panel: SeriesPanel, seasons: tuple[int, ...]) -> NetworkSettings:
        """Returns the settings of a network; a user's own takes no hidden size."""
        given = {"head": self.head} | ({"hidden_size": self.hidden_size} if name in PANEL_NETWORKS else {})
        return network_settings(
            network_of(name),
            typical_length=float(np.median(panel.lengths)),
            horizon=self.horizon or 0,
            seasons=seasons,
            levels=self.levels,
            history_size=self.history_size,
            **{option: value for option, value in given.items() if value is not None},
        )

    def check_networks(
        self, plan: dict[str, NetworkSettings | None], panel: SeriesPanel, scored: ScoredWindows
    ) -> None:
        """Raises InputError for what would stop a training or a forecast, before any work."""
        for settings in plan.values():
            if settings is None:
                continue
            options = self.of_fit(settings, scored.truth.shape[1])
            model = begun(scored.train, **options).model
            model.check_seen(model.arranged(scored.panel), scored.newest, str(shown(self.data)))
            begun(panel, **options)

    def of_fit(self, settings: NetworkSettings, horizon: int) -> dict[str, Any]:
        """Returns the options with which a training begins."""
        return {
            "init": settings.init,
            "num_leads": horizon,
            "history_size": settings.history_size,
            "seasons": None if not self.season else () if self.season == (0,) else self.season,
            "num_validation_windows": self.validation_windows,
            "lower": self.lower,
        }

    def folder(self, panel: SeriesPanel, old: StoredPanelModel | None) -> RunFolder:
        """Opens the folder of the run."""
        arrays = (panel.values, panel.lengths, panel.starts, panel.past_covariates, panel.future_covariates)
        names = np.frombuffer("\n".join(panel.names).encode(), np.uint8)
        facts = {"panel": fingerprint((*arrays, panel.static_covariates, panel.categories, names))}
        if old is not None:
            facts["start"] = fingerprint(old.model)
        return RunFolder.of(self, reads=("data", "start_from"), facts=facts, outputs=OUTPUTS)

    def is_finished(self, folder: RunFolder) -> bool:
        """Returns whether the same run has ended before."""
        return all((folder.path / name).is_file() for name in OUTPUTS)

    def train(
        self,
        folder: RunFolder,
        panel: SeriesPanel,
        scored: ScoredWindows,
        plan: dict[str, NetworkSettings | None],
        old: StoredPanelModel | None,
    ) -> None:
        """Trains all methods, compares them, and saves the best one."""
        what, trained = str(shown(self.data)), {}
        rows = [{"method": NAIVE} | scores_of(scored, seasonal_naive(scored))]
        if old is not None:
            before = quantiles_of(old.model, scored.panel, scored.newest, what)
            rows.append({"method": f"{old.method}, as it was"} | scores_of(scored, before))
            if has_learned_from(old, panel.calendar, scored.panel.starts + scored.newest):
                note(f"{old.method}, from which training goes on, has learned from some of the windows that judge")
        left_out: dict[str, str] = {}
        for name, settings in plan.items():
            try:
                one = self.fit(name, settings, scored.train, scored, folder, "")
                found = scores_of(scored, quantiles_of(one.model, scored.panel, scored.newest, what))
            except InputError as error:
                if len(left_out) + 1 == len(plan):
                    raise
                left_out[name] = str(error)
                note(f"{name} is left out: {error}")
                continue
            trained[name] = one
            rows.append({"method": name} | found)
        own = {row["method"]: row["wql"] for row in rows if row["method"] in trained}
        best = min(own, key=lambda name: np.inf if own[name] is None else own[name])
        if None not in (own[best], rows[0]["wql"]) and rows[0]["wql"] < own[best]:
            note(f"the seasonal naive is better than {best} on the windows that judge")
        kept = trained[best]
        if self.refit:
            kept = self.fit(best, plan[best], panel, scored, folder, " on all values")
        columns = {name: getattr(self, name) for name in (*COLUMNS, "business_days")} if old is None else old.columns
        weekdays = None if panel.calendar is None else panel.calendar.weekdays and not panel.calendar.months
        attributes = {
            "method": best,
            "columns": columns | {"business_days": weekdays},
            "step": "" if panel.calendar is None else panel.calendar.step,
            "season": scored.season,
            "learned_until": newest_date(panel if self.refit else scored.train),
            "trained_on": str(self.data),
        }
        save_model(folder.path, kept.model, attributes=attributes)
        record = {
            "method": best,
            "rows": rows,
            "horizon": scored.truth.shape[1],
            "num_series": len(panel.names),
            "left_out": left_out,
            "losses": {name: listed(one.losses) for name, one in trained.items()},
            "validation_losses": {name: listed(one.validation_losses) for name, one in trained.items()},
        }
        folder.write_json("results.json", record)

    def fit(
        self,
        name: str,
        settings: NetworkSettings | None,
        panel: SeriesPanel,
        scored: ScoredWindows,
        folder: RunFolder,
        where: str,
    ) -> Trained:
        """Trains one method."""
        horizon = scored.truth.shape[1]
        if settings is None:
            with phase(f"fitting {name}{where}"):
                options: dict[str, Any] = {"seasons": self.seasons(panel), "levels": scored.levels, "lower": self.lower}
                return Trained(fit_panel_regression(panel, num_leads=horizon, **options))
        num_epochs = self.num_epochs or (NUM_EPOCHS if self.start_from is None else NUM_EPOCHS_MORE)
        with phase(f"training {name}{where}, epochs", num_epochs) as update:

            def show(done: int, losses: Any) -> None:
                update(done, f"loss {float(np.mean(losses)):.4f}")

            fitted = fit_panel_network(
                panel,
                **self.of_fit(settings, horizon),
                num_epochs=num_epochs,
                num_batches=self.num_batches,
                batch_size=self.batch_size,
                optimizer=make_optimizer(self.learning_rate, clip_norm=10.0),
                seeds=tuple(range(self.seed, self.seed + self.num_seeds)),
                on_progress=show,
                checkpoint=folder.path / "stages" / f"{name}{where.replace(' ', '_')}.checkpoint",
            )
        return Trained(fitted.model, fitted.losses, fitted.validation_losses)


def newest_date(panel: SeriesPanel) -> str:
    """Returns the last date at which a series has a value; "" without dates.

    Args:
        panel: with the series.
    """
    if panel.calendar is None:
        return ""
    row = int((panel.starts + panel.newest).max())
    return panel.calendar.text(panel.calendar.dates(np.asarray(row)))


def listed(losses: Any) -> list[list[float | None]]:
    """Returns losses as JSON values; None after a seed has stopped.

    Args:
        losses: (seed, epoch).
    """
    return [[float(one) if np.isfinite(one) else None for one in row] for row in losses]
