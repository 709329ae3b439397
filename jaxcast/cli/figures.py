"""Figures of the commands."""

from typing import Any

from jaxcast.errors import InputError


def figure_of(*, width: float = 10.0, height: float = 4.4) -> Any:
    """Returns an empty figure.

    Args:
        width: Width in inches.
        height: Height in inches.

    Raises:
        InputError: where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'jaxcast[experiments]', or leave out --plot") from None
    return Figure(figsize=(width, height), layout="constrained")
