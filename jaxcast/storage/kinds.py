"""Every kind of model that can be kept, as a name, settings and arrays, and back."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcast.errors import InputError
from jaxcast.forecasters import FeedForward, Persistence
from jaxcast.kernel_ridge import DelayKernelRidge
from jaxcast.language import LanguageModel
from jaxcast.nvar import NVAR
from jaxcast.polynomials import monomials
from jaxcast.pooling.adaptive import AdaptivePool
from jaxcast.pooling.attention import AdditiveAttention, MultiHeadAttention, ScaledDotProductAttention
from jaxcast.pooling.component import ComponentAttention
from jaxcast.pooling.corrected import CorrectedPool, Features, KernelCorrection, PolynomialCorrection
from jaxcast.pooling.interpolation import RegimeInterpolation
from jaxcast.pooling.linear import FixedWeights, LinearRegression
from jaxcast.pooling.quantile import QuantileAverage
from jaxcast.pooling.recurrent import RecurrentAttention
from jaxcast.pooling.simplex import SimplexLeastSquares
from jaxcast.pooling.switching import FixedShare, InteractingModels
from jaxcast.recurrent.forecaster import RecurrentForecaster, rebuilt_recurrent
from jaxcast.regime.forecaster import RegimeForecaster
from jaxcast.regions.calibration import CalibratedForecaster
from jaxcast.reservoirs import Reservoir
from jaxcast.rollout import Input
from jaxcast.storage.checkpoint import named_leaves
from jaxcast.storage.forecasters import FORECASTERS, describe_series, rebuilt_series
from jaxcast.storage.trees import rebuilt, static_fields

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
    "quantile_average": QuantileAverage,
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
        raise InputError(f"cannot save a {kind}: only {', '.join(known)} can be rebuilt without code of your own")
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
        pool = rebuilt(kind, arguments, arrays)
        if isinstance(pool, RegimeForecaster) and _shapes_of_regime(pool) != _shapes(arrays):
            raise ValueError("shapes")
        if isinstance(pool, NVAR | Reservoir | DelayKernelRidge):
            _check_rolls(pool)
        return pool
    make: Any = rebuilt_recurrent if kind is RecurrentForecaster else kind
    like = jax.eval_shape(lambda key: make(**arguments, key=key), jax.random.key(0))
    expected = named_leaves(like)
    seeds = {array.shape[: array.ndim - expected[name].ndim] for name, array in arrays.items()}
    (lead,) = seeds
    if arrays.keys() != expected.keys() or any(arrays[name].shape != (*lead, *expected[name].shape) for name in arrays):
        raise ValueError("shapes")
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in expected])


def _rebuilt_corrected(arguments: dict[str, Any], arrays: dict[str, Any]) -> CorrectedPool:
    def part(field: str) -> dict[str, Any]:
        return {name.removeprefix(field): arrays[name] for name in arrays if name.startswith(field)}

    features = rebuilt(Features, arguments["features"], part(".features"))
    correction = rebuilt(CORRECTIONS[arguments["kind"]], arguments["correction"], part(".correction"))
    pool = CorrectedPool(rebuilt_pool(arguments["of"], part(".pool")), features, correction)
    size, shape = len(features.middle), correction.coefficients.shape
    if isinstance(correction, PolynomialCorrection):
        fits = shape[0] == len(monomials(size, correction.degree))
    else:
        fits = correction.centres.shape == (shape[0], size)
    if not fits or features.half.shape != (size,) or named_leaves(pool).keys() != arrays.keys():
        raise ValueError("shapes")
    return pool


def _check_rolls(cell: NVAR | Reservoir | DelayKernelRidge) -> None:
    """Arrays of other sizes might broadcast, and be wrong without a word; of several seeds, the first stands for all."""
    lead = cell.scaler.mean.ndim - 1
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[lead:], a.dtype), cell)
    value = jax.ShapeDtypeStruct(one.scaler.mean.shape, one.scaler.mean.dtype)
    output = jax.eval_shape(lambda cell, value: cell(cell.init_carry(value), Input(value, True))[1], one, value)
    numbers = [leaf for leaf in jax.tree.leaves(one) if not jnp.issubdtype(leaf.dtype, jnp.integer)]
    of_floats = all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in numbers)
    if output.forecast.shape != value.shape or one.scaler.std.shape != value.shape or not of_floats:
        raise ValueError("shapes")


def _shapes(arrays: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _shapes_of_regime(cell: RegimeForecaster) -> dict[str, tuple[int, ...]]:
    """What the shapes of its arrays must be; arrays of others might broadcast, and be wrong without a word."""
    system = cell.emulator.system
    (num_models, size), dim, num_waves = system.coordinates.shape, len(cell.value_noise), len(cell.course.frequencies)
    course: dict[str, tuple[int, ...]] = {"level": (size,), "slope": (size,), "frequencies": (num_waves,)}
    course |= {"cosines": (num_waves, size), "sines": (num_waves, size)}
    theta = (len(system.state_factors), len(system.coordinate_factors), dim)
    return {
        ".emulator.system.theta": theta,
        ".emulator.system.origin": (dim,),
        ".emulator.system.scale": (dim,),
        ".emulator.system.coordinates": (num_models, size),
        ".emulator.offset": (size,),
        ".emulator.unit": (size,),
        ".emulator.dt": (),
        ".emulator.error": (),
        **{f".{part}.{name}": course[name] for part in ("course", "course_deviation", "wander") for name in course},
        ".value_noise": (dim,),
        ".model_noise": (dim,),
        ".interpolation": (len(monomials(size, cell.interpolation_degree)), num_models),
    }
