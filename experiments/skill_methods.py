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
        self.keys = jax.random.split(key, config.num_paper_seeds if case.group == "paper" else config.num_seeds)

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
        init = self.attention_init()

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

    def attention_init(self) -> Any:
        """key -> the published pool."""
        arguments = {"dim": self.task.truth.dim, "num_delays": DELAYS, "hidden_size": HIDDEN_SIZE, "dtype": jnp.float32}
        return initializer(jaxcast.AdditiveAttention, tuple(arguments.items()))

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

    def component_attention(self) -> Trained:
        """Weights of their own for every component, from a network that sees standardised inputs."""
        dim, num_models = self.task.truth.dim, len(self.task.ensemble)
        scales = jaxcast.input_scales(self.task.train, self.task.candidates)

        def init(key: Any) -> Any:
            return jaxcast.ComponentAttention(dim=dim, num_models=num_models, num_delays=DELAYS, scales=scales, key=key)

        def fit(checkpoint: Path) -> Any:
            samples = jaxcast.one_step_samples(self.task.train, DELAYS, self.task.candidates)
            return self.minimised(init, samples, 3e-3, 2 / 5, checkpoint)

        pools = self.trained_once("component_attention", init, fit)
        return Trained(pooled, pools, len(self.keys), DELAYS + 1)

    def recurrent_attention(self) -> Trained:
        """A recurrent memory instead of delays, trained over time."""
        scales = jaxcast.input_scales(self.task.train, self.task.candidates)

        def init(key: Any) -> Any:
            return jaxcast.RecurrentAttention(
                dim=self.task.truth.dim, hidden_size=32, cell="gru", scales=scales, key=key
            )  # fmt: skip

        def fit(checkpoint: Path) -> Any:
            chunks = jaxcast.sequence_chunks(self.task.train, self.task.candidates, length=12, stride=2)
            return self.minimised(
                init, chunks, 5e-3, 1 / 5, checkpoint, clip_norm=1.0, loss=jaxcast.error_over_time
            )  # fmt: skip

        return Trained(pooled, self.trained_once("recurrent_attention", init, fit), len(self.keys))

    def minimised(
        self,
        init: Any,
        data: Any,
        learning_rate: float,
        share: float,
        checkpoint: Path,
        clip_norm: Any = None,
        **more: Any,
    ) -> Any:
        """Models fitted by a cosine schedule over a share of the epochs of the published method."""
        num_epochs = max(1, round(share * self.config.num_epochs))
        num_steps = num_epochs * (len(data.targets) // 64)
        return jaxcast.fit(
            init,
            jax.tree.map(lambda a: a.astype(jnp.float32), data),
            keys=self.keys,
            optimizer=jaxcast.make_optimizer(
                learning_rate, schedule="cosine", num_steps=num_steps, clip_norm=clip_norm
            ),
            num_epochs=num_epochs,
            batch_size=64,
            checkpoint=checkpoint,
            **more,
        ).model  # fmt: skip

    def fine_tuned_attention(self) -> Trained:
        """The published pool, then trained through its own closed loops of growing horizon."""
        pools = self.attention().models

        def fit(_: Path) -> Any:
            return jaxcast.fine_tune(
                pools,
                self.task.train,
                lambda pool: jaxcast.Forecaster(pool, self.task.candidates),
                keys=self.keys,
                horizons=(2, 5, 10, 20),
                num_epochs=max(1, self.config.num_epochs // 125),
                learning_rate=1e-3,
            ).model

        like = self.attention_init()
        return Trained(pooled, self.trained_once("fine_tuned_attention", like, fit), len(self.keys), DELAYS + 1)

    def interpolation(self) -> Trained:
        """Affine weights from the regime of the last step; nothing is trained."""
        return single(pooled(jaxcast.fit_regime_interpolation(self.samples()), self.task.candidates), DELAYS + 1)

    def corrected_interpolation(self) -> Trained:
        """Interpolation and a kernel ridge correction from the state and the last regimes: no dynamics are identified."""
        samples = self.samples()
        pool = jaxcast.fit_correction(jaxcast.fit_regime_interpolation(samples), samples)
        return single(pooled(pool, self.task.candidates), DELAYS + 1)

    def samples(self) -> jaxcast.Samples:
        """With as many delays as the published pool."""
        return jaxcast.one_step_samples(self.task.train, DELAYS, self.task.candidates)

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
            "num_delays": [k for k in (3, 5) if k <= most],
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
    with np.errstate(over="ignore"):  # forecasts that diverge
        square = np.mean(((np.asarray(rolled.forecast) - np.asarray(task.windows.truth)) / scale) ** 2, -1)
    arrays = {
        "valid_time": np.asarray(result.time),
        "censored": np.asarray(result.censored),
        "square_error": np.where(square < 1e30, square, np.inf).astype(np.float32),
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
    names = ("regime", "regime_deviation", "weights")
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
