"""The tables of experiments/graphs/README.md, from the committed results.

`python -m experiments.graphs.page` brings them up to date.
"""

import json
from pathlib import Path
from typing import Any

from experiments.pages import write_tables

HERE = Path(__file__).parent
DATA = {
    "ev_beijing": "charging piles, next hour",
    "pedestrians_melbourne": "pedestrians, next hour",
    "los_loop": "speeds, next hour by 5 minutes",
    "nyc_bike_zones arrivals": "bicycles arriving, 3 hours",
    "nyc_bike_zones departures": "bicycles departing, 3 hours",
    "nyc_bike_zones_12h arrivals": "arriving, from 12 hours alone",
    "nyc_bike_zones_12h departures": "departing, from 12 hours alone",
    "jonas_nyc": "taxis and bicycles, 4 hours",
}
"""Data sets and what they are, in the order of the page."""
NAMES = ("rmse", "rmse_positive", "mae", "mae_positive")


def load() -> dict[str, Any]:
    """Returns the committed results: those of the main run, and the rows of methods that others add."""
    found: dict[str, Any] = json.loads((HERE / "results.json").read_text())
    for file in sorted(HERE.glob("results-*.json")):
        known = {(row["data"], row["method"], row["published"] is None) for row in found["rows"]}
        more = json.loads(file.read_text())["rows"]
        found["rows"] += [row for row in more if (row["data"], row["method"], row["published"] is None) not in known]
    return found


def table_of(data: str, results: dict[str, Any]) -> str:
    """Returns the errors of all methods on a data set.

    Args:
        data: name of the data set and the part of its series.
        results: all of them.

    Returns:
        A table in Markdown; published rows last before ours, the best of ours in bold.
    """
    rows = [row for row in results["rows"] if row["data"] == data]
    rows.sort(key=lambda row: (row["method"].startswith("seasonal"), row["published"] is not None))
    lines = ["| method | leads up to | RMSE | RMSE, truth > 0 | MAE | MAE, truth > 0 | seeds |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        known = {name: row[name] if row["published"] is None else row["published"].get(name) for name in NAMES}
        cells = [_number(known[name]) for name in NAMES]
        name = row["method"] if row["published"] is None else f"{row['method']} (published)"
        lines.append(f"| {name} | {row['lead']} | {' | '.join(cells)} | {row['num_seeds'] or ''} |")
    return "\n".join(lines)


def against(results: dict[str, Any]) -> str:
    """Returns the ratios of RMSEs with their intervals.

    Args:
        results: all of them.

    Returns:
        A table in Markdown.
    """
    lines = ["| data | method | against | ratio of RMSEs | 95 % interval |", "|---|---|---|---:|---:|"]
    for row in results["comparisons"]:
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        lines.append(f"| {row['data']} | {row['method']} | {row['against']} | {row['ratio']:.3f} | {interval} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Returns all tables by their names on the page."""
    results = load()
    known = [data for data in DATA if any(row["data"] == data for row in results["rows"])]
    return {data: table_of(data, results) for data in known} | {"comparisons": against(results)}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def main() -> None:
    """Brings the tables of README.md up to date."""
    write_tables("graphs", tables())


if __name__ == "__main__":
    main()
