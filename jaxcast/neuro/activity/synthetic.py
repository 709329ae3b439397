"""Synthetic activity of regions, its BOLD signal and noise, of which the truth is known."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_whole
from jaxcast.errors import InputError
from jaxcast.neuro.activity.filters import HaemodynamicModel, haemodynamic_response
from jaxcast.precision import highest
from jaxcast.types import Scalar

BLOCKS, GAPS = (5, 25), (10, 30)
"""Shortest and longest block of activity, and rest between two, in scans."""
HEIGHTS = (0.5, 1.5)


class SimulatedActivity(NamedTuple):
    """Activity, its BOLD signal, and what a scanner would see of it.

    Args:
        series: the signal with noise.
        signal: the signal.
        activity: of each voxel, that of its region.
        noise_level: standard deviation of each voxel's noise.
        regions: number of each voxel's region, from 0 on.
    """

    series: Float[Array, "time voxel"]
    signal: Float[Array, "time voxel"]
    activity: Float[Array, "time voxel"]
    noise_level: Float[Array, " voxel"]
    regions: Int[Array, " voxel"]


@checked
def simulate_activity(
    regions: Int[np.ndarray, " voxel"],
    *,
    num_scans: int = 200,
    repetition_time: float = 1.0,
    model: HaemodynamicModel | str = "balloon",
    snr: Scalar = 0.0,
    key: Key[Array, ""],
) -> SimulatedActivity:
    """Simulates regions that are active in blocks.

    Each region is at rest for 10 to 30 scans, then active for 5 to 25, with a height of 0.5 to 1.5
    and a random sign, and so on. Its voxels share this activity u. Their signal is x = h * u with
    the haemodynamic response h; white noise makes 20 log10(std x / std noise) equal to the ratio of
    signal to noise. A region that stays at rest gets the noise of the others.

    Args:
        regions: number of each voxel's region, from 0 on, such as `grid_graph(atlas).regions`.
        num_scans: length of the series.
        repetition_time: TR, seconds from scan to scan.
        model: "balloon", "spm", or a haemodynamic model of your own.
        snr: ratio of signal to noise, in decibels.
        key: random key.

    Returns:
        The series and the truth.

    Raises:
        InputError: for no voxels, negative numbers of regions, fewer than one scan, or a model that
            is none.

    Source:
        Own design, after the blocks of Karahanoglu et al., NeuroImage 73, 121-134 (2013).

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> data = jaxcast.neuro.simulate_activity(np.asarray([0, 0, 1]), key=jax.random.key(0))
        >>> bool((data.activity[:, 0] == data.activity[:, 1]).all()), data.series.shape
        (True, (200, 3))
    """
    check_whole("num_scans", num_scans)
    check_number("repetition_time", repetition_time, above=0)
    numbers = np.asarray(regions)
    if numbers.ndim != 1 or len(numbers) == 0 or numbers.min() < 0:
        raise InputError(f"expected the number of each voxel's region, from 0 on, got shape {numbers.shape}")
    response = haemodynamic_response(model, repetition_time=repetition_time, num_scans=num_scans)
    return _simulate(
        int(numbers.max()) + 1, num_scans, jnp.asarray(numbers), jnp.asarray(response, float), jnp.asarray(snr), key
    )


@partial(jax.jit, static_argnums=(0, 1))
@highest
def _simulate(
    num_regions: int, num_scans: int, regions: Array, response: Array, snr: Array, key: Array
) -> SimulatedActivity:
    of_activity, of_noise = jax.random.split(key)
    activity = jax.vmap(lambda one: _blocks(one, num_scans), out_axes=1)(jax.random.split(of_activity, num_regions))
    lags = np.subtract.outer(np.arange(num_scans), np.arange(num_scans))
    system = jnp.where(lags >= 0, response[np.maximum(lags, 0)], 0.0)
    signal = system @ activity
    deviations = signal.std(0)
    is_active = deviations > 0
    mean = deviations.sum() / jnp.maximum(is_active.sum(), 1)
    level = jnp.where(is_active, deviations, jnp.where(mean > 0, mean, 1.0)) / 10 ** (snr / 20)
    noise = jax.random.normal(of_noise, (num_scans, len(regions)), signal.dtype)
    of_voxels = signal[:, regions]
    level = level[regions]
    return SimulatedActivity(of_voxels + level * noise, of_voxels, activity[:, regions], level, regions)


def _blocks(key: Array, num_scans: int) -> Float[Array, " time"]:
    """Returns the activity of one region."""
    most = num_scans // (BLOCKS[0] + GAPS[0]) + 1
    keys = jax.random.split(key, 4)
    gaps = jax.random.randint(keys[0], (most,), GAPS[0], GAPS[1] + 1)
    lengths = jax.random.randint(keys[1], (most,), BLOCKS[0], BLOCKS[1] + 1)
    heights = jax.random.uniform(keys[2], (most,), float, *HEIGHTS) * jax.random.rademacher(keys[3], (most,), float)
    stops = jnp.cumsum(gaps + lengths)
    times = jnp.arange(num_scans)[:, None]
    return jnp.where((times >= stops - lengths) & (times < stops), heights, 0.0).sum(1)
