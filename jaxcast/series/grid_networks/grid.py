"""Checks of the grid of a network's series."""

from jaxcast.checks import check_sizes
from jaxcast.errors import InputError


def columns_of(num_regions: int, rows: int) -> int:
    """Returns the columns of a grid.

    Args:
        num_regions: its cells.
        rows: its rows.

    Raises:
        InputError: where the cells do not fill the rows.
    """
    check_sizes(rows=rows)
    if num_regions % rows:
        raise InputError(
            f"expected the cells of a grid of {rows} rows, one row after the other, got {num_regions} series, which "
            f"{rows} does not divide; give a series for every cell"
        )
    return num_regions // rows
