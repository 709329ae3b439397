"""Methods of `experiments.lorenz`; training and scoring one on one truth is a stage of the run's folder."""

import dataclasses
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import Progress

import jaxcast
from experiments.lorenz.setup import Config, Task
from jaxcast.io.reading import Arrays
from jaxcast.io.run_folder import RunFolder

CLOSED_LOOP_TIME = 3.0
"""Time without truth over which attention is compared with the hidden parameter, as in the published figure, in MTU."""
RIDGE_PENALTIES = np.logspace(-6, 6, 13)
LABELS = {
    "feed_forward": "feed-forward network",
    "scaled_dot_product_attention": "scaled dot-product attention",
    "multi_head_attention": "multi-head attention",
    "attention": "published attention, l = 5",
    "regime_without_coordinates": "regime, no coordinates",
    "nvar": "NVAR",
    "ensemble_kalman_filter": "ensemble Kalman filter",
}


@partial(jax.jit, static_argnames=("num_seeds", "held"))
def score(
    pools: Any,
    candidates: Any,
    windows: jaxcast.Windows,
    samples: jaxcast.pooling.OneStepSamples,
    dt: float,
    threshold: float,
    *,
    num_seeds: int,
    held: bool,
) -> tuple[jaxcast.scores.ValidTime, Any, Any, Any, Any]:
    """Scores pools with a leading seed axis, in closed loop over windows and in open loop over samples.

    Returns:
        Valid times, in our convention and in the published one, (seed, window) each; squared one-step errors,
        (seed, sample); the candidate of the highest weight in open loop, (seed, sample), and in closed loop,
        (seed, window, lead), each None for pools without weights.
    """

    def one(pool: Any) -> tuple[jaxcast.scores.ValidTime, Any, Any, Any, Any]:
        cell = jaxcast.Forecaster(pool, candidates)
        rolled = jaxcast.forecast_windows(jaxcast.pooling.HeldWeights(cell) if held else cell, windows)
        valid = jax.vmap(partial(jaxcast.valid_time, dt=dt, threshold=threshold))
        published = jax.vmap(partial(jaxcast.valid_time, dt=dt, threshold=threshold, convention="last_valid"))
        times = valid(rolled.forecast, windows.truth), published(rolled.forecast, windows.truth).time
        stepped = jaxcast.pooling.one_step_forecasts(pool, samples)
        errors = jaxcast.scores.squared_error(stepped.forecast, samples.targets)
        return *times, errors, _attended(stepped), _attended(rolled)

    return jax.vmap(one, axis_size=num_seeds)(pools)


def _attended(output: jaxcast.Output) -> Any:
    weights = output.info.get("weights")
    return None if weights is None else jnp.argmax(weights, -1).astype(jnp.int16)


@cache
def initializer(kind: type, arguments: tuple[tuple[str, Any], ...]) -> Callable[[Any], Any]:
    """Returns key -> network: one function for the same arguments, so that another truth compiles nothing."""
    return lambda key: kind(**dict(arguments), key=key)


