import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    printed = capsys.readouterr().out
    assert printed.startswith("MedianInterval(median=")
    assert names["states"].shape == (100, 3)
    assert names["forecast"].shape == (5, 3)


def test_the_first_example_has_twenty_lines_and_a_system_less_than_ten():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    lines = [len([line for line in block.splitlines() if line.strip()]) for block in blocks]
    assert lines[0] <= 20
    system = re.search(r"class Rossler.*?\n\n    def .*?\n\n", blocks[1], flags=re.DOTALL)
    assert len([line for line in system[0].splitlines() if line.strip()]) < 10


@pytest.mark.parametrize("page", ["README.md", "experiments/README.md"])
def test_the_tables_are_the_committed_results(page):
    rows = json.loads((ROOT / "experiments/results/lorenz-paper.json").read_text())["rows"]
    ours = {_label(row): row for row in rows}
    found = 0
    for line in (ROOT / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        label = (
            cells[0]
            if page == "README.md"
            else f"{cells[0]}, l = {cells[1]}".removesuffix(", l = ")
            if cells[1:]
            else ""
        )
        if label in ours:
            row = ours[label]
            median, interval = (cells[2], cells[3]) if page == "README.md" else (cells[3], cells[4])
            low, high = row["valid_time_ci95"]
            assert median == f"{row['valid_time_median']:.2f}", line
            assert interval == f"{low:.2f} to {high:.2f}", line
            found += 1
    assert found >= 13


def _label(row):
    name = row["method"].replace("feed_forward", "feed-forward network").replace("_", " ")
    return name + (f", l = {row['delays']}" if row["delays"] else "")
