"""`jaxcast hub score | pool | forecast`: score a hub's models, train a pool of them, write the next ensemble file."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich import box
from rich.table import Table

from jaxcast.cli.entry import check_numbers, make_console
from jaxcast.cli.pictures import figure_of
from jaxcast.errors import InputError
from jaxcast.hub.arrays import Hub, load_hub
from jaxcast.hub.protocol import adaptive_origin, track_coverage
from jaxcast.hub.report import compare_forecasters, score_forecasters
from jaxcast.hub.submission import write_submission
from jaxcast.pooling.adaptive import AdaptivePool
from jaxcast.pooling.quantile import (
    EqualMean,
    EqualMedian,
    InverseScoreWeights,
    LinearOpinionPool,
    TrimmedMean,
    pool_course,
)
from jaxcast.storage.checkpoint import fingerprint
from jaxcast.storage.files import save_figure
from jaxcast.storage.folder import RunFolder, hash_of_code
from jaxcast.storage.pools import load_pool, save_pool

Method = Literal["adaptive", "equal_mean", "equal_median", "trimmed_mean", "linear_opinion_pool", "inverse_score"]
FIXED: dict[str, Any] = {
    "equal_mean": EqualMean,
    "equal_median": EqualMedian,
    "trimmed_mean": TrimmedMean,
    "linear_opinion_pool": LinearOpinionPool,
    "inverse_score": InverseScoreWeights,
}


@dataclasses.dataclass(frozen=True)
class _Tables:
    """What every command of a hub reads."""

    forecasts: Path
    """Forecasts: a .csv or .parquet table, or the folder of a hub, legacy or hubverse."""
    truth: Path
    """Truth: a .csv or .parquet table with location, date and value, or a hub's time-series or oracle-output table."""
    truth_source: str | None = None
    """Text that the truth's source or as_of column contains, where the table holds several vintages."""
    target: str | None = None
    """Which target, where the tables hold several."""
    models: tuple[str, ...] = ()
    """Names of the models; by default all."""
    num_models: int | None = None
    """Instead of --models: as many of those with the most forecasts."""
    locations: tuple[str, ...] = ()
    """By default all."""
    levels: tuple[float, ...] = ()
    """Quantile levels; by default all."""
    step_days: int = 7
    """Days between two dates of the hub: 7, or 1 for a daily one."""
    bad: Literal["raise", "drop"] = "raise"
    """What to do with crossing quantiles, missing levels, NA and duplicate rows: stop, or leave them out and say how many."""

    def load(self, horizon: int, *, pending: bool = False) -> Hub:
        check_numbers(self)
        if self.models and self.num_models is not None:
            raise InputError("give --models or --num-models, not both")
        hub = load_hub(
            self.forecasts,
            self.truth,
            horizon=horizon,
            target=self.target,
            models=self.models or self.num_models,
            locations=self.locations or None,
            levels=self.levels or None,
            truth_source=self.truth_source,
            step_days=self.step_days,
            bad=self.bad,
            pending=pending,
        )
        for line in hub.dropped:
            make_console().print(f"left out: {line}", highlight=False)
        return hub


@dataclasses.dataclass(frozen=True)
class Score(_Tables):
    """Score every model of a hub: WIS with its parts, coverage, relative WIS, and over how many tasks.

    Example: jaxcast hub score --forecasts hub/ --truth truth.csv --baseline COVIDhub-baseline
    """

    horizon: int = 1
    """Steps ahead."""
    baseline: str | None = None
    """The model whose relative WIS is 1."""
    first: str = "0001-01-01"
    """First target date."""
    last: str = "9999-12-31"
    """Last target date."""
    common: bool = False
    """Only the tasks that all models forecast."""
    out: Path | None = None
    """Folder for results.json and a picture of who submitted when."""
    overwrite: bool = False
    """Start afresh where the folder holds other results."""

    def run(self) -> None:
        """Runs the command."""
        hub = self.load(self.horizon)
        weeks = hub.weeks(self.first, self.last)
        if not weeks.any():
            raise InputError(
                f"no date of the hub, {hub.dates[0]} to {hub.dates[-1]}, is within {self.first} to {self.last}"
            )
        forecasts = {name: hub.forecasts[:, weeks, i] for i, name in enumerate(hub.models)}
        rows = score_forecasters(forecasts, hub.truth[:, weeks], hub.levels, baseline=self.baseline, common=self.common)
        _show(rows, hub, f"{hub.dates[weeks][0]} to {hub.dates[weeks][-1]}")
        if self.out is not None:
            folder = _folder(self, hub)
            folder.write_json("results.json", {"rows": rows, "dropped": list(hub.dropped)})
            _draw_submissions(folder.path / "submissions.png", hub)


