"""Regressions on lags for many penalties at once: the regularisation path."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.series.recursive import RecursiveForecaster
from jaxcast.series.regressions.expansions import Expansion
from jaxcast.series.regressions.inputs import RegressionInputs
from jaxcast.series.regressions.regression import LagRegression, fit_lag_regression
from jaxcast.series.regressions.streaming import in_chunks
from jaxcast.series.samples import SeriesWindows, check_samples
from jaxcast.types import Scalar


class RegressionPath(FrozenPytree):
    """Regressions that differ in their penalty alone, made by `fit_regression_path`.

    Args:
        inputs: that turn histories into features.
        expansion: phi.
        weights: of the regression for each penalty, on a leading axis.
        bias: alike.
        predict_change: whether forecasts start from the newest value.
        nonnegative: whether they are cut at zero.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> samples = jaxcast.series.series_windows(jnp.sin(jnp.arange(30.0))[:, None], history_size=3, leads=(1,))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(3))
        >>> path = jaxcast.series.fit_regression_path(
        ...     samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalties=(1e-6, 1.0)
        ... )
        >>> path.pick(0)(samples.history).forecast.shape
        (27, 1, 1)
    """

    inputs: Any
    expansion: Any
    weights: Float[Array, "penalty *own lead feature"]
    bias: Float[Array, "penalty *own lead"]
    predict_change: bool = static()
    nonnegative: bool = static()

    def pick(self, number: int) -> LagRegression:
        """Returns the regression for one penalty.

        Args:
            number: of the penalty, from 0.
        """
        return self._with(self.weights[number], self.bias[number])

    def forecasts(
        self, samples: SeriesWindows, *, chunk_size: int | None = None
    ) -> Float[Array, "penalty sample lead region *target"]:
        """Forecasts samples with every penalty; the features are computed once.

        Args:
            samples: whose histories and covariates are used.
            chunk_size: samples whose features are in memory at a time; by default all.

        Returns:
            The forecasts.
        """
        return _forecasts(self, samples.history, samples.covariates, chunk_size=chunk_size)

    def recursive_forecasts(
        self, samples: SeriesWindows, *, leads: tuple[int, ...]
    ) -> Float[Array, "penalty sample lead region"]:
        """Forecasts samples with every penalty in closed loop, by regressions of one step.

        Args:
            samples: whose histories are used.
            leads: steps ahead.

        Returns:
            The forecasts.
        """
        return _recursive_forecasts(self, samples.history, leads=leads)

    def _with(self, weights: Array, bias: Array) -> LagRegression:
        return LagRegression(self.inputs, self.expansion, weights, bias, self.predict_change, self.nonnegative)


@partial(jax.jit, static_argnames="chunk_size")
def _forecasts(path: RegressionPath, history: Array, covariates: Any, *, chunk_size: int | None) -> Array:
    def of_all(history: Array, covariates: Any) -> Array:
        model = lambda weights, bias: path._with(weights, bias)(history, covariates).forecast  # noqa: E731
        return jax.vmap(model)(path.weights, path.bias)

    if chunk_size is None:
        return of_all(history, covariates)
    chunks = jnp.asarray(in_chunks(len(history), chunk_size))
    own = lambda numbers: jax.tree.map(lambda a: a[numbers], (history, covariates))  # noqa: E731
    found = jnp.moveaxis(jax.lax.map(lambda numbers: of_all(*own(numbers)), chunks), 0, 1)
    return found.reshape(len(found), -1, *found.shape[3:])[:, : len(history)]


@partial(jax.jit, static_argnames="leads")
def _recursive_forecasts(path: RegressionPath, history: Array, *, leads: tuple[int, ...]) -> Array:
    def model(own: tuple[Array, Array]) -> Array:
        return RecursiveForecaster(path._with(*own), leads)(history).forecast

    return jax.lax.map(model, (path.weights, path.bias))


@checked
def fit_regression_path(
    samples: SeriesWindows,
    *,
    inputs: RegressionInputs,
    expansion: Expansion,
    penalties: Sequence[float] | Float[Any, " penalty"],
    error_weighting: Scalar = 1.0,
    each_region: bool = False,
    predict_change: bool = False,
    nonnegative: bool = False,
    chunk_size: int | None = None,
) -> RegressionPath:
    """Fits a regression on lags for each of several penalties, in little more time than for one.

    Args:
        samples: to learn from.
        inputs: that turn histories into features.
        expansion: phi.
        penalties: strengths of the regularisation, above zero, in units of the mean eigenvalue.
        error_weighting: see `fit_lag_regression`.
        each_region: whether each region has weights of its own.
        predict_change: whether to forecast the change from the newest value.
        nonnegative: whether forecasts are cut at zero.
        chunk_size: samples whose features are in memory at a time; by default all.

    Returns:
        The regressions.

    Raises:
        InputError: for penalties that are not above zero, and as in `fit_lag_regression`.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=4, leads=(1, 5))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(4))
        >>> path = jaxcast.series.fit_regression_path(
        ...     samples, inputs=inputs, expansion=jaxcast.series.LinearFeatures(), penalties=(1e-6, 1e-3, 1.0)
        ... )
        >>> forecasts = path.forecasts(samples)
        >>> best = jaxcast.series.best_by_lead(forecasts, samples, scale=inputs.std)
        >>> forecasts.shape, best.tolist()
        ((3, 56, 2, 2), [0, 0])
    """
    strengths = np.asarray(penalties, float)
    if strengths.ndim != 1 or not len(strengths) or not (np.isfinite(strengths) & (strengths > 0)).all():
        raise InputError(f"penalties must be finite numbers above zero, got {strengths.tolist()}")
    check_samples(samples)
    options: dict[str, Any] = {"each_region": each_region, "predict_change": predict_change}
    # Not compiled as a whole with chunks: which weights are equal must be known, so nothing is traced.
    fit: Any = _fit_all_compiled if chunk_size is None else partial(_fit_all, chunk_size=chunk_size)
    many = fit(samples, inputs, expansion, strengths, error_weighting, **options)
    return RegressionPath(inputs, expansion, many.weights, many.bias, predict_change, nonnegative)


def _fit_all(
    samples: SeriesWindows,
    inputs: RegressionInputs,
    expansion: Expansion,
    penalties: Float[Any, " penalty"],
    error_weighting: Scalar,
    *,
    each_region: bool,
    predict_change: bool,
    chunk_size: int | None = None,
) -> LagRegression:
    fit = partial(
        fit_lag_regression,
        samples,
        inputs=inputs,
        expansion=expansion,
        error_weighting=error_weighting,
        each_region=each_region,
        predict_change=predict_change,
        chunk_size=chunk_size,
    )
    return jax.vmap(lambda penalty: fit(penalty=penalty))(penalties)


_fit_all_compiled = jax.jit(_fit_all, static_argnames=("each_region", "predict_change"))


@checked
def best_by_lead(
    forecasts: Float[Any, "candidate sample lead region *target"],
    samples: SeriesWindows,
    *,
    scale: Float[Any, " region *target"] | Scalar = 1.0,
) -> Int[np.ndarray, " lead"]:
    """Returns the candidate with the smallest squared error at each lead.

    Args:
        forecasts: of the samples by each candidate.
        samples: held out; those with a weight count.
        scale: the unit of errors, such as each series' standard deviation, so that no single series
            rules.

    Returns:
        The number of the best candidate at each lead.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> walk = jnp.arange(10.0)[:, None]
        >>> samples = jaxcast.series.series_windows(walk, history_size=3, leads=(1, 2))
        >>> last, drift = (kind((1, 2))(samples.history).forecast for kind in (
        ...     jaxcast.series.LastValue, jaxcast.series.Drift
        ... ))
        >>> jaxcast.series.best_by_lead(jnp.stack([last, drift]), samples).tolist()
        [1, 1]
    """
    scale = jnp.asarray(scale)

    def error(forecast: Array) -> Float[Array, " lead"]:
        squares = samples.weights * ((forecast - samples.targets) / scale) ** 2
        return squares.sum((0, *range(2, squares.ndim))) / samples.weights.sum((0, *range(2, squares.ndim)))

    return np.asarray(jnp.argmin(jax.vmap(error)(jnp.asarray(forecasts)), 0))
