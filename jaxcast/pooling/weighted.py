"""What pools that weight the candidate forecasts share."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.rollout import Output


class WeightedSum:
    """y = sum_i a_i F_i with the weights that a subclass's `weigh` returns."""

    def weigh(self, memory: Any, forecasts: Float[Array, "*batch model dim"]) -> Any:
        raise NotImplementedError

    def combine(self, weights: Any, forecasts: Float[Array, "*batch model dim"]) -> Output:
        return Output(jnp.einsum("...m,...md->...d", weights, forecasts), {"weights": weights})

    def __call__(self, memory: Any, forecasts: Float[Array, "*batch model dim"]) -> Output:
        return self.combine(self.weigh(memory, forecasts), forecasts)