class Methods:
    """All methods on one truth. Each stores its arrays: valid times, errors, parameters, losses."""

    def __init__(self, config: Config, task: Task, folder: RunFolder, console: Console):
        self.config, self.task, self.folder, self.console = config, task, folder, console
        self.dtype = jnp.dtype(config.network_dtype)
        self.keys = jax.random.split(
            jax.random.fold_in(jax.random.key(config.seed), task.data_seed), config.training.num_seeds
        )
        self.results: dict[tuple[str, int | None], Arrays] = {}

    def run(self) -> dict[int, Any]:
        """Runs every method; returns the trained attention pools by their delays."""
        self.plain()
        self.feed_forward()
        for method in self.config.extras:
            getattr(self, method)()
        return {delays: self.attention(delays) for delays in self.config.delays}

    @cache  # noqa: B019  as long as its truth
    def samples(
        self, delays: int, with_candidates: bool = True
    ) -> tuple[jaxcast.pooling.OneStepSamples, jaxcast.pooling.OneStepSamples]:
        """Returns the one-step samples of the training and of the validation trajectory."""
        candidates = self.task.candidates if with_candidates else None
        train, valid = (
            jaxcast.one_step_samples(trajectory, delays, candidates)
            for trajectory in (self.task.train, self.task.valid)
        )
        return train, valid

    def score(
        self, pools: Any, num_seeds: int = 1, *, delays: int = 1, with_candidates: bool = True, held: bool = False
    ) -> Arrays:
        """Scores pools with a leading seed axis, or one pool without parameters."""
        train, valid = self.samples(delays, with_candidates)
        valid_time, as_published, errors, open_loop, closed_loop = score(
            pools,
            self.task.candidates if with_candidates else None,
            self.task.windows,
            jax.tree.map(lambda *parts: np.concatenate(parts), train, valid),
            self.config.dt,
            self.task.rules.threshold,
            num_seeds=num_seeds,
            held=held,
        )
        of_train, of_valid = np.split(np.asarray(errors), [len(train.targets)], axis=1)
        scores = {
            "valid_time": np.asarray(valid_time.time),
            "valid_time_as_published": np.asarray(as_published),
            "censored": np.asarray(valid_time.censored),
            "mse_train": of_train.mean(1),
            "mse_valid": of_valid.mean(1),
        }
        if open_loop is not None and self.task.hidden is not None and not held:
            scores |= self.track(np.asarray(open_loop)[:, len(train.targets) :], np.asarray(closed_loop))
        return scores

    def track(self, open_loop: np.ndarray, closed_loop: np.ndarray) -> Arrays:
        """Measures correlation and mean distance, (seed, 2), of the attended and the true hidden parameter."""
        assert self.task.hidden is not None
        values, half = self.task.hidden[1], self.config.dt / 2
        first_lead = self.config.history_size
        of_samples = self.task.hidden_at(self.task.valid.times[-1 - open_loop.shape[1] : -1] + half)
        of_leads = self.task.hidden_at(self.task.windows.times[:, first_lead:] - half)
        leads = max(1, min(round(CLOSED_LOOP_TIME / self.config.dt), of_leads.shape[1]))

        def compare(attended: np.ndarray, truth: Any) -> np.ndarray:
            one_hot = np.eye(len(values))[attended]
            return np.asarray([jaxcast.scores.parameter_tracking(weights, values, truth) for weights in one_hot])

        return {
            "track_open": compare(open_loop, of_samples),
            "track_closed": compare(closed_loop[:, :, :leads], of_leads[:, :leads]),
            "track_window": compare(closed_loop, of_leads),
        }

    def plain(self) -> None:
        """Runs the methods without parameters and the regression."""
        self.stage("persistence", lambda _: self.score(jaxcast.pooling.Persistence(), with_candidates=False))
        num_models = len(self.task.ensemble)
        weights = jnp.concatenate([jnp.eye(num_models), jnp.full((1, num_models), 1 / num_models)])

        @cache
        def fixed() -> Arrays:
            scores = self.score(jaxcast.pooling.FixedWeights(weights), num_models + 1)
            return {name: values for name, values in scores.items() if not name.startswith("track")}

        def best_candidate(_: Path) -> Arrays:
            singles = {name: values[:-1] for name, values in fixed().items()}
            best = int(np.argmin(singles["mse_train"]))
            medians = np.median(singles["valid_time"], axis=1)
            scores = {name: values[[best]] for name, values in singles.items()}
            return scores | {"best": np.asarray(best), "medians": medians}

        def linear(_: Path) -> Arrays:
            train = self.samples(1)[0]
            return self.regression(jaxcast.pooling.fit_linear_regression(train.forecasts, train.targets))

        self.stage("single_candidate", best_candidate)
        self.stage("equal_weights", lambda _: {name: values[-1:] for name, values in fixed().items()})
        self.stage("linear_regression", linear)

    def ridge_regression(self) -> None:
        """Runs ridge regression; its penalty is chosen on the last fifth of the training samples."""

        def run(_: Path) -> Arrays:
            train = self.samples(1)[0]
            cut = len(train.targets) * 4 // 5
            early, late = (jax.tree.map(lambda a, part=part: a[part], train) for part in (np.s_[:cut], np.s_[cut:]))
            errors = [
                jaxcast.pooling.one_step_errors(
                    jaxcast.pooling.fit_ridge(early.forecasts, early.targets, penalty=penalty), late
                ).mean()
                for penalty in RIDGE_PENALTIES
            ]
            penalty = RIDGE_PENALTIES[int(np.argmin(errors))]
            pool = jaxcast.pooling.fit_ridge(train.forecasts, train.targets, penalty=penalty)
            return self.regression(pool) | {"penalty": penalty}

        self.stage("ridge_regression", run)

    def regression(self, pool: jaxcast.pooling.LinearRegression) -> Arrays:
        """Scores a regression, without tracking: its weights are constant."""
        scores = self.score(jax.tree.map(lambda a: a[None], pool))
        size = sum(leaf.size for leaf in jax.tree.leaves(pool))
        return {name: values for name, values in scores.items() if not name.startswith("track")} | {"num_params": size}

    def simplex_least_squares(self) -> None:
        """Runs the convex weights that fit the last steps best."""
        delays = self.config.baseline_delays
        self.stage(
            "simplex_least_squares",
            lambda _: self.score(jaxcast.pooling.SimplexLeastSquares(delays), delays=delays),
            delays,
        )

    def feed_forward(self) -> None:
        """Runs a network without candidates that has as many parameters as the attention pool."""
        config, dim, delays = self.config, self.task.truth.dim, self.config.baseline_delays
        budget = (2 * dim * delays + 2) * config.hidden_size(delays)
        hidden_size = max(1, round((budget - dim) / (dim * delays + 1 + dim)))
        self.trained(
            "feed_forward",
            delays,
            jaxcast.pooling.FeedForward,
            hidden_size,
            with_candidates=False,
            num_epochs=config.feed_forward_epochs,
        )

    def scaled_dot_product_attention(self) -> None:
        """Runs attention with another scoring function."""
        delays = self.config.baseline_delays
        kind = jaxcast.pooling.ScaledDotProductAttention
        self.trained("scaled_dot_product_attention", delays, kind, self.config.hidden_size(delays))

    def multi_head_attention(self) -> None:
        """Runs additive attention with several heads that divide the hidden units."""
        delays, num_heads = self.config.baseline_delays, self.config.num_heads
        hidden_size = max(1, self.config.hidden_size(delays) // num_heads)
        kind = jaxcast.pooling.MultiHeadAttention
        self.trained("multi_head_attention", delays, kind, hidden_size, num_heads=num_heads, score="additive")

    def attention(self, delays: int) -> Any:
        """Runs the published pool and its held weights; returns the trained pools, (seed,)."""
        pools = self.trained("additive_attention", delays, jaxcast.AdditiveAttention, self.config.hidden_size(delays))
        size = self.results["additive_attention", delays]["num_params"]

        def held(pools: Any) -> Arrays:
            return self.score(pools, self.config.training.num_seeds, delays=delays, held=True) | {"num_params": size}

        self.stage("best_initial_model", lambda _: held(jaxcast.pooling.BestCandidate(pools)), delays)
        self.stage("fixed_attention", lambda _: held(pools), delays)
        return pools

    def trained(
        self,
        method: str,
        delays: int,
        kind: type,
        hidden_size: int,
        *,
        with_candidates: bool = True,
        num_epochs: int | None = None,
        **more: Any,
    ) -> Any:
        """Trains and scores a network for each training seed; returns the networks, (seed,)."""
        arguments = {"dim": self.task.truth.dim, "num_delays": delays, "hidden_size": hidden_size, "dtype": self.dtype}
        init = initializer(kind, tuple((arguments | more).items()))
        num_seeds = self.config.training.num_seeds

        def run(checkpoint: Path) -> Arrays:
            train, _ = self.samples(delays, with_candidates)
            label = f"{label_of(method, delays)}, data seed {self.task.data_seed}"
            fit = self.fit(label, init, train, num_epochs or self.config.training.num_epochs, checkpoint)
            leaves = jax.tree.leaves(fit.models)
            size = sum(leaf.size for leaf in leaves) // num_seeds
            scores = self.score(fit.models, num_seeds, delays=delays, with_candidates=with_candidates)
            return (
                scores
                | {f"param_{i}": leaf for i, leaf in enumerate(leaves)}
                | {"num_params": size, "losses": fit.losses}
            )

        arrays = self.stage(method, run, delays)
        like = jax.eval_shape(jax.vmap(init), self.keys)
        leaves = [jnp.asarray(arrays[f"param_{i}"]) for i in range(len(jax.tree.leaves(like)))]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

    def fit(
        self, label: str, init: Any, train: jaxcast.pooling.OneStepSamples, num_epochs: int, checkpoint: Path
    ) -> jaxcast.training.FitResult:
        """Trains a model for each seed, with a progress bar on a terminal."""
        options = dataclasses.replace(self.config.training, num_epochs=num_epochs)
        with Progress(console=self.console, disable=not self.console.is_terminal, transient=True) as progress:
            bar = progress.add_task(f"{label}: compiling", total=num_epochs)

            def show(done: int, losses: Any) -> None:
                progress.update(bar, completed=done, description=f"{label}: loss {float(losses.mean()):.4f}")

            return jaxcast.fit(
                jax.tree.map(lambda a: a.astype(self.dtype), train),
                init=init,
                loss=jaxcast.pooling.mean_squared_error,
                keys=self.keys,
                optimizer=options.optimizer(len(train.targets) // options.batch_size),
                num_epochs=num_epochs,
                batch_size=options.batch_size,
                on_progress=show,
                checkpoint=checkpoint,
            )

    def stage(self, method: str, compute: Callable[[Path], Arrays], delays: int | None = None) -> Arrays:
        """Computes a method, or reads it if it is finished."""
        began = time.perf_counter()
        name = method if delays is None else f"{method}-l{delays}"
        arrays = self.folder.stage(f"{name}-data{self.task.data_seed}", compute)
        self.results[method, delays] = arrays
        median = np.median(np.median(arrays["valid_time"], axis=1))
        self.console.print(
            f"data seed {self.task.data_seed}, {label_of(method, delays)}: valid time {median:.2f}"
            f"  ({time.perf_counter() - began:.1f} s)",
            highlight=False,
            markup=False,
        )
        return arrays


def label_of(method: str, delays: int | None = None) -> str:
    """Returns the name of a method for readers."""
    name = LABELS.get(method, method.replace("_", " "))
    return name if delays is None else f"{name}, l = {delays}"
