"""Trajectories that tests of files save, and stores of them."""

import warnings

import numpy as np
import xarray

from jaxcast.io import TrajectoryWriter

SUFFIXES = (".npz", ".csv", ".zarr")
TIMES = np.arange(6) * 0.5
STATES = np.random.default_rng(0).normal(size=(6, 3))
MANY = np.random.default_rng(1).normal(size=(7, 6, 3))
SETTINGS = dict(solver="rk4", h=0.01, seed=3, versions={"jax": "0.10.2"}, rho=[28.0, 48.0])
RUN = dict(times=TIMES, num_trajectories=7, components=("x", "y", "z"), batch_size=3, attributes=SETTINGS)


def same(left, right):
    return all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(left.trajectory, right.trajectory, strict=True)
    ) and (left[1:] == right[1:])


def quietly_to_zarr(dataset, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray warns of its own consolidated metadata
        dataset.to_zarr(path, **options)


def stream(path, states=MANY, stop=None, **changes):
    settings = RUN | changes
    with TrajectoryWriter(path, **settings) as writer:
        begin = writer.num_done
        while writer.num_done < (stop or len(states)):
            writer.write(states[writer.num_done : writer.num_done + settings["batch_size"]])
    return begin


def contents(path):
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}


DATASETS = {
    "one variable": xarray.Dataset({"w": (("time", "k"), STATES)}),
    "its axes turned": xarray.Dataset({"w": (("k", "time"), STATES.T)}, {"k": ["x", "y", "z"]}),
    "of several trajectories": xarray.Dataset({"w": (("member", "time", "k"), np.stack([-STATES, STATES]))}),
    "trajectory named": xarray.Dataset({"w": (("time", "k", "trajectory"), np.stack([-STATES, STATES], -1))}),
    "beside others": xarray.Dataset({"u": (("time", "k"), STATES), "error": (("time", "k"), 0 * STATES)}),
    "beside weights": xarray.Dataset({"u": (("time", "k"), STATES), "w": ("time", TIMES), "name": ("k", list("abc"))}),
    "components": xarray.Dataset({name: ("time", STATES[:, k]) for k, name in enumerate("xyz")}),
    "components of several": xarray.Dataset(
        {name: (("trajectory", "time"), np.stack([-STATES[:, k], STATES[:, k]])) for k, name in enumerate("xyz")}
    ),
}
