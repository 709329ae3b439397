"""Each committed result has beside it the config.json of the run that made it; no page shows one that lacks it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jaxcast.io.run_folder import VERSIONS_OF

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "experiments").glob("*/results*.json"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "experiments").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]*results[\w-]*\.json)\)")
NAME = re.compile(r"(?<![\w/])experiments/[\w/]*results[\w-]*\.json")


def shown_by(page):
    """The results that a page links to or names."""
    text = page.read_text()
    links = {(page.parent / link).resolve() for link in LINK.findall(text)}
    return links | {ROOT / name for name in NAME.findall(text)}


def faults(results):
    """What is wrong with the record of the run that made these results."""
    file = results.with_name(results.name.replace("results", "config"))
    if not file.is_file():
        return [f"{file.name} is missing"]
    config = json.loads(file.read_text())
    found = [f"{name} is missing" for name in ("settings", "versions", "device", "dtype", "commit", "code")
             if name not in config]  # fmt: skip
    if found:
        return found
    if not re.fullmatch("[0-9a-f]{40}", config["commit"] or ""):
        found.append("commit is not a full hash of unchanged code")
    if type(config["settings"].get("seed")) is not int or config["settings"].get("preset") != "paper":
        found.append("seed or preset is not in the settings")
    if config["dtype"] not in ("float32", "float64"):
        found.append("dtype is none")
    if not {*VERSIONS_OF, "python"} <= config["versions"].keys():
        found.append("versions are missing")
    # Only what was written afterwards may leave something open, and it says so.
    unknown = [name for name in ("device", "code") if not config[name]]
    unknown += [name for name, version in config["versions"].items() if not version]
    if unknown and not config.get("recorded_afterwards"):
        found.append(f"{', '.join(unknown)} unknown, but not said to be recorded afterwards")
    return found


def test_results_are_found():
    assert {file.parent.name for file in RESULTS} == {
        file.parent.name for file in (ROOT / "experiments").glob("*/__main__.py")
    }


@pytest.mark.parametrize("results", RESULTS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_results_have_the_record_of_their_run(results):
    assert faults(results) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_results_that_a_page_shows_have_the_record_of_their_run(page):
    for results in shown_by(page):
        assert results.is_file(), results
        assert faults(results) == [], results


@pytest.mark.parametrize("results", RESULTS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_results_are_shown_by_the_page_of_their_experiment(results):
    assert results in shown_by(results.parent / "README.md")


@pytest.mark.parametrize("results", RESULTS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_page_says_where_its_truths_were_made_by_the_older_step(results):
    config = json.loads(results.with_name(results.name.replace("results", "config")).read_text())
    said = "older Runge-Kutta step" in (results.parent / "README.md").read_text()
    assert said == ("runge_kutta_step" in config)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda config: config.pop("commit"), "commit is missing"),
        (lambda config: config.pop("dtype"), "dtype is missing"),
        (lambda config: config.update(commit=config["commit"] + "-dirty"), "commit is not a full hash"),
        (lambda config: config["settings"].pop("seed"), "seed or preset is not in the settings"),
        (lambda config: config["versions"].pop("jax"), "versions are missing"),
        (lambda config: config.pop("recorded_afterwards"), "not said to be recorded afterwards"),
        (None, "config-states.json is missing"),
    ],
)
def test_a_record_that_lacks_something_is_refused(change, fault, tmp_path):
    folder = ROOT / "experiments/regions"
    for name in ("results-states.json", "config-states.json"):
        shutil.copy(folder / name, tmp_path)
    file = tmp_path / "config-states.json"
    if change is None:
        file.unlink()
    else:
        config = json.loads(file.read_text())
        change(config)
        file.write_text(json.dumps(config))
    (found,) = faults(tmp_path / "results-states.json")
    assert fault in found


def test_commits_of_records_are_of_this_history():
    if subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--is-shallow-repository"],
                      capture_output=True, text=True).stdout != "false\n":  # fmt: skip
        pytest.skip("no full history here")
    for results in RESULTS:
        config = json.loads(results.with_name(results.name.replace("results", "config")).read_text())
        for commit in (config["commit"], *(other["commit"] for other in config.get("other_commits", []))):
            # A commit that was rebased afterwards exists where it was made, and in no clone.
            found = subprocess.run(["git", "-C", str(ROOT), "merge-base", "--is-ancestor", commit, "HEAD"])
            assert found.returncode == 0, (
                f"{results}: {commit} is not in this history; record results at a landed commit"
            )
