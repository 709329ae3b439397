"""A flat-line baseline: the newest value, with past changes as its uncertainty."""

import numpy as np
from jaxtyping import ArrayLike, Float, Shaped

from jaxcast.arguments import checked
from jaxcast.checks import check_seed, check_whole
from jaxcast.errors import InputError
from jaxcast.hub.arrays import Hub
from jaxcast.hub.tables.releases import release_of
from jaxcast.numerics.levels import check_levels


@checked
def flat_line_quantiles(
    observed: Shaped[ArrayLike, "location lag"],
    levels: Shaped[ArrayLike, " quantile"],
    *,
    steps_ahead: int = 1,
    lower: float | None = 0.0,
    num_samples: int = 10_000,
    seed: int = 0,
) -> Float[np.ndarray, "location quantile"]:
    """Forecasts that nothing changes, with the uncertainty of past changes.

    The median is the newest value. The changes from one date to the next, and these changes with
    the other sign, are a distribution of one step; several steps add draws from it. Where the
    newest values of a location are missing, the steps count from the newest that there is. Changes
    next to a missing value are left out.

    One step takes the quantiles of the changes as they are, linear between them. More steps take
    `num_samples` values evenly over that distribution, in another order for each step, and add
    them; sums and their negatives together give the quantiles, so the median stays the newest
    value.

    Args:
        observed: Values of each location, the newest first; NaN where one is missing.
        levels: Levels of the quantiles.
        steps_ahead: Steps from the date of the first lag to that of the forecast.
        lower: The least value that the target can have; None for any.
        num_samples: Number of values of each step.
        seed: Random seed of their order.

    Returns:
        The quantiles; NaN for a location without two values in a row.

    Raises:
        InputError: for levels that do not increase within (0, 1), or steps or samples below one.

    Source:
        The baseline of the US COVID-19 hub (Cramer et al., PNAS 119, e2113561119, 2022), as in
        simplets and epipredict. These shift samples so that their median is the newest value, and
        set samples below zero to zero, epipredict after the first step already; here the quantiles
        alone are bounded, at the end.

    Example:
        >>> import jaxcast, numpy as np
        >>> observed = np.asarray([[12.0, 10.0, 11.0, 7.0]])
        >>> jaxcast.hub.flat_line_quantiles(observed, np.asarray([0.1, 0.5, 0.9])).tolist()
        [[9.0, 12.0, 15.0]]
    """
    values, levels = np.asarray(observed, float), np.asarray(check_levels(np.asarray(levels, float).tolist()))
    check_whole("steps_ahead", steps_ahead)
    check_whole("num_samples", num_samples)
    check_seed(seed)
    changes = values[:, :-1] - values[:, 1:]
    known = np.isfinite(values)
    late = np.where(known.any(1), known.argmax(1), 0)
    usable = np.flatnonzero(np.isfinite(changes).any(1))
    found = np.full((len(values), len(levels)), np.nan)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(num_samples) for _ in range(int((steps_ahead + late[usable]).max(initial=1)))]
    for place in usable:
        both = changes[place][np.isfinite(changes[place])]
        step = np.concatenate([both, -both])
        newest, num_steps = values[place, late[place]], steps_ahead + late[place]
        found[place] = newest + (
            np.quantile(step, levels) if num_steps == 1 else _summed(step, levels, orders[:num_steps])
        )
    return found if lower is None else np.maximum(found, lower)


def _summed(step: np.ndarray, levels: np.ndarray, orders: list[np.ndarray]) -> np.ndarray:
    """Returns the quantiles of a sum of independent steps."""
    values = np.quantile(step, np.linspace(0, 1, len(orders[0])))
    total = sum(values[order] for order in orders)
    return np.quantile(np.concatenate([total, -total]), levels)


@checked
def flat_line_baseline(
    hub: Hub,
    *,
    lower: float | None = 0.0,
    num_samples: int = 10_000,
    seed: int = 0,
) -> Float[np.ndarray, "location time quantile"]:
    """Makes the flat-line baseline of every date of a hub from what was known then.

    Each date's baseline is `flat_line_quantiles` of its `observed`, thus of its own release where
    the target data have releases. Load the hub with as many `num_lags` as there is history.

    Args:
        hub: The hub; its models play no part.
        lower: The least value that the target can have; None for any.
        num_samples: Number of values of each step.
        seed: Random seed of their order.

    Returns:
        The quantiles, NaN where a location had no two values in a row.

    Raises:
        InputError: as `flat_line_quantiles`.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2024-01-06", "2024-01-27", np.timedelta64(7, "D"), dtype="datetime64[D]")
        >>> observed = np.asarray([[[4.0, 3.0, 1.0], [5.0, 4.0, 3.0], [5.0, 5.0, 4.0]]])
        >>> levels = np.asarray([0.25, 0.5, 0.75])
        >>> hub = jaxcast.hub.Hub(np.ones((1, 3, 1, 3)), np.ones((1, 3)), observed, ("01",), dates, ("a",), levels, 1)
        >>> jaxcast.hub.flat_line_baseline(hub)[0, :, 1].tolist()
        [4.0, 5.0, 5.0]
    """
    return np.stack(
        [
            flat_line_quantiles(
                hub.observed[:, time],
                hub.levels,
                steps_ahead=hub.steps_ahead,
                lower=lower,
                num_samples=num_samples,
                seed=seed,
            )
            for time in range(len(hub.dates))
        ],
        1,
    )


def observed_before(hub: Hub, date: np.datetime64) -> Float[np.ndarray, "location lag"]:
    """Returns what a forecast of some date may use, newest first, also after the hub's last date.

    A date of the hub has its own `observed`. A later one has the newest release that its round may
    use, as far as the hub's dates go, and before these what the last date knew. A round's deadline
    is then as long after its date as that of the last round; without `deadlines` it is that date.

    Args:
        hub: The hub, with as many lags as there is history.
        date: Date of the forecast.

    Returns:
        The target data.

    Raises:
        InputError: for a date before the hub's or between them, or so late that data are missing.
    """
    steps, off = divmod(int((date - hub.dates[0]).astype(int)), hub.step_days)
    num_times, newest = len(hub.dates), steps - hub.steps_ahead
    if off or steps < 0 or newest >= num_times:
        raise InputError(
            f"expected a date from {hub.dates[0]} to {hub.dates[-1] + hub.steps_ahead * hub.step} in steps of "
            f"{hub.step_days} days, got {date}; give another round, or tables that reach it"
        )
    if steps < num_times:
        return hub.observed[:, steps]
    release = _release_before(hub, date)
    past = hub.observed[:, -1]
    lags = np.arange(num_times - 1 - hub.steps_ahead, num_times - 1 - hub.steps_ahead - past.shape[1], -1)
    values = dict(zip(lags.tolist(), past.T, strict=True)) | dict(enumerate(release.T))
    unknown = np.full(len(hub.locations), np.nan)
    return np.stack([values.get(time, unknown) for time in range(newest, min(newest, lags[-1]) - 1, -1)], 1)


def _release_before(hub: Hub, date: np.datetime64) -> np.ndarray:
    """Returns the target data (location, time) that a round after the hub's last may use."""
    if hub.releases is None or hub.as_of is None:
        return hub.truth
    later = date - hub.dates[-1]
    deadline = (hub.reference_dates if hub.deadlines is None else hub.deadlines)[-1] + later
    index = int(release_of(hub.as_of, np.asarray([deadline]))[0])
    return hub.releases[index] if index >= 0 else np.full_like(hub.truth, np.nan)
