"""A pool of point forecasts that follows the newest errors: corrected experts, averaged by lead."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_flag
from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.ensemble.carried import CarriedForecasts, carry_leads
from jaxcast.ensemble.correction import correct_newest_errors
from jaxcast.ensemble.pool import EnsemblePool, equal_weights_of, median_of, weighted
from jaxcast.ensemble.skill import skill_weights
from jaxcast.ensemble.verified import over_near_leads, sum_verified
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output

POWERS = (4.0, 8.0)
SKILL_STEPS = 24.0
EXPERT_POWER = 32.0
EXPERT_STEPS = 4.0


class EnsembleExperts(NamedTuple):
    """The experts of an `AdaptiveEnsemble` before they are corrected.

    Args:
        forecasts: Their forecasts: the mean, weights by past errors, means of groups, the median.
        weights: Weights of the models, of all experts but the median.
    """

    forecasts: Float[Array, "expert issue lead"]
    weights: Float[Array, "weighting issue model lead"]


class AdaptiveEnsemble(EnsemblePool, FrozenPytree, name="ensemble_adaptive"):
    """A pool of point forecasts that is seldom worse than the mean of the models.

    It needs no training and no settings. At each issue, from what is verified by then:

        1. Models continue over the leads that they lack: `carry_leads`.
        2. Experts are the mean, the median, and `SkillWeights` to the power of 4 and 8.
        3. Each is corrected by its newest errors: `correct_newest_errors`.
        4. They are averaged at each lead, with weights by their own past squared errors, shared
           with neighbouring leads and drawn to equal ones until there is evidence.

    All of it is drawn towards the mean of the models, the more so the fewer cases are verified and
    the farther ahead a forecast reaches. Models may join, leave and return. Another unit gives the
    same pool.

    Args:
        correct: Whether to correct the experts by their newest errors.
        carry: Whether models continue over the leads that they lack.
        use_groups: Whether the means of the groups of models are experts, too.

    Raises:
        InputError: for settings that are neither true nor false.

    Source:
        Own design. Exponentially weighted averages: Cesa-Bianchi and Lugosi, Prediction, Learning,
        and Games (2006), chapter 2.

    Example:
        >>> import jaxcast, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> truth = np.cumsum(rng.normal(size=90))
        >>> values = truth[:80, None, None] + 1.0 + rng.normal(size=(80, 5, 1))
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(values, truth, leads=(0,))
        >>> output = jaxcast.ensemble.pool_ensemble(jaxcast.ensemble.AdaptiveEnsemble(), forecasts)
        >>> errors = np.asarray(output.forecast)[60:, 0] - truth[60:80]
        >>> bool(np.abs(errors).mean() < np.abs(values.mean(1)[60:, 0] - truth[60:80]).mean())
        True
    """

    correct: bool = static(default=True)
    carry: bool = static(default=True)
    use_groups: bool = static(default=False)

    def __post_init__(self) -> None:
        check_flag("correct", self.correct)
        check_flag("carry", self.carry)
        check_flag("use_groups", self.use_groups)

    def experts(self, forecasts: EnsembleForecasts) -> EnsembleExperts:
        """Makes the experts' forecasts, without the correction.

        Args:
            forecasts: Forecasts of the models, and what was known at each issue.

        Returns:
            The experts.
        """
        plain = CarriedForecasts(forecasts.values, forecasts.present)
        pooled = carry_leads(forecasts) if self.carry else plain
        equal = equal_weights_of(pooled.present, pooled.values.dtype)
        weights = [equal, *skill_weights(pooled, forecasts, POWERS, prior_steps=SKILL_STEPS)]
        for group in range(forecasts.num_groups if self.use_groups and forecasts.num_groups > 1 else 0):
            of_group = pooled.present & (forecasts.groups == group)[:, None]
            own = equal_weights_of(of_group, equal.dtype)
            weights.append(jnp.where(of_group.any(1, keepdims=True), own, equal))
        made = [weighted(each, pooled.values) for each in weights] + [median_of(*pooled)]
        is_forecast = pooled.present.any(1)
        return EnsembleExperts(jnp.where(is_forecast, jnp.stack(made), jnp.nan), jnp.stack(weights))

    def __call__(self, forecasts: EnsembleForecasts) -> Output:
        return self.join(forecasts, None)

    @highest
    def join(self, forecasts: EnsembleForecasts, others: Float[Array, "other issue lead"] | None) -> Output:
        """Pools the forecasts, with other forecasters among the experts.

        Args:
            forecasts: Forecasts of the models, and what was known at each issue.
            others: Forecasts of further experts, which are not corrected; None for none.

        Returns:
            The forecast, with the weights of models and experts.
        """
        experts = self.experts(forecasts)
        made = experts.forecasts
        if self.correct:
            made = jax.vmap(lambda each: correct_newest_errors(each, forecasts))(made)
        if others is not None:
            made = jnp.concatenate([made, jnp.where(jnp.isfinite(others), others, made.mean(0))])
        by_lead = _expert_weights(made, forecasts)
        forecast = jnp.einsum("etl,etl->tl", by_lead, jnp.where(jnp.isfinite(made), made, 0))
        own = by_lead[: len(experts.weights)]
        of_models = jnp.einsum("wtl,wtml->tml", own, experts.weights)
        total = jnp.maximum(own.sum(0), jnp.finfo(forecast.dtype).tiny)
        return Output(forecast, {"weights": of_models / total[:, None], "experts": by_lead})


@checked
def pool_with_experts(
    pool: AdaptiveEnsemble, forecasts: EnsembleForecasts, others: Shaped[ArrayLike, "other issue lead"]
) -> Output:
    """Pools the forecasts of all issues, with other forecasters among the experts.

    Such an expert may be a network, as `pool_with_attention` trains it, or an official forecast. It
    is weighed by its past squared errors, as the others are. Where it is absent it counts as the
    mean of the others. Its forecast of an issue must use what was known then.

    Args:
        pool: The pool.
        forecasts: Forecasts of the models, and what was known at each issue.
        others: Forecasts of the further experts, NaN where one is absent.

    Returns:
        The forecast (issue, lead), NaN where no model forecast, and the pool's `info`.

    Example:
        >>> import jaxcast, numpy as np
        >>> truth = np.random.default_rng(0).normal(size=90)
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(np.zeros((80, 3, 1)), truth, leads=(0,))
        >>> pool = jaxcast.ensemble.AdaptiveEnsemble()
        >>> output = jaxcast.ensemble.pool_with_experts(pool, forecasts, truth[None, :80, None])
        >>> round(float(output.info["experts"][-1, 0, 0]), 2), bool(output.info["experts"][-1, -1, 0] > 0.99)
        (0.2, True)
    """
    return _joined(pool, forecasts, jnp.asarray(others))


@jax.jit
def _joined(pool: AdaptiveEnsemble, forecasts: EnsembleForecasts, others: Array) -> Output:
    output = pool.join(forecasts, others)
    return Output(jnp.where(forecasts.is_forecast, output.forecast, jnp.nan), output.info)


def _expert_weights(
    experts: Float[Array, "expert issue lead"], forecasts: EnsembleForecasts
) -> Float[Array, "expert issue lead"]:
    """Weighs experts by their past squared errors; the weights are equal until there are some."""
    counts = jnp.isfinite(forecasts.truth) & jnp.isfinite(experts).all(0)
    squares = jnp.where(counts, (experts - forecasts.truth) ** 2, 0)
    sums = sum_verified(jnp.moveaxis(squares, 0, 2), forecasts)
    losses = over_near_leads(jnp.moveaxis(sums, 2, 0))
    cases = over_near_leads(sum_verified(counts.astype(experts.dtype), forecasts))
    tiny = jnp.finfo(experts.dtype).tiny ** 0.5
    steps: Array = forecasts.steps_ahead
    prior = EXPERT_STEPS * steps * losses.mean(0) / jnp.maximum(cases, tiny)
    return jax.nn.softmax(-EXPERT_POWER / 2 / steps * jnp.log(losses + prior + tiny), 0)
