"""Ensemble Kalman filters of state and parameter, whose settings are chosen on held-out windows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.assimilation.analyses import EnsembleTransform
from jaxcast.assimilation.ensemble_kalman import EnsembleKalmanFilter
from jaxcast.assimilation.parameters import HarmonicParameter, RandomWalk

NUM_MEMBERS = 30
SHORTEST, LONGEST = 5.0, 60.0
"""Periods of the first guess of a parameter that oscillates, in samples."""


def parameter_filter(
    model: Callable[..., Any],
    values: Shaped[ArrayLike, " model"],
    *,
    observation_noise: Float[Array, " dim"],
    deviation: float,
    is_harmonic: bool,
    key: Key[Array, ""],
    initial_ensemble: Float[Array, "member dim"] | None = None,
) -> EnsembleKalmanFilter:
    """Makes a filter whose parameter lies between the candidates' and takes a random walk or oscillates.

    Args:
        model: forecasts a state with a parameter, as of `parameter_map`.
        values: of the parameter, of all candidates.
        observation_noise: standard deviations of observed values.
        deviation: of the parameter's steps, as a share of the range of the values; a tenth of it
            where the parameter oscillates.
        is_harmonic: whether it oscillates.
        key: random key.
        initial_ensemble: states to start from; None where the first value is known in full.

    Returns:
        The filter.
    """
    low, high = float(np.min(values)), float(np.max(values))
    step, quarter = deviation * (high - low), (high - low) / 4
    parameter: Any = RandomWalk(low, high, step)
    if is_harmonic:
        parameter = HarmonicParameter(low + quarter, high - quarter, 2 * quarter, SHORTEST, LONGEST, step / 10)
    return EnsembleKalmanFilter(
        model,
        observation_noise=observation_noise,
        key=key,
        parameters=[parameter],
        num_members=NUM_MEMBERS,
        analysis=EnsembleTransform(inflation=1.02),
        initial_ensemble=initial_ensemble,
    )
