"""Effects of treatments on time series, by pairs of moments that differ in the treatment alone."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_number, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.series.causal_trans.pair_tests import stretches, t_quantiles, t_statistic

LENGTHS = (24, 168)
SMALLEST_SHARE = 1e-6


class TreatmentEffects(NamedTuple):
    """The effects of the levels of a treatment.

    Args:
        effects: of each level, with mean 0 over levels that are compared with each other; 0 for a
            level that no pair compares.
        num_pairs: the pairs that compare each level with others.
    """

    effects: Float[np.ndarray, " level *series"]
    num_pairs: Int[np.ndarray, " level *series"]


class _Moments(NamedTuple):
    """Moments of a series by the level of their treatment, (level, moment), 0 where there are fewer.

    Args:
        values: of the series.
        usable: whether the value is known and what comes before it is stationary.
        others: number of the combination of the other treatments.
        means: of the first differences before, (level, moment, length).
        variances: of these.
    """

    values: Any
    usable: Any
    others: Any
    means: Any
    variances: Any


@checked
def estimate_treatment_effects(
    values: Float[Any, " time *series"],
    treatment: Int[Any, " time"],
    *,
    num_levels: int | None = None,
    others: Int[Any, "time other"] | None = None,
    lengths: Sequence[int] = LENGTHS,
    significance: float = 0.05,
    keep: Literal["all", "significant"] = "all",
    penalty: float | int = 0.0,
) -> TreatmentEffects:
    """Estimates the effects of a treatment's levels, such as the slots of the week, on each series.

    Two moments t_0 and t_1 of a series are a pair where their levels of the treatment differ, all
    other treatments are the same, and the stretches of some lengths before both look alike: the
    first differences of both are stationary (a KPSS test does not reject that) and of the same
    mean (a t test does not reject that). The effects are those that explain best how the values of
    pairs differ,

        sum over pairs of ( x(t_0) - x(t_1) - (theta_(a(t_0)) - theta_(a(t_1))) )^2
            + penalty sum_a theta_a^2

    This is Algorithm 1 of CausalTrans with corrections: printed, it asks for pairs of the same
    treatment, tests two single values against each other, and searches stretches of all lengths. It
    also keeps only those pairs whose outcomes differ significantly, which overstates effects, for
    it selects on what is estimated: keep="significant" does so, by a t test of all values of either
    level, and is there for comparison alone.

    Args:
        values: of the training part; NaN where one is missing.
        treatment: the level at each step, from 0 on.
        num_levels: how many levels there are; by default up to the highest one.
        others: levels of all other treatments; None for none.
        lengths: steps of the stretches, at least 8.
        significance: of the t tests. The KPSS test has 5 %.
        keep: "all" pairs, or, as printed, "significant": only those of levels whose values differ
            significantly.
        penalty: draws effects to 0, as so many pairs with a value at the mean would.

    Returns:
        The effects and how many pairs they rest on.

    Raises:
        InputError: for levels out of range, arrays of other lengths, or settings out of range.

    Source:
        Wan, Luo and Zhu (2024), Algorithm 1.

    Example:
        >>> import jaxcast, numpy as np
        >>> random = np.random.default_rng(0)
        >>> treatment = random.integers(0, 2, 400)
        >>> values = 3.0 * treatment[:, None] + random.normal(size=(400, 1))
        >>> found = jaxcast.series.estimate_treatment_effects(values, treatment, lengths=(12,))
        >>> bool(abs(found.effects[1, 0] - found.effects[0, 0] - 3) < 0.5)
        True
    """
    check_choice("keep", keep, ("all", "significant"))
    check_number("significance", significance, above=0, most=1)
    check_number("penalty", penalty, least=0)
    if not lengths:
        raise InputError("expected lengths of the stretches before each moment, got none")
    for length in lengths:
        check_whole("every length", length, least=8)
    values, treatment = np.asarray(values, float), np.asarray(treatment)
    num_levels = _checked_levels(treatment, num_levels)
    codes = np.zeros(len(values), int) if others is None else _codes(np.asarray(others))
    if len(values) <= max(lengths):
        raise InputError(f"expected more than {max(lengths)} steps, those of the longest stretch, got {len(values)}")
    places = _places(treatment, num_levels)
    flat = jnp.asarray(values.reshape(len(values), -1))
    shape = (num_levels, *values.shape[1:])
    differences, counts = jax.lax.map(
        partial(
            _differences,
            places=jnp.asarray(places),
            codes=jnp.asarray(codes),
            lengths=tuple(lengths),
            significance=float(significance),
            only_significant=keep == "significant",
        ),
        flat.T,
    )
    effects = _explained(differences, counts, penalty)
    return TreatmentEffects(
        np.moveaxis(np.asarray(effects), 0, -1).reshape(shape),
        np.moveaxis(np.asarray(counts).sum(-1), 0, -1).astype(int).reshape(shape),
    )


def _checked_levels(treatment: np.ndarray, num_levels: int | None) -> int:
    """Returns the number of levels."""
    most = int(treatment.max()) + 1
    num_levels = most if num_levels is None else num_levels
    check_whole("num_levels", num_levels, least=2)
    if treatment.min() < 0 or most > num_levels:
        wrong = treatment.min() if treatment.min() < 0 else most - 1
        raise InputError(f"expected levels of the treatment from 0 to {num_levels - 1}, got {shown(wrong)}")
    return num_levels


def _codes(others: Int[np.ndarray, "time other"]) -> Int[np.ndarray, " time"]:
    """Numbers the combinations of the other treatments."""
    return np.unique(others, axis=0, return_inverse=True)[1].reshape(-1)


def _places(treatment: np.ndarray, num_levels: int) -> Int[np.ndarray, "level moment"]:
    """Returns the steps of each level, -1 beyond their number."""
    places = np.full((num_levels, max(1, np.bincount(treatment).max())), -1)
    for level in range(num_levels):
        rows = np.flatnonzero(treatment == level)
        places[level, : len(rows)] = rows
    return places


@partial(jax.jit, static_argnames=("lengths", "significance", "only_significant"))
def _differences(
    values: Float[Array, " time"],
    *,
    places: Int[Array, "level moment"],
    codes: Int[Array, " time"],
    lengths: tuple[int, ...],
    significance: float,
    only_significant: bool,
) -> tuple[Float[Array, "level level"], Float[Array, "level level"]]:
    """Returns the sum of the differences of all pairs of two levels of a series, and their number."""
    before = [stretches(values, length=length) for length in lengths]
    known = (places >= 0) & jnp.isfinite(values)[places]
    usable = known
    for one in before:
        usable &= one.is_stationary[places]
    moments = _Moments(
        jnp.where(known, values[places], 0),
        usable,
        codes[places],
        jnp.stack([one.mean[places] for one in before], -1),
        jnp.stack([one.variance[places] for one in before], -1),
    )
    sizes = np.asarray(lengths, float) - 1
    most = t_quantiles(jnp.asarray(2 * sizes - 2), significance) ** 2 / sizes

    def of_level(one: _Moments) -> tuple[Array, Array]:
        """Compares the moments of a level with all; the levels are compared with themselves too, to no effect."""
        mine = jax.tree.map(lambda a: a[:, None, None], one)
        alike = mine.usable & moments.usable & (mine.others == moments.others)
        for number in range(len(lengths)):
            apart = (mine.means[..., number] - moments.means[..., number]) ** 2
            alike &= apart <= most[number] * (mine.variances[..., number] + moments.variances[..., number])
        return jnp.where(alike, mine.values - moments.values, 0).sum((0, 2)), alike.sum((0, 2))

    differences, counts = jax.lax.map(of_level, moments)
    off = 1 - jnp.eye(len(places))
    counts = counts * off
    if only_significant:
        kept = _differ(moments.values, known, significance)
        differences, counts = differences * kept, counts * kept
    return differences, counts


def _differ(values: Array, known: Array, significance: float) -> Float[Array, "level level"]:
    """Returns 1 where the values of two levels differ significantly."""
    count = known.sum(-1).astype(values.dtype)
    mean = values.sum(-1) / jnp.maximum(count, 1)
    variance = jnp.where(known, (values - mean[:, None]) ** 2, 0).sum(-1) / jnp.maximum(count - 1, 1)
    squares = t_statistic(mean[:, None], variance[:, None], count[:, None], (mean, variance, count))
    freedom = count[:, None] + count - 2
    return (squares > t_quantiles(freedom, significance) ** 2).astype(values.dtype)


def _explained(
    differences: Float[Array, "series level level"], counts: Float[Array, "series level level"], penalty: float
) -> Float[Array, "series level"]:
    """Returns the effects that explain the differences of pairs best.

    The equations are those of the Laplacian of the graph whose edges are numbers of pairs.
    """
    degrees = counts.sum(-1)
    laplacian = degrees[..., None] * jnp.eye(counts.shape[-1]) - counts
    # Only differences are known: a share of all pairs decides for the mean 0.
    least = jnp.maximum(penalty, SMALLEST_SHARE * jnp.maximum(degrees.mean(-1), 1))[..., None, None]
    system = laplacian + least * jnp.eye(counts.shape[-1])
    effects: Array = jnp.linalg.solve(system, differences.sum(-1)[..., None])[..., 0]
    return effects
