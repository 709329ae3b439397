"""`fit_pool`: tries pools, hybrids and the regime on held-out windows, and fits the best."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcast.arguments import checked
from jaxcast.checks import check_names, check_number, check_seed, check_whole
from jaxcast.dynamics.candidates import ForecastMap, as_forecast_map, candidate_shapes
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import check_trajectory_with_gaps
from jaxcast.errors import InputError, shown
from jaxcast.progress import doing
from jaxcast.rollout import Cell
from jaxcast.sampling import check_sampling
from jaxcast.selection.comparison import NUM_WINDOWS, Comparison
from jaxcast.selection.filters import check_fillable
from jaxcast.selection.methods import METHODS, PoolData
from jaxcast.selection.records import Record
from jaxcast.selection.trials import Trial


@dataclasses.dataclass(frozen=True)
class PoolChoice:
    """The method that `fit_pool` chose, and all that it compared.

    Printed, it is a table of the methods, best first.

    Args:
        cell: of the chosen method, fitted to the whole trajectory.
        method: its name.
        setting: its setting.
        trials: of all methods, best first; those that were left out come last.
        num_windows: held-out windows that they forecast.
        window: duration of a window; longer valid times are not known.
        threshold: of the mean squared error.
        spread_factors: for a cell that reports a "spread", what multiplies it at each lead of a
            window, so that it matches the errors of the held-out windows; None for others.

    Example:
        >>> import jaxcast
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=300, transient=5.0)
        >>> choice = jaxcast.selection.fit_pool(truth, methods=("persistence", "ridge"))
        >>> choice.method, [trial.reason for trial in choice.trials]
        ('persistence', ['', 'it needs candidates'])
    """

    cell: Cell
    method: str
    setting: dict[str, Any]
    trials: tuple[Trial, ...]
    num_windows: int
    window: float
    threshold: float
    spread_factors: np.ndarray | None = None

    def __str__(self) -> str:
        head = (
            f"chosen: {_called(self.method, self.setting)}; valid times on {self.num_windows} windows of "
            f"{self.window:.4g} held out"
        )
        return "\n".join([head, *(_line(trial) for trial in self.trials)])


def _called(method: str, setting: Mapping[str, Any]) -> str:
    text = ", ".join(f"{name} {value}" for name, value in setting.items() if value is not None)
    return f"{method} ({text})" if text else method


def _line(trial: Trial) -> str:
    if trial.reason:
        return f"  {trial.method:<24} left out: {trial.reason}"
    return (
        f"  {trial.method:<24} median {trial.median:<8.4g} mean {trial.mean:<8.4g} difference {trial.difference:<8.3g} "
        f"p {trial.p:<8.2g} {trial.seconds:.1f} s"
        f"{f'; budget spent, {trial.num_untried} settings not tried' if trial.num_untried else ''}"
    )


@checked
def fit_pool(
    trajectory: Trajectory,
    forecast_map: ForecastMap | None = None,
    *,
    methods: Sequence[str] | None = None,
    history_size: int | None = None,
    num_leads: int | None = None,
    num_windows: int = NUM_WINDOWS,
    validation_share: float = 0.25,
    threshold: float | int | None = None,
    budget: float | int | None = None,
    max_methods: int | None = None,
    checkpoint: str | Path | None = None,
    seed: int = 0,
) -> PoolChoice:
    """Chooses how to forecast from candidates: tries methods on held-out windows, fits the best.

    Every method is fitted to the first part of the trajectory and forecasts windows of the last
    part in closed loop, from histories of `history_size` samples. The method with the longest mean
    valid time is fitted again, to the whole trajectory; if that fails, the next best. Methods with
    several settings are tried with each that can be fitted. Of methods that all last as long, the
    one with the least error in the windows is chosen; once that is next to nothing, in windows ten
    times as long as a value stays valid by itself, no further method is tried.

    The methods, in this order: persistence, the mean of the candidates, the best single one, ridge
    regression of their forecasts, NVAR on the truth alone, interpolation between the candidates
    with a kernel correction, the regime forecaster, an ensemble Kalman filter of state and
    parameter, attention with weights for each component, a reservoir on the truth alone, and
    hybrids.

    NaN in the trajectory is a gap. A method is then fitted to what is known and takes its own
    forecasts for what is not (`DirectInsertion`); regime, reservoir and hybrids are fitted to the
    longest stretch without gaps. Where the candidates differ in one parameter and a state has at
    most 16 components, each is also fitted to the reanalysis by an ensemble Kalman filter, whose
    analyses it then sees (`AssimilatedCell`), and the better way is taken. Forecasts are compared
    where the truth is known.

    Args:
        trajectory: of the truth, possibly observed with noise; NaN where nothing is observed.
        forecast_map: of the candidates; None for methods that need none.
        methods: names of those to try, by default all.
        history_size: samples that will be known before each forecast; it decides which method is
            best. By default 100, or a tenth of the trajectory if that is less.
        num_leads: leads of a held-out window; by default a third of the last part, at most 200.
        num_windows: the most windows that are held out. They overlap: the more there are, the less
            the choice depends on chance, but p-values of their comparison are too small.
        validation_share: share of the trajectory, its end, that is held out.
        threshold: a forecast is valid while its mean squared error is below it; by default 0.175
            times the squared error of two states drawn at random.
        budget: seconds of fitting and forecasting after which no further method and no further
            setting is started; by default all are tried. The least that is tried is one setting of
            one method.
        max_methods: the most methods that are tried, those that fail included. It does not depend
            on the machine's speed.
        checkpoint: file that keeps finished trials. Where it exists, they are not tried again, and
            a larger budget goes on from there, with the same versions, device and dtype; by default
            nothing is kept.
        seed: of what is random in reservoirs and networks.

    Returns:
        The chosen cell and what was compared.

    Raises:
        InputError: for a trajectory that is infinite somewhere, constant, not evenly sampled, too
            short or never known in its last part, a component that is never known and that no
            filter can fill, no methods or an unknown one, numbers out of range, a checkpoint of
            another comparison, or where no method can be tried.

    Source:
        Own design, studied in experiments/valid_time/README.md.

    Example:
        >>> import jaxcast
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=r) for r in (26.0, 32.0)]))
        >>> truth = jaxcast.simulate(jaxcast.Lorenz63(), [1.0, 1.0, 20.0], num_samples=300, transient=5.0)
        >>> choice = jaxcast.fit_pool(truth, candidates, methods=("equal_weights", "ridge"))
        >>> choice.method
        'ridge'
    """
    names = check_names("method", METHODS if methods is None else methods, METHODS)
    if not names:
        raise InputError(f"expected methods to try, got none; leave methods out to try {len(METHODS)} of them")
    data = _checked_data(trajectory, forecast_map, history_size, seed)
    check_number("validation_share", validation_share, above=0, most=0.9)
    check_whole("num_windows", num_windows)
    if num_leads is not None:
        check_whole("num_leads", num_leads)
    if threshold is not None:
        check_number("threshold", threshold, above=0)
    if budget is not None:
        check_number("budget", budget, least=0)
    if max_methods is not None:
        check_whole("max_methods", max_methods)
    comparison = Comparison(
        data,
        num_leads=num_leads,
        num_windows=num_windows,
        validation_share=validation_share,
        threshold=threshold,
        budget=budget,
        max_methods=max_methods,
        checkpoint=None if checkpoint is None else Path(checkpoint),
    )
    for name in names:
        comparison.try_method(name)
    return _fitted(comparison, data)


def _checked_data(
    trajectory: Trajectory, forecast_map: ForecastMap | None, history_size: int | None, seed: int
) -> PoolData:
    check_trajectory_with_gaps(trajectory)
    forecast_map = as_forecast_map(forecast_map)
    check_sampling(trajectory.times, forecast_map)
    check_fillable(trajectory.states, forecast_map)
    check_seed(seed)
    history_size = max(1, min(100, len(trajectory.states) // 10)) if history_size is None else history_size
    check_whole("history_size", history_size)
    return PoolData(trajectory, forecast_map, num_models_of(forecast_map, trajectory), history_size, seed)


def _fitted(comparison: Comparison, data: PoolData) -> PoolChoice:
    """Fits the best method that can be fitted to the whole trajectory."""
    record = Record(data)
    for name in comparison.ranked():
        doing(f"fitting {name} to the whole trajectory")
        setting, times, seconds, _ = comparison.best[name]
        try:
            cell = record.fit(name, setting)
        except InputError as error:
            comparison.leave_out(name, f"it cannot be fitted to the whole trajectory: {error}", seconds)
            continue
        num_windows, num_leads = comparison.windows.truth.shape[:2]
        window = comparison.dt * num_leads
        trials, factors = comparison.trials(), times.spread_factors
        return PoolChoice(cell, name, setting, trials, num_windows, window, comparison.threshold, factors)
    reasons = "; ".join(f"{name}: {trial.reason}" for name, trial in comparison.left_out.items())
    raise InputError(f"expected a method that can be tried, got none ({shown(reasons)})")


def num_models_of(forecast_map: ForecastMap | None, trajectory: Trajectory) -> int:
    """Returns the number of candidates.

    Args:
        forecast_map: of the candidates; None without.
        trajectory: of the truth.
    """
    if forecast_map is None:
        return 0
    return int(candidate_shapes(forecast_map, trajectory.states[0], trajectory.times[0]).shape[0])
