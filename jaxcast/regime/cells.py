"""Makes the cells: what is known of a regime before anything is seen, and its noise."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxcast.dynamics.candidates import ForecastMap
from jaxcast.numerics.polynomials import monomials, products
from jaxcast.regime.emulator import Emulator
from jaxcast.regime.filtering import Beliefs
from jaxcast.regime.forecaster import RegimeForecaster
from jaxcast.regime.harmonics import HarmonicSchedule, Steps, fit_deviations
from jaxcast.regime.learned import LearnedRegimeForecaster
from jaxcast.regime.learned_motions import LearnedMotion
from jaxcast.regime.noise import Residuals
from jaxcast.regime.oscillations import Changes, Clock

LEVEL_DEVIATION = 0.5
"""Change of the level since training, in standard deviations of the candidates' coordinates."""
FREQUENCY_DEVIATION = 0.3
"""Change of a frequency since training, as a share of it."""
NUM_DRIFTS = 20
"""Changes of the level, each as above, in a time as long as the training, where a drift has begun since."""


def make_forecaster(
    emulator: Emulator,
    schedule: HarmonicSchedule,
    left: Residuals,
    is_corrected: bool = False,
    *,
    num_steps: int,
    forecast_map: ForecastMap,
    degree: int,
    steps: Steps | None = None,
    origin: Any = None,
) -> RegimeForecaster:
    """Makes the forecaster of a schedule, with noise of the size of the residuals.

    Args:
        emulator: of the ensemble.
        schedule: of the regime.
        left: deviations of the residuals.
        is_corrected: whether the truth has corrected the emulator.
        num_steps: of the trajectory.
        forecast_map: of the candidates.
        degree: highest degree of the interpolation between candidates.
        steps: of the trajectory, for what its clock says; None for a forecaster without beliefs in
            a clock or a change.
        origin: the time at which the steps' time is 0.
    """
    scale = emulator.system.scale
    floor = 4096 * float(jnp.finfo(scale.dtype).eps)
    amplitude = jnp.sqrt((schedule.cosines**2 + schedule.sines**2) / 2)
    still = jnp.zeros_like(schedule.level)
    nowhere = dataclasses.replace(schedule, level=still, slope=still, cosines=0 * amplitude, sines=0 * amplitude)
    duration = num_steps * emulator.dt
    deviation = dataclasses.replace(
        nowhere,
        level=jnp.hypot(jnp.hypot(left.regime, LEVEL_DEVIATION), schedule.slope * duration / 12**0.5),
        cosines=amplitude,
        sines=amplitude,
    )
    wander = dataclasses.replace(nowhere, level=left.wander)
    deviation, wander = jax.tree.map(lambda leaf: leaf + floor, (deviation, wander))
    interpolation, degree = _interpolation(emulator, degree)
    return RegimeForecaster(
        emulator,
        dataclasses.replace(schedule, cosines=0 * amplitude, sines=0 * amplitude),
        deviation,
        wander,
        (left.value + floor) * scale,
        (left.model + floor) * scale,
        interpolation,
        forecast_map,
        degree,
        is_corrected,
        None if steps is None or _is_rounding(left) else _clock(emulator, schedule, left, steps, origin),
        None if steps is None else _changes(deviation, duration),
    )


def _is_rounding(left: Residuals) -> bool:
    most = 1e5 * float(jnp.finfo(left.value.dtype).eps)
    return bool((left.value < most).all() and (left.model < most).all() and (left.regime < most).all())


def _clock(emulator: Emulator, schedule: HarmonicSchedule, left: Residuals, steps: Steps, origin: Any) -> Clock:
    """Returns a schedule with the errors that its fit leaves, twice as large as if steps were independent."""
    deviation = fit_deviations(emulator, schedule, steps)
    floor = 4096 * float(jnp.finfo(schedule.level.dtype).eps)
    deviation = jax.tree.map(lambda leaf: 2 * leaf + floor, deviation)
    level = jnp.hypot(deviation.level, left.regime)
    return Clock(schedule, dataclasses.replace(deviation, level=level), jnp.asarray(origin, schedule.level.dtype))


def _changes(deviation: HarmonicSchedule, duration: Any) -> Changes:
    """Returns deviations of a schedule of other frequencies, and of another slope."""
    slope = jnp.hypot(deviation.slope, NUM_DRIFTS * LEVEL_DEVIATION / duration)
    frequencies = FREQUENCY_DEVIATION * deviation.frequencies
    return Changes(dataclasses.replace(deviation, slope=slope, frequencies=frequencies))


def make_learned(
    emulator: Emulator,
    learned: LearnedMotion,
    is_corrected: bool = False,
    *,
    forecast_map: ForecastMap,
    degree: int,
) -> LearnedRegimeForecaster:
    """Makes the forecaster of a motion that was learned.

    Args:
        emulator: of the ensemble.
        learned: the motion, and what is left over.
        is_corrected: whether the truth has corrected the emulator.
        forecast_map: of the candidates.
        degree: highest degree of the interpolation between candidates.
    """
    scale = emulator.system.scale
    floor = 4096 * float(jnp.finfo(scale.dtype).eps)
    interpolation, degree = _interpolation(emulator, degree)
    as_own = lambda values: jnp.asarray(values, scale.dtype)  # noqa: E731
    starts = Beliefs(*map(as_own, (*learned.starts, learned.log_weights)))
    starts = starts._replace(root=starts.root + floor * jnp.eye(starts.mean.shape[1], dtype=scale.dtype))
    return LearnedRegimeForecaster(
        emulator,
        jax.tree.map(as_own, learned.motion),
        starts,
        as_own(learned.wander) + floor,
        (as_own(learned.value) + floor) * scale,
        (as_own(learned.model) + floor) * scale,
        interpolation,
        forecast_map,
        degree,
        is_corrected,
    )


def _interpolation(emulator: Emulator, degree: int) -> tuple[Array, int]:
    """Returns weights of the candidates for each feature of the coordinates, and the features' degree."""
    degree = min(degree, _highest_degree(emulator))
    features = jax.vmap(lambda c: products(c, monomials(len(c), degree)))(emulator.system.coordinates)
    return jnp.linalg.pinv(features), degree


def _highest_degree(emulator: Emulator) -> int:
    """Returns the highest degree with no more features than candidates."""
    num_models, num_coordinates = emulator.system.coordinates.shape
    degree = 1
    while len(monomials(num_coordinates, degree + 1)) <= num_models:
        degree += 1
    return degree
