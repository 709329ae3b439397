"""Checks the structure of CSV files, as parsers fill short rows and join lines without a word."""

import codecs
import csv
from pathlib import Path
from typing import NoReturn

import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.io.table_text import encoding_of, separator_in

BLOCK = 1 << 22
COMMA, NEWLINE, RETURN, QUOTE = (ord(character) for character in ',\n\r"')


def check_csv(path: Path) -> None:
    """Checks that a CSV file is in UTF-8, with closed quotes and the same number of cells in each row.

    Args:
        path: The file.

    Raises:
        InputError: with the row (counted from 1 below the header) for another encoding, a stray or
            unclosed quote, or a row of another length; also for two columns of the same name.
    """
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{shown(path)} is empty; give a header and a row for every forecast")
        data = np.memmap(path, np.uint8, mode="r")
        scan = _Scan(path, data)
        for start in range(0, len(data), BLOCK):
            scan.take(start, data[start : start + BLOCK])
        scan.finish()
        _check_names(path)
        if scan.newline_in_cell:
            _check_cells(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{shown(path)} cannot be read as a table ({shown(error)}); save it as a CSV in UTF-8"
        ) from None


class _Scan:
    """The state carried from one block of a file to the next."""

    def __init__(self, path: Path, data: np.ndarray):
        self.path, self.data = path, data
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.inside = self.newline_in_cell = False
        self.expected: int | None = None
        self.num_rows, self.row_start, self.commas = 0, 0, 0

    def take(self, start: int, block: np.ndarray) -> None:
        quotes = np.flatnonzero(block == QUOTE)
        quoted = np.zeros(len(block), bool)
        if self.inside or len(quotes):
            quoted = ((np.cumsum(block == QUOTE) + self.inside) % 2).astype(bool)
        newline = block == NEWLINE
        ends = np.flatnonzero(newline & ~quoted)
        self._check_text(block, ends)
        self._check_quotes(quotes + start, quoted[quotes], ends + start)
        returns = np.flatnonzero((block == RETURN) & ~quoted) + start
        lonely = returns[self.data[np.minimum(returns + 1, len(self.data) - 1)] != NEWLINE]
        if len(lonely) and lonely[0] != len(self.data) - 1:
            self._refuse(self._row_at(lonely[0], ends + start), "has a carriage return without a line feed")
        self.newline_in_cell |= bool((newline & quoted).any())
        self._count(np.flatnonzero((block == COMMA) & ~quoted), ends, start)
        self.inside = bool(quoted[-1])

    def finish(self) -> None:
        if self.inside:
            self._refuse(self.num_rows, "opens a quote that is never closed")
        self.decoder.decode(b"", final=True)
        if self.row_start < len(self.data):
            self._check_row(self.num_rows, self.commas, len(self.data) - self.row_start)

    def _check_text(self, block: np.ndarray, ends: np.ndarray) -> None:
        try:
            self.decoder.decode(block.tobytes())
        except UnicodeDecodeError as error:
            row = self.num_rows + int(np.searchsorted(ends, error.start))
            encoding = encoding_of(self.data[:1000].tobytes())
            self._refuse(
                row, f"is not in UTF-8{f', the file is {encoding}' * bool(encoding)}", "save the table in UTF-8"
            )
        nothing = np.flatnonzero(block == 0)
        if len(nothing):
            self._refuse(self.num_rows + int(np.searchsorted(ends, nothing[0])), "holds a NUL character")

    def _check_quotes(self, places: np.ndarray, opens: np.ndarray, ends: np.ndarray) -> None:
        """Checks that every quote opens a cell, closes one, or is doubled within one."""
        last = len(self.data) - 1
        before, after = self.data[np.maximum(places - 1, 0)], self.data[np.minimum(places + 1, last)]
        starts = (places == 0) | np.isin(before, [COMMA, NEWLINE, QUOTE]) | ((places == 3) & (self.data[0] == 0xEF))
        stops = (places == last) | np.isin(after, [COMMA, NEWLINE, RETURN, QUOTE])
        stray = np.flatnonzero(np.where(opens, ~starts, ~stops))
        if len(stray):
            self._refuse(self._row_at(places[stray[0]], ends), "holds a stray quote")

    def _count(self, commas: np.ndarray, ends: np.ndarray, start: int) -> None:
        """Counts the commas of each row that ends in this block."""
        if len(ends):
            counts = np.diff(np.searchsorted(commas, ends), prepend=0)
            counts[0] += self.commas
            starts = np.concatenate([[self.row_start], ends[:-1] + start + 1])
            lengths = ends + start - starts
            if self.expected is None:
                self._check_row(0, int(counts[0]), int(lengths[0]))
            blank = (lengths == 0) | ((lengths == 1) & (self.data[starts] == RETURN))
            odd = np.flatnonzero((counts != self.expected) & ~blank)
            if len(odd) and self.expected is not None:
                self._check_row(self.num_rows + int(odd[0]), int(counts[odd[0]]), int(lengths[odd[0]]))
            self.num_rows += len(ends)
            self.row_start, self.commas = int(ends[-1]) + start + 1, 0
            commas = commas[commas > ends[-1]]
        self.commas += len(commas)

    def _check_row(self, row: int, commas: int, length: int) -> None:
        if row == 0:
            self.expected = commas
        elif commas != self.expected and length > 0:
            expected = 0 if self.expected is None else self.expected
            self._refuse(row, f"has {commas + 1} cells, the header {expected + 1}")

    def _row_at(self, place: int | np.integer, ends: np.ndarray) -> int:
        return self.num_rows + int(np.searchsorted(ends, place))

    def _refuse(self, row: int, what: str, fix: str = "fix the row") -> NoReturn:
        where = "the header" if row == 0 else f"row {row}"
        raise InputError(f"{shown(self.path)}, {where} {what}; {fix}")


def _check_names(path: Path) -> None:
    with path.open(newline="", encoding="utf-8-sig") as file:
        names = next(csv.reader(file), [])
    if len(names) == 1 and (found := separator_in(names[0])):
        raise InputError(f"{shown(path)}: expected cells separated by commas, got {found}; save the table with commas")
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(f"{shown(path)}: two columns are called {shown(twice[0])}; give each column a name of its own")


def _check_cells(path: Path) -> None:
    """Refuses cells that hold whole rows: two stray quotes make one cell of all rows between them."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, strict=True)
        size = len(next(rows))
        for number, row in enumerate(rows, start=1):
            breaks = [(cell.count("\n"), cell.count(",")) for cell in row if "\n" in cell]
            if any(commas == lines * (size - 1) > 0 for lines, commas in breaks):
                raise InputError(
                    f"{shown(path)}, row {number}: a cell holds whole rows; a quote is open or missing, fix it"
                )
