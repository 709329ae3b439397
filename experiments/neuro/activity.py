"""The part "activity": activity recovered from BOLD signals by Total Activation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.table import Table

from experiments.neuro import activity_pictures as pictures
from experiments.neuro.activity_data import event_rows, phantom_rows
from experiments.part import Part
from jaxcast.neuro import (
    SimulatedActivity,
    StructuredSparsity,
    Tikhonov,
    VoxelGraph,
    grid_graph,
    simulate_activity,
    total_activation,
    wiener_activity,
)

SNRS = (-3, 0, 6, 10)
SHOWN_SNR = 0
TR = 1.0
Arrays = dict[str, np.ndarray]


def run(config: Any, data: Path | None, folder: Any, console: Any) -> dict[str, Any]:
    """Runs the part.

    Args:
        config: the settings.
        data: folder of the phantom and the event-related series; None for simulated volumes alone.
        folder: of the output.
        console: to print on.

    Returns:
        What goes into results.json.
    """
    graph = grid_graph(small_atlas() if data is None else np.load(data / "phantom_10x10x10.npz")["atlas"])
    recovered = {snr: folder.stage(f"recovery_{snr}dB", lambda _, snr=snr: recover(graph, snr, config)) for snr in SNRS}
    rows = [row_of(recovered[snr], snr, n) for snr in SNRS for n in range(len(METHODS))]
    for row in rows:
        console.print(f"{row['data']}, {row['method']}: error {row['error']:.3f}", highlight=False)
    folder.save_figure("activity.png", pictures.activity(recovered[SHOWN_SNR], SHOWN_SNR))
    folder.save_figure("recovery.png", pictures.recovery(rows))
    if data is not None:
        rows += phantom_rows(data, folder)
        events, responses = event_rows(data, folder)
        rows += events
        folder.save_figure("events.png", pictures.events(responses))
    return {"rows": rows}


def small_atlas() -> np.ndarray:
    """Returns two regions of a small volume, for the smoke preset."""
    atlas = np.ones((3, 3, 2), int)
    atlas[1:] = 2
    return atlas


def raw(data: SimulatedActivity, graph: VoxelGraph) -> jax.Array:
    """Returns the series, each scaled to be as near as it can to its true activity."""
    scale = (data.series * data.activity).sum(0) / (data.series**2).sum(0)
    return scale * data.series


def wiener(data: SimulatedActivity, graph: VoxelGraph) -> jax.Array:
    """Deconvolves linearly."""
    return wiener_activity(data.series, repetition_time=TR, noise_level=data.noise_level)


def temporal(data: SimulatedActivity, graph: VoxelGraph) -> jax.Array:
    """Deconvolves each voxel by itself."""
    found = total_activation(data.series, repetition_time=TR, noise_level=data.noise_level, max_iterations=2500)
    return found.activity


def with_groups(data: SimulatedActivity, graph: VoxelGraph) -> jax.Array:
    """Adds structured sparsity in space."""
    return in_space(data, StructuredSparsity(graph))


def with_squares(data: SimulatedActivity, graph: VoxelGraph) -> jax.Array:
    """Adds Tikhonov's penalty in space."""
    return in_space(data, Tikhonov(graph))


def in_space(data: SimulatedActivity, term: Any) -> jax.Array:
    """Deconvolves with a spatial term."""
    found = total_activation(data.series, repetition_time=TR, noise_level=data.noise_level, spatial=term)
    return found.activity


def of_means(data: SimulatedActivity, graph: VoxelGraph) -> jax.Array:
    """Deconvolves the mean of each region, and gives it to all its voxels."""
    sizes = graph.sums_by_region(jnp.ones((graph.num_voxels, 1)))[:, 0]
    means = (graph.sums_by_region(data.series.T) / sizes[:, None]).T
    level = jnp.sqrt(graph.sums_by_region(data.noise_level[:, None] ** 2))[:, 0] / sizes
    found = total_activation(means, repetition_time=TR, noise_level=level)
    return found.activity[:, graph.regions]