@dataclasses.dataclass(frozen=True)
class PoolHub(_Tables):
    """Train the adaptive pool from a rolling origin, each date's with what was known before it, score it beside the
    equal-weight mean and median, and keep it.

    Example: jaxcast hub pool --forecasts hub/ --truth truth.csv --out pool
    """

    out: Path = Path("hub-pool")
    """Folder for the pool, results.json and pictures."""
    horizon: int = 1
    """Steps ahead."""
    lower: float | None = 0.0
    """The least value that the truth can have; None for any."""
    num_steps: int = 15
    """Optimizer steps before each date."""
    overwrite: bool = False
    """Start afresh where the folder holds another run."""

    def run(self) -> None:
        """Runs the command."""
        hub = self.load(self.horizon, pending=True)
        folder = _folder(self, hub)
        course = hub.course()
        output = adaptive_origin(course, AdaptivePool.untrained(lower=self.lower), num_steps=self.num_steps)
        possible = np.asarray(course.possible)[..., None]
        pools: dict[str, Any] = {"equal_mean": EqualMean(), "equal_median": EqualMedian()}
        pooled = {name: pool_course(pool, course).forecast for name, pool in pools.items()} | {
            "adaptive": output.forecast
        }
        forecasts = {name: np.where(possible, forecast, np.nan) for name, forecast in pooled.items()}
        rows = score_forecasters(forecasts, hub.truth, hub.levels, baseline="equal_mean")
        test = compare_forecasters(
            forecasts["adaptive"], forecasts["equal_mean"], hub.truth, hub.levels, horizon=hub.horizon
        )
        about = {"horizon": hub.horizon, "levels": hub.levels.tolist(), "models": list(hub.models)}
        save_pool(folder.path, output.info["pool"], attributes=about)
        folder.write_json("results.json", {"rows": rows, "against_equal_mean": test, "dropped": list(hub.dropped)})
        _show(rows, hub, "rolling origin, all dates")
        make_console().print(
            f"adaptive / equal_mean: {test['ratio']:.3f} ({test['low']:.3f} to {test['high']:.3f}); the truth given stands in for "
            f"what was known at the time; pool and scores in {folder.path}/",
            highlight=False,
        )
        _draw_submissions(folder.path / "submissions.png", hub)
        _draw_weights(folder.path / "weights.png", hub, np.asarray(output.info["weights"]).mean(0))


@dataclasses.dataclass(frozen=True)
class ForecastHub(_Tables):
    """Pool the newest forecasts of a hub and write them as the hubverse file of one model.

    Example: jaxcast hub forecast --forecasts hub/ --truth truth.csv --model team-ensemble --out model-output
    """

    model: str = "jaxcast-ensemble"
    """TEAM-MODEL, the name of the file's model."""
    out: Path = Path("model-output")
    """A hub's model-output folder."""
    horizons: tuple[int, ...] = (1,)
    """Steps ahead; a pool is made for each."""
    method: Method = "adaptive"
    """How to pool. adaptive is trained on all that is known, unless --pool says otherwise."""
    pool: Path | None = None
    """Folder of `jaxcast hub pool`, whose pool is used as it is, for a single horizon."""
    target_name: str | None = None
    """What the hub calls the target, where its tables do not say."""
    lower: float | None = 0.0
    """The least value that the truth can have; None for any."""
    plot: Path | None = None
    """Picture (.png) of the forecast for the location of the largest median."""
    overwrite: bool = False
    """Replace a file that is there already."""

    def run(self) -> None:
        """Runs the command."""
        if self.pool is not None and (self.method != "adaptive" or len(self.horizons) > 1):
            raise InputError(
                "--pool holds an adaptive pool for one horizon; leave --method out and give one of --horizons"
            )
        newest, references, hubs = {}, {}, {}
        for horizon in self.horizons:
            hub = hubs[horizon] = self.load(horizon, pending=True)
            course = hub.course()
            newest[horizon] = np.where(np.asarray(course.possible)[:, -1, None], self.pooled(hub)[:, -1], np.nan)
            references[horizon] = hub.dates[-1] - horizon * hub.step_days
        if len(set(references.values())) != 1:
            dates = ", ".join(f"{horizon}: {date}" for horizon, date in references.items())
            raise InputError(
                f"the newest forecasts are not of one round (reference dates by horizon {dates}); ask for fewer horizons"
            )
        hub, (reference, *_) = hubs[self.horizons[0]], references.values()
        path = write_submission(
            self.out,
            self.model,
            newest,
            hub,
            reference_date=reference,
            target=self.target_name,
            overwrite=self.overwrite,
        )
        missing = sum(int(np.isnan(values).all(-1).sum()) for values in newest.values())
        note = f"; {missing} have no candidate and no forecast" if missing else ""
        make_console().print(
            f"{path}: {len(hub.locations)} locations, horizons {', '.join(map(str, self.horizons))}{note}",
            highlight=False,
            soft_wrap=True,
        )
        if self.plot is not None:
            _draw_fan(self.plot, newest, hub, reference)

    def pooled(self, hub: Hub) -> np.ndarray:
        """The forecasts of the chosen pool, (location, time, quantile)."""
        course = hub.course()
        if self.method != "adaptive":
            return np.asarray(pool_course(FIXED[self.method](), course).forecast)
        if self.pool is None:
            return np.asarray(adaptive_origin(course, AdaptivePool.untrained(lower=self.lower)).forecast)
        stored = load_pool(self.pool)
        if not isinstance(stored.pool, AdaptivePool) or stored.attributes.get("horizon") != hub.horizon:
            raise InputError(
                f"{self.pool} holds no adaptive pool for horizon {hub.horizon}; train one with jaxcast hub pool"
            )
        return np.asarray(track_coverage(pool_course(stored.pool, course).forecast, course, lower=stored.pool.lower))


