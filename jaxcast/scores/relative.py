"""Comparisons of forecasters that did not all forecast the same tasks, and their significance."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_whole
from jaxcast.errors import InputError
from jaxcast.limits import check_arrays
from jaxcast.precision import highest


class RelativeScore(NamedTuple):
    """Relative scores of models.

    Args:
        relative: score of each model relative to the others; 1 for the baseline, NaN for a model
            without a ratio to another.
        num_common: number of tasks that each pair of models shares; on the diagonal, a model's own.
        left_out: pairs without a finite ratio, because all scores of exactly one of them are zero.
    """

    relative: Float[Array, " model"]
    num_common: Int[Array, "model model"]
    left_out: Bool[Array, "model model"]


class DieboldMariano(NamedTuple):
    """Result of a Diebold-Mariano test.

    Args:
        statistic: test statistic; negative where the first forecaster is better.
        p_value: two-sided p-value.
        num_weeks: weeks with at least one task that both forecast.
        num_tasks: tasks that both forecast.
    """

    statistic: float
    p_value: float
    num_weeks: int
    num_tasks: int


class BlockBootstrap(NamedTuple):
    """Result of a block bootstrap of the ratio of two mean scores.

    Args:
        ratio: mean score of the first divided by that of the second, over common tasks; of their
            square roots where these are compared.
        low: lower end of its percentile interval.
        high: upper end of that interval.
        p_value: two-sided p-value of a ratio of 1.
        num_weeks: weeks with at least one task that both forecast.
        num_tasks: tasks that both forecast.
    """

    ratio: float
    low: float
    high: float
    p_value: float
    num_weeks: int
    num_tasks: int


@checked
@highest
def relative_score(scores: Shaped[ArrayLike, "task model"], *, baseline: int | None = None) -> RelativeScore:
    """Compares models by the geometric mean of their pairwise score ratios.

        theta_i = (prod_j mean_(common) s_i / mean_(common) s_j)^(1 / M)
        relative_i = theta_i / theta_baseline

    Each ratio is over the tasks that both models forecast, and M counts the ratios of model i. The
    ratio of two zeros is 1. A ratio with one zero is left out for both models, so that one model
    with no error in a few tasks does not decide about the others. A model whose own scores are all
    zero, and not those of the others, has 0. Nothing else is relative to such a baseline: NaN.

    Args:
        scores: score of each model in each task; NaN where a model did not forecast it.
        baseline: index of the baseline model; by default theta itself is returned.

    Returns:
        The relative scores, the number of common tasks, and the pairs that were left out.

    Raises:
        InputError: for scores that are not (task, model), or an unknown baseline.

    Source:
        Cramer et al., PNAS 119, e2113561119 (2022), Methods.

    Example:
        >>> import jaxcast, numpy as np
        >>> scores = np.asarray([[1.0, 2.0, 4.0], [10.0, np.nan, 40.0]])
        >>> jaxcast.scores.relative_score(scores, baseline=2).relative.round(3).tolist()
        [0.25, 0.5, 1.0]
    """
    table = jnp.asarray(scores)
    if table.ndim != 2 or (baseline is not None and not 0 <= baseline < table.shape[1]):
        raise InputError(f"expected scores (task, model) and the index of a baseline, got {table.shape} and {baseline}")
    there = ~jnp.isnan(table)
    filled = jnp.where(there, table, 0)
    num_common = there.T.astype(int) @ there.astype(int)
    sums = filled.T @ there.astype(filled.dtype)  # of i, over tasks of i and j
    return relative_of_sums(sums, num_common, baseline)


def relative_of_sums(
    sums: Float[Array, "model model"], num_common: Int[Array, "model model"], baseline: int | None
) -> RelativeScore:
    """Compares models by the sums of their scores; see `relative_score`.

    Args:
        sums: sum of the scores of the first model over the tasks that it shares with the second.
        num_common: number of these tasks.
        baseline: index of the baseline model, if any.

    Returns:
        The relative scores.
    """
    has_common = num_common > 0
    left_out = has_common & ((sums == 0) != (sums.T == 0))
    is_ratio = has_common & (sums > 0) & (sums.T > 0)
    ratios = jnp.where(is_ratio, jnp.log(jnp.where(is_ratio, sums, 1) / jnp.where(is_ratio, sums.T, 1)), 0).sum(1)
    num_ratios = (has_common & ~left_out).sum(1)  # itself among them
    is_zero = (jnp.diagonal(sums) == 0) & left_out.any(1)
    is_compared = (num_ratios > min(1, len(sums) - 1)) | is_zero
    size = ratios / jnp.maximum(num_ratios, 1)
    if baseline is not None:
        size -= size[baseline]
        own = (jnp.arange(len(sums)) == baseline) & (has_common.sum(1) > min(1, len(sums) - 1))
        has_scale = jnp.where(is_zero[baseline], is_zero, is_compared[baseline] | is_zero)
        is_compared, is_zero = is_compared & has_scale | own, is_zero & ~is_zero[baseline]
    relative = jnp.where(is_zero, 0, jnp.exp(jnp.where(is_zero, 0, size)))
    return RelativeScore(jnp.where(is_compared, relative, jnp.nan), num_common, left_out)


@checked
def diebold_mariano(
    first: Shaped[ArrayLike, "week location"], second: Shaped[ArrayLike, "week location"], *, horizon: int = 1
) -> DieboldMariano:
    """Tests whether the scores of two forecasters differ (Diebold and Mariano).

        DM = mean(d) / sqrt((g_0 + 2 sum_(k < h) g_k) / n) * sqrt((n + 1 - 2 h + h (h - 1) / n) / n)

    with d the weekly means of the difference over common tasks, g_k their autocovariances, and h
    the horizon, at which errors overlap up to lag h - 1. DM is compared with Student's t of n - 1
    degrees of freedom. A variance below zero is replaced by g_0. All locations of a week are one
    observation, because their errors are correlated.

    Args:
        first: scores of the first forecaster; NaN for a missing forecast.
        second: scores of the second forecaster for the same weeks and locations.
        horizon: steps ahead of the forecasts.

    Returns:
        The statistic, its p-value, and the numbers of weeks and tasks.

    Raises:
        InputError: for shapes that differ, fewer than three common weeks, or no more of them than
            the horizon, or a horizon below one.

    Source:
        Diebold and Mariano, J. Bus. Econ. Stat. 13, 253-263 (1995); Harvey, Leybourne and Newbold,
        Int. J. Forecasting 13, 281-291 (1997), for the small-sample factor.

    Example:
        >>> import jaxcast, numpy as np
        >>> second = np.random.default_rng(0).uniform(1.0, 2.0, (30, 4))
        >>> test = jaxcast.scores.diebold_mariano(second - 0.5 + 0.1 * np.sin(second * 9), second)
        >>> test.statistic < -5, test.p_value < 1e-3, test.num_weeks
        (True, True, 30)
    """
    check_whole("horizon", horizon)
    sums, counts = _weekly(first, second)
    d = (sums[0] - sums[1]) / counts
    n = len(d)
    if n < max(3, horizon + 1):
        raise InputError(f"expected at least {max(3, horizon + 1)} dates that both forecast, got {n}")
    centred = d - d.mean()
    g = [float(centred[k:] @ centred[: n - k]) / n for k in range(horizon)]
    variance = g[0] + 2 * sum(g[1:])
    variance = variance if variance > 0 else g[0]
    factor = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    if variance == 0:
        statistic = 0.0 if d.mean() == 0 else float(np.copysign(np.inf, d.mean()))
    else:
        statistic = float(d.mean() / np.sqrt(variance / n) * np.sqrt(factor))
    tail = 0.0 if np.isinf(statistic) else (n - 1) / (n - 1 + statistic**2)
    p_value = float(jax.scipy.special.betainc((n - 1) / 2, 0.5, tail))
    return DieboldMariano(statistic, p_value, n, int(counts.sum()))


@checked
def block_bootstrap(
    first: Shaped[ArrayLike, "week location"],
    second: Shaped[ArrayLike, "week location"],
    *,
    key: Key[Array, ""],
    block_size: int = 4,
    root_mean: bool = False,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> BlockBootstrap:
    """Returns the ratio of two mean scores over common tasks with its bootstrap interval.

    Blocks of consecutive weeks, on a circle, are drawn with replacement. Blocks preserve the
    correlation of neighbouring weeks. Any other time step will do: of squared errors each hour,
    with blocks of 24 and `root_mean`, the result is the ratio of two RMSEs and its interval over
    days.

    Args:
        first: scores of the first forecaster; NaN for a missing forecast, or a task that does not
            count.
        second: scores of the second forecaster for the same weeks and locations.
        key: for the resampling.
        block_size: weeks per block.
        root_mean: whether to compare the square roots of the means, as of squared errors.
        num_resamples: number of bootstrap samples.
        confidence: coverage of the interval.

    Returns:
        The ratio with its interval, its p-value, and the numbers of weeks and tasks.

    Raises:
        InputError: for shapes that differ, fewer than three common weeks, or blocks longer than the
            weeks.

    Source:
        Politis and Romano, in Exploring the Limits of Bootstrap (1992), 263-270: the circular block
        bootstrap.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> second = np.random.default_rng(0).uniform(1.0, 2.0, (30, 4))
        >>> result = jaxcast.scores.block_bootstrap(0.8 * second, second, key=jax.random.key(0))
        >>> round(result.ratio, 3), round(result.high, 3)
        (0.8, 0.8)
    """
    sums, counts = _weekly(first, second)
    n = len(counts)
    if n < 3 or not 1 <= block_size <= n:
        raise InputError(f"expected at least 3 common dates and blocks of 1 to {n} of them, got {n} and {block_size}")
    check_whole("num_resamples", num_resamples)
    num_blocks = -(-n // block_size)
    check_arrays(f"{num_resamples} resamples of {num_blocks} blocks", *[(num_resamples, num_blocks)] * 3)
    resampled = np.asarray(_resampled_sums(jnp.asarray(sums), key, block_size, num_resamples))
    power = 0.5 if root_mean else 1.0
    ratios = (resampled[0] / resampled[1]) ** power
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    share = (1 + min((ratios <= 1).sum(), (ratios >= 1).sum())) / (1 + num_resamples)
    ratio = float((sums[0].sum() / sums[1].sum()) ** power)
    return BlockBootstrap(ratio, float(low), float(high), min(1.0, 2 * float(share)), n, int(counts.sum()))


@partial(jax.jit, static_argnames=("block_size", "num_resamples"))
def _resampled_sums(
    sums: Float[Array, "2 week"], key: Key[Array, ""], block_size: int, num_resamples: int
) -> Float[Array, "2 resample"]:
    n = sums.shape[1]
    num_blocks = -(-n // block_size)
    starts = jax.random.randint(key, (num_resamples, num_blocks), 0, n)

    def of_blocks(size: int) -> Array:
        """The sums of the blocks of some weeks that start at each week."""
        return sums[:, (jnp.arange(n)[:, None] + jnp.arange(size)) % n].sum(-1)

    # The last block is cut, so that every resample has all n weeks.
    last = n - (num_blocks - 1) * block_size
    return of_blocks(block_size)[:, starts[:, :-1]].sum(-1) + of_blocks(last)[:, starts[:, -1]]


def _weekly(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns sums over the common tasks of each week with any, (2, week), and their number."""
    both = np.stack([np.asarray(first, float), np.asarray(second, float)])
    if both.ndim != 3:
        raise InputError(f"expected scores (week, location) of two forecasters, got {both.shape[1:]}")
    common = ~np.isnan(both).any(0)
    weeks = np.flatnonzero(common.any(1))
    sums = np.where(common, both, 0).sum(-1)[:, weeks]
    return sums, common.sum(-1)[weeks]
