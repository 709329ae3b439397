"""Sorts a short axis of a large array, fast on a CPU."""

import jax.numpy as jnp
from jaxtyping import Array, Shaped

MOST = 16  # beyond, compiling the network takes seconds and it gains little


def sort_short(values: Shaped[Array, "..."], axis: int) -> Shaped[Array, "..."]:
    """Sorts along an axis, for which a short one takes a network of minima and maxima.

    XLA's own sort compares one number after the other on a CPU; for nine of them it takes ten times
    as long.

    Args:
        values: Numbers without NaN.
        axis: The axis.

    Returns:
        The sorted numbers.

    Source:
        Batcher's merge exchange: Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxcast.numerics.sorting import sort_short
        >>> sort_short(jnp.asarray([[3.0, 1.0, 2.0]]), 1).tolist()
        [[1.0, 2.0, 3.0]]
    """
    size = values.shape[axis]
    if not 1 < size <= MOST:
        return jnp.sort(values, axis)
    rows = [jnp.take(values, i, axis) for i in range(size)]
    for i, j in _exchanges(size):
        rows[i], rows[j] = jnp.minimum(rows[i], rows[j]), jnp.maximum(rows[i], rows[j])
    return jnp.stack(rows, axis)


def _exchanges(size: int) -> list[tuple[int, int]]:
    """Returns the pairs to be put in order, one after the other."""
    pairs = []
    most = 1 << ((size - 1).bit_length() - 1)
    p = most
    while p > 0:
        q, r, d = most, 0, p
        while d > 0:
            pairs += [(i, i + d) for i in range(size - d) if i & p == r]
            d, q, r = q - p, q // 2, p
        p //= 2
    return pairs
