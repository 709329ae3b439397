"""What pools that weight the candidate forecasts share."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.rollout import Output


class WeightedSum:
    """y = sum_i a_i F_i with the weights that a subclass's `weigh` returns, which may take more than is said here, such as a mask."""

    def weigh(self, memory: Any, forecasts: Float[Array, "*batch model dim"]) -> Any:
        raise NotImplementedError

    def combine(self, weights: Any, forecasts: Float[Array, "*batch model dim"]) -> Output:
        return Output(jnp.einsum("...m,...md->...d", weights, forecasts), {"weights": weights})

    @checked
    def __call__(self, memory: Any, forecasts: Float[Array, "*batch model dim"], **given: Any) -> Output:
        return self.combine(self.weigh(memory, forecasts, **given), forecasts)


class ComponentWeights:
    """y_d = sum_i a_(d,i) F_(i,d) with the weights (*batch, dim, model) that a subclass's `weigh` returns."""

    def weigh(self, memory: Any, forecasts: Float[Array, "*batch model dim"]) -> Any:
        raise NotImplementedError

    def combine(self, weights: Float[Array, "*batch dim model"], forecasts: Float[Array, "*batch model dim"]) -> Output:
        forecast = jnp.einsum("...dm,...md->...d", weights, forecasts)
        return Output(forecast, {"weights": weights.mean(-2), "component_weights": weights})

    @checked
    def __call__(self, memory: Any, forecasts: Float[Array, "*batch model dim"]) -> Output:
        return self.combine(self.weigh(memory, forecasts), forecasts)
