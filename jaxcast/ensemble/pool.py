"""The base class of pools of point forecasts, and what such pools are made of."""

from abc import abstractmethod

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.arguments import checked
from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.ensemble.carried import CarriedForecasts, carry_leads
from jaxcast.registry import Saveable
from jaxcast.rollout import Output


class EnsemblePool(Saveable):
    """Base of pools of point forecasts: one forecast of each issue and lead from those of many models.

    The forecast of an issue uses what is verified by then, and no later forecast. A subclass is a
    `FrozenPytree`. One with a name, and defaults for all its fields, can be named on the command
    line.

    Example:
        >>> import jaxcast, jax.numpy as jnp, numpy as np
        >>> class Highest(jaxcast.ensemble.EnsemblePool, jaxcast.FrozenPytree):
        ...     def __call__(self, forecasts):
        ...         return jaxcast.Output(jnp.where(forecasts.present, forecasts.values, -jnp.inf).max(1), {})
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of([[[1.0], [3.0]]], [2.0], leads=(0,))
        >>> jaxcast.ensemble.pool_ensemble(Highest(), forecasts).forecast.tolist()
        [[3.0]]
    """

    @abstractmethod
    def __call__(self, forecasts: EnsembleForecasts) -> Output:
        """Pools the forecasts of all issues.

        Args:
            forecasts: Forecasts of the models, and what was known at each issue.

        Returns:
            The forecast (issue, lead). A pool with weights reports them as `info["weights"]`
            (issue, model, lead).
        """


@checked
def pool_ensemble(pool: EnsemblePool, forecasts: EnsembleForecasts) -> Output:
    """Pools the forecasts of all issues, from a rolling origin.

    Args:
        pool: Any `EnsemblePool`.
        forecasts: Forecasts of the models, and what was known at each issue.

    Returns:
        The forecast (issue, lead), NaN where no model forecast, and the pool's `info`.

    Example:
        >>> import jaxcast
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of([[[1.0], [3.0]]], [2.0], leads=(0,))
        >>> jaxcast.ensemble.pool_ensemble(jaxcast.ensemble.EnsembleMean(), forecasts).forecast.tolist()
        [[2.0]]
    """
    return _pooled(pool, forecasts)


@jax.jit
def _pooled(pool: EnsemblePool, forecasts: EnsembleForecasts) -> Output:
    output = pool(forecasts)
    return Output(jnp.where(forecasts.is_forecast, output.forecast, jnp.nan), output.info)


def candidates(forecasts: EnsembleForecasts, *, carry: bool) -> CarriedForecasts:
    """Returns the forecasts to pool, with or without the leads that models lack.

    Args:
        forecasts: Forecasts of the models.
        carry: Whether models continue over the leads that they lack, as `carry_leads` does.
    """
    return carry_leads(forecasts) if carry else CarriedForecasts(forecasts.values, forecasts.present)


def weighted(
    weights: Float[Array, "issue model lead"], values: Float[Array, "issue model lead"]
) -> Float[Array, "issue lead"]:
    """Averages forecasts with weights that sum to one.

    Args:
        weights: Weights, zero where a model is absent.
        values: Forecasts.

    Returns:
        The average.
    """
    return (weights * values).sum(1)


def equal_weights_of(present: Bool[Array, "issue model lead"], dtype: jnp.dtype) -> Float[Array, "issue model lead"]:
    """Gives every model that is present the same weight.

    Args:
        present: Whether a model is present.
        dtype: Type of the weights.

    Returns:
        Weights that sum to one; all zero where no model is present.
    """
    return (present / jnp.maximum(present.sum(1, keepdims=True), 1)).astype(dtype)


def median_of(values: Float[Array, "issue model lead"], present: Bool[Array, "issue model lead"]) -> Array:
    """Returns the median of the models that are present; zero where none is.

    Args:
        values: Forecasts.
        present: Whether a model is present.
    """
    ordered = jnp.sort(jnp.where(present, values, jnp.inf), 1)
    count = present.sum(1, keepdims=True)
    low = jnp.take_along_axis(ordered, jnp.maximum((count - 1) // 2, 0), 1)[:, 0]
    high = jnp.take_along_axis(ordered, count // 2 * (count > 0), 1)[:, 0]
    return jnp.where(count[:, 0] > 0, (low + high) / 2, 0)
