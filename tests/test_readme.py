import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from experiments.hub import page
from experiments.lorenz import page as lorenz_page
from experiments.lorenz.methods import label_of
from experiments.lorenz_skill.cases import CASES
from experiments.lorenz_skill.results import reported, shown_share
from experiments.pages import marked
from jaxcast.cli.main import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def code(language):
    (block,) = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return block


@pytest.mark.slow
def test_the_example_runs(capsys):
    exec(code("python"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("MedianInterval(median=6.4")


def test_the_example_has_twelve_lines_and_a_system_less_than_ten():
    assert len([line for line in code("python").splitlines() if line.strip()]) <= 12
    script = (ROOT / "docs/tutorials/3_own_system.py").read_text()
    system = re.search(r"class Lorenz84.*?\n    def .*?\n\n", script, flags=re.DOTALL)
    assert len([line for line in system[0].splitlines() if line.strip()]) <= 11


def test_the_commands_are_understood():
    commands = [shlex.split(line) for line in code("console").strip().splitlines()]
    assert {command[1] for command in commands} == {"simulate", "pool", "series", "panel", "text", "hub"}
    for command in commands:
        assert command[0] == "jaxcast"
        parse(command[1:])


def test_the_readme_is_short():
    assert len(README.split()) < 900
    for line in README.splitlines():
        assert len(line) <= 100 or line.startswith("    python3 -m venv"), line


def tables(page):
    """The rows of a page's tables, each a dictionary by its table's header."""
    header = None
    for line in (ROOT / page).read_text().splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if header is None:
            header = cells
        elif not set(cells[0]) <= {"-"}:
            yield dict(zip(header, cells, strict=True))


def label(cells):
    return f"{cells['method']}, l = {cells['l']}" if cells.get("l") else cells["method"]


def test_the_tables_are_the_committed_results():
    rows = json.loads((ROOT / "experiments/lorenz/results.json").read_text())["rows"]
    ours = {label_of(row["method"], row["delays"]): row for row in rows}
    found = tracked = 0
    for cells in tables("experiments/lorenz/README.md"):
        if "ours" in cells:
            row = ours[label(cells)]
            low, high = row["valid_time_ci95"]
            assert cells["ours"] == f"{row['valid_time_median']:.2f}", cells
            assert cells["95 % interval"] == f"{low:.2f} to {high:.2f}", cells
            assert cells["published"] == ("" if row["published"] is None else f"{row['published']:.2f}")
            if "as published" in cells:
                assert cells["as published"] == f"{row['valid_time_as_published']:.2f}", cells
            found += 1
        elif "open loop" in cells:
            for name, part in zip(list(cells)[2:], ours[label(cells)]["tracking"].values(), strict=True):
                assert cells[name] == f"{part['correlation']:.2f} ({part['mean_distance']:.1f})", cells
            tracked += 1
    assert found == len(rows)
    assert tracked >= 6
    text = (ROOT / "experiments/lorenz/README.md").read_text()
    assert all(table in text for table in lorenz_page.tables().values())


@pytest.mark.parametrize("page", ["README.md", "experiments/README.md"])
def test_the_summary_is_that_of_the_committed_results(page):
    from experiments import summary

    assert summary.table(summary.PAGES[page]) in (ROOT / page).read_text()


def test_the_tables_of_the_benchmarks_are_those_of_their_files():
    from benchmarks.table import HERE, accelerators, summary, tables

    text = (HERE / "README.md").read_text()
    assert tables() in text
    assert summary() in text
    assert accelerators() in text


def test_what_public_names_compute_compiles_for_accelerators_or_is_left_to_the_host():
    rows = json.loads((ROOT / "benchmarks/results/entry_points.json").read_text())["rows"]
    for row in rows:
        for said in (row["h100"], row["v5e"]):
            assert said in ("whole", "programs") or said.startswith(("host: ", "not tried: ")), row
    whole = {row["name"] for row in rows if row["h100"] == row["v5e"] == "whole"}
    assert whole >= {"simulate", "simulate_ensemble", "final_states", "flow_map", "forecast", "roll"}


def test_the_tables_beyond_the_paper_are_the_committed_results():
    rows = json.loads((ROOT / "experiments/lorenz_skill/results.json").read_text())["rows"]
    ours = {(row["case"], row["method"]): row for row in rows}
    cases = [cells for cells in tables("experiments/lorenz_skill/README.md") if "`--cases`" in cells]
    assert [cells["`--cases`"] for cells in cases] == list(CASES) == list(dict.fromkeys(row["case"] for row in rows))
    for cells in cases:
        attention, regime = (ours[cells["`--cases`"], method] for method in ("attention", "regime"))
        values = [reported(row) for row in (attention, regime)]
        shown = [f"**{value:.2f}**" if value == max(values) else f"{value:.2f}" for value in values]
        assert [cells["attention, l = 5"], cells["regime forecaster"]] == shown
        assert cells["valid to its end"] == shown_share(regime["share_censored"])
        assert cells["published"] == ("" if attention["published"] is None else f"{attention['published']:.2f}")
        seen = [str(np.max(row["samples_seen"])) for row in (attention, regime)]
        assert cells["samples seen by attention / regime"] == " / ".join(seen)
        assert cells["window"] == f"{regime['window']:g}"
    names = {(CASES[row["case"]].title, label_of(row["method"])): row for row in rows}
    study = [cells for cells in tables("experiments/lorenz_skill/README.md") if "Wilcoxon p" in cells]
    assert len(study) == len(rows)
    for cells in study:
        row = names[cells["case"], cells["method"]]
        assert cells["median valid time"] == f"{row['valid_time_median']:.2f}"
        assert cells["truths"] == str(row["num_data_seeds"])
        assert cells["valid to the end"] == shown_share(row["share_censored"])
        if "against_attention" in row:
            against = row["against_attention"]
            shown = f"{against['difference']:.2f} [{against['low']:.2f}, {against['high']:.2f}]"
            assert cells["difference to attention"] == shown


def test_the_tables_of_the_hub_are_the_committed_results():
    text = (page.HERE / "README.md").read_text()
    for name, table in page.tables().items():
        assert table.count("\n") > 2, name
        assert marked("hub", name, table) in text, name


SERIES = {
    "regions of the US, RMSE": ("regions/results-us_regions.json", "{rmse:.0f}"),
    "states of the US, RMSE": ("regions/results-states.json", "{rmse:.0f}"),
    "speeds, RMSE / MAE": ("traffic/results.json", "{rmse:.3f} / {mae:.3f}"),
}


def shown(row, form):
    """A row of an experiment on series as its README shows it, published ones without what is not known of them."""
    if row["num_seeds"]:
        return form.format(**row)
    return form.format(rmse=row["published"], mae=row.get("published_mae", np.nan))


@pytest.mark.parametrize("title", SERIES)
def test_the_tables_of_series_are_the_committed_results(title):
    name, form = SERIES[title]
    page = Path("experiments") / name.split("/")[0] / "README.md"
    found = [cells for cells in tables(page) if title in cells]
    file = ROOT / "experiments" / name
    assert file.exists() == bool(found), f"{name} and its table in {page} belong together"
    if not found:
        pytest.skip(f"{name}: this run has not been made yet")
    rows = json.loads(file.read_text())["rows"]
    ours = {(row["method"].replace("_", " "), row["horizon"]): row for row in rows}
    assert {cells[title].strip("*") for cells in found} == {method for method, _ in ours}
    for cells in found:
        method = cells[title].strip("*")
        by_lead = {lead: row for (other, lead), row in ours.items() if other == method}
        (sees,) = {row.get("sees", "") for row in by_lead.values()}
        assert cells["sees"] == sees
        for lead, row in by_lead.items():
            assert cells[f"h = {lead}"] == shown(row, form), (method, lead)


@pytest.mark.parametrize("name", ["japan_od", "nyc_taxi_od"])
def test_the_tables_of_trips_are_the_committed_results(name):
    from experiments.od import page
    from experiments.pages import marked

    text = (ROOT / "experiments/od/README.md").read_text()
    assert marked("od", name, page.table(name)) in text
    rows = page.load(name)
    if not rows:
        pytest.skip(f"{name}: this run has not been made yet")
    assert len(rows) > 20


def test_the_influenza_of_the_summary_is_the_committed_results():
    text = (ROOT / "experiments/README.md").read_text()
    for name, before in (("us_regions", "10 regions"), ("states", "49 states")):
        rows = json.loads((ROOT / f"experiments/regions/results-{name}.json").read_text())["rows"]
        errors = [f"{row['rmse']:.0f}" for row in rows if row["method"] == "kernels_both_ways_and_networks"]
        assert len(errors) == 4
        assert re.search(rf"Flu, {before}: RMSE .* {', '.join(errors)} .*\n\| the same, refitted ", text)


def test_the_table_of_the_language_model_is_the_committed_results():
    rows = json.loads((ROOT / "experiments/language/results.json").read_text())["rows"]
    found = [cells for cells in tables("experiments/language/README.md") if "next character" in cells]
    assert [cells["next character"].strip("*") for cells in found] == [row["method"] for row in rows]
    for cells, row in zip(found, rows, strict=True):
        assert cells["published"] == (f"{row['published']:.4f}" if row["published"] else "")
        assert cells["validation loss"] == (f"{row['loss']:.4f}" if row["loss"] else "")
        assert cells["bits per character"] == (f"{row['bits_per_character']:.3f}" if row["loss"] else "")
        assert cells["models"] == (str(row["num_seeds"]) if row["loss"] else "")


def test_the_table_of_the_chaotic_systems_is_the_committed_results():
    results = json.loads((ROOT / "experiments/chaos_zoo/results.json").read_text())
    rows = {row["method"]: row for row in results["rows"]}
    theirs = {
        "last value": "NaiveSeasonal",
        "mean": "NaiveMean",
        "N-BEATS": "NBEATSModel",
        "Transformer": "TransformerModel",
    }
    theirs["LSTM (`RNNModel`)"] = "RNNModel"
    found = [
        line.strip("|").split("|")
        for line in (ROOT / "experiments/chaos_zoo/README.md")
        .read_text()
        .split("| method | sMAPE, median |")[1]
        .splitlines()[2:]
    ]
    found = [[cell.strip().strip("*") for cell in cells] for cells in found[: found.index([""])]]
    assert len(found) == 9
    for method, smape, published, points, published_points in found:
        ours = rows.get(
            method.removesuffix(" over delays, closed loop").removesuffix(", closed loop").replace(" ", "_").lower()
        )
        assert (smape, points) == (("", "") if ours is None else shown_errors(ours["smape_median"], ours["vpt_median"]))
        other = rows.get(theirs.get(method, ""))
        expected = ("", "") if other is None else shown_errors(other["published"], other["published_vpt"])
        assert (published.removesuffix(" (naive seasonal)"), published_points) == expected, method
    medians = {
        name: np.median(list(results["smape_per_system"][name].values())) for name in ("kernel_ridge", "gru", "lstm")
    }
    for name, median in medians.items():
        assert median == pytest.approx(rows[name]["smape_median"], abs=0.01)
        assert len(results["smape_per_system"][name]) == results["num_systems"] == 131


def shown_errors(smape, points):
    return f"{smape:.1f}", f"{points:.0f}"
