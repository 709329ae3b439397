"""Double machine learning in the interactive model, for a treatment that is given or not."""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.causal.estimates import CausalEffect, Groups, Regression, explained, over_repeats, score_covariance
from jaxcast.causal.logistic import LogisticNuisance
from jaxcast.causal.nuisance import as_nuisance
from jaxcast.causal.partially_linear import without_treatment_axis
from jaxcast.causal.ridge import RidgeNuisance
from jaxcast.causal.samples import Samples, checked_samples, split_and_group
from jaxcast.causal.splits import Splits
from jaxcast.checks import check_choice, check_number
from jaxcast.errors import InputError, shown
from jaxcast.tracing import is_traced
from jaxcast.types import Scalar

LEAST_OF_A_KIND = 2
"""Treated and untreated samples that every fold needs to learn from."""


@checked
def fit_interactive(
    outcome: Shaped[ArrayLike, " sample"],
    treatment: Shaped[ArrayLike, " sample"],
    covariates: Shaped[ArrayLike, "sample covariate"],
    *,
    nuisance: Any = None,
    propensity: Any = None,
    effect_on: Literal["all", "treated"] = "all",
    clip: float = 0.01,
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
    """Estimates the mean effect of a treatment of 0 or 1 that may affect every sample differently.

        Y = g_D(X) + e,    P(D = 1 | X) = p(X),    theta = E[g_1(X) - g_0(X)],
        psi = g_1 - g_0 + D (Y - g_1) / p - (1 - D) (Y - g_0) / (1 - p) - theta

    and for the treated, with q = mean(D),

        psi = (D - p (1 - D) / (1 - p)) (Y - g_0) / q - theta D / q

    g_1 is learned from the treated, g_0 from the untreated, p from all, each without the fold that
    it predicts. The estimate is right where either g or p is.

    Args:
        outcome: Y.
        treatment: D, 0 or 1.
        covariates: X, all that moves both treatment and outcome and is not moved by the treatment.
        nuisance: regression for g_1 and g_0: `RidgeNuisance`, `NetworkNuisance`, or any object with
            fit and predict. By default `RidgeNuisance()`.
        propensity: regression for p: `LogisticNuisance`, any nuisance, or any object with fit and
            predict_proba. By default `LogisticNuisance()`.
        effect_on: whose mean effect, of all samples or of the treated ones.
        clip: p is kept within [clip, 1 - clip], as samples far outside count too much. The share of
            samples for which that matters is reported; where it is large, treated and untreated
            samples are too different to be compared.
        num_folds: folds of cross-fitting.
        num_repeats: times that all is repeated with other folds.
        blocks: whether folds are contiguous blocks of time rather than random samples.
        gap: time steps left out on both sides of a block.
        times: time step of each sample, as for `fit_partially_linear`.
        clusters: label of each sample's cluster.
        num_lags: time steps up to which scores are correlated, as for `fit_partially_linear`.
        splits: folds of your own, instead of those drawn from the key.
        key: random key of the folds.

    Returns:
        The effect, its standard error and interval, and the residuals Y - g_D and D - p.

    Raises:
        InputError: for a treatment that is not 0 and 1, folds without treated or untreated samples
            to learn from, a clip outside (0, 0.5), or anything that `fit_partially_linear` refuses.

    Source:
        Chernozhukov et al., Econometrics Journal 21, C1-C68 (2018), section 5.1; Robins and
        Rotnitzky, JASA 90, 122-129 (1995).

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp
        >>> x = jax.random.normal(jax.random.key(0), (800, 2))
        >>> draw, noise = jax.random.split(jax.random.key(1))
        >>> treated = jax.random.bernoulli(draw, jax.nn.sigmoid(x[:, 0]))
        >>> outcome = x[:, 0] + treated * (1 + x[:, 1]) + jax.random.normal(noise, (800,))
        >>> found = jaxcast.causal.fit_interactive(outcome, treated, x, key=jax.random.key(2))
        >>> low, high = found.interval()
        >>> bool(low < 1.0 < high), float(found.clipped_share) < 0.05
        (True, True)
    """
    check_choice("effect_on", effect_on, ("all", "treated"))
    check_number("clip", clip, above=0, most=0.4999)
    samples = checked_samples(outcome, treatment, covariates)
    if samples.treatments.shape[1] != 1 or np.ndim(treatment) != 1:
        raise InputError(f"expected one treatment (sample,) of 0 and 1, got shape {np.shape(treatment)}")
    if not is_traced(treatment) and not np.isin(np.asarray(treatment), (0, 1)).all():
        found = shown(np.unique(np.asarray(treatment))[:4].tolist())
        raise InputError(
            f"the interactive model needs a treatment of 0 and 1, got {found}; code it so, or use fit_partially_linear"
        )
    folds_key, *keys = jax.random.split(key, 4)
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
    is_treated = samples.treatments[:, 0] == 1
    _check_kinds(is_treated, splits)
    of_outcome = RidgeNuisance() if nuisance is None else as_nuisance(nuisance)
    of_treatment = LogisticNuisance() if propensity is None else as_nuisance(propensity)
    targets = samples.outcome[:, None]
    untreated, treated = (
        of_outcome.predict_held_out(samples.covariates, targets, splits, among=among, key=own)[..., 0]
        for among, own in ((~is_treated, keys[0]), (is_treated, keys[1]))
    )
    probability = of_treatment.predict_held_out(
        samples.covariates, samples.treatments, splits, among=jnp.ones_like(is_treated), key=keys[2]
    )[..., 0]
    found = _estimate(samples, (untreated, treated, probability), clip, groups, effect_on)
    return without_treatment_axis(found)


def _check_kinds(is_treated: Array, splits: Splits) -> None:
    if is_traced(is_treated, splits):
        return
    of_each = np.asarray(splits.train) & np.stack([~np.asarray(is_treated), np.asarray(is_treated)])[:, None, None]
    least = int(of_each.sum(-1).min())
    if least < LEAST_OF_A_KIND:
        raise InputError(
            f"expected at least {LEAST_OF_A_KIND} treated and untreated samples to learn from in every fold, got "
            f"{least}; give fewer folds, or another key"
        )


@partial(jax.jit, static_argnums=4)
def _estimate(
    samples: Samples,
    predictions: tuple[Array, Array, Array],
    clip: Scalar,
    groups: Groups,
    effect_on: str,
) -> CausalEffect:
    untreated, treated, raw = predictions
    outcome, treatment = samples.outcome, samples.treatments[:, 0]
    probability = jnp.clip(raw, clip, 1 - clip)

    def one_repeat(low: Array, high: Array, chance: Array) -> Regression:
        if effect_on == "all":
            share, weight = jnp.ones((), outcome.dtype), jnp.ones_like(outcome)
            gain = high - low + treatment * (outcome - high) / chance - (1 - treatment) * (outcome - low) / (1 - chance)
        else:
            share, weight = treatment.mean(), treatment
            gain = (treatment - chance * (1 - treatment) / (1 - chance)) * (outcome - low)
        effect = gain.mean() / share
        scores = (gain - effect * weight) / share
        return Regression(effect[None], score_covariance(scores[:, None], groups) / len(outcome) ** 2)

    each = jax.vmap(one_repeat)(untreated, treated, probability)
    found = over_repeats(each)
    outcome_residuals = outcome - jnp.where(treatment == 1, treated, untreated)
    treatment_residuals = treatment[:, None] - probability[..., None]
    return CausalEffect(
        found.coefficients,
        jnp.sqrt(found.covariance[0]),
        found.covariance,
        each.coefficients,
        jnp.sqrt(each.covariance[:, 0]),
        outcome_residuals,
        treatment_residuals,
        explained(outcome_residuals, outcome),
        explained(treatment_residuals, samples.treatments),
        (raw != probability).mean(),
        groups,
    )
