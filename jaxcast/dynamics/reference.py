"""A reference solution by an adaptive solver that shares no code with the Runge-Kutta steps."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.dynamics.adaptive import adaptive_states
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import check_state
from jaxcast.types import StateLike


@checked
def reference_solution(
    system: System,
    u0: StateLike,
    times: Shaped[ArrayLike, " time"] | Sequence[float],
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 1_000_000,
) -> Float[Array, "time dim"]:
    """Solves to a tolerance with diffrax's adaptive Dopri8, to check fixed-step results.

    It shares no code with the fixed-step integrator and is many times slower. It starts a new step
    where a schedule jumps.

    Args:
        system: one system, not a stack.
        u0: the state at times[0].
        times: increasing, in the system's time unit.
        rtol: the relative tolerance; by default 1e-12, and 1e-6 for float32 states.
        atol: the absolute tolerance, with the same default.
        max_steps: the most steps to take.

    Returns:
        The states at the times; NaN from where the solution diverges or needs more steps.

    Raises:
        InputError: for a state of the wrong length, or a stack of systems.

    Source:
        Kidger, On Neural Differential Equations (2021); Prince and Dormand (1981) for the method.

    Example:
        >>> import jaxcast, numpy as np
        >>> exact = jaxcast.dynamics.reference_solution(
        ...     jaxcast.Lorenz63(), [1.0, 1.0, 20.0], [0.0, 0.1], rtol=1e-6, atol=1e-6
        ... )
        >>> step = jaxcast.flow_map(jaxcast.Lorenz63(), dt=0.1, h=0.01)
        >>> bool(np.allclose(exact[1], step([1.0, 1.0, 20.0]), rtol=1e-3))
        True
    """
    state = check_state(system, u0)
    ts = jnp.asarray(times, state.dtype)
    return adaptive_states(system, state, ts, "dopri8", rtol=rtol, atol=atol, max_steps=max_steps)
