"""Losses of quantiles and points relative to the size of the truth: risk, wQL, ND."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.scores.quantiles import pinball_loss


@checked
def quantile_risk(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
) -> Float[Array, " quantile"]:
    """Returns the risk of each level: twice the pinball loss over the sum of the absolute truth.

        Risk_q = 2 sum QL_q(x, f) / sum |x|

    over all known entries of all series, times and leads. At q = 0.5 it is the normalized deviation
    of the median.

    Args:
        forecast: quantiles of each entry.
        truth: observed value of each entry; NaN where it is missing. These are left out.
        levels: level of each quantile, increasing within (0, 1).

    Returns:
        The risk of each level; infinite where a forecast is not finite although the truth is known,
        NaN where no truth is known or all are 0.

    Raises:
        InputError: for shapes that do not match, or levels that do not increase within (0, 1).

    Source:
        Salinas, Flunkert, Gasthaus and Januschowski, Int. J. Forecast. 36, 1181-1191 (2020).

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, truth = np.asarray([[1.0, 3.0], [2.0, 4.0]]), np.asarray([2.0, np.nan])
        >>> risks = jaxcast.scores.quantile_risk(forecast, truth, np.asarray([0.5, 0.9]))
        >>> [round(float(risk), 2) for risk in risks]
        [0.5, 0.1]
    """
    truth = jnp.asarray(truth, float)
    is_known = jnp.isfinite(truth)
    losses = pinball_loss(forecast, jnp.where(is_known, truth, 0), levels)
    losses = jnp.where(is_known[..., None], jnp.where(jnp.isfinite(losses), losses, jnp.inf), 0)
    return 2 * losses.sum(tuple(range(truth.ndim))) / _size(truth)


@checked
def mean_weighted_quantile_loss(
    forecast: Shaped[ArrayLike, "*batch quantile"],
    truth: Shaped[ArrayLike, "*batch"],
    levels: Shaped[ArrayLike, " quantile"],
) -> Float[Array, ""]:
    """Returns the mean of `quantile_risk` over the levels (wQL).

    Papers use the levels 0.1, 0.2, ..., 0.9. With more and more evenly spaced levels it tends to
    the sum of the CRPS over the sum of the absolute truth.

    Args:
        forecast: quantiles of each entry.
        truth: observed value of each entry; NaN where it is missing. These are left out.
        levels: level of each quantile, increasing within (0, 1).

    Returns:
        One number.

    Raises:
        InputError: for shapes that do not match, or levels that do not increase within (0, 1).

    Source:
        Alexandrov et al., J. Mach. Learn. Res. 21, 116 (2020): `mean_wQuantileLoss`.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecast, truth = np.asarray([[1.0, 3.0], [2.0, 4.0]]), np.asarray([2.0, np.nan])
        >>> loss = jaxcast.scores.mean_weighted_quantile_loss(forecast, truth, np.asarray([0.5, 0.9]))
        >>> round(float(loss), 2)
        0.3
    """
    return quantile_risk(forecast, truth, levels).mean()


@checked
def normalized_deviation(forecast: Shaped[ArrayLike, "*batch"], truth: Shaped[ArrayLike, "*batch"]) -> Float[Array, ""]:
    """Returns the sum of absolute errors over the sum of the absolute truth (ND).

        ND = sum |x - f| / sum |x|

    Of a truth that is never negative it is the `weighted_mape`.

    Args:
        forecast: of each entry, such as the median.
        truth: observed value of each entry; NaN where it is missing. These are left out.

    Returns:
        One number; infinite where a forecast is not finite although the truth is known, NaN where
        no truth is known or all are 0.

    Raises:
        InputError: for shapes that do not match.

    Source:
        Yu, Rao and Dhillon, Temporal regularized matrix factorization, NeurIPS (2016).

    Example:
        >>> import jaxcast
        >>> float(jaxcast.scores.normalized_deviation([1.0, -3.0, 5.0], [2.0, -2.0, float("nan")]))
        0.5
    """
    forecast, truth = jnp.asarray(forecast, float), jnp.asarray(truth, float)
    if forecast.shape != truth.shape:
        raise InputError(f"expected forecasts of the shape of the truth, {truth.shape}, got {forecast.shape}")
    errors = jnp.abs(truth - forecast)
    errors = jnp.where(jnp.isfinite(truth), jnp.where(jnp.isfinite(errors), errors, jnp.inf), 0)
    return errors.sum() / _size(truth)


def _size(truth: Array) -> Array:
    return jnp.where(jnp.isfinite(truth), jnp.abs(truth), 0).sum()
