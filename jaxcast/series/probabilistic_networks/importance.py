"""Importance inside a temporal fusion transformer: weights of its variables and of its attention."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.series.panels.windows import PanelWindows
from jaxcast.series.probabilistic_networks.tft import TFT, VariableNames
from jaxcast.types import Info


class WeightSpread(NamedTuple):
    """Weights, averaged over windows and steps, and how much they differ.

    Args:
        mean: of each variable or lag; the sum over all is one.
        spread: standard deviation over windows, after averaging over the steps of each.
    """

    mean: Float[np.ndarray, " variable"]
    spread: Float[np.ndarray, " variable"]


class VariableImportance(NamedTuple):
    """Mean weights of the variables of a `TFT`.

    Args:
        names: of the variables.
        static: weights of what a series has once.
        past: weights of what is known at each step of a history.
        future: weights of what is known in advance, over the leads.
    """

    names: VariableNames
    static: WeightSpread
    past: WeightSpread
    future: WeightSpread


class AttentionByLag(NamedTuple):
    """Where the leads of a `TFT` look, by the distance to their own step.

    Args:
        lags: steps back from the step that is forecast; 0 is that step itself.
        weights: mean over leads, of each lag.
    """

    lags: np.ndarray
    weights: WeightSpread


@checked
def variable_importance(
    network: TFT, windows: PanelWindows, *, names: VariableNames | None = None
) -> VariableImportance:
    """Returns how much each variable weighs in the forecasts of windows.

    Args:
        network: fitted.
        windows: to forecast; one thousand are plenty.
        names: of the variables; by default those of `TFT.variable_names`.

    Returns:
        The weights, by the kind of variable.

    Raises:
        InputError: for other numbers of names than variables, or windows of other sizes.

    Source:
        Lim, Arik, Loeff and Pfister, Int. J. Forecast. 37, 1748-1764 (2021), section 7.1.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> windows = jaxcast.series.PanelWindows.plain(np.ones((5, 8)), np.ones((5, 2)))
        >>> network = jaxcast.series.TFT(windows.sizes(), hidden_size=4, num_heads=1, key=jax.random.key(0))
        >>> found = jaxcast.series.variable_importance(network, windows)
        >>> found.names.past, round(float(found.past.mean.sum()), 4)
        (('value', 'is known'), 1.0)
    """
    own = network.variable_names()
    names = own if names is None else names
    if [*map(len, names)] != [*map(len, own)]:
        raise InputError(f"expected names of {[*map(len, own)]} static, past and future variables, got {names}")
    info = _info(network, windows)
    kinds = (info["static_weights"][..., None, :], info["past_weights"], info["future_weights"])
    return VariableImportance(names, *(_spread(_windows(weights).mean(-2)) for weights in kinds))


@checked
def attention_by_lag(network: TFT, windows: PanelWindows) -> AttentionByLag:
    """Returns how far back the leads look, the mean over leads and heads.

    A lag that lies before the history of a lead has weight 0 there.

    Args:
        network: fitted.
        windows: to forecast.

    Returns:
        The weights by lag.

    Raises:
        InputError: for windows of other sizes.

    Source:
        Lim, Arik, Loeff and Pfister, Int. J. Forecast. 37, 1748-1764 (2021), section 7.2.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> windows = jaxcast.series.PanelWindows.plain(np.ones((5, 8)), np.ones((5, 2)))
        >>> network = jaxcast.series.TFT(windows.sizes(), hidden_size=4, num_heads=1, key=jax.random.key(0))
        >>> found = jaxcast.series.attention_by_lag(network, windows)
        >>> found.lags.tolist(), round(float(found.weights.mean.sum()), 4)
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 1.0)
    """
    attention = _windows(_info(network, windows)["attention"])
    first, num_steps = network.sizes.history_size, attention.shape[-1]
    lags = np.arange(num_steps)
    by_lag = np.zeros((len(attention), num_steps))
    for lead in range(network.sizes.num_leads):
        own = first + lead
        by_lag[:, : own + 1] += attention[:, lead, own::-1]
    return AttentionByLag(lags, _spread(by_lag / network.sizes.num_leads))


@jax.jit
def _outputs(network: TFT, windows: PanelWindows) -> Info:
    return network(windows).info


def _info(network: TFT, windows: PanelWindows) -> dict[str, Any]:
    return {name: np.asarray(array, float) for name, array in _outputs(network, windows).items()}


def _windows(weights: Any) -> Float[np.ndarray, "window step weight"]:
    return np.asarray(weights).reshape(-1, *weights.shape[-2:])


def _spread(weights: Float[np.ndarray, "window weight"]) -> WeightSpread:
    return WeightSpread(weights.mean(0), weights.std(0))
