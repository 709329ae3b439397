"""The data of a case: training trajectory, windows and candidates, made from a seed."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.arguments import checked
from jaxcast.benchmark.case import Case
from jaxcast.checks import check_seed, check_whole
from jaxcast.dynamics.candidates import stack_systems
from jaxcast.dynamics.noise import AdditiveNoise
from jaxcast.dynamics.spectral import SpectralSystem
from jaxcast.dynamics.systems import System, random_starts
from jaxcast.dynamics.trajectories import FlowMap, Trajectory, flow_map, simulate
from jaxcast.errors import InputError, shown
from jaxcast.scores.valid_times import valid_time
from jaxcast.windows import Windows, windows_at

SEED = 3000
"""Public default of the seed of the first truth; the next truths have the next seeds."""


class Task(NamedTuple):
    """One truth of a case.

    Args:
        case: the case.
        seed: of this truth.
        train: the training trajectory, with observation noise; NaN where a component is not seen.
        windows: histories, with observation noise, and the truth that scores, without.
        forecast_map: of the candidates; None without candidates.
        scale: standard deviation of each component of the truth along the training trajectory.
    """

    case: Case
    seed: int
    train: Trajectory
    windows: Windows
    forecast_map: FlowMap | None
    scale: np.ndarray


@checked
def make_task(case: Case, *, seed: int = SEED, num_windows: int | None = None, num_train: int | None = None) -> Task:
    """Makes the data of one truth of a case, in float64.

    Fewer windows are the first of all; fewer training samples the first, too.

    Args:
        case: the case.
        seed: of the truth: of its starts, noise and random schedule.
        num_windows: windows to cut; by default those of the case.
        num_train: training samples; by default those of the case, which are also the most.

    Returns:
        The data.

    Raises:
        InputError: for a seed or number that is not whole, or a truth that diverges.

    Example:
        >>> import jaxcast
        >>> case = jaxcast.benchmark.find_case("paper")
        >>> task = jaxcast.benchmark.make_task(case, seed=1, num_windows=2, num_train=100)
        >>> task.train.states.shape, task.windows.history.shape, task.windows.truth.shape
        ((100, 3), (2, 6, 3), (2, 128, 3))
    """
    check_seed(seed)
    for name, value in (("num_windows", num_windows), ("num_train", num_train)):
        if value is not None:
            check_whole(name, value)
    size = case.num_train if num_train is None else min(num_train, case.num_train)
    whole, valid = clean_trajectories(case, seed, num_windows or case.num_windows)
    windows: Any = windows_of(case, valid)
    scale = whole.states.std(0)  # of all samples, and with noise of its own: fewer samples are the first of these
    states = observed(case, whole.states[:size], scale, np.random.default_rng([seed, 1]))
    train = Trajectory(whole.times[:size], states)
    windows = windows._replace(history=observed(case, windows.history, scale, np.random.default_rng([seed, 2])))
    return Task(case, seed, train, windows, candidates_of(case), scale)


def clean_trajectories(case: Case, seed: int, num_windows: int) -> tuple[Trajectory, Trajectory]:
    """Simulates the truth's training trajectory and that of the windows, without observation noise.

    Args:
        case: the case.
        seed: of the truth.
        num_windows: windows that the second must hold.

    Returns:
        Both, as NumPy arrays of float64, with the components of the state alone.

    Raises:
        InputError: for a truth that diverges.
    """
    with jax.enable_x64(True):
        truth = case.truth(seed)
        later = truth if case.windows_truth is None else case.windows_truth(seed)
        starts = random_starts(truth, 2, key=jax.random.key(seed))
        if case.start:
            starts = jnp.asarray(case.start) * (1 + 0.01 * (starts - jnp.asarray(truth.center or 0.0)))
        if isinstance(truth, SpectralSystem):  # whose mean stays what it was at the start
            starts -= starts.mean(1, keepdims=True)
        num_valid = num_windows * case.samples_per_window
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
        train = _simulated(case, truth, starts[0], case.num_train, 0.0, keys[0])
        return train, _simulated(case, later, starts[1], num_valid, case.windows_start, keys[1])


def _simulated(case: Case, truth: System, start: Any, num_samples: int, t0: float, key: Any) -> Trajectory:
    h = case.truth_h or case.h
    noise: dict[str, Any] = {}
    if case.process_noise:
        noise = {"noise": AdditiveNoise(case.process_noise), "key": key}
    sizes: dict[str, Any] = {"num_samples": num_samples, "dt": case.dt, "h": h, "transient": case.transient}
    times, states = simulate(truth, start, t0=t0, **sizes, **noise)
    if not np.isfinite(states).all():
        raise InputError(f"the truth of {shown(case.name)} diverges with h={h}; choose a smaller h")
    return Trajectory(np.asarray(times), np.asarray(states)[:, : case.dim])


def windows_of(case: Case, valid: Trajectory) -> Windows:
    """Cuts a trajectory into the windows of a case; no history shows the truth of another window.

    Args:
        case: the case.
        valid: as many windows as fit are cut from it.

    Returns:
        The windows, as NumPy arrays of float64.
    """
    starts = np.arange(len(valid.states) // case.samples_per_window) * case.samples_per_window
    return windows_at(valid, starts, history_size=case.history_size, num_leads=case.num_leads)


def observed(case: Case, states: np.ndarray, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns what is seen of states: with noise, and NaN for the components that are not seen.

    Args:
        case: the case.
        states: true states, (..., dim).
        scale: standard deviation of each component.
        rng: of the noise.

    Returns:
        An array of the same shape.
    """
    if case.observation_noise:
        states = states + case.observation_noise * scale * rng.normal(size=states.shape)
    if case.seen is None:
        return states
    is_seen = np.isin(np.arange(states.shape[-1]), case.seen)
    return np.where(is_seen, states, np.nan)


