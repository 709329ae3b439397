"""Compares methods: fitted to the start of a trajectory, they forecast the same windows of its end."""

import math
import time
from typing import Any, NamedTuple

import numpy as np

from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError
from jaxcast.progress import doing
from jaxcast.scores.valid_times import usual_threshold
from jaxcast.selection.methods import METHODS, PoolData
from jaxcast.selection.trials import Times, Trial, left_out, trial_of, valid_times
from jaxcast.windows import late_windows

LEAST_LATE = 12
"""Samples of the last part: fewer make windows of so few leads that they tell nothing."""
NO_ERROR = 1e-4
"""Below this error a method whose forecasts stay valid ends the comparison."""


class BestSetting(NamedTuple):
    """A method's best setting.

    Args:
        setting: the setting.
        times: valid times with it.
        seconds: that all settings took.
    """

    setting: dict[str, Any]
    times: Times
    seconds: float


class Comparison:
    """Methods that forecast the same windows, held out of a trajectory.

    Args:
        data: with the whole trajectory.
        num_leads: leads of a window; None for a third of what is held out, at most 200.
        num_windows: the most windows.
        validation_share: share of the trajectory that is held out.
        threshold: of the mean squared error; None for 0.175 times that of two states at random.
        budget: seconds after which no further method starts; None for all.

    Raises:
        InputError: for a trajectory that is too short, or constant.
    """

    def __init__(
        self,
        data: PoolData,
        *,
        num_leads: int | None = None,
        num_windows: int = 60,
        validation_share: float = 0.25,
        threshold: float | int | None = None,
        budget: float | int | None = None,
    ):
        trajectory = data.trajectory
        size = len(trajectory.states)
        num_fit = round(size * (1 - validation_share))
        if size - num_fit < LEAST_LATE:
            least = math.ceil(LEAST_LATE / validation_share)
            raise InputError(f"expected at least {least} samples, of which {LEAST_LATE} try the methods, got {size}")
        self.windows = late_windows(
            trajectory, num_fit, history_size=data.history_size, num_windows=num_windows, num_leads=num_leads
        )
        self.data = data._replace(trajectory=Trajectory(trajectory.times[:num_fit], trajectory.states[:num_fit]))
        self.dt = float(f"{(trajectory.times[-1] - trajectory.times[0]) / (size - 1):.9g}")
        self.threshold = usual_threshold(trajectory.states) if threshold is None else float(threshold)
        if threshold is None and not np.ptp(np.asarray(trajectory.states), axis=0).any():
            raise InputError("expected a trajectory that varies, got equal states; give a threshold to try methods")
        self.began, self.budget = time.perf_counter(), budget
        self.best: dict[str, BestSetting] = {}
        self.left_out: dict[str, Trial] = {}

    def try_method(self, name: str) -> None:
        """Tries a method, or notes why it was not tried.

        Args:
            name: of the method.
        """
        began = time.perf_counter()
        if self.budget is not None and began - self.began > self.budget and self.best:
            self.leave_out(name, f"the budget of {self.budget:g} s was spent")
        elif (other := self.always_valid()) is not None:
            self.leave_out(name, f"{other} has next to no error to the end of every window")
        else:
            doing(f"trying {name}")
            try:
                self.best[name] = self.best_setting(name)
            except InputError as error:
                self.leave_out(name, str(error), time.perf_counter() - began)

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
        always = (name for name, one in self.best.items() if one.times.censored.all() and one.times.error < NO_ERROR)
        return next(always, None)

    def ranked(self) -> list[str]:
        """Returns the methods that were tried, best first."""
        return sorted(self.best, key=lambda name: self.best[name].times.rank, reverse=True)

    def trials(self) -> tuple[Trial, ...]:
        """Returns the trials of all methods, best first, compared with the best."""
        names = self.ranked()
        chosen = self.best[names[0]].times
        compared = [(name, self.best[name]) for name in names]
        trials = [trial_of(name, one.setting, one.times, chosen, one.seconds) for name, one in compared]
        return (*trials, *self.left_out.values())

    def best_setting(self, name: str) -> BestSetting:
        """Tries all settings of a method.

        Args:
            name: of the method.

        Returns:
            The best of them.

        Raises:
            InputError: for a method that cannot be fitted to such data with any of its settings.
        """
        began, method, data = time.perf_counter(), METHODS[name], self.data
        if method.with_candidates and data.forecast_map is None:
            raise InputError("it needs candidates")
        refused = InputError("it has no setting for such data")
        best: tuple[dict[str, Any], Times] | None = None
        for number, setting in enumerate(method.settings(data)):
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
        return BestSetting(*best, time.perf_counter() - began)

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
        cell = METHODS[name].fit(self.data, **setting)
        if cell.warmup + 1 > self.data.history_size:
            raise InputError(
                f"it needs histories of {cell.warmup + 1} samples, history_size is {self.data.history_size}"
            )
        return valid_times(cell, self.windows, dt=self.dt, threshold=self.threshold)
