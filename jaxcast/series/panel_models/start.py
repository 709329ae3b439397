"""The start of a training on a panel: a network's shapes, its windows and their scales."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxcast.checks import check_number, check_whole
from jaxcast.distributions import check_counts
from jaxcast.errors import InputError, shown
from jaxcast.series.panel_models.held_out import held_out_windows, training_scale
from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.panel_models.preparation import SERIES, with_categories
from jaxcast.series.panels.cutting import num_time_features
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.time_features import AGE, check_time_features, default_seasons, default_time_features
from jaxcast.series.panels.windows import PanelSizes
from jaxcast.series.probabilistic_networks.abstract import PanelNetwork
from jaxcast.training.fitting import FitResult

Init = Callable[..., PanelNetwork]


@dataclasses.dataclass(frozen=True)
class NetworkInit:
    """Makes a network of windows of some sizes; equal ones compile once.

    Args:
        make: (sizes, key=key) -> network.
        sizes: of the windows.
    """

    make: Init
    sizes: PanelSizes

    def __call__(self, key: Array) -> PanelNetwork:
        """Returns the network of a key."""
        return self.make(self.sizes, key=key)


class Start(NamedTuple):
    """Everything with which a training on a panel begins.

    Args:
        model: that is not trained, without scales of covariates unless it was given.
        panel: with its categories as numbers.
        init: what `fit_stream` begins with.
    """

    model: PanelModel
    panel: SeriesPanel
    init: Any


class Beginning(NamedTuple):
    """A training of a panel before its first epoch.

    Args:
        start: what it begins with.
        train: the panel without what is held out.
        held_out: the series and the newest step of each window that is held out.
        model: that is not trained, with the scales of covariates.
    """

    start: Start
    train: SeriesPanel
    held_out: tuple[Int[np.ndarray, " window"], Int[np.ndarray, " window"]]
    model: PanelModel


def begun(
    panel: SeriesPanel,
    *,
    init: Init | PanelModel,
    num_leads: int,
    history_size: int,
    time_features: Sequence[str] | None = None,
    seasons: Sequence[int] | None = None,
    cyclic: bool = False,
    embed_series: bool = False,
    num_validation_windows: int | None = None,
    lower: float | int | None = None,
    num_seeds: int = 1,
) -> Beginning:
    """Begins a training of a panel: what is wrong with the panel or the options shows here.

    Args:
        panel: with the series.
        init: see `fit_panel_network`, as all that follow.
        num_leads: steps to forecast.
        history_size: steps that a network sees.
        time_features: that it sees; None for those that fit.
        seasons: steps of the seasons; None for the usual ones.
        cyclic: whether features of time are sines and cosines.
        embed_series: whether each series has a learned vector.
        num_validation_windows: how many windows of each series are held out.
        lower: the least value of a quantile.
        num_seeds: models to train.

    Returns:
        The beginning.

    Raises:
        InputError: as `fit_panel_network` does, but for what only training shows.
    """
    if isinstance(init, PanelModel):
        _check_same_sizes(init.sizes, history_size, num_leads)
        start = continued(init, panel, num_seeds)
    else:
        features = features_of(panel, time_features, seasons)
        start = started(init, numbered(panel, embed_series), (history_size, num_leads), features, cyclic)
    train, held_out = held_out_windows(start.panel, num_leads, num_validation_windows)
    return Beginning(start, train, held_out, scaled(start, train, lower))


def continued(model: PanelModel, panel: SeriesPanel, num_seeds: int) -> Start:
    """Begins with a model that has learned before.

    Args:
        model: whose covariates, categories and features stay.
        panel: to learn from.
        num_seeds: models to train.

    Returns:
        The beginning.

    Raises:
        InputError: for a panel of other covariates, categories or steps.
    """
    models = jax.tree.map(lambda a: jnp.repeat(a[None], num_seeds, 0), model.network)
    return Start(model, model.arranged(panel), FitResult(models, jnp.zeros((num_seeds, 0))))


def started(init: Init, panel: SeriesPanel, steps: tuple[int, int], features: tuple[str, ...], cyclic: bool) -> Start:
    """Begins with a new network.

    Args:
        init: (sizes, key=key) -> network.
        panel: with its categories as numbers.
        steps: of a history, and of the targets.
        features: of time.
        cyclic: whether each of them is a sine and a cosine.

    Returns:
        The beginning; the network has shapes only.
    """
    num_past, num_future, num_static = (
        a.shape[1] for a in (panel.past_covariates, panel.future_covariates, panel.static_covariates)
    )
    num_known = num_time_features(features, cyclic) + num_future
    make = NetworkInit(init, PanelSizes(*steps, num_past, num_known, num_static, panel.cardinalities))
    network = jax.eval_shape(make, jax.random.key(0))
    nothing = jnp.zeros(num_past + num_future + num_static)
    model = PanelModel(
        network,
        jnp.zeros((steps[1], len(network.levels))),
        nothing,
        nothing + 1,
        **panel.covariates._asdict(),
        category_names=panel.category_names,
        category_values=panel.category_values,
        time_features=features,
        cyclic=cyclic,
        step="" if panel.calendar is None else panel.calendar.step,
    )
    return Start(model, panel, make)


def scaled(start: Start, train: SeriesPanel, lower: float | int | None) -> PanelModel:
    """Returns the model with the scale of its covariates, unless it has one, and the least value.

    Args:
        start: of the training.
        train: the panel without what is held out.
        lower: the least value of a quantile; None for 0 where the head is one of counts.

    Raises:
        InputError: for a value that is not a count where the head needs one, with its series.
    """
    model = start.model
    if model.network.head.is_count:
        lower = 0.0 if lower is None else lower
        _check_counts(start.panel)
    if lower is not None:
        check_number("lower", lower)
        model = dataclasses.replace(model, lower=float(lower))
    if isinstance(start.init, FitResult):
        return model
    mean, std = map(jnp.asarray, training_scale(start.panel, train.lengths))
    return dataclasses.replace(model, covariates_mean=mean, covariates_std=std)


def features_of(panel: SeriesPanel, names: Sequence[str] | None, seasons: Sequence[int] | None) -> tuple[str, ...]:
    """Returns the features of time that a network sees.

    Args:
        panel: with or without a calendar.
        names: of the features; None for those that fit.
        seasons: whose phases they are without a calendar; None for the usual ones.

    Raises:
        InputError: for unknown features, and seasons that are not whole numbers.
    """
    if names is None:
        own = default_seasons(panel.calendar) if seasons is None else tuple(seasons)
        for season in own:
            check_whole("every season", season, least=2)
        names = (*default_time_features(panel.calendar, own), AGE)
    check_time_features([name for name in names if name != AGE], panel.calendar)
    return tuple(names)


def numbered(panel: SeriesPanel, embed_series: bool) -> SeriesPanel:
    """Returns the panel with the category "series" in front, where each is to have a vector.

    Args:
        panel: to learn from.
        embed_series: whether each series has a vector.

    Raises:
        InputError: for a static covariate that is not known.
    """
    unknown = ~np.isfinite(panel.static_covariates)
    if unknown.any():
        series, k = np.argwhere(unknown)[0]
        raise InputError(
            f"the static covariate {shown(repr(panel.covariates.static_covariates[k]))} of series "
            f"{shown(repr(panel.names[series]))} is not known; fill it, or leave it out"
        )
    if not embed_series or SERIES in panel.category_names:
        return panel
    return with_categories(panel, (SERIES, *panel.category_names), (tuple(sorted(panel.names)), *panel.category_values))


def _check_counts(panel: SeriesPanel) -> None:
    """Raises InputError for a value that is not a count, with its series."""
    for number in range(len(panel.names)):
        own = panel.values[panel.offsets[number] :][: panel.lengths[number]]
        check_counts(own, f"series {shown(repr(panel.names[number]))}")


def _check_same_sizes(sizes: PanelSizes, history_size: int, num_leads: int) -> None:
    if (sizes.history_size, sizes.num_leads) != (history_size, num_leads):
        raise InputError(
            f"the model has history_size={sizes.history_size} and num_leads={sizes.num_leads}, got {history_size} and "
            f"{num_leads}; training continues with its own"
        )
