"""Calibration of quantiles on the held-out parts of a problem."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxcast.errors import InputError
from jaxcast.series.calibration import recent_volatility, shifted, typical_change
from jaxcast.series.conformal import conformal_shifts
from jaxcast.series.evaluation import window_scores
from jaxcast.series.problem import SeriesProblem, TrainingPart, within
from jaxcast.series.samples import SeriesWindows
from jaxcast.series.scaling import series_scale

WIDTH_POWERS = (0.0, 0.5, 1.0)


class HeldOutParts(NamedTuple):
    """The windows that choose and those that score, and the sizes of series that are known before both.

    Args:
        validation: windows with targets in the validation part.
        test: windows with targets in the test part.
        std: standard deviation of each series.
        typical: mean absolute change of each series.
    """

    validation: SeriesWindows
    test: SeriesWindows
    std: Float[np.ndarray, " region"]
    typical: Any


def held_out_parts(problem: SeriesProblem, early: TrainingPart, late: TrainingPart) -> HeldOutParts:
    """Returns the held-out windows of a problem, with covariates as each part standardises them.

    Args:
        problem: with the windows.
        early: the part before the validation part.
        late: the part before the test part.
    """
    first, second, end = problem.bounds
    return HeldOutParts(
        within(problem.windows, first, second)._replace(covariates=early.windows.covariates),
        within(problem.windows, second, end)._replace(covariates=late.windows.covariates),
        np.asarray(series_scale(early.own)[1]),
        typical_change(early.own),
    )


def check_diverging(method: str, bases: list[Any], windows: SeriesWindows, problem: SeriesProblem) -> None:
    """Refuses forecasts that count and are not finite.

    Args:
        method: that made them.
        bases: quantiles of each variant for all windows.
        windows: whose weights say which count.
        problem: with the leads.

    Raises:
        InputError: with the first lead and series.
    """
    for base in bases:
        bad = ~np.isfinite(base).all(-1) & (np.asarray(windows.weights) > 0)
        if bad.any():
            _, lead, series = np.argwhere(bad)[0]
            raise InputError(
                f"forecasts by {method} diverge: one of series number {series} is not finite at lead "
                f"{problem.leads[lead]}; give the series in another unit, or leave the method out"
            )


def shifts_of(
    base: Any, windows: SeriesWindows, problem: SeriesProblem, std: Any, widths: Float[np.ndarray, "sample region"]
) -> Float[np.ndarray, "lead region level"]:
    """Returns the shift of each lead, series and level; see `conformal_shifts`.

    Args:
        base: quantiles of the windows, or points.
        windows: that calibrate.
        problem: with the levels and leads.
        std: standard deviation of each series.
        widths: of each window and series.

    Raises:
        InputError: for a lead without any known value.
    """
    shifts = conformal_shifts(base, windows, levels=problem.levels, std=std, widths=widths)
    if np.isnan(shifts).any():
        lead = problem.leads[int(np.argmax(np.isnan(shifts).any((1, 2))))]
        raise InputError(
            f"no value is known in a held-out part to calibrate the quantiles of lead {lead}; give more data"
        )
    return shifts


def widths_of(windows: SeriesWindows, typical: Any, power: float) -> Float[np.ndarray, "sample region"]:
    """Returns how wide the quantiles of each window are, relative to usual ones.

    Args:
        windows: with the histories.
        typical: mean absolute change of each series.
        power: of the recent volatility.
    """
    return np.asarray(recent_volatility(windows.history, typical), float) ** power


def width_power_of(base: Any, windows: SeriesWindows, problem: SeriesProblem, held_out: HeldOutParts) -> float:
    """Finds how far quantiles are to follow what a series moved lately.

    It is the power whose shifts from either half of the held-out windows have the smallest pinball
    loss on the other; 0 where a half has no known value at some lead.

    Args:
        base: quantiles of the windows, or points.
        windows: held out.
        problem: with the levels.
        held_out: with the sizes of series.
    """
    rows = np.flatnonzero(np.asarray(windows.weights).any((1, 2)))
    halves = np.array_split(rows, 2)
    losses = np.zeros(len(WIDTH_POWERS))
    for learned, judged in (halves, halves[::-1]):
        first, second = (jax.tree.map(lambda a, rows=rows: a[rows], windows) for rows in (learned, judged))
        for k, power in enumerate(WIDTH_POWERS):
            one, other = (widths_of(part, held_out.typical, power) for part in (first, second))
            shifts = conformal_shifts(base[learned], first, levels=problem.levels, std=held_out.std, widths=one)
            if np.isnan(shifts).any():
                return 0.0
            quantiles = shifted(base[judged], shifts, other, problem.lower)
            found = window_scores(quantiles, second, levels=problem.levels, scale=held_out.std)
            losses[k] += found.pinball if found.pinball is not None else 0
    return WIDTH_POWERS[int(np.argmin(losses))]
