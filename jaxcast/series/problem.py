"""What a table of series offers to learn from."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxcast.errors import InputError, shown
from jaxcast.io.tables import LARGEST
from jaxcast.series.fit import Problem, within
from jaxcast.series.samples import SeriesWindows, series_windows
from jaxcast.series.tables import SeriesTable, newest_row

SEASONS = {"1 week": 52, "1 month": 12, "3 months": 4, "1 day": 7, "1 business day": 5, "1 hour": 24}


LEAST_SAMPLES = 10


def samples_of(
    table: SeriesTable, history_size: int, leads: tuple[int, ...], newest: int | None = None
) -> SeriesWindows:
    """A sample for each row with a whole window before it, up to the newest, whose targets are still to come.

    Where no value of a series is known in a window, nothing is to be learned of it, or scored.
    """
    rows = (newest_row(table.values) if newest is None else newest) + 1 + max(leads)

    def padded(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array[:rows], np.full((max(0, rows - len(array)), *array.shape[1:]), np.nan)])

    covariates = np.concatenate(
        [
            table.past_covariates,
            np.broadcast_to(table.static_covariates, (len(table.past_covariates), *table.static_covariates.shape)),
        ],
        -1,
    )
    samples = series_windows(
        padded(table.values),
        history_size=history_size,
        leads=leads,
        newest_covariates=padded(covariates) if covariates.shape[-1] else None,
        future_covariates=padded(table.future_covariates) if table.future_covariates.shape[-1] else None,
    )
    return samples._replace(weights=samples.weights * jnp.isfinite(samples.history).any(1)[:, None])


def check_series(table: SeriesTable, end: int) -> None:
    """Raises InputError for a series of which nothing is to be learned before a row."""
    for name, values in zip(table.names, table.values[:end].T, strict=True):
        known, series = values[np.isfinite(values)], f"series {shown(repr(name))}"
        if not len(known):
            raise InputError(
                f"{shown(series)} has no value in the {end} dates before {table.date(end)} to learn from; leave it out"
            )
        spread = known.max() - known.min()
        if spread == 0:
            raise InputError(f"{shown(series)} never changes in the {end} dates before {table.date(end)}; leave it out")
        if spread < 1 / LARGEST:
            raise InputError(
                f"{shown(series)} moves by {spread:g} only in the {end} dates before {table.date(end)}, expected at least "
                f"{1 / LARGEST:g}; give it in another unit"
            )


def check_held_out(problem: Problem) -> None:
    """Raises InputError for a held-out part in which nothing is to be forecast at some lead."""
    for name, start, stop in zip(("first", "second"), problem.bounds[:-1], problem.bounds[1:], strict=True):
        known = np.asarray(within(problem.samples, start, stop).weights).any((0, 2))
        if not known.any():
            raise InputError(
                f"the {name} held-out part, rows {start + 1} to {stop}, has no known value to forecast with all covariates known "
                "before it; give more data, or another --held-out"
            )
        if not known.all():
            raise InputError(
                f"no value is known in the {name} held-out part, rows {start + 1} to {stop}, to set the quantiles of lead "
                f"{problem.leads[int(np.argmin(known))]} right by; give more data, or another --held-out"
            )


def describe(table: SeriesTable, path: Path) -> list[str]:
    """What a table holds, and what it lacks, in lines."""
    length = newest_row(table.values) + 1
    first = f"{path}: {len(table.names)} series, {length} dates, one every {table.calendar.step}, "
    lines = [f"{first}{table.date(0)} to {table.date(length - 1)}", *(f"note: {note}" for note in table.notes)]
    for note in table.missing:
        lines.append(f"missing: {note}")
    if table.missing:
        lines.append(
            "what is missing is not learned from and not scored; where a forecast looks back on it, it sees the last known value"
        )
    return lines
