"""The systems of the catalogue, against scipy and against the figures and series of dysts."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jaxcast
from jaxcast.dynamics import catalogue_entry, catalogue_names, describe_system, parse_system

NAMES = catalogue_names()
SOME = ("Aizawa", "BeerRNN", "Lorenz96", "Torus")
"""With scalar parameters, matrices, a class of jaxcast, and a vector field that uses the time."""


def slopes(system, t, u):
    return np.asarray([float(v) for v in system(t, tuple(u))])


@pytest.mark.slow
def test_every_system_has_numbers_of_its_dimension():
    assert len(NAMES) == len(set(NAMES)) == 129
    for name in NAMES:
        entry = catalogue_entry(name)
        dim = (entry.system.dim,)
        assert entry.start.shape == entry.scale.shape == entry.drifting.shape == entry.exponents.shape == dim, name
        assert entry.steps_per_period % 300 == 0
        assert entry.period > 0


@pytest.mark.parametrize("name", SOME)
def test_the_step_of_the_catalogue_agrees_with_dop853(name):
    entry = catalogue_entry(name)
    u0, dt = entry.start, entry.period / 15
    field = jax.jit(lambda t, u: jnp.stack([*entry.system(t, u)]))
    found = jaxcast.simulate(entry.system, u0, num_samples=2, dt=dt, h=entry.h).states[1]
    expected = solve_ivp(lambda t, u: np.asarray(field(t, u)), (0, dt), u0, method="DOP853", rtol=1e-9, atol=1e-12).y[
        :, -1
    ]
    np.testing.assert_allclose(np.asarray(found) / entry.scale, expected / entry.scale, atol=1e-5)


STEPS = json.loads((Path(__file__).parent / "dysts_steps.json").read_text())
"""For each system two states of a series of dysts (github.com/williamgilpin/dysts, Apache-2.0), an interval apart.

Series of angles hold only their sines: there the first angle is the one that fits, and the second is not compared.
"""


@pytest.mark.slow
def test_the_equations_are_those_of_dysts():
    assert len(STEPS) == 125
    for name, step in STEPS.items():
        entry = catalogue_entry(name)
        field = jax.jit(lambda t, u, entry=entry: jnp.stack([*jnp.broadcast_arrays(*entry.system(t, u))]))
        times = (step["t"], step["t"] + step["dt"])
        found = solve_ivp(field, times, step["from"], method="DOP853", rtol=1e-7, atol=1e-9).y[:, -1]
        expected = np.asarray([np.nan if value is None else value for value in step["to"]])
        error = np.abs(found - expected) / entry.scale
        assert np.nanmax(error) < 1e-3, name
        assert np.isfinite(error).any(), name


@pytest.mark.parametrize("name", SOME)
def test_a_system_is_a_text_and_a_text_a_system(name):
    system = catalogue_entry(name).system
    assert parse_system(describe_system(system)) == system
    assert parse_system(name) == system


def test_parameters_are_replaced_scheduled_and_stacked():
    entry = catalogue_entry("Rucklidge")
    x, y, z = u = (1.0, 2.0, 3.0)
    changed = dataclasses.replace(entry.system, a=3.0)
    np.testing.assert_allclose(slopes(changed, 0.0, u), [-3.0 * x + 6.7 * y - y * z, x, -z + y**2])
    moving = dataclasses.replace(entry.system, a=jaxcast.Cosine(mean=2.0, amplitude=1.0, period=4.0))
    np.testing.assert_allclose(slopes(moving, 0.0, u), slopes(changed, 0.0, u))
    stack = jaxcast.stack_systems([entry.system, changed])
    np.testing.assert_allclose(stack(0.0, u)[0], [-2.0 * x + 6.7 * y - y * z, -3.0 * x + 6.7 * y - y * z])


def test_a_matrix_of_parameters_is_a_field_for_each_number():
    entry = catalogue_entry("BeerRNN")
    changed = dataclasses.replace(entry.system, w_2_3=5.0)
    w = np.asarray([[5.422, -0.018, 2.75], [-0.24, 4.59, 5.0], [0.535, -2.25, 3.885]])
    theta, tau, u = np.asarray([-4.108, -2.787, -1.114]), np.asarray([1.0, 2.5, 1.0]), np.asarray([1.0, 2.0, -1.0])
    np.testing.assert_allclose(slopes(changed, 0.0, u), (-u + w @ (1 / (1 + np.exp(-u - theta)))) / tau)


def test_a_candidate_of_the_catalogue_is_saved_and_loaded(tmp_path):
    flow = jaxcast.flow_map(
        jaxcast.stack_systems([dataclasses.replace(catalogue_entry("Chen").system, c=c) for c in (27.0, 28.0)]),
        dt=0.02,
        h=0.002,
    )
    pool = jaxcast.AdditiveAttention(dim=3, num_delays=2, hidden_size=3, key=jax.random.key(0))
    jaxcast.save_model(tmp_path / "model", pool, flow)
    loaded = jaxcast.load_model(tmp_path / "model")
    assert describe_system(loaded.forecast_map.system) == describe_system(flow.system)


def test_random_starts_lie_near_the_attractor():
    entry = catalogue_entry("HyperQi")
    starts = jaxcast.dynamics.random_starts(entry.system, 400, key=jax.random.key(0))
    np.testing.assert_allclose((starts.mean(0) - entry.start) / entry.scale, 0, atol=0.003)
    np.testing.assert_allclose(starts.std(0) / entry.scale, 0.01, rtol=0.15)


@pytest.mark.parametrize("name", ["aizawa", "Lorentz", "nothing like it"])
def test_an_unknown_name_is_refused_with_the_nearest(name):
    with pytest.raises(jaxcast.InputError, match=r"did you mean (Aizawa|Lorenz)|--list shows them"):
        catalogue_entry(name)
    with pytest.raises(jaxcast.InputError, match="129 of the catalogue"):
        parse_system(name.replace(" ", "_"))


@pytest.mark.slow
def test_a_class_of_the_user_goes_before_one_of_the_catalogue():
    # In a process of its own: a name is given for good.
    code = """
