"""`jaxcast hub score | pool | forecast`: scores a hub's models, trains a pool of them, writes a round."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from jaxcast.cli.arguments import Names
from jaxcast.cli.command import check_numbers
from jaxcast.cli.figures import figure_of
from jaxcast.cli.hub.output import FINAL_TRUTH, draw_fan, draw_submissions, draw_weights, say, show_scores
from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.adaptive_pool import AdaptivePool
from jaxcast.hub.arrays import Hub, load_hub
from jaxcast.hub.pools import QuantileMean, QuantileMedian
from jaxcast.hub.quantile_pool import QuantilePool, pool_forecasts
from jaxcast.hub.report import compare_forecasters, score_forecasters
from jaxcast.hub.rolling import adaptive_origin, track_coverage
from jaxcast.hub.submission import check_submission, submission_path, write_submission
from jaxcast.io.files import check_place
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import announce, doing
from jaxcast.pytrees import fingerprint
from jaxcast.registry import names_of
from jaxcast.saving.models import load_model, save_model

NAMES = Names(
    ("adaptive", "equal_mean", "equal_median", "trimmed_mean", "linear_opinion_pool", "inverse_score"), (QuantilePool,)
)
Method = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(NAMES.own)}}}"), NAMES]


@dataclasses.dataclass(frozen=True)
class _Tables:
    """The tables that every command of a hub reads."""

    forecasts: Path
    """Forecasts: a .csv or .parquet table, or the folder of a hub, legacy or hubverse."""
    truth: Path
    """Target data: a .csv or .parquet table with location, date and value, or a hub's time-series
    or oracle-output table."""
    truth_source: str | None = None
    """Text in the source or as_of column of the target data, where the table holds several
    vintages."""
    target: str | None = None
    """Target to read, where the tables hold several."""
    first_horizon: int | None = None
    """Horizon of the first date after the newest target data that forecasters could know. By
    default 0 where the tables hold a horizon 0 (FluSight: the reference date is a week after these
    data), else 1 (US COVID-19 hub)."""
    models: tuple[str, ...] = ()
    """Names of the models; by default all."""
    num_models: int | None = None
    """Instead of --models: the number of models, those with the most forecasts."""
    locations: tuple[str, ...] = ()
    """Names of the locations; by default all."""
    levels: tuple[float, ...] = ()
    """Quantile levels; by default all."""
    step_days: int = 7
    """Days between two dates of the hub: 7, or 1 for a daily hub."""
    bad: Literal["raise", "drop"] = "raise"
    """Whether to stop at crossing quantiles, missing levels, NA and duplicate rows, or to drop and
    count them."""

    def load(self, horizon: int, *, pending: bool = False) -> Hub:
        """Reads the hub at one horizon."""
        check_numbers(self)
        doing("reading the tables of the hub")
        if self.models and self.num_models is not None:
            raise InputError("give --models or --num-models, not both")
        hub = load_hub(
            self.forecasts,
            self.truth,
            horizon=horizon,
            first_horizon=self.first_horizon,
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
            announce(f"left out: {line}")
        return hub


@dataclasses.dataclass(frozen=True)
class ScoreHub(_Tables):
    """Score the models of a hub.

    Prints the weighted interval score (WIS) and its components, coverage, relative WIS, and the
    number of tasks of each model.

    Example: jaxcast hub score --forecasts hub/ --truth truth.csv --baseline COVIDhub-baseline
    """

    horizon: int = 1
    """Horizon in steps, as the tables count it."""
    baseline: str | None = None
    """Model whose relative WIS is 1."""
    first: str = "0001-01-01"
    """First target date."""
    last: str = "9999-12-31"
    """Last target date."""
    common: bool = False
    """Score only the tasks that all models forecast."""
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
        folder = None if self.out is None else _folder(self, hub, ("results.json", "submissions.png"))
        forecasts = {name: hub.quantiles[:, weeks, i] for i, name in enumerate(hub.models)}
        rows = score_forecasters(forecasts, hub.truth[:, weeks], hub.levels, baseline=self.baseline, common=self.common)
        show_scores(rows, hub, f"{hub.dates[weeks][0]} to {hub.dates[weeks][-1]}")
        if folder is not None:
            folder.write_json("results.json", {"rows": rows, "note": FINAL_TRUTH, "dropped": list(hub.dropped)})
            draw_submissions(folder.path / "submissions.png", hub)


@dataclasses.dataclass(frozen=True)
class PoolHub(_Tables):
    """Train, score and save the adaptive pool of a hub's models.

    The pool is trained from a rolling origin: the pool of each date sees only earlier dates. It is
    scored beside the equally weighted mean and median. Target data are used in their final form;
    revisions are not replayed.

    Example: jaxcast hub pool --forecasts hub/ --truth truth.csv --out pool
    """

    out: Path = Path("hub-pool")
    """Folder for the pool, results.json and pictures."""
    horizon: int = 1
    """Horizon in steps, as the tables count it."""
    lower: float | None = 0.0
    """The least value that the target can have; None for any."""
    num_optimizer_steps: int = 15
    """Optimizer steps before each date."""
    follow_newest: bool = False
    """Let the pool follow the newest target data and its newest errors. Many hubs revise these data
    later; scores on final data then promise more than such a pool delivers."""
    overwrite: bool = False
    """Start afresh where the folder holds another run."""

    def run(self) -> None:
        """Runs the command."""
        hub = self.load(self.horizon, pending=True)
        _check_lower(self.lower, hub)
        folder = _folder(self, hub, ("results.json", "pool.json", "arrays.npz", "submissions.png", "weights.png"))
        forecasts = hub.forecasts()
        pool = AdaptivePool.untrained(lower=self.lower, follow_newest=self.follow_newest)
        doing("training the adaptive pool from a rolling origin")
        output = adaptive_origin(forecasts, pool=pool, num_optimizer_steps=self.num_optimizer_steps)
        doing("scoring")
        pools: dict[str, Any] = {"equal_mean": QuantileMean(), "equal_median": QuantileMedian()}
        pooled = {name: np.asarray(pool_forecasts(pool, forecasts).forecast) for name, pool in pools.items()}
        pooled["adaptive"] = np.asarray(output.forecast)
        for name, forecast in pooled.items():
            check_finite(forecast, np.asarray(forecasts.is_forecast), name, hub)
        rows = score_forecasters(pooled, hub.truth, hub.levels, baseline="equal_mean")
        test = compare_forecasters(
            pooled["adaptive"], pooled["equal_mean"], hub.truth, hub.levels, horizon=hub.steps_ahead
        )
        about = {"steps_ahead": hub.steps_ahead, "levels": hub.levels.tolist(), "models": list(hub.models)}
        save_model(folder.path, output.info["pool"], attributes=about)
        results = {"rows": rows, "against_equal_mean": test, "note": FINAL_TRUTH, "dropped": list(hub.dropped)}
        folder.write_json("results.json", results)
        show_scores(rows, hub, "rolling origin, all dates")
        say(
            f"adaptive / equal_mean: {test['ratio']:.3f} ({test['low']:.3f} to {test['high']:.3f}); {FINAL_TRUTH}; "
            f"pool and scores in {folder.path}/"
        )
        draw_submissions(folder.path / "submissions.png", hub)
        draw_weights(folder.path / "weights.png", hub, np.asarray(output.info["weights"]).mean(0))


@dataclasses.dataclass(frozen=True)
class ForecastHub(_Tables):
    """Pool a hub's newest forecasts and write a hubverse file.

    Example: jaxcast hub forecast --forecasts hub/ --truth truth.csv --model team-ensemble
        --out model-output
    """

    model: str = "jaxcast-ensemble"
    """Name of the file's model, TEAM-MODEL. Its forecasts of earlier rounds are not pooled."""
    out: Path = Path("model-output")
    """A hub's model-output folder."""
    horizons: tuple[int, ...] = (1,)
    """Horizons in steps, as the tables count them; a pool is made for each."""
    method: Method = "adaptive"
    """Pool of the forecasts. adaptive is trained on all that is known, unless --pool gives a
    trained one. A pool of your own is named with --import."""
    pool: Path | None = None
    """Folder of jaxcast hub pool; its pool is used as it is, for a single horizon."""
    target_name: str | None = None
    """Hub's name of the target, where its tables have none."""
    lower: float | None = 0.0
    """The least value that the target can have; None for any."""
    follow_newest: bool = False
    """Let the pool follow the newest target data and its newest errors. Many hubs revise these data
    later; scores on final data then promise more than such a pool delivers."""
    plot: Path | None = None
    """Also draw the forecast for the location with the largest median into this .png."""
    overwrite: bool = False
    """Replace the file and the picture, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        if self.follow_newest and (self.pool is not None or self.method != "adaptive"):
            raise InputError(
                "--follow-newest applies to an adaptive pool that this command trains; leave it out, or --pool and --method"
            )
        if not self.horizons or len(set(self.horizons)) < len(self.horizons):
            raise InputError("--horizons must name at least one horizon, each once")
        if self.pool is not None and (self.method != "adaptive" or len(self.horizons) > 1):
            raise InputError(
                "--pool is an adaptive pool for one horizon; leave out --method, and give one of --horizons"
            )
        if self.plot is not None:
            check_place(self.plot, PICTURE)
            figure_of()
        hubs = {horizon: self.candidates(horizon) for horizon in self.horizons}
        reference, hub = _round_of(hubs), hubs[min(hubs)]
        path = submission_path(self.out, self.model, reference)
        with Outputs(
            vars(self),
            {"--out": (path, (".csv",)), "--plot": (self.plot, PICTURE)},
            inputs={"--truth": self.truth, "--pool": self.pool, "--forecasts": self.forecasts},
            own=path.parent,
            overwrite=self.overwrite,
        ):
            self.submit(hubs, reference, hub)

    def submit(self, hubs: dict[int, Hub], reference: np.datetime64, hub: Hub) -> None:
        """Pools, writes the file and draws it.

        Args:
            hubs: Hub at each horizon.
            reference: Reference date of the round.
            hub: Hub at the first horizon.
        """
        target, path = check_submission(
            self.out, self.model, hub, reference, target=self.target_name, overwrite=self.overwrite
        )
        doing("pooling")
        newest = {horizon: self.newest(each) for horizon, each in hubs.items()}
        write_submission(
            self.out, self.model, newest, hub, reference_date=reference, target=target, overwrite=self.overwrite
        )
        missing = sum(int(np.isnan(values).all(-1).sum()) for values in newest.values())
        note = f"; {missing} have no candidate and no forecast" if missing else ""
        say(
            f"{path}: {counted(len(hub.locations), 'location')}, horizons {', '.join(map(str, self.horizons))} from {reference}{note}",
            _newest_truth(hub),
        )
        if self.plot is not None:
            draw_fan(self.plot, newest, hub, reference)

    def candidates(self, horizon: int) -> Hub:
        """Reads the models to pool, without the command's own, whose file may lie in the same hub.

        Args:
            horizon: The horizon.
        """
        hub = self.load(horizon, pending=True)
        return hub.only([name for name in hub.models if name != self.model])

    def newest(self, hub: Hub) -> np.ndarray:
        """Pools the forecasts of the last date, (location, quantile), NaN where there are none.

        Args:
            hub: The hub.

        Raises:
            InputError: for one that is not finite.
        """
        is_forecast = np.asarray(hub.forecasts().is_forecast)
        pooled = np.where(is_forecast[..., None], self.pooled(hub), np.nan)
        method = self.method if self.pool is None else str(self.pool)
        check_finite(pooled[:, -1:], is_forecast[:, -1:], method, dataclasses.replace(hub, dates=hub.dates[-1:]))
        return pooled[:, -1]

    def pooled(self, hub: Hub) -> np.ndarray:
        """Returns the forecasts of the chosen pool, (location, time, quantile).

        Args:
            hub: The hub.
        """
        forecasts = hub.forecasts()
        if self.method != "adaptive":
            return np.asarray(pool_forecasts(_made(self.method), forecasts).forecast)
        if self.pool is None:
            _check_lower(self.lower, hub)
            pool = AdaptivePool.untrained(lower=self.lower, follow_newest=self.follow_newest)
            return np.asarray(adaptive_origin(forecasts, pool=pool).forecast)
        stored = load_model(self.pool)
        if isinstance(stored.pool, AdaptivePool):
            _check_lower(stored.pool.lower, hub)
        if not isinstance(stored.pool, AdaptivePool) or stored.attributes.get("steps_ahead") != hub.steps_ahead:
            raise InputError(
                f"{shown(self.pool)} holds no adaptive pool for horizon {hub.horizon}; train one with jaxcast hub pool"
            )
        return np.asarray(
            track_coverage(pool_forecasts(stored.pool, forecasts).forecast, forecasts, lower=stored.pool.lower)
        )


def check_finite(pooled: np.ndarray, is_forecast: np.ndarray, name: str, hub: Hub) -> None:
    """Checks pooled forecasts wherever any model forecast.

    Args:
        pooled: Forecasts (location, time, quantile).
        is_forecast: Whether any model forecast (location, time).
        name: Name of the pool.
        hub: Hub with the locations, dates and horizon.

    Raises:
        InputError: for the first that is not finite, with pool, horizon, location and date.
    """
    bad = is_forecast & ~np.isfinite(pooled).all(-1)
    if bad.any():
        place, time = np.argwhere(bad)[0]
        raise InputError(
            f"the pool {shown(name)} gives a forecast that is not finite at horizon {hub.horizon}, first for "
            f"{shown(hub.locations[place])} on {hub.dates[time]} ({int(bad.sum())} forecasts); "
            "look for candidates with huge values, or choose another pool"
        )


def _round_of(hubs: dict[int, Hub]) -> np.datetime64:
    """Returns the reference date that the newest forecasts of all horizons have in common.

    Raises:
        InputError: where they have none.
    """
    references = {horizon: hub.dates[-1] - horizon * hub.step for horizon, hub in hubs.items()}
    if len(set(references.values())) != 1:
        dates = ", ".join(f"{horizon}: {date}" for horizon, date in references.items())
        raise InputError(
            f"the newest forecasts are not of one round (reference dates by horizon {dates}); ask for fewer horizons"
        )
    return next(iter(references.values()))


def _check_lower(lower: float | None, hub: Hub) -> None:
    """Raises InputError where target data are below their least value."""
    known = hub.truth[np.isfinite(hub.truth)]
    if lower is not None and known.size and known.min() < lower:
        raise InputError(f"the truth holds {known.min():g}, which is below lower, {lower:g}; give a lower one")


def _made(method: str) -> QuantilePool:
    """Makes a pool that needs no training, jaxcast's or a user's."""
    pools: dict[str, Any] = names_of(NAMES.bases[0])
    try:
        pool: QuantilePool = pools[method]()
    except TypeError as error:
        raise InputError(
            f"the pool {shown(method)} cannot be made without arguments ({shown(error)}); give its fields defaults"
        ) from None
    return pool


def _newest_truth(hub: Hub) -> str:
    """Returns what the newest forecasts were made from, and whether that is older than it may be."""
    expected = hub.dates[-1] - hub.steps_ahead * hub.step
    known = np.flatnonzero(np.isfinite(hub.observed[:, -1]).any(0))
    if not len(known):
        return f"made without any truth from the {hub.observed.shape[-1]} dates up to {expected}"
    late = f", though it could be of {expected}" if known[0] else ""
    return f"made from truth up to {expected - known[0] * hub.step}{late}"


def _folder(settings: Any, hub: Hub, outputs: tuple[str, ...]) -> RunFolder:
    """Opens the folder of a command."""
    data = fingerprint((hub.quantiles, hub.truth))
    return RunFolder.of(settings, reads=("forecasts", "truth"), facts={"data": data}, outputs=outputs)
