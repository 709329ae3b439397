"""Forecasts of weekly influenza in US states and regions, in one published protocol."""

import dataclasses
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Group

from experiments import rows
from experiments.datasets import Folder, read_folder
from experiments.frame import Settings, check_settings, open_folder, start, with_data
from experiments.regions import pictures as regions_pictures
from experiments.regions.averages import METHODS
from experiments.regions.methods import Parts, Setup, score
from experiments.regions.networks import NETWORKS
from jaxcast import InputError
from jaxcast.checks import check_names
from jaxcast.cli.command import make_console
from jaxcast.training import TrainingOptions

TRAINING = TrainingOptions(
    num_epochs=40, batch_size=16, learning_rate=3e-3, schedule="cosine", weight_decay=1e-2, clip_norm=1.0
)


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Forecast every series of a folder with naive, linear, kernel and recurrent methods, and compare their errors at
    each horizon with published ones. Presets: smoke, generated series; quick, two horizons, one
    seed; paper, all horizons, five seeds."""

    data: Path | None = None
    """Folder with one file of series (time x region, comma separated) and optionally an adjacency
    (*adj*.txt). By default ili_us_regions in the folder that JAXCAST_DATA names, or in shared/data
    beside the checkout."""
    leads: tuple[int, ...] = (3, 10)
    """Steps ahead that are forecast."""
    history_size: int = 20
    """Steps of history."""
    season: int = 52
    """Steps of a season, for the methods that see the values one season before the targets."""
    season_length: float = 52.1775
    """Exact length of a season, for the methods that see at which part of it a window ends."""
    split: tuple[float, float] = (0.5, 0.7)
    """Shares of the rows after which the validation and the test part begin."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods to run."""
    num_settings: int = 8
    """Kinds of inputs of kernel ridge regressions; each is tried with two kernels and every
    penalty."""
    num_cosines: int = 200
    """Random features of each kernel ridge regression."""
    num_nodes: int = 100
    """Nodes of the reservoir."""
    training: TrainingOptions = TRAINING
    """Training of the recurrent networks, which keep their best epoch on the validation part. Every
    method that draws random numbers is repeated for each seed; the table shows medians."""
    patience: int = 12
    """Epochs without a better one after which a network stops."""
    level: Literal["series", "window"] = "series"
    """Unit in which networks see a series: its standard deviation, or its mean in the window."""
    hidden_size: int = 16
    """Hidden units of the recurrent networks."""
    networks: tuple[str, ...] = tuple(NETWORKS)
    """Networks that take part in averages."""
    kind: Literal["lstm", "gru", "rnn"] = "lstm"
    """Cell of the recurrent networks."""


PRESETS = {
    "smoke": Config(
        preset="smoke",
        leads=(2, 5),
        history_size=6,
        season=12,
        num_settings=2,
        num_cosines=20,
        num_nodes=10,
        training=dataclasses.replace(TRAINING, num_epochs=2),
        hidden_size=4,
        # Compiling a network takes longer than all else.
        methods=tuple(name for name in METHODS if name not in NETWORKS or name == "attention_network"),
        networks=("attention_network",),
    ),
    "quick": Config(),
    "paper": Config(preset="paper", leads=(3, 5, 10, 15), training=dataclasses.replace(TRAINING, num_seeds=5)),
}

# RMSE by horizon; the SOURCE.md of each data set says where they were read.
PUBLISHED = {
    "ili_us_states": {
        "EpiGNN": {3: 160, 5: 186, 10: 220, 15: 236},
        "Cola-GNN": {3: 167, 5: 202, 10: 241, 15: 237},
        "ST-GCN": {3: 209, 5: 256, 10: 289, 15: 292},
    },
    "ili_us_regions": {
        "EpiGNN": {3: 589, 5: 774, 10: 984, 15: 1061},
        "Cola-GNN": {3: 636, 5: 855, 10: 1134, 15: 1203},
        "ST-GCN": {3: 807, 5: 1038, 10: 1290, 15: 1286},
    },
}


