"""Pools of the quantile forecasts of a hub, from what was known at each time, and the paper's pools."""

import tempfile
import time
from pathlib import Path

from rich.console import Console, Group

from experiments.frame import open_folder, start
from experiments.hub import pictures as hub_pictures
from experiments.hub.blocked import blocked
from experiments.hub.loading import bounded, load, names_of_locations, tables_of
from experiments.hub.methods import BEST, EQUAL, rolling, weights_of
from experiments.hub.rows import compare, score, table
from experiments.hub.setup import PRESETS, Config, Tables, default_folder, settled, windows_of
from jaxcast.cli.command import make_console


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


def run(config: Config, tables: Tables, console: Console, began: float) -> None:
    """Scores the tables and draws the results.

    Args:
        config: Settings.
        tables: Tables of forecasts and target data.
        console: Console to print on.
        began: Time at which the experiment began.
    """
    hubs, names = load(config, tables), names_of_locations(tables.truth)
    config = bounded(config, hubs)
    first = min(hubs)
    windows = windows_of(config, hubs[first].hub)
    folder = open_folder(config, default_folder(config), hub_pictures.NAMES)
    rows, tests = [], []
    for horizon, loaded in hubs.items():
        hub = loaded.hub
        by_truth = rolling(config, loaded, folder, console)
        usual = next(iter(by_truth.values()))
        for truth, forecasts in by_truth.items():
            rows += score(forecasts, usual, hub, windows, config, protocol="rolling", truth=truth)
        tests += compare(usual, hub, windows, config)
        if horizon == first:
            if config.blocked:
                trained = blocked(config, hub, windows, folder, console)
                rows += score(trained, trained, hub, windows, config, protocol="blocked", truth="final")
            weights = weights_of(folder, hub)
            pictures = hub_pictures.draw(hub, usual, weights, windows, config, names, best=BEST, equal=EQUAL)
            for name, figure in pictures.items():
                folder.save_figure(f"{name}.png", figure)
    has_releases = hubs[first].hub.releases is not None
    results = {
        "rows": rows,
        "tests": tests,
        "note": "pools saw the release of the day" if has_releases else "final truth stood in for that of the day",
        "dropped": {horizon: list(loaded.hub.dropped) for horizon, loaded in hubs.items()},
    }
    folder.write_json("results.json", results)
    counts = sorted({row["num_levels"] for row in rows})
    console.print(Group(*(table(results, config, windows, num_levels) for num_levels in counts)))
    for test in tests:
        console.print(
            f"horizon {test['horizon']}: {BEST} / {test['against']} over all windows {test['ratio']:.3f} "
            f"({test['low']:.3f} to {test['high']:.3f}, {test['num_weeks']} weeks; "
            f"Diebold-Mariano p {test['diebold_mariano_p']:.2g})",
            highlight=False,
        )
    console.print(f"results and pictures in {folder.path}/  ({time.perf_counter() - began:.0f} s)", highlight=False)


if __name__ == "__main__":
    start(main, Config, PRESETS)
