"""Fills the gaps of a hub as the paper did, with later forecasts; only to reproduce its numbers."""

import dataclasses

import numpy as np

from jaxcast.arguments import checked
from jaxcast.hub.arrays import Hub


@checked
def fill_gaps(hub: Hub, *, longest: int = 2) -> Hub:
    """Fills the gaps of a hub by the three steps of the paper. Many of the filled values are invented.

    Gaps of up to `longest` times between two forecasts of a model are interpolated linearly in
    time. Longer gaps, and those at either end, take the mean of the models that are present. Where
    none is, each model's nearest forecast in time is used. The first and the last step read later
    forecasts.

    Args:
        hub: The hub.
        longest: Length of the longest gap that is interpolated, in time steps.

    Returns:
        The hub without gaps, where a location has any forecast at all.

    Source:
        Patel and Wikner (2023), section 3.2.

    Example:
        >>> import dataclasses, jaxcast, numpy as np
        >>> forecasts = np.asarray([1.0, np.nan, 3.0]).reshape(1, 3, 1, 1)
        >>> hub = jaxcast.hub.Hub(
        ...     forecasts, np.ones((1, 3)), np.ones((1, 3, 1)), ("X",), np.arange(3), ("a",), np.asarray([0.5]), 1
        ... )
        >>> jaxcast.hub.fill_gaps(hub).quantiles.ravel().tolist()
        [1.0, 2.0, 3.0]
    """
    present = hub.present
    filled = np.array(hub.quantiles, float)  # means of whole numbers are none
    with np.errstate(invalid="ignore"):
        total = np.where(present[..., None], filled, 0).sum(2)
    num_present = present.sum(2)
    mean = total / np.maximum(num_present, 1)[..., None]
    for place, model in np.ndindex(present.shape[0], present.shape[2]):
        there = np.flatnonzero(present[place, :, model])
        for time in np.flatnonzero(~present[place, :, model]):
            before, after = there[there < time], there[there > time]
            if len(before) and len(after) and after[0] - before[-1] - 1 <= longest:
                share = (time - before[-1]) / (after[0] - before[-1])
                ends = filled[place, [before[-1], after[0]], model]
                filled[place, time, model] = (1 - share) * ends[0] + share * ends[1]
            elif num_present[place, time]:
                filled[place, time, model] = mean[place, time]
            elif len(there):
                nearest = there[np.abs(there - time).argmin()]
                filled[place, time, model] = filled[place, nearest, model]
    return dataclasses.replace(hub, quantiles=filled)
