"""Expressions that read the cells of hub tables; a cell that cannot be read becomes null."""

from pathlib import Path
from typing import Any

from jaxcast.errors import InputError, shown
from jaxcast.io.tables import polars

# Larger values overflow where scores are summed, and count nothing.
LARGEST = 1e30
FARTHEST_DAYS = 40_000
YEARS = (1900, 2199)
DATE = r"^\d{4}-\d{2}-\d{2}([T ]00:00(:00(\.0+)?)?(Z|[+-]00:?00)?)?$"
TIME = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)? ?(Z|UTC|[+-]\d{2}(:?\d{2})?)?)?$"
OTHER_TYPES = ("mean", "median", "cdf", "pmf", "sample", "point", "bin", "mode")


def as_text(column: Any, dtype: Any) -> Any:
    """Returns cells as text, whole numbers without decimals; NaN becomes null.

    Args:
        column: Expression of the column.
        dtype: Its type.
    """
    pl = polars()
    if not dtype.is_float():
        return column.cast(pl.String)
    whole = column.is_finite() & (column == column.round()) & (column.abs() < 2**53)
    integer = pl.when(whole).then(column).otherwise(None).cast(pl.Int64, strict=False).cast(pl.String)
    return pl.coalesce(integer, column.fill_nan(None).cast(pl.String))


class Cells:
    """Expressions over the columns of one file.

    Args:
        path: The file.
        found: Name of each column in the file.
        dtypes: Types of the file's columns.
    """

    def __init__(self, path: Path, found: dict[str, str], dtypes: Any):
        self.pl, self.path, self.found, self.dtypes = polars(), path, found, dtypes

    def text(self, name: str) -> Any:
        """Reads a name; null where the cell is blank. Whole numbers lose decimals: 1.0 becomes 1.

        Args:
            name: Column.
        """
        pl = self.pl
        if name not in self.found:
            return pl.lit(None, pl.String).alias(name)
        text = as_text(pl.col(self.found[name]), self._dtype(name, "text"))
        return pl.when(text.str.strip_chars() == "").then(None).otherwise(text).alias(name)

    def words(self, name: str) -> Any:
        """Reads a cell as text, dates too.

        Args:
            name: Column.
        """
        self._dtype(name, "date")
        return self.pl.col(self.found[name]).cast(self.pl.String)

    def is_blank(self, name: str) -> Any:
        """Returns whether a cell is empty.

        Args:
            name: Column.
        """
        if name not in self.found:
            return self.pl.lit(True)
        return (self.words(name).str.strip_chars() == "").fill_null(True)

    def date(self, name: str) -> Any:
        """Reads a day; null where the cell is not a date, or has a time of day other than midnight.

        Args:
            name: Column.
        """
        return self._day(name, any_time=False)

    def day(self, name: str) -> Any:
        """Reads the day of a date with any time of day, as it is written in its own time zone.

        Args:
            name: Column.
        """
        return self._day(name, any_time=True)

    def _day(self, name: str, *, any_time: bool) -> Any:
        pl = self.pl
        if name not in self.found:
            return pl.lit(None, pl.Date).alias(name)
        column, dtype = pl.col(self.found[name]), self._dtype(name, "date")
        if isinstance(dtype, pl.Datetime):
            is_day = pl.lit(True) if any_time else column.dt.time() == pl.time(0)
            column = pl.when(is_day).then(column.dt.date()).otherwise(None)
        elif dtype != pl.Date:
            text = column.cast(pl.String)
            day = text.str.head(10).str.to_date("%Y-%m-%d", strict=False)
            column = pl.when(text.str.contains(TIME if any_time else DATE)).then(day).otherwise(None)
        inside = column.dt.year().is_between(*YEARS)
        return pl.when(inside).then(column).otherwise(None).cast(pl.Date).alias(name)

    def number(self, name: str) -> Any:
        """Reads a finite number; null where the cell is none.

        Args:
            name: Column.
        """
        pl = self.pl
        self._dtype(name, "number")
        return self.finite(pl.col(self.found[name]).cast(pl.Float64, strict=False)).alias(name)

    def finite(self, number: Any) -> Any:
        """Returns a number where it is not too large to be summed, else null.

        Args:
            number: Expression.
        """
        return self.pl.when(number.abs() <= LARGEST).then(number).otherwise(None)

    def horizon(self, number: Any, step_days: int) -> Any:
        """Returns a whole number of steps within a century, else null.

        Args:
            number: Expression.
            step_days: Days between two dates.
        """
        pl = self.pl
        whole = (number == number.round()) & (number.abs() * max(step_days, 1) <= FARTHEST_DAYS)
        return pl.when(whole).then(number).otherwise(None).cast(pl.Int32).alias("horizon")

    def level(self) -> Any:
        """Reads the level of a quantile, between 0 and 1 to six decimals; null where it is none."""
        pl = self.pl
        number = self.number("quantile")
        return pl.when(number.round(6).is_between(0, 1, closed="none")).then(number).otherwise(None).alias("quantile")

    def _dtype(self, name: str, kind: str) -> Any:
        pl = self.pl
        dtype = self.dtypes[self.found[name]]
        words = dtype in (pl.String, pl.Categorical, pl.Null) or isinstance(dtype, pl.Enum)
        known = words or dtype.is_numeric() or (kind == "date" and (dtype == pl.Date or isinstance(dtype, pl.Datetime)))
        if not known:
            raise InputError(
                f"{shown(self.path)}: expected {kind} in column {self.found[name]}, got cells of type {shown(dtype)}; "
                "write it as text, numbers or dates"
            )
        return dtype
