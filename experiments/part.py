"""Experiments of several parts."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Part(NamedTuple):
    """A part of an experiment, with its own data, rows and pictures.

    Args:
        run: (settings, folder of the data or None for generated ones, output folder, console) ->
            what the part adds to results.json, of which "rows" has at least one entry.
        data: name of the folder of its data.
        pictures: names of the pictures that it writes into the output folder.
        table: rows -> what the console shows.
    """

    run: Callable[[Any, Path | None, Any, Any], dict[str, Any]]
    data: str
    pictures: tuple[str, ...]
    table: Callable[[list[dict[str, Any]]], Any]


def run_parts(
    parts: Mapping[str, Part], config: Any, data: Mapping[str, Path | None], folder: Any, console: Any
) -> None:
    """Runs the parts that the settings name, shows their tables and writes results.json.

    Args:
        parts: all parts, by name.
        config: the settings, with the names of the parts to run.
        data: folder of the data of each part to run; None for generated ones.
        folder: of the output.
        console: to print on.
    """
    results: dict[str, Any] = {"rows": []}
    for name in config.parts:
        with folder.leaving_nothing():
            found = parts[name].run(config, data[name], folder, console)
        rows = [{"part": name} | row for row in found["rows"]]
        results |= {f"{name}_{key}": value for key, value in found.items() if key != "rows"}
        results["rows"] += rows
        console.print(parts[name].table(rows))
    folder.write_json("results.json", results)
