"""Rows of a table from which seasonal features are made, in chunks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxcast.errors import InputError
from jaxcast.series.features import check_history
from jaxcast.series.samples import WindowLags
from jaxcast.series.seasonal.inputs import Features, SeasonalFeatures
from jaxcast.series.window_steps import at_lags

NUMBERS_AT_ONCE = 20_000_000
"""Numbers of features that are in memory at a time."""


def windows_and_slots(
    own: SeasonalFeatures, history: Any, covariates: Any, lags: WindowLags | None
) -> tuple[Array, Array]:
    """Checks histories and slots of the week, and gives both a batch axis.

    Args:
        own: the features that are to be made.
        history: with or without a batch axis.
        covariates: the slot alone, of all series or of each.
        lags: those of windows that were cut at lags; None for consecutive steps.

    Returns:
        Histories (sample, time, region) at the lags of the features, and slots (sample,).

    Raises:
        InputError: for other shapes or lags, or no slots.
    """
    check_history(history, (), series=own.mean.shape)
    batch = np.shape(history)[:-2]
    history = at_lags(jnp.asarray(history, own.mean.dtype), own.lags, lags)
    if covariates is None or np.shape(covariates) not in ((*batch, 1), (*batch, len(own.mean), 1)):
        raise InputError(
            "expected the slot of the week of each history's newest step as its only covariate, got shape "
            f"{np.shape(covariates) if covariates is not None else None}"
        )
    slots = jnp.asarray(covariates)
    slots = slots[..., 0, 0] if slots.ndim == history.ndim else slots[..., 0]
    return history.reshape(-1, len(own.lags), len(own.mean)), slots.reshape(-1)


def of_lead(features: Features, number: Any) -> Float[Array, "sample region feature"]:
    """Returns the features at one lead.

    Args:
        features: at all leads.
        number: of the lead, from 0.
    """
    common = features.common
    calendar = jnp.broadcast_to(features.calendar[:, number, None], (*common.shape[:2], features.calendar.shape[-1]))
    return jnp.concatenate([common, features.by_lead[:, number], calendar], -1)


def histories(own: SeasonalFeatures, table: Float[Array, "time region"], newest: Any) -> Float[Array, "..."]:
    """Cuts histories; NaN before the first row.

    Args:
        own: features with their lags.
        table: all values.
        newest: rows of the newest steps.
    """
    rows = jnp.asarray(newest)[:, None] - jnp.asarray(own.lags)
    return jnp.where((rows >= 0)[..., None], table[jnp.maximum(rows, 0)], jnp.nan)


def chunks_of(own: SeasonalFeatures, newest: Any) -> list[Int[np.ndarray, " sample"]]:
    """Cuts rows into chunks of one size, of which the last may be shorter.

    Args:
        own: features of windows.
        newest: rows of the newest steps.
    """
    newest = np.asarray(newest)
    numbers = len(own.mean) * (len(own.lags) + 60 * len(own.leads))
    size = int(np.clip(NUMBERS_AT_ONCE // numbers, 1, max(len(newest), 1)))
    return [newest[k : k + size] for k in range(0, len(newest), size)]


def filled_chunk(chunk: np.ndarray, like: np.ndarray) -> Int[np.ndarray, " sample"]:
    """Fills a chunk with its first row, to the size of another.

    Args:
        chunk: rows.
        like: a chunk of the size that is wanted.
    """
    return np.concatenate([chunk, np.full(len(like) - len(chunk), chunk[0])])


def rows_to_learn_from(own: SeasonalFeatures, length: int) -> Int[np.ndarray, " sample"]:
    """Returns the newest rows of all windows of a table, after the first week or day.

    Args:
        own: features of windows.
        length: rows of the table.
    """
    day = own.slots_per_day
    start = own.num_recent if not own.num_days else 7 * day if length > 28 * day else day
    return np.arange(max(start, own.num_recent), length - min(own.leads))


def targets_at(own: SeasonalFeatures, table: Array, newest: Any) -> tuple[Array, Array]:
    """Returns standardised targets, and which of them are known.

    Args:
        own: features of windows.
        table: all values.
        newest: rows of the newest steps.
    """
    rows = jnp.asarray(newest)[:, None] + jnp.asarray(own.leads)
    values = jnp.where((rows < len(table))[..., None], table[jnp.minimum(rows, len(table) - 1)], jnp.nan)
    known = ~jnp.isnan(values)
    return jnp.where(known, (values - own.mean) / own.std, 0), known


@jax.jit
def features_at(own: SeasonalFeatures, table: Array, newest: Array, first_slot: Any) -> Features:
    """Returns the features of some rows of a table.

    Args:
        own: makes them.
        table: all values.
        newest: rows of the newest steps.
        first_slot: slot of the week of the first row.
    """
    slots = (newest + first_slot) % (7 * own.slots_per_day)
    return own(histories(own, table, newest), slots)
