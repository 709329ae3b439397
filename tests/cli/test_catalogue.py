import numpy as np
import pytest

import jaxcast
from jaxcast.cli.main import parse
from jaxcast.cli.simulation.steps import with_steps
from jaxcast.dynamics import catalogue_entry, catalogue_names


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--system", "two_scale_lorenz96"], (0.05, 0.005, 20.0)),
        (["--system", "two_scale_lorenz96(forcing=10)", "--dt", "0.1"], (0.1, 0.005, 20.0)),
        (["--system", "kuramoto_sivashinsky"], (1.0, 0.25, 250.0)),
        (["--system", "kuramoto_sivashinsky", "--dt", "0.6", "--transient", "60"], (0.6, 0.2, 60.0)),
    ],
)
def test_stiff_systems_have_steps_that_suit_them(args, expected):
    command = parse(["simulate", "--out", "x.npz", *args])
    assert (command.dt, command.h, command.transient) == pytest.approx(expected)
    command.checked()  # whole numbers of steps


@pytest.mark.slow
def test_the_usual_step_of_two_scales_does_not_diverge(tmp_path):
    out = tmp_path / "two.npz"
    parse(["simulate", "--system", "two_scale_lorenz96", "--num-samples", "20", "--out", str(out)]).run()
    with np.load(out) as found:
        assert np.abs(found["states"][:, :8]).max() < 40


def test_the_list_is_an_option_that_stands_alone(capsys):
    with pytest.raises(SystemExit):
        parse(["simulate", "--help"])
    assert "--list" in capsys.readouterr().out.partition("options")[2]
    with pytest.raises(jaxcast.InputError, match="--list takes no other options"):
        parse(["simulate", "--list", "--out", "x.npz"])


@pytest.mark.parametrize("args", [["--system", "Chen", "--h", "0.1"], ["--system", "lorenz63"], ["--system"], []])
def test_other_commands_stay_as_they_are(args):
    assert with_steps(args) == args


@pytest.mark.slow
def test_a_system_of_the_catalogue_is_integrated(tmp_path):
    out = tmp_path / "rucklidge.npz"
    parse(["simulate", "--system", "Rucklidge", "--num-samples", "20", "--transient", "0", "--out", str(out)]).run()
    entry = catalogue_entry("Rucklidge")
    with np.load(out) as found:
        np.testing.assert_allclose(np.diff(found["times"]), entry.period / 100)
        assert (np.abs(found["states"][0] - entry.start) < entry.scale).all()
