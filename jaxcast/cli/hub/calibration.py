"""Tables and pictures of calibration of `jaxcast hub score`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxcast.cli.figures import figure_of
from jaxcast.cli.hub.output import over_horizons
from jaxcast.errors import InputError
from jaxcast.hub.arrays import Hub
from jaxcast.hub.calibration import score_calibration, tabulate_coverage
from jaxcast.io.run_folder import RunFolder
from jaxcast.io.tables import polars
from jaxcast.scores.pit import pit_histogram

FILES = (
    "calibration.csv",
    "quantile_coverage.csv",
    "pit.csv",
    "pit.png",
    "quantile_coverage.png",
    "coverage_by_horizon.png",
)
MOST_PANELS = 20
PIT_BINS = 10
COLUMNS = 5
INTERVALS = ("coverage50", "coverage90", "coverage95")


def write_calibration(folder: RunFolder, hubs: Sequence[Hub], models: Sequence[str]) -> None:
    """Writes the calibration of a hub's models: tables of all horizons, and pictures.

    Pictures of the PIT and of quantiles are of all horizons together; where there are several, one
    shows the coverage by horizon. They are left out where matplotlib is not installed.

    Args:
        folder: Folder of the command.
        hubs: The hub at each horizon.
        models: Names of the models, in the order of the pictures.
    """
    pl = polars()
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    bins: list[dict[str, Any]] = []
    for hub in hubs:
        at = {"horizon": hub.horizon}
        forecasts = {name: hub.quantiles[:, :, i] for i, name in enumerate(hub.models)}
        rows += [at | row for row in score_calibration(forecasts, hub.truth, hub.levels)]
        curves += [at | row for row in tabulate_coverage(forecasts, hub.truth, hub.levels)]
        bins += [at | row for row in _bins(forecasts, hub.truth, hub.levels)]
    for name, table in (("calibration", rows), ("quantile_coverage", curves), ("pit", bins)):
        frame = pl.DataFrame(table, infer_schema_length=None)
        folder.write_text(f"{name}.csv", frame.rename({"method": "model"} if table else {}).write_csv())
    forecasts, truth = _together(hubs, models)
    _draw_pit(folder, hubs, forecasts, truth)
    _draw_quantiles(folder, hubs, forecasts, truth)
    if len(hubs) > 1:
        _draw_horizons(folder, hubs, rows, models)


def _together(hubs: Sequence[Hub], models: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Puts the horizons below each other, as if they were locations, so that target dates agree.

    Returns:
        Quantiles (location and horizon, time, quantile) of each model, and the truth.
    """
    dates = np.unique(np.concatenate([hub.dates for hub in hubs]))
    size = sum(len(hub.locations) for hub in hubs)
    truth = np.full((size, len(dates)), np.nan)
    forecasts = {name: np.full((size, len(dates), len(hubs[0].levels)), np.nan) for name in models}
    begin = 0
    for hub in hubs:
        at = np.ix_(np.arange(begin, begin + len(hub.locations)), np.searchsorted(dates, hub.dates))
        truth[at] = hub.truth
        for i, name in enumerate(hub.models):
            forecasts[name][at] = hub.quantiles[:, :, i]
        begin += len(hub.locations)
    return forecasts, truth


def _bins(
    forecasts: dict[str, np.ndarray], truth: np.ndarray, levels: np.ndarray, num_bins: int | None = None
) -> list[dict[str, Any]]:
    """Returns the bins of the PIT histogram of each model that has a task."""
    rows = []
    for name, values in forecasts.items():
        if np.isnan(values + truth[..., None]).any(-1).all():
            continue
        histogram = pit_histogram(values, truth, levels, num_bins=num_bins)
        edges = np.asarray(histogram.edges)
        for low, high, density in zip(edges[:-1], edges[1:], np.asarray(histogram.density), strict=True):
            rows.append({"method": name, "low": float(low), "high": float(high), "density": float(density)})
    return rows


