"""Weights of regressions on lags from all samples at once, by the normal equations of each lead."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxcast.numerics.ridge import ridge
from jaxcast.precision import highest
from jaxcast.series.regressions.expansions import Expansion, expansion_size
from jaxcast.series.regressions.inputs import RegressionInputs, Window
from jaxcast.series.samples import SeriesWindows
from jaxcast.types import Scalar


def solve_together(
    samples: SeriesWindows,
    inputs: RegressionInputs,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    predict_change: bool,
) -> tuple[Array, Array]:
    """Solves for one W and b of all regions.

    Args:
        samples: to learn from.
        inputs: that turn histories into features.
        expansion: phi.
        penalty: in units of the mean eigenvalue; None for least squares.
        power: of the scale, in the weights of errors.
        predict_change: whether targets are relative to the newest value.

    Returns:
        W and b.
    """
    return _solve_all(samples, inputs(samples.history, samples.covariates), expansion, penalty, power, predict_change)


def solve_each_region(
    samples: SeriesWindows,
    inputs: RegressionInputs,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    predict_change: bool,
) -> tuple[Array, Array]:
    """Solves for one region after the other, so that memory holds the features of one only.

    Args:
        samples: to learn from.
        inputs: that turn histories into features.
        expansion: phi.
        penalty: in units of the mean eigenvalue; None for least squares.
        power: of the scale, in the weights of errors.
        predict_change: whether targets are relative to the newest value.

    Returns:
        W and b of each region.
    """

    def one(own: Any) -> tuple[Array, Array]:
        region, targets, weights = own
        window = inputs.of_region(samples.history, samples.covariates, region)
        alone = samples._replace(targets=targets[:, :, None], weights=weights[:, :, None])
        return _solve_all(alone, window, expansion, penalty, power, predict_change)

    regions_first = [jnp.moveaxis(a, 2, 0) for a in (samples.targets, samples.weights)]
    return jax.lax.map(one, (jnp.arange(samples.history.shape[2]), *regions_first))


def _solve_all(
    samples: SeriesWindows,
    window: Window,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    predict_change: bool,
) -> tuple[Float[Array, "lead *target feature"], Float[Array, " lead *target"]]:
    """Solves for every target by itself."""
    if samples.features is None:
        return _solve(samples, window, expansion, penalty, power, predict_change)
    found = []
    for k in range(samples.targets.shape[-1]):
        own = samples._replace(targets=samples.targets[..., k], weights=samples.weights[..., k])
        level = window.level[..., k] if jnp.ndim(window.level) else window.level
        seen = Window(window.features, window.newest[..., k], window.scale[..., k], level)
        found.append(_solve(own, seen, expansion, penalty, power, predict_change))
    return jnp.stack([weights for weights, _ in found], 1), jnp.stack([bias for _, bias in found], 1)


@partial(jax.jit, static_argnames="predict_change")
@highest
def _solve(
    samples: SeriesWindows,
    window: Window,
    expansion: Expansion,
    penalty: Scalar | None,
    power: Scalar,
    predict_change: bool,
) -> tuple[Float[Array, "lead feature"], Float[Array, " lead"]]:
    features = expansion(window.features).reshape(-1, expansion_size(expansion, window.features.shape[-1]))
    scale = window.scale.ravel()

    def of_lead(targets: Array, weights: Array) -> tuple[Array, Array]:
        wanted = (targets - (window.newest if predict_change else window.level)).ravel() / scale
        weights = weights.ravel() * scale ** (2 * power)
        weights = weights / weights.sum()
        mean, middle = weights @ features, weights @ wanted
        centred = (features - mean) * jnp.sqrt(weights)[:, None]
        if penalty is None:
            solved = ridge(centred, ((wanted - middle) * jnp.sqrt(weights))[:, None], 0.0)[:, 0]
            return solved, middle - mean @ solved
        values, vectors = jnp.linalg.eigh(centred.T @ centred)
        values = jnp.maximum(values, 0)
        moments = centred.T @ ((wanted - middle) * jnp.sqrt(weights))
        # Without a penalty, directions that are rounding alone are left out: the solution of least norm.
        kept = (jnp.asarray(penalty) > 0) | (values > jnp.finfo(values.dtype).eps * max(centred.shape) * values.max())
        divisors = values + penalty * values.mean()
        # Features that never change, but for rounding, have no weights.
        kept &= values.mean() > jnp.finfo(values.dtype).eps * jnp.square(mean).max()
        divisors = jnp.where(kept, divisors, 1)
        solved = vectors @ jnp.where(kept, (vectors.T @ moments) / divisors, 0)
        return solved, middle - mean @ solved

    leads_first = (jnp.moveaxis(a, -2, 0) for a in (samples.targets, samples.weights))
    return jax.lax.map(lambda lead: of_lead(*lead), tuple(leads_first))
