"""Models on disk: a folder with pool.json and arrays.npz, and no pickled code."""

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxcast.arguments import checked
from jaxcast.checks import check_model
from jaxcast.dynamics.candidate_cell import CandidateCell
from jaxcast.dynamics.candidates import ForecastMap, name_of_callable, unstack_systems
from jaxcast.dynamics.flow_texts import describe_flow, make_flow
from jaxcast.dynamics.trajectories import FlowMap
from jaxcast.errors import InputError, shown
from jaxcast.io.files import check_name, write_arrays, write_json, writing
from jaxcast.io.ownership import is_marked
from jaxcast.io.reading import checksum_of, checksum_of_json, read_arrays, read_json
from jaxcast.pooling.cell import Forecaster
from jaxcast.pytrees import named_leaves
from jaxcast.registry import Saveable, check_imported, described, name_of, rebuilt
from jaxcast.rollout import Cell, HasCell
from jaxcast.saving.rebuilding import DO_NOT_FIT, as_json, check_described, check_loadable

FORMAT = "jaxcast pool 3"
PARTS = ("format", "class", "module", "arguments", "candidates", "attributes", "checksum", "arrays_checksum")
AGAIN = "train and save it again"


class StoredModel(NamedTuple):
    """A model that was read back, with its candidates and whatever was saved with it.

    Args:
        pool: the model. Where several were saved as one, each array has a leading seed axis.
        forecast_map: the candidates; None where there are none.
        attributes: JSON values that were saved with it.

    Example:
        >>> import jaxcast, jax.numpy as jnp
        >>> stored = jaxcast.StoredModel(jaxcast.pooling.Persistence(), None, {})
        >>> jaxcast.forecast(stored.cell, jnp.asarray([[1.0], [2.0]]), num_leads=2).forecast.tolist()
        [[2.0], [2.0]]
    """

    pool: Any
    forecast_map: Any
    attributes: dict[str, Any]

    @property
    def cell(self) -> Any:
        """The cell to roll: the model's own, or the pool over its candidates."""
        if isinstance(self.pool, Cell):
            return self.pool
        return self.pool.cell if isinstance(self.pool, HasCell) else Forecaster(self.pool, self.forecast_map)


@checked
def save_model(
    folder: str | Path,
    pool: Saveable,
    forecast_map: ForecastMap | None = None,
    *,
    attributes: dict[str, Any] | None = None,
) -> None:
    """Writes a model into a folder: its settings, its arrays and its candidates, but no code.

    The model is a pool, a cell, a forecaster of series, a pool of quantiles, a language model, or
    any other instance of a class with a name, such as `class Mine(jaxcast.Pool, ..., name="mine")`.
    All arrays may have a leading seed axis, as `fit` returns them.

    Candidates that are a flow map of named systems are written too. Others are your own code, which
    is not written; `load_model` asks for them.

    Args:
        folder: for the files; it is made where there is none.
        pool: the model.
        forecast_map: the candidates of a pool. A cell that runs candidates, such as a
            `RegimeForecaster`, brings its own.
        attributes: JSON values to keep with it, such as how it was trained.

    Raises:
        InputError: for a class without a name, a model with NaN or settings that no fit returns,
            a model whose `config` describes other arrays than it has, candidates beside a cell
            that brings its own, attributes that are not JSON, or a folder that cannot be written.

    Example:
        >>> import jax, jaxcast, tempfile
        >>> pool = jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=8, key=jax.random.key(0))
        >>> candidates = jaxcast.flow_map(jaxcast.stack_systems([jaxcast.Lorenz63(rho=rho) for rho in (26.0, 30.0)]))
        >>> folder = tempfile.mkdtemp()
        >>> jaxcast.save_model(folder, pool, candidates)
        >>> jaxcast.load_model(folder).forecast_map([1.0, 1.0, 20.0]).shape
        (2, 3)
    """
    if isinstance(pool, CandidateCell):
        if forecast_map is not None:
            raise InputError(f"a {type(pool).__name__} brings its candidates; leave forecast_map out")
        forecast_map, pool = pool.forecast_map, _with_candidates(pool, None)
    check_model(pool)
    config = {
        "format": FORMAT,
        **described(pool),
        "candidates": _describe_candidates(forecast_map),
        "attributes": attributes or {},
    }
    config = as_json(config)
    check_loadable(pool, {name: jnp.asarray(np.asarray(leaf)) for name, leaf in named_leaves(pool).items()})
    folder = Path(folder)
    check_name(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {shown(folder)} ({error.strerror}); choose a folder you can write to"
        ) from None
    refuse_foreign_pool(folder)
    with writing(folder):
        (folder / "pool.json").unlink(missing_ok=True)  # a kill in between must not leave it beside other arrays
    config["arrays_checksum"] = write_arrays(folder / "arrays.npz", named_leaves(pool))
    write_json(folder / "pool.json", config | {"checksum": checksum_of_json(config)})


def refuse_foreign_pool(folder: Path) -> None:
    """Refuses to replace a pool.json or arrays.npz that jaxcast did not write.

    Args:
        folder: where they are to be written.

    Raises:
        InputError: naming the file.
    """
    file = folder / "pool.json"
    try:
        is_ours = str(read_json(file)["format"]).startswith("jaxcast pool")
    except (ValueError, LookupError, TypeError):
        is_ours = False
    for path, allowed in ((file, is_ours), (folder / "arrays.npz", is_ours or is_marked(folder / "arrays.npz"))):
        if os.path.lexists(path) and not (allowed and not path.is_symlink()):
            raise InputError(f"{shown(path)} was not written by jaxcast; move it, or choose another folder")


