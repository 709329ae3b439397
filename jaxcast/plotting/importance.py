"""Pictures of what forecasts depend on; matplotlib is imported only when one is drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.errors import InputError
from jaxcast.plotting.trajectories import BLUE, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_importance(
    ax: "Axes",
    names: Sequence[str],
    mean: Shaped[ArrayLike, " input"] | Sequence[float | int],
    spread: Shaped[ArrayLike, " input"] | Sequence[float | int] | None = None,
    *,
    most: int = 20,
    ordered: bool = True,
    label: str = "increase of the loss",
) -> "Axes":
    """Draws the importance of inputs as bars, the largest at the top.

    Args:
        ax: to draw on.
        names: of the inputs.
        mean: the importance of each.
        spread: drawn as a line to either side; None for none.
        most: how many inputs are shown at most, those of the largest importance.
        ordered: whether they are sorted by importance; else they keep their order.
        label: of the importance.

    Returns:
        The axes.

    Raises:
        InputError: for names or spreads that are not one for each number.

    Example:
        >>> import jaxcast
        >>> from matplotlib.figure import Figure
        >>> ax = jaxcast.plotting.plot_importance(Figure().subplots(), ("lag 0", "heat"), [0.1, 0.4], [0.01, 0.02])
        >>> [text.get_text() for text in ax.get_yticklabels()]
        ['heat', 'lag 0']
    """
    values = np.asarray(mean, float)
    spreads = None if spread is None else np.asarray(spread, float)
    if values.shape != (len(names),) or (spreads is not None and spreads.shape != values.shape):
        raise InputError(f"expected a number for each of {len(names)} names, got shapes {values.shape}")
    chosen = np.argsort(-values, kind="stable")[:most]
    chosen = chosen if ordered else np.sort(chosen)
    places = np.arange(len(chosen))
    ax.barh(
        places,
        values[chosen],
        xerr=None if spreads is None else spreads[chosen],
        color=BLUE,
        height=0.7,
        error_kw={"lw": 1.0, "ecolor": "0.3"},
    )
    ax.set_yticks(places, [label_of(names[n]) for n in chosen])
    ax.invert_yaxis()
    ax.axvline(0, color="0.6", lw=0.8)
    ax.set_xlabel(label)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def plot_attention_by_lag(
    ax: "Axes",
    lags: Shaped[ArrayLike, " lag"],
    mean: Shaped[ArrayLike, " lag"],
    spread: Shaped[ArrayLike, " lag"] | None = None,
    *,
    season: int | None = None,
) -> "Axes":
    """Draws attention by lag, with its spread as a band and a line at each whole season.

    Args:
        ax: to draw on.
        lags: steps back from the step that is forecast.
        mean: the weight of each.
        spread: drawn as a band to either side; None for none.
        season: steps of a season; None for no lines.

    Returns:
        The axes.

    Example:
        >>> import jaxcast, numpy as np
        >>> from matplotlib.figure import Figure
        >>> weights = np.asarray([0.2, 0.5, 0.3])
        >>> ax = jaxcast.plotting.plot_attention_by_lag(Figure().subplots(), np.arange(3), weights, season=2)
        >>> ax.get_xlabel()
        'steps before the forecast'
    """
    lags, mean = np.asarray(lags), np.asarray(mean, float)
    ax.plot(lags, mean, color=BLUE, lw=1.4)
    if spread is not None:
        spread = np.asarray(spread, float)
        ax.fill_between(lags, np.maximum(mean - spread, 0), mean + spread, color=BLUE, alpha=0.2, lw=0)
    for place in range(season, int(lags.max()) + 1, season) if season else ():
        ax.axvline(place, color="0.8", lw=0.8, zorder=0)
    ax.set(xlabel="steps before the forecast", ylabel="attention", xlim=(lags.max(), lags.min()), ylim=(0, None))
    ax.spines[["top", "right"]].set_visible(False)
    return ax
