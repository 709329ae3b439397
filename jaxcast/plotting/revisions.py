"""Pictures of target data that are revised; matplotlib is imported only when one is drawn."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.plotting.quantiles import date_axis
from jaxcast.plotting.trajectories import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_revisions(
    ax: "Axes", dates: Shaped[ArrayLike, " time"], releases: Shaped[ArrayLike, "release time"]
) -> "Axes":
    """Draws target data as they were first released and as they are now.

    The band between them is what revisions have added or taken.

    Args:
        ax: to draw on.
        dates: of the target data.
        releases: the target data as known on the day of each release, oldest first; NaN where they
            were not known.

    Returns:
        The axes.

    Example:
        >>> import numpy as np
        >>> from jaxcast.plotting import plot_revisions
        >>> from matplotlib.figure import Figure
        >>> dates = np.arange("2021-01-02", "2021-01-23", 7, dtype="datetime64[D]")
        >>> releases = np.asarray([[5, np.nan, np.nan], [6, 7, np.nan], [6, 8, 9]])
        >>> ax = plot_revisions(Figure().subplots(), dates, releases)
        >>> [line.get_ydata().tolist() for line in ax.lines]
        [[5.0, 7.0, 9.0], [6.0, 8.0, 9.0]]
    """
    dates, releases = np.asarray(dates), np.asarray(releases, float)
    known = np.isfinite(releases)
    columns = np.arange(releases.shape[1])
    first = np.where(known.any(0), releases[known.argmax(0), columns], np.nan)
    newest = np.where(known.any(0), releases[len(releases) - 1 - known[::-1].argmax(0), columns], np.nan)
    ax.fill_between(dates, first, newest, color=ORANGE, alpha=0.25, lw=0)
    ax.plot(dates, first, color=ORANGE, lw=1.2, label="as first released")
    ax.plot(dates, newest, color=BLUE, lw=1.4, label="as known now")
    ax.set(ylim=(0, None) if np.nanmin(newest, initial=0) >= 0 else None, xlabel="date")
    ax.legend(frameon=False, fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    date_axis(ax, dates)
    return ax
