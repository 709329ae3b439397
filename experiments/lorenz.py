"""Pooling eleven wrong Lorenz models of a non-stationary Lorenz system: Patel and Wikner (2023), section 3.1."""

import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import jaxcast
from experiments import lorenz_pictures
from experiments.frame import Arrays, RunFolder, settings_of, start
from experiments.lorenz_setup import PRESETS, Config, Task, check, make_task

SOLVER = "classical Runge-Kutta of order 4, fixed step h"
HELD = ("best_initial_model", "fixed_attention")
PUBLISHED = {
    ("linear_regression", None): 0.20,
    ("feed_forward", 5): 0.40,
    ("additive_attention", 1): 0.30,
    ("additive_attention", 5): 2.60,
    ("best_initial_model", 5): 0.30,
    ("fixed_attention", 5): 0.30,
}


@partial(jax.jit, static_argnames=("num_seeds", "held"))
def evaluate(
    pools: Any,
    candidates: Any,
    windows: jaxcast.Windows,
    samples: jaxcast.Samples,
    dt: float,
    threshold: float,
    *,
    num_seeds: int,
    held: bool,
) -> tuple[jaxcast.ValidTime, Any]:
    """Valid times (seed, window) and squared one-step errors (seed, sample) of pools with a leading seed axis."""

    def one(pool: Any) -> tuple[jaxcast.ValidTime, Any]:
        cell = jaxcast.Forecaster(pool, candidates)
        rolled = jaxcast.HeldWeights(cell) if held else cell

        def on_window(window: jaxcast.Windows) -> jaxcast.ValidTime:
            leads = len(window.truth)
            forecast = jaxcast.forecast(rolled, window.history, leads, window.times[:-1]).forecast
            return jaxcast.valid_time(forecast, window.truth, dt=dt, threshold=threshold)

        return jax.vmap(on_window)(windows), jaxcast.one_step_errors(pool, samples, batch_size=512)

    return jax.vmap(one, axis_size=num_seeds)(pools)


