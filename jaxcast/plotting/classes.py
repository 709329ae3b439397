"""Pictures of classification: confusion tables, and words coloured by what they say."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.errors import InputError
from jaxcast.plotting.trajectories import label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_confusion(
    ax: "Axes", counts: Shaped[ArrayLike, "true predicted"] | Sequence[Sequence[int]], classes: Sequence[str]
) -> "Axes":
    """Draws a confusion table: the share of each true class that is predicted as each class.

    Args:
        ax: to draw on.
        counts: samples of each true class (row) that are predicted as each class (column); they
            stand in the cells.
        classes: names.

    Returns:
        The axes.

    Raises:
        InputError: for counts that are not of these classes.

    Example:
        >>> import jaxcast
        >>> from matplotlib.figure import Figure
        >>> ax = jaxcast.plotting.plot_confusion(Figure().subplots(), [[8, 2], [1, 9]], ["neg", "pos"])
        >>> ax.get_xlabel()
        'predicted'
    """
    table = np.asarray(counts, float)
    if table.shape != (len(classes), len(classes)):
        raise InputError(f"expected counts of {len(classes)} classes in rows and columns, got shape {table.shape}")
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{int(table[row, column])}\n{100 * share:.0f} %"
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > 0.5 else "black")
    names = [label_of(name) for name in classes]
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="true")
    return ax


def plot_word_saliency(
    ax: "Axes",
    words: Sequence[str],
    values: Shaped[ArrayLike, " word"] | Sequence[float | int],
    *,
    title: str = "",
    has_sign: bool = True,
    line_size: int = 105,
) -> "Axes":
    """Writes a text whose words are coloured by their values.

    Values with a sign are blue where a word speaks for the predicted class and red where it speaks
    against it. Values without one, such as attention, are grey: they say how much a word counts,
    and not for which class.

    Args:
        ax: to draw on.
        words: of the text.
        values: of each word; the colour is full at the largest absolute one.
        title: above the text.
        has_sign: whether the sign of a value says for or against; `WordSaliency` knows it.
        line_size: characters of a line.

    Returns:
        The axes.

    Raises:
        InputError: for values that are not one for each word, or negative ones without a sign.

    Example:
        >>> import jaxcast
        >>> from matplotlib.figure import Figure
        >>> ax = jaxcast.plotting.plot_word_saliency(Figure().subplots(), ["not", "bad"], [0.8, -0.2])
        >>> [text.get_text() for text in ax.texts]
        ['not', 'bad']
    """
    from matplotlib import colormaps

    found = np.asarray(values, float)
    if found.shape != (len(words),) or not len(words):
        raise InputError(f"expected a value for each of {len(words)} words, at least one, got shape {found.shape}")
    if not has_sign and (found < 0).any():
        raise InputError(f"expected values of zero or more with has_sign=False, got {found.min():g}")
    scaled = found / max(np.abs(found).max(), 1e-300)
    places, lines = _places(words, line_size)
    for word, (column, line), value in zip(words, places, scaled, strict=True):
        # A part of the map: full colours would hide the letters.
        colour = colormaps["RdBu"](0.5 + 0.35 * value) if has_sign else colormaps["Greys"](0.5 * abs(value))
        box = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
        at = (column / line_size, 1 - (line + 0.5) / max(lines, 2))
        ax.text(*at, word, family="monospace", fontsize=8.5, va="center", bbox=box, parse_math=False)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_title(title, fontsize=8, loc="left", parse_math=False)
    ax.axis("off")
    return ax


def _places(words: Sequence[str], line_size: int) -> tuple[list[tuple[int, int]], int]:
    """Returns column and line of each word, and the number of lines."""
    places, column, line = [], 0, 0
    for word in words:
        if column and column + len(word) > line_size:
            column, line = 0, line + 1
        places.append((column, line))
        column += len(word) + 1
    return places, line + 1
