"""Scores of forecasts of a case, against the hidden truths of an export or truths made anew from the seed."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxcast.arguments import checked
from jaxcast.benchmark.case import Case
from jaxcast.benchmark.tables import forecasts_in_table
from jaxcast.benchmark.task import SEED, make_task
from jaxcast.errors import InputError, shown
from jaxcast.io.archives import check_is_file, read_archive
from jaxcast.scores.paired import PairedTest, paired_test
from jaxcast.scores.valid_times import valid_time

RESAMPLES = 2000


class Score(NamedTuple):
    """Valid times of forecasts of a case.

    Args:
        median: over windows, then over truths.
        low: lower end of the bootstrap interval of the median (95 %), windows drawn within truths.
        high: its upper end.
        median_per_truth: over the windows of each truth.
        share_censored: share of the windows that are valid to their end, or as long as counts.
        valid_times: of each truth and window.
        censored: whether each of them is only a lower bound.
        rmse: root mean squared error by lead, over windows, truths and scored components; infinite
            where a forecast diverged.
    """

    median: float
    low: float
    high: float
    median_per_truth: tuple[float, ...]
    share_censored: float
    valid_times: Float[Any, "truth window"]
    censored: Bool[Any, "truth window"]
    rmse: Float[Any, " lead"]


@checked
def score_forecasts(case: Case, forecasts: Float[Any, "truth window lead dim"], *, seed: int = SEED) -> Score:
    """Scores forecasts of the windows of a case.

    Args:
        case: the case.
        forecasts: of the first truths and of the first windows of each, as many as there are.
        seed: of the first truth, as for the data that the forecasts were made from.

    Returns:
        The valid times and their summary.

    Raises:
        InputError: for forecasts of another shape than the case asks for.

    Example:
        >>> import jaxcast, numpy as np
        >>> case = jaxcast.benchmark.find_case("paper")
        >>> arrays = jaxcast.benchmark.case_arrays(case, seed=1, num_truths=1, num_windows=2, num_train=100)
        >>> held = np.repeat(arrays["history"][:, :, -1:], case.num_leads, axis=2)
        >>> jaxcast.benchmark.score_forecasts(case, held, seed=1).median < 1
        True
    """
    forecasts = np.asarray(forecasts)
    check_forecasts(case, forecasts.shape, "the forecasts")
    return score_against(case, forecasts, hidden_truths(case, *forecasts.shape[:2], seed=seed))


def hidden_truths(case: Case, num_truths: int, num_windows: int, *, seed: int) -> np.ndarray:
    """Makes the truths of the windows of a case.

    Args:
        case: the case.
        num_truths: how many.
        num_windows: of each.
        seed: of the first truth.

    Returns:
        The truths, (truth, window, lead, dim).
    """
    tasks = (make_task(case, seed=seed + number, num_windows=num_windows, num_train=2) for number in range(num_truths))
    return np.stack([task.windows.truth for task in tasks])


def score_against(case: Case, forecasts: np.ndarray, truths: np.ndarray) -> Score:
    """Scores forecasts against truths that are known.

    Args:
        case: the case.
        forecasts: (truth, window, lead, dim).
        truths: of the same shape.

    Returns:
        The valid times and their summary.
    """
    part = slice(None) if case.seen is None else list(case.seen)
    forecasts, truths = forecasts[..., part], truths[..., part]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = (forecasts - truths) ** 2
        rmse = np.sqrt(np.where(np.isfinite(squares), squares, np.inf).mean(axis=(0, 1, 3)))
    with jax.enable_x64(True):
        time, censored = _valid_times(
            jnp.asarray(forecasts, float), jnp.asarray(truths, float), case.dt, case.threshold
        )
    longest = case.longest_valid_time
    times = np.minimum(np.asarray(time), longest).round(9)
    censored = np.asarray(censored) | (times >= longest - 1e-9)
    low, high = interval_of_median(times)
    return Score(
        float(np.median(np.median(times, axis=1))),
        low,
        high,
        tuple(float(np.median(each)) for each in times),
        float(censored.mean()),
        times,
        censored,
        rmse,
    )


@jax.jit
def _valid_times(forecasts: Any, truths: Any, dt: Any, threshold: Any) -> Any:
    one = jax.vmap(lambda forecast, truth: tuple(valid_time(forecast, truth, dt=dt, threshold=threshold)))
    return jax.vmap(one)(forecasts, truths)


def interval_of_median(times: np.ndarray) -> tuple[float, float]:
    """Returns the bootstrap interval of the median over windows, then over truths.

    Args:
        times: valid times of each truth and window.
    """
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, times.shape[1], (RESAMPLES, *times.shape))
    medians = np.median(np.median(times[np.arange(len(times))[:, None], drawn], axis=2), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)


@checked
def compare_scores(first: Score, second: Score) -> PairedTest:
    """Tests whether two methods' valid times differ on the same windows.

    Args:
        first: of the first method.
        second: of the second method, with the same truths and windows.

    Returns:
        The difference of the medians over all windows, its interval, and p-values.

    Raises:
        InputError: for scores of different numbers of windows.

    Example:
        >>> import jaxcast, numpy as np
        >>> case = jaxcast.benchmark.find_case("paper")
        >>> score = jaxcast.benchmark.score_forecasts(case, np.zeros((1, 2, 128, 3)), seed=1)
        >>> jaxcast.benchmark.compare_scores(score, score).wilcoxon
        1.0
    """
    return paired_test(
        first.valid_times.ravel(),
        second.valid_times.ravel(),
        first_censored=first.censored.ravel(),
        second_censored=second.censored.ravel(),
        key=jax.random.key(0),
    )


def read_forecasts(case: Case, path: Path) -> np.ndarray:
    """Reads the forecasts that a tool hands in.

    Args:
        case: the case.
        path: a .npz with one array of four axes, (truth, window, lead, dim), or of three for a
            single truth, or a .npy; of several arrays the one called forecasts. Or a .csv, as
            `forecasts_in_table` reads it.

    Returns:
        The forecasts, (truth, window, lead, dim).

    Raises:
        InputError: for a file that holds something else.
    """
    check_is_file(path, "a .npz with the forecasts")
    if path.suffix not in (".npz", ".npy", ".csv"):
        raise InputError(f"expected forecasts in a .npz, .npy or .csv, got {shown(path)}")
    array = forecasts_in_table(path) if path.suffix == ".csv" else _in_archive(path)
    check_forecasts(case, array.shape, shown(path))
    return array


def _in_archive(path: Path) -> np.ndarray:
    archive = read_archive(path)
    array = archive.named(archive.chosen(None, ("forecasts",), (3, 4))).astype(float)
    return array[None] if array.ndim == 3 else array


def check_forecasts(case: Case, shape: tuple[int, ...], what: str) -> None:
    """Refuses forecasts of another shape than a case asks for.

    Args:
        case: the case.
        shape: of the forecasts.
        what: they are, for the message.

    Raises:
        InputError: with the shape that is expected.
    """
    dim = case.dim or case.truth(0).dim
    fits = len(shape) == 4 and shape[2:] == (case.num_leads, dim)
    if not fits or not 1 <= shape[0] <= case.num_truths or not 1 <= shape[1] <= case.num_windows:
        raise InputError(
            f"case {case.name} expects forecasts of shape (truth, window, lead, dim) = (1 to {case.num_truths}, 1 to "
            f"{case.num_windows}, {case.num_leads}, {dim}), got {shape} in {what}"
        )
