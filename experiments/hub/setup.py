"""Settings and data of `experiments.hub`, and a small synthetic hub for the smoke preset."""

import dataclasses
import itertools
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

import jaxcast
from experiments.frame import Settings, with_data
from jaxcast.checks import check_names
from jaxcast.errors import InputError, shown
from jaxcast.hub.tables.file_groups import scan_file
from jaxcast.hub.tables.scan import collected
from jaxcast.hub.tables.target_data import target_files
from jaxcast.io.tables import polars

NINE = (
    "BPagano-RtDriven",
    "CU-select",
    "GT-DeepCOVID",
    "Karlen-pypm",
    "MOBS-GLEAM_COVID",
    "PSI-DRAFT",
    "RobertWalraven-ESG",
    "UCSD_NEU-DeepGLEAM",
    "USC-SI_kJalpha",
)
WEIGHT_DECAY = {"linear_regression": 0.0, "additive_attention": 1e-4, "multi_head_attention": 1e-5}
LABELS = {
    "equal_mean": "equal-weight mean",
    "equal_median": "equal-weight median",
    "trimmed_mean": "trimmed mean",
    "linear_opinion_pool": "linear opinion pool",
    "inverse_score": "inverse-score weights by location",
    "inverse_score_pooled": "inverse-score weights over all locations",
    "trained_average": "linear pool, trained weights",
    "adaptive_newest": "adaptive pool, following the newest values",
    "adaptive": "adaptive pool",
    "linear_regression": "linear regression",
    "additive_attention": "additive attention",
    "multi_head_attention": "multi-head attention",
}
# The 50 states, the District of Columbia and Puerto Rico, by FIPS code.
JURISDICTIONS = (*(f"{code:02d}" for code in range(1, 57) if code not in (3, 7, 14, 43, 52)), "72")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A hub whose data the experiment knows, and the settings that go with them.

    Args:
        folder: Name of the folder.
        models: Candidates; all where empty.
        exclude: Models that are not candidates.
        baseline: Forecaster that is scored beside.
        ensemble: The hub's own ensemble.
        truth_source: Source of the target data.
        locations: Locations; all where empty.
        windows: Windows to score.
        counted: What the target counts.
    """

    folder: str
    models: tuple[str, ...]
    exclude: tuple[str, ...]
    baseline: str
    ensemble: str | None
    truth_source: str | None
    locations: tuple[str, ...]
    windows: tuple[str, ...]
    counted: str


DATA_SETS = {
    "deaths": DataSet(
        folder="us-covid19-forecast-hub",
        models=NINE,
        exclude=(),
        baseline="COVIDhub-baseline",
        ensemble=None,
        truth_source="final",
        locations=(),
        windows=(
            "W1*:2020-11-07:2021-02-20",
            "W2:2021-06-05:2021-10-30",
            "W3:2021-12-18:2022-06-18",
            "W4:2022-07-09:2022-11-05",
        ),
        counted="deaths per week",
    ),
    "admissions": DataSet(
        folder="us-covid-admissions-hub",
        models=(),
        exclude=("CMU-climate_baseline",),
        baseline="CovidHub-baseline",
        ensemble="CovidHub-ensemble",
        truth_source=None,
        locations=JURISDICTIONS,
        windows=("V1:2024-11-01:2025-05-31", "V2:2025-06-01:2025-11-30", "V3:2025-12-01:2026-08-31"),
        counted="admissions per week",
    ),
}


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Pool the quantile forecasts of a hub, as the hub could have done it, and score the pools.

    Follows Patel and Wikner (2023), section 3.2, and goes beyond it. Presets: smoke, a small
    synthetic hub; quick, the first horizon without networks; paper, all horizons and, for deaths,
    the paper's networks.
    """

    hub: Literal["deaths", "admissions"] = "deaths"
    """Hub to read where no tables are given: deaths (US COVID-19 hub, final truth), or admissions
    (the CDC's COVID-19 hub, with every release of the truth). What is not given of models,
    baseline, ensemble, locations, windows and source is then as in README.md."""
    data: Path | None = None
    """Folder with forecasts.parquet, truth.parquet and, with releases, truth_vintages.parquet of
    that hub; experiments/hub/README.md says how to get it. By default the hub's folder in the one
    that JAXCAST_DATA names, or in shared/data beside the checkout."""
    forecasts: Path | None = None
    """Forecasts of another hub: a table, a legacy or a hubverse folder; give its --truth too."""
    truth: Path | None = None
    """Table of target data, for --forecasts. A column as_of makes it one of releases."""
    vintages: Path | None = None
    """Table of the releases of the target data (as_of, location, date or target_end_date, value or
    observation), where --truth has none."""
    truth_source: str | None = None
    """Text in the source column of the target data, where the table holds several sources."""
    target: str | None = None
    """Target to read, where the tables hold several."""
    models: tuple[str, ...] = ()
    """Names of the candidates; by default all of the hub's models."""
    exclude: tuple[str, ...] = ()
    """Names of models that are not candidates."""
    num_models: int | None = None
    """Instead of --models: the number of models, those with the most forecasts."""
    baseline: str | None = None
    """Forecaster of the hub to score beside the pools; not pooled."""
    ensemble: str | None = None
    """The hub's own ensemble, likewise; then only tasks that it forecast are scored."""
    locations: tuple[str, ...] = ()
    """Names of the locations; by default all."""
    horizons: Annotated[tuple[int, ...], tyro.conf.arg(aliases=["--horizon"])] = ()
    """Horizons in steps, as the tables count them; by default the first, with preset paper all."""
    first_horizon: int | None = None
    """Horizon of the first date after the newest target data; by default 0 where the tables hold a
    horizon 0, else 1."""
    step_days: int = 7
    """Days between two dates."""
    windows: tuple[str, ...] = ()
    """Windows to score, NAME:FIRST:LAST with both dates included; by default one of all dates."""
    leave_out_levels: tuple[float, ...] = (0.1, 0.9)
    """Levels of the hub that the paper's WIS does not use; every row is made with and without
    them."""
    lower: float | None = 0.0
    """The least value that the target can have; None for any."""
    blocked: tuple[str, ...] = ()
    """The paper's networks to train: linear_regression, additive_attention,
    multi_head_attention."""
    blocked_epochs: int = 10
    """Epochs of each training; the paper uses 200."""
    blocked_learning_rate: float = 2e-4
    """Adam's learning rate; the paper uses 1e-5."""
    blocked_hidden: int = 200
    """Hidden units of additive attention; the paper uses 1000. Each of 21 heads has a tenth of
    them."""
    blocked_batch_size: int = 64
    """Tasks in a minibatch."""
    num_optimizer_steps: int = 15
    """Optimizer steps of the trained weights before each forecast."""
    shown_location: str | None = None
    """Location of the pictures; by default the one with the largest total of the target."""
    counted: str = ""
    """What the target counts, for the pictures, where the tables name no target."""


