"""Writes batch after batch of trajectories into a store, while the next is integrated."""

import dataclasses
from pathlib import Path

import numpy as np

from jaxcast.cli.simulation.integration import Integration
from jaxcast.io.files import partial_path
from jaxcast.io.zarr_writer import TrajectoryWriter
from jaxcast.progress import note, phase
from jaxcast.sharding import wait_for_all


@dataclasses.dataclass(frozen=True)
class Stream:
    """A store that one process or several fill.

    Args:
        integration: What is computed.
        out: Path of the store.
        num_trajectories: Trajectories in it.
        batch_size: Those that a process integrates and writes at a time.
        processes: Number of processes.
        process_id: Number of this one.
        name: Of the system, as the user wrote it.
        overwrite: Whether to replace a store that is there.
    """

    integration: Integration
    out: Path
    num_trajectories: int
    batch_size: int
    processes: int
    process_id: int
    name: str
    overwrite: bool

    def fill(self, *, done: bool) -> None:
        """Computes and writes the trajectories.

        Args:
            done: Whether the store is written already.
        """
        size = self.batch_size
        if not done and not partial_path(self.out).exists():  # a run that begins is not begun in vain
            states = np.asarray(self.integration.states(0, min(size, self.num_trajectories)))
            self.integration.refuse_divergence(states, self.name)
        for process in range(self.processes):  # process 0 makes the store, the others find it
            if process == self.process_id and not done:
                writer = self.writer()
            wait_for_all(f"store {process}")
            done = done or not partial_path(self.out).exists()
        if not done:
            self.write(writer)

    def write(self, writer: TrajectoryWriter) -> None:
        """Writes this process's share of the batches.

        Args:
            writer: Of the store.
        """
        num_bad, size = 0, self.batch_size
        with writer, phase("trajectories", self.num_trajectories, is_shown=self.process_id == 0) as update:
            update(writer.num_done)
            mine = range(writer.num_done + self.process_id * size, self.num_trajectories, self.processes * size)
            batches = [(first, min(first + size, self.num_trajectories)) for first in mine]
            # Every process takes part in as many rounds, the last ones perhaps without a batch.
            num_rounds = -(-(self.num_trajectories - writer.num_done) // (self.processes * size))
            states = self.integration.states(*batches[0]) if batches else None
            for n in range(num_rounds):
                later = self.integration.states(*batches[n + 1]) if n + 1 < len(batches) else None
                if states is not None:
                    batch = np.asarray(states)
                    num_bad += int((~np.isfinite(batch[:, -1])).any(-1).sum())
                    writer.write_at(batches[n][0], batch)
                wait_for_all(f"round {n}")
                writer.mark_done(min(writer.num_done + self.processes * size, self.num_trajectories))
                states = later
                update(writer.num_done)
        wait_for_all("end")
        if num_bad:
            note(f"{num_bad} of the trajectories integrated now diverged; they are NaN from there on")

    def writer(self) -> TrajectoryWriter:
        """Opens the store that all processes write to."""
        return TrajectoryWriter(
            self.out,
            times=self.integration.times,
            num_trajectories=self.num_trajectories,
            components=self.integration.system.components,
            batch_size=self.batch_size,
            dtype=self.integration.dtype,
            attributes=self.integration.attributes(),
            overwrite=self.overwrite,
            is_main=self.process_id == 0,
        )
