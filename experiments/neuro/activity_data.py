"""Stored data of the part "activity": the phantom with the original's output, and a series with events."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxcast import InputError
from jaxcast.errors import shown
from jaxcast.neuro import haemodynamic_filter, total_activation, wiener_activity

EVENT_TR = 2.0
LAGS = np.arange(-2, 9)
"""Scans before and after an event."""
Arrays = dict[str, np.ndarray]


def phantom_rows(data: Path, folder: Any) -> list[dict[str, Any]]:
    """Compares signals with those that the original program found, voxel by voxel.

    Args:
        data: folder of the data.
        folder: of the output.
    """
    arrays = np.load(data / "phantom_10x10x10.npz")
    series, theirs = (arrays[name].astype(float) for name in ("bold", "matlab_block_temporal"))
    level = np.sqrt(np.mean((series - theirs) ** 2, 0))
    original = dict(restarts=False, tolerance=0.0, max_iterations=2500)
    runs: dict[str, dict[str, Any]] = {
        "the original's 2500 steps, noise level estimated": original,
        "the original's 2500 steps, its residual level": original | dict(noise_level=level),
        "converged, its residual level": dict(noise_level=level),
    }
    matrix = haemodynamic_filter(repetition_time=1.0).matrix(len(series))
    rows = []
    for number, (method, settings) in enumerate(runs.items()):

        def compute(_: Path, settings: dict[str, Any] = settings) -> Arrays:
            found = total_activation(series, repetition_time=1.0, **settings)
            return {name: np.asarray(value) for name, value in found._asdict().items()}

        found = folder.stage(f"phantom_{number}", compute)
        rms = np.sqrt(np.mean((found["signal"] - theirs) ** 2, 0))
        ours, original_ones = (objective(x, series, found["penalty"], matrix) for x in (found["signal"], theirs))
        differs = rms > 1e-3
        rows.append(
            {
                "data": "phantom",
                "method": method,
                "num_voxels": len(rms),
                "num_seeds": 1,
                "rms_median": float(np.median(rms)),
                "rms_largest": float(rms.max()),
                "share_within_1e-3": float((rms <= 1e-3).mean()),
                "share_within_3e-3": float((rms <= 3e-3).mean()),
                "num_differing": int(differs.sum()),
                "num_differing_with_smaller_objective": int((ours < original_ones)[differs].sum()),
                "objective": float(ours.mean()),
                "objective_of_the_original": float(original_ones.mean()),
                "least_gain_where_differing": float((original_ones - ours)[differs].min()) if differs.any() else None,
                "gap_median": float(np.median(found["gap"])),
                "gap_largest": float(found["gap"].max()),
                "iterations_median": float(np.median(found["num_iterations"])),
                "published": None,
            }
        )
    return rows


def objective(signal: np.ndarray, series: np.ndarray, penalty: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns 1/2 |y - x|^2 + lambda |A x|_1 of each voxel.

    Args:
        signal: x.
        series: y.
        penalty: lambda.
        matrix: A.
    """
    return np.asarray(((series - signal) ** 2).sum(0) / 2 + penalty * np.abs(matrix @ signal).sum(0))


def event_rows(data: Path, folder: Any) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Tells whether activity follows the events of a measured series.

    Args:
        data: folder of the data.
        folder: of the output.

    Returns:
        The rows, and the mean response to an event of each method at `LAGS`.
    """
    bold, events = read_events(data / "event_related_fmri.csv")
    series = (bold - bold.mean()) / bold.std()
    found = folder.stage("events", lambda _: deconvolved(series))
    rows, responses = [], {}
    for method, values in found.items():
        response = response_to(values / values.std(), events)
        after = (LAGS == 0) | (LAGS == 1)
        responses[method] = response
        rows.append(
            {
                "data": "event-related fMRI",
                "method": method,
                "num_scans": len(series),
                "num_events": int(events.sum()),
                "num_seeds": 1,
                "peak_s": float(EVENT_TR * LAGS[response.argmax()]),
                "share_at_event": float((response[after] ** 2).sum() / (response**2).sum()),
                "response": response.tolist(),
                "published": None,
            }
        )
    return rows, responses


def deconvolved(series: np.ndarray) -> Arrays:
    """Returns the series, and what is made of it.

    Args:
        series: (time,).
    """
    found = {"raw series": series}
    of_blocks = total_activation(series, repetition_time=EVENT_TR, model="spm")
    level = of_blocks.noise_level
    found["Wiener"] = np.asarray(wiener_activity(series, repetition_time=EVENT_TR, model="spm", noise_level=level))
    found["Total Activation, blocks"] = np.asarray(of_blocks.activity)
    spikes = total_activation(series, repetition_time=EVENT_TR, model="spm", activity="spike")
    found["Total Activation, spikes"] = np.asarray(spikes.activity)
    return found


def read_events(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the BOLD series, and whether there was an event at each scan.

    Args:
        path: the table `bold,events`.

    Raises:
        InputError: for a table that is missing or another.
    """
    try:
        values = np.loadtxt(path, delimiter=",", skiprows=1)
    except (OSError, ValueError) as error:
        raise InputError(f"expected a table bold,events in {shown(path)}, got {shown(error)}") from None
    if values.ndim != 2 or values.shape[1] != 2:
        raise InputError(f"expected a table bold,events in {shown(path)}, got shape {values.shape}")
    return values[:, 0], values[:, 1] > 0


def response_to(values: np.ndarray, events: np.ndarray) -> np.ndarray:
    """Returns the mean response to an event at each of `LAGS`, by least squares, as events overlap.

    Args:
        values: (time,).
        events: whether there was one.
    """
    inner = slice(LAGS.max(), len(values) + LAGS.min())
    design = np.stack([np.roll(events, lag)[inner] for lag in LAGS] + [np.ones_like(events)[inner]], -1)
    found: np.ndarray = np.linalg.lstsq(design.astype(float), values[inner], rcond=None)[0][:-1]
    return found
