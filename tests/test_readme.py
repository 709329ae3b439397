import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


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
