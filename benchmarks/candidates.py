"""Eleven candidates, ten Runge-Kutta steps each, in a compiled scan: against C and a plain vmap.

One step of the scan makes the forecasts (model, dim) of every state of a batch and continues from
those of one candidate, as a closed loop does. C computes the same forecasts in its own order and is
called once for each step.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from benchmarks import frame, limit
from benchmarks.ensembles import CENTER, starts, textbook

H = 0.01
RHOS = np.arange(28.0, 50.0, 2.0)


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures batches of one state, of a minibatch, and of a whole trajectory."""
    for dtype in ("float64", "float32"):
        for batch in (1, 64) if quick else (1, 64, 4000):
            functions = cases(batch, dtype, steps_of(batch))
            case = f"11 candidates of {batch} states, {steps_of(batch)} steps"
            yield from frame.rows_against(case, dtype, threads, functions, quick=quick)


def steps_of(batch: int) -> int:
    """Returns enough steps to make dispatch negligible."""
    return max(8, 2048 // batch)


def cases(batch: int, dtype: str, num_steps: int) -> dict[str, Callable[[], Any]]:
    """Returns the programs to compare, ours first."""
    ensemble = jaxcast.stack_systems([jaxcast.Lorenz63(rho=float(rho)) for rho in RHOS])
    candidates = jaxcast.flow_map(ensemble, dt=10 * H, h=H)
    u0 = starts(batch, CENTER, dtype)

    @jax.jit
    def ours(u: Any) -> Any:
        def step(u: Any, _: None) -> Any:
            forecasts = jax.vmap(candidates)(u)
            return forecasts[:, 5], forecasts[:, 0, 0]

        return jax.lax.scan(step, u, None, length=num_steps)

    @jax.jit
    def plain(u: Any) -> Any:
        def one(rho: Any, u: Any) -> Any:
            return textbook(jaxcast.Lorenz63(rho=rho), u, 10)

        def step(u: Any, _: None) -> Any:
            rhos = jnp.asarray(RHOS, u.dtype)
            forecasts = jax.vmap(lambda u: jax.vmap(one, in_axes=(0, None))(rhos, u))(u)
            return forecasts[:, 5], forecasts[:, 0, 0]

        return jax.lax.scan(step, u, None, length=num_steps)

    np.testing.assert_allclose(ours(u0)[1][0], plain(u0)[1][0], rtol=1e-4, atol=1e-4)
    functions: dict[str, Callable[[], Any]] = {frame.OURS: lambda: ours(u0)}
    if limit.library(dtype) is not None:
        flat = limit.Ensemble(np.tile(np.asarray(u0), (len(RHOS), 1)), np.repeat(RHOS, batch))

        def in_c() -> None:
            for _ in range(num_steps):
                flat.run(10, H, 0.0)

        functions["C, SIMD and OpenMP"] = in_c
    functions["plain vmap"] = lambda: plain(u0)
    return functions


if __name__ == "__main__":
    frame.run("benchmarks.candidates", make_rows)
