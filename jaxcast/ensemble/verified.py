"""Sums over what is verified at each issue, from a rolling origin."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.precision import highest

RATE = 0.99
NEAR = 0.5


def sum_verified(
    terms: Float[Array, "issue lead *rest"], forecasts: EnsembleForecasts, *, rate: float | Array = RATE
) -> Float[Array, "issue lead *rest"]:
    """Sums terms of issues and leads over those verified at each issue, with weights that decay.

    Args:
        terms: A term for each issue and lead, finite; zero where it does not count.
        forecasts: When each is verified.
        rate: What remains of a term one step after it was verified.

    Returns:
        The sum at each issue, for each lead.
    """
    num_issues, num_leads = forecasts.truth.shape
    is_known = jnp.isfinite(forecasts.truth)
    arrival = jnp.where(is_known, jnp.clip(forecasts.known_from, 0, num_issues), num_issues)
    arrived = jnp.zeros((num_issues + 1, *terms.shape[1:]), terms.dtype)
    arrived = arrived.at[arrival, jnp.arange(num_leads)].add(terms)

    def at(total: Array, new: Array) -> tuple[Array, Array]:
        total = rate * total + new
        return total, total

    return jax.lax.scan(at, jnp.zeros_like(arrived[0]), arrived[:-1])[1]


@highest
def over_near_leads(sums: Float[Array, "*rest lead"], near: float | Array = NEAR) -> Float[Array, "*rest lead"]:
    """Adds to each lead the sums of other leads, with weights that fall with their distance.

    Args:
        sums: Sums by lead.
        near: Weight of the next lead; `near` squared is that of the one after it, and so on.

    Returns:
        The shared sums.
    """
    places = jnp.arange(sums.shape[-1])
    return sums @ (jnp.asarray(near, sums.dtype) ** jnp.abs(places[:, None] - places))
