"""Pools the forecasts of a hub: Patel and Wikner (2023), section 3.2, and what a hub could have run."""

import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich import box
from rich.console import Console, Group
from rich.table import Table

import jaxcast
from experiments.frame import open_folder, start
from experiments.hub import pictures as hub_pictures
from experiments.hub.setup import PRESETS, Config, Window, load, names_of_locations, settled, tables_of, windows_of
from jaxcast.cli.command import make_console
from jaxcast.io.reading import Arrays
from jaxcast.io.run_folder import RunFolder

EQUAL = "equal_mean"
RIVALS = (EQUAL, "equal_median", "linear_opinion_pool", "inverse_score", "trained_average")
BEST = "adaptive"
# Mean WIS of K = 10 in the paper's table 1, on the paper's states, models and first window.
PUBLISHED = {
    "hub ensemble": (35.12, 22.13, 32.86, 12.60),
    "linear_regression": (35.75, 20.42, 35.98, 13.80),
    "additive_attention": (38.27, 20.72, 35.51, 12.92),
    "multi_head_attention": (36.88, 20.86, 34.74, 12.94),
}
WEIGHT_DECAY = {"linear_regression": 0.0, "additive_attention": 1e-4, "multi_head_attention": 1e-5}
NUM_DELAYS, NUM_HEADS = 5, 21
NOTE = "final truth stands in for what was known at the time: there are no truth vintages in the data"


def main(config: Config) -> None:
    """Runs the experiment.

    Args:
        config: Settings.
    """
    began = time.perf_counter()
    console = make_console()
    config = settled(config)
    with tempfile.TemporaryDirectory(prefix="jaxcast-") as made:
        run(config, tables_of(config, Path(made)), console, began)


def run(config: Config, tables: tuple[Path, Path], console: Console, began: float) -> None:
    """Scores the tables and draws the results.

    Args:
        config: Settings.
        tables: Tables of forecasts and target data.
        console: Console to print on.
        began: Time at which the experiment began.
    """
    hubs = {horizon: load(config, tables, horizon) for horizon in config.horizons}
    windows = windows_of(config, hubs[config.horizons[0]][0])
    folder = open_folder(config, f"runs/hub-{config.preset}", hub_pictures.NAMES)
    rows, tests = [], []
    for horizon, (hub, baseline) in hubs.items():
        forecasts = rolling(config, hub, baseline, folder, console)
        rows += score(forecasts, hub, windows, "rolling", config)
        tests += [compare(forecasts, hub, windows, horizon, other) for other in RIVALS]
        if horizon == config.horizons[0]:
            if config.blocked:
                rows += score(blocked(config, hub, windows, folder, console), hub, windows, "blocked", config)
            weights = folder.stage(f"adaptive_h{horizon}", _finished)["weights"]
            pictures = hub_pictures.draw(
                hub, forecasts, weights, windows, config, names_of_locations(tables[1]), best=BEST, equal=EQUAL
            )
            for name, figure in pictures.items():
                folder.save_figure(f"{name}.png", figure)
    results = {
        "rows": rows,
        "tests": tests,
        "note": NOTE,
        "dropped": {horizon: list(hub.dropped) for horizon, (hub, _) in hubs.items()},
    }
    folder.write_json("results.json", results)
    console.print(Group(*(table(results, config, windows, num_levels) for num_levels in _level_counts(rows))))
    for test in tests:
        console.print(
            f"horizon {test['horizon']}: {BEST} / {test['against']} over all windows {test['ratio']:.3f} "
            f"({test['low']:.3f} to {test['high']:.3f}, {test['num_weeks']} weeks; Diebold-Mariano p {test['diebold_mariano_p']:.2g})",
            highlight=False,
        )
    console.print(
        f"{NOTE}\nresults and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False
    )


