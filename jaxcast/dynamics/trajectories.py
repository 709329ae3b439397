"""From a vector field to states in time: flow maps, trajectories, and a reference solution.

Time is always t0 + n h with an integer n, never accumulated. Every result depends on the solver and
on h: Lorenz trajectories with h = 0.01 and h = 0.002 differ after a few time units.
"""

import dataclasses
import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxcast.arguments import checked
from jaxcast.backends.tpu import no_float64_on_tpu
from jaxcast.clock import HasStep, Instant, is_narrow, split
from jaxcast.dynamics.adaptive import ADAPTIVE, adaptive_states
from jaxcast.dynamics.noise import AnySystem, Noise, check_one_key, with_noise
from jaxcast.dynamics.plan import SolvePlan
from jaxcast.dynamics.solve import solve
from jaxcast.dynamics.solvers import check_solver, check_tolerances
from jaxcast.dynamics.systems import System
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.tracing import is_traced
from jaxcast.types import Scalar, StateLike

MAX_STEPS = 1e8
"""The most steps in one interval; more would take hours, and are probably a wrong unit."""


class Trajectory(NamedTuple):
    """Recorded states.

    Args:
        times: in the system's time unit.
        states: one for each time; with a model axis for a stack of systems.
    """

    times: Float[Any, " time"]
    states: Float[Any, "time *model dim"]


class FlowMap(FrozenPytree, HasStep):
    """The map u(t) -> u(t + dt), made by `flow_map`.

    It is a pytree: `jax.grad` and `jax.vmap` reach the system's parameters and dt.

    Args:
        system: one system, or a stack.
        dt: the time that the map spans.
        num_substeps: RK4 steps of h = dt / num_substeps.

    Raises:
        InputError: when called without a time, if a parameter follows a schedule.
    """

    system: System
    dt: Any
    num_substeps: int = static()

    def sampling_step(self) -> Any:
        """Returns dt."""
        return self.dt

    @checked
    def __call__(self, u: StateLike, t: Scalar | Instant | None = None) -> Float[Array, "*model dim"]:
        """Computes the state a time dt later.

        Args:
            u: the state at time t.
            t: the time; not needed if no parameter follows a schedule.

        Returns:
            The state; for a stack, that of each model.
        """
        if t is None:
            if not self.system.is_autonomous:
                raise InputError("this flow map's system follows a schedule: give the time t of the state")
            t = 0.0
        state = check_state(self.system, u)
        if not is_narrow(state.dtype):
            return _flow(self, state, t if not isinstance(t, Instant) else split(t, state.dtype))
        return _flow(dataclasses.replace(self, system=self.system.with_all_digits()), state, split(t, state.dtype))


@jax.jit
def _flow(flow: FlowMap, u: Array, t: Scalar | Instant) -> Array:
    h = jnp.asarray(flow.dt, u.dtype) / flow.num_substeps
    time = split(t, u.dtype)
    return solve(SolvePlan(0, None, flow.num_substeps), flow.system, u, time, split(h, u.dtype))


@checked
def flow_map(system: System, *, dt: float = 0.1, h: float = 0.01) -> FlowMap:
    """Makes the map u(t) -> u(t + dt) of a system, integrated by RK4.

    Args:
        system: one system, or a stack.
        dt: the time that the map spans, a whole multiple of h.
        h: the step.

    Returns:
        The flow map.

    Raises:
        InputError: if dt is not a whole multiple of h, or a schedule jumps between the steps.

    Example:
        >>> import jaxcast
        >>> step = jaxcast.flow_map(jaxcast.Lorenz63(), dt=0.1, h=0.01)
        >>> step([1.0, 1.0, 20.0]).shape
        (3,)
    """
    num_substeps = num_steps_in(dt, h, "dt")
    check_jumps(system, h)
    return FlowMap(system, float(dt), num_substeps)


