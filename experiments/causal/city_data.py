"""Demand and supply of taxis and bikes on the grid of a city, in the protocol of jonas_nyc."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxcast import InputError
from jaxcast.errors import shown
from jaxcast.io.archives import read_archive

FILE = "JONAS-NYC-16x8-20151024-20160131.npz"
CHANNELS = ("taxi demand", "taxi supply", "bike demand", "bike supply")
DEMAND, SUPPLY = (0, 2), (1, 3)
NUM_STEPS = 8
"""Steps of the history that the protocol shows, and leads."""
BLIZZARD = (90, 93)
"""Days from the first on: 22 to 24 January 2016."""
NUM_OTHER_COVARIATES = 12
"""Columns of meta_onehot besides the slots of a day, which come first: the weekday is next, a holiday last."""


class City(NamedTuple):
    """Trips by cell and channel, and the parts that are learned from, validated and tested on.

    Args:
        name: of the data.
        trips: a half hour's trips.
        cells: row and column of each cell.
        slots_per_day: steps of a day.
        holidays: whether a step lies on a holiday that is not a weekend.
        weekend: whether a step lies on a Saturday or Sunday.
        middle: first row of the validation part.
        stop: row after the last of the validation part.
        newest: newest rows of the test windows.
        special: whether a row lies on the days whose errors are told apart.
    """

    name: str
    trips: Float[np.ndarray, "time cell channel"]
    cells: Int[np.ndarray, "cell axis"]
    slots_per_day: int
    holidays: Bool[np.ndarray, " time"]
    weekend: Bool[np.ndarray, " time"]
    middle: int
    stop: int
    newest: Int[np.ndarray, " sample"]
    special: Bool[np.ndarray, " time"]

    @property
    def slots(self) -> Int[np.ndarray, " time"]:
        """The slot of the week of each step, counted from the first one."""
        return np.arange(len(self.trips)) % (7 * self.slots_per_day)

    @property
    def graph(self) -> Float[np.ndarray, "cell cell"]:
        """1 where two different cells share an edge or a corner."""
        return (np.abs(self.cells[:, None] - self.cells).max(-1) == 1).astype(np.float32)

    def truth(self, newest: Int[np.ndarray, " sample"]) -> Float[np.ndarray, "sample lead cell channel"]:
        """Returns the trips at all leads."""
        return self.trips[newest[:, None] + np.arange(1, NUM_STEPS + 1)]

    def validation(self) -> Int[np.ndarray, " sample"]:
        """Returns the newest rows of the windows whose targets all lie in the validation part."""
        return np.arange(self.middle - 1, self.stop - NUM_STEPS)


def read_city(folder: Path | None, seed: int) -> City:
    """Reads the trips of New York or of another city in the same form, or makes those of a small city.

    Args:
        folder: of the data, with one .npz; None for generated ones.
        seed: of generated ones.

    Raises:
        InputError: for a file that cannot be read, or arrays that are not of this form.
    """
    if folder is None:
        return _made(seed)
    files = sorted(folder.glob("*.npz"))
    if len(files) != 1:
        raise InputError(f"expected one .npz of trips in {shown(folder)}, such as {FILE}, got {len(files)}")
    archive = read_archive(files[0])
    taxi, bike, meta = (archive.named(key) for key in ("taxi", "bike", "meta_onehot"))
    if taxi.ndim != 4 or taxi.shape != bike.shape or taxi.shape[3] != 2 or meta.ndim != 2 or len(meta) != len(taxi):
        raise InputError(
            f"{shown(files[0])}: expected taxi and bike (time, row, column, demand and supply) and meta_onehot (time, "
            f"covariate), got shapes {taxi.shape}, {bike.shape} and {meta.shape}"
        )
    flows = np.concatenate([taxi, bike], -1).astype(float)
    scored = np.ones(flows.shape[1:3], bool)
    mask = archive.arrays.get("mask", np.zeros((0, 2), int))
    if mask.shape[1:] != (2,) or not ((mask >= 0) & (mask < scored.shape)).all():
        raise InputError(f"{shown(files[0])}: expected mask (cell, row and column) inside of {scored.shape} cells")
    scored[tuple(mask.T)] = False
    slots = meta.shape[1] - NUM_OTHER_COVARIATES
    if slots < 1 or len(flows) < 5 * 7 * slots:
        raise InputError(
            f"{shown(files[0])}: expected meta_onehot to begin with the slots of a day and at least five weeks of "
            f"steps, got {meta.shape[1]} covariates of {len(flows)} steps"
        )
    weekend = np.argmax(meta[:, slots : slots + 7], 1) >= 5
    return _city(
        folder.resolve().name,
        flows[:, scored],
        np.argwhere(scored),
        slots,
        (meta[:, -1] > 0) & ~weekend,
        weekend,
        BLIZZARD,
    )


def _city(
    name: str,
    trips: np.ndarray,
    cells: np.ndarray,
    slots_per_day: int,
    holidays: Any,
    weekend: Any,
    special: tuple[int, int],
) -> City:
    """Splits the windows as the authors of jonas_nyc do: a fifth to test, and half as many before it to validate."""
    first = np.arange(NUM_STEPS, len(trips) - NUM_STEPS)
    num_test = int(0.2 * len(first))
    stop, middle = int(first[-num_test]), int(first[-num_test - num_test // 2])
    days = np.arange(len(trips)) // slots_per_day
    is_special = (days >= special[0]) & (days < special[1])
    return City(name, trips, cells, slots_per_day, holidays, weekend, middle, stop, first[-num_test:] - 1, is_special)


def _made(seed: int) -> City:
    """Makes six cells of 12 slots a day for eight weeks, with two holidays."""
    rng, steps, slots_per_day = np.random.default_rng(seed), np.arange(56 * 12), 12
    days = steps // slots_per_day
    weekend, holidays = days % 7 < 2, np.isin(days, (9, 24))
    level = 1.2 + np.sin(2 * np.pi * steps / slots_per_day) - 0.4 * (weekend | holidays)
    rate = level[:, None, None] * rng.uniform(2, 6, (1, 6, 4))
    cells = np.argwhere(np.ones((2, 3), bool))
    trips = rng.poisson(np.maximum(rate, 0.1)).astype(float)
    return _city("made", trips, cells, slots_per_day, holidays, weekend, (50, 52))