def rolling(
    config: Config, hub: jaxcast.hub.Hub, baseline: jaxcast.hub.Hub | None, folder: RunFolder, console: Console
) -> dict[str, np.ndarray]:
    """Forecasts with every method from what was known at each time.

    Args:
        config: Settings.
        hub: The hub.
        baseline: The baseline on the same grid.
        folder: Folder of the run.
        console: Console to print on.

    Returns:
        Forecasts (location, time, quantile) by method, NaN where there are none.
    """
    forecasts = hub.forecasts()
    is_forecast = np.asarray(forecasts.is_forecast)[..., None]
    pooled = {
        name: np.asarray(jaxcast.hub.pool_forecasts(pool, forecasts).forecast) for name, pool in untrained().items()
    }

    def average(_: Path) -> Arrays:
        pool = jaxcast.hub.TrainedQuantileAverage.untrained(len(hub.models))
        return {
            "forecast": np.asarray(
                jaxcast.hub.rolling_origin(
                    forecasts, pool=pool, num_optimizer_steps=config.num_optimizer_steps
                ).forecast
            )
        }

    def adaptive(_: Path) -> Arrays:
        began = time.perf_counter()
        output = jaxcast.hub.pool_forecasts(jaxcast.hub.AdaptivePool(), forecasts)
        arrays = {"forecast": np.asarray(output.forecast), "weights": np.asarray(output.info["weights"])}
        console.print(f"adaptive pool, horizon {hub.horizon}: {time.perf_counter() - began:.0f} s", highlight=False)
        return arrays

    pooled["trained_average"] = folder.stage(f"average_h{hub.horizon}", average)["forecast"]
    pooled[BEST] = folder.stage(f"adaptive_h{hub.horizon}", adaptive)["forecast"]
    masked = {name: np.where(is_forecast, forecast, np.nan) for name, forecast in pooled.items()}
    if baseline is not None:
        masked[baseline.models[0]] = baseline.quantiles[:, :, 0]
    return masked


def untrained() -> dict[str, Any]:
    """Makes the pools that learn nothing but past scores."""
    return {
        EQUAL: jaxcast.hub.QuantileMean(),
        "equal_median": jaxcast.hub.QuantileMedian(),
        "trimmed_mean": jaxcast.hub.TrimmedMean(),
        "linear_opinion_pool": jaxcast.hub.LinearOpinionPool(),
        "inverse_score": jaxcast.hub.InverseScoreWeights(),
        "inverse_score_pooled": jaxcast.hub.InverseScoreWeights(pooled=True),
        "adaptive_newest": jaxcast.hub.AdaptivePool(follow_newest=True),
    }


def blocked(
    config: Config, hub: jaxcast.hub.Hub, windows: list[Window], folder: RunFolder, console: Console
) -> dict[str, np.ndarray]:
    """Trains the paper's pools by its protocol, which uses later data and fills gaps.

    Args:
        config: Settings.
        hub: The hub.
        windows: The windows to leave out.
        folder: Folder of the run.
        console: Console to print on.

    Returns:
        Forecasts (location, time, quantile) by method, NaN outside of the windows.
    """
    filled = jaxcast.hub.fill_gaps(hub).forecasts()
    masks = np.stack([hub.weeks(window.first, window.last) for window in windows])
    forecasts = {EQUAL: np.asarray(jaxcast.hub.pool_forecasts(jaxcast.hub.QuantileMean(), filled).forecast)}
    for number, name in enumerate(config.blocked):
        parts = []
        for index, mask in enumerate(masks):

            def train(
                _: Path, name: str = name, number: int = number, index: int = index, mask: np.ndarray = mask
            ) -> Arrays:
                console.print(f"{name}, without window {windows[index].name}", highlight=False)
                run = jaxcast.hub.blocked_windows(
                    filled,
                    mask[None],
                    init=initialiser(name, config, hub),
                    num_delays=NUM_DELAYS,
                    keys=jax.random.split(jax.random.fold_in(jax.random.key(config.seed), number), 1),
                    optimizer=jaxcast.training.make_optimizer(
                        config.blocked_learning_rate, weight_decay=WEIGHT_DECAY[name]
                    ),
                    num_epochs=config.blocked_epochs,
                    batch_size=config.blocked_batch_size,
                )
                return {"forecast": np.asarray(run.forecast[0][:, mask]), "losses": np.asarray(run.losses[0])}

            parts.append(folder.stage(f"{name}_{index}", train)["forecast"])
        forecasts[name] = np.full(hub.truth.shape + hub.levels.shape, np.nan)
        for mask, part in zip(masks, parts, strict=True):
            forecasts[name][:, mask] = part
    return forecasts


