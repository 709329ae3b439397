"""Tables of results, read from the committed JSON when the site is built."""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from sources import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.table import accelerators
from experiments import summary
from experiments.assimilation import page as assimilation_page
from experiments.assimilation.settings import SETTINGS as ASSIMILATION
from experiments.causal import page as causal_page
from experiments.enso import page as enso_page
from experiments.graphs import page as graphs_page
from experiments.hub.data_sets import LABELS
from experiments.hub.rows import geometric_mean, pooled_coverage
from experiments.lorenz.methods import label_of
from experiments.lorenz_skill.cases import CASES
from experiments.lorenz_skill.results import reported, shown_share
from experiments.neuro import page as neuro_page
from experiments.od import page as od_page
from experiments.probabilistic import page as probabilistic_page
from experiments.sentiment import page as sentiment_page
from experiments.valid_time import page as valid_time_page

LEADS = {"regions": (3, 5, 10, 15), "traffic": (3, 6, 9, 12)}


def with_tables(markdown: str) -> str:
    """Returns a page with each `<!-- table: NAME -->` replaced by that table."""
    return re.sub(r"<!-- table: (\w+) -->", lambda found: TABLES[found[1]](), markdown)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table; numbers are aligned to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, form: str) -> str:
    """Returns a number, or nothing where there is none."""
    return "" if value is None else format(value, form)


def lorenz() -> str:
    rows = summary.load("lorenz/results.json")
    shown = [row for row in rows if row["delays"] in (None, 5) or row["method"] == "additive_attention"]
    with_counted = all("valid_time_as_published" in row for row in rows)
    header = ["method", "published", *["as published"] * with_counted, "ours", "95 % interval"]
    return markdown(
        header,
        (
            [
                label_of(row["method"], row["delays"]),
                number(row["published"], ".2f"),
                *[number(row.get("valid_time_as_published"), ".2f")] * with_counted,
                number(row["valid_time_median"], ".2f"),
                "{:.2f} to {:.2f}".format(*row["valid_time_ci95"]),
            ]
            for row in shown
        ),
    )


def lorenz_skill() -> str:
    rows = {(row["case"], row["method"]): row for row in summary.load("lorenz_skill/results.json")}

    def line(case: str) -> list[str]:
        attention, regime = rows[case, "attention"], rows[case, "regime"]
        values = [reported(row) for row in (attention, regime)]
        shown = [f"**{value:.2f}**" if value == max(values) else f"{value:.2f}" for value in values]
        seen = f"{max(attention['samples_seen'])} / {max(regime['samples_seen'])}"
        return [CASES[case].title, seen, *shown, f"{regime['window']:g}", shown_share(regime["share_censored"])]

    header = ["case", "samples seen by attention / regime", "attention", "regime", "window", "valid to its end"]
    return markdown(header, map(line, CASES))


def hub(name: str, num_levels: int) -> str:
    rows = summary.load(f"hub/results-{name}.json")
    rows = [row for row in rows if (row["protocol"], row["num_levels"]) == ("rolling", num_levels)]
    rows = [row for row in rows if row["horizon"] == rows[0]["horizon"] and row["truth"] == rows[0]["truth"]]
    windows = list(dict.fromkeys(row["window"] for row in rows))

    def line(method: str) -> list[str]:
        ours = [row for row in rows if row["method"] == method]
        coverage = [pooled_coverage(ours, kind) for kind in ("coverage50", "coverage95")]
        ratio = geometric_mean(ours)
        return [LABELS.get(method, method), *(f"{row['wis']:.2f}" for row in ours), f"{ratio:.3f}", *coverage]

    lines = sorted(map(line, dict.fromkeys(row["method"] for row in rows)), key=lambda cells: -float(cells[-3]))
    return markdown(["forecaster", *windows, "ratio", "50 %", "95 %"], lines)


def hub_ratio() -> str:
    tests = json.loads((ROOT / "experiments/hub/results-admissions.json").read_text())["tests"]
    test = summary.one(tests, horizon=0, against="equal_mean")
    return f"It is {test['ratio']:.3f} (95 % interval by a block bootstrap: {test['low']:.3f} to {test['high']:.3f})."


def chaos_zoo() -> str:
    rows = summary.load("chaos_zoo/results.json")
    errors = [(row["method"].replace("_", " "), row["smape_median"], row["published"]) for row in rows]
    errors.sort(key=lambda row: row[1] or row[2])
    header = ["method", "ours", "published"]
    return markdown(header, ([name, number(ours, ".1f"), number(theirs, ".1f")] for name, ours, theirs in errors))


