"""`jaxcast pool forecast`: forecasts a trajectory with a trained pool."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.cli.command import check_numbers
from jaxcast.cli.pool.hidden_parameter import candidate_names, hidden_parameter, regime_name
from jaxcast.cli.pool.pictures import draw_forecast
from jaxcast.cli.pool.stored import enough_history, matched, pick_seed, reported
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import StoredTrajectory
from jaxcast.errors import InputError, shown
from jaxcast.io.outputs import DATA, PICTURE, Outputs
from jaxcast.io.run_folder import environment
from jaxcast.io.trajectories import load_trajectory, save_trajectory
from jaxcast.limits import check_arrays
from jaxcast.progress import phase
from jaxcast.regime.filtering import RegimeCell
from jaxcast.rollout import FillsGaps, Output, forecast
from jaxcast.saving.models import StoredModel, load_model
from jaxcast.scores.valid_times import usual_threshold, valid_time


@dataclasses.dataclass(frozen=True)
class ForecastPool:
    """Forecast with a trained pool from any time of a trajectory.

    The pool sees the samples up to that time and continues on its own. Where the file has later
    samples, the picture and the printed error compare the forecast with them. Times are in the unit
    of the trajectory. A cell saved in Python takes the columns of the file as they are.

    For the series of a table, see jaxcast series forecast.

    Example: jaxcast pool forecast --pool pool --history truth.npz --num-leads 60
        --out forecast.csv --plot forecast.png
    """

    pool: Path
    """Folder of a trained pool, written by jaxcast pool train, or of any cell, written by
    jaxcast.save_model. For a cell of your own, --import its module."""
    history: Path
    """File with the samples before the forecast: .npz, .csv or .zarr. NaN is a gap, which a pool
    that was trained by --pool auto on a trajectory with gaps can fill."""
    out: Path
    """File for the forecast: .npz, .csv or .zarr."""
    at: float | None = None
    """Time of the newest sample that the pool sees, rounded to the nearest in the file; by default
    the last."""
    num_leads: int = 100
    """Steps ahead to forecast."""
    trajectory_index: int = 0
    """Index of the trajectory, in a file of several."""
    history_size: int | None = None
    """Samples that the pool sees, up to the newest. By default a pool with delays sees those that
    fill its memory; a regime pool, or another cell, sees 100, or all if there are fewer. A regime
    pool becomes surer with more."""
    seed_index: int = 0
    """Index of the pool, where several were trained together."""
    weights: Path | None = None
    """Also write the candidates' weights at every lead to this .npz, .csv or .zarr."""
    regime: Path | None = None
    """Also write the regime that a regime pool infers at every lead, its standard deviation, and
    the standard deviation of each component of the forecast to this .npz, .csv or .zarr."""
    overwrite: bool = False
    """Replace the files of --out, --weights, --regime and --plot, if jaxcast wrote them."""
    plot: Path | None = None
    """Also draw the history, the forecast and any known truth into this .png; for a regime pool
    also the forecast's spread and the regime."""

    def run(self) -> None:
        """Runs the command."""
        check_numbers(self)
        files = {"--out": (self.out, DATA), "--weights": (self.weights, DATA), "--regime": (self.regime, DATA)}
        with Outputs(
            vars(self),
            files | {"--plot": (self.plot, PICTURE)},
            inputs={"--pool": self.pool, "--history": self.history},
            overwrite=self.overwrite,
        ):
            self.forecast()

    def forecast(self) -> None:
        """Makes the forecast and writes it."""
        if self.num_leads < 2:
            raise InputError(f"num_leads must be at least 2, got {self.num_leads}")
        stored_pool = load_model(self.pool)
        stored = load_trajectory(self.history, index=self.trajectory_index, with_gaps=True)
        stored_pool, stored = matched(stored_pool, stored, self.history)
        newest = self.newest(stored.trajectory)
        cell = pick_seed(stored_pool, self.seed_index).cell
        self.refuse_missing(stored_pool)
        history_size = self.checked_history(cell, newest + 1)
        dt = stored_pool.attributes["dt"]
        begin = float(stored.trajectory.times[0])
        dim = stored.trajectory.states.shape[1]
        check_arrays(f"{self.num_leads} leads of {dim} components", (self.num_leads, dim + 1))
        times = begin + dt * np.arange(newest + 1, newest + 1 + self.num_leads)
        with phase("forecasting"):
            output = self.rolled(cell, stored.trajectory, newest + 1 - history_size, newest, dt)
        if not isinstance(cell, FillsGaps):
            self.refuse_gaps(stored.trajectory.states[newest + 1 - history_size : newest + 1], output.forecast)
        output = reported(stored_pool, output)
        if self.weights is not None and "weights" not in output.info:
            raise self.without_weights()
        refuse_divergence(self.pool, output.forecast, times)
        result = Trajectory(jnp.asarray(times), output.forecast)
        self.write(result, output, stored, stored_pool, history_size)
        self.report(result, output, stored, newest, stored_pool)

    def newest(self, trajectory: Trajectory) -> int:
        """Returns the index of the newest sample that the pool sees.

        Args:
            trajectory: The history.

        Raises:
            InputError: for a time outside of it.
        """
        times = np.asarray(trajectory.times)
        if self.at is None:
            return len(times) - 1
        if not times[0] <= self.at <= times[-1]:
            raise InputError(
                f"--at must lie in {shown(self.history)}, from {times[0]:g} to {times[-1]:g}, got {self.at}"
            )
        return int(np.argmin(abs(times - self.at)))

    def refuse_gaps(self, history: Any, forecast: Any) -> None:
        """Refuses a history with gaps that the pool cannot fill.

        Args:
            history: What the pool sees.
            forecast: The forecast.

        Raises:
            InputError: for gaps, where the first lead is not finite.
        """
        has_gap = np.isnan(history).any(1)
        if has_gap.any() and not np.isfinite(forecast[0]).all():
            raise InputError(
                f"the pool in {shown(self.pool)} cannot fill gaps, got NaN in {has_gap.sum()} of the {len(history)} "
                f"samples that it sees of {shown(self.history)}; start --at another sample, or train it by --pool auto "
                "on a trajectory with gaps"
            )

    def refuse_missing(self, stored_pool: StoredModel) -> None:
        """Refuses outputs that the pool does not have.

        Args:
            stored_pool: The pool.

        Raises:
            InputError: for weights or a regime that there are not.
        """
        is_regime = isinstance(stored_pool.pool, RegimeCell)
        if self.weights is not None and stored_pool.forecast_map is None:
            raise self.without_weights()
        if self.regime is not None and not is_regime:
            raise InputError(f"the pool in {shown(self.pool)} infers no regime; leave out --regime")

    def without_weights(self) -> InputError:
        """Returns the error for a pool that does not weight candidates."""
        return InputError(f"the pool in {shown(self.pool)} has no candidate weights; leave out --weights")

    def checked_history(self, cell: Any, available: int) -> int:
        """Returns how many samples the pool sees.

        Args:
            cell: The pool as a cell.
            available: Samples up to the newest.

        Raises:
            InputError: for fewer samples than the pool needs, or more than there are.
        """
        least = cell.warmup + 1
        if available < least:
            raise InputError(
                f"the pool needs {least} samples up to --at, got {available} in {shown(self.history)}; "
                "start later or give a longer history"
            )
        if self.history_size is None:
            return min(enough_history(cell), available)
        if not least <= self.history_size <= available:
            raise InputError(
                f"history_size must be from {least}, which this pool needs, to the {available} samples that "
                f"{shown(self.history)} has up to --at, got {self.history_size}"
            )
        return self.history_size

    def rolled(self, cell: Any, trajectory: Trajectory, first: int, newest: int, dt: float) -> Output:
        """Forecasts in closed loop after some samples.

        Args:
            cell: The pool as a cell.
            trajectory: The history.
            first: Index of the first sample that the pool sees.
            newest: Index of the last one.
            dt: Interval between samples.

        Returns:
            The output; each of its rows belongs to the time of its lead.
        """
        begin = float(trajectory.times[0])
        exogenous = jnp.asarray(begin + dt * np.arange(first, newest + 1 + self.num_leads))
        history = jnp.asarray(trajectory.states[first : newest + 1], float)
        # One lead more: a regime belongs to the sample before the one that is forecast.
        output = jax.jit(forecast, static_argnums=2)(cell, history, self.num_leads + 1, exogenous)
        of_sample_before = ("regime", "regime_deviation") if isinstance(cell, RegimeCell) else ()
        info: Any = {
            name: values[1:] if name in of_sample_before else jax.tree.map(lambda a: a[:-1], values)
            for name, values in output.info.items()
        }
        return Output(output.forecast[:-1], info)

    def write(
        self,
        result: Trajectory,
        output: Output,
        stored: StoredTrajectory,
        stored_pool: StoredModel,
        history_size: int,
    ) -> None:
        """Writes the forecast, and the weights and the regime where they were asked for.

        Args:
            result: The forecast.
            output: What the pool reports.
            stored: The history.
            stored_pool: The pool.
            history_size: Samples that the pool has seen.
        """
        attributes = {
            "forecast_by": str(self.pool),
            "pool": stored_pool.attributes["settings"],
            "newest_sample_seen": float(result.times[0]) - stored_pool.attributes["dt"],
            "seed_index": self.seed_index,
            "history_size": history_size,
            **environment(),
        }
        unit = stored.time_unit or "MTU"
        shared: dict[str, Any] = {"attributes": attributes, "time_unit": unit, "overwrite": self.overwrite}
        save_trajectory(self.out, result, components=stored.components, **shared)
        if self.weights is not None:
            weights = Trajectory(result.times, output.info["weights"])
            names = candidate_names(stored_pool.forecast_map, weights.states.shape[1])
            save_trajectory(self.weights, weights, components=names, **shared)
        if self.regime is not None:
            inferred = [output.info[name] for name in ("regime", "regime_deviation", "spread")]
            size, name = inferred[0].shape[1], regime_name(stored_pool.forecast_map)
            coordinates = [name] if size == 1 else [f"{name}{k}" for k in range(size)]
            names = coordinates + [f"{name}_deviation" for name in coordinates]
            names += [f"spread_{name}" for name in stored.components]
            save_trajectory(
                self.regime, Trajectory(result.times, jnp.concatenate(inferred, 1)), components=names, **shared
            )

    def report(
        self, result: Trajectory, output: Output, stored: StoredTrajectory, newest: int, stored_pool: StoredModel
    ) -> None:
        """Prints the result in one line, and draws it.

        Args:
            result: The forecast.
            output: What the pool reports.
            stored: The history, with later samples where there are any.
            newest: Index of the newest sample that the pool has seen.
            stored_pool: The pool.
        """
        truth = stored.trajectory.states[newest + 1 : newest + 1 + self.num_leads]
        truth = truth[np.logical_and.accumulate(np.isfinite(truth).all(1))]  # up to the first gap
        line = f"{self.num_leads} leads from time {float(stored.trajectory.times[newest]):g} in {self.out}"
        if len(truth):
            threshold = usual_threshold(stored.trajectory.states)
            dt = float(result.times[1] - result.times[0])
            valid = valid_time(result.states[: len(truth)], jnp.asarray(truth), dt=dt, threshold=threshold)
            line += (
                f"; against the file it stays valid for {float(valid.time):.6g} time units"
                f"{' or more' if valid.censored else ''} (squared error below {threshold:.3g})"
            )
        print(line)
        if self.plot is not None:
            draw_forecast(
                self.plot,
                result,
                output,
                stored,
                newest,
                hidden_parameter(stored_pool.forecast_map, stored),
                regime_name(stored_pool.forecast_map),
            )


def refuse_divergence(pool: Path, forecast: Any, times: np.ndarray) -> None:
    """Refuses a forecast that is not finite.

    Args:
        pool: Folder of the pool.
        forecast: The forecast.
        times: Times of its leads.

    Raises:
        InputError: with the pool and the first such lead.
    """
    is_finite = np.isfinite(np.asarray(forecast)).all(-1)
    if not is_finite.all():
        lead = int(np.argmin(is_finite)) + 1
        advice = f"ask for --num-leads up to {lead - 1}" if lead > 2 else "start --at another sample"
        raise InputError(
            f"the forecast of the pool in {shown(pool)} diverges at lead {lead}, time {times[lead - 1]:g}; {advice}, "
            "or train another pool"
        )
