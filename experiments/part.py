"""What a part of an experiment of several parts is."""

from collections.abc import Callable
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
