"""Reads hierarchies and groups of series from tables."""

from pathlib import Path

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.hierarchy.structure import Hierarchy, hierarchy_from_groups, hierarchy_from_parents
from jaxcast.io.tables import Columns, read_columns

CHILD_NAMES = ("child", "series", "unique_id", "name", "location", "region")
"""Names of the column of series; of several columns the first of these names is it."""
PARENT_NAMES = ("parent", "sum", "total")


@checked
def read_hierarchy(path: Path | str) -> Hierarchy:
    """Reads which series are sums of which.

    Args:
        path: a .csv (or .parquet) with the columns child and parent, a row for each series that is
            part of a sum; the parent of the sum of all may be empty. Or with a column series and
            any other columns, each of which groups the series by its labels; see
            `hierarchy_from_groups`.

    Returns:
        The hierarchy.

    Raises:
        InputError: for tables without these columns, a parent beside columns of labels, empty
            cells, a series with two parents, or a series that is part of itself.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "hierarchy.csv"
        >>> _ = file.write_text("child,parent\\nnorth,all\\nsouth,all\\n")
        >>> jaxcast.hierarchy.read_hierarchy(file).names
        ('all', 'north', 'south')
    """
    path = Path(path)
    columns = read_columns(path)
    names = list(columns.by_name)
    texts = {name: [text.strip() for text in cells] for name, cells in columns.by_name.items()}
    child, parent = (_first_of(known, names) for known in (CHILD_NAMES, PARENT_NAMES))
    if child is None or len(names) < 2:
        raise InputError(
            f"{shown(path)} must have the columns child and parent, or series and columns of labels, got "
            f"{shown(', '.join(names))}"
        )
    children = texts.pop(child)
    if parent is not None and parent.lower() == "parent" and len(texts) > 1:
        other = next(name for name in texts if name != parent)
        raise InputError(
            f"{shown(path)} has the column {shown(repr(other))} beside {child} and parent; leave it out, or leave the "
            "parents out and give columns of labels only"
        )
    tree = parent if len(texts) == 1 else None
    sums = [] if tree is None else texts[tree]
    _check_cells(columns, {child: children} | texts, child, may_lack=(tree, {*sums}))
    try:
        if tree is not None:
            return hierarchy_from_parents({name: above for name, above in zip(children, sums, strict=True) if above})
        return hierarchy_from_groups(children, texts)
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from None


def _check_cells(
    columns: Columns, texts: dict[str, list[str]], child: str, *, may_lack: tuple[str | None, set[str]]
) -> None:
    """Refuses empty cells and repeated series; what others are part of may have no parent."""
    seen: set[str] = set()
    for row, name in enumerate(texts[child]):
        empty = next((column for column, cells in texts.items() if not cells[row]), None)
        if empty is not None and (empty != may_lack[0] or name not in may_lack[1]):
            raise InputError(f"{columns.where(row)}: {shown(empty)} is empty; give every series a {shown(empty)}")
        if name in seen:
            raise InputError(f"{columns.where(row)}: {shown(repr(name))} is named twice; keep one row")
        seen.add(name)


def _first_of(known: tuple[str, ...], names: list[str]) -> str | None:
    """Returns the column with the first of some names, in any case."""
    by_name = {name.lower(): name for name in reversed(names)}
    return next((by_name[name] for name in known if name in by_name), None)
