"""Tables of who was in a pool: the weight of each model in each round and location."""

from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.hub.arrays import Hub
from jaxcast.io.tables import polars


@checked
def membership_table(hub: Hub, weights: Shaped[ArrayLike, "location time model"] | None = None) -> Any:
    """Lists the models of a pool with their weights, a row for each location, round and model.

    Args:
        hub: Hub whose models were pooled.
        weights: Weight of each model, such as a pool's `info["weights"]`; None for a pool without
            weights, such as the median.

    Returns:
        A polars data frame with location, reference_date, target_end_date, horizon, model, status
        and weight, for the locations and dates that any model forecast. The status is "absent"
        without a forecast, "left out" for a forecast of weight zero, which for the pools here is
        one of an outlier, and otherwise "pooled".

    Raises:
        InputError: for weights of other locations, dates or models than the hub's.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.asarray(["2024-01-06"], "datetime64[D]")
        >>> values = np.asarray([[[[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [np.nan] * 3]]])
        >>> levels = np.asarray([0.25, 0.5, 0.75])
        >>> hub = jaxcast.hub.Hub(
        ...     values, np.ones((1, 1)), np.ones((1, 1, 1)), ("01",), dates, ("a", "b", "c"), levels, 1
        ... )
        >>> table = jaxcast.hub.membership_table(hub, np.asarray([[[1.0, 0.0, 0.0]]]))
        >>> table["status"].to_list(), table["weight"].to_list()
        (['pooled', 'left out', 'absent'], [1.0, 0.0, None])
    """
    pl = polars()
    present = hub.present
    if weights is not None and np.shape(weights) != present.shape:
        raise InputError(f"expected weights {present.shape}, one for each forecast of the hub, got {np.shape(weights)}")
    any_model = np.broadcast_to(present.any(-1, keepdims=True), present.shape)
    place, time, model = np.nonzero(any_model)
    there = present[place, time, model]
    weight = np.full(len(place), np.nan) if weights is None else np.asarray(weights, float)[place, time, model]
    status = np.where(there, np.where(weight == 0, "left out", "pooled"), "absent")
    frame = pl.DataFrame(
        {
            "location": np.asarray(hub.locations)[place],
            "reference_date": hub.reference_dates[time].astype("datetime64[ms]"),
            "target_end_date": hub.dates[time].astype("datetime64[ms]"),
            "horizon": np.full(len(place), hub.horizon),
            "model": np.asarray(hub.models)[model],
            "status": status,
            "weight": np.where(there, weight, np.nan),
        }
    )
    return frame.with_columns(
        pl.col("reference_date", "target_end_date").cast(pl.Date), pl.col("weight").fill_nan(None)
    )