import jaxcast
from jaxcast.dynamics import catalogue_entry, parse_system

class Chen(jaxcast.System, name="Chen"):
    components = ("x",)
    rate: jaxcast.dynamics.Parameter = 1.0

    def vector_field(self, t, u):
        return (-self.rate * u[0],)

assert isinstance(parse_system("Chen(rate=2)"), Chen)
assert not isinstance(catalogue_entry("Chen").system, Chen)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def members():
    return jaxcast.dynamics.random_members(
        "Chen", 24, num_samples=241, samples_per_period=10, num_periods_before=3, key=jax.random.key(0), spread=0.15
    )


@pytest.mark.slow
def test_a_member_is_its_system_from_its_first_state(members):
    entry = catalogue_entry("Chen")
    for i in (0, 7):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], members.system)
        alone = jaxcast.simulate(one, members.states[i, 0], num_samples=12, dt=entry.period / 10, h=entry.h)
        np.testing.assert_allclose(members.states[i, :12], alone.states, atol=1e-7)
    np.testing.assert_allclose(members.times, entry.period / 10 * np.arange(241))
    factors = np.stack([members.system.a / 35, members.system.b / 3, members.system.c / 28])
    assert 0.1 < factors.std() < 0.2


@pytest.mark.slow
def test_chaotic_members_are_told_from_others(members):
    found = [
        jaxcast.dynamics.lyapunov_exponent(
            jax.tree.map(lambda leaf, i=i: leaf[i], members.system),
            members.states[i, 0],
            duration=members.times[-1],
            dt=members.times[1],
            h=members.times[1] / 30,
            transient=0.0,
            key=jax.random.key(1),
        )
        for i in range(6)
    ]
    # Over 24 periods the first directions of both errors still count.
    np.testing.assert_allclose(members.exponents[:6], found, atol=5 / members.times[-1])
    assert np.isnan(members.exponents[~members.is_bounded]).all()
    assert members.is_bounded.sum() > 12
    assert 0 < members.is_chaotic.sum() < 24  # some fall onto a fixed point or a cycle
    still = np.abs(np.asarray(members.states[:, -1] - members.states[:, -2])).max(1) < 1e-3
    assert not (still & members.is_chaotic).any()


def test_numbers_that_do_not_fit_are_refused():
    for options, message in (
        ({"num": 0}, "at least 1 member"),
        ({"samples_per_period": 7}, "must divide 300, got 7"),
        ({"spread": -1.0}, "must not be negative, got -1"),
    ):
        with pytest.raises(jaxcast.InputError, match=message):
            jaxcast.dynamics.random_members("Chen", **{"num": 2, "key": jax.random.key(0)} | options)


