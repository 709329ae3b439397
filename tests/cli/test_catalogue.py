import numpy as np
import pytest

from jaxcast.cli.catalogue import with_steps
from jaxcast.cli.main import parse
from jaxcast.dynamics import catalogue_entry, catalogue_names


def test_the_list_has_a_line_for_each_system(capsys):
    parse(["simulate", "--list"]).run()
    head, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == catalogue_names()
    assert {len(line) for line in (head, *lines)} == {len(head)}
    (chen,) = (line.split() for line in lines if line.startswith("Chen "))
    assert [int(chen[1]), float(chen[2])] == [3, 0.5869]
    assert float(chen[4]) == pytest.approx(2.027, rel=0.05)


@pytest.mark.parametrize(
    ("args", "dt", "num_periods"),
    [
        (["--system", "Chen"], 0.01, 10),
        (["--system=Chen(a=36)"], 0.01, 10),
        (["--system", "Chen", "--dt", "0.02"], 0.02 / 0.5869, 10),
        (["--system", "Chen", "--transient", "0"], 0.01, 0),
    ],
)
def test_a_system_of_the_catalogue_has_steps_that_suit_it(args, dt, num_periods):
    entry = catalogue_entry("Chen")
    command = parse(["simulate", "--out", "x.npz", *args])
    assert command.dt / entry.period == pytest.approx(dt, rel=1e-3)
    assert 0.9 < command.h / entry.h < 1 + 1e-9
    assert command.transient / entry.period == pytest.approx(num_periods, abs=0.1)
    command.checked()  # whole numbers of steps


@pytest.mark.parametrize("args", [["--system", "Chen", "--h", "0.1"], ["--system", "lorenz63"], ["--system"], []])
def test_other_commands_stay_as_they_are(args):
    assert with_steps(args) == args


def test_a_system_of_the_catalogue_is_integrated(tmp_path):
    out = tmp_path / "rucklidge.npz"
    parse(["simulate", "--system", "Rucklidge", "--num-samples", "20", "--transient", "0", "--out", str(out)]).run()
    entry = catalogue_entry("Rucklidge")
    with np.load(out) as found:
        np.testing.assert_allclose(np.diff(found["times"]), entry.period / 100)
        assert (np.abs(found["states"][0] - entry.start) < entry.scale).all()
