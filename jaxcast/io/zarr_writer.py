"""Many trajectories to one zarr store, batch by batch, in the memory of one batch."""

import math
import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.arguments import checked
from jaxcast.dynamics.trajectories import Trajectory
from jaxcast.dynamics.trajectory_checks import StoredTrajectory, as_floats, check_components, check_times
from jaxcast.errors import InputError, shown
from jaxcast.io.conventions import plain_attributes
from jaxcast.io.files import check_name, partial_path, unfinished, writing
from jaxcast.io.locks import Lock
from jaxcast.io.ownership import is_unfinished, refuse_replacing
from jaxcast.io.zarr_store import MARK, create_store, finish, mark, open_states, read_attributes, require_zarr
from jaxcast.limits import check_disk


class TrajectoryWriter:
    """A stream of trajectories, with the same times, to a zarr store; a context manager.

    `xarray.open_zarr` opens the store. It grows as `<name>.partial`. A process killed at any moment
    loses at most one batch: made again with the same settings, the writer resumes at `num_done`.
    When the block ends after the last batch, the store gets its name, so a store under its name is
    always whole. States may be NaN: a trajectory that diverged is kept as it is.

    Args:
        path: The store, ending in .zarr.
        times: Evenly spaced times of the samples, in `time_unit`.
        num_trajectories: Trajectories to write.
        components: Names of the states' columns.
        batch_size: Trajectories in a chunk; the last batch may be smaller.
        dtype: Type of the states on disk, to which they are converted.
        attributes: How the states are made: system, solver, h, dt, seed, versions. Any JSON values.
        compress: Whether to compress the states; slower, and chaotic states hardly shrink.
        time_unit: Unit of the times; MTU is the model time unit.
        overwrite: Whether to replace a store of that name that jaxcast wrote, once the new one is
            complete, and an unfinished one with other settings.
        is_main: False in all processes but one that write to one store (`write_at`); the main one
            names it at the end.

    Raises:
        InputError: for a suffix other than .zarr, a store that exists, an unfinished one with other
            settings, times that are not evenly spaced, sizes below one, a dtype of no real numbers,
            attributes that JSON cannot hold, or missing packages.

    Example:
        >>> import jax, jaxcast, jax.numpy as jnp, pathlib, tempfile
        >>> from jaxcast.io import TrajectoryWriter, load_trajectory
        >>> run = jax.vmap(lambda u0: jaxcast.simulate(jaxcast.Lorenz63(), u0, num_samples=4).states)
        >>> starts = jax.random.normal(jax.random.key(0), (10, 3))
        >>> sizes = dict(num_trajectories=10, batch_size=4, components=("x", "y", "z"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "runs.zarr"
        ...     with TrajectoryWriter(path, times=[0.0, 0.1, 0.2, 0.3], **sizes, attributes={"h": 0.01}) as writer:
        ...         while writer.num_done < 10:
        ...             writer.write(run(starts[writer.num_done : writer.num_done + 4]))
        ...     bool(jnp.allclose(load_trajectory(path, index=9).trajectory.states, run(starts)[9]))
        True
    """

    @checked
    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        times: Shaped[ArrayLike, " time"] | Sequence[float],
        num_trajectories: int,
        components: Sequence[str],
        batch_size: int,
        dtype: Any = "float64",
        attributes: Mapping[str, Any] | None = None,
        compress: bool = False,
        time_unit: str = "MTU",
        overwrite: bool = False,
        is_main: bool = True,
    ):
        require_zarr()
        self.path, components = Path(path), tuple(components)
        self._partial = partial_path(self.path)
        if self.path.suffix != ".zarr":
            raise InputError(f"expected a store ending in .zarr, got {shown(self.path)}; rename it")
        if num_trajectories < 1 or batch_size < 1:
            raise InputError(
                f"num_trajectories and batch_size must be at least 1, got {num_trajectories} and {batch_size}"
            )
        check_name(self.path)
        self.num_trajectories, self.batch_size, self._is_main = num_trajectories, batch_size, is_main
        record = self._record(times, components, dtype, plain_attributes(attributes), time_unit)
        shape = (num_trajectories, len(record.trajectory.times), len(record.components))
        chunks = (min(batch_size, num_trajectories), *shape[1:])
        if not self._partial.exists():  # else some of it is written already
            num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
            check_disk(self.path, num_bytes, f"{shape[0]} x {shape[1]} samples of {shape[2]} components")
        self._shape = shape
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Of several processes that write one store, the main one holds the lock for all.
            self._lock = Lock(self.path) if is_main else None
            try:
                self.num_done = self._begin(record, shape, chunks, compress=compress, overwrite=overwrite)
                self._states = open_states(self._partial)
            except BaseException:
                self._let_go()
                raise

    def _begin(
        self,
        record: StoredTrajectory,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        *,
        compress: bool,
        overwrite: bool,
    ) -> int:
        """Finds or makes the unfinished store; how many of its trajectories are written."""
        sizes = self._sizes(record, compress)
        refuse_replacing(self.path, overwrite=overwrite)
        num_done = self._num_done_before(sizes | record.attributes, overwrite)
        if num_done is None:
            create_store(self._partial, record, shape, chunks, compress=compress)
            # Last, so that a store whose mark has no sizes is one that nothing was written to.
            mark(self._partial, complete=False, num_done=0, sizes=sizes)
        if self._is_main:
            for file in self._partial.rglob("*.partial"):  # of a write that was cut off
                if is_unfinished(file):
                    file.unlink()
            unfinished(self._partial / "zarr.json").unlink(missing_ok=True)
        return num_done or 0

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def write(self, states: Shaped[ArrayLike, "batch time dim"]) -> None:
        """Writes the next batch, from trajectory `num_done` on, and then records it.

        Args:
            states: `batch_size` trajectories; fewer only at the end.

        Raises:
            InputError: for a batch of another shape, one batch too many, or an error of the disk.
        """
        if self.num_done == self.num_trajectories:
            raise InputError(
                f"{shown(self.path)}: all {self.num_trajectories} trajectories are written; write no more batches"
            )
        self.write_at(self.num_done, states)
        self.mark_done(min(self.num_done + self.batch_size, self.num_trajectories))

    def write_at(self, first: int, states: Shaped[ArrayLike, "batch time dim"]) -> None:
        """Writes a batch without recording it.

        Several processes may write batches of their own; one of them calls `mark_done` when all
        have.

        Args:
            first: Number of the first trajectory.
            states: The trajectories.

        Raises:
            InputError: for a batch of another shape, or an error of the disk.
        """
        last = min(first + self.batch_size, self.num_trajectories)
        expected = (last - first, *self._shape[1:])
        if np.shape(states) != expected:
            raise InputError(
                f"{shown(self.path)}: expected the trajectories {first} to {last - 1}, (batch, time, dim) = "
                f"{expected}, got shape {np.shape(states)}; write batch_size at a time, and what is left at the end"
            )
        with writing(self.path):
            self._states[first:last] = np.asarray(states, self._states.dtype)

    def mark_done(self, num_done: int) -> None:
        """Records that the first trajectories are written.

        Args:
            num_done: Their number.
        """
        if self._is_main:
            with writing(self.path):
                mark(self._partial, num_done=num_done)
        self.num_done = num_done

    def __enter__(self) -> "TrajectoryWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._is_main and kind is None and self.num_done == self.num_trajectories:
                with writing(self.path):
                    finish(self._partial, self.path)
        finally:
            self._let_go()

    def _record(
        self, times: Any, components: Sequence[str], dtype: Any, attributes: dict[str, Any], time_unit: str
    ) -> StoredTrajectory:
        """Returns the settings of the run in the form of one trajectory without samples."""
        times = as_floats(self.path, "times", times)
        check_times(self.path, times)
        check_components(self.path, components, len(components))
        try:
            none: Any = np.empty((0, len(components)), dtype)
        except TypeError:
            none = None
        if none is None or none.dtype.kind != "f" or none.dtype.itemsize > 8:
            raise InputError(f"expected dtype float16, float32 or float64, got {dtype}; states are real numbers")
        return StoredTrajectory(Trajectory(times, none), tuple(components), attributes, time_unit)

    def _sizes(self, record: StoredTrajectory, compress: bool) -> dict[str, Any]:
        times, states = record.trajectory
        return dict(
            num_trajectories=self.num_trajectories,
            batch_size=self.batch_size,
            times=f"{len(times)} from {float(times[0])} to {float(times[-1])} in {times.dtype}",
            time_unit=record.time_unit,
            components=list(record.components),
            dtype=str(states.dtype),
            compress=compress,
        )

    def _num_done_before(self, settings: dict[str, Any], overwrite: bool) -> int | None:
        """Returns how far an unfinished store of the same settings is written; None for a new one.

        Raises:
            InputError: for one with other settings, unless it is to be overwritten.
        """
        attributes = read_attributes(self._partial)
        progress = attributes.pop(MARK, None)
        if "sizes" not in (progress or {}):
            return None
        old = progress.get("sizes", {}) | attributes
        names = [name for name in old | settings if old.get(name) != settings.get(name)]
        if not names:
            return progress["num_done"]
        if overwrite:
            return None
        changes = ", ".join(
            f"{name}: {reprlib.repr(old.get(name))} there, {reprlib.repr(settings.get(name))} now" for name in names
        )
        raise InputError(
            f"{self._partial} holds an unfinished run with other settings ({changes}); "
            "choose another name, or overwrite it (--overwrite, overwrite=True)"
        )
