"""Trained pools and forecasters of series on disk: a folder with pool.json and arrays.npz, no pickled code."""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxcast.candidates import ForecastMap, stack, unstack
from jaxcast.errors import InputError
from jaxcast.forecasters import FeedForward, Forecaster, Persistence, Pool
from jaxcast.integrate import FlowMap, flow_map
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
from jaxcast.regime.forecaster import RegimeForecaster
from jaxcast.regions.calibration import CalibratedForecaster
from jaxcast.rollout import Cell
from jaxcast.specs import SYSTEMS, describe, parse_system
from jaxcast.storage.checkpoint import named_leaves
from jaxcast.storage.files import writing
from jaxcast.storage.folder import read_arrays, write_arrays, write_json
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
}
CORRECTIONS: dict[str, type] = {"polynomial": PolynomialCorrection, "kernel": KernelCorrection}
FORMAT = "jaxcast pool 1"


class StoredPool(NamedTuple):
    """A pool or a forecaster of series read back, its candidates, None where it needs none, and whatever was saved with it.

    Where several pools were saved as one, each array of `pool` has a leading seed axis.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> stored = jaxcast.StoredPool(jaxcast.Persistence(), None, {})
        >>> jaxcast.forecast(stored.cell, jnp.asarray([[1.0], [2.0]]), num_leads=2).forecast.tolist()
        [[2.0], [2.0]]
    """

    pool: Any
    forecast_map: Any
    attributes: dict[str, Any]

    @property
    def cell(self) -> Any:
        """What rolls: the pool over its candidates, or the pool where it is a cell of its own, as a regime's is."""
        return self.pool if isinstance(self.pool, Cell) else Forecaster(self.pool, self.forecast_map)


def save_pool(
    folder: str | Path,
    pool: Pool | RegimeForecaster | AdaptivePool | QuantileAverage | CalibratedForecaster,
    forecast_map: ForecastMap | None = None,
    *,
    attributes: dict[str, Any] | None = None,
) -> None:
    """Writes a pool, or pools with a leading seed axis such as `fit` returns, and its candidates into a folder.

    Candidates that are a flow map of jaxcast's systems are written with it. Others are the user's own code, which is not
    written; `load_pool` asks for it.

    Args:
        forecast_map: the candidates; a `RegimeForecaster` brings its own.
        attributes: JSON values to keep with it, such as how it was trained.

    Raises:
        InputError: for a pool of the user's own class, candidates beside a pool that brings its own, or a folder that
            cannot be written to.

    Example:
        >>> import jax, jaxcast, tempfile
        >>> pool = jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=8, key=jax.random.key(0))
        >>> candidates = jaxcast.flow_map(jaxcast.stack([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> folder = tempfile.mkdtemp()
        >>> jaxcast.save_pool(folder, pool, candidates)
        >>> jaxcast.load_pool(folder).forecast_map([1.0, 1.0, 20.0]).shape
        (2, 3)
    """
    if isinstance(pool, RegimeForecaster):
        if forecast_map is not None:
            raise InputError("a RegimeForecaster brings its candidates; leave forecast_map out")
        pool, forecast_map = dataclasses.replace(pool, forecast_map=None), pool.forecast_map
    config = {
        "format": FORMAT,
        **_described(pool),
        "candidates": _describe_candidates(forecast_map),
        "attributes": attributes or {},
    }
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error.strerror}); choose a folder you can write to") from None
    with writing(folder):
        (folder / "pool.json").unlink(missing_ok=True)  # a kill in between must not leave it beside other arrays
    write_arrays(folder / "arrays.npz", named_leaves(pool))
    write_json(folder / "pool.json", config)


