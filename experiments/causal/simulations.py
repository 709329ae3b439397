"""Simulated data with a known effect: how often intervals cover it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast import causal

PERSISTENCE = 0.6
EFFECT = 0.5
GAP = 24
Arrays = dict[str, np.ndarray]


def persistent_noise(key: Array, shape: tuple[int, ...]) -> Float[Array, "time ..."]:
    """Returns autoregressive noise of variance one.

    Args:
        key: random key.
        shape: time first.
    """
    shocks = jax.random.normal(key, shape)
    step = lambda x, shock: (PERSISTENCE * x + (1 - PERSISTENCE**2) ** 0.5 * shock,) * 2  # noqa: E731
    return jax.lax.scan(step, shocks[0], shocks)[1]


def persistent_series(num_steps: int, key: Array) -> causal.ConfoundedSamples:
    """Simulates a series whose covariates, treatment and noise are all autocorrelated, and with them the scores.

    Args:
        num_steps: number of steps.
        key: random key.
    """
    keys = jax.random.split(key, 3)
    x = persistent_noise(keys[0], (num_steps, 4))
    treatment = jnp.tanh(x[:, 0]) + x[:, 1] / 4 + persistent_noise(keys[1], (num_steps,))
    outcome = EFFECT * treatment + jnp.sin(x[:, 0]) + x[:, 1] ** 2 / 4 + persistent_noise(keys[2], (num_steps,))
    return causal.ConfoundedSamples(outcome, treatment, x, EFFECT)


def regression(data: causal.ConfoundedSamples, columns: Array) -> tuple[Array, Array]:
    """Regresses the outcome on the treatment and some columns; returns effect and robust standard error.

    Args:
        data: the samples.
        columns: (sample, column), without the constant.
    """
    design = jnp.concatenate([data.treatment[:, None], jnp.ones_like(data.outcome)[:, None], columns], -1)
    inverse = jnp.linalg.inv(design.T @ design)
    found = inverse @ design.T @ data.outcome
    scores = design * (data.outcome - design @ found)[:, None]
    return found[0], jnp.sqrt((inverse @ scores.T @ scores @ inverse)[0, 0])


def machine(data: causal.ConfoundedSamples, key: Array, **options: Any) -> tuple[Array, Array]:
    """Returns effect and standard error of double machine learning.

    Args:
        data: the samples.
        key: random key of the folds.
        options: of `fit_partially_linear`.
    """
    found = causal.fit_partially_linear(data.outcome, data.treatment, data.covariates, key=key, **options)
    return found.effect, found.standard_error


SPLINES = causal.RidgeNuisance()
LINEAR = causal.RidgeNuisance(basis=causal.LinearBasis())
Estimator = Callable[[causal.ConfoundedSamples, Array], tuple[Array, Array]]
NO_COLUMNS = 0

PLAIN: dict[str, Estimator] = {
    "regression on the treatment": lambda data, key: regression(data, data.covariates[:, :NO_COLUMNS]),
    "regression with covariates": lambda data, key: regression(data, data.covariates),
}
DESIGNS: dict[str, tuple[Callable[[int, Array], causal.ConfoundedSamples], Mapping[str, Estimator]]] = {
    "CCDDHNR2018": (
        lambda size, key: causal.simulate_confounded(size, effect=EFFECT, key=key),
        PLAIN
        | {
            "partially linear, splines": partial(machine, nuisance=SPLINES),
            "partially linear, linear": partial(machine, nuisance=LINEAR),
        },
    ),
    "confounded series": (
        lambda size, key: causal.simulate_confounded_series(size, effect=EFFECT, key=key),
        PLAIN | {"partially linear, blocks": partial(machine, nuisance=SPLINES, blocks=True, gap=GAP)},
    ),
    "persistent series": (
        persistent_series,
        PLAIN
        | {
            "partially linear, random folds": partial(machine, nuisance=SPLINES),
            "partially linear, blocks, no lags": partial(machine, nuisance=SPLINES, blocks=True, gap=GAP, num_lags=0),
            "partially linear, blocks": partial(machine, nuisance=SPLINES, blocks=True, gap=GAP),
        },
    ),
}
"""Each design with its estimators; all have the same effect."""


def estimates(design: str, method: str, num_samples: int, num_repeats: int, seed: int) -> Arrays:
    """Returns the estimates and standard errors of one method on simulated data sets.

    Args:
        design: name of the design.
        method: name of the estimator.
        num_samples: size of a data set.
        num_repeats: number of data sets.
        seed: of the data and the folds.
    """
    keys = jax.random.split(jax.random.key(seed), num_repeats)
    effects, errors = _estimates(design, method, num_samples, keys)
    return {"effects": np.asarray(effects), "standard_errors": np.asarray(errors)}


@partial(jax.jit, static_argnums=(0, 1, 2))
def _estimates(design: str, method: str, num_samples: int, keys: Array) -> tuple[Array, Array]:
    simulate, methods = DESIGNS[design]

    def one(key: Array) -> tuple[Array, Array]:
        of_data, of_folds = jax.random.split(key)
        return methods[method](simulate(num_samples, of_data), of_folds)

    return jax.lax.map(one, keys)


def covered(found: Mapping[str, np.ndarray], truth: float) -> np.ndarray:
    """Returns which 95 % intervals cover the truth.

    Args:
        found: estimates and standard errors.
        truth: the effect.
    """
    return np.abs(found["effects"] - truth) < 1.959964 * found["standard_errors"]
