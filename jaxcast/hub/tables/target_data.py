"""Finds and reads the target data of a hub: tables, folders of tables, and releases."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from jaxcast.errors import InputError, shown
from jaxcast.hub.config.files import read_target_settings
from jaxcast.hub.tables.cells import OTHER_TYPES, Cells
from jaxcast.hub.tables.file_groups import ROW, SUFFIXES, scan_file, tables_in
from jaxcast.hub.tables.scan import collected, find_columns
from jaxcast.io.files import check_name
from jaxcast.io.tables import polars

TRUTH_NAMES = {
    "location": ("location", "unit", "fips", "geo_value"),
    "date": (
        "date",
        "target_end_date",
        "time_index",
        "end_date",
        "truth_date",
        "target_date",
        "time_value",
        "wk_end_date",
    ),
    "value": ("oracle_value", "observation", "value", "observed", "true_value"),
    "target": ("target",),
    "source": ("source",),
    "as_of": ("as_of",),
    "type": ("output_type",),
}
FOLDER = "target-data"
RELEASE = re.compile(r"(\d{4}-\d{2}-\d{2})\D.*")
"""A file's name that begins with a date, that of a release."""


class TargetFiles(NamedTuple):
    """Where a hub keeps its target data.

    Args:
        truth: The table or folder to score against.
        vintages: Folder of releases, where they are apart; None where `truth` holds what there is.
    """

    truth: Path
    vintages: Path | None


def find_target_data(hub: str | Path) -> TargetFiles:
    """Finds the target data of a hub.

    These are target-data/time-series.csv, .parquet or a folder time-series/; else oracle-output in
    the same forms; else a table latest-NAME.csv beside a folder snapshots/ with DATE-NAME.csv, each
    the release of a day; else the only table there.

    Args:
        hub: Folder of the hub.

    Raises:
        InputError: where there is nothing of the kind, or several tables of one name.
    """
    folder = Path(hub) / FOLDER
    for name in ("time-series", "oracle-output"):
        found = [path for path in (folder / name, *(folder / f"{name}{end}" for end in SUFFIXES)) if path.exists()]
        if len(found) > 1:
            raise InputError(f"{shown(folder)} holds {shown(' and '.join(p.name for p in found))}; keep one of them")
        if found:
            return TargetFiles(found[0], None)
    latest = sorted(path for path in folder.glob("latest-*") if path.suffix in SUFFIXES)
    if len(latest) == 1:
        name = latest[0].name.removeprefix("latest-")
        snapshots = sorted({path.parent for path in folder.rglob(f"snapshots/*-{name}")})
        return TargetFiles(latest[0], snapshots[0] if len(snapshots) == 1 else None)
    tables = tables_in(folder)
    if len(tables) == 1:
        return TargetFiles(tables[0], None)
    raise InputError(
        f"{shown(folder)} holds no target data: no time-series or oracle-output as .csv, .parquet or folder; give the "
        "table with --truth"
    )


def scan_truth(path: str | Path, *, source: str | None = None) -> Any:
    """Returns a lazy frame of the target data.

    A table with a column `as_of` holds releases: a value each time it was published anew.

    Args:
        path: A .csv or .parquet file, such as a hub's time-series or oracle-output table; or a
            folder of such files. The names of its folders may have columns, as in
            as_of=2024-11-20/, and files whose names begin with a date, as in
            2024-11-20-admissions.csv, are releases of that day.
        source: Keeps the rows whose `source` column contains this text; in a table without it,
            those whose `as_of` does, which is then a text like any other.

    Returns:
        Columns location, date, target (null where the table has none), value, row and, of a table
        of releases, as_of. A cell that cannot be read is null. Rows that repeat another one are
        left out.

    Raises:
        InputError: where there is no such table, its structure is damaged, columns are missing, or
            no row is of that source.
    """
    path = Path(path)
    check_name(path)
    frames = [_truth_of(file, keys, source) for file, keys in target_files(path)]
    read = polars().concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
    return read.unique(read.drop("row").collect_schema().names(), keep="first", maintain_order=True)


def target_files(path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yields the files of target data, each with the columns that names of folders and files give.

    Args:
        path: A file, or a folder of files, as in `scan_truth`.

    Yields:
        Each file, and the values of its columns by their names.

    Raises:
        InputError: where there are none.
    """
    if path.is_file():
        yield path, {}
        return
    files = tables_in(path)
    if not files:
        raise InputError(f"there is no truth table {shown(path)}; give a .csv or .parquet, or a folder of such files")
    for file in files:
        parts = [part.partition("=") for part in file.relative_to(path).parts[:-1]]
        keys = {name: unquote(value) for name, equals, value in parts if equals}
        release = RELEASE.fullmatch(file.name)
        yield file, {"as_of": release[1]} | keys if release else keys


def _truth_of(path: Path, keys: Mapping[str, str], source: str | None) -> Any:
    """Returns the rows of one file."""
    pl = polars()
    frame, cells = open_targets(path, keys, source)
    if "type" in cells.found:  # an oracle-output table repeats itself for every output type
        frame = frame.filter(~cells.text("type").str.to_lowercase().is_in(OTHER_TYPES).fill_null(False))
    has_releases = "as_of" in cells.found and (source is None or "source" in cells.found)
    columns = [cells.text("location"), cells.date("date"), cells.text("target"), cells.number("value")]
    columns += [cells.day("as_of")] if has_releases else []
    return frame.select(*columns, pl.col(ROW).alias("row"))


def open_targets(path: Path, keys: Mapping[str, str], source: str | None) -> tuple[Any, Cells]:
    """Opens one file of target data.

    Args:
        path: The file.
        keys: Columns that names of folders and files give, by name.
        source: Text in the column of sources, as in `scan_truth`.

    Returns:
        A lazy frame of the file's rows of that source, and its cells.

    Raises:
        InputError: for a file that cannot be read, a missing column, or no row of that source.
    """
    frame = scan_file(path)
    missing = [name for name in keys if name not in frame.collect_schema().names()]
    frame = frame.with_columns(polars().lit(keys[name]).alias(name) for name in missing)
    found = find_columns(frame, _names(path), path, needed=("location", "date", "value"))
    cells = Cells(path, found, frame.collect_schema())
    return (frame if source is None else _of_source(frame, cells, source)), cells


def _names(path: Path) -> dict[str, tuple[str, ...]]:
    """Returns how columns may be called: the date also as the file's hub describes it."""
    folder = next((folder for folder in path.parents if folder.name == FOLDER), None)
    settings = None if folder is None else read_target_settings(folder.parent)
    if settings is None or settings.date_column is None:
        return TRUTH_NAMES
    return TRUTH_NAMES | {"date": (settings.date_column, *TRUTH_NAMES["date"])}


def _of_source(frame: Any, cells: Cells, source: str) -> Any:
    """Returns the rows whose source, or else as_of, contains a text."""
    column = next((name for name in ("source", "as_of") if name in cells.found), None)
    if column is None:
        raise InputError(
            f"{shown(cells.path)} has no column source or as_of to look for {shown(source)!r} in; leave the source out"
        )
    frame = frame.filter(cells.words(column).str.contains(source, literal=True))
    if collected(frame.select(polars().len()), cells.path).item() == 0:
        raise InputError(f"no row of {shown(cells.path)} is of a source that contains {shown(source)!r}")
    return frame