def initialiser(name: str, config: Config, hub: jaxcast.hub.Hub) -> Any:
    """Returns a function that makes one of the paper's pools from a random key.

    Args:
        name: Name of the pool.
        config: Settings.
        hub: The hub.
    """
    num_levels = len(hub.levels)

    def regression(key: jax.Array) -> Any:
        return jaxcast.hub.QuantileRegression(
            num_models=len(hub.models), num_quantiles=num_levels, num_delays=NUM_DELAYS, key=key
        )

    def additive(key: jax.Array) -> Any:
        return jaxcast.AdditiveAttention(
            dim=num_levels, query_dim=1, num_delays=NUM_DELAYS, hidden_size=config.blocked_hidden, key=key
        )

    def multi_head(key: jax.Array) -> Any:
        return jaxcast.pooling.MultiHeadAttention(
            score="additive",
            num_heads=NUM_HEADS,
            dim=num_levels,
            query_dim=1,
            num_delays=NUM_DELAYS,
            hidden_size=max(1, config.blocked_hidden // 10),
            key=key,
        )

    return {"linear_regression": regression, "additive_attention": additive, "multi_head_attention": multi_head}[name]


def score(
    forecasts: dict[str, np.ndarray], hub: jaxcast.hub.Hub, windows: list[Window], protocol: str, config: Config
) -> list[dict[str, Any]]:
    """Scores each forecaster in each window, with each set of levels.

    Args:
        forecasts: Forecasts by method.
        hub: The hub.
        windows: The windows.
        protocol: Name of the protocol.
        config: Settings.

    Returns:
        The rows.
    """
    left_out = np.min(np.abs(hub.levels[:, None] - np.asarray(config.leave_out_levels or (9.0,))), 1) < 1e-6
    sets = [np.ones(len(hub.levels), bool)] + ([~left_out] if left_out.any() else [])
    rows = []
    for window in windows:
        weeks = hub.weeks(window.first, window.last)
        inside = {name: forecast[:, weeks] for name, forecast in forecasts.items()}
        for kept in sets:
            chosen = {name: forecast[..., kept] for name, forecast in inside.items()}
            scored = jaxcast.hub.score_forecasters(chosen, hub.truth[:, weeks], hub.levels[kept])
            equal = next(row["wis"] for row in scored if row["method"] == EQUAL)
            for row in scored:
                about = {
                    "protocol": protocol,
                    "window": window.name,
                    "horizon": hub.horizon,
                    "num_levels": int(kept.sum()),
                }
                del row["relative_wis"]  # less informative than the ratio
                ratio = None if row["wis"] is None else row["wis"] / equal
                num_crossings = jaxcast.scores.count_crossings(np.nan_to_num(chosen[row["method"]]))
                rows.append(row | about | {"ratio_to_equal_mean": ratio, "num_crossings": num_crossings})
    return rows


def compare(
    forecasts: dict[str, np.ndarray], hub: jaxcast.hub.Hub, windows: list[Window], horizon: int, against: str
) -> dict[str, Any]:
    """Compares the best pool with another one over the weeks of all windows.

    Args:
        forecasts: Forecasts by method.
        hub: The hub.
        windows: The windows.
        horizon: The horizon.
        against: Name of the other pool.

    Returns:
        The comparison.
    """
    weeks = np.any([hub.weeks(window.first, window.last) for window in windows], 0)
    ours, other = (forecasts[name][:, weeks] for name in (BEST, against))
    result = jaxcast.hub.compare_forecasters(ours, other, hub.truth[:, weeks], hub.levels, horizon=hub.steps_ahead)
    return {"horizon": horizon, "against": against, **result}


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
        title=f"Mean WIS, K = {intervals}, final truth",
        caption="ratio: geometric mean over windows of WIS / equal-weight mean; coverage over all windows; "
        "adaptive pools follow the newest truth and errors, which final truth flatters",
        box=box.SIMPLE,
    )
    for name in ("h", "protocol", "method", *(window.name for window in windows), "ratio", "50 %", "95 %", "crossed"):
        shown.add_column(name, justify="left" if name in ("protocol", "method") else "right", no_wrap=True)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in results["rows"]:
        if row["num_levels"] == num_levels:
            groups.setdefault((row["horizon"], row["protocol"], row["method"]), []).append(row)
    for (horizon, protocol, method), rows in groups.items():
        ratio = geometric_mean(rows)
        cells = ["" if row["wis"] is None else f"{row['wis']:.2f}" for row in rows]
        covers = [pooled_coverage(rows, name) for name in ("coverage50", "coverage95")]
        crossed = sum(row["num_crossings"] for row in rows)
        shown.add_row(
            str(horizon), protocol, method, *cells, "" if ratio is None else f"{ratio:.3f}", *covers, str(crossed or "")
        )
    if intervals == 10 and len(windows) == 4 and config.preset != "smoke":
        for method, values in PUBLISHED.items():
            shown.add_row("1", "published", method, *(f"{value:.2f}" for value in values), "", "", "", "")
    return shown


def geometric_mean(rows: list[dict[str, Any]]) -> float | None:
    """Averages the ratios to the equally weighted mean over the windows, geometrically.

    Args:
        rows: Rows of one method.
    """
    ratios = [row["ratio_to_equal_mean"] for row in rows]
    return None if None in ratios else float(np.exp(np.mean(np.log(ratios))))


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


def _level_counts(rows: list[dict[str, Any]]) -> list[int]:
    return sorted({row["num_levels"] for row in rows})


def _finished(_: Path) -> Arrays:
    raise AssertionError("the stage was computed before")


if __name__ == "__main__":
    start(main, Config, PRESETS)
