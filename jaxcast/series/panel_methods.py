"""The probabilistic networks of `fit_series`, which all series of a table share."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.checks import Checked, check_leads, check_model
from jaxcast.errors import InputError
from jaxcast.numerics.levels import middle_of
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.panel_models.fit import fit_panel_network
from jaxcast.series.panel_models.model import PanelModel
from jaxcast.series.panel_models.network_settings import PANEL_NETWORKS, network_settings
from jaxcast.series.panels.panel import panel_of_table
from jaxcast.series.panels.time_features import default_time_features, time_features
from jaxcast.series.panels.windows import PanelWindows
from jaxcast.series.problem import SeriesProblem, TrainingPart
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.tables import SeriesTable
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature

BATCH_SIZE = 32
MOST_BATCHES = 50
"""Minibatches of an epoch, at most."""
AT_ONCE = 256
"""Windows that are forecast at once."""


class PanelForecaster(Checked, WindowForecaster, FrozenPytree, name="panel_forecaster"):
    """A network of panels as a forecaster of the series of a table.

    Its covariates are those of `window_covariates`: of every step that the network sees, and of the
    steps ahead.

    Args:
        model: of panels.
        mean: of each series of the table.
        leads: steps ahead, rising, at most those of the model.

    Raises:
        InputError: when saved or loaded, for a model of other leads, or one with categories.
    """

    model: PanelModel
    mean: Float[Any, " region"]
    leads: tuple[int, ...] = static()

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a forecaster."""
        check_model(self.model)
        check_leads(self.leads)
        if self.leads[-1] > self.model.sizes.num_leads or self.model.category_names:
            raise InputError(
                f"expected a model of {self.leads[-1]} leads without categories, got one of "
                f"{self.model.sizes.num_leads} with {len(self.model.category_names)}"
            )

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        sizes = self.model.sizes
        span = sizes.history_size + sizes.num_leads
        return WindowSignature(
            len(self.leads),
            leads=self.leads,
            levels=self.model.levels,
            mean=self.mean,
            num_covariates=sizes.history_size * sizes.num_past + span * sizes.num_known + sizes.num_static,
            least_history=sizes.history_size,
            lower=self.model.lower,
        )

    def __call__(self, history: Float[Array, "..."], covariates: Any = None) -> Output:
        """Forecasts all leads.

        Args:
            history: (time, region) or (sample, time, region).
            covariates: (*batch, covariate) or (*batch, region, covariate).

        Returns:
            The middle level, and all levels in `info["quantiles"]`.
        """
        sizes, num_regions = self.model.sizes, history.shape[-1]
        batch = history.shape[:-2]
        seen = jnp.swapaxes(history[..., -sizes.history_size :, :], -2, -1).reshape(-1, sizes.history_size)
        covariates = jnp.zeros((*batch, 0)) if covariates is None else jnp.asarray(covariates)
        if covariates.ndim < history.ndim:
            covariates = jnp.broadcast_to(covariates[..., None, :], (*batch, num_regions, covariates.shape[-1]))
        windows = self._windows(seen, covariates.reshape(len(seen), -1))
        network = self.model.network
        quantiles = jax.lax.map(lambda one: network(one).info["quantiles"], windows, batch_size=min(AT_ONCE, len(seen)))
        quantiles = quantiles[:, np.asarray(self.leads) - 1]
        quantiles = jnp.moveaxis(quantiles.reshape(*batch, num_regions, *quantiles.shape[1:]), -3, -2)
        quantiles = quantiles.astype(history.dtype)
        return Output(quantiles[..., middle_of(self.model.levels)], {"quantiles": quantiles})

    def _windows(self, history: Array, covariates: Array) -> PanelWindows:
        """Returns windows of single series, with covariates as the network takes them."""
        sizes, model = self.model.sizes, self.model
        span = sizes.history_size + sizes.num_leads
        ends = np.cumsum([sizes.history_size * sizes.num_past, span * sizes.num_known])
        past, known, static_covariates = jnp.split(covariates, ends, -1)
        past = past.reshape(len(history), sizes.history_size, sizes.num_past)
        known = known.reshape(len(history), span, sizes.num_known)
        num_future = len(model.future_covariates)
        own = np.cumsum([sizes.num_past, num_future])
        means, stds = (jnp.split(jnp.asarray(a), own) for a in (model.covariates_mean, model.covariates_std))
        time, future = jnp.split(known, [sizes.num_known - num_future], -1)
        targets = jnp.zeros((len(history), sizes.num_leads), history.dtype)
        return PanelWindows(
            history,
            targets,
            targets,
            (past - means[0]) / stds[0],
            jnp.concatenate([time, (future - means[1]) / stds[1]], -1),
            (static_covariates - means[2]) / stds[2],
            jnp.zeros((len(history), 0), int),
        )


