"""`jaxcast panel importance`: what the forecasts of a network of panels depend on, and what it looks at."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcast.checks import check_seed, check_whole
from jaxcast.cli.command import make_console
from jaxcast.cli.figures import figure_of
from jaxcast.cli.panel.data import StoredPanelModel, columns_for, has_learned_from, load, read_data
from jaxcast.cli.series.importance import draw, table_of, write_importance
from jaxcast.errors import InputError, shown
from jaxcast.io.files import save_figure, write_arrays
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.plotting.importance import plot_attention_by_lag, plot_importance
from jaxcast.progress import announce, doing, note
from jaxcast.series.network_importance import panel_importance
from jaxcast.series.panel_models.held_out import held_out_windows
from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.panels.time_features import AGE
from jaxcast.series.panels.windows import PanelWindows
from jaxcast.series.probabilistic_networks.importance import (
    AttentionByLag,
    VariableImportance,
    attention_by_lag,
    variable_importance,
)
from jaxcast.series.probabilistic_networks.tft import TFT

MOST_WINDOWS = 256
"""Windows of which the loss is computed for every permutation."""


class Weights(NamedTuple):
    """What a temporal fusion transformer looks at.

    Args:
        variables: weights of its variables.
        attention: weights of lags.
    """

    variables: VariableImportance
    attention: AttentionByLag


@dataclasses.dataclass(frozen=True)
class PanelImportance:
    """Measure which lags, covariates and categories a network of panels depends on.

    Each is permuted among the last windows of the series; its importance is by how much the loss of
    the network rises. Inputs that tell the same share their importance. A tft also tells what it
    looks at: the weights of its variables, and of its attention.

    Example: jaxcast panel importance --model model --data newer.parquet --out importance.csv --plot
    importance.png
    """

    model: Path
    """Folder that `jaxcast panel train` wrote, with a network."""
    data: Path
    """Data with the columns that were trained on, and with observed values."""
    out: Path
    """File (.csv) for the importance of each input: kind, input, mean, spread."""
    windows: int = 1
    """Last windows of each series that count; of many, 256 drawn at random."""
    num_repeats: int = 5
    """Permutations of each input."""
    plot: Path | None = None
    """Picture (.png) of the largest ones of each kind."""
    weights: Path | None = None
    """File (.npz) for the weights of a tft: of each variable, and of each lag in its attention."""
    plot_weights: Path | None = None
    """Picture (.png) of these weights."""
    seed: int = 0
    """Random seed of the permutations."""
    overwrite: bool = False
    """Replace the files of --out, --weights and the pictures, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        check_whole("windows", self.windows)
        check_whole("num_repeats", self.num_repeats)
        check_seed(self.seed)
        with Outputs(
            vars(self),
            {
                "--out": (self.out, (".csv",)),
                "--plot": (self.plot, PICTURE),
                "--weights": (self.weights, (".npz",)),
                "--plot-weights": (self.plot_weights, PICTURE),
            },
            inputs={"--model": self.model, "--data": self.data},
            overwrite=self.overwrite,
        ):
            self.measure()

    def measure(self) -> None:
        """Measures the importance, writes it and prints the largest."""
        stored = load(self.model)
        model = stored.model
        if not isinstance(model, PanelModel):
            raise InputError(f"{shown(self.model)} holds a regression, which sees lags alone; train a network")
        told = self.weights is not None or self.plot_weights is not None
        if told and not isinstance(model.network, TFT):
            raise InputError(f"--weights and --plot-weights are those of a tft, and the model is {stored.method}")
        windows, names = self.held_out(stored, model), names_of(model)
        doing("permuting inputs")
        found = panel_importance(model.network, windows, **names, num_repeats=self.num_repeats, seed=self.seed)
        write_importance(self.out, found, overwrite=self.overwrite)
        unit = "in units of a window's scale" if model.network.head_name == "quantiles" else "of log likelihood"
        make_console().print(table_of(found, stored.method, unit))
        announce(f"{self.out}: importance of {len(found.names)} inputs of {stored.method}")
        if self.plot is not None:
            draw(self.plot, found, stored.method)
        if told and isinstance(model.network, TFT):
            own = model.network.variable_names(**names)
            weights = Weights(
                variable_importance(model.network, windows, names=own), attention_by_lag(model.network, windows)
            )
            self.tell(weights, stored)

    def held_out(self, stored: StoredPanelModel, model: PanelModel) -> PanelWindows:
        """Returns the last windows of the series whose history and targets are known in part."""
        what = str(shown(self.data))
        panel = read_data(self.data, columns_for(self.data, stored), stored.covariates(), stream=False)
        panel = model.arranged(panel, what)
        _, (series, newest) = held_out_windows(panel, model.sizes.num_leads, self.windows)
        if len(series) > MOST_WINDOWS:
            some = np.sort(np.random.default_rng(self.seed).choice(len(series), MOST_WINDOWS, replace=False))
            series, newest = series[some], newest[some]
        if has_learned_from(stored, panel.calendar, panel.starts[series] + newest):
            note("the model may have learned from these windows, in which useless inputs can seem to matter")
        windows = model.windows(panel, series, newest)
        kept = np.isfinite(windows.history).any(1) & (np.asarray(windows.weights) > 0).any(1)
        return PanelWindows._make(np.asarray(array)[kept] for array in windows)

    def tell(self, weights: Weights, stored: StoredPanelModel) -> None:
        """Writes and draws the weights of a tft."""
        kinds = weights.variables.names._asdict()
        if self.weights is not None:
            arrays: dict[str, Any] = {"lags": weights.attention.lags, "attention": weights.attention.weights.mean}
            for kind, names in kinds.items():
                arrays |= {f"{kind}_names": np.asarray(names), kind: weights.variables._asdict()[kind].mean}
            write_arrays(self.weights, arrays)
        if self.plot_weights is None:
            return
        figure = figure_of(width=13.0, height=7.0)
        grid = figure.add_gridspec(2, len(kinds))
        for column, (kind, names) in enumerate(kinds.items()):
            ax = plot_importance(
                figure.add_subplot(grid[0, column]), names, *weights.variables._asdict()[kind], label="weight"
            )
            ax.set_title(f"{kind} variables", fontsize=10)
        ax = figure.add_subplot(grid[1, :])
        season = stored.season if stored.season > 1 else None
        plot_attention_by_lag(ax, weights.attention.lags, *weights.attention.weights, season=season)
        figure.suptitle(f"What {stored.method} looks at: its variables, and the steps before a forecast", fontsize=10)
        save_figure(self.plot_weights, figure)


def names_of(model: PanelModel) -> dict[str, Any]:
    """Returns the names of what a model sees besides the values.

    Args:
        model: of panels.
    """
    parts = [
        (name,) if name == AGE or not model.cyclic else (f"sin {name}", f"cos {name}") for name in model.time_features
    ]
    return {
        "past": model.past_covariates,
        "known": (*(name for part in parts for name in part), *model.future_covariates),
        "static": model.static_covariates,
        "categories": model.category_names,
    }
