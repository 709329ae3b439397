"""Scores, both forms of a forecast, and where its errors sit."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from rich import box
from rich.table import Table

import jaxcast
from experiments.od.data import Setup
from experiments.rows import finite_or_none

FORMS = ("mean", "median")
SCORES = ("rmse", "rmse_positive", "mae", "wmape", "cpc")
NUM_GROUPS, NUM_BINS, LEAST_BIN, LEAST_GROUP = 8, 200, 100, 1000
LEAST_WINDOWS = 4
"""Test windows from which on methods are compared."""
JAPAN = {
    "GEML": (0.400797, 0.280601),
    "CSTN": (0.400962, 0.285691),
    "Graph WaveNet": (0.404033, 0.288651),
    "PCRN": (0.404425, 0.286370),
    "ST-ResNet": (0.406007, 0.282158),
    "STGCN": (0.406963, 0.290972),
    "historical average": (0.437566, 0.299988),
    "copy last week": (0.512812, 0.319053),
}
PUBLISHED = {"japan_od": JAPAN}
"""RMSE and MAE by method, as in the SOURCE.md of the data."""
LABELS = {
    "lasso": "LASSO",
    "st_resnet": "ST-ResNet",
    "stgcn": "STGCN",
    "cstn": "CSTN",
    "mrstn": "MRSTN",
    "geml": "GEML",
    "od_ced": "OD-CED",
}
"""Names of methods as tables and pictures write them, where they are not words."""


def label_of(method: str) -> str:
    """Returns the name of a method as a reader knows it.

    Args:
        method: as --methods and results.json name it, perhaps with its form.
    """
    name, comma, form = method.partition(", ")
    return LABELS.get(name, name.replace("_", " ")) + comma + form


def both_forms(setup: Setup, valid: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a forecast of the test part as it is, a mean, and as a median.

    The median of a pair is read off the validation part: pairs of about one size are a group, the
    forecasts of a group are cut into bins of equal numbers, and the median of the truth in a bin,
    which may not fall from bin to bin, is the forecast there. Between bins it is interpolated.

    A group of fewer known values than LEAST_GROUP joins that of the next smaller pairs. Pairs of
    which no value is known, even so, keep the mean.

    Args:
        setup: the data.
        valid: forecasts of the validation part.
        test: forecasts of the test part.
    """
    order = np.argsort(setup.levels, kind="stable")
    share = np.cumsum(np.sqrt(setup.levels[order]))
    groups = np.empty(len(order), int)
    groups[order] = np.minimum(NUM_GROUPS * share / max(share[-1], 1e-9), NUM_GROUPS - 1)
    num_known = np.isfinite(setup.truths["valid"]).sum((0, 1))
    for group in range(NUM_GROUPS - 1, 0, -1):  # few values have no medians: they join the next smaller pairs
        if num_known[own := groups == group].sum() < LEAST_GROUP:
            groups[own] = group - 1
    median = test.copy()
    for group in np.unique(groups[num_known > 0]):
        own = groups == group
        median[:, :, own] = _median_of(valid[:, :, own], setup.truths["valid"][:, :, own])(test[:, :, own])
    return {"mean": test, "median": median}


