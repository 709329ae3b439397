"""A small ensemble: five models of two groups, three leads, models that come and go."""

import numpy as np

import jaxcast

LEADS = (0, 1, 2)


def arrays(num_issues=36, num_models=5, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.convolve(rng.normal(size=num_issues + 13), np.ones(6) / 2, "same")[: num_issues + 3]
    target = np.arange(num_issues)[:, None] + np.asarray(LEADS)
    noise = rng.normal(size=(num_issues, num_models, 3)) * np.linspace(0.3, 1.5, num_models)[:, None]
    values = truth[target][:, None] + 0.5 * np.asarray([1.0, 1.5, 2.0]) + noise
    values[:, 1, 2] = np.nan  # a model of two leads
    values[:12, 2] = np.nan  # one that joins
    values[20:25, 3] = np.nan  # one that pauses
    values[15] = np.nan  # an issue that is missing
    return values, truth


def forecasts(values, truth, **changes):
    options = {"leads": LEADS, "verified": 3, "groups": (0, 0, 1, 1, 1), "num_seasons": 4}
    options |= {"seasons": np.arange(len(values) + 3) % 4, "last": truth[: len(values)] + 0.1}
    return jaxcast.ensemble.EnsembleForecasts.of(values, truth, **(options | changes))
