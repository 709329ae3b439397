"""Tables of texts: a .csv with a column of texts and one of their classes."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxcast.arguments import checked
from jaxcast.errors import InputError, shown
from jaxcast.io.archives import check_is_file
from jaxcast.io.table_text import encoding_of, separator_in

LONGEST = 2**24
"""Most characters of a text."""


class TextTable(NamedTuple):
    """The texts of a table.

    Args:
        texts: of the rows, in their order; may be empty.
        labels: class of each text; None where no column of them was asked for.

    Example:
        >>> import jaxcast
        >>> jaxcast.text.TextTable(("good", "bad"), ("pos", "neg")).labels
        ('pos', 'neg')
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None


@checked
def read_text_table(
    path: str | Path, *, text_column: str = "text", label_column: str | None = "label", encoding: str = "utf-8"
) -> TextTable:
    """Reads a .csv of texts and their classes, with a header.

    Args:
        path: the table; texts with commas or line breaks stand in double quotes. An empty line is
            an empty text where there is one column, and is left out where there are more.
        text_column: name of the column of texts.
        label_column: name of the column of classes; None for texts without.
        encoding: of the file, such as "latin-1"; a byte-order mark of UTF-8 is dropped.

    Returns:
        The texts and classes of all rows.

    Raises:
        InputError: for a file that is missing or no such table, another encoding, a column that is
            missing or there twice, a row of another length, or an empty class.

    Example:
        >>> import jaxcast, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "reviews.csv"
        >>> _ = file.write_text('text,label\\n"good, and fun",pos\\nbad,neg\\n')
        >>> jaxcast.text.read_text_table(file).texts
        ('good, and fun', 'bad')
    """
    path = Path(path)
    check_is_file(path, "a .csv with a column of texts")
    if path.suffix.lower() != ".csv":
        raise InputError(f"expected a table of texts, .csv, got {shown(path)}")
    header, rows = _rows(path, _decoded(path, encoding))
    columns = [_column(path, header, text_column, "text-column")]
    if label_column is not None:
        columns.append(_column(path, header, label_column, "label-column"))
    texts = tuple(row[columns[0]] for _, row in rows)
    if label_column is None:
        return TextTable(texts)
    for line, row in rows:
        if not row[columns[1]].strip():
            raise InputError(
                f"{shown(path)}, line {line}: the column {shown(repr(label_column))} is empty; give a class"
            )
    return TextTable(texts, tuple(row[columns[1]].strip() for _, row in rows))


def _decoded(path: Path, encoding: str) -> str:
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read ({error.strerror}); give a .csv that you can read") from None
    except LookupError:
        raise InputError(
            f"encoding must be one that Python knows, such as latin-1, got {shown(repr(encoding))}"
        ) from None
    except UnicodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1 if isinstance(error, UnicodeDecodeError) else 1
        guess = encoding_of(raw) or "text in another encoding, such as latin-1 or cp1252"
        raise InputError(
            f"{shown(path)}, line {line}: expected text in {shown(encoding)}, got {guess}; name it by --encoding, or "
            "save the table in UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        guess = encoding_of(raw) or "a NUL character"
        raise InputError(f"{shown(path)}, line {line}: expected text, got {guess}; name its encoding by --encoding")
    return text


def _rows(path: Path, text: str) -> tuple[Sequence[str], list[tuple[int, list[str]]]]:
    """Returns the header, and each row with the line at which it ends."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    if "," not in first and (name := separator_in(first)):
        raise InputError(f"{shown(path)}: its columns are separated by {name}, expected commas; save it with commas")
    old = csv.field_size_limit(LONGEST)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise InputError(
            f"{shown(path)}, line {reader.line_num}: a quote is not closed, or out of place ({shown(error)}); write "
            "texts with quotes or commas in double quotes, and double those inside"
        ) from None
    finally:
        csv.field_size_limit(old)
    rows = _without_empty_lines(rows)
    if len(rows) < 2:
        raise InputError(f"{shown(path)} holds no rows; give a header and a row for each text")
    header = [name.strip() for name in rows[0][1]]
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(
                f"{shown(path)}, line {line}: expected {len(header)} columns, got {len(row)}; write texts with commas "
                "in double quotes"
            )
    return header, rows[1:]


def _without_empty_lines(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Leaves empty lines out, but those between the rows of a single column, which are empty texts."""
    filled = [k for k, (_, row) in enumerate(rows) if row]
    if not filled or len(rows[filled[0]][1]) > 1:
        return [rows[k] for k in filled]
    return [(line, row or [""]) for line, row in rows[filled[0] : filled[-1] + 1]]


def _column(path: Path, header: Sequence[str], name: str, option: str) -> int:
    if header.count(name) > 1:
        raise InputError(
            f"{shown(path)} has {header.count(name)} columns {shown(repr(name))}; rename them, or name another by "
            f"--{option}"
        )
    if name not in header:
        raise InputError(
            f"{shown(path)} has no column {shown(repr(name))}; its columns are {shown(', '.join(header))}; name one by "
            f"--{option}"
        )
    return header.index(name)
