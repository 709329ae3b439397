"""`jaxcast hub pool`: runs, scores and saves the adaptive pool of a hub's models."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.cli.hub.commands import HubTables, check_finite, check_lower, facts_of, open_folder
from jaxcast.cli.hub.ensembles import models_of, warn_of_ensembles
from jaxcast.cli.hub.folder import commands_of, folder_of, refuse_nothing, run_all, tables_of_hub
from jaxcast.cli.hub.output import draw_submissions, draw_weights, say, say_about_truth, truth_note
from jaxcast.cli.hub.output_types import TypeChoice, score_types, show_types, types_in
from jaxcast.cli.hub.score_tables import scored_dates, show_scores
from jaxcast.errors import InputError, shown
from jaxcast.hub.arrays import Hub
from jaxcast.hub.config.files import is_hub
from jaxcast.hub.membership import membership_table
from jaxcast.hub.outputs.reading import OUTPUT_TYPES
from jaxcast.hub.pools.adaptive_pool import AdaptivePool
from jaxcast.hub.pools.plain import QuantileMean, QuantileMedian
from jaxcast.hub.pools.quantile_pool import pool_forecasts
from jaxcast.hub.report import compare_forecasters, score_forecasters
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import announce, doing
from jaxcast.saving.models import save_model


@dataclasses.dataclass(frozen=True)
class PoolHub(HubTables):
    """Run and score the adaptive pool of a hub's models from a rolling origin.

    The forecast of each date uses what was known before it: of target data with releases, the
    newest that its round could know. It is scored beside the equally weighted mean and median.

    Of a hub's folder, every target and horizon is pooled, each in a folder of its own within --out;
    as TARGET/horizonH; and pools with equal weights of its samples, pmf, cdf, means and medians are
    scored, in TARGET/results.json.

    Example: jaxcast hub pool hub/ --out pool
    """

    out: Path = Path("hub-pool")
    """Folder for the pool, results.json, weights.csv and pictures."""
    horizon: int | None = None
    """Horizon in steps, as the tables count it; by default 1 of tables, and all of a hub's folder."""
    lower: float | None = 0.0
    """The least value that the target can have; None for any."""
    follow_newest: bool = False
    """Let some of the pool's experts follow the newest target data and the newest errors. Many hubs
    revise these data later; scores on final data then promise more than such a pool delivers."""
    categories: tuple[str, ...] = ()
    """Of a hub's folder: categories of a pmf in their order; by default those of hub-config/."""
    cut_points: tuple[float, ...] = ()
    """Of a hub's folder: cut points between the categories, where no oracle output names the one
    that was observed."""
    cut_target: str | None = None
    """Of a hub's folder: target whose values are cut into categories."""
    overwrite: bool = False
    """Start afresh where the folder holds another run."""

    def run(self) -> None:
        """Runs the command."""
        if self.hub is not None:
            self.run_for_hub()
            return
        hub = self.load(1 if self.horizon is None else self.horizon)
        if not is_hub(self.paths()[0].parent):  # else it was said of all targets and horizons
            warn_of_ensembles(hub.models)
        check_lower(self.lower, hub, hub.truth)
        files = ("results.json", "pool.json", "arrays.npz", "weights.csv", "submissions.png", "weights.png")
        folder = open_folder(self, [hub], files)
        with folder.leaving_nothing():
            self.pool(hub, folder)

    def pool(self, hub: Hub, folder: RunFolder) -> None:
        """Runs, scores, saves and draws the pool.

        Args:
            hub: The hub at a horizon.
            folder: Folder of the command.
        """
        forecasts = hub.forecasts()
        pool = AdaptivePool(lower=self.lower, follow_newest=self.follow_newest)
        doing("running the adaptive pool from a rolling origin")
        output = pool_forecasts(pool, forecasts)
        doing("scoring")
        pools: dict[str, Any] = {"equal_mean": QuantileMean(), "equal_median": QuantileMedian()}
        pooled = {name: np.asarray(pool_forecasts(pool, forecasts).forecast) for name, pool in pools.items()}
        pooled["adaptive"] = np.asarray(output.forecast)
        for name, forecast in pooled.items():
            check_finite(forecast, np.asarray(forecasts.is_forecast), name, hub)
        rows = score_forecasters(pooled, hub.truth, hub.levels, baseline="equal_mean")
        test = _compared(pooled["adaptive"], pooled["equal_mean"], hub)
        about = {"steps_ahead": hub.steps_ahead, "levels": hub.levels.tolist(), "models": list(hub.models)}
        save_model(folder.path, pool, attributes=about)
        folder.write_json("results.json", {"rows": rows, "against_equal_mean": test} | facts_of([hub], is_pooled=True))
        show_scores(rows, [hub], f"{scored_dates([hub])} from a rolling origin", is_pooled=True)
        say_about_truth([hub])
        ratio = "" if test is None else f"{test['ratio']:.3f} ({test['low']:.3f} to {test['high']:.3f}); "
        say(
            f"adaptive / equal_mean: {ratio or 'too few weeks to compare; '}"
            f"{truth_note(hub, is_pooled=True)}; pool and scores in {folder.path}/"
        )
        draw_submissions(folder.path / "submissions.png", [hub])
        weights = np.asarray(output.info["weights"])
        folder.write_text("weights.csv", membership_table(hub, weights).write_csv())
        draw_weights(folder.path / "weights.png", hub, weights)

    def run_for_hub(self) -> None:
        """Pools every target, horizon and output type of a hub's folder."""
        assert self.hub is not None
        with tables_of_hub(self) as (shared, hub):
            warn_of_ensembles(models_of(hub.model_output, self.models, self.exclude), hub)
            count, reasons = run_all(commands_of(shared, hub, ("quantile", "sample"), each_horizon=True))
            others = [kind for kind in OUTPUT_TYPES if kind != "quantile"]
            kinds = types_in(shared.forecasts, self.target, others, exclude=self.exclude, bad=shared.bad)
            try:
                count += len(kinds) and self.score_types(shared, kinds)
            except InputError as error:
                announce(f"{', '.join(kinds)}: left out, as {error}")
                reasons.append(str(error))
        refuse_nothing(bool(count), self.hub, reasons)

    def score_types(self, shared: "PoolHub", kinds: Sequence[str]) -> int:
        """Scores pools of output types other than quantiles beside the models.

        Args:
            shared: The command with the hub's tables.
            kinds: The types.

        Returns:
            The number of scores.

        Raises:
            InputError: where nothing could be scored, as where all target data are pending.
        """
        horizons = None if self.horizon is None else [self.horizon]
        choice = TypeChoice.of(shared, horizons=horizons)
        scores = score_types(kinds, choice, baseline=None, common=False, with_pool=True)
        if not scores.tables:
            raise InputError(f"nothing could be scored: {shown('; '.join(scores.dropped))}")
        for line in scores.dropped:
            announce(f"not scored: {line}")
        show_types(scores, horizons or scores.tasks["horizon"].drop_nulls().unique().sort().to_list())
        for target in dict.fromkeys(row["target"] for row in scores.tables):
            own = dataclasses.replace(shared, target=target, out=folder_of(shared.out, target))
            rows = [row for row in scores.tables if row["target"] == target]
            open_folder(own, [], ("results.json",)).write_json("results.json", {"output_types": rows})
        say(f"scores of these pools in {shared.out}/, results.json of each target")
        return len(scores.tables)


def _compared(first: np.ndarray, second: np.ndarray, hub: Hub) -> dict[str, Any] | None:
    """Compares two pools; None where there are too few weeks for a test."""
    try:
        return compare_forecasters(first, second, hub.truth, hub.levels, horizon=hub.steps_ahead)
    except InputError as error:
        announce(f"not compared: {error}")
        return None
