"""Total Activation of many voxels, against NumPy and SciPy voxel by voxel, as the public port of the original does it.

1000 voxels of 200 scans take 100 steps of the dual FISTA, with lambda adapted after each; both
sides take the same steps and give the same signals. The filter is that of the balloon model for
blocks of activity.
"""

from collections.abc import Iterator
from functools import partial

import jax.numpy as jnp
import numpy as np
import scipy.signal

import jaxcast
from benchmarks import frame

NUM_SCANS = 200
PORT = "numpy, voxel by voxel"


def make_rows(threads: int, quick: bool) -> Iterator[frame.Row]:
    """Measures both dtypes for one number of cores; the port computes in float64."""
    num_voxels, num_steps = (20, 20) if quick else (1000, 100)
    random = np.random.default_rng(0)
    activity = np.repeat(random.normal(size=(NUM_SCANS // 20, num_voxels)), 20, axis=0)
    response = jaxcast.neuro.haemodynamic_response(repetition_time=1.0, num_scans=NUM_SCANS)
    signal = scipy.signal.lfilter(response, 1, activity, axis=0)
    series = signal / signal.std(0) + random.normal(size=signal.shape)
    for dtype in (np.float64, np.float32):
        functions: frame.Functions = {
            frame.OURS: partial(ours, series, num_steps, dtype),
            PORT: lambda: port(series, num_steps),
        }
        tolerance = 1e-8 if dtype == np.float64 else 1e-2
        np.testing.assert_allclose(functions[frame.OURS](), functions[PORT](), atol=tolerance)
        case = f"{num_voxels} voxels, {NUM_SCANS} scans, {num_steps} steps"
        yield from frame.rows_against(case, np.dtype(dtype).name, threads, functions, repeats=4, quick=quick)


def ours(series: np.ndarray, num_steps: int, dtype: type[np.floating]) -> jnp.ndarray:
    """Returns the signals of all voxels."""
    found = jaxcast.neuro.total_activation(
        jnp.asarray(series, dtype),
        repetition_time=1.0,
        noise_level=1.0,
        max_iterations=num_steps,
        tolerance=0.0,
        restarts=False,
    )
    return found.signal


def port(series: np.ndarray, num_steps: int) -> np.ndarray:
    """Returns the signals, one voxel after the other, each filter a call of `lfilter`."""
    made = jaxcast.neuro.haemodynamic_filter(repetition_time=1.0)
    found = np.zeros_like(series)
    for voxel in range(series.shape[1]):
        found[:, voxel] = port_of_voxel(series[:, voxel], made, num_steps)
    return found


def port_of_voxel(series: np.ndarray, made: jaxcast.neuro.HaemodynamicFilter, num_steps: int) -> np.ndarray:
    """Takes the steps for one voxel: three filters each, and one more for lambda."""

    def forward(values: np.ndarray) -> np.ndarray:
        return scipy.signal.lfilter(made.numerator, made.denominator, values)

    def transposed(values: np.ndarray) -> np.ndarray:
        return scipy.signal.lfilter(made.numerator, made.denominator, values[::-1])[::-1]

    step, noise_level = 1 / made.largest_squared_gain, 1.0
    dual = point = np.zeros_like(series)
    penalty, theta = noise_level, 1.0
    for _ in range(num_steps):
        moved = point + step * (forward(series) / penalty - forward(transposed(point)))
        new = np.clip(moved, -1, 1)
        new_theta = (1 + np.sqrt(1 + 4 * theta**2)) / 2
        point = new + (theta - 1) / new_theta * (new - dual)
        dual, theta = new, new_theta
        penalty = noise_level / np.sqrt(np.mean(transposed(dual) ** 2))
    return series - penalty * transposed(dual)


if __name__ == "__main__":
    frame.run("benchmarks.total_activation", make_rows)