def window_covariates(
    table: SeriesTable,
    newest: Int[np.ndarray, " sample"],
    *,
    history_size: int,
    num_leads: int,
    features: tuple[str, ...],
) -> Float[np.ndarray, "sample *region covariate"]:
    """Returns what a network of panels sees besides the values, of all steps of each window.

    Args:
        table: with the calendar and the covariates.
        newest: the row in which each history ends.
        history_size: steps of a history.
        num_leads: steps ahead.
        features: of the calendar.

    Returns:
        Past covariates of the history, features of time and future covariates of the history and
        the leads, and static covariates, one after another; of each series where there are
        covariates, else of all.
    """
    steps = newest[:, None] + np.arange(1 - history_size, num_leads + 1)
    time = time_features(steps, names=features, calendar=table.calendar)
    counts = [a.shape[-1] for a in (table.past_covariates, table.future_covariates, table.static_covariates)]
    if not any(counts):
        return time.reshape(len(steps), -1)
    num_regions = table.values.shape[1]

    def at(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        inside = ((rows >= 0) & (rows < len(values)))[..., None, None]
        found = np.where(inside, values[np.clip(rows, 0, len(values) - 1)], np.nan)
        return np.moveaxis(found, -2, 1)

    past = at(table.past_covariates, steps[:, :history_size])
    time = np.broadcast_to(time[:, None], (len(steps), num_regions, *time.shape[1:]))
    known = np.concatenate([time, at(table.future_covariates, steps)], -1)
    own = np.broadcast_to(table.static_covariates, (len(steps), *table.static_covariates.shape))
    return np.concatenate([a.reshape(len(steps), num_regions, -1) for a in (past, known, own)], -1)


class TrainedPanelNetwork(NamedTuple):
    """A network of panels that has learned from a part.

    Args:
        forecaster: of the table's series.
        windows: all of the problem, as it sees them.
        num_epochs: passes over its windows.
        features: of the calendar.
    """

    forecaster: PanelForecaster
    windows: SeriesWindows
    num_epochs: int
    features: tuple[str, ...]


def train_panel_network(
    method: str, problem: SeriesProblem, part: TrainingPart, num_epochs: int, *, refit: bool
) -> TrainedPanelNetwork:
    """Trains a network that all series share; the last values of the part choose its best epoch.

    Args:
        method: its name.
        problem: with the table.
        part: that is learned from.
        num_epochs: the most epochs.
        refit: whether it then learns once more, for as many epochs, from the last values too.

    Returns:
        The network.

    Raises:
        InputError: for losses that are not finite.
    """
    table, end, num_leads = problem.table, part.end, problem.leads[-1]
    seen = table._replace(values=np.where(np.arange(len(table.values))[:, None] < end, table.values, np.nan))
    panel = panel_of_table(seen)
    seasons = (problem.season,) if problem.season else ()
    features = default_time_features(table.calendar, seasons)
    settings = network_settings(
        PANEL_NETWORKS[method],
        typical_length=float(np.median(panel.lengths)),
        horizon=num_leads,
        seasons=seasons,
        levels=problem.levels,
        history_size=problem.history_size,
        hidden_size=problem.hidden_size,
        **({} if problem.head is None else {"head": problem.head}),
    )
    num_windows = int((np.asarray(part.windows.weights) > 0).any(1).sum())
    fitted = fit_panel_network(
        panel,
        init=settings.init,
        num_leads=num_leads,
        history_size=problem.history_size,
        time_features=features,
        num_epochs=num_epochs,
        num_batches=max(1, min(MOST_BATCHES, num_windows // BATCH_SIZE)),
        batch_size=BATCH_SIZE,
        calibrate=False,
        refit=refit,
        lower=problem.lower,
        seeds=(problem.seed,),
        checkpoint=problem.checkpoint(method, end, chooses=not refit),
    )
    newest = np.asarray(part.windows.rows)[:, 0] - problem.leads[0]
    covariates = window_covariates(
        table, newest, history_size=problem.history_size, num_leads=num_leads, features=features
    )
    mean = np.asarray([np.nanmean(column) for column in seen.values.T])
    forecaster = PanelForecaster(fitted.model, mean, problem.leads)
    best = int(np.nanargmin(fitted.validation_losses[0])) + 1
    dtype = part.windows.history.dtype
    return TrainedPanelNetwork(
        forecaster, part.windows._replace(covariates=jnp.asarray(covariates, dtype)), best, features
    )
