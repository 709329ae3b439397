"""Methods of `experiments.valid_time`: fitted to a training trajectory, tried on its end, scored on windows."""

import json
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

import jaxcast
from experiments.valid_time.ceilings import perfect_model
from jaxcast.benchmark import Case, Score, make_task
from jaxcast.benchmark.scoring import score_against
from jaxcast.benchmark.task import Task
from jaxcast.io.reading import Arrays
from jaxcast.io.run_folder import RunFolder
from jaxcast.selection.comparison import Comparison
from jaxcast.selection.fit import num_models_of
from jaxcast.selection.methods import PoolData
from jaxcast.selection.records import Record

PERFECT = "perfect_model"
CHOICE = "fit_pool"
MOST_WORK = {"attention": 400, "corrected_interpolation": 400, "reservoir": 400, "regime": 100}
"""Largest candidates times components of a case that a method is run on; more take too long on one core."""


class Methods:
    """All methods on one truth of a case; each is a stage of the run's folder."""

    def __init__(self, case: Case, seed: int, config: Any, folder: RunFolder, console: Console):
        self.case, self.seed, self.config, self.folder, self.console = case, seed, config, folder, console

    @cached_property
    def task(self) -> Task:
        """The data, made on demand: a finished run needs none."""
        return make_task(
            self.case, seed=self.seed, num_windows=self.config.num_windows, num_train=self.config.num_train
        )

    @cached_property
    def comparison(self) -> Comparison:
        """What tries methods on the last quarter of the training trajectory."""
        return Comparison(self.data, threshold=self.case.threshold, num_windows=self.config.num_trials)

    @cached_property
    def record(self) -> Record:
        """The whole training trajectory, to which the best setting is fitted."""
        return Record(self.data)

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
                arrays = self.scored(perfect_model(self.task)) if name == PERFECT else self.fitted(name)
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
        if self.data.num_models * self.data.dim > MOST_WORK.get(name, 10**9):
            raise jaxcast.InputError("it would take too long on one core")
        found = self.comparison.best_setting(name)
        windows = jax.tree.map(jnp.asarray, self.task.windows)
        output = jaxcast.forecast_windows(self.record.fit(name, found.setting), windows)
        spread, factors = None, found.times.spread_factors
        if factors is not None:
            leads = np.minimum(np.arange(output.forecast.shape[1]), len(factors) - 1)
            spread = output.info["spread"] * factors[leads, None]
        return self.scored(np.asarray(output.forecast), spread) | {
            "trial_mean": np.asarray(found.times.times.mean()),
            "trial_error": np.asarray(found.times.error),
            "setting": np.asarray(json.dumps(found.setting)),
        }

    @cached_property
    def data(self) -> PoolData:
        """What methods are fitted to; NaN where components are not seen."""
        task = self.task
        train = jax.tree.map(jnp.asarray, task.train)
        number = num_models_of(task.forecast_map, train)
        return PoolData(train, task.forecast_map, number, self.case.history_size, self.config.seed)

    def scored(self, forecasts: np.ndarray, spread: Any = None) -> Arrays:
        """Returns the valid times of forecasts, and their spread where they have one."""
        score: Score = score_against(self.case, forecasts[None], np.asarray(self.task.windows.truth)[None])
        arrays = {"valid_times": score.valid_times[0], "censored": score.censored[0], "rmse": score.rmse}
        if spread is None:
            return arrays
        seen = slice(None) if self.case.seen is None else list(self.case.seen)
        return arrays | {"spread": np.sqrt((np.asarray(spread)[..., seen] ** 2).mean((0, 2)))}


def chosen(scores: dict[str, Arrays]) -> str:
    """Returns the method that was best on the end of the training trajectory.

    Args:
        scores: of each method.
    """
    tried = {name: arrays for name, arrays in scores.items() if "trial_mean" in arrays}
    return max(tried, key=lambda name: (round(float(tried[name]["trial_mean"]), 9), -float(tried[name]["trial_error"])))
