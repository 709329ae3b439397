"""The forecasts that `experiments.enso` compares."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.ensemble import (
    AdaptiveEnsemble,
    Ensemble,
    EnsembleForecasts,
    EnsembleMean,
    EnsembleMedian,
    EnsemblePool,
    EnsembleTrimmedMean,
    GroupMean,
    RidgeToMean,
    SkillWeights,
    error_spread,
    pool_ensemble,
    pool_with_attention,
    pool_with_experts,
)
from jaxcast.io.run_folder import RunFolder

EQUAL, BEST, JOINED = "equal_mean", "adaptive", "adaptive_with_attention"
POOLS: dict[str, EnsemblePool] = {
    EQUAL: EnsembleMean(),
    "equal_mean_carried": EnsembleMean(carry=True),
    "equal_median": EnsembleMedian(),
    "trimmed_mean": EnsembleTrimmedMean(),
    "mean_of_groups": GroupMean(),
    "skill_weights": SkillWeights(),
    "linear_regression": RidgeToMean(prior_steps=0.0),
    "ridge_to_mean": RidgeToMean(),
    BEST: AdaptiveEnsemble(),
    "adaptive_not_corrected": AdaptiveEnsemble(correct=False),
    "adaptive_not_carried": AdaptiveEnsemble(carry=False),
    "adaptive_with_groups": AdaptiveEnsemble(use_groups=True),
}
ATTENTION: dict[str, dict[str, Any]] = {
    "attention": {},
    "attention_100_epochs": {"num_epochs": 100},
    "attention_8_delays": {"num_delays": 8, "learning_rate": 3e-3},
}


class Forecasts(NamedTuple):
    """Forecasts of all methods.

    Args:
        pooled: Forecasts (issue, lead) by method.
        spreads: Their standard deviations.
        weights: Weights of the models in the best pool.
    """

    pooled: dict[str, np.ndarray]
    spreads: dict[str, np.ndarray]
    weights: np.ndarray


def baselines(ensemble: Ensemble) -> dict[str, np.ndarray]:
    """Makes the forecasts that need no pool: zero, the last month, the means of kinds of models.

    Args:
        ensemble: The ensemble.
    """
    forecasts = ensemble.forecasts
    is_forecast = np.asarray(forecasts.is_forecast)
    last = np.where(is_forecast, np.asarray(forecasts.last)[:, None], np.nan)
    found = {"climatology": np.where(is_forecast, 0.0, np.nan), "persistence": last}
    values = np.where(np.asarray(forecasts.present), np.asarray(forecasts.values), np.nan)
    for number, name in enumerate(ensemble.groups if len(ensemble.groups) > 1 else ()):
        own = values[:, np.asarray(forecasts.groups) == number]
        count = np.isfinite(own).sum(1)
        found[f"{name}_mean"] = np.where(count > 0, np.nansum(own, 1) / np.maximum(count, 1), np.nan)
    return found


def spread_of_models(forecasts: EnsembleForecasts) -> np.ndarray:
    """Returns the standard deviation of the models that are present; NaN for fewer than two.

    Args:
        forecasts: The forecasts.
    """
    values = np.where(np.asarray(forecasts.present), np.asarray(forecasts.values), np.nan)
    count = np.isfinite(values).sum(1)
    mean = np.nansum(values, 1) / np.maximum(count, 1)
    squares = np.nansum((values - mean[:, None]) ** 2, 1)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def run(ensemble: Ensemble, first: int, config: Any, folder: RunFolder) -> Forecasts:
    """Runs all methods from a rolling origin.

    Args:
        ensemble: The ensemble.
        first: First issue that is scored.
        config: Settings.
        folder: Folder of the run.
    """
    forecasts = ensemble.forecasts
    pooled, weights = baselines(ensemble), np.zeros(0)
    for name, pool in POOLS.items():
        output = pool_ensemble(pool, forecasts)
        pooled[name] = np.asarray(output.forecast)
        if name == BEST:
            weights = np.asarray(output.info["weights"])
    for name in config.attention:
        pooled[name] = attended(name, forecasts, first, config, folder)
    if config.attention:  # the mean of all variants, as none is chosen
        network = np.mean([pooled[name] for name in config.attention], 0)
        pooled[JOINED] = np.asarray(pool_with_experts(AdaptiveEnsemble(), forecasts, network[None]).forecast)
    spread_of = jax.jit(error_spread)
    spreads = {name: np.asarray(spread_of(jnp.asarray(each), forecasts)) for name, each in pooled.items()}
    name = f"{EQUAL}, spread of the models"
    pooled[name], spreads[name] = pooled[EQUAL], spread_of_models(forecasts)
    return Forecasts(pooled, spreads, weights)


def attended(name: str, forecasts: EnsembleForecasts, first: int, config: Any, folder: RunFolder) -> np.ndarray:
    """Trains a variant of the paper's attention, or reads what an interrupted run had trained.

    Args:
        name: Name of the variant.
        forecasts: The forecasts.
        first: First issue that is scored.
        config: Settings.
        folder: Folder of the run.
    """

    def compute(checkpoint: Path) -> dict[str, np.ndarray]:
        options = {"num_epochs": config.num_epochs} | ATTENTION[name]
        keys = jax.random.split(jax.random.key(config.seed), config.num_seeds)
        return {"forecast": np.asarray(pool_with_attention(forecasts, first=first, keys=keys, **options).forecast)}

    found: np.ndarray = folder.stage(name, compute)["forecast"]
    return found
