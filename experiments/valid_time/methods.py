"""Methods of `experiments.valid_time`: fitted to a training trajectory, tried on its end, scored on windows."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import jaxcast
from experiments.valid_time.ceilings import perfect_model
from experiments.valid_time.filters import ensemble_kalman_filter
from jaxcast.benchmark import Case, Score, make_task
from jaxcast.benchmark.scoring import score_against
from jaxcast.benchmark.task import Task
from jaxcast.io.reading import Arrays
from jaxcast.io.run_folder import RunFolder
from jaxcast.selection.comparison import Comparison
from jaxcast.selection.fit import num_models_of
from jaxcast.selection.methods import METHODS, PoolData

OTHERS: dict[str, Callable[[Task], np.ndarray]] = {
    "perfect_model": perfect_model,
    "ensemble_kalman_filter": ensemble_kalman_filter,
}
"""Methods of the experiment's own: task -> forecasts of the windows. The filter is the default's, too, where all is seen."""
CHOICE = "fit_pool"
MOST_WORK = {"attention": 400, "corrected_interpolation": 400, "reservoir": 400, "regime": 100}
"""Largest candidates times components of a case that a method is run on; more take too long on one core."""


class Methods:
    """All methods on one truth of a case; each is a stage of the run's folder."""

    def __init__(self, case: Case, seed: int, config: Any, folder: RunFolder, console: Console):
        self.case, self.seed, self.config, self.folder, self.console = case, seed, config, folder, console
        self.made: Any = None

    @property
    def task(self) -> Task:
        """The data, made on demand: a finished run needs none."""
        if self.made is None:
            sizes = {"num_windows": self.config.num_windows, "num_train": self.config.num_train}
            self.made = make_task(self.case, seed=self.seed, **sizes)
        return self.made

    def run(self, names: tuple[str, ...]) -> dict[str, Arrays]:
        """Returns the scores of these methods; of those that do not fit the case there are none."""
        scores = {name: self.stage(name) for name in names}
        return {name: arrays for name, arrays in scores.items() if arrays["valid_times"].size}

    def stage(self, name: str) -> Arrays:
        """Fits, tries and scores a method, or reads its scores if it is finished."""
        began = time.perf_counter()

        def compute(_: Path) -> Arrays:
            seconds = time.process_time()
            try:
                is_own = name in OTHERS and (name not in METHODS or self.case.seen is not None)
                arrays = self.scored(OTHERS[name](self.task)) if is_own else self.fitted(name)
            except jaxcast.InputError as error:
                arrays = {"valid_times": np.zeros(0), "reason": np.asarray(str(error))}
            return arrays | {"cpu_s": np.asarray(time.process_time() - seconds)}

        arrays = self.folder.stage(f"{self.case.name}-truth{self.seed}-{name}", compute)
        found = f"{np.median(arrays['valid_times']):.2f}" if arrays["valid_times"].size else str(arrays["reason"])
        self.console.print(
            f"{self.case.name}, truth {self.seed}, {name}: {found}  ({time.perf_counter() - began:.1f} s)",
            highlight=False,
            markup=False,
        )
        return arrays

    def fitted(self, name: str) -> Arrays:
        """Chooses a method's setting on the end of the training trajectory, refits it, and scores it."""
        data = self.data()
        if data.num_models * data.dim > MOST_WORK.get(name, 10**9):
            raise jaxcast.InputError("it would take too long on one core")
        comparison = Comparison(data, threshold=self.case.threshold, num_windows=self.config.num_trials)
        found = comparison.best_setting(name)
        cell = METHODS[name].fit(data, **found.setting)
        return self.scored(self.forecasts(cell)) | {
            "trial_mean": np.asarray(found.times.times.mean()),
            "trial_error": np.asarray(found.times.error),
            "setting": np.asarray(json.dumps(found.setting)),
        }

    def data(self) -> PoolData:
        """Returns what methods are fitted to: the components that are seen, with candidates where all are."""
        task, part = self.task, self.part
        train = jaxcast.Trajectory(jnp.asarray(task.train.times), jnp.asarray(task.train.states[:, part]))
        forecast_map = task.forecast_map if self.case.seen is None else None
        number = num_models_of(forecast_map, train)
        return PoolData(train, forecast_map, number, self.case.history_size, self.config.seed)

    @property
    def part(self) -> Any:
        """Components that are seen."""
        return slice(None) if self.case.seen is None else list(self.case.seen)

    def forecasts(self, cell: Any) -> np.ndarray:
        """Forecasts the windows by a cell of the seen components; the others are left at zero."""
        windows: Any = self.task.windows
        seen = windows._replace(history=windows.history[..., self.part], truth=windows.truth[..., self.part])
        seen = jax.tree.map(jnp.asarray, seen)
        forecasts = np.zeros_like(windows.truth)
        forecasts[..., self.part] = jaxcast.forecast_windows(cell, seen).forecast
        return forecasts

    def scored(self, forecasts: np.ndarray) -> Arrays:
        """Returns the valid times of forecasts."""
        score: Score = score_against(self.case, forecasts[None], np.asarray(self.task.windows.truth)[None])
        return {"valid_times": score.valid_times[0], "censored": score.censored[0], "rmse": score.rmse}


def chosen(scores: dict[str, Arrays]) -> str:
    """Returns the method that was best on the end of the training trajectory.

    Args:
        scores: of each method.
    """
    tried = {name: arrays for name, arrays in scores.items() if "trial_mean" in arrays}
    return max(tried, key=lambda name: (round(float(tried[name]["trial_mean"]), 9), -float(tried[name]["trial_error"])))
