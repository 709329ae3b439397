"""What a forecast depends on: the loss when one input is permuted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_seed, check_whole
from jaxcast.errors import InputError, shown
from jaxcast.io.dates import parse_date
from jaxcast.scores.quantiles import pinball_loss
from jaxcast.series.model import SeriesModel
from jaxcast.series.problem import with_targets, within
from jaxcast.series.samples import SeriesWindows, base_quantiles
from jaxcast.series.tables import SeriesTable, newest_row
from jaxcast.series.window_forecaster import WindowForecaster

Kind = Literal["lag", "series", "covariate", "variable"]
KINDS = get_args(Kind)
NUM_REPEATS = 5


class Importance(NamedTuple):
    """How much worse forecasts are without an input.

    Args:
        kinds: of the inputs: "lag", "series", "covariate" or "variable".
        names: of the inputs.
        mean: of the loss with the input permuted less the loss without, over repeats; near 0 for
            an input that does not matter, and below 0 by chance, or for one that does harm.
        spread: standard deviation over repeats.
        loss: without any permutation.
    """

    kinds: tuple[str, ...]
    names: tuple[str, ...]
    mean: Float[np.ndarray, " input"]
    spread: Float[np.ndarray, " input"]
    loss: float


@checked
def permutation_importance(
    forecaster: WindowForecaster,
    windows: SeriesWindows,
    *,
    kinds: Sequence[Kind] = KINDS,
    lags: Sequence[int] | None = None,
    series: Sequence[str] | None = None,
    covariates: Mapping[str, Sequence[int]] | None = None,
    scale: Float[Any, "..."] | float = 1.0,
    num_repeats: int = NUM_REPEATS,
    block_size: int | None = None,
    seed: int = 0,
) -> Importance:
    """Measures how much worse forecasts of held-out windows are when one input is permuted.

    The input of each window is replaced by that of another window. Blocks of consecutive windows
    stay together, so that an input that moves slowly does so still. The loss is the mean pinball
    loss of all levels, or the mean absolute error of a point forecast, over what has a weight.
    Nothing is fitted again. Inputs that tell the same, such as neighbouring lags, share their
    importance, and each alone may seem to matter little.

    Args:
        forecaster: any that forecasts windows.
        windows: held out, in the order of time; the forecaster must not have learned from them.
        kinds: which inputs: each "lag" of all series together, each "series" with all its lags,
            each "covariate", and each "variable", where a region has several features.
        lags: steps back from the newest value that are permuted; by default all of the windows.
        series: names of the series; by default their numbers from 1.
        covariates: names of covariates, or of groups that are permuted together, with their numbers
            in the windows; by default each by its number from 1.
        scale: unit of the loss: of each series, (region,) or (region, target), or one number.
        num_repeats: permutations of each input.
        block_size: consecutive windows that stay together; by default as many as a history has
            steps, but at most an eighth of the windows.
        seed: of the permutations, which are the same for all inputs.

    Returns:
        The importance of each input.

    Raises:
        InputError: for fewer than 4 windows with a known target, unknown kinds or lags, or
            forecasts that are not finite.

    Source:
        Breiman, Mach. Learn. 45, 5-32 (2001); Fisher, Rudin and Dominici, J. Mach. Learn. Res. 20,
        177 (2019).

    Example:
        >>> import jax.numpy as jnp, jaxcast, numpy as np
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=(80, 2)), 0)
        >>> windows = jaxcast.series.series_windows(walk, history_size=3, leads=(1,))
        >>> found = jaxcast.series.permutation_importance(
        ...     jaxcast.series.LastValue((1,)), windows, kinds=("lag",)
        ... )
        >>> found.names, (found.mean > 0.1).tolist()  # of the last value, only the newest matters
        (('0', '1', '2'), [True, False, False])
    """
    for kind in kinds:
        check_choice("kinds", kind, KINDS)
    check_whole("num_repeats", num_repeats)
    check_seed(seed)
    windows = with_targets(windows)
    count, steps = windows.history.shape[:2]
    if count < 4:
        raise InputError(f"expected at least 4 held-out windows with a known target, got {count}; give more dates")
    size = max(1, min(steps, count // 8)) if block_size is None else block_size
    check_whole("block_size", size, most=count // 2)
    inputs = _inputs(windows, kinds, lags, series, covariates)
    if not inputs:
        raise InputError(f"there is no input of the kinds {shown(', '.join(kinds))} to permute; ask for others")
    return measured(inputs, _loss(forecaster, windows, scale), windows, num_repeats, size, seed)


def measured(
    inputs: Sequence[tuple[str, str, Callable[[Any, Any], Any]]],
    loss: Callable[[Any], float],
    windows: Any,
    num_repeats: int,
    block_size: int,
    seed: int,
) -> Importance:
    """Permutes each input, the same way for all.

    Args:
        inputs: kind and name of each, and (windows, order) -> windows with the input in that order.
        loss: of windows.
        windows: of which the first array has an axis of samples in front.
        num_repeats: permutations of each input.
        block_size: consecutive windows that stay together.
        seed: of the permutations.

    Returns:
        The importance of each input.
    """
    rng = np.random.default_rng(seed)
    orders = [_order(rng, len(windows[0]), block_size) for _ in range(num_repeats)]
    without = loss(windows)
    losses = np.asarray([[loss(change(windows, order)) for order in orders] for _, _, change in inputs])
    kinds, names = [kind for kind, _, _ in inputs], [name for _, name, _ in inputs]
    return Importance(tuple(kinds), tuple(names), losses.mean(1) - without, losses.std(1), without)


Change = Callable[[SeriesWindows, Any], SeriesWindows]


def _inputs(
    windows: SeriesWindows, kinds: Sequence[str], lags: Any, series: Any, covariates: Any
) -> list[tuple[str, str, Change]]:
    """Returns kind, name and the change of each input."""
    steps = windows.history.shape[1]
    own = tuple(range(steps))[::-1] if windows.lags is None else windows.lags.steps
    wanted = sorted(own) if lags is None else lags
    for lag in wanted:
        if lag not in own:
            raise InputError(f"the windows hold no lag {shown(lag)}; they hold {shown(sorted(own))}")
    names = [str(n + 1) for n in range(windows.history.shape[2])] if series is None else list(series)
    if len(names) != windows.history.shape[2]:
        raise InputError(f"expected names of {windows.history.shape[2]} series, got {len(names)}")
    sizes = 0 if windows.covariates is None else windows.covariates.shape[-1]
    groups = {str(n + 1): (n,) for n in range(sizes)} if covariates is None else covariates
    for name, numbers in groups.items():
        if not all(0 <= n < sizes for n in numbers):
            raise InputError(
                f"covariate {shown(repr(name))} must be numbers below {sizes}, got {shown(tuple(numbers))}"
            )
    found: dict[str, list[tuple[str, Change]]] = {
        "lag": [(str(lag), _of_history((slice(None), own.index(lag)))) for lag in wanted],
        "series": [(name, _of_history((slice(None), slice(None), n))) for n, name in enumerate(names)],
        "covariate": [(name, _of_covariates(tuple(numbers))) for name, numbers in groups.items()],
        "variable": [(str(n + 1), _of_history((..., n))) for n in range(_num_variables(windows))],
    }
    if len(names) < 2:
        found["series"] = []  # it is all that there is
    return [(kind, name, change) for kind in kinds for name, change in found[kind]]


def _num_variables(windows: SeriesWindows) -> int:
    return 0 if windows.features is None else windows.history.shape[3]


def _of_history(place: Any) -> Change:
    return lambda windows, order: windows._replace(history=windows.history.at[place].set(windows.history[order][place]))


def _of_covariates(numbers: tuple[int, ...]) -> Change:
    columns = (..., np.asarray(numbers, int))
    return lambda windows, order: windows._replace(
        covariates=windows.covariates.at[columns].set(windows.covariates[order][columns])
    )


def _order(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Returns the numbers of the windows with their blocks in another order."""
    blocks = np.split(np.arange(count), range(size, count, size))
    order = rng.permutation(len(blocks))
    while (order == np.arange(len(blocks))).all():
        order = rng.permutation(len(blocks))
    return np.concatenate([blocks[n] for n in order])


