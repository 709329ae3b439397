"""Scores of pooled point forecasts and of the distributions around them."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_whole
from jaxcast.distributions.normal import Normal
from jaxcast.ensemble.arrays import EnsembleForecasts
from jaxcast.ensemble.spread import categories_of, category_probabilities
from jaxcast.errors import InputError
from jaxcast.scores.crps import crps_normal
from jaxcast.scores.probabilities import ranked_probability_score

LEAST_BLOCKS = 5
"""Blocks below which there is no interval."""
Pooled = Mapping[str, Shaped[Any, "issue lead"]]


@checked
def score_ensemble(
    pooled: Pooled,
    forecasts: EnsembleForecasts,
    *,
    reference: str,
    blocks: Shaped[np.ndarray, " issue"] | None = None,
    spreads: Pooled | None = None,
    is_scored: Shaped[np.ndarray, " issue"] | None = None,
    num_resamples: int = 2000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Scores forecasts of all issues and leads against the truth.

    The RMSE is taken at each lead, then averaged over leads. The ratio is that of this average to
    the reference's, over the cases that both have. Its interval is a bootstrap over blocks of
    issues, such as calendar years; fewer than five say nothing of their spread, and give none.

    Args:
        pooled: Forecasts of each method, NaN where there is none.
        forecasts: The targets.
        reference: Method to compare with.
        blocks: Block of each issue; by default twelve issues in a row are one.
        spreads: Standard deviations of some methods, for CRPS and coverage.
        is_scored: Whether an issue counts; by default all do.
        num_resamples: Bootstrap samples.
        seed: Random seed of the resampling.

    Returns:
        A row for each method: method, rmse_by_lead, rmse, ratio, ratio_ci95, num_cases, crps,
        coverage50, coverage90; None for those that cannot be computed.

    Raises:
        InputError: for a reference that is none of the methods.

    Source:
        Gneiting, Raftery, Westveld and Goldman, Mon. Weather Rev. 133, 1098-1118 (2005), for the
        CRPS.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(np.zeros((24, 1, 1)), np.ones(24), leads=(0,))
        >>> pooled = {"zero": np.zeros((24, 1)), "half": np.full((24, 1), 0.5)}
        >>> rows = jaxcast.ensemble.score_ensemble(pooled, forecasts, reference="zero")
        >>> [(row["method"], row["rmse"], row["ratio"]) for row in rows]
        [('zero', 1.0, 1.0), ('half', 0.5, 0.5)]
    """
    check_choice("reference", reference, list(pooled))
    check_whole("num_resamples", num_resamples)
    truth = np.asarray(forecasts.truth)
    counts = np.ones(len(truth), bool) if is_scored is None else np.asarray(is_scored, bool)
    blocks = np.arange(len(truth)) // 12 if blocks is None else np.asarray(blocks)
    if not (counts[:, None] & np.isfinite(truth) & np.isfinite(np.asarray(pooled[reference]))).any():
        raise InputError(f"no forecast of {reference} has a truth to be scored against; give more observations")
    rows = []
    for method, forecast in pooled.items():
        own, other = np.asarray(forecast), np.asarray(pooled[reference])
        cases = counts[:, None] & np.isfinite(truth) & np.isfinite(own) & np.isfinite(other)
        row = {"method": method} | _of_points(own, other, truth, cases, blocks, num_resamples, seed)
        spread = None if spreads is None or method not in spreads else np.asarray(spreads[method])
        rows.append(row | _of_distributions(own, spread, truth, cases))
    return rows


