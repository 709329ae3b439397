"""`jaxcast hub importance`: what each model contributes to the score of an ensemble."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from rich import box
from rich.table import Table
from rich.text import Text

from jaxcast.cli.arguments import Names
from jaxcast.cli.command import make_console
from jaxcast.cli.figures import figure_of
from jaxcast.cli.hub.commands import HubTables, facts_of, open_folder
from jaxcast.cli.hub.ensembles import warn_of_ensembles
from jaxcast.cli.hub.folder import run_for_hub
from jaxcast.cli.hub.forecast import make_pool
from jaxcast.cli.hub.output import say, say_about_truth, truth_note
from jaxcast.errors import InputError, shown
from jaxcast.hub.arrays import Hub
from jaxcast.hub.importance import ModelImportance, model_importance
from jaxcast.hub.pools.quantile_pool import MemorylessPool, QuantilePool
from jaxcast.hub.pools.rolling import task_scores
from jaxcast.io.run_folder import RunFolder
from jaxcast.io.tables import polars
from jaxcast.progress import doing

NAMES = Names(("equal_mean", "equal_median", "trimmed_mean", "linear_opinion_pool", "inverse_score"), (QuantilePool,))
Method = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(NAMES.own)}}}"), NAMES]
FILES = ("importance.csv", "importance_by_date.csv", "results.json", "importance.png")


@dataclasses.dataclass(frozen=True)
class HubImportance(HubTables):
    """Measure how much each model contributes to the score of an ensemble.

    Leaves each model out of the pool of all, and out of the pools of all subsets of them, whose
    average is its Shapley value. Both are differences of the weighted interval score (WIS): a
    positive number means that the model makes the ensemble better. Leave out what is itself an
    ensemble of the others by --exclude.

    Example: jaxcast hub importance hub/ --exclude CovidHub-ensemble --baseline CovidHub-baseline
    """

    horizon: int | None = None
    """Horizon in steps, as the tables count it; by default 1 of tables, and all of a hub's folder."""
    method: Method = "equal_mean"
    """Pool of the models, without training. A pool of your own is named with --import."""
    baseline: str | None = None
    """Model whose WIS stands for an ensemble of no model; it is not pooled. By default the mean WIS
    of the single models does."""
    num_permutations: int = 100
    """Random orders of the models, where there are more than twelve. Up to twelve, all subsets are
    pooled."""
    seed: int = 0
    """Random seed of these orders."""
    out: Path = Path("hub-importance")
    """Folder for importance.csv, importance_by_date.csv, results.json and a picture."""
    overwrite: bool = False
    """Start afresh where the folder holds other results."""

    def run(self) -> None:
        """Runs the command."""
        if self.hub is not None:
            run_for_hub(self, types=("quantile", "sample"), each_horizon=True)
            return
        hub = self.load(1 if self.horizon is None else self.horizon)
        pooled = hub.only([name for name in hub.models if name != self.baseline])
        folder = open_folder(self, [hub], FILES)
        with folder.leaving_nothing():
            self.measure(hub, pooled, folder)

    def measure(self, hub: Hub, pooled: Hub, folder: RunFolder) -> None:
        """Pools subsets of the models, and writes, prints and draws what each contributes.

        Args:
            hub: The hub at a horizon.
            pooled: The hub without the baseline.
            folder: Folder of the command.
        """
        doing("pooling subsets of the models")
        pool = make_pool(self.method)
        has_memory = not isinstance(pool, MemorylessPool)
        importance = model_importance(
            pooled.forecasts(),
            pool=pool,
            empty_score=self.empty_score(hub),
            num_permutations=self.num_permutations,
            key=jax.random.key(self.seed),
        )
        rows = importance.rows(pooled.models)
        _write(folder, importance, rows, pooled, has_memory)
        _show(rows, importance, f"{self.method}, horizon {hub.horizon}", self.baseline)
        say(truth_note(hub, is_pooled=has_memory))
        say_about_truth([hub])
        warn_of_ensembles(pooled.models)
        _draw(folder, rows)

    def empty_score(self, hub: Hub) -> np.ndarray | None:
        """Returns the WIS of the baseline at each task; None without one.

        Args:
            hub: The hub, with the baseline.

        Raises:
            InputError: for a baseline that is not among the models.
        """
        if self.baseline is None:
            return None
        if self.baseline not in hub.models:
            raise InputError(
                f"the baseline {shown(repr(self.baseline))} is not among the models {shown(', '.join(hub.models))}"
            )
        alone = hub.only([self.baseline]).forecasts()
        scores = task_scores(alone.quantiles[:, :, 0], alone)
        return np.where(alone.is_scorable, scores, np.nan)


