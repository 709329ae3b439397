"""CI: its steps, real data, and a check of what smoke runs wrote."""

import importlib.metadata
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from experiments.check import check
from experiments.datasets import data_root
from jaxcast import InputError
from jaxcast.io.run_folder import RunFolder
from tests import conftest
from tests.real_data import real_data

ROOT = Path(__file__).parents[1]
RUN = ROOT / ".ci/run"


def ci_run(*args, script=RUN, **environment):
    return subprocess.run([script, *args], capture_output=True, text=True, env=os.environ | environment)


def steps():
    return ci_run("--list").stdout.split()


def parsed(name):
    return yaml.safe_load((ROOT / name).read_text())


def test_the_workflow_runs_the_steps_of_ci_run():
    jobs = parsed(".github/workflows/ci.yml")["jobs"]
    assert [job["strategy"]["matrix"]["step"] for job in jobs.values()] == [steps()]
    assert [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step] == [
        ".ci/run ${{ matrix.step }}"
    ]


def test_what_is_quick_comes_first_and_each_step_is_there_once():
    assert steps()[:4] == ["lint", "layers", "types", "tests"]
    assert sorted(steps()) == sorted(set(steps()))
    for step in steps():
        assert len(re.findall(rf"^{step}\(\) {{$", RUN.read_text(), flags=re.MULTILINE)) == 1


def test_an_unknown_step_is_refused_before_any_other_runs():
    done = ci_run("lint", "format")
    assert done.returncode == 2
    assert done.stderr == f"there is no step format; the steps are: {' '.join(steps())}\n"
    assert not done.stdout


@pytest.fixture
def readme_with(tmp_path):
    """Makes a checkout of .ci/run and a README with these lines, and runs its tests."""
    (tmp_path / ".ci").mkdir()
    script = shutil.copy(RUN, tmp_path / ".ci/run")

    def run(*lines):
        (tmp_path / "README.md").write_text("The tests:\n\n" + "".join(f"    {line}\n" for line in lines))
        return ci_run("tests", script=script, JAXCAST_DATA="x")

    return run


TEST_COMMAND = "python3 -m venv --help > help.txt && echo ran -m pytest"


def test_the_step_tests_is_the_command_of_the_readme(readme_with, tmp_path):
    done = readme_with("python3 -m venv .venv && echo another command", TEST_COMMAND)
    assert done.returncode == 0
    assert "ran -m pytest\n" in done.stdout
    assert (tmp_path / "help.txt").stat().st_size > 0
    command = r"^ +(python3 -m venv .* -m pytest.*)$"
    (ours,) = re.findall(command, (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert "-c constraints.txt -e '.[tests]'" in ours


@pytest.mark.parametrize(
    ("lines", "message"),
    [((), "exactly one test command"), ((TEST_COMMAND,) * 2, "exactly one"), ((f"{TEST_COMMAND} && false",), "FAILED")],
)
def test_a_step_that_fails_ends_the_run_with_the_table(readme_with, lines, message):
    done = readme_with(*lines)
    assert done.returncode == 1
    assert message in done.stdout
    assert re.search(r"^tests +\d+ s  FAILED\ntotal +\d+ s$", done.stdout, flags=re.MULTILINE)


def test_annotations_are_checked_in_every_run(pytestconfig):
    assert "--jaxtyping-packages=jaxcast,beartype.beartype" in pytestconfig.getini("addopts")


def test_the_smoke_step_runs_every_experiment_and_every_benchmark():
    (smoke,) = re.findall(r"^smoke\(\) {$(.*?)^}$", RUN.read_text(), flags=re.MULTILINE | re.DOTALL)
    measuring = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "def make_rows(" in path.read_text()}
    assert measuring == set(re.search(r"for name in ((?:\w+ ?)+);", smoke)[1].split())
    assert "benchmarks.startup" in smoke
    assert "experiments/*/__main__.py" in smoke


def test_hooks_before_a_commit_call_the_tools_of_ci():
    hooks = [hook for repo in parsed(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert [hook["entry"].split(" --")[0] for hook in hooks] == [
        "python -m ruff format", "python -m ruff check", "lint-imports", "python -m mypy",
    ]  # fmt: skip


def test_the_citation_is_of_this_version():
    citation = parsed("CITATION.cff")
    assert (citation["version"], citation["license"]) == (importlib.metadata.version("jaxcast"), "Apache-2.0")
    assert citation["authors"] == [{"name": "jaxcast developers"}]


@pytest.mark.parametrize("announced", [False, True])
def test_absent_data_fail_where_they_are_announced_and_are_skipped_elsewhere(tmp_path, monkeypatch, announced):
    monkeypatch.delenv("JAXCAST_DATA", raising=False)
    if announced:
        monkeypatch.setenv("JAXCAST_DATA", str(tmp_path))
    with pytest.raises((pytest.fail if announced else pytest.skip).Exception, match="is missing"):
        real_data("no such data")
    (tmp_path / "there").touch()
    monkeypatch.setenv("JAXCAST_DATA", str(tmp_path))
    assert real_data("there") == tmp_path / "there" == data_root() / "there"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("[]", "has no rows"),
        ('[{"wis": NaN}]', "is not what a run writes"),
        ('[{"wis": 1e300}]', "makes no sense"),
        ('[{"method": "a", "wis": 0, "per_seed": [0.0]}]', "makes no sense"),
        ('[{"method": "a", "wis": 1}, {"method": "b"}]', "makes no sense"),
    ],
)
def test_results_that_make_no_sense_are_found(tmp_path, rows, message):
    file = tmp_path / "results.json"
    file.write_text(f'{{"rows": {rows}}}')
    with pytest.raises(InputError, match=message):
        check(file)
    with pytest.raises(InputError, match="is not what a run writes"):
        check(tmp_path / "none.json")


def test_a_run_that_worked_is_found_sound(tmp_path):
    folder = RunFolder(tmp_path, {"seed": 0}, code="c")
    folder.write_json("results.json", {"rows": [{"method": "a", "errors": [1.5, 0.0], "is_best": True}]})
    assert check(tmp_path) == 2
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"its config.json is none"):
        check(tmp_path)


def test_slow_tests_alone_are_left_out_once_the_time_is_over(monkeypatch, request):
    monkeypatch.setenv("JAXCAST_SLOW_TESTS_UNTIL", "1")
    conftest.pytest_runtest_setup(request.node)
    request.node.add_marker("slow")
    with pytest.raises(pytest.skip.Exception, match="over"):
        conftest.pytest_runtest_setup(request.node)
    monkeypatch.setenv("JAXCAST_SLOW_TESTS_UNTIL", "1e12")
    conftest.pytest_runtest_setup(request.node)
