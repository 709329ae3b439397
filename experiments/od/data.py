"""Folders of trips, their protocols, and the windows of each part."""

import dataclasses
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Array, Float

import jaxcast
from jaxcast import InputError
from jaxcast.errors import shown
from jaxcast.io.archives import read_archive
from jaxcast.io.tables import numbers_of, read_columns
from jaxcast.series import FactorRegression, FlowRegression, WindowNetwork

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
Part = Literal["early", "valid", "whole", "test"]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is forecast of a data set, and from which rows.

    Args:
        leads: steps ahead, pooled in scores.
        slots_per_day: rows of a day.
        first_row: the first that is used.
        num_rows: how many are used; None for all.
        train_share: share of these in the training part.
        validation_share: share of the training part that validates.
        logarithm: whether log(trips + 1) is forecast and scored.
        block_days: days of a block of the bootstrap.
        adjacency: a file of neighbours beside the folder, where it holds none.
    """

    leads: tuple[int, ...] = (1,)
    slots_per_day: int = 48
    first_row: int = 0
    num_rows: int | None = None
    train_share: float = 0.8
    validation_share: float = 0.1
    logarithm: bool = False
    block_days: int = 1
    adjacency: str | None = None

    @property
    def season(self) -> int:
        """The slots of a week."""
        return 7 * self.slots_per_day

    @property
    def lags(self) -> tuple[int, ...]:
        """Steps back from the newest value that regressions and our own models see, falling.

        All steps of four weeks where a row is a day; else the newest four, the targets' slots of the day and of the
        week before with those beside it, and of three more weeks."""
        if self.slots_per_day < 7:
            return tuple(range(4 * self.season))[::-1]
        found = set(range(4))
        for lead in self.leads:
            day, week = self.slots_per_day - lead, self.season - lead
            found |= {day - 1, day, week - 1, week, week + 1}
            found |= {week + k * self.season for k in range(1, 4)}
        return tuple(sorted((lag for lag in found if lag >= 0), reverse=True))

    @property
    def few_lags(self) -> tuple[int, ...]:
        """The lags of least squares and networks: the newest, a day, up to three weeks before."""
        if self.slots_per_day < 7:
            return tuple(range(self.season))[::-1]
        lead = self.leads[0]
        before = {self.slots_per_day - lead, self.season - lead, 2 * self.season - lead, 3 * self.season - lead}
        return tuple(sorted({0, 1, 2, 3} | before, reverse=True))


JAPAN = Protocol(
    leads=tuple(range(1, 8)),
    slots_per_day=1,
    first_row=730,
    num_rows=425,
    train_share=0.8,
    validation_share=71 / 340,  # the targets of the last 20 % of the training windows
    logarithm=True,
    block_days=7,
)
PROTOCOLS = {"japan_od": JAPAN, "nyc_taxi_od": Protocol(adjacency="../nyc_bike_zones/W_adj_matrix.csv")}
"""Protocols of known data; any other folder is forecast as nyc_taxi_od."""


@dataclasses.dataclass(frozen=True, eq=False)
class Setup:
    """Trips in one table, and where its parts begin.

    The table begins with rows without a value, as many as the longest window, so that windows of
    the first rows are not lost. Where training and test data are of two folders, such rows lie
    between them, too.

    Args:
        config: the settings.
        name: of the data.
        protocol: what is forecast.
        values: in the units of scores; NaN where there is no row.
        zones: names of the zones.
        adjacency: which zones touch, or None.
        bounds: the first row of training, validation and test targets, and the row after the last.
    """

    config: Any
    name: str
    protocol: Protocol
    values: Float[np.ndarray, "time pair"]
    zones: tuple[str, ...]
    adjacency: Float[np.ndarray, "zone zone"] | None
    bounds: tuple[int, int, int, int]

    @classmethod
    def of(cls, config: Any, folder: "Trips", train: "Trips | None" = None) -> "Setup":
        """Lays out the rows of one folder, or of one for training and one for testing."""
        protocol = folder.protocol
        learned = folder if train is None else train
        if len(learned.zones) != len(folder.zones) or learned.protocol.season != protocol.season:
            raise InputError(
                f"expected training data of {len(folder.zones)} zones and the same steps as those to be forecast, got "
                f"{len(learned.zones)} zones in {shown(learned.name)}"
            )
        margin = max(protocol.lags) + 1
        season = protocol.season
        gap = np.full((margin, folder.values.shape[1]), np.nan, np.float32)
        if train is None:
            end = margin + round(protocol.train_share * len(folder.values))
            values, begin, stop = np.concatenate([gap, folder.values]), end, margin + len(folder.values)
        else:
            end = margin + len(train.values)
            # The gap keeps the slot of the week where both folders name their first month.
            apart = 0
            if folder.first_slot is not None and train.first_slot is not None:
                apart = folder.first_slot - train.first_slot
            shift = (apart - len(train.values) - margin) % season
            empty = np.concatenate([gap, gap[:1].repeat(shift, 0)])
            values = np.concatenate([gap, train.values, empty, folder.values])
            begin, stop = end + margin + shift + season, len(values)
        middle = end - round(protocol.validation_share * (end - margin))
        first = margin + season + 1
        _check_parts(
            values, {"training": (first, middle), "validation": (middle, end), "test": (begin, stop)}, protocol
        )
        name = folder.name if train is None else f"{folder.name} (trained on {train.name})"
        bounds = (first, middle, end, begin)
        adjacency = learned.adjacency if folder.adjacency is None else folder.adjacency
        return cls(config, name, protocol, values[:stop], folder.zones, adjacency, bounds)

    @property
    def num_zones(self) -> int:
        return len(self.zones)

    @property
    def slots(self) -> Float[np.ndarray, " time"]:
        """The slot of the week of each row, counted from the first row of the table."""
        return np.arange(len(self.values)) % self.protocol.season

    def rows(self, part: Part) -> tuple[int, int]:
        """Returns the first row of a part's targets, and the row after the last."""
        first, middle, end, begin = self.bounds
        return {
            "early": (first, middle),
            "valid": (middle, end),
            "whole": (first, end),
            "test": (begin, len(self.values)),
        }[part]

    def windows(self, part: Part, lags: tuple[int, ...] | None = None, *, calendar: bool = False) -> Any:
        """Cuts the windows of a part all of whose targets lie in it.

        Args:
            part: "early" and "whole" to learn from, before the choice of settings and after it.
            lags: by default those of the protocol.
            calendar: whether the slot of the week is the first covariate.
        """
        start, stop = self.rows(part)
        samples = jaxcast.series.series_windows(
            self.values[:stop],
            lags=self.protocol.lags if lags is None else lags,
            leads=self.protocol.leads,
            start=start,
            stop=stop,
            newest_covariates=self.slots[:stop, None].astype(np.float32) if calendar else None,
        )
        rows = np.asarray(samples.rows)
        inside = np.flatnonzero((rows[:, 0] >= start) & (rows[:, -1] < stop))
        if len(inside) == len(rows):
            return samples
        return jax.tree.map(lambda a: a[inside[0] : inside[-1] + 1], samples)

    @cached_property
    def truths(self) -> dict[Part, np.ndarray]:
        """The targets of validation and test part, (window, lead, pair); NaN where unknown."""
        parts: tuple[Part, Part] = ("valid", "test")
        return {part: self.values[self.target_rows(part)] for part in parts}

    def target_rows(self, part: Part) -> np.ndarray:
        """Returns the rows of a part's targets, (window, lead)."""
        start, stop = self.rows(part)
        leads = np.asarray(self.protocol.leads)
        newest = np.arange(start - leads[0], stop - leads[-1])
        return newest[:, None] + leads

    @cached_property
    def levels(self) -> Float[np.ndarray, " pair"]:
        """The mean of each pair over the training part."""
        first, _, end, _ = self.bounds
        values = self.values[first:end]
        return np.asarray(np.nanmean(np.where(np.isfinite(values).any(0), values, 0), 0))


