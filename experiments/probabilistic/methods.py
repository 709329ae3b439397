"""The methods of `experiments.probabilistic`: plain ones first, then networks, then averages."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.probabilistic.data import Task
from experiments.probabilistic.plain import calibrated_ridge, recursive_ridge, seasonal_naive
from experiments.probabilistic.scores import LEVELS
from jaxcast import InputError
from jaxcast.progress import doing
from jaxcast.series import (
    MQRNN,
    TFT,
    ConvTrans,
    DeepAR,
    Seq2Seq,
    fit_panel_network,
    fit_panel_regression,
    seasonal_lags,
)
from jaxcast.series.panel_models.aligned import PastValues
from jaxcast.training import make_optimizer

Quantiles = Float[np.ndarray, "origin series lead level"]


class NetworkMethod(NamedTuple):
    """A network of panels, and the history that it sees.

    Args:
        make: (task, settings) -> a network's class with its options.
        sees_lags: whether its history holds the longest lag before the context.
        share_of_epochs: how many of the epochs it trains; MQRNN learns from every step of a history
            at once, and a step of TFT takes several times as long as one of the others.
    """

    make: Callable[[Task, Any], Callable[..., Any]]
    sees_lags: bool = False
    share_of_epochs: float = 1.0


class Method(NamedTuple):
    """A method: (task, settings, seed, forecasts of others by name and seed) -> quantiles.

    Args:
        forecast: the function.
        draws: whether it depends on the seed.
    """

    forecast: Callable[[Task, Any, int, Callable[[str, int], Quantiles]], Quantiles]
    draws: bool = False


def longest_lag(task: Task) -> int:
    """Returns the longest lag that networks see: the longest season that most series hold twice.

    Args:
        task: with the seasons.
    """
    typical = float(np.median(task.train.lengths))
    return max([season for season in task.seasons if 3 * season <= typical], default=1) + 1


def _deepar(task: Task, config: Any) -> Callable[..., Any]:
    seasons = [season for season in task.seasons if season < longest_lag(task)]
    lags = seasonal_lags(seasons, longest=longest_lag(task))
    return partial(DeepAR, lags=lags, context_size=context_size(task), hidden_size=config.hidden_size, levels=LEVELS)


def _sized(network: Any) -> Callable[[Task, Any], Callable[..., Any]]:
    return lambda _, config: partial(network, hidden_size=config.hidden_size, levels=LEVELS)


NETWORKS = {
    "seq2seq": NetworkMethod(_sized(Seq2Seq)),
    "mqrnn": NetworkMethod(_sized(MQRNN), share_of_epochs=0.1),
    "deepar": NetworkMethod(_deepar, sees_lags=True),
    "conv_trans": NetworkMethod(_sized(ConvTrans)),
    "tft": NetworkMethod(_sized(TFT), share_of_epochs=0.4),
}


def context_size(task: Task) -> int:
    """Returns the steps that DeepAR runs over before it forecasts: one and a half horizons.

    Args:
        task: with the horizon.
    """
    return task.horizon + task.horizon // 2


def history_size(name: str, task: Task) -> int:
    """Returns the steps that a network sees: a long season, or two horizons; with lags, a horizon and these.

    Args:
        name: of the network.
        task: with the seasons.
    """
    if NETWORKS[name].sees_lags:
        return context_size(task) + longest_lag(task)
    return max(2 * task.horizon, longest_lag(task) - 1)


def _regression(task: Task, config: Any, seed: int, found: Any) -> Quantiles:
    longest = longest_lag(task)
    seasons = [season for season in task.seasons if season < longest]
    model = fit_panel_regression(task.train, num_leads=task.horizon, seasons=seasons, levels=LEVELS, lower=task.lower)
    size = PastValues(model.num_recent, model.lags).size
    return np.stack([model.forecast(task.panel, newest=newest).quantiles for newest in task.seen_from(size)])


def _network(name: str, task: Task, config: Any, seed: int, found: Any) -> Quantiles:
    method = NETWORKS[name]
    num_epochs = max(1, round(config.num_epochs * method.share_of_epochs))
    fitted = fit_panel_network(
        task.train,
        init=method.make(task, config),
        num_leads=task.horizon,
        history_size=history_size(name, task),
        seasons=task.seasons,
        num_epochs=num_epochs,
        num_batches=config.num_batches,
        batch_size=config.batch_size,
        optimizer=make_optimizer(
            config.learning_rate,
            schedule="cosine",
            num_optimizer_steps=num_epochs * config.num_batches,
            clip_norm=10.0,
        ),
        patience=None,
        weighting="series",
        lower=task.lower,
        seeds=(seed,),
        on_progress=lambda epoch, _: doing(f"{name}, seed {seed}: {epoch} of {num_epochs} epochs"),
    )
    newest = task.seen_from(history_size(name, task))
    return np.stack([fitted.model.forecast(task.panel, newest=one).quantiles for one in newest])


MEMBERS = ("recursive_ridge", "panel_regression", *NETWORKS)
"""Methods that the average is of."""
DIRECT = ("seq2seq", "mqrnn", "tft")
"""Networks that forecast all leads at once."""


def seeds_of(name: str, config: Any) -> list[int]:
    """Returns the seeds of a method.

    Args:
        name: of the method.
        config: settings of the experiment.
    """
    count = config.num_direct_seeds if name in DIRECT else config.num_seeds
    return list(range(config.seed, config.seed + (count if METHODS[name].draws else 1)))


def _mean_of_seeds(name: str, task: Task, config: Any, seed: int, found: Any) -> Quantiles:
    return np.mean([found(name, own) for own in seeds_of(name, config)], 0)


def _average(task: Task, config: Any, seed: int, found: Any) -> Quantiles:
    """Means of the quantiles of ridges and networks, all alike: nothing is chosen."""
    own = [name for name in MEMBERS if name in config.methods]
    if not own:
        raise InputError(f"average needs one of the methods {', '.join(MEMBERS)}; name it, too")
    return np.mean([_mean_of_seeds(name, task, config, seed, found) for name in own], 0)


METHODS: dict[str, Method] = {
    "seasonal_naive": Method(lambda task, config, seed, found: seasonal_naive(task, LEVELS)),
    "recursive_ridge": Method(lambda task, config, seed, found: recursive_ridge(task, LEVELS)),
    "calibrated_ridge": Method(lambda task, config, seed, found: calibrated_ridge(task, LEVELS)),
    "panel_regression": Method(_regression),
    **{name: Method(partial(_network, name), draws=True) for name in NETWORKS},
    "deepar_ensemble": Method(partial(_mean_of_seeds, "deepar")),
    "average": Method(_average),
}
