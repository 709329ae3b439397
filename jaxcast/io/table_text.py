"""Signs of text tables in another encoding, or with another separator."""

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
FORMATS = {
    b"PK\x03\x04": "a zip archive or an Excel file",
    b"PAR1": "a parquet table",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 or netCDF file",
}


def encoding_of(raw: bytes) -> str:
    """Guesses the format of bytes that are no UTF-8 text, or that hold NUL characters.

    Args:
        raw: First bytes of a file, some hundred or all.

    Returns:
        A few words for a message, such as "UTF-16"; "" for nothing known.

    Example:
        >>> from jaxcast.io.table_text import encoding_of
        >>> encoding_of("time,a".encode("utf-16"))
        'UTF-16'
    """
    for magic, name in FORMATS.items():
        if raw.startswith(magic):
            return name
    has_zeros = len(raw) > 3 and raw[:200].count(0) * 3 > len(raw[:200])
    return "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or has_zeros else ""


def separator_in(line: str) -> str:
    """Finds the separator of a line without commas between its columns.

    Args:
        line: First line of a table.

    Returns:
        The separator in words, such as "semicolons"; "" for none of those known.

    Example:
        >>> from jaxcast.io.table_text import separator_in
        >>> separator_in("time;a;b")
        'semicolons'
    """
    return next((name for separator, name in SEPARATORS.items() if separator in line), "")
