"""Double machine learning in the partially linear model."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.causal.estimates import CausalEffect, Groups, explained, over_repeats, regress
from jaxcast.causal.nuisance import Nuisance, as_nuisance
from jaxcast.causal.ridge import RidgeNuisance
from jaxcast.causal.samples import Samples, check_left, checked_samples, split_and_group
from jaxcast.causal.splits import Splits


@checked
def fit_partially_linear(
    outcome: Shaped[ArrayLike, " sample"],
    treatment: Shaped[ArrayLike, "*sample_and_treatment"],
    covariates: Shaped[ArrayLike, "sample covariate"],
    *,
    nuisance: Any = None,
    treatment_nuisance: Any = None,
    num_folds: int = 5,
    num_repeats: int = 1,
    blocks: bool = False,
    gap: int = 0,
    times: Any = None,
    clusters: Any = None,
    num_lags: int | None = None,
    splits: Splits | None = None,
    key: Key[Array, ""],
) -> CausalEffect:
    """Estimates effects of treatments whose size is the same for all samples.

        Y = theta' D + g(X) + e,    D = m(X) + v,    E[e | X, D] = 0,    E[v | X] = 0

    Regressions on the covariates, each fitted without the fold that it predicts, leave residuals U
    of the outcome and V of the treatments. Then

        theta = (sum V V')^-1 sum V U,    Var = J^-1 mean(psi psi') J^-1 / n,
        psi = V (U - V' theta),    J = mean(V V')

    An error of either regression biases theta only by its product with an error of the other. That
    no covariate is missing that moves both treatment and outcome cannot be tested from the data.

    Everything is one compiled program with `RidgeNuisance`, and runs under `jax.jit` and
    `jax.vmap`, over data sets too. Numbers are computed in JAX's default precision.

    Args:
        outcome: Y.
        treatment: D, (sample,), or (sample, treatment) for several at once, such as indicators of
            all levels but one (`treatment_indicators`).
        covariates: X, all that moves both treatment and outcome and is not moved by the treatment.
        nuisance: regression of the outcome: `RidgeNuisance`, `NetworkNuisance`, or any object with
            fit and predict. By default `RidgeNuisance()`.
        treatment_nuisance: regression of the treatments; by default the same as for the outcome. An
            object with predict_proba, and `LogisticNuisance`, go with treatments 0 and 1.
        num_folds: folds of cross-fitting.
        num_repeats: times that all is repeated with other folds. The median over repeats depends
            less on how the folds fall.
        blocks: whether folds are contiguous blocks of time rather than random samples.
        gap: time steps left out on both sides of a block; at least the longest lag among the
            covariates.
        times: time step of each sample, whole numbers or dates, where several samples share one or
            they are not in order. By default each sample is one step.
        clusters: label of each sample's cluster, such as a household. A cluster stays in one fold,
            and standard errors allow for any correlation within it.
        num_lags: time steps up to which scores are correlated, for Newey-West standard errors. By
            default 0 for random folds and T^(1/3) for blocks of T steps.
        splits: folds of your own, instead of those drawn from the key.
        key: random key of the folds.

    Returns:
        The effect, its standard error and interval, and the residuals.

    Raises:
        InputError: for other shapes, NaN or infinity, treatments that never vary, depend linearly
            on each other or are determined by the covariates, more folds than samples, a gap that
            leaves nothing to learn from, or settings that do not go together.

    Source:
        Chernozhukov et al., Econometrics Journal 21, C1-C68 (2018), section 4.1.

    Example:
        >>> import jax, jaxcast
        >>> data = jaxcast.causal.simulate_confounded(500, key=jax.random.key(0))
        >>> found = jaxcast.causal.fit_partially_linear(
        ...     data.outcome, data.treatment, data.covariates, key=jax.random.key(1)
        ... )
        >>> low, high = found.interval()
        >>> bool(low < data.effect < high)
        True
    """
    samples = checked_samples(outcome, treatment, covariates)
    folds_key, *keys = jax.random.split(key, 3)
    splits, groups = split_and_group(
        len(samples.outcome),
        num_folds=num_folds,
        num_repeats=num_repeats,
        blocks=blocks,
        gap=gap,
        times=times,
        clusters=clusters,
        num_lags=num_lags,
        splits=splits,
        key=folds_key,
    )
    residuals = held_out_residuals(samples, splits, nuisance, treatment_nuisance, tuple(keys))
    check_left("treatment", residuals[1], samples.treatments)
    found = _estimate(*residuals, samples, groups)
    return without_treatment_axis(found) if jnp.ndim(treatment) == 1 else found


def held_out_residuals(
    samples: Samples, splits: Splits, nuisance: Any, treatment_nuisance: Any, keys: tuple[Array, Array]
) -> tuple[Float[Array, "repeat sample"], Float[Array, "repeat sample treatment"]]:
    """Returns the residuals of outcome and treatments.

    Args:
        samples: the data.
        splits: folds of each repeat.
        nuisance: of the outcome; None for ridge regression.
        treatment_nuisance: of the treatments; None for that of the outcome.
        keys: random keys of both.

    Raises:
        InputError: for a nuisance that is none.
    """
    of_outcome = RidgeNuisance() if nuisance is None else as_nuisance(nuisance)
    of_treatment = of_outcome if treatment_nuisance is None else as_nuisance(treatment_nuisance)
    among = jnp.ones(len(samples.outcome), bool)

    def predicted(model: Nuisance, targets: Array, key: Array) -> Array:
        return model.predict_held_out(samples.covariates, targets, splits, among=among, key=key)

    if isinstance(of_outcome, RidgeNuisance) and of_treatment is of_outcome:  # one decomposition serves both
        both = jnp.concatenate([samples.outcome[:, None], samples.treatments], -1)
        left = both - predicted(of_outcome, both, keys[0])
        return left[..., 0], left[..., 1:]
    outcome = predicted(of_outcome, samples.outcome[:, None], keys[0])[..., 0]
    return samples.outcome - outcome, samples.treatments - predicted(of_treatment, samples.treatments, keys[1])


@jax.jit
def _estimate(outcome_residuals: Array, treatment_residuals: Array, samples: Samples, groups: Groups) -> CausalEffect:
    each = jax.vmap(lambda u, v: regress(u, v, groups))(outcome_residuals, treatment_residuals)
    found = over_repeats(each)
    deviations = jnp.sqrt(jnp.diagonal(each.covariance, axis1=1, axis2=2))
    return CausalEffect(
        found.coefficients,
        jnp.sqrt(jnp.diagonal(found.covariance)),
        found.covariance,
        each.coefficients,
        deviations,
        outcome_residuals,
        treatment_residuals,
        explained(outcome_residuals, samples.outcome),
        explained(treatment_residuals, samples.treatments),
        jnp.zeros(()),
        groups,
    )


def without_treatment_axis(found: CausalEffect) -> CausalEffect:
    """Returns the result for one treatment without its axis.

    Args:
        found: of one treatment.
    """
    return found._replace(
        effect=found.effect[0],
        standard_error=found.standard_error[0],
        covariance=found.covariance[0, 0],
        effects=found.effects[:, 0],
        standard_errors=found.standard_errors[:, 0],
        treatment_residuals=found.treatment_residuals[..., 0],
        treatment_r2=found.treatment_r2[0],
    )
