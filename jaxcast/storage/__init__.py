"""Trajectories on disk. What reads and writes zarr is imported when used."""

from jaxcast.storage.checks import StoredTrajectory as StoredTrajectory
from jaxcast.storage.trajectories import load_trajectory as load_trajectory
from jaxcast.storage.trajectories import save_trajectory as save_trajectory
from jaxcast.storage.writer import TrajectoryWriter as TrajectoryWriter
