"""Forecasters for several penalties, and the choice of one by held-out windows."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree
from jaxcast.series.samples import SeriesWindows


class ForecasterPath(FrozenPytree):
    """Forecasters of one class that differ in their penalty alone, such as `fit_var_path` makes.

    Args:
        models: one forecaster whose arrays have a leading axis of penalties.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> samples = jaxcast.series.series_windows(jnp.sin(jnp.arange(30.0))[:, None], history_size=3, leads=(1,))
        >>> path = jaxcast.series.fit_var_path(samples, penalties=(1e-6, 1.0))
        >>> path.forecasts(samples).shape, path.pick(1)(samples.history).forecast.shape
        ((2, 27, 1, 1), (27, 1, 1))
    """

    models: Any

    def pick(self, number: int) -> Any:
        """Returns the forecaster for one penalty.

        Args:
            number: of the penalty, from 0.
        """
        return jax.tree.map(lambda a: a[number], self.models)

    def forecasts(self, samples: SeriesWindows) -> Float[Array, "penalty sample lead region"]:
        """Forecasts samples with every penalty.

        Args:
            samples: whose histories and covariates are used.

        Returns:
            The forecasts.
        """
        return _forecasts(self.models, samples.history, samples.covariates)


@jax.jit
def _forecasts(models: Any, history: Array, covariates: Any) -> Array:
    return jax.lax.map(lambda model: model(history, covariates).forecast, models)


class PenaltyChoice(NamedTuple):
    """The result of `fit_best_penalty`.

    Args:
        model: fitted to all training samples with the penalty that was chosen.
        penalty: the one chosen.
        rmse: of each penalty on the held-out samples.
    """

    model: Any
    penalty: float
    rmse: Float[np.ndarray, " penalty"]


@checked
def fit_best_penalty(
    samples: SeriesWindows,
    *,
    early: SeriesWindows,
    validation: SeriesWindows,
    fit_path: Callable[..., Any],
    penalties: Sequence[float] | Float[Any, " penalty"],
    scale: Float[Any, " region *target"] | float | int = 1.0,
) -> PenaltyChoice:
    """Fits with every penalty to the early samples, and with the best of them to all.

    Args:
        samples: all training samples.
        early: those before the validation part.
        validation: those of the validation part, usually the last tenth of training.
        fit_path: a function of samples and penalties, such as
            `lambda samples, penalties: fit_var_path(samples, penalties=penalties)`.
        penalties: to choose from, in the order that `fit_path` needs.
        scale: the unit of errors; by default that of the series.

    Returns:
        The model and how the penalty was chosen.

    Raises:
        InputError: for a validation part without known targets, or without any finite forecast, and
            as `fit_path` does.

    Example:
        >>> import jaxcast, numpy as np
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=(80, 2)), 0)
        >>> windows = lambda *part: jaxcast.series.series_windows(
        ...     walk, history_size=3, leads=(1,), start=part[0], stop=part[1]
        ... )
        >>> choice = jaxcast.series.fit_best_penalty(
        ...     windows(0, 80), early=windows(0, 70), validation=windows(70, 80), penalties=(1e-3, 1e3),
        ...     fit_path=lambda samples, penalties: jaxcast.series.fit_var_path(samples, penalties=penalties),
        ... )
        >>> choice.penalty
        0.001
    """
    if not np.asarray(validation.weights).any():
        raise InputError("expected validation samples with known targets, got none; give a longer validation part")
    forecasts = fit_path(early, penalties).forecasts(validation)
    scale = jnp.asarray(scale)

    def rmse(forecast: Array) -> Array:
        squares = validation.weights * ((forecast - validation.targets) / scale) ** 2
        # A forecast without a weight may be anything.
        return jnp.sqrt(jnp.where(validation.weights > 0, squares, 0).sum() / validation.weights.sum())

    errors = np.asarray(jax.lax.map(rmse, jnp.asarray(forecasts)))
    if not np.isfinite(errors).any():
        raise InputError("no penalty gives finite forecasts of the validation samples; give larger penalties")
    best = int(np.nanargmin(errors))
    penalty = float(np.asarray(penalties)[best])
    return PenaltyChoice(fit_path(samples, (penalty,)).pick(0), penalty, errors)
