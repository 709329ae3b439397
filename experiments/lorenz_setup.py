"""The settings of `experiments.lorenz`, and the task that they make: the truth, its trajectories and windows, the candidates."""

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

import jaxcast
from jaxcast import InputError
from jaxcast.integrate import num_steps_in


@dataclasses.dataclass(frozen=True)
class Config:
    """Simulate a Lorenz system whose rho varies, train pools of eleven models whose rho does not, and measure how long
    each pool's closed-loop forecast stays valid. Times are in model time units (MTU)."""

    preset: Literal["smoke", "quick", "paper"] = "quick"
    """smoke: seconds, for tests; quick: about a minute; paper: all delays, five training seeds."""
    out: Path | None = None
    """Folder for config.json, results.json and the pictures; by default runs/lorenz- and the preset's name."""
    overwrite: bool = False
    """Start afresh where the folder holds a run with other settings."""
    seed: int = 0
    """Of training: initial parameters and shuffling."""
    data_seed: int = 1
    """Of the truth: where the training and the validation trajectory start."""
    data: Path | None = None
    """Not used: this experiment makes its own data."""

    rho_mean: float = 38.0
    """Of the truth: rho(t) = rho_mean - rho_amplitude cos(2 pi t / period)."""
    rho_amplitude: float = 10.0
    """Of the truth's rho."""
    period: float = 1.577132
    """Of the truth's rho, in MTU."""
    candidate_rho: tuple[float, ...] = (28.0, 30.0, 32.0, 34.0, 36.0, 38.0, 40.0, 42.0, 44.0, 46.0, 48.0)
    """The constant rho of each candidate model."""
    h: float = 0.01
    """Step of the Runge-Kutta integrator, in MTU."""
    dt: float = 0.1
    """Interval between samples, in MTU; a whole multiple of h."""
    transient: float = 100.0
    """Simulated and thrown away before each trajectory, in MTU."""
    num_train: int = 4000
    """Samples of the training trajectory."""
    num_windows: int = 200
    """Consecutive windows of the validation trajectory."""
    window_size: int = 128
    """Leads of each window."""
    history_size: int = 7
    """True samples before each window that every method sees; more than the largest number of delays."""
    threshold: float = 40.0
    """A forecast is valid while its squared error, averaged over components, is below this."""

    delays: tuple[int, ...] = (5,)
    """Numbers of delays l of the attention pools."""
    hidden_budget: int = 600
    """An attention pool with l delays has hidden_budget / l hidden units."""
    feed_forward_delays: int = 5
    """Delays of the feed-forward network, which gets as many parameters as the attention pool with that many."""
    num_epochs: int = 500
    """Of the attention pools."""
    feed_forward_epochs: int = 800
    """Of the feed-forward network."""
    batch_size: int = 64
    """Samples of a minibatch."""
    learning_rate: float = 1e-3
    """Of Adam, constant."""
    num_seeds: int = 2
    """Training seeds of every trained method."""
    network_dtype: Literal["float32", "float64"] = "float32"
    """Arithmetic of the networks in training and forecasts; dynamics, errors and scores are always float64."""
    lyapunov_duration: float = 200.0
    """Length of each of the 64 trajectories that measure the Lyapunov exponent, in MTU."""

    def hidden_size(self, delays: int) -> int:
        """Hidden units of an attention pool with so many delays."""
        return max(1, self.hidden_budget // delays)


QUICK = Config()
PRESETS = {
    "smoke": dataclasses.replace(
        QUICK,
        preset="smoke",
        data_seed=2,
        num_train=400,
        num_windows=20,
        window_size=32,
        num_epochs=10,
        feed_forward_epochs=10,
        hidden_budget=100,
        lyapunov_duration=20.0,
    ),
    "quick": QUICK,
    "paper": dataclasses.replace(QUICK, preset="paper", data_seed=100, delays=(1, 2, 3, 4, 5, 6), num_seeds=5),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What every method gets: the truth in two trajectories, the windows, the candidates."""

    rho: jaxcast.Schedule
    truth: jaxcast.System
    train: jaxcast.Trajectory
    valid: jaxcast.Trajectory
    windows: jaxcast.Windows
    candidates: jaxcast.FlowMap
    exponent: float


def make_task(config: Config) -> Task:
    """Simulates the two trajectories from random starts and cuts the windows.

    Raises:
        InputError: if the truth diverges, because h is too large.
    """
    rho = jaxcast.Cosine(mean=config.rho_mean, amplitude=-config.rho_amplitude, period=config.period)
    truth = jaxcast.Lorenz63(rho=rho)
    starts = jax.random.normal(jax.random.key(config.data_seed), (2, truth.dim)) + jnp.asarray([0.0, 0.0, 25.0])
    record = dict(dt=config.dt, h=config.h, transient=config.transient)
    train = jaxcast.simulate(truth, starts[0], num_samples=config.num_train, **record)
    valid = jaxcast.simulate(
        truth, starts[1], num_samples=config.history_size + config.num_windows * config.window_size, **record
    )
    if not (jnp.isfinite(train.states).all() and jnp.isfinite(valid.states).all()):
        raise InputError(f"the truth diverges with h={config.h}; choose a smaller h")
    windows = jaxcast.cut_windows(
        valid, num_windows=config.num_windows, window_size=config.window_size, history_size=config.history_size
    )
    ensemble = jaxcast.stack([jaxcast.Lorenz63(rho=rho) for rho in config.candidate_rho])
    exponent = lyapunov_exponent(config, truth, train)
    if not math.isfinite(exponent):
        raise InputError(f"the truth diverges with h={config.h}; choose a smaller h")
    return Task(rho, truth, train, valid, windows, jaxcast.flow_map(ensemble, dt=config.dt, h=config.h), exponent)


def lyapunov_exponent(config: Config, truth: jaxcast.System, train: jaxcast.Trajectory) -> float:
    """The truth's maximal Lyapunov exponent, the mean of 64 trajectories."""
    starts = train.states[jnp.linspace(0, len(train.states) - 1, 64).astype(int)]
    keys = jax.random.split(jax.random.key(config.data_seed), len(starts))
    duration = max(1, round(config.lyapunov_duration / config.dt)) * config.dt

    def exponent(u0: Any, key: Any) -> Any:
        return jaxcast.lyapunov_exponent(
            truth, u0, duration=duration, key=key, h=config.h, dt=config.dt, transient=100 * config.dt
        )

    return float(jax.vmap(exponent)(starts, keys).mean())


def check(config: Config) -> None:
    """Raises InputError for settings that cannot be run, before anything is computed or written."""
    counts = ("num_train", "num_windows", "window_size", "num_seeds", "num_epochs", "feed_forward_epochs")
    for name in (*counts, "hidden_budget", "batch_size", "feed_forward_delays"):
        if getattr(config, name) < 1:
            raise InputError(f"{name} must be at least 1, got {getattr(config, name)}")
    for name, value in dataclasses.asdict(config).items():
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise InputError(f"{name} must be finite, got {value}")
    for name in ("period", "threshold", "learning_rate", "lyapunov_duration"):
        if not getattr(config, name) > 0:
            raise InputError(f"{name} must be positive, got {getattr(config, name)}")
    if not config.candidate_rho or not config.delays or min(config.delays) < 1:
        raise InputError(
            f"expected at least one candidate_rho and delays of at least 1, "
            f"got {len(config.candidate_rho)} candidates and delays {config.delays}"
        )
    longest = max(*config.delays, config.feed_forward_delays)
    if config.history_size <= longest:
        raise InputError(f"history_size must exceed the {longest} delays, got {config.history_size}")
    if config.num_train < longest + 1 + config.batch_size:
        raise InputError(
            f"num_train must be at least {longest + 1 + config.batch_size} for {longest} delays and batches of "
            f"{config.batch_size}, got {config.num_train}"
        )
    if len(set(config.delays)) < len(config.delays):
        raise InputError(f"delays must differ, got {config.delays}")
    for name in ("seed", "data_seed"):
        if not 0 <= getattr(config, name) < 2**32:
            raise InputError(f"{name} must be from 0 to 2^32 - 1, got {getattr(config, name)}")
    num_steps_in(config.dt, config.h, "dt")
    if config.transient:
        num_steps_in(config.transient, config.h, "transient")
