"""Two pools of your own: one fitted in closed form, one trained by gradients."""

import jax
import jax.numpy as jnp
from flax import nnx

import jaxcast


class InverseErrors(
    jaxcast.pooling.WeightedSum,
    jaxcast.pooling.FittedPool,
    jaxcast.pooling.DelayPool,
    jaxcast.FrozenPytree,
    name="inverse_errors",
):
    """Weights each candidate by its latest squared errors: a_i ~ 1 / (e_i^2 + floor)."""

    floor: float
    num_delays: int = jaxcast.static(default=1)

    @classmethod
    def fit(cls, samples):
        smallest = (samples.memory.errors**2).sum((1, 3)).min(-1)
        return cls(jnp.median(smallest), samples.memory.states.shape[1])

    def weigh(self, memory, forecasts):
        inverse = 1 / ((self.errors_in(memory) ** 2).sum((-3, -1)) + self.floor)
        return inverse / inverse.sum(-1, keepdims=True)


class LearnedErrors(jaxcast.pooling.WeightedSum, jaxcast.pooling.DelayPool, jaxcast.nn.Network, name="learned_errors"):
    """Weights each candidate by a learned, linear score of its latest squared errors."""

    def __init__(self, *, dim, num_delays, key, dtype=jnp.float32):
        self.num_delays = num_delays
        self.score = nnx.Param(0.01 * jax.random.normal(key, (num_delays, dim), dtype))

    @property
    def config(self):
        dim = self.score.shape[-1]
        return {"dim": dim, "num_delays": self.num_delays, "dtype": str(self.score.dtype)}

    def weigh(self, memory, forecasts):
        scores = jnp.einsum("...lmd,ld->...m", self.errors_in(memory) ** 2, self.score[...])
        return jax.nn.softmax(-scores).astype(forecasts.dtype)
