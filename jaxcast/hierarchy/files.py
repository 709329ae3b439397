"""Reads hierarchies and groups of series from tables."""

from pathlib import Path

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.hierarchy.structure import Hierarchy, hierarchy_from_groups, hierarchy_from_parents
from jaxcast.io.tables import read_columns

CHILD_NAMES, PARENT_NAMES = ("child", "series", "name"), ("parent", "sum", "total")


@checked
def read_hierarchy(path: Path | str) -> Hierarchy:
    """Reads which series are sums of which.

    Args:
        path: a .csv (or .parquet) with the columns child and parent, a row for each series that is
            part of a sum. Or with a column series and any other columns, each of which groups the
            series by its labels; see `hierarchy_from_groups`.

    Returns:
        The hierarchy.

    Raises:
        InputError: for tables without these columns, empty cells, a series with two parents, or a
            series that is part of itself.

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
    child = next((name for name in names if name.lower() in CHILD_NAMES), None)
    if child is None or len(names) < 2:
        raise InputError(
            f"{shown(path)} must have the columns child and parent, or series and columns of labels, got "
            f"{shown(', '.join(names))}"
        )
    texts = {name: [text.strip() for text in cells] for name, cells in columns.by_name.items()}
    for name, cells in texts.items():
        if "" in cells:
            where = columns.where(cells.index(""))
            raise InputError(f"{shown(path)}, {where}: {shown(name)} is empty; give every series a {shown(name)}")
    children = texts.pop(child)
    seen: set[str] = set()
    for row, name in enumerate(children):
        if name in seen:
            raise InputError(f"{shown(path)}, {columns.where(row)}: {shown(repr(name))} is named twice; keep one row")
        seen.add(name)
    parent = next((name for name in texts if name.lower() in PARENT_NAMES), None)
    try:
        if parent is not None and len(texts) == 1:
            return hierarchy_from_parents(dict(zip(children, texts[parent], strict=True)))
        return hierarchy_from_groups(children, texts)
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from None
