"""Brings windows and categories of a panel into the form of a network."""

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxcast.errors import InputError, shown
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.windows import PanelWindows

SERIES = "series"
"""The category of a model that has a vector for each series."""


def standardised(
    windows: PanelWindows, mean: Float[np.ndarray, " covariate"], std: Float[np.ndarray, " covariate"]
) -> PanelWindows:
    """Standardises the covariates of windows; features of time stay as they are.

    Args:
        windows: with past covariates, features of time before future covariates, and static ones.
        mean: of past, future and static covariates.
        std: of the same.

    Returns:
        The windows.
    """
    num_past, num_static = windows.past.shape[-1], windows.static.shape[-1]
    num_future = len(mean) - num_past - num_static
    num_time = windows.known.shape[-1] - num_future
    bounds = (num_past, num_past + num_future)
    (past_mean, future_mean, static_mean), (past_std, future_std, static_std) = (
        np.split(a, bounds) for a in (mean, std)
    )
    future = (windows.known[..., num_time:] - future_mean) / future_std
    changed: dict[str, Any] = {
        "past": (windows.past - past_mean) / past_std,
        "known": np.concatenate([windows.known[..., :num_time], future], -1),
        "static": (windows.static - static_mean) / static_std,
    }
    return windows._replace(**changed)


def with_categories(
    panel: SeriesPanel, names: tuple[str, ...], values: tuple[tuple[str, ...], ...], what: str = "the panel"
) -> SeriesPanel:
    """Numbers the categories of a panel by given values; 0 for others.

    Args:
        panel: with these categories; "series" stands for the names of its series.
        names: of the categories, in their order.
        values: of each.
        what: what to call the panel in a message.

    Returns:
        The panel.

    Raises:
        InputError: for a category that it has not.
    """
    columns = []
    for name, known in zip(names, values, strict=True):
        number = {value: n + 1 for n, value in enumerate(known)}
        if name in panel.category_names:
            at = panel.category_names.index(name)
            mapped = np.asarray([0, *(number.get(value, 0) for value in panel.category_values[at])])
            columns.append(mapped[panel.categories[:, at]])
        elif name == SERIES:
            columns.append(np.asarray([number.get(value, 0) for value in panel.names]))
        else:
            raise InputError(f"{what} has no category {shown(repr(name))}, which the model learned from; give it")
    categories = np.stack(columns, 1) if columns else np.empty((len(panel.names), 0), int)
    return panel._replace(categories=categories, category_names=names, category_values=values)
