"""A cell of your own: a forecast from the newest value and its change."""

import jax.numpy as jnp

import jaxcast


class Momentum(jaxcast.DeterministicCell, jaxcast.FrozenPytree, name="momentum"):
    """u_(n+1) = u_n + damping (u_n - u_(n-1))."""

    damping: float = 0.5
    warmup = 1

    def init_carry(self, value, exogenous=None):
        return jnp.zeros_like(value)

    def __call__(self, carry, x):
        forecast = x.value + self.damping * (x.value - carry)
        return x.value, jaxcast.Output(forecast, {})
