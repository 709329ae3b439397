"""Compares methods: fitted to the start of a trajectory, they forecast the same windows of its end."""

import math
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcast.dynamics.candidates import ForecastMap, name_of_callable
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError
from jaxcast.io.run_folder import environment
from jaxcast.progress import doing
from jaxcast.pytrees import fingerprint
from jaxcast.scores.valid_times import usual_threshold
from jaxcast.selection.kept import KeptTrials
from jaxcast.selection.methods import METHODS, PoolData
from jaxcast.selection.records import Record
from jaxcast.selection.trials import BestSetting, Times, Trial, left_out, time_of_last_value, trial_of, valid_times
from jaxcast.windows import late_windows

LEAST_LATE = 12
"""Samples of the last part: fewer make windows of so few leads that they tell nothing."""
NUM_WINDOWS = 240
"""They overlap: of neighbours that share most of their leads, the valid times still differ."""
NEEDS_CANDIDATES = "it needs candidates"
NO_ERROR = 1e-4
"""Below this error a method whose forecasts stay valid ends the comparison."""
LONG = 10
"""It does so in windows that are this many times as long as the last value stays valid; shorter ones tell little."""


def _identity_of(forecast_map: ForecastMap | None) -> str:
    """Returns what tells candidates from others: the name of their code, and their numbers."""
    return "" if forecast_map is None else f"{name_of_callable(forecast_map)} {fingerprint(forecast_map)}"