def _loss(forecaster: Any, windows: SeriesWindows, scale: Any) -> Callable[[SeriesWindows], float]:
    """Returns the loss as a function of windows of the same targets."""
    levels = np.asarray(forecaster.signature.levels, float)
    unit = jnp.asarray(scale)
    known = windows.weights > 0

    @jax.jit
    def of(forecaster: Any, changed: SeriesWindows) -> Any:
        quantiles, truth = base_quantiles(forecaster, changed), windows.targets / unit
        scaled = quantiles / unit[..., None]
        if quantiles.shape[-1] == len(levels) and len(levels):
            losses = pinball_loss(scaled, truth, jnp.asarray(levels, scaled.dtype)).mean(-1)
        else:
            losses = jnp.abs(scaled[..., 0] - truth)
        return jnp.where(known, losses, 0).sum() / known.sum()

    def loss(changed: SeriesWindows) -> float:
        found = float(of(forecaster, changed))
        if not np.isfinite(found):
            raise InputError("forecasts of these windows are not finite; look at their values")
        return found

    return loss


@checked
def series_importance(
    model: SeriesModel,
    table: SeriesTable,
    *,
    since: str | None = None,
    kinds: Sequence[Kind] = KINDS,
    num_repeats: int = NUM_REPEATS,
    block_size: int | None = None,
    seed: int = 0,
    what: str = "the table",
) -> Importance:
    """Measures which lags, series and covariates the forecasts of a table depend on.

    Losses are those of `permutation_importance`, in standard deviations of each series. A future
    covariate is permuted at all leads together.

    Args:
        model: by `fit_series`.
        table: with the series, steps and covariates that the model has learned from.
        since: the first target date that counts; by default the first that the model has not
            learned from.
        kinds: see `permutation_importance`.
        num_repeats: permutations of each input.
        block_size: consecutive windows that stay together; see `permutation_importance`.
        seed: of the permutations.
        what: what to call the table in a message.

    Returns:
        The importance of each input; lags are steps back from the newest value, 0.

    Raises:
        InputError: for another table, and where there is nothing to score.

    Example:
        >>> import jaxcast, numpy as np
        >>> dates = np.arange("2015-01", "2025-01", dtype="datetime64[M]")
        >>> walk = np.cumsum(np.random.default_rng(0).normal(size=(120, 2)), 0)
        >>> table = jaxcast.series.series_table(walk, dates, names=("north", "south"))
        >>> old = jaxcast.series.series_table(walk[:90], dates[:90], names=("north", "south"))
        >>> model = jaxcast.series.fit_series(old, horizon=1, methods=("last_value",), season=0).model
        >>> found = jaxcast.series.series_importance(model, table, kinds=("series",))
        >>> found.names, bool((found.mean > 0).all())
        (('north', 'south'), True)
    """
    table = model.arranged(table, what)
    learned = int(table.calendar.rows(parse_date(model.learned_until, "the model's last date")))
    start = learned + 1 if since is None else int(table.calendar.rows(parse_date(since, "since")))
    last = newest_row(table.values)
    windows = within(model.windows(table), start, last + 1)
    if not np.asarray(windows.weights).any():
        raise InputError(
            f"{what} has nothing to score from {table.date(start)} on, its last value is of {table.date(last)}; the "
            f"forecaster learned until {model.learned_until}, give newer data, or an earlier since"
        )
    deviations = np.nanstd(table.values[: max(start, 2)], 0)
    return permutation_importance(
        model.forecaster,
        windows,
        kinds=kinds,
        series=model.names,
        covariates=_covariate_groups(model, table),
        scale=np.where(deviations > 0, deviations, 1.0),
        num_repeats=num_repeats,
        block_size=block_size,
        seed=seed,
    )


def _covariate_groups(model: SeriesModel, table: SeriesTable) -> dict[str, tuple[int, ...]]:
    """Returns the numbers of each covariate in the windows of a model."""
    calendar = ["slot of the week"] if model.sees_calendar else []
    newest = [*calendar, *model.past_covariates, *model.static_covariates]
    groups: dict[str, tuple[int, ...]] = {name: (n,) for n, name in enumerate(newest)}
    count = len(model.future_covariates)
    for n, name in enumerate(model.future_covariates):
        groups[name] = tuple(len(newest) + lead * count + n for lead in range(len(model.leads)))
    return groups
