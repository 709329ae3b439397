"""A reference solution by an adaptive solver that shares no code with the Runge-Kutta steps."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import check_state
from jaxcast.errors import InputError
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
        The states at the times.

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
    import diffrax  # heavy to import, and needed here alone

    state = check_state(system, u0)
    ts = jnp.asarray(times, state.dtype)
    if jax.eval_shape(_stacked_field, ts[0], state, system).ndim > 1:
        raise InputError("expected one system, got a stack; ask for the reference of each alone")
    default = 1e-12 if state.dtype == jnp.float64 else 1e-6
    controller: Any = diffrax.PIDController(
        rtol=default if rtol is None else rtol, atol=default if atol is None else atol
    )
    if jumps := [jump for schedule in system.schedules.values() for jump in np.ravel(schedule.jumps)]:
        controller = diffrax.ClipStepSizeController(controller, jump_ts=jnp.sort(jnp.asarray(jumps, state.dtype)))
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_stacked_field),
        diffrax.Dopri8(),
        t0=ts[0],
        t1=ts[-1],
        dt0=None,
        y0=state,
        # As arrays, because diffrax compiles Python numbers in.
        args=jax.tree.map(lambda leaf: jnp.asarray(leaf, state.dtype), system),
        saveat=diffrax.SaveAt(ts=ts),
        stepsize_controller=controller,
        max_steps=max_steps,
    )
    return solution.ys


def _stacked_field(t: Any, u: Array, system: System) -> Array:
    # At module level, so that diffrax compiles once for all systems of a kind.
    return jnp.stack(system(t, u))
