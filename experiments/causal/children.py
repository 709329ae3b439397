"""IHDP: outcomes simulated on real covariates, by Hill's two surfaces."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.causal.oracle_data import Table
from experiments.causal.simulations import Arrays, regression
from jaxcast import causal

EFFECT = 4.0
"""On both surfaces, the mean effect on the treated children."""
SURFACES = ("A", "B")
COEFFICIENTS = {"A": (0.0, 1.0, 2.0, 3.0, 4.0), "B": (0.0, 0.1, 0.2, 0.3, 0.4)}
SHARES = {"A": (0.5, 0.2, 0.15, 0.1, 0.05), "B": (0.6, 0.1, 0.1, 0.1, 0.1)}


def standardised(table: Table) -> Float[np.ndarray, "sample covariate"]:
    """Returns the covariates, those of more than two values with mean 0 and variance 1.

    Args:
        table: the children.
    """
    x = table.covariates
    is_binary = np.asarray([len(np.unique(column)) <= 2 for column in x.T])
    return np.where(is_binary, x, (x - x.mean(0)) / x.std(0))


def outcomes(surface: str, x: Array, treatment: Array, key: Array) -> Float[Array, " sample"]:
    """Simulates the outcomes of all children.

        A: y_0 ~ N(x' b, 1), y_1 ~ N(x' b + 4, 1)
        B: y_0 ~ N(exp((x + 1/2)' b), 1), y_1 ~ N(x' b - w, 1), w so that the mean effect on the treated is 4

    Args:
        surface: "A" or "B".
        x: covariates.
        treatment: 0 or 1.
        key: random key of coefficients and noise.
    """
    drawn, noise = jax.random.split(key)
    b = jax.random.choice(drawn, jnp.asarray(COEFFICIENTS[surface]), (x.shape[1],), p=jnp.asarray(SHARES[surface]))
    if surface == "A":
        mean = x @ b + EFFECT * treatment
    else:
        untreated, treated = jnp.exp((x + 0.5) @ b), x @ b
        excess = ((treated - untreated) * treatment).sum() / treatment.sum() - EFFECT
        mean = jnp.where(treatment == 1, treated - excess, untreated)
    return mean + jax.random.normal(noise, mean.shape)


METHODS = ("difference of means", "regression with covariates", "partially linear", "interactive")


def estimates(table: Table, surface: str, method: str, num_repeats: int, seed: int) -> Arrays:
    """Returns estimated effects on the treated, for simulated outcomes.

    Args:
        table: the children.
        surface: "A" or "B".
        method: name of the estimator.
        num_repeats: number of simulated outcomes.
        seed: of outcomes and folds.
    """
    keys = jax.random.split(jax.random.key(seed), num_repeats)
    effects, errors = _estimates(surface, method, jnp.asarray(standardised(table)), jnp.asarray(table.treatment), keys)
    return {"effects": np.asarray(effects), "standard_errors": np.asarray(errors)}


@partial(jax.jit, static_argnums=(0, 1))
def _estimates(surface: str, method: str, x: Array, treatment: Array, keys: Array) -> tuple[Array, Array]:
    def one(key: Array) -> tuple[Array, Array]:
        of_data, of_folds = jax.random.split(key)
        y = outcomes(surface, x, treatment, of_data)
        if method in METHODS[:2]:
            samples = causal.ConfoundedSamples(y, treatment, x, EFFECT)
            return regression(samples, x[:, :0] if method == METHODS[0] else x)
        if method == "partially linear":
            linear = causal.fit_partially_linear(y, treatment, x, key=of_folds)
            return linear.effect, linear.standard_error
        treated = causal.fit_interactive(y, treatment, x, effect_on="treated", key=of_folds)
        return treated.effect, treated.standard_error

    return jax.lax.map(one, keys)
