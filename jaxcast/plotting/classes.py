"""Pictures of classification: confusion tables, and words coloured by what they say."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.errors import InputError
from jaxcast.plotting.trajectories import label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_SIZE = 105
"""Characters of a line of text, by default."""
MOST_LINES = 12
"""Of a text that is drawn; what follows is left out."""
MANY_CLASSES = 10
"""Classes beyond which a confusion table has no room for shares."""


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
    is_small = len(classes) <= MANY_CLASSES
    for (row, column), share in np.ndenumerate(shares):
        count = int(table[row, column])
        text = f"{count}\n{100 * share:.0f} %" if is_small else str(count) if count else ""
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if share > 0.5 else "black")
    names = [label_of(name, 20) for name in classes]
    turned: dict[str, Any] = {"rotation": 45, "ha": "right"} if _is_wide(names) else {}
    ax.set_xticks(range(len(names)), names, **turned)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="true")
    return ax


def confusion_size(classes: Sequence[str]) -> float:
    """Returns the inches in which `plot_confusion` has room for some classes.

    Args:
        classes: their names.
    """
    longest = max(len(label_of(name, 20)) for name in classes)
    return min(24.0, max(3.6, 0.5 * len(classes) + 0.09 * longest + 0.8))


def _is_wide(names: Sequence[str]) -> bool:
    """Returns whether names do not fit beside each other below the columns."""
    return len(names) * max(map(len, names)) > 30


def plot_word_saliency(
    ax: "Axes",
    words: Sequence[str],
    values: Shaped[ArrayLike, " word"] | Sequence[float | int],
    *,
    title: str = "",
    has_sign: bool = True,
    line_size: int = LINE_SIZE,
) -> "Axes":
    """Writes a text whose words are coloured by their values.

    Values with a sign are blue where a word speaks for the predicted class and red where it speaks
    against it. Values without one, such as attention, are grey: they say how much a word counts,
    and not for which class. Of a long text the first lines are drawn, and "..." after them.

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
    places = _places(words, line_size)
    lines = _num_lines(places, words)
    style: dict[str, Any] = {"family": "monospace", "fontsize": 8.5, "va": "center"}
    for word, (column, line), value in zip(words, places, scaled, strict=False):
        # A part of the map: full colours would hide the letters.
        colour = colormaps["RdBu"](0.5 + 0.35 * value) if has_sign else colormaps["Greys"](0.5 * abs(value))
        box = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
        ax.text(column / line_size, 1 - (line + 0.5) / lines, label_of(word), bbox=box, **style)
    if len(places) < len(words):
        ax.text(0, 0.5 / lines, "...", **style)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_title(title, fontsize=8, loc="left", parse_math=False)
    ax.axis("off")
    return ax


def saliency_height(words: Sequence[str]) -> float:
    """Returns the inches in which `plot_word_saliency` has room for a text, in a figure 10 inches wide.

    Args:
        words: of the text.
    """
    return 0.5 + 0.21 * _num_lines(_places(words, LINE_SIZE), words)


def _num_lines(places: Sequence[tuple[int, int]], words: Sequence[str]) -> int:
    """Returns how many lines are drawn, two at least."""
    return max(2, places[-1][1] + 1 + (len(places) < len(words)))


def _places(words: Sequence[str], line_size: int) -> list[tuple[int, int]]:
    """Returns column and line of each word, of those in the first lines."""
    places, column, line = [], 0, 0
    for word in words:
        size = len(label_of(word))
        if column and column + size > line_size:
            column, line = 0, line + 1
        if line == MOST_LINES:
            break
        places.append((column, line))
        column += size + 1
    return places
