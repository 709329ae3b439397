"""What a filter must beat: a climatological mean, and analyses with a covariance that never changes."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

import jaxcast


class StaticFilter(jaxcast.FrozenPytree, jaxcast.DeterministicCell):
    """Optimal interpolation or 3D-Var: u <- f + B (B + R)^-1 (y - f), for a state seen in whole.

    Args:
        model: u -> u one step later; None where f is always the background, as in optimal
            interpolation.
        background: f at the start.
        covariance: B, that of f.
        noise: root of R.
    """

    model: Any
    background: Float[Any, " dim"]
    covariance: Float[Any, "dim dim"]
    noise: Any

    warmup = 0

    def init_carry(self, value: Float[Array, " dim"], exogenous: Any = None) -> Float[Array, " dim"]:
        return jnp.asarray(self.background, value.dtype)

    def __call__(self, carry: Float[Array, " dim"], x: jaxcast.Input) -> tuple[Array, jaxcast.Output]:
        total = self.covariance + self.noise**2 * jnp.eye(len(carry))
        analysis = carry + self.covariance @ jnp.linalg.solve(total, x.value - carry)
        spread = jnp.sqrt(jnp.diag(self.covariance - self.covariance @ jnp.linalg.solve(total, self.covariance)))
        forecast = carry if self.model is None else self.model(analysis)
        return forecast, jaxcast.Output(forecast, {"analysis": analysis, "analysis_spread": spread})
