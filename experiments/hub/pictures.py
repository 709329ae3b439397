"""The pictures of `experiments.hub`."""

import dataclasses

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import jaxcast
from experiments.hub.data_sets import LABELS
from experiments.hub.setup import Config, Window
from jaxcast import plotting

matplotlib.use("Agg")


def draw(
    hub: jaxcast.hub.Hub,
    forecasts: dict[str, np.ndarray],
    weights: np.ndarray,
    windows: list[Window],
    config: Config,
    names: dict[str, str],
    *,
    best: str,
    equal: str,
) -> dict[str, Figure]:
    """Draws all pictures of one horizon.

    Args:
        hub: The hub.
        forecasts: Forecasts by method.
        weights: Weights of the adaptive pool.
        windows: The scored windows.
        config: Settings.
        names: Names of the locations.
        best: Method to show.
        equal: Method to compare it with.

    Returns:
        Figures by name of the file.
    """
    total = np.nansum(hub.truth, 1)
    place = hub.locations.index(config.shown_location) if config.shown_location else int(total.argmax())
    hub = dataclasses.replace(
        hub,
        locations=tuple(names.get(name, name) for name in hub.locations),
        target=hub.target or config.counted,
    )
    spans = [(window.first, window.last) for window in windows]
    compared = [equal, best, *((config.ensemble,) if config.ensemble else ())]
    drawn = {
        "submissions": submissions(hub),
        "scores_by_week": scores_by_week(hub, {name: forecasts[name] for name in compared}, place, spans),
        "relative_wis": relative(hub, forecasts, best, equal),
        "weights": model_weights(hub, weights, place),
        "coverage": coverage(hub, forecasts, spans, best),
        "fan": fan(hub, forecasts[best], place, spans[0]),
    }
    return drawn if hub.releases is None else drawn | {"revisions": revisions(hub, place)}


NAMES = tuple(
    f"{name}.png"
    for name in ("submissions", "scores_by_week", "relative_wis", "weights", "coverage", "fan", "revisions")
)


def revisions(hub: jaxcast.hub.Hub, place: int) -> Figure:
    """Draws the target data as first released and as known now, over all locations and in one.

    Args:
        hub: The hub, with releases.
        place: Index of the location.
    """
    assert hub.releases is not None
    releases = hub.releases.copy()
    # A sum over locations is of those that have a value, so only whole releases can be compared.
    whole = np.isfinite(releases).mean(1) > 0.9
    totals = np.where(whole, np.nansum(releases, 1), np.nan)
    figure = Figure(figsize=(10, 6), layout="constrained")
    over_all, in_one = figure.subplots(2, 1, sharex=True)
    plotting.plot_revisions(over_all, hub.dates, totals).set_ylabel(f"{hub.target}, all locations")
    plotting.plot_revisions(in_one, hub.dates, releases[:, place]).set_ylabel(f"{hub.target}, {hub.locations[place]}")
    over_all.set_xlabel("")
    figure.suptitle("What was known when a week was first reported, and what is known now")
    return figure


def submissions(hub: jaxcast.hub.Hub) -> Figure:
    """Draws who submitted when.

    Args:
        hub: The hub.
    """
    figure = Figure(figsize=(10, 0.9 + 0.32 * len(hub.models)), layout="constrained")
    ax = plotting.plot_submissions(figure.subplots(), hub.dates, hub.models, hub.present.mean(0))
    ax.set_title("Share of locations forecast by each model; gaps are masked, not filled")
    return figure


def scores_by_week(
    hub: jaxcast.hub.Hub, forecasts: dict[str, np.ndarray], place: int, spans: list[tuple[str, str]]
) -> Figure:
    """Draws scores by week, over all locations and in one.

    Args:
        hub: The hub.
        forecasts: Forecasts to compare, by method.
        place: Index of the location.
        spans: First and last dates of the windows.
    """
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    over_all, in_one = figure.subplots(2, 1, sharex=True)
    scores = {name: np.asarray(_wis(forecast, hub)) for name, forecast in forecasts.items()}
    for ax, index, truth in ((over_all, slice(None), "all locations"), (in_one, slice(place, place + 1), None)):
        plotting.plot_scores_by_week(
            ax,
            hub.dates,
            {LABELS.get(name, name): _mean_of_present(values[index]) for name, values in scores.items()},
            np.nansum(np.maximum(hub.truth[index], 0), 0),
            windows=spans,
            truth_label=f"{hub.target}, {truth or hub.locations[place]}",
        )
    figure.suptitle(
        f"WIS by week, mean over all locations and in {hub.locations[place]}; grey: observed; shaded: scored windows"
    )
    return figure


