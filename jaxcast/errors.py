"""The one exception that means: the caller's input cannot be used."""

from typing import Any, SupportsIndex

MOST_SHOWN = 200
"""Characters of input that one message repeats at most."""


class InputError(ValueError):
    """Bad input. The message is one line: what was expected, what came, and how to fix it.

    Entry points print it without a traceback and exit with code 2.
    """


def counted(number: SupportsIndex, noun: str) -> str:
    """Formats a number of things for a message.

    Args:
        number: how many.
        noun: what they are, in the singular; its plural ends in s.

    Returns:
        The number and the noun.

    Example:
        >>> from jaxcast.errors import counted
        >>> counted(1, "row"), counted(2, "row")
        ('1 row', '2 rows')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shown(value: Any, most: int = MOST_SHOWN) -> str:
    """Formats input for a message: on one line, without control characters, cut after `most` characters.

    Args:
        value: what came; its `str` is shown.
        most: characters to show.

    Returns:
        The text; what is cut is counted.

    Example:
        >>> from jaxcast.errors import shown
        >>> shown("two" + chr(10) + "lines"), shown("a" * 300, most=5)
        ('two\\\\nlines', 'aaaaa... (295 more characters)')
    """
    text = str(value)
    cut = text if len(text) <= most else f"{text[:most]}... ({len(text) - most} more characters)"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in cut)
