"""The data of `experiments.probabilistic`: many series, where forecasts begin, and what was published."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcast import InputError
from jaxcast.errors import shown
from jaxcast.io.archives import read_archive as read_arrays
from jaxcast.series import SeriesPanel, read_panel, series_panel

GLUONTS = {
    "DeepAR": (0.0329, 0.0417),
    "Transformer": (0.0349, 0.0429),
    "R arima": (0.0397, 0.0534),
    "R ets": (0.0431, 0.0540),
    "SimpleFeedForward": (0.0438, 0.0549),
    "SeasonalNaive": (0.0483, 0.0483),
    "NPTS": (0.0484, 0.0627),
    "MQCNN": (0.0651, 0.0857),
}
"""wQL and ND on m4_hourly with the defaults of GluonTS, from its repository.

Its row of MQRNN, .2978, is of a failed run and left out."""
DAY = 24
NUM_ORIGINS = {"smoke": 2, "quick": 20, "paper": 10**6}
"""The most test origins of a preset."""


class Task(NamedTuple):
    """Series, and the steps after which they are to be forecast.

    Args:
        name: of the data.
        panel: all values, those of the test part included.
        horizon: steps ahead.
        seasons: steps of the seasons, rising.
        origins: the newest step that is seen of each series, rising along the first axis.
        lower: the least value of a series; None for none.
        published: wQL and ND of methods that were published.
    """

    name: str
    panel: SeriesPanel
    horizon: int
    seasons: tuple[int, ...]
    origins: Int[np.ndarray, "origin series"]
    lower: float | None
    published: dict[str, tuple[float, float]]

    @property
    def train(self) -> SeriesPanel:
        """The series up to the first origin."""
        return self.panel._replace(lengths=np.minimum(self.panel.lengths, self.origins[0] + 1))

    def truth(self) -> Float[np.ndarray, "origin series lead"]:
        """Returns what is to be forecast; NaN where it is not known."""
        return self.values(self.origins[..., None] + np.arange(1, self.horizon + 1))

    def values(self, steps: Int[np.ndarray, "origin series step"]) -> Float[np.ndarray, "origin series step"]:
        """Returns the values of each series at some steps, counted from its first."""
        inside = (steps >= 0) & (steps < self.panel.lengths[:, None])
        places = self.panel.offsets[:, None] + np.clip(steps, 0, self.panel.lengths[:, None] - 1)
        return np.where(inside, self.panel.values[places], np.nan)

    def last_known(self, steps: Int[np.ndarray, "origin series step"]) -> Int[np.ndarray, "origin series step"]:
        """Returns the last step with a value up to some steps, which are not before the first."""
        known = np.isfinite(self.panel.values)
        last = np.maximum.accumulate(np.where(known, np.arange(len(known)), 0))  # a series begins with a known value
        places = np.minimum(steps, self.panel.newest[:, None])
        return last[self.panel.offsets[:, None] + places] - self.panel.offsets[:, None]

    def seen_from(self, history_size: int) -> Int[np.ndarray, "origin series"]:
        """Returns the newest step that a forecast sees: the last with a value where none lies in the history."""
        last = self.last_known(self.origins[..., None])[..., 0]
        is_seen = self.origins - last < history_size
        return np.where(is_seen, np.minimum(self.origins, self.panel.newest), last)


def made_task(seed: int) -> Task:
    """Returns a few short series with a season, for tests.

    Args:
        seed: of the series.
    """
    rng = np.random.default_rng(seed)
    steps = np.arange(140)
    wave = 5 + np.sin(2 * np.pi * steps / 6) + rng.normal(0, 0.3, (8, len(steps)))
    panel = series_panel(
        [level * row[k:] for k, (level, row) in enumerate(zip(np.logspace(0, 3, 8), wave, strict=True))]
    )
    return rolling("made", panel, 4, (6,), first=int(panel.lengths.min()) - 12, lower=None)


def rolling(
    name: str, panel: SeriesPanel, horizon: int, seasons: tuple[int, ...], *, first: int, lower: float | None
) -> Task:
    """Returns a task that forecasts every `horizon` steps from a row on, up to the end of the longest series.

    Args:
        name: of the data.
        panel: with all values.
        horizon: steps ahead.
        seasons: steps of the seasons.
        first: the first row to forecast.
        lower: the least value, or None.
    """
    end = int((panel.starts + panel.lengths).max())
    newest = np.arange(first, end - horizon + 1, horizon) - 1
    return Task(name, panel, horizon, seasons, newest[:, None] - panel.starts, lower, {})


def read_task(folder: Path, season: int | None, horizon: int | None) -> Task:
    """Reads a folder of data.

    Args:
        folder: m4_hourly, pedestrians_melbourne or etth, or one with an .npz of m4_hourly's form,
            or that file.
        season: steps of a season; None for what is usual for the data.
        horizon: steps ahead; None for that of the data.

    Returns:
        The task.

    Raises:
        InputError: for a folder without such data, or options that do not fit them.
    """
    name = folder.resolve().name
    if name not in KNOWN:
        return read_archive(folder, season, horizon)
    if (season, horizon) != (None, None):
        raise InputError(f"{name} has a season and a horizon of its own; leave --season and --horizon out")
    return KNOWN[name](folder)


def read_archive(folder: Path, season: int | None, horizon: int | None) -> Task:
    """Reads an .npz with `train`, `length`, `test` and `series`.

    Args:
        folder: that holds it, or the file.
        season: steps of a season; 24 and 168 by default.
        horizon: steps ahead; by default, and at most, those of `test`.

    Returns:
        The task; a series that has no value in `test` is not scored.

    Raises:
        InputError: for a folder without such a file, a series without a value in `train`, or a
            horizon beyond `test`.
    """
    files = [folder] if folder.is_file() else sorted(folder.glob("*.npz"))
    if len(files) != 1:
        raise InputError(
            f"expected one .npz of series in {shown(folder)}, with train, length, test and series, got {len(files)}"
        )
    train, panel = read_panel(files[0]), read_panel(files[0], with_test=True)
    arrays = read_arrays(files[0]).arrays
    most = arrays["test"].shape[1]
    if horizon is not None and not 1 <= horizon <= most:
        raise InputError(f"horizon must be from 1 to the {most} steps of test in {shown(files[0])}, got {horizon}")
    if not np.isfinite(arrays["test"][:, : horizon or most]).any():
        raise InputError(f"{shown(files[0])} has no value in test, so nothing to score; give those that follow train")
    seasons = (DAY, 7 * DAY) if season is None else (season,) if season > 1 else ()
    lower = 0.0 if np.nanmin(train.values) >= 0 else None
    # Values may be missing at either end, so the lengths of the file and of the panel differ.
    origins = (arrays["length"].astype(int) - 1 - panel.starts)[None]
    name = folder.resolve().stem if folder.is_file() else folder.resolve().name
    return Task(name, panel, horizon or most, seasons, origins, lower, GLUONTS if name == "m4_hourly" else {})


def read_pedestrians(folder: Path) -> Task:
    """Reads hourly counts at 55 places; the last 1606 hours are forecast a day ahead, once a day.

    A place that counted nothing for a week or longer, there or in the two weeks before, is left out.

    Args:
        folder: pedestrians_melbourne.
    """
    with np.load(folder / "pedestrian_melbourne.npz") as file:
        counts = file["counts"].astype(float)
    counts[counts < 0] = np.nan
    kept = [number for number, column in enumerate(counts[14450 - 14 * DAY :].T) if _longest_gap(column) < 7 * DAY]
    dates = np.datetime64("2021-01-01T00") + np.arange(len(counts)) * np.timedelta64(1, "h")
    names = [str(number) for number in kept]
    panel = series_panel(list(counts[:, kept].T), names=names, dates=[dates] * len(kept))
    return rolling("pedestrians_melbourne", panel, DAY, (DAY, 7 * DAY), first=14450, lower=0.0)


def _longest_gap(values: Float[np.ndarray, " time"]) -> int:
    """Returns the most steps in a row without a value."""
    known = np.flatnonzero(np.isfinite(values))
    return int(np.diff([-1, *known, len(values)]).max()) - 1


def read_etth(folder: Path) -> Task:
    """Reads the seven columns of both transformers; rows 11520 to 14399 are forecast a day ahead, once a day.

    Args:
        folder: etth.
    """
    values: list[np.ndarray] = []
    names: list[str] = []
    dates: Any = None
    for file in ("ETTh1.csv.gz", "ETTh2.csv.gz"):
        with gzip.open(folder / file, "rt") as lines:
            head, *rows = (line.strip().split(",") for line in lines)
        dates = np.asarray([row[0] for row in rows[:14400]], "datetime64[s]")
        values += list(np.asarray([row[1:] for row in rows[:14400]], float).T)
        names += [f"{file[:5]} {column}" for column in head[1:]]
    panel = series_panel(values, names=names, dates=[dates] * len(names))
    return rolling("etth", panel, DAY, (DAY, 7 * DAY), first=11520, lower=None)


KNOWN: dict[str, Callable[[Path], Task]] = {"pedestrians_melbourne": read_pedestrians, "etth": read_etth}
