"""`jaxcast ensemble score | pool`: scores the models of an ensemble, and pools of them."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.cli.command import make_console
from jaxcast.cli.ensemble.output import forecast_table, plume_figure, show_scores, weight_table
from jaxcast.cli.ensemble.tables import EnsembleTables, is_scored_from, open_folder, simple_pools
from jaxcast.ensemble.adaptive import AdaptiveEnsemble, pool_with_experts
from jaxcast.ensemble.attention import pool_with_attention
from jaxcast.ensemble.pool import pool_ensemble
from jaxcast.ensemble.report import score_categories, score_ensemble
from jaxcast.ensemble.spread import error_spread
from jaxcast.ensemble.tables import Ensemble
from jaxcast.errors import InputError
from jaxcast.io.run_folder import RunFolder
from jaxcast.progress import doing


@dataclasses.dataclass(frozen=True)
class ScoreEnsemble(EnsembleTables):
    """Score the models of an ensemble of dated point forecasts.

    Prints the RMSE of each model by lead, and relative to the equally weighted mean of all models
    over the same issues and leads, as models come and go.

    Example: jaxcast ensemble score --forecasts forecasts.csv --observations truth.csv
    """

    score_from: str | None = None
    """First issue to score."""
    out: Path | None = None
    """Folder for results.json."""
    overwrite: bool = False
    """Start afresh where the folder holds other results."""

    def run(self) -> None:
        """Runs the command."""
        ensemble = self.load()
        pooled = {name: forecast for name, forecast in simple_pools(ensemble).items() if name.startswith("equal")}
        for name in pooled.keys() & set(ensemble.models):
            raise InputError(f"a model is called {name}, as a reference of the scores; rename it in the forecasts")
        is_scored = is_scored_from(ensemble, self.score_from)
        folder = None if self.out is None else open_folder(self, ensemble, ("results.json",))
        values = np.where(np.asarray(ensemble.forecasts.present), np.asarray(ensemble.forecasts.values), np.nan)
        pooled |= {name: values[:, number] for number, name in enumerate(ensemble.models)}
        rows = score_ensemble(
            pooled, ensemble.forecasts, reference="equal_mean", blocks=ensemble.years, is_scored=is_scored
        )
        show_scores(rows, ensemble, f"Models and their mean, issues to {ensemble.issues[-1]}")
        if folder is not None:
            folder.write_json("results.json", {"rows": rows, "dropped": list(ensemble.dropped)})


@dataclasses.dataclass(frozen=True)
class PoolEnsemble(EnsembleTables):
    """Run and score pools of an ensemble's models from a rolling origin.

    The forecast of each issue uses what was known by then. The adaptive pool needs no training and
    no settings; its band is the spread of its own verified errors.

    Example: jaxcast ensemble pool --forecasts forecasts.csv --observations truth.csv --out pool
    """

    out: Path = Path("ensemble-pool")
    """Folder for results.json, forecasts.csv, weights.csv and a picture of the newest issue."""
    score_from: str | None = None
    """First issue to score; earlier ones are only learned from."""
    attention: bool = False
    """Also train the paper's attention anew for every twelve issues, from --score-from on, and let
    it be an expert of the adaptive pool."""
    num_epochs: int = 30
    """Passes of its training."""
    seed: int = 0
    """Random seed of its training."""
    overwrite: bool = False
    """Start afresh where the folder holds another run."""

    def run(self) -> None:
        """Runs the command."""
        if self.attention and self.score_from is None:
            raise InputError("--attention learns from the issues before --score-from; give that, too")
        ensemble = self.load()
        is_scored = is_scored_from(ensemble, self.score_from)
        folder = open_folder(self, ensemble, ("results.json", "forecasts.csv", "weights.csv", "plume.png"))
        with folder.leaving_nothing():
            self.pool(ensemble, is_scored, folder)

    def pool(self, ensemble: Ensemble, is_scored: np.ndarray, folder: RunFolder) -> None:
        """Runs all pools, and writes scores, forecasts, weights and a picture.

        Args:
            ensemble: The ensemble.
            is_scored: Which issues are scored.
            folder: Folder of the run.
        """
        forecasts = ensemble.forecasts
        doing("pooling from a rolling origin")
        pooled = simple_pools(ensemble)
        output = pool_ensemble(AdaptiveEnsemble(), forecasts)
        pooled["adaptive"] = np.asarray(output.forecast)
        if self.attention:
            network = pooled["attention"] = self.attended(ensemble, is_scored, folder)
            joined = pool_with_experts(AdaptiveEnsemble(), forecasts, network[None])
            pooled["adaptive_with_attention"] = np.asarray(joined.forecast)
        spread_of = jax.jit(error_spread)
        spreads = {name: np.asarray(spread_of(jnp.asarray(each), forecasts)) for name, each in pooled.items()}
        doing("scoring")
        rows = score_ensemble(
            pooled, forecasts, reference="equal_mean", blocks=ensemble.years, spreads=spreads, is_scored=is_scored
        )
        for row in rows if self.thresholds else []:
            name = row["method"]
            found = score_categories(pooled[name], spreads[name], forecasts, self.thresholds)[is_scored]
            row["rps"] = float(np.nanmean(found)) if np.isfinite(found).any() else None
        folder.write_json("results.json", {"rows": rows, "dropped": list(ensemble.dropped)})
        issues = [issue for issue in range(len(ensemble.issues)) if is_scored[issue]]
        table = forecast_table(ensemble, pooled["adaptive"], spreads["adaptive"], issues, thresholds=self.thresholds)
        folder.write_text("forecasts.csv", table)
        folder.write_text("weights.csv", weight_table(ensemble, np.asarray(output.info["weights"])))
        draw_newest(folder, ensemble, pooled["adaptive"], spreads["adaptive"])
        show_scores(rows, ensemble, f"Pools from a rolling origin, issues to {ensemble.issues[-1]}")
        make_console().print(f"forecasts, weights and scores in {folder.path}/", highlight=False, markup=False)

    def attended(self, ensemble: Ensemble, is_scored: np.ndarray, folder: RunFolder) -> np.ndarray:
        """Trains attention, or reads what an interrupted run had trained.

        Args:
            ensemble: The ensemble.
            is_scored: Which issues are scored.
            folder: Folder of the run.

        Returns:
            Its forecasts.
        """
        doing("training attention")

        def compute(checkpoint: Path) -> dict[str, Any]:
            keys = jax.random.split(jax.random.key(self.seed), 2)
            output = pool_with_attention(
                ensemble.forecasts, first=int(np.argmax(is_scored)), num_epochs=self.num_epochs, keys=keys
            )
            return {"forecast": np.asarray(output.forecast)}

        found: np.ndarray = folder.stage("attention", compute)["forecast"]
        return found


def draw_newest(folder: RunFolder, ensemble: Ensemble, pooled: np.ndarray, spread: np.ndarray) -> None:
    """Draws the newest issue, where matplotlib is installed.

    Args:
        folder: Folder of the run.
        ensemble: The ensemble.
        pooled: Pooled forecasts.
        spread: Their standard deviations.
    """
    try:
        figure = plume_figure(ensemble, pooled, spread, len(ensemble.issues) - 1)
    except InputError:
        return
    folder.save_figure("plume.png", figure)
