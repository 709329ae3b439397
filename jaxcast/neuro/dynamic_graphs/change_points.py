"""Change points of signals whose level changes in steps."""

import numpy as np
from jaxtyping import Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_finite, check_number, check_sizes
from jaxcast.errors import InputError


@checked
def change_points(
    signals: Float[np.ndarray, "time signal"],
    *,
    penalty: float | int = 5.0,
    min_size: int = 20,
    max_size: int = 60,
) -> Int[np.ndarray, " piece"]:
    """Finds the jumps of the best piecewise-constant fit of several signals.

    It minimises, over all pieces of permitted lengths, by dynamic programming,

        sum_t |y_t - m_t|^2 + penalty s^2 (number of pieces - 1),    s^2 = mean_t |y_t - mean y|^2

    where m_t is the mean of the piece that holds t. A jump is thus found where it explains more
    than the variance of `penalty` scans. All signals jump together.

    Args:
        signals: such as the mean activity of each module.
        penalty: of each jump, not negative.
        min_size: scans of the shortest piece.
        max_size: scans of the longest piece; a longer one is split even without a jump. Any
            number of scans can be split if it is at least 2 min_size - 1.

    Returns:
        The first scan of each piece, 0 to begin with.

    Raises:
        InputError: for sizes that do not fit each other, signals shorter than a piece or not
            finite, or a negative penalty.

    Source:
        Jackson et al. (2005), An algorithm for optimal partitioning of data on an interval.

    Example:
        >>> import numpy as np, jaxcast
        >>> signals = np.repeat([[0.0, 1.0], [3.0, 1.0], [3.0, -1.0]], [25, 40, 30], axis=0)
        >>> jaxcast.neuro.change_points(signals).tolist()
        [0, 25, 65]
    """
    check_sizes(min_size=min_size, max_size=max_size)
    check_number("penalty", penalty, least=0)
    check_finite(signals, "scan")
    signals = np.asarray(signals, float)
    num_scans = len(signals)
    if max_size < 2 * min_size - 1:
        raise InputError(
            f"max_size must be at least 2 * min_size - 1 = {2 * min_size - 1}, so that any number of scans can be "
            f"split, got {max_size}"
        )
    if num_scans < min_size:
        raise InputError(f"expected signals of at least min_size = {min_size} scans, got {num_scans}")
    centred = signals - signals.mean(0)
    per_jump = penalty * np.square(centred).sum() / num_scans
    sums = np.concatenate([np.zeros((1, signals.shape[1])), np.cumsum(centred, 0)])
    # |sum|^2 / n of a piece is what its mean explains; the total of squares is the same for all fits.
    best, last = np.full(num_scans + 1, np.inf), np.zeros(num_scans + 1, int)
    best[0] = -per_jump
    for end in range(min_size, num_scans + 1):
        starts = np.arange(max(0, end - max_size), end - min_size + 1)
        explained = np.square(sums[end] - sums[starts]).sum(1) / (end - starts)
        costs = best[starts] - explained + per_jump
        chosen = int(costs.argmin())
        best[end], last[end] = costs[chosen], starts[chosen]
    found, end = [], num_scans
    while end:
        end = int(last[end])
        found.append(end)
    return np.asarray(found[::-1])
