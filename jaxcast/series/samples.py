"""Windows of history of several series, and the values some leads later."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num

from jaxcast.arguments import checked
from jaxcast.checks import check_finite, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.pytrees import FrozenPytree, static
from jaxcast.rollout import Output
from jaxcast.series.features import TargetFeatures, check_targets, of_targets
from jaxcast.tracing import is_traced


class WindowLags(FrozenPytree):
    """Steps back from the newest value of each step of a window; a pytree without leaves.

    Args:
        steps: falling, for the oldest comes first.
    """

    steps: tuple[int, ...] = static()


class SeriesWindows(NamedTuple):
    """Windows of several series, and what they are to forecast.

    Where each region has several features, histories have a last axis of features, and targets and
    weights one of the features that are forecast.

    Args:
        history: oldest step first; NaN where a value is missing.
        targets: the values some steps after the newest of the history; 0 where none is known.
        weights: of the targets' shape, 1 where a target is known and to be learned from, else 0.
        rows: that of each target in the table.
        covariates: what else is known when the history ends, such as the season or what is planned
            for the targets, (sample, covariate) for all regions or (sample, region, covariate), or
            None.
        features: which features are forecast; None without a feature axis.
        lags: steps back from the newest value of each step of the history; None for consecutive
            steps.
    """

    history: Float[Array, "sample time region *feature"]
    targets: Float[Array, "sample lead region *target"]
    weights: Float[Array, "sample lead region *target"]
    rows: Int[Array, "sample lead"]
    covariates: Any = None
    features: TargetFeatures | None = None
    lags: WindowLags | None = None


@checked
def series_windows(
    values: Float[Any, "time region *feature"],
    *,
    history_size: int | None = None,
    lags: Sequence[int] = (),
    leads: Sequence[int],
    start: int = 0,
    stop: int | None = None,
    targets: Sequence[int] | None = None,
    past_covariates: Float[Any, "time *region_of_past covariate"] | None = None,
    newest_covariates: Float[Any, "time *region_of_newest newest"] | None = None,
    future_covariates: Float[Any, "time *region_of_future future"] | None = None,
) -> SeriesWindows:
    """Cuts every window of a table that has a target in the rows from `start` to before `stop`.

    A window may reach back before `start`; a target outside of the rows has the weight 0. So
    training, validation and test part are three calls with the same values, whose targets do not
    overlap.

    Args:
        values: (time, region), or (time, region, feature) for several numbers of each region; NaN
            where one is missing.
        history_size: consecutive steps of history; give it or `lags`.
        lags: steps back from the newest value, 0, of which a history is made, oldest first. So
            windows of the last hours, the same hour of the last days and of the last weeks are cut
            without the weeks in between.
        leads: steps from the newest value to each target, at least 1.
        start: first row of targets.
        stop: row after the last of targets, by default the end.
        targets: numbers of the features that are forecast, where there is a feature axis; by
            default all. The others are seen only.
        past_covariates: what else is known of each step of the window, (time, covariate) for all
            regions or (time, region, covariate). They become further features, after those of the
            values, that are not forecast; a missing one is the last known. Values without a feature
            axis become the first feature.
        newest_covariates: what else is known at each step, for all regions or for each; a window
            has those of its newest step only.
        future_covariates: what is known of each step in advance; a window has those of the steps of
            all its targets, lead by lead, after `newest_covariates`. What is not known is NaN: such
            a window has no weight.

    Returns:
        The windows with their targets.

    Raises:
        InputError: for sizes or leads below one, neither or both of `history_size` and `lags`, lags
            that are not different whole numbers from 0 on, a table too short for any window,
            values of another shape, another number of steps or regions in a covariate, or targets
            that are no features.

    Example:
        >>> import jax.numpy as jnp, jaxcast
        >>> values = jnp.arange(10.0)[:, None]
        >>> samples = jaxcast.series.series_windows(values, history_size=3, leads=(1, 4), start=5, stop=7)
        >>> samples.history[:, :, 0].tolist()
        [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 4.0, 5.0]]
        >>> samples.rows.tolist(), samples.weights[:, :, 0].tolist()
        ([[3, 6], [4, 7], [5, 8], [6, 9]], [[0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
        >>> samples = jaxcast.series.series_windows(jnp.ones((10, 2, 3)), history_size=4, leads=(1,), targets=(0, 2))
        >>> samples.history.shape, samples.targets.shape
        ((6, 4, 2, 3), (6, 1, 2, 2))
        >>> samples = jaxcast.series.series_windows(values, lags=(0, 1, 7), leads=(1,), stop=9)
        >>> samples.history[:, :, 0].tolist()
        [[0.0, 6.0, 7.0]]
    """
    table, features = _features(values, targets, past_covariates)
    length = len(table)
    stop = length if stop is None else min(stop, length)
    steps = _steps_of(history_size, lags)
    if min(*leads, 1) < 1 or not leads:
        raise InputError(f"expected leads of at least 1, got {tuple(leads)}")
    # Numbers of the newest steps of windows.
    first = max(steps[0], start - max(leads))
    last = stop - 1 - min(leads)
    if last < first:
        raise InputError(
            f"windows of {steps[0] + 1} and leads of up to {max(leads)} steps find no target in the rows {start} to "
            f"{stop - 1} of a table of {length}; give a longer table, shorter windows or smaller leads"
        )
    newest = np.arange(first, last + 1)
    rows = newest[:, None] + np.asarray(leads)
    samples = _gather(table, newest, rows, (rows >= start) & (rows < stop), steps=steps, features=features)
    samples = samples._replace(lags=WindowLags(steps) if len(lags) else None)
    parts = [
        _covariates_at(name, known, table, steps)
        for name, known, steps in (
            ("newest_covariates", newest_covariates, newest[:, None]),
            ("future_covariates", future_covariates, rows),
        )
        if known is not None
    ]
    return _with_covariates(samples, parts) if parts else samples


def _steps_of(history_size: int | None, lags: Sequence[int]) -> tuple[int, ...]:
    """Returns the steps back of a window, falling."""
    if (history_size is None) == (not len(lags)):
        raise InputError(f"give either history_size or lags, got {history_size} and {shown(tuple(lags))}")
    if history_size is not None:
        if history_size < 1:
            raise InputError(f"expected a window of at least 1, got {history_size}")
        return tuple(range(history_size))[::-1]
    for lag in lags:
        check_whole("every lag", lag, least=0)
    if len(set(lags)) < len(lags):
        raise InputError(f"lags must be different, got {shown(tuple(lags))}")
    return tuple(sorted((int(lag) for lag in lags), reverse=True))


def _features(values: Any, targets: Any, past: Any) -> tuple[Array, TargetFeatures | None]:
    """Returns the table with past covariates as further features, and which features are forecast."""
    table = jnp.asarray(values)
    if table.ndim not in (2, 3) or 0 in table.shape[1:]:
        raise InputError(f"expected values (time, region) or (time, region, feature), got shape {table.shape}")
    if table.ndim == 2 and past is None:
        if targets is not None:
            raise InputError(
                f"targets are numbers of features, expected values (time, region, feature), got shape {table.shape}"
            )
        return table, None
    table = table if table.ndim == 3 else table[..., None]
    features = TargetFeatures(check_targets(targets, table.shape[2]))
    if past is None:
        return table, features
    past = jnp.asarray(past, table.dtype)
    if past.ndim not in (2, 3) or past.shape[:-1] != table.shape[: past.ndim - 1]:
        raise InputError(
            "expected past_covariates (time, covariate) or (time, region, covariate) for values of "
            f"{table.shape[0]} steps and {table.shape[1]} regions, got shape {past.shape}"
        )
    past = past if past.ndim == 3 else jnp.repeat(past[:, None], table.shape[1], 1)
    return jnp.concatenate([table, past], -1), features


def _covariates_at(name: str, table: Any, values: Any, steps: Int[np.ndarray, "sample step"]) -> Array:
    """Returns covariates at some steps of each sample; NaN beyond the end."""
    table = jnp.asarray(table, float)
    if table.ndim not in (2, 3) or table.shape[:-1] != values.shape[: table.ndim - 1]:
        raise InputError(
            f"expected {name} (time, feature) or (time, region, feature) for values {values.shape}, got {table.shape}"
        )
    inside = (steps < len(table)).reshape(*steps.shape, *[1] * (table.ndim - 1))
    found = jnp.where(inside, table[np.minimum(steps, len(table) - 1)], jnp.nan)
    return jnp.moveaxis(found, 1, -2).reshape(len(steps), *table.shape[1:-1], -1)


def _with_covariates(samples: SeriesWindows, parts: list[Array]) -> SeriesWindows:
    """Adds covariates to samples; where one is not known, samples have no weight."""
    each = any(part.ndim == 3 for part in parts)
    num_regions = samples.history.shape[2]
    parts = [jnp.repeat(part[:, None], num_regions, 1) if each and part.ndim == 2 else part for part in parts]
    covariates = jnp.concatenate(parts, -1)
    known = jnp.isfinite(covariates)
    is_known = known.all(-1)[:, None] if each else known.all(-1)[:, None, None]
    is_known = is_known if samples.features is None else is_known[..., None]
    return samples._replace(
        targets=jnp.where(is_known, samples.targets, 0),
        weights=jnp.where(is_known, samples.weights, 0),
        covariates=jnp.where(known, covariates, 0),
    )


def with_slots(samples: SeriesWindows, slots: Num[Any, " sample"]) -> SeriesWindows:
    """Adds the slot of the week in which each history ends, as the first covariate.

    Args:
        samples: with or without covariates.
        slots: of each sample.

    Returns:
        The samples.
    """
    first = jnp.asarray(slots, samples.history.dtype)[:, None]
    known = samples.covariates
    if known is None:
        return samples._replace(covariates=first)
    if known.ndim == 3:
        first = jnp.broadcast_to(first[:, None], (*known.shape[:2], 1))
    return samples._replace(covariates=jnp.concatenate([first, known], -1))


def at_lags(samples: SeriesWindows, lags: Sequence[int]) -> SeriesWindows:
    """Takes some steps of histories of consecutive ones.

    Args:
        samples: of consecutive steps.
        lags: steps back from the newest value.

    Returns:
        The samples, whose histories are shorter.

    Raises:
        InputError: for lags that are no different whole numbers, or longer than the histories.
    """
    steps = _steps_of(None, lags)
    size = samples.history.shape[1]
    if samples.lags is not None or steps[0] >= size:
        raise InputError(f"expected windows of {steps[0] + 1} consecutive steps or more, got {size}")
    return samples._replace(history=samples.history[:, size - 1 - np.asarray(steps)], lags=WindowLags(steps))


def lags_given(samples: SeriesWindows) -> dict[str, Any]:
    """Returns what a network must be told of histories that were cut at lags; nothing of others.

    Args:
        samples: of consecutive steps, or cut at lags.
    """
    return {} if samples.lags is None else {"lags": samples.lags}


def check_samples(samples: SeriesWindows) -> None:
    """Refuses samples with NaN or infinity where something is to be learned.

    Args:
        samples: training samples.

    Raises:
        InputError: that names the first such sample.
    """
    if is_traced(samples.weights):
        return
    weights: Any = np.asarray(samples.weights)
    samples = samples._replace(weights=weights)
    for name, array in (("targets", samples.targets), ("covariates", samples.covariates)):
        if array is not None:
            check_finite({name: array}, weights=_weights_of(name, samples))


def learned_from(samples: SeriesWindows) -> SeriesWindows:
    """Returns the samples with zeros for targets of weight 0, and for their covariates.

    Args:
        samples: training samples.
    """
    covariates = samples.covariates
    if covariates is not None:
        covariates = jnp.where(_weights_of("covariates", samples) > 0, covariates, 0)
    return samples._replace(targets=jnp.where(samples.weights > 0, samples.targets, 0), covariates=covariates)


def _weights_of(name: str, samples: SeriesWindows) -> Any:
    """Returns the weights of an array of the samples, in its shape or one that broadcasts to it."""
    weights = samples.weights
    if name == "targets":
        return weights
    weights = weights if samples.features is None else weights.max(-1)
    return weights.max(-2)[..., None] if samples.covariates.ndim == weights.ndim else weights.max((-2, -1))[..., None]


def covariates_to_regions(covariates: Any, history: Array, size: int) -> Float[Array, "*batch region feature"]:
    """Brings the covariates of histories to each region: its own, or those of all.

    Args:
        covariates: (*batch, covariate) or (*batch, region, covariate).
        history: without a feature axis.
        size: how many features are expected.

    Returns:
        The covariates of each region.

    Raises:
        InputError: for another shape.
    """
    num_regions, batch = history.shape[-1], history.shape[:-2]
    if np.shape(covariates) not in ((*batch, size), (*batch, num_regions, size)):
        raise InputError(
            f"it learned from {size} covariates for each of {num_regions} regions, or for all, of a sample, got shape "
            f"{np.shape(covariates)} with histories {history.shape}"
        )
    covariates = jnp.asarray(covariates)
    if covariates.ndim < history.ndim:
        covariates = covariates[..., None, :]
    return jnp.broadcast_to(covariates, (*batch, num_regions, size))


@partial(jax.jit, static_argnames="steps")
def _gather(
    values: Array,
    newest: Int[Array, " sample"],
    rows: Int[Array, "sample lead"],
    wanted: Bool[Array, "sample lead"],
    *,
    steps: tuple[int, ...],
    features: TargetFeatures | None,
) -> SeriesWindows:
    history = values[newest[:, None] - jnp.asarray(steps)]
    targets = values[jnp.minimum(rows, len(values) - 1)]
    if features is not None:
        targets = of_targets(targets, features.numbers)
    known = jnp.isfinite(targets) & wanted.reshape(*wanted.shape, *[1] * (targets.ndim - 2))
    return SeriesWindows(history, jnp.where(known, targets, 0), known.astype(values.dtype), rows, None, features)


def base_quantiles(forecaster: Any, samples: SeriesWindows) -> Float[Array, "..."]:
    """Returns a forecaster's quantiles; of a point forecaster, its forecast as the only level.

    Args:
        forecaster: that forecasts.
        samples: with histories and covariates as it takes them.
    """
    covariates = () if samples.covariates is None else (samples.covariates,)
    return quantiles_of(forecaster(samples.history, *covariates, **lags_given(samples)))


def quantiles_of(output: Output) -> Float[Array, "..."]:
    """Returns the quantiles of an output; of a point forecast, the forecast as the only level.

    Args:
        output: of a forecaster.
    """
    quantiles: Array = output.info.get("quantiles", output.forecast[..., None])
    return quantiles
