"""Trajectories of systems of the catalogue: jaxcast against the way of dysts, seconds for each trajectory.

dysts integrates one trajectory after another by `scipy.integrate.solve_ivp` with method Radau, rtol = atol = 1e-12,
the vector field and its Jacobian compiled by numba, where it has one. It is not installed here: the same is done with
fields written for numba. jaxcast integrates many at once by fixed steps of order four, whose error over a period is
below 1e-5 standard deviations.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numba
import numpy as np
from scipy.integrate import solve_ivp

import jaxcast
from benchmarks import frame
from jaxcast.dynamics import CatalogueEntry, catalogue_entry, random_members, random_starts

SAMPLES_PER_PERIOD = 100
PEER = "scipy Radau, rtol 1e-12, numba"


@numba.njit
def lorenz(t: float, u: Any) -> Any:
    return np.array([10.0 * (u[1] - u[0]), u[0] * (28.0 - u[2]) - u[1], u[0] * u[1] - 2.667 * u[2]])


@numba.njit
def lorenz_jacobian(t: float, u: Any) -> Any:
    return np.array([[-10.0, 10.0, 0.0], [28.0 - u[2], -1.0, -u[0]], [u[1], u[0], -2.667]])


@numba.njit
def chen(t: float, u: Any) -> Any:
    return np.array([35.0 * (u[1] - u[0]), -7.0 * u[0] - u[0] * u[2] + 28.0 * u[1], u[0] * u[1] - 3.0 * u[2]])


@numba.njit
def chen_jacobian(t: float, u: Any) -> Any:
    return np.array([[-35.0, 35.0, 0.0], [-7.0 - u[2], 28.0, -u[0]], [u[1], u[0], -3.0]])


FIELDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "Lorenz": (lorenz, lorenz_jacobian),
    "Chen": (chen, chen_jacobian),
}


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures trajectories of one system, and its random members with their exponents."""
    num, num_samples = (20, 51) if quick else (1000, 300)
    for name in list(FIELDS)[: 1 if quick else None]:
        entry = catalogue_entry(name)
        starts = random_starts(entry.system, num, key=jax.random.key(0))
        functions: frame.Functions = {
            frame.OURS: partial(ours, entry, starts, num_samples),
            PEER: partial(peer, entry, num_samples),
        }
        check(entry)
        medians, compile_s = frame.in_turn(functions, repeats=3, quick=quick)
        case = f"{name}, {num} x {num_samples} samples"
        yield frame.make_row(case, "float64", threads, medians[frame.OURS] / num, PEER, medians[PEER], compile_s)
        if not quick:
            total = medians[frame.OURS] + compile_s
            case += ", compilation included"
            yield frame.make_row(case, "float64", threads, total / num, PEER, medians[PEER], compile_s)

    def members() -> Any:
        return random_members(
            "Chen", num, num_samples=num_samples, samples_per_period=SAMPLES_PER_PERIOD, key=jax.random.key(1)
        ).states

    medians, compile_s = frame.in_turn({frame.OURS: members}, repeats=3, quick=quick)
    case = f"Chen, {num} random members x {num_samples} samples and their exponents"
    yield frame.make_row(case, "float64", threads, medians[frame.OURS] / num, None, None, compile_s)


def ours(entry: CatalogueEntry, starts: Any, num_samples: int) -> Any:
    """Integrates all trajectories."""
    return jaxcast.simulate_ensemble(
        entry.system, starts, num_samples=num_samples, dt=entry.period / SAMPLES_PER_PERIOD, h=entry.h
    ).states


def peer(entry: CatalogueEntry, num_samples: int) -> np.ndarray:
    """Integrates one trajectory as dysts does."""
    field, jacobian = FIELDS[entry.name]
    times = entry.period / SAMPLES_PER_PERIOD * np.arange(num_samples)
    found = solve_ivp(
        field,
        (times[0], times[-1]),
        entry.start,
        t_eval=times,
        method="Radau",
        rtol=1e-12,
        atol=1e-12,
        jac=jacobian,
        first_step=entry.period / 5000,
    )
    return np.asarray(found.y.T)


def check(entry: CatalogueEntry) -> None:
    """Checks that both agree over the first half period."""
    found = np.asarray(ours(entry, entry.start[None], 51))[0]
    np.testing.assert_allclose(found / entry.scale, peer(entry, 51) / entry.scale, atol=1e-5)


if __name__ == "__main__":
    frame.run("benchmarks.catalogue", make_rows)