def _check_parts(values: Float[np.ndarray, "time pair"], parts: dict[str, tuple[int, int]], protocol: Protocol) -> None:
    """Refuses parts with too few rows, or with nothing to learn from or to score."""
    for name, (start, stop) in parts.items():
        is_training = name == "training"
        needed = max(2 * max(protocol.leads), protocol.season * is_training)
        if stop - start < needed:
            raise InputError(
                f"the {name} part has {max(stop - start, 0)} rows to forecast, and needs {needed} at "
                f"{protocol.slots_per_day} a day; give data of three weeks or more, or fewer --slots-per-day"
            )
        known = values[start:stop]
        if not np.isfinite(known).any():
            raise InputError(f"expected known trips in the {name} part, got none; leave such rows out")
        if is_training and not (np.fmax.reduce(known, 0) > np.fmin.reduce(known, 0)).any():
            raise InputError("expected trips that change in the training part, got the same in all rows of each pair")


def forecasts(model: Any, samples: Any) -> Float[np.ndarray, "window lead pair"]:
    """Forecasts windows with a model, not below 0."""
    return np.maximum(np.asarray(_forecasts(model, samples)), 0).astype(np.float32)


@jax.jit
def _forecasts(model: Any, samples: Any) -> Array:
    takes_lags = isinstance(model, WindowNetwork | FactorRegression | FlowRegression)
    lags = {"lags": samples.lags} if takes_lags else {}
    return jax.lax.map(lambda seen: model(*seen, **lags).forecast, (samples.history, samples.covariates), batch_size=16)


