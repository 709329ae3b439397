"""Solvers of diffrax, which choose their steps by tolerances."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxcast.dynamics.systems import System
from jaxcast.errors import InputError

ADAPTIVE = ("tsit5", "dopri5", "dopri8", "kvaerno5")
"""The solvers; the last one is implicit, for stiff systems."""


def adaptive_states(
    system: System,
    state: Array,
    times: Array,
    solver: str,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int = 1_000_000,
) -> Array:
    """Solves to a tolerance, without events; a new step starts where a schedule jumps.

    Args:
        system: one system, not a stack.
        state: at times[0].
        times: increasing, of the dtype of the state.
        solver: one of `ADAPTIVE`.
        rtol: the relative tolerance; by default 1e-12, and 1e-6 for float32 states.
        atol: the absolute tolerance, with the same default.
        max_steps: the most steps to take.

    Returns:
        The states at the times; NaN from where the solution diverges or needs more steps.

    Raises:
        InputError: for a stack of systems.
    """
    import diffrax  # heavy to import, and needed here alone

    if jax.eval_shape(_stacked_field, times[0], state, system).ndim > 1:
        raise InputError("expected one system, got a stack; solve each alone")
    default = 1e-12 if state.dtype == jnp.float64 else 1e-6
    controller: Any = diffrax.PIDController(
        rtol=default if rtol is None else rtol, atol=default if atol is None else atol
    )
    jumps = [jnp.ravel(jnp.asarray(one.jumps)) for one in system.schedules.values() if np.size(one.jumps)]
    if jumps:
        controller = diffrax.ClipStepSizeController(
            controller, jump_ts=jnp.sort(jnp.concatenate(jumps)).astype(state.dtype)
        )
    methods = (diffrax.Tsit5, diffrax.Dopri5, diffrax.Dopri8, diffrax.Kvaerno5)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_stacked_field),
        dict(zip(ADAPTIVE, methods, strict=True))[solver](),
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=state,
        # As arrays, because diffrax compiles Python numbers in.
        args=jax.tree.map(lambda leaf: jnp.asarray(leaf, state.dtype), system),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )
    states = jnp.asarray(solution.ys)
    # Where the solver gave up, what it had not reached is infinite.
    return jnp.where(jnp.isfinite(states).all(-1, keepdims=True), states, jnp.nan)


def _stacked_field(t: Any, u: Array, system: System) -> Array:
    # At module level, so that diffrax compiles once for all systems of a kind.
    return jnp.stack(system(t, u))
