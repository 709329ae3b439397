"""From a table of series to what region forecasters consume: windows of history and the values some leads later."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxcast.arguments import check_finite, checked
from jaxcast.errors import InputError


class LeadSamples(NamedTuple):
    """Windows of several series, and what they are to forecast.

    history: (sample, time, region), oldest first; NaN where a value is missing. targets: the values so many steps after
    the newest of the history, (sample, lead, region). weights: alike, 1 where a target is known and to be learned from,
    else 0; the target is then 0 too. rows: that of each target in the table, (sample, lead). given: what else is known when
    the history ends, such as the season or what is planned for the targets, (sample, feature) for all regions or (sample,
    region, feature), or None.
    """

    history: Float[Array, "sample time region"]
    targets: Float[Array, "sample lead region"]
    weights: Float[Array, "sample lead region"]
    rows: Int[Array, "sample lead"]
    given: Any = None


@checked
def lead_samples(
    values: Float[Any, "time region"],
    *,
    window_size: int,
    leads: Sequence[int],
    start: int = 0,
    stop: int | None = None,
    given: Float[Any, "time *region_of_given given"] | None = None,
    ahead: Float[Any, "time *region_of_ahead ahead"] | None = None,
) -> LeadSamples:
    """Every window of a table that has a target in the rows from `start` to before `stop`.

    A window may reach back before `start`; a target outside of the rows has the weight 0. So training, validation and
    test part are three calls with the same values, whose targets do not overlap.

    Args:
        values: NaN where one is missing. window_size: steps of history. leads: at least 1 each.
        given: what else is known at each step, for all regions or for each; a sample gets that of its newest step.
        ahead: alike, what is known of a step before it comes; a sample gets that of the steps of all its targets, lead by
            lead, after `given`. What cannot be known is NaN: such a sample is not learned from, its weights are 0.

    Raises:
        InputError: for sizes or leads below one, a table too short for any sample, or another number of steps or regions
            in `given` or `ahead`.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.arange(10.0)[:, None]
        >>> samples = jaxcast.lead_samples(values, window_size=3, leads=(1, 4), start=5, stop=7)
        >>> samples.history[:, :, 0].tolist()
        [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 4.0, 5.0]]
        >>> samples.rows.tolist(), samples.weights[:, :, 0].tolist()
        ([[3, 6], [4, 7], [5, 8], [6, 9]], [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    """
    length = len(values)
    stop = length if stop is None else min(stop, length)
    if min(window_size, *leads, 1) < 1 or not leads:
        raise InputError(f"expected a window and leads of at least 1, got {window_size} and {tuple(leads)}")
    # Numbers of the newest steps of windows.
    first = max(window_size - 1, start - max(leads))
    last = stop - 1 - min(leads)
    if last < first:
        raise InputError(
            f"windows of {window_size} and leads of up to {max(leads)} steps find no target in the rows {start} to "
            f"{stop - 1} of a table of {length}; give a longer table, shorter windows or smaller leads"
        )
    newest = np.arange(first, last + 1)
    rows = newest[:, None] + np.asarray(leads)
    samples = _gather(jnp.asarray(values), newest, rows, (rows >= start) & (rows < stop), window_size=window_size)
    parts = [
        _given_at(name, table, values, steps)
        for name, table, steps in (("given", given, newest[:, None]), ("ahead", ahead, rows))
        if table is not None
    ]
    return _with_given(samples, parts) if parts else samples


def _given_at(name: str, table: Any, values: Any, steps: Int[np.ndarray, "sample step"]) -> Array:
    """What a table gives at some steps of each sample, (sample, *region, feature of all steps); NaN beyond its end."""
    table = jnp.asarray(table, float)
    if table.ndim not in (2, 3) or table.shape[:-1] != np.shape(values)[: table.ndim - 1]:
        raise InputError(
            f"expected {name} (time, feature) or (time, region, feature) for values {np.shape(values)}, got {table.shape}"
        )
    inside = (steps < len(table)).reshape(*steps.shape, *[1] * (table.ndim - 1))
    found = jnp.where(inside, table[np.minimum(steps, len(table) - 1)], jnp.nan)
    return jnp.moveaxis(found, 1, -2).reshape(len(steps), *table.shape[1:-1], -1)


def _with_given(samples: LeadSamples, parts: list[Array]) -> LeadSamples:
    """The samples with what is given; where that is not known, nothing is to be learned."""
    each = any(part.ndim == 3 for part in parts)
    num_regions = samples.history.shape[-1]
    parts = [jnp.repeat(part[:, None], num_regions, 1) if each and part.ndim == 2 else part for part in parts]
    given = jnp.concatenate(parts, -1)
    known = jnp.isfinite(given)
    is_known = known.all(-1)[:, None] if each else known.all(-1)[:, None, None]
    return samples._replace(
        targets=jnp.where(is_known, samples.targets, 0),
        weights=jnp.where(is_known, samples.weights, 0),
        given=jnp.where(known, given, 0),
    )


def check_samples(samples: LeadSamples) -> None:
    """Refuses samples with NaN or infinity where something is to be learned.

    Raises:
        InputError: that names the first such sample.
    """
    if isinstance(samples.weights, jax.core.Tracer):
        return
    samples = samples._replace(weights=np.asarray(samples.weights))
    for name, array in (("targets", samples.targets), ("given", samples.given)):
        if array is not None:
            check_finite({name: array}, weights=_weights_of(name, samples))


def learned_from(samples: LeadSamples) -> LeadSamples:
    """The samples with zeros for targets of weight 0, and for what is given with them, whatever stood there."""
    given = samples.given
    if given is not None:
        given = jnp.where(_weights_of("given", samples) > 0, given, 0)
    return samples._replace(targets=jnp.where(samples.weights > 0, samples.targets, 0), given=given)


def _weights_of(name: str, samples: LeadSamples) -> Array:
    """What an array of the samples counts for, in its shape or one that broadcasts to it."""
    weights = samples.weights
    if name == "targets":
        return weights
    return weights.max(-2)[..., None] if samples.given.ndim == weights.ndim else weights.max((-2, -1))[..., None]


def given_to_regions(given: Any, history: Array, size: int) -> Float[Array, "*batch region feature"]:
    """What is given with histories (*batch, time, region), for each region: its own, or the same for all.

    Raises:
        InputError: unless it is (*batch, feature) or (*batch, region, feature) with so many features.
    """
    num_regions, batch = history.shape[-1], history.shape[:-2]
    if np.shape(given) not in ((*batch, size), (*batch, num_regions, size)):
        raise InputError(
            f"it learned from {size} given numbers for each of {num_regions} regions, or for all, of a sample, got shape "
            f"{np.shape(given)} with histories {history.shape}"
        )
    given = jnp.asarray(given)
    if given.ndim < history.ndim:
        given = given[..., None, :]
    return jnp.broadcast_to(given, (*batch, num_regions, size))


@partial(jax.jit, static_argnames="window_size")
def _gather(
    values: Array, newest: Int[Array, " sample"], rows: Int[Array, "sample lead"], wanted: Bool[Array, "sample lead"],
    *, window_size: int,
) -> LeadSamples:  # fmt: skip
    history = values[newest[:, None] + jnp.arange(1 - window_size, 1)]
    targets = values[jnp.minimum(rows, len(values) - 1)]
    known = jnp.isfinite(targets) & wanted[..., None]
    return LeadSamples(history, jnp.where(known, targets, 0), known.astype(values.dtype), rows)


class LeadScores(NamedTuple):
    """Errors at each lead, (lead,), over all samples and regions with a weight."""

    rmse: Float[Array, " lead"]
    mae: Float[Array, " lead"]
    pcc: Float[Array, " lead"]


@checked
def lead_scores(forecasts: Float[Array, "sample lead region"], samples: LeadSamples) -> LeadScores:
    """Root mean squared error, mean absolute error and Pearson's correlation at each lead, pooled over regions.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> samples = jaxcast.lead_samples(jnp.arange(10.0)[:, None], window_size=3, leads=(2,))
        >>> scores = jaxcast.lead_scores(jaxcast.LastValue((2,))(samples.history).forecast, samples)
        >>> scores.rmse.tolist(), scores.pcc.round(6).tolist()
        ([2.0], [1.0])
    """
    weights, truth = samples.weights, learned_from(samples).targets

    def mean(a: Array) -> Array:
        return (weights * a).sum((0, 2)) / weights.sum((0, 2))

    forecasts = jnp.where(weights > 0, forecasts, 0)
    error = jnp.where(weights > 0, forecasts - truth, 0)
    off_f, off_t = forecasts - mean(forecasts)[:, None], truth - mean(truth)[:, None]
    pcc = mean(off_f * off_t) / jnp.sqrt(mean(off_f**2) * mean(off_t**2))
    return LeadScores(jnp.sqrt(mean(error**2)), mean(jnp.abs(error)), pcc)