def by_lead(file: str, form: Callable[[dict[str, Any]], str]) -> str:
    rows = summary.load(file)
    leads = LEADS[file.split("/")[0]]
    cells = {(row["method"], row["horizon"]): row for row in rows}
    methods = list(dict.fromkeys(row["method"] for row in rows))
    return markdown(
        ["method", *(f"h = {lead}" for lead in leads)],
        (
            [
                method.replace("_", " ") + (" (published)" if cells[method, leads[0]]["published"] else ""),
                *(form(cells[method, lead]) if (method, lead) in cells else "" for lead in leads),
            ]
            for method in methods
        ),
    )


def rmse(row: dict[str, Any]) -> str:
    return f"{row['rmse'] or row['published']:.0f}"


def rmse_and_mae(row: dict[str, Any]) -> str:
    return f"{row['rmse'] or row['published']:.3f} / {row['mae'] or row['published_mae']:.3f}"


def language() -> str:
    rows = summary.load("language/results.json")
    return markdown(
        ["next character", "published", "nats", "bits"],
        (
            [
                row["method"],
                number(row["published"], ".4f"),
                number(row["loss"], ".4f"),
                number(row["bits_per_character"] if row["loss"] else None, ".3f"),
            ]
            for row in rows
        ),
    )


def graphs() -> str:
    parts = graphs_page.tables()
    named = [f"**{title}**\n\n{parts[data]}" for data, title in graphs_page.DATA.items() if data in parts]
    return "\n\n".join([*named, "**Against ridge regressions**", parts["comparisons"]])


KINDS = {
    "whole": "as a part of any program",
    "programs": "the programs that they start",
    "host": "on the host",
    "not tried": "not tried",
    "fails": "refused by a compiler",
}
"""What becomes of a public name on a GPU and a TPU, the best first."""


def entry_points() -> str:
    """Makes a table of how many public names compile, by namespace, and lists the others with their reasons."""
    rows = json.loads((ROOT / "benchmarks/results/entry_points.json").read_text())["rows"]
    order = list(KINDS)
    by_wing: dict[str, Counter[str]] = {}
    others: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        said = max((row["h100"], row["v5e"]), key=lambda said: order.index(kind_of(said)))
        kind = kind_of(said)
        by_wing.setdefault(row["wing"], Counter())[kind] += 1
        if kind not in ("whole", "programs"):
            others.setdefault((kind, said.removeprefix(f"{kind}: ")), []).append(f"`{row['name']}`")
    counts = {"all": sum(by_wing.values(), Counter())} | by_wing
    kinds = [kind for kind in order if counts["all"][kind]]
    table = markdown(
        ["namespace", "names", *(KINDS[kind] for kind in kinds)],
        ([wing, str(sum(found.values())), *(str(found[kind]) for kind in kinds)] for wing, found in counts.items()),
    )
    listed = [f"- {KINDS[kind]}, {reason}: {', '.join(names)}" for (kind, reason), names in sorted(others.items())]
    return "\n".join([table, "", *listed])


def kind_of(said: str) -> str:
    kind = said.partition(":")[0]
    return kind if kind in KINDS else "fails"


TABLES: dict[str, Callable[[], str]] = {
    "summary": lambda: summary.table("{}/index.md"),
    "summary_of_index": lambda: summary.table("results/{}/index.md"),
    "lorenz": lorenz,
    "lorenz_skill": lorenz_skill,
    "valid_time": valid_time_page.board,
    "valid_time_choices": valid_time_page.choices,
    "valid_time_spread": valid_time_page.spread,
    "hub_admissions": partial(hub, "admissions", 23),
    "hub_deaths": partial(hub, "deaths", 21),
    "hub_ratio": hub_ratio,
    "enso": partial(enso_page.methods, enso_page.MAIN),
    "chaos_zoo": chaos_zoo,
    "us_regions": lambda: by_lead("regions/results-us_regions.json", rmse),
    "states": lambda: by_lead("regions/results-states.json", rmse),
    "traffic": lambda: by_lead("traffic/results.json", rmse_and_mae),
    "language": language,
    "japan_od": lambda: od_page.table("japan_od"),
    "nyc_taxi_od": lambda: od_page.table("nyc_taxi_od"),
    "graphs": graphs,
    **{name: partial(probabilistic_page.table, name) for name in probabilistic_page.DATA},
    **{f"sentiment_{name}": partial(sentiment_page.of_set, name) for name in sentiment_page.SETS},
    "causal_coverage": causal_page.coverage,
    "causal_estimates": causal_page.estimates,
    "causal_city": causal_page.city,
    **{f"neuro_{name}": table for name, table in neuro_page.TABLES.items()},
    "accelerators": accelerators,
    "entry_points": entry_points,
    **{f"assimilation_{name}": partial(assimilation_page.filters, name) for name in ASSIMILATION},
}