class Experiment:
    """The run: every method is a stage, whose arrays are kept in the output folder."""

    def __init__(self, config: Config, task: Task, folder: RunFolder, console: Console):
        self.config, self.task, self.folder, self.console = config, task, folder, console
        self.dtype = jnp.dtype(config.network_dtype)
        self.keys = jax.random.split(jax.random.key(config.seed), config.num_seeds)
        self.rows: list[dict[str, Any]] = []

    @cache  # noqa: B019  one experiment a process
    def samples(self, delays: int, with_candidates: bool = True) -> tuple[jaxcast.Samples, jaxcast.Samples]:
        """One-step samples of the training and of the validation trajectory."""
        candidates = self.task.candidates if with_candidates else None
        train, valid = (
            jaxcast.one_step_samples(trajectory, delays, candidates)
            for trajectory in (self.task.train, self.task.valid)
        )
        return train, valid

    def evaluate(
        self, pools: Any, num_seeds: int = 1, *, delays: int = 1, with_candidates: bool = True, held: bool = False
    ) -> Arrays:
        """The scores of pools with a leading seed axis, or of one pool without parameters."""
        train, valid = self.samples(delays, with_candidates)
        valid_time, errors = evaluate(
            pools,
            self.task.candidates if with_candidates else None,
            self.task.windows,
            jax.tree.map(lambda *parts: np.concatenate(parts), train, valid),
            self.config.dt,
            self.config.threshold,
            num_seeds=num_seeds,
            held=held,
        )
        of_train, of_valid = np.split(np.asarray(errors), [len(train.targets)], axis=1)
        return {
            "valid_time": np.asarray(valid_time.time),
            "censored": np.asarray(valid_time.censored),
            "mse_train": of_train.mean(1),
            "mse_valid": of_valid.mean(1),
        }

    def plain_methods(self) -> None:
        """Everything that needs no training by gradient."""
        self.row("persistence", lambda: self.evaluate(jaxcast.Persistence(), with_candidates=False))

        num_models = len(self.config.candidate_rho)
        weights = jnp.concatenate([jnp.eye(num_models), jnp.full((1, num_models), 1 / num_models)])

        @cache
        def fixed() -> Arrays:
            return self.evaluate(jaxcast.FixedWeights(weights), num_models + 1)

        def best_candidate() -> Arrays:
            singles = {name: values[:-1] for name, values in fixed().items()}
            best = int(np.argmin(singles["mse_train"]))
            medians = np.median(singles["valid_time"], axis=1)
            return {name: values[[best]] for name, values in singles.items()} | {
                "best": np.asarray(best),
                "medians": medians,
            }

        self.row("single_candidate", best_candidate)
        self.row("equal_weights", lambda: {name: values[-1:] for name, values in fixed().items()})

        def linear() -> Arrays:
            train, _ = self.samples(1)
            pool = jaxcast.fit_linear_regression(train.forecasts, train.targets)
            size = sum(leaf.size for leaf in jax.tree.leaves(pool))
            return self.evaluate(jax.tree.map(lambda a: a[None], pool)) | {"num_params": np.asarray(size)}

        self.row("linear_regression", linear)

    def feed_forward(self) -> None:
        """The network that sees no candidates, with as many parameters as the attention pool of as many delays."""
        config, dim = self.config, self.task.truth.dim
        delays = config.feed_forward_delays
        budget = (2 * dim * delays + 2) * config.hidden_size(delays)
        hidden = max(1, round((budget - dim) / (dim * delays + 1 + dim)))

        def init(key: Any) -> jaxcast.FeedForward:
            return jaxcast.FeedForward(dim=dim, num_delays=delays, hidden_size=hidden, key=key, dtype=self.dtype)

        def run() -> Arrays:
            train, _ = self.samples(delays, False)
            models, trained = self.fit(_label("feed_forward", delays), init, train, config.feed_forward_epochs)
            return self.evaluate(models, config.num_seeds, delays=delays, with_candidates=False) | trained

        self.row("feed_forward", run, delays)

    def attention(self, delays: int) -> Any:
        """The attention pool with so many delays, and its weights held; returns the trained pools, (seed,)."""
        config = self.config

        def init(key: Any) -> jaxcast.AdditiveAttention:
            return jaxcast.AdditiveAttention(
                dim=self.task.truth.dim,
                num_delays=delays,
                hidden_size=config.hidden_size(delays),
                key=key,
                dtype=self.dtype,
            )

        def run() -> Arrays:
            train, _ = self.samples(delays)
            pools, trained = self.fit(_label("additive_attention", delays), init, train, config.num_epochs)
            return self.evaluate(pools, config.num_seeds, delays=delays) | trained

        arrays = self.row("additive_attention", run, delays)
        like = jax.eval_shape(jax.vmap(init), self.keys)
        leaves = [jnp.asarray(arrays[f"param_{i}"]) for i in range(len(jax.tree.leaves(like)))]
        pools = jax.tree.unflatten(jax.tree.structure(like), leaves)

        def held(pools: Any) -> Arrays:
            return self.evaluate(pools, config.num_seeds, delays=delays, held=True) | {
                "num_params": arrays["num_params"]
            }

        self.row("best_initial_model", lambda: held(jaxcast.BestCandidate(pools)), delays)
        self.row("fixed_attention", lambda: held(pools), delays)
        return pools

    def fit(self, label: str, init: Any, train: jaxcast.Samples, num_epochs: int) -> tuple[Any, Arrays]:
        """Trains a model for each seed, with a progress bar on terminals; also its parameters and losses as arrays."""
        with Progress(console=self.console, disable=not self.console.is_terminal, transient=True) as progress:
            bar = progress.add_task(f"{label}: compiling", total=num_epochs)

            def show(done: int, losses: Any) -> None:
                progress.update(bar, completed=done, description=f"{label}: loss {float(losses.mean()):.4f}")

            fit = jaxcast.fit(
                init,
                jax.tree.map(lambda a: a.astype(self.dtype), train),
                keys=self.keys,
                optimizer=optax.adam(self.config.learning_rate),
                num_epochs=num_epochs,
                batch_size=self.config.batch_size,
                on_progress=show,
            )
        leaves = jax.tree.leaves(fit.model)
        trained = {f"param_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        size = sum(leaf.size for leaf in leaves) // self.config.num_seeds
        return fit.model, trained | {"num_params": np.asarray(size), "losses": np.asarray(fit.losses)}

    def row(self, method: str, compute: Callable[[], Arrays], delays: int | None = None) -> Arrays:
        """Computes a method, or reads it where it is finished, and adds its row to the results."""
        began = time.perf_counter()
        arrays = self.folder.stage(method if delays is None else f"{method}-l{delays}", compute)
        per_seed = [jaxcast.median_interval(times) for times in arrays["valid_time"]]
        median = float(np.median([interval.median for interval in per_seed]))
        low = float(np.median([interval.low for interval in per_seed]))
        high = float(np.median([interval.high for interval in per_seed]))
        row = {
            "method": method,
            "delays": delays,
            "num_params": int(arrays.get("num_params", 0)),
            "num_seeds": len(per_seed),
            "valid_time_median": _tidy(median),
            "valid_time_ci95": [_tidy(low), _tidy(high)],
            "valid_time_median_per_seed": [_tidy(interval.median) for interval in per_seed],
            "valid_time_lyapunov": _tidy(median * self.task.exponent),
            "num_censored": int(arrays["censored"].sum()),
            "one_step_mse_train": _finite(np.median(arrays["mse_train"])),
            "one_step_mse_valid": _finite(np.median(arrays["mse_valid"])),
            "published": PUBLISHED.get((method, delays)),
        }
        if "best" in arrays:
            row["candidate_rho"] = self.config.candidate_rho[int(arrays["best"])]
            row["valid_time_median_per_candidate"] = [_tidy(value) for value in arrays["medians"]]
        self.rows.append(row)
        self.console.print(
            f"{_label(method, delays)}: valid time {median:.2f} [{low:.2f}, {high:.2f}]"
            f"  ({time.perf_counter() - began:.1f} s)",
            highlight=False,
            markup=False,
        )
        return arrays


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    check(config)
    console = Console()
    task = make_task(config)
    out = config.out or Path(f"runs/lorenz-{config.preset}")
    folder = RunFolder(out, {"solver": SOLVER, **settings_of(config)}, overwrite=config.overwrite)
    experiment = Experiment(config, task, folder, console)
    experiment.plain_methods()
    experiment.feed_forward()
    pools = {delays: experiment.attention(delays) for delays in config.delays}
    results = {
        "rows": experiment.rows,
        "lyapunov_exponent": task.exponent,
        "saturation_error": float(jaxcast.saturation_error(task.train.states)),
    }
    folder.write_json("results.json", results)
    shown = 5 if 5 in pools else max(pools)
    folder.save_figure("trajectory.png", lorenz_pictures.trajectory(experiment.task, config.h))
    bars = [row for row in experiment.rows if not (row["method"] in HELD and row["delays"] != shown)]
    folder.save_figure("valid_times.png", lorenz_pictures.valid_times(bars, _label))
    folder.save_figure("attention.png", lorenz_pictures.attention(experiment.task, config, pools[shown], shown))
    console.print(table(results, config))
    console.print(f"results and pictures in {out}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def table(results: dict[str, Any], config: Config) -> Table:
    """Published and own valid times side by side."""
    lyapunov_time = 1 / results["lyapunov_exponent"]
    result = Table(
        title=f"Median valid time over {config.num_windows} windows (MTU)",
        caption=f"seeds: lowest and highest median; one Lyapunov time is {lyapunov_time:.2f} MTU",
        box=box.SIMPLE,
    )
    for name in ("method", "l", "published", "ours", "95 %", "seeds", "mse"):
        result.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for row in results["rows"]:
        low, high = row["valid_time_ci95"]
        seeds = row["valid_time_median_per_seed"]
        result.add_row(
            _label(row["method"]),
            str(row["delays"] or ""),
            "" if row["published"] is None else f"{row['published']:.2f}",
            f"{row['valid_time_median']:.2f}",
            f"{low:.2f}-{high:.2f}",
            f"{min(seeds):.2f}-{max(seeds):.2f}" if len(seeds) > 1 else "",
            "diverges" if row["one_step_mse_valid"] is None else f"{row['one_step_mse_valid']:.3g}",
        )
    return result


def _label(method: str, delays: int | None = None) -> str:
    name = method.replace("feed_forward", "feed-forward network").replace("_", " ")
    return name if delays is None else f"{name}, l = {delays}"


def _finite(value: Any) -> float | None:
    """None for a forecast that diverged: JSON knows no NaN."""
    return float(value) if np.isfinite(value) else None


def _tidy(value: Any) -> float:
    """Without the rounding noise of a multiple of dt."""
    return round(float(value), 9)


if __name__ == "__main__":
    start(main, Config, PRESETS)
