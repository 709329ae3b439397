"""Cases of `experiments.lorenz_skill`: truths, candidates, noise, histories, and the data that methods get."""

import dataclasses
from collections.abc import Callable
from functools import cache

import jax
import numpy as np

import jaxcast
from experiments.lorenz.setup import Config, Rules, Task, make_rules, simulate
from jaxcast.benchmark import find_case

FIGURE_KNOWN, FIGURE_STEPS = 40, 168


@dataclasses.dataclass(frozen=True)
class Case:
    """One case: a truth, its candidates, and what is known of them.

    Args:
        title: name in tables and pictures.
        truth: data seed -> system.
        candidates: the candidate systems.
        dt: interval between samples.
        h: step of the candidates' integrator.
        truth_h: step of the truth's integrator; by default the candidates'.
        threshold: largest squared error of a valid forecast; None for the rule of `experiments.lorenz`.
        num_leads: leads in a window; None for the rule of `experiments.lorenz`.
        history_size: true samples before each window.
        noise: in training and history, in standard deviations of each component.
        num_train: samples in the training trajectory.
        group: "paper" and "noise" run more methods than "others".
    """

    title: str
    truth: Callable[[int], jaxcast.System]
    candidates: tuple[jaxcast.System, ...]
    dt: float = 0.1
    h: float = 0.01
    truth_h: float | None = None
    threshold: float | None = 40.0
    num_leads: int | None = 128
    history_size: int = 6
    noise: float = 0.0
    num_train: int = 4000
    group: str = "others"

    @property
    def training(self) -> tuple[object, ...]:
        """Everything that determines the training data; cases that agree in it share trained methods."""
        candidates = tuple(jaxcast.dynamics.describe_system(candidate) for candidate in self.candidates)
        truth = jaxcast.dynamics.describe_system(self.truth(0))
        return (truth, candidates, self.dt, self.h, self.truth_h, self.noise, self.num_train)


def _shared(name: str, title: str, group: str = "others", *, by_rule: bool = False) -> Case:
    """Returns a case of jaxcast.benchmark as one of this study; its rules may be those of `experiments.lorenz`."""
    case = find_case(name)
    return Case(
        title,
        case.truth,
        case.candidate_systems(),
        dt=case.dt,
        h=case.h,
        truth_h=case.truth_h,
        threshold=None if by_rule else case.threshold,
        num_leads=None if by_rule else case.num_leads,
        history_size=case.history_size,
        noise=case.observation_noise,
        num_train=case.num_train,
        group=group,
    )


CASES: dict[str, Case] = {
    "paper": _shared("paper", "the paper's protocol, six true samples", "paper"),
    "spin_up": _shared("spin_up", "the same, 100 true samples", "paper"),
    "long": _shared("long", "the same, windows of 25.6, six true samples", "paper"),
    "period_0.9": _shared("period_0.9", "period 0.9"),
    "period_2.7": _shared("period_2.7", "period 2.7"),
    "period_5": _shared("period_5", "period 5"),
    "two_cosines": _shared("two_cosines", "two incommensurate cosines"),
    "ramp": _shared("ramp", "slow linear ramp"),
    "switching": _shared("switching", "random switching"),
    "square_wave": _shared("square_wave", "square wave, 0.8 each"),
    "square_wave_100": _shared("square_wave_100", "square wave, 100 true samples"),
    "sawtooth": _shared("sawtooth", "sawtooth, period 2.4"),
    "sigma_11": _shared("sigma_11", "truth of another sigma, 11 for 10"),
    "finer_step": _shared("finer_step", "truth of a finer integrator, h/4"),
    "rossler": _shared("rossler", "Rössler, varying c", by_rule=True),
    "lorenz96": _shared("lorenz96", "Lorenz '96, 8 sites, varying forcing", by_rule=True),
    "thomas": _shared("thomas", "Thomas (sines, no polynomial), varying b", by_rule=True),
    "noise_1": _shared("noise_1", "observation noise 1 %", "noise"),
    "noise_5": _shared("noise_5", "observation noise 5 %", "noise"),
    "samples_500": _shared("samples_500", "500 training samples"),
    "samples_1000": _shared("samples_1000", "1000 training samples"),
}


