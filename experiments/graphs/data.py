"""The data sets of `experiments.graphs`, each in the protocol that its SOURCE.md describes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from experiments.datasets import find_folder
from jaxcast import InputError
from jaxcast.checks import check_number, check_whole
from jaxcast.errors import counted, shown
from jaxcast.series import describe_graph, grid_graph, read_sensors

PAGE = "experiments/graphs/README.md"
LEAST_STEPS = 30
"""Steps of a training part, at least."""
SHORT = "_12h"
"""Ending of the name of a data set of which only the last 12 hours are seen."""


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Series, and what of them is learned from and forecast.

    Args:
        name: of the data set.
        values: NaN where one is missing.
        slots_per_day: steps of a day.
        stop: row after the last of the training part, of which the end validates.
        middle: first row of the validation part.
        leads: steps ahead.
        horizons: errors are over all leads up to each.
        newest: newest rows of the test windows.
        parts: numbers of the series that are scored together, by what they are.
        places: latitude and longitude of each node, or None.
        cells: row and column of each cell of a grid, or None; series are then channel * cells + cell.
        graphs: that come with the data, by their names.
        weather: known up to a row, or None.
        is_short: whether only the last 12 steps are seen.
        num_unused: rows at the end that no target lies in.
        published: rows of which only the errors are known.
        notes: what is missing or left out, in words.
        names: of the series; () for their numbers.
    """

    name: str
    values: Float[np.ndarray, "time series"]
    slots_per_day: int
    stop: int
    middle: int
    leads: tuple[int, ...]
    horizons: tuple[int, ...]
    newest: Int[np.ndarray, " sample"]
    parts: dict[str, Int[np.ndarray, " series"]]
    places: tuple[np.ndarray, np.ndarray] | None = None
    cells: Int[np.ndarray, "cell axis"] | None = None
    graphs: dict[str, Float[np.ndarray, "series series"]] = dataclasses.field(default_factory=dict)
    weather: Float[np.ndarray, "time covariate"] | None = None
    is_short: bool = False
    num_unused: int = 0
    published: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def name_of(self, series: int) -> str:
        """Returns the name of a series, or its number."""
        return self.names[series] if self.names else str(series)

    def truth(self, newest: Int[np.ndarray, " sample"]) -> Float[np.ndarray, "sample lead series"]:
        """Returns the values at all leads, NaN beyond the end."""
        longer = np.concatenate([self.values, np.full((max(self.leads), self.values.shape[1]), np.nan)])
        return longer[newest[:, None] + np.asarray(self.leads)]


def ev_beijing(folder: Path) -> Problem:
    """Charging piles in use at 624 stations, the next hour."""
    arrays = _arrays(folder, "chargestation_beijing.npz")
    stop = int(0.9 * len(arrays["counts"]))
    busy = arrays["counts"][:stop].mean(0) * 24 > 1
    arrays |= {name: arrays[name][..., busy] for name in ("counts", "latitude", "longitude")}
    table = {
        "historical average 2-0-2": 1.016, "ARIMA": 0.982, "LSTM": 0.999, "DCRNN": 0.989, "GMAN": 0.949,
        "Graph WaveNet": 0.930, "STGCN": 0.859, "AGCRN": 0.844, "XGBoost": 0.834, "GBRT": 0.828, "ST-MGCN": 0.827,
        "STMeta": 0.803,
    }  # fmt: skip
    published = tuple({"method": name, "lead": 1, "rmse_positive": error} for name, error in table.items())
    return dataclasses.replace(next_steps("ev_beijing", arrays, 24, 0.9, 1), published=published)


def pedestrians_melbourne(folder: Path) -> Problem:
    """Pedestrians at 55 sensors, the next hour."""
    arrays = _arrays(folder, "pedestrian_melbourne.npz")
    arrays["counts"] = np.where(arrays["counts"] < 0, np.nan, arrays["counts"].astype(float))
    return next_steps("pedestrians_melbourne", arrays, 24, 0.9, 1)