def _median_of(forecast: np.ndarray, truth: np.ndarray) -> Any:
    known = np.isfinite(truth).ravel()
    forecast, truth = forecast.ravel()[known], truth.ravel()[known]
    order = np.argsort(forecast, kind="stable")
    bins = np.array_split(order, min(max(len(order) // LEAST_BIN, 1), NUM_BINS))
    centres = np.asarray([forecast[own].mean(dtype=float) for own in bins])
    medians = np.maximum.accumulate([np.median(truth[own]) for own in bins])
    # Beyond the last bin forecasts grow on, as far above its median as above its mean.
    return lambda values: np.interp(values, centres, medians) + np.maximum(values - centres[-1], 0)


def scored(setup: Setup, test: np.ndarray) -> dict[str, Any]:
    """Scores a forecast of the test part.

    Args:
        setup: the data.
        test: the forecast, (window, lead, pair).

    Returns:
        The scores over all leads, RMSE and MAE of each lead, and the squared error of each window.
    """
    truth = setup.truths["test"]
    found = jaxcast.scores.flow_scores(test, truth)
    squares = (test - truth) ** 2
    by_lead = {"rmse": np.sqrt(known_mean(squares, (0, 2))), "mae": known_mean(abs(test - truth), (0, 2))}
    scores = {name: np.asarray(getattr(found, name)) for name in SCORES}
    return (
        scores
        | {f"{name}_by_lead": values for name, values in by_lead.items()}
        | {"squares": known_mean(squares, (1, 2))}
    )


def known_mean(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Returns the mean of the values that are known, NaN where none is, without a warning.

    Args:
        values: NaN where unknown.
        axes: to average over.
    """
    known = np.isfinite(values)
    count = known.sum(axes)
    return np.asarray(np.where(count > 0, np.where(known, values, 0).sum(axes) / np.maximum(count, 1), np.nan))


def make_row(method: str, form: str, setup: Setup, each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Makes a row of the medians over seeds.

    Args:
        method: its name.
        form: "mean" or "median".
        setup: the data.
        each: the scores of each seed.
    """
    row: dict[str, Any] = {
        "method": method if form == "mean" else f"{method}, median",
        "data": setup.name,
        "lead": max(setup.protocol.leads),
        "num_seeds": len(each),
    }
    row |= {name: finite_or_none(np.median([scores[name] for scores in each])) for name in SCORES}
    row |= {"published": None, "rmse_per_seed": [finite_or_none(scores["rmse"]) for scores in each]}
    if len(setup.protocol.leads) > 1:
        row |= {
            name: [finite_or_none(error) for error in np.median([scores[name] for scores in each], 0)]
            for name in ("rmse_by_lead", "mae_by_lead")
        }
    return row


def published_rows(setup: Setup) -> list[dict[str, Any]]:
    """Makes the rows of methods of which only the published errors are known."""
    empty = {"num_seeds": 0, **dict.fromkeys(SCORES)}
    about = {"data": setup.name, "lead": max(setup.protocol.leads)}
    return [
        {"method": f"{method} (published)", **about, **empty, "published": rmse, "published_mae": mae}
        for method, (rmse, mae) in PUBLISHED.get(setup.name, {}).items()
    ]


def against(setup: Setup, squares: np.ndarray, other: np.ndarray, name: str) -> dict[str, Any] | None:
    """Compares the RMSE of two methods by a paired bootstrap over blocks of days.

    Args:
        setup: the data.
        squares: squared errors of the one, by window.
        other: of the other.
        name: of the other.

    Returns:
        The ratio with its interval; None where there are few windows, or the other has no errors.
    """
    num_windows = int(np.isfinite(squares).sum())
    if num_windows < LEAST_WINDOWS or not np.nansum(other) > 0:
        return None
    size = min(setup.protocol.block_days * setup.protocol.slots_per_day, num_windows // 3)
    found = jaxcast.scores.block_bootstrap(
        squares[:, None], other[:, None], key=jax.random.key(0), block_size=size, root_mean=True, num_resamples=2000
    )
    numbers = {"ratio": found.ratio, "low": found.low, "high": found.high, "p": found.p_value}
    return {"against": name} | {key: finite_or_none(value) for key, value in numbers.items()}


def where_errors_sit(setup: Setup, test: Float[np.ndarray, "window lead pair"]) -> dict[str, Any]:
    """Returns pairs, hours and days with the largest shares of the squared error.

    Args:
        setup: the data.
        test: a forecast of the test part.
    """
    squares = np.nan_to_num((test - setup.truths["test"]) ** 2)
    rows = setup.target_rows("test")
    day = setup.protocol.slots_per_day
    total = squares.sum() or 1.0  # a forecast without any error
    by_pair, by_row = squares.sum((0, 1)) / total, squares.sum(2) / total
    names = [f"{one} to {other}" for one in setup.zones for other in setup.zones]
    busy = np.argsort(-setup.levels)[: max(len(names) // 100, 1)]
    parts = {
        "pairs": {names[k]: by_pair[k] for k in np.argsort(-by_pair)[:5]},
        "busiest pairs, 1 %": {"share": by_pair[busy].sum()},
        "days": _largest((rows - setup.rows("test")[0]) // day, by_row),
    }
    if day > 1:
        parts["hours"] = _largest(rows % day * 24 // day, by_row)
    return {part: {name: round(float(share), 4) for name, share in found.items()} for part, found in parts.items()}


def _largest(kind: np.ndarray, shares: np.ndarray) -> dict[str, float]:
    sums = np.bincount(kind.ravel(), shares.ravel())
    return {str(k): sums[k] for k in np.argsort(-sums)[:6]}


def table(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Shows the rows of a run.

    Args:
        rows: of results.json.
        title: of the table.
    """
    result = Table(title=title, box=box.SIMPLE, caption="medians over seeds; published as in the data's SOURCE.md")
    result.add_column("method", no_wrap=True)
    for name in ("RMSE", "RMSE > 0", "MAE", "wMAPE", "CPC"):
        result.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells = ["" if row[name] is None else f"{row[name]:.4f}" for name in SCORES]
        if row["published"] is not None:
            cells = [f"{row['published']:.4f}", "", f"{row['published_mae']:.4f}", "", ""]
        result.add_row(label_of(row["method"]), *cells)
    return result
