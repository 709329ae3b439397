"""How the target data of a hub were revised from release to release."""

from typing import NamedTuple

import numpy as np

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.hub.arrays import Hub


class Revisions(NamedTuple):
    """A summary of the releases of a hub's target data.

    Args:
        num_releases: Number of releases.
        first: Day of the first.
        last: Day of the newest, with which the others are compared.
        gaps: Days before and after each time without releases, at least twice the median.
        num_values: Number of values, one for each location and date of the hub.
        share_changed: Share of the values that differ between their first and the newest release.
        mean_change: Mean of |newest - first| / |newest| over the values whose newest is not zero.
        drift: Sum of newest - first over the sum of the newest: above 0 where revisions are
            upwards.
        newest_seen: What forecasters saw: sum of |newest - seen| over the sum of the newest, for
            the newest value that the release of each round had.
        missing_seen: Share of these that the release of the round did not have yet.
    """

    num_releases: int
    first: np.datetime64
    last: np.datetime64
    gaps: tuple[tuple[np.datetime64, np.datetime64], ...]
    num_values: int
    share_changed: float
    mean_change: float
    drift: float
    newest_seen: float
    missing_seen: float

    def __str__(self) -> str:
        gaps = ", ".join(f"{before} to {after}" for before, after in self.gaps)
        return (
            f"{self.num_releases} releases of the truth, {self.first} to {self.last}"
            f"{f' (none from {gaps})' if gaps else ''}: {self.share_changed:.0%} of {self.num_values} values changed "
            f"after their first, by {self.mean_change:.1%} on average, {abs(self.drift):.1%} "
            f"{'upwards' if self.drift >= 0 else 'downwards'} in all; "
            + (
                f"the newest value that forecasters saw was off by {self.newest_seen:.1%}"
                if self.missing_seen < 1
                else "no release came out in time to hold the newest date that its round may know"
            )
        )


@checked
def summarise_revisions(hub: Hub) -> Revisions:
    """Summarises how the target data of a hub were revised.

    Args:
        hub: A hub whose target data have releases.

    Returns:
        The number of the releases, and the size of the revisions.

    Raises:
        InputError: for a hub without releases, or whose releases hold no value.

    Example:
        >>> import dataclasses, jaxcast, numpy as np
        >>> dates = np.arange("2024-01-06", "2024-01-20", np.timedelta64(7, "D"), dtype="datetime64[D]")
        >>> hub = jaxcast.hub.Hub(
        ...     np.ones((1, 2, 1, 1)), np.asarray([[5.0, 8.0]]), np.asarray([[[np.nan], [4.0]]]), ("01",), dates,
        ...     ("a",), np.asarray([0.5]), 1,
        ...     releases=np.asarray([[[4.0, np.nan]], [[5.0, 8.0]]]), as_of=dates + np.timedelta64(4, "D"),
        ...     release_of=np.asarray([-1, 0]),
        ... )
        >>> found = jaxcast.hub.summarise_revisions(hub)
        >>> found.share_changed, found.mean_change
        (0.5, 0.1)
    """
    if hub.releases is None or hub.as_of is None:
        raise InputError("the target data of this hub have no releases; read a table with a column as_of")
    if np.isnan(hub.releases[-1]).all():
        raise InputError("the newest release has no value for the locations and dates of this hub")
    steps = np.diff(hub.as_of).astype(int)
    gaps = np.flatnonzero(steps >= 2 * np.median(steps)) if len(steps) else np.zeros(0, int)
    seen, final = _seen(hub)
    is_seen = ~np.isnan(seen)
    return Revisions(
        len(hub.as_of),
        hub.as_of[0],
        hub.as_of[-1],
        tuple((hub.as_of[i], hub.as_of[i + 1]) for i in gaps),
        *revision_sizes(hub.releases),
        float(np.abs(final - seen)[is_seen].sum() / np.abs(final[is_seen]).sum()) if final[is_seen].any() else 0.0,
        float(1 - is_seen.mean()) if is_seen.size else 0.0,
    )


def revision_sizes(releases: np.ndarray) -> tuple[int, float, float, float]:
    """Compares the first value of each location and date with that of the newest release.

    Args:
        releases: Values (release, location, time), NaN where a release has none.

    Returns:
        The number of values, the share that changed, their mean relative change, and their drift;
        see `Revisions`.
    """
    is_value = ~np.isnan(releases[-1])
    newest = releases[-1][is_value]
    first = np.take_along_axis(releases, (~np.isnan(releases)).argmax(0)[None], 0)[0][is_value]
    total, is_sized = np.abs(newest).sum(), newest != 0
    relative = np.abs(newest - first)[is_sized] / np.abs(newest[is_sized])
    return (
        len(newest),
        float((first != newest).mean()),
        float(relative.mean()) if len(relative) else 0.0,
        float((newest - first).sum() / total) if total else 0.0,
    )


def _seen(hub: Hub) -> tuple[np.ndarray, np.ndarray]:
    """Returns the newest value that each round could have, and its final value, where known."""
    final = hub.truth[:, : -hub.steps_ahead]
    seen = hub.observed[:, hub.steps_ahead :, 0]
    is_known = np.isfinite(final) & np.any(hub.present, (0, 2))[hub.steps_ahead :]
    return seen[is_known], final[is_known]
