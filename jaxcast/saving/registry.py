"""Every kind of model that can be kept, as a name, settings and arrays, and back."""

from typing import Any

import jax
from flax import nnx

from jaxcast.errors import InputError, shown
from jaxcast.forecasters.kernel_ridge import DelayKernelRidge
from jaxcast.forecasters.nvar import NVAR
from jaxcast.forecasters.recurrent import RecurrentForecaster, rebuilt_recurrent
from jaxcast.forecasters.reservoir import Reservoir
from jaxcast.hub.adaptive_pool import AdaptivePool
from jaxcast.hub.pools import TrainedQuantileAverage
from jaxcast.pooling.attention import AdditiveAttention, MultiHeadAttention, ScaledDotProductAttention
from jaxcast.pooling.baselines import FeedForward, Persistence
from jaxcast.pooling.component import ComponentAttention
from jaxcast.pooling.corrected import CorrectedPool, Features, KernelCorrection, PolynomialCorrection
from jaxcast.pooling.interpolation import RegimeInterpolation
from jaxcast.pooling.linear import FixedWeights, LinearRegression
from jaxcast.pooling.recurrent import RecurrentAttention
from jaxcast.pooling.simplex import SimplexLeastSquares
from jaxcast.pooling.switching import FixedShare, InteractingModels
from jaxcast.pytrees import named_leaves
from jaxcast.regime.forecaster import RegimeForecaster
from jaxcast.saving.series import FORECASTERS, describe_series, rebuilt_series
from jaxcast.saving.trees import check_bounds, check_settings, filled_in, rebuilt, static_fields
from jaxcast.series.calibration import CalibratedForecaster
from jaxcast.text.language_model import LanguageModel

POOLS: dict[str, type] = {
    "additive_attention": AdditiveAttention,
    "scaled_dot_product_attention": ScaledDotProductAttention,
    "multi_head_attention": MultiHeadAttention,
    "component_attention": ComponentAttention,
    "recurrent_attention": RecurrentAttention,
    "regime_interpolation": RegimeInterpolation,
    "feed_forward": FeedForward,
    "simplex_least_squares": SimplexLeastSquares,
    "linear_regression": LinearRegression,
    "fixed_weights": FixedWeights,
    "persistence": Persistence,
    "regime": RegimeForecaster,
    "fixed_share": FixedShare,
    "interacting_models": InteractingModels,
    "corrected": CorrectedPool,
    "adaptive": AdaptivePool,
    "quantile_average": TrainedQuantileAverage,
    "series": CalibratedForecaster,
    "nvar": NVAR,
    "reservoir": Reservoir,
    "delay_kernel_ridge": DelayKernelRidge,
    "recurrent": RecurrentForecaster,
    "language_model": LanguageModel,
}
CORRECTIONS: dict[str, type] = {"polynomial": PolynomialCorrection, "kernel": KernelCorrection}


def described(pool: Any) -> dict[str, Any]:
    """What kind of pool it is, and what it must be made with before its arrays can be put in."""
    names = [name for name, kind in POOLS.items() if type(pool) is kind]
    arguments = describe_series(pool) if isinstance(pool, CalibratedForecaster) else None
    if not names or arguments == {}:
        kind = type(pool.forecaster if names else pool).__name__
        known = FORECASTERS if names else POOLS
        raise InputError(
            f"cannot save a {kind}: only {shown(', '.join(known))} can be rebuilt without code of your own"
        )
    if arguments is not None:
        return {"pool": names[0], "arguments": arguments}
    if isinstance(pool, CorrectedPool):
        kind = next(name for name, kind in CORRECTIONS.items() if type(pool.correction) is kind)
        parts = {"features": static_fields(pool.features), "correction": static_fields(pool.correction)}
        return {"pool": names[0], "arguments": parts | {"kind": kind, "of": described(pool.pool)}}
    arguments = getattr(pool, "config", {}) if isinstance(pool, nnx.Module) else static_fields(pool)
    return {"pool": names[0], "arguments": arguments}


def rebuilt_pool(described: dict[str, Any], arrays: dict[str, Any]) -> Any:
    """A pool with these arrays in it; those of a network may all have a leading seed axis.

    Raises:
        TypeError, ValueError, IndexError, AttributeError, KeyError: where they are not those of the pool.
    """
    kind, arguments = POOLS[described["pool"]], described["arguments"]
    if kind is CorrectedPool:
        return _rebuilt_corrected(arguments, arrays)
    if kind is CalibratedForecaster:
        return rebuilt_series(arguments, arrays)
    if not issubclass(kind, nnx.Module):
        return rebuilt(kind, arguments, arrays)
    make: Any = rebuilt_recurrent if kind is RecurrentForecaster else kind
    check_bounds(arguments, arrays)
    like = jax.eval_shape(lambda key: make(**arguments, key=key), jax.random.key(0))
    check_settings(like.config, arguments)
    return filled_in(like, arrays, seeds=True)


def _rebuilt_corrected(arguments: dict[str, Any], arrays: dict[str, Any]) -> CorrectedPool:
    def part(field: str) -> dict[str, Any]:
        return {name.removeprefix(field): arrays[name] for name in arrays if name.startswith(field)}

    features = rebuilt(Features, arguments["features"], part(".features"))
    correction = rebuilt(CORRECTIONS[arguments["kind"]], arguments["correction"], part(".correction"))
    pool = CorrectedPool(rebuilt_pool(arguments["of"], part(".pool")), features, correction)
    if named_leaves(pool).keys() != arrays.keys() or arguments.keys() != {"features", "correction", "kind", "of"}:
        raise ValueError("arrays")
    return pool
