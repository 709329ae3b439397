"""Functional modules: regions that are active together."""

import numpy as np
from jaxtyping import Float, Int

from jaxcast.arguments import checked
from jaxcast.numerics.k_means import k_means


@checked
def region_modules(
    correlations: Float[np.ndarray, "subject region other_region"], num_modules: int, *, seed: int = 0
) -> Int[np.ndarray, " region"]:
    """Groups regions into functional modules, by k-means on the rows of the mean correlations.

    Regions are in one module if they correlate alike with all others. Give the correlations of
    training subjects only.

    Args:
        correlations: of each subject, as `correlations` returns them.
        num_modules: number of modules.
        seed: of k-means.

    Returns:
        The number of the module of each region, in the order in which modules first occur.

    Raises:
        InputError: for fewer different regions than modules, or correlations that are not finite.

    Source:
        MacQueen (1967) for k-means.

    Example:
        >>> import numpy as np, jaxcast
        >>> first, second, noise = np.random.default_rng(0).normal(size=(3, 2, 50, 4))
        >>> series = noise + 3 * np.concatenate([first[..., :1], second[..., :1]], -1)[..., [0, 1, 0, 1]]
        >>> subjects = jaxcast.neuro.subject_series(series, [0, 1])
        >>> jaxcast.neuro.region_modules(jaxcast.neuro.correlations(subjects), 2).tolist()
        [0, 1, 0, 1]
    """
    return k_means(np.asarray(correlations, float).mean(0), num_modules, seed=seed).labels
