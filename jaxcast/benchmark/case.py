"""A case of the benchmark: a truth, its candidates, what is seen of it, and how forecasts are scored."""

import dataclasses
from collections.abc import Callable
from typing import Literal

from jaxcast.dynamics.parse import describe_system, parse_candidates
from jaxcast.dynamics.systems import System


@dataclasses.dataclass(frozen=True)
class Case:
    """A task of forecasting, the same for every tool.

    A method learns from one trajectory of the truth and, where there are any, from the candidates:
    wrong models of the truth, whose errors are not disclosed. It then forecasts windows of
    another trajectory from their histories alone. The valid time of a forecast is dt times the
    number of leads before the first at which the squared error, averaged over the scored
    components, reaches the threshold. It counts up to `ground_truth_time`, beyond which the truth
    itself depends on the integrator's step.

    Args:
        name: in files and on the command line.
        about: what is special in it, in one line.
        truth: seed -> system; its first components are the state, others are hidden.
        candidates: the candidate models as a text, or as systems; empty where there are none.
        dt: interval between samples.
        h: step of the candidates' integrator.
        truth_h: step of the truth's integrator; by default the candidates'.
        threshold: largest squared error of a valid forecast.
        num_leads: leads in a window.
        history_size: samples before each window.
        num_train: samples in the training trajectory.
        num_windows: windows of each truth.
        num_truths: truths, with other starts, other noise and other random schedules.
        observation_noise: in training and histories, in standard deviations of each component.
        process_noise: of every component of the truth, per square root of a time unit.
        seen: components that training and histories hold, and that are scored; the others are NaN.
            By default all.
        dim: components of the state; by default all of the truth.
        windows_truth: seed -> system of the windows, where it is another one.
        windows_start: time at which the windows' trajectory begins; training begins at 0.
        ground_truth_time: largest valid time that says something; None for the whole window.
        transient: time before each trajectory that is simulated and dropped.
        start: a state from near which the trajectories start; by default `random_starts` draws it.
        group: kind of the case.

    Example:
        >>> import jaxcast
        >>> case = jaxcast.benchmark.find_case("paper")
        >>> case.dt, case.num_leads, case.threshold, len(case.candidate_systems())
        (0.1, 128, 40.0, 11)
    """

    name: str
    about: str
    truth: Callable[[int], System]
    candidates: str | tuple[System, ...]
    dt: float = 0.1
    h: float = 0.01
    truth_h: float | None = None
    threshold: float = 40.0
    num_leads: int = 128
    history_size: int = 6
    num_train: int = 4000
    num_windows: int = 200
    num_truths: int = 3
    observation_noise: float = 0.0
    process_noise: float = 0.0
    seen: tuple[int, ...] | None = None
    dim: int | None = None
    windows_truth: Callable[[int], System] | None = None
    windows_start: float = 0.0
    ground_truth_time: float | None = None
    transient: float = 100.0
    start: tuple[float, ...] = ()
    group: Literal["twins", "jumps", "noise", "partial", "hidden", "scales", "fields", "beyond", "catalogue"] = "twins"

    def candidate_systems(self) -> tuple[System, ...]:
        """Returns the candidates as systems."""
        if isinstance(self.candidates, str):
            return tuple(parse_candidates(self.candidates)) if self.candidates else ()
        return self.candidates

    @property
    def samples_per_window(self) -> int:
        """Samples of a history, its window, and half a window that nobody sees.

        Without it, the next history would show where a window ends.
        """
        return self.history_size + self.num_leads + self.num_leads // 2

    @property
    def window(self) -> float:
        """Duration of a window."""
        return self.num_leads * self.dt

    @property
    def longest_valid_time(self) -> float:
        """The longest valid time that counts: that of the window, or of the ground truth."""
        return self.window if self.ground_truth_time is None else min(self.window, self.ground_truth_time)

    def described_candidates(self) -> list[str]:
        """Returns a text for each candidate, such as lorenz63(sigma=10, rho=28, beta=2.66667)."""
        return [describe_system(candidate) for candidate in self.candidate_systems()]
