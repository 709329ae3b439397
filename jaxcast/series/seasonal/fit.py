"""The fit of seasonal forecasters; all choices are made on a validation part."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxcast.arguments import checked
from jaxcast.checks import check_sizes
from jaxcast.errors import InputError
from jaxcast.series.seasonal.forecaster import LARGEST, SeasonalForecaster, forecast_rows, network_inputs
from jaxcast.series.seasonal.from_values import seasonal_features
from jaxcast.series.seasonal.network import FeatureNetwork, FeatureTargets, robust_loss
from jaxcast.series.seasonal.regression import SeasonalRegression, fit_seasonal_regression
from jaxcast.series.seasonal.rows import chunks_of, features_at, filled_chunk, rows_to_learn_from, targets_at
from jaxcast.training.fitting import fit
from jaxcast.training.optimizers import make_optimizer

PENALTIES = (30.0, 100.0, 300.0, 1000.0, 3000.0)
ROWS_A_STEP = 2048
"""Series times windows of a minibatch, about."""


class SeasonalFit(NamedTuple):
    """The result of `fit_seasonal_forecaster`.

    Args:
        model: learned from all values.
        penalty: of the regression, as chosen.
        num_epochs: of the networks, as chosen.
        regression_validation: forecasts of the validation part by the regression alone, learned
            from what lies before.
        validation: forecasts of the validation part by the whole, alike.
        newest: newest rows of these windows.
    """

    model: SeasonalForecaster
    penalty: float
    num_epochs: int
    regression_validation: Float[np.ndarray, "sample lead region"]
    validation: Float[np.ndarray, "sample lead region"]
    newest: Int[np.ndarray, " sample"]


@checked
def fit_seasonal_forecaster(
    values: Float[Any, "time region"],
    *,
    slots_per_day: int,
    leads: Sequence[int],
    keys: Key[Array, " seed"],
    validation_share: float = 0.1,
    num_days: int | None = None,
    num_epochs: Sequence[int] = (3, 6, 12),
    num_optimizer_steps: int = 4600,
    hidden_size: int = 128,
    penalties: Sequence[float | int] = PENALTIES,
    first_slot: int = 0,
    history_size: int | None = None,
) -> SeasonalFit:
    """Fits a regression of each series and networks that correct it; chooses all on a validation part.

    The regression's penalty, the networks' epochs and their shares are chosen on the last part of
    the values, by models that learned from what lies before. Then all learn from all values.

    Args:
        values: of the training part, the validation part at its end; NaN where one is missing.
        slots_per_day: steps of a day.
        leads: steps ahead, rising.
        keys: one for each network of the ensemble.
        validation_share: share of the rows that chooses.
        num_days: past days that are seen, as for `seasonal_features`; 0 for recent values alone.
        num_epochs: passes of the networks over the data, to choose from.
        num_optimizer_steps: numbers of passes that take more steps are not tried, except the least.
        hidden_size: of the networks.
        penalties: to choose from.
        first_slot: slot of the week of the first row.
        history_size: steps that a window may have, as for `seasonal_features`.

    Returns:
        The model, what was chosen, and forecasts of the validation part.

    Raises:
        InputError: for too few rows, or numbers out of range.

    Example:
        >>> import jax, jaxcast, numpy as np
        >>> values = np.random.default_rng(0).poisson(5.0, (300, 3)).astype(float)
        >>> found = jaxcast.series.fit_seasonal_forecaster(
        ...     values, slots_per_day=8, leads=(1,), keys=jax.random.split(jax.random.key(0), 1), num_epochs=(1,)
        ... )
        >>> found.validation.shape, found.penalty in (30, 100, 300, 1000, 3000)
        ((30, 1, 3), True)
    """
    check_sizes(num_epochs=min(num_epochs, default=0), num_optimizer_steps=num_optimizer_steps)
    table: Any = np.asarray(values, np.float32)
    middle = round((1 - validation_share) * len(table))
    if not 0 < validation_share < 1 or len(table) - middle < max(leads):
        raise InputError(
            f"expected a validation part that is longer than the largest lead {max(leads)}, got "
            f"{len(table) - middle} of {len(table)} rows; give more rows or another validation_share"
        )
    settings: dict[str, Any] = {"slots_per_day": slots_per_day, "leads": tuple(leads), "first_slot": first_slot}
    settings |= {"history_size": history_size}
    settings |= {} if num_days is None else {"num_days": num_days}
    settings |= {} if num_days != 0 else {"num_recent": 12}
    nonnegative = bool(np.nanmin(table) >= 0)
    early, whole = (seasonal_features(part, **settings) for part in (table[:middle], table))
    newest = np.arange(middle - 1, len(table) - max(leads))
    truth = np.stack([table[newest + lead] for lead in leads], 1)
    tried = fit_seasonal_regression(
        table[:middle], features=early, penalty=tuple(penalties), first_slot=first_slot, nonnegative=nonnegative
    )
    forecasts = [forecast_rows(one, table, newest=newest, first_slot=first_slot) for one in tried]
    best = int(np.argmin([np.nanmean((forecast - truth) ** 2) for forecast in forecasts]))
    alone = forecasts[best]
    size = max(1, round(ROWS_A_STEP / table.shape[1]))
    num_batches = max(len(rows_to_learn_from(early, middle)) // size, 1)
    affordable = [number for number in sorted(num_epochs) if number * num_batches <= num_optimizer_steps]
    learn: Any = partial(correct_regression, hidden_size=hidden_size, batch_size=size, first_slot=first_slot)
    changes = {}
    for number in affordable or [min(num_epochs)]:
        model = learn(table[:middle], regression=tried[best], keys=keys[:1], num_epochs=number)
        changes[number] = forecast_rows(model, table, newest=newest, first_slot=first_slot) - alone
    wanted = truth - alone
    left = {
        number: np.nanmean((_shares(change, wanted)[:, None] * change - wanted) ** 2)
        for number, change in changes.items()
    }
    chosen = min(left, key=lambda number: left[number])
    change, shares = changes[chosen], _shares(changes[chosen], wanted)
    regression = fit_seasonal_regression(
        table, features=whole, penalty=float(penalties[best]), first_slot=first_slot, nonnegative=nonnegative
    )
    final = learn(table, regression=regression, keys=keys, num_epochs=chosen)
    final = dataclasses.replace(final, shares=jnp.asarray(shares, jnp.float32))
    return SeasonalFit(final, float(penalties[best]), chosen, alone, alone + shares[:, None] * change, newest)


def correct_regression(
    table: np.ndarray,
    *,
    regression: SeasonalRegression,
    keys: Any,
    num_epochs: int,
    hidden_size: int,
    batch_size: int,
    first_slot: int,
) -> SeasonalForecaster:
    """Trains networks on what a regression leaves; all shares are 1.

    Args:
        table: to learn from.
        regression: that is corrected.
        keys: of the networks.
        num_epochs: passes over the data.
        hidden_size: of the networks.
        batch_size: windows of a minibatch.
        first_slot: slot of the week of the first row.

    Returns:
        The forecaster.
    """
    own = regression.features
    inputs, errors = _inputs_and_errors(regression, table, rows_to_learn_from(own, len(table)), first_slot)
    offset, size = _standard(inputs)
    scale = max(float(np.sqrt(np.nanmean(errors**2))), 1e-6)
    for part in np.array_split(inputs, max(1, len(inputs) // 500)):  # in place: this array is large
        np.clip((part - offset) / size, -LARGEST, LARGEST, out=part)
    weights = np.isfinite(errors) * (np.asarray(own.std) / float(own.std.mean()))[:, None]
    data = FeatureTargets(*map(jnp.asarray, (inputs, np.nan_to_num(errors / scale), weights.astype(np.float32))))
    config = {"num_regions": inputs.shape[1], "input_size": inputs.shape[2], "num_leads": len(own.leads)}
    batch_size = min(batch_size, len(inputs))
    num_steps = num_epochs * (len(inputs) // batch_size)
    found = fit(
        data,
        init=partial(_network, tuple(config.items()), hidden_size),
        loss=robust_loss,
        keys=keys,
        optimizer=make_optimizer(
            2e-3, schedule="cosine", num_optimizer_steps=max(num_steps, 1), weight_decay=1e-3, clip_norm=1.0
        ),
        num_epochs=num_epochs,
        batch_size=batch_size,
    )
    ones = jnp.ones(len(own.leads), jnp.float32)
    parts: dict[str, Any] = {"offset": offset, "size": size, "scale": scale}
    own_parts = {name: jnp.asarray(a, jnp.float32) for name, a in parts.items()}
    return SeasonalForecaster(regression, found.models, shares=ones, **own_parts)


def _network(config: tuple[tuple[str, int], ...], hidden_size: int, key: Any) -> FeatureNetwork:
    return FeatureNetwork(**dict(config), hidden_size=hidden_size, key=key)


def _inputs_and_errors(
    regression: SeasonalRegression, table: np.ndarray, newest: np.ndarray, first_slot: int
) -> tuple[Float[np.ndarray, "sample region input"], Float[np.ndarray, "sample region lead"]]:
    """Makes what networks see, and what the regression leaves; NaN where a target is not known."""
    values, chunks = jnp.asarray(table, jnp.float32), chunks_of(regression.features, newest)
    found = []
    for chunk in chunks:
        made = _of_chunk(regression, values, jnp.asarray(filled_chunk(chunk, chunks[0])), first_slot)
        found.append([np.asarray(a)[: len(chunk)] for a in made])
    inputs, errors = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return inputs, errors


@jax.jit
def _of_chunk(regression: SeasonalRegression, table: Array, newest: Array, first_slot: Any) -> tuple[Array, Array]:
    features = features_at(regression.features, table, newest, first_slot)
    steps = regression.standardised(features)
    targets, known = targets_at(regression.features, table, newest)
    errors = jnp.where(known, targets - steps, jnp.nan)
    return network_inputs(features, steps), jnp.moveaxis(errors, 1, 2)


def _standard(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means and standard deviations of features, of some windows."""
    some = inputs[:: max(1, len(inputs) // 1000)]
    size = some.std((0, 1))
    return some.mean((0, 1)), np.where(size > 1e-3, size, 1).astype(np.float32)


def _shares(change: np.ndarray, wanted: np.ndarray) -> Float[np.ndarray, " lead"]:
    """Returns how much of a correction to make at each lead, by least squares, between 0 and 1."""
    wanted = np.where(np.isfinite(wanted), wanted, change)
    num, den = (change * wanted).sum((0, 2)), (change**2).sum((0, 2))
    return np.clip(num / np.maximum(den, 1e-12), 0, 1)