@checked
def load_model(folder: str | Path, forecast_map: ForecastMap | None = None) -> StoredModel:
    """Reads a model from a folder, with its candidates.

    Checksums show whether the two files belong together and are unchanged. Their content is checked
    as when a model is made: shapes, dtypes, ranges and finite numbers. Import the modules of your
    own classes first.

    Args:
        folder: a folder that `save_model` wrote.
        forecast_map: the candidates, where they are your own code.

    Returns:
        The model, its candidates and what was saved with it.

    Raises:
        InputError: for a folder that is missing, foreign, truncated or changed, for a class of a
            module that is not imported, or where your own candidates are needed.

    Example:
        >>> import jaxcast, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> jaxcast.save_model(folder, jaxcast.equal_weights(2), attributes={"by": "hand"})
        >>> stored = jaxcast.load_model(folder)
        >>> stored.pool.weights.tolist(), stored.attributes
        ([0.5, 0.5], {'by': 'hand'})
    """
    folder = Path(folder)
    config = _read_config(folder)
    pool = _read_pool(config, folder)
    stored = config["candidates"]
    if forecast_map is None and stored is not None:
        if "callable" in stored:
            raise InputError(
                f"the pool in {shown(folder)} was trained over candidates that are your own code, "
                f"{shown(stored['callable'])}; give them: jaxcast.load_model(folder, forecast_map=...)"
            )
        check_imported(stored, str(folder))
        forecast_map = _rebuilt_candidates(stored, folder / "pool.json")
    if isinstance(pool, CandidateCell):
        pool = _with_candidates(pool, forecast_map)
    return StoredModel(pool, forecast_map, config["attributes"])


def _with_candidates(cell: Any, forecast_map: Any) -> Any:
    return dataclasses.replace(cell, forecast_map=forecast_map)


def _describe_candidates(forecast_map: Any) -> dict[str, Any] | None:
    if forecast_map is None:
        return None
    if isinstance(forecast_map, FlowMap) and name_of(type(forecast_map.system)) is not None:
        unstack_systems(forecast_map.system)  # candidates are a stack
        return describe_flow(forecast_map)
    if isinstance(forecast_map, FlowMap):
        return {"callable": type(forecast_map.system).__name__}
    return {"callable": name_of_callable(forecast_map)}


def _rebuilt_candidates(stored: dict[str, Any], file: Path) -> FlowMap:
    try:
        return make_flow(stored)
    except InputError as error:
        raise InputError(f"{shown(file)}, candidates: {shown(error, most=400)}; {AGAIN}") from None


def _read_pool(config: dict[str, Any], folder: Path) -> Any:
    file = folder / "arrays.npz"
    kept = read_arrays(file, AGAIN)
    if checksum_of(kept) != config["arrays_checksum"]:
        raise InputError(f"{shown(file)} does not belong to the pool.json beside it: their checksums differ; {AGAIN}")
    try:
        pool = rebuilt(config, {name: jnp.asarray(array) for name, array in kept.items()})
        check_model(pool)
        check_described(pool, config)
    except InputError as error:
        raise InputError(
            f"{shown(folder)} holds no sound {config['class']}: {shown(error, most=400)}; {AGAIN}"
        ) from None
    except DO_NOT_FIT:
        raise InputError(
            f"{shown(file)} does not hold the arrays of the {config['class']} that pool.json describes; {AGAIN}"
        ) from None
    return pool


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "pool.json"
    if not file.exists():
        raise InputError(f"{shown(folder)} holds no saved model: expected pool.json and arrays.npz in it")
    try:
        config = read_json(file)
    except ValueError as error:
        raise InputError(f"{shown(file)} cannot be read as JSON ({shown(error)}); {AGAIN}") from None
    if isinstance(config, dict) and str(config.get("format")).startswith("jaxcast pool") and config["format"] != FORMAT:
        raise InputError(
            f"{shown(file)} has the format {shown(config['format'])!r}, this version reads {shown(repr(FORMAT))}; "
            f"{AGAIN}"
        )
    if not _is_known(config):
        raise InputError(f"{shown(file)} is not that of a pool that this version of jaxcast can read; {AGAIN}")
    if config["checksum"] != checksum_of_json({name: value for name, value in config.items() if name != "checksum"}):
        raise InputError(f"{shown(file)} was changed after it was written: its settings have another checksum; {AGAIN}")
    check_imported({part: config[part] for part in ("class", "module", "arguments")}, str(folder))
    return config


def _is_known(config: Any) -> bool:
    """Returns whether these are the parts of a pool.json, whatever they hold."""
    if not isinstance(config, dict) or config.keys() != set(PARTS) or config["format"] != FORMAT:
        return False
    candidates = config["candidates"]
    known = isinstance(config["class"], str) and isinstance(config["module"], str | None)
    known = known and isinstance(config["arguments"], dict) and isinstance(config["attributes"], dict)
    if candidates is None or not known:
        return known
    if not isinstance(candidates, dict):
        return False
    if candidates.keys() == {"callable"}:
        return isinstance(candidates["callable"], str)
    systems = candidates.get("systems")
    return (
        candidates.keys() == {"systems", "dt", "h", "classes"}
        and isinstance(candidates["classes"], list)
        and isinstance(systems, list)
        and all(isinstance(text, str) for text in systems)
    )
