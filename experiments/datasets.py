"""Folders of data: where they lie, and tables of series in them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.io.tables import number_in

VARIABLE = "JAXCAST_DATA"
"""Environment variable with the folder that has a subfolder for each data set."""


def data_root() -> Path:
    """Returns the folder of all data sets: JAXCAST_DATA, by default `shared/data` beside the checkout."""
    return Path(os.environ.get(VARIABLE) or Path(__file__).parents[2] / "shared/data")


def find_folder(given: Path | None, name: str, page: str) -> Path:
    """Finds the folder of a data set.

    Args:
        given: a folder, or the name of one in `data_root`. None means the data set's own.
        name: of the data set's own folder in `data_root`.
        page: where it is written how to get the data, for the message.

    Returns:
        The folder.

    Raises:
        InputError: if there is no such folder.

    Example:
        >>> from pathlib import Path
        >>> from experiments.datasets import find_folder
        >>> find_folder(Path("."), "dysts", "experiments/chaos_zoo/README.md").is_dir()
        True
    """
    places = [data_root() / name] if given is None else [given, data_root() / given]
    for folder in places:
        if folder.is_dir():
            return folder
    raise InputError(
        f"expected a folder of data, got {shown(places[0])}, which is none; give --data, or set {VARIABLE} to the "
        f"folder that has {name} in it ({page} says where to get the data)"
    )


def check_class_sizes(labels: np.ndarray, names: Sequence[str], num_folds: int) -> None:
    """Checks that every class has a sample for each fold.

    Args:
        labels: number of the class of each sample.
        names: of the classes.
        num_folds: of the cross-validation.

    Raises:
        InputError: with the name of the smallest class.
    """
    counts = np.bincount(labels, minlength=len(names))
    if counts.min() < num_folds:
        raise InputError(
            f"expected at least {num_folds} samples of every class for {num_folds} folds, got {counts.min()} of "
            f"{shown(repr(names[int(counts.argmin())]))}; give fewer folds, or leave the class out"
        )


class Folder(NamedTuple):
    """A data set: the folder's name, the series (time, region), and how close regions are, (region, region), or None."""

    name: str
    values: Float[np.ndarray, "time region"]
    adjacency: Float[np.ndarray, "region region"] | None


@checked
def read_folder(path: Path | str) -> Folder:
    """The data of a folder with one text file of series, comma separated and without a header, and perhaps an adjacency.

    The adjacency is the file with "adj" in its name.

    Raises:
        InputError: for a folder that is missing or holds other files, text that is no table of numbers, series that are
            never known or constant, or an adjacency of other regions.

    Example:
        >>> import numpy as np, tempfile
        >>> from experiments.datasets import read_folder
        >>> with tempfile.TemporaryDirectory() as path:
        ...     np.savetxt(f"{path}/cases.txt", np.arange(12).reshape(6, 2), delimiter=",")
        ...     read_folder(path).values.shape
        (6, 2)
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"expected a folder of series, got {shown(path)}, which is none")
    files = sorted([*path.glob("*.txt"), *path.glob("*.csv")])
    adjacencies = [file for file in files if "adj" in file.name]
    series = [file for file in files if file not in adjacencies]
    if len(series) != 1 or len(adjacencies) > 1:
        names = ", ".join(file.name for file in files) or "none"
        raise InputError(
            f"expected one .txt or .csv of series and at most one *adj* in {shown(path)}, got {shown(names)}"
        )
    values = _numbers(series[0])
    spread = np.nanmax(values, 0, initial=-np.inf) - np.nanmin(values, 0, initial=np.inf)
    if not (spread > 0).all():
        number = int(np.argmin(np.nan_to_num(spread, neginf=-1)))
        kind = "never changes" if np.isfinite(values[:, number]).any() else "has no known value"
        raise InputError(f"series number {number} of {shown(series[0])} {kind}; leave it out")
    adjacency = _numbers(adjacencies[0]) if adjacencies else None
    if adjacency is not None and not (adjacency >= 0).all():
        raise InputError(f"{adjacencies[0]} must hold numbers that are not negative, and no gaps; fix it")
    if adjacency is not None and adjacency.shape != (values.shape[1],) * 2:
        raise InputError(
            f"{adjacencies[0]} is for {adjacency.shape} regions, {shown(series[0].name)} has {values.shape[1]}; both must be of the same"
        )
    return Folder(path.resolve().name, values, adjacency)


def _numbers(file: Path) -> Float[np.ndarray, "row column"]:
    try:
        lines = [line for line in file.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{shown(file)} is not a comma-separated table of numbers ({shown(error)})") from None
    rows = [[_number(file, n, cell) for cell in line.split(",")] for n, line in enumerate(lines, 1)]
    if not rows or len({len(row) for row in rows}) > 1:
        raise InputError(
            f"{shown(file)} is not a comma-separated table: expected rows of one length, got {len(rows)} rows"
        )
    return np.asarray(rows)


def _number(file: Path, row: int, cell: str) -> float:
    """Reads a cell; NaN where it is empty or says so."""
    number = number_in(cell)
    if number is None or np.isinf(number):
        raise InputError(
            f"{shown(file)}, row {row}: expected a finite number, got {cell.strip()[:40]!r}; leave it empty where unknown"
        )
    return number
