"""The tables of experiments/hub/README.md, from the committed results.

`python -m experiments.hub.page` brings them up to date.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from experiments.hub.data_sets import LABELS
from experiments.hub.rows import PUBLISHED, geometric_mean, pooled_coverage, worst
from experiments.pages import markdown, write_tables

HERE = Path(__file__).parent
HUBS = ("admissions", "deaths")
TRUTHS = {"releases": "of the day", "final": "final"}


def load(hub: str) -> dict[str, Any]:
    """Returns the results of a hub; without rows before its run.

    Args:
        hub: Name of the data set.
    """
    file = HERE / f"results-{hub}.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"rows": [], "tests": []}
    return found


def groups(rows: Iterable[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Groups rows by some of their entries.

    Args:
        rows: The rows.
        names: Names of the entries.
    """
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def rolling(hub: str, num_levels: int) -> str:
    """Returns the table of all pools from a rolling origin.

    Args:
        hub: Name of the data set.
        num_levels: Number of levels that are scored.
    """
    rows = [row for row in load(hub)["rows"] if (row["protocol"], row["num_levels"]) == ("rolling", num_levels)]
    windows = list(dict.fromkeys(row["window"] for row in rows))
    lines = []
    for (horizon, truth, method), of_method in groups(rows, "horizon", "truth", "method").items():
        wis = {row["window"]: f"{row['wis']:.2f}" for row in of_method if row["wis"] is not None}
        ratios = [geometric_mean(of_method), worst(of_method)]
        lines.append(
            (
                LABELS.get(method, method),
                TRUTHS[truth],
                str(horizon),
                *(wis.get(window, "") for window in windows),
                *("" if ratio is None else f"{ratio:.3f}" for ratio in ratios),
                *(pooled_coverage(of_method, name) for name in ("coverage50", "coverage95")),
            )
        )
    head = ("forecaster", "truth", "horizon", *windows, "ratio", "worst", "50 %", "95 %")
    return markdown(head, lines, 2)


def blocked() -> str:
    """Returns the table of the paper's networks under its protocol, with reduced settings and with its own."""
    lines = []
    for hub, settings in (("deaths", "reduced"), ("table1", "the paper's")):
        rows = [row for row in load(hub)["rows"] if (row["protocol"], row["num_levels"]) == ("blocked", 21)]
        windows = list(dict.fromkeys(row["window"] for row in rows))
        for (method,), of_method in groups(rows, "method").items():
            if method == "equal_mean" and hub == "table1":
                continue
            crossing = sum(row["num_crossings"] for row in of_method)
            published = ", ".join(f"{value:.2f}" for value in PUBLISHED.get(method, ()))
            wis = (f"{row['wis']:.2f}" for row in of_method)
            about = (LABELS[method], "" if method == "equal_mean" else settings)
            lines.append((*about, *wis, f"{geometric_mean(of_method):.3f}", str(crossing), published))
    return markdown(("forecaster", "settings", *windows, "ratio", "crossing", "published"), lines, 2)


def tests(hub: str) -> str:
    """Returns the table of paired tests.

    Args:
        hub: Name of the data set.
    """
    lines = [
        (
            LABELS.get(test["against"], test["against"]),
            str(test["horizon"]),
            f"{test['ratio']:.3f}",
            f"{test['low']:.3f} to {test['high']:.3f}",
            f"{test['bootstrap_p']:.2g}",
            f"{test['diebold_mariano_p']:.2g}",
            str(test["num_weeks"]),
        )
        for test in load(hub)["tests"]
    ]
    head = ("adaptive pool against", "horizon", "WIS ratio", "95 % interval", "bootstrap p", "DM p", "weeks")
    return markdown(head, lines)


def coverage(hub: str) -> str:
    """Returns the table of the adaptive pool's coverage by window.

    Args:
        hub: Name of the data set.
    """
    of_pool = {"protocol": "rolling", "method": "adaptive", "num_levels": 23}
    rows = [row for row in load(hub)["rows"] if of_pool.items() <= row.items()]
    kind = rows[0]["truth"] if rows else ""
    windows = list(dict.fromkeys(row["window"] for row in rows))
    lines = []
    for (horizon,), found in groups([row for row in rows if row["truth"] == kind], "horizon").items():
        for name in ("coverage50", "coverage95"):
            cells = {row["window"]: f"{100 * row[name]:.1f} %" for row in found}
            shown = (cells.get(window, "") for window in windows)
            lines.append((str(horizon), f"{name[8:]} %", *shown, pooled_coverage(found, name)))
    return markdown(("horizon", "interval", *windows, "all"), lines)


def tables() -> dict[str, str]:
    """Returns all tables, by name."""
    by_hub = {
        f"{name} of {hub}": make
        for hub in HUBS
        for name, make in (
            ("pools", rolling(hub, 23)),
            ("coverage", coverage(hub)),
            ("tests", tests(hub)),
        )
    }
    return by_hub | {"pools of deaths, K = 10": rolling("deaths", 21), "networks of the paper": blocked()}


if __name__ == "__main__":
    write_tables("hub", tables())
