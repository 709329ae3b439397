"""Indicators of the levels of a treatment."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxcast.causal.splits import as_labels
from jaxcast.errors import InputError, shown


class TreatmentIndicators(NamedTuple):
    """Indicators of all levels of a treatment but one.

    Args:
        values: 1 where a sample has a level, else 0.
        levels: what each column stands for.
        reference: the level without a column, with which effects compare the others.
    """

    values: Float[np.ndarray, "sample level"]
    levels: tuple[Any, ...]
    reference: Any


def treatment_indicators(treatment: Any, *, reference: Any = None) -> TreatmentIndicators:
    """Returns an indicator for each level of a treatment, with one level as reference dropped.

    Args:
        treatment: level of each sample, such as hours of the week or texts.
        reference: the level to drop; by default the most frequent one.

    Returns:
        The indicators, in the order of the levels.

    Raises:
        InputError: for fewer than two levels, missing ones, or a reference that is none of them.

    Example:
        >>> import jaxcast
        >>> found = jaxcast.causal.treatment_indicators(["sun", "rain", "sun", "snow"], reference="sun")
        >>> found.levels, found.values.tolist()
        (('rain', 'snow'), [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    """
    array = as_labels(treatment)
    if array.ndim != 1 or array.dtype.kind not in "iufUSb" or not len(array):
        raise InputError(f"expected the level of each sample, (sample,), got shape {array.shape} of {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(
            f"expected a level for each sample, got {np.sum(~np.isfinite(array))} that are NaN or infinite"
        )
    levels, number, counts = np.unique(array, return_inverse=True, return_counts=True)
    if len(levels) < 2:
        raise InputError(f"expected a treatment of at least two levels, got only {shown(levels[0])}")
    known = levels.tolist()
    if reference is not None and reference not in known:
        raise InputError(f"reference must be one of the levels {shown(known)}, got {shown(repr(reference))}")
    dropped = int(np.argmax(counts)) if reference is None else known.index(reference)
    kept = [place for place in range(len(known)) if place != dropped]
    values = (number.reshape(-1, 1) == np.asarray(kept)).astype(float)
    return TreatmentIndicators(values, tuple(known[place] for place in kept), known[dropped])
