"""`jaxcast forecast`: what a trained pool says comes next."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.cli.entry import check_numbers, make_console
from jaxcast.cli.pictures import figure_of
from jaxcast.errors import InputError
from jaxcast.forecasters import Forecaster
from jaxcast.integrate import Trajectory
from jaxcast.metrics import saturation_error, valid_time
from jaxcast.rollout import Output, forecast
from jaxcast.storage.checks import StoredTrajectory
from jaxcast.storage.files import check_output, save_figure
from jaxcast.storage.folder import environment
from jaxcast.storage.pools import StoredPool, load_pool
from jaxcast.storage.trajectories import load_trajectory, save_trajectory


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Forecast from any time of a trajectory: the pool sees the samples up to then and goes on by itself. Where the
    file goes on as well, the picture and the printed error compare the two. Times are in the unit of the trajectory.

    Example: jaxcast forecast --pool pool --history truth.npz --num-leads 60 --out forecast.csv --plot forecast.png
    """

    pool: Path
    """Folder that `jaxcast train` wrote."""
    history: Path
    """File with the samples before the forecast: .npz, .csv or .zarr."""
    out: Path
    """File to write the forecast to: .npz, .csv or .zarr."""
    at: float | None = None
    """Time of the newest sample that the pool sees, rounded to the nearest of the file; by default its last."""
    num_leads: int = 100
    """Samples to forecast."""
    trajectory_index: int = 0
    """Which trajectory, in a file of many."""
    seed_index: int = 0
    """Which of the pools, where several were trained together."""
    weights: Path | None = None
    """Also write the candidates' weights at every lead to this .npz, .csv or .zarr."""
    overwrite: bool = False
    """Replace what --out and --weights name."""
    plot: Path | None = None
    """Also draw history, forecast and, where it is known, the truth into this .png."""

    def run(self) -> None:
        """Runs the command."""
        check_numbers(self)
        for path in (self.out, self.weights):
            if path is not None:
                check_output(path, (".npz", ".csv", ".zarr"), overwrite=self.overwrite)
        if self.plot is not None:
            check_output(self.plot, (".png",), overwrite=self.overwrite)
        if self.out == self.weights:
            raise InputError(f"--out and --weights must differ, got {self.out} for both")
        if self.num_leads < 2:
            raise InputError(f"num_leads must be at least 2, got {self.num_leads}")
        stored_pool = load_pool(self.pool)
        stored = load_trajectory(self.history, index=self.trajectory_index)
        check_matches(stored_pool, stored, self.history)
        newest = self.newest(stored.trajectory)
        cell = Forecaster(pick_seed(stored_pool, self.seed_index), stored_pool.forecast_map)
        if newest < cell.warmup:
            raise InputError(
                f"the pool needs {cell.warmup + 1} samples up to --at, got {newest + 1} in {self.history}; "
                "start later or give a longer history"
            )
        dt = stored_pool.attributes["dt"]
        begin = float(stored.trajectory.times[0])
        times = begin + dt * np.arange(newest + 1, newest + 1 + self.num_leads)
        output = self.rolled(cell, stored.trajectory, newest, begin, dt)
        result = Trajectory(jnp.asarray(times), output.forecast)
        self.write(result, output, stored, stored_pool)
        self.report(result, stored, newest)

    def newest(self, trajectory: Trajectory) -> int:
        """The index of the newest sample that the pool sees."""
        times = np.asarray(trajectory.times)
        if self.at is None:
            return len(times) - 1
        if not times[0] <= self.at <= times[-1]:
            raise InputError(f"--at must lie in {self.history}, from {times[0]:g} to {times[-1]:g}, got {self.at}")
        return int(np.argmin(abs(times - self.at)))

    def rolled(self, cell: Forecaster, trajectory: Trajectory, newest: int, begin: float, dt: float) -> Output:
        """The closed loop from the newest samples that fill the memory."""
        first = max(0, newest - cell.warmup)
        given = jnp.asarray(begin + dt * np.arange(first, newest + self.num_leads))
        history = jnp.asarray(trajectory.states[first : newest + 1], float)
        return jax.jit(forecast, static_argnums=2)(cell, history, self.num_leads, given)

    def write(self, result: Trajectory, output: Output, stored: StoredTrajectory, stored_pool: StoredPool) -> None:
        """The forecast, and the weights where they were asked for, with all that made them."""
        attributes = {
            "forecast_by": str(self.pool),
            "pool": stored_pool.attributes["settings"],
            "newest_sample_seen": float(result.times[0]) - stored_pool.attributes["dt"],
            "seed_index": self.seed_index,
            **environment(),
        }
        unit = stored.time_unit or "MTU"
        shared: dict[str, Any] = {"attributes": attributes, "time_unit": unit, "overwrite": self.overwrite}
        if self.weights is not None and "weights" not in output.info:
            raise InputError(f"the pool in {self.pool} weighs no candidates; leave --weights out")
        save_trajectory(self.out, result, components=stored.components, **shared)
        if self.weights is not None:
            weights = Trajectory(result.times, output.info["weights"])
            names = [f"weight{i}" for i in range(weights.states.shape[1])]
            save_trajectory(self.weights, weights, components=names, **shared)

    def report(self, result: Trajectory, stored: StoredTrajectory, newest: int) -> None:
        """What came out, in one line, and the picture."""
        console = make_console()
        truth = stored.trajectory.states[newest + 1 : newest + 1 + self.num_leads]
        line = f"{self.num_leads} leads from time {float(stored.trajectory.times[newest]):g} in {self.out}"
        if len(truth):
            threshold = 0.175 * float(saturation_error(jnp.asarray(stored.trajectory.states)))
            dt = float(result.times[1] - result.times[0])
            valid = valid_time(result.states[: len(truth)], jnp.asarray(truth), dt=dt, threshold=threshold)
            line += (
                f"; against the file it stays valid for {float(valid.time):.6g} time units"
                f"{' or more' if valid.censored else ''} (squared error below {threshold:.3g})"
            )
        console.print(line, highlight=False, soft_wrap=True)
        if self.plot is not None:
            self.draw(self.plot, result, stored, newest)

    def draw(self, path: Path, result: Trajectory, stored: StoredTrajectory, newest: int) -> None:
        """Every component, up to six: what was seen, what was forecast, what came."""
        from jaxcast.plotting import plot_forecast

        shown = list(stored.components)[:6]
        figure = figure_of(height=1.4 * len(shown) + 1.2)
        axes = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
        first = max(0, newest - self.num_leads // 3)
        seen = slice(first, newest + 1)
        later = slice(newest, newest + 1 + self.num_leads)
        times, states = stored.trajectory
        for i, (ax, name) in enumerate(zip(axes, shown, strict=True)):
            plot_forecast(
                ax,
                (times[seen], states[seen, i]),
                (result.times, result.states[:, i]),
                truth=(times[later], states[later, i]),
                label=name,
            )
        axes[0].legend(loc="upper left", bbox_to_anchor=(0, 1.35), ncols=3, frameon=False)
        axes[-1].set_xlabel(f"time ({stored.time_unit or 'MTU'})")
        save_figure(path, figure)


def pick_seed(stored: StoredPool, index: int) -> Any:
    """One of the pools that were trained together.

    Raises:
        InputError: for an index that there is not.
    """
    num_seeds = stored.attributes.get("num_seeds")
    if num_seeds is None:
        return stored.pool
    if not 0 <= index < num_seeds:
        raise InputError(f"seed_index must be from 0 to {num_seeds - 1}, got {index}")
    return jax.tree.map(lambda a: a[index], stored.pool)


def check_matches(pool: StoredPool, stored: StoredTrajectory, path: Path) -> None:
    """Raises InputError unless a file has the components and the sampling interval that a pool was trained on."""
    try:
        names, dt = list(pool.attributes["components"]), float(pool.attributes["dt"])
        pool.attributes["settings"]["data"]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            "the pool was not saved by `jaxcast train`; load it in Python with jaxcast.load_pool"
        ) from None
    if len(names) != len(stored.components):
        raise InputError(
            f"{path} has {len(stored.components)} components ({', '.join(stored.components)}), the pool was trained on "
            f"{len(names)} ({', '.join(names)})"
        )
    times = np.asarray(stored.trajectory.times, float)
    found = (times[-1] - times[0]) / (len(times) - 1)
    if abs(found - dt) > 1e-6 * dt:
        raise InputError(f"{path} is sampled every {found:g}, the pool was trained on samples every {dt:g}")