PRESETS = {
    "smoke": Config(
        preset="smoke",
        counted="synthetic counts",
        num_models=4,
        baseline="baseline",
        windows=("A:2021-01-16:2021-02-27", "B:2021-03-20:2021-05-01"),
        blocked=("linear_regression", "additive_attention", "multi_head_attention"),
        blocked_epochs=2,
        blocked_hidden=20,
        blocked_batch_size=16,
        num_optimizer_steps=2,
    ),
    "quick": Config(),
    "paper": Config(
        preset="paper",
        blocked_epochs=200,
        blocked_learning_rate=1e-5,
        blocked_hidden=1000,
    ),
}


@dataclasses.dataclass(frozen=True)
class Window:
    """A named range of dates, both ends included.

    Args:
        name: Name of the window.
        first: First date, such as 2021-06-05.
        last: Last date.
    """

    name: str
    first: str
    last: str

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Reads a window from NAME:FIRST:LAST.

        Args:
            text: The text.

        Returns:
            The window.

        Raises:
            InputError: for another form.
        """
        parts = text.split(":")
        try:
            name, first, last = parts
            np.datetime64(first, "D"), np.datetime64(last, "D")
        except ValueError:
            raise InputError(
                f"expected a window as NAME:FIRST:LAST with dates like 2021-06-05, got {shown(repr(text))}"
            ) from None
        return cls(name, first, last)


def settled(config: Config) -> Config:
    """Fills in what goes with a known hub where its data are read and nothing else is given.

    Args:
        config: Settings.

    Returns:
        The settings.

    Raises:
        InputError: for names of models beside a number of them.
    """
    if config.models and config.num_models is not None:
        raise InputError(
            f"give --models or --num-models, not both, got {len(config.models)} names and {config.num_models}"
        )
    known = DATA_SETS[config.hub]
    if config.forecasts is None and config.truth is None and config.vintages is None:
        config = with_data(config, known.folder, "experiments/hub/README.md")
    if config.data is None:
        return config
    networks = tuple(WEIGHT_DECAY) if config.preset == "paper" and config.hub == "deaths" else ()
    return dataclasses.replace(
        config,
        models=config.models or (known.models if config.num_models is None else ()),
        exclude=config.exclude or known.exclude,
        baseline=config.baseline or known.baseline,
        ensemble=config.ensemble or known.ensemble,
        truth_source=config.truth_source or known.truth_source,
        locations=config.locations or known.locations,
        windows=config.windows or known.windows,
        blocked=config.blocked or networks,
        counted=config.counted or known.counted,
    )


def windows_of(config: Config, hub: jaxcast.hub.Hub) -> list[Window]:
    """Returns the windows to score.

    Args:
        config: Settings.
        hub: The hub.

    Raises:
        InputError: for a window that cannot be read, or without a date of the hub.
    """
    first, last = hub.dates[0], hub.dates[-1]
    windows = [Window.parse(text) for text in config.windows or (f"all:{first}:{last}",)]
    for window in windows:
        if not hub.weeks(window.first, window.last).any():
            raise InputError(f"no date of the hub lies in the window {shown(window.name)}; they are {first} to {last}")
    return windows


@dataclasses.dataclass(frozen=True)
class Tables:
    """The tables of a hub.

    Args:
        forecasts: Forecasts.
        truth: Target data.
        vintages: Releases of the target data.
    """

    forecasts: Path
    truth: Path
    vintages: Path | None = None


def default_folder(config: Config) -> str:
    """Returns the output folder of a run that names none: by the hub whose tables are read.

    Args:
        config: Settings, as `settled` returns them.
    """
    if config.forecasts is not None:
        return f"runs/hub-own-{config.preset}"
    return f"runs/hub-{config.preset}" if config.data is None else f"runs/hub-{config.hub}-{config.preset}"


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
        raise InputError(
            f"the baseline {shown(repr(missing[0]))} is not in the hub at horizon {hub.horizon}; its models are "
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


def write_synthetic_hub(folder: Path, *, seed: int = 0, num_weeks: int = 20, num_locations: int = 4) -> Tables:
    """Writes a hub of five models with different skills and gaps, as .csv tables of horizon 1.

    The newest value of each release is a tenth too low, and is corrected in the next.

    Args:
        folder: Folder of the tables.
        seed: Random seed.
        num_weeks: Number of weeks.
        num_locations: Number of locations.

    Returns:
        The tables of forecasts, target data and releases.
    """
    rng = np.random.default_rng(seed)
    levels = np.asarray([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
    normal = np.asarray([-1.96, -1.28, -0.67, 0.0, 0.67, 1.28, 1.96])
    dates = np.datetime64("2021-01-02") + 7 * np.arange(num_weeks)
    places = [f"{number:02d}" for number in range(1, num_locations + 1)]
    size = 20.0 * 3.0 ** np.arange(num_locations)[:, None]
    truth = size * (1.2 + np.sin(np.arange(num_weeks) / 4)) * rng.lognormal(0, 0.1, (num_locations, num_weeks))
    lines = ["model,location,target_end_date,horizon,quantile,value"]
    models = {"baseline": 0.6, "sharp": 0.1, "fair": 0.2, "wide": 0.3, "poor": 0.5}
    for model, error in models.items():
        centre = truth * rng.lognormal(0, error, truth.shape)
        for (i, place), (t, date) in itertools.product(enumerate(places), enumerate(dates)):
            if model != "baseline" and rng.random() < 0.1:
                continue
            values = np.maximum(centre[i, t] * (1 + 0.2 * normal), 0)
            lines += [
                f"{model},{place},{date},1,{level:g},{value:.3f}" for level, value in zip(levels, values, strict=True)
            ]
    folder.mkdir(parents=True, exist_ok=True)
    forecasts, truths = folder / "forecasts.csv", folder / "truth.csv"
    forecasts.write_text("\n".join(lines) + "\n")
    rows = [f"{place},{date},{truth[i, t]:.3f}" for i, place in enumerate(places) for t, date in enumerate(dates)]
    truths.write_text("\n".join(["location,date,value", *rows]) + "\n")
    releases = [
        f"{dates[t] + 1},{place},{dates[s]},{truth[i, s] * (0.9 if s == t else 1):.3f}"
        for t in range(num_weeks)
        for i, place in enumerate(places)
        for s in range(t + 1)
    ]
    vintages = folder / "vintages.csv"
    vintages.write_text("\n".join(["as_of,location,date,value", *releases]) + "\n")
    return Tables(forecasts, truths, vintages)