@dataclasses.dataclass(frozen=True)
class SkillTask(Task):
    """Task with a piece of the validation trajectory for the pictures.

    Args:
        shown: that piece; its known part is as noisy as the training data.
    """

    shown: jaxcast.Trajectory

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation of each component of the truth, without noise."""
        return np.asarray(self.valid.states).std(0)


def make_task(case: Case, config: Config, data_seed: int) -> SkillTask:
    """Makes the data of a case; noise is added to training and history, never to the truth that scores."""
    truth = case.truth(data_seed)
    config = dataclasses.replace(
        config,
        dt=case.dt,
        h=case.truth_h or case.h,
        threshold=case.threshold,
        num_leads=case.num_leads,
    )
    starts = jaxcast.dynamics.random_starts(truth, 2, key=jax.random.key(data_seed))
    train = simulate(config, truth, starts[0], min(case.num_train, config.num_train))
    rules = _rules(case, config)
    size = case.history_size + config.num_windows * rules.num_leads
    valid = simulate(config, truth, starts[1], size)
    windows = jaxcast.cut_windows(
        valid, num_windows=config.num_windows, num_leads=rules.num_leads, history_size=case.history_size
    )
    first = _first_shown(truth, np.asarray(valid.times))
    shown = jax.tree.map(lambda a: a[first : first + FIGURE_STEPS], valid)
    if case.noise:
        rng = np.random.default_rng([data_seed, 1])
        scale = case.noise * np.asarray(train.states).std(0)
        train = train._replace(states=train.states + scale * rng.normal(size=train.states.shape))
        windows = windows._replace(history=windows.history + scale * rng.normal(size=windows.history.shape))
        seen = shown.states[:FIGURE_KNOWN]
        noise = scale * rng.normal(size=seen.shape)
        shown = shown._replace(states=shown.states.at[:FIGURE_KNOWN].add(noise))
    ensemble = list(case.candidates)
    candidates = jaxcast.flow_map(jaxcast.stack_systems(ensemble), dt=case.dt, h=case.h)
    return SkillTask(data_seed, truth, train, valid, windows, ensemble, candidates, rules, shown)


@cache
def _rules(case: Case, config: Config) -> Rules:
    """Makes the rules for all data seeds, on a long trajectory of their own."""
    system = case.truth(0)
    start = jaxcast.dynamics.random_starts(system, 1, key=jax.random.key(0))[0]
    return make_rules(config, system, simulate(config, system, start, 4000))


def _first_shown(truth: jaxcast.System, times: np.ndarray) -> int:
    """Returns where the pictures begin: a jumping parameter should jump both in the history and soon after."""
    jumps = _jumps(truth)
    for first in range(len(times) - FIGURE_STEPS + 1 if len(jumps) else 0):
        begin, gone, end = (times[first + k] for k in (FIGURE_KNOWN // 4, FIGURE_KNOWN - 5, FIGURE_STEPS * 3 // 4))
        if ((jumps > begin) & (jumps < gone)).any() and (
            (jumps > gone + 10 * (times[1] - times[0])) & (jumps < end)
        ).any():
            return first
    return 0


def _jumps(truth: jaxcast.System) -> np.ndarray:
    return np.concatenate([np.ravel(schedule.jumps) for schedule in truth.schedules.values()])


def windows_without_switch(task: Task) -> np.ndarray:
    """Returns which windows have no jump of the parameter between their newest true sample and their end, (window,)."""
    jumps = _jumps(task.truth)
    times = np.asarray(task.windows.times)
    newest = times[:, -task.windows.truth.shape[1] - 1]
    return np.array([not ((jumps >= a - 1e-9) & (jumps < b)).any() for a, b in zip(newest, times[:, -1], strict=True)])
