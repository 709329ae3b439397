"""Reads the tables of `experiments.hub`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import jaxcast
from experiments.hub.setup import Config, Tables
from experiments.hub.synthetic import write_synthetic_hub
from jaxcast.checks import check_names
from jaxcast.errors import InputError, shown
from jaxcast.hub.tables.file_groups import scan_file
from jaxcast.hub.tables.scan import collected
from jaxcast.hub.tables.target_data import target_files
from jaxcast.io.tables import polars

SHARE_BELOW = 0.01
"""Share of the forecasts that may be below the least value by mistake."""


def tables_of(config: Config, folder: Path) -> Tables:
    """Returns the tables of forecasts and target data.

    Args:
        config: Settings.
        folder: Folder in which the smoke preset writes its synthetic hub.

    Raises:
        InputError: where there are no data, or only one of the two paths is given.
    """
    if (config.forecasts is None) != (config.truth is None):
        raise InputError("give both --forecasts and --truth, or neither")
    if config.forecasts is not None and config.truth is not None:
        if config.data is not None:
            raise InputError("give --data, or --forecasts and --truth, not both")
        return Tables(config.forecasts, config.truth, config.vintages)
    if config.vintages is not None:
        raise InputError("--vintages goes with --forecasts and --truth; give all three")
    if config.data is None:
        return write_synthetic_hub(folder, seed=config.seed)
    found = Tables(config.data / "forecasts.parquet", config.data / "truth.parquet")
    if not found.forecasts.exists() or not found.truth.exists():
        raise InputError(
            f"{config.data} does not hold forecasts.parquet and truth.parquet; see experiments/hub/README.md"
        )
    vintages = config.data / "truth_vintages.parquet"
    return dataclasses.replace(found, vintages=vintages) if vintages.exists() else found


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A hub at one horizon: its candidates, and what is scored beside them.

    Args:
        hub: The candidates.
        beside: Baseline and ensemble of the hub (location, time, quantile), by name.
        is_task: Whether a task is scored: some candidate forecast it, and the hub's ensemble if one
            is named (location, time).
    """

    hub: jaxcast.hub.Hub
    beside: dict[str, np.ndarray]
    is_task: np.ndarray


def load(config: Config, tables: Tables) -> dict[int, Loaded]:
    """Loads the candidates, and what is scored beside them on the same grid.

    Args:
        config: Settings.
        tables: Tables of forecasts and target data.

    Returns:
        The hub at each horizon.

    Raises:
        InputError: for names that the hub does not have.
    """
    beside = tuple(name for name in (config.baseline, config.ensemble) if name is not None)
    hubs = jaxcast.hub.load_hubs(
        tables.forecasts,
        tables.truth,
        vintages=tables.vintages,
        horizons=config.horizons or None,
        first_horizon=config.first_horizon,
        target=config.target,
        models=(*config.models, *(name for name in beside if name not in config.models)) if config.models else None,
        exclude=config.exclude,
        locations=config.locations or None,
        truth_source=config.truth_source,
        step_days=config.step_days,
        bad="drop" if config.forecasts is not None else "raise",
    )
    if not config.horizons and config.preset != "paper":
        hubs = {min(hubs): hubs[min(hubs)]}
    return {horizon: _loaded(config, hub, beside) for horizon, hub in hubs.items()}


def _loaded(config: Config, hub: jaxcast.hub.Hub, beside: tuple[str, ...]) -> Loaded:
    if missing := [name for name in beside if name not in hub.models]:
        kind = "baseline" if missing[0] == config.baseline else "ensemble"
        raise InputError(
            f"the {kind} {shown(repr(missing[0]))} is not in the hub at horizon {hub.horizon}; its models are "
            f"{shown(', '.join(hub.models))}"
        )
    if config.shown_location is not None:
        check_names("location", [config.shown_location], hub.locations)
    others = [name for name in config.models or hub.models if name not in beside and name in hub.models]
    if not config.models and config.num_models is not None:
        counts = {name: int(hub.present[..., hub.models.index(name)].sum()) for name in others}
        kept = sorted(others, key=lambda name: -counts[name])[: config.num_models]
        others = [name for name in others if name in kept]
    candidates = hub.only(others)
    forecasts = {name: hub.quantiles[:, :, hub.models.index(name)] for name in beside}
    is_task = np.asarray(candidates.present.any(-1))
    if config.ensemble is not None:
        is_task &= ~np.isnan(forecasts[config.ensemble]).any(-1)
    return Loaded(candidates, forecasts, is_task)


def bounded(config: Config, hubs: Mapping[int, Loaded]) -> Config:
    """Drops the least value of the target where forecasts show that it has none.

    Args:
        config: Settings.
        hubs: The hub at each horizon.

    Returns:
        The settings, with `lower` None where more than a hundredth of the lowest quantiles are below.
    """
    lowest = np.concatenate([loaded.hub.quantiles[loaded.hub.present, 0] for loaded in hubs.values()])
    is_bound = config.lower is None or np.mean(lowest < config.lower) <= SHARE_BELOW
    return config if is_bound else dataclasses.replace(config, lower=None)


def names_of_locations(truth: Path) -> dict[str, str]:
    """Reads the name of each location, where the target data have a column location_name.

    Args:
        truth: Table of target data, or a folder of such tables.

    Returns:
        Names by location.
    """
    pl, names = polars(), dict[str, str]()
    for file, keys in target_files(truth):
        frame = scan_file(file).with_columns(pl.lit(value).alias(name) for name, value in keys.items())
        if {"location", "location_name"} <= set(frame.collect_schema()):
            rows = frame.select(pl.col("location", "location_name").cast(pl.String)).drop_nulls().unique()
            names |= dict(collected(rows, file).iter_rows())
    return names
