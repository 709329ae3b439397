"""The methods that `experiments.lorenz_skill` compares. Each is fitted on a training trajectory and scored on windows."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import jaxcast
from experiments.lorenz_methods import initializer
from experiments.lorenz_setup import Task
from experiments.skill_cases import Case
from jaxcast.storage.folder import Arrays, RunFolder

DELAYS, HIDDEN_SIZE = 5, 120
FIGURE_KNOWN, FIGURE_STEPS = 40, 168
VALIDATION_WINDOWS = 30


class Trained:
    """A method's cell, or cells of several seeds, and how many true samples it looks at; None: all that there are."""

    def __init__(
        self, make_cell: Callable[[Any, Any], Any], models: Any, num_seeds: int, seen: int | None = None, **notes: Any
    ):
        self.make_cell, self.models, self.num_seeds, self.seen, self.notes = make_cell, models, num_seeds, seen, notes


def single(cell: Any, seen: int | None = None, **notes: Any) -> Trained:
    """A method without seeds."""
    return Trained(_itself, jax.tree.map(lambda a: jnp.asarray(a)[None], cell), 1, seen, **notes)


def _itself(cell: Any, candidates: Any) -> Any:
    return cell


def pooled(pool: Any, candidates: Any) -> Any:
    """The cell of a pool."""
    return jaxcast.Forecaster(pool, candidates)


