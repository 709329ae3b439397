import inspect
import os
import random

import jax
import numpy as np
import pytest

import jaxcast
from jaxcast.registry import names_of
from tests.dynamics.spec_texts import random_text

TEXTS = [
    "lorenz63(sigma=9.5, rho=cosine(mean=38.0, amplitude=-10.0, period=1.577132, phase=0.1), beta=2.6666666666666665)",
    "lorenz96(dim=12, forcing=sum_of_cosines(mean=8.0, amplitudes=[1.0, 0.1], periods=[3.0, 4.5], phases=[0.0, 1.0]))",
    "rossler(a=linear_ramp(start=0.2, stop=0.3, begin=0.0, end=400.0), b=0.2, c=5.7)",
    "rossler(a=0.2, b=constant(value=0.2), c=piecewise_constant(times=[10.0, 20.0], values=[5.7, 4.0, 9.0]))",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_and_system_are_inverse(text):
    system = jaxcast.dynamics.parse_system(text)
    assert jaxcast.dynamics.describe_system(system) == text
    again = jaxcast.dynamics.parse_system(jaxcast.dynamics.describe_system(system))
    assert jax.tree.structure(system) == jax.tree.structure(again)
    for a, b in zip(jax.tree.leaves(system), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_numbers_survive_to_the_last_digit():
    rho = np.nextafter(28.0, 29)
    assert jaxcast.dynamics.parse_system(jaxcast.dynamics.describe_system(jaxcast.Lorenz63(rho=rho))).rho == rho


def test_what_is_left_out_has_its_usual_value():
    assert jaxcast.dynamics.parse_system("lorenz63") == jaxcast.Lorenz63()
    assert jaxcast.dynamics.parse_system(" lorenz96(dim=5) ") == jaxcast.Lorenz96(dim=5)


def named(base):
    """The package's own; other tests in this process may have named theirs."""
    return {kind for kind in names_of(base).values() if kind.__module__.startswith("jaxcast.dynamics.")}


def test_every_system_and_schedule_of_the_library_can_be_written():
    systems = {
        kind
        for kind in (vars(jaxcast) | vars(jaxcast.dynamics) | vars(jaxcast.regime)).values()
        if isinstance(kind, type) and issubclass(kind, jaxcast.System)
    }
    # What a regime is fitted with holds arrays and is kept in pool folders, not as text.
    systems = {kind for kind in systems if not inspect.isabstract(kind)}
    assert systems - {jaxcast.regime.PolynomialSystem} == named(jaxcast.System)
    schedules = {
        kind
        for kind in (vars(jaxcast) | vars(jaxcast.dynamics) | vars(jaxcast.regime)).values()
        if isinstance(kind, type) and issubclass(kind, jaxcast.Schedule)
    }
    unnamed = {jaxcast.dynamics.FunctionOfTime, jaxcast.regime.HarmonicSchedule}
    bases = {jaxcast.Schedule, jaxcast.dynamics.SmoothSchedule, jaxcast.dynamics.JumpingSchedule}
    assert schedules - unnamed - bases == named(jaxcast.Schedule)


def test_lists_make_candidates():
    candidates = jaxcast.dynamics.parse_candidates("lorenz63(rho=[28, 30, 32], sigma=linspace(9, 11, 3), beta=2.5)")
    assert [(c.rho, c.sigma, c.beta) for c in candidates] == [(28, 9, 2.5), (30, 10, 2.5), (32, 11, 2.5)]
    assert jaxcast.dynamics.candidate_coordinates(candidates) is None
    name, values = jaxcast.dynamics.candidate_coordinates(
        jaxcast.dynamics.parse_candidates("lorenz96(dim=6, forcing=[7, 8])")
    )
    assert name == "forcing"
    assert values.tolist() == [7, 8]
    scheduled = [jaxcast.Lorenz63(rho=jaxcast.Cosine(m, 1.0, 2.0)) for m in (28.0, 30.0)]
    assert jaxcast.dynamics.candidate_coordinates(scheduled) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lorenz36", r"unknown system 'lorenz36' .*did you mean lorenz96\?.*there are lorenz63, lorenz96, rossler"),
        ("lorenz63(roh=28)", r"unknown parameter 'roh' of lorenz63 .*did you mean rho\?"),
        ("lorenz63(rho=cosin(mean=1))", r"unknown schedule 'cosin' .*did you mean cosine\?"),
        ("lorenz63(rho=cosine(mean=1))", "cosine needs amplitude, period as well"),
        ("lorenz63(28)", "every argument by name"),
        ("lorenz63(rho=[28, 30])", "expected one number or a schedule for rho, got a list"),
        ("lorenz63(rho=nan)", "unknown schedule 'nan'"),
        ("lorenz63(rho=1e999)", "expected a finite number"),
        ("lorenz63(rho='28')", "expected a finite number"),
        ("lorenz63(rho=True)", "expected a finite number"),
        ("lorenz96(dim=8.5)", "dim of lorenz96 must be a whole number up to 1000000, got 8.5"),
        ("lorenz96(dim=3)", "at least 4 sites"),
        ("lorenz63(rho=", "expected a text such as"),
        ("__import__('os').system('true')", "expected name"),
        ("lorenz63(rho=open('/dev/null'))", "every argument by name"),
        ("lorenz63(rho=[])", "at least one number in a list"),
        ("lorenz63(rho=28, rho=30)", "expected every argument once|expected a text such as"),
        ("lorenz63(rho=piecewise_constant(times=5, values=28))", "times must be a list of numbers"),
        ("lorenz63(rho=piecewise_constant(times=[5], values=[28]))", "one value more than times"),
        ("lorenz63(rho=cosine(mean=[1, 2], amplitude=1, period=1))", "mean must be one number"),
        ("lorenz63(rho=cosine(mean=1, amplitude=1, period=0))", "period must not be 0"),
        ("lorenz63(rho=cosine(mean=constant(value=1), amplitude=1, period=1))", "mean must be numbers, got a Constant"),
        ("lorenz63(rho=linear_ramp(start=1, stop=2, begin=5, end=5))", "a ramp must begin before its end"),
        ("lorenz96(dim=[5, 6])", "dim of lorenz96 must be a whole number"),
        ("lorenz96(dim=1000000000000)", "dim of lorenz96 must be a whole number"),
        ("lorenz63(rho=" + 400 * "9" + ")", "expected a finite number"),
        ("lorenz63(rho=" + 20000 * "-" + "1)", "expected a text such as"),
        ("", "expected a text such as"),
    ],
)
def test_other_texts_are_refused_in_one_line(text, message):
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        jaxcast.dynamics.parse_system(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lorenz63(rho=28)", "differ by a list of numbers"),
        ("lorenz63(rho=[28, 30], sigma=[9, 10, 11])", "all lists of one length"),
        ("lorenz63(rho=linspace(1, 2, 1e18))", "how many up to 1000000"),
        ("lorenz96(dim=[5, 6])", "dim of lorenz96 must be a whole number"),
        ("lorenz63(rho=linspace(28, 48))", "linspace\\(first, last, how many"),
    ],
)
def test_candidates_that_do_not_differ_or_do_not_match_are_refused(text, message):
    with pytest.raises(jaxcast.InputError, match=message):
        jaxcast.dynamics.parse_candidates(text)


