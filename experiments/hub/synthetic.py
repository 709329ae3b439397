"""A small synthetic hub, for the smoke preset of `experiments.hub` and for tests."""

import itertools
from pathlib import Path

import numpy as np

from experiments.hub.setup import Tables


def write_synthetic_hub(folder: Path, *, seed: int = 0, num_weeks: int = 20, num_locations: int = 4) -> Tables:
    """Writes a hub of five models with different skills and gaps, as .csv tables of horizon 1.

    The newest value of each release is a tenth too low, and is corrected in the next.

    Args:
        folder: Folder of the tables.
        seed: Random seed.
        num_weeks: Number of weeks.
        num_locations: Number of locations.

    Returns:
        The tables of forecasts, target data and releases.
    """
    rng = np.random.default_rng(seed)
    levels = np.asarray([0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975])
    normal = np.asarray([-1.96, -1.28, -0.67, 0.0, 0.67, 1.28, 1.96])
    dates = np.datetime64("2021-01-02") + 7 * np.arange(num_weeks)
    places = [f"{number:02d}" for number in range(1, num_locations + 1)]
    size = 20.0 * 3.0 ** np.arange(num_locations)[:, None]
    truth = size * (1.2 + np.sin(np.arange(num_weeks) / 4)) * rng.lognormal(0, 0.1, (num_locations, num_weeks))
    lines = ["model,location,target_end_date,horizon,quantile,value"]
    models = {"baseline": 0.6, "sharp": 0.1, "fair": 0.2, "wide": 0.3, "poor": 0.5}
    for model, error in models.items():
        centre = truth * rng.lognormal(0, error, truth.shape)
        for (i, place), (t, date) in itertools.product(enumerate(places), enumerate(dates)):
            if model != "baseline" and rng.random() < 0.1:
                continue
            values = np.maximum(centre[i, t] * (1 + 0.2 * normal), 0)
            lines += [
                f"{model},{place},{date},1,{level:g},{value:.3f}" for level, value in zip(levels, values, strict=True)
            ]
    folder.mkdir(parents=True, exist_ok=True)
    forecasts, truths = folder / "forecasts.csv", folder / "truth.csv"
    forecasts.write_text("\n".join(lines) + "\n")
    rows = [f"{place},{date},{truth[i, t]:.3f}" for i, place in enumerate(places) for t, date in enumerate(dates)]
    truths.write_text("\n".join(["location,date,value", *rows]) + "\n")
    releases = [
        f"{dates[t] + 1},{place},{dates[s]},{truth[i, s] * (0.9 if s == t else 1):.3f}"
        for t in range(num_weeks)
        for i, place in enumerate(places)
        for s in range(t + 1)
    ]
    vintages = folder / "vintages.csv"
    vintages.write_text("\n".join(["as_of,location,date,value", *releases]) + "\n")
    return Tables(forecasts, truths, vintages)
