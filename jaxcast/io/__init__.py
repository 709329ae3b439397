"""Trajectories on disk. What reads and writes zarr is imported when used."""

from jaxcast.io.trajectories import load_trajectory as load_trajectory
from jaxcast.io.trajectories import save_trajectory as save_trajectory
from jaxcast.io.zarr_writer import TrajectoryWriter as TrajectoryWriter