METHODS: dict[str, Callable[[SimulatedActivity, VoxelGraph], jax.Array]] = {
    "raw series": raw,
    "Wiener": wiener,
    "Total Activation, time alone": temporal,
    "Total Activation, structured sparsity": with_groups,
    "Total Activation, Tikhonov": with_squares,
    "Total Activation of the regions' means": of_means,
}


def recover(graph: VoxelGraph, snr: int, config: Any) -> Arrays:
    """Recovers activity that is known by all methods.

    Args:
        graph: of the voxels.
        snr: ratio of signal to noise, in decibels.
        config: the settings.

    Returns:
        Errors and correlations (method, volume), and the series of one voxel of each region in the
        first volume.
    """
    errors, correlations, shown = [], [], {}
    for volume in range(config.num_volumes):
        key = jax.random.key(config.seed + volume)
        data = simulate_activity(np.asarray(graph.regions), snr=float(snr), key=key)
        found = [np.asarray(method(data, graph)) for method in METHODS.values()]
        truth = np.asarray(data.activity)
        errors.append([error_of(one, truth) for one in found])
        correlations.append([correlation_of(one, truth) for one in found])
        if volume == 0:
            _, voxels = np.unique(np.asarray(graph.regions), return_index=True)
            shown = {"truth": truth[:, voxels], "found": np.stack(found)[:, :, voxels]}
            shown |= {"series": np.asarray(data.series)[:, voxels], "signal": np.asarray(data.signal)[:, voxels]}
    return {"errors": np.asarray(errors).T, "correlations": np.asarray(correlations).T} | shown


def error_of(found: np.ndarray, truth: np.ndarray) -> float:
    """Returns the mean over voxels of the error's norm over the truth's; at rest nothing can be said."""
    size = np.linalg.norm(truth, axis=0)
    return float((np.linalg.norm(found - truth, axis=0)[size > 0] / size[size > 0]).mean())


def correlation_of(found: np.ndarray, truth: np.ndarray) -> float:
    """Returns the mean over voxels of the correlation with the truth, 0 where nothing was found."""
    a, b = found - found.mean(0), truth - truth.mean(0)
    size = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    varies = np.linalg.norm(b, axis=0) > 0
    return float(((a * b).sum(0) / np.where(size > 0, size, 1))[varies].mean())


def row_of(recovered: Arrays, snr: int, method: int) -> dict[str, Any]:
    """Makes the row of a method at a ratio of signal to noise.

    Args:
        recovered: of `recover`.
        snr: the ratio.
        method: its number.
    """
    errors, correlations = recovered["errors"][method], recovered["correlations"][method]
    return {
        "data": f"simulated, {snr} dB",
        "method": list(METHODS)[method],
        "snr": snr,
        "num_seeds": len(errors),
        "error": float(errors.mean()),
        "error_std": float(errors.std(ddof=1)) if len(errors) > 1 else None,
        "error_per_seed": errors.tolist(),
        "correlation": float(correlations.mean()),
        "correlation_std": float(correlations.std(ddof=1)) if len(correlations) > 1 else None,
        "published": None,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """Returns all rows for a terminal.

    Args:
        rows: of results.json.
    """
    result = Table(title="activity: recovered, and beside the original", box=box.SIMPLE)
    result.add_column("data", no_wrap=True)
    result.add_column("method")
    result.add_column("result", justify="right")
    for row in rows:
        result.add_row(row["data"], row["method"], summary_of(row))
    return result


def summary_of(row: dict[str, Any]) -> str:
    """Returns what one row says, in a few words.

    Args:
        row: of results.json.
    """
    if "error" in row:
        return f"error {row['error']:.3f}, correlation {row['correlation']:.3f}"
    if "rms_largest" in row:
        return f"RMS {row['rms_median']:.1e}, at most {row['rms_largest']:.1e}"
    return f"peak after {row['peak_s']:g} s, {100 * row['share_at_event']:.0f} % at the event"


PART = Part(run, "total_activation", ("activity.png", "recovery.png", "events.png"), table)
