"""Checks the output of runs: `python -m experiments.check FOLDER|FILE.json ...` fails for implausible numbers."""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxcast import InputError
from jaxcast.cli.command import ending_well
from jaxcast.io.reading import read_json

LARGEST = 1e12
"""Upper bound of any error, time or loss of a successful run."""


def check(path: Path) -> int:
    """Checks a run's folder, or the report of a benchmark.

    Args:
        path: the folder with config.json and results.json, or a .json file; each has rows.

    Returns:
        The number of numbers in its rows.

    Raises:
        InputError: for a missing file, invalid JSON, no rows, or an implausible number.
    """
    file = path if path.suffix == ".json" else path / "results.json"
    try:
        report = read_json(file)
        rows = report["rows"]
        if path.is_dir() and not {"settings", "code", "files"} <= read_json(path / "config.json").keys():
            raise ValueError("its config.json is none")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not what a run writes ({error})") from None
    for row in rows:
        numbers = list(numbers_in(row))
        if not any(numbers) or not all(math.isfinite(number) and abs(number) < LARGEST for number in numbers):
            raise InputError(f"{file} holds a row that makes no sense: {json.dumps(row)[:200]}")
    if not rows:
        raise InputError(f"{file} has no rows")
    return sum(len(list(numbers_in(row))) for row in rows)


def numbers_in(value: Any) -> Iterator[float]:
    """Yields all numbers of a JSON value."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


if __name__ == "__main__":
    with ending_well():
        for name in sys.argv[1:]:
            print(f"{name}: {check(Path(name))} numbers")
