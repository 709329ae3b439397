"""Checkpoints of a training run: a tree of arrays and the identity of the run in one file."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.io.files import write_arrays
from jaxcast.io.reading import parse_json, read_arrays
from jaxcast.pytrees import named_leaves


def save_checkpoint(path: Path, identity: dict[str, Any], num_done: int, tree: Any) -> None:
    """Writes a checkpoint, or replaces it in one piece.

    Args:
        path: of the file.
        identity: what tells the run from others, as JSON values.
        num_done: finished epochs.
        tree: the state of the run.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.asarray(leaf) for name, leaf in named_leaves(tree).items()}
    write_arrays(path, {"__identity__": json.dumps(identity), "__num_done__": num_done, **arrays})


def load_checkpoint(path: Path, identity: dict[str, Any], like: Any) -> tuple[int, Any]:
    """Reads a checkpoint.

    Args:
        path: of the file.
        identity: of the run that continues.
        like: a tree with the shapes and dtypes of the state.

    Returns:
        The number of finished epochs, and the state after them.

    Raises:
        InputError: for a file that is damaged, no checkpoint, or one of another run.
    """
    arrays = read_arrays(path)
    fix = "delete it to start afresh, or choose another"
    try:
        num_done = int(arrays.pop("__num_done__"))
        kept = dict(parse_json(str(arrays.pop("__identity__"))))
    except (KeyError, ValueError, TypeError, OverflowError):
        raise InputError(f"{shown(path)} is not a checkpoint of this program; {fix}") from None
    differences = [name for name in identity | kept if identity.get(name) != kept.get(name)]
    if differences:
        raise InputError(
            f"{shown(path)} is the checkpoint of another run, with other {shown(', '.join(differences))}; give the "
            f"same settings, {fix}"
        )
    expected = named_leaves(like)
    kinds = ({name: (leaf.shape, leaf.dtype) for name, leaf in each.items()} for each in (expected, arrays))
    if num_done < 0 or next(kinds) != next(kinds):
        raise InputError(f"{shown(path)} is the checkpoint of another model or optimizer; {fix}")
    return num_done, jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in expected])
