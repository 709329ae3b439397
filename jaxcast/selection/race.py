"""The race: methods are fitted to the start of a trajectory and forecast the same windows of its end."""

import time
from typing import Any, NamedTuple

import numpy as np

from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError
from jaxcast.progress import doing
from jaxcast.selection.methods import METHODS, Task
from jaxcast.selection.trials import Times, Trial, held_out, not_tried, threshold_of, valid_times

MOST_LEADS = 200


class Found(NamedTuple):
    """A method's best setting.

    Args:
        setting: the setting.
        times: valid times with it.
        seconds: that all settings took.
    """

    setting: dict[str, Any]
    times: Times
    seconds: float


class Race:
    """Methods that forecast the same windows, held out of a trajectory.

    Args:
        task: with the whole trajectory.
        num_leads: leads of a window; None for a third of what is held out, at most 200.
        num_windows: the most windows.
        validation_share: share of the trajectory that is held out.
        threshold: of the mean squared error; None for 0.175 times that of two states at random.
        budget: seconds after which no further method starts; None for all.

    Raises:
        InputError: for a trajectory that is too short.
    """

    def __init__(
        self,
        task: Task,
        *,
        num_leads: int | None = None,
        num_windows: int = 60,
        validation_share: float = 0.25,
        threshold: float | None = None,
        budget: float | int | None = None,
    ):
        trajectory = task.trajectory
        size = len(trajectory.states)
        num_fit = round(size * (1 - validation_share))
        leads = max(1, min(MOST_LEADS, (size - num_fit) // 3)) if num_leads is None else num_leads
        self.windows = held_out(
            trajectory, num_fit, history_size=task.history_size, num_leads=leads, num_windows=num_windows
        )
        self.task = task._replace(trajectory=Trajectory(trajectory.times[:num_fit], trajectory.states[:num_fit]))
        self.dt = float(f"{(trajectory.times[-1] - trajectory.times[0]) / (size - 1):.9g}")
        self.threshold = threshold_of(trajectory.states) if threshold is None else threshold
        self.began, self.budget = time.perf_counter(), budget
        self.found: dict[str, Found] = {}
        self.left_out: dict[str, Trial] = {}

    def enter(self, name: str) -> None:
        """Tries a method, or notes why it was not tried.

        Args:
            name: of the method.
        """
        began = time.perf_counter()
        if self.budget is not None and began - self.began > self.budget and self.found:
            self.left_out[name] = not_tried(name, f"the budget of {self.budget:g} s was spent")
        elif (perfect := self.perfect()) is not None:
            self.left_out[name] = not_tried(name, f"every forecast of {perfect} stays valid to the end of its window")
        else:
            doing(f"trying {name}")
            try:
                self.found[name] = self.best_setting(name)
            except InputError as error:
                self.left_out[name] = not_tried(name, str(error), time.perf_counter() - began)

    def perfect(self) -> str | None:
        """Returns a method that no other can beat on these windows, if there is one."""
        return next((name for name, one in self.found.items() if one.times.censored.all()), None)

    def best_setting(self, name: str) -> Found:
        """Tries all settings of a method.

        Args:
            name: of the method.

        Returns:
            The best of them.

        Raises:
            InputError: for a method that cannot be fitted to such data.
        """
        began, method, task = time.perf_counter(), METHODS[name], self.task
        if method.with_candidates and task.forecast_map is None:
            raise InputError("it needs candidates")
        best: tuple[dict[str, Any], Times] | None = None
        for setting in method.settings(task):
            cell = method.fit(task, **setting)
            if cell.warmup + 1 > task.history_size:
                raise InputError(
                    f"it needs histories of {cell.warmup + 1} samples, history_size is {task.history_size}"
                )
            times = valid_times(cell, self.windows, dt=self.dt, threshold=self.threshold)
            if best is None or times.rank > best[1].rank:
                best = setting, times
        if best is None:
            raise InputError("it has no setting for such data")
        if not np.isfinite(best[1].error):
            raise InputError("its forecasts are not finite")
        return Found(*best, time.perf_counter() - began)