def los_loop(folder: Path) -> Problem:
    """Speeds at 207 sensors, the next hour by five minutes; windows lie inside of the test rows."""
    files = [file for name in ("los_speed", "los_adj") for file in sorted(folder.glob(f"{name}.csv*"))[:1]]
    if len(files) < 2:
        raise InputError(f"expected los_speed.csv and los_adj.csv, or both gzipped, in {shown(folder)}")
    speeds = np.loadtxt(files[0], delimiter=",", skiprows=1, ndmin=2)
    adjacency = np.loadtxt(files[1], delimiter=",", ndmin=2)
    stop = int(0.8 * len(speeds))
    problem = Problem(
        "los_loop",
        speeds,
        288,
        stop,
        round(0.9 * stop),
        tuple(range(1, 13)),
        (3, 6, 9, 12),
        np.arange(stop + 11, len(speeds) - 4),
        {"": np.arange(speeds.shape[1])},
        graphs={"roads": adjacency * (1 - np.eye(len(adjacency)))},
        num_unused=1,  # as published: the last window is left out
    )
    published = {"method": "T-GCN", "lead": 3, "rmse": 5.1264, "mae": 3.1802}
    return dataclasses.replace(problem, published=(published,))


def nyc_bike_zones(folder: Path) -> Problem:
    """Arrivals and departures of bicycles in 69 zones, the next three hours."""
    flows = _arrays(folder, "2019-2020-graph-inoutflow.npz")["arr_0"]
    stop, zones = 14035, flows.shape[1]
    adjacency = np.loadtxt(folder / "W_adj_matrix.csv", delimiter=",", skiprows=1)
    table = {
        ("DCRNN", "arrivals"): (15.012, 16.484, 7.971, 9.500),
        ("DCRNN", "departures"): (14.693, 16.178, 8.082, 9.672),
        ("Graph WaveNet", "arrivals"): (15.881, 17.430, 8.620, 10.262),
        ("Graph WaveNet", "departures"): (15.112, 16.644, 8.080, 9.678),
    }
    names = ("rmse", "rmse_positive", "mae", "mae_positive")
    published = tuple(
        {"method": method, "part": part, "lead": 3, **dict(zip(names, errors, strict=True))}
        for (method, part), errors in table.items()
    )
    return Problem(
        "nyc_bike_zones",
        flows.transpose(0, 2, 1).reshape(len(flows), 2 * zones),
        24,
        stop,
        stop - stop // 8,
        (1, 2, 3),
        (1, 2, 3),
        np.arange(stop - 1, len(flows) - 3),
        {"arrivals": np.arange(zones), "departures": zones + np.arange(zones)},
        graphs={"zones": np.kron(np.eye(2), adjacency)},
        published=published,
    )


def nyc_bike_zones_12h(folder: Path) -> Problem:
    """The same, from the last 12 hours alone, which is what the published networks saw."""
    return dataclasses.replace(nyc_bike_zones(folder), name=f"nyc_bike_zones{SHORT}", is_short=True)


