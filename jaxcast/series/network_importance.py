"""What the forecasts of a panel depend on: the loss when one input is permuted."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcast.arguments import checked
from jaxcast.checks import check_seed, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.series.input_importance import NUM_REPEATS, Importance, measured
from jaxcast.series.panels.windows import PanelWindows
from jaxcast.series.probabilistic_networks.abstract import PanelNetwork

KINDS = ("lag", "past", "known", "static", "category")


@checked
def panel_importance(
    network: PanelNetwork,
    windows: PanelWindows,
    *,
    past: Sequence[str] | None = None,
    known: Sequence[str] | None = None,
    static: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
    num_repeats: int = NUM_REPEATS,
    block_size: int = 1,
    seed: int = 0,
) -> Importance:
    """Measures how much worse the forecasts of a panel are when one input is permuted.

    The input of each window is replaced by that of another window: one step of all histories, or a
    covariate at all its steps. A step keeps its size relative to the history of its window, so that
    series of unlike levels can be exchanged. The loss is that of the network, over known targets;
    see `permutation_importance`.

    Args:
        network: fitted.
        windows: held out, (sample, ...).
        past: names of the covariates that are known up to the newest step; by default "past 1" and
            so on.
        known: names of those that are known in advance.
        static: names of the numbers of a series.
        categories: names of its categories.
        num_repeats: permutations of each input.
        block_size: consecutive windows that stay together.
        seed: of the permutations, which are the same for all inputs.

    Returns:
        The importance of each input, of the kinds "lag", "past", "known", "static" and "category";
        lags are steps back from the newest value, 0.

    Raises:
        InputError: for fewer than 4 windows, names that are not one for each input, or a loss that
            is not finite.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> values = np.random.default_rng(0).uniform(1, 2, (12, 6))
        >>> windows = jaxcast.series.PanelWindows.plain(values[:, :4], values[:, 4:])
        >>> network = jaxcast.series.MQRNN(windows.sizes(), hidden_size=4, key=jax.random.key(0))
        >>> jaxcast.series.panel_importance(network, windows).names
        ('0', '1', '2', '3')
    """
    check_whole("num_repeats", num_repeats)
    check_seed(seed)
    count = len(windows.history)
    if windows.history.ndim != 2 or count < 4:
        raise InputError(
            f"expected at least 4 held-out windows (sample, time), got histories {windows.history.shape}; give more"
        )
    check_whole("block_size", block_size, most=count // 2)
    windows = PanelWindows(*(jnp.asarray(array) for array in windows))
    inputs: list[tuple[str, str, Callable[[Any, Any], Any]]] = [
        ("lag", str(lag), _of_step(-1 - lag)) for lag in range(windows.history.shape[1])
    ]
    given = {"past": past, "known": known, "static": static, "category": categories}
    for kind, names in given.items():
        field = "categories" if kind == "category" else kind
        size = windows._asdict()[field].shape[-1]
        own = [f"{kind} {n + 1}" for n in range(size)] if names is None else list(names)
        if len(own) != size:
            raise InputError(f"expected names of {size} {field}, got {shown(own)}")
        inputs += [(kind, name, _of_column(field, n)) for n, name in enumerate(own)]
    run = jax.jit(lambda network, changed: network.loss(changed))

    def loss(changed: PanelWindows) -> float:
        found = float(run(network, changed))
        if not np.isfinite(found):
            raise InputError("the loss of these windows is not finite; look at their values")
        return found

    return measured(inputs, loss, windows, num_repeats, block_size, seed)


def _of_step(step: int) -> Callable[[PanelWindows, Any], PanelWindows]:
    """Returns the exchange of one step of histories, in units of the mean size of each."""

    def change(windows: PanelWindows, order: Any) -> PanelWindows:
        history = windows.history
        size = jnp.nanmean(jnp.abs(history), 1)
        size = jnp.where(size > 0, size, 1)  # False where nothing is known, too
        return windows._replace(history=history.at[:, step].set((history[:, step] / size)[order] * size))

    return change


def _of_column(field: str, number: int) -> Callable[[PanelWindows, Any], PanelWindows]:
    def change(windows: PanelWindows, order: Any) -> PanelWindows:
        array = windows._asdict()[field]
        return windows._replace(**{field: array.at[..., number].set(array[order][..., number])})

    return change
