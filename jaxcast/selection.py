"""Which settings of a forecaster to take: those that stay valid longest on the last part of the training course."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.errors import InputError
from jaxcast.integrate import Trajectory
from jaxcast.metrics import valid_time
from jaxcast.rollout import Cell
from jaxcast.schedules import Scalar
from jaxcast.windows import Windows, forecast_windows


class Choice(NamedTuple):
    """setting: the best one. cell: fitted with it on the whole course. scores: each setting tried and its mean valid time
    on the validation part, best first."""

    setting: dict[str, Any]
    cell: Any
    scores: list[tuple[dict[str, Any], float]]


def choose_setting(
    fit: Callable[..., Cell],
    grid: Mapping[str, Sequence[Any]],
    trajectory: Trajectory,
    *,
    dt: Scalar,
    threshold: Scalar,
    window_size: int,
    history_size: int,
    num_windows: int = 50,
    validation_share: float = 0.25,
    scale: Any = 1.0,
) -> Choice:
    """Tries every combination of a small grid: fits on the first part of a training course, forecasts within the last.

    The score is the mean valid time over windows spread evenly, and overlapping, over the validation part: it is finer
    than a median, whose steps are dt. The first of equally good settings wins.

    Args:
        fit: (trajectory, **setting) -> cell. grid: the values to try of each argument.
        dt, threshold, scale: see `valid_time`. window_size: leads. history_size: true values before each, from which
            a cell must be able to start.
        validation_share: of the course.

    Raises:
        InputError: for an empty grid, a share that is not between 0 and 1, or a validation part shorter than a window.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=1000, dt=0.05, transient=5.0)
        >>> choice = jaxcast.choose_setting(
        ...     lambda train, **setting: jaxcast.fit_nvar(train.states, **setting),
        ...     {"num_delays": (1, 2), "penalty": (1e-6, 1e3)},
        ...     truth, dt=0.05, threshold=20.0, window_size=60, history_size=5, num_windows=20,
        ... )
        >>> choice.setting["penalty"]
        1e-06
    """
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    num_fit = round(len(trajectory.states) * (1 - validation_share))
    last = len(trajectory.states) - history_size - window_size
    if (
        not settings
        or not 0 < validation_share < 1
        or last < num_fit
        or min(history_size, window_size, num_windows) < 1
    ):
        raise InputError(
            f"expected settings to try and a validation part of at least {history_size} + {window_size} samples, got "
            f"{len(settings)} settings and {len(trajectory.states) - num_fit} of {len(trajectory.states)} samples"
        )
    early = Trajectory(trajectory.times[:num_fit], trajectory.states[:num_fit])
    starts = np.unique(np.linspace(num_fit, last, num_windows).astype(int))
    windows = _windows_at(trajectory, starts, history_size, window_size)
    scores = []
    for setting in settings:
        times = _valid_times(fit(early, **setting), windows, dt, threshold, scale)
        scores.append((setting, float(times.mean())))
    scores.sort(key=lambda scored: -scored[1])
    best = scores[0][0]
    return Choice(best, fit(trajectory, **best), scores)


def _windows_at(trajectory: Trajectory, starts: np.ndarray, history_size: int, window_size: int) -> Windows:
    index = starts[:, None] + np.arange(history_size + window_size)
    states = trajectory.states[index]
    return Windows(states[:, :history_size], states[:, history_size:], trajectory.times[index])


@jax.jit
def _valid_times(cell: Cell, windows: Windows, dt: Scalar, threshold: Scalar, scale: Any) -> Float[Array, " window"]:
    score = partial(valid_time, dt=dt, threshold=threshold, scale=jnp.asarray(scale))
    return jax.vmap(lambda forecast, truth: score(forecast, truth).time)(
        forecast_windows(cell, windows).forecast, windows.truth
    )
