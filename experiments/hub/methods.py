"""Every pool of `experiments.hub`, forecasting each time from what was known then."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import jaxcast
from experiments.hub.loading import Loaded
from experiments.hub.setup import Config
from jaxcast.io.reading import Arrays
from jaxcast.io.run_folder import RunFolder

EQUAL, MEDIAN, BEST = "equal_mean", "equal_median", "adaptive"
RIVALS = (EQUAL, MEDIAN, "linear_opinion_pool", "inverse_score", "trained_average")
# Pools that learn from target data, so that revisions can cost them something.
LEARNING = ("inverse_score", "inverse_score_pooled", "trained_average", BEST, "adaptive_newest")


def rolling(config: Config, loaded: Loaded, folder: RunFolder, console: Console) -> dict[str, dict[str, np.ndarray]]:
    """Forecasts with every method.

    Args:
        config: Settings.
        loaded: The hub at one horizon.
        folder: Folder of the run.
        console: Console to print on.

    Returns:
        By what was known of the target data ("releases" of the day or their "final" form), forecasts
        (location, time, quantile) by method, NaN where there is no task. With releases, the final
        form has the methods that learn alone.
    """
    hub = loaded.hub
    final = jaxcast.hub.HubForecasts.of(hub.quantiles, hub.truth, hub.levels, horizon=hub.steps_ahead)
    kinds = {"final": hub.forecasts()} if hub.releases is None else {"releases": hub.forecasts(), "final": final}
    found = {}
    for kind, forecasts in kinds.items():
        names = LEARNING if kind == "final" and len(kinds) > 1 else (*pools(config), "trained_average")
        pooled = {}
        for name in names:

            def make(_: Path, name: str = name, forecasts: Any = forecasts) -> Arrays:
                return {key: np.asarray(value) for key, value in _pooled(name, config, forecasts).items()}

            began = time.perf_counter()
            pooled[name] = folder.stage(f"{name}_{kind}_h{hub.horizon}", make)["forecast"]
            if name == BEST:
                console.print(
                    f"{name}, horizon {hub.horizon}, {kind}: {time.perf_counter() - began:.0f} s", highlight=False
                )
        found[kind] = pooled
    next(iter(found.values())).update(loaded.beside)
    return {
        kind: {name: np.where(loaded.is_task[..., None], forecast, np.nan) for name, forecast in pooled.items()}
        for kind, pooled in found.items()
    }


def weights_of(folder: RunFolder, hub: jaxcast.hub.Hub) -> np.ndarray:
    """Returns the weights of the adaptive pool that `rolling` made (location, time, model).

    Args:
        folder: Folder of the run.
        hub: The hub.
    """
    kind = "final" if hub.releases is None else "releases"
    return folder.stage(f"{BEST}_{kind}_h{hub.horizon}", _finished)["weights"]


def pools(config: Config) -> dict[str, Any]:
    """Makes the pools that need no training.

    Args:
        config: Settings.
    """
    adaptive = jaxcast.hub.AdaptivePool(lower=config.lower)
    return {
        EQUAL: jaxcast.hub.QuantileMean(),
        MEDIAN: jaxcast.hub.QuantileMedian(),
        "trimmed_mean": jaxcast.hub.TrimmedMean(),
        "linear_opinion_pool": jaxcast.hub.LinearOpinionPool(),
        "inverse_score": jaxcast.hub.InverseScoreWeights(),
        "inverse_score_pooled": jaxcast.hub.InverseScoreWeights(pooled=True),
        BEST: adaptive,
        "adaptive_newest": dataclasses.replace(adaptive, follow_newest=True),
    }


def _pooled(name: str, config: Config, forecasts: Any) -> dict[str, Any]:
    if name == "trained_average":
        pool = jaxcast.hub.TrainedQuantileAverage.untrained(forecasts.present.shape[2])
        rolled = jaxcast.hub.rolling_origin(forecasts, pool=pool, num_optimizer_steps=config.num_optimizer_steps)
        return {"forecast": rolled.forecast}
    output = jaxcast.hub.pool_forecasts(pools(config)[name], forecasts)
    return {"forecast": output.forecast} | ({"weights": output.info["weights"]} if name == BEST else {})


def _finished(_: Path) -> Arrays:
    raise AssertionError("the stage was computed before")
