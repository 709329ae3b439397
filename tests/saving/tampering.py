"""Folders of pools that somebody has changed by hand."""

import json

import numpy as np

from jaxcast.io.files import write_arrays
from jaxcast.io.reading import CHECKSUM, checksum_of_json


def contents(folder):
    """The settings and the arrays of a folder."""
    arrays = dict(np.load(folder / "arrays.npz"))
    arrays.pop(CHECKSUM)
    return json.loads((folder / "pool.json").read_text()), arrays


def rewrite(folder, config, arrays):
    """Writes them with checksums that fit, as one could who wants to deceive."""
    config = {name: value for name, value in config.items() if name != "checksum"}
    config["arrays_checksum"] = write_arrays(folder / "arrays.npz", arrays)
    config["checksum"] = checksum_of_json(config)
    (folder / "pool.json").write_text(json.dumps(config))


ODD = (None, True, False, -1, 0, 1, 2, 1.5, 1e9, 1e308, 10**18, "x", "", "\0", [], {}, [1], [[0.5]], {"a": 1}, "window")


def places(value, path=()):
    """The paths of all values within a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for name, one in inner for found in places(one, (*path, name)))]


def other_json(config, rng):
    """A copy in which one value is another, and what was done."""
    config = json.loads(json.dumps(config))
    path = rng.choice([path for path in map(str, places(config)) if path != "()"])
    path = next(one for one in places(config) if str(one) == path)
    parent = config
    for name in path[:-1]:
        parent = parent[name]
    value, how = parent[path[-1]], rng.integers(4)
    if how == 0 and isinstance(parent, dict):
        del parent[path[-1]]
        return config, f"{path} removed"
    if how == 1 and isinstance(value, list):
        parent[path[-1]] = new = value[::-1] if rng.integers(2) else value + value[:1]
    elif how == 2 and isinstance(value, int | float) and not isinstance(value, bool):
        parent[path[-1]] = new = (value + 1, value - 1, -value, 2 * value, value + 0.5)[rng.integers(5)]
    elif how == 3 and isinstance(parent, dict):
        parent["more"] = new = 1
    else:
        parent[path[-1]] = new = ODD[rng.integers(len(ODD))]
    return config, f"{path}: {value!r} -> {new!r}"


CHANGES = {
    "nan": lambda a: a * np.nan,
    "one inf": lambda a: np.where(np.arange(a.size).reshape(a.shape) == a.size - 1, np.inf, a),
    "complex": lambda a: a.astype(complex),
    "double": lambda a: np.concatenate([a, a]) if a.ndim else np.stack([a, a]),
    "whole": lambda a: a.astype(int),
    "float16": lambda a: a.astype(np.float16),
    "flat": lambda a: a.ravel() if a.ndim else a[None],
    "turned": lambda a: a.T,
    "reversed": lambda a: a[::-1] if a.ndim else a,
    "negated": lambda a: -a,
    "zero": lambda a: 0 * a,
    "huge": lambda a: a + 1e300,
    "seeds": lambda a: np.stack([a, a]),
    "none": lambda a: a[:0] if a.ndim else np.zeros(0),
    "text": lambda a: a.astype(str),
    "flags": lambda a: a.astype(bool),
}


def other_arrays(arrays, rng):
    """A copy in which one array is another, and what was done."""
    if not arrays:
        return {"more": np.ones(2)}, "added"
    name = list(arrays)[rng.integers(len(arrays))]
    how = rng.integers(len(CHANGES) + 2)
    if how == len(CHANGES):
        return {other: array for other, array in arrays.items() if other != name}, f"{name} removed"
    if how == len(CHANGES) + 1:
        return arrays | {f"{name}2": arrays[name]}, f"{name} twice"
    change = list(CHANGES)[how]
    with np.errstate(all="ignore"):
        return arrays | {name: CHANGES[change](arrays[name])}, f"{name} {change}"


def other_bytes(content, rng):
    """A file that was cut off, overwritten, or is another."""
    start = int(rng.integers(len(content)))
    return (
        content[:start],
        content[:start] + bytes(rng.integers(0, 256, 8, dtype=np.uint8)) + content[start + 8 :],
        content[:start] + b"\0" * 40 + content[start:],
        content + content[:start],
        b"",
        b"[" * 15000,
        b'{"format": "jaxcast pool 3", "format": NaN}',
    )[rng.integers(7)]
