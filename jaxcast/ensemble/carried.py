"""Carries a model's deviation from the others over the leads that it does not forecast."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxcast.arguments import checked
from jaxcast.ensemble.arrays import EnsembleForecasts


class CarriedForecasts(NamedTuple):
    """Forecasts in which models continue beyond their last lead.

    Args:
        values: The forecasts, zero where a model is absent.
        present: Whether a model forecast, or was carried on from an earlier lead.
    """

    values: Float[Array, "issue model lead"]
    present: Bool[Array, "issue model lead"]


@checked
def carry_leads(forecasts: EnsembleForecasts) -> CarriedForecasts:
    """Continues each model over the leads that it lacks.

        x_i(l) = m(l) + x_i(l - 1) - m'(l - 1)

    m(l) is the mean of the models that are present at lead l, m'(l - 1) that of the same models at
    the lead before. Otherwise the mean of an ensemble jumps where models end: the models that
    forecast far ahead are others than those that do not. Nothing is used but the issue itself.

    Args:
        forecasts: Forecasts of the models.

    Returns:
        The forecasts with the leads that follow a model's first one filled.

    Source:
        Own design.

    Example:
        >>> import jaxcast, numpy as np
        >>> values = np.asarray([[[1.0, 2.0], [3.0, np.nan]]])
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(values, np.zeros(2), leads=(0, 1))
        >>> jaxcast.ensemble.carry_leads(forecasts).values[0].tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """

    def at(before: CarriedForecasts, here: CarriedForecasts) -> tuple[CarriedForecasts, CarriedForecasts]:
        both = here.present & before.present
        mean = mean_of(here.values, here.present, axis=1)
        mean_before = mean_of(before.values, both, axis=1)
        is_carried = ~here.present & before.present & both.any(1)[:, None]
        guess = jnp.where(is_carried, (mean - mean_before)[:, None] + before.values, 0)
        now = CarriedForecasts(jnp.where(here.present, here.values, guess), here.present | is_carried)
        return now, now

    plain = CarriedForecasts(jnp.moveaxis(forecasts.values, 2, 0), jnp.moveaxis(forecasts.present, 2, 0))
    first = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), plain)
    carried = jax.lax.scan(at, first, plain)[1]
    return CarriedForecasts(jnp.moveaxis(carried.values, 0, 2), jnp.moveaxis(carried.present, 0, 2))


def mean_of(values: Float[Array, "..."], present: Bool[Array, "..."], *, axis: int) -> Float[Array, "..."]:
    """Averages over the models that are present; zero where none is.

    Args:
        values: Values.
        present: Which of them count.
        axis: Axis of the models.

    Returns:
        The mean.
    """
    return jnp.where(present, values, 0).sum(axis) / jnp.maximum(present.sum(axis), 1)
