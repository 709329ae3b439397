"""Methods of `experiments.lorenz_skill`, each fitted on a training trajectory and scored on windows."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import jaxcast
from experiments.lorenz.methods import initializer, label_of
from experiments.lorenz_skill.cases import Case, SkillTask
from experiments.lorenz_skill.rivals import RIVALS, search
from experiments.lorenz_skill.scores import Trained, pooled, score, single
from jaxcast.io.reading import Arrays
from jaxcast.io.run_folder import RunFolder

DELAYS, HIDDEN_SIZE = 5, 120
BATCH_SIZE = 64


class Methods:
    """All methods of one case on one data seed; each fit and each score is a stage of the run's folder."""

    def __init__(
        self, config: Any, case: Case, name: str, trained_in: str, task: SkillTask, folder: RunFolder, console: Console
    ):
        self.config, self.case, self.name, self.trained_in, self.task = config, case, name, trained_in, task
        self.folder, self.console = folder, console
        key = jax.random.fold_in(jax.random.key(config.seed), task.data_seed)
        self.keys = jax.random.split(key, config.num_seeds)
        # Only the published method has more seeds, to compare their spread with its error.
        self.attention_keys = jax.random.split(key, config.num_paper_seeds) if case.group == "paper" else self.keys

    def run(self, names: tuple[str, ...]) -> dict[str, Arrays]:
        """Returns the scores of these methods."""
        return {name: self.score(name) for name in names}

    def score(self, method: str) -> Arrays:
        """Fits and scores a method, or reads its scores if it is finished."""
        began = time.perf_counter()

        def compute(_: Path) -> Arrays:
            rival = RIVALS.get(method)
            trained: Trained = rival(self.task, self.case, self.keys[0]) if rival else getattr(self, method)()
            fitted = time.perf_counter() - began
            arrays = score(trained, self.task, self.case.dt)
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

    def trained_once(
        self, method: str, init: Any, keys: Any, fit: Callable[[Path], tuple[Any, dict[str, Any]]]
    ) -> tuple[Any, dict[str, Any]]:
        """Returns models with a leading seed axis and notes, fitted once for all cases with the same training data."""

        def compute(checkpoint: Path) -> Arrays:
            models, notes = fit(checkpoint)
            return {f"param_{i}": leaf for i, leaf in enumerate(jax.tree.leaves(models))} | notes

        arrays = self.folder.stage(f"{method}-trained-{self.trained_in}-data{self.task.data_seed}", compute)
        like, structure = jax.tree.flatten(jax.eval_shape(jax.vmap(init), keys))
        leaves = [jnp.asarray(arrays.pop(f"param_{i}")) for i in range(len(like))]
        return jax.tree.unflatten(structure, leaves), arrays

    def attention(self) -> Trained:
        """Fits the published pool at its best number of delays."""
        pools, notes = self.attention_pools()
        return Trained(pooled, pools, len(self.attention_keys), DELAYS + 1, **notes)

    def attention_pools(self) -> tuple[Any, dict[str, Any]]:
        """Trains for the published number of epochs or, with few samples, of steps, whichever validates better."""
        init, epochs = self.attention_init(), self.config.num_epochs
        steps_of_all = self.config.num_train // BATCH_SIZE
        as_many_steps = round(epochs * steps_of_all / (len(self.task.train.states) // BATCH_SIZE))

        def fit(trajectory: Any, num_epochs: int, keys: Any, checkpoint: Path | None = None) -> Any:
            samples = jaxcast.one_step_samples(trajectory, DELAYS, self.task.candidates)
            return jaxcast.fit(
                jax.tree.map(lambda a: a.astype(jnp.float32), samples),
                init=init,
                loss=jaxcast.pooling.mean_squared_error,
                keys=keys,
                optimizer=jaxcast.training.make_optimizer(1e-3),
                num_epochs=num_epochs,
                batch_size=BATCH_SIZE,
                checkpoint=checkpoint,
            ).models

        def chosen(checkpoint: Path) -> tuple[Any, dict[str, Any]]:
            def attempt(trajectory: Any, num_epochs: int) -> Any:
                if trajectory is self.task.train:
                    return fit(trajectory, num_epochs, self.attention_keys, checkpoint)
                pool = jax.tree.map(lambda a: a[0], fit(trajectory, num_epochs, self.keys[:1]))
                return pooled(pool, self.task.candidates)

            if as_many_steps < 1.5 * epochs:
                return attempt(self.task.train, epochs), {}
            return search(attempt, {"num_epochs": [epochs, as_many_steps]}, self.task, self.case)

        return self.trained_once("attention", init, self.attention_keys, chosen)

    def attention_init(self) -> Any:
        """Returns key -> published pool."""
        arguments = {"dim": self.task.truth.dim, "num_delays": DELAYS, "hidden_size": HIDDEN_SIZE, "dtype": jnp.float32}
        return initializer(jaxcast.AdditiveAttention, tuple(arguments.items()))

    def regime(self) -> Trained:
        """Fits the regime forecaster, given the candidates' values of their parameter."""
        found = jaxcast.dynamics.candidate_coordinates(self.task.ensemble)
        assert found is not None
        return self._regime(found[1])

    def regime_without_coordinates(self) -> Trained:
        """Fits the regime forecaster without the candidates' values."""
        return self._regime(None)

    def _regime(self, coordinates: Any) -> Trained:
        cell = jaxcast.fit_regime(self.task.train, forecast_map=self.task.candidates, coordinates=coordinates)
        frequencies = cell.schedule.frequencies if isinstance(cell, jaxcast.RegimeForecaster) else np.zeros(0)
        return single(
            cell,
            periods=2 * np.pi / np.asarray(frequencies),
            emulator_error=np.asarray(cell.emulator.error),
            value_noise=np.asarray(cell.value_noise) / self.task.scale,
        )

    def component_attention(self) -> Trained:
        """Fits separate weights for each component, from a network with standardised inputs."""
        dim, num_models = self.task.truth.dim, len(self.task.ensemble)
        scales = jaxcast.pooling.input_scales(self.task.train, self.task.candidates)

        def init(key: Any) -> Any:
            return jaxcast.pooling.ComponentAttention(
                dim=dim, num_models=num_models, num_delays=DELAYS, scales=scales, key=key
            )

        def fit(checkpoint: Path) -> tuple[Any, dict[str, Any]]:
            return self.minimised(init, self.samples(), 3e-3, 2 / 5, checkpoint), {}

        pools, _ = self.trained_once("component_attention", init, self.keys, fit)
        return Trained(pooled, pools, len(self.keys), DELAYS + 1)

    def recurrent_attention(self) -> Trained:
        """Fits attention with a recurrent memory instead of delays, trained over time."""
        scales = jaxcast.pooling.input_scales(self.task.train, self.task.candidates)

        def init(key: Any) -> Any:
            return jaxcast.pooling.RecurrentAttention(
                dim=self.task.truth.dim, hidden_size=32, cell="gru", scales=scales, key=key
            )

        def fit(checkpoint: Path) -> tuple[Any, dict[str, Any]]:
            chunks = jaxcast.pooling.sequence_chunks(self.task.train, self.task.candidates, length=12, stride=2)
            models = self.minimised(
                init, chunks, 5e-3, 1 / 5, checkpoint, clip_norm=1.0, loss=jaxcast.pooling.error_over_time
            )
            return models, {}

        pools, _ = self.trained_once("recurrent_attention", init, self.keys, fit)
        return Trained(pooled, pools, len(self.keys))

    def minimised(
        self,
        init: Any,
        data: Any,
        learning_rate: float,
        share: float,
        checkpoint: Path,
        clip_norm: Any = None,
        loss: Any = jaxcast.pooling.mean_squared_error,
        **more: Any,
    ) -> Any:
        """Trains models with a cosine schedule over a share of the published method's epochs."""
        num_epochs = max(1, round(share * self.config.num_epochs))
        num_steps = num_epochs * (len(data.targets) // BATCH_SIZE)
        return jaxcast.fit(
            jax.tree.map(lambda a: a.astype(jnp.float32), data),
            init=init,
            loss=loss,
            keys=self.keys,
            optimizer=jaxcast.training.make_optimizer(
                learning_rate, schedule="cosine", num_optimizer_steps=num_steps, clip_norm=clip_norm
            ),
            num_epochs=num_epochs,
            batch_size=BATCH_SIZE,
            checkpoint=checkpoint,
            **more,
        ).models

    def fine_tuned_attention(self) -> Trained:
        """Trains the published pool further, through closed loops of growing length."""
        num_seeds = len(self.keys)
        pools = jax.tree.map(lambda a: a[:num_seeds], self.attention_pools()[0])

        def fit(_: Path) -> tuple[Any, dict[str, Any]]:
            models = jaxcast.training.fine_tune(
                self.task.train,
                models=pools,
                make_cell=lambda pool: jaxcast.Forecaster(pool, self.task.candidates),
                keys=self.keys,
                num_leads=(2, 5, 10, 20),
                num_epochs=max(1, self.config.num_epochs // 125),
                learning_rate=1e-3,
            ).models
            return models, {}

        tuned, _ = self.trained_once("fine_tuned_attention", self.attention_init(), self.keys, fit)
        return Trained(pooled, tuned, num_seeds, DELAYS + 1)

    def interpolation(self) -> Trained:
        """Fits affine weights from the regime of the last step; nothing is trained."""
        return single(
            pooled(jaxcast.pooling.fit_regime_interpolation(self.samples()), self.task.candidates), DELAYS + 1
        )

    def corrected_interpolation(self) -> Trained:
        """Fits interpolation with a kernel ridge correction from the state and the last regimes."""
        samples = self.samples()
        pool = jaxcast.pooling.fit_correction(samples, pool=jaxcast.pooling.fit_regime_interpolation(samples))
        return single(pooled(pool, self.task.candidates), DELAYS + 1)

    def samples(self) -> jaxcast.pooling.OneStepSamples:
        """Returns one-step samples with as many delays as the published pool."""
        return jaxcast.one_step_samples(self.task.train, DELAYS, self.task.candidates)
