"""Paired tests: does one method forecast better than another on the same windows?"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays


class PairedTest(NamedTuple):
    """Result of a paired test of first - second.

    Args:
        difference: median of the first minus median of the second.
        low: lower end of the bootstrap interval of the difference.
        high: upper end of that interval.
        wilcoxon: two-sided p-value of Wilcoxon's signed-rank test.
        permutation: two-sided p-value of the sign-flip test.
        num_pairs: number of pairs.
        num_ties: pairs without a difference, undecided ones among them.
        num_censored: pairs in which at least one value is a lower bound.
        num_undecided: pairs in which censoring hides which value is larger.
    """

    difference: float
    low: float
    high: float
    wilcoxon: float
    permutation: float
    num_pairs: int
    num_ties: int
    num_censored: int
    num_undecided: int


@checked
def paired_test(
    first: Shaped[ArrayLike, " pair"],
    second: Shaped[ArrayLike, " pair"],
    *,
    key: Key[Array, ""],
    first_censored: Shaped[ArrayLike, " pair"] | None = None,
    second_censored: Shaped[ArrayLike, " pair"] | None = None,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> PairedTest:
    """Tests whether two methods differ on the same windows.

    Three answers come from the differences within pairs:

    - `wilcoxon`, the signed-rank test. Tied ranks share their mean rank; pairs without a difference
      are ranked and then dropped (Pratt). The p-value uses the normal approximation with the
      variance that remains, and is 1 if there is no difference at all.
    - `permutation`, the share of random sign flips whose mean difference is at least as far from
      zero. The observed signs count as one of them.
    - `low` and `high`, percentiles of the difference of medians over pairs drawn with replacement.

    A censored value is a lower bound. If both values of a pair are censored, or the smaller one is,
    it is unknown which is larger, and the pair counts as one without a difference. Otherwise the
    sign is known and the true difference can only be larger, so the p-values are conservative.

    Args:
        first: values of the first method, such as valid times, one per window.
        second: values of the second method for the same windows.
        key: for the resampling.
        first_censored: which values of the first are lower bounds; by default none.
        second_censored: which values of the second are lower bounds; by default none.
        num_resamples: number of sign flips, and of bootstrap samples.
        confidence: coverage of the bootstrap interval.

    Returns:
        The difference with its interval, both p-values, and the counts of pairs.

    Raises:
        InputError: unless all have the same length of at least one, and no value is NaN.

    Source:
        Wilcoxon (1945); Pratt, J. Am. Stat. Assoc. 54, 655-667 (1959); Efron and Tibshirani,
        An Introduction to the Bootstrap (1993), chapters 13 and 15.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> second = np.arange(30) / 10
        >>> test = jaxcast.scores.paired_test(second + 1, second, key=jax.random.key(0))
        >>> round(test.difference, 1), test.wilcoxon < 1e-3, test.permutation < 1e-3
        (1.0, True, True)
    """
    a, b, bounds = _checked_pairs(first, second, (first_censored, second_censored))
    undecided = (bounds[0] & bounds[1]) | (bounds[0] & (a < b)) | (bounds[1] & (b < a))
    differences = np.where(undecided, 0.0, a - b)
    check_whole("num_resamples", num_resamples)
    check_arrays(f"{num_resamples} resamples of {len(a)} pairs", *[(num_resamples, len(a))] * 3)
    num_extreme, medians = _resample(jnp.asarray(differences), jnp.stack([a, b]), key, num_resamples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.asarray(medians), [tail, 1 - tail])
    return PairedTest(
        difference=float(np.median(a) - np.median(b)),
        low=float(low),
        high=float(high),
        wilcoxon=_wilcoxon(differences),
        permutation=(int(num_extreme) + 1) / (num_resamples + 1),
        num_pairs=len(a),
        num_ties=int((differences == 0).sum()),
        num_censored=int((bounds[0] | bounds[1]).sum()),
        num_undecided=int(undecided.sum()),
    )


def _checked_pairs(
    first: Any, second: Any, censored: tuple[Any, Any]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.ndim != 1 or a.shape != b.shape or len(a) < 1 or np.isnan(a).any() or np.isnan(b).any():
        raise InputError(f"expected two lists of equal length without NaN, got shapes {a.shape} and {b.shape}")
    bounds = [np.zeros(len(a), bool) if c is None else np.asarray(c, bool) for c in censored]
    if any(bound.shape != a.shape for bound in bounds):
        raise InputError(
            f"expected one censoring flag for each of {len(a)} values, got shapes {[b.shape for b in bounds]}"
        )
    return a, b, bounds


def _wilcoxon(differences: np.ndarray) -> float:
    """Returns the two-sided p-value: Pratt's treatment of zeros, normal approximation."""
    # Times are multiples of a step: what differs by rounding alone is one rank.
    sizes, index, counts = np.unique(np.round(np.abs(differences), 9), return_inverse=True, return_counts=True)
    if sizes[-1] == 0:
        return 1.0
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[index.ravel()]
    is_zero = sizes == 0
    n, zeros = len(differences), int(counts[is_zero].sum())
    positive = ranks[differences > 0].sum()
    mean = (n * (n + 1) - zeros * (zeros + 1)) / 4
    variance = (n * (n + 1) * (2 * n + 1) - zeros * (zeros + 1) * (2 * zeros + 1)) / 24
    tied = counts[~is_zero].astype(float)
    variance -= (tied**3 - tied).sum() / 48
    return math.erfc(abs(positive - mean) / math.sqrt(2 * variance))


@partial(jax.jit, static_argnames="num_resamples")
def _resample(
    differences: Array, values: Float[Array, "2 pair"], key: Key[Array, ""], num_resamples: int
) -> tuple[Array, Array]:
    """Resamples pairs.

    Returns:
        The number of sign flips as extreme as the observed signs, and the differences of medians
        over pairs drawn with replacement, (resample,).
    """
    flip_key, draw_key = jax.random.split(key)
    shape = (num_resamples, len(differences))
    flipped = jnp.where(jax.random.bernoulli(flip_key, shape=shape), differences, -differences).mean(1)
    observed = jnp.abs(differences.mean())
    # Rounding must not make a flip that changes nothing a less extreme one.
    rounding = 1e-9 * jnp.abs(differences).mean()
    extreme = (jnp.abs(flipped) >= observed - rounding).sum()
    drawn = jax.random.randint(draw_key, shape, 0, len(differences))
    medians = jnp.median(values[:, drawn], axis=-1)
    return extreme, medians[0] - medians[1]


def median_over_seeds(
    valid_times: Shaped[ArrayLike, "seed window"], censored: Shaped[ArrayLike, "seed window"]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each window's median over seeds, and whether it is a lower bound.

    The median is a lower bound where the upper of the two middle values is one.

    Args:
        valid_times: valid time for each seed and window.
        censored: whether each of them is a lower bound.

    Returns:
        Medians and their censoring, (window,) each.

    Example:
        >>> import numpy as np
        >>> from jaxcast.scores.paired import median_over_seeds
        >>> seeds = np.asarray([[2.0, 5.0], [4.0, 5.0]]), np.asarray([[False, True], [True, True]])
        >>> times, censored = median_over_seeds(*seeds)
        >>> times.tolist(), censored.tolist()
        ([3.0, 5.0], [True, True])
    """
    return np.median(np.asarray(valid_times, float), 0), np.mean(np.asarray(censored, float), 0) >= 0.5
