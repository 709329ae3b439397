"""The networks of panels by name: what each sees of a panel by default, and its sizes."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from jaxcast.series.panels.time_features import seasonal_lags
from jaxcast.series.probabilistic_networks.conv_trans import ConvTrans
from jaxcast.series.probabilistic_networks.deepar import DeepAR
from jaxcast.series.probabilistic_networks.mqrnn import MQRNN
from jaxcast.series.probabilistic_networks.seq2seq import Seq2Seq
from jaxcast.series.probabilistic_networks.tft import TFT

PANEL_NETWORKS: dict[str, Any] = {
    "deepar": DeepAR,
    "seq2seq": Seq2Seq,
    "mqrnn": MQRNN,
    "tft": TFT,
    "conv_trans": ConvTrans,
}
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
    network: Any,
    *,
    typical_length: float,
    horizon: int,
    seasons: Sequence[int],
    levels: Sequence[float],
    history_size: int | None = None,
    **options: Any,
) -> NetworkSettings:
    """Chooses what a network sees of a panel.

    By default it sees two horizons, or the longest season that the typical series holds three
    times; DeepAR, which has lags, sees a horizon after them.

    Args:
        network: its class.
        typical_length: the median of the lengths of the series.
        horizon: steps to forecast.
        seasons: steps of the seasons, rising.
        levels: quantile levels.
        history_size: steps that it sees, where they are given.
        options: further arguments of the class.

    Returns:
        The network.
    """
    longest = max([season for season in seasons if LEAST_SEASONS * season <= typical_length], default=1)
    options["levels"] = tuple(levels)
    if network is not DeepAR:
        return NetworkSettings(partial(network, **options), history_size or max(2 * horizon, longest))
    seen = history_size or horizon + longest + 1
    oldest = max(1, seen - min(horizon, -(-seen // 2)))
    lags = seasonal_lags([season for season in seasons if season <= oldest], longest=oldest)
    return NetworkSettings(partial(DeepAR, lags=lags, **options), seen)
