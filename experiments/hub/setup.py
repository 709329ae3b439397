"""Settings of `experiments.hub`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

import jaxcast
from experiments.frame import Settings, with_data
from experiments.hub.data_sets import DATA_SETS, SYNTHETIC, WEIGHT_DECAY
from jaxcast.errors import InputError, shown


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Pool the quantile forecasts of a hub, as the hub could have done it, and score the pools.

    Follows Patel and Wikner (2023), section 3.2, and goes beyond it. Presets: smoke, a small
    synthetic hub where no tables are given; quick, the first horizon without networks; paper, all
    horizons and, for deaths, the paper's networks.
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
    """The least value that the target can have; None for any. It is dropped where forecasts are below
    it."""
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
    has_own = any(path is not None for path in (config.forecasts, config.truth, config.vintages))
    if not has_own:
        config = with_data(config, known.folder, "experiments/hub/README.md")
    if config.data is None:
        if has_own:
            return config
        known = SYNTHETIC
    is_of_paper = config.preset == "paper" and config.hub == "deaths"
    networks = tuple(WEIGHT_DECAY) if config.data is None or is_of_paper else ()
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