@pytest.mark.slow
def test_errors_of_a_system_of_angles_alone_grow_or_shrink():
    found = jaxcast.dynamics.random_members(
        "ArnoldBeltramiChildress", 8, num_samples=61, num_periods_before=0, key=jax.random.key(0)
    )
    usual = catalogue_entry("ArnoldBeltramiChildress").exponents[0]
    assert (np.abs(found.exponents) < 20 * usual).all()
    assert found.is_chaotic.any()


PAGE = " ".join((Path(__file__).parents[2] / "docs/how_to/chaotic_systems.md").read_text().split())
PUBLISHED = {
    "Lorenz": 0.9056,
    "Rossler": 0.0714,
    "Chen": 2.0272,
    "RabinovichFabrikant": 0.1981,
    "RikitakeDynamo": 0.1293,
    "SprottJerk": 0.0551,
    "SprottB": 0.210,
    "SprottC": 0.163,
    "SprottD": 0.103,
    "SprottE": 0.078,
    "SprottF": 0.117,
    "SprottG": 0.034,
    "SprottH": 0.117,
    "SprottJ": 0.076,
    "SprottK": 0.038,
    "SprottL": 0.061,
    "SprottM": 0.044,
    "SprottN": 0.076,
    "SprottO": 0.049,
    "SprottQ": 0.109,
    "SprottR": 0.062,
    "SprottS": 0.188,
}
"""Largest exponents from long averages: Sprott, Phys. Rev. E 50, R647 (1994), and Chaos and Time-Series Analysis (2003)."""


NOT_MET = {"SprottI": 0.012, "SprottP": 0.087}
"""Of the same sources."""


def test_exponents_are_within_five_percent_of_those_of_the_literature():
    for name, published in PUBLISHED.items():
        assert catalogue_entry(name).exponents[0] == pytest.approx(published, rel=0.05), name
    above = {name: catalogue_entry(name).exponents[0] / published - 1 for name, published in NOT_MET.items()}
    assert f"Of {len(PUBLISHED | NOT_MET)} largest exponents that Sprott published" in PAGE
    assert f"{len(PUBLISHED)} agree within 5 %" in PAGE
    assert f"`SprottI` is {above['SprottI']:.0%}".replace("%", " %") in PAGE
    assert f"`SprottP` {above['SprottP']:.0%}".replace("%", " %") in PAGE


@pytest.mark.slow
def test_the_page_says_how_many_estimates_of_dysts_are_met():
    is_met, is_unsure, others = list[bool](), 0, list[str]()
    for name in NAMES:
        entry = catalogue_entry(name)
        if entry.remark or name in PUBLISHED | NOT_MET:
            continue
        estimates = np.asarray([entry.published_exponent, entry.published_spectrum[0]])
        is_met.append(bool((np.abs(entry.exponents[0] / estimates - 1) < 0.05).any()))
        if is_met[-1]:
            continue
        if estimates.min() > 0.9 * estimates.max():
            others.append(f"`{name}`")
        else:
            is_unsure += 1
    assert f"{sum(is_met)} more agree within 5 % with one of the two estimates" in PAGE
    assert f"In {is_unsure} the two differ" in PAGE
    assert f"In {len(others)} they agree with each other and not with ours: {', '.join(others[:-1])} and" in PAGE


@pytest.mark.slow
def test_the_page_has_every_remark():
    remarks = {entry.remark for entry in map(catalogue_entry, NAMES) if entry.remark}
    for remark in remarks:
        names = [f"`{name}`" for name in NAMES if catalogue_entry(name).remark == remark]
        assert f"| {', '.join(names)} | {remark} |" in PAGE


@pytest.mark.slow
def test_exponents_add_up_to_the_divergence_where_it_is_constant():
    num_constant = 0
    for name in NAMES:
        entry = catalogue_entry(name)
        field = lambda u, entry=entry: jnp.stack([*jnp.broadcast_arrays(*entry.system(0.0, u))])  # noqa: E731
        divergence = jax.jit(lambda u, field=field: jnp.trace(jax.jacfwd(field)(u)))
        points = (entry.start, entry.start + 0.3 * entry.scale, entry.start - 2 * entry.scale, 1e-3 * entry.scale)
        here, *others = (float(divergence(point)) for point in points)
        if (
            np.isfinite(entry.exponents).all()
            and others == pytest.approx([here] * 3, rel=1e-9, abs=1e-9)
            and abs(here) > 1e-6
        ):
            num_constant += 1
            assert entry.exponents.sum() == pytest.approx(here, rel=2e-3), name
    assert num_constant > 40
