"""A pool of quantile forecasts of your own: the widest interval that any model gives."""

import jax.numpy as jnp

import jaxcast


class Widest(jaxcast.hub.MemorylessPool, jaxcast.FrozenPytree, name="widest"):
    """The lowest quantile of all models below the median, the highest above, their mean at the median."""

    def __call__(self, memory, forecasts):
        # Absent models have quantiles of zero, which are no forecasts.
        quantiles = jnp.where(forecasts.present[..., None], forecasts.quantiles, jnp.nan)
        levels = forecasts.levels
        low, high = jnp.nanmin(quantiles, 2), jnp.nanmax(quantiles, 2)
        middle = jnp.nanmean(quantiles, 2)
        return jaxcast.Output(jnp.where(levels < 0.5, low, jnp.where(levels > 0.5, high, middle)), {})
