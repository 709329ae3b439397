"""Printed lines and pictures of the commands of a forecast hub."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcast.cli.command import make_console
from jaxcast.cli.figures import figure_of
from jaxcast.errors import InputError, counted
from jaxcast.hub.arrays import Hub
from jaxcast.hub.revisions import summarise_revisions
from jaxcast.io.files import save_figure
from jaxcast.numerics.levels import middle_of

FINAL_TRUTH = "final truth: as the table has it now, revisions are not replayed"


def truth_note(hub: Hub, *, is_pooled: bool = False) -> str:
    """Says which target data were used to score, and by a pool.

    Args:
        hub: The hub.
        is_pooled: Whether a pool was scored.
    """
    if hub.as_of is None:
        return FINAL_TRUTH
    pooled = "; each date was pooled only from what its round could know" if is_pooled else ""
    return f"truth of the newest release, {hub.as_of[-1]}, of {len(hub.as_of)} since {hub.as_of[0]}{pooled}"


def say_about_truth(hubs: Sequence[Hub]) -> None:
    """Prints how the target data were revised, and what has no target yet.

    Args:
        hubs: The hub at each horizon.
    """
    if hubs[0].as_of is not None:
        say(*str(summarise_revisions(hubs[0])).split(": ", 1))
    if lines := [line for hub in hubs if (line := pending_note(hub))]:
        say(*lines)


def newest_truth(hub: Hub, *, hint: str = "") -> str:
    """Says what the newest forecasts were made from, and whether that is older than it may be.

    Args:
        hub: The hub.
        hint: The option that says otherwise, in brackets.
    """
    expected = hub.dates[-1] - hub.steps_ahead * hub.step
    known = np.flatnonzero(np.isfinite(hub.observed[:, -1]).any(0))
    if not len(known):
        return f"made without any truth from the {hub.observed.shape[-1]} dates up to {expected}"
    counted_from = f"if horizons count from {hub.first_horizon}{hint}"
    late = f", though it could be of {expected} {counted_from}" if known[0] else ""
    of = "" if hub.as_of is None or hub.release_of is None else f" as of {hub.as_of[hub.release_of[-1]]}"
    return f"made from truth up to {expected - known[0] * hub.step}{of}{late}"


def horizons_in_words(horizons: Sequence[int]) -> str:
    """Returns horizons in words, such as "horizons 0, 1".

    Args:
        horizons: The horizons.
    """
    return f"horizon{'s' * (len(horizons) > 1)} {', '.join(map(str, horizons))}"


def pending_note(hub: Hub) -> str:
    """Says how many forecasts have no target yet; nothing where none is pending.

    Args:
        hub: The hub.
    """
    if not hub.pending.any():
        return ""
    dates = hub.dates[hub.pending.any(0)]
    to = f" to {dates[-1]}" if len(dates) > 1 else ""
    return (
        f"pending at horizon {hub.horizon}: {counted(int(hub.pending.sum()), 'task')} without truth yet, {dates[0]}{to}"
    )


def say(*lines: str) -> None:
    """Prints lines as they are: names in them are neither markup nor emoji.

    Args:
        lines: The lines.
    """
    make_console().print("\n".join(lines), highlight=False, markup=False, emoji=False, soft_wrap=True)


def over_horizons(hubs: Sequence[Hub]) -> str:
    """Returns the horizons that a picture shows together, in words.

    Args:
        hubs: The hub at each horizon.
    """
    horizons = horizons_in_words([hub.horizon for hub in hubs])
    return f"over the {horizons} together" if len(hubs) > 1 else f"at {horizons}"


def draw_submissions(path: Path, hubs: Sequence[Hub]) -> None:
    """Draws who submitted when, where matplotlib is installed.

    Args:
        path: Name of the picture.
        hubs: The hub at each horizon.
    """
    from jaxcast.plotting.quantiles import plot_submissions

    models = list(dict.fromkeys(name for hub in hubs for name in hub.models))
    try:
        figure = figure_of(height=0.9 + 0.32 * len(models))
    except InputError:
        return
    dates = np.unique(np.concatenate([hub.reference_dates for hub in hubs]))
    share = np.zeros((len(dates), len(models)))
    for hub in hubs:
        times = np.searchsorted(dates, hub.reference_dates)
        columns = np.asarray([models.index(name) for name in hub.models])
        share[times[:, None], columns] += hub.present.mean(0) / len(hubs)
    what = "locations and horizons" if len(hubs) > 1 else "locations"
    horizons = ", ".join(str(hub.horizon) for hub in hubs)
    ax = plot_submissions(figure.subplots(), dates, models, share, label=f"share of {what}")
    ax.set(
        title=f"Share of {what}{f' ({horizons})' if len(hubs) > 1 else ''} forecast by each model",
        xlabel="reference date",
    )
    save_figure(path, figure)


def draw_weights(path: Path, hub: Hub, weights: np.ndarray) -> None:
    """Draws the weights of the adaptive pool over time, where matplotlib is installed.

    Args:
        path: Name of the picture.
        hub: The hub.
        weights: Weight of each model (location, time, model).
    """
    from jaxcast.plotting.quantiles import plot_model_weights

    try:
        figure = figure_of()
    except InputError:
        return
    sums, num_pooled = weights.sum(0), (weights.sum(-1) > 0).sum(0)
    mean = sums / np.maximum(num_pooled, 1)[:, None]  # over the locations that have a pool
    ax = plot_model_weights(figure.subplots(), hub.dates, mean, hub.models)
    ax.set(title="Weights of the adaptive pool, mean over locations, learned from earlier dates", xlabel="target date")
    save_figure(path, figure)


def draw_fan(path: Path, newest: dict[int, np.ndarray], hub: Hub, reference: np.datetime64) -> None:
    """Draws the forecast of the location with the largest median.

    Args:
        path: Name of the picture.
        newest: Quantiles of every location by horizon.
        hub: The hub.
        reference: Reference date of the round.
    """
    from jaxcast.plotting.quantiles import plot_fan
    from jaxcast.plotting.trajectories import HISTORY, label_of

    middle = middle_of(hub.levels.tolist())
    horizons = sorted(newest)
    place = int(np.nan_to_num(newest[horizons[0]][:, middle], nan=-np.inf).argmax())
    dates = np.asarray([hub.target_date(reference, horizon) for horizon in horizons])
    figure = figure_of()
    ax = figure.subplots()
    values = np.stack([newest[horizon][place] for horizon in horizons])
    history = hub.known_truth()[place]
    is_history = np.isfinite(history)
    # A round that is replayed has truth after the newest that it was made from.
    is_later = np.arange(len(hub.dates)) >= len(hub.dates) - hub.steps_ahead
    later = is_later & np.isfinite(hub.truth[place]) & (hub.dates <= dates[-1])
    seen = (hub.dates[is_history][-20:], history[is_history][-20:])
    truth = (hub.dates[later], hub.truth[place, later]) if later.any() else None
    if len(horizons) == 1:  # a fan needs a width: it opens from what was seen last, if anything was
        start = (seen[0][-1], np.full_like(values, seen[1][-1])) if len(seen[0]) else (reference, values)
        dates, values = np.append(start[0], dates), np.concatenate([start[1], values])
    ax.plot(*seen, color=HISTORY, lw=1.1, marker=".", ms=4, label="history")
    plot_fan(ax, dates, values, hub.levels, truth=truth)
    count = len(hub.locations)
    chosen = f", the largest of {count}" if count > 1 else ""
    ax.set_title(f"Forecast from {reference} for location {label_of(hub.locations[place])}{chosen}")
    ax.set(xlabel="date", ylabel=label_of(hub.target or "value"))
    save_figure(path, figure)
