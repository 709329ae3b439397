"""The summary of all experiments: task, best published result, ours. Written from the committed results.

`python -m experiments.summary` brings the tables of README.md and experiments/README.md up to date.
"""

import json
from pathlib import Path
from typing import Any

from experiments.hub.rows import geometric_mean
from experiments.valid_time.rows import committed, is_below

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- summary, made by python -m experiments.summary -->", "<!-- end of the summary -->"
HEADER = "| task | best published | ours | page |\n|---|---|---|---|"
PAGES = {"README.md": "experiments/{}/README.md", "experiments/README.md": "{}/README.md"}
"""Pages that show the summary, and how each links to the page of an experiment."""

Row = tuple[str, str, str, str]
"""Task, best published result, ours, name of the experiment."""


def load(name: str) -> list[dict[str, Any]]:
    """Returns the rows of a committed result.

    Args:
        name: path of the file in experiments/.

    Returns:
        The rows, one dictionary for each.
    """
    rows: list[dict[str, Any]] = json.loads((ROOT / "experiments" / name).read_text())["rows"]
    return rows


def one(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    """Returns the only row that has these values.

    Args:
        rows: rows of a result.
        wanted: a value for each of some columns.

    Returns:
        That row.
    """
    (found,) = (row for row in rows if all(row.get(name) == value for name, value in wanted.items()))
    return found


def lorenz() -> Row:
    """Returns the row of the paper's own pool and of the best trained pool, counted as the paper counts."""
    rows = load("lorenz/results.json")
    additive, several = (one(rows, method=f"{name}_attention", delays=5) for name in ("additive", "multi_head"))
    values = [row["valid_time_as_published"] for row in (additive, several)]
    shown = [f"**{value:.2f}**" if value > additive["published"] else f"{value:.2f}" for value in values]
    return (
        "Lorenz, hidden parameter: attention, valid time",
        f"{additive['published']:.2f}",
        f"{shown[0]}; two heads {shown[1]}",
        "lorenz",
    )


def lorenz_skill() -> Row:
    """Returns the row of the regime forecaster on the paper's protocol."""
    rows = load("lorenz_skill/results.json")
    published = one(rows, case="paper", method="attention")["published"]
    regime = one(rows, case="paper", method="regime")
    ours = f"**{regime['valid_time_median']:.2f}** (whole window)"
    return "the same: regime forecaster", f"{published:.2f}", ours, "lorenz_skill"


def valid_time() -> list[Row]:
    """Returns the row of the default that chooses, on the cases of the benchmark; none before its run."""
    rows = committed()
    cases = list(dict.fromkeys(row["case"] for row in rows))
    good = sum(not is_below(rows, case) for case in cases)
    ours = f"as good as the best in {good} of {len(cases)} cases"
    return [("Valid time, benchmark: `fit_pool`", "", ours, "valid_time")] if rows else []


def assimilation() -> Row:
    """Returns the row of filters in the literature's settings."""
    rows = load("assimilation/results.json")
    names = ("EnKF, finite size, 10 members", "iterative smoother, 10 members")
    found = [one(rows, setting="lorenz63", method=name) for name in names]
    found.append(one(rows, setting="lorenz96", method="LETKF, 7 members"))
    published = ", ".join(f"{row['published']:.2f}" for row in found)
    ours = ", ".join(f"{row['rmse']:.2f}" for row in found)
    return "Assimilation, Lorenz: EnKF, smoother, LETKF: RMSE", f"{published} (DAPPER)", ours, "assimilation"


def hub() -> Row:
    """Returns the row of the adaptive pool beside the best of the paper's pools, run here."""
    rows = [row for row in load("hub/results-deaths.json") if (row["horizon"], row["num_levels"]) == (1, 21)]
    blocked = [row for row in load("hub/results-table1.json") if row["num_levels"] == 21]
    methods = {row["method"] for row in blocked}
    ratios = {method: geometric_mean([row for row in blocked if row["method"] == method]) for method in methods}
    best = min(ratio for ratio in ratios.values() if ratio is not None)
    ours = geometric_mean([row for row in rows if (row["protocol"], row["method"]) == ("rolling", "adaptive")])
    task = "COVID-19 hub, 1 week: WIS / equal-weight mean"
    return task, f"{best:.3f} (rerun)", f"**{ours:.3f}**", "hub"


def admissions() -> Row:
    """Returns the row of the adaptive pool beside the hub's ensemble, from the releases of the day."""
    usual = {"protocol": "rolling", "truth": "releases", "horizon": 0, "num_levels": 23}
    rows = [row for row in load("hub/results-admissions.json") if usual.items() <= row.items()]
    theirs, ours = (
        geometric_mean([row for row in rows if row["method"] == method]) for method in ("CovidHub-ensemble", "adaptive")
    )
    task = "CDC admissions, of the day: the same"
    return task, f"{theirs:.3f} (ensemble)", f"**{ours:.3f}**", "hub"


def enso() -> Row:
    """Returns the row of the adaptive pool of forecasts of El Niño, beside the official probabilities."""
    rows = load("enso/results.json")
    official, ours = one(rows, method="official_iri")["rps_iri"], one(rows, method="adaptive")["rps_iri"]
    return "El Niño: RPS", f"{official:.3f} (IRI)", f"**{ours:.3f}**", "enso"


def chaos_zoo() -> Row:
    """Returns the row of the best forecaster of the 131 systems."""
    rows = load("chaos_zoo/results.json")
    published = one(rows, method="NBEATSModel")["published"]
    ours = one(rows, method="kernel_ridge")["smape_median"]
    return "131 chaotic systems: median sMAPE", f"{published:.1f} (N-BEATS)", f"**{ours:.1f}**", "chaos_zoo"


def influenza(name: str, about: str) -> list[Row]:
    """Returns the rows of one influenza data set, in bold what is below the published errors.

    Published models learn from the training part alone, so the published errors stand beside ours before the refit.

    Args:
        name: the data set.
        about: what it is of.

    Returns:
        One row for models that learn from the training part, one for models that are refitted.
    """
    results, method = load(f"regions/results-{name}.json"), "kernels_both_ways_and_networks"
    published = [one(results, method="EpiGNN", horizon=lead)["published"] for lead in (3, 5, 10, 15)]
    theirs = f"{', '.join(f'{error:.0f}' for error in published)} (EpiGNN)"
    found = []
    for task, best, which in (
        (f"Flu, {about}: RMSE", theirs, method),
        ("the same, refitted", "", f"{method}_refitted"),
    ):
        ours = [one(results, method=which, horizon=lead)["rmse"] for lead in (3, 5, 10, 15)]
        numbers = ", ".join(f"{error:.0f}" for error in ours)
        is_below = all(error < other for error, other in zip(ours, published, strict=True))
        found.append((task, best, f"**{numbers}**" if is_below else numbers, "regions"))
    return found


def traffic() -> Row:
    """Returns the row of speeds, 15 minutes."""
    rows = load("traffic/results.json")
    theirs, mine = one(rows, method="T-GCN", horizon=3), one(rows, method="average", horizon=3)
    published = f"{theirs['published']:.3f}, {theirs['published_mae']:.3f} (T-GCN)"
    return (
        "Traffic speed, 15 minutes: RMSE, MAE",
        published,
        f"**{mine['rmse']:.3f}, {mine['mae']:.3f}**",
        "traffic",
    )


def graphs() -> Row:
    """Returns the row of charging piles."""
    rows = load("graphs/results.json")
    ours, best = (one(rows, data="ev_beijing", method=name) for name in ("seasonal ridge and networks", "STMeta"))
    published = f"{best['published']['rmse_positive']:.3f} (STMeta)"
    return "Charging piles, next hour: RMSE where truth > 0", published, f"**{ours['rmse_positive']:.3f}**", "graphs"


def trips() -> Row:
    """Returns the row of trips between prefectures."""
    rows = load("od/results-japan_od.json")
    ours, theirs = one(rows, method="flows")["rmse"], one(rows, method="GEML (published)")["published"]
    return "Trips between prefectures, 7 days: RMSE", f"{theirs:.3f} (GEML)", f"**{ours:.3f}**", "od"


def probabilistic() -> Row:
    """Returns the row of the M4 competition's hourly series."""
    rows = load("probabilistic/results-m4_hourly.json")
    published = next(row["published"] for row in rows if row["method"] == "DeepAR")
    ours = one(rows, method="deepar_ensemble")["wql"]
    return "M4 hourly, 48 hours: wQL", f"{published:.4f} (DeepAR)", f"**{ours:.4f}**", "probabilistic"


def neuro() -> Row:
    """Returns the row of autism in ABIDE, by the method whose settings inner folds choose."""
    rows = load("neuro/results-classification.json")
    published = [row for row in rows if row["published"] is not None]
    best = max(float(row["published"]) for row in published)
    ours = one(rows, method="ridge, all features, chosen by inner folds", data="abide_cc200, autism")["accuracy"]
    return (
        "ABIDE, autism: accuracy",
        f"{best:.3f} (transformer)",
        f"{ours:.3f} (ridge)",
        "neuro",
    )


def sentiment() -> Row:
    """Returns the row of the questions of TREC."""
    rows = load("sentiment/results-trec.json")
    best = max(float(row["published"]) for row in rows if row["published"] is not None)
    ours = one(rows, method="average chosen on validation")["accuracy"]
    return "TREC questions: accuracy", f"{best:.3f} (CNN)", f"**{ours:.3f}**", "sentiment"


def language() -> Row:
    """Returns the row of the language model, one model alone."""
    rows = load("language/results.json")
    published = one(rows, method="nanoGPT, 6 layers of 384, context 256")["published"]
    ours = one(rows, method="LSTM, 1 of 512")["loss"]
    return "Tiny Shakespeare: nats per character", f"{published:.3f} (nanoGPT)", f"**{ours:.3f}**", "language"


def rows() -> list[Row]:
    """Returns all rows, in the order of the pages."""
    flu = [*influenza("us_regions", "10 regions"), *influenza("states", "49 states")]
    return [
        lorenz(),
        lorenz_skill(),
        *valid_time(),
        hub(),
        admissions(),
        enso(),
        chaos_zoo(),
        *flu,
        traffic(),
        graphs(),
        trips(),
        probabilistic(),
        neuro(),
        sentiment(),
        language(),
    ]


def table(link: str) -> str:
    """Returns the summary as a table of Markdown, and the addresses of its links.

    Args:
        link: path of an experiment's page, with {} for its name.

    Returns:
        The table, header first.
    """
    lines = [f"| {task} | {best} | {ours} | [{name}] |" for task, best, ours, name in rows()]
    names = dict.fromkeys(name for *_, name in rows())
    return "\n".join([HEADER, *lines, "", *(f"[{name}]: {link.format(name)}" for name in names)])


def main() -> None:
    """Replaces what stands between the marks of each page."""
    for page, link in PAGES.items():
        text = (ROOT / page).read_text()
        new = f"{BEGIN}\n\n{table(link)}\n\n{END}"
        before, _, rest = text.partition(BEGIN)
        (ROOT / page).write_text(before + new + rest.partition(END)[2])


if __name__ == "__main__":
    main()
