"""The paper's closed loop against torch in eager mode.

It has 200 windows of 128 steps, l = 5, h = 120, and eleven candidates.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from benchmarks import frame

NUM_DELAYS, HIDDEN_SIZE = 5, 120
RHOS = np.arange(28.0, 50.0, 2.0)


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures the forward pass in both precisions, then a gradient through 20 steps."""
    for dtype in ("float32", "float64"):
        num_windows, num_leads = (20, 16) if quick else (200, 128)
        pool, cell, windows = setup(num_windows, num_leads, dtype)
        functions: frame.Functions = {frame.OURS: partial(forecasts, cell, windows)}
        functions |= torch_peer(pool, windows, threads)
        case = f"closed loop, {num_windows} windows x {num_leads} leads"
        yield from frame.rows_against(case, dtype, threads, functions, quick=quick)
        check({name: function() for name, function in functions.items()})
    yield from gradient_row(threads, quick)


def setup(num_windows: int, num_leads: int, dtype: str) -> tuple[Any, Any, Any]:
    """Makes an untrained pool; the time does not depend on training."""
    truth = jaxcast.Lorenz63(rho=jaxcast.Cosine(mean=38.0, amplitude=-10.0, period=1.577132))
    start = jnp.asarray([1.0, 2.0, 20.0], dtype)
    history_size = NUM_DELAYS + 1
    trajectory = jaxcast.simulate(truth, start, num_samples=history_size + num_windows * num_leads, transient=20.0)
    windows = jaxcast.cut_windows(trajectory, num_windows=num_windows, num_leads=num_leads, history_size=history_size)
    candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=float(rho)) for rho in RHOS]))
    pool = jaxcast.AdditiveAttention(
        dim=3, num_delays=NUM_DELAYS, hidden_size=HIDDEN_SIZE, key=jax.random.key(0), dtype=jnp.dtype(dtype)
    )
    return pool, jaxcast.Forecaster(pool, candidates), windows


def forecasts(cell: Any, windows: Any) -> Any:
    """Forecasts in closed loop."""
    return jaxcast.forecast_windows(cell, windows).forecast


def gradient_row(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures the gradient of the error of 64 windows over 20 leads by all weights."""
    pool, cell, windows = setup(8 if quick else 64, 20, "float32")

    @jax.jit
    def gradient(pool: Any) -> Any:
        def loss(pool: Any) -> Any:
            forecasts = jaxcast.forecast_windows(jaxcast.Forecaster(pool, cell.forecast_map), windows).forecast
            return jnp.mean((forecasts - windows.truth) ** 2)

        return jax.grad(loss)(pool)

    functions = {frame.OURS: lambda: gradient(pool)}
    yield from frame.rows_against(
        "gradient through a closed loop of 20 steps", "float32", threads, functions, quick=quick
    )


def check(results: dict[str, Any]) -> None:
    """Checks that the first leads agree, before chaos separates them."""
    ours = np.asarray(results.pop(frame.OURS))[:, :3]
    for name, theirs in results.items():
        np.testing.assert_allclose(np.asarray(theirs)[:, :3], ours, rtol=1e-2, atol=1e-2, err_msg=name)


def torch_peer(pool: Any, windows: Any, threads: int) -> dict[str, Callable[[], Any]]:
    """Returns torch's program with the same weights, batched over windows and candidates."""
    try:
        import torch
    except ImportError:
        print("no torch here: its rows are left out", file=sys.stderr)
        return {}
    torch.set_num_threads(threads)
    dtype = {"float32": torch.float32, "float64": torch.float64}[str(windows.history.dtype)]

    def tensor(a: Any) -> Any:
        return torch.tensor(np.asarray(a), dtype=dtype)

    size = 3 * NUM_DELAYS
    kernel, bias, score = tensor(pool.hidden.kernel[...]), tensor(pool.hidden.bias[...]), tensor(pool.score.kernel[...])
    query_weights, key_weights = kernel[:size].contiguous(), kernel[size:].contiguous()
    history, rhos = tensor(windows.history), tensor(RHOS)[None, :]
    num_leads = windows.truth.shape[1]

    def field(u: Any) -> Any:
        x, y, z = u
        return 10.0 * (y - x), x * (rhos - z) - y, x * y - (8.0 / 3.0) * z

    def candidates(u: Any) -> Any:
        parts = [u[:, i, None].expand(-1, len(RHOS)) for i in range(3)]
        for _ in range(10):
            k1 = field(parts)
            k2 = field([a + 0.005 * k for a, k in zip(parts, k1, strict=True)])
            k3 = field([a + 0.005 * k for a, k in zip(parts, k2, strict=True)])
            k4 = field([a + 0.01 * k for a, k in zip(parts, k3, strict=True)])
            slopes = [a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
            parts = [a + 0.01 / 6 * s for a, s in zip(parts, slopes, strict=True)]
        return torch.stack(parts, -1)

    def run() -> Any:
        with torch.inference_mode():
            forecasts = [candidates(history[:, i]) for i in range(NUM_DELAYS)]
            states = torch.cat([history[:, i] for i in range(NUM_DELAYS, 0, -1)], -1)
            errors = torch.cat([forecasts[i - 1] - history[:, i, None] for i in range(NUM_DELAYS, 0, -1)], -1)
            value, out = history[:, -1], []
            for _ in range(num_leads):
                pending = candidates(value)
                hidden = torch.tanh((states @ query_weights)[:, None] + errors @ key_weights + bias)
                weights = torch.softmax((hidden @ score)[..., 0], -1)
                value = torch.einsum("bm,bmd->bd", weights, pending)
                out.append(value)
                states = torch.cat([value, states[:, :-3]], -1)
                errors = torch.cat([pending - value[:, None], errors[..., :-3]], -1)
            return torch.stack(out, 1)

    return {"torch, eager": run}


if __name__ == "__main__":
    frame.run("benchmarks.rollout", make_rows)
