"""Sparse regressions on lags: the LASSO for one or several penalties."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_number, check_sizes
from jaxcast.errors import InputError
from jaxcast.numerics.lasso import Lasso, lasso_of_moments
from jaxcast.series.features import target_features_of
from jaxcast.series.regressions.expansions import Expansion, LinearFeatures
from jaxcast.series.regressions.inputs import RegressionInputs
from jaxcast.series.regressions.path import RegressionPath
from jaxcast.series.regressions.regression import LagRegression
from jaxcast.series.regressions.streaming import arranged, sum_moments
from jaxcast.series.samples import SeriesWindows, check_samples, learned_from
from jaxcast.types import Scalar

GAP = 1e-6
"""The duality gap at which a solution counts as one, in units of the variance of the target."""


@checked
def fit_lasso(
    samples: SeriesWindows,
    *,
    inputs: RegressionInputs,
    penalty: float | int,
    expansion: Expansion | None = None,
    error_weighting: Scalar = 1.0,
    each_region: bool = False,
    predict_change: bool = False,
    nonnegative: bool = False,
    chunk_size: int = 64,
) -> LagRegression:
    """Fits a sparse regression on lags: most weights are 0.

    The objective is that of `fit_lasso_path`, solved to a duality gap of 1e-6.

    Args:
        samples: to learn from.
        inputs: that turn their histories into features.
        penalty: strength of the regularisation, above 0; at 1 all weights are 0.
        expansion: phi; by default the features themselves.
        error_weighting: see `fit_lag_regression`.
        each_region: whether each region has weights of its own.
        predict_change: whether to forecast the change from the newest value.
        nonnegative: whether forecasts are cut at zero.
        chunk_size: samples whose features are in memory at a time.

    Returns:
        The regression.

    Raises:
        InputError: for a penalty that is not from above 0 to 1, a gap that stays open, and as in
            `fit_lag_regression`.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=6, leads=(1,))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(6))
        >>> (abs(jaxcast.series.fit_lasso(samples, inputs=inputs, penalty=0.1).weights) > 0).sum().tolist()
        2
    """
    options = {"each_region": each_region, "predict_change": predict_change, "nonnegative": nonnegative}
    path = fit_lasso_path(
        samples,
        inputs=inputs,
        penalties=(penalty,),
        expansion=expansion,
        error_weighting=error_weighting,
        chunk_size=chunk_size,
        **options,
    )
    return path.pick(0)


@checked
def fit_lasso_path(
    samples: SeriesWindows,
    *,
    inputs: RegressionInputs,
    penalties: Sequence[float] | Float[Any, " penalty"],
    expansion: Expansion | None = None,
    error_weighting: Scalar = 1.0,
    each_region: bool = False,
    predict_change: bool = False,
    nonnegative: bool = False,
    chunk_size: int = 64,
) -> RegressionPath:
    """Fits a sparse regression on lags for each of several penalties.

        W_h, b_h = argmin 1/2 mean w_(n,h,r) | target_(n,h,r) - W_h' phi(x_(n,r)) - b_h |^2
                   + lambda_h |W_h|_1

    with features and targets standardised once more, to mean 0 and variance 1 in these weights, and
    lambda_h the penalty times the smallest lambda at which all of W_h is 0. Targets are in units of
    the scale and weighted as in `fit_lag_regression`. Each solution is as close to the minimum as a
    duality gap of 1e-6 times the variance of the target; 1e-5 in float32.

    Args:
        samples: to learn from.
        inputs: that turn their histories into features.
        penalties: strengths of the regularisation, falling, from 1 to above 0.
        expansion: phi; by default the features themselves.
        error_weighting: see `fit_lag_regression`.
        each_region: whether each region has weights of its own.
        predict_change: whether to forecast the change from the newest value.
        nonnegative: whether forecasts are cut at zero.
        chunk_size: samples whose features are in memory at a time.

    Returns:
        The regressions, the sparsest first.

    Raises:
        InputError: for penalties that do not fall or are not from above 0 to 1, a gap that stays
            open, and as in `fit_lag_regression`.

    Source:
        Tibshirani, J. R. Stat. Soc. B 58, 267-288 (1996).

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.sin(0.3 * jnp.arange(60.0))[:, None] + jnp.asarray([1.0, 2.0])
        >>> samples = jaxcast.series.series_windows(values, history_size=6, leads=(1, 2))
        >>> inputs = jaxcast.series.lag_inputs(samples, lags=range(6))
        >>> path = jaxcast.series.fit_lasso_path(samples, inputs=inputs, penalties=(1.0, 0.1))
        >>> (abs(path.weights) > 0).sum((1, 2)).tolist()
        [0, 4]
    """
    strengths = _checked_penalties(penalties)
    check_samples(samples)
    check_sizes(chunk_size=chunk_size)
    if inputs.target_features != target_features_of(samples):
        raise InputError(
            f"expected samples whose target features are {inputs.target_features}, as of the inputs, got "
            f"{target_features_of(samples)}; make the inputs from these samples"
        )
    samples = learned_from(samples)
    expansion = LinearFeatures() if expansion is None else expansion
    moments = sum_moments(
        samples,
        inputs,
        expansion,
        error_weighting,
        predict_change=predict_change,
        each_region=each_region,
        chunk_size=chunk_size,
    )
    # In float32 rounding alone leaves a gap of some 1e-6.
    tolerance = max(GAP, 100 * float(jnp.finfo(moments.features.dtype).eps))
    found = _lasso(moments, jnp.asarray(strengths), tolerance=tolerance)
    _check_gaps(found, strengths, tolerance)
    each = [arranged(w, b, samples, error_weighting) for w, b in zip(found.slopes, found.intercept, strict=True)]
    weights, bias = (jnp.stack(part) for part in zip(*each, strict=True))
    return RegressionPath(inputs, expansion, weights, bias, predict_change, nonnegative)


_lasso = jax.jit(lasso_of_moments)


def _checked_penalties(penalties: Any) -> np.ndarray:
    strengths = np.asarray(penalties, float)
    if strengths.ndim != 1 or not len(strengths) or not (np.diff(strengths) < 0).all():
        raise InputError(f"penalties must fall, from 1 to above 0, got {strengths.tolist()}")
    for strength in strengths.tolist():
        check_number("every penalty", strength, above=0, most=1)
    return strengths


def _check_gaps(found: Lasso, penalties: np.ndarray, tolerance: float) -> None:
    open_gaps = np.asarray(~(found.gap <= tolerance)).reshape(len(penalties), -1).any(1)
    if open_gaps.any():
        raise InputError(
            f"the LASSO does not reach a duality gap of {tolerance:g} at the penalty "
            f"{penalties[open_gaps.argmax()]:g}; give larger penalties"
        )