def load_pool(folder: str | Path, forecast_map: ForecastMap | None = None) -> StoredPool:
    """The pool that a folder holds, with its candidates.

    Args:
        forecast_map: the candidates, where they were the user's own code.

    Raises:
        InputError: for a missing, foreign or truncated folder, or where the user's own candidates are needed.

    Example:
        >>> import jaxcast, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> jaxcast.save_pool(folder, jaxcast.equal_weights(2), attributes={"by": "hand"})
        >>> stored = jaxcast.load_pool(folder)
        >>> stored.pool.weights.tolist(), stored.attributes
        ([0.5, 0.5], {'by': 'hand'})
    """
    folder = Path(folder)
    config = _read_config(folder)
    pool = _read_pool(config, folder / "arrays.npz")
    stored = config["candidates"]
    if forecast_map is None and stored is not None:
        if "callable" in stored:
            raise InputError(
                f"the pool in {folder} was trained over candidates that are your own code, {stored['callable']}; "
                "give them: load_pool(folder, forecast_map=...)"
            )
        forecast_map = flow_map(
            stack([parse_system(text) for text in stored["systems"]]), dt=stored["dt"], h=stored["h"]
        )
    if isinstance(pool, RegimeForecaster):
        pool = dataclasses.replace(pool, forecast_map=forecast_map)
    return StoredPool(pool, forecast_map, config["attributes"])


def _described(pool: Any) -> dict[str, Any]:
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
        return {"pool": names[0], "arguments": parts | {"kind": kind, "of": _described(pool.pool)}}
    arguments = getattr(pool, "config", {}) if isinstance(pool, nnx.Module) else static_fields(pool)
    return {"pool": names[0], "arguments": arguments}


def _describe_candidates(forecast_map: Any) -> dict[str, Any] | None:
    if forecast_map is None:
        return None
    if isinstance(forecast_map, FlowMap) and type(forecast_map.system) in SYSTEMS.values():
        dt = float(forecast_map.dt)
        systems = [describe(system) for system in unstack(forecast_map.system)]
        return {"systems": systems, "dt": dt, "h": dt / forecast_map.num_substeps}
    if isinstance(forecast_map, FlowMap):
        return {"callable": type(forecast_map.system).__name__}
    named = forecast_map
    while wrapped := getattr(named, "function", getattr(named, "func", None)):
        named = wrapped
    return {"callable": getattr(named, "__name__", type(named).__name__)}


def _read_pool(config: dict[str, Any], file: Path) -> Any:
    arrays = {name: jnp.asarray(array) for name, array in read_arrays(file, "train and save the pool again").items()}
    try:
        return _rebuilt(config, arrays)
    except (TypeError, ValueError, IndexError, AttributeError, KeyError):
        raise InputError(
            f"{file} does not hold the arrays of the pool that pool.json describes; save the pool again"
        ) from None


def _rebuilt(described: dict[str, Any], arrays: dict[str, Any]) -> Any:
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
        return pool
    make: Any = kind
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
    pool = CorrectedPool(_rebuilt(arguments["of"], part(".pool")), features, correction)
    size, shape = len(features.middle), correction.coefficients.shape
    if isinstance(correction, PolynomialCorrection):
        fits = shape[0] == len(monomials(size, correction.degree))
    else:
        fits = correction.centres.shape == (shape[0], size)
    if not fits or features.half.shape != (size,) or named_leaves(pool).keys() != arrays.keys():
        raise ValueError("shapes")
    return pool


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


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "pool.json"
    if not file.exists():
        raise InputError(f"{folder} holds no trained pool: expected pool.json and arrays.npz in it")
    try:
        config = json.loads(file.read_text())
        known = config["format"] == FORMAT and config["pool"] in POOLS
        candidates = config["candidates"]
        known = known and isinstance(config["arguments"], dict) and isinstance(config["attributes"], dict)
        if candidates is not None and "callable" not in candidates:
            known = known and all(isinstance(text, str) for text in candidates["systems"])
            known = known and all(isinstance(candidates[name], float) for name in ("dt", "h"))
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(f"{file} is not that of a pool that this version of jaxcast can read; train it again")
    return config