@checked
def simulate(
    system: System,
    u0: StateLike,
    *,
    num_samples: int,
    dt: float = 0.1,
    h: float = 0.01,
    t0: float = 0.0,
    transient: float = 0.0,
    noise: Noise | None = None,
    key: Key[Array, "..."] | None = None,
    solver: str | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> Trajectory:
    """Simulates one trajectory, by RK4 unless the system or you choose another solver.

    Sample n is the state at t0 + n dt. `jax.vmap` over u0 makes many trajectories; a stacked system
    gives one for each model.

    With float32 states the times come as NumPy's float64, as a float32 cannot hold 100000.01, and
    the schedules of jaxcast know their phase at any t0. Your own function of time, or a vector
    field that uses the time, gets it rounded to float32, unless JAX is set to float64.

    Args:
        system: one system, or a stack.
        u0: the state at t0 - transient; its dtype is the dtype of the result.
        num_samples: how many states to record.
        dt: the time between samples, a whole multiple of h.
        h: the step.
        t0: the time of the first sample.
        transient: time before t0 in which nothing is recorded, a whole multiple of h.
        noise: makes the system a stochastic one; with the same key the numbers are the same.
        key: one, for the noise. All models of a stack have the same path of it.
        solver: the method of a step. "rk4" is the default; "etdrk4" that of a `SpectralSystem` or
            `SemilinearSystem`, which also have "imex", an implicit-explicit method of order three.
            With noise there are "euler_maruyama", "milstein" and, for additive noise, "sra", of
            strong order 1.5; the others are followed by a kick as in Milstein's method. "tsit5",
            "dopri5", "dopri8" and, for stiff systems, "kvaerno5" are diffrax's adaptive solvers,
            for one system without noise. They choose their steps, whatever h is.
        rtol: the relative tolerance of an adaptive solver; by default 1e-12, and 1e-6 for float32
            states.
        atol: its absolute tolerance, with the same default.

    Returns:
        The trajectory; NaN from where it diverges, or an adaptive solver needs more than a million
        steps.

    Raises:
        InputError: for a state or vector field of the wrong length, for dt, transient or a
            schedule's jumps off the grid of steps, for no samples, for noise without one key, or
            a solver that the system does not have.

    Example:
        >>> import jaxcast
        >>> times, states = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=5, transient=10.0)
        >>> states.shape
        (5, 3)
    """
    if num_samples < 1 or int(num_samples) != num_samples:
        raise InputError(f"num_samples must be a whole number of at least 1, got {num_samples}")
    state = check_state(system, u0)
    check_solver(solver, system, noise, is_adaptive=True)
    check_tolerances(solver, rtol, atol)
    check_one_key(key)
    if solver in ADAPTIVE:
        check_arrays(f"{num_samples} samples of {system.dim} components", (num_samples, system.dim), dtype=state.dtype)
        return _adaptive(system, state, int(num_samples), dt, t0, transient, solver, rtol, atol)
    num_transient = num_steps_in(transient, h, "transient") if transient else 0
    check_jumps(system, h, t0)
    plan = SolvePlan(num_transient, int(num_samples), num_steps_in(dt, h, "dt"), solver=solver)
    check_arrays(f"{num_samples} samples of {system.dim} components", (num_samples, system.dim), dtype=state.dtype)
    if is_narrow(state.dtype):
        h = split(dt / plan.num_substeps, state.dtype)
        noisy = with_noise(system.with_all_digits(), noise, key)
        states = _recorded(noisy, state, split(t0, state.dtype), h, plan=plan)
        return Trajectory(sample_times(t0, dt, int(num_samples)), states)
    return _simulate(with_noise(system, noise, key), state, t0, dt, plan=plan)


def _adaptive(
    system: System, state: Array, num_samples: int, dt: Any, t0: Any, transient: Any, solver: str, rtol: Any, atol: Any
) -> Trajectory:
    if not (dt > 0 and transient >= 0):
        raise InputError(f"dt must be positive and transient at least 0, got dt={dt:g}, transient={transient:g}")
    times = sample_times(t0, dt, num_samples)
    # An autonomous system starts at 0, where times have most digits.
    since = times - (t0 if system.is_autonomous else 0.0)
    start = [since[0] - transient] if transient else []
    if num_samples == 1 and not transient:
        return Trajectory(times, state[None])
    ts = jnp.asarray(np.concatenate([start, since]), state.dtype)
    states = _solved_adaptively(system, state, ts, solver=solver, rtol=rtol, atol=atol)
    return Trajectory(times if is_narrow(state.dtype) else jnp.asarray(times, state.dtype), states[len(start) :])


_solved_adaptively = jax.jit(adaptive_states, static_argnames=("solver", "rtol", "atol"))


def sample_times(t0: Any, dt: Any, num_samples: int) -> Any:
    """Computes the times t0 + n dt in NumPy's float64, as float32 has too few digits far from 0.

    Args:
        t0: of the first sample; traced numbers stay JAX's.
        dt: between samples.
        num_samples: how many.

    Returns:
        The times.
    """
    return t0 + dt * (jnp if is_traced(t0, dt) else np).arange(num_samples)


@partial(jax.jit, static_argnames="plan")
def _recorded(system: AnySystem, u0: Array, t0: Any, h: Any, *, plan: SolvePlan) -> Array:
    return solve(plan, system, no_float64_on_tpu(u0), t0, h)


@partial(jax.jit, static_argnames="plan")
def _simulate(system: AnySystem, u0: Array, t0: Scalar, dt: Scalar, *, plan: SolvePlan) -> Trajectory:
    t0, dt = jnp.asarray(t0, u0.dtype), jnp.asarray(dt, u0.dtype)
    states = solve(plan, system, no_float64_on_tpu(u0), t0, dt / plan.num_substeps)
    return Trajectory(t0 + jnp.arange(plan.num_samples) * dt, states)


def num_steps_in(interval: float, h: float, name: str, step_name: str = "h") -> int:
    """Counts the steps in an interval.

    Args:
        interval: a time.
        h: the step.
        name: of the interval, for a message.
        step_name: of the step, for a message.

    Returns:
        The number of steps.

    Raises:
        InputError: unless both are positive and the interval is a whole multiple of h.
    """
    interval, h = float(interval), float(h)  # scalars of jax too: the count must be static
    if not (math.isfinite(interval) and math.isfinite(h) and h > 0 and interval > 0):
        raise InputError(f"{name} and {step_name} must be positive numbers, got {name}={interval}, {step_name}={h}")
    if not interval / h < MAX_STEPS:
        raise InputError(
            f"{name}={interval:g} is {interval / h:.3g} steps of {step_name}={h:g}; choose a larger {step_name}"
        )
    steps = round(interval / h)
    if steps < 1 or abs(steps * h - interval) > 1e-9 * interval:
        nearest = interval / max(1, steps)
        raise InputError(
            f"{name} must be a whole multiple of {step_name}, got {name}={interval}, {step_name}={h}; "
            f"{step_name}={nearest:.12g} would do"
        )
    return steps


def check_jumps(system: System, h: float, t0: float = 0.0) -> None:
    """Refuses schedules that jump between two steps; traced times pass.

    Args:
        system: any.
        h: the step.
        t0: the time of a step.

    Raises:
        InputError: for jumps that do not increase, or that are not at t0 + n h.
    """
    for name, schedule in system.schedules.items():
        if is_traced(schedule.jumps, h, t0) or not np.size(schedule.jumps):
            continue
        jumps = np.asarray(schedule.jumps, float)
        if not np.all(np.diff(jumps, axis=-1) > 0):
            raise InputError(f"the times at which {name} jumps must increase, got {shown(jumps.tolist())}")
        steps = (jumps - t0) / h
        for jump, step in zip(jumps.ravel(), steps.ravel(), strict=True):
            if not abs(step - round(step)) < 1e-6:
                nearest = t0 + round(step) * h
                raise InputError(
                    f"{name} must jump on the integrator's steps {t0:g} + n {h:g}, got a jump at {jump:g}; "
                    f"{nearest:.15g} would do"
                )


def check_state(system: System, u: StateLike) -> Float[Array, " dim"]:
    """Converts a state to a floating-point array.

    Args:
        system: whose state it is.
        u: the state.

    Returns:
        The array.

    Raises:
        InputError: unless it is one state of the system.
    """
    state = jnp.asarray(u)
    if state.ndim != 1:
        raise InputError(f"expected one state of shape ({system.dim},), got shape {state.shape}; use jax.vmap for many")
    system.check_dim(state.shape[0])
    return state if jnp.issubdtype(state.dtype, jnp.floating) else state.astype(jnp.result_type(float))
