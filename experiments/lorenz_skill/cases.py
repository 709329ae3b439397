"""Cases of `experiments.lorenz_skill`: truths, candidates, noise, histories, and the data that methods get."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from experiments.lorenz.setup import PAPER_TRUTH, Config, Rules, Task, make_rules, simulate

MEAN_HOLD, SHORTEST_HOLD = 10.0, 1.0
FIGURE_KNOWN, FIGURE_STEPS = 40, 168


class Sawtooth(jaxcast.Schedule):
    """Schedule low + (high - low) (t mod period) / period; its jumps should lie on the integrator's steps."""

    low: jaxcast.dynamics.Parameter
    high: jaxcast.dynamics.Parameter
    period: jaxcast.dynamics.Parameter

    def __call__(self, t: Any) -> Any:
        return self._since(t, jnp.floor(t / self.period))

    @property
    def jumps(self) -> Any:
        return ()

    def over_step(self, start: Any, middle: Any, end: Any) -> tuple[Any, Any, Any]:
        tooth = jnp.floor(middle / self.period)
        return self._since(start, tooth), self._since(middle, tooth), self._since(end, tooth)

    def _since(self, t: Any, tooth: Any) -> Any:
        return self.low + (self.high - self.low) * (t / self.period - tooth)


class Thomas(jaxcast.System):
    """Cyclically symmetric system of Thomas (Int. J. Bifurcation Chaos 9, 1889-1905, 1999): dx/dt = sin y - b x, ..."""

    components = ("x", "y", "z")

    b: jaxcast.dynamics.Parameter = 0.18

    def vector_field(self, t: Any, u: Any) -> Any:
        x, y, z = u
        return jnp.sin(y) - self.b * x, jnp.sin(z) - self.b * y, jnp.sin(x) - self.b * z


LORENZ = tuple(jaxcast.dynamics.parse_candidates("lorenz63(rho=linspace(28, 48, 11))"))
ROSSLER = tuple(jaxcast.dynamics.parse_candidates("rossler(c=linspace(4.7, 6.7, 9))"))
LORENZ96 = tuple(jaxcast.dynamics.parse_candidates("lorenz96(dim=8, forcing=linspace(6, 10, 9))"))
THOMAS = tuple(Thomas(b=float(b)) for b in np.linspace(0.15, 0.21, 9))


def _always(truth: str | jaxcast.System) -> Callable[[int], jaxcast.System]:
    """Returns the same truth for every data seed; text is parsed on call, because an import must not compute."""
    return lambda data_seed: jaxcast.dynamics.parse_system(truth) if isinstance(truth, str) else truth


def _period(period: float) -> Callable[[int], jaxcast.System]:
    return _always(f"lorenz63(rho=cosine(mean=38, amplitude=-10, period={period}))")


def _switching(data_seed: int) -> jaxcast.System:
    """Makes a truth whose rho holds random values for random times of at least SHORTEST_HOLD."""
    rng = np.random.default_rng(data_seed)
    holds = SHORTEST_HOLD + rng.exponential(MEAN_HOLD - SHORTEST_HOLD, 400)
    return _stepwise(np.cumsum(holds).round(2), rng.uniform(28, 48, 401).round(2))


def _square_wave(data_seed: int) -> jaxcast.System:
    """Makes a truth whose rho alternates between 31 and 45 every 0.8 time units."""
    return _stepwise((0.8 * np.arange(1, 4001)).round(2), np.resize([31.0, 45.0], 4001))


def _stepwise(times: np.ndarray, values: np.ndarray) -> jaxcast.System:
    return jaxcast.Lorenz63(rho=jaxcast.PiecewiseConstant(times=times, values=values))


PAPER = _always(PAPER_TRUTH)


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
    truth: Callable[[int], jaxcast.System] = PAPER
    candidates: tuple[jaxcast.System, ...] = LORENZ
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


_BY_RULE: dict[str, Any] = {"threshold": None, "num_leads": None}
CASES: dict[str, Case] = {
    "paper": Case("the paper's protocol, six true samples", group="paper"),
    "spin_up": Case("the same, 100 true samples", history_size=100, group="paper"),
    "long": Case("the same, windows of 25.6, six true samples", num_leads=256, group="paper"),
    "period_0.9": Case("period 0.9", _period(0.9)),
    "period_2.7": Case("period 2.7", _period(2.7)),
    "period_5": Case("period 5", _period(5.0)),
    "two_cosines": Case(
        "two incommensurate cosines",
        _always(
            "lorenz63(rho=sum_of_cosines(mean=38, amplitudes=[-6, 4], periods=[1.577132, 2.551853], phases=[0, 1]))",
        ),
    ),
    "ramp": Case("slow linear ramp", _always("lorenz63(rho=linear_ramp(start=28, stop=48, begin=0, end=2560))")),
    "switching": Case("random switching", _switching),
    "square_wave": Case("square wave, 0.8 each", _square_wave),
    "square_wave_100": Case("square wave, 100 true samples", _square_wave, history_size=100),
    "sawtooth": Case(
        "sawtooth, period 2.4",
        _always(jaxcast.Lorenz63(rho=Sawtooth(low=28.0, high=48.0, period=2.4))),
    ),
    "sigma_11": Case(
        "truth of another sigma, 11 for 10",
        _always("lorenz63(sigma=11, rho=cosine(mean=38, amplitude=-10, period=1.577132))"),
    ),
    "finer_step": Case("truth of a finer integrator, h/4", truth_h=0.0025),
    "rossler": Case(
        "Rössler, varying c",
        _always("rossler(c=cosine(mean=5.7, amplitude=1, period=7))"),
        ROSSLER,
        dt=0.2,
        h=0.02,
        **_BY_RULE,
    ),
    "lorenz96": Case(
        "Lorenz '96, 8 sites, varying forcing",
        _always("lorenz96(dim=8, forcing=cosine(mean=8, amplitude=2, period=2))"),
        LORENZ96,
        dt=0.05,
        **_BY_RULE,
    ),
    "thomas": Case(
        "Thomas (sines, no polynomial), varying b",
        _always(Thomas(b=jaxcast.Cosine(mean=0.18, amplitude=0.03, period=20.0))),
        THOMAS,
        dt=1.0,
        h=0.1,
        **_BY_RULE,
    ),
    "noise_1": Case("observation noise 1 %", noise=0.01, history_size=100, group="noise"),
    "noise_5": Case("observation noise 5 %", noise=0.05, history_size=100, group="noise"),
    "samples_500": Case("500 training samples", num_train=500),
    "samples_1000": Case("1000 training samples", num_train=1000),
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
