"""The methods of `jaxcast panel train`: a regression, and networks that all series share."""

from typing import Any

import numpy as np

from jaxcast.cli.arguments import Names
from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.panel_models.network_settings import PANEL_NETWORKS
from jaxcast.series.panel_models.regression import PanelRegression
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.probabilistic_networks.abstract import PanelNetwork

REGRESSION = "regression"
NAMES = Names((REGRESSION, *PANEL_NETWORKS), (PanelNetwork,))


def network_of(method: str) -> Any:
    """Returns the class of a network, the package's own or a user's.

    Args:
        method: its name.
    """
    return PANEL_NETWORKS[method] if method in PANEL_NETWORKS else NAMES.foreign()[method]


def quantiles_of(model: PanelModel | PanelRegression, panel: SeriesPanel, newest: np.ndarray, what: str) -> np.ndarray:
    """Returns the quantiles that a model forecasts, (series, lead, level).

    Args:
        model: of panels.
        panel: with the series.
        newest: the newest step that is seen of each.
        what: what to call the panel in a message.
    """
    if isinstance(model, PanelRegression):
        return model.forecast(panel, newest=newest).quantiles
    return model.forecast(panel, newest=newest, what=what).quantiles
