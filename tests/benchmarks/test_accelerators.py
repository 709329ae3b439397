import jax
import jax.numpy as jnp
import pytest

from benchmarks.accelerators import Options, as_text, bound, make_row, run
from benchmarks.frame import OURS
from benchmarks.hlo import Cost, count
from benchmarks.table import accelerator_line
from benchmarks.targets import TARGETS, Program
from jaxcast.errors import InputError


@pytest.mark.parametrize(
    ("cost", "seconds", "by"),
    [
        (Cost(kernels=100, bytes=1e6, operations=1e6), 100 * 2e-6, "launches"),
        (Cost(kernels=1, bytes=3.35232e12, operations=1e6), 1.0, "memory"),
        (Cost(kernels=1, bytes=1e6, operations=132 * 128 * 1.98e9 / 2), 0.5, "arithmetic"),
        (Cost(kernels=1, bytes=1e6, product_flops=494.7e12 / 4), 0.25, "arithmetic"),
    ],
)
def test_the_bound_is_what_takes_longest(cost, seconds, by):
    found, name = bound(cost, TARGETS["h100"])
    assert (pytest.approx(found), name) == (seconds, by)


def test_the_limit_of_a_card_for_lorenz():
    # PERFORMANCE: 41 instructions of a Runge-Kutta step at 33.5e12 a second.
    found, _ = bound(Cost(operations=41e9), TARGETS["h100"])
    assert 1e9 / found == pytest.approx(8.16e11, rel=1e-3)


def test_an_unknown_device_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="--target must be of h100, h200, v5e, got mi300"):
        run(Options(target=("mi300",)))


def test_a_program_of_the_device_that_is_present_is_run_as_well():
    program = Program("doubled", lambda x: jax.lax.fori_loop(0, 10, lambda _, x: 2 * x, x), (jnp.ones(1000),), 10, 1000)
    row = {"path": OURS} | make_row(program, "h100", is_present=True)
    assert row["measured_s"] > 0
    assert row["operations_per_step"] >= 1000
    assert row["steps_per_s"] == 10 * 1000 / row["bound_s"]
    assert "compiled, not run" not in accelerator_line(row)
    assert "| compiled, not run |" in accelerator_line(row | {"measured_s": None})
    assert not row["unknown_loops"]


def test_a_bound_that_is_too_good_says_so():
    program = Program(
        "Newton", lambda x: jax.lax.while_loop(lambda x: x * x > 2, lambda x: x / 2 + 1 / x, x), (9.0,), 1
    )
    row = {"path": OURS} | make_row(program, "h100", is_present=True)
    assert row["unknown_loops"] == 1
    assert accelerator_line(row).startswith("| Newton (loops of unknown length: 1) | h100 |")
    assert "(loops of unknown length: 1)" in as_text(row)


@pytest.mark.aot
@pytest.mark.parametrize("target", ["h100", "v5e"])
def test_a_loop_compiled_for_a_device_that_is_not_there(target):
    def f(a):
        return jax.lax.fori_loop(0, 100, lambda _, b: jax.numpy.sin(b) + a, a)

    with jax.enable_x64(False):  # as in the command: a TPU counts in pairs of 32 bits otherwise
        cost = count(TARGETS[target].compile(f, jax.ShapeDtypeStruct((1024,), "float32")))
    assert 100 <= cost.kernels <= 303
    assert cost.operations == pytest.approx(100 * 1024 * 11, rel=0.01)
