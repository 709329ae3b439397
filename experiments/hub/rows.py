"""Scores of `experiments.hub`: rows, paired tests, and the printed table."""

from typing import Any

import numpy as np
from rich import box
from rich.table import Table

import jaxcast
from experiments.hub.data_sets import DATA_SETS
from experiments.hub.methods import BEST, EQUAL, MEDIAN, RIVALS
from experiments.hub.setup import Config, Window

# Mean WIS of K = 10 in the paper's table 1, on the paper's states, models and first window.
PUBLISHED = {
    "hub ensemble": (35.12, 22.13, 32.86, 12.60),
    "linear_regression": (35.75, 20.42, 35.98, 13.80),
    "additive_attention": (38.27, 20.72, 35.51, 12.92),
    "multi_head_attention": (36.88, 20.86, 34.74, 12.94),
}


def score(
    forecasts: dict[str, np.ndarray],
    reference: dict[str, np.ndarray],
    hub: jaxcast.hub.Hub,
    windows: list[Window],
    config: Config,
    **about: Any,
) -> list[dict[str, Any]]:
    """Scores each forecaster in each window, with each set of levels, against the newest release.

    Args:
        forecasts: Forecasts by method.
        reference: Forecasts among which are the equally weighted mean and the median, if any.
        hub: The hub.
        windows: The windows.
        config: Settings.
        about: Further entries of each row.

    Returns:
        The rows; a window without a task has none.
    """
    left_out = np.min(np.abs(hub.levels[:, None] - np.asarray(config.leave_out_levels or (9.0,))), 1) < 1e-6
    sets = [np.ones(len(hub.levels), bool)] + ([~left_out] if left_out.any() else [])
    rows = []
    for window in windows:
        weeks = hub.weeks(window.first, window.last)
        truth = hub.truth[:, weeks]
        if not (np.isfinite(truth) & np.isfinite(reference[EQUAL][:, weeks, 0])).any():
            continue
        for kept in sets:
            levels = hub.levels[kept]
            scored = jaxcast.hub.score_forecasters(
                {name: forecast[:, weeks][..., kept] for name, forecast in forecasts.items()}, truth, levels
            )
            plain = {
                name: jaxcast.hub.score_forecasters({name: reference[name][:, weeks][..., kept]}, truth, levels)
                for name in (EQUAL, MEDIAN)
                if name in reference
            }
            wis = {name: found[0]["wis"] for name, found in plain.items()}
            for row in scored:
                del row["relative_wis"]  # less informative than the ratios
                crossing = np.nan_to_num(forecasts[row["method"]][:, weeks][..., kept])
                ratios = {
                    "ratio_to_equal_mean": _ratio(row["wis"], wis[EQUAL]),
                    "ratio_to_better": _ratio(row["wis"], min(wis.values())),
                    "num_crossings": jaxcast.scores.count_crossings(crossing),
                }
                where = {"window": window.name, "horizon": hub.horizon, "num_levels": int(kept.sum())}
                rows.append(row | about | where | ratios)
    return rows


def _ratio(ours: float | None, other: float) -> float | None:
    return None if ours is None else ours / other


def compare(
    forecasts: dict[str, np.ndarray], hub: jaxcast.hub.Hub, windows: list[Window], config: Config
) -> list[dict[str, Any]]:
    """Compares the best pool with the others over the weeks of all windows.

    Args:
        forecasts: Forecasts by method.
        hub: The hub.
        windows: The windows.
        config: Settings.

    Returns:
        The comparisons.
    """
    weeks = np.any([hub.weeks(window.first, window.last) for window in windows], 0)
    others = (*RIVALS, *((config.ensemble,) if config.ensemble else ()))
    found = []
    for other in others:
        ours, theirs = (forecasts[name][:, weeks] for name in (BEST, other))
        test = jaxcast.hub.compare_forecasters(ours, theirs, hub.truth[:, weeks], hub.levels, horizon=hub.steps_ahead)
        found.append({"horizon": hub.horizon, "against": other, **test})
    return found


def table(results: dict[str, Any], config: Config, windows: list[Window], num_levels: int) -> Table:
    """Makes the table of mean WIS, published and ours, ratios and coverage.

    Args:
        results: Results of the experiment.
        config: Settings.
        windows: The windows.
        num_levels: Number of levels to show.
    """
    intervals = (num_levels - 1) // 2
    shown = Table(
        title=f"Mean WIS, K = {intervals}, against the newest target data",
        caption=f"{results['note']}; ratio: geometric mean over windows of WIS / equal-weight mean; worst: largest "
        "ratio to the better of mean and median; coverage over all windows",
        box=box.SIMPLE,
    )
    heads = ("h", "truth", "method", *(window.name for window in windows), "ratio", "worst", "50 %", "95 %", "crossed")
    for name in heads:
        shown.add_column(name, justify="left" if name in ("truth", "method") else "right", no_wrap=True)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in results["rows"]:
        if row["num_levels"] == num_levels:
            about = "blocked" if row["protocol"] == "blocked" else row["truth"]
            groups.setdefault((row["horizon"], about, row["method"]), []).append(row)
    for (horizon, about, method), rows in groups.items():
        by_window = {row["window"]: row["wis"] for row in rows}
        cells = ["" if by_window.get(w.name) is None else f"{by_window[w.name]:.2f}" for w in windows]
        ratios = [geometric_mean(rows), worst(rows)]
        covers = [pooled_coverage(rows, name) for name in ("coverage50", "coverage95")]
        crossed = sum(row["num_crossings"] for row in rows)
        texts = ("" if ratio is None else f"{ratio:.3f}" for ratio in ratios)
        shown.add_row(str(horizon), about, method, *cells, *texts, *covers, str(crossed or ""))
    of_paper = tuple(window.name for window in windows) == _names("deaths") and config.data is not None
    if intervals == 10 and of_paper:
        for method, values in PUBLISHED.items():
            shown.add_row("1", "published", method, *(f"{value:.2f}" for value in values), "", "", "", "", "")
    return shown


def _names(data_set: str) -> tuple[str, ...]:
    return tuple(Window.parse(text).name for text in DATA_SETS[data_set].windows)


def geometric_mean(rows: list[dict[str, Any]]) -> float | None:
    """Averages the ratios to the equally weighted mean over the windows, geometrically.

    Args:
        rows: Rows of one method.
    """
    ratios = [row["ratio_to_equal_mean"] for row in rows]
    return None if None in ratios else float(np.exp(np.mean(np.log(ratios))))


def worst(rows: list[dict[str, Any]]) -> float | None:
    """Returns the largest ratio to the better of equally weighted mean and median over the windows.

    Args:
        rows: Rows of one method.
    """
    ratios = [row["ratio_to_better"] for row in rows]
    return None if None in ratios else float(max(ratios))


def pooled_coverage(rows: list[dict[str, Any]], name: str) -> str:
    """Returns the coverage over the tasks of all windows.

    Args:
        rows: Rows of one method.
        name: Name of the coverage.
    """
    if any(row.get(name) is None for row in rows):
        return ""
    weights = [row["num_tasks"] for row in rows]
    return f"{np.average([row[name] for row in rows], weights=weights):.1%}"