@dataclasses.dataclass(frozen=True)
class Trips:
    """The trips of one folder.

    Args:
        name: of the folder.
        values: in the units of scores.
        zones: names of the zones.
        adjacency: which zones touch, or None.
        protocol: what is forecast of them.
        first_slot: slot of the week of the first row, from 0 on Monday; None if unknown.
        notes: what is missing, and zones from or to which nobody travels, in words.
    """

    name: str
    values: Float[np.ndarray, "time pair"]
    zones: tuple[str, ...]
    adjacency: Float[np.ndarray, "zone zone"] | None
    protocol: Protocol
    first_slot: int | None = None
    notes: tuple[str, ...] = ()


def read_trips(folder: Path, slots_per_day: int | None = None) -> Trips:
    """Reads a folder with one .npz of trips and perhaps an adjacency.

    The adjacency is a .csv or .npy with "adj" in its name.

    Args:
        folder: of the files.
        slots_per_day: rows of a day; by default those of known data, else 48.

    Raises:
        InputError: for other files.
    """
    files = sorted(folder.glob("*.npz"))
    if len(files) != 1:
        raise InputError(f"expected one .npz of trips in {shown(folder)}, got {len(files)}")
    data = jaxcast.series.read_od(files[0])
    name = folder.resolve().name
    protocol = PROTOCOLS.get(name, Protocol())
    if slots_per_day is not None:
        protocol = dataclasses.replace(protocol, slots_per_day=slots_per_day)
    stop = None if protocol.num_rows is None else protocol.first_row + protocol.num_rows
    values = data.pairs[protocol.first_row : stop].astype(np.float32)
    adjacency = _adjacency(folder, protocol.adjacency, data.names)
    day = _first_day(files[0].stem)
    return Trips(
        name,
        np.log1p(values) if protocol.logarithm else values,
        data.names,
        adjacency,
        protocol,
        None if day is None else day * protocol.slots_per_day,
        data.notes,
    )


def _adjacency(folder: Path, beside: str | None, zones: tuple[str, ...]) -> np.ndarray | None:
    """Reads which zones touch, in the order of the trips; leaves out a header and names of rows."""
    files = sorted(file for file in folder.iterdir() if "adj" in file.name and file.suffix in (".csv", ".npy"))
    if not files and beside is not None:
        files = [file for file in [folder / beside] if file.is_file()]
    if not files:
        return None
    table = _matrix(files[0], zones)
    if table.shape != (len(zones), len(zones)) or not (table >= 0).all():
        raise InputError(
            f"expected {len(zones)} x {len(zones)} numbers that are not negative in {shown(files[0].name)}, got shape "
            f"{table.shape}"
        )
    return np.where(np.eye(len(zones)) > 0, 0, (table + table.T > 0)).astype(float)


def _matrix(file: Path, zones: tuple[str, ...]) -> Float[np.ndarray, "row column"]:
    if file.suffix == ".npy":
        return np.asarray(read_archive(file).named("array"))
    columns = read_columns(file, has_index=True, unnamed=zones, num_rows=len(zones))
    names = list(columns.by_name)[len(columns.by_name) == len(zones) + 1 :]
    return np.stack([numbers_of(columns, name) for name in names], 1)


def _first_day(name: str) -> int | None:
    """Returns the weekday, from 0 on Monday, of the first of the month in a file's name."""
    found = re.search(rf"(20\d\d)\D?({'|'.join(MONTHS)}|0[1-9]|1[0-2])", name.lower())
    if not found:
        return None
    month = MONTHS.index(found[2]) + 1 if found[2] in MONTHS else int(found[2])
    # 1970-01-01 was a Thursday.
    return int((np.datetime64(f"{found[1]}-{month:02d}-01") - np.datetime64("1970-01-01")).astype(int) + 3) % 7


def made_trips(seed: int) -> Trips:
    """Makes three weeks of trips between four zones, for tests of the experiment itself."""
    protocol = Protocol(slots_per_day=8)
    rng = np.random.default_rng(seed)
    size = rng.uniform(1, 6, 16)
    rate = size * (1 + 0.8 * np.sin(2 * np.pi * np.arange(8 * 42)[:, None] / 8 + np.arange(16)))
    names = tuple("abcd")
    return Trips("made", rng.poisson(rate).astype(np.float32), names, None, protocol)