class Comparison:
    """Methods that forecast the same windows, held out of a trajectory.

    Args:
        data: with the whole trajectory.
        num_leads: leads of a window; None for a third of what is held out, at most 200.
        num_windows: the most windows.
        validation_share: share of the trajectory that is held out.
        threshold: of the mean squared error; None for 0.175 times that of two states at random.
        budget: seconds after which no further method starts; None for all.
        max_methods: the most methods that are tried, those that fail included; None for all.
        checkpoint: file that keeps finished trials; None for none.

    Raises:
        InputError: for a trajectory that is too short, constant, or never known in its last part,
            or the checkpoint of another comparison.
    """

    def __init__(
        self,
        data: PoolData,
        *,
        num_leads: int | None = None,
        num_windows: int = NUM_WINDOWS,
        validation_share: float = 0.25,
        threshold: float | int | None = None,
        budget: float | int | None = None,
        max_methods: int | None = None,
        checkpoint: Path | None = None,
    ):
        trajectory = data.trajectory
        size = len(trajectory.states)
        num_fit = round(size * (1 - validation_share))
        if size - num_fit < LEAST_LATE:
            least = math.ceil(LEAST_LATE / validation_share)
            raise InputError(f"expected at least {least} samples, with {LEAST_LATE} to try methods on, got {size}")
        windows = late_windows(
            trajectory, num_fit, history_size=data.history_size, num_windows=num_windows, num_leads=num_leads
        )
        is_known = ~np.isnan(windows.truth).all((1, 2))
        if not is_known.any():
            raise InputError(
                f"expected numbers in the last {size - num_fit} samples, on which methods are tried, got NaN in all "
                "windows; give a record whose end is known, or a larger validation_share"
            )
        self.windows = jax.tree.map(lambda a: a[is_known], windows)
        self.record = Record(
            data._replace(trajectory=Trajectory(*(part[:num_fit] for part in trajectory))),
            has_gaps=bool(np.isnan(trajectory.states).any()),
        )
        self.dt = float(f"{(trajectory.times[-1] - trajectory.times[0]) / (size - 1):.9g}")
        self.threshold = usual_threshold(trajectory.states) if threshold is None else float(threshold)
        if threshold is None and not self.threshold > 0:
            raise InputError("expected a trajectory that varies, got equal states; give a threshold")
        self.budget, self.max_methods = budget, max_methods
        identity = {
            "trajectory": fingerprint(trajectory),
            "candidates": _identity_of(data.forecast_map),
            "history_size": data.history_size,
            "num_leads": num_leads,
            "num_windows": num_windows,
            "validation_share": validation_share,
            "threshold": self.threshold,
            "seed": data.seed,
            "settings of methods": {name: list(method.settings(data)) for name, method in METHODS.items()},
            **environment(),
        }
        self.kept = KeptTrials(checkpoint, identity)
        self.best: dict[str, BestSetting] = {}
        self.left_out: dict[str, Trial] = {}
        self.num_tried = 0

    def try_method(self, name: str) -> None:
        """Tries a method, or notes why it was not tried.

        Args:
            name: of the method.
        """
        began = time.perf_counter()
        if (other := self.always_valid()) is not None:
            self.leave_out(name, f"{other} has next to no error to the end of every window")
        elif self.lacks_candidates(name):
            self.leave_out(name, NEEDS_CANDIDATES)
        elif self.max_methods is not None and self.num_tried >= self.max_methods:
            are = "method was" if self.max_methods == 1 else "methods were"
            self.leave_out(name, f"{self.max_methods} {are} tried, no more are allowed")
        elif (kept := self.kept.best.get(name)) is not None:
            self.num_tried += 1
            self.best[name] = kept
        elif (refused := self.kept.left_out.get(name)) is not None:
            self.num_tried += 1
            self.left_out[name] = refused
        elif self.best and self.is_spent():
            self.leave_out(name, f"the budget of {self.budget:g} s was spent")
        else:
            self.num_tried += 1
            doing(f"trying {name}")
            try:
                self.best[name] = found = self.best_setting(name)
                if not found.num_untried:
                    self.kept.add(name, found)
            except InputError as error:
                self.leave_out(name, str(error), time.perf_counter() - began)
                self.kept.add(name, self.left_out[name])

    def lacks_candidates(self, name: str) -> bool:
        """Returns whether a method needs candidates where there are none.

        Args:
            name: of the method.
        """
        return METHODS[name].with_candidates and self.record.data.forecast_map is None

    def is_spent(self, seconds: float = 0.0) -> bool:
        """Returns whether the budget is spent.

        Args:
            seconds: that the method in hand has taken.
        """
        done = sum(one.seconds for one in self.best.values()) + sum(one.seconds for one in self.left_out.values())
        return self.budget is not None and done + seconds >= self.budget

    def leave_out(self, name: str, reason: str, seconds: float = 0.0) -> None:
        """Notes that a method is not compared.

        Args:
            name: of the method.
            reason: why not.
            seconds: spent on it.
        """
        self.best.pop(name, None)
        self.left_out[name] = left_out(name, reason, seconds)

    def always_valid(self) -> str | None:
        """Returns a method that no other can beat on these windows by much, if there is one."""
        if not self.has_long_windows:
            return None
        always = (name for name, one in self.best.items() if one.times.censored.all() and one.times.error < NO_ERROR)
        return next(always, None)

    @cached_property
    def has_long_windows(self) -> bool:
        """Whether forecasts that stay valid in all windows are good: in short ones those of any model are."""
        held = time_of_last_value(self.windows, dt=self.dt, threshold=self.threshold)
        return self.dt * self.windows.truth.shape[1] >= LONG * held

    def ranked(self) -> list[str]:
        """Returns the methods that were tried, best first."""
        return sorted(self.best, key=lambda name: self.best[name].times.rank, reverse=True)

    def trials(self) -> tuple[Trial, ...]:
        """Returns the trials of all methods, best first, compared with the best."""
        names = self.ranked()
        chosen = self.best[names[0]].times
        return (*(trial_of(name, self.best[name], chosen) for name in names), *self.left_out.values())

    def best_setting(self, name: str) -> BestSetting:
        """Tries all settings of a method.

        Args:
            name: of the method.

        Returns:
            The best of them.

        Raises:
            InputError: for a method that cannot be fitted to such data with any of its settings.
        """
        if self.lacks_candidates(name):
            raise InputError(NEEDS_CANDIDATES)
        began = time.perf_counter()
        refused = InputError("it has no setting for such data")
        best: tuple[dict[str, Any], Times] | None = None
        settings, num_tried = self.record.settings(name), 0
        for number, setting in enumerate(settings):
            if best is not None and self.is_spent(time.perf_counter() - began):
                break
            num_tried += 1
            try:
                times = self.times_of(name, setting)
            except InputError as error:  # another setting may need less
                refused = error if number == 0 else refused
                continue
            if best is None or times.rank > best[1].rank:
                best = setting, times
        if best is None:
            raise refused
        if best[1].error == 1:
            raise InputError("its forecasts are not finite")
        return BestSetting(*best, time.perf_counter() - began, len(settings) - num_tried)

    def times_of(self, name: str, setting: dict[str, Any]) -> Times:
        """Fits a method with one setting, and forecasts the windows.

        Args:
            name: of the method.
            setting: one of its settings.

        Returns:
            The valid times.

        Raises:
            InputError: for a setting that cannot be fitted to such data.
        """
        cell, history_size = self.record.fit(name, setting), self.record.data.history_size
        if cell.warmup + 1 > history_size:
            raise InputError(f"it needs histories of {cell.warmup + 1} samples, history_size is {history_size}")
        return valid_times(cell, self.windows, dt=self.dt, threshold=self.threshold)