def relative(hub: jaxcast.hub.Hub, forecasts: dict[str, np.ndarray], best: str, equal: str) -> Figure:
    """Draws candidates and pools relative to the equally weighted mean, on the tasks that both have.

    Args:
        hub: The hub.
        forecasts: Forecasts by method.
        best: Method to show.
        equal: The equally weighted mean.
    """
    base = _wis(forecasts[equal], hub)
    candidates = {name: hub.quantiles[:, :, i] for i, name in enumerate(hub.models)}
    shown = candidates | {LABELS[name]: forecasts[name] for name in (best, "equal_median")}
    ratios = []
    for forecast in shown.values():
        scores = _wis(forecast, hub)
        both = ~np.isnan(scores) & ~np.isnan(base)
        sums = [np.where(both, a, 0).sum(1) for a in (scores, base)]
        ratios.append(sums[0] / np.where(sums[1] > 0, sums[1], np.nan))
    figure = Figure(figsize=(11, 1.4 + 0.32 * len(shown)), layout="constrained")
    ax = plotting.plot_relative_scores(
        figure.subplots(), np.asarray(ratios), list(shown), hub.locations, label="WIS / equal-weight mean"
    )
    ax.set_title(
        "WIS of each model and pool relative to the equal-weight mean, common weeks only (blue: better, red: worse)"
    )
    ax.set_xlabel("location")
    return figure


def model_weights(hub: jaxcast.hub.Hub, weights: np.ndarray, place: int) -> Figure:
    """Draws the weights of the adaptive pool, over all locations and in one.

    Args:
        hub: The hub.
        weights: The weights.
        place: Index of the location.
    """
    # Over the locations that have a pool.
    mean = weights.sum(0) / np.maximum((weights.sum(-1) > 0).sum(0), 1)[:, None]
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    for ax, values, name in zip(
        figure.subplots(2, 1, sharex=True),
        (mean, weights[place]),
        ("mean over all locations", hub.locations[place]),
        strict=True,
    ):
        plotting.plot_model_weights(ax, hub.dates, values, hub.models)
        ax.set_title(name, fontsize=10)
    ax.get_legend().remove()  # of the second, which is the first's
    figure.suptitle("Weights of the adaptive pool, learned from earlier weeks; absent models have weight zero")
    return figure


def coverage(hub: jaxcast.hub.Hub, forecasts: dict[str, np.ndarray], spans: list[tuple[str, str]], best: str) -> Figure:
    """Draws the coverage of central intervals.

    Args:
        hub: The hub.
        forecasts: Forecasts by method.
        spans: First and last dates of the windows.
        best: Method to show.
    """
    weeks = np.any([hub.weeks(*span) for span in spans], 0)
    lower = hub.levels[hub.levels < 0.5 - 1e-6]
    nominal = [float(1 - 2 * level) for level in lower][::-1]
    curves = {}
    for name in ("equal_mean", best, "equal_median", "linear_opinion_pool"):
        covered = [
            np.nanmean(
                np.asarray(
                    jaxcast.scores.interval_coverage(
                        forecasts[name][:, weeks], hub.truth[:, weeks], hub.levels, nominal=each
                    )
                )
            )
            for each in nominal
        ]
        curves[LABELS[name]] = [float(share) for share in covered]
    figure = Figure(figsize=(5.4, 5.4), layout="constrained")
    ax = plotting.plot_coverage(figure.subplots(), nominal, curves)
    ax.set_title("Coverage of central intervals, all windows", fontsize=11)
    return figure


def fan(hub: jaxcast.hub.Hub, forecast: np.ndarray, place: int, span: tuple[str, str]) -> Figure:
    """Draws every forecast in one window, each made `horizon` steps before.

    Args:
        hub: The hub.
        forecast: Forecasts of the method.
        place: Index of the location.
        span: First and last date.
    """
    weeks = hub.weeks(*span)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    ax = plotting.plot_fan(
        figure.subplots(),
        hub.dates[weeks],
        forecast[place, weeks],
        hub.levels,
        truth=(hub.dates[weeks], hub.truth[place, weeks]),
    )
    steps = f"{hub.steps_ahead} step{'s' if hub.steps_ahead > 1 else ''} ahead"
    ax.set_title(f"Forecasts of the adaptive pool for {hub.locations[place]}, {steps}, and observed values")
    ax.set(ylim=(0, None), xlabel="date", ylabel=hub.target)
    return figure


def _mean_of_present(values: np.ndarray) -> np.ndarray:
    """Averages over the first axis; NaN where there is nothing."""
    count = (~np.isnan(values)).sum(0)
    return np.where(count > 0, np.nansum(values, 0) / np.maximum(count, 1), np.nan)


def _wis(forecast: np.ndarray, hub: jaxcast.hub.Hub) -> np.ndarray:
    return np.asarray(jaxcast.scores.weighted_interval_score(forecast, hub.truth, hub.levels).wis)
