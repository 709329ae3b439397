"""Forecasters of several series as names, settings and arrays, and back."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxcast.checks import check_model
from jaxcast.pytrees import named_leaves
from jaxcast.saving.trees import check_bounds, check_settings, filled_in, rebuilt, static_fields
from jaxcast.series.abstract_network import RegionNetwork
from jaxcast.series.baselines import Drift, HistoryMean, LastValue, SeasonalLastValue
from jaxcast.series.calibration import CalibratedForecaster
from jaxcast.series.expansions import LinearFeatures, PolynomialFeatures, RandomFourierFeatures
from jaxcast.series.features import TargetFeatures, check_features, check_targets, series_of
from jaxcast.series.lags import LagInputs
from jaxcast.series.recurrent_networks import AttentionNetwork, GlobalNetwork, HierarchicalNetwork, IndependentNetwork
from jaxcast.series.regression import LagRegression
from jaxcast.series.samples import SeriesWindows

FORECASTERS: dict[str, Any] = {
    "last_value": LastValue,
    "seasonal_last_value": SeasonalLastValue,
    "history_mean": HistoryMean,
    "drift": Drift,
    "lag_regression": LagRegression,
    "independent_network": IndependentNetwork,
    "hierarchical_network": HierarchicalNetwork,
    "attention_network": AttentionNetwork,
    "global_network": GlobalNetwork,
}
EXPANSIONS: dict[str, Any] = {
    "identity": LinearFeatures,
    "monomials": PolynomialFeatures,
    "random_fourier": RandomFourierFeatures,
}


def describe_series(model: CalibratedForecaster) -> dict[str, Any]:
    """What a forecaster must be made with before its arrays can be put in; {} for one that cannot be rebuilt."""
    inner = model.forecaster
    names = [name for name, kind in FORECASTERS.items() if type(inner) is kind]
    if not names:
        return {}
    described = {"levels": model.levels, "lower": model.lower, "width_power": model.width_power, "forecaster": names[0]}
    if isinstance(inner, RegionNetwork):
        return described | {"arguments": inner.config}
    if isinstance(inner, LagRegression):
        kinds = [name for name, kind in EXPANSIONS.items() if type(inner.expansion) is kind]
        if not kinds:
            return {}
        described["expansion"] = kinds[0]
    return described | {"arguments": static_fields(inner)}


def rebuilt_series(described: dict[str, Any], arrays: dict[str, Any]) -> CalibratedForecaster:
    """A forecaster with these arrays in it.

    Raises:
        TypeError, ValueError, KeyError: where they are not those of the forecaster.
    """
    inner = {
        name.removeprefix(".forecaster"): array for name, array in arrays.items() if name.startswith(".forecaster")
    }
    own = {name: array for name, array in arrays.items() if not name.startswith(".forecaster")}
    static, kind = described["arguments"], FORECASTERS[described["forecaster"]]
    forecaster: Any
    if kind is LagRegression:
        forecaster = _rebuilt_regression(static, EXPANSIONS[described["expansion"]], inner)
    elif issubclass(kind, RegionNetwork):
        forecaster = _rebuilt_network(static, kind, inner)
    else:
        forecaster = rebuilt(kind, static, inner)
    model = CalibratedForecaster(
        forecaster, own.pop(".shifts"), own.pop(".covariates_mean"), own.pop(".covariates_std"), tuple(described["levels"]),
        described["lower"], own.pop(".usual_change"), described["width_power"],
    )  # fmt: skip
    settings = {"levels", "lower", "width_power", "forecaster", "arguments"}
    if own or described.keys() - {"expansion"} != settings or ("expansion" in described) != (kind is LagRegression):
        raise ValueError("arrays or settings")
    _check_shapes(model)
    return model


def _rebuilt_regression(static: dict[str, Any], kind: Any, arrays: dict[str, Any]) -> LagRegression:
    static = dict(static)
    parts = {
        name: rebuilt(
            part,
            static.pop(name, {}),
            {n.removeprefix(f".{name}"): a for n, a in arrays.items() if n.startswith(f".{name}.")},
        )
        for name, part in (("inputs", LagInputs), ("expansion", kind))
    }
    model = LagRegression(weights=arrays[".weights"], bias=arrays[".bias"], **parts, **static)
    if named_leaves(model).keys() != arrays.keys():
        raise ValueError("arrays")
    return model


def _rebuilt_network(settings: dict[str, Any], kind: Any, arrays: dict[str, Any]) -> RegionNetwork:
    check_bounds(settings, arrays)
    config = dict(settings)
    regions, leads, covariates = (config.pop(name) for name in ("num_regions", "num_leads", "num_covariates"))
    series: tuple[int, ...] = (regions,)
    features, numbers = config.pop("num_features"), tuple(config.pop("target_features"))
    check_features(numbers)
    if numbers:
        check_targets(numbers, features)
        series = (regions, features)
    # Of any scale: the arrays hold the true one.
    history = jnp.arange(2.0 * math.prod(series)).reshape(2, 1, *series)
    targets = jnp.ones((2, leads, regions, *[len(numbers)] * bool(numbers)))
    samples = SeriesWindows(
        history, targets, targets, jnp.ones((2, leads), int), jnp.ones((2, covariates)) if covariates else None,
        TargetFeatures(numbers) if numbers else None,
    )  # fmt: skip
    like = jax.eval_shape(lambda key: kind(samples, **config, key=key), jax.random.key(0))
    check_settings(like.config, settings)
    return filled_in(like, arrays)


def _check_shapes(model: CalibratedForecaster) -> None:
    """Arrays of other sizes might broadcast, and be wrong without a word."""
    check_model(model)
    num_regions = model.shifts.shape[1]
    inner = model.forecaster
    length = max([1, *inner.inputs.lags]) + 1 if isinstance(inner, LagRegression) else getattr(inner, "period", 2)
    size = inner.inputs.num_covariates if isinstance(inner, LagRegression) else getattr(inner, "num_covariates", 0)
    covariates = jnp.ones((num_regions, size)) if size else None
    targets = model.target_features
    series = series_of(inner) or (num_regions, *[max(targets, default=0) + 1] * bool(targets))
    output = jax.eval_shape(model, jnp.ones((max(length, 2), *series)), covariates)
    if output.info["quantiles"].shape != model.shifts.shape:
        raise ValueError("shapes")
