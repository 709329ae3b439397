"""Figures of the commands: matplotlib is asked for by name where it is missing."""

from pathlib import Path
from typing import Any

from jaxcast.errors import InputError
from jaxcast.storage.files import whole_file


def figure_of(*, width: float = 10.0, height: float = 4.4) -> Any:
    """An empty figure, in inches.

    Raises:
        InputError: where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("pictures need matplotlib: pip install 'jaxcast[experiments]', or leave --plot out") from None
    return Figure(figsize=(width, height), layout="constrained")


def save_picture(figure: Any, path: Path) -> None:
    """Writes a picture in one piece."""
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