def _write(
    folder: RunFolder, importance: ModelImportance, rows: list[dict[str, Any]], hub: Hub, has_memory: bool
) -> None:
    """Writes the tables and the results."""
    pl = polars()
    shapley, left = np.asarray(importance.shapley), np.asarray(importance.leave_one_out)
    there = ~np.isnan(shapley)
    number = there.sum(0)
    means = [np.where(there, each, 0).sum(0) / np.maximum(number, 1) for each in (left, shapley)]
    time, model = np.nonzero(number)
    by_date = pl.DataFrame(
        {
            "target_end_date": hub.dates[time].astype("datetime64[ms]"),
            "model": np.asarray(hub.models)[model],
            "leave_one_out": means[0][time, model],
            "shapley": means[1][time, model],
            "num_tasks": number[time, model],
        }
    ).with_columns(pl.col("target_end_date").cast(pl.Date))
    folder.write_text("importance.csv", pl.DataFrame(rows).write_csv())
    folder.write_text("importance_by_date.csv", by_date.write_csv())
    facts = facts_of([hub], is_pooled=has_memory)
    folder.write_json("results.json", {"rows": rows, "num_pools": importance.num_pools} | facts)


def _show(rows: list[dict[str, Any]], importance: ModelImportance, what: str, baseline: str | None) -> None:
    """Prints a table of importance."""
    nothing = "the mean WIS of the single models" if baseline is None else f"the WIS of {shown(baseline)}"
    sampled = any(row["standard_error"] for row in rows)
    table = Table(
        title=f"Importance of the models for the ensemble: {what}",
        caption="Differences of mean WIS over a model's own tasks; positive: the model makes the ensemble better. "
        f"Shapley values share out {nothing} minus that of the ensemble"
        + (f"; ± is the standard error from {importance.num_pools} sampled pools" if sampled else ""),
        box=box.SIMPLE,
    )
    table.add_column("model", overflow="fold")
    for head in ("leave one out", "Shapley", *(["±"] if sampled else []), "of WIS", "WIS alone", "tasks"):
        table.add_column(head, justify="right", no_wrap=True)
    # As many decimals as show three digits of the largest WIS.
    largest = max((row["wis"] for row in rows if row["wis"]), default=1.0)
    decimals = int(np.clip(3 - np.floor(np.log10(largest)), 1, 9))
    for row in rows:
        numbers = [row["leave_one_out"], row["shapley"], *([row["standard_error"]] if sampled else [])]
        cells = ["" if number is None else f"{number:.{decimals}f}" for number in numbers]
        cells.append("" if row["relative_shapley"] is None else f"{row['relative_shapley']:.1%}")
        cells.append("" if row["wis"] is None else f"{row['wis']:.{decimals}f}")
        table.add_row(Text(shown(row["model"])), *cells, str(row["num_tasks"]))
    make_console().print(table)


def _draw(folder: RunFolder, rows: list[dict[str, Any]]) -> None:
    """Draws the Shapley values, where matplotlib is installed."""
    from jaxcast.plotting.importance import plot_importance

    known = [row for row in rows if row["shapley"] is not None]
    try:
        figure = figure_of(height=1.2 + 0.3 * len(known))
    except InputError:
        return
    ax = plot_importance(
        figure.subplots(),
        [row["model"] for row in known],
        [row["shapley"] for row in known],
        [row["standard_error"] for row in known],
        most=len(known),
        label="Shapley value: share of the ensemble's gain in WIS, mean over a model's own tasks",
    )
    ax.set_title("Importance of the models for the ensemble")
    folder.save_figure("importance.png", figure)
