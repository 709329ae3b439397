"""The sizes of a regression's coefficients."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.errors import InputError
from jaxcast.series.problem import with_targets
from jaxcast.series.regressions.expansions import LinearFeatures
from jaxcast.series.regressions.lags import LagInputs
from jaxcast.series.regressions.regression import LagRegression
from jaxcast.series.samples import SeriesWindows


class CoefficientSizes(NamedTuple):
    """Coefficients of a linear regression times the standard deviation of their features.

    Args:
        names: of the features.
        sizes: by how much a forecast rises, in units of its series, when a feature rises by its
            standard deviation; with an axis of regions in front where each has its own.
    """

    names: tuple[str, ...]
    sizes: Float[np.ndarray, "*region lead feature"]


@checked
def coefficient_sizes(
    regression: LagRegression, windows: SeriesWindows, *, covariates: Sequence[str] | None = None
) -> CoefficientSizes:
    """Returns the standardised sizes of a linear regression's coefficients.

    Signs and sizes of correlated features, such as neighbouring lags, balance each other: a large
    coefficient alone does not make a feature matter. `permutation_importance` measures that.

    Args:
        regression: on `LinearFeatures`, for series without a feature axis.
        windows: over which features vary, with covariates as the regression takes them.
        covariates: their names; by default "covariate 1" and so on.

    Returns:
        The sizes, in standard deviations of each series.

    Raises:
        InputError: for another regression, whose coefficients are of no single input.

    Example:
        >>> import jaxcast, numpy as np
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=(80, 2)), 0)
        >>> windows = jaxcast.series.series_windows(walk, history_size=3, leads=(1,))
        >>> regression = jaxcast.series.fit_lag_regression(
        ...     windows, inputs=jaxcast.series.lag_inputs(windows, lags=range(3)),
        ...     expansion=jaxcast.series.LinearFeatures(), penalty=1e-4,
        ... )
        >>> found = jaxcast.series.coefficient_sizes(regression, windows)
        >>> found.names, int(abs(found.sizes[0]).argmax())
        (('lag 0', 'lag 1', 'lag 2'), 0)
    """
    inputs = regression.inputs
    if not isinstance(regression.expansion, LinearFeatures) or not isinstance(inputs, LagInputs):
        raise InputError(
            "expected a linear regression on lags, such as ridge or lasso; coefficients of others are of no single "
            "input, permutation_importance takes any"
        )
    if inputs.target_features or inputs.level == "window" or inputs.components is not None:
        raise InputError(
            "expected lags of single numbers of series with level='series' and no principal components; "
            "permutation_importance takes any"
        )
    seen = with_targets(windows)
    features = jax.jit(lambda inputs, *args: inputs(*args).features)(inputs, seen.history, seen.covariates)
    deviations = np.asarray(features, float).reshape(-1, features.shape[-1]).std(0)
    return CoefficientSizes(_names(inputs, covariates), np.asarray(regression.weights, float) * deviations)


def _names(inputs: LagInputs, covariates: Any) -> tuple[str, ...]:
    """Returns the names of features: of a region's own lags, its groups', and covariates."""
    count = inputs.neighbour_weights.shape[1] - 1
    others = inputs.lags if inputs.neighbour_lags is None else inputs.neighbour_lags
    groups = ["neighbours"] if count == 1 else [f"group {n + 1}" for n in range(count)]
    known = [f"covariate {n + 1}" for n in range(inputs.num_covariates)] if covariates is None else list(covariates)
    if len(known) != inputs.num_covariates:
        raise InputError(f"expected names of {inputs.num_covariates} covariates, got {len(known)}")
    own = [f"lag {lag}" for lag in inputs.lags]
    return (*own, *(f"{group}, lag {lag}" for group in groups for lag in others), *known)