def _draw_pit(folder: RunFolder, hubs: Sequence[Hub], forecasts: dict[str, np.ndarray], truth: np.ndarray) -> None:
    """Draws ten bins: those between the levels differ in width, and the outermost in height."""
    from jaxcast.plotting.calibration import plot_pit_histogram

    rows = _bins(forecasts, truth, hubs[0].levels, PIT_BINS)
    highest = max((row["density"] for row in rows), default=1.0)

    def draw(ax: Any, found: list[dict[str, Any]]) -> None:
        edges = np.asarray([found[0]["low"], *(row["high"] for row in found)])
        plot_pit_histogram(ax, edges, np.asarray([row["density"] for row in found]))
        ax.set_ylim(0, max(2.0, 1.05 * highest))

    title = f"PIT {over_horizons(hubs)}: flat where forecasts are calibrated"
    _draw_panels(folder, "pit.png", title, _by_model(rows, list(forecasts)), draw)


def _draw_quantiles(
    folder: RunFolder, hubs: Sequence[Hub], forecasts: dict[str, np.ndarray], truth: np.ndarray
) -> None:
    from jaxcast.plotting.calibration import plot_quantile_coverage

    def draw(ax: Any, found: list[dict[str, Any]]) -> None:
        column = {name: np.asarray([row[name] for row in found]) for name in found[0] if name != "method"}
        ends = (column["low"], column["high"])
        plot_quantile_coverage(ax, column["level"], column["share"], interval=ends)

    title = f"Share of truths at or below each quantile {over_horizons(hubs)}, with its 90 % interval over weeks"
    rows = tabulate_coverage(forecasts, truth, hubs[0].levels)
    _draw_panels(folder, "quantile_coverage.png", title, _by_model(rows, list(forecasts)), draw)


def _draw_horizons(folder: RunFolder, hubs: Sequence[Hub], rows: list[dict[str, Any]], models: Sequence[str]) -> None:
    from jaxcast.plotting.calibration import plot_coverage_by_horizon

    horizons = [hub.horizon for hub in hubs]

    def draw(ax: Any, found: list[dict[str, Any]]) -> None:
        of_horizon = {row["horizon"]: row for row in found}
        named = [name for name in INTERVALS if name in found[0]]
        values = {name: [of_horizon.get(horizon, {}).get(name) for horizon in horizons] for name in named}
        missing = {name: [np.nan if each is None else each for each in column] for name, column in values.items()}
        plot_coverage_by_horizon(ax, horizons, {float(name[8:]) / 100: column for name, column in missing.items()})

    title = "Coverage of central intervals by horizon; dashed: nominal"
    _draw_panels(folder, "coverage_by_horizon.png", title, _by_model(rows, models), draw)


def _by_model(rows: list[dict[str, Any]], models: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of each model that has any, in the order of the models."""
    of_models = {name: [row for row in rows if row["method"] == name] for name in models}
    return {name: found for name, found in of_models.items() if found}


def _draw_panels(
    folder: RunFolder,
    name: str,
    title: str,
    panels: dict[str, list[dict[str, Any]]],
    draw: Callable[[Any, list[dict[str, Any]]], None],
) -> None:
    """Draws a panel for each model, where matplotlib is installed."""
    from jaxcast.plotting.trajectories import label_of

    shown = list(panels)[:MOST_PANELS]
    num_columns = min(COLUMNS, len(shown))
    if not shown:
        return
    num_rows = -(-len(shown) // num_columns)
    try:
        figure = figure_of(width=max(5.0, 2.5 * num_columns), height=0.6 + 2.4 * num_rows)
    except InputError:
        return
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    for i, ax in enumerate(axes.ravel()):
        if i >= len(shown):
            ax.set_visible(False)
            continue
        draw(ax, panels[shown[i]])
        ax.set_title(label_of(shown[i], 30), fontsize=8)
        ax.tick_params(labelsize=7)
        if i != min(num_columns, len(shown)) - 1 and ax.get_legend() is not None:
            ax.get_legend().remove()  # one is enough, at the right
        if i % num_columns:
            ax.set_ylabel("")
        if i + num_columns < len(shown):
            ax.set_xlabel("")
    left_out = len(panels) - len(shown)
    figure.suptitle(title + (f" (the best {len(shown)} of {len(panels)} models)" if left_out else ""), fontsize=11)
    folder.save_figure(name, figure)
