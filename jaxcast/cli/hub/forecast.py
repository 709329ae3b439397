"""`jaxcast hub forecast`: pools a hub's newest forecasts and writes a round."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from jaxcast.cli.arguments import Names
from jaxcast.cli.figures import figure_of
from jaxcast.cli.hub.commands import HubTables, check_finite, check_lower, check_order
from jaxcast.cli.hub.ensembles import warn_of_ensembles
from jaxcast.cli.hub.output import draw_fan, horizons_in_words, newest_truth, say
from jaxcast.cli.hub.rounds import forecast_round
from jaxcast.errors import InputError, counted, shown
from jaxcast.hierarchy.files import read_hierarchy
from jaxcast.hub.arrays import Hub
from jaxcast.hub.padding import pool_padded
from jaxcast.hub.pools.adaptive_pool import AdaptivePool
from jaxcast.hub.pools.quantile_pool import QuantilePool, pool_forecasts
from jaxcast.hub.reconciled import reconcile_locations
from jaxcast.hub.rounds.submission import check_submission, submission_path, write_submission
from jaxcast.io.files import check_place
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.progress import doing
from jaxcast.registry import names_of
from jaxcast.saving.models import load_model

NAMES = Names(
    ("adaptive", "equal_mean", "equal_median", "trimmed_mean", "linear_opinion_pool", "inverse_score"), (QuantilePool,)
)
Method = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(NAMES.own)}}}"), NAMES]


@dataclasses.dataclass(frozen=True)
class ForecastHub(HubTables):
    """Pool a hub's newest forecasts and write a hubverse file.

    Of a hub's folder, all targets, horizons and output types of a round go into one file in the
    hub's format, within its bounds, beside a stub of the model's metadata. Quantiles of targets
    with target data are pooled by --method, from what was known when the round closed; samples,
    pmf, cdf and means are linear pools with equal weights. Of tables, one target is pooled.

    Example: jaxcast hub forecast hub/ --model team-ensemble
    """

    model: str = "jaxcast-ensemble"
    """Name of the file's model, TEAM-MODEL. Its forecasts of earlier rounds are not pooled."""
    out: Path | None = None
    """A model-output folder; by default that of the hub, or model-output/."""
    round: str | None = None
    """Round to forecast, such as 2026-01-10; by default the newest of which the hub holds a file.
    An older one is replayed from what was known at its time."""
    targets: tuple[str, ...] = ()
    """Targets to forecast; by default all of the hub."""
    horizons: tuple[int, ...] = ()
    """With --forecasts: horizons in steps, as the tables count them, by default 1; a pool is made for
    each."""
    method: Method = "adaptive"
    """Pool of the forecasts. adaptive weighs the models by all that is known. A pool of your own is
    named with --import."""
    pool: Path | None = None
    """Folder of a saved pool, such as that of jaxcast hub pool, to use instead of --method."""
    target_name: str | None = None
    """Hub's name of the target, where its tables have none."""
    lower: float | None = 0.0
    """The least value that the target can have; None for any."""
    follow_newest: bool = False
    """Let some of the pool's experts follow the newest target data and the newest errors. Many hubs
    revise these data later; scores on final data then promise more than such a pool delivers."""
    reconcile: Literal["bottom_up", "top_down", "ols", "structural", "variance", "mint"] | None = None
    """Make the forecasts of all locations add up: mint weighs them by the pool's errors on earlier
    dates and the correlations of these, variance by the errors, structural by the number of
    members, ols alike; bottom_up sums the smallest locations, top_down shares out the total. By
    default mint where --hierarchy is given."""
    hierarchy: Path | None = None
    """Table (.csv) of which locations are sums of which: child, parent; by default US is the sum of
    all others."""
    seed: int = 0
    """Random seed of the paths that are reconciled."""
    plot: Path | None = None
    """Also draw the forecast for the location with the largest median into this .png."""
    overwrite: bool = False
    """Replace the file and the picture, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        if self.follow_newest and (self.pool is not None or self.method != "adaptive"):
            raise InputError("--follow-newest applies to the adaptive pool; leave it out, or --pool and --method")
        horizons = self.horizons or (1,)
        if len(set(horizons)) < len(horizons):
            raise InputError("--horizons must name each horizon once")
        if self.pool is not None and self.method != "adaptive":
            raise InputError("give --pool or --method, not both")
        if self.plot is not None:
            check_place(self.plot, PICTURE)
            figure_of()
        if self.hub is not None:
            forecast_round(self)
            return
        if self.round is not None or self.targets:
            raise InputError("--round and --targets are for a hub's folder; leave them out, or name the folder")
        out = self.out or Path("model-output")
        hubs = {horizon: self.candidates(hub) for horizon, hub in self.load_all(horizons).items()}
        reference, hub = _round_of(hubs), hubs[min(hubs)]
        warn_of_ensembles(list(dict.fromkeys(name for each in hubs.values() for name in each.models)))
        path = submission_path(out, self.model, reference)
        with Outputs(
            vars(self),
            {"--out": (path, (".csv",)), "--plot": (self.plot, PICTURE)},
            inputs={
                "--truth": self.truth,
                "--pool": self.pool,
                "--forecasts": self.forecasts,
                "--hierarchy": self.hierarchy,
            },
            own=path.parent,
            overwrite=self.overwrite,
        ):
            self.submit(out, hubs, reference, hub)

    def submit(self, out: Path, hubs: dict[int, Hub], reference: np.datetime64, hub: Hub) -> None:
        """Pools, writes the file and draws it.

        Args:
            out: A model-output folder.
            hubs: Hub at each horizon.
            reference: Reference date of the round.
            hub: Hub at the first horizon.
        """
        target, path = check_submission(
            out, self.model, hub, reference, target=self.target_name, overwrite=self.overwrite
        )
        doing("pooling")
        newest = {horizon: self.newest(each) for horizon, each in hubs.items()}
        write_submission(
            out, self.model, newest, hub, reference_date=reference, target=target, overwrite=self.overwrite
        )
        missing = sum(int(np.isnan(values).all(-1).sum()) for values in newest.values())
        note = f"; {missing} have no candidate and no forecast" if missing else ""
        note += f"; reconciled by {self.reconciling}" if self.reconciling else ""
        say(
            f"{path}: {counted(len(hub.locations), 'location')}, {horizons_in_words(list(hubs))} of the round of "
            f"{reference}{note}",
            newest_truth(hub, hint=" (--first-horizon)"),
        )
        if self.plot is not None:
            draw_fan(self.plot, newest, dataclasses.replace(hub, target=target), reference)

    def candidates(self, hub: Hub) -> Hub:
        """Returns the models to pool: not the command's own, whose file may lie in the same hub.

        Args:
            hub: The hub at a horizon.
        """
        return hub.only([name for name in hub.models if name != self.model])

    def newest(self, hub: Hub) -> np.ndarray:
        """Pools the forecasts of the last date, (location, quantile), NaN where there are none.

        Args:
            hub: The hub.

        Raises:
            InputError: for one that is not finite, or whose quantiles cross.
        """
        is_forecast = np.asarray(hub.forecasts().is_forecast)
        pooled = np.where(is_forecast[..., None], self.pooled(hub), np.nan)
        method = self.method if self.pool is None else str(self.pool)
        check_finite(pooled[:, -1:], is_forecast[:, -1:], method, dataclasses.replace(hub, dates=hub.dates[-1:]))
        check_order(pooled[:, -1], method, hub)
        return pooled[:, -1] if self.reconciling is None else self.reconciled(pooled, hub)

    @property
    def reconciling(self) -> str | None:
        """The method of reconciliation; None for none."""
        return self.reconcile or ("mint" if self.hierarchy is not None else None)

    def reconciled(self, pooled: np.ndarray, hub: Hub) -> np.ndarray:
        """Makes the forecasts of the last date add up.

        Args:
            pooled: Forecasts of all dates.
            hub: The hub.
        """
        doing("reconciling")
        is_count = self.lower is not None and self.lower >= 0
        return reconcile_locations(
            pooled,
            hub,
            hierarchy=None if self.hierarchy is None else read_hierarchy(self.hierarchy),
            method=self.reconcile or "mint",
            nonnegative=is_count,
            seed=self.seed,
        )

    def pooled(self, hub: Hub) -> np.ndarray:
        """Returns the forecasts of the chosen pool, (location, time, quantile).

        Args:
            hub: The hub.
        """
        pool = self.chosen()
        if isinstance(pool, AdaptivePool):
            check_lower(pool.lower, hub, hub.known_truth())
            return pool_padded(pool, hub)
        return np.asarray(pool_forecasts(pool, hub.forecasts()).forecast)

    def chosen(self) -> QuantilePool:
        """Returns the pool that the options name.

        Raises:
            InputError: for a folder without a pool of quantile forecasts.
        """
        if self.pool is not None:
            stored = load_model(self.pool).pool
            if not isinstance(stored, QuantilePool):
                raise InputError(
                    f"{shown(self.pool)} holds no pool of quantile forecasts; make one with jaxcast hub pool"
                )
            return stored
        if self.method == "adaptive":
            return AdaptivePool(lower=self.lower, follow_newest=self.follow_newest)
        return make_pool(self.method)


def _round_of(hubs: dict[int, Hub]) -> np.datetime64:
    """Returns the reference date that the newest forecasts of all horizons have in common.

    Raises:
        InputError: where they have none.
    """
    references = {horizon: hub.reference_dates[-1] for horizon, hub in hubs.items()}
    if len(set(references.values())) != 1:
        dates = ", ".join(f"{horizon}: {date}" for horizon, date in references.items())
        raise InputError(
            f"the newest forecasts are not of one round (reference dates by horizon {dates}); ask for fewer horizons"
        )
    return next(iter(references.values()))


def make_pool(method: str) -> QuantilePool:
    """Makes a pool that needs no training, jaxcast's or a user's.

    Args:
        method: Its name.

    Returns:
        The pool.

    Raises:
        InputError: for one that needs arguments.
    """
    pools: dict[str, Any] = names_of(NAMES.bases[0])
    try:
        pool: QuantilePool = pools[method]()
    except TypeError as error:
        raise InputError(
            f"the pool {shown(method)} cannot be made without arguments ({shown(error)}); give its fields defaults"
        ) from None
    return pool
