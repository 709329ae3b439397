"""Weights of models by their past squared errors."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.ensemble.carried import CarriedForecasts, mean_of
from jaxcast.ensemble.verified import RATE, over_near_leads, sum_verified
from jaxcast.nn.layers import shares_of


def skill_weights(
    candidates: CarriedForecasts,
    forecasts: EnsembleForecasts,
    powers: Sequence[float | int],
    *,
    prior_steps: float | int,
    rate: float | int = RATE,
) -> Float[Array, "power issue model lead"]:
    """Weighs models by the inverse of their past squared errors, as `SkillWeights` says.

    Args:
        candidates: Forecasts of the models.
        forecasts: The targets, and when they are verified.
        powers: Powers of the inverse error.
        prior_steps: Cases of average errors that every model begins with, one step ahead.
        rate: What remains of an error one step after it was verified.

    Returns:
        Weights that sum to one, for each power.
    """
    values, present = candidates
    truth = jnp.where(jnp.isfinite(forecasts.truth), forecasts.truth, 0)[:, None]
    counts = present & jnp.isfinite(forecasts.truth)[:, None]
    squares = jnp.where(counts, (values - truth) ** 2, 0)
    usual = jnp.where(counts, mean_of(squares, counts, axis=1)[:, None], 0)
    # Errors, average errors and cases of every model, summed together.
    terms = jnp.moveaxis(jnp.stack([squares, usual, counts.astype(values.dtype)]), 3, 1)
    sums = sum_verified(jnp.moveaxis(terms, (1, 2), (1, 0)), forecasts, rate=rate)
    own, average, cases = over_near_leads(jnp.moveaxis(sums, 1, 3)).transpose(1, 0, 2, 3)
    per_case = average.sum(1) / jnp.maximum(cases.sum(1), jnp.finfo(values.dtype).tiny)
    prior = (prior_steps * forecasts.steps_ahead * per_case)[:, None]
    tiny = jnp.finfo(values.dtype).tiny ** 0.5
    logs = jnp.log(own + prior + tiny) - jnp.log(average + prior + tiny)
    logits = -jnp.asarray(powers, values.dtype)[:, None, None, None] / 2 * logs
    shares = shares_of(jnp.swapaxes(logits, 2, 3), jnp.swapaxes(jnp.broadcast_to(present, logits.shape), 2, 3))
    return jnp.swapaxes(shares, 2, 3)
