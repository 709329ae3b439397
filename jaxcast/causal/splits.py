"""Splits for cross-fitting: random folds, and blocks of time with gaps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.tracing import is_traced


class Splits(NamedTuple):
    """Folds of cross-fitting: the samples of each, and the fold that holds each sample out.

    Args:
        train: whether a sample may be learned from.
        fold: number of the fold that holds a sample out.
    """

    train: Bool[Array, "repeat fold sample"]
    fold: Int[Array, "repeat sample"]


@checked
def random_splits(
    num_samples: int,
    *,
    num_folds: int = 5,
    num_repeats: int = 1,
    clusters: Any = None,
    key: Key[Array, ""],
) -> Splits:
    """Draws folds of nearly equal size.

    Args:
        num_samples: number of samples.
        num_folds: number of folds.
        num_repeats: how often to draw.
        clusters: label of each sample's cluster, which stays in one fold.
        key: random key.

    Returns:
        The splits.

    Raises:
        InputError: for fewer than two folds, or fewer samples or clusters than folds.

    Example:
        >>> import jax, jaxcast
        >>> splits = jaxcast.causal.random_splits(10, num_folds=5, key=jax.random.key(0))
        >>> splits.train.sum(-1).tolist()
        [[8, 8, 8, 8, 8]]
    """
    check_whole("num_repeats", num_repeats)
    members = None if clusters is None else numbered("clusters", clusters, num_samples)
    num_units = num_samples if members is None else int(members.max()) + 1
    _check_folds(num_folds, num_units, "samples" if clusters is None else "clusters")

    def one(key: Array) -> Array:
        fold = jax.random.permutation(key, jnp.arange(num_units) * num_folds // num_units)
        return fold if members is None else fold[members]

    fold = jax.vmap(one)(jax.random.split(key, num_repeats))
    return Splits(fold[:, None] != jnp.arange(num_folds)[:, None], fold)


@checked
def block_splits(
    num_samples: int,
    *,
    num_folds: int = 5,
    num_repeats: int = 1,
    gap: int = 0,
    times: Any = None,
    key: Key[Array, ""],
) -> Splits:
    """Cuts time into contiguous blocks, one a fold, with a gap on both sides that nobody learns from.

    In further repeats the boundaries are moved by a random number of steps; the fold at the end
    then goes on at the beginning.

    Args:
        num_samples: number of samples.
        num_folds: number of blocks.
        num_repeats: how often to cut.
        gap: steps left out before and after each block; at least the longest lag among covariates
            and outcome.
        times: time step of each sample, whole numbers or dates; by default each sample is one step.
        key: random key.

    Returns:
        The splits.

    Raises:
        InputError: for fewer than two folds, fewer steps than folds, or a gap that leaves fewer
            than two steps to learn from.

    Source:
        Burman, Chow and Nolan, Biometrika 81, 351-358 (1994), for the gap.

    Example:
        >>> import jax, jaxcast
        >>> splits = jaxcast.causal.block_splits(12, num_folds=3, gap=1, key=jax.random.key(0))
        >>> splits.train[0, 1].astype(int).tolist()
        [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    """
    check_whole("num_repeats", num_repeats)
    check_whole("gap", gap, least=0)
    steps = np.arange(num_samples) if times is None else numbered("times", times, num_samples)
    num_steps = int(steps.max()) + 1
    _check_folds(num_folds, num_steps, "time steps")
    longest = -(-num_steps // num_folds)
    if num_steps - longest - 2 * gap < 2:
        raise InputError(
            f"expected a gap that leaves steps to learn from, got a gap of {gap} around blocks of {longest} of "
            f"{num_steps} time steps; give a smaller gap or more folds"
        )
    moves = jax.random.randint(key, (num_repeats,), 0, longest).at[0].set(0)
    block = (jnp.arange(num_steps) + moves[:, None]) % num_steps * num_folds // num_steps
    held_out = block[:, None] == jnp.arange(num_folds)[:, None]
    # How many held-out steps lie within the gap: a difference of running sums.
    running = jnp.pad(jnp.cumsum(held_out, -1), ((0, 0), (0, 0), (1, 0)))
    first = np.maximum(np.arange(num_steps) - gap, 0)
    last = np.minimum(np.arange(num_steps) + gap + 1, num_steps)
    is_free = running[..., last] == running[..., first]
    return Splits(is_free[..., steps], block[:, steps])


def numbered(name: str, labels: Any, num_samples: int) -> Int[np.ndarray, " sample"]:
    """Returns the numbers of labels in their order, from 0 on.

    Args:
        name: of the labels, for a message.
        labels: one for each sample.
        num_samples: number of samples.

    Raises:
        InputError: for another number of labels, or labels that cannot be sorted.
    """
    if is_traced(labels):
        raise InputError(f"{name} cannot be traced; give a NumPy array from outside of jax.jit and jax.vmap")
    array = as_labels(labels)
    if array.shape != (num_samples,) or array.dtype.kind not in "biuUSM":
        raise InputError(
            f"{name} must hold a whole number, date or text for each of {num_samples} samples, got shape "
            f"{array.shape} of {array.dtype}"
        )
    return np.unique(array, return_inverse=True)[1].reshape(-1)


def as_labels(labels: Any) -> np.ndarray:
    """Returns labels as an array, of texts where they are objects that are texts, as data frames hold them.

    Args:
        labels: one for each sample.
    """
    array = np.asarray(labels)
    is_text = array.dtype == object and all(isinstance(one, str) for one in array.flat)
    return array.astype(str) if is_text else array


def _check_folds(num_folds: int, num_units: int, units: str) -> None:
    check_whole("num_folds", num_folds, least=2)
    if num_units < num_folds:
        raise InputError(f"expected at least as many {units} as the {num_folds} folds, got {num_units}")
