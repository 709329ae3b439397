"""The dysts benchmark: 131 chaotic systems, each forecast two periods ahead from one coordinate.

Source:
    Gilpin, Chaos as an interpretable benchmark for forecasting and data-driven modelling (2021).
"""

import csv
import dataclasses
import gzip
import json
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from rich import box
from rich.table import Table

import jaxcast
from experiments.chaos_zoo import pictures as zoo_pictures
from experiments.chaos_zoo.methods import METHODS, Zoo, score
from experiments.frame import Settings, check_settings, open_folder, start, with_data
from jaxcast import InputError
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.errors import shown


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Fit each method to the first five sixths of each series and forecast the last sixth in one
    closed loop. Compare symmetric errors and valid times with published ones. Settings are selected
    by closed loops on the other set of series. Presets: smoke, simulated series; quick, 15 points
    per period; paper, 100 points per period."""

    data: Path | None = None
    """The folder of the dysts series and the published scores. By default dysts in the folder
    that JAXCAST_DATA names, or in shared/data beside the checkout."""
    pts_per_period: Literal[15, 100] = 15
    """Points per dominant period; twelve periods each."""
    num_systems: int | None = None
    """How many systems, in alphabetical order; by default all with published scores."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Which methods to run."""
    num_optimizer_steps: int = 200
    """Training steps of the recurrent layers."""
    num_starts: int = 3
    """How many initial weights to try for the recurrent layers of each system."""


PRESETS = {
    "smoke": Config(preset="smoke", num_systems=2, num_optimizer_steps=20, num_starts=1),
    "quick": Config(),
    "paper": Config(preset="paper", pts_per_period=100),
}


class Published(NamedTuple):
    """Published scores.

    Args:
        systems: those with scores of all models.
        smape: of each model and system.
        valid_time: of each model and system, in points.
    """

    systems: list[str]
    smape: dict[str, dict[str, float]]
    valid_time: dict[str, dict[str, float]]


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    check_settings(config)
    check_names("method", config.methods, METHODS)
    config = with_data(config, "dysts", "experiments/chaos_zoo/README.md")
    zoo, published = _made(config) if config.data is None else _read(config, config.data)
    folder = open_folder(config, f"runs/chaos_zoo-{config.preset}", ("systems.png", "forecasts.png"))
    rows, forecasts = [], {}
    for name in (name for name in METHODS if name in config.methods):  # baselines first

        def compute(_: Path, name: str = name) -> dict[str, np.ndarray]:
            return score(METHODS[name], zoo, config)

        forecasts[name] = arrays = folder.stage(name, compute)
        rows.append(_row(name, arrays["smape"], arrays["valid_time"], zoo.horizon))
        console.print(f"{name.replace('_', ' ')}: {rows[-1]['smape_median']:.1f}", highlight=False)
    for model in published.smape:
        theirs = [np.asarray([table[model][system] for system in zoo.systems]) for table in published[1:]]
        rows.append(
            {
                "method": model,
                "horizon": zoo.horizon,
                "num_seeds": 0,
                "smape_median": None,
                "vpt_median": None,
                "published": float(np.median(theirs[0])),
                "published_vpt": float(np.median(theirs[1])),
            }
        )
    per_system = {
        name: dict(zip(zoo.systems, arrays["smape"].round(2).tolist(), strict=True))
        for name, arrays in forecasts.items()
    }
    folder.write_json("results.json", {"rows": rows, "num_systems": len(zoo.systems), "smape_per_system": per_system})
    folder.save_figure("systems.png", zoo_pictures.systems(forecasts, published.smape, zoo))
    folder.save_figure("forecasts.png", zoo_pictures.forecasts(forecasts, zoo))
    console.print(_table(rows, zoo))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def _row(name: str, errors: np.ndarray, valid_times: np.ndarray, horizon: int) -> dict[str, Any]:
    return {
        "method": name,
        "horizon": horizon,
        "num_seeds": 1,
        "smape_median": float(np.median(errors)),
        "smape_mean": float(np.mean(errors)),
        "vpt_median": float(np.median(valid_times)),
        "published": None,
    }


def _table(rows: list[dict[str, Any]], zoo: Zoo) -> Table:
    result = Table(
        title=f"Closed loop over {zoo.horizon} points, medians over {len(zoo.systems)} systems",
        box=box.SIMPLE,
        caption=(
            "\\[published]: from the authors' result files; "
            "valid: points until the error exceeds 0.4 standard deviations"
        ),
    )
    for name in ("method", "sMAPE", "valid"):
        result.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for row in rows:
        cells = (
            [f"{row['smape_median']:.1f}", f"{row['vpt_median']:.0f}"]
            if row["published"] is None
            else [f"\\[{row['published']:.1f}]", f"\\[{row['published_vpt']:.0f}]"]
        )
        result.add_row(row["method"].replace("_", " "), *cells)
    return result


def _read(config: Config, folder: Path) -> tuple[Zoo, Published]:
    published = _published(folder / "published_scores_univariate.csv.gz", config.pts_per_period)
    systems = published.systems[: config.num_systems]
    series = [_series(folder, part, config.pts_per_period, systems) for part in ("train", "test")]
    return Zoo(systems, *series), published


def _series(folder: Path, part: str, pts_per_period: int, systems: list[str]) -> Float[Array, "system time"]:
    file = folder / f"{part}_univariate__pts_per_period_{pts_per_period}__periods_12.json.gz"
    try:
        with gzip.open(file, "rt") as opened:
            record = json.load(opened)
        return jnp.asarray(np.stack([np.ravel(record[system]["values"]) for system in systems]))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{shown(file)} is missing or not the series of dysts ({shown(error)})") from None


def _published(file: Path, pts_per_period: int) -> Published:
    errors: dict[str, dict[str, float]] = {}
    valid: dict[str, dict[str, float]] = {}
    try:
        with gzip.open(file, "rt") as opened:
            for row in csv.DictReader(opened):
                if int(row["pts_per_period"]) == pts_per_period:
                    errors.setdefault(row["model"], {})[row["system"]] = float(row["smape"])
                    valid.setdefault(row["model"], {})[row["system"]] = float(row["vpt_points"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{shown(file)} is missing or no table of published scores ({shown(error)})") from None
    medians = sorted(errors, key=lambda model: float(np.median(list(errors[model].values()))))
    systems = sorted(set.intersection(*(set(by_system) for by_system in errors.values())))
    return Published(systems, {model: errors[model] for model in medians}, {model: valid[model] for model in medians})


def _made(config: Config) -> tuple[Zoo, Published]:
    """Simulates one or two Lorenz systems, to test the experiment itself."""
    rhos = (28.0, 35.0)[: config.num_systems]

    def first(rho: float, x: float) -> Array:
        system = jaxcast.Lorenz63(rho=rho)
        return jaxcast.simulate(system, [x, 1.0, 20.0], num_samples=180, dt=0.05, transient=5.0).states[:, 0]

    parts = [jnp.stack([first(rho, x) for rho in rhos]) for x in (1.0, 2.0)]
    return Zoo([f"rho = {rho:g}" for rho in rhos], *parts), Published([], {}, {})


if __name__ == "__main__":
    start(main, Config, PRESETS)
