"""One trajectory of 4000 samples, ten Runge-Kutta steps apart, with a moving parameter: jaxcast against its peers.

Every function returns the recorded states. "inside jit": the call is part of the user's own compiled program; "from
Python": `jaxcast.simulate` as one types it, with what checking and handing over its arguments costs.
"""

from collections.abc import Callable, Iterator
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import odeint

import jaxcast
from benchmarks import frame, limit

H, DT, RHO0, RATE = 0.01, 0.1, 28.0, 0.02
START = np.asarray([1.0, 1.0, 20.0])


class Linear(jaxcast.dynamics.SmoothSchedule):
    """A linear change: rho0 + rate t."""

    rho0: jaxcast.dynamics.Parameter
    rate: jaxcast.dynamics.Parameter

    def __call__(self, t: Any) -> Any:
        return self.rho0 + self.rate * t


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures both precisions; scipy integrates in float64 only."""
    for dtype in ("float64", "float32"):
        num_samples = 400 if quick else 4000
        start = np.asarray(START, dtype)
        functions = peers(start, num_samples)
        check(functions, start.dtype)
        from_python = functions.pop(FROM_PYTHON)
        yield from frame.rows_against(f"{num_samples} samples, inside jit", dtype, threads, functions, quick=quick)
        two = {frame.OURS: from_python} | {name: functions[name] for name in functions if name.startswith("C ")}
        yield from frame.rows_against(f"{num_samples} samples, from Python", dtype, threads, two, quick=quick)


FROM_PYTHON = "from Python"


def peers(start: np.ndarray, num_samples: int) -> dict[str, Callable[[], Any]]:
    """Returns the programs to compare, ours first."""
    system = jaxcast.Lorenz63(rho=Linear(RHO0, RATE))
    u0 = jnp.asarray(start)
    compiled = jax.jit(lambda u0: jaxcast.simulate(system, u0, num_samples=num_samples, dt=DT, h=H).states)
    functions = {
        frame.OURS: lambda: compiled(u0),
        FROM_PYTHON: lambda: jaxcast.simulate(system, u0, num_samples=num_samples, dt=DT, h=H).states,
    }
    if limit.library(start.dtype.name) is not None:
        functions["C -O3"] = lambda: limit.single(start, num_samples, 10, H, RHO0, RATE, textbook=True)
        functions["C -O3, fewest operations"] = lambda: limit.single(
            start, num_samples, 10, H, RHO0, RATE, textbook=False
        )
    functions["numba"] = numba_peer(start, num_samples)
    functions["diffrax, RK4 with fixed steps"] = diffrax_peer(u0, num_samples)
    if start.dtype == np.float64:
        times = DT * np.arange(num_samples)
        functions["scipy odeint"] = lambda: odeint(field, start, times, rtol=1e-8, atol=1e-8, tfirst=True)
    return functions


def check(functions: dict[str, Callable[[], Any]], dtype: np.dtype) -> None:
    """Checks that all agree after one unit of time, before chaos separates them."""
    reference = np.asarray(functions[FROM_PYTHON]())[:10]
    for name, function in functions.items():
        np.testing.assert_allclose(np.asarray(function())[:10], reference, rtol=1e-3, err_msg=name)


def field(t: float, u: Any) -> list[float]:
    """Computes Lorenz '63, for scipy."""
    x, y, z = u
    return [10.0 * (y - x), x * (RHO0 + RATE * t - z) - y, x * y - 8.0 / 3.0 * z]


def numba_peer(start: np.ndarray, num_samples: int) -> Callable[[], Any]:
    """Runs a compiled loop over scalars."""
    import numba

    real = start.dtype.type
    h, half, sixth = real(H), real(H / 2), real(H / 6)
    two, sigma, beta, rho0, rate = (real(v) for v in (2.0, 10.0, 8.0 / 3.0, RHO0, RATE))

    @numba.njit
    def run(start: Any) -> Any:
        out = np.empty((num_samples, 3), start.dtype)
        x, y, z = start[0], start[1], start[2]
        for n in range(num_samples):
            out[n, 0], out[n, 1], out[n, 2] = x, y, z
            for k in range(n * 10, n * 10 + 10):
                t = real(k) * h
                r1, r2, r3 = rho0 + rate * t, rho0 + rate * (t + half), rho0 + rate * (t + h)
                ax, ay, az = sigma * (y - x), x * (r1 - z) - y, x * y - beta * z
                X, Y, Z = x + half * ax, y + half * ay, z + half * az
                bx, by, bz = sigma * (Y - X), X * (r2 - Z) - Y, X * Y - beta * Z
                X, Y, Z = x + half * bx, y + half * by, z + half * bz
                cx, cy, cz = sigma * (Y - X), X * (r2 - Z) - Y, X * Y - beta * Z
                X, Y, Z = x + h * cx, y + h * cy, z + h * cz
                dx, dy, dz = sigma * (Y - X), X * (r3 - Z) - Y, X * Y - beta * Z
                x = x + sixth * (ax + two * bx + two * cx + dx)
                y = y + sixth * (ay + two * by + two * cy + dy)
                z = z + sixth * (az + two * bz + two * cz + dz)
        return out

    return lambda: run(start)


class RK4(diffrax.AbstractERK):
    """The classical method, added to diffrax as its documentation describes."""

    tableau = diffrax.ButcherTableau(
        c=np.array([0.5, 0.5, 1.0]),
        b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
        b_error=np.array([0.0, 0.0, 0.0, 0.0]),
        a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
    )
    interpolation_cls = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

    def order(self, terms: Any) -> int:
        return 4


def diffrax_solve(u0: Any, saveat: Any, num_steps: int) -> Any:
    """Runs diffrax over num_steps fixed steps of H, and half a step against rounding."""

    def vector_field(t: Any, u: Any, args: Any) -> Any:
        x, y, z = u
        return 10.0 * (y - x), x * (RHO0 + RATE * t - z) - y, x * y - 8.0 / 3.0 * z

    return diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        RK4(),
        t0=0.0,
        t1=num_steps * H + H / 2,
        dt0=H,
        y0=(u0[0], u0[1], u0[2]),
        saveat=saveat,
        max_steps=num_steps + 10,
    ).ys


def diffrax_peer(u0: Any, num_samples: int) -> Callable[[], Any]:
    """Returns diffrax's compiled program, saving at the same times."""
    times = jnp.asarray(DT * np.arange(num_samples), u0.dtype)
    steps = (num_samples - 1) * 10
    run = jax.jit(lambda u0: jnp.stack(diffrax_solve(u0, diffrax.SaveAt(ts=times), steps), -1))
    return lambda: run(u0)


if __name__ == "__main__":
    frame.run("benchmarks.single", make_rows)
