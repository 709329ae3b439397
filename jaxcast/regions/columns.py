"""Columns of a .csv or .parquet table, and what their cells mean; errors say where."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.errors import InputError
from jaxcast.hub.tables import polars

MISSING = {"", "na", "nan", "null", "none"}
DATE = re.compile(r"\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d(\.0*)?)?Z?)?)?")


class Columns(NamedTuple):
    """Texts, or numbers where the file keeps them as such, by name; and what to call a row in a message."""

    by_name: dict[str, Any]
    where: Callable[[int], str]


def read_columns(path: Path) -> Columns:
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(f"expected a table of series, .csv or .parquet, got {path}")
    if not path.is_file():
        raise InputError(f"there is no table {path}; give a .csv or .parquet")
    columns = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    if not columns.by_name or not len(next(iter(columns.by_name.values()))):
        raise InputError(f"{path} holds no rows; give a header and a row for each date")
    return columns


def _read_csv(path: Path) -> Columns:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = csv.reader(file)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"{path} cannot be read as a table ({error}); save it as a CSV in UTF-8") from None
    except ValueError:
        return Columns({}, str)
    while rows and not rows[-1]:
        rows.pop()
    header = [name.strip() for name in header]
    if len(set(header)) < len(header) or "" in header:
        raise InputError(f"{path}: expected a different name for each column, got {', '.join(header)}; name each")
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise InputError(
                f"{path}: expected {len(header)} columns in every line, line {i + 2} has {len(row)}; mend it"
            )
    texts = zip(*rows, strict=True) if rows else ([] for _ in header)
    return Columns(dict(zip(header, texts, strict=True)), lambda i: f"{path}, line {i + 2}")


def _read_parquet(path: Path) -> Columns:
    pl = polars()
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} is not a table that can be read ({str(error).splitlines()[0]})") from None
    by_name = {
        column.name: column.cast(pl.Float64).to_numpy()
        if column.dtype.is_numeric()
        else [text or "" for text in column.cast(pl.String).to_list()]
        for column in frame
    }
    return Columns(by_name, lambda i: f"{path}, row {i + 1}")


def column_called(columns: Columns, path: Path, what: str, name: str | None, usual: tuple[str, ...]) -> str:
    """The name of the column that was asked for, or that is called as usual."""
    found = [name] if name is not None else [name for name in columns.by_name if name.lower() in usual]
    if not found or found[0] not in columns.by_name:
        wanted = f"no column {name!r}" if name is not None else f"no column called {', '.join(usual)}"
        raise InputError(f"{path} has {wanted} for --{what}; its columns are {', '.join(columns.by_name)}")
    return found[0]


def dates_of(columns: Columns, name: str) -> np.ndarray:
    texts = columns.by_name[name]
    return np.asarray([parse_date(str(text), f"{columns.where(i)}, column {name!r}") for i, text in enumerate(texts)])


def parse_date(text: str, where: str) -> np.datetime64:
    """A date, with or without a time of day (UTC).

    Raises:
        InputError: for what is no ISO date.
    """
    text = text.strip()
    try:
        if not DATE.fullmatch(text):
            raise ValueError
        return np.datetime64(text.removesuffix("Z"), "s")
    except ValueError:
        raise InputError(f"{where}: expected a date such as 2024-01-31, got {text[:40]!r}") from None


def numbers_of(columns: Columns, name: str) -> Float[np.ndarray, " row"]:
    column = columns.by_name[name]
    if not isinstance(column, np.ndarray):
        column = np.asarray([_number(columns, name, i, text) for i, text in enumerate(column)])
    if np.isinf(column).any():
        raise InputError(
            f"{columns.where(int(np.argmax(np.isinf(column))))}: {name!r} is infinite; leave the cell empty"
        )
    return column


def _number(columns: Columns, name: str, i: int, text: str) -> float:
    try:
        return np.nan if text.strip().lower() in MISSING else float(text)
    except ValueError:
        raise InputError(
            f"{columns.where(i)}: expected a number in column {name!r}, got {text[:40]!r}; leave the cell empty where it is "
            "not known, or the column out (a long table needs columns series and value, or --series and --value)"
        ) from None
