"""Selection of settings and candidates by validation."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError
from jaxcast.rollout import Cell
from jaxcast.sampling import check_sampling
from jaxcast.scores.valid_times import valid_time
from jaxcast.types import Scalar
from jaxcast.windows import Windows, forecast_windows, late_windows


class GridSearch(NamedTuple):
    """The result of a grid search.

    Args:
        setting: the best setting.
        cell: the cell fitted with it on the whole trajectory.
        scores: every setting and its mean valid time on the validation part, best first.
    """

    setting: dict[str, Any]
    cell: Any
    scores: list[tuple[dict[str, Any], float]]


@checked
def grid_search(
    trajectory: Trajectory,
    *,
    fit: Callable[..., Cell],
    grid: Mapping[str, Sequence[Any]],
    dt: Scalar,
    threshold: Scalar,
    num_leads: int,
    history_size: int,
    num_windows: int = 50,
    validation_share: float = 0.25,
    scale: Any = 1.0,
) -> GridSearch:
    """Tries every combination of settings on one trajectory: fits the start, forecasts the end.

    The score is the mean valid time over overlapping windows, spread evenly over the validation
    part. It is finer than the median, which is a multiple of dt. The first of equally good settings
    wins.

    Args:
        trajectory: to fit and validate on.
        fit: (trajectory, **setting) -> cell.
        grid: the values to try of each argument of `fit`.
        dt: interval between samples.
        threshold: of the squared error, as for `valid_time`.
        num_leads: length of a forecast, in samples.
        history_size: true samples before each forecast, from which a cell must be able to start.
        num_windows: forecasts that are scored.
        validation_share: share of the trajectory that validates.
        scale: of the errors, as for `valid_time`.

    Returns:
        The best setting, its cell fitted on the whole trajectory, and all scores.

    Raises:
        InputError: for an empty grid, a share that is not between 0 and 1, a validation part
            shorter than a window, or a trajectory that is not evenly sampled every dt.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=1000, dt=0.05, transient=5.0)
        >>> choice = jaxcast.training.grid_search(
        ...     truth,
        ...     fit=lambda train, **setting: jaxcast.forecasters.fit_nvar(train.states, **setting),
        ...     grid={"num_delays": (1, 2), "penalty": (1e-6, 1e3)},
        ...     dt=0.05, threshold=20.0, num_leads=60, history_size=5, num_windows=20,
        ... )
        >>> choice.setting["penalty"]
        1e-06
    """
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    num_fit = round(len(trajectory.states) * (1 - validation_share))
    last = len(trajectory.states) - history_size - num_leads
    if not settings or not 0 < validation_share < 1 or last < num_fit or min(history_size, num_leads, num_windows) < 1:
        raise InputError(
            f"expected settings to try and a validation part of at least {history_size} + {num_leads} samples, got "
            f"{len(settings)} settings and {len(trajectory.states) - num_fit} of {len(trajectory.states)} samples"
        )
    check_sampling(trajectory.times, dt=dt)
    early = Trajectory(trajectory.times[:num_fit], trajectory.states[:num_fit])
    windows = late_windows(
        trajectory, num_fit + history_size, history_size=history_size, num_windows=num_windows, num_leads=num_leads
    )
    scores = []
    for setting in settings:
        times = _valid_times(fit(early, **setting), windows, dt, threshold, scale)
        scores.append((setting, float(times.mean())))
    scores.sort(key=lambda scored: -scored[1])
    best = scores[0][0]
    return GridSearch(best, fit(trajectory, **best), scores)


@jax.jit
def _valid_times(cell: Cell, windows: Windows, dt: Scalar, threshold: Scalar, scale: Any) -> Float[Array, " window"]:
    score = partial(valid_time, dt=dt, threshold=threshold, scale=jnp.asarray(scale))
    return jax.vmap(lambda forecast, truth: score(forecast, truth).time)(
        forecast_windows(cell, windows).forecast, windows.truth
    )


@checked
def select_average(
    forecasts: Float[Any, "candidate sample ..."],
    truth: Float[Any, "sample ..."],
    weights: Float[Any, "sample ..."] | None = None,
    *,
    sizes: Sequence[int] = (1, 3, 5, 10, 20, 40),
    num_blocks: int = 3,
) -> np.ndarray:
    """Selects which of many candidates to average, and how many, by cross-validation.

    For each size, the best candidates of all blocks of consecutive samples except one are averaged
    and scored on that one. The size with the smallest squared error over all blocks wins; then the
    best candidates of all samples are selected.

    Args:
        forecasts: of the candidates, on a validation part.
        truth: what they forecast.
        weights: of the squared errors; by default 1.
        sizes: numbers of candidates to try; those above the number of candidates are ignored.
        num_blocks: blocks of consecutive samples.

    Returns:
        The numbers of the selected candidates, best first.

    Raises:
        InputError: for fewer samples than blocks, or shapes that do not match.

    Example:
        >>> import jaxcast, numpy as np
        >>> truth = np.sin(np.arange(30.0))
        >>> noise = np.random.default_rng(0).normal(size=(8, 30)) * np.asarray([1, 1, 1, 1, 9, 9, 9, 9])[:, None]
        >>> sorted(jaxcast.training.select_average(truth + noise, truth, sizes=(1, 4, 8)).tolist())
        [0, 1, 2, 3]
    """
    candidates, truth = np.asarray(forecasts), np.asarray(truth)
    weights = np.ones(truth.shape) if weights is None else np.asarray(weights)
    if candidates.shape[1:] != truth.shape or weights.shape != truth.shape or not 1 < num_blocks <= len(truth):
        raise InputError(
            f"expected forecasts (candidate, *truth) and at least {num_blocks} samples, more than one block, got "
            f"{candidates.shape}, {truth.shape} and {weights.shape}"
        )
    counted = weights > 0
    candidates, truth = np.where(counted, candidates, 0), np.where(counted, truth, 0)
    squares = (weights * (candidates - truth) ** 2).reshape(len(candidates), len(truth), -1).sum(-1)
    sizes = [size for size in sizes if size <= len(candidates)]
    errors = np.zeros(len(sizes))
    for block in np.array_split(np.arange(len(truth)), num_blocks):
        order = np.argsort(np.delete(squares, block, 1).sum(1), kind="stable")
        for k, size in enumerate(sizes):
            mean = candidates[order[:size]][:, block].mean(0)
            errors[k] += (weights[block] * (mean - truth[block]) ** 2).sum()
    return np.argsort(squares.sum(1), kind="stable")[: sizes[int(np.argmin(errors))]]
