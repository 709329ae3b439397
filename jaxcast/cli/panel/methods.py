"""The methods of `jaxcast panel train`: a regression, and networks that all series share."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from jaxcast.cli.arguments import Names
from jaxcast.errors import InputError
from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.panel_models.regression import PanelRegression, fit_panel_regression
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.time_features import seasonal_lags
from jaxcast.series.probabilistic_networks.abstract import PanelNetwork
from jaxcast.series.probabilistic_networks.conv_trans import ConvTrans
from jaxcast.series.probabilistic_networks.deepar import DeepAR
from jaxcast.series.probabilistic_networks.mqrnn import MQRNN
from jaxcast.series.probabilistic_networks.seq2seq import Seq2Seq
from jaxcast.series.probabilistic_networks.tft import TFT

REGRESSION = "regression"
NETWORKS: dict[str, Any] = {
    "deepar": DeepAR,
    "seq2seq": Seq2Seq,
    "mqrnn": MQRNN,
    "tft": TFT,
    "conv_trans": ConvTrans,
}
NAMES = Names((REGRESSION, *NETWORKS), (PanelNetwork,))
LEAST_SEASONS = 3
"""How often the typical series holds a season whose lags a network sees."""


class NetworkSettings(NamedTuple):
    """A network to train, and the steps that it sees.

    Args:
        init: makes it, or the model from which training continues.
        history_size: steps of its history.
    """

    init: Any
    history_size: int


def network_settings(
    method: str,
    panel: SeriesPanel,
    *,
    horizon: int,
    seasons: Sequence[int],
    history_size: int | None,
    hidden_size: int | None,
    head: str | None,
    levels: Sequence[float],
) -> NetworkSettings:
    """Chooses what a network sees, and its sizes.

    By default it sees two horizons, or the longest season that the typical series holds three
    times; DeepAR, which has lags, sees a horizon after them.

    Args:
        method: name of the network.
        panel: to learn from.
        horizon: steps to forecast.
        seasons: steps of the seasons, rising.
        history_size: steps that it sees, where they are given.
        hidden_size: its components, where they are given.
        head: the name of its head, where it is given.
        levels: quantile levels.

    Returns:
        The network.
    """
    typical = float(np.median(panel.lengths))
    longest = max([season for season in seasons if LEAST_SEASONS * season <= typical], default=1)
    options: dict[str, Any] = {"levels": tuple(levels)} | ({} if head is None else {"head": head})
    if method not in NETWORKS:
        return NetworkSettings(partial(NAMES.foreign()[method], **options), history_size or max(2 * horizon, longest))
    if hidden_size is not None:
        options["hidden_size"] = hidden_size
    if method != "deepar":
        return NetworkSettings(partial(NETWORKS[method], **options), history_size or max(2 * horizon, longest))
    seen = history_size or horizon + longest + 1
    oldest = max(1, seen - min(horizon, -(-seen // 2)))
    lags = seasonal_lags([season for season in seasons if season <= oldest], longest=oldest)
    return NetworkSettings(partial(DeepAR, lags=lags, **options), seen)


def fit_regression(
    panel: SeriesPanel, *, horizon: int, seasons: Sequence[int], levels: Sequence[float], lower: float | None
) -> PanelRegression:
    """Fits the regression to the series that are long enough; it forecasts others as new ones.

    Args:
        panel: with the series.
        horizon: steps to forecast.
        seasons: steps of the seasons, rising.
        levels: quantile levels.
        lower: the least value of a quantile.

    Raises:
        InputError: where all series are too short.
    """
    is_long = panel.lengths > horizon
    if not is_long.any():
        raise InputError(
            f"every series is too short to hold out {horizon} values: the longest that is left has "
            f"{panel.lengths.max()}; give longer series, or a smaller horizon"
        )
    return fit_panel_regression(
        panel.select(np.flatnonzero(is_long)), num_leads=horizon, seasons=seasons, levels=levels, lower=lower
    )


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
