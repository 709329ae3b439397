"""Scans the files of a hub lazily, those of the same columns together."""

import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxcast.errors import InputError, counted, shown
from jaxcast.hub.tables.csv_structure import check_csv
from jaxcast.io.files import check_name
from jaxcast.io.tables import polars, without_reports

SUFFIXES = (".csv", ".parquet")
ROW, FILE = "(row)", "(file)"
# Names and types of the columns of a file.
Columns = tuple[tuple[str, str], ...]


class FileGroup(NamedTuple):
    """Files of the same columns, scanned as one, which is faster than each by itself.

    Args:
        frame: Lazy frame of their rows; FILE is the file of a row, and ROW its number there.
        paths: The files.
        model: Expression of the model of a row, by the folder of its file; None where the rows name
            it themselves.
    """

    frame: Any
    paths: list[Path]
    model: Any

    @property
    def path(self) -> Path:
        """The first of the files."""
        return self.paths[0]


def hub_files(path: Path, exclude: Collection[str] = ()) -> Iterator[tuple[Path, str | None]]:
    """Yields the files of a table or a folder of forecasts, each with the model of its folder.

    Args:
        path: As given to `scan_forecasts`.
        exclude: Models of a folder whose files are not read.

    Yields:
        Each file, and its model; None for a table, which names its models itself. A folder without
        folders of models may hold several tables.

    Raises:
        InputError: where there is no such table.
    """
    check_name(path)
    if path.is_file():
        yield path, None
        return
    if not path.is_dir():
        raise InputError(f"there is no file or folder {shown(path)}; give a .csv or .parquet, or the folder of a hub")
    inner = [path / name for name in ("model-output", "data-processed", "data-forecasts") if (path / name).is_dir()]
    root = inner[0] if inner else path
    files = [(file, model_of(file.relative_to(root))) for file in tables_in(root)]
    if not files:
        raise InputError(
            f"{shown(root)} holds no MODEL/DATE-MODEL.csv or .parquet; give the folder of a hub, or a table"
        )
    # Tables beside the folders of models are none of the hub's.
    are_tables = all(model is None for _, model in files)
    yield from ((file, model) for file, model in files if are_tables or (model is not None and model not in exclude))


def tables_in(folder: Path) -> list[Path]:
    """Returns the tables of a folder at any depth, also in links to folders, without hidden ones.

    Args:
        folder: The folder.
    """
    found: list[Path] = []
    for root, folders, names in os.walk(folder, followlinks=True):
        here, real = Path(root), Path(root).resolve()
        # A link to a folder that it lies in would never end.
        folders[:] = [
            name for name in folders if not name.startswith(".") and not real.is_relative_to((here / name).resolve())
        ]
        files = (here / name for name in names if not name.startswith("."))
        found += [file for file in files if file.suffix in SUFFIXES and file.is_file()]
    return sorted(found)


def model_of(file: Path) -> str | None:
    """Returns the model of a file by its folder, MODEL/ or a partition such as model_id=MODEL/.

    Args:
        file: Path of the file within the folder of model output.

    Returns:
        The model; None for a file that lies in no folder, whose rows name their models.
    """
    parts = [part.partition("=") for part in file.parts[:-1]]
    named = [value for name, _, value in parts if value and name in ("model", "model_id")]
    return next(iter([*named, *file.parts[:-1]]), None)


def open_files(
    files: Iterable[tuple[Path, str | None]], open_group: Callable[[FileGroup], Any], unreadable: list[str] | None
) -> list[Any]:
    """Opens files, each run of files with the same columns as one.

    Args:
        files: The files, and their models, as from `hub_files`.
        open_group: Makes a lazy frame of a group; raises InputError where a column is missing.
        unreadable: List to which a line is added on files that are left out as they cannot be
            read; None to refuse them.

    Returns:
        The frames, in the order of the files; at least one.

    Raises:
        InputError: for a file that cannot be read, whose structure is damaged, or that lacks a
            column; and where no file is left.
    """
    known, errors = [], list[str]()

    def leave_out(error: InputError, model: str | None, number: int) -> None:
        if unreadable is None:
            other = "" if model is None else f"; or leave its model out (--exclude {shown(model)})"
            raise InputError(f"{error}{other}") from None
        errors.append(f"{counted(number, 'file')} that cannot be read: {error}")

    for file, model in files:
        try:
            known.append((file, model, _columns_of(file)))
        except InputError as error:
            leave_out(error, model, 1)
    frames = []
    for key, run in itertools.groupby(known, key=lambda each: (each[0].suffix, each[1] is None, each[2])):
        paths, models, _ = zip(*run, strict=True)
        try:
            frames.append(open_group(_group(list(paths), models, key[2])))
        except InputError as error:
            leave_out(error, models[0], len(paths))
    if not frames:
        raise InputError(f"no file of forecasts is left ({errors[0] if errors else 'all models are left out'})")
    if unreadable is not None:
        unreadable += errors
    return frames


def _group(paths: list[Path], models: Sequence[str | None], columns: Columns) -> FileGroup:
    pl, names = polars(), [str(path) for path in paths]
    frame = _without_blanks(_scanned(names), columns, paths[0])
    if models[0] is None:
        return FileGroup(frame, paths, None)
    return FileGroup(frame, paths, pl.col(FILE).replace_strict(names, models, return_dtype=pl.String))


def _scanned(names: list[str]) -> Any:
    """Scans files of the same columns; text of a .csv stays text, so that 01 does not become 1."""
    pl = polars()
    options: dict[str, Any] = {"row_index_name": ROW, "row_index_offset": 1, "include_file_paths": FILE, "glob": False}
    if names[0].endswith(".csv"):
        frame = pl.scan_csv(names, infer_schema=False, **options)
    else:
        frame = pl.scan_parquet(names, **options)
    return frame if len(names) == 1 else frame.with_columns(pl.col(ROW) - pl.col(ROW).min().over(FILE) + 1)


def _without_blanks(frame: Any, columns: Columns, path: Path) -> Any:
    """Leaves out the empty lines of a .csv, and its rows of commas alone."""
    if path.suffix != ".csv":
        return frame
    return frame.filter(~polars().all_horizontal(polars().col([name for name, _ in columns]).is_null()))


def scan_file(path: Path) -> Any:
    """Returns a lazy frame of one file, with the number of each row as ROW.

    The text of a .csv stays text, so that location 01 does not become 1.

    Args:
        path: A .csv or .parquet file.

    Raises:
        InputError: for another kind of file, or one that cannot be read.
    """
    columns = _columns_of(path)
    return _without_blanks(_scanned([str(path)]).drop(FILE), columns, path)


def _columns_of(path: Path) -> Columns:
    """Checks the structure of a file, and returns the names and types of its columns."""
    pl = polars()
    if path.suffix not in SUFFIXES:
        raise InputError(f"expected a .csv or .parquet, got {shown(path)}")
    if path.suffix == ".csv":
        check_csv(path)
    try:
        with without_reports():
            schema = _scanned([str(path)]).collect_schema()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{shown(path)} is not a table that can be read ({shown(why)}); write it again") from None
    return tuple((name, str(dtype)) for name, dtype in schema.items() if name not in (ROW, FILE))