def candidates_of(case: Case) -> FlowMap | None:
    """Returns the flow map of the candidates over the interval between samples.

    Args:
        case: the case.

    Returns:
        The flow map; None without candidates.
    """
    systems = case.candidate_systems()
    return flow_map(stack_systems(list(systems)), dt=case.dt, h=case.h) if systems else None


@checked
def ground_truth_time(case: Case, *, seed: int = 0, num_windows: int = 30, divisors: tuple[int, int] = (2, 5)) -> float:
    """Returns how long a truth's solutions by two smaller steps agree, in the median over windows.

    Beyond it, the truth depends on the integrator's step, and a longer valid time says nothing.

    Args:
        case: a case without process noise.
        seed: of the truth.
        num_windows: windows from whose starts both are solved.
        divisors: parts of the step h of the candidates, 2 and 5 for h/2 and h/5.

    Returns:
        The time, at most that of a window.

    Raises:
        InputError: for a truth that diverges.

    Example:
        >>> import dataclasses, jaxcast
        >>> case = dataclasses.replace(jaxcast.benchmark.find_case("paper"), transient=1.0, num_leads=10)
        >>> jaxcast.benchmark.ground_truth_time(case, num_windows=1)
        1.0
    """
    truth = case.truth(seed)
    whole = dataclasses.replace(case, dim=None, seen=None)
    _, valid = clean_trajectories(whole, seed, num_windows)
    found = []
    with jax.enable_x64(True):
        for number in range(num_windows):
            first = case.history_size - 1 + number * case.samples_per_window
            solved = [
                simulate(
                    truth,
                    valid.states[first],
                    num_samples=case.num_leads + 1,
                    dt=case.dt,
                    h=case.h / divisor,
                    t0=float(valid.times[first]),
                ).states[1:, : case.dim]
                for divisor in divisors
            ]
            found.append(float(valid_time(*solved, dt=case.dt, threshold=case.threshold).time))
    return float(np.median(found))
