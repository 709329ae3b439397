"""Settings of `experiments.lorenz` and its tasks: truth, trajectories, windows and candidates."""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import jaxcast
from experiments.frame import OwnData
from jaxcast import InputError
from jaxcast.dynamics.trajectories import check_jumps, num_steps_in
from jaxcast.io.run_folder import values_of
from jaxcast.training import TrainingOptions

PAPER_TRUTH = "lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))"

TRAINING = TrainingOptions(num_seeds=2)


@dataclasses.dataclass(frozen=True)
class Config(OwnData):
    """Simulate a Lorenz system with a varying rho, train pools of eleven models with a constant one, and measure
    how long each pool's closed-loop forecast stays valid. Times are in model time units (MTU)."""

    truth: str = PAPER_TRUTH
    """System to forecast, such as lorenz63(rho=...), lorenz96(dim=8, forcing=...) or rossler(c=...). A parameter is a
    number, cosine(mean, amplitude, period, phase), sum_of_cosines(mean, amplitudes, periods, phases),
    linear_ramp(start, stop, begin, end) or piecewise_constant(times, values)."""
    candidates: str = "lorenz63(rho=linspace(28, 48, 11))"
    """Candidate models: like the truth, with a list [28, 30, ...] or linspace(first, last, count) for a parameter."""
    h: float = 0.01
    """Step size of the Runge-Kutta integrator, in MTU."""
    dt: float = 0.1
    """Interval between samples, in MTU; a whole multiple of h."""
    transient: float = 100.0
    """Time simulated and discarded before each trajectory, in MTU."""
    num_train: int = 4000
    """Samples in the training trajectory."""
    num_windows: int = 200
    """Consecutive windows cut from the validation trajectory."""
    num_leads: int | None = None
    """Leads in each window. Default: 128 for the published truth, 9 Lyapunov times for any other."""
    history_size: int = 7
    """True samples that every method sees before each window; must exceed the largest number of delays."""
    threshold: float | None = None
    """Largest squared error, averaged over components, of a valid forecast. Default: 40 for the published truth,
    0.175 times the saturation error of any other."""

    delays: tuple[int, ...] = (5,)
    """Numbers of delays l; one attention pool is trained for each."""
    hidden_budget: int = 600
    """Hidden units times delays: a pool with l delays has hidden_budget / l hidden units."""
    baseline_delays: int = 5
    """Delays of the other methods. The feed-forward network gets as many parameters as the attention pool."""
    extras: tuple[
        Literal["ridge_regression", "simplex_least_squares", "scaled_dot_product_attention", "multi_head_attention"],
        ...,
    ] = ()
    """Additional methods that are not in the published table."""
    num_heads: int = 2
    """Heads of the multi-head attention; the hidden units are divided among them."""
    feed_forward_epochs: int = 800
    """Training epochs of the feed-forward network."""
    training: TrainingOptions = TRAINING
    """Training of every network; the epochs are those of the attention pools."""
    network_dtype: Literal["float32", "float64"] = "float32"
    """Precision of the networks; dynamics, errors and scores are always float64."""
    lyapunov_duration: float = 200.0
    """Duration of each of the 64 trajectories that estimate the Lyapunov exponent, in MTU."""

    def hidden_size(self, delays: int) -> int:
        """Returns the number of hidden units of an attention pool with these delays."""
        return max(1, self.hidden_budget // delays)


QUICK = Config()
PRESETS = {
    "smoke": dataclasses.replace(
        QUICK,
        preset="smoke",
        data_seed=2,
        num_train=400,
        num_windows=20,
        num_leads=32,
        training=dataclasses.replace(TRAINING, num_epochs=10),
        feed_forward_epochs=10,
        hidden_budget=100,
        extras=("ridge_regression", "simplex_least_squares", "scaled_dot_product_attention", "multi_head_attention"),
        lyapunov_duration=20.0,
    ),
    "quick": QUICK,
    "paper": dataclasses.replace(
        QUICK,
        preset="paper",
        data_seed=100,
        num_data_seeds=3,
        delays=(1, 2, 3, 4, 5, 6),
        training=dataclasses.replace(TRAINING, num_seeds=5),
        extras=("ridge_regression", "simplex_least_squares", "scaled_dot_product_attention", "multi_head_attention"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Rules:
    """Rules by which forecasts of a truth are scored, the same for all data seeds."""

    exponent: float
    threshold: float
    num_leads: int
    saturation: float


@dataclasses.dataclass(frozen=True)
class Task:
    """Data for every method: truth, two trajectories, windows, candidates and scoring rules."""

    data_seed: int
    truth: jaxcast.System
    train: jaxcast.Trajectory
    valid: jaxcast.Trajectory
    windows: jaxcast.Windows
    ensemble: list[jaxcast.System]
    candidates: jaxcast.dynamics.FlowMap
    rules: Rules

    @property
    def hidden(self) -> tuple[str, np.ndarray, jaxcast.Schedule] | None:
        """The parameter in which the candidates differ, its values, and its schedule in the truth; None without one."""
        found = jaxcast.dynamics.candidate_coordinates(self.ensemble)
        schedule = self.truth.schedules.get(found[0]) if found else None
        return None if found is None or schedule is None else (*found, schedule)

    def hidden_at(self, times: Any) -> Any:
        """Returns the true value of the hidden parameter at these times."""
        if self.hidden is None:
            return None
        schedule = self.hidden[2]
        return jnp.vectorize(lambda t: schedule(t))(jnp.asarray(times))


def make_tasks(config: Config) -> list[Task]:
    """Makes one task per data seed: two trajectories from random starts; windows are cut from the second.

    Raises:
        InputError: for settings that cannot be run, or where the truth diverges because h is too large.
    """
    check(config)
    rules = None
    tasks = []
    for data_seed in range(config.data_seed, config.data_seed + config.num_data_seeds):
        truth, ensemble = (
            jaxcast.dynamics.parse_system(config.truth),
            jaxcast.dynamics.parse_candidates(config.candidates),
        )
        starts = jaxcast.dynamics.random_starts(truth, 2, key=jax.random.key(data_seed))
        train = simulate(config, truth, starts[0], config.num_train)
        rules = rules or make_rules(config, truth, train)
        num_valid = config.history_size + config.num_windows * rules.num_leads
        valid = simulate(config, truth, starts[1], num_valid)
        windows = jaxcast.cut_windows(
            valid, num_windows=config.num_windows, num_leads=rules.num_leads, history_size=config.history_size
        )
        candidates = jaxcast.flow_map(jaxcast.stack_systems(ensemble), dt=config.dt, h=config.h)
        tasks.append(Task(data_seed, truth, train, valid, windows, ensemble, candidates, rules))
    return tasks


def simulate(config: Config, truth: jaxcast.System, start: Any, num_samples: int) -> jaxcast.Trajectory:
    """Simulates the truth after its transient."""
    trajectory = jaxcast.simulate(
        truth, start, num_samples=num_samples, dt=config.dt, h=config.h, transient=config.transient
    )
    if not jnp.isfinite(trajectory.states).all():
        raise InputError(f"the truth diverges with h={config.h}; choose a smaller h")
    return trajectory


def make_rules(config: Config, truth: jaxcast.System, train: jaxcast.Trajectory) -> Rules:
    """Returns the given threshold and window, or defaults for this truth."""
    exponent = lyapunov_exponent(config, truth, train)
    if not math.isfinite(exponent):
        raise InputError(f"the truth diverges with h={config.h}; choose a smaller h")
    saturation = float(jaxcast.saturation_error(train.states))
    published = jaxcast.dynamics.describe_system(truth) == jaxcast.dynamics.describe_system(
        jaxcast.dynamics.parse_system(PAPER_TRUTH)
    )
    threshold, num_leads = config.threshold, config.num_leads
    if threshold is None:
        threshold = 40.0 if published else 0.175 * saturation
    if num_leads is None:
        if not published and exponent <= 0:
            raise InputError(f"the truth is not chaotic: its Lyapunov exponent is {exponent:.3g}; set num_leads")
        num_leads = 128 if published else max(1, round(9 / exponent / config.dt))
    return Rules(exponent, threshold, num_leads, saturation)


def lyapunov_exponent(config: Config, truth: jaxcast.System, train: jaxcast.Trajectory) -> float:
    """Estimates the truth's largest Lyapunov exponent as the mean of 64 trajectories."""
    starts = train.states[jnp.linspace(0, len(train.states) - 1, 64).astype(int)]
    keys = jax.random.split(jax.random.key(config.data_seed), len(starts))
    duration = max(1, round(config.lyapunov_duration / config.dt)) * config.dt

    def exponent(u0: Any, key: Any) -> Any:
        return jaxcast.dynamics.lyapunov_exponent(
            truth, u0, duration=duration, key=key, h=config.h, dt=config.dt, transient=100 * config.dt
        )

    return float(jax.vmap(exponent)(starts, keys).mean())


def check(config: Config) -> None:
    """Raises InputError for settings that cannot be run, before anything is computed or written."""
    config.check()
    config.training.check()
    counts = ("num_train", "num_windows", "num_leads", "num_heads")
    for name in (*counts, "feed_forward_epochs", "hidden_budget", "baseline_delays"):
        if (value := getattr(config, name)) is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    for name, value in values_of(config).items():
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise InputError(f"{name} must be finite, got {value}")
    for name in ("threshold", "learning_rate", "lyapunov_duration"):
        if (value := values_of(config)[name]) is not None and not value > 0:
            raise InputError(f"{name} must be positive, got {value}")
    if not config.delays or min(config.delays) < 1:
        raise InputError(f"expected delays of at least 1, got {config.delays}")
    longest = max(*config.delays, config.baseline_delays)
    if config.history_size <= longest:
        raise InputError(f"history_size must exceed the {longest} delays, got {config.history_size}")
    if config.num_train < longest + 1 + config.training.batch_size:
        raise InputError(
            f"num_train must be at least {longest + 1 + config.training.batch_size} for {longest} delays "
            f"and batches of {config.training.batch_size}, got {config.num_train}"
        )
    if len(set(config.delays)) < len(config.delays):
        raise InputError(f"delays must differ, got {config.delays}")
    num_steps_in(config.dt, config.h, "dt")
    if config.transient:
        num_steps_in(config.transient, config.h, "transient")
    truth, ensemble = jaxcast.dynamics.parse_system(config.truth), jaxcast.dynamics.parse_candidates(config.candidates)
    if truth.dim != ensemble[0].dim:
        raise InputError(
            f"the truth has {truth.dim} components, its candidates have {ensemble[0].dim}; the numbers must match"
        )
    for system in (truth, *ensemble):
        check_jumps(system, config.h)
