"""The cases of `experiments.lorenz_skill`: truths, candidates, noise and histories, and what every method gets of them."""

import dataclasses
from collections.abc import Callable
from functools import cache

import jax
import numpy as np

import jaxcast
from experiments.lorenz_setup import PAPER_TRUTH, Config, Rules, Task, make_rules, simulate

LORENZ = "lorenz63(rho=linspace(28, 48, 11))"
MEAN_HOLD, SHORTEST_HOLD = 10.0, 1.0


@dataclasses.dataclass(frozen=True)
class Case:
    """One question. With an own threshold and window where they are the published ones, else by the rule of lorenz_setup.

    truth: as text, for a data seed. history_size: true samples before each window. noise: in training and history, in
    standard deviations of each component. published: median valid time of the published attention, measured elsewhere.
    """

    title: str
    truth: Callable[[int], str] = lambda data_seed: PAPER_TRUTH
    candidates: str = LORENZ
    dt: float = 0.1
    h: float = 0.01
    threshold: float | None = 40.0
    window_size: int | None = 128
    history_size: int = 6
    noise: float = 0.0
    num_train: int = 4000
    group: str = "others"

    @property
    def training(self) -> tuple[object, ...]:
        """What decides the training data: cases that share it share the trained methods."""
        return (self.truth(0), self.candidates, self.dt, self.h, self.noise, self.num_train)


def _period(period: float) -> Callable[[int], str]:
    return lambda data_seed: f"lorenz63(rho=cosine(mean=38, amplitude=-10, period={period}))"


def _switching(data_seed: int) -> str:
    """rho holds a random value for a random time, at least SHORTEST_HOLD."""
    rng = np.random.default_rng(data_seed)
    holds = SHORTEST_HOLD + rng.exponential(MEAN_HOLD - SHORTEST_HOLD, 400)
    times, values = np.cumsum(holds).round(2), rng.uniform(28, 48, 401).round(2)
    return f"lorenz63(rho=piecewise_constant(times={times.tolist()}, values={values.tolist()}))"


TWO_COSINES = "lorenz63(rho=sum_of_cosines(mean=38, amplitudes=[-6, 4], periods=[1.577132, 2.551853], phases=[0, 1]))"
RAMP = "lorenz63(rho=linear_ramp(start=28, stop=48, begin=0, end=2560))"
ROSSLER = "rossler(c=cosine(mean=5.7, amplitude=1, period=7))"
LORENZ96 = "lorenz96(dim=8, forcing=cosine(mean=8, amplitude=2, period=2))"

CASES: dict[str, Case] = {
    "paper": Case("the paper's protocol, six true samples", group="paper"),
    "spin_up": Case("the same, 100 true samples", history_size=100, group="paper"),
    "long": Case("the same, windows of 25.6, six true samples", window_size=256, group="paper"),
    "period_0.9": Case("period 0.9", _period(0.9)),
    "period_2.7": Case("period 2.7", _period(2.7)),
    "period_5": Case("period 5", _period(5.0)),
    "two_cosines": Case("two incommensurate cosines", lambda data_seed: TWO_COSINES),
    "ramp": Case("slow linear ramp", lambda data_seed: RAMP),
    "switching": Case("random switching", _switching),
    "rossler": Case(
        "Rössler, varying c", lambda data_seed: ROSSLER, "rossler(c=linspace(4.7, 6.7, 9))", 0.2, 0.02, None, None
    ),
    "lorenz96": Case(
        "Lorenz '96, 8 sites, varying forcing",
        lambda data_seed: LORENZ96,
        "lorenz96(dim=8, forcing=linspace(6, 10, 9))",
        0.05,
        0.01,
        None,
        None,
    ),
    "noise_1": Case("observation noise 1 %", noise=0.01, history_size=100, group="noise"),
    "noise_5": Case("observation noise 5 %", noise=0.05, history_size=100, group="noise"),
    "samples_500": Case("500 training samples", num_train=500),
    "samples_1000": Case("1000 training samples", num_train=1000),
}


def make_task(case: Case, config: Config, data_seed: int) -> Task:
    """What every method gets of a case; noise falls on training and history, never on the truth that judges."""
    truth, ensemble = jaxcast.parse_system(case.truth(data_seed)), jaxcast.parse_candidates(case.candidates)
    config = dataclasses.replace(
        config, dt=case.dt, h=case.h, threshold=case.threshold, window_size=case.window_size,
    )  # fmt: skip
    starts = jaxcast.random_starts(truth, 2, key=jax.random.key(data_seed))
    train = simulate(config, truth, starts[0], min(case.num_train, config.num_train))
    rules = _rules(case.truth(0), case.training, config)
    size = case.history_size + config.num_windows * rules.window_size
    valid = simulate(config, truth, starts[1], size)
    windows = jaxcast.cut_windows(
        valid, num_windows=config.num_windows, window_size=rules.window_size, history_size=case.history_size
    )
    if case.noise:
        rng = np.random.default_rng([data_seed, 1])
        scale = case.noise * np.asarray(train.states).std(0)
        train = train._replace(states=train.states + scale * rng.normal(size=train.states.shape))
        windows = windows._replace(history=windows.history + scale * rng.normal(size=windows.history.shape))
    candidates = jaxcast.flow_map(jaxcast.stack(ensemble), dt=case.dt, h=case.h)
    return Task(data_seed, truth, train, valid, windows, ensemble, candidates, rules)


@cache
def _rules(truth: str, training: tuple[object, ...], config: Config) -> Rules:
    """The same for all data seeds: made on a trajectory of its own, long enough whatever the training is."""
    system = jaxcast.parse_system(truth)
    start = jaxcast.random_starts(system, 1, key=jax.random.key(0))[0]
    return make_rules(config, system, simulate(config, system, start, 4000))


def windows_without_switch(task: Task) -> np.ndarray:
    """Which windows hold no jump of the truth's parameter, from their newest true sample to their end, (window,)."""
    jumps = np.concatenate([np.ravel(schedule.jumps) for schedule in task.truth.schedules.values()])
    times = np.asarray(task.windows.times)
    newest = times[:, -task.windows.truth.shape[1] - 1]
    return np.array([not ((jumps >= a - 1e-9) & (jumps < b)).any() for a, b in zip(newest, times[:, -1], strict=True)])