class Methods:
    """All methods of one case on one data seed; every fit and every score is a stage of the run's folder."""

    def __init__(
        self, config: Any, case: Case, name: str, trained_in: str, task: Task, folder: RunFolder, console: Console
    ):
        self.config, self.case, self.name, self.trained_in, self.task = config, case, name, trained_in, task
        self.folder, self.console = folder, console
        self.scale = np.asarray(task.valid.states).std(0)
        key = jax.random.fold_in(jax.random.key(config.seed), task.data_seed)
        self.keys = jax.random.split(key, config.num_seeds)

    def run(self, names: tuple[str, ...]) -> dict[str, Arrays]:
        """The scores of these methods."""
        return {name: self.score(name) for name in names}

    def score(self, method: str) -> Arrays:
        """Valid times (seed, window), squared errors in deviations (seed, window, lead), and what the pictures need."""
        began = time.perf_counter()

        def compute(_: Path) -> Arrays:
            trained: Trained = getattr(self, method)()
            fitted = time.perf_counter() - began
            arrays = score(trained, self.task, self.case, self.scale)
            seen = trained.seen or self.case.history_size
            return arrays | {"samples_seen": np.asarray(seen), "fit_s": np.asarray(fitted)} | trained.notes

        arrays = self.folder.stage(f"{method}-{self.name}-data{self.task.data_seed}", compute)
        median = np.median(np.median(arrays["valid_time"], axis=1))
        self.console.print(
            f"{self.case.title}, data seed {self.task.data_seed}, {label_of(method)}: valid time {median:.2f}"
            f"  ({time.perf_counter() - began:.1f} s)",
            highlight=False,
            markup=False,
        )
        return arrays

    def trained_once(self, method: str, init: Any, fit: Callable[[Path], Any]) -> Any:
        """Models with a leading seed axis: fitted, or read where a case with the same training data has fitted them."""

        def compute(checkpoint: Path) -> Arrays:
            return {f"param_{i}": leaf for i, leaf in enumerate(jax.tree.leaves(fit(checkpoint)))}

        arrays = self.folder.stage(f"{method}-trained-{self.trained_in}-data{self.task.data_seed}", compute)
        like = jax.eval_shape(jax.vmap(init), self.keys)
        leaves = [jnp.asarray(arrays[f"param_{i}"]) for i in range(len(arrays))]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

    def attention(self) -> Trained:
        """The published pool at its best number of delays."""
        arguments = {"dim": self.task.truth.dim, "num_delays": DELAYS, "hidden_size": HIDDEN_SIZE, "dtype": jnp.float32}
        init = initializer(jaxcast.AdditiveAttention, tuple(arguments.items()))

        def fit(checkpoint: Path) -> Any:
            samples = jaxcast.one_step_samples(self.task.train, DELAYS, self.task.candidates)
            return jaxcast.fit(
                init,
                jax.tree.map(lambda a: a.astype(jnp.float32), samples),
                keys=self.keys,
                optimizer=jaxcast.make_optimizer(1e-3),
                num_epochs=self.config.num_epochs,
                batch_size=64,
                checkpoint=checkpoint,
            ).model

        pools = self.trained_once("attention", init, fit)
        return Trained(pooled, pools, len(self.keys), DELAYS + 1)

    def regime(self) -> Trained:
        """The regime forecaster, told the candidates' values of the parameter in which they differ."""
        found = jaxcast.coordinates(self.task.ensemble)
        assert found is not None
        return self._regime(found[1])

    def regime_without_coordinates(self) -> Trained:
        """The same, told nothing of the candidates."""
        return self._regime(None)

    def _regime(self, coordinates: Any) -> Trained:
        cell = jaxcast.fit_regime(self.task.train, self.task.candidates, coordinates=coordinates)
        return single(
            cell,
            periods=2 * np.pi / np.asarray(cell.course.frequencies),
            emulator_error=np.asarray(cell.emulator.error),
            value_noise=np.asarray(cell.value_noise) / self.scale,
        )

    def fixed_share(self) -> Trained:
        """Switching weights of Herbster and Warmuth."""
        samples = jaxcast.one_step_samples(self.task.train, 1, self.task.candidates)
        return single(pooled(jaxcast.fit_fixed_share(samples.forecasts, samples.targets), self.task.candidates))

    def interacting_models(self) -> Trained:
        """A Markov chain over the candidates."""
        samples = jaxcast.one_step_samples(self.task.train, 1, self.task.candidates)
        pool = jaxcast.fit_interacting_models(samples.forecasts, samples.targets)
        return single(pooled(pool, self.task.candidates))

    def nvar(self) -> Trained:
        """Next-generation reservoir computing on the truth alone."""
        most = self.case.history_size
        grid = {
            "num_delays": [k for k in (3, 5, 6) if k <= most],
            "degree": [2, 3],
            "penalty": [1e-3, 1e-1, 1e1],
        }
        choice = self.chosen(lambda trajectory, **s: jaxcast.fit_nvar(trajectory.states, **s), grid)
        return single(choice.cell, choice.setting["num_delays"])

    def reservoir(self) -> Trained:
        """An echo state network on the truth alone."""
        grid = {"spectral_radius": [0.3, 0.9], "input_scale": [0.1, 0.4], "penalty": [1e-4, 1e-2, 1.0]}
        key = self.keys[0]
        return single(self.chosen(lambda t, **s: jaxcast.fit_reservoir(t.states, key=key, **s), grid).cell)

    def ensemble_kalman_filter(self) -> Trained:
        """The true family with its parameter as part of the state, which no pool is given."""
        found = jaxcast.coordinates(self.task.ensemble)
        assert found is not None
        name, values = found
        model = jaxcast.parameter_map(self.task.ensemble[0], [name], dt=self.case.dt, h=self.case.h)
        noise = max(self.case.noise, 0.01) * np.asarray(self.task.train.states).std(0)

        def make(_: Any, **setting: Any) -> Any:
            return jaxcast.EnsembleKalmanFilter(
                model, [min(values)], [max(values)], observation_noise=noise, key=self.keys[0], **setting
            )

        step = (max(values) - min(values)) / 20
        return single(
            self.chosen(make, {"parameter_noise": [step / 2, step, 2 * step, 4 * step], "inflation": [1.0, 1.1]}).cell
        )

    def chosen(self, fit: Callable[..., Any], grid: dict[str, Any]) -> Any:
        """The setting that forecasts the last part of the training trajectory longest."""
        rules = self.task.rules
        size = max(1, min(rules.window_size // 2, len(self.task.train.states) // 8))
        return jaxcast.choose_setting(
            fit,
            grid,
            self.task.train,
            dt=self.case.dt,
            threshold=rules.threshold,
            window_size=size,
            history_size=self.case.history_size,
            num_windows=VALIDATION_WINDOWS,
        )


@partial(jax.jit, static_argnames="make_cell")
def _rolled(
    make_cell: Callable[[Any, Any], Any], models: Any, candidates: Any, windows: jaxcast.Windows
) -> jaxcast.Output:
    """With a leading seed axis."""
    return jax.lax.map(lambda model: jaxcast.forecast_windows(make_cell(model, candidates), windows), models)


def score(trained: Trained, task: Task, case: Case, scale: np.ndarray) -> Arrays:
    """What a method's forecasts of all windows are worth."""
    rolled = _rolled(trained.make_cell, trained.models, task.candidates, task.windows)
    valid = partial(jaxcast.valid_time, dt=case.dt, threshold=task.rules.threshold)
    result = jax.vmap(lambda forecast: jax.vmap(valid)(forecast, task.windows.truth))(rolled.forecast)
    square = np.mean(((np.asarray(rolled.forecast) - np.asarray(task.windows.truth)) / scale) ** 2, -1)
    arrays = {
        "valid_time": np.asarray(result.time),
        "censored": np.asarray(result.censored),
        "square_error": np.where(np.isfinite(square), square, np.inf).astype(np.float32),
    }
    if trained.num_seeds > 2:
        both = jaxcast.spread_and_error(rolled.forecast, task.windows.truth, scale=scale)
        arrays |= {"spread": np.asarray(both.spread), "ensemble_error": np.asarray(both.error)}
    elif "spread" in rolled.info:
        spread = (np.asarray(rolled.info["spread"][0]) / scale) ** 2
        arrays["spread"] = np.sqrt(np.median(spread.mean(-1), 0))
    return arrays | _figure(trained, task)


def _figure(trained: Trained, task: Task) -> Arrays:
    """What one forecast says of the regime: known truth first, then none."""
    length = min(FIGURE_STEPS, len(task.valid.states))
    known = jnp.arange(length) < FIGURE_KNOWN
    model = jax.tree.map(lambda a: a[0], trained.models)
    inputs = jaxcast.Input(task.valid.states[:length], known, task.valid.times[:length])
    _, output = jaxcast.roll(trained.make_cell(model, task.candidates), inputs)
    names = ("regime", "regime_deviation", "weights", "parameters", "parameter_spread")
    return {f"figure_{name}": np.asarray(output.info[name]) for name in names if name in output.info}


def label_of(method: str) -> str:
    """What readers call a method."""
    special = {
        "attention": "published attention, l = 5",
        "regime": "regime",
        "regime_without_coordinates": "regime, no coordinates",
        "nvar": "NVAR",
        "ensemble_kalman_filter": "ensemble Kalman filter",
    }
    return special.get(method, method.replace("_", " "))
