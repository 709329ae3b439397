"""How safe the adaptive pool is: its RMSE relative to the mean's on made ensembles.

`python -m experiments.enso.made` prints the table of experiments/enso/README.md.
"""

import jax
import numpy as np

from experiments.pages import markdown
from jaxcast.ensemble import AdaptiveEnsemble, EnsembleForecasts, EnsembleMean, pool_ensemble, score_ensemble

DECAY = 0.9
"""Correlation of the truth with that of the step before."""
NOISE = 0.4
"""Standard deviation of the noise of each model: with equal ones there is no skill to learn."""
NUM_MODELS, NUM_LEADS, NUM_SEEDS = 6, 6, 12
LENGTHS = (60, 120, 240)
"""Issues; the first third is learned from alone."""
FAULTS = {
    "none: the best forecast and noise": "none",
    "too warm by 0.5": "warm",
    "a step late": "late",
    "drifting together": "drift",
}
"""What is wrong with all models of an ensemble; the truth has a standard deviation of 1."""


def made_ensemble(fault: str, num_issues: int, seed: int) -> EnsembleForecasts:
    """Makes forecasts of an autoregressive truth, from what was known a step before each issue.

    Args:
        fault: What is wrong with the models: none, warm, late or drift.
        num_issues: Number of issues.
        seed: Random seed.

    Returns:
        The forecasts.
    """
    rng = np.random.default_rng(seed)
    truth = np.zeros(num_issues + NUM_LEADS + 2)
    drift = np.zeros(num_issues)
    for step in range(1, len(truth)):
        truth[step] = DECAY * truth[step - 1] + np.sqrt(1 - DECAY**2) * rng.normal()
    for issue in range(1, num_issues):
        drift[issue] = drift[issue - 1] + 0.1 * rng.normal()
    known = truth[:num_issues] if fault == "late" else truth[1 : num_issues + 1]  # of the step before the issue
    best = known[:, None] * DECAY ** np.arange(1, NUM_LEADS + 1)
    shift = {"warm": np.full(num_issues, 0.5), "drift": drift}.get(fault, np.zeros(num_issues))
    noise = NOISE * rng.normal(size=(num_issues, NUM_MODELS, NUM_LEADS))
    values = (best + shift[:, None])[:, None] + noise
    return EnsembleForecasts.of(values, truth[2:], leads=range(NUM_LEADS))


def ratio_of(fault: str, num_issues: int) -> float:
    """Returns RMSE of the adaptive pool / that of the mean, averaged over seeds.

    Args:
        fault: What is wrong with the models.
        num_issues: Number of issues.
    """
    ratios = []
    for seed in range(NUM_SEEDS):
        forecasts = made_ensemble(fault, num_issues, seed)
        pools = {"mean": EnsembleMean(), "adaptive": AdaptiveEnsemble()}
        pooled = {name: np.asarray(pool_ensemble(pool, forecasts).forecast) for name, pool in pools.items()}
        is_scored = np.arange(num_issues) >= num_issues // 3
        ratios.append(score_ensemble(pooled, forecasts, reference="mean", is_scored=is_scored)[1]["ratio"])
    return float(np.mean(ratios))


def main() -> None:
    """Prints the table."""
    jax.config.update("jax_enable_x64", True)
    lines = [(name, *(f"{ratio_of(fault, length):.3f}" for length in LENGTHS)) for name, fault in FAULTS.items()]
    print(markdown(("fault of the models", *(f"{length} issues" for length in LENGTHS)), lines))


if __name__ == "__main__":
    main()