def main(config: Config) -> None:
    """Runs the experiment."""
    began = time.perf_counter()
    console = make_console()
    check_settings(config, may_be_zero=("warmup_steps", "weight_decay"))
    if not config.split[0] < config.split[1] < 1:
        raise InputError(f"split must be two rising shares below 1, got {config.split}")
    check_names("method", config.methods, METHODS)
    check_names("network", config.networks, NETWORKS)
    config = with_data(config, "ili_us_regions", "experiments/regions/README.md")
    data = _made(config) if config.data is None else read_folder(config.data)
    setup = Setup.of(data, config)
    folder = open_folder(
        config,
        f"runs/regions-{data.name}-{config.preset}",
        ("horizons.png", "forecasts.png", "region_map.png"),
        leave_out=("out", "overwrite", "data", "methods"),
    )
    results, forecasts, learned = [], {}, {}
    for name in (name for name in METHODS if name in config.methods):  # naive ones first
        method = METHODS[name]

        def compute(_: Path, method: Any = method) -> dict[str, np.ndarray]:
            return score(method, setup)

        arrays = folder.stage(name, compute)
        console.print(f"{name.replace('_', ' ')}: {np.round(np.median(arrays['rmse'], 0), 1)}", highlight=False)
        results += rows.make_rows(name, config.leads, arrays, sees=method.sees(config))
        forecasts[name] = arrays
        if "region_map" in arrays:
            learned[name] = arrays["region_map"]
    for name, by_lead in PUBLISHED.get(data.name, {}).items():
        results += rows.published_rows(name, {lead: by_lead[lead] for lead in config.leads if lead in by_lead})
    maps = {name: np.round(weights, 4).tolist() for name, weights in learned.items()}
    written = {
        "rows": results,
        "errors": _where_errors_sit(forecasts, setup),
        "training": _trained(forecasts),
        "network_shares": {
            name: np.round(arrays["network_shares"], 3).tolist()
            for name, arrays in forecasts.items()
            if "network_shares" in arrays
        },
        "region_maps": maps,
    }
    folder.write_json("results.json", written)
    folder.save_figure("horizons.png", regions_pictures.horizons(results, data.name))
    folder.save_figure("forecasts.png", regions_pictures.forecasts(forecasts, setup))
    for name, weights in learned.items():
        folder.save_figure("region_map.png", regions_pictures.region_map(weights, name, data))
    console.print(Group(rows.table(results, f"RMSE on the test part of {data.name}", ".4g")))
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


def _made(config: Config) -> Folder:
    """Makes three noisy seasonal series, for tests of the experiment itself."""
    rng = np.random.default_rng(config.seed)
    phase = 2 * np.pi * np.arange(150)[:, None] / config.season + np.asarray([0.0, 0.3, 0.6])
    return Folder("made", np.exp(np.sin(phase) + 0.1 * rng.normal(size=phase.shape)), None)


def _trained(forecasts: dict[str, Any]) -> dict[str, Any]:
    """Returns the best epoch of each network and seed, from 1, and its losses on both parts."""
    found = {}
    for name, arrays in forecasts.items():
        if "validation_losses" not in arrays:
            continue
        best = np.nanargmin(arrays["validation_losses"], 1)
        of_best = {at: np.take_along_axis(arrays[at], best[:, None], 1)[:, 0] for at in ("losses", "validation_losses")}
        found[name] = {"epoch": (best + 1).tolist()} | {at: np.round(loss, 4).tolist() for at, loss in of_best.items()}
    return found


def _where_errors_sit(forecasts: dict[str, Any], setup: Setup) -> dict[str, Any]:
    """Returns the regions and rows with the largest shares of each method's squared error."""
    parts: Parts = setup.parts
    shares = {}
    for name, arrays in forecasts.items():
        squares = np.where(parts.test.weights > 0, arrays["forecast"] - parts.test.targets, 0) ** 2
        by_lead = {}
        for k, lead in enumerate(setup.config.leads):
            total = squares[:, k].sum()
            regions, weeks = (squares[:, k].sum(axis) / total for axis in (0, 1))
            worst_regions, worst_weeks = np.argsort(-regions)[:3], np.argsort(-weeks)[:5]
            by_lead[str(lead)] = {
                "regions": {str(r): round(float(regions[r]), 3) for r in worst_regions},
                "rows": {str(int(parts.test.rows[w, k])): round(float(weeks[w]), 3) for w in worst_weeks},
            }
        shares[name] = by_lead
    return shares


if __name__ == "__main__":
    start(main, Config, PRESETS)
