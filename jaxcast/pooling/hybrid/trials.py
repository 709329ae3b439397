"""Trials in which settings forecast the last part of a trajectory in closed loop."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.forecasters.readout import Readout
from jaxcast.sampling import exact_times, with_all_digits
from jaxcast.scores.valid_times import lost_share
from jaxcast.sharding import devices_for
from jaxcast.windows import Windows, run_windows


def lost_shares(cell: Any, readouts: Sequence[Readout], windows: Windows) -> Float[np.ndarray, " readout"]:
    """Computes which share of the leads a cell loses with each readout.

    It is `lost_share` of errors in standard deviations.

    Args:
        cell: the forecaster.
        readouts: to try in it.
        windows: to forecast.

    Returns:
        The shares.
    """
    windows = windows._replace(times=exact_times(windows.times, cell))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *readouts)
    return np.asarray(_lost_shares(with_all_digits(cell), stacked, windows))


@jax.jit
def _lost_shares(cell: Any, readouts: Readout, windows: Windows) -> Float[Array, " readout"]:
    def one(readout: Readout) -> Array:
        forecaster = dataclasses.replace(cell, readout=readout)
        forecasts = run_windows(forecaster, windows, mesh=devices_for(None, forecaster, windows)).forecast
        squares = jnp.mean(((forecasts - windows.truth) / cell.channels.std) ** 2, -1)
        return lost_share(squares)

    return jax.lax.map(one, readouts)