@pytest.mark.slow
def test_random_texts_are_read_or_refused_in_one_line_that_repeats_little():
    """A seeded part of the fuzz runs; JAXCAST_FUZZ=12000 for all."""
    draw, said, read = random.Random(0), [], 0
    for _ in range(int(os.environ.get("JAXCAST_FUZZ", "1000"))):
        text = random_text(draw)
        for parse in (jaxcast.dynamics.parse_system, jaxcast.dynamics.parse_candidates):
            try:
                systems = parse(text)
            except jaxcast.InputError as error:
                said.append(str(error))
            else:
                read += 1
                assert jaxcast.dynamics.describe_system(systems if isinstance(systems, jaxcast.System) else systems[0])
    assert len(said) > read > 20
    assert all(line.isprintable() and len(line) < 420 for line in said)


@pytest.mark.parametrize(
    "text",
    ["(" * 15_000, "-" * 15_000 + "1", "lorenz63(rho=" * 500 + "1" + ")" * 500, "[" * 150 + "]" * 150, "a." * 9999],
)
def test_deep_nesting_is_refused(text):
    for parse in (jaxcast.dynamics.parse_system, jaxcast.dynamics.parse_candidates):
        with pytest.raises(jaxcast.InputError, match="expected") as caught:
            parse(text)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lorenz63(rho=" + "x" * 500 + ")", r"unknown schedule 'x{50}\.\.\. \(450 more characters\)' in 'lorenz63\(rho=x{87}\.\.\. \(414 more"),
        ("lorenz63(rho='\x1b[31m')", r"expected a finite number, got ''\\x1b\[31m'' in"),
        ("lorenz63(rho=1\n)", r"by a list of numbers.*got 'lorenz63\(rho=1\\n\)'"),
        ("lorenz63(\0)", r"got 'lorenz63\(\\x00\)'"),
    ],
)  # fmt: skip
def test_messages_about_texts_are_cut_and_escaped(text, message):
    with pytest.raises(jaxcast.InputError, match=message) as caught:
        jaxcast.dynamics.parse_candidates(text)
    assert str(caught.value).isprintable()


def test_a_users_own_classes_are_named():
    class Mine(jaxcast.System):
        components = ("x",)
        rate: jaxcast.dynamics.Parameter = 1.0

        def vector_field(self, t, u):
            return (-self.rate * u[0],)

    assert (
        jaxcast.dynamics.describe_system(Mine(rate=jaxcast.dynamics.Constant(2.0))) == "Mine(rate=constant(value=2.0))"
    )
    assert jaxcast.dynamics.describe_system(jaxcast.Lorenz63(rho=np.cos)).startswith(
        "lorenz63(sigma=10.0, rho=FunctionOfTime("
    )
