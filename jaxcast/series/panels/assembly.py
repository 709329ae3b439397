"""Puts rows of many series, which come in blocks and in any order, one series after another."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxcast.errors import InputError, shown
from jaxcast.limits import check_arrays


class Rows(NamedTuple):
    """Some rows of a panel, in any order.

    Args:
        series: the number of each row's series.
        rows: its row on the calendar.
        values: of each row; NaN where it is missing.
        past: covariates known up to the row.
        future: covariates known in advance.
    """

    series: Int[np.ndarray, " row"]
    rows: Int[np.ndarray, " row"]
    values: Float[np.ndarray, " row"]
    past: Float[np.ndarray, "row past"]
    future: Float[np.ndarray, "row future"]


class Assembled(NamedTuple):
    """The flat arrays of a panel; see `SeriesPanel`.

    Args:
        values: of all series.
        offsets: the first row of each.
        lengths: rows up to the last value.
        num_rows: rows with those after it.
        starts: row of the calendar at which each begins.
        past: covariates known up to a row.
        future: covariates known in advance.
    """

    values: Float[np.ndarray, " row"]
    offsets: Int[np.ndarray, " series"]
    lengths: Int[np.ndarray, " series"]
    num_rows: Int[np.ndarray, " series"]
    starts: Int[np.ndarray, " series"]
    past: Float[np.ndarray, "row past"]
    future: Float[np.ndarray, "row future"]


class Numbered(NamedTuple):
    """Texts as numbers from 1 on.

    Args:
        values: the different texts, in the order of the alphabet, but for the empty one.
        numbers: of each text, from 1 on; 0 for an empty one.
    """

    values: tuple[str, ...]
    numbers: Int[np.ndarray, " text"]


def numbered(texts: Sequence[str]) -> Numbered:
    """Numbers texts from 1 on.

    Args:
        texts: any, repeated or not; empty where one is not known.

    Returns:
        The different texts, and the number of each.
    """
    values = tuple(sorted({*texts} - {""}))
    number = {"": 0} | {value: n + 1 for n, value in enumerate(values)}
    return Numbered(values, np.asarray([number[text] for text in texts], int))


def assembled(
    blocks: Callable[[], Iterator[Rows]],
    names: Sequence[str],
    *,
    where: Callable[[int, int], str],
    on_disk: bool = False,
) -> Assembled:
    """Puts rows one series after another, each from its first known value on.

    The blocks are passed over twice, to count rows and to place them, so that never more than one
    of them is held. With `on_disk`, the flat arrays are memory-mapped temporary files, which vanish
    with the process.

    Args:
        blocks: returns an iterator over all rows.
        names: of the series.
        where: what to call a series and a row in a message.
        on_disk: whether the flat arrays are files.

    Returns:
        The flat arrays.

    Raises:
        InputError: for a series without any value, or with two values of one date.
    """
    first, last, end, sizes = _counted(blocks, len(names))
    if (last < first).any():
        number = int(np.argmax(last < first))
        raise InputError(f"series {shown(repr(names[number]))} has no value at all; leave it out")
    num_rows = end - first + 1
    offsets = np.concatenate([[0], np.cumsum(num_rows)])
    total = int(offsets[-1])
    if not on_disk:
        check_arrays(f"a panel of {total} rows", *((total, 1 + size) for size in sizes))
    flat = [_empty((total, *shape), on_disk) for shape in ((), *((size,) for size in sizes))]
    for array in flat:
        array[...] = np.nan
    is_taken = _empty((total,), on_disk, bool)
    is_taken[...] = False
    for block in blocks():
        own = block.rows >= first[block.series]
        series, rows = block.series[own], block.rows[own]
        places = offsets[series] + rows - first[series]
        _check_once(is_taken, places, series, rows, where)
        is_taken[places] = True
        for array, given in zip(flat, (block.values, block.past, block.future), strict=True):
            array[places] = given[own]
    values, past, future = flat
    return Assembled(values, offsets[:-1], last - first + 1, num_rows, first, past, future)


def _counted(
    blocks: Callable[[], Iterator[Rows]], num_series: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Returns the first, the last known and the last row of each series, and the numbers of covariates."""
    first = np.full(num_series, np.iinfo(np.int64).max)
    last, end = (np.full(num_series, np.iinfo(np.int64).min) for _ in range(2))
    sizes = (0, 0)
    for block in blocks():
        is_known = np.isfinite(block.values)
        np.minimum.at(first, block.series[is_known], block.rows[is_known])
        np.maximum.at(last, block.series[is_known], block.rows[is_known])
        np.maximum.at(end, block.series, block.rows)
        sizes = (block.past.shape[1], block.future.shape[1])
    return first, last, end, sizes


def _check_once(
    is_taken: np.ndarray, places: np.ndarray, series: np.ndarray, rows: np.ndarray, where: Callable[[int, int], str]
) -> None:
    """Raises InputError where a place is taken already, or comes twice."""
    again = is_taken[places]
    if not again.any():
        _, firsts = np.unique(places, return_index=True)
        again = np.ones(len(places), bool)
        again[firsts] = False
    if again.any():
        at = int(np.argmax(again))
        raise InputError(f"{where(int(series[at]), int(rows[at]))} comes twice; keep one row for each date")


def _empty(shape: tuple[int, ...], on_disk: bool, dtype: type = float) -> np.ndarray:
    if not on_disk or 0 in shape:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:  # the map keeps the file, whose name is gone already
        return np.memmap(file, dtype, "w+", shape=shape)
