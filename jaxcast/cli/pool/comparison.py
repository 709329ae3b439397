"""Comparisons for a pool: other pools, simple uses of the candidates, persistence."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.cli.pool.stored import pick_seed
from jaxcast.dynamics.candidates import unstack_systems
from jaxcast.dynamics.coordinates import coordinates_of
from jaxcast.dynamics.lyapunov import lyapunov_exponent
from jaxcast.dynamics.parse import parse_system
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import shown
from jaxcast.pooling.baselines import Persistence
from jaxcast.pooling.cell import BestCandidate, Forecaster, HeldWeights
from jaxcast.pooling.linear import FixedWeights
from jaxcast.pooling.pool import WeightedPool
from jaxcast.progress import note
from jaxcast.rollout import Output
from jaxcast.saving.models import StoredModel
from jaxcast.scores.paired import PairedTest, median_over_seeds, paired_test


def exponent_of(attributes: dict[str, Any], trajectory: Trajectory) -> float | None:
    """Computes the maximal Lyapunov exponent of the system that made a file, the mean of 16 starts.

    Args:
        attributes: Attributes of the file.
        trajectory: Its trajectory.

    Returns:
        The exponent; None where the file names no system.
    """
    try:
        system, h = parse_system(attributes["system"]), float(attributes["h"])
    except (KeyError, TypeError, ValueError):
        return None
    starts = trajectory.states[jnp.linspace(0, len(trajectory.states) - 1, 16).astype(int)]
    keys = jax.random.split(jax.random.key(0), len(starts))
    run = partial(lyapunov_exponent, system, duration=10_000 * h, h=h, dt=h, transient=1_000 * h)
    exponent = float(jax.vmap(lambda u0, key: run(u0, key=key))(starts, keys).mean())
    return exponent if exponent > 0 else None


def tell_divergence(outputs: dict[str, list[Output]]) -> None:
    """Prints which forecasters diverge, in how many windows, and at which lead first.

    Args:
        outputs: Forecasts by forecaster and seed.
    """
    for label, of_seeds in outputs.items():
        is_finite = np.asarray([np.isfinite(np.asarray(output.forecast)).all(-1) for output in of_seeds])
        bad = ~is_finite.all(-1)
        if bad.any():
            lead = int(is_finite[bad].argmin(-1).min()) + 1
            note(f"note: {shown(label)} diverges in {bad.sum()} of {bad.size} windows, first at lead {lead}")


def interval_label(rows: list[dict[str, Any]]) -> str:
    """Describes the intervals: below six windows none contains the median with 95 %.

    Args:
        rows: Rows of the table.

    Returns:
        A few words.
    """
    coverage = rows[0]["interval_coverage"]
    if coverage >= 0.95:
        return "95 % interval of the median over windows"
    if coverage == 0:
        return "a single window has no interval of the median"
    return f"range over the windows, which contains the median with a probability of {coverage:.0%}"


def forecasters(stored: StoredModel, others: dict[str, StoredModel]) -> dict[str, list[Any]]:
    """Makes all forecasters to compare.

    These are the pool (every seed), other pools, the pool's weights held, simple uses of the
    candidates, and persistence.

    Args:
        stored: The pool.
        others: Other pools by name.

    Returns:
        Cells by name, one for each seed.
    """
    candidates, pools = stored.forecast_map, every_seed(stored)
    cells: dict[str, list[Any]] = {"pool": [one.cell for one in pools]}
    cells |= {label: [one.cell for one in every_seed(other)] for label, other in others.items()}
    if candidates is not None:
        num_models = len(unstack_systems(candidates.system))
        if isinstance(pools[0].pool, WeightedPool) and not isinstance(pools[0].pool, FixedWeights):
            cells["its weights held from the start"] = [HeldWeights(cell) for cell in cells["pool"]]
            cells["its best candidate at the start"] = [
                HeldWeights(Forecaster(BestCandidate(one.pool), candidates)) for one in pools
            ]
        cells["equal weights"] = [Forecaster(FixedWeights(jnp.full(num_models, 1 / num_models)), candidates)]
        found = coordinates_of(candidates)
        for index in range(num_models):
            label = f"candidate {index}" if found is None else f"candidate {found[0]} = {found[1][index]:g}"
            cells[f"{label} alone"] = [Forecaster(FixedWeights(jnp.eye(num_models)[index]), candidates)]
    cells["persistence"] = [Forecaster(Persistence())]
    return cells


def every_seed(stored: StoredModel) -> list[StoredModel]:
    """Returns the pools that were trained together, each by itself.

    Args:
        stored: The stored pools.
    """
    return [pick_seed(stored, index) for index in range(stored.attributes.get("num_seeds") or 1)]


def paired(rows: list[dict[str, Any]], labels: list[str]) -> list[dict[str, Any]]:
    """Tests the first pool against each other pool on the same windows.

    Over seeds, each window counts with its median.

    Args:
        rows: Rows of the table.
        labels: Names of the pools.

    Returns:
        A test for each other pool.
    """
    by_label = {row["method"]: row for row in rows}
    ours, *others = (
        median_over_seeds(*(np.asarray(by_label[label][name]) for name in ("valid_times", "censored")))
        for label in labels
    )

    def test(first: tuple[Any, Any], second: tuple[Any, Any]) -> PairedTest:
        return paired_test(
            first[0], second[0], first_censored=first[1], second_censored=second[1], key=jax.random.key(0)
        )

    return [{"against": label, **test(ours, other)._asdict()} for label, other in zip(labels[1:], others, strict=True)]