def jonas_nyc(folder: Path) -> Problem:
    """Taxis and bicycles in 113 cells of a grid, the next four hours by half an hour."""
    arrays = _arrays(folder, "JONAS-NYC-16x8-20151024-20160131.npz")
    flows = np.concatenate([arrays["taxi"], arrays["bike"]], -1).astype(float)
    num_rows, num_columns = flows.shape[1:3]
    scored = np.ones((num_rows, num_columns), bool)
    scored[arrays["mask"][:, 0], arrays["mask"][:, 1]] = False
    values = flows[:, scored].transpose(0, 2, 1)  # (time, channel, cell)
    cells, nodes = values.shape[2], np.flatnonzero(scored)
    touching = grid_graph(num_rows, num_columns, corners=True)[np.ix_(nodes, nodes)]
    first = np.arange(8, len(flows) - 8)
    num_test = int(0.2 * len(first))
    return Problem(
        "jonas_nyc",
        values.reshape(len(flows), -1),
        48,
        int(first[-num_test]),
        int(first[-num_test - num_test // 2]),
        tuple(range(1, 9)),
        (1, 8),
        first[-num_test:] - 1,
        {"": np.arange(4 * cells)},
        cells=np.argwhere(scored),
        graphs={"grid": np.kron(np.eye(4), touching)},
    )


READERS: dict[str, Callable[[Path], Problem]] = {
    "ev_beijing": ev_beijing,
    "pedestrians_melbourne": pedestrians_melbourne,
    "los_loop": los_loop,
    "nyc_bike_zones": nyc_bike_zones,
    "nyc_bike_zones_12h": nyc_bike_zones_12h,
    "jonas_nyc": jonas_nyc,
}


def read_set(name: str) -> Problem:
    """Reads a data set from its own folder."""
    return READERS[name](find_folder(None, name.removesuffix(SHORT), PAGE))


def read_counts(folder: Path, *, slots_per_day: int, train_share: float, num_leads: int) -> Problem:
    """Reads any data set of the form of ev_beijing: a folder with one .npz of counts.

    Negative counts are missing values, as in pedestrians_melbourne. Series of which nothing is known in the training
    part are left out.
    """
    files = sorted(folder.glob("*.npz"))
    if len(files) != 1:
        raise InputError(f"expected one .npz file in {shown(folder)}, got {len(files)}")
    data = read_sensors(files[0], key="counts")
    if data.values.ndim != 2:
        raise InputError(f"expected counts (time, node) in {shown(files[0].name)}, got shape {data.values.shape}")
    negative = data.values < 0
    counts = np.where(negative, np.nan, data.values)
    arrays: dict[str, Any] = {"counts": counts, "names": np.asarray(data.names)}
    arrays |= {f"graph_{name}": graph for name, graph in data.graphs.items()}
    if data.past_covariates is not None:
        arrays["weather"] = data.past_covariates
    if data.latitude is not None and data.longitude is not None:
        arrays |= {"latitude": data.latitude, "longitude": data.longitude}
    problem = next_steps(folder.resolve().name, arrays, slots_per_day, train_share, num_leads)
    left_out = data.values.shape[1] - problem.values.shape[1]
    notes = data.notes
    if negative.any():
        notes += (f"{counted(int(negative.sum()), 'negative count')} taken for missing values",)
    notes += tuple(f"graph {graph}: {describe_graph(weights)}" for graph, weights in data.graphs.items())
    if left_out:
        notes += (f"{counted(left_out, 'node')} left out of forecasts and scores: unknown in the training part",)
    return dataclasses.replace(problem, notes=notes)


def next_steps(
    name: str, arrays: dict[str, np.ndarray], slots_per_day: int, train_share: float, num_leads: int
) -> Problem:
    """Makes a problem of the protocol of UCTB: all windows after the training part."""
    check_whole("slots_per_day", slots_per_day)
    check_whole("leads", num_leads)
    check_number("train_share", train_share, above=0, most=1)
    counts = arrays["counts"].astype(float)
    stop = int(train_share * len(counts))
    middle = round(0.9 * stop)
    if stop < max(3 * slots_per_day, LEAST_STEPS) or min(len(counts) - stop, stop - middle) < num_leads:
        raise InputError(
            f"expected a training part of three days or more and {LEAST_STEPS} steps at least, of which the last tenth "
            f"has {counted(num_leads, 'step')}, as the test part, got {stop} and {len(counts) - stop} steps at "
            f"{slots_per_day} a day; change --train-share, --leads or --slots-per-day"
        )
    kept = np.flatnonzero(np.isfinite(counts[:stop]).any(0))
    known = np.where(np.isfinite(counts[:stop]), counts[:stop], np.nan)[:, kept]
    if not (np.nanmax(known, 0, initial=-np.inf) > np.nanmin(known, 0, initial=np.inf)).any():
        raise InputError("expected counts that change in the training part, got none")
    for part, rows in (("validation", counts[middle:stop]), ("test", counts[stop:])):
        if not np.isfinite(rows[:, kept]).any():
            raise InputError(
                f"expected known counts in the {part} part, {len(rows)} steps, got none; change --train-share"
            )
    has_places = {"latitude", "longitude"} <= arrays.keys()
    graphs = {key.removeprefix("graph_"): arrays[key][np.ix_(kept, kept)] for key in arrays if key.startswith("graph_")}
    return Problem(
        name,
        counts[:, kept],
        slots_per_day,
        stop,
        middle,
        tuple(range(1, num_leads + 1)),
        tuple(dict.fromkeys((1, num_leads))),
        np.arange(stop - 1, len(counts) - num_leads),
        {"": np.arange(len(kept))},
        places=(arrays["latitude"][kept], arrays["longitude"][kept]) if has_places else None,
        graphs=graphs,
        weather=arrays.get("weather"),
        names=tuple(arrays["names"][kept].tolist()) if "names" in arrays else (),
    )


def make_counts(seed: int) -> Problem:
    """Makes counts of six nodes for three weeks, for tests of the experiment itself."""
    rng, slots = np.random.default_rng(seed), np.arange(21 * 24)
    shape = (
        1.2 + np.sin(2 * np.pi * slots[:, None] / 24 + 0.3 * np.arange(6)) * (1 + (slots // 24 % 7 < 5))[:, None] / 2
    )
    arrays = {"counts": rng.poisson(5 * np.maximum(shape, 0.1)), "latitude": np.arange(6.0), "longitude": np.zeros(6)}
    return next_steps("generated", arrays, 24, 0.9, 2)


def _arrays(folder: Path, name: str) -> dict[str, Any]:
    try:
        with np.load(folder / name) as file:
            return dict(file)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {shown(folder / name)} ({shown(error)})") from None