@dataclasses.dataclass(frozen=True)
class HubCommand:
    """Forecast hubs: score a hub's models, train a pool of them, write the next ensemble file."""

    command: (
        Annotated[Score, tyro.conf.subcommand("score")]
        | Annotated[PoolHub, tyro.conf.subcommand("pool")]
        | Annotated[ForecastHub, tyro.conf.subcommand("forecast")]
    )

    def run(self) -> None:
        """Runs the command."""
        self.command.run()


def _folder(settings: Any, hub: Hub) -> RunFolder:
    record = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(settings).items()
        if name not in ("out", "overwrite", "forecasts", "truth")
    }
    record["data"] = fingerprint((hub.forecasts, hub.truth))
    code = hash_of_code(Path(__file__).parents[1])
    return RunFolder(settings.out, record, code=code, overwrite=settings.overwrite)


def _show(rows: list[dict[str, Any]], hub: Hub, dates: str) -> None:
    covered = [name for name in rows[0] if name.startswith("coverage")]
    table = Table(
        title=f"Mean WIS at horizon {hub.horizon}, {dates}, {len(hub.locations)} locations, {len(hub.levels)} levels",
        caption=f"{rows[0]['num_common']} tasks that all forecast; each WIS is over the model's own tasks, relative WIS over common ones",
        box=box.SIMPLE,
    )
    heads = (
        "model",
        "WIS",
        "dispersion",
        "over",
        "under",
        "log WIS",
        *(f"{name[8:]} %" for name in covered),
        "relative",
        "tasks",
        "missing",
    )
    for head in heads:
        table.add_column(head, justify="left" if head == "model" else "right", no_wrap=True)
    for row in sorted(rows, key=lambda row: row["relative_wis"] or np.inf):
        parts = (row[name] for name in ("wis", "dispersion", "overprediction", "underprediction"))
        table.add_row(
            row["method"],
            *("" if part is None else f"{part:.2f}" for part in parts),
            "" if row["log_wis"] is None else f"{row['log_wis']:.3f}",
            *("" if row[name] is None else f"{row[name]:.1%}" for name in covered),
            "" if row["relative_wis"] is None else f"{row['relative_wis']:.3f}",
            str(row["num_tasks"]),
            str(row["num_missing"]),
        )
    make_console().print(table)


def _draw_submissions(path: Path, hub: Hub) -> None:
    from jaxcast.hub.plotting import plot_submissions

    try:
        figure = figure_of(height=0.9 + 0.32 * len(hub.models))
    except InputError:
        return
    plot_submissions(figure.subplots(), hub.dates, hub.models, hub.present.mean(0)).set_title("Who submitted when")
    save_figure(path, figure)


def _draw_weights(path: Path, hub: Hub, weights: np.ndarray) -> None:
    from jaxcast.hub.plotting import plot_model_weights

    try:
        figure = figure_of()
    except InputError:
        return
    ax = plot_model_weights(figure.subplots(), hub.dates, weights, hub.models)
    ax.set_title("Weights of the adaptive pool, mean over locations, each from the dates before")
    save_figure(path, figure)


def _draw_fan(path: Path, newest: dict[int, np.ndarray], hub: Hub, reference: np.datetime64) -> None:
    from jaxcast.hub.plotting import plot_fan

    middle = len(hub.levels) // 2
    horizons = sorted(newest)
    place = int(np.nan_to_num(newest[horizons[0]][:, middle], nan=-np.inf).argmax())
    dates = reference + np.asarray(horizons) * hub.step_days
    figure = figure_of()
    known = np.isfinite(hub.truth[place])
    values = np.stack([newest[horizon][place] for horizon in horizons])
    seen = (hub.dates[known][-20:], hub.truth[place, known][-20:])
    if len(horizons) == 1:  # a fan needs a width: it opens from what was seen last
        dates, values = np.append(seen[0][-1], dates), np.concatenate([np.full_like(values, seen[1][-1]), values])
    plot_fan(figure.subplots(), dates, values, hub.levels, truth=seen).set_title(f"Location {hub.locations[place]}")
    save_figure(path, figure)
