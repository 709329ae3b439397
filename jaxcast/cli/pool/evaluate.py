"""`jaxcast pool evaluate`: how long a pool's forecasts stay accurate, beside simple alternatives."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.table import Table

from jaxcast.cli.command import check_numbers, make_console
from jaxcast.cli.figures import figure_of
from jaxcast.cli.pool.comparison import exponent_of, forecasters, interval_label, paired, tell_divergence
from jaxcast.cli.pool.hidden_parameter import (
    HiddenParameter,
    hidden_parameter,
    regime_name,
    spread_by_lead,
    track,
)
from jaxcast.cli.pool.pictures import draw_regime, draw_valid_times, draw_weights
from jaxcast.cli.pool.stored import enough_history, is_own_cell, matched, pick_seed, reported
from jaxcast.dynamics.coordinates import coordinates_of
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.errors import InputError, counted, shown
from jaxcast.io.run_folder import RunFolder
from jaxcast.io.trajectories import load_trajectory
from jaxcast.plotting.trajectories import or_more
from jaxcast.progress import announce, note, phase
from jaxcast.pytrees import fingerprint
from jaxcast.rollout import Output
from jaxcast.saving.models import StoredModel, load_model
from jaxcast.scores.valid_times import median_interval, usual_threshold, valid_time
from jaxcast.windows import Windows, cut_windows, forecast_windows


@dataclasses.dataclass(frozen=True)
class EvaluatePool:
    """Measure how long the forecasts of a trained pool stay accurate.

    Cuts a trajectory into windows, forecasts each from the samples before it, and measures the
    valid time: how long the squared error stays below a threshold. Give a trajectory that the pool
    was not trained on. Times are in the unit of the trajectory. A cell saved in Python takes the
    columns of the file as they are.

    For the series of a table, see jaxcast series evaluate.

    Example: jaxcast pool evaluate --pool pool --trajectory test.npz --out scores
    """

    pool: Path
    """Folder of a trained pool, written by jaxcast pool train, or of any cell, written by
    jaxcast.save_model. For a cell of your own, --import its module."""
    trajectory: Path
    """File with the truth: .npz, .csv or .zarr."""
    out: Path
    """Folder for results.json and pictures."""
    against: tuple[Path, ...] = ()
    """Folders of other pools or cells, of any kind, to compare with the first on the same windows
    by paired tests."""
    trajectory_index: int = 0
    """Index of the trajectory, in a file of several."""
    num_windows: int | None = None
    """Number of consecutive windows; by default as many as fit, up to 200."""
    num_leads: int | None = None
    """Steps ahead in each window. By default 9 Lyapunov times, from --lyapunov-exponent or, for a
    file of jaxcast simulate, from its system; else 128."""
    history_size: int | None = None
    """True samples before each window. By default as few as fill the memory of every pool; with a
    regime pool or another cell 100, or a quarter of the file if that is less."""
    threshold: float | None = None
    """A forecast is valid while its squared error is below this, in squared units of the state. By
    default 0.175 times the saturation error, which is twice the file's variance."""
    norm: Literal["mean", "sum"] = "mean"
    """Norm of the squared error over the components."""
    lyapunov_exponent: float | None = None
    """Maximal Lyapunov exponent per time unit; if given, valid times are also shown in Lyapunov
    times."""
    overwrite: bool = False
    """Start afresh where the folder holds other results."""

    def run(self) -> None:
        """Runs the command."""
        check_numbers(self)
        pools = self.pools()
        file = load_trajectory(self.trajectory, index=self.trajectory_index)
        stored_pool, stored = matched(pools["pool"], file, self.trajectory)
        for label, each in pools.items():
            pools[label], own = matched(each, file if is_own_cell(each) else stored, self.trajectory)
            if own.components != stored.components:
                raise InputError(
                    f"--pool takes the components {shown(', '.join(stored.components))}, the {shown(label)} "
                    "on the same in another order; evaluate the two alone, or train one again"
                )
        trajectory = Trajectory(*(jnp.asarray(part, float) for part in stored.trajectory))
        windows = self.windows(trajectory, pools, stored.attributes)
        threshold = self.threshold or usual_threshold(trajectory.states)
        data = fingerprint(stored.trajectory)
        folder = RunFolder.of(
            self,
            reads=("pool", "trajectory", "against"),
            facts={
                "data": data,
                "pool_arrays": fingerprint(stored_pool.pool),
                "against": {label: fingerprint(each.pool) for label, each in pools.items() if label != "pool"},
            },
            outputs=("results.json", "valid_times.png", "regime.png", "weights.png"),
        )
        cells = forecasters(stored_pool, {label: each for label, each in pools.items() if label != "pool"})
        outputs = {}
        with phase("forecasting the windows, forecasters", len(cells)) as update:
            for number, label in enumerate(cells):
                update(number, label)
                outputs[label] = [forecast_windows(cell, windows) for cell in cells[label]]
        tell_divergence(outputs)
        rows = [self.row(label, outputs[label], windows, stored_pool, threshold) for label in outputs]
        results: dict[str, Any] = {
            "rows": rows,
            "threshold": threshold,
            "num_windows": windows.truth.shape[0],
            "num_leads": windows.truth.shape[1],
            "history_size": windows.history.shape[1],
        }
        hidden = hidden_parameter(stored_pool.forecast_map, stored)
        first = reported(stored_pool, outputs["pool"][0])
        if hidden is not None and "weights" in first.info:
            results["tracking"] = track(first, windows, hidden, stored_pool.attributes["dt"])
        if "spread" in first.info:
            results["spread"] = spread_by_lead(first, windows)
        if self.against:
            results["paired"] = paired(rows, list(pools))
        folder.write_json("results.json", results)
        unit, dt = stored.time_unit or "MTU", stored_pool.attributes["dt"]
        self.draw(rows, first, windows, hidden, stored_pool, folder, unit)
        self.show(results, dt * windows.truth.shape[1])
        for label, each in pools.items():
            if each.attributes["settings"]["data"] == data:
                who = "the pool" if label == "pool" else label
                note(f"note: {who} was trained on this very trajectory; give another one")

    def pools(self) -> dict[str, StoredModel]:
        """Loads the pool and those to compare it with, by the names of their rows."""
        folders = [self.pool, *self.against]
        if len({folder.resolve() for folder in folders}) < len(folders):
            raise InputError(
                f"--pool and --against must name different folders, got {shown(', '.join(map(str, folders)))}"
            )
        return {"pool": load_model(self.pool)} | {f"pool in {folder}": load_model(folder) for folder in self.against}

    def windows(self, trajectory: Trajectory, pools: dict[str, StoredModel], attributes: dict[str, Any]) -> Windows:
        """Cuts the windows: those asked for, or as many as fit.

        Args:
            trajectory: The truth.
            pools: The pools, whose memory decides the history.
            attributes: How the truth was made.

        Returns:
            The windows.

        Raises:
            InputError: for numbers out of range.
        """
        for name in ("num_windows", "num_leads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        for name in ("threshold", "lyapunov_exponent"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise InputError(f"{name} must be positive, got {value}")
        num_leads = self.num_leads
        if num_leads is None:
            exponent = self.lyapunov_exponent or exponent_of(attributes, trajectory)
            num_leads = 128 if exponent is None else max(1, round(9 / exponent / pools["pool"].attributes["dt"]))
        cells = [pick_seed(each, 0).cell for each in pools.values()]
        warmup = max(cell.warmup for cell in cells)
        history_size = self.history_size
        if history_size is None:
            wanted = max(enough_history(cell) for cell in cells)
            history_size = max(warmup + 1, min(wanted, len(trajectory.states) // 4))
        if history_size <= warmup:
            raise InputError(
                f"history_size must be at least {warmup + 1} for "
                f"{'this pool' if len(cells) == 1 else 'these pools'}, got {history_size}"
            )
        fitting = (len(trajectory.states) - history_size) // num_leads
        num_windows = max(1, min(200, fitting)) if self.num_windows is None else self.num_windows
        return cut_windows(trajectory, num_windows=num_windows, num_leads=num_leads, history_size=history_size)

    def row(
        self, label: str, outputs: list[Output], windows: Windows, stored: StoredModel, threshold: float
    ) -> dict[str, Any]:
        """Computes the median valid time over the windows; over seeds, the median of the medians.

        Args:
            label: Name of the forecaster.
            outputs: Forecasts of each seed.
            windows: The windows.
            stored: The pool, with its sampling interval.
            threshold: Squared error below which a forecast is valid.

        Returns:
            The row of the forecaster.
        """

        def judge(forecast: Any, truth: Any) -> Any:
            return valid_time(forecast, truth, dt=stored.attributes["dt"], threshold=threshold, norm=self.norm)

        judged = [jax.vmap(judge)(output.forecast, windows.truth) for output in outputs]
        intervals = [median_interval(valid.time) for valid in judged]
        median, low, high = (
            float(np.median([getattr(interval, name) for interval in intervals])) for name in ("median", "low", "high")
        )
        row = {
            "method": label,
            "valid_time_median": round(median, 9),
            "valid_time_interval": [round(low, 9), round(high, 9)],
            "interval_coverage": intervals[0].coverage,
            "valid_time_median_per_seed": [round(interval.median, 9) for interval in intervals],
            "num_censored": int(sum(valid.censored.sum() for valid in judged)),
            "valid_times": [[round(float(time), 9) for time in valid.time] for valid in judged],
            "censored": [np.asarray(valid.censored).tolist() for valid in judged],
        }
        if self.lyapunov_exponent is not None:
            row["valid_time_lyapunov"] = median * self.lyapunov_exponent
        return row

    def show(self, results: dict[str, Any], window: float) -> None:
        """Prints the table; a median at the windows' end is marked as "or more".

        Args:
            results: Results of the command.
            window: Duration of a window.
        """
        table = Table(
            title=f"Median valid time over {counted(results['num_windows'], 'window')} of {results['num_leads']} leads",
            caption=f"squared error ({self.norm} over components) below {results['threshold']:.4g}; "
            f"{counted(results['history_size'], 'true sample')} before each window; {interval_label(results['rows'])}",
            box=box.SIMPLE,
        )
        in_lyapunov_times = self.lyapunov_exponent is not None
        for name in ("forecaster", "valid time", "interval", "censored", *(["Lyapunov times"] * in_lyapunov_times)):
            table.add_column(name, justify="left" if name == "forecaster" else "right", no_wrap=True)
        for row in results["rows"]:
            low, high = row["valid_time_interval"]
            cells = [
                row["method"],
                or_more(row["valid_time_median"], window, ".3g"),
                f"{low:.3g} to {or_more(high, window, '.3g')}",
                str(row["num_censored"]),
            ]
            table.add_row(*cells, *([f"{row['valid_time_lyapunov']:.3g}"] if in_lyapunov_times else []))
        console = make_console()
        console.print(table)
        if "tracking" in results:
            found = results["tracking"]
            console.print(
                f"the {found['by']} against the true {found['parameter']}, over the windows: correlation "
                + ("none" if found["correlation"] is None else f"{found['correlation']:.2f}")
                + ("" if found["mean_distance"] is None else f", mean distance {found['mean_distance']:.3g}"),
                highlight=False,
                soft_wrap=True,
            )
        for test in results.get("paired", ()):
            console.print(
                f"pool less {test['against']}: medians differ by {test['difference']:.3g} ({test['low']:.3g} to "
                f"{test['high']:.3g}), p = {test['wilcoxon']:.2g} in {counted(test['num_pairs'], 'pair')} of windows",
                highlight=False,
                soft_wrap=True,
            )
        announce(f"results and pictures in {self.out}/")

    def draw(
        self,
        rows: list[dict[str, Any]],
        output: Output,
        windows: Windows,
        hidden: HiddenParameter | None,
        stored: StoredModel,
        folder: RunFolder,
        time_unit: str,
    ) -> None:
        """Draws valid times, and the first window's regime or weights, if matplotlib is installed.

        Args:
            rows: Rows of the table.
            output: Forecasts of the pool.
            windows: The windows.
            hidden: The hidden parameter, where it is known.
            stored: The pool.
            folder: Folder of the pictures.
            time_unit: Unit of the times.
        """
        try:
            figure_of()
        except InputError:
            return
        window, path = stored.attributes["dt"] * windows.truth.shape[1], folder.path / "valid_times.png"
        draw_valid_times(path, rows, interval_label(rows), window=window, time_unit=time_unit)
        if "regime" in output.info:
            name, path = regime_name(stored.forecast_map), folder.path / "regime.png"
            draw_regime(path, output, windows, name, hidden, time_unit=time_unit)
        elif "weights" in output.info:
            found, path = coordinates_of(stored.forecast_map), folder.path / "weights.png"
            draw_weights(path, output, windows, found, hidden, time_unit=time_unit)
