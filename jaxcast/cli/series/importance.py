"""`jaxcast series importance`: what the forecasts of a saved forecaster depend on."""

import csv
import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
from rich import box
from rich.table import Table

from jaxcast.checks import check_whole
from jaxcast.cli.command import check_numbers, make_console
from jaxcast.cli.figures import figure_of
from jaxcast.cli.series.output import load
from jaxcast.errors import shown
from jaxcast.io.files import save_figure, whole_file
from jaxcast.io.outputs import PICTURE, Outputs
from jaxcast.io.ownership import IMPORTANCE_HEADER, refuse_replacing
from jaxcast.plotting.importance import plot_importance
from jaxcast.progress import announce, doing
from jaxcast.series.input_importance import Importance, series_importance

MOST_PRINTED = 12
TITLES = {
    "lag": "lags",
    "series": "series",
    "covariate": "covariates",
    "past": "past covariates",
    "known": "known in advance",
    "static": "static covariates",
    "category": "categories",
}


@dataclasses.dataclass(frozen=True)
class SeriesImportance:
    """Measure which lags, series and covariates a saved forecaster depends on.

    Each is permuted among the held-out windows of the table, in blocks; its importance is by how
    much the loss rises, in standard deviations of each series. The loss is the mean pinball loss of
    all levels. Inputs that tell the same share their importance.

    Example: jaxcast series importance --model model --data newer.csv --out importance.csv --plot
    importance.png
    """

    model: Path
    """Folder that `jaxcast series train` wrote."""
    data: Path
    """Table with the observed values, and with the columns of the table that was trained on."""
    out: Path
    """File (.csv) for the importance of each input: kind, input, mean, spread."""
    since: str | None = None
    """First target date that counts; by default the first that the forecaster has not learned
    from."""
    num_repeats: int = 5
    """Permutations of each input."""
    block_size: int | None = None
    """Consecutive windows that stay together; by default as many as a history has steps, but at most
    an eighth of the windows."""
    plot: Path | None = None
    """Picture (.png) of the largest ones of each kind."""
    seed: int = 0
    """Random seed of the permutations."""
    overwrite: bool = False
    """Replace the file of --out and the picture, if jaxcast wrote them."""

    def run(self) -> None:
        """Runs the command."""
        check_numbers(self)
        check_whole("num_repeats", self.num_repeats)
        with Outputs(
            vars(self),
            {"--out": (self.out, (".csv",)), "--plot": (self.plot, PICTURE)},
            inputs={"--model": self.model, "--data": self.data},
            overwrite=self.overwrite,
        ):
            if self.plot is not None:
                figure_of()
            self.measure()

    def measure(self) -> None:
        """Measures the importance, writes it and prints the largest."""
        model, table, *_ = load(self.model, self.data)
        doing("permuting inputs")
        found = series_importance(
            model,
            table,
            since=self.since,
            num_repeats=self.num_repeats,
            block_size=self.block_size,
            seed=self.seed,
            what=str(shown(self.data)),
        )
        write_importance(self.out, found, overwrite=self.overwrite)
        make_console().print(table_of(found, model.method, "in standard deviations of each series"))
        announce(f"{self.out}: importance of {len(found.names)} inputs of {model.method}")
        if self.plot is not None:
            draw(self.plot, found, model.method)


def write_importance(path: Path, found: Importance, *, overwrite: bool) -> None:
    """Writes the importance of all inputs as a table.

    Args:
        path: a .csv.
        found: of all inputs.
        overwrite: whether a file that jaxcast wrote may be replaced.
    """
    check = partial(refuse_replacing, path, overwrite=overwrite)
    with whole_file(path, check) as growing, growing.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(IMPORTANCE_HEADER)
        for kind, name, mean, spread in zip(*found[:4], strict=True):
            rows.writerow([kind, name, f"{mean:.9g}", f"{spread:.9g}"])


def table_of(found: Importance, method: str, unit: str) -> Table:
    """Returns a table of the largest importances.

    Args:
        found: of all inputs.
        method: of the forecaster.
        unit: of the loss, in words.
    """
    table = Table(
        title=f"What {method} depends on: the loss, {found.loss:.4f}, rises when an input is permuted",
        caption=f"{unit}; lags are steps back from the newest value, 0",
        box=box.SIMPLE,
    )
    for head in ("kind", "input", "mean", "spread"):
        table.add_column(head, justify="left" if head in ("kind", "input") else "right", no_wrap=True)
    for n in np.argsort(-found.mean, kind="stable")[:MOST_PRINTED]:
        table.add_row(found.kinds[n], shown(found.names[n]), f"{found.mean[n]:.4f}", f"{found.spread[n]:.4f}")
    return table


def draw(path: Path, found: Importance, method: str) -> None:
    """Draws the importance of each kind side by side.

    Args:
        path: a .png.
        found: of all inputs.
        method: of the forecaster.
    """
    kinds = list(dict.fromkeys(found.kinds))
    figure = figure_of(width=4.2 * len(kinds) + 0.5, height=5.0)
    for ax, kind in zip(np.atleast_1d(figure.subplots(1, len(kinds))), kinds, strict=True):
        index = [n for n, other in enumerate(found.kinds) if other == kind]
        names = [found.names[n] for n in index]
        plot_importance(ax, names, found.mean[index], found.spread[index], ordered=kind != "lag")
        ax.set_title(TITLES[kind], fontsize=10)
    figure.suptitle(f"Rise of the loss of {method} when an input is permuted", fontsize=10)
    save_figure(path, figure)
