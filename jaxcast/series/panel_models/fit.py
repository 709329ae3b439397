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
from jaxcast.checks import check_flag, check_seed, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.series.panel_models.held_out import weighted
from jaxcast.series.panel_models.learning import EpochDraw, PanelLoss
from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.panel_models.recalibration import spread_shifts
from jaxcast.series.panel_models.start import Init, begun
from jaxcast.series.panels.cutting import Weighting, draw_frequencies, series_scales
from jaxcast.series.panels.panel import SeriesPanel
from jaxcast.series.panels.windows import PanelWindows
from jaxcast.series.probabilistic_networks.abstract import PanelNetwork
from jaxcast.training.fitting import FitResult
from jaxcast.training.optimizers import make_optimizer
from jaxcast.training.streaming import fit_stream


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
    refit: bool = False,
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
        weighting: "value", "series" or "scale", by which windows are drawn; see `draw_windows`.
            With "scale", held-out windows count by the scale of their series, too.
        num_epochs: the most epochs.
        num_batches: minibatches of an epoch.
        batch_size: windows of a minibatch.
        optimizer: of optax; by default Adam with a learning rate of 0.001 and gradients clipped to
            a norm of 10.
        patience: epochs without a better validation loss after which a seed stops; None for none.
        num_validation_windows: how many windows of each series are held out, one after another; by
            default three, or as many as make 200 in all, from at most a fifth of the typical
            series.
        calibrate: whether quantiles are recalibrated on the held-out windows; see `spread_shifts`.
        refit: whether each model is trained once more, on all values, for as many epochs as were
            best; it keeps the calibration.
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
    check_flag("refit", refit)
    start, train, held_out, model = begun(
        panel,
        init=init,
        num_leads=num_leads,
        history_size=history_size,
        time_features=time_features,
        seasons=seasons,
        cyclic=cyclic,
        embed_series=embed_series,
        num_validation_windows=num_validation_windows,
        lower=lower,
        num_seeds=len(seeds),
    )
    validation = model.windows(start.panel, *held_out)
    if weighting == "scale":
        validation = weighted(validation, series_scales(train)[held_out[0]])
    options: dict[str, Any] = {
        "loss": PanelLoss(batch_size),
        "optimizer": optimizer or make_optimizer(1e-3, clip_norm=10.0),
        "batch_size": batch_size,
        "with_key": True,
        "num_reports": num_reports,
    }
    run = fit_stream(
        EpochDraw(model, train, num_batches * batch_size, draw_frequencies(train, weighting)),
        init=start.init,
        keys=_keys(seeds),
        num_epochs=num_epochs,
        validation=validation,
        patience=patience,
        on_progress=on_progress,
        checkpoint=checkpoint,
        **options,
    )
    losses = _checked_losses(run.validation_losses)
    models = [_fitted(model, run, k, validation, calibrate) for k in range(len(seeds))]
    if refit:
        draw = EpochDraw(model, start.panel, num_batches * batch_size, draw_frequencies(start.panel, weighting))
        for k, seed in enumerate(seeds):
            best = int(np.nanargmin(losses[k])) + 1
            last = fit_stream(draw, init=_one(start.init, k), keys=_keys([seed]), num_epochs=best, **options)
            models[k] = dataclasses.replace(models[k], network=_network(last, 0))
    best = int(np.argmin(np.nanmin(losses, 1)))
    return PanelFit(models[best], tuple(models), np.asarray(run.losses), losses)


def _keys(seeds: Sequence[int]) -> Array:
    return jnp.stack([jax.random.key(seed) for seed in seeds])


def _one(init: Any, number: int) -> Any:
    """Returns what the training of one seed begins with."""
    if not isinstance(init, FitResult):
        return init
    return init._replace(models=jax.tree.map(lambda a: a[number : number + 1], init.models))


def _network(run: FitResult, number: int) -> PanelNetwork:
    network: PanelNetwork = jax.tree.map(lambda a: a[number], run.models)
    return network


def _checked_losses(losses: Any) -> Float[np.ndarray, "seed epoch"]:
    """Returns the validation losses, of which each seed must have a finite one."""
    losses = np.asarray(losses)
    lost = ~np.isfinite(losses).any(1)
    if lost.any():
        raise InputError(
            f"the validation loss of seed number {int(np.argmax(lost))} is not finite in any epoch; lower the learning "
            "rate, or look for extreme values in the panel"
        )
    return losses


def _fitted(model: PanelModel, run: FitResult, number: int, validation: PanelWindows, calibrate: bool) -> PanelModel:
    """Returns the model of one seed, recalibrated."""
    network = _network(run, number)
    model = dataclasses.replace(model, network=network)
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
