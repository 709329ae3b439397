"""Pictures of the experiment: errors beside published ones, and valid times."""

from typing import Any

import matplotlib
from matplotlib.figure import Figure

from experiments.assimilation.settings import SETTINGS

matplotlib.use("Agg")
NAMES = ("errors.png", "valid_times.png")


def draw(rows: list[dict[str, Any]]) -> dict[str, Figure]:
    """Draws the pictures of the parts that were run, each by its name."""
    found = {}
    if any(row["part"] == "filters" for row in rows):
        found[NAMES[0]] = _errors([row for row in rows if row["part"] == "filters"])
    if any(row["part"] == "pools" for row in rows):
        found[NAMES[1]] = _valid_times([row for row in rows if row["part"] == "pools"])
    return found


def _errors(rows: list[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, (name, setting) in zip(axes, SETTINGS.items(), strict=True):
        own = [row for row in rows if row["setting"] == name][::-1]
        places = range(len(own))
        axis.barh(places, [row["rmse"] for row in own], color="tab:blue", label="here")
        published = [(place, row["published"]) for place, row in zip(places, own, strict=True) if row["published"]]
        axis.plot([value for _, value in published], [place for place, _ in published], "k|", ms=12, label="published")
        axis.set_yticks(places, [row["method"] for row in own], fontsize=7)
        axis.set_xscale("log")
        axis.set_xticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
        axis.minorticks_off()
        axis.set_xlim(0.15, 10)
        axis.set_xlabel("RMSE of the analysis")
        axis.set_title(setting.title)
    axes[0].legend()
    return figure


def _valid_times(rows: list[dict[str, Any]]) -> Figure:
    cases = list(dict.fromkeys(row["case"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    width = 0.8 / len(methods)
    for number, method in enumerate(methods):
        own = [next(row for row in rows if (row["case"], row["method"]) == (case, method)) for case in cases]
        places = [place + number * width for place in range(len(cases))]
        axis.bar(places, [row["valid_time"] for row in own], width, label=method)
    axis.set_xticks(
        [place + 0.4 - width / 2 for place in range(len(cases))], [case.replace("_", " ") for case in cases]
    )
    axis.set_ylabel("valid time, median")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
    return figure
