"""The Lyapunov spectrum of a system, the dimension that follows from it, and covariant vectors."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.dynamics.systems import System
from jaxcast.dynamics.trajectories import FlowMap, check_state, flow_map, num_steps_in
from jaxcast.errors import InputError
from jaxcast.precision import highest
from jaxcast.types import Scalar, StateLike


class CovariantVectors(NamedTuple):
    """Directions in which small errors grow at the rates of the Lyapunov exponents.

    Args:
        times: in the system's time unit.
        states: of the trajectory at these times.
        vectors: columns of length one, by falling exponent; the flow carries column i of one time
            into a multiple of column i of the next.
        exponents: mean growth rates of the columns, per time unit.
    """

    times: Float[Array, " time"]
    states: Float[Array, "time dim"]
    vectors: Float[Array, "time dim vector"]
    exponents: Float[Array, " vector"]


@checked
def lyapunov_spectrum(
    system: System,
    u0: StateLike,
    *,
    duration: float,
    key: Key[Array, ""],
    num: int | None = None,
    h: float = 0.01,
    dt: float = 0.1,
    t0: float = 0.0,
    transient: float = 50.0,
) -> Float[Array, " exponent"]:
    """Estimates the Lyapunov exponents: the mean growth rates of small volumes.

        D Phi_dt(u_n) Q_n = Q_(n+1) R_n,    lambda_i = (1 / duration) sum_n log (R_n)_ii

    Q has orthonormal columns, R is an upper triangle. The sum of the first k exponents is the
    growth rate of volumes of k dimensions; the sum of all is the mean divergence of the vector
    field. `jax.vmap` over u0 and key makes many estimates, whose spread shows their error.

    Args:
        system: one system.
        u0: the state at t0 - transient.
        duration: the time over which to average, a whole multiple of dt.
        key: for the first directions.
        num: how many exponents, from the largest on; by default all.
        h: the step.
        dt: the time between orthonormalisations, a whole multiple of h; in it errors should grow
            or shrink by less than the precision of the numbers.
        t0: the time at which averaging starts.
        transient: time before t0 in which the directions turn, a whole multiple of dt.

    Returns:
        The exponents per time unit, the largest first up to the error of estimation.

    Raises:
        InputError: for times off their grid, a state of the wrong length, or more exponents than
            components.

    Source:
        Benettin, Galgani, Giorgilli and Strelcyn, Meccanica 15, 9-20 (1980).

    Example:
        >>> import jax, jaxcast
        >>> exponents = jaxcast.dynamics.lyapunov_spectrum(
        ...     jaxcast.Lorenz63(), [1.0, 1.0, 20.0], duration=20.0, transient=5.0, key=jax.random.key(0)
        ... )
        >>> round(float(exponents.sum()), 2)  # the divergence is -(sigma + 1 + beta) everywhere
        -13.67
    """
    state, frame = _start(system, u0, key, num)
    num_transient = _num_before(transient, dt)
    num_steps = num_steps_in(duration, dt, "duration", "dt")
    flow = flow_map(system, dt=dt, h=h)
    return _spectrum(flow, state, frame, t0, num_transient, num_steps)


@checked
def kaplan_yorke_dimension(exponents: Shaped[ArrayLike, " exponent"]) -> Float[Array, ""]:
    """Returns the Kaplan-Yorke dimension of an attractor from its Lyapunov exponents.

        D = k + (lambda_1 + ... + lambda_k) / |lambda_(k+1)|

    with the largest k for which the sum is not negative: volumes of D dimensions neither grow nor
    shrink. If no sum is negative, it is the number of exponents.

    Args:
        exponents: all exponents, in any order.

    Returns:
        The dimension.

    Source:
        Kaplan and Yorke, Lecture Notes in Mathematics 730, 204-227 (1979).

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.dynamics.kaplan_yorke_dimension([0.9056, 0.0, -14.5723])), 3)
        2.062
    """
    ordered = jnp.sort(jnp.asarray(exponents, float))[::-1]
    sums = jnp.cumsum(ordered)
    # A sum of rates below zero stays below zero, as later rates are negative.
    k = (sums >= 0).sum()
    padded = jnp.concatenate([jnp.zeros(1, sums.dtype), sums])
    following = jnp.where(k < len(ordered), ordered[jnp.minimum(k, len(ordered) - 1)], -jnp.inf)
    return k + padded[k] / jnp.abs(following)


@checked
def covariant_lyapunov_vectors(
    system: System,
    u0: StateLike,
    *,
    num_samples: int,
    key: Key[Array, ""],
    num: int | None = None,
    h: float = 0.01,
    dt: float = 0.1,
    t0: float = 0.0,
    transient: float = 50.0,
) -> CovariantVectors:
    """Computes the covariant Lyapunov vectors along a trajectory.

    A forward pass stores the orthonormal columns Q_n and the triangles R_n of `lyapunov_spectrum`.
    A backward pass finds the coefficients C_n of the vectors in these columns:

        R_n C_n = C_(n+1) D_n,    V_n = Q_n C_n

    with D_n diagonal, so that D Phi_dt(u_n) V_n = V_(n+1) D_n. The backward pass starts from an
    arbitrary triangle and needs a transient too. Memory holds all Q_n and R_n.

    Args:
        system: one system.
        u0: the state at t0 - transient.
        num_samples: how many times, dt apart.
        key: for the first directions of both passes.
        num: how many vectors, from that of the largest exponent on; by default all.
        h: the step.
        dt: the time between samples, a whole multiple of h.
        t0: the time of the first sample.
        transient: time before the first sample and after the last one in which the directions turn,
            a whole multiple of dt.

    Returns:
        The trajectory with its vectors, and their growth rates over it.

    Raises:
        InputError: for times off their grid, a state of the wrong length, more vectors than
            components, or no samples.

    Source:
        Ginelli, Poggi, Turchi, Chate, Livi and Politi, Phys. Rev. Lett. 99, 130601 (2007).

    Example:
        >>> import jax, jaxcast
        >>> found = jaxcast.dynamics.covariant_lyapunov_vectors(
        ...     jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=5, transient=10.0, key=jax.random.key(0)
        ... )
        >>> found.vectors.shape
        (5, 3, 3)
    """
    if num_samples < 1:
        raise InputError(f"num_samples must be at least 1, got {num_samples}")
    state, frame = _start(system, u0, key, num)
    flow = flow_map(system, dt=dt, h=h)
    return _covariant(flow, state, frame, jax.random.fold_in(key, 1), t0, _num_before(transient, dt), num_samples)


def _start(system: System, u0: StateLike, key: Array, num: int | None) -> tuple[Array, Array]:
    """Returns the state, and orthonormal directions at random."""
    state = check_state(system, u0)
    if num is not None and not 1 <= num <= system.dim:
        raise InputError(f"num must be from 1 to the {system.dim} components, got {num}")
    directions = jax.random.normal(key, (system.dim, num or system.dim), state.dtype)
    return state, jnp.linalg.qr(directions)[0]


def _num_before(transient: float, dt: float) -> int:
    return num_steps_in(transient, dt, "transient", "dt") if transient else 0


Step = Callable[[tuple[Array, Array], Array], tuple[tuple[Array, Array], Array]]


def _stepper(flow: FlowMap, t0: Scalar, dtype: jnp.dtype) -> Step:
    """Returns the step that carries a state and its directions over dt: it returns R_n."""
    dt = jnp.asarray(flow.dt, dtype)

    def step(carry: tuple[Array, Array], n: Array) -> tuple[tuple[Array, Array], Array]:
        u, frame = carry

        def carried(v: Array) -> tuple[Array, Array]:
            later: tuple[Array, Array] = jax.jvp(lambda u: flow(u, t0 + n * dt), (u,), (v,))
            return later

        u, moved = jax.vmap(carried, in_axes=1, out_axes=(None, 1))(frame)
        frame, triangle = jnp.linalg.qr(moved)
        return (u, frame), triangle

    return step


def _logs(triangles: Array) -> Array:
    return jnp.log(jnp.abs(jnp.diagonal(triangles, axis1=-2, axis2=-1)))


@partial(jax.jit, static_argnames=("num_transient", "num_steps"))
def _spectrum(flow: FlowMap, u: Array, frame: Array, t0: Scalar, num_transient: int, num_steps: int) -> Array:
    step = _stepper(flow, t0, u.dtype)

    def summed(carry: tuple[tuple[Array, Array], Array], n: Array) -> tuple[tuple[tuple[Array, Array], Array], None]:
        state, total = carry
        state, triangle = step(state, n)
        return (state, total + jnp.where(n >= 0, _logs(triangle), 0)), None

    start = ((u, frame), jnp.zeros(frame.shape[1], u.dtype))
    (_, total), _ = jax.lax.scan(summed, start, jnp.arange(-num_transient, num_steps))
    return total / (num_steps * jnp.asarray(flow.dt, u.dtype))


@partial(jax.jit, static_argnames=("num_transient", "num_samples"))
@highest
def _covariant(
    flow: FlowMap, u: Array, frame: Array, key: Array, t0: Scalar, num_transient: int, num_samples: int
) -> CovariantVectors:
    step, dt = _stepper(flow, t0, u.dtype), jnp.asarray(flow.dt, u.dtype)

    def recorded(carry: tuple[Array, Array], n: Array) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        later, triangle = step(carry, n)
        return later, (*carry, triangle)

    (u, frame), _ = jax.lax.scan(step, (u, frame), jnp.arange(-num_transient, 0))
    steps = jnp.arange(num_samples + num_transient)
    _, (states, frames, triangles) = jax.lax.scan(recorded, (u, frame), steps)

    def backward(later: Array, triangle: Array) -> tuple[Array, tuple[Array, Array]]:
        earlier = jax.scipy.linalg.solve_triangular(triangle, later)
        length = jnp.linalg.norm(earlier, axis=0)
        return earlier / length, (earlier / length, -jnp.log(length))

    size = frame.shape[1]
    last = jnp.triu(jax.random.normal(key, (size, size), u.dtype)) + jnp.eye(size, dtype=u.dtype)
    last = last / jnp.linalg.norm(last, axis=0)
    _, (coefficients, growth) = jax.lax.scan(backward, last, triangles, reverse=True)
    vectors = frames[:num_samples] @ coefficients[:num_samples]
    times = jnp.asarray(t0 + jnp.arange(num_samples) * dt)
    return CovariantVectors(times, states[:num_samples], vectors, growth[:num_samples].mean(0) / dt)
