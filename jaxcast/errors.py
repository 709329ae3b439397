"""The exception for input that cannot be used, and formats for its messages."""

from typing import Any, SupportsIndex

MOST_SHOWN = 200
"""The most characters of input that one message repeats."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line: what was expected, what was found, and how to fix it. Commands print it
    without a traceback and exit with code 2.
    """


def counted(number: SupportsIndex, noun: str) -> str:
    """Formats a number of things for a message.

    Args:
        number: how many.
        noun: in the singular; its plural must end in s.

    Returns:
        The number and the noun.

    Example:
        >>> from jaxcast.errors import counted
        >>> counted(1, "row"), counted(2, "row")
        ('1 row', '2 rows')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shown(value: Any, most: int = MOST_SHOWN) -> str:
    """Formats input for a message: one line, without control characters, cut to a length.

    Args:
        value: the input; its `str` is shown.
        most: how many characters to show.

    Returns:
        The text, with the number of characters that were cut.

    Example:
        >>> from jaxcast.errors import shown
        >>> shown("two" + chr(10) + "lines"), shown("a" * 300, most=5)
        ('two\\\\nlines', 'aaaaa... (295 more characters)')
    """
    text = str(value)
    cut = text if len(text) <= most else f"{text[:most]}... ({len(text) - most} more characters)"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in cut)
