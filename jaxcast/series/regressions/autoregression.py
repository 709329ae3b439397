"""Vector autoregressions (VAR): every series on the lags of all."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxcast.arguments import checked
from jaxcast.checks import Checked, check_flag, check_floats, check_penalty, check_whole, sizes_of
from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays
from jaxcast.numerics.moments import Moments, ridge_of_moments
from jaxcast.precision import highest
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.features import check_history
from jaxcast.series.regressions.forecaster_path import ForecasterPath
from jaxcast.series.samples import SeriesWindows, check_samples, learned_from
from jaxcast.series.scaling import filled, series_scale
from jaxcast.series.window_forecaster import WindowForecaster, WindowSignature
from jaxcast.types import Scalar


class VectorAutoregression(WindowForecaster, Checked, FrozenPytree, name="vector_autoregression"):
    """A vector autoregression, one for each lead, made by `fit_var`.

        y_(t+h) = c_h + sum_l B_(h,l) u_(t-l)

    with u all series at once. Of lead 1 alone it is the VAR that `RecursiveForecaster` iterates.
    Missing values are filled by the last known.

    Args:
        weights: B, of each lead and lag; rows receive.
        bias: c.
        mean: of each series, where nothing is known before a gap.
        lags: rows back from the newest of a history.
        nonnegative: whether forecasts are cut at zero, as for counts.

    Raises:
        InputError: when called, for histories of other series or too short; when saved or loaded,
            for arrays that do not fit each other.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> swap = jnp.asarray([[[[0.0, 1.0], [1.0, 0.0]]]])
        >>> model = jaxcast.series.VectorAutoregression(swap, jnp.zeros((1, 2)), jnp.zeros(2), (0,), False)
        >>> model(jnp.asarray([[3.0, 5.0]])).forecast.tolist()
        [[5.0, 3.0]]
    """

    weights: Float[Array, "lead lag region source"]
    bias: Float[Array, "lead region"]
    mean: Float[Array, " region"]
    lags: tuple[int, ...] = static()
    nonnegative: bool = static()

    @property
    def signature(self) -> WindowSignature:
        """The inputs that it takes, and the outputs that it returns."""
        return WindowSignature(self.bias.shape[-2], mean=self.mean, least_history=max(self.lags) + 1)

    def check(self) -> None:
        """Raises InputError unless the settings and arrays are those of such a forecaster."""
        check_floats(self)
        check_flag("nonnegative", self.nonnegative)
        for lag in self.lags:
            check_whole("every lag", lag, least=0)
        sizes = sizes_of(
            self, {".weights": f"lead {len(self.lags)} region source", ".bias": "lead region", ".mean": "region"}
        )
        if sizes["source"] != sizes["region"]:
            raise InputError(f".weights must be square for each lag, got {self.weights.shape}")

    @checked
    @highest
    def __call__(self, history: Float[Array, "..."], covariates: Any = None) -> Output:
        check_history(history, (), series=self.mean.shape, least=max(self.lags) + 1)
        lagged = _lagged(history, self.mean, self.lags)
        forecast = jnp.einsum("...ls,hlrs->...hr", lagged, self.weights) + self.bias
        return Output(jnp.maximum(forecast, 0) if self.nonnegative else forecast, {})


def _lagged(history: Array, mean: Array, lags: tuple[int, ...]) -> Float[Array, "*batch lag region"]:
    values = filled(history, mean)
    return values[..., values.shape[-2] - 1 - np.asarray(lags), :]


@checked
def fit_var(
    samples: SeriesWindows, *, penalty: Scalar, lags: Sequence[int] | None = None, nonnegative: bool = False
) -> VectorAutoregression:
    """Fits a vector autoregression by ridge regression, for all leads.

        B_h, c_h = argmin sum_n | y_(n,h) - c_h - sum_l B_(h,l) u_(n,t-l) |^2
                   + penalty e |B_h std|^2

    with each series in units of its standard deviation and e the mean eigenvalue of the matrix that
    is inverted. With fewer samples than series times lags it is meaningless without a penalty.
    A missing target leaves its series out of that sample only.

    Args:
        samples: to learn from, without a feature axis.
        penalty: strength of the regularisation; 0 for least squares, of least norm where there are
            many solutions.
        lags: rows back from the newest of a history; by default all rows.
        nonnegative: whether forecasts are cut at zero.

    Returns:
        The forecaster.

    Raises:
        InputError: for a penalty below zero, lags that the windows do not hold, samples with a
            feature axis or targets that are not finite, and matrices that do not fit into memory.

    Source:
        Lütkepohl, New Introduction to Multiple Time Series Analysis (2005), section 3.2.

    Example:
        >>> import jax.numpy as jnp, jaxcast, numpy as np
        >>> values = jnp.stack([jnp.sin(0.3 * jnp.arange(60.0)), jnp.cos(0.3 * jnp.arange(60.0))], 1)
        >>> samples = jaxcast.series.series_windows(values, history_size=1, leads=(1,))
        >>> weights = jaxcast.series.fit_var(samples, penalty=0.0).weights
        >>> print(np.asarray(weights[0, 0]).round(2))
        [[ 0.96  0.3 ]
         [-0.3   0.96]]
    """
    check_penalty(penalty)
    return jax.tree.map(lambda a: a[0], _fit(samples, jnp.asarray(penalty)[None], lags, nonnegative))


@checked
def fit_var_path(
    samples: SeriesWindows,
    *,
    penalties: Sequence[float] | Float[Any, " penalty"],
    lags: Sequence[int] | None = None,
    nonnegative: bool = False,
) -> ForecasterPath:
    """Fits a vector autoregression for each of several penalties, in little more time than for one.

    Args:
        samples: to learn from, without a feature axis.
        penalties: see `fit_var`.
        lags: rows back from the newest of a history; by default all rows.
        nonnegative: whether forecasts are cut at zero.

    Returns:
        The forecasters.

    Raises:
        InputError: as in `fit_var`.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.stack([jnp.sin(0.3 * jnp.arange(60.0)), jnp.cos(0.3 * jnp.arange(60.0))], 1)
        >>> samples = jaxcast.series.series_windows(values, history_size=1, leads=(1,))
        >>> path = jaxcast.series.fit_var_path(samples, penalties=(1e-6, 1.0))
        >>> [bool((abs(path.pick(number).weights) < 0.6).all()) for number in (0, 1)]
        [False, True]
    """
    for penalty in penalties:
        check_penalty(penalty)
    return ForecasterPath(_fit(samples, jnp.asarray(penalties, float), lags, nonnegative))


def _fit(
    samples: SeriesWindows, penalties: Float[Array, " penalty"], lags: Sequence[int] | None, nonnegative: bool
) -> VectorAutoregression:
    """Returns one forecaster whose arrays have a leading axis of penalties."""
    if samples.features is not None:
        raise InputError("a vector autoregression needs windows without a feature axis; give (time, region) values")
    check_samples(samples)
    samples = learned_from(samples)
    size, num_regions = samples.history.shape[1:]
    rows = tuple(range(size)) if lags is None else tuple(int(lag) for lag in lags)
    if not rows or not all(0 <= lag < size for lag in rows):
        raise InputError(f"expected lags from 0 to below the {size} rows of a window, got {shown(rows)}")
    num_features = len(rows) * num_regions
    check_arrays(f"a vector autoregression of {num_features} lagged series", *[(num_features, num_features)] * 3)
    mean, std = series_scale(samples, may_be_constant=True)
    weights = np.asarray(samples.weights)
    is_shared = (weights == weights[..., :1]).all()
    together = bool(is_shared and (weights == weights[:, :1]).all())
    targets = samples.targets.reshape(len(weights), 1, -1) if together else samples.targets
    solve = jax.jit(partial(_solve_shared if is_shared else _solve_each, lags=rows))
    found = solve(_features(samples, mean, std, rows), targets, samples.weights, mean, std, penalties)
    # (lead, penalty, *feature, region), where leads that are solved together lie before the regions.
    b, c = (a.astype(samples.history.dtype).reshape(*a.shape[:-1], -1, num_regions) for a in found)
    b, c = (jnp.moveaxis(a, -2, 0)[:, 0] if together else a[..., 0, :] for a in (b, c))
    b = jnp.moveaxis(b, 1, 0).reshape(len(penalties), -1, len(rows), num_regions, num_regions)
    means = jnp.broadcast_to(mean, (len(penalties), num_regions))
    return VectorAutoregression(jnp.moveaxis(b, -1, -2), jnp.moveaxis(c, 1, 0), means, rows, nonnegative)


def _features(samples: SeriesWindows, mean: Array, std: Array, lags: tuple[int, ...]) -> Float[Array, "sample feature"]:
    """Returns all standardised lags and the constant 1."""
    lagged = (_lagged(samples.history, mean, lags) - mean) / std
    flat = lagged.reshape(len(lagged), -1)
    return jnp.concatenate([flat, jnp.ones_like(flat[:, :1])], -1).astype(jnp.result_type(float))


def _solve_shared(
    phi: Array, targets: Array, weights: Array, mean: Array, std: Array, penalties: Array, *, lags: tuple[int, ...]
) -> tuple[Array, Array]:
    """Solves for all series at once, whose targets are known alike."""

    def of_lead(own: tuple[Array, Array]) -> tuple[Array, Array]:
        moments = _moments(phi, own[0], own[1])
        return jax.vmap(lambda penalty: _raw(ridge_of_moments(moments, penalty), mean, std, lags))(penalties)

    num_solved = targets.shape[1]
    return jax.lax.map(of_lead, (jnp.moveaxis(targets, 1, 0), weights[:, :num_solved, 0].T))


def _solve_each(
    phi: Array, targets: Array, weights: Array, mean: Array, std: Array, penalties: Array, *, lags: tuple[int, ...]
) -> tuple[Array, Array]:
    """Solves for each lead and series by itself, from the samples whose target is known."""

    def of_lead(own: tuple[Array, Array]) -> tuple[Array, Array]:
        def one(own: tuple[Array, Array]) -> tuple[Array, Array]:
            return _solve_shared(phi, own[0], own[1], mean, std, penalties, lags=lags)

        alone = (own[0].T[:, :, None, None], own[1].T[:, :, None, None])
        slopes, bias = (a[:, 0, ..., 0] for a in jax.lax.map(one, alone))
        return jnp.moveaxis(slopes, 0, -1), jnp.moveaxis(bias, 0, -1)

    return jax.lax.map(of_lead, tuple(jnp.moveaxis(a, 1, 0) for a in (targets, weights)))


@highest
def _moments(phi: Array, targets: Float[Array, "sample target"], weights: Float[Array, " sample"]) -> Moments:
    weighted = (phi * weights[:, None]).T
    targets = targets.astype(phi.dtype)
    return Moments(weighted @ phi, weighted @ targets, weights.astype(phi.dtype) @ targets**2)


@highest
def _raw(solved: tuple[Array, Array], mean: Array, std: Array, lags: tuple[int, ...]) -> tuple[Array, Array]:
    """Returns slopes and constants of the series in their own units."""
    slopes, bias = solved
    slopes = slopes / jnp.tile(std, len(lags))[:, None]
    return slopes, bias - jnp.tile(mean, len(lags)).astype(slopes.dtype) @ slopes
