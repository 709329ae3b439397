"""The largest Lyapunov exponent of a system."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import FlowMap, check_state, flow_map, num_steps_in
from jaxcast.types import Scalar, StateLike


@checked
def lyapunov_exponent(
    system: System,
    u0: StateLike,
    *,
    duration: float,
    key: Key[Array, ""],
    h: float = 0.01,
    dt: float = 0.1,
    t0: float = 0.0,
    transient: float = 50.0,
) -> Float[Array, ""]:
    """Estimates the largest Lyapunov exponent: the mean growth rate of a small error.

        lambda = (1 / duration) sum_n log |D Phi_dt(u_n) v_n|
        v_(n+1) = D Phi_dt(u_n) v_n / |D Phi_dt(u_n) v_n|

    The tangent vector v starts at random and turns towards the fastest direction during the
    transient. `jax.vmap` over u0 and key makes many estimates, whose spread shows their error.

    Args:
        system: one system.
        u0: the state at t0 - transient.
        duration: the time over which to average, a whole multiple of dt.
        key: for the first tangent vector.
        h: the step.
        dt: the time between renormalisations of v, a whole multiple of h.
        t0: the time at which averaging starts.
        transient: time before t0, a whole multiple of dt.

    Returns:
        The exponent, per time unit.

    Raises:
        InputError: for times off their grid, or a state of the wrong length.

    Source:
        Benettin, Galgani, Giorgilli and Strelcyn, Meccanica 15, 9-20 (1980).

    Example:
        >>> import jax, jaxcast
        >>> decay = jaxcast.dynamics.lyapunov_exponent(
        ...     jaxcast.Lorenz63(rho=0.5), [1.0, 1.0, 1.0], duration=20.0, key=jax.random.key(0)
        ... )
        >>> bool(decay < 0)  # below rho = 1 every trajectory decays to the origin
        True
    """
    num_transient = num_steps_in(transient, dt, "transient", "dt") if transient else 0
    num_steps = num_steps_in(duration, dt, "duration", "dt")
    state = check_state(system, u0)
    tangent = jax.random.normal(key, state.shape, state.dtype)
    return _lyapunov_exponent(flow_map(system, dt=dt, h=h), state, tangent, t0, num_transient, num_steps)


@partial(jax.jit, static_argnames=("num_transient", "num_steps"))
def _lyapunov_exponent(
    flow: FlowMap, u0: Array, tangent: Array, t0: Scalar, num_transient: int, num_steps: int
) -> Array:
    dt = jnp.asarray(flow.dt, u0.dtype)

    def step(carry: tuple[Array, Array], n: Array) -> tuple[tuple[Array, Array], Array]:
        u, v = jax.jvp(lambda u: flow(u, t0 + n * dt), carry[:1], carry[1:])
        growth = jnp.linalg.norm(v)
        return (u, v / growth), jnp.log(growth)

    start = (u0, tangent / jnp.linalg.norm(tangent))
    _, logs = jax.lax.scan(step, start, jnp.arange(-num_transient, num_steps))
    return logs[num_transient:].mean() / dt