def _of_points(
    forecast: np.ndarray,
    reference: np.ndarray,
    truth: np.ndarray,
    cases: np.ndarray,
    blocks: np.ndarray,
    num_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Returns RMSE by lead, its mean, and the ratio to the reference with its interval."""
    names = np.unique(blocks[cases.any(1)])
    has_case = cases.any(0)
    missing: dict[str, Any] = {"rmse_by_lead": [None] * truth.shape[1], "rmse": None, "ratio": None, "ratio_ci95": None}
    if not len(names):
        return missing | {"num_cases": 0}
    squares = [np.where(cases, (each - truth) ** 2, 0) for each in (forecast, reference)]
    own, other, number = (
        np.stack([each[blocks == name].sum(0) for name in names])[:, has_case] for each in (*squares, cases)
    )
    by_lead = np.full(truth.shape[1], np.nan)
    by_lead[has_case] = np.sqrt(own.sum(0) / number.sum(0))
    ratio = _rmse(own, number) / _rmse(other, number)
    return {
        "rmse_by_lead": [_number(each) for each in by_lead],
        "rmse": _number(_rmse(own, number)),
        "ratio": _number(ratio),
        "ratio_ci95": _interval(own, other, number, num_resamples, seed),
        "num_cases": int(cases.sum()),
    }


def _interval(
    own: Float[np.ndarray, "block lead"],
    other: Float[np.ndarray, "block lead"],
    number: Shaped[np.ndarray, "block lead"],
    num_resamples: int,
    seed: int,
) -> list[float | None] | None:
    """Returns the ends of the ratio's 95 % interval over blocks; None for too few of them."""
    if len(number) < LEAST_BLOCKS:
        return None
    draws = np.random.default_rng(seed).integers(0, len(number), (num_resamples, len(number)))
    with np.errstate(invalid="ignore", divide="ignore"):  # a lead may have no case in a resample
        ratios = _rmse(own[draws], number[draws]) / _rmse(other[draws], number[draws])
    return [_number(end) for end in np.nanquantile(ratios, [0.025, 0.975])] if np.isfinite(ratios).any() else None


def _rmse(squares: Float[np.ndarray, "*batch block lead"], number: Shaped[np.ndarray, "*batch block lead"]) -> Any:
    """Returns the mean over leads of the RMSE, from sums over blocks."""
    total, count = squares.sum(-2), number.sum(-2)
    with np.errstate(invalid="ignore"):
        return np.nanmean(np.where(count > 0, np.sqrt(total / np.maximum(count, 1)), np.nan), -1)


def _of_distributions(
    forecast: np.ndarray, spread: np.ndarray | None, truth: np.ndarray, cases: np.ndarray
) -> dict[str, Any]:
    """Returns the mean over leads of the CRPS, and the coverage of central intervals."""
    names = ("crps", "coverage50", "coverage90")
    if spread is None:
        return dict.fromkeys(names)
    cases = cases & np.isfinite(spread) & (spread > 0)
    if not cases.any():
        return dict.fromkeys(names)
    place, scale = np.where(cases, forecast, 0.0), np.where(cases, spread, 1.0)
    crps = np.where(cases, np.asarray(crps_normal(place, scale, np.where(cases, truth, 0.0))), 0).sum(0)
    number = cases.sum(0)
    by_lead = crps[number > 0] / number[number > 0]
    levels = np.asarray(Normal(jnp.asarray(place), jnp.asarray(scale)).cdf(jnp.asarray(np.where(cases, truth, 0.0))))
    inside = [np.abs(levels[cases] - 0.5) <= share / 2 for share in (0.5, 0.9)]
    return dict(zip(names, (float(by_lead.mean()), *(float(each.mean()) for each in inside)), strict=True))


def _number(value: Any) -> float | None:
    """Returns None for NaN, which JSON lacks."""
    return float(value) if np.isfinite(value) else None


@checked
def score_categories(
    pooled: Shaped[Any, "issue lead"],
    spread: Shaped[Any, "issue lead"],
    forecasts: EnsembleForecasts,
    thresholds: tuple[float | int, ...],
) -> Float[np.ndarray, "issue lead"]:
    """Computes the ranked probability score of categories between thresholds.

    Args:
        pooled: Pooled forecasts.
        spread: Their standard deviations.
        forecasts: The targets.
        thresholds: Bounds between the categories, rising.

    Returns:
        The score of each issue and lead; NaN where a forecast or the truth is missing.

    Example:
        >>> import jaxcast, numpy as np
        >>> forecasts = jaxcast.ensemble.EnsembleForecasts.of(np.zeros((1, 1, 1)), np.zeros(1), leads=(0,))
        >>> scores = jaxcast.ensemble.score_categories(np.zeros((1, 1)), np.ones((1, 1)), forecasts, (-0.5, 0.5))
        >>> round(float(scores[0, 0]), 3)
        0.19
    """
    loc, scale = jnp.asarray(pooled), jnp.asarray(spread)
    is_there = jnp.isfinite(loc) & jnp.isfinite(scale)
    probabilities = category_probabilities(jnp.where(is_there, loc, 0), jnp.where(is_there, scale, 1), thresholds)
    scores = ranked_probability_score(probabilities, categories_of(forecasts.truth, thresholds))
    return np.asarray(jnp.where(is_there, scores, jnp.nan))
