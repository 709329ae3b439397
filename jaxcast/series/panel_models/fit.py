"""Trains a network on the series of a panel."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_flag, check_number, check_seed, check_whole
from jaxcast.distributions import check_counts
from jaxcast.errors import InputError, shown
from jaxcast.series.panel_models.held_out import held_out_windows, training_scale
from jaxcast.series.panel_models.model import SERIES, PanelModel, with_categories
from jaxcast.series.panel_models.recalibration import spread_shifts
from jaxcast.series.panels.cutting import Weighting, drawn, num_time_features
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.time_features import AGE, check_time_features, default_seasons, default_time_features
from jaxcast.series.panels.windows import PanelSizes, PanelWindows
from jaxcast.series.probabilistic_networks.abstract import PanelNetwork
from jaxcast.training.fitting import FitResult
from jaxcast.training.optimizers import make_optimizer
from jaxcast.training.streaming import fit_stream

Init = Callable[..., PanelNetwork]


class PanelFit(NamedTuple):
    """The result of `fit_panel_network`.

    Args:
        model: of the seed with the lowest validation loss.
        models: of all seeds.
        losses: the mean training loss of every epoch.
        validation_losses: after every epoch; NaN after a seed has stopped.
    """

    model: PanelModel
    models: tuple[PanelModel, ...]
    losses: Float[np.ndarray, "seed epoch"]
    validation_losses: Float[np.ndarray, "seed epoch"]


@checked
def fit_panel_network(
    panel: SeriesPanel,
    *,
    init: Init | PanelModel,
    num_leads: int,
    history_size: int,
    time_features: Sequence[str] | None = None,
    seasons: Sequence[int] | None = None,
    cyclic: bool = False,
    embed_series: bool = False,
    weighting: Weighting = "value",
    num_epochs: int = 100,
    num_batches: int = 50,
    batch_size: int = 32,
    optimizer: optax.GradientTransformation | None = None,
    patience: int | None = 10,
    num_validation_windows: int | None = None,
    calibrate: bool = True,
    lower: float | int | None = None,
    seeds: Sequence[int] = (0,),
    on_progress: Callable[[int, Float[np.ndarray, " seed"]], None] | None = None,
    num_reports: int = 20,
    checkpoint: str | Path | None = None,
) -> PanelFit:
    """Trains a probabilistic network that all series of a panel share.

    The last windows of every series are held out. Each epoch draws windows anew from what comes
    before them. The loss of the held-out windows is computed after every epoch; the parameters of
    the best one are kept, and the quantiles are recalibrated on the same windows. So held-out
    windows choose and calibrate; score a model on later values, which it has not seen.

    Args:
        panel: with the series.
        init: (sizes, key=key) -> network, such as a class `DeepAR`, or
            `functools.partial(DeepAR, hidden_size=40)`. Or a `PanelModel`, from which training
            continues with the panel at hand, such as newer values; its covariates, categories and
            features stay.
        num_leads: steps to forecast.
        history_size: steps that a network sees.
        time_features: see `panel_windows`; by default those that fit the step of the calendar,
            or the phases of `seasons` without one, and "age".
        seasons: steps of the seasons; by default those that are usual for the calendar.
        cyclic: whether features of time are sines and cosines.
        embed_series: whether each series has a learned vector; others then have the mean of all.
        weighting: "value" or "series": which are drawn equally often in training.
        num_epochs: the most epochs.
        num_batches: minibatches of an epoch.
        batch_size: windows of a minibatch.
        optimizer: of optax; by default Adam with a learning rate of 0.001 and gradients clipped to
            a norm of 10.
        patience: epochs without a better validation loss after which a seed stops; None for none.
        num_validation_windows: how many windows of each series are held out, one behind another; by
            default one, or as many as make 200 in all, from at most a fifth of the typical series.
        calibrate: whether quantiles are recalibrated on the held-out windows; see `spread_shifts`.
        lower: the least value of a quantile, such as 0; by default 0 for heads of counts.
        seeds: of the models, each trained from its own initial weights.
        on_progress: called with the number of finished epochs and the newest loss of each seed.
        num_reports: how often, about, it is called and the checkpoint replaced.
        checkpoint: a file from which an interrupted training continues; see `fit`.

    Returns:
        The models, and the losses of all epochs.

    Raises:
        InputError: for options out of range, series that are all too short to hold windows out,
            fractions or negative values where the head is one of counts, static covariates that
            are not known, and losses that are not finite.

    Example:
        >>> import jax.numpy as jnp, jaxcast, numpy as np
        >>> from flax import nnx
        >>> class Line(jaxcast.series.DirectNetwork):
        ...     def __init__(self, sizes, *, key, **options):
        ...         super().__init__(sizes, key=key, **options)
        ...         shape = (sizes.history_size, sizes.num_leads * self.head.num_parameters)
        ...         self.kernel = nnx.Param(jnp.zeros(shape, self.dtype))
        ...     def raw_outputs(self, inputs, key):
        ...         raw = inputs.values @ self.kernel[...]
        ...         return raw.reshape(*raw.shape[:-1], self.sizes.num_leads, -1), {}
        ...     @property
        ...     def own_config(self):
        ...         return {}
        >>> wave = 2 + np.sin(np.arange(120) * np.pi / 6)
        >>> panel = jaxcast.series.series_panel([k * wave[k:] for k in range(1, 30)])
        >>> fit = jaxcast.series.fit_panel_network(
        ...     panel, init=Line, num_leads=3, history_size=12, num_epochs=20, num_batches=20,
        ...     optimizer=jaxcast.training.make_optimizer(3e-2),
        ... )
        >>> new = jaxcast.series.series_panel([50 * wave[5:40]])
        >>> forecast = fit.model.forecast(new).forecast
        >>> bool((abs(forecast - 50 * wave[40:43]) < 15).all())
        True
    """
    _check_options(num_leads, history_size, num_epochs, num_batches, batch_size, seeds)
    check_flag("calibrate", calibrate)
    if isinstance(init, PanelModel):
        _check_same_sizes(init.sizes, history_size, num_leads)
        start = _continued(init, panel, len(seeds))
    else:
        numbered = _numbered(panel, embed_series)
        features = _features(panel, time_features, seasons)
        start = _started(init, numbered, (history_size, num_leads), features, cyclic)
    train, held_out = held_out_windows(start.panel, num_leads, num_validation_windows)
    blank = _scaled(start, train, lower)
    validation = blank.windows(start.panel, *held_out)
    run = fit_stream(
        _Draw(blank, train, num_batches * batch_size, weighting),
        init=start.init,
        loss=PanelLoss(batch_size),
        keys=jnp.stack([jax.random.key(seed) for seed in seeds]),
        optimizer=optimizer or make_optimizer(1e-3, clip_norm=10.0),
        num_epochs=num_epochs,
        batch_size=batch_size,
        with_key=True,
        validation=validation,
        patience=patience,
        on_progress=on_progress,
        num_reports=num_reports,
        checkpoint=checkpoint,
    )
    losses = np.asarray(run.validation_losses)
    models = tuple(
        _model(blank, jax.tree.map(lambda a, k=k: a[k], run.models), validation, calibrate) for k in range(len(seeds))
    )
    best = int(np.argmin(np.nanmin(losses, 1)))
    return PanelFit(models[best], models, np.asarray(run.losses), losses)


class _Start(NamedTuple):
    """A model without scales, the panel with its categories as numbers, and what `fit_stream` begins with."""

    model: PanelModel
    panel: SeriesPanel
    init: Any


def _continued(model: PanelModel, panel: SeriesPanel, num_seeds: int) -> _Start:
    models = jax.tree.map(lambda a: jnp.repeat(a[None], num_seeds, 0), model.network)
    return _Start(model, model.arranged(panel), FitResult(models, jnp.zeros((num_seeds, 0))))


def _started(init: Init, panel: SeriesPanel, steps: tuple[int, int], features: tuple[str, ...], cyclic: bool) -> _Start:
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
    return _Start(model, panel, make)


def _scaled(start: _Start, train: SeriesPanel, lower: float | int | None) -> PanelModel:
    """Returns the model with the scale of its covariates, unless it has one, and the least value."""
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


@dataclasses.dataclass(frozen=True)
class PanelLoss:
    """The loss of a network of a panel, in parts where there are many windows.

    Args:
        batch_size: the most windows whose loss is computed at once.
    """

    batch_size: int

    def __call__(self, network: PanelNetwork, windows: PanelWindows, key: Any = None) -> Float[Array, ""]:
        """Returns the mean loss over all known targets.

        Args:
            network: of the windows.
            windows: with their targets.
            key: switches dropout on.
        """
        num = len(windows.targets)
        if num <= self.batch_size:
            return network.loss(windows, key)
        num_parts = -(-num // self.batch_size)
        index = np.arange(num_parts * self.batch_size).reshape(num_parts, -1)
        parts = jax.tree.map(lambda a: a[np.minimum(index, num - 1)], windows)
        parts = parts._replace(weights=parts.weights * (index < num)[..., None])
        counts = parts.weights.sum((1, 2))
        losses = jax.lax.map(lambda part: network.loss(part, key), parts)
        return jnp.sum(losses * counts) / jnp.maximum(counts.sum(), 1)


@dataclasses.dataclass(frozen=True)
class _Draw:
    """Draws the windows of an epoch."""

    model: PanelModel
    panel: SeriesPanel
    num: int
    weighting: Weighting

    def __call__(self, epoch: int) -> PanelWindows:
        sizes = self.model.sizes
        generator = np.random.default_rng((0, epoch))
        series, newest = drawn(
            self.panel.lengths,
            generator,
            self.num,
            num_leads=sizes.num_leads,
            weighting=self.weighting,
            least=min(sizes.history_size, sizes.num_leads),
        )
        return self.model.windows(self.panel, series, newest)


def _model(blank: PanelModel, network: PanelNetwork, validation: PanelWindows, calibrate: bool) -> PanelModel:
    """Returns the model of one network, recalibrated."""
    model = dataclasses.replace(blank, network=network, shifts=jnp.zeros(blank.shifts.shape, network.dtype))
    if not calibrate:
        return model
    shifts = spread_shifts(model.raw_quantiles(validation), validation, model.levels)
    return dataclasses.replace(model, shifts=jnp.asarray(shifts, network.dtype))


def _check_options(
    num_leads: int, history_size: int, num_epochs: int, num_batches: int, batch_size: int, seeds: Sequence[int]
) -> None:
    check_whole("num_leads", num_leads)
    check_whole("history_size", history_size)
    check_whole("num_epochs", num_epochs)
    check_whole("num_batches", num_batches)
    check_whole("batch_size", batch_size)
    for seed in seeds:
        check_seed(seed, "every seed")
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"expected at least one seed, and different ones, got {shown(tuple(seeds))}")


def _check_same_sizes(sizes: PanelSizes, history_size: int, num_leads: int) -> None:
    if (sizes.history_size, sizes.num_leads) != (history_size, num_leads):
        raise InputError(
            f"the model has history_size={sizes.history_size} and num_leads={sizes.num_leads}, got {history_size} and "
            f"{num_leads}; training continues with its own"
        )


def _features(panel: SeriesPanel, names: Sequence[str] | None, seasons: Sequence[int] | None) -> tuple[str, ...]:
    if names is None:
        own = default_seasons(panel.calendar) if seasons is None else tuple(seasons)
        for season in own:
            check_whole("every season", season, least=2)
        names = (*default_time_features(panel.calendar, own), AGE)
    check_time_features([name for name in names if name != AGE], panel.calendar)
    return tuple(names)


def _numbered(panel: SeriesPanel, embed_series: bool) -> SeriesPanel:
    """Returns the panel with the category "series" in front, where each is to have a vector."""
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
    """Raises InputError for a value that is no count, with its series."""
    for number in range(len(panel.names)):
        own = panel.values[panel.offsets[number] :][: panel.lengths[number]]
        check_counts(own, f"series {shown(repr(panel.names[number]))}")
