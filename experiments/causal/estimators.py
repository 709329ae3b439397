"""Estimates of one effect from a table, each with other folds for every seed."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.causal.oracle_data import Table
from experiments.causal.simulations import Arrays
from jaxcast import causal

PAIRS = causal.RidgeNuisance(basis=causal.SplineBasis(interactions=True))
PAIRS_OF_PROPENSITY = causal.LogisticNuisance(basis=causal.SplineBasis(interactions=True))
NUM_KNOTS = 4
"""Of the effect of a 401(k) by income."""


def least_squares(table: Table, seed: int, config: Any, *, covariates: bool) -> Arrays:
    """Regresses the outcome on the treatment, and perhaps on the covariates, with robust errors.

    Args:
        table: the data.
        seed: not used.
        config: settings.
        covariates: whether they are regressors too.
    """
    x = (table.covariates - table.covariates.mean(0)) / table.covariates.std(0)
    columns = [table.treatment, np.ones(len(table.outcome)), *(x.T if covariates else ())]
    design = np.stack(columns, -1)
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ table.outcome
    scores = design * (table.outcome - design @ found)[:, None]
    error = np.sqrt((inverse @ scores.T @ scores @ inverse)[0, 0])
    return {"effect": found[0], "standard_error": error, "effects": found[:1], "standard_errors": error[None]}


def forest(kind: str, seed: int, config: Any) -> Any:
    """Returns a random forest of scikit-learn.

    Args:
        kind: "regressor" or "classifier".
        seed: of its draws.
        config: settings.
    """
    from sklearn import ensemble

    make = ensemble.RandomForestRegressor if kind == "regressor" else ensemble.RandomForestClassifier
    return make(config.num_trees, min_samples_leaf=5, max_features=5 if kind == "regressor" else 3, random_state=seed)


def machine(table: Table, seed: int, config: Any, *, model: str, nuisances: Callable[[int, Any], Any]) -> Arrays:
    """Runs double machine learning, repeated over the seeds of folds.

    Args:
        table: the data.
        seed: the first.
        config: settings.
        model: "partially linear" or "interactive".
        nuisances: (seed, settings) -> those of outcome and treatment.
    """
    of_outcome, of_treatment = nuisances(seed, config)
    data = (table.outcome, table.treatment, table.covariates)
    options: Any = {"nuisance": of_outcome, "num_repeats": config.num_seeds, "key": jax.random.key(seed)}
    if model == "partially linear":
        found = causal.fit_partially_linear(*data, treatment_nuisance=of_treatment, **options)
    else:
        found = causal.fit_interactive(*data, propensity=of_treatment, **options)
    names = ("effect", "standard_error", "effects", "standard_errors", "outcome_r2", "treatment_r2", "clipped_share")
    return {name: np.asarray(value) for name, value in found._asdict().items() if name in names}


def ridge(basis: causal.Basis) -> Callable[[int, Any], Any]:
    """Returns ridge regression on a basis as the nuisance of both.

    Args:
        basis: functions of the covariates.
    """
    return lambda seed, config: (causal.RidgeNuisance(basis=basis), None)


def networks(seed: int, config: Any) -> Any:
    """Returns networks as nuisances, of fewer epochs in the smoke preset.

    Args:
        seed: not used.
        config: settings.
    """
    num_epochs = 2 if config.preset == "smoke" else 60
    return (
        causal.NetworkNuisance(num_epochs=num_epochs),
        causal.NetworkNuisance(num_epochs=num_epochs, is_probability=True),
    )


def forests(seed: int, config: Any) -> Any:
    """Returns random forests as nuisances.

    Args:
        seed: of their draws.
        config: settings.
    """
    return forest("regressor", seed, config), forest("classifier", seed, config)


linear = partial(machine, model="partially linear")
METHODS: dict[str, Callable[[Table, int, Any], Arrays]] = {
    "difference of means": partial(least_squares, covariates=False),
    "regression with covariates": partial(least_squares, covariates=True),
    "partially linear, linear": partial(linear, nuisances=ridge(causal.LinearBasis())),
    "partially linear, quadratic": partial(linear, nuisances=ridge(causal.PolynomialBasis(degree=2))),
    "partially linear, splines": partial(linear, nuisances=ridge(causal.SplineBasis())),
    "partially linear, splines and pairs": partial(linear, nuisances=lambda seed, config: (PAIRS, None)),
    "partially linear, networks": partial(linear, nuisances=networks),
    "partially linear, forests": partial(linear, nuisances=forests),
    "interactive, splines and pairs": partial(
        machine, model="interactive", nuisances=lambda seed, config: (PAIRS, PAIRS_OF_PROPENSITY)
    ),
    "interactive, forests": partial(machine, model="interactive", nuisances=forests),
}


def by_income(table: Table, config: Any) -> Arrays:
    """Estimates the effect as a function of one covariate, by splines and by networks.

    Args:
        table: the data, with income as its second covariate.
        config: settings.
    """
    average = causal.fit_partially_linear(
        table.outcome,
        table.treatment,
        table.covariates,
        nuisance=PAIRS,
        num_repeats=config.num_seeds,
        key=jax.random.key(config.seed),
    )
    income = table.covariates[:, 1:2]
    places = np.quantile(income, np.linspace(0.02, 0.98, 60))[:, None]
    splines = causal.fit_r_learner(average, income, basis=causal.SplineBasis(num_knots=NUM_KNOTS))
    settings = causal.NetworkNuisance(num_epochs=2 if config.preset == "smoke" else 100, num_seeds=config.num_seeds)
    network = causal.fit_r_learner_network(average, income, network=settings, key=jax.random.key(config.seed))
    low, high = splines.interval(places)
    found = {"places": places[:, 0], "splines": splines(places), "low": low, "high": high, "network": network(places)}
    return {name: np.asarray(values) for name, values in found.items()}
